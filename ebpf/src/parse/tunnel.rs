//! Headers that carry another packet: PPPoE, MPLS, GRE with what it is used for, IP-in-IP, EtherIP, and the tags of
//! fabrics and backbones around Ethernet. Tunnels in UDP are in `over_udp.rs`.
//!
//! Each clears nothing: the inner packet's facts overwrite the outer's as its headers are read.

use super::{Cursor, Step, ip, link, next};
use crate::frame::{Frame, Header};
use crate::packet::{Fault, Packet};

/// EtherTypes of tags that carry an EtherType of their own: Cisco's metadata (the security group), VN-Tag, E-Tag
/// (802.1BR).
pub(super) const CISCO_METADATA: u32 = next::ether_type(0x8909);
pub(super) const VN_TAG: u32 = next::ether_type(0x8926);
pub(super) const E_TAG: u32 = next::ether_type(0x893f);
/// Of tags around a whole frame: FabricPath, 802.1ah's service tag (PBB).
pub(super) const FABRIC_PATH: u32 = next::ether_type(0x8903);
pub(super) const BACKBONE: u32 = next::ether_type(0x88e7);

/// GRE's payloads beside EtherTypes: bridged Ethernet (also Geneve's), PPP (RFC 2637), copies of mirror ports
/// (ERSPAN types I and II, type III).
const TRANSPARENT_ETHERNET: u16 = 0x6558;
const PPP: u16 = 0x880b;
const MIRRORED: u16 = 0x88be;
const MIRRORED_III: u16 = 0x22eb;
const GRE_CHECKSUM: u16 = 0x8000;
const GRE_ROUTING: u16 = 0x4000;
const GRE_KEY: u16 = 0x2000;
const GRE_SEQUENCE: u16 = 0x1000;
/// Of PPTP's version 1.
const GRE_ACKNOWLEDGMENT: u16 = 0x0080;
const GRE_VERSION: u16 = 0x0007;

/// PPPoE session (RFC 2516): 6 bytes, then PPP as long as it says, whatever pads the frame.
#[inline(always)]
pub(super) fn pppoe<F: Frame>(frame: F, cursor: Cursor, packet: &mut Packet) -> Step {
    let payload_bytes = u32::from(frame.u16(cursor.offset + 4).ok_or(Fault::Cut)?);
    packet.tunnels += 1;
    let payload = cursor.after(6, next::PPP);
    let end = payload.offset + payload_bytes;
    Ok(Cursor { end: if payload_bytes == 0 || end > cursor.end { cursor.end } else { end }, ..payload })
}

/// A tag of so many bytes, the EtherType at its end included.
#[inline(always)]
pub(super) fn tag<F: Frame>(frame: F, cursor: Cursor, tag_bytes: u32) -> Step {
    let ether_type = frame.u16(cursor.offset + tag_bytes - 2).ok_or(Fault::Cut)?;
    Ok(cursor.after(tag_bytes, next::ether_type(ether_type)))
}

/// So many bytes around a whole Ethernet frame.
#[inline(always)]
pub(super) fn around_ethernet(cursor: Cursor, header_bytes: u32, packet: &mut Packet) -> Step {
    packet.tunnels += 1;
    Ok(cursor.after(header_bytes, next::ETHERNET))
}

/// One MPLS label (RFC 3032); below the last one, IP is told by its version nibble.
#[inline(always)]
pub(super) fn mpls<F: Frame>(frame: F, cursor: Cursor, packet: &mut Packet) -> Step {
    let label = frame.u32(cursor.offset).ok_or(Fault::Cut)?;
    if label & 0x100 == 0 {
        return Ok(cursor.after(4, link::MPLS));
    }
    packet.tunnels += 1;
    let payload = cursor.after(4, next::IP_BY_VERSION);
    match frame.u8(payload.offset).map(|byte| byte >> 4) {
        Some(4 | 6) => Ok(payload),
        // A zero nibble is a pseudowire control word; what it carries is not announced.
        _ => Ok(payload.after(0, next::DONE)),
    }
}

/// IPv4 or IPv6 directly in IP (RFC 2003, RFC 2473).
#[inline(always)]
pub(super) fn ip_in_ip(cursor: Cursor, packet: &mut Packet) -> Step {
    packet.tunnels += 1;
    Ok(cursor.after(0, if cursor.next == ip::IN_IPV4 { link::IPV4 } else { link::IPV6 }))
}

/// GRE version 0 (RFC 2784, RFC 2890), and version 1 of PPTP (RFC 2637).
#[inline(always)]
pub(super) fn gre<F: Frame>(frame: F, cursor: Cursor, packet: &mut Packet) -> Step {
    let header = frame.header::<4>(cursor.offset).ok_or(Fault::Cut)?;
    let (flags, kind) = (header.u16(0), header.u16(2));
    let of_pptp = flags & GRE_VERSION == 1 && kind == PPP;
    if flags & GRE_ROUTING != 0 || (flags & GRE_VERSION != 0 && !of_pptp) {
        return Ok(cursor.after(4, next::DONE));
    }
    packet.tunnels += 1;
    let optional_words = u32::from(flags & GRE_CHECKSUM != 0)
        + u32::from(flags & GRE_KEY != 0)
        + u32::from(flags & GRE_SEQUENCE != 0)
        + u32::from(of_pptp && flags & GRE_ACKNOWLEDGMENT != 0);
    let payload = cursor.after(4 + 4 * optional_words, next::DONE);
    match kind {
        // A type I copy has no header of its own, and no sequence number either.
        MIRRORED => Ok(payload.after(if flags & GRE_SEQUENCE != 0 { 8 } else { 0 }, next::ETHERNET)),
        MIRRORED_III => mirrored(frame, payload),
        PPP => Ok(payload.after(0, next::PPP)),
        _ if is_aruba(kind) => Ok(payload.after(0, next::WIRELESS)),
        _ => Ok(payload.after(0, bridged_or_typed(kind))),
    }
}

/// Aruba's access points number their tunnels to a controller; they carry 802.11.
#[inline(always)]
const fn is_aruba(kind: u16) -> bool {
    kind == 0x9000 || (kind & 0x000f == 0 && kind >= 0x8200 && kind <= 0x8370)
}

/// A copy of a mirror port with a header of type III: 12 bytes, 8 more for a platform's own.
#[inline(always)]
fn mirrored<F: Frame>(frame: F, cursor: Cursor) -> Step {
    let flags = frame.u8(cursor.offset + 11).ok_or(Fault::Cut)?;
    Ok(cursor.after(if flags & 1 != 0 { 20 } else { 12 }, next::ETHERNET))
}

/// What a payload of this type is.
#[inline(always)]
pub(super) fn bridged_or_typed(ether_type: u16) -> u32 {
    if ether_type == TRANSPARENT_ETHERNET { next::ETHERNET } else { next::ether_type(ether_type) }
}
