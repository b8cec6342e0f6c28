//! The half-open cache: connection attempts from their SYN to the handshake's end, in fixed memory.
//!
//! An attempt does not enter the flow table before it is completed, so a spoofed SYN costs one cache line here
//! and nothing there. A bucket is one cache line of [`ATTEMPT_WAYS`] attempts; a full bucket gives up a resolved
//! attempt first, else its oldest. Giving up one that was still waiting is told to the caller, who counts it.
//! Handshake truth (DESIGN.md section 5): asked, answered (SYN-ACK), refused (RST), completed (the initiator's
//! ACK of the responder's number).

use crate::flow::Side;
use crate::limits::{ATTEMPT_WAYS, HANDSHAKE_TIMEOUT};
use crate::packet::{NO_SHIFT, Segment, UNKNOWN_SHIFT, tcp_flag};
use crate::stamp::Stamp;

/// Slot is free. The states are plain bytes because the kernel and userspace share the memory.
pub const FREE: u8 = 0;
/// SYN seen.
pub const ASKED: u8 = 1;
/// SYN-ACK seen.
pub const ANSWERED: u8 = 2;
/// The initiator's ACK seen, after a SYN-ACK or (in a one-sided view) without.
pub const COMPLETED: u8 = 3;
/// RST instead of an answer, or after it.
pub const REFUSED: u8 = 4;

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
    /// [`Stamp`] of the first SYN.
    pub asked: Stamp,
    /// One of the constants above.
    pub state: u8,
    /// [`Side`] that asked.
    pub initiator: u8,
    /// Window shift offered by the initiator, as [`Segment::shift`].
    pub initiator_shift: u8,
    /// Window shift offered by the responder, as [`Segment::shift`].
    pub responder_shift: u8,
}

/// One cache line of attempts.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AttemptBucket {
    /// Attempts in no order.
    pub ways: [Attempt; ATTEMPT_WAYS],
    /// Fills the line.
    pub reserved: u32,
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
}

/// What ended or advanced an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// First SYN-ACK, so many stamp units after the SYN.
    First(u32),
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
    /// Stamp units from the first SYN to the completing ACK.
    pub elapsed: u32,
}

impl Handshake {
    /// No handshake was completed.
    pub const NONE: Self = Self {
        happened: false,
        initiator: 0,
        initiator_shift: UNKNOWN_SHIFT,
        responder_shift: UNKNOWN_SHIFT,
        answer_seen: false,
        elapsed: 0,
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
    /// No waiting attempt.
    Unrelated,
}

impl AttemptBucket {
    #[inline(always)]
    fn find(&mut self, fingerprint: u32) -> Option<&mut Attempt> {
        self.ways.iter_mut().find(|attempt| attempt.fingerprint == fingerprint)
    }

    /// A SYN from `sender`.
    #[inline(always)]
    pub fn ask(&mut self, fingerprint: u32, sender: Side, segment: &Segment, now: Stamp) -> Asked {
        let fresh = Attempt {
            fingerprint,
            initiator_isn: segment.sequence,
            responder_isn: 0,
            asked: now,
            state: ASKED,
            initiator: sender as u8,
            initiator_shift: segment.shift,
            responder_shift: UNKNOWN_SHIFT,
        };
        if let Some(known) = self.find(fingerprint) {
            if known.initiator_isn == segment.sequence && known.initiator == sender as u8 {
                return Asked::Again;
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

    /// Free first, then resolved or timed out, then the oldest.
    #[inline(always)]
    fn victim(&mut self, now: Stamp) -> &mut Attempt {
        let [first, second, third] = &mut self.ways;
        let older = if first.keep_rank(now) <= second.keep_rank(now) { first } else { second };
        if older.keep_rank(now) <= third.keep_rank(now) { older } else { third }
    }

    /// A SYN-ACK from `sender`.
    #[inline(always)]
    pub fn answer(&mut self, fingerprint: u32, sender: Side, segment: &Segment, now: Stamp) -> Answer {
        let Some(attempt) = self.find(fingerprint) else { return Answer::Unasked };
        let acknowledged = segment.acknowledgment.wrapping_sub(attempt.initiator_isn);
        if attempt.initiator == sender as u8 || acknowledged == 0 || acknowledged > ACK_SLACK {
            return Answer::Unasked;
        }
        if attempt.state != ASKED {
            return Answer::Again;
        }
        attempt.state = ANSWERED;
        attempt.responder_isn = segment.sequence;
        attempt.responder_shift = segment.shift;
        Answer::First(now.since(attempt.asked))
    }

    /// A segment from `sender` with ACK and without SYN or RST: the handshake it completes, if any.
    #[inline(always)]
    pub fn complete(&mut self, fingerprint: u32, sender: Side, segment: &Segment, now: Stamp) -> Handshake {
        let Some(attempt) = self.find(fingerprint) else { return Handshake::NONE };
        let answer_seen = attempt.state == ANSWERED;
        if attempt.initiator != sender as u8 || !(answer_seen || attempt.state == ASKED) {
            return Handshake::NONE;
        }
        let sent = segment.sequence.wrapping_sub(attempt.initiator_isn);
        let acknowledged = segment.acknowledgment.wrapping_sub(attempt.responder_isn);
        let acknowledges = !answer_seen || (acknowledged != 0 && acknowledged <= ACK_SLACK);
        if sent == 0 || sent > ACK_SLACK || !acknowledges {
            return Handshake::NONE;
        }
        attempt.state = COMPLETED;
        let (initiator_shift, responder_shift) = negotiated(attempt.initiator_shift, attempt.responder_shift);
        Handshake {
            happened: true,
            initiator: attempt.initiator,
            initiator_shift,
            responder_shift,
            answer_seen,
            elapsed: now.since(attempt.asked),
        }
    }

    /// A RST from `sender`.
    #[inline(always)]
    pub fn reset(&mut self, fingerprint: u32, sender: Side, segment: &Segment) -> Reset {
        let Some(attempt) = self.find(fingerprint) else { return Reset::Unrelated };
        let answered = attempt.state == ANSWERED;
        if !answered && attempt.state != ASKED {
            return Reset::Unrelated;
        }
        let by_initiator = attempt.initiator == sender as u8;
        if !answered && !by_initiator && segment.has(tcp_flag::ACK) {
            let acknowledged = segment.acknowledgment.wrapping_sub(attempt.initiator_isn);
            if acknowledged == 0 || acknowledged > ACK_SLACK {
                return Reset::Unrelated;
            }
        }
        attempt.state = REFUSED;
        if by_initiator {
            Reset::Withdrawn
        } else if answered {
            Reset::Aborted
        } else {
            Reset::Refused
        }
    }
}

/// Scaling is in force only if both offered it (RFC 7323 section 2.2): one that did not settles it for both, one
/// whose offer nobody read leaves it open for both.
#[inline(always)]
const fn negotiated(initiator: u8, responder: u8) -> (u8, u8) {
    if initiator == NO_SHIFT || responder == NO_SHIFT {
        (0, 0)
    } else if initiator == UNKNOWN_SHIFT || responder == UNKNOWN_SHIFT {
        (UNKNOWN_SHIFT, UNKNOWN_SHIFT)
    } else {
        (initiator, responder)
    }
}

impl Attempt {
    /// Asked or answered, and not older than the handshake timeout.
    #[inline(always)]
    pub const fn waiting(&self, now: Stamp) -> bool {
        (self.state == ASKED || self.state == ANSWERED) && now.since(self.asked) < HANDSHAKE_TIMEOUT
    }

    /// Order of giving up: the lowest goes first.
    #[inline(always)]
    const fn keep_rank(&self, now: Stamp) -> u32 {
        if self.state == FREE {
            0
        } else if !self.waiting(now) {
            1
        } else {
            1 + HANDSHAKE_TIMEOUT - now.since(self.asked)
        }
    }
}
