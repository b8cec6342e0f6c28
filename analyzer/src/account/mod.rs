//! The books: every packet counted where it belongs, and a window out of them at the end of each tick.
//!
//! The third of three steps that a captured frame takes ([`crate::pipeline`]), in the order of the capture and by one
//! thread at a time. Totals, listeners, targets and sources are those of one tick or second: they are handed over and
//! begin anew. Listeners and targets are handed over at the end of a whole second, and earlier where much happens at
//! them ([`listeners`], [`targets`]).

pub mod listeners;
mod round_trips;
mod sources;
pub mod targets;

use tidegauge_ebpf::counter::{Counter, Counters, VALUES};
use tidegauge_ebpf::event;
use tidegauge_ebpf::observe::totals::count_outcome;
use tidegauge_ebpf::packet::{Network, Transport};
use tidegauge_ebpf::settings::Settings;

use crate::digest::Digest;
use crate::follow::Verdict;
use crate::truth::Truth;
use crate::window::Window;
use listeners::Listeners;
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
    round_trips: RoundTrips,
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
            round_trips: RoundTrips::default(),
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
        self.listeners.prefetch(listener_id(digest, verdict));
    }

    /// The same, nearer.
    #[inline]
    pub fn look_near(&self, digest: &Digest, verdict: &Verdict) {
        let asks = verdict.outcome.has(event::ATTEMPTED);
        self.listeners.prefetch_row(listener_id(digest, verdict), asks);
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
                self.targets.count(digest, self.settings.seed, &mut self.totals);
            }
            _ => {}
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
        if outcome.has(event::ATTEMPTED) {
            self.listeners.note_asker(place, digest, self.settings.seed);
            self.sources.note(digest, self.settings.seed);
        }
    }

    /// A tick is over: what was counted in it, with `everything` also what waits for the end of its second.
    pub fn end_tick(&mut self, start_ns: u64, end_ns: u64, everything: bool) -> Window {
        let mut window = Window { start_ns, end_ns, ..Window::default() };
        window.totals = std::mem::take(&mut self.totals);
        self.listeners.hand_over(everything, &mut window, &self.sources);
        let others = [Counter::Udp, Counter::Icmp, Counter::OtherTransport, Counter::Fragments];
        let others = others.iter().map(|counter| window.totals.get(*counter)).sum();
        self.targets.hand_over(everything, others, &mut window);
        window.truth = Some(std::mem::take(&mut self.truth));
        window
    }

    /// What the layers above TCP and the followers had to say.
    pub fn truth(&mut self) -> &mut Truth {
        &mut self.truth
    }

    /// Round trips by listener and by network.
    pub const fn round_trips(&self) -> &RoundTrips {
        &self.round_trips
    }

    /// Listener rows, and how many of them are in use.
    pub fn listeners_used(&self) -> (u64, u64) {
        self.listeners.used()
    }
}

/// The id of the listener that a segment belongs to.
#[inline]
fn listener_id(digest: &Digest, verdict: &Verdict) -> u64 {
    if verdict.outcome.has(event::FROM_LISTENER) { digest.key.source } else { digest.key.destination }
}
