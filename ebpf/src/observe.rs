//! The life of a packet in one function: parse, judge, count. The kernel program and every userspace source call
//! [`observe`] with their own tables and nothing else; that both then agree is what the parity test proves.
//!
//! Called once per frame. Touches, for a SYN: totals, one half-open line, one listener row, one source line; for
//! any other segment: totals, one flow line, one listener row.

use crate::attempt::{Answer, Asked, AttemptBucket, Handshake, Reset};
use crate::counter::{Counter, Counters};
use crate::event::{self, Outcome};
use crate::flow::{FlowKey, Side, fingerprint, pair_hash};
use crate::frame::Frame;
use crate::judge::{Admission, CLOSED, Flow, FlowBucket, HANDSHAKE};
use crate::limits::{LISTENER_WAYS, RWND_LOW_BYTES, TRANSFER_SLOW};
use crate::link::LinkType;
use crate::listener::{ListenerBucket, ListenerCounter, ListenerRow, choice};
use crate::packet::{Address, Fault, Fragment, Network, Packet, Segment, Transport, tcp_flag};
use crate::parse::parse;
use crate::source::SourceBucket;
use crate::stamp::{Stamp, units_to_us};

/// Where the state lives: BPF maps in the kernel, boxed slices in userspace. A `None` is a table that is not
/// there (the verifier asks); what it would have held is then not counted.
pub trait Tables {
    /// This shard's scratch memory.
    fn work(&mut self) -> Option<&mut Work>;
    /// This shard's totals.
    fn counters(&mut self) -> Option<&mut Counters>;
    /// The half-open bucket of a flow hash.
    fn attempts(&mut self, hash: u64) -> Option<&mut AttemptBucket>;
    /// The flow bucket of a flow hash.
    fn flows(&mut self, hash: u64) -> Option<&mut FlowBucket>;
    /// The listener bucket of a listener id.
    fn listeners(&mut self, id: u64) -> Option<&mut ListenerBucket>;
    /// The source bucket of a pair hash.
    fn sources(&mut self, pair: u64) -> Option<&mut SourceBucket>;
}

/// A frame's arrival: what is known beside its bytes.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// Packet time.
    pub now: Stamp,
    /// Outermost framing.
    pub link: LinkType,
    /// Captured bytes.
    pub captured_len: u32,
    /// Bytes on the wire.
    pub wire_len: u32,
    /// Wire segments it stands for: 1, or more for a super-frame (GRO, TSO).
    pub segments: u32,
}

/// What one stage hands to the next.
///
/// Through memory and not by value, because the kernel's verifier follows each combination of values that branches
/// have told it apart; of memory it remembers nothing, so each stage is followed once.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Work {
    packet: Packet,
    outcome: Outcome,
    arrival: Arrival,
    key: FlowKey,
    wire_bytes: u64,
}

impl Default for Work {
    fn default() -> Self {
        let arrival =
            Arrival { now: Stamp(0), link: LinkType::Ethernet, captured_len: 0, wire_len: 0, segments: 1 };
        let key = FlowKey { source: 0, destination: 0 };
        Self { packet: Packet::EMPTY, outcome: Outcome::default(), arrival, key, wire_bytes: 0 }
    }
}

/// Takes one frame through parse, judge and the counters of `tables`.
#[inline(always)]
pub fn observe<F: Frame, T: Tables, const TUNNELS: bool>(
    frame: F,
    arrival: Arrival,
    tables: &mut T,
    seed: u64,
) {
    let Some(work) = tables.work() else { return };
    work.packet = parse::<F, TUNNELS>(frame, arrival.link, arrival.wire_len);
    work.arrival = arrival;
    if headers(frame, tables, seed) && judge(tables) {
        count_listener(frame, tables);
        count_source(frame, tables, seed);
    }
}

/// Counts the header facts; whether there is a TCP segment to judge.
#[inline(always)]
fn headers<F: Frame, T: Tables>(frame: F, tables: &mut T, seed: u64) -> bool {
    let Some(work) = tables.work() else { return false };
    let (packet, arrival) = (work.packet, work.arrival);
    let wire_bytes = wire_bytes(&packet, &arrival);
    work.wire_bytes = wire_bytes;
    if packet.transport == Transport::Tcp {
        work.key = FlowKey::of(&packet, seed);
    }
    let Some(counters) = tables.counters() else { return false };
    count_headers(frame, counters, &packet, &arrival, wire_bytes);
    packet.transport == Transport::Tcp
}

/// Judges the segment and counts what it was in the totals.
#[inline(always)]
fn judge<T: Tables>(tables: &mut T) -> bool {
    let Some(work) = tables.work() else { return false };
    let (packet, key, now) = (work.packet, work.key, work.arrival.now);
    let outcome = follow(tables, &packet, key, now);
    let Some(work) = tables.work() else { return false };
    work.outcome = outcome;
    let Some(work) = tables.work() else { return false };
    let outcome = work.outcome;
    let Some(counters) = tables.counters() else { return false };
    count_outcome(counters, &outcome);
    true
}

/// Bytes on the wire: a super-frame's headers were sent once per segment.
#[inline(always)]
fn wire_bytes(packet: &Packet, arrival: &Arrival) -> u64 {
    let repeated_headers = u64::from(packet.payload_offset) * u64::from(arrival.segments.saturating_sub(1));
    u64::from(arrival.wire_len) + repeated_headers
}

#[inline(always)]
fn count_headers<F: Frame>(
    frame: F,
    counters: &mut Counters,
    packet: &Packet,
    arrival: &Arrival,
    wire_bytes: u64,
) {
    let packets = u64::from(arrival.segments);
    counters.add(Counter::Packets, packets);
    counters.add(Counter::Bytes, wire_bytes);
    if arrival.segments > 1 {
        counters.add(Counter::SuperFrames, 1);
    }
    if arrival.captured_len < arrival.wire_len {
        counters.add(Counter::Truncated, 1);
    }
    if packet.vlan_tags != 0 {
        counters.add(Counter::Vlan, packets);
    }
    if packet.tunnels != 0 {
        counters.add(Counter::Tunnelled, packets);
    }
    if packet.fragment != Fragment::Whole {
        counters.add(Counter::Fragments, packets);
    }
    if let Some(fault) = packet.fault {
        count_fault(counters, fault, arrival);
    }
    let network = match packet.network {
        Network::Arp => Counter::Arp,
        Network::Ipv4 => Counter::Ipv4,
        Network::Ipv6 => Counter::Ipv6,
        Network::Other => Counter::Unsupported,
    };
    counters.add_at(frame.opaque(network as u32), packets);
    let transport = match packet.transport {
        Transport::Icmp => Counter::Icmp,
        Transport::None => return,
        Transport::Other => Counter::OtherTransport,
        Transport::Tcp => return count_segment(counters, &packet.segment, packets),
        Transport::Udp => Counter::Udp,
    };
    counters.add_at(frame.opaque(transport as u32), packets);
}

#[inline(always)]
fn count_fault(counters: &mut Counters, fault: Fault, arrival: &Arrival) {
    // A header that a snap length cut is `truncated`, counted already, and not a fault of the sender.
    let cut_by_sender = fault == Fault::Cut && arrival.captured_len >= arrival.wire_len;
    counters.add(Counter::MalformedCut, u64::from(cut_by_sender));
    counters.add(Counter::MalformedDepth, u64::from(fault == Fault::Depth));
    counters.add(Counter::MalformedLength, u64::from(fault == Fault::Length));
    counters.add(Counter::MalformedVersion, u64::from(fault == Fault::Version));
}

#[inline(always)]
fn count_segment(counters: &mut Counters, segment: &Segment, packets: u64) {
    counters.add(Counter::Segments, packets);
    if segment.is_syn() {
        counters.add(Counter::Syn, 1);
    }
    if segment.is_syn_ack() {
        counters.add(Counter::SynAck, 1);
    }
    if segment.has(tcp_flag::FIN) {
        counters.add(Counter::Fin, 1);
    }
    if segment.has(tcp_flag::RST) {
        counters.add(Counter::Rst, 1);
    }
    if segment.payload_bytes != 0 {
        counters.add(Counter::PayloadSegments, packets);
        counters.add(Counter::PayloadBytes, u64::from(segment.payload_bytes));
    }
}

/// Takes a TCP segment through the half-open cache or the flow table.
#[inline(always)]
fn follow<T: Tables>(tables: &mut T, packet: &Packet, key: FlowKey, now: Stamp) -> Outcome {
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
    let mut handshake = None;
    let open =
        tables.flows(hash).and_then(|flows| flows.find(fingerprint(hash))).is_some_and(|flow| flow.is_open());
    if !open {
        let Some(attempts) = tables.attempts(hash) else { return };
        if segment.has(tcp_flag::RST) {
            outcome.events |= match attempts.reset(fingerprint(hash), sender, segment) {
                Reset::Aborted => event::ABORTED,
                Reset::Refused => event::REFUSED,
                Reset::Unrelated => 0,
            };
            return;
        }
        if !segment.has(tcp_flag::ACK) {
            return;
        }
        handshake = attempts.complete(fingerprint(hash), sender, segment, now);
    }
    let Some(flows) = tables.flows(hash) else { return };
    let Some(flow) = slot(flows, fingerprint(hash), handshake.is_some(), now, outcome) else {
        completed(handshake.as_ref(), sender, outcome);
        return;
    };
    if let Some(handshake) = &handshake {
        flow.restart();
        flow.establish(handshake);
    }
    completed(handshake.as_ref(), sender, outcome);
    flow.judge(sender, segment, now, outcome);
    if flow.flags & HANDSHAKE != 0 {
        let from_listener = if flow.initiator != sender as u8 { event::FROM_LISTENER } else { 0 };
        outcome.events = (outcome.events & !event::FROM_LISTENER) | event::LISTENER_KNOWN | from_listener;
    }
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
fn completed(handshake: Option<&Handshake>, sender: Side, outcome: &mut Outcome) {
    let Some(handshake) = handshake else { return };
    outcome.events |= event::LISTENER_KNOWN;
    outcome.events |= if handshake.answer_seen { event::COMPLETED } else { event::COMPLETED_ONE_SIDED };
    outcome.elapsed = handshake.elapsed;
    if handshake.initiator == sender as u8 {
        outcome.events &= !event::FROM_LISTENER;
    }
}

#[inline(always)]
fn count_outcome(counters: &mut Counters, outcome: &Outcome) {
    if outcome.has(event::RWND) {
        counters.add(Counter::RwndSamples, 1);
        counters.add(Counter::RwndLow, u64::from(outcome.rwnd_bytes < RWND_LOW_BYTES));
        counters.rwnd_bytes.record(outcome.rwnd_bytes);
    }
    if outcome.has(event::RWND_SCALE_UNKNOWN) {
        counters.add(Counter::RwndScaleUnknown, 1);
    }
    if !outcome.has(event::RARE) {
        return;
    }
    for (bit, counter) in [
        (event::ATTEMPTED, Counter::Attempted),
        (event::ATTEMPT_LOST, Counter::AttemptsLost),
        (event::SYN_AGAIN, Counter::SynRetransmission),
        (event::ANSWERED, Counter::Answered),
        (event::ANSWERED_UNASKED, Counter::AnsweredUnasked),
        (event::REFUSED, Counter::Refused),
        (event::ABORTED, Counter::Aborted),
        (event::COMPLETED, Counter::Completed),
        (event::COMPLETED_ONE_SIDED, Counter::CompletedOneSided),
        (event::RETRANSMIT_OR_REORDERED, Counter::RetransmitOrReordered),
        (event::LOST_SEGMENT, Counter::LostSegment),
        (event::ZERO_WINDOW, Counter::ZeroWindow),
        (event::KEEP_ALIVE, Counter::KeepAlive),
        (event::TRANSFER, Counter::Transfers),
        (event::FLOW_ADMITTED, Counter::FlowsAdmitted),
        (event::FLOW_EVICTED, Counter::FlowsEvicted),
        (event::FLOW_REFUSED, Counter::FlowsRefused),
    ] {
        counters.add(counter, u64::from(outcome.has(bit)));
    }
    if outcome.has(event::ANSWERED) {
        counters.handshake_us.record(units_to_us(outcome.elapsed));
    }
    if outcome.has(event::TRANSFER) {
        counters.add(Counter::TransfersSlow, u64::from(outcome.transfer > TRANSFER_SLOW));
        counters.transfer_us.record(units_to_us(outcome.transfer));
    }
}

/// The listener that a segment belongs to.
struct Listener {
    id: u64,
    address: Address,
    port: u16,
}

impl Listener {
    #[inline(always)]
    fn of(packet: &Packet, key: FlowKey, outcome: &Outcome) -> Self {
        if outcome.has(event::FROM_LISTENER) {
            Self { id: key.source, address: packet.source, port: packet.source_port }
        } else {
            Self { id: key.destination, address: packet.destination, port: packet.destination_port }
        }
    }
}

#[inline(always)]
fn count_listener<F: Frame, T: Tables>(frame: F, tables: &mut T) {
    let Some(work) = tables.work() else { return };
    let (segment, outcome, now) = (work.packet.segment, work.outcome, work.arrival.now);
    let (packets, wire_bytes) = (u64::from(work.arrival.segments), work.wire_bytes);
    let listener = Listener::of(&work.packet, work.key, &outcome);
    let Some(bucket) = tables.listeners(listener.id) else { return };
    let choice = frame.opaque(bucket.choose(listener.id, now));
    if choice & choice::REFUSED == 0 {
        let way = (choice & choice::WAY) as usize;
        let row = &mut bucket.rows[way];
        if choice & choice::FRESH != 0 {
            bucket.ids[way] = listener.id;
            row.start(listener.address, listener.port, now);
        }
        row.seen = now;
        count_row(row, &segment, packets, wire_bytes, &outcome);
    }
    if choice & (choice::REFUSED | choice::EVICTED) != 0
        && let Some(counters) = tables.counters()
    {
        counters.add(Counter::ListenersEvicted, u64::from(choice & choice::EVICTED != 0));
        counters.add(Counter::ListenersRefused, u64::from(choice & choice::REFUSED != 0));
    }
}

/// Notes who made an attempt.
#[inline(always)]
fn count_source<F: Frame, T: Tables>(frame: F, tables: &mut T, seed: u64) {
    let Some(work) = tables.work() else { return };
    if !work.outcome.has(event::ATTEMPTED) {
        return;
    }
    let (source, now, listener) = (work.packet.source, work.arrival.now, work.key.destination);
    let pair = pair_hash(source, listener, seed);
    if let Some(bucket) = tables.listeners(listener)
        && let Some(way) = bucket.find(listener)
    {
        bucket.rows[frame.opaque(way as u32) as usize & (LISTENER_WAYS - 1)].record_source(pair, now);
    }
    if let Some(bucket) = tables.sources(pair) {
        bucket.record(pair, listener, source, now);
    }
}

#[inline(always)]
fn count_row(row: &mut ListenerRow, segment: &Segment, packets: u64, wire_bytes: u64, outcome: &Outcome) {
    row.add(ListenerCounter::Packets, packets);
    row.add(ListenerCounter::Bytes, wire_bytes);
    if outcome.has(event::LISTENER_KNOWN) {
        row.known = 1;
    }
    if segment.payload_bytes != 0 {
        row.add(ListenerCounter::PayloadSegments, packets);
    }
    if outcome.has(event::RWND) {
        count_row_rwnd(row, outcome);
    }
    if outcome.has(event::RWND_SCALE_UNKNOWN) {
        row.add(ListenerCounter::RwndScaleUnknown, 1);
    }
    if segment.flags & (tcp_flag::RST | tcp_flag::FIN) == 0 && !outcome.has(event::RARE) {
        return;
    }
    row.add(ListenerCounter::Rst, u64::from(segment.has(tcp_flag::RST)));
    row.add(ListenerCounter::Fin, u64::from(segment.has(tcp_flag::FIN)));
    for (bit, counter) in [
        (event::ATTEMPTED, ListenerCounter::Attempted),
        (event::ATTEMPT_LOST, ListenerCounter::AttemptsLost),
        (event::SYN_AGAIN, ListenerCounter::SynRetransmission),
        (event::ANSWERED, ListenerCounter::Answered),
        (event::REFUSED, ListenerCounter::Refused),
        (event::ABORTED, ListenerCounter::Aborted),
        (event::COMPLETED, ListenerCounter::Completed),
        (event::COMPLETED_ONE_SIDED, ListenerCounter::CompletedOneSided),
        (event::RETRANSMIT_OR_REORDERED, ListenerCounter::RetransmitOrReordered),
        (event::ZERO_WINDOW, ListenerCounter::ZeroWindow),
        (event::TRANSFER, ListenerCounter::Transfers),
    ] {
        row.add(counter, u64::from(outcome.has(bit)));
    }
    if outcome.has(event::COMPLETED | event::COMPLETED_ONE_SIDED) {
        row.add(ListenerCounter::HandshakeUs, u64::from(units_to_us(outcome.elapsed)));
    }
    if outcome.has(event::TRANSFER) {
        row.add(ListenerCounter::TransfersSlow, u64::from(outcome.transfer > TRANSFER_SLOW));
        row.add(ListenerCounter::TransfersUs, u64::from(units_to_us(outcome.transfer)));
    }
}

#[inline(always)]
fn count_row_rwnd(row: &mut ListenerRow, outcome: &Outcome) {
    let low = u64::from(outcome.rwnd_bytes < RWND_LOW_BYTES);
    let (all, below) = if outcome.has(event::FROM_LISTENER) {
        (ListenerCounter::RwndListener, ListenerCounter::RwndListenerLow)
    } else {
        (ListenerCounter::RwndPeer, ListenerCounter::RwndPeerLow)
    };
    row.add(all, 1);
    row.add(below, low);
    row.record_rwnd(outcome.rwnd_bytes);
}
