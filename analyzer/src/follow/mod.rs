//! Following flows: one partition's half-open attempts, connections and what is read above TCP.
//!
//! The second of three steps that a captured frame takes ([`crate::pipeline`]). A partition gets its packets in the
//! order of the capture and depends on nothing else, so what it says is the same however many workers there are and
//! however the packets were batched. Memory is fixed at creation ([`Sizes`]); what did not fit is counted ([`Misfits`]).

mod half_open;
mod huge;
mod record;
mod sizes;
mod table;

use std::collections::VecDeque;

use tidegauge_ebpf::attempt::{Answer, Asked, AttemptBucket, Handshake, Reset};
use tidegauge_ebpf::event::{self, Outcome};
use tidegauge_ebpf::packet::{Fragment, Network, Packet, Transport, tcp_flag};
use tidegauge_ebpf::stamp::Stamp;
use tidegauge_ebpf::tcp::connection::{Connection, Opening, clock_us, flag};
use tidegauge_ebpf::tcp::{Judged, Seen, mark};

use crate::batch::{Batch, Cut, Ticket, TicketKind, Turn};
use crate::digest::Digest;
use crate::flow_record::{CloseCause, FlowRecord};
use crate::layer::{
    Datagram, IcmpMessage, Interest, LayerSums, Layers, QuotedProtocol, StreamPart, arp, quoted,
};
use half_open::{HalfOpen, Over};
use record::{Ends, Telling, record, record_of_attempt};
pub use sizes::{MEMORY_MIB_DEFAULT, MEMORY_MIB_MIN, Sizes};
use table::{Admitted, Table, index_of};

/// How far ahead table lines are asked for: the index, then the connection, then its story. Together they cover the
/// time that memory takes, and no more lines are under way than a core can have.
const INDEX_AHEAD: usize = 12;
const CONNECTION_AHEAD: usize = 6;
const STORY_AHEAD: usize = 3;
/// Connections that were found ahead, for their stories.
const PLACES: usize = 8;
const _: () = assert!(CONNECTION_AHEAD < PLACES && STORY_AHEAD < CONNECTION_AHEAD);

/// How long a closed connection waits for late segments before it is told.
const LINGER_NS: u64 = 2_000_000_000;
/// How long it is remembered then, so that late segments are still known; after that its place goes to the next new
/// connection, before any place that was never used: what is used again is in the caches.
const REST_NS: u64 = 3_000_000_000;

/// What a packet was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// What is counted of it, as the kernel program does.
    pub outcome: Outcome,
    /// The full judgement.
    pub judged: Judged,
}

/// What did not fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Misfits {
    /// Connections that are judged and have no record.
    pub stories_refused: u64,
    /// Closed connections told before their time to make room.
    pub told_early: u64,
}

impl Misfits {
    /// Adds another partition's or interval's.
    pub const fn merge(&mut self, other: Self) {
        self.stories_refused += other.stories_refused;
        self.told_early += other.told_early;
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
    sums: LayerSums,
    /// Closed connections, in the order of their ends: those to tell, and those told.
    closed: VecDeque<Closed>,
    resting: VecDeque<Closed>,
    /// Whether connections are told.
    records: bool,
    told: Vec<FlowRecord>,
    misfits: Misfits,
    /// Places of connections found ahead, by position in the list; hints.
    places: [Option<u32>; PLACES],
    /// Flows of which the hash has one of these bits are not followed.
    unsampled_bits: u64,
}

impl Follower {
    /// A partition of these sizes.
    pub fn new(sizes: Sizes) -> Self {
        Self {
            half_open: HalfOpen::new(sizes.attempts, sizes.records),
            table: Table::new(sizes.connections, sizes.stories),
            layers: Layers::new(sizes.stories),
            sums: LayerSums::default(),
            closed: VecDeque::with_capacity(sizes.connections as usize),
            resting: VecDeque::with_capacity(sizes.connections as usize),
            records: sizes.records,
            told: Vec::new(),
            misfits: Misfits::default(),
            places: [None; PLACES],
            unsampled_bits: 0,
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

    /// Has the lines fetched that the first packets of a list need.
    fn look_at_first(&mut self, list: &[Ticket]) {
        list.iter().take(INDEX_AHEAD).for_each(|ticket| self.look_far(ticket));
        for (position, ticket) in list.iter().enumerate().take(CONNECTION_AHEAD) {
            self.look_near(ticket, position);
        }
        for (position, ticket) in list.iter().enumerate().take(STORY_AHEAD) {
            self.look_nearer(ticket, position);
        }
    }

    /// Has the lines fetched that the next packets need.
    #[inline]
    fn look_ahead(&mut self, list: &[Ticket], position: usize) {
        if let Some(ticket) = list.get(position + INDEX_AHEAD) {
            self.look_far(ticket);
        }
        if let Some(ticket) = list.get(position + CONNECTION_AHEAD) {
            self.look_near(ticket, position + CONNECTION_AHEAD);
        }
        if let Some(ticket) = list.get(position + STORY_AHEAD) {
            self.look_nearer(ticket, position + STORY_AHEAD);
        }
    }

    #[inline]
    fn look_far(&self, ticket: &Ticket) {
        match ticket.kind {
            TicketKind::Handshake => {
                self.half_open.prefetch(ticket.hash);
                self.half_open.prefetch_beside(ticket.hash);
                self.table.prefetch(ticket.hash);
            }
            TicketKind::Bare | TicketKind::Payload => self.table.prefetch(ticket.hash),
            TicketKind::Other => {}
        }
    }

    #[inline]
    fn look_near(&mut self, ticket: &Ticket, position: usize) {
        if matches!(ticket.kind, TicketKind::Bare | TicketKind::Payload) {
            let place = self.table.find(ticket.hash);
            match place {
                Some(place) => self.table.prefetch_connection(place),
                None => self.half_open.prefetch(ticket.hash),
            }
            self.places[position % PLACES] = place;
        }
    }

    #[inline]
    fn look_nearer(&self, ticket: &Ticket, position: usize) {
        if ticket.kind == TicketKind::Payload
            && let Some(place) = self.places[position % PLACES]
        {
            self.table.prefetch_story(place);
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
            Transport::Tcp if digest.hash & self.unsampled_bits == 0 => {
                self.segment(digest, bytes, packet_number, verdict);
            }
            Transport::Udp if digest.packet.fragment == Fragment::Whole => {
                if let Some(datagram) = Datagram::of(bytes(), &digest.packet, digest.ts_ns) {
                    self.layers.udp(&datagram, &mut self.sums);
                }
            }
            Transport::Icmp => self.icmp(digest, bytes()),
            Transport::None if digest.packet.network == Network::Arp => {
                arp(digest.network_bytes(bytes()), &mut self.sums);
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
            *verdict =
                if segment.is_syn() { self.asked(digest, packet_number) } else { self.answered(digest) };
            return;
        }
        if digest.packet.source_port < digest.packet.destination_port {
            verdict.outcome.events = event::FROM_LISTENER;
        }
        // A first fragment's payload length is not the segment's: its header facts count, its numbers do not.
        if digest.packet.fragment == Fragment::Whole {
            self.established(digest, bytes, packet_number, verdict);
        }
    }

    fn asked(&mut self, digest: &Digest, packet_number: u64) -> Verdict {
        let (told, told_ns) = (&mut self.told, digest.ts_ns);
        let tell = |over: Over| {
            let waits = over.attempt.waiting(digest.now());
            let cause = if waits { CloseCause::Evicted } else { CloseCause::TimedOut };
            told.push(record_of_attempt(&over, Telling { told_ns, cause: None }, cause));
        };
        let (asked, mut marks) = self.half_open.ask(digest, packet_number, tell);
        let events = match asked {
            Asked::First { lost } => event::ATTEMPTED | if lost { event::ATTEMPT_LOST } else { 0 },
            Asked::Again if marks & mark::CAPTURED_TWICE == 0 => event::SYN_AGAIN,
            Asked::Again => event::SYN_AGAIN,
            Asked::Crossed => event::SYN_CROSSED,
        };
        if matches!(asked, Asked::First { .. })
            && let Some(place) = self.table.find(digest.hash)
        {
            marks |= mark::REUSED_PORTS;
            self.end(place, Telling { told_ns, cause: Some(CloseCause::ReusedPorts) });
        }
        let outcome = Outcome { events: events | event::LISTENER_KNOWN, ..Outcome::default() };
        Verdict { outcome, judged: Judged { marks, ..Judged::default() } }
    }

    fn answered(&mut self, digest: &Digest) -> Verdict {
        let (answer, marks) = self.half_open.answer(digest);
        let mut outcome =
            Outcome { events: event::LISTENER_KNOWN | event::FROM_LISTENER, ..Outcome::default() };
        match answer {
            Answer::First { elapsed, .. } => {
                outcome.events |= event::ANSWERED | event::HANDSHAKE_TRIP;
                (outcome.elapsed, outcome.round_trip) = (elapsed, elapsed);
            }
            Answer::Again => {}
            Answer::Unasked => outcome.events |= event::ANSWERED_UNASKED,
        }
        Verdict { outcome, judged: Judged { marks, ..Judged::default() } }
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
                verdict.judged.marks |= if refused { 0 } else { mark::RESET_OUT_OF_STATE };
                return;
            }
        }
        if !open {
            if !segment.has(tcp_flag::ACK) {
                return;
            }
            if let Some((handshake, opening)) = self.half_open.complete(digest) {
                place = self.completed(digest, &handshake, &opening, place, &mut verdict.outcome);
            } else if place.is_none() {
                place = self.admit(digest, false, &mut verdict.outcome);
                if let Some(place) = place {
                    self.begin(place, digest, packet_number, [None; 2]);
                }
            }
        }
        let Some(place) = place else {
            verdict.outcome.events |= event::FLOW_REFUSED;
            return;
        };
        self.judge(place, digest, verdict);
        if segment.payload_bytes != 0 {
            self.read_stream(place, digest, bytes, verdict.judged.marks);
        }
    }

    #[inline]
    fn judge(&mut self, place: u32, digest: &Digest, verdict: &mut Verdict) {
        let sender = digest.key.sender();
        let (connection, story) = self.table.pair(place);
        let before = connection.flags;
        let seen = Seen {
            segment: &digest.packet.segment,
            sack: digest.sack,
            now_ns: digest.ts_ns,
            now: digest.now(),
            segments: digest.segments,
            wire_bytes: digest.wire_bytes,
            print: digest.print,
        };
        connection.judge(story, sender, &seen, &mut verdict.outcome, &mut verdict.judged);
        if digest.packet.segment.timestamp != 0 && verdict.judged.marks & mark::CAPTURED_TWICE == 0 {
            connection.echo(sender, &digest.packet.segment, digest.now(), &mut verdict.outcome);
        }
        if connection.flags & flag::HANDSHAKE != 0 {
            let from_listener = if connection.initiator() == sender { 0 } else { event::FROM_LISTENER };
            verdict.outcome.events &= !event::FROM_LISTENER;
            verdict.outcome.events |= event::LISTENER_KNOWN | from_listener;
        }
        if connection.flags & !before & flag::CLOSED != 0 {
            let (fingerprint, due_ns) = (connection.fingerprint, digest.ts_ns + LINGER_NS);
            if self.closed.len() < self.closed.capacity() {
                self.closed.push_back(Closed { place, fingerprint, due_ns });
            }
        }
    }

    /// Whoever resets an attempt, it is known from it who was asked. Says whether there was one.
    fn reset(&mut self, digest: &Digest, verdict: &mut Verdict) -> bool {
        let mut ended = None;
        let reset = self.half_open.reset(digest, |over| ended = Some(over));
        let (told, marks, cause) = match reset {
            Reset::Refused => {
                (event::REFUSED | event::FROM_LISTENER, mark::RESET_REFUSED, CloseCause::Refused)
            }
            Reset::Aborted => {
                (event::ABORTED | event::FROM_LISTENER, mark::RESET_ABORTED, CloseCause::ResetByResponder)
            }
            Reset::Withdrawn => (event::ABORTED, mark::RESET_ABORTED, CloseCause::ResetByInitiator),
            // The guess by port numbers stands.
            Reset::Unrelated => return false,
        };
        verdict.outcome.events = told | event::LISTENER_KNOWN;
        verdict.judged.marks |= marks;
        if let Some(over) = ended {
            let telling = Telling { told_ns: digest.ts_ns, cause: None };
            self.told.push(record_of_attempt(&over, telling, cause));
        }
        true
    }

    /// The ACK that ends a handshake: the connection begins.
    fn completed(
        &mut self,
        digest: &Digest,
        handshake: &Handshake,
        opening: &Opening,
        known: Option<u32>,
        outcome: &mut Outcome,
    ) -> Option<u32> {
        outcome.elapsed = digest.now().since(handshake.asked);
        outcome.events |= event::LISTENER_KNOWN;
        outcome.events |= if handshake.answer_seen { event::COMPLETED } else { event::COMPLETED_ONE_SIDED };
        if handshake.answer_precise {
            outcome.round_trip = outcome.elapsed.saturating_sub(handshake.answered_after);
            outcome.events |= event::HANDSHAKE_TRIP;
        }
        if handshake.initiator == digest.key.sender() as u8 {
            outcome.events &= !event::FROM_LISTENER;
        }
        let place = match known {
            Some(place) => {
                self.end(place, Telling { told_ns: digest.ts_ns, cause: Some(CloseCause::ReusedPorts) });
                self.make_story(digest);
                if !self.table.renew(place) {
                    self.misfits.stories_refused += 1;
                }
                place
            }
            None => self.admit(digest, true, outcome)?,
        };
        let [asked, answered] = opening.next_sequences();
        let next = [Some(asked), Some(answered).filter(|_| handshake.answer_seen)];
        self.begin(place, digest, opening.first_packet, next);
        let (connection, story) = self.table.pair(place);
        connection.establish(story, handshake, opening, outcome.elapsed, clock_us(digest.ts_ns));
        Some(place)
    }

    /// Finds a place for the digest's flow.
    fn admit(&mut self, digest: &Digest, proven: bool, outcome: &mut Outcome) -> Option<u32> {
        let hash = digest.hash;
        let telling = |cause| Telling { told_ns: digest.ts_ns, cause };
        let place = match self.table.admit(hash, proven, digest.now()) {
            Admitted::Free(place) => {
                outcome.events |= event::FLOW_ADMITTED;
                place
            }
            Admitted::Reused(place) => {
                outcome.events |= event::FLOW_ADMITTED;
                self.end(place, telling(None));
                place
            }
            Admitted::Evicted(place) => {
                outcome.events |= event::FLOW_EVICTED;
                self.end(place, telling(Some(CloseCause::Evicted)));
                place
            }
            Admitted::Refused => return None,
        };
        self.make_story(digest);
        if !self.table.settle(hash, place) {
            self.misfits.stories_refused += 1;
        }
        Some(place)
    }

    /// Where all stories are in use, tells one that is over, so that the next connection gets one.
    fn make_story(&mut self, digest: &Digest) {
        if !self.table.needs_story() {
            return;
        }
        if let Some(place) = self.table.story_to_tell(digest.now()) {
            self.misfits.told_early += 1;
            self.end(place, Telling { told_ns: digest.ts_ns, cause: None });
            self.table.release_story(place);
        }
    }

    fn begin(&mut self, place: u32, digest: &Digest, packet_number: u64, next: [Option<u32>; 2]) {
        let ends = Ends::of(&digest.packet, digest.key.sender());
        let (connection, story) = self.table.pair(place);
        (connection.addresses, connection.ports) = (ends.addresses, ends.ports);
        story.begin(digest.ts_ns, packet_number);
        if let Some((slot, _)) = self.table.story(place) {
            self.layers.open(slot, next);
        }
    }

    /// Hands payload to what reads it, as long as that wants more.
    #[inline]
    fn read_stream<'a>(&mut self, place: u32, digest: &Digest, bytes: impl FnOnce() -> &'a [u8], marks: u32) {
        let sender = digest.key.sender();
        let own_done = APP_DONE[index_of(sender)];
        let connection = self.table.connection(place);
        if connection.story == 0
            || connection.flags & own_done != 0
            || marks & (mark::CAPTURED_TWICE | mark::KEEP_ALIVE | mark::ZERO_WINDOW_PROBE) != 0
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
        };
        let done = match self.layers.tcp(&part, &mut self.sums) {
            Interest::More => return,
            Interest::Done => own_done,
            Interest::BothDone => APP_DONE[0] | APP_DONE[1],
        };
        self.table.pair(place).0.flags |= done;
    }

    /// An ICMP message; an error is noted at the connection that it quotes.
    fn icmp(&mut self, digest: &Digest, bytes: &[u8]) {
        if digest.packet.fragment == Fragment::Later {
            return;
        }
        let bytes = digest.transport_bytes(bytes);
        let version = digest.icmp_version();
        let Packet { source, destination, .. } = digest.packet;
        let message = IcmpMessage { version, source, destination, bytes, ts_ns: digest.ts_ns };
        self.layers.icmp(&message, &mut self.sums);
        if quoted(version, bytes).is_some_and(|quote| quote.protocol == QuotedProtocol::Tcp)
            && let Some(place) = self.table.find(digest.hash)
        {
            self.table.pair(place).0.flags |= flag::UNREACHABLE;
        }
    }

    /// A connection is over, or gives its place up: tells it, once.
    fn end(&mut self, place: u32, telling: Telling) {
        let (connection, _) = self.table.pair(place);
        let told = connection.flags & flag::TOLD != 0;
        let closed = connection.flags & flag::CLOSED != 0;
        connection.flags |= flag::CLOSED | flag::TOLD;
        let Some((slot, story)) = self.table.story(place) else { return };
        if told {
            return;
        }
        let app = self.layers.close(slot, telling.told_ns, &mut self.sums);
        if self.records {
            // What was closed before is told as it closed.
            let cause = telling.cause.filter(|_| !closed);
            let connection = self.table.connection(place);
            self.told.push(record(connection, story, app, Telling { cause, ..telling }));
        }
    }

    /// What a partition does when a tick ends, and what it has to say until then.
    pub fn cut(&mut self, cut: &Cut) -> Said {
        match cut.turn {
            Turn::TickEnds { end_ns, .. } => {
                self.layers.tick(end_ns, &mut self.sums);
                self.tell_closed(end_ns);
            }
            Turn::JumpBack { .. } => {}
        }
        self.said()
    }

    fn said(&mut self) -> Said {
        let layers = if self.sums.is_empty() { None } else { Some(Box::new(std::mem::take(&mut self.sums))) };
        Said { layers, told: std::mem::take(&mut self.told), misfits: std::mem::take(&mut self.misfits) }
    }

    /// Tells the connections that closed long enough ago, and gives the places of those told long ago away.
    fn tell_closed(&mut self, now_ns: u64) {
        while let Some(closed) = self.closed.pop_front_if(|closed| closed.due_ns <= now_ns) {
            if !self.is_still(closed) {
                continue;
            }
            self.end(closed.place, Telling { told_ns: now_ns, cause: None });
            if self.resting.len() < self.resting.capacity() {
                self.resting.push_back(Closed { due_ns: closed.due_ns + REST_NS, ..closed });
            }
        }
        while let Some(closed) = self.resting.pop_front_if(|closed| closed.due_ns <= now_ns) {
            if self.is_still(closed) {
                self.table.offer(closed.place);
            }
        }
    }

    /// Whether the connection that closed is still the one in its place, and closed.
    fn is_still(&self, closed: Closed) -> bool {
        let connection = self.table.connection(closed.place);
        connection.fingerprint == closed.fingerprint && !connection.is_open()
    }

    /// The capture is over: what is left to say, connections in the order of their first packets.
    pub fn finish(&mut self, now_ns: u64, last: Stamp) -> Said {
        for place in 0..self.table.connections().len() as u32 {
            let connection = self.table.connection(place);
            if connection.fingerprint != 0 && connection.flags & flag::TOLD == 0 {
                self.end(place, Telling { told_ns: now_ns, cause: None });
            }
        }
        for over in self.half_open.waiting() {
            let cause = if over.attempt.waiting(last) { CloseCause::Open } else { CloseCause::TimedOut };
            self.told.push(record_of_attempt(&over, Telling { told_ns: now_ns, cause: None }, cause));
        }
        self.layers.finish(now_ns, &mut self.sums);
        self.said()
    }

    /// The half-open buckets.
    pub fn attempts(&self) -> &[AttemptBucket] {
        self.half_open.buckets()
    }

    /// All connection places, free ones too.
    pub fn connections(&self) -> &[Connection] {
        self.table.connections()
    }
}

/// Bits of [`Connection::flags`] beside [`flag`]: what this side sends is not read any further.
const APP_DONE: [u16; 2] = [1 << 14, 1 << 15];
