//! A TCP segment's way through the half-open cache or the flow table.

use super::Tables;
use crate::attempt::{Answer, Asked, Handshake, Reset};
use crate::event::{self, Outcome};
use crate::flow::{FlowKey, Side, fingerprint};
use crate::judge::{Admission, CLOSED, Flow, FlowBucket, HANDSHAKE};
use crate::packet::{Fragment, Packet, Segment, tcp_flag};
use crate::stamp::Stamp;

/// Takes a TCP segment through the half-open cache or the flow table.
#[inline(always)]
pub(super) fn follow<T: Tables>(tables: &mut T, packet: &Packet, key: FlowKey, now: Stamp) -> Outcome {
    let hash = key.hash();
    let segment = &packet.segment;
    let mut outcome = Outcome::default();
    if segment.is_syn() {
        outcome.events = event::LISTENER_KNOWN | asked(tables, hash, key.sender(), segment, now);
    } else if segment.is_syn_ack() {
        outcome.events = event::LISTENER_KNOWN | event::FROM_LISTENER;
        answered(tables, hash, key.sender(), segment, now, &mut outcome);
    } else {
        if packet.source_port < packet.destination_port {
            outcome.events = event::FROM_LISTENER;
        }
        // A first fragment's payload length is not the segment's: its header facts count, its numbers do not.
        if packet.fragment == Fragment::Whole {
            established(tables, hash, key.sender(), segment, now, &mut outcome);
        }
    }
    outcome
}

#[inline(always)]
fn asked<T: Tables>(tables: &mut T, hash: u64, sender: Side, segment: &Segment, now: Stamp) -> u32 {
    let Some(attempts) = tables.attempts(hash) else { return 0 };
    match attempts.ask(fingerprint(hash), sender, segment, now) {
        Asked::First { lost: false } => event::ATTEMPTED,
        Asked::First { lost: true } => event::ATTEMPTED | event::ATTEMPT_LOST,
        Asked::Again => event::SYN_AGAIN,
    }
}

#[inline(always)]
fn answered<T: Tables>(
    tables: &mut T,
    hash: u64,
    sender: Side,
    segment: &Segment,
    now: Stamp,
    outcome: &mut Outcome,
) {
    let Some(attempts) = tables.attempts(hash) else { return };
    match attempts.answer(fingerprint(hash), sender, segment, now) {
        Answer::First(elapsed) => {
            outcome.events |= event::ANSWERED;
            outcome.elapsed = elapsed;
            // Ports used again: what the slot remembers belongs to the connection before.
            if let Some(flow) = tables.flows(hash).and_then(|flows| flows.find(fingerprint(hash))) {
                flow.flags |= CLOSED;
            }
        }
        Answer::Again => {}
        Answer::Unasked => outcome.events |= event::ANSWERED_UNASKED,
    }
}

/// A segment without SYN: of a known flow, completing a handshake, resetting one, or from mid-connection.
#[inline(always)]
fn established<T: Tables>(
    tables: &mut T,
    hash: u64,
    sender: Side,
    segment: &Segment,
    now: Stamp,
    outcome: &mut Outcome,
) {
    let mut handshake = Handshake::NONE;
    let open =
        tables.flows(hash).and_then(|flows| flows.find(fingerprint(hash))).is_some_and(|flow| flow.is_open());
    if segment.has(tcp_flag::RST) {
        // A reset may refuse an attempt on the ports of a flow whose end was not seen.
        reset(tables, hash, sender, segment, outcome);
        if !open {
            return;
        }
    }
    if !open {
        let Some(attempts) = tables.attempts(hash) else { return };
        if !segment.has(tcp_flag::ACK) {
            return;
        }
        handshake = attempts.complete(fingerprint(hash), sender, segment, now);
    }
    let Some(flows) = tables.flows(hash) else { return };
    let Some(flow) = slot(flows, fingerprint(hash), handshake.happened, now, outcome) else {
        completed(&handshake, sender, outcome);
        return;
    };
    if handshake.happened {
        flow.restart();
        flow.establish(&handshake);
    }
    completed(&handshake, sender, outcome);
    flow.judge(sender, segment, now, outcome);
    if flow.flags & HANDSHAKE != 0 {
        let from_listener = if flow.initiator != sender as u8 { event::FROM_LISTENER } else { 0 };
        outcome.events = (outcome.events & !event::FROM_LISTENER) | event::LISTENER_KNOWN | from_listener;
    }
}

/// Whoever resets an attempt, it is known from it who was asked.
#[inline(always)]
fn reset<T: Tables>(tables: &mut T, hash: u64, sender: Side, segment: &Segment, outcome: &mut Outcome) {
    let Some(attempts) = tables.attempts(hash) else { return };
    let told = match attempts.reset(fingerprint(hash), sender, segment) {
        Reset::Aborted => event::ABORTED | event::LISTENER_KNOWN | event::FROM_LISTENER,
        Reset::Refused => event::REFUSED | event::LISTENER_KNOWN | event::FROM_LISTENER,
        // The guess by port numbers stands.
        Reset::Unrelated => outcome.events & event::FROM_LISTENER,
        Reset::Withdrawn => event::ABORTED | event::LISTENER_KNOWN,
    };
    outcome.events = (outcome.events & !event::FROM_LISTENER) | told;
}

/// The flow's slot, new if need be.
#[inline(always)]
fn slot<'a>(
    flows: &'a mut FlowBucket,
    fingerprint: u32,
    proven: bool,
    now: Stamp,
    outcome: &mut Outcome,
) -> Option<&'a mut Flow> {
    if let Some(way) = flows.way(fingerprint) {
        return Some(&mut flows.ways[way]);
    }
    match flows.admit(fingerprint, proven, now) {
        Some((Admission::Free, flow)) => {
            outcome.events |= event::FLOW_ADMITTED;
            Some(flow)
        }
        Some((Admission::Evicted, flow)) => {
            outcome.events |= event::FLOW_EVICTED;
            Some(flow)
        }
        None => {
            outcome.events |= event::FLOW_REFUSED;
            None
        }
    }
}

#[inline(always)]
fn completed(handshake: &Handshake, sender: Side, outcome: &mut Outcome) {
    if !handshake.happened {
        return;
    }
    outcome.events |= event::LISTENER_KNOWN;
    outcome.events |= if handshake.answer_seen { event::COMPLETED } else { event::COMPLETED_ONE_SIDED };
    outcome.elapsed = handshake.elapsed;
    if handshake.initiator == sender as u8 {
        outcome.events &= !event::FROM_LISTENER;
    }
}
