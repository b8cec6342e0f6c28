//! How a connection's state begins: with what its SYN and SYN-ACK told, whether or not the handshake was completed.
//!
//! Wireshark keeps a connection from its first packet on. Here an attempt stays in the half-open cache until its handshake
//! is complete, so that a flood fills no tables; what the cache knows is made up for when another segment comes first
//! ([`Connection::join`]).

use super::connection::{Connection, Direction, flag, state};
use super::judge::{advance, resent};
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
        }
        if attempt.state() != ASKED {
            let answered_us = asked_us.wrapping_add(units_to_us(attempt.answered_after()));
            self.directions[1 - initiator].begin(opening, 1, shifts[1], answered_us);
        }
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
        let sent = u64::from(own.next_sequence.wrapping_sub(segment.sequence));
        // From SYN to FIN: it may be the connection's own SYN-ACK again.
        let own_again = known && sent != 0 && sent <= own.payload_bytes + 2;
        let mut marks = if own_again { 0 } else { mark::REUSED_PORTS };
        if known && may_be_after(segment.sequence, own.next_sequence) {
            marks |= mark::LOST_SEGMENT;
        }
        if segment.acknowledgment != own.last_acknowledgment {
            own.duplicate_acks = 0;
        }
        marks |= unseen(own, peer, segment);
        marks |= resent(own, peer, segment, marks, now_us, first_round_trip_us);
        marks |= if marks & mark::RETRANSMISSION != 0 { mark::SYN_ACK_RETRANSMISSION } else { 0 };
        advance(own, segment, marks, now_us);
        own.state |= state::UNSCALED;
        match segment.shift {
            UNKNOWN_SHIFT => {}
            NO_SHIFT => (own.shift, peer.shift) = (0, 0),
            shift => own.shift = shift & 0x0f,
        }
        marks
    }
}

impl Direction {
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
