//! The short way through the headers of ordinary frames, for userspace: TCP and UDP in IPv4 or IPv6 in Ethernet.
//!
//! [`quick`] knows one shape: at most one VLAN tag, IPv4 without options or IPv6 without extension headers, no fragment,
//! no tunnel, no fault, all fixed headers captured. Of anything else it says so and leaves the packet alone; then the
//! walk reads it. Where it does read a frame, it writes what the walk writes, field by field: the tests hold one
//! against the other. The kernel's program keeps to the walk, whose branches the verifier follows anyway.
//! The analyzer reads frames of files with it.

use super::{link, over_udp, tcp};
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
/// EtherTypes as they stand in the frame.
const IPV4: u16 = link::IPV4 as u16;
const IPV6: u16 = link::IPV6 as u16;
const VLAN: u16 = link::VLAN as u16;
const VLAN_SERVICE: u16 = link::VLAN_SERVICE as u16;
const VLAN_OLD: u16 = link::VLAN_OLD as u16;
/// Version 4, five words of header.
const IPV4_WITHOUT_OPTIONS: u8 = 0x45;
/// More fragments, or an offset.
const FRAGMENT_BITS: u16 = 0x3fff;
const PROTOCOL_TCP: u8 = 6;
const PROTOCOL_UDP: u8 = 17;

/// What no [`Packet`] says of an ordinary frame: what tells it from a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marks {
    /// IPv4's identification; 0 in IPv6, which has none.
    pub identification: u16,
    /// TCP's checksum; meaningless with UDP.
    pub checksum: u16,
}

/// Reads a frame of ordinary shape as [`super::parse`] does (with tunnels); `None` where it has another one, and
/// nothing is written then. `wire_len` in bytes.
#[inline(always)]
pub fn quick(frame: &[u8], link: LinkType, wire_len: u32, packet: &mut Packet) -> Option<Marks> {
    if link != LinkType::Ethernet {
        return None;
    }
    let headers = frame.first_chunk::<IPV4_HEADERS_BYTES>()?;
    let ether_type = headers.u16(ETHERNET_BYTES - 2);
    if ether_type == IPV4 {
        return version_4::<0>(headers, frame, wire_len, packet);
    }
    match ether_type {
        IPV6 => version_6::<0>(frame, wire_len, packet),
        VLAN | VLAN_SERVICE | VLAN_OLD => tagged(frame, wire_len, packet),
        _ => None,
    }
}

/// The same behind a tag. Apart, as IPv6 is: what all frames run through stays short, and its values in registers.
#[inline(never)]
fn tagged(frame: &[u8], wire_len: u32, packet: &mut Packet) -> Option<Marks> {
    let behind_tag = frame.get(VLAN_BYTES..)?;
    let headers = behind_tag.first_chunk::<IPV4_HEADERS_BYTES>()?;
    match headers.u16(ETHERNET_BYTES - 2) {
        IPV4 => version_4::<1>(headers, behind_tag, wire_len, packet),
        IPV6 => version_6::<1>(behind_tag, wire_len, packet),
        _ => None,
    }
}

/// An offset behind so many tags as one in the frame.
const fn in_frame<const TAGS: usize>(offset: usize) -> u32 {
    (offset + VLAN_BYTES * TAGS) as u32
}

/// `headers` begin `bytes`, which are the frame as if it began behind its tags: the EtherType that counts is at 12.
#[inline(always)]
fn version_4<const TAGS: usize>(
    headers: &[u8; IPV4_HEADERS_BYTES],
    bytes: &[u8],
    wire_len: u32,
    packet: &mut Packet,
) -> Option<Marks> {
    const AT: usize = ETHERNET_BYTES + IPV4_BYTES;
    let total_bytes = u32::from(headers.u16(16));
    // 0 is what offloading hosts show: then the frame's end is the packet's.
    let end = match total_bytes {
        0 => wire_len,
        _ => wire_len.min(in_frame::<TAGS>(ETHERNET_BYTES) + total_bytes),
    };
    let too_short = total_bytes.wrapping_sub(1) < IPV4_BYTES as u32 - 1;
    if headers[14] != IPV4_WITHOUT_OPTIONS || headers.u16(20) & FRAGMENT_BITS != 0 || too_short {
        return None;
    }
    let header: &[u8; TCP_BYTES] = headers.last_chunk()?;
    transport::<TAGS, AT>(headers[23], header, bytes, end, packet)?;
    packet.network = Network::Ipv4;
    packet.ttl = headers[22];
    packet.source = ipv4_mapped(headers.u32(26));
    packet.destination = ipv4_mapped(headers.u32(30));
    Some(Marks { identification: headers.u16(18), checksum: header.u16(16) })
}

/// `bytes` as in [`version_4`].
#[inline(never)]
fn version_6<const TAGS: usize>(bytes: &[u8], wire_len: u32, packet: &mut Packet) -> Option<Marks> {
    const AT: usize = ETHERNET_BYTES + IPV6_BYTES;
    let headers = bytes.first_chunk::<IPV6_HEADERS_BYTES>()?;
    if headers[14] >> 4 != 6 {
        return None;
    }
    // 0 is what offloading hosts and jumbograms show.
    let end = match u32::from(headers.u16(18)) {
        0 => wire_len,
        payload_bytes => wire_len.min(in_frame::<TAGS>(AT) + payload_bytes),
    };
    let header: &[u8; TCP_BYTES] = headers.last_chunk()?;
    transport::<TAGS, AT>(headers[20], header, bytes, end, packet)?;
    packet.network = Network::Ipv6;
    packet.ttl = headers[21];
    packet.source = [22, 26, 30, 34].map(|at| headers.u32(at));
    packet.destination = [38, 42, 46, 50].map(|at| headers.u32(at));
    Some(Marks { identification: 0, checksum: header.u16(16) })
}

/// The transport header at `AT` of `bytes`, of a packet that ends at `end` of the frame, and what all ordinary frames
/// have in common. It is the last that may refuse.
#[inline(always)]
fn transport<const TAGS: usize, const AT: usize>(
    protocol: u8,
    header: &[u8; TCP_BYTES],
    bytes: &[u8],
    end: u32,
    packet: &mut Packet,
) -> Option<()> {
    let at = const { in_frame::<TAGS>(AT) };
    let header_bytes = match protocol {
        PROTOCOL_TCP => {
            let header_bytes = u32::from(header[12] >> 4) * 4;
            if header_bytes < TCP_BYTES as u32 {
                return None;
            }
            let payload_bytes = end.saturating_sub(at + header_bytes);
            packet.segment = segment::<AT>(header, header_bytes, bytes, payload_bytes);
            packet.transport = Transport::Tcp;
            header_bytes
        }
        PROTOCOL_UDP if !over_udp::is_port(header.u16(0), header.u16(2)) => {
            packet.transport = Transport::Udp;
            UDP_BYTES
        }
        _ => return None,
    };
    packet.source_port = header.u16(0);
    packet.destination_port = header.u16(2);
    packet.network_offset = const { in_frame::<TAGS>(ETHERNET_BYTES) as u16 };
    packet.transport_offset = at as u16;
    packet.payload_offset = (at + header_bytes) as u16;
    packet.fragment = Fragment::Whole;
    packet.fault = None;
    packet.vlan_tags = TAGS as u8;
    packet.tunnels = 0;
    Some(())
}

#[inline(always)]
fn segment<const AT: usize>(
    header: &[u8; TCP_BYTES],
    header_bytes: u32,
    bytes: &[u8],
    payload_bytes: u32,
) -> Segment {
    let flags = header[13];
    let options = const { (AT + TCP_BYTES) as u32 };
    let (mut shift, mut timestamp, mut echo) = (UNKNOWN_SHIFT, 0, 0);
    if flags & tcp_flag::SYN != 0 {
        shift = window_scale(bytes, options, AT as u32 + header_bytes);
    } else if header_bytes > TCP_BYTES as u32 {
        (timestamp, echo) = tcp::timestamps(bytes, options, header_bytes);
    }
    Segment {
        sequence: header.u32(4),
        acknowledgment: header.u32(8),
        payload_bytes,
        window: header.u16(14),
        timestamp,
        echo,
        flags,
        shift,
    }
}

/// The walk over the options, apart: only SYNs need it.
#[inline(never)]
fn window_scale(bytes: &[u8], start: u32, end: u32) -> u8 {
    tcp::window_scale(bytes, start, end)
}
