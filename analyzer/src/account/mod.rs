//! The books: every packet counted where it belongs, and a window out of them at the end of each tick.
//!
//! The third of three steps that a captured frame takes ([`crate::pipeline`]), in the order of the capture and by one
//! thread at a time. Totals, listeners, targets and sources are those of one tick or second: they are handed over and
//! begin anew. Listeners and targets are handed over at the end of a whole second, and earlier where much happens at
//! them ([`listeners`], [`targets`]).

pub mod actors;
pub mod hosts;
mod index;
pub mod listeners;
mod round_trips;
pub mod sent;
mod sources;
pub mod targets;

use tidegauge_ebpf::counter::{Counter, Counters, VALUES};
use tidegauge_ebpf::event;
use tidegauge_ebpf::observe::totals::count_outcome;
use tidegauge_ebpf::packet::{Fragment, Network, Packet, Transport, tcp_flag};
use tidegauge_ebpf::settings::Settings;

use crate::digest::Digest;
use crate::fact::{Fact, Facts};
use crate::follow::{Verdict, Watched};
use crate::impairment::{Impairments, Worst};
use crate::keyed::Keyed;
use crate::path::{PathWindow, Trouble};
use crate::truth::Truth;
use crate::window::{ActorProtocol, RTT_SLOW_US, Window};
use actors::{Actors, Asking};
use hosts::Hosts;
use listeners::{Due, Listeners};
pub use round_trips::{PLACES_MAX, PlaceRtt, RoundTrips};
use sources::Sources;
use targets::Targets;

/// Everything that is counted until the next tick ends.
pub struct Accounts {
    settings: Settings,
    totals: Box<Counters>,
    truth: Box<Truth>,
    listeners: Listeners,
    sources: Sources,
    targets: Targets,
    hosts: Hosts,
    actors: Actors,
    round_trips: RoundTrips,
    /// What partitions watched until the tick's end.
    watched: Watched,
    /// What connections suffered from that ended until then.
    impairments: Impairments,
}

impl Accounts {
    /// Empty books.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            totals: Box::default(),
            truth: Box::default(),
            listeners: Listeners::new(),
            sources: Sources::new(),
            targets: Targets::new(),
            hosts: Hosts::new(),
            actors: Actors::new(),
            round_trips: RoundTrips::default(),
            watched: Watched::default(),
            impairments: Impairments::new(),
        }
    }

    /// Adds header facts.
    pub fn headers(&mut self, values: &[u64; VALUES]) {
        for (own, more) in self.totals.values.iter_mut().zip(values) {
            *own += more;
        }
    }

    /// Has the lines fetched that a packet will need.
    #[inline]
    pub fn look_ahead(&self, digest: &Digest, verdict: &Verdict) {
        match digest.packet.transport {
            Transport::Tcp => self.listeners.prefetch(listener_id(digest, verdict)),
            _ => self.targets.prefetch(digest, self.settings.seed),
        }
    }

    /// The same, nearer.
    #[inline]
    pub fn look_near(&self, digest: &Digest, verdict: &Verdict) {
        if digest.packet.transport != Transport::Tcp {
            return;
        }
        let asks = verdict.outcome.has(event::ATTEMPTED);
        let noted = is_noted(verdict);
        self.listeners.prefetch_row(listener_id(digest, verdict), asks, noted);
        if noted && verdict.outcome.has(OF_ACTORS) {
            self.actors.prefetch(&asking(digest, ActorProtocol::Tcp), self.settings.seed);
        }
    }

    /// Counts a packet; `verdict` is that of a TCP segment.
    #[inline]
    pub fn count(&mut self, digest: &Digest, verdict: &Verdict) {
        if !digest.read {
            return;
        }
        match digest.packet.transport {
            Transport::Tcp => self.count_segment(digest, verdict),
            _ if matches!(digest.packet.network, Network::Ipv4 | Network::Ipv6) => {
                self.count_other(digest, verdict.facts);
            }
            _ if digest.packet.network == Network::Arp => self.count_arp(digest, verdict.facts),
            _ => {}
        }
    }

    #[cold]
    fn count_arp(&mut self, digest: &Digest, facts: Facts) {
        let seed = self.settings.seed;
        let asking = asking(digest, ActorProtocol::Arp);
        if facts.has(Fact::AddressAsked) {
            self.actors.ask(&asking, seed);
        } else {
            // A reply, as far as it matters: whoever has no address yet asks too, and for nobody who could be told.
            self.actors.answer(&answering(digest, ActorProtocol::Arp), seed);
        }
        self.actors.claim(&asking, facts.has(Fact::AddressMoved), facts.has(Fact::AddressUnasked), seed);
    }

    /// What is not TCP.
    #[inline]
    fn count_other(&mut self, digest: &Digest, facts: Facts) {
        let seed = self.settings.seed;
        let packets = self.targets.count(digest, seed, &mut self.totals);
        if packets >= SENDERS_FROM {
            self.hosts.note_sender(digest, &mut self.sources, seed);
        }
        if !facts.and(Facts::OF_HOST).is_empty() {
            self.hosts.count(facts.and(Facts::OF_HOST), digest, &mut self.sources, seed);
        }
        if digest.packet.transport == Transport::Icmp {
            if facts.has(Fact::EchoAsked) {
                self.actors.ask(&asking(digest, ActorProtocol::Icmp), seed);
            } else if !facts.has(Fact::IcmpError) {
                self.actors.answer(&answering(digest, ActorProtocol::Icmp), seed);
            }
        }
        if digest.packet.transport == Transport::Udp && digest.packet.fragment == Fragment::Whole {
            // From a client's port to a server's, or back.
            let asks = digest.packet.source_port > digest.packet.destination_port;
            if asks && digest.packet.ttl > TRACEROUTE_TTL_MAX {
                self.actors.ask(&asking(digest, ActorProtocol::Udp), seed);
            } else if !asks {
                self.actors.answer(&answering(digest, ActorProtocol::Udp), seed);
            }
        }
    }

    /// Facts of a segment, at its listener, at the host it comes to, and at who asks.
    fn count_facts(&mut self, digest: &Digest, verdict: &Verdict, place: Option<u32>) {
        let (seed, outcome) = (self.settings.seed, &verdict.outcome);
        let facts = verdict.facts.or(Facts::of_judgement(verdict.judged.marks, outcome));
        let completed = outcome.has(event::COMPLETED | event::COMPLETED_ONE_SIDED);
        self.listeners.count_facts(place, facts.and(Facts::OF_LISTENER), completed);
        if verdict.judged.round_trip_us > RTT_SLOW_US && !outcome.has(event::FROM_LISTENER) {
            self.listeners.note_slow_peer(place, digest.packet.source);
        }
        let of_host = facts.and(Facts::OF_HOST);
        if !of_host.is_empty() {
            self.hosts.count(of_host, digest, &mut self.sources, seed);
        }
        // With neither ACK nor RST: what is in the middle of a connection has one of them.
        let segment = &digest.packet.segment;
        let asks_oddly = facts.has(Fact::Stray) && !segment.has(tcp_flag::ACK) && !segment.has(tcp_flag::RST);
        if outcome.has(event::ATTEMPTED) {
            self.listeners.note_last_asker(place, digest.packet.source);
        }
        if outcome.has(event::ATTEMPTED) || asks_oddly || is_probe(&digest.packet, facts) {
            self.actors.ask(&asking(digest, ActorProtocol::Tcp), seed);
        }
        if facts.has(Fact::StrayAnswered) {
            self.actors.answer(&answering(digest, ActorProtocol::Tcp), seed);
        }
        if completed {
            self.actors.answer(&asking(digest, ActorProtocol::Tcp), seed);
        }
        if outcome.has(event::ABORTED) && !outcome.has(event::FROM_LISTENER) {
            self.actors.accept(&asking(digest, ActorProtocol::Tcp), seed);
        }
        if facts.has(Fact::ProbeReset)
            && !goes_to_service(digest.packet.destination_port, digest.packet.source_port)
        {
            // Which ports are open shows also by what answers an ACK; what else of it is a probe was counted when it came.
            self.actors.ask(&answering(digest, ActorProtocol::Tcp), seed);
        }
        if outcome.has(event::REFUSED) || facts.has(Fact::ProbeReset) {
            self.actors.refuse(&answering(digest, ActorProtocol::Tcp), seed);
        }
        if facts.has(Fact::Request) && !outcome.has(event::FROM_LISTENER) {
            self.sources.note_request(digest, seed);
        }
        if facts.has(Fact::BriefLogin) {
            let from_listener = outcome.has(event::FROM_LISTENER);
            let asking = if from_listener { answering } else { asking }(digest, ActorProtocol::Tcp);
            self.actors.login(&asking, seed);
        }
    }

    #[inline]
    fn count_segment(&mut self, digest: &Digest, verdict: &Verdict) {
        let outcome = &verdict.outcome;
        count_outcome(&mut self.totals, outcome, u64::from(digest.segments), self.settings);
        if verdict.judged.marks != 0 {
            self.truth.count(verdict.judged.marks, digest.segments);
        }
        let from_listener = outcome.has(event::FROM_LISTENER);
        if verdict.judged.acknowledged {
            let us = verdict.judged.round_trip_us;
            let histogram =
                if from_listener { &mut self.truth.ack_listener_us } else { &mut self.truth.ack_peer_us };
            histogram.record(us);
            self.round_trips.record(digest, from_listener, us);
        }
        let id = listener_id(digest, verdict);
        let place = self.listeners.count(id, digest, outcome, self.settings, &mut self.totals);
        if is_noted(verdict) {
            self.count_facts(digest, verdict, place);
        }
        if outcome.has(event::ATTEMPTED) {
            self.listeners.note_asker(place, digest, self.settings.seed);
            self.sources.note(digest, self.settings.seed);
        }
    }

    /// A tick is over: what was counted in it, with `everything` also what waits for the end of its second.
    pub fn end_tick(&mut self, start_ns: u64, end_ns: u64, everything: bool) -> Window {
        let mut window = Window { start_ns, end_ns, ..Window::default() };
        window.totals = std::mem::take(&mut self.totals);
        self.round_trips.settle();
        let due = if is_spread(&window.totals) {
            Due::Spread
        } else if everything {
            Due::All
        } else {
            Due::Much
        };
        self.listeners.hand_over(due, &mut window, &self.sources);
        let others = [Counter::Udp, Counter::Icmp, Counter::OtherTransport, Counter::Fragments];
        let others = others.iter().map(|counter| window.totals.get(*counter)).sum();
        self.targets.hand_over(everything, others, &mut window);
        self.hosts.hand_over(everything, &mut window, &self.sources);
        self.actors.hand_over(&mut window);
        let watched = std::mem::take(&mut self.watched);
        window.troubles = Keyed::gather(watched.troubles, Trouble::join);
        window.paths = Keyed::gather(watched.paths, PathWindow::merge);
        window.impairments = Keyed::gather(std::mem::take(&mut self.impairments), Worst::merge);
        window.truth = Some(std::mem::take(&mut self.truth));
        window
    }

    /// What a partition watched in the tick that ends.
    pub fn watched(&mut self, watched: Watched) {
        self.watched.troubles.extend(watched.troubles);
        self.watched.paths.extend(watched.paths);
    }

    /// What connections of a partition suffered from that ended in the tick.
    pub fn impairments(&mut self, impairments: Impairments) {
        self.impairments.extend(impairments);
    }

    /// What the layers above TCP and the followers had to say.
    pub fn truth(&mut self) -> &mut Truth {
        &mut self.truth
    }

    /// Round trips by listener and by network.
    pub const fn round_trips(&self) -> &RoundTrips {
        &self.round_trips
    }

    /// The same, when the run is over.
    pub fn into_round_trips(self) -> RoundTrips {
        self.round_trips
    }

    /// Listener rows, and how many of them are in use.
    pub fn listeners_used(&self) -> (u64, u64) {
        self.listeners.used()
    }
}

/// Attempts in a tick from which on those that nobody completes may be a flood over many listeners: of 500/s.
const SPREAD_FROM: u64 = 50;

/// Whether attempts may be spread over many listeners, each of which has too few to be told before the second ends: in
/// the tick most were not completed. (A flood of ports that are closed is refused by each.)
fn is_spread(totals: &Counters) -> bool {
    let completed = totals.get(Counter::Completed) + totals.get(Counter::CompletedOneSided);
    let attempted = totals.get(Counter::Attempted);
    attempted >= SPREAD_FROM && attempted > completed * 2
}

/// Datagrams with so many hops left or fewer are no question: traceroute's, to a new port each, and what stays in a
/// network of its own. Others begin at 64 and more, and pass fewer than 30 routers.
const TRACEROUTE_TTL_MAX: u8 = 30;
/// Packets to a target since it was last handed over from which on their senders are noted.
const SENDERS_FROM: u64 = 50;
/// Events that say something of who asks, and asks for an answer or gets it.
const OF_ACTORS: u32 = event::ATTEMPTED | event::COMPLETED | event::COMPLETED_ONE_SIDED;

/// Whether a segment says something of hosts and of who asks, or of its listener beside the ordinary counters.
#[inline]
fn is_noted(verdict: &Verdict) -> bool {
    const NOTED: u32 = OF_ACTORS | event::REFUSED | event::ABORTED | event::ANSWERED_UNASKED;
    // A round trip is 0 where there was none.
    let is_slow = verdict.judged.round_trip_us > RTT_SLOW_US;
    !verdict.facts.is_empty() || verdict.judged.marks != 0 || verdict.outcome.has(NOTED) || is_slow
}

/// A packet's sender asks its destination.
fn asking(digest: &Digest, protocol: ActorProtocol) -> Asking {
    let packet = &digest.packet;
    Asking {
        protocol,
        actor: packet.source,
        host: packet.destination,
        port: packet.destination_port,
        now_ns: digest.ts_ns,
    }
}

/// Whether a segment asks, by ACK or FIN alone, for a port: nothing is known of its connection. Where a capture begins in the
/// middle of connections such a one is answered, and what goes to clients goes to the higher port.
fn is_probe(packet: &Packet, facts: Facts) -> bool {
    facts.has(Fact::StrayNew)
        && packet.segment.payload_bytes == 0
        && goes_to_service(packet.source_port, packet.destination_port)
}

/// Of two ports services have the lower one.
const fn goes_to_service(source_port: u16, destination_port: u16) -> bool {
    destination_port < source_port
}

/// A packet's destination had asked its sender.
fn answering(digest: &Digest, protocol: ActorProtocol) -> Asking {
    let packet = &digest.packet;
    Asking {
        protocol,
        actor: packet.destination,
        host: packet.source,
        port: packet.source_port,
        now_ns: digest.ts_ns,
    }
}

/// The id of the listener that a segment belongs to.
#[inline]
fn listener_id(digest: &Digest, verdict: &Verdict) -> u64 {
    if verdict.outcome.has(event::FROM_LISTENER) { digest.key.source } else { digest.key.destination }
}
