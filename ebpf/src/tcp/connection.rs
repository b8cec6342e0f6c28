//! What is remembered of one connection: [`Connection`], three cache lines, has all that the judgement needs; [`Story`],
//! three more, what was counted and measured for a record of the connection. Where there are more connections than
//! stories, all are judged and some have no record.
//!
//! A connection is *proven* by its completed handshake or by segments both ways; see [`Connection::keep_rank`].
//! Counts of events saturate; they are told as at least so many.

use super::opening::Opening;
use crate::attempt::Handshake;
use crate::flow::Side;
use crate::histogram::octave_of;
use crate::limits::{PROVEN_IDLE, UNPROVEN_IDLE};
use crate::packet::{Address, UNKNOWN_SHIFT};
use crate::stamp::{Stamp, units_to_us};
use crate::transfer::Transfer;

/// Bits of [`Connection::flags`].
pub mod flag {
    /// Completed handshake, or segments both ways.
    pub const PROVEN: u16 = 1 << 0;
    /// The handshake was seen, so initiator and window scale are known.
    pub const HANDSHAKE: u16 = 1 << 1;
    /// RST, or FIN both ways: the slot may be given to another connection.
    pub const CLOSED: u16 = 1 << 2;
    /// The initiator is the side with the higher hash.
    pub const INITIATOR_HIGH: u16 = 1 << 3;
    /// The responder's SYN-ACK was seen.
    pub const ANSWER_SEEN: u16 = 1 << 4;
    /// Both ends asked at once.
    pub const SIMULTANEOUS: u16 = 1 << 5;
    /// An ICMP error quoted it.
    pub const UNREACHABLE: u16 = 1 << 6;
    /// Both ends negotiated SACK, or one of them used it.
    pub const SACK: u16 = 1 << 7;
    /// Its end was told.
    pub const TOLD: u16 = 1 << 8;
    /// `first_round_trip_us` is known.
    pub const ROUND_TRIP: u16 = 1 << 9;
}

/// Bits of [`Direction::state`].
pub mod state {
    /// `next_sequence` is set.
    pub const SENT: u16 = 1 << 0;
    /// `last_acknowledgment` is set.
    pub const ACKED: u16 = 1 << 1;
    /// `window` is set.
    pub const WINDOW: u16 = 1 << 2;
    /// FIN sent.
    pub const FIN: u16 = 1 << 3;
    /// RST sent.
    pub const RST: u16 = 1 << 4;
    /// The last payload segment had PSH: the application's write ended there.
    pub const PUSHED: u16 = 1 << 5;
    /// The last segment was a keep-alive.
    pub const KEEP_ALIVE: u16 = 1 << 6;
    /// The last segment was a zero-window probe.
    pub const PROBE: u16 = 1 << 7;
    /// A segment is being timed until its ACK.
    pub const TIMED: u16 = 1 << 8;
    /// The last window came with the SYN-ACK or the SYN: it is never scaled.
    pub const UNSCALED: u16 = 1 << 9;
    /// What was sent last went up to the receiver's window.
    pub const BLOCKED: u16 = 1 << 10;
    /// Used SACK.
    pub const SACK: u16 = 1 << 11;
    /// Used ECN: echoed, or said that it reduced its window.
    pub const ECN: u16 = 1 << 12;
    /// Sent a payload segment.
    pub const PAYLOAD: u16 = 1 << 13;
    /// The newest payload was sent once and is not acknowledged yet: `advanced_us` is when it was sent.
    pub const NEWEST_TIMED: u16 = 1 << 14;
}

/// What is counted of one direction, by `events`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Tally {
    /// Sent again, of any kind.
    Retransmission,
    /// Of these, fast ones.
    Fast,
    /// Of these, spurious ones.
    Spurious,
    /// Overtaken.
    OutOfOrder,
    /// Holes before a segment.
    LostSegment,
    /// Duplicate ACKs.
    DuplicateAck,
    /// Zero windows.
    ZeroWindow,
    /// Windows filled.
    WindowFull,
    /// Keep-alives.
    KeepAlive,
    /// Packets captured twice.
    CapturedTwice,
}

/// How many [`Tally`]s there are.
pub const TALLIES: usize = 10;

/// [`Direction::duplicate_acks`] of an end of whose bytes some were acknowledged unseen since it last acknowledged
/// something new itself.
pub const STALLED: u16 = u16::MAX;

/// What one end sent: what every segment needs.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Direction {
    /// Sequence number behind the highest byte sent.
    pub next_sequence: u32,
    /// Highest number that may be acknowledged: up to it all was captured, or what is missing was acknowledged. Never
    /// after `next_sequence`.
    pub contiguous: u32,
    /// Acknowledgment of the last segment: it is about the other end's bytes.
    pub last_acknowledgment: u32,
    /// When `next_sequence` last moved, [`clock_us`].
    pub advanced_us: u32,
    /// The last segment, [`clock_us`].
    pub last_us: u32,
    /// The last payload segment, [`clock_us`].
    pub payload_us: u32,
    /// Number behind the segment being timed.
    pub timed_sequence: u32,
    /// When it was sent, [`clock_us`].
    pub timed_us: u32,
    /// Fingerprint of the last packet, to know it when it is captured again.
    pub print: u32,
    /// Last window advertised, as it stood in the header.
    pub window: u16,
    /// Duplicate ACKs in a row, or [`STALLED`].
    pub duplicate_acks: u16,
    /// Bits of [`state`].
    pub state: u16,
    /// Window shift, or [`UNKNOWN_SHIFT`].
    pub shift: u8,
    /// Lowest bits of the last timestamp, to tell the first segment of each.
    pub timestamp: u8,
    /// Segments; super-frames count as those they stand for.
    pub packets: u32,
    /// Payload.
    pub payload_bytes: u64,
    /// Bytes on the wire that are not payload.
    pub header_bytes: u32,
    /// Smallest window advertised on the established connection, as it stood in the header.
    pub window_min: u16,
    /// Largest.
    pub window_max: u16,
}

/// What one end sent: what comes less often.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Details {
    /// Sum of round trips, microseconds: from the segment to its ACK.
    pub round_trip_sum_us: u64,
    /// How many.
    pub round_trips: u32,
    /// Shortest.
    pub round_trip_min_us: u32,
    /// Longest.
    pub round_trip_max_us: u32,
    /// The last one.
    pub round_trip_last_us: u32,
    /// Mean difference between one and the next, times 16 (RFC 3550, appendix A.8).
    pub jitter_x16_us: u32,
    /// Payload that had been sent before.
    pub resent_bytes: u32,
    /// Payload below the highest number that was not captured so far, overtaken or lost, and may come yet.
    pub missing_bytes: u32,
    /// Most bytes sent and not acknowledged.
    pub in_flight_max_bytes: u32,
    /// Time in which the application had nothing to send, microseconds. All three are halved before one overflows.
    pub application_us: u32,
    /// Time in which the receiver's window was full.
    pub receiver_us: u32,
    /// Time in which it was the network's turn.
    pub network_us: u32,
    /// The MiB being timed.
    pub transfer: Transfer,
    /// By [`Tally`].
    pub events: [u16; TALLIES],
}

impl Default for Details {
    fn default() -> Self {
        Self {
            round_trip_sum_us: 0,
            round_trips: 0,
            round_trip_min_us: 0,
            round_trip_max_us: 0,
            round_trip_last_us: 0,
            jitter_x16_us: 0,
            resent_bytes: 0,
            missing_bytes: 0,
            in_flight_max_bytes: 0,
            application_us: 0,
            receiver_us: 0,
            network_us: 0,
            transfer: Transfer::NONE,
            events: [0; TALLIES],
        }
    }
}

/// One connection, as far as the judgement needs it.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Connection {
    /// Address of each end, by [`Side`].
    pub addresses: [Address; 2],
    /// [`crate::flow::fingerprint`]; 0 is a free slot.
    pub fingerprint: u32,
    /// Its [`Story`], as its place plus 1; 0 where there is none.
    pub story: u32,
    /// SYN to the first ACK of the handshake, microseconds, with [`flag::ROUND_TRIP`].
    pub first_round_trip_us: u32,
    /// When the segment passed whose echo is waited for.
    pub probe: Stamp,
    /// Port of each end.
    pub ports: [u16; 2],
    /// Bits of [`flag`].
    pub flags: u16,
    /// Last segment, in units of [`Stamp::coarse`].
    pub seen: u16,
    /// Lowest bits of the timestamp whose echo is waited for.
    pub probe_timestamp: u16,
    /// State of `echo.rs`.
    pub probe_flags: u8,
    /// Handshake's duration as 1 + its octave of stamp units, 0 where it was not seen.
    pub round_trip: u8,
    /// Times that [`clock_us`] came round since the first packet.
    pub rounds: u16,
    /// By [`Side`].
    pub directions: [Direction; 2],
}

/// What a record of the connection has beside.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Story {
    /// By [`Side`].
    pub details: [Details; 2],
    /// First packet, nanoseconds.
    pub first_ns: u64,
    /// Number of the first packet in the run, from 1.
    pub first_packet: u64,
    /// SYN to SYN-ACK, microseconds; 0 where it is unknown.
    pub listener_us: u32,
    /// SYN-ACK to ACK, microseconds; 0 where it is unknown.
    pub peer_us: u32,
    /// SYNs and SYN-ACKs that were sent again.
    pub handshake_again: [u8; 2],
}

const _: () = assert!(size_of::<Connection>() == 192 && size_of::<Story>() == 192);

/// Which connections give way: the lowest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeepRank {
    /// No connection.
    Free,
    /// Closed: nothing but its end is of interest.
    Closed,
    /// Silent for longer than its timeout.
    Silent,
    /// Unproven, and silent for a tenth of its timeout.
    Waiting,
    /// Unproven, and alive.
    Unproven,
    /// Proven, and alive: kept.
    Proven,
}

/// Packet time in microseconds, modulo 2^32 (72 minutes): differences are right up to that.
#[inline(always)]
pub const fn clock_us(now_ns: u64) -> u32 {
    (now_ns / 1_000) as u32
}

/// Microseconds from `earlier` to `later`; 0 where packet time ran backwards.
#[inline(always)]
pub const fn elapsed_us(later: u32, earlier: u32) -> u32 {
    let elapsed = later.wrapping_sub(earlier);
    if elapsed > u32::MAX - u32::MAX / 64 { 0 } else { elapsed }
}

/// Whether two times are less than `limit_us` apart, whichever is the earlier: the capture of several interfaces is not
/// always in the order of time.
#[inline(always)]
pub const fn within_us(one: u32, other: u32, limit_us: u32) -> bool {
    let apart = one.wrapping_sub(other);
    apart < limit_us || apart.wrapping_neg() < limit_us
}

impl Story {
    /// Begins anew.
    pub fn begin(&mut self, first_ns: u64, first_packet: u64) {
        *self = Self { first_ns, first_packet, ..Self::default() };
    }

    /// What the handshake told.
    fn establish(&mut self, handshake: &Handshake, opening: &Opening, first_round_trip_us: u32) {
        self.first_ns = opening.first_ns;
        self.first_packet = opening.first_packet;
        self.handshake_again = opening.again;
        if handshake.answer_seen {
            // 0 says unknown.
            self.listener_us = units_to_us(handshake.answered_after).max(1);
            self.peer_us = first_round_trip_us.saturating_sub(self.listener_us).max(1);
        }
    }
}

impl Connection {
    /// Begins a connection that nothing is known of.
    pub fn begin(&mut self, fingerprint: u32, story: u32) {
        let direction = Direction { shift: UNKNOWN_SHIFT, window_min: u16::MAX, ..Direction::default() };
        *self = Self { fingerprint, story, directions: [direction; 2], ..Self::default() };
    }

    /// What the handshake told, which its last ACK completed at `now_us`; `elapsed` stamp units after the last SYN.
    pub fn establish(
        &mut self,
        story: &mut Story,
        handshake: &Handshake,
        opening: &Opening,
        elapsed: u32,
        now_us: u32,
    ) {
        let initiator = usize::from(handshake.initiator & 1);
        self.flags |= flag::PROVEN | flag::HANDSHAKE | flag::ROUND_TRIP;
        self.flags |= if initiator != 0 { flag::INITIATOR_HIGH } else { 0 };
        self.flags |= if handshake.answer_seen { flag::ANSWER_SEEN } else { 0 };
        self.flags |= if opening.simultaneous { flag::SIMULTANEOUS } else { 0 };
        self.round_trip = 1 + octave_of(elapsed) as u8;
        self.first_round_trip_us = units_to_us(elapsed);
        story.establish(handshake, opening, self.first_round_trip_us);
        let asked_us = now_us.wrapping_sub(self.first_round_trip_us);
        let shifts = [handshake.initiator_shift, handshake.responder_shift];
        self.directions[initiator].begin(opening, 0, shifts[0], asked_us);
        self.directions[initiator].packets = 1 + u32::from(opening.again[0]);
        if !handshake.answer_seen {
            return;
        }
        let answered_us = asked_us.wrapping_add(units_to_us(handshake.answered_after));
        self.directions[1 - initiator].begin(opening, 1, shifts[1], answered_us);
        self.directions[1 - initiator].packets = 1 + u32::from(opening.again[1]);
    }

    /// The initiator, where the handshake was seen.
    #[inline(always)]
    pub const fn initiator(&self) -> Side {
        if self.flags & flag::INITIATOR_HIGH == 0 { Side::Low } else { Side::High }
    }

    /// Last packet, nanoseconds, if `first_ns` was the first one.
    pub fn last_ns(&self, first_ns: u64) -> u64 {
        let first_us = first_ns / 1_000;
        let since_us = |direction: &Direction| {
            if direction.packets == 0 { 0 } else { elapsed_us(direction.last_us, first_us as u32) }
        };
        let [low, high] = &self.directions;
        let us = u64::from(since_us(low).max(since_us(high))) + (u64::from(self.rounds) << 32);
        first_ns + us * 1_000
    }

    /// Whether segments belong to the connection it remembers.
    #[inline(always)]
    pub const fn is_open(&self) -> bool {
        self.flags & flag::CLOSED == 0
    }

    /// Which of several gives way first.
    pub const fn keep_rank(&self, now: Stamp) -> KeepRank {
        let idle = now.since_coarse(self.seen);
        if self.fingerprint == 0 {
            KeepRank::Free
        } else if self.flags & flag::CLOSED != 0 {
            KeepRank::Closed
        } else if self.flags & flag::PROVEN != 0 {
            if idle > PROVEN_IDLE { KeepRank::Silent } else { KeepRank::Proven }
        } else if idle > UNPROVEN_IDLE {
            KeepRank::Silent
        } else if idle > UNPROVEN_IDLE / 10 {
            KeepRank::Waiting
        } else {
            KeepRank::Unproven
        }
    }
}

impl Direction {
    /// Whether the scale of its windows is unknown.
    #[inline(always)]
    pub const fn shift_unknown(&self) -> bool {
        self.shift == UNKNOWN_SHIFT
    }

    /// Its last window in bytes; meaningful only where the scale is known.
    #[inline(always)]
    pub const fn rwnd_bytes(&self) -> u32 {
        let shift = if self.state & state::UNSCALED != 0 { 0 } else { self.shift & 0x0f };
        (self.window as u32) << shift
    }

    /// Whether it sees nothing to send: its last window was 0.
    #[inline(always)]
    pub const fn closed_window(&self) -> bool {
        self.state & state::WINDOW != 0 && self.window == 0
    }
}

impl Details {
    /// Counts an event.
    #[inline(always)]
    pub const fn tally(&mut self, tally: Tally, count: u32) {
        let value = &mut self.events[tally as usize];
        let count = if count > u16::MAX as u32 { u16::MAX } else { count as u16 };
        *value = value.saturating_add(count);
    }

    /// A tally's value.
    pub const fn get(&self, tally: Tally) -> u32 {
        self.events[tally as usize] as u32
    }

    /// Time that passed and who caused it.
    #[inline(always)]
    pub const fn spend(&mut self, application_us: u32, receiver_us: u32, network_us: u32) {
        const HALF: u32 = 1 << 31;
        if (self.application_us | self.receiver_us | self.network_us) & HALF != 0 {
            self.application_us /= 2;
            self.receiver_us /= 2;
            self.network_us /= 2;
        }
        self.application_us = self.application_us.saturating_add(application_us);
        self.receiver_us = self.receiver_us.saturating_add(receiver_us);
        self.network_us = self.network_us.saturating_add(network_us);
    }

    /// One more round trip.
    #[inline(always)]
    pub fn round_trip(&mut self, us: u32) {
        if self.round_trips == 0 {
            (self.round_trip_min_us, self.round_trip_max_us) = (us, us);
        } else {
            self.round_trip_min_us = self.round_trip_min_us.min(us);
            self.round_trip_max_us = self.round_trip_max_us.max(us);
            let difference = self.round_trip_last_us.abs_diff(us);
            // jitter += (difference - jitter) / 16, in sixteenths.
            self.jitter_x16_us =
                self.jitter_x16_us.saturating_add(difference).saturating_sub(self.jitter_x16_us / 16);
        }
        self.round_trips = self.round_trips.saturating_add(1);
        self.round_trip_sum_us = self.round_trip_sum_us.saturating_add(us as u64);
        self.round_trip_last_us = us;
    }
}
