//! The judgement of one segment: a pure step of the state in [`Connection`], without table or clock.
//!
//! The order is Wireshark's: what the numbers say of this segment before it changes anything ([`signs`]), whether it
//! was sent before ([`resent`]), then the state moves on. Times are packet times.

use super::connection::{
    Connection, Details, Direction, STALLED, Story, Tally, clock_us, flag, state, within_us,
};
use super::mark;
use super::measure::{Idle, acknowledge, send};
use super::options::Sack;
use super::unseen::{one_more_duplicate, unseen};
use crate::echo::Probe;
use crate::event::{self, Outcome};
use crate::flow::Side;
use crate::judge::idle_limit;
use crate::limits::{COPY_WITHIN_US, FAST_WITHIN_US, REORDERED_WITHIN_US};
use crate::packet::{Segment, tcp_flag};
use crate::sequence::{is_after, may_be_after};
use crate::stamp::{Moment, Stamp, units_to_us};

/// A segment as it was seen.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// Its header.
    pub segment: &'a Segment,
    /// Its SACK option.
    pub sack: Sack,
    /// Packet time, nanoseconds.
    pub now_ns: u64,
    /// The same as a stamp.
    pub now: Stamp,
    /// Segments it stands for: 1, or more for a super-frame.
    pub segments: u32,
    /// Bytes on the wire.
    pub wire_bytes: u64,
    /// What tells this packet from all others, even from the same segment sent again; 0 where nothing does.
    pub print: u32,
}

/// What it was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Judged {
    /// Bits of [`mark`].
    pub marks: u32,
    /// Number of the duplicate ACK, from 1.
    pub duplicate_ack: u16,
    /// Microseconds from the other end's segment to this ACK of it; only with `acknowledged`.
    pub round_trip_us: u32,
    /// Whether it ended a round trip.
    pub acknowledged: bool,
}

/// Both directions, the sender's first.
struct Ends<'a> {
    own: &'a mut Direction,
    peer: &'a mut Direction,
    own_details: &'a mut Details,
    peer_details: &'a mut Details,
}

#[inline(always)]
fn ends<'a>(directions: &'a mut [Direction; 2], details: &'a mut [Details; 2], sender: Side) -> Ends<'a> {
    let ([low, high], [low_details, high_details]) = (directions, details);
    match sender {
        Side::Low => Ends { own: low, peer: high, own_details: low_details, peer_details: high_details },
        Side::High => Ends { own: high, peer: low, own_details: high_details, peer_details: low_details },
    }
}

impl Connection {
    /// Judges a segment without SYN from `sender` and remembers it.
    #[inline(always)]
    pub fn judge(
        &mut self,
        story: &mut Story,
        sender: Side,
        seen: &Seen<'_>,
        outcome: &mut Outcome,
        judged: &mut Judged,
    ) {
        let segment = seen.segment;
        let now_us = clock_us(seen.now_ns);
        let first_round_trip_us =
            if self.flags & flag::ROUND_TRIP != 0 { self.first_round_trip_us } else { 0 };
        let idle_after_us = units_to_us(idle_limit(self.round_trip));
        let ends = ends(&mut self.directions, &mut story.details, sender);
        if is_copy(ends.own, seen, now_us) {
            ends.own_details.tally(Tally::CapturedTwice, 1);
            judged.marks = mark::CAPTURED_TWICE;
            return;
        }
        self.seen = seen.now.coarse();
        let Ends { own, peer, own_details, peer_details } = ends;
        own.print = seen.print;
        own.count(seen);
        let newest_us = if is_after(own.last_us, peer.last_us) { own.last_us } else { peer.last_us };
        // More than half an hour of silence each time would be missed: the connection is told before that.
        self.rounds += u16::from(now_us < newest_us && newest_us - now_us > 1 << 31);
        if segment.has(tcp_flag::RST) {
            judged.marks |= self.reset(sender, segment);
            return;
        }
        let mut marks = signs(own, peer, segment);
        if marks & mark::LOST_SEGMENT != 0 {
            own_details.miss(segment.sequence.wrapping_sub(own.next_sequence));
            own.state &= !state::NEWEST_TIMED;
        }
        if marks & mark::DUPLICATE_ACK != 0 {
            judged.duplicate_ack = one_more_duplicate(own);
        }
        if segment.has(tcp_flag::ACK) {
            if segment.acknowledgment != own.last_acknowledgment || own.state & state::ACKED == 0 {
                own.duplicate_acks = 0;
            }
            marks |= unseen(own, peer, segment);
            acknowledge(peer, peer_details, segment, now_us, judged);
        }
        let fin = segment.has(tcp_flag::FIN);
        if segment.payload_bytes != 0 || fin {
            marks |= resent(own, peer, segment, marks, now_us, first_round_trip_us);
            let idle = Idle { after_us: idle_after_us, now_us, now: seen.now };
            send(own, own_details, peer, segment, marks, idle, outcome);
        }
        let unheard = own.state & state::SENT == 0;
        advance(own, segment, marks, now_us);
        if own.state & peer.state & state::SENT != 0 {
            self.flags |= flag::PROVEN;
        }
        if unheard {
            self.flags &= !half_closed(self.flags, own, peer);
        }
        if marks != 0 || own.state & state::FIN != 0 {
            own_details.count(marks, seen.segments);
            self.flags |= close(own, peer, fin, &mut marks);
        }
        if segment.flags & (tcp_flag::URG | tcp_flag::ECE | tcp_flag::CWR) != 0 || seen.sack.blocks != 0 {
            marks |= unusual(own, segment, &seen.sack);
        }
        advertise(own, segment, outcome);
        outcome.events |= events(marks);
        judged.marks |= marks;
    }

    /// A RST behind the end: its header is counted, and nothing else comes of it.
    #[cold]
    pub fn pass(&mut self, sender: Side, seen: &Seen<'_>) {
        let own = &mut self.directions[sender as usize & 1];
        own.count(seen);
        own.last_us = clock_us(seen.now_ns);
    }

    /// A RST from `sender`: ends the connection where its number is one that the other end would take.
    fn reset(&mut self, sender: Side, segment: &Segment) -> u32 {
        let [low, high] = &mut self.directions;
        let (own, peer) = if sender as u8 == 0 { (low, high) } else { (high, low) };
        let known = own.state & state::SENT != 0;
        let window = if peer.shift_unknown() { u32::from(u16::MAX) << 7 } else { peer.rwnd_bytes().max(1) };
        // From what the peer has acknowledged up to the end of what it takes, or the very next number.
        let oldest =
            if peer.state & state::ACKED != 0 { peer.last_acknowledgment } else { own.next_sequence };
        let within = segment.sequence.wrapping_sub(oldest) < window || segment.sequence == own.next_sequence;
        if self.flags & flag::CLOSED != 0 || (known && !within) {
            return mark::RESET_OUT_OF_STATE;
        }
        own.state |= state::RST;
        self.flags |= flag::CLOSED;
        mark::RESET_ABORTED
    }

    /// What a segment with timestamps means for the round trip by them.
    #[inline(always)]
    pub fn echo(&mut self, sender: Side, segment: &Segment, now: Stamp, outcome: &mut Outcome) {
        let Self { probe_flags: flags, probe: at, probe_timestamp: timestamp, directions, .. } = self;
        let last = &mut directions[sender as usize & 1].timestamp;
        Probe { flags, at, timestamp }.match_timestamps(last, sender, segment, now, outcome);
        if outcome.has(event::ECHO | event::PROBE) {
            let moment = Moment { stamp: now, precise: true };
            Probe { flags, at, timestamp }.time(sender, segment, moment, outcome);
        }
    }
}

/// Whether it is the packet before, captured again: all that tells packets apart is equal, and next to no time passed.
#[inline(always)]
fn is_copy(own: &Direction, seen: &Seen<'_>, now_us: u32) -> bool {
    seen.print != 0 && seen.print == own.print && within_us(now_us, own.last_us, COPY_WITHIN_US + 1)
}

/// What the numbers say of a segment before it changes anything.
#[inline(always)]
fn signs(own: &Direction, peer: &mut Direction, segment: &Segment) -> u32 {
    let known = own.state & state::SENT != 0;
    let (sequence, window, bytes) = (segment.sequence, segment.window, segment.payload_bytes);
    let expected = own.next_sequence;
    let fin = segment.has(tcp_flag::FIN);
    if known && bytes == 1 && sequence == expected && peer.closed_window() {
        return mark::ZERO_WINDOW_PROBE;
    }
    let mut marks = 0;
    if window == 0 && !fin {
        marks |= mark::ZERO_WINDOW;
    }
    if known && may_be_after(sequence, expected) {
        marks |= mark::LOST_SEGMENT;
    }
    if fin {
        return marks;
    }
    if known && bytes <= 1 && sequence == expected.wrapping_sub(1) {
        marks |= mark::KEEP_ALIVE;
    }
    if bytes != 0 {
        return marks | if fills_window(peer, sequence.wrapping_add(bytes)) { mark::WINDOW_FULL } else { 0 };
    }
    if known && sequence == expected && own.state & state::ACKED != 0 {
        marks |= repeats(own, peer, segment);
    }
    marks
}

#[inline(always)]
fn fills_window(peer: &Direction, end: u32) -> bool {
    peer.state & (state::ACKED | state::WINDOW) == state::ACKED | state::WINDOW
        && !peer.shift_unknown()
        && end == peer.last_acknowledgment.wrapping_add(peer.rwnd_bytes())
}

/// What a pure ACK with the expected number is, beside the acknowledgment and the window that its sender repeats.
#[inline(always)]
fn repeats(own: &Direction, peer: &mut Direction, segment: &Segment) -> u32 {
    let same_window = segment.window == own.window;
    let same = segment.acknowledgment == own.last_acknowledgment;
    let one_more = segment.acknowledgment == own.last_acknowledgment.wrapping_add(1);
    if segment.window == 0 {
        let probed = same_window && (same || one_more) && peer.state & state::PROBE != 0;
        if probed && one_more {
            // The receiver took the probe's byte after all.
            (peer.next_sequence, peer.contiguous) = (segment.acknowledgment, segment.acknowledgment);
        }
        return if probed { mark::ZERO_WINDOW_PROBE_ACK } else { 0 };
    }
    if !same {
        return 0;
    }
    match (same_window, peer.state & state::KEEP_ALIVE != 0) {
        (false, _) => mark::WINDOW_UPDATE,
        (true, true) => mark::KEEP_ALIVE_ACK,
        (true, false) => mark::DUPLICATE_ACK,
    }
}

/// Whether payload or FIN was sent before, and how we know.
#[inline(always)]
pub(super) fn resent(
    own: &Direction,
    peer: &Direction,
    segment: &Segment,
    marks: u32,
    now_us: u32,
    first_round_trip_us: u32,
) -> u32 {
    let bytes = segment.payload_bytes;
    let end = segment.sequence.wrapping_add(bytes);
    if marks & mark::KEEP_ALIVE != 0 {
        return 0;
    }
    if bytes != 0 && peer.state & state::ACKED != 0 && !is_after(end, peer.last_acknowledgment) {
        return mark::RETRANSMISSION | mark::SPURIOUS_RETRANSMISSION;
    }
    let behind = own.state & state::SENT != 0 && may_be_after(own.next_sequence, segment.sequence);
    // More than one byte right behind a probe's number: the probe's byte and new ones.
    if !behind || (bytes > 1 && segment.sequence == own.next_sequence.wrapping_sub(1)) {
        return 0;
    }
    // Whoever has reset the connection asks for nothing any more.
    let asked_for = (2..STALLED).contains(&peer.duplicate_acks)
        && peer.last_acknowledgment == segment.sequence
        && peer.state & state::RST == 0;
    if asked_for && within_us(now_us, peer.last_us, FAST_WITHIN_US) {
        return mark::RETRANSMISSION | mark::FAST_RETRANSMISSION;
    }
    let overtaken_within_us =
        if first_round_trip_us == 0 { REORDERED_WITHIN_US } else { first_round_trip_us };
    let end = end.wrapping_add(u32::from(segment.flags & (tcp_flag::SYN | tcp_flag::FIN) != 0));
    if within_us(now_us, own.advanced_us, overtaken_within_us) && end != own.next_sequence {
        return mark::OUT_OF_ORDER;
    }
    mark::RETRANSMISSION
}

/// Moves the sender's numbers on.
#[inline(always)]
pub(super) fn advance(own: &mut Direction, segment: &Segment, marks: u32, now_us: u32) {
    let known = own.state & state::SENT != 0;
    let fin = segment.has(tcp_flag::FIN);
    let flags = u32::from(segment.flags & (tcp_flag::SYN | tcp_flag::FIN) != 0);
    let end = segment.sequence.wrapping_add(segment.payload_bytes).wrapping_add(flags);
    if marks & mark::ZERO_WINDOW_PROBE == 0 {
        if !known || is_after(end, own.next_sequence) {
            (own.next_sequence, own.advanced_us) = (end, now_us);
        }
        if !known || segment.sequence == own.contiguous {
            // The hole is filled, at least at its beginning: what lies behind it may be acknowledged with it.
            own.contiguous = own.next_sequence;
        }
    }
    own.window = segment.window;
    own.last_us = now_us;
    own.state &= !(state::KEEP_ALIVE | state::PROBE | state::UNSCALED);
    own.state |= state::SENT | state::WINDOW | if fin { state::FIN } else { 0 };
    if segment.has(tcp_flag::ACK) {
        own.last_acknowledgment = segment.acknowledgment;
        own.state |= state::ACKED;
    }
    if marks & (mark::KEEP_ALIVE | mark::ZERO_WINDOW_PROBE) != 0 {
        own.state |= if marks & mark::KEEP_ALIVE != 0 { state::KEEP_ALIVE } else { 0 };
        own.state |= if marks & mark::ZERO_WINDOW_PROBE != 0 { state::PROBE } else { 0 };
    }
}

/// What a FIN, or what comes after one, does to the connection.
#[inline(always)]
fn close(own: &Direction, peer: &Direction, fin: bool, marks: &mut u32) -> u16 {
    // A side that was never heard will not be heard to close either.
    let peer_done = peer.state & state::FIN != 0 || peer.state & state::SENT == 0;
    if own.state & state::FIN != 0 && peer_done {
        return flag::CLOSED;
    }
    if fin && *marks & mark::BEHIND == 0 {
        *marks |= mark::HALF_CLOSE;
    }
    0
}

/// [`flag::CLOSED`] where `peer`'s FIN alone closed the connection, as `own` had not been heard until now.
#[cold]
fn half_closed(flags: u16, own: &Direction, peer: &Direction) -> u16 {
    let over = own.state & (state::FIN | state::RST) != 0 || peer.state & state::RST != 0;
    if over || flags & flag::TOLD != 0 { 0 } else { flags & flag::CLOSED }
}

/// SACK, ECN and urgent data: seldom enough to be looked for apart.
#[cold]
fn unusual(own: &mut Direction, segment: &Segment, sack: &Sack) -> u32 {
    let mut marks = 0;
    if sack.blocks != 0 {
        own.state |= state::SACK;
        marks |= mark::SACK;
        marks |= if sack.is_duplicate(segment.acknowledgment) { mark::D_SACK } else { 0 };
    }
    for (bit, mark) in [
        (tcp_flag::URG, mark::URGENT),
        (tcp_flag::ECE, mark::ECN_ECHO),
        (tcp_flag::CWR, mark::CONGESTION_WINDOW_REDUCED),
    ] {
        marks |= if segment.has(bit) { mark } else { 0 };
    }
    if marks & (mark::ECN_ECHO | mark::CONGESTION_WINDOW_REDUCED) != 0 {
        own.state |= state::ECN;
    }
    marks
}

/// Gives the sample of the advertised window.
#[inline(always)]
fn advertise(own: &mut Direction, segment: &Segment, outcome: &mut Outcome) {
    if own.shift_unknown() {
        outcome.events |= event::RWND_SCALE_UNKNOWN;
    } else {
        outcome.events |= event::RWND;
        outcome.rwnd_bytes = own.rwnd_bytes();
    }
    // Both are read before either is written: together they are one word, which would wait for half of itself.
    let (window_min, window_max) = (own.window_min.min(segment.window), own.window_max.max(segment.window));
    (own.window_min, own.window_max) = (window_min, window_max);
}

/// The same facts as the kernel program tells them.
#[inline(always)]
const fn events(marks: u32) -> u32 {
    let mut events = 0;
    if marks == 0 {
        return events;
    }
    if marks & mark::BEHIND != 0 {
        events |= event::RETRANSMIT_OR_REORDERED;
    }
    if marks & mark::LOST_SEGMENT != 0 {
        events |= event::LOST_SEGMENT;
    }
    if marks & mark::ZERO_WINDOW != 0 {
        events |= event::ZERO_WINDOW;
    }
    if marks & mark::KEEP_ALIVE != 0 {
        events |= event::KEEP_ALIVE;
    }
    events
}
