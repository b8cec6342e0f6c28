//! The life of a packet in one function: parse, count, judge. The kernel program and every userspace source call
//! [`observe`] with their own tables and nothing else; that both then agree is what the parity test proves.
//!
//! Called once per frame. Touches, for a SYN: its section, one half-open line, one listener row, one source line; for
//! any other segment: its section, one flow line, one listener row; for what is not TCP: its section, one target row.
//! Judging may lag behind counting by a few packets, see [`crate::section`]; the order stays.

mod follow;
mod handshake;
pub mod row;
mod source;
pub mod totals;

use crate::attempt::AttemptBucket;
use crate::counter::Counter;
use crate::event::{self, Outcome};
use crate::flow::{FlowKey, target_hash};
use crate::frame::Frame;
use crate::judge::FlowBucket;
use crate::limits::TARGET_WAYS;
use crate::link::LinkType;
use crate::listener::{ListenerBucket, choice};
use crate::packet::{Address, Network, Packet, Transport};
use crate::parse::parse;
use crate::section::Section;
use crate::settings::{Settings, feature};
use crate::source::SourceBucket;
use crate::stamp::{Moment, Stamp};
use crate::target::TargetBucket;
use follow::follow;
use row::count_row;
use source::count_source;
use totals::{count_headers, count_outcome, merged_segments, wire_bytes};

/// Where the state lives: BPF maps in the kernel, boxed slices in userspace. A `None` is a table that is not
/// there (the verifier asks); what it would have held is then not counted.
pub trait Tables {
    /// Packets that may wait for the next one, at most [`crate::section::WORK_SLOTS`] - 1.
    const DEPTH: u32;
    /// What this shard has for itself.
    fn section(&mut self) -> Option<&mut Section>;
    /// The half-open bucket of a flow hash.
    fn attempts(&mut self, hash: u64) -> Option<&mut AttemptBucket>;
    /// The flow bucket of a flow hash.
    fn flows(&mut self, hash: u64) -> Option<&mut FlowBucket>;
    /// The listener bucket of a listener id.
    fn listeners(&mut self, id: u64) -> Option<&mut ListenerBucket>;
    /// The source bucket of a pair hash.
    fn sources(&mut self, pair: u64) -> Option<&mut SourceBucket>;
    /// The source prefix bucket of a pair hash.
    fn prefixes(&mut self, pair: u64) -> Option<&mut SourceBucket>;
    /// The target bucket of a target hash.
    fn targets(&mut self, hash: u64) -> Option<&mut TargetBucket>;
    /// Whether flows of this hash are followed. Where userspace cannot keep up it follows a share of them, whole ones.
    #[inline(always)]
    fn sampled(&self, hash: u64) -> bool {
        let _ = hash;
        true
    }
    /// The time of a packet that arrived at `arrived`, as precise as it can be had now; the last `reserve` of a tick's
    /// readings are for others.
    fn precise(&mut self, arrived: Stamp, reserve: u32) -> Moment;
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

/// Takes one frame through parse, the counters of `tables` and the judgement; `lag` packets may stay unjudged, at most
/// [`Tables::DEPTH`].
#[inline(always)]
pub fn observe<F: Frame, T: Tables>(
    frame: F,
    arrival: Arrival,
    tables: &mut T,
    settings: Settings,
    lag: u32,
) {
    let Some(section) = tables.section() else { return };
    let slot = section.queue.head;
    let (work, _) = section.work(slot);
    parse(frame, arrival.link, arrival.wire_len, settings.has(feature::TUNNELS), &mut work.packet);
    work.arrival = arrival;
    if headers(frame, tables, slot, settings) && settings.has(feature::FLOWS) {
        enqueue(tables, slot);
    }
    // One packet comes, so one more than may wait is the most that does, or all when the lag has just become shorter.
    for _ in 0..=T::DEPTH {
        let Some(slot) = next_waiting(tables, lag) else { return };
        judge(frame, tables, slot, settings);
    }
}

/// Judges what still waits, for a source that wants to read its tables. `frame` is any frame.
pub fn flush<F: Frame, T: Tables>(frame: F, tables: &mut T, settings: Settings) {
    while let Some(slot) = next_waiting(tables, 0) {
        judge(frame, tables, slot, settings);
    }
}

/// Counts the header facts; whether there is a TCP segment to judge.
#[inline(always)]
fn headers<F: Frame, T: Tables>(frame: F, tables: &mut T, slot: u32, settings: Settings) -> bool {
    let Some((work, counters)) = tables.section().map(|section| section.work(slot)) else { return false };
    let packet = &work.packet;
    if settings.frame_bytes_max != 0 && work.arrival.segments == 1 {
        work.arrival.segments = merged_segments(packet, work.arrival.wire_len, settings.frame_bytes_max);
    }
    let arrival = work.arrival;
    let wire_bytes = wire_bytes(packet, &arrival);
    work.wire_bytes = wire_bytes;
    let is_tcp = packet.transport == Transport::Tcp;
    if is_tcp {
        work.key = FlowKey::of(packet, settings.seed);
    }
    count_headers(frame, counters, packet, &arrival, wire_bytes);
    let is_ip = matches!(packet.network, Network::Ipv4 | Network::Ipv6);
    if is_ip && !is_tcp && settings.has(feature::TARGETS) {
        count_target(frame, tables, slot, settings.seed);
    }
    is_tcp
}

/// Puts the packet at the end of those that wait, and has its table lines fetched.
#[inline(always)]
fn enqueue<T: Tables>(tables: &mut T, slot: u32) {
    let Some((work, _)) = tables.section().map(|section| section.work(slot)) else { return };
    let (hash, syn) = (work.key.hash(), work.packet.segment.is_syn() || work.packet.segment.is_syn_ack());
    if !tables.sampled(hash) {
        if let Some(Section { counters, .. }) = tables.section() {
            counters.add(Counter::SegmentsUnsampled, 1);
        }
        return;
    }
    if syn {
        if let Some(attempts) = tables.attempts(hash) {
            attempts.touch();
        }
    } else if let Some(flows) = tables.flows(hash) {
        flows.touch();
    }
    let Some(Section { queue, .. }) = tables.section() else { return };
    queue.head = slot.wrapping_add(1);
    queue.waiting = queue.waiting.wrapping_add(1);
}

/// Takes the first packet from those that wait, if more than `lag` do.
#[inline(always)]
fn next_waiting<T: Tables>(tables: &mut T, lag: u32) -> Option<u32> {
    let queue = &mut tables.section()?.queue;
    if queue.waiting <= lag {
        return None;
    }
    let slot = queue.head.wrapping_sub(queue.waiting);
    queue.waiting -= 1;
    Some(slot)
}

/// Judges a segment and counts what it was: in the totals, at its listener, among the sources.
#[inline(always)]
fn judge<F: Frame, T: Tables>(frame: F, tables: &mut T, slot: u32, settings: Settings) {
    let Some((work, _)) = tables.section().map(|section| section.work(slot)) else { return };
    let (packet, key, now) = (work.packet, work.key, work.arrival.now);
    let outcome = follow(frame, tables, &packet, key, now, settings);
    let Some((work, counters)) = tables.section().map(|section| section.work(slot)) else { return };
    work.outcome = outcome;
    let (outcome, packets) = (work.outcome, u64::from(work.arrival.segments));
    count_outcome(counters, &outcome, packets, settings);
    if settings.has(feature::LISTENERS) {
        count_listener(frame, tables, slot, settings);
        count_source(frame, tables, slot, settings);
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
fn count_listener<F: Frame, T: Tables>(frame: F, tables: &mut T, slot: u32, settings: Settings) {
    let Some((work, _)) = tables.section().map(|section| section.work(slot)) else { return };
    let (segment, outcome, now) = (work.packet.segment, work.outcome, work.arrival.now);
    let (packets, wire_bytes) = (u64::from(work.arrival.segments), work.wire_bytes);
    let listener = Listener::of(&work.packet, work.key, &outcome);
    if let Some(section) = tables.section() {
        section.touched.mark(listener.id, now);
        if outcome.has(event::ATTEMPTED) {
            section.asked.count(listener.id);
        }
    }
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
        count_row(row, &segment, packets, wire_bytes, &outcome, settings);
    }
    if choice & (choice::REFUSED | choice::EVICTED) != 0
        && let Some(Section { counters, .. }) = tables.section()
    {
        counters.add(Counter::ListenersEvicted, u64::from(choice & choice::EVICTED != 0));
        counters.add(Counter::ListenersRefused, u64::from(choice & choice::REFUSED != 0));
    }
}

#[inline(always)]
fn count_target<F: Frame, T: Tables>(frame: F, tables: &mut T, slot: u32, seed: u64) {
    let Some((work, _)) = tables.section().map(|section| section.work(slot)) else { return };
    let (packet, now) = (work.packet, work.arrival.now);
    let (packets, wire_bytes) = (u64::from(work.arrival.segments), work.wire_bytes);
    let id = target_hash(packet.destination, seed);
    let Some(bucket) = tables.targets(id) else { return };
    let choice = frame.opaque(bucket.choose(id, now));
    if choice & choice::REFUSED == 0 {
        let way = choice as usize & (TARGET_WAYS - 1);
        let row = &mut bucket.rows[way];
        if choice & choice::FRESH != 0 {
            bucket.ids[way] = id;
            row.start(packet.destination, now);
        }
        row.record(&packet, packets, wire_bytes, now);
    }
    if choice & (choice::REFUSED | choice::EVICTED) != 0
        && let Some(Section { counters, .. }) = tables.section()
    {
        counters.add(Counter::TargetsEvicted, u64::from(choice & choice::EVICTED != 0));
        counters.add(Counter::TargetsRefused, u64::from(choice & choice::REFUSED != 0));
    }
}
