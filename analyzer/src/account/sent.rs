//! What hosts send that is not TCP: counts by a hash of the sender, so that it can be told whether what comes to a host
//! may be the answer to what it sent.
//!
//! Limits: [`SLOTS`] places; senders that share one are counted together, so a count is at most too high. Counts only
//! grow: who reads them keeps what they were. What they were when the second began is kept beside them, for hosts that
//! sent before anything came to them.

use tidegauge_capture::memory::prefetch;
use tidegauge_ebpf::packet::{Fragment, Packet, Transport};

use crate::huge;
use crate::ports::is_reflector;

/// Places, 1 MiB: of a flood with random senders so small a part is counted to its victim.
pub const SLOTS: usize = 32_768;

/// Counts of one host: datagrams, ICMP messages, datagrams to one port of a reflector.
pub(super) type HostSent = [u32; 3];

#[derive(Clone, Copy, Default)]
#[repr(C, align(32))]
struct Slot {
    counts: HostSent,
    before: HostSent,
    /// The second that `before` is the beginning of.
    second: u32,
}

/// All counts.
pub(super) struct Sent {
    slots: huge::Table<Slot>,
    second: u32,
}

impl Sent {
    pub(super) fn new() -> Self {
        Self { slots: huge::Table::new(SLOTS), second: 1 }
    }

    /// Has the line fetched that a packet of the sender with hash `id` will need.
    #[inline]
    pub(super) fn prefetch(&self, id: u64) {
        prefetch(&self.slots[slot(id)]);
    }

    /// Counts a packet of the sender with hash `id`.
    #[inline]
    pub(super) fn count(&mut self, id: u64, packet: &Packet, packets: u32) {
        match packet.transport {
            Transport::Icmp => self.add(slot(id), 1, packets),
            Transport::Udp if packet.fragment != Fragment::Later => {
                self.add(slot(id), 0, packets);
                if is_reflector(packet.destination_port) {
                    self.add(port_slot(id, packet.destination_port), 2, packets);
                }
            }
            _ => {}
        }
    }

    #[inline]
    fn add(&mut self, slot: usize, kind: usize, packets: u32) {
        let slot = &mut self.slots[slot];
        if slot.second != self.second {
            (slot.second, slot.before) = (self.second, slot.counts);
        }
        slot.counts[kind] = slot.counts[kind].wrapping_add(packets);
    }

    /// What the host with hash `id` sent, and of it to `port`.
    pub(super) fn of(&self, id: u64, port: u16) -> HostSent {
        read(id, port, |slot| self.slots[slot].counts)
    }

    /// The same at the beginning of the second.
    pub(super) fn before(&self, id: u64, port: u16) -> HostSent {
        read(id, port, |slot| {
            let slot = &self.slots[slot];
            if slot.second == self.second { slot.before } else { slot.counts }
        })
    }

    /// A second ends.
    pub(super) const fn end_second(&mut self) {
        self.second = self.second.wrapping_add(1);
    }
}

fn read(id: u64, port: u16, counts: impl Fn(usize) -> HostSent) -> HostSent {
    let [udp, icmp, _] = counts(slot(id));
    [udp, icmp, counts(port_slot(id, port))[2]]
}

const fn slot(id: u64) -> usize {
    (id >> 20) as usize & (SLOTS - 1)
}

const fn port_slot(id: u64, port: u16) -> usize {
    slot((id ^ port as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_known_by_its_port_and_by_its_second() {
        let mut sent = Sent::new();
        let packet =
            Packet { transport: Transport::Udp, destination_port: 53, source_port: 4_000, ..Packet::EMPTY };
        sent.count(77 << 20, &packet, 2);
        assert_eq!(sent.of(77 << 20, 53), [2, 0, 2]);
        assert_eq!(sent.of(77 << 20, 123), [2, 0, 0]);
        assert_eq!(sent.before(77 << 20, 53), [0; 3]);
        sent.end_second();
        assert_eq!(sent.before(77 << 20, 53), [2, 0, 2]);
        sent.count(77 << 20, &packet, 1);
        assert_eq!((sent.before(77 << 20, 53), sent.of(77 << 20, 53)), ([2, 0, 2], [3, 0, 3]));
    }
}
