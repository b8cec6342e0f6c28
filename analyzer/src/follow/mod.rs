//! Following flows: one partition's half-open attempts, connections and what is read above TCP.
//!
//! The second of three steps that a captured frame takes ([`crate::pipeline`]). A partition gets its packets in the
//! order of the capture and depends on nothing else, so what it says is the same however many workers there are and
//! however the packets were batched. Memory is fixed at creation ([`Sizes`]); what did not fit is counted ([`Misfits`]).

mod ahead;
mod endings;
mod facts;
mod half_open;
mod hand;
mod handshake;
mod neighbours;
mod record;
mod sizes;
mod table;
mod tell;
mod watch;

use std::collections::VecDeque;

use tidegauge_ebpf::attempt::AttemptBucket;
use tidegauge_ebpf::event::{self, Outcome};
use tidegauge_ebpf::packet::{Fragment, Network, Packet, Transport, ipv4_mapped, tcp_flag};
use tidegauge_ebpf::tcp::connection::{Connection, flag, state};
use tidegauge_ebpf::tcp::{Judged, Seen, mark};

use crate::batch::Batch;
use crate::digest::Digest;
use crate::fact::{Fact, Facts};
use crate::flow_record::FlowRecord;
use crate::impairment::Impairments;
use crate::layer::{
    Datagram, IcmpMessage, Interest, LayerCounter, LayerSums, Layers, QuoteKind, QuotedProtocol, StreamPart,
    arp, quoted, quoted_route,
};
use ahead::PLACES;
use endings::{Endings, NOTED, TOLD_OF};
use half_open::HalfOpen;
use neighbours::Neighbours;
use record::Telling;
pub use sizes::{MEMORY_MIB_DEFAULT, MEMORY_MIB_MIN, Sizes};
use table::{Table, index_of};
use tell::LINGER_NS;
pub use watch::Watched;
use watch::{TTL_LOW, WATCHED, Watch};

/// What a packet was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// What is counted of it, as the kernel program does.
    pub outcome: Outcome,
    /// The full judgement.
    pub judged: Judged,
    /// What else it says.
    pub facts: Facts,
}

/// What did not fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Misfits {
    /// Connections that are judged and have no record.
    pub stories_refused: u64,
    /// Closed connections told before their time to make room.
    pub told_early: u64,
    /// Connections in trouble, destinations that are not reached, and impairments of connections that ended, given up or
    /// not taken for want of a place.
    pub watches_given_up: u64,
}

impl Misfits {
    /// Adds another partition's or interval's.
    pub const fn merge(&mut self, other: Self) {
        self.stories_refused += other.stories_refused;
        self.told_early += other.told_early;
        self.watches_given_up += other.watches_given_up;
    }
}

/// What a partition has to say between two cuts.
#[derive(Clone, Debug, Default)]
pub struct Said {
    /// What was read above TCP; `None`: nothing.
    pub layers: Option<Box<LayerSums>>,
    /// Connections that ended.
    pub told: Vec<FlowRecord>,
    /// What did not fit.
    pub misfits: Misfits,
    /// Connections and paths in trouble; `None`: none.
    pub watched: Option<Box<Watched>>,
    /// What connections that ended suffered from.
    pub impairments: Impairments,
}

/// What a partition has to say of a batch.
#[derive(Debug, Default)]
pub struct Share {
    /// One for each packet of the partition's list.
    pub verdicts: Vec<Verdict>,
    /// One for each cut of the batch.
    pub said: Vec<Said>,
}

/// A closed connection that waits to be told.
#[derive(Clone, Copy, Debug)]
struct Closed {
    place: u32,
    fingerprint: u32,
    due_ns: u64,
}

/// One partition.
pub struct Follower {
    half_open: HalfOpen,
    table: Table,
    layers: Layers,
    /// Boxed: they are handed over at each tick, and are large.
    sums: Box<LayerSums>,
    /// Closed connections, in the order of their ends: those to tell, and those told.
    closed: VecDeque<Closed>,
    resting: VecDeque<Closed>,
    /// Whether connections are told.
    records: bool,
    told: Vec<FlowRecord>,
    misfits: Misfits,
    watch: Watch,
    endings: Endings,
    neighbours: Neighbours,
    /// Places of connections found ahead, by position in the list; hints.
    places: [Option<u32>; PLACES],
}

impl Follower {
    /// A partition of these sizes.
    pub fn new(sizes: Sizes) -> Self {
        Self {
            half_open: HalfOpen::new(sizes.attempts, sizes.records),
            table: Table::new(sizes.connections, sizes.stories),
            layers: Layers::new(sizes.stories),
            sums: Box::default(),
            closed: VecDeque::with_capacity(sizes.connections as usize),
            resting: VecDeque::with_capacity(sizes.connections as usize),
            records: sizes.records,
            told: Vec::new(),
            misfits: Misfits::default(),
            watch: Watch::default(),
            endings: Endings::default(),
            neighbours: Neighbours::new(),
            places: [None; PLACES],
        }
    }

    /// Takes the packets of list number `partition` of a batch.
    pub fn follow(&mut self, batch: &Batch, partition: usize, share: &mut Share) {
        share.verdicts.clear();
        share.said.clear();
        let list = &batch.lists[partition];
        let mut cuts = batch.cuts.iter().peekable();
        self.look_at_first(list);
        for (position, ticket) in list.iter().enumerate() {
            let index = usize::from(ticket.index);
            while let Some(cut) = cuts.next_if(|cut| cut.index <= index) {
                share.said.push(self.cut(cut));
            }
            self.look_ahead(list, position);
            let digest = &batch.digests[index];
            let bytes = || batch.bytes(index);
            // In place: a verdict that is moved would be read back before its parts have arrived.
            share.verdicts.push(Verdict::default());
            if let Some(verdict) = share.verdicts.last_mut() {
                self.packet(digest, bytes, batch.first_packet + index as u64, verdict);
            }
        }
        for cut in cuts {
            share.said.push(self.cut(cut));
        }
    }

    /// Takes one packet, number `packet_number` of the run from 1; `verdict` is empty before.
    #[inline]
    pub fn packet<'a>(
        &mut self,
        digest: &Digest,
        bytes: impl FnOnce() -> &'a [u8],
        packet_number: u64,
        verdict: &mut Verdict,
    ) {
        match digest.packet.transport {
            Transport::Tcp => self.segment(digest, bytes, packet_number, verdict),
            // What is read of DNS is its header: a first fragment has it.
            Transport::Udp if digest.packet.fragment == Fragment::Whole || digest.begins_dns() => {
                let bytes = bytes();
                if let Some(datagram) = Datagram::of(bytes, &digest.packet, digest.ts_ns) {
                    self.layers.udp(&datagram, &mut self.sums, &mut verdict.facts);
                }
                if digest.packet.ttl <= TTL_LOW {
                    self.watch.few_hops(digest, bytes);
                }
            }
            Transport::Icmp => self.icmp(digest, bytes(), &mut verdict.facts),
            Transport::None if digest.packet.network == Network::Arp => {
                let before = self.sums.get(LayerCounter::ArpRequests);
                let bytes = digest.network_bytes(bytes());
                arp(bytes, &mut self.sums);
                self.neighbours.note(bytes, digest.ts_ns, &mut verdict.facts);
                let asked = self.sums.get(LayerCounter::ArpRequests) != before;
                // Whoever has no address yet asks for its own.
                verdict.facts.set_if(asked && digest.packet.source != ipv4_mapped(0), Fact::AddressAsked);
            }
            _ => {}
        }
    }

    #[inline]
    fn segment<'a>(
        &mut self,
        digest: &Digest,
        bytes: impl FnOnce() -> &'a [u8],
        packet_number: u64,
        verdict: &mut Verdict,
    ) {
        let segment = &digest.packet.segment;
        if segment.has(tcp_flag::SYN) {
            if digest.packet.ttl <= TTL_LOW {
                self.watch.few_hops(digest, bytes());
            }
            *verdict =
                if segment.is_syn() { self.asked(digest, packet_number) } else { self.answered(digest) };
            return;
        }
        if digest.packet.source_port < digest.packet.destination_port {
            verdict.outcome.events = event::FROM_LISTENER;
        }
        if digest.packet.fragment == Fragment::Whole {
            self.established(digest, bytes, packet_number, verdict);
        } else {
            verdict.facts.set(Fact::FirstFragment);
            self.passed_over(digest);
        }
    }

    /// A first fragment's payload length is not the segment's: its header facts count, its numbers do not. Nor are those
    /// that follow held against what was before it.
    #[cold]
    fn passed_over(&mut self, digest: &Digest) {
        if let Some(place) = self.table.find(digest.hash) {
            let sender = index_of(digest.key.sender());
            self.table.pair(place).0.directions[sender].state &= !state::SENT;
        }
    }

    /// A segment without SYN: of a known connection, completing a handshake, resetting one, or from mid-connection.
    #[inline]
    fn established<'a>(
        &mut self,
        digest: &Digest,
        bytes: impl FnOnce() -> &'a [u8],
        packet_number: u64,
        verdict: &mut Verdict,
    ) {
        let hash = digest.hash;
        let segment = &digest.packet.segment;
        let mut place = self.table.find(hash);
        let open = place.is_some_and(|place| self.table.connection(place).is_open());
        if segment.has(tcp_flag::RST) {
            let refused = self.reset(digest, verdict);
            if !open {
                if !refused {
                    verdict.judged.marks |= mark::RESET_OUT_OF_STATE;
                    facts::of_nothing(place.is_none(), segment, &mut verdict.facts);
                    if let Some(place) = place {
                        self.table.pair(place).0.pass(digest.key.sender(), &seen(digest));
                    }
                }
                return;
            }
        }
        let mut is_new = false;
        if !open {
            if !segment.has(tcp_flag::ACK) {
                facts::of_nothing(place.is_none(), segment, &mut verdict.facts);
                return;
            }
            if let Some((handshake, opening)) = self.half_open.complete(digest) {
                place = self.completed(digest, &handshake, &opening, place, &mut verdict.outcome);
            } else {
                is_new = place.is_none() && !self.half_open.is_unasked(hash);
                place = self.joined(digest, packet_number, place, &mut verdict.outcome);
            }
        }
        let Some(place) = place else {
            // Where there is no room, a connection that found none looks the same as no connection: it says nothing.
            verdict.outcome.events |= event::FLOW_REFUSED;
            return;
        };
        verdict.facts.set_if(is_new, Fact::StrayNew);
        self.judge(place, digest, verdict);
        if segment.payload_bytes != 0 {
            self.read_stream(place, digest, bytes, verdict);
        }
    }

    #[inline]
    fn judge(&mut self, place: u32, digest: &Digest, verdict: &mut Verdict) {
        let sender = digest.key.sender();
        let (connection, story) = self.table.pair(place);
        let before = connection.flags;
        let own = &connection.directions[index_of(sender)];
        let (had_payload, window_before) = (own.state & state::PAYLOAD != 0, own.window);
        connection.judge(story, sender, &seen(digest), &mut verdict.outcome, &mut verdict.judged);
        if digest.packet.segment.timestamp != 0 && verdict.judged.marks & mark::CAPTURED_TWICE == 0 {
            connection.echo(sender, &digest.packet.segment, digest.now(), &mut verdict.outcome);
        }
        if connection.flags & flag::HANDSHAKE != 0 {
            let from_listener = if connection.initiator() == sender { 0 } else { event::FROM_LISTENER };
            verdict.outcome.events &= !event::FROM_LISTENER;
            verdict.outcome.events |= event::LISTENER_KNOWN | from_listener;
        }
        let first_payload = !had_payload && digest.packet.segment.payload_bytes != 0;
        if first_payload || verdict.judged.marks != 0 || before & flag::PROVEN == 0 {
            facts::of_segment(connection, sender, digest, verdict, first_payload);
            if verdict.judged.marks & NOTED != 0 {
                connection.flags |= TOLD_OF;
            }
            if first_payload && verdict.facts.has(Fact::Spoke) {
                self.endings.first_question(connection, story, digest);
            }
            if verdict.judged.marks & WATCHED != 0 {
                let was_open = window_before != 0;
                self.watch.segment((place, connection), sender, digest, verdict.judged.marks, was_open);
            }
            let answers = before & flag::PROVEN == 0 && connection.flags & flag::PROVEN != 0;
            verdict.facts.set_if(answers, Fact::StrayAnswered);
        }
        if connection.flags & !before & flag::CLOSED != 0 {
            facts::of_end(connection, sender, &self.layers, &mut verdict.facts);
            let (fingerprint, due_ns) = (connection.fingerprint, digest.ts_ns + LINGER_NS);
            if self.closed.len() < self.closed.capacity() {
                self.closed.push_back(Closed { place, fingerprint, due_ns });
            } else {
                self.misfits.told_early += 1;
                self.end(place, Telling { told_ns: digest.ts_ns, cause: None });
            }
        }
    }

    /// Hands payload to what reads it, as long as that wants more.
    #[inline]
    fn read_stream<'a>(
        &mut self,
        place: u32,
        digest: &Digest,
        bytes: impl FnOnce() -> &'a [u8],
        verdict: &mut Verdict,
    ) {
        let sender = digest.key.sender();
        let own_done = APP_DONE[index_of(sender)];
        let connection = self.table.connection(place);
        if connection.story == 0
            || connection.flags & own_done != 0
            || verdict.judged.marks & (mark::CAPTURED_TWICE | mark::KEEP_ALIVE | mark::ZERO_WINDOW_PROBE) != 0
        {
            return;
        }
        let known = connection.flags & flag::HANDSHAKE != 0;
        let responder = if known {
            1 - index_of(connection.initiator())
        } else {
            usize::from(connection.ports[0] >= connection.ports[1])
        };
        let part = StreamPart {
            slot: connection.story - 1,
            from_initiator: index_of(sender) != responder,
            sequence: digest.packet.segment.sequence,
            payload_bytes: digest.packet.segment.payload_bytes,
            bytes: digest.payload(bytes()),
            ts_ns: digest.ts_ns,
            responder_port: connection.ports[responder],
            ends: ends_of(connection),
        };
        let done = match self.layers.tcp(&part, &mut self.sums, &mut verdict.facts) {
            Interest::More => return,
            Interest::Done => own_done,
            Interest::BothDone => APP_DONE[0] | APP_DONE[1],
        };
        self.table.pair(place).0.flags |= done;
    }

    /// An ICMP message; an error is noted at the connection that it quotes.
    fn icmp(&mut self, digest: &Digest, bytes: &[u8], facts: &mut Facts) {
        if digest.packet.fragment == Fragment::Later {
            return;
        }
        if digest.packet.ttl <= TTL_LOW {
            self.watch.few_hops(digest, bytes);
        }
        let bytes = digest.transport_bytes(bytes);
        let version = digest.icmp_version();
        let Packet { source, destination, .. } = digest.packet;
        let message = IcmpMessage { version, source, destination, bytes, ts_ns: digest.ts_ns };
        let before = self.sums.get(LayerCounter::IcmpEchoRequests);
        self.layers.icmp(&message, &mut self.sums);
        facts.set_if(self.sums.get(LayerCounter::IcmpEchoRequests) != before, Fact::EchoAsked);
        let quote = quoted(version, bytes);
        facts.set_if(quote.is_some(), Fact::IcmpError);
        let Some(route) = quoted_route(version, bytes) else { return };
        facts.set_if(matches!(route.kind, QuoteKind::Unreachable { .. }), Fact::Unreachable);
        let quotes_tcp = quote.is_some_and(|quote| quote.protocol == QuotedProtocol::Tcp);
        let place = if quotes_tcp { self.table.find(digest.hash) } else { None };
        if let Some(place) = place {
            self.table.pair(place).0.flags |= flag::UNREACHABLE;
        }
        self.watch.error(&route, &digest.packet, place);
    }

    /// The half-open buckets.
    pub fn attempts(&self) -> &[AttemptBucket] {
        self.half_open.buckets()
    }

    /// Most connections, and most half-open buckets, that there can be.
    pub const fn room(&self) -> (usize, usize) {
        (self.table.connections_max(), self.half_open.buckets_max())
    }

    /// All connection places, free ones too.
    pub fn connections(&self) -> &[Connection] {
        self.table.connections()
    }
}

/// A segment as the judgement takes it.
#[inline]
fn seen(digest: &Digest) -> Seen<'_> {
    Seen {
        segment: &digest.packet.segment,
        sack: digest.sack,
        now_ns: digest.ts_ns,
        now: digest.now(),
        segments: digest.segments,
        wire_bytes: digest.wire_bytes,
        print: digest.print,
    }
}

/// A hash of both addresses, whichever is which.
fn ends_of(connection: &Connection) -> u32 {
    let [low, high] = connection.addresses.map(|address| {
        address.iter().fold(0, |sum: u32, word| sum.rotate_left(5).wrapping_mul(0x9e37_79b9) ^ word)
    });
    low ^ high
}

/// Bits of [`Connection::flags`] beside [`flag`] and [`TOLD_OF`]: what this side sends is not read any further.
const APP_DONE: [u16; 2] = [1 << 14, 1 << 15];

#[cfg(test)]
mod tests;
