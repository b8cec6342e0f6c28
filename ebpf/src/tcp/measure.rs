//! What is measured of a segment once it is judged: bytes, sent once or again, round trips, and the time in which nothing
//! was sent. Called by `judge.rs`; times are packet times.

use super::connection::{Details, Direction, Tally, elapsed_us, state};
use super::judge::{Judged, Seen};
use super::limiter;
use super::mark;
use crate::event::Outcome;
use crate::limits::SENDER_BLOCKED_BYTES;
use crate::packet::{Segment, tcp_flag};
use crate::sequence::is_after;
use crate::stamp::Stamp;

/// Ends the round trip that this ACK answers: that of the newest segment if it acknowledges all, as its receiver has
/// waited for no other one, else that of the segment being timed.
#[inline(always)]
pub(super) fn acknowledge(
    peer: &mut Direction,
    peer_details: &mut Details,
    segment: &Segment,
    now_us: u32,
    judged: &mut Judged,
) {
    let all = segment.acknowledgment == peer.next_sequence;
    if all {
        // What was not captured until now was received without us.
        peer_details.missing_bytes = 0;
    }
    let newest = all && peer.state & state::NEWEST_TIMED != 0;
    let timed = peer.state & state::TIMED != 0 && !is_after(peer.timed_sequence, segment.acknowledgment);
    if !newest && !timed {
        return;
    }
    let sent_us = if newest { peer.advanced_us } else { peer.timed_us };
    peer.state &= !(state::TIMED | if newest { state::NEWEST_TIMED } else { 0 });
    // Of several interfaces the ACK may be captured as if it were the earlier one.
    if !is_after(sent_us, now_us) {
        judged.acknowledged = true;
        judged.round_trip_us = elapsed_us(now_us, sent_us);
        peer_details.round_trip(judged.round_trip_us);
    }
}

/// When a segment is sent, and from when on silence before it may be the application's.
#[derive(Clone, Copy)]
pub(super) struct Idle {
    pub(super) after_us: u32,
    pub(super) now_us: u32,
    pub(super) now: Stamp,
}

/// Payload or FIN was sent: what is measured of it.
#[inline(always)]
pub(super) fn send(
    own: &mut Direction,
    details: &mut Details,
    peer: &Direction,
    segment: &Segment,
    marks: u32,
    idle: Idle,
    outcome: &mut Outcome,
) {
    let bytes = segment.payload_bytes;
    let end = segment.sequence.wrapping_add(bytes);
    let expected = if own.state & state::SENT == 0 { segment.sequence } else { own.next_sequence };
    if marks & mark::BEHIND != 0 {
        // Nobody knows which of the two an ACK answers (Karn).
        own.state &= !(state::TIMED | state::NEWEST_TIMED);
    }
    if marks & (mark::KEEP_ALIVE | mark::ZERO_WINDOW_PROBE) != 0 || bytes == 0 {
        return;
    }
    let fresh_bytes = if is_after(end, expected) { end.wrapping_sub(expected).min(bytes) } else { 0 };
    let below_bytes = bytes - fresh_bytes;
    // What was acknowledged was not missing.
    let spurious = marks & mark::SPURIOUS_RETRANSMISSION != 0;
    let found_bytes = if spurious { 0 } else { details.find(below_bytes) };
    details.resent_bytes = details.resent_bytes.saturating_add(below_bytes - found_bytes);
    if fresh_bytes == 0 {
        return;
    }
    let all_acknowledged = peer.state & state::ACKED != 0 && peer.last_acknowledgment == own.next_sequence;
    let room = peer.shift_unknown() || peer.rwnd_bytes() >= SENDER_BLOCKED_BYTES;
    let silent = own.state & state::PAYLOAD != 0;
    let silence_us = if silent { elapsed_us(idle.now_us, own.payload_us) } else { 0 };
    let application_idle =
        all_acknowledged && room && own.state & state::PUSHED != 0 && silence_us > idle.after_us;
    details.transfer.time(fresh_bytes, application_idle, peer.state & state::ACKED != 0, idle.now, outcome);
    if silent && silence_us != 0 {
        limiter::attribute(own, details, peer, silence_us, idle.now_us, all_acknowledged);
    }
    own.payload_us = idle.now_us;
    let pushed = if segment.has(tcp_flag::PSH) { state::PUSHED } else { 0 };
    own.state = (own.state & !(state::PUSHED | state::BLOCKED)) | state::PAYLOAD | pushed;
    own.state |= limiter::blocked(peer, end);
    if marks & mark::BEHIND == 0 {
        if own.state & state::TIMED == 0 {
            (own.timed_sequence, own.timed_us) = (end, idle.now_us);
        }
        own.state |= state::TIMED | state::NEWEST_TIMED;
    }
    if peer.state & state::ACKED != 0 {
        let in_flight_bytes = end.wrapping_sub(peer.last_acknowledgment);
        if in_flight_bytes < 1 << 30 {
            details.in_flight_max_bytes = details.in_flight_max_bytes.max(in_flight_bytes);
        }
    }
}

impl Direction {
    /// Counts what was sent.
    #[inline(always)]
    pub(super) fn count(&mut self, seen: &Seen<'_>) {
        let payload_bytes = seen.segment.payload_bytes;
        self.packets = self.packets.wrapping_add(seen.segments);
        self.header_bytes =
            self.header_bytes.saturating_add((seen.wire_bytes as u32).saturating_sub(payload_bytes));
        self.payload_bytes = self.payload_bytes.wrapping_add(u64::from(payload_bytes));
    }
}

impl Details {
    /// Bytes were passed over that were not captured so far.
    #[cold]
    pub(super) fn miss(&mut self, bytes: u32) {
        self.missing_bytes = self.missing_bytes.saturating_add(bytes);
    }

    /// Of bytes below the highest number, how many may be such as were missing.
    #[inline(always)]
    fn find(&mut self, bytes: u32) -> u32 {
        let found = bytes.min(self.missing_bytes);
        self.missing_bytes -= found;
        found
    }

    /// Counts marks.
    #[inline(always)]
    pub(super) fn count(&mut self, marks: u32, segments: u32) {
        if marks == 0 {
            return;
        }
        for (mark, tally) in [
            (mark::RETRANSMISSION, Tally::Retransmission),
            (mark::FAST_RETRANSMISSION, Tally::Fast),
            (mark::SPURIOUS_RETRANSMISSION, Tally::Spurious),
            (mark::OUT_OF_ORDER, Tally::OutOfOrder),
        ] {
            if marks & mark != 0 {
                self.tally(tally, segments);
            }
        }
        for (mark, tally) in [
            (mark::LOST_SEGMENT, Tally::LostSegment),
            (mark::DUPLICATE_ACK, Tally::DuplicateAck),
            (mark::ZERO_WINDOW, Tally::ZeroWindow),
            (mark::WINDOW_FULL, Tally::WindowFull),
            (mark::KEEP_ALIVE, Tally::KeepAlive),
        ] {
            if marks & mark != 0 {
                self.tally(tally, 1);
            }
        }
    }
}
