//! Tunnels in UDP, told by their ports: VXLAN and its generic extension, Geneve, GTP-U, GRE, MPLS, L2TP, Teredo, CAPWAP.
//!
//! A port is a hint: what does not begin as its tunnel does is a datagram like any other.

use super::{Cursor, Step, link, next, tunnel};
use crate::frame::{Frame, Header};
use crate::packet::{Fault, Packet};

/// Destination ports.
const GTP_USER_PORT: u16 = 2_152;
const GRE_PORT: u16 = 4_754;
const VXLAN_PORT: u16 = 4_789;
const VXLAN_GENERIC_PORT: u16 = 4_790;
const GENEVE_PORT: u16 = 6_081;
const MPLS_PORT: u16 = 6_635;
/// Ports of either end: the other one has any.
const L2TP_PORT: u16 = 1_701;
const TEREDO_PORT: u16 = 3_544;
const CAPWAP_PORT: u16 = 5_247;

const UDP_BYTES: u32 = 8;
/// GTP version 1, protocol type GTP: the upper bits of the flags (3GPP TS 29.281 section 5.1).
const GTP_VERSION_1: u8 = 0x30;
/// A user packet, the only message that carries one.
const GTP_USER_PACKET: u8 = 0xff;
/// L2TP (RFC 2661 section 3.1): a control message; fields that are there; the version.
const L2TP_CONTROL: u16 = 0x8000;
const L2TP_LENGTH: u16 = 0x4000;
const L2TP_SEQUENCE: u16 = 0x0800;
const L2TP_OFFSET: u16 = 0x0200;
const L2TP_VERSION: u16 = 0x000f;
/// Teredo (RFC 4380 section 5.1.1): what may stand before the packet.
const TEREDO_ORIGIN: u16 = 0x0000;
const TEREDO_AUTHENTICATION: u16 = 0x0001;
/// CAPWAP (RFC 5415 section 4.3): 802.11 instead of Ethernet; a later fragment's bit and its place.
const CAPWAP_WIRELESS: u8 = 0x01;
const CAPWAP_FRAGMENT_PLACE: u16 = 0xfff8;

/// Whether a datagram between these ports is looked into by [`over_udp`].
#[inline(always)]
pub(super) const fn is_port(source: u16, destination: u16) -> bool {
    const fn of_either(port: u16) -> bool {
        matches!(port, L2TP_PORT | TEREDO_PORT | CAPWAP_PORT)
    }
    let known = matches!(
        destination,
        GTP_USER_PORT | GRE_PORT | VXLAN_PORT | VXLAN_GENERIC_PORT | GENEVE_PORT | MPLS_PORT
    );
    known || of_either(destination) || of_either(source)
}

/// What is in a datagram whose header is at the cursor; one without a tunnel ends the walk.
#[inline(always)]
pub(super) fn over_udp<F: Frame>(frame: F, cursor: Cursor, packet: &mut Packet) -> Step {
    let payload = cursor.after(UDP_BYTES, next::DONE);
    match packet.destination_port {
        VXLAN_PORT => {
            packet.tunnels += 1;
            return Ok(payload.after(8, next::ETHERNET));
        }
        VXLAN_GENERIC_PORT => return vxlan_generic(frame, payload, packet),
        GENEVE_PORT => return geneve(frame, payload, packet),
        GTP_USER_PORT => return gtp_user(frame, payload, packet),
        GRE_PORT => return tunnel::gre(frame, payload, packet),
        MPLS_PORT => return Ok(payload.after(0, link::MPLS)),
        _ => {}
    }
    let known = match packet.destination_port {
        port @ (L2TP_PORT | TEREDO_PORT | CAPWAP_PORT) => port,
        _ => packet.source_port,
    };
    match known {
        L2TP_PORT => l2tp(frame, payload, packet),
        TEREDO_PORT => teredo(frame, payload, packet),
        CAPWAP_PORT => capwap(frame, payload, packet),
        _ => Ok(payload),
    }
}

/// VXLAN's generic protocol extension: the payload is named by a number of its own.
#[inline(always)]
fn vxlan_generic<F: Frame>(frame: F, cursor: Cursor, packet: &mut Packet) -> Step {
    let next = match frame.u8(cursor.offset + 3).ok_or(Fault::Cut)? {
        1 => link::IPV4,
        2 => link::IPV6,
        3 => next::ETHERNET,
        _ => return Ok(cursor),
    };
    packet.tunnels += 1;
    Ok(cursor.after(8, next))
}

/// Geneve (RFC 8926).
#[inline(always)]
fn geneve<F: Frame>(frame: F, cursor: Cursor, packet: &mut Packet) -> Step {
    let header = frame.header::<4>(cursor.offset).ok_or(Fault::Cut)?;
    let options_words = u32::from(header.u8(0) & 0x3f);
    packet.tunnels += 1;
    Ok(cursor.after(8 + 4 * options_words, tunnel::bridged_or_typed(header.u16(2))))
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

/// A data message of L2TP version 2, which carries PPP.
#[inline(always)]
fn l2tp<F: Frame>(frame: F, cursor: Cursor, packet: &mut Packet) -> Step {
    let Some(flags) = frame.u16(cursor.offset) else { return Ok(cursor) };
    if flags & L2TP_CONTROL != 0 || flags & L2TP_VERSION != 2 {
        return Ok(cursor);
    }
    let mut header_bytes = 6;
    header_bytes += if flags & L2TP_LENGTH != 0 { 2 } else { 0 };
    header_bytes += if flags & L2TP_SEQUENCE != 0 { 4 } else { 0 };
    if flags & L2TP_OFFSET != 0 {
        let padding_bytes = frame.u16(cursor.offset + header_bytes).ok_or(Fault::Cut)?;
        header_bytes += 2 + u32::from(padding_bytes & 0xff);
    }
    packet.tunnels += 1;
    Ok(cursor.after(header_bytes, next::PPP))
}

/// IPv6 in UDP, behind an authentication and where the peer was seen, if they are there. It is one if it is as long as
/// the datagram allows.
#[inline(always)]
fn teredo<F: Frame>(frame: F, cursor: Cursor, packet: &mut Packet) -> Step {
    let mut payload = cursor;
    if frame.u16(payload.offset) == Some(TEREDO_AUTHENTICATION) {
        let lengths = frame.header::<4>(payload.offset).ok_or(Fault::Cut)?;
        payload = payload.after(13 + u32::from(lengths.u8(2)) + u32::from(lengths.u8(3)), next::DONE);
    }
    if frame.u16(payload.offset) == Some(TEREDO_ORIGIN) {
        payload = payload.after(8, next::DONE);
    }
    let Some(header) = frame.header::<6>(payload.offset) else { return Ok(cursor) };
    let end = payload.offset + 40 + u32::from(header.u16(4));
    if header.u8(0) >> 4 != 6 || end > cursor.end {
        return Ok(cursor);
    }
    packet.tunnels += 1;
    Ok(payload.after(0, link::IPV6))
}

/// What an access point and its controller hand each other in the clear: Ethernet or 802.11.
#[inline(always)]
fn capwap<F: Frame>(frame: F, cursor: Cursor, packet: &mut Packet) -> Step {
    // A preamble other than 0 announces encryption, and is no CAPWAP where the length is none.
    let Some(header) = frame.header::<8>(cursor.offset) else { return Ok(cursor) };
    let header_bytes = u32::from(header.u8(1) >> 3) * 4;
    if header.u8(0) != 0 || header_bytes < 8 || header.u16(6) & CAPWAP_FRAGMENT_PLACE != 0 {
        return Ok(cursor);
    }
    packet.tunnels += 1;
    let wireless = header.u8(2) & CAPWAP_WIRELESS != 0;
    Ok(cursor.after(header_bytes, if wireless { next::WIRELESS_SWAPPED } else { next::ETHERNET }))
}
