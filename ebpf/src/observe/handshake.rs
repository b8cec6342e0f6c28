//! A segment's effect on the half-open cache: asked, answered, refused, completed, and the round trips these tell.

use super::Tables;
use crate::attempt::{Answer, Asked, Handshake, Reset};
use crate::event::{self, Outcome};
use crate::flow::{Side, fingerprint};
use crate::judge::CLOSED;
use crate::limits::PRECISE_STAMPS;
use crate::packet::Segment;
use crate::stamp::Stamp;

/// Precise stamps of a tick that SYN and SYN-ACK leave to others: a flood must not take them all.
const RESERVE: u32 = PRECISE_STAMPS / 2;

#[inline(always)]
pub(super) fn asked<T: Tables>(
    tables: &mut T,
    hash: u64,
    sender: Side,
    segment: &Segment,
    now: Stamp,
) -> u32 {
    let at = tables.precise(now, RESERVE);
    let Some(attempts) = tables.attempts(hash) else { return 0 };
    match attempts.ask(fingerprint(hash), sender, segment, at) {
        Asked::First { lost: false } => event::ATTEMPTED,
        Asked::First { lost: true } => event::ATTEMPTED | event::ATTEMPT_LOST,
        Asked::Crossed => event::SYN_CROSSED,
        Asked::Again => event::SYN_AGAIN,
    }
}

#[inline(always)]
pub(super) fn answered<T: Tables>(
    tables: &mut T,
    hash: u64,
    sender: Side,
    segment: &Segment,
    now: Stamp,
    outcome: &mut Outcome,
) {
    let at = tables.precise(now, RESERVE);
    let Some(attempts) = tables.attempts(hash) else { return };
    match attempts.answer(fingerprint(hash), sender, segment, at) {
        Answer::First { elapsed, precise, refused } => {
            outcome.events |= event::ANSWERED | if precise { event::HANDSHAKE_TRIP } else { 0 };
            outcome.events |= if refused { event::REFUSED_ANSWERED } else { 0 };
            outcome.elapsed = elapsed;
            outcome.round_trip = elapsed;
            // Ports used again: what the slot remembers belongs to the connection before.
            if let Some(flow) = tables.flows(hash).and_then(|flows| flows.find(fingerprint(hash))) {
                flow.flags |= CLOSED;
            }
        }
        Answer::Again => {}
        Answer::Unasked => outcome.events |= event::ANSWERED_UNASKED,
    }
}

/// Whoever resets an attempt, it is known from it who was asked.
#[inline(always)]
pub(super) fn reset<T: Tables>(
    tables: &mut T,
    hash: u64,
    sender: Side,
    segment: &Segment,
    outcome: &mut Outcome,
) {
    let Some(attempts) = tables.attempts(hash) else { return };
    let told = match attempts.reset(fingerprint(hash), sender, segment) {
        Reset::Aborted => event::ABORTED | event::LISTENER_KNOWN | event::FROM_LISTENER,
        Reset::Refused => event::REFUSED | event::LISTENER_KNOWN | event::FROM_LISTENER,
        Reset::RefusedAgain => event::LISTENER_KNOWN | event::FROM_LISTENER,
        // The guess by port numbers stands.
        Reset::Unrelated => outcome.events & event::FROM_LISTENER,
        Reset::Withdrawn => event::ABORTED | event::LISTENER_KNOWN,
    };
    outcome.events = (outcome.events & !event::FROM_LISTENER) | told;
}

/// The ACK that ends a handshake: what it tells of the attempt.
#[inline(always)]
pub(super) fn completed<T: Tables>(
    tables: &mut T,
    handshake: &Handshake,
    sender: Side,
    now: Stamp,
    outcome: &mut Outcome,
) {
    if !handshake.happened {
        return;
    }
    let at = tables.precise(now, 0);
    outcome.elapsed = at.stamp.since(handshake.asked);
    outcome.events |= event::LISTENER_KNOWN;
    outcome.events |= if handshake.answer_seen { event::COMPLETED } else { event::COMPLETED_ONE_SIDED };
    if handshake.answer_precise && at.precise {
        outcome.round_trip = outcome.elapsed.saturating_sub(handshake.answered_after);
        outcome.events |= event::HANDSHAKE_TRIP;
    }
    if handshake.initiator == sender as u8 {
        outcome.events &= !event::FROM_LISTENER;
    }
}
