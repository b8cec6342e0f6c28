//! What is not TCP, by target: UDP, ICMP and other packets per destination address, with what tells a flood from
//! ordinary traffic there (fragments, the usual ports, how many TTL classes).
//!
//! Four rows a bucket, the ids in one line before them, like [`crate::listener`]. A silent target gives its row to a
//! new one; where all four are busy the packet is in the totals, in no row, and counted as such.

use crate::counter::counters;
use crate::limits::{LISTENER_IDLE, TARGET_WAYS};
use crate::listener::choice;
use crate::packet::{Address, Fragment, Packet, Transport};
use crate::stamp::Stamp;

counters! { TargetCounter:
    /// UDP datagrams.
    UdpPackets = "udp_packets",
    /// Their bytes on the wire.
    UdpBytes = "udp_bytes",
    /// ICMP and ICMPv6 messages.
    IcmpPackets = "icmp_packets",
    /// Their bytes on the wire.
    IcmpBytes = "icmp_bytes",
    /// Packets of other IP protocols.
    OtherPackets = "other_packets",
    /// Their bytes on the wire.
    OtherBytes = "other_bytes",
    /// Fragments, first ones included, of any protocol.
    Fragments = "fragments",
}

impl TargetCounter {
    /// How many there are.
    pub const COUNT: usize = Self::ALL.len();
}

/// Room for counters: a power of two, so that a mask proves an index.
const VALUES: usize = 8;
const _: () = assert!(TargetCounter::COUNT <= VALUES);

/// The value that most samples have, if more than half do (Boyer and Moore 1981).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Majority {
    /// The candidate.
    pub port: u16,
    /// How far it leads.
    pub lead: u16,
}

impl Majority {
    /// One more sample.
    #[inline(always)]
    pub fn record(&mut self, port: u16) {
        if self.port == port {
            self.lead = self.lead.saturating_add(1);
        } else if self.lead == 0 {
            *self = Self { port, lead: 1 };
        } else {
            self.lead -= 1;
        }
    }
}

/// One target, 128 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TargetRow {
    /// Address.
    pub address: Address,
    /// Last packet.
    pub seen: Stamp,
    /// Grows when the row is given to another target.
    pub generation: u32,
    /// By [`TargetCounter`]; the rest is room.
    pub counters: [u64; VALUES],
    /// TTL classes seen, see [`ttl_class`]: in the current sketch period and in the one before.
    pub ttl_classes: [u64; 2],
    /// [`Stamp::period`] of each.
    pub ttl_periods: [u32; 2],
    /// UDP source port of most datagrams.
    pub source_port: Majority,
    /// UDP destination port of most datagrams.
    pub destination_port: Majority,
    /// Fills the row.
    pub reserved: u64,
}

/// Four targets.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TargetBucket {
    /// Hash of each row's address, 0 where free.
    pub ids: [u64; TARGET_WAYS],
    /// Fills the line.
    pub reserved: [u64; 4],
    /// The rows.
    pub rows: [TargetRow; TARGET_WAYS],
}

const _: () = assert!(size_of::<TargetRow>() == 128 && size_of::<TargetBucket>() == 64 + 4 * 128);

/// One of 64 classes of four TTLs, as a bit. Packets of one place have one class, of forged addresses often still one,
/// of the world many.
#[inline(always)]
pub const fn ttl_class(ttl: u8) -> u64 {
    1 << (ttl >> 2)
}

/// Notes a TTL class in the bank of `now`'s period.
#[inline(always)]
pub fn record_ttl(classes: &mut [u64; 2], periods: &mut [u32; 2], ttl: u8, now: Stamp) {
    let period = now.period();
    let bank = period as usize & 1;
    if periods[bank] != period {
        periods[bank] = period;
        classes[bank] = 0;
    }
    classes[bank] |= ttl_class(ttl);
}

impl TargetBucket {
    /// The row of target `id`, as [`choice`] bits: its own, else a free one, else that of a silent target.
    #[inline(always)]
    pub fn choose(&self, id: u64, now: Stamp) -> u32 {
        if let Some(way) = self.ids.iter().position(|known| *known == id) {
            return way as u32;
        }
        if let Some(way) = self.ids.iter().position(|known| *known == 0) {
            return way as u32 | choice::FRESH;
        }
        match self.rows.iter().position(|row| now.since(row.seen) > LISTENER_IDLE) {
            Some(way) => way as u32 | choice::FRESH | choice::EVICTED,
            None => choice::REFUSED,
        }
    }
}

impl TargetRow {
    /// Begins the row of a new target.
    #[inline(always)]
    pub fn start(&mut self, address: Address, now: Stamp) {
        let generation = self.generation.wrapping_add(1);
        *self = Self { address, seen: now, generation, ..Self::default() };
        self.ttl_periods = [now.period(); 2];
    }

    /// Packets of all protocols.
    pub const fn packets(&self) -> u64 {
        self.counters[TargetCounter::UdpPackets as usize]
            + self.counters[TargetCounter::IcmpPackets as usize]
            + self.counters[TargetCounter::OtherPackets as usize]
    }

    /// Counts a packet to it.
    #[inline(always)]
    pub fn record(&mut self, packet: &Packet, packets: u64, wire_bytes: u64, now: Stamp) {
        self.seen = now;
        match packet.transport {
            Transport::Udp => {
                self.add(TargetCounter::UdpPackets, packets);
                self.add(TargetCounter::UdpBytes, wire_bytes);
                self.source_port.record(packet.source_port);
                self.destination_port.record(packet.destination_port);
            }
            Transport::Icmp => {
                self.add(TargetCounter::IcmpPackets, packets);
                self.add(TargetCounter::IcmpBytes, wire_bytes);
            }
            _ => {
                self.add(TargetCounter::OtherPackets, packets);
                self.add(TargetCounter::OtherBytes, wire_bytes);
            }
        }
        if packet.fragment != Fragment::Whole {
            self.add(TargetCounter::Fragments, packets);
        }
        record_ttl(&mut self.ttl_classes, &mut self.ttl_periods, packet.ttl, now);
    }

    #[inline(always)]
    fn add(&mut self, counter: TargetCounter, amount: u64) {
        let value = &mut self.counters[counter as usize];
        *value = value.wrapping_add(amount);
    }

    /// A counter's value.
    pub const fn get(&self, counter: TargetCounter) -> u64 {
        self.counters[counter as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_of_most_datagrams_is_named() {
        let mut majority = Majority::default();
        for sample in 0..1_000_u16 {
            majority.record(if sample % 3 == 0 { sample } else { 123 });
        }
        assert_eq!(majority.port, 123);
    }

    #[test]
    fn a_busy_bucket_refuses_and_a_silent_row_is_given_away() {
        let mut bucket = TargetBucket { ids: [1, 2, 3, 4], ..TargetBucket::default() };
        assert_eq!(bucket.choose(5, Stamp(0)), choice::REFUSED);
        bucket.rows[0].seen = Stamp(LISTENER_IDLE * 2);
        assert_eq!(bucket.choose(5, Stamp(LISTENER_IDLE * 2)), 1 | choice::FRESH | choice::EVICTED);
        assert_eq!(bucket.choose(3, Stamp(0)), 2);
    }
}
