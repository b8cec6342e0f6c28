//! IPv4 (RFC 791) with options, IPv6 (RFC 8200) with extension headers, fragments of both.

use super::{Cursor, Step, next};
use crate::frame::{Frame, Header};
use crate::packet::{Fault, Fragment, Network, Packet, ipv4_mapped};

/// IP protocol numbers, <https://www.iana.org/assignments/protocol-numbers>.
pub(super) const HOP_BY_HOP: u32 = next::protocol(0);
pub(super) const ICMP: u32 = next::protocol(1);
pub(super) const IN_IPV4: u32 = next::protocol(4);
pub(super) const TCP: u32 = next::protocol(6);
pub(super) const UDP: u32 = next::protocol(17);
pub(super) const IN_IPV6: u32 = next::protocol(41);
pub(super) const ROUTING: u32 = next::protocol(43);
pub(super) const FRAGMENT: u32 = next::protocol(44);
pub(super) const GRE: u32 = next::protocol(47);
pub(super) const AUTHENTICATION: u32 = next::protocol(51);
pub(super) const ICMPV6: u32 = next::protocol(58);
pub(super) const DESTINATION: u32 = next::protocol(60);
/// EtherIP (RFC 3378).
pub(super) const ETHERNET: u32 = next::protocol(97);
pub(super) const MOBILITY: u32 = next::protocol(135);
/// RFC 4023.
pub(super) const MPLS: u32 = next::protocol(137);
pub(super) const HIP: u32 = next::protocol(139);
pub(super) const SHIM6: u32 = next::protocol(140);

/// More-fragments bit and offset field of the IPv4 flags word.
const MORE_FRAGMENTS: u16 = 0x2000;
const FRAGMENT_OFFSET: u16 = 0x1fff;

/// IPv4 header at the cursor.
#[inline(always)]
pub(super) fn version_4<F: Frame>(frame: F, cursor: Cursor, packet: &mut Packet) -> Step {
    let offset = cursor.offset;
    let header = frame.header::<20>(offset).ok_or(Fault::Cut)?;
    let first = header.u32(0);
    if first >> 28 != 4 {
        return Err(Fault::Version);
    }
    let header_bytes = (first >> 22) & 0x3c;
    let total_bytes = first & 0xffff;
    if header_bytes < 20 || (total_bytes != 0 && total_bytes < header_bytes) {
        return Err(Fault::Length);
    }
    let (fragment_word, ttl_protocol) = (header.u16(6), header.u16(8));
    packet.network = Network::Ipv4;
    packet.network_offset = offset as u16;
    packet.ttl = (ttl_protocol >> 8) as u8;
    packet.source = ipv4_mapped(header.u32(12));
    packet.destination = ipv4_mapped(header.u32(16));
    let end = packet_end(cursor, packet, total_bytes, offset + total_bytes);
    packet.fragment = fragment_state(fragment_word & FRAGMENT_OFFSET, fragment_word & MORE_FRAGMENTS != 0);
    let next =
        if packet.fragment == Fragment::Later { next::DONE } else { next::protocol(ttl_protocol as u8) };
    Ok(Cursor { offset: offset + header_bytes, end, next })
}

/// IPv6 fixed header at the cursor.
#[inline(always)]
pub(super) fn version_6<F: Frame>(frame: F, cursor: Cursor, packet: &mut Packet) -> Step {
    let offset = cursor.offset;
    let header = frame.header::<40>(offset).ok_or(Fault::Cut)?;
    if header.u8(0) >> 4 != 6 {
        return Err(Fault::Version);
    }
    let payload_bytes = u32::from(header.u16(4));
    let protocol_ttl = header.u16(6);
    packet.network = Network::Ipv6;
    packet.network_offset = offset as u16;
    packet.ttl = protocol_ttl as u8;
    // Word by word: an array copied in one go becomes a memcpy call that the verifier refuses.
    packet.source = [header.u32(8), header.u32(12), header.u32(16), header.u32(20)];
    packet.destination = [header.u32(24), header.u32(28), header.u32(32), header.u32(36)];
    let end = packet_end(cursor, packet, payload_bytes, offset + 40 + payload_bytes);
    packet.fragment = Fragment::Whole;
    Ok(Cursor { offset: offset + 40, end, next: next::protocol((protocol_ttl >> 8) as u8) })
}

/// Where an IP packet ends: by its own length field, but never behind what encloses it, unless that is the first fragment
/// of a packet: then the rest of this one is in the other fragments. A length of zero is what offloading hosts and
/// jumbograms show: then the enclosing end counts.
#[inline(always)]
fn packet_end(cursor: Cursor, enclosing: &Packet, length_field: u32, end: u32) -> u32 {
    let goes_on = enclosing.fragment == Fragment::First;
    if length_field == 0 || (end > cursor.end && !goes_on) { cursor.end } else { end }
}

#[inline(always)]
fn fragment_state(offset: u16, more: bool) -> Fragment {
    match (offset, more) {
        (0, false) => Fragment::Whole,
        (0, true) => Fragment::First,
        _ => Fragment::Later,
    }
}

/// An IPv6 extension header with the common layout: next header, length in 8 bytes beyond the first 8.
#[inline(always)]
pub(super) fn extension<F: Frame>(frame: F, cursor: Cursor) -> Step {
    let header = frame.header::<2>(cursor.offset).ok_or(Fault::Cut)?;
    Ok(cursor.after(u32::from(header.u8(1)) * 8 + 8, next::protocol(header.u8(0))))
}

/// The IPv6 fragment header (RFC 8200 section 4.5).
#[inline(always)]
pub(super) fn fragment<F: Frame>(frame: F, cursor: Cursor, packet: &mut Packet) -> Step {
    let header = frame.header::<4>(cursor.offset).ok_or(Fault::Cut)?;
    let word = header.u16(2);
    packet.fragment = match (word >> 3, word & 1 != 0) {
        // An atomic fragment (RFC 6946) is a whole packet that says it is fragmented.
        (0, more) => fragment_state(0, more),
        _ => Fragment::Later,
    };
    let next = if packet.fragment == Fragment::Later { next::DONE } else { next::protocol(header.u8(0)) };
    Ok(cursor.after(8, next))
}

/// The IPsec authentication header (RFC 4302): length in 4 bytes beyond the first 8.
#[inline(always)]
pub(super) fn authentication<F: Frame>(frame: F, cursor: Cursor) -> Step {
    let header = frame.header::<2>(cursor.offset).ok_or(Fault::Cut)?;
    Ok(cursor.after(u32::from(header.u8(1)) * 4 + 8, next::protocol(header.u8(0))))
}
