//! Headers that carry another packet: PPPoE, MPLS, GRE, IP-in-IP, VXLAN, Geneve, GTP-U.
//!
//! Each clears nothing: the inner packet's facts overwrite the outer's as its headers are read.

use super::{Cursor, Step, ip, link, next};
use crate::frame::{Frame, Header};
use crate::packet::{Fault, Packet, Transport};

const PPP_IPV4: u16 = 0x0021;
const PPP_IPV6: u16 = 0x0057;
const VXLAN_PORT: u16 = 4_789;
const GENEVE_PORT: u16 = 6_081;
const GTP_USER_PORT: u16 = 2_152;
/// GTP version 1, protocol type GTP: the upper bits of the flags (3GPP TS 29.281 section 5.1).
const GTP_VERSION_1: u8 = 0x30;
/// A user packet, the only message that carries one.
const GTP_USER_PACKET: u8 = 0xff;
/// Bridged Ethernet as a GRE or Geneve payload.
const TRANSPARENT_ETHERNET: u16 = 0x6558;
const GRE_CHECKSUM: u16 = 0x8000;
const GRE_ROUTING: u16 = 0x4000;
const GRE_KEY: u16 = 0x2000;
const GRE_SEQUENCE: u16 = 0x1000;
const GRE_VERSION: u16 = 0x0007;

/// PPPoE session (RFC 2516): 6 bytes, then the PPP protocol.
#[inline(always)]
pub(super) fn pppoe<F: Frame>(frame: F, cursor: Cursor, packet: &mut Packet) -> Step {
    let protocol = frame.u16(cursor.offset + 6).ok_or(Fault::Cut)?;
    packet.tunnels += 1;
    let next = match protocol {
        PPP_IPV4 => link::IPV4,
        PPP_IPV6 => link::IPV6,
        _ => next::DONE,
    };
    Ok(cursor.after(8, next))
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

/// GRE version 0 (RFC 2784, RFC 2890).
#[inline(always)]
pub(super) fn gre<F: Frame>(frame: F, cursor: Cursor, packet: &mut Packet) -> Step {
    let header = frame.header::<4>(cursor.offset).ok_or(Fault::Cut)?;
    let (flags, ether_type) = (header.u16(0), header.u16(2));
    packet.transport = Transport::Other;
    if flags & (GRE_VERSION | GRE_ROUTING) != 0 {
        return Ok(cursor.after(4, next::DONE));
    }
    packet.tunnels += 1;
    let optional_words = u32::from(flags & GRE_CHECKSUM != 0)
        + u32::from(flags & GRE_KEY != 0)
        + u32::from(flags & GRE_SEQUENCE != 0);
    Ok(cursor.after(4 + 4 * optional_words, bridged_or_typed(ether_type)))
}

/// Whether a datagram to this port is looked into by [`over_udp`].
#[inline(always)]
pub(super) const fn is_port(destination_port: u16) -> bool {
    matches!(destination_port, VXLAN_PORT | GENEVE_PORT | GTP_USER_PORT)
}

/// VXLAN (RFC 7348), Geneve (RFC 8926) and GTP-U, by UDP destination port; any other datagram ends the walk.
#[inline(always)]
pub(super) fn over_udp<F: Frame>(frame: F, cursor: Cursor, packet: &mut Packet) -> Step {
    match packet.destination_port {
        VXLAN_PORT => {
            packet.tunnels += 1;
            Ok(cursor.after(16, next::ETHERNET))
        }
        GENEVE_PORT => {
            let header = frame.header::<12>(cursor.offset).ok_or(Fault::Cut)?;
            let options_words = u32::from(header.u8(8) & 0x3f);
            packet.tunnels += 1;
            Ok(cursor.after(16 + 4 * options_words, bridged_or_typed(header.u16(10))))
        }
        GTP_USER_PORT => gtp_user(frame, cursor.after(8, next::DONE), packet),
        _ => Ok(cursor.after(8, next::DONE)),
    }
}

/// GTP-U (3GPP TS 29.281) with at most one extension header; anything else ends the walk.
#[inline(always)]
fn gtp_user<F: Frame>(frame: F, cursor: Cursor, packet: &mut Packet) -> Step {
    let header = frame.header::<2>(cursor.offset).ok_or(Fault::Cut)?;
    let (flags, message) = (header.u8(0), header.u8(1));
    if flags & 0xf0 != GTP_VERSION_1 || message != GTP_USER_PACKET {
        return Ok(cursor);
    }
    let mut header_bytes = 8;
    if flags & 0x07 != 0 {
        // Sequence number, N-PDU number and the type of the next extension, whichever of them is in use.
        header_bytes = 12;
        let extension = frame.u8(cursor.offset + 11).ok_or(Fault::Cut)?;
        if flags & 0x04 != 0 && extension != 0 {
            header_bytes += 4 * u32::from(frame.u8(cursor.offset + 12).ok_or(Fault::Cut)?);
        }
    }
    packet.tunnels += 1;
    Ok(cursor.after(header_bytes, next::IP_BY_VERSION))
}

#[inline(always)]
fn bridged_or_typed(ether_type: u16) -> u32 {
    if ether_type == TRANSPARENT_ETHERNET { next::ETHERNET } else { next::ether_type(ether_type) }
}
