//! Who talks to whom: five-tuples, undirected flow keys, and the seeded hashes that find their slots.
//!
//! Both ends are hashed apart and added, so a flow has one hash in either direction without sorting, and a
//! listener's hash is that of its end. Slots compare hashes, not addresses: 32 bits of fingerprint beside the
//! bucket index, so two flows of one table fall together once in 2^49 pairs (2^17 buckets). The seed is random
//! live, so that nobody can aim at a slot, and fixed for files, so that the same capture gives the same output.

use crate::packet::{Address, Packet, ipv4_mapped};

const MULTIPLIER_A: u64 = 0x9e37_79b9_7f4a_7c15;
const MULTIPLIER_B: u64 = 0xd6e8_feb8_6659_fd93;

/// Addresses and ports as the packet has them: the source spoke.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FiveTuple {
    /// Source address.
    pub source: Address,
    /// Destination address.
    pub destination: Address,
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub destination_port: u16,
}

/// Which end of the flow key sent a segment: the ends are ordered by their hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Side {
    /// The end with the lower hash.
    Low = 0,
    /// The end with the higher hash (or both are the same end, as in a LAND attack).
    High = 1,
}

impl Side {
    /// The other end.
    #[inline(always)]
    pub const fn other(self) -> Self {
        match self {
            Self::Low => Self::High,
            Self::High => Self::Low,
        }
    }
}

/// The undirected key of a TCP flow: the hash of each end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowKey {
    /// Hash of the source end.
    pub source: u64,
    /// Hash of the destination end.
    pub destination: u64,
}

impl FlowKey {
    /// The key of a TCP packet.
    #[inline(always)]
    pub const fn of(packet: &Packet, seed: u64) -> Self {
        Self {
            source: end_hash(packet.source, packet.source_port, seed),
            destination: end_hash(packet.destination, packet.destination_port, seed),
        }
    }

    /// The same key of a packet that is known to be IPv4: most of its addresses is constant.
    #[inline(always)]
    pub const fn of_ipv4(packet: &Packet, seed: u64) -> Self {
        Self {
            source: end_hash(ipv4_mapped(packet.source[3]), packet.source_port, seed),
            destination: end_hash(ipv4_mapped(packet.destination[3]), packet.destination_port, seed),
        }
    }

    /// Equal for both directions.
    #[inline(always)]
    pub const fn hash(self) -> u64 {
        finish(self.source.wrapping_add(self.destination))
    }

    /// Which end sent the packet.
    #[inline(always)]
    pub const fn sender(self) -> Side {
        if self.source < self.destination { Side::Low } else { Side::High }
    }
}

/// The part of a hash a slot stores to be recognised by; never 0, which marks a free slot.
#[inline(always)]
pub const fn fingerprint(hash: u64) -> u32 {
    (hash >> 32) as u32 | 1
}

/// Hash of one end of a flow; also the id of a listener.
#[inline(always)]
pub const fn end_hash(address: Address, port: u16, seed: u64) -> u64 {
    let high = (address[0] as u64) << 32 | address[1] as u64;
    let low = (address[2] as u64) << 32 | address[3] as u64;
    let mut hash = (seed ^ low).wrapping_mul(MULTIPLIER_A);
    hash ^= hash >> 32;
    hash = (hash ^ high ^ (port as u64) << 17).wrapping_mul(MULTIPLIER_B);
    hash ^ hash >> 29
}

/// Hash of a source address at one listener, for the heavy-hitter and distinct-source sketches.
#[inline(always)]
pub const fn pair_hash(source: Address, listener: u64, seed: u64) -> u64 {
    finish(end_hash(source, 0, seed ^ listener))
}

/// Hash of a target address; never 0, which marks a free row.
#[inline(always)]
pub const fn target_hash(address: Address, seed: u64) -> u64 {
    end_hash(address, 0, seed) | 1
}

/// The network a source belongs to: /24 of IPv4, /48 of IPv6 (what one site or customer usually has).
#[inline(always)]
pub const fn prefix_of(address: Address) -> Address {
    if address[0] == 0 && address[1] == 0 && address[2] == 0xffff {
        [0, 0, 0xffff, address[3] & 0xffff_ff00]
    } else {
        [address[0], address[1] & 0xffff_0000, 0, 0]
    }
}

#[inline(always)]
const fn finish(hash: u64) -> u64 {
    let hash = (hash ^ hash >> 32).wrapping_mul(MULTIPLIER_A);
    hash ^ hash >> 29
}
