//! How a connection's state begins: with what its SYN and SYN-ACK told, whether or not the handshake was completed.
//!
//! Wireshark keeps a connection from its first packet on. Here an attempt stays in the half-open cache until its handshake
//! is complete, so that a flood fills no tables; what the cache knows is made up for when another segment comes first
//! ([`Connection::join`]).

use super::connection::{Connection, Direction, Story, clock_us, flag, state};
use super::judge::{Seen, advance, resent};
use super::mark;
use super::unseen::unseen;
use crate::attempt::{ASKED, Attempt, UNASKED};
use crate::flow::Side;
use crate::packet::{NO_SHIFT, Segment, UNKNOWN_SHIFT};
use crate::sequence::may_be_after;
use crate::stamp::{Stamp, units_to_us};

/// What the half-open cache knows beside the handshake itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Opening {
    /// Time of the first SYN, nanoseconds.
    pub first_ns: u64,
    /// Its number in the run.
    pub first_packet: u64,
    /// Window fields of SYN and SYN-ACK.
    pub windows: [u16; 2],
    /// SYNs and SYN-ACKs that were sent again.
    pub again: [u8; 2],
    /// Both ends asked at once.
    pub simultaneous: bool,
    /// First sequence numbers of initiator and responder.
    pub sequences: [u32; 2],
    /// Payload of SYN and SYN-ACK (TCP Fast Open, RFC 7413), bytes.
    pub payloads: [u16; 2],
    /// What the SYN-ACKs of initiator (in a simultaneous open) and responder acknowledged.
    pub acknowledgments: [Option<u32>; 2],
}

impl Opening {
    /// Sequence numbers behind SYN and SYN-ACK.
    pub const fn next_sequences(&self) -> [u32; 2] {
        let [asked, answered] = self.sequences;
        let [asked_bytes, answered_bytes] = self.payloads;
        [
            asked.wrapping_add(1).wrapping_add(asked_bytes as u32),
            answered.wrapping_add(1).wrapping_add(answered_bytes as u32),
        ]
    }
}

impl Connection {
    /// What SYN and SYN-ACK told of a connection whose handshake is not complete; `now` is its first other segment's time.
    pub fn join(&mut self, attempt: &Attempt, opening: &Opening, now: Stamp, now_us: u32) {
        let initiator = usize::from(attempt.initiator() & 1);
        let shifts = attempt.shifts();
        let elapsed_us = units_to_us(now.since(attempt.asked));
        let asked_us = now_us.wrapping_sub(elapsed_us);
        for (end, place) in [initiator, 1 - initiator].into_iter().enumerate() {
            self.directions[place].shift = shifts[end];
        }
        if attempt.state() != UNASKED {
            self.flags |= flag::ROUND_TRIP;
            self.first_round_trip_us = elapsed_us;
            self.directions[initiator].begin(opening, 0, shifts[0], asked_us);
            self.directions[initiator].packets = 1 + u32::from(opening.again[0]);
        }
        if attempt.state() != ASKED {
            let answered_us = asked_us.wrapping_add(units_to_us(attempt.answered_after()));
            self.directions[1 - initiator].begin(opening, 1, shifts[1], answered_us);
            self.directions[1 - initiator].packets = 1 + u32::from(opening.again[1]);
        }
    }

    /// Whether the number of a SYN from `sender` is this connection's own: it is sent again, however late.
    pub fn asked_so(&self, sender: Side, segment: &Segment) -> bool {
        let known = self.flags & flag::HANDSHAKE != 0;
        (!known || self.initiator() == sender)
            && self.directions[sender as usize & 1].began_at(segment.sequence)
    }

    /// Counts a SYN or SYN-ACK that came behind the handshake, which itself counts those before.
    #[cold]
    pub fn count_late(&mut self, story: &mut Story, sender: Side, seen: &Seen<'_>, marks: u32) {
        let own = &mut self.directions[sender as usize & 1];
        own.count(seen);
        own.last_us = clock_us(seen.now_ns);
        if marks & mark::RETRANSMISSION != 0 {
            let again = &mut story.handshake_again[usize::from(marks & mark::SYN_ACK_RETRANSMISSION != 0)];
            *again = again.saturating_add(1);
        }
    }

    /// Its SYN-ACK when it is known already: sent again, or overtaken by the ACK of it.
    #[cold]
    pub fn answer_again(&mut self, sender: Side, segment: &Segment, now_us: u32) {
        let [low, high] = &mut self.directions;
        let (own, peer) = if sender as u8 == 0 { (low, high) } else { (high, low) };
        take_answer(own, peer, segment, 0, now_us);
    }

    /// A SYN-ACK to no SYN that was captured, from an end of this connection: another one between the same ends. Its
    /// numbers are held against the old ones all the same, as Wireshark does.
    #[cold]
    pub fn answer_anew(&mut self, sender: Side, segment: &Segment, now_us: u32) -> u32 {
        let first_round_trip_us =
            if self.flags & flag::ROUND_TRIP != 0 { self.first_round_trip_us } else { 0 };
        let [low, high] = &mut self.directions;
        let (own, peer) = if sender as u8 == 0 { (low, high) } else { (high, low) };
        let known = own.state & state::SENT != 0;
        let mut marks = if own.began_at(segment.sequence) { 0 } else { mark::REUSED_PORTS };
        if known && may_be_after(segment.sequence, own.next_sequence) {
            marks |= mark::LOST_SEGMENT;
        }
        marks |= unseen(own, peer, segment);
        marks |= resent(own, peer, segment, marks, now_us, first_round_trip_us);
        marks |= if marks & mark::RETRANSMISSION != 0 { mark::SYN_ACK_RETRANSMISSION } else { 0 };
        take_answer(own, peer, segment, marks, now_us);
        marks
    }
}

/// Moves on the state of an end that sent a SYN-ACK.
fn take_answer(own: &mut Direction, peer: &mut Direction, segment: &Segment, marks: u32, now_us: u32) {
    if segment.acknowledgment != own.last_acknowledgment {
        own.duplicate_acks = 0;
    }
    advance(own, segment, marks, now_us);
    own.state |= state::UNSCALED;
    match segment.shift {
        UNKNOWN_SHIFT => {}
        NO_SHIFT => (own.shift, peer.shift) = (0, 0),
        shift => own.shift = shift & 0x0f,
    }
}

impl Direction {
    /// Whether a SYN or SYN-ACK with this number is the one that it began with: all it sent, from SYN to FIN, lies behind.
    fn began_at(&self, sequence: u32) -> bool {
        let sent = u64::from(self.next_sequence.wrapping_sub(sequence));
        self.state & state::SENT != 0 && sent != 0 && sent <= self.payload_bytes + 2
    }

    /// What a SYN or SYN-ACK told of this end, the initiator's (0) or the responder's (1).
    pub(super) fn begin(&mut self, opening: &Opening, end: usize, shift: u8, at_us: u32) {
        let end = end & 1;
        self.next_sequence = opening.next_sequences()[end];
        self.contiguous = self.next_sequence;
        self.window = opening.windows[end];
        self.shift = shift;
        (self.advanced_us, self.last_us) = (at_us, at_us);
        self.state = state::SENT | state::WINDOW | state::UNSCALED;
        if let Some(acknowledgment) = opening.acknowledgments[end] {
            self.last_acknowledgment = acknowledgment;
            self.state |= state::ACKED;
        }
    }
}
