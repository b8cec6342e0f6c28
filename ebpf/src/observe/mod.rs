//! The life of a packet in one function: parse, judge, count. The kernel program and every userspace source call
//! [`observe`] with their own tables and nothing else; that both then agree is what the parity test proves.
//!
//! Called once per frame. Touches, for a SYN: totals, one half-open line, one listener row, one source line; for
//! any other segment: totals, one flow line, one listener row.

mod follow;
mod row;
mod totals;

use crate::attempt::AttemptBucket;
use crate::counter::{Counter, Counters};
use crate::event::{self, Outcome};
use crate::flow::{FlowKey, pair_hash};
use crate::frame::Frame;
use crate::judge::FlowBucket;
use crate::limits::LISTENER_WAYS;
use crate::link::LinkType;
use crate::listener::{ListenerBucket, choice};
use crate::packet::{Address, Packet, Transport};
use crate::parse::parse;
use crate::source::SourceBucket;
use crate::stamp::Stamp;
use follow::follow;
use row::count_row;
use totals::{count_headers, count_outcome, wire_bytes};

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
#[repr(C, align(64))]
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
    let (outcome, packets) = (work.outcome, u64::from(work.arrival.segments));
    let Some(counters) = tables.counters() else { return false };
    count_outcome(counters, &outcome, packets);
    true
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
