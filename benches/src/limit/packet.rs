//! The few header fields the yardstick needs, read by fixed offsets from one record.

use crate::pcap::Record;
pub(super) use crate::wire::flag;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Tcp,
    Udp,
}

/// One TCP or UDP packet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packet {
    /// Hash of the five-tuple, the same for both directions; identifies the flow, never zero.
    pub(super) key: u64,
    /// 0 or 1: which of the two ends sent it, by the order of (address, port).
    pub(super) side: u8,
    pub(super) protocol: Protocol,
    /// TCP flags, zero for UDP.
    pub(super) flags: u8,
    /// Microseconds, modulo 2^32.
    pub(super) at_us: u32,
    pub(super) seq: u32,
    pub(super) ack: u32,
    /// By the IP header, so also right where the snap length cut the packet.
    pub(super) payload_bytes: u32,
}

impl Packet {
    #[inline]
    pub(super) fn is_syn(&self) -> bool {
        self.flags & (flag::SYN | flag::ACK) == flag::SYN
    }
}

/// `None` where it is neither TCP nor UDP over IP, or too short for its headers.
#[inline]
pub(super) fn parse(record: &Record<'_>) -> Option<Packet> {
    let bytes = record.bytes;
    let mut offset = 14;
    let mut ether_type = half(bytes, 12)?;
    while matches!(ether_type, 0x8100 | 0x88a8) {
        ether_type = half(bytes, offset + 2)?;
        offset += 4;
    }
    let (source, destination, protocol, l4, l4_bytes) = match ether_type {
        0x0800 => {
            let header: &[u8; 20] = bytes.get(offset..)?.first_chunk()?;
            let header_bytes = usize::from(header[0] & 0x0f) * 4;
            let l4_bytes = u32::from(half(header, 2)?).wrapping_sub(header_bytes as u32);
            let (source, destination) = (u64::from(word(header, 12)?), u64::from(word(header, 16)?));
            (source, destination, header[9], bytes.get(offset + header_bytes..)?, l4_bytes)
        }
        0x86dd => {
            let header: &[u8; 40] = bytes.get(offset..)?.first_chunk()?;
            let address = |at: usize| {
                let (high, low) = header[at..at + 16].split_at(8);
                Some(mix(u64::from_be_bytes(high.try_into().ok()?), u64::from_be_bytes(low.try_into().ok()?)))
            };
            (address(8)?, address(24)?, header[6], &bytes[offset + 40..], u32::from(half(header, 4)?))
        }
        _ => return None,
    };
    let source = (source << 16) ^ u64::from(half(l4, 0)?);
    let destination = (destination << 16) ^ u64::from(half(l4, 2)?);
    let key = mix(source.min(destination), source.max(destination)) ^ u64::from(protocol);
    let mut packet = Packet {
        key: key.max(1),
        side: u8::from(source > destination),
        protocol: Protocol::Udp,
        flags: 0,
        at_us: record.at_s.wrapping_mul(1_000_000).wrapping_add(record.at_us),
        seq: 0,
        ack: 0,
        payload_bytes: l4_bytes.wrapping_sub(8),
    };
    match protocol {
        6 => {
            let header: &[u8; 20] = l4.first_chunk()?;
            packet.protocol = Protocol::Tcp;
            packet.flags = header[13] & 0x3f;
            packet.seq = word(header, 4)?;
            packet.ack = word(header, 8)?;
            packet.payload_bytes = l4_bytes.wrapping_sub(u32::from(header[12] >> 4) * 4);
        }
        17 => {}
        _ => return None,
    }
    Some(packet)
}

/// Folded multiplication: two rounds of it pass for random here. Fixed keys: the input is our own.
#[inline]
fn mix(left: u64, right: u64) -> u64 {
    let product = u128::from(left ^ 0x9e37_79b9_7f4a_7c15) * u128::from(right ^ 0xd6e8_feb8_6659_fd93);
    let folded = (product as u64) ^ (product >> 64) as u64;
    (folded ^ (folded >> 32)).wrapping_mul(0xbf58_476d_1ce4_e5b9)
}

#[inline]
fn half(bytes: &[u8], offset: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(offset..)?.first_chunk()?))
}

#[inline]
fn word(bytes: &[u8], offset: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(offset..)?.first_chunk()?))
}
