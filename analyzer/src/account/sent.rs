//! What hosts send that is not TCP: counts by a hash of the sender, so that it can be told whether what comes to a host
//! may be the answer to what it sent.
//!
//! Limits: [`SLOTS`] counts of each; senders that share one are counted together, so a count is at most too high. Counts
//! only grow: who reads them keeps what they were.

use tidegauge_ebpf::packet::{Fragment, Packet, Transport};

use crate::ports::is_reflector;

/// Counts of each, 16 KiB: of a flood with random senders a four-thousandth is counted to its victim.
const SLOTS: usize = 4_096;
/// Datagrams, ICMP messages, and datagrams by port to ports of reflectors.
const KINDS: usize = 3;

/// Counts of one host.
pub(super) type HostSent = [u32; KINDS];

/// All counts, and what they were when the second began: what a host sent before anything came to it.
pub(super) struct Sent {
    counts: Box<[HostSent]>,
    before: Box<[HostSent]>,
}

impl Sent {
    pub(super) fn new() -> Self {
        let counts = || vec![HostSent::default(); SLOTS].into_boxed_slice();
        Self { counts: counts(), before: counts() }
    }

    /// Counts a packet of the sender with hash `id`.
    #[inline]
    pub(super) fn count(&mut self, id: u64, packet: &Packet, packets: u32) {
        let mut add = |slot: usize, kind: usize| {
            let count = &mut self.counts[slot][kind];
            *count = count.wrapping_add(packets);
        };
        match packet.transport {
            Transport::Icmp => add(slot(id), 1),
            Transport::Udp if packet.fragment != Fragment::Later => {
                add(slot(id), 0);
                if is_reflector(packet.destination_port) {
                    add(port_slot(id, packet.destination_port), 2);
                }
            }
            _ => {}
        }
    }

    /// What the host with hash `id` sent, the datagrams by port to `port`.
    pub(super) fn of(&self, id: u64, port: u16) -> HostSent {
        read(&self.counts, id, port)
    }

    /// The same at the beginning of the second.
    pub(super) fn before(&self, id: u64, port: u16) -> HostSent {
        read(&self.before, id, port)
    }

    /// A second ends.
    pub(super) fn end_second(&mut self) {
        self.before.copy_from_slice(&self.counts);
    }
}

fn read(counts: &[HostSent], id: u64, port: u16) -> HostSent {
    let [udp, icmp, _] = counts[slot(id)];
    [udp, icmp, counts[port_slot(id, port)][2]]
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
    fn a_query_is_known_by_its_port() {
        let mut sent = Sent::new();
        let packet =
            Packet { transport: Transport::Udp, destination_port: 53, source_port: 4_000, ..Packet::EMPTY };
        sent.count(77 << 20, &packet, 2);
        assert_eq!(sent.of(77 << 20, 53), [2, 0, 2]);
        assert_eq!(sent.of(77 << 20, 123), [2, 0, 0]);
        assert_eq!(sent.before(77 << 20, 53), [0; 3]);
        sent.end_second();
        assert_eq!(sent.before(77 << 20, 53), [2, 0, 2]);
    }
}
