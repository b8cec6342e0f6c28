//! The half-open cache: connection attempts from their SYN to the handshake's end, in fixed memory.
//!
//! An attempt does not enter the flow table before it is completed, so a spoofed SYN costs one cache line here
//! and nothing there. A bucket is one cache line of [`ATTEMPT_WAYS`] attempts; a full bucket gives up a completed
//! attempt first, then one that came to nothing, else its oldest. Giving up one that was still waiting is told to the
//! caller, who counts it.
//! Handshake truth (DESIGN.md section 5): asked, answered (SYN-ACK), refused (RST), completed (the initiator's
//! ACK of the responder's number). Some initiators send a refused SYN again (Windows does, twice): that is the same attempt,
//! refused once whatever comes of it, and it may yet be answered and completed.

use crate::flow::Side;
use crate::frame::Frame;
use crate::histogram::octave_of;
use crate::limits::{ATTEMPT_WAYS, HANDSHAKE_TIMEOUT};
use crate::packet::{NO_SHIFT, Segment, UNKNOWN_SHIFT, tcp_flag};
use crate::stamp::{Moment, Stamp};

/// Slot is free. The states are plain bytes because the kernel and userspace share the memory.
pub const FREE: u8 = 0;
/// SYN seen.
pub const ASKED: u8 = 1;
/// SYN-ACK seen.
pub const ANSWERED: u8 = 2;
/// The initiator's ACK seen, after a SYN-ACK or (in a one-sided view) without.
pub const COMPLETED: u8 = 3;
/// RST instead of an answer.
pub const REFUSED: u8 = 4;
/// A SYN-ACK that nobody asked for (userspace only): remembered to know it when it comes again.
pub const UNASKED: u8 = 5;
/// RST after the answer, or by the initiator itself.
pub const ABORTED: u8 = 6;

/// [`Attempt::marks`]: the states above.
const STATE: u8 = 0x07;
/// [`Attempt::marks`]: the initiator is the side with the higher hash.
const INITIATOR_HIGH: u8 = 0x08;
/// [`Attempt::marks`]: `asked` is the SYN's own time.
const ASKED_PRECISE: u8 = 0x10;
/// [`Attempt::marks`]: `asked` and `answered_after` add up to the answer's own time.
const ANSWERED_PRECISE: u8 = 0x20;
/// [`Attempt::marks`]: the responder asked, too.
const CROSSED: u8 = 0x40;
/// [`Attempt::marks`]: it was refused, and asked again with the same SYN.
const REFUSED_BEFORE: u8 = 0x80;

/// [`Attempt::shifts`] while asked, and unasked: [`NO_SHIFT`] and [`UNKNOWN_SHIFT`]; other shifts are themselves.
const ASKED_NO_SHIFT: u8 = 15;
const ASKED_UNKNOWN: u8 = 16;
/// [`Attempt::shifts`] once answered: unknown; other pairs are the initiator's shift and the responder's, four bits each.
const ANSWERED_UNKNOWN: u8 = 0xff;

/// How far behind its number a handshake acknowledgment may point: data in the SYN (TCP Fast Open) or right
/// behind the handshake.
const ACK_SLACK: u32 = 1 << 24;

/// One attempt, 20 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attempt {
    /// [`crate::flow::fingerprint`] of the flow.
    pub fingerprint: u32,
    /// The initiator's first sequence number.
    pub initiator_isn: u32,
    /// The responder's first sequence number, once answered.
    pub responder_isn: u32,
    /// [`Stamp`] of the last SYN.
    pub asked: Stamp,
    /// Time from the SYN to its answer, see `short_units`.
    pub answered_after: u16,
    /// State, initiator and precision, see the constants.
    pub marks: u8,
    /// Window shifts, see the constants.
    pub shifts: u8,
}

/// One cache line of attempts.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AttemptBucket {
    /// Attempts in no order.
    pub ways: [Attempt; ATTEMPT_WAYS],
    /// Written to have the line fetched, never read.
    pub touched: u32,
}

const _: () = assert!(size_of::<Attempt>() == 20 && size_of::<AttemptBucket>() == 64);

/// What a SYN was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// The first SYN of its attempt; `lost` where an attempt that was still waiting had to make room.
    First {
        /// A waiting attempt was given up.
        lost: bool,
    },
    /// The same SYN again.
    Again,
    /// The other end asks too: a simultaneous open.
    Crossed,
}

/// What ended or advanced an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// First SYN-ACK.
    First {
        /// Stamp units since the SYN.
        elapsed: u32,
        /// Whether both ends of that time are precise.
        precise: bool,
        /// The attempt was refused before.
        refused: bool,
    },
    /// The SYN-ACK again.
    Again,
    /// A SYN-ACK to no SYN that we know.
    Unasked,
}

/// A completed handshake, or none: not an `Option`, whose payload would be undefined where there is none, and the
/// kernel's verifier refuses to copy what is undefined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handshake {
    /// Whether there was one; the rest means nothing otherwise.
    pub happened: bool,
    /// Side that asked.
    pub initiator: u8,
    /// Window shift of the initiator's windows, [`UNKNOWN_SHIFT`] where unknown.
    pub initiator_shift: u8,
    /// Window shift of the responder's windows, [`UNKNOWN_SHIFT`] where unknown.
    pub responder_shift: u8,
    /// Whether the SYN-ACK was seen. If not, the ACK's number could not be checked.
    pub answer_seen: bool,
    /// The last SYN's time.
    pub asked: Stamp,
    /// Stamp units from there to the answer; meaningful with `answer_precise`.
    pub answered_after: u32,
    /// Whether both add up to the answer's own time.
    pub answer_precise: bool,
}

impl Handshake {
    /// Itself; the verifier then follows as one what led to different values, see [`Frame::opaque`].
    #[inline(always)]
    pub fn opaque<F: Frame>(self, frame: F) -> Self {
        let bit = |value: bool| frame.opaque(u32::from(value)) & 1 != 0;
        Self {
            happened: bit(self.happened),
            initiator: frame.opaque(u32::from(self.initiator)) as u8,
            initiator_shift: frame.opaque(u32::from(self.initiator_shift)) as u8,
            responder_shift: frame.opaque(u32::from(self.responder_shift)) as u8,
            answer_seen: bit(self.answer_seen),
            asked: Stamp(frame.opaque(self.asked.0)),
            answered_after: frame.opaque(self.answered_after),
            answer_precise: bit(self.answer_precise),
        }
    }

    /// No handshake was completed.
    pub const NONE: Self = Self {
        happened: false,
        initiator: 0,
        initiator_shift: UNKNOWN_SHIFT,
        responder_shift: UNKNOWN_SHIFT,
        answer_seen: false,
        asked: Stamp(0),
        answered_after: 0,
        answer_precise: false,
    };
}

/// What a RST did to an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reset {
    /// By the responder after its answer, which ends the attempt half open.
    Aborted,
    /// By the initiator itself.
    Withdrawn,
    /// The responder refused it.
    Refused,
    /// The responder refused it again.
    RefusedAgain,
    /// No waiting attempt.
    Unrelated,
}

impl AttemptBucket {
    /// Has the line fetched: a store does not wait for its line, as a load would.
    #[inline(always)]
    pub fn touch(&mut self) {
        self.touched = 0;
    }

    #[inline(always)]
    fn find(&mut self, fingerprint: u32) -> Option<&mut Attempt> {
        self.ways.iter_mut().find(|attempt| attempt.fingerprint == fingerprint)
    }

    /// A SYN from `sender`.
    #[inline(always)]
    pub fn ask(&mut self, fingerprint: u32, sender: Side, segment: &Segment, at: Moment) -> Asked {
        let now = at.stamp;
        let high = if sender as u8 != 0 { INITIATOR_HIGH } else { 0 };
        let fresh = Attempt {
            fingerprint,
            initiator_isn: segment.sequence,
            responder_isn: 0,
            asked: now,
            answered_after: 0,
            marks: ASKED | high | if at.precise { ASKED_PRECISE } else { 0 },
            shifts: asked_shift(segment.shift),
        };
        if let Some(known) = self.find(fingerprint) {
            if known.initiator_isn == segment.sequence && known.initiator() == sender as u8 {
                if known.state() == REFUSED {
                    known.set_state(ASKED);
                    known.marks |= REFUSED_BEFORE;
                }
                if known.state() == ASKED {
                    // The answer that comes is most likely this one's: a round trip runs from the last SYN.
                    known.asked = now;
                    known.marks = (known.marks & !ASKED_PRECISE) | if at.precise { ASKED_PRECISE } else { 0 };
                }
                return Asked::Again;
            }
            if known.state() == ASKED && known.initiator() != sender as u8 && known.waiting(now) {
                // Both ends ask at once (RFC 9293, figure 8): the first to ask stays the initiator.
                let again = known.marks & CROSSED != 0 && known.responder_isn == segment.sequence;
                known.responder_isn = segment.sequence;
                known.marks |= CROSSED;
                return if again { Asked::Again } else { Asked::Crossed };
            }
            // A new number on the same ports is a new attempt (tshark: reused ports).
            *known = fresh;
            return Asked::First { lost: false };
        }
        let victim = self.victim(now);
        let lost = victim.waiting(now);
        *victim = fresh;
        Asked::First { lost }
    }

    /// Free first, then completed, then refused or timed out, then the oldest: a SYN that nobody answered comes again, and
    /// then has to be known.
    #[inline(always)]
    fn victim(&mut self, now: Stamp) -> &mut Attempt {
        let [first, second, third] = &mut self.ways;
        let older = if first.keep_rank(now) <= second.keep_rank(now) { first } else { second };
        if older.keep_rank(now) <= third.keep_rank(now) { older } else { third }
    }

    /// A SYN-ACK from `sender`.
    #[inline(always)]
    pub fn answer(&mut self, fingerprint: u32, sender: Side, segment: &Segment, at: Moment) -> Answer {
        let Some(attempt) = self.find(fingerprint) else { return Answer::Unasked };
        let acknowledged = segment.acknowledgment.wrapping_sub(attempt.initiator_isn);
        if attempt.initiator() == sender as u8 || acknowledged == 0 || acknowledged > ACK_SLACK {
            return Answer::Unasked;
        }
        if attempt.state() == ANSWERED {
            // A responder that forgot its first answer chooses another number, and an initiator that had heard the first
            // one would have completed it by now.
            attempt.responder_isn = segment.sequence;
        }
        if attempt.state() != ASKED {
            return Answer::Again;
        }
        let elapsed = at.stamp.since(attempt.asked);
        let precise = at.precise && attempt.marks & ASKED_PRECISE != 0;
        attempt.marks = (attempt.marks & !STATE) | ANSWERED | if at.precise { ANSWERED_PRECISE } else { 0 };
        attempt.shifts = negotiated(attempt.shifts, asked_shift(segment.shift));
        attempt.responder_isn = segment.sequence;
        attempt.answered_after = short_units(elapsed);
        Answer::First { elapsed, precise, refused: attempt.was_refused() }
    }

    /// Remembers a SYN-ACK from `sender` that answers no SYN we know, where that displaces no attempt that waits.
    pub fn note_unasked(&mut self, fingerprint: u32, sender: Side, segment: &Segment, now: Stamp) -> bool {
        let initiator_high = if sender as u8 == 0 { INITIATOR_HIGH } else { 0 };
        let fresh = Attempt {
            fingerprint,
            responder_isn: segment.sequence,
            asked: now,
            marks: UNASKED | initiator_high,
            shifts: asked_shift(segment.shift),
            ..Attempt::default()
        };
        if let Some(known) = self.find(fingerprint) {
            *known = fresh;
            return true;
        }
        let victim = self.victim(now);
        let free = !victim.waiting(now);
        if free {
            *victim = fresh;
        }
        free
    }

    /// A segment from `sender` with ACK and without SYN or RST: the handshake it completes, if any.
    #[inline(always)]
    pub fn complete(&mut self, fingerprint: u32, sender: Side, segment: &Segment) -> Handshake {
        let Some(attempt) = self.find(fingerprint) else { return Handshake::NONE };
        let answer_seen = attempt.state() == ANSWERED;
        if attempt.initiator() != sender as u8 || !(answer_seen || attempt.state() == ASKED) {
            return Handshake::NONE;
        }
        let sent = segment.sequence.wrapping_sub(attempt.initiator_isn);
        let acknowledged = segment.acknowledgment.wrapping_sub(attempt.responder_isn);
        let acknowledges = !answer_seen || (acknowledged != 0 && acknowledged <= ACK_SLACK);
        if sent == 0 || sent > ACK_SLACK || !acknowledges {
            return Handshake::NONE;
        }
        attempt.set_state(COMPLETED);
        let shifts = if answer_seen { attempt.shifts } else { negotiated(attempt.shifts, ASKED_UNKNOWN) };
        let known = shifts != ANSWERED_UNKNOWN;
        Handshake {
            happened: true,
            initiator: attempt.initiator(),
            initiator_shift: if known { shifts >> 4 } else { UNKNOWN_SHIFT },
            responder_shift: if known { shifts & 0x0f } else { UNKNOWN_SHIFT },
            answer_seen,
            asked: attempt.asked,
            answered_after: units_of_short(attempt.answered_after),
            answer_precise: attempt.marks & ANSWERED_PRECISE != 0,
        }
    }

    /// A RST from `sender`.
    #[inline(always)]
    pub fn reset(&mut self, fingerprint: u32, sender: Side, segment: &Segment) -> Reset {
        let Some(attempt) = self.find(fingerprint) else { return Reset::Unrelated };
        let answered = attempt.state() == ANSWERED;
        if !answered && attempt.state() != ASKED {
            return Reset::Unrelated;
        }
        let by_initiator = attempt.initiator() == sender as u8;
        if by_initiator && segment.sequence.wrapping_sub(attempt.initiator_isn) > ACK_SLACK {
            // It answers an ACK from an older connection between the same ports (RFC 9293 section 3.5.1); the SYN stands.
            return Reset::Unrelated;
        }
        if !answered && !by_initiator && segment.has(tcp_flag::ACK) {
            let acknowledged = segment.acknowledgment.wrapping_sub(attempt.initiator_isn);
            if acknowledged == 0 || acknowledged > ACK_SLACK {
                return Reset::Unrelated;
            }
        }
        attempt.set_state(if by_initiator || answered { ABORTED } else { REFUSED });
        if by_initiator {
            Reset::Withdrawn
        } else if answered {
            Reset::Aborted
        } else if attempt.was_refused() {
            Reset::RefusedAgain
        } else {
            Reset::Refused
        }
    }
}

/// A SYN's shift in [`Attempt::shifts`] while asked.
#[inline(always)]
const fn asked_shift(shift: u8) -> u8 {
    match shift {
        NO_SHIFT => ASKED_NO_SHIFT,
        UNKNOWN_SHIFT => ASKED_UNKNOWN,
        shift => shift & 0x0f,
    }
}

/// Scaling is in force only if both offered it (RFC 7323 section 2.2): one that did not settles it for both, one
/// whose offer nobody read leaves it open for both.
#[inline(always)]
const fn negotiated(initiator: u8, responder: u8) -> u8 {
    if initiator == ASKED_NO_SHIFT || responder == ASKED_NO_SHIFT {
        0
    } else if initiator == ASKED_UNKNOWN || responder == ASKED_UNKNOWN {
        ANSWERED_UNKNOWN
    } else {
        initiator << 4 | responder & 0x0f
    }
}

/// Stamp units in 16 bits, cut to 12 significant ones: four bits of exponent, twelve of mantissa.
#[inline(always)]
const fn short_units(units: u32) -> u16 {
    let units = if units > SHORT_MAX { SHORT_MAX } else { units };
    let exponent = octave_of(units | 0x0fff) - 11;
    (exponent << 12 | units >> exponent) as u16
}

/// The opposite of [`short_units`].
#[inline(always)]
const fn units_of_short(short: u16) -> u32 {
    (short as u32 & 0x0fff) << (short >> 12)
}

/// The longest time that has a short form (137 s).
const SHORT_MAX: u32 = 0x0fff << 15;

impl Attempt {
    /// One of the states.
    #[inline(always)]
    pub const fn state(&self) -> u8 {
        self.marks & STATE
    }

    #[inline(always)]
    const fn set_state(&mut self, state: u8) {
        self.marks = (self.marks & !STATE) | state;
    }

    /// Window shifts of initiator and responder, as far as its packets have told them so far.
    pub const fn shifts(&self) -> [u8; 2] {
        let shifts = match (self.state(), self.shifts) {
            // A SYN-ACK offers scaling only where the SYN did (RFC 7323 section 2.2).
            (UNASKED, shift) if shift < ASKED_NO_SHIFT => return [UNKNOWN_SHIFT, shift],
            (UNASKED | ASKED, shift) => negotiated(shift, ASKED_UNKNOWN),
            (_, shifts) => shifts,
        };
        if shifts == ANSWERED_UNKNOWN { [UNKNOWN_SHIFT; 2] } else { [shifts >> 4, shifts & 0x0f] }
    }

    /// Stamp units from the SYN to its answer.
    pub const fn answered_after(&self) -> u32 {
        units_of_short(self.answered_after)
    }

    /// [`Side`] that asked.
    #[inline(always)]
    pub const fn initiator(&self) -> u8 {
        (self.marks & INITIATOR_HIGH) >> 3
    }

    /// Refused, and asked again.
    #[inline(always)]
    pub const fn was_refused(&self) -> bool {
        self.marks & REFUSED_BEFORE != 0
    }

    /// Asked or answered: a SYN began it, and nothing ended it.
    #[inline(always)]
    pub const fn is_asked(&self) -> bool {
        self.state() == ASKED || self.state() == ANSWERED
    }

    /// Asked or answered, and not older than the handshake timeout.
    #[inline(always)]
    pub const fn waiting(&self, now: Stamp) -> bool {
        self.is_asked() && now.since(self.asked) < HANDSHAKE_TIMEOUT
    }

    /// Order of giving up: the lowest goes first.
    #[inline(always)]
    const fn keep_rank(&self, now: Stamp) -> u32 {
        if self.state() == FREE {
            0
        } else if self.state() == COMPLETED {
            1
        } else if !self.waiting(now) {
            2
        } else {
            2 + HANDSHAKE_TIMEOUT - now.since(self.asked)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_times_keep_twelve_bits() {
        for units in [0, 1, 4_095, 4_096, 70_000, 3_000_000, SHORT_MAX] {
            let kept = units_of_short(short_units(units));
            assert!(kept <= units && units - kept <= units >> 11, "{units} became {kept}");
        }
        assert_eq!(units_of_short(short_units(u32::MAX)), SHORT_MAX);
    }

    #[test]
    fn a_completed_attempt_gives_way_before_one_that_waits_in_vain() {
        let (asked, now) = (Stamp(0), Stamp(2 * HANDSHAKE_TIMEOUT));
        let attempt = |marks: u8| Attempt { fingerprint: marks.into(), asked, marks, ..Attempt::default() };
        let mut bucket = AttemptBucket { ways: [ASKED, REFUSED, COMPLETED].map(attempt), touched: 0 };
        assert_eq!(bucket.victim(now).state(), COMPLETED);
        bucket.ways[1] = Attempt::default();
        assert_eq!(bucket.victim(now).state(), FREE);
    }

    #[test]
    fn scaling_needs_both_offers() {
        let pairs = [
            (7, 9, 0x79),
            (7, NO_SHIFT, 0),
            (NO_SHIFT, UNKNOWN_SHIFT, 0),
            (7, UNKNOWN_SHIFT, ANSWERED_UNKNOWN),
        ];
        for (initiator, responder, expected) in pairs {
            assert_eq!(negotiated(asked_shift(initiator), asked_shift(responder)), expected);
            assert_eq!(negotiated(asked_shift(responder), asked_shift(initiator)), expected.rotate_left(4));
        }
    }
}
