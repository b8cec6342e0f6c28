//! A TCP segment's way through the half-open cache or the flow table.

use super::Tables;
use super::handshake::{answered, asked, completed, reset};
use crate::attempt::Handshake;
use crate::event::{self, Outcome};
use crate::flow::{FlowKey, Side, fingerprint};
use crate::frame::Frame;
use crate::judge::{Admission, FlowBucket, HANDSHAKE};
use crate::limits::FLOW_WAYS;
use crate::packet::{Fragment, Packet, Segment, tcp_flag};
use crate::settings::{Settings, feature};
use crate::stamp::Stamp;

/// Takes a TCP segment through the half-open cache or the flow table.
#[inline(always)]
pub(super) fn follow<F: Frame, T: Tables>(
    frame: F,
    tables: &mut T,
    packet: &Packet,
    key: FlowKey,
    now: Stamp,
    settings: Settings,
) -> Outcome {
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
            established(frame, tables, hash, key.sender(), segment, now, &mut outcome);
            outcome = outcome.opaque(frame);
            if settings.has(feature::ROUND_TRIPS) && segment.timestamp != 0 {
                round_trip(tables, hash, key.sender(), segment, now, &mut outcome);
            }
        }
    }
    outcome
}

/// A segment without SYN: of a known flow, completing a handshake, resetting one, or from mid-connection.
#[inline(always)]
fn established<F: Frame, T: Tables>(
    frame: F,
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
        handshake = attempts.complete(fingerprint(hash), sender, segment).opaque(frame);
        completed(tables, &handshake, sender, now, outcome);
    }
    *outcome = outcome.opaque(frame);
    let Some(flows) = tables.flows(hash) else { return };
    let slot = frame.opaque(slot(flows, fingerprint(hash), handshake.happened, now));
    outcome.events |= slot & !WAY;
    if slot & event::FLOW_REFUSED != 0 {
        return;
    }
    let flow = &mut flows.ways[(slot & WAY) as usize];
    if handshake.happened {
        flow.restart();
        flow.establish(&handshake, outcome.elapsed);
    }
    flow.judge(sender, segment, now, outcome);
    if flow.flags & HANDSHAKE != 0 {
        let from_listener = if flow.initiator() != sender as u8 { event::FROM_LISTENER } else { 0 };
        outcome.events = (outcome.events & !event::FROM_LISTENER) | event::LISTENER_KNOWN | from_listener;
    }
}

/// Begins or ends the timing of a round trip by timestamps.
#[inline(always)]
fn round_trip<T: Tables>(
    tables: &mut T,
    hash: u64,
    sender: Side,
    segment: &Segment,
    now: Stamp,
    outcome: &mut Outcome,
) {
    let Some(flow) = tables.flows(hash).and_then(|flows| flows.find(fingerprint(hash))) else { return };
    flow.match_timestamps(sender, segment, now, outcome);
    if !outcome.has(event::ECHO | event::PROBE) {
        return;
    }
    let at = tables.precise(now, 0);
    let Some(flow) = tables.flows(hash).and_then(|flows| flows.find(fingerprint(hash))) else { return };
    flow.time(sender, segment, at, outcome);
}

/// The lowest bit of [`slot`]'s answer.
const WAY: u32 = FLOW_WAYS as u32 - 1;
// No event that a slot may cause shares the bit.
const _: () = assert!(WAY & (event::FLOW_ADMITTED | event::FLOW_EVICTED | event::FLOW_REFUSED) == 0);

/// The flow's way in its bucket, made for it if need be, and the events that this was.
#[inline(always)]
fn slot(flows: &mut FlowBucket, fingerprint: u32, proven: bool, now: Stamp) -> u32 {
    if let Some(way) = flows.way(fingerprint) {
        return way as u32;
    }
    match flows.admit(fingerprint, proven, now) {
        Some((Admission::Free, way)) => event::FLOW_ADMITTED | way,
        Some((Admission::Evicted, way)) => event::FLOW_EVICTED | way,
        None => event::FLOW_REFUSED,
    }
}
