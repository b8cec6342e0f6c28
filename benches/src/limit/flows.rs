//! The flow table: open addressing, one 64-byte line per flow, doubled when half full; and what a packet does to it.
//!
//! Flows are never removed, so memory is 128 to 256 bytes per flow of the capture.

use std::io;

use bytemuck::{Pod, Zeroable};

use super::Counts;
use super::packet::{Packet, flag};
use crate::memory::HugeArray;

const SLOTS_FIRST: usize = 1 << 16;

/// `Flow::state` bits.
mod state {
    pub(super) const AWAITS_ACK: u32 = 1;
    /// `1 << side`: that side's sequence numbers are known.
    pub(super) const SEQ_KNOWN: u32 = 2;
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Side {
    next_seq: u32,
    /// Acknowledgement number last sent.
    ack: u32,
    /// The segment being timed ends here; not timed while `timed_us` is zero.
    timed_seq: u32,
    timed_us: u32,
    payload_bytes: u32,
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
pub(super) struct Flow {
    /// Zero: empty slot.
    key: u64,
    sides: [Side; 2],
    packets: u32,
    asked_us: u32,
    last_us: u32,
    state: u32,
}

const _: () = assert!(size_of::<Flow>() == 64);

pub(super) struct Flows {
    slots: HugeArray<Flow>,
    count: usize,
}

impl Flows {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { slots: HugeArray::zeroed(SLOTS_FIRST)?, count: 0 })
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    #[inline]
    pub(super) fn line(&self, key: u64) -> &Flow {
        let slots = self.slots.items();
        &slots[key as usize & (slots.len() - 1)]
    }

    #[inline]
    pub(super) fn find(&mut self, key: u64) -> Option<&mut Flow> {
        let flow = probe(self.slots.items_mut(), key);
        (flow.key == key).then_some(flow)
    }

    /// Adds the flow of `packet`, which must not be there yet; `asked_us` is when its SYN was seen.
    pub(super) fn insert(&mut self, packet: &Packet, asked_us: Option<u32>) -> &mut Flow {
        self.grow();
        self.count += 1;
        let flow = probe(self.slots.items_mut(), packet.key);
        flow.key = packet.key;
        if let Some(asked_us) = asked_us {
            let (own, peer) = (usize::from(packet.side), usize::from(packet.side ^ 1));
            flow.asked_us = asked_us;
            flow.state = state::AWAITS_ACK | state::SEQ_KNOWN | (state::SEQ_KNOWN << 1);
            flow.sides[own].next_seq = packet.seq.wrapping_add(1);
            flow.sides[peer].next_seq = packet.ack;
        }
        flow
    }

    /// Doubles the table where it is half full. Where the system refuses the memory the table fills up further.
    fn grow(&mut self) {
        let slots = self.slots.items();
        if self.count * 2 < slots.len() {
            return;
        }
        let Ok(mut grown) = HugeArray::zeroed(slots.len() * 2) else { return };
        for flow in slots.iter().filter(|flow| flow.key != 0) {
            *probe(grown.items_mut(), flow.key) = *flow;
        }
        self.slots = grown;
    }
}

/// The slot of `key`, or the empty one where it belongs.
#[inline]
fn probe(slots: &mut [Flow], key: u64) -> &mut Flow {
    let mask = slots.len() - 1;
    let mut index = key as usize & mask;
    while slots[index].key != key && slots[index].key != 0 {
        index = (index + 1) & mask;
    }
    &mut slots[index]
}

impl Flow {
    /// Sequence tracking, handshake and round-trip times by one packet.
    #[inline]
    pub(super) fn update(&mut self, packet: &Packet, counts: &mut Counts) {
        self.packets = self.packets.wrapping_add(1);
        self.last_us = packet.at_us;
        let own = usize::from(packet.side);
        self.sides[own].payload_bytes = self.sides[own].payload_bytes.wrapping_add(packet.payload_bytes);
        if packet.flags & flag::ACK != 0 {
            self.acknowledge(packet, counts);
        }
        if packet.payload_bytes > 0 && packet.flags != 0 {
            self.advance(packet, counts);
        }
    }

    /// What the acknowledgement number says: handshake done, duplicate, or a timed segment has arrived.
    #[inline]
    fn acknowledge(&mut self, packet: &Packet, counts: &mut Counts) {
        let (own, peer) = (usize::from(packet.side), usize::from(packet.side ^ 1));
        if packet.flags & flag::SYN == 0 && self.state & state::AWAITS_ACK != 0 {
            self.state &= !state::AWAITS_ACK;
            counts.handshakes_completed += u64::from(packet.ack == self.sides[peer].next_seq);
            counts.handshake_us_sum += u64::from(packet.at_us.wrapping_sub(self.asked_us));
        }
        let is_pure = packet.payload_bytes == 0 && packet.flags & (flag::SYN | flag::FIN | flag::RST) == 0;
        counts.duplicate_acks += u64::from(is_pure && packet.ack == self.sides[own].ack);
        self.sides[own].ack = packet.ack;
        let timed = &mut self.sides[peer];
        if timed.timed_us != 0 && packet.ack.wrapping_sub(timed.timed_seq) < 1 << 31 {
            counts.rtt_samples += 1;
            counts.rtt_us_sum += u64::from(packet.at_us.wrapping_sub(timed.timed_us));
            timed.timed_us = 0;
        }
    }

    /// Moves the sender's highest sequence number, or counts the segment as behind it.
    #[inline]
    fn advance(&mut self, packet: &Packet, counts: &mut Counts) {
        let known = state::SEQ_KNOWN << packet.side;
        let side = &mut self.sides[usize::from(packet.side)];
        let end_seq = packet.seq.wrapping_add(packet.payload_bytes);
        if self.state & known == 0 {
            self.state |= known;
            side.next_seq = packet.seq;
        }
        if packet.seq.wrapping_sub(side.next_seq) < 1 << 31 {
            side.next_seq = end_seq;
            if side.timed_us == 0 {
                (side.timed_seq, side.timed_us) = (end_seq, packet.at_us.max(1));
            }
        } else {
            counts.behind += 1;
            // Karn: nobody knows which copy an ACK is for.
            side.timed_us = 0;
        }
    }
}
