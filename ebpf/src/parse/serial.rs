//! Links of routers and of Linux' own loggers: PPP, Cisco HDLC, frame relay, netfilter's log. No interface that runs XDP
//! has one of these; PPP is in tunnels, too.

use super::{Cursor, Step, link, next};
use crate::frame::{Frame, Header};
use crate::packet::Fault;

/// PPP protocols, <https://www.iana.org/assignments/ppp-numbers>.
const PPP_IPV4: u16 = 0x0021;
const PPP_IPV6: u16 = 0x0057;
const PPP_MPLS: u16 = 0x0281;
/// Address and control in front of a PPP protocol (RFC 1662), which may be left out, and in front of an EtherType in
/// Cisco's HDLC: to one, to all.
const PPP_FRAMED: u16 = 0xff03;
const CISCO_UNICAST: u16 = 0x0f00;
const CISCO_BROADCAST: u16 = 0x8f00;
/// Frame relay (RFC 2427): unnumbered information, then what a network layer is called.
const UNNUMBERED: u8 = 0x03;
const NAMED_IPV4: u8 = 0xcc;
const NAMED_IPV6: u8 = 0x8e;
const NAMED_SNAP: u8 = 0x80;
/// Netfilter's log: attributes before the packet, and the packet (`NFULA_PAYLOAD`).
const ATTRIBUTES_MAX: u32 = 16;
const ATTRIBUTE_PACKET: u16 = 9;

/// PPP, with or without its framing, its protocol in two bytes or in one; or Cisco's HDLC, told by its address.
#[inline(always)]
pub(super) fn ppp<F: Frame>(frame: F, cursor: Cursor) -> Step {
    let first = frame.u16(cursor.offset).ok_or(Fault::Cut)?;
    if matches!(first, CISCO_UNICAST | CISCO_BROADCAST) {
        return cisco(frame, cursor);
    }
    let framing_bytes = if first == PPP_FRAMED { 2 } else { 0 };
    let at = cursor.offset + framing_bytes;
    let byte = frame.u8(at).ok_or(Fault::Cut)?;
    if byte & 1 != 0 {
        return Ok(cursor.after(framing_bytes + 1, ppp_payload(u16::from(byte))));
    }
    let protocol = frame.u16(at).ok_or(Fault::Cut)?;
    Ok(cursor.after(framing_bytes + 2, ppp_payload(protocol)))
}

/// What follows a PPP protocol.
#[inline(always)]
fn ppp_payload(protocol: u16) -> u32 {
    match protocol {
        PPP_IPV4 => link::IPV4,
        PPP_IPV6 => link::IPV6,
        PPP_MPLS => link::MPLS,
        _ => next::DONE,
    }
}

/// Cisco's HDLC: address, control, EtherType.
#[inline(always)]
pub(super) fn cisco<F: Frame>(frame: F, cursor: Cursor) -> Step {
    let ether_type = frame.u16(cursor.offset + 2).ok_or(Fault::Cut)?;
    Ok(cursor.after(4, next::ether_type(ether_type)))
}

/// Frame relay: an address of two bytes, then RFC 2427's encapsulation or Cisco's, an EtherType.
#[inline(always)]
pub(super) fn frame_relay<F: Frame>(frame: F, start: Cursor) -> Step {
    let header = frame.header::<4>(0).ok_or(Fault::Cut)?;
    if header.u8(2) != UNNUMBERED {
        return Ok(start.after(4, next::ether_type(header.u16(2))));
    }
    // A zero may pad it to an even length.
    let at = if header.u8(3) == 0 { 4 } else { 3 };
    match frame.u8(at).ok_or(Fault::Cut)? {
        NAMED_IPV4 => Ok(start.after(at + 1, link::IPV4)),
        NAMED_IPV6 => Ok(start.after(at + 1, link::IPV6)),
        NAMED_SNAP => {
            let ether_type = frame.u16(at + 4).ok_or(Fault::Cut)?;
            Ok(start.after(at + 6, next::ether_type(ether_type)))
        }
        _ => Ok(start.after(at + 1, next::DONE)),
    }
}

/// Netfilter's log: attributes, each with its length and kind in the byte order of the host that captured, and among
/// them the packet. Lengths are small, so the order shows.
#[inline(always)]
pub(super) fn netfilter_log<F: Frame>(frame: F, start: Cursor) -> Step {
    let mut at = 4;
    for _ in 0..ATTRIBUTES_MAX {
        let header = frame.header::<4>(at).ok_or(Fault::Cut)?;
        let little_endian = header.u8(3) == 0;
        let host = |value: u16| if little_endian { value.swap_bytes() } else { value };
        let (attribute_bytes, kind) = (host(header.u16(0)), host(header.u16(2)));
        if kind == ATTRIBUTE_PACKET {
            return Ok(start.after(at + 4, next::IP_BY_VERSION));
        }
        if attribute_bytes < 4 {
            return Err(Fault::Length);
        }
        at += u32::from(attribute_bytes).next_multiple_of(4);
    }
    Ok(start.after(at, next::DONE))
}
