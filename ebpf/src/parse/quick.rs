//! The short way through the headers of ordinary frames, for userspace: TCP and UDP in IPv4 or IPv6 in Ethernet.
//!
//! [`quick`] knows one shape: at most one VLAN tag, IPv4 without options or IPv6 without extension headers, no fragment,
//! no tunnel, no fault, all fixed headers captured. Of anything else it says so and leaves the packet alone; then the
//! walk reads it. Where it does read a frame, it writes what the walk writes, field by field: the tests hold one
//! against the other. The kernel's program keeps to the walk, whose branches the verifier follows anyway.
//! Called by whoever reads frames of files and rings in userspace.

use super::{link, next, parse, tcp, tunnel};
use crate::frame::Header;
use crate::link::LinkType;
use crate::packet::{Fragment, Network, Packet, Segment, Transport, UNKNOWN_SHIFT, ipv4_mapped, tcp_flag};

const ETHERNET_BYTES: usize = 14;
const VLAN_BYTES: usize = 4;
const IPV4_BYTES: usize = 20;
const IPV6_BYTES: usize = 40;
const TCP_BYTES: usize = 20;
const UDP_BYTES: u32 = 8;
/// Fixed headers of TCP in IPv4, behind the tag if there is one. Shorter UDP datagrams are rare: Ethernet pads them.
const IPV4_HEADERS_BYTES: usize = ETHERNET_BYTES + IPV4_BYTES + TCP_BYTES;
const IPV6_HEADERS_BYTES: usize = ETHERNET_BYTES + IPV6_BYTES + TCP_BYTES;
/// Version 4, five words of header.
const IPV4_WITHOUT_OPTIONS: u8 = 0x45;
/// More fragments, or an offset.
const FRAGMENT_BITS: u16 = 0x3fff;
const PROTOCOL_TCP: u8 = 6;
const PROTOCOL_UDP: u8 = 17;

/// [`parse`] with tunnels, ordinary frames by the short way. Whether the frame was one.
#[inline]
pub fn parse_quickly(frame: &[u8], link: LinkType, wire_len: u32, packet: &mut Packet) -> bool {
    let ordinary = quick(frame, link, wire_len, packet);
    if !ordinary {
        thoroughly(frame, link, wire_len, packet);
    }
    ordinary
}

/// The walk, out of the way of those that need it not.
#[cold]
#[inline(never)]
fn thoroughly(frame: &[u8], link: LinkType, wire_len: u32, packet: &mut Packet) {
    parse(frame, link, wire_len, true, packet);
}

/// Reads a frame of ordinary shape as [`parse`] does (with tunnels); `false` where it has another one, and nothing is
/// written then. `wire_len` in bytes.
#[inline]
pub fn quick(frame: &[u8], link: LinkType, wire_len: u32, packet: &mut Packet) -> bool {
    if link != LinkType::Ethernet {
        return false;
    }
    let Some(mut headers) = frame.first_chunk::<IPV4_HEADERS_BYTES>() else { return false };
    let (mut behind_tag, mut tags) = (frame, 0);
    let mut ether_type = next::ether_type(headers.u16(12));
    if matches!(ether_type, link::VLAN | link::VLAN_SERVICE | link::VLAN_OLD) {
        behind_tag = &frame[VLAN_BYTES..];
        let Some(tagged) = behind_tag.first_chunk() else { return false };
        (headers, tags, ether_type) = (tagged, 1, next::ether_type(tagged.u16(12)));
    }
    let place = Place { bytes: behind_tag, tags, wire_len };
    match ether_type {
        link::IPV4 => version_4(headers, place, packet),
        link::IPV6 => version_6(place, packet),
        _ => false,
    }
}

/// Where the headers are.
#[derive(Clone, Copy)]
struct Place<'a> {
    /// The frame, as if it began behind its VLAN tag: the EtherType of its network layer is at 12.
    bytes: &'a [u8],
    /// VLAN tags before it.
    tags: u8,
    /// Length of the frame on the wire.
    wire_len: u32,
}

impl Place<'_> {
    /// An offset in `bytes` as one in the frame.
    #[inline(always)]
    const fn in_frame(self, offset: usize) -> u32 {
        offset as u32 + VLAN_BYTES as u32 * self.tags as u32
    }

    /// End of a packet on the wire that begins at `start` and says it is `bytes` long, which counts only within the frame.
    #[inline(always)]
    fn packet_end(self, bytes: u32, start: usize) -> u32 {
        let end = self.in_frame(start) + bytes;
        if bytes == 0 || end > self.wire_len { self.wire_len } else { end }
    }
}

#[inline(always)]
fn version_4(headers: &[u8; IPV4_HEADERS_BYTES], place: Place<'_>, packet: &mut Packet) -> bool {
    let total_bytes = u32::from(headers.u16(16));
    if headers[14] != IPV4_WITHOUT_OPTIONS
        || headers.u16(20) & FRAGMENT_BITS != 0
        || (total_bytes != 0 && total_bytes < IPV4_BYTES as u32)
    {
        return false;
    }
    const AT: usize = ETHERNET_BYTES + IPV4_BYTES;
    let transport: &[u8; TCP_BYTES] = match headers.last_chunk() {
        Some(transport) => transport,
        None => return false,
    };
    let end = place.packet_end(total_bytes, ETHERNET_BYTES);
    if !transport_header(headers[23], transport, AT, end, place, packet) {
        return false;
    }
    packet.network = Network::Ipv4;
    packet.ttl = headers[22];
    packet.source = ipv4_mapped(headers.u32(26));
    packet.destination = ipv4_mapped(headers.u32(30));
    true
}

#[inline(always)]
fn version_6(place: Place<'_>, packet: &mut Packet) -> bool {
    let Some(headers) = place.bytes.first_chunk::<IPV6_HEADERS_BYTES>() else { return false };
    if headers[14] >> 4 != 6 {
        return false;
    }
    const AT: usize = ETHERNET_BYTES + IPV6_BYTES;
    let transport: &[u8; TCP_BYTES] = match headers.last_chunk() {
        Some(transport) => transport,
        None => return false,
    };
    let payload_bytes = u32::from(headers.u16(18));
    // Without a length it ends where the frame does.
    let end = if payload_bytes == 0 { place.wire_len } else { place.packet_end(payload_bytes, AT) };
    if !transport_header(headers[20], transport, AT, end, place, packet) {
        return false;
    }
    packet.network = Network::Ipv6;
    packet.ttl = headers[21];
    packet.source = [22, 26, 30, 34].map(|at| headers.u32(at));
    packet.destination = [38, 42, 46, 50].map(|at| headers.u32(at));
    true
}

/// The transport header at `at` of `place.bytes`, of a packet that ends at `end` of the frame, and what all ordinary
/// frames have in common.
#[inline(always)]
fn transport_header(
    protocol: u8,
    header: &[u8; TCP_BYTES],
    at: usize,
    end: u32,
    place: Place<'_>,
    packet: &mut Packet,
) -> bool {
    let header_bytes = match protocol {
        PROTOCOL_TCP => {
            let header_bytes = u32::from(header[12] >> 4) * 4;
            if header_bytes < TCP_BYTES as u32 {
                return false;
            }
            packet.segment = segment(header, header_bytes, at, end, place);
            packet.transport = Transport::Tcp;
            header_bytes
        }
        PROTOCOL_UDP if !tunnel::is_port(header.u16(2)) => {
            packet.transport = Transport::Udp;
            UDP_BYTES
        }
        _ => return false,
    };
    packet.source_port = header.u16(0);
    packet.destination_port = header.u16(2);
    packet.network_offset = place.in_frame(ETHERNET_BYTES) as u16;
    packet.transport_offset = place.in_frame(at) as u16;
    packet.payload_offset = (place.in_frame(at) + header_bytes) as u16;
    packet.fragment = Fragment::Whole;
    packet.fault = None;
    packet.vlan_tags = place.tags;
    packet.tunnels = 0;
    true
}

#[inline(always)]
fn segment(header: &[u8; TCP_BYTES], header_bytes: u32, at: usize, end: u32, place: Place<'_>) -> Segment {
    let flags = header[13];
    let options = (at + TCP_BYTES) as u32;
    let (shift, (timestamp, echo)) = if flags & tcp_flag::SYN != 0 {
        (tcp::window_scale(place.bytes, options, at as u32 + header_bytes), (0, 0))
    } else if header_bytes > TCP_BYTES as u32 {
        (UNKNOWN_SHIFT, tcp::timestamps(place.bytes, options, header_bytes))
    } else {
        (UNKNOWN_SHIFT, (0, 0))
    };
    Segment {
        sequence: header.u32(4),
        acknowledgment: header.u32(8),
        payload_bytes: end.saturating_sub(place.in_frame(at) + header_bytes),
        window: header.u16(14),
        timestamp,
        echo,
        flags,
        shift,
    }
}
