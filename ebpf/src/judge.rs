//! The flow table's slots and the TCP judgement of each segment: pure state transitions, no table, no clock.
//!
//! A flow is one cache line with both directions in it, two flows a bucket. A flow is *proven* by its completed
//! handshake or by segments both ways; an unproven one never displaces a proven one that is still alive.
//! Two CPUs that see one flow at once (both directions of a busy connection) may lose one of two updates to its
//! line: a judgement then misses one segment; counters are per CPU and lose nothing.
//! What this state cannot tell apart it calls `retransmit_or_reordered`.

use crate::attempt::Handshake;
use crate::echo::Probe;
use crate::event::{self, Outcome};
use crate::flow::Side;
use crate::histogram::octave_of;
use crate::limits::{APPLICATION_IDLE, FLOW_WAYS, PROVEN_IDLE, SENDER_BLOCKED_BYTES, UNPROVEN_IDLE};
use crate::packet::{Segment, UNKNOWN_SHIFT, tcp_flag};
use crate::sequence::is_after;
use crate::stamp::{Moment, Stamp};
use crate::transfer::Transfer;

/// [`Flow::flags`]: completed handshake, or segments both ways.
pub const PROVEN: u8 = 0x01;
/// [`Flow::flags`]: the handshake was seen, so initiator and window scale are known.
pub const HANDSHAKE: u8 = 0x02;
/// [`Flow::flags`]: RST, or FIN both ways: the slot may be reused.
pub const CLOSED: u8 = 0x04;
/// [`Flow::flags`]: the initiator is the side with the higher hash; meaningful with [`HANDSHAKE`].
const INITIATOR_HIGH: u8 = 0x08;
/// Free for the round trip that is being timed.
const _: () = assert!((PROVEN | HANDSHAKE | CLOSED | INITIATOR_HIGH) & 0x30 == 0);

/// [`Half::state`]: `next_sequence` is set.
pub const SENT: u8 = 0x01;
/// [`Half::state`]: `acknowledged` is set.
pub const ACKED: u8 = 0x02;
/// [`Half::state`]: FIN sent.
pub const FIN_SENT: u8 = 0x04;
/// [`Half::state`]: the last payload segment had PSH: the application's write ended there.
pub const PUSHED: u8 = 0x08;
/// [`Half::state`]: bits of the window shift; all of them where it is unknown.
const SHIFT: u8 = 0xf0;

/// What one end of a flow sent, 24 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Half {
    /// Sequence number behind the highest byte this end sent.
    pub next_sequence: u32,
    /// Highest acknowledgment of this end's bytes by the other.
    pub acknowledged: u32,
    /// The MiB being timed.
    pub transfer: Transfer,
    /// Last payload segment.
    pub last_payload: Stamp,
    /// Last window this end advertised, unscaled.
    pub window: u16,
    /// Flags and shift, see the constants.
    pub state: u8,
    /// Lowest bits of this end's last timestamp, to tell the first segment of each.
    pub timestamp: u8,
}

/// One flow, one cache line.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    /// [`crate::flow::fingerprint`]; 0 is a free slot.
    pub fingerprint: u32,
    /// When the segment passed whose echo is waited for; meaningful with `PROBING`.
    pub probe: Stamp,
    /// Lowest bits of that segment's timestamp.
    pub probe_timestamp: u16,
    /// Last segment, in units of [`Stamp::coarse`].
    pub seen: u16,
    /// Flags above.
    pub flags: u8,
    /// Handshake's duration as 1 + its octave of stamp units, 0 where it was not seen.
    pub round_trip: u8,
    /// Written to have the line fetched, never read.
    pub touched: u16,
    /// By [`Side`].
    pub halves: [Half; 2],
}

/// Two flows.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowBucket {
    /// Flows in no order.
    pub ways: [Flow; FLOW_WAYS],
}

const _: () = assert!(size_of::<Half>() == 24 && size_of::<Flow>() == 64 && size_of::<FlowBucket>() == 128);

/// What became of a flow that needed a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// A free, closed or long silent slot.
    Free,
    /// A live slot had to go: unproven, or silent for longer than its timeout.
    Evicted,
}

impl FlowBucket {
    /// Has both lines fetched: a store does not wait for its line, as a load would.
    #[inline(always)]
    pub fn touch(&mut self) {
        self.ways[0].touched = 0;
        self.ways[1].touched = 0;
    }

    /// The slot of this flow.
    #[inline(always)]
    pub fn find(&mut self, fingerprint: u32) -> Option<&mut Flow> {
        self.ways.iter_mut().find(|flow| flow.fingerprint == fingerprint)
    }

    /// The index of this flow's slot.
    #[inline(always)]
    pub fn way(&self, fingerprint: u32) -> Option<usize> {
        self.ways.iter().position(|flow| flow.fingerprint == fingerprint)
    }

    /// The way of a cleared slot for a flow that is not in the bucket; `proven` says whether it brings its handshake.
    /// `None` where both slots hold live, better proven flows.
    #[inline(always)]
    pub fn admit(&mut self, fingerprint: u32, proven: bool, now: Stamp) -> Option<(Admission, u32)> {
        let ranks = [self.ways[0].keep_rank(now), self.ways[1].keep_rank(now)];
        let way = u32::from(ranks[1] < ranks[0]);
        let rank = if way == 0 { ranks[0] } else { ranks[1] };
        if rank >= RANK_PROVEN || (rank == RANK_UNPROVEN && !proven) {
            return None;
        }
        let victim = &mut self.ways[way as usize & (FLOW_WAYS - 1)];
        victim.fingerprint = fingerprint;
        victim.restart();
        Some((if rank == RANK_FREE { Admission::Free } else { Admission::Evicted }, way))
    }
}

/// Ranks of [`Flow::keep_rank`]: the lowest goes first.
const RANK_FREE: u32 = 0;
const RANK_SILENT: u32 = 1;
/// Unproven but seen within a tenth of its timeout: another unproven flow does not displace it.
const RANK_UNPROVEN: u32 = 3;
const RANK_PROVEN: u32 = 4;

impl Flow {
    #[inline(always)]
    const fn keep_rank(&self, now: Stamp) -> u32 {
        let idle = now.since_coarse(self.seen);
        if self.fingerprint == 0 || self.flags & CLOSED != 0 {
            RANK_FREE
        } else if self.flags & PROVEN != 0 {
            if idle > PROVEN_IDLE { RANK_SILENT } else { RANK_PROVEN }
        } else if idle > UNPROVEN_IDLE {
            RANK_SILENT
        } else if idle > UNPROVEN_IDLE / 10 {
            2
        } else {
            RANK_UNPROVEN
        }
    }

    /// Whether segments belong to the connection it remembers.
    #[inline(always)]
    pub const fn is_open(&self) -> bool {
        self.flags & CLOSED == 0
    }

    /// Forgets the connection before on the same ports.
    #[inline(always)]
    pub fn restart(&mut self) {
        self.round_trip = 0;
        self.flags = 0;
        for half in &mut self.halves {
            *half = Half { state: SHIFT, transfer: Transfer::NONE, ..Half::default() };
        }
    }

    /// What the handshake told of the flow; it took `elapsed` stamp units.
    #[inline(always)]
    pub fn establish(&mut self, handshake: &Handshake, elapsed: u32) {
        let initiator = (handshake.initiator & 1) as usize;
        self.flags |= PROVEN | HANDSHAKE | if initiator != 0 { INITIATOR_HIGH } else { 0 };
        self.round_trip = 1 + octave_of(elapsed) as u8;
        self.halves[initiator].set_shift(handshake.initiator_shift);
        self.halves[1 - initiator].set_shift(handshake.responder_shift);
    }

    /// [`Side`] of the initiator, where the handshake was seen.
    #[inline(always)]
    pub const fn initiator(&self) -> u8 {
        (self.flags & INITIATOR_HIGH) >> 3
    }

    /// Judges a segment without SYN from `sender` and remembers it.
    #[inline(always)]
    pub fn judge(&mut self, sender: Side, segment: &Segment, now: Stamp, outcome: &mut Outcome) {
        self.seen = now.coarse();
        if segment.has(tcp_flag::RST) {
            self.flags |= CLOSED;
            return;
        }
        let idle_after = idle_limit(self.round_trip);
        let (own, peer) = halves(&mut self.halves, sender);
        if segment.has(tcp_flag::ACK) {
            peer.acknowledge(segment.acknowledgment);
        }
        if segment.payload_bytes != 0 || segment.has(tcp_flag::FIN) {
            own.send(segment, peer, idle_after, now, outcome);
        } else if own.state & SENT == 0 {
            own.next_sequence = segment.sequence;
            own.state |= SENT;
        } else if own.state & FIN_SENT == 0 && segment.sequence == own.next_sequence.wrapping_sub(1) {
            // The probe of most systems carries no byte.
            outcome.events |= event::KEEP_ALIVE;
        }
        own.advertise(segment, outcome);
        let (own_state, peer_state) = (own.state, peer.state);
        if own_state & peer_state & SENT != 0 {
            self.flags |= PROVEN;
        }
        // A side that was never heard will not be heard to close either.
        let peer_done = peer_state & FIN_SENT != 0 || peer_state & SENT == 0;
        if own_state & FIN_SENT != 0 && peer_done {
            self.flags |= CLOSED;
        }
    }

    /// What a segment with timestamps means for the round trip by them, see `Probe::match_timestamps`.
    #[inline(always)]
    pub fn match_timestamps(&mut self, sender: Side, segment: &Segment, now: Stamp, outcome: &mut Outcome) {
        let Self { flags, probe: at, probe_timestamp: timestamp, halves: both, .. } = self;
        let (own, _) = halves(both, sender);
        Probe { flags, at, timestamp }.match_timestamps(&mut own.timestamp, sender, segment, now, outcome);
    }

    /// Takes the time of what [`Flow::match_timestamps`] found.
    #[inline(always)]
    pub fn time(&mut self, sender: Side, segment: &Segment, at: Moment, outcome: &mut Outcome) {
        let Self { flags, probe, probe_timestamp: timestamp, .. } = self;
        Probe { flags, at: probe, timestamp }.time(sender, segment, at, outcome);
    }
}

/// The sender's half first.
#[inline(always)]
fn halves(halves: &mut [Half; 2], sender: Side) -> (&mut Half, &mut Half) {
    let [low, high] = halves;
    match sender {
        Side::Low => (low, high),
        Side::High => (high, low),
    }
}

/// Silence that is longer than the network's own can explain: two round trips, or up to twice as many because only
/// their octave is known, and 10 ms.
#[inline(always)]
pub(crate) const fn idle_limit(round_trip: u8) -> u32 {
    if round_trip == 0 { APPLICATION_IDLE } else { (2 << (round_trip as u32 & 0x1f)) + 10_000 }
}

impl Half {
    #[inline(always)]
    const fn set_shift(&mut self, shift: u8) {
        let bits = if shift == UNKNOWN_SHIFT { SHIFT } else { shift << 4 };
        self.state = (self.state & !SHIFT) | bits;
    }

    #[inline(always)]
    const fn shift_unknown(&self) -> bool {
        self.state & SHIFT == SHIFT
    }

    /// The other end acknowledged up to `acknowledgment`.
    #[inline(always)]
    fn acknowledge(&mut self, acknowledgment: u32) {
        if self.state & ACKED == 0 || is_after(acknowledgment, self.acknowledged) {
            self.acknowledged = acknowledgment;
            self.state |= ACKED;
        }
    }

    /// Notes the advertised window and gives the sample.
    #[inline(always)]
    fn advertise(&mut self, segment: &Segment, outcome: &mut Outcome) {
        self.window = segment.window;
        // Who sends FIN may well close the window with it: that stops nobody (Wireshark's rule, too).
        if segment.window == 0 && !segment.has(tcp_flag::FIN) {
            outcome.events |= event::ZERO_WINDOW;
        }
        if self.shift_unknown() {
            outcome.events |= event::RWND_SCALE_UNKNOWN;
        } else {
            outcome.events |= event::RWND;
            outcome.rwnd_bytes = self.rwnd_bytes();
        }
    }

    #[inline(always)]
    const fn rwnd_bytes(&self) -> u32 {
        (self.window as u32) << (self.state >> 4)
    }

    /// Whether the last window this end advertised was 0.
    #[inline(always)]
    const fn closed_window(&self) -> bool {
        self.state & SENT != 0 && self.window == 0
    }

    /// This end sent payload or FIN.
    #[inline(always)]
    fn send(&mut self, segment: &Segment, peer: &Half, idle_after: u32, now: Stamp, outcome: &mut Outcome) {
        let fin = u32::from(segment.has(tcp_flag::FIN));
        let end = segment.sequence.wrapping_add(segment.payload_bytes).wrapping_add(fin);
        if fin != 0 {
            self.state |= FIN_SENT;
        }
        let expected = if self.state & SENT == 0 { segment.sequence } else { self.next_sequence };
        if segment.payload_bytes == 1 && segment.sequence == expected && peer.closed_window() {
            // A zero-window probe: its byte is refused and comes again, so it is not new.
            return;
        }
        let starts_below = is_after(expected, segment.sequence);
        if starts_below && !is_after(end, expected) {
            let at_most_one = segment.payload_bytes <= 1 && fin == 0;
            let probes = at_most_one && segment.sequence == expected.wrapping_sub(1);
            outcome.events |= if probes { event::KEEP_ALIVE } else { event::RETRANSMIT_OR_REORDERED };
            return;
        }
        if starts_below {
            // Old bytes with new ones behind them: resent, and the new part counts as new.
            outcome.events |= event::RETRANSMIT_OR_REORDERED;
        } else if segment.sequence != expected {
            outcome.events |= event::LOST_SEGMENT;
        }
        // Behind a hole only this segment's own bytes are known to have been sent.
        let fresh_bytes = end.wrapping_sub(expected).wrapping_sub(fin).min(segment.payload_bytes);
        let application_idle = self.application_idle(peer, idle_after, now);
        self.transfer.time(fresh_bytes, application_idle, self.state & ACKED != 0, now, outcome);
        self.next_sequence = end;
        self.last_payload = now;
        self.state = (self.state & !PUSHED) | SENT | if segment.has(tcp_flag::PSH) { PUSHED } else { 0 };
    }

    /// Whether the silence before this segment was the application's: everything it had written was sent and
    /// acknowledged, the receiver had room, and the pause is longer than round trips explain. Where the other
    /// direction is not seen nothing is acknowledged, and no MiB is timed.
    #[inline(always)]
    fn application_idle(&self, peer: &Half, idle_after: u32, now: Stamp) -> bool {
        let all_acknowledged = self.state & ACKED != 0 && self.acknowledged == self.next_sequence;
        let room = peer.shift_unknown() || peer.rwnd_bytes() >= SENDER_BLOCKED_BYTES;
        all_acknowledged && room && self.state & PUSHED != 0 && now.since(self.last_payload) > idle_after
    }
}
