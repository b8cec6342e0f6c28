//! Attempts that are spread: over many ports of one host, or over many hosts of one network, so that no listener of them
//! need have enough for an incident.
//!
//! Sums of the listeners of each window that has many attempts; nothing is counted per packet. Bounded: [`PLACES_MAX`]
//! hosts and networks, of which a silent one without an incident gives way; who finds no place is counted. Called by
//! [`crate::scope`].

use std::collections::BTreeMap;
use std::net::IpAddr;

use tidegauge_ebpf::listener::ListenerCounter;

use crate::detect::{WideEvidence, wide_findings};
use crate::fact::Fact;
use crate::feature::{Ring, TICKS};
use crate::incident::Incident;
use crate::most::Most;
use crate::networks::{network_bits, network_of};
use crate::open_incidents::{Changing, Judging, OpenIncidents};
use crate::window::{ActorWindow, ListenerKey, ListenerWindow, Window};

/// Hosts and networks remembered.
const PLACES_MAX: usize = 128;
/// Attempts in a window below which none of it is looked at: a tenth of a second of the least flood.
const WORTH_A_LOOK: u64 = 50;
/// Silence after which all sums are zero.
const SILENT_AFTER_NS: u64 = 2_000_000_000;

/// What is summed.
#[derive(Clone, Copy, Debug)]
#[repr(usize)]
pub(crate) enum WideCount {
    /// First SYNs.
    Asked,
    /// SYNs sent again.
    Repeated,
    /// Completed handshakes.
    Completed,
    /// First SYNs without options.
    Bare,
    /// Questions of hosts that each ask many: scans.
    Searched,
}

const COUNTS: usize = WideCount::Searched as usize + 1;

/// A host, or the first address of a network and how many bits name it.
pub(crate) type Place = (IpAddr, Option<u8>);

/// One of those that attempts are spread over.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Host(IpAddr),
    Port(u16),
}

/// What came to one place in a window.
#[derive(Default)]
struct Sum {
    counts: [u64; COUNTS],
    /// Ports of a host, or hosts of a network, and attempts at the busiest.
    parts: u64,
    busiest: u64,
    /// The part at hand, and the attempts at it; listeners come in order.
    part: Option<(Part, u64)>,
    port: Most<u16>,
}

impl Sum {
    fn add(&mut self, key: &ListenerKey, listener: &ListenerWindow, part: Part) {
        let counts = counts_of(listener);
        let asked = counts[WideCount::Asked as usize];
        self.counts.iter_mut().zip(counts).for_each(|(own, more)| *own += more);
        if asked == 0 {
            return;
        }
        let of_part = match self.part {
            Some((known, asked)) if known == part => asked,
            _ => {
                self.parts += 1;
                0
            }
        };
        self.part = Some((part, of_part + asked));
        self.busiest = self.busiest.max(of_part + asked);
        self.port.record(key.port);
    }
}

fn counts_of(listener: &ListenerWindow) -> [u64; COUNTS] {
    let get = |counter| listener.get(counter);
    [
        get(ListenerCounter::Attempted),
        get(ListenerCounter::SynRetransmission),
        get(ListenerCounter::Completed) + get(ListenerCounter::CompletedOneSided),
        listener.fact(Fact::BareSyn),
        0,
    ]
}

/// One place.
#[derive(Debug)]
struct State {
    ticks: Ring<COUNTS, TICKS>,
    tick: u64,
    seen_ns: u64,
    parts: u64,
    busiest_share: f64,
    port: Option<u16>,
    incidents: OpenIncidents,
}

impl State {
    fn new(tick: u64) -> Self {
        Self {
            ticks: Ring::EMPTY,
            tick,
            seen_ns: 0,
            parts: 0,
            busiest_share: 0.0,
            port: None,
            incidents: OpenIncidents::default(),
        }
    }

    fn catch_up(&mut self, tick: u64) {
        (self.tick..tick).take(TICKS).for_each(|_| self.ticks.advance());
        self.tick = tick;
    }

    fn add(&mut self, sum: Sum, tick: u64, end_ns: u64) {
        self.catch_up(tick);
        self.ticks.add(sum.counts);
        let asked = sum.counts[WideCount::Asked as usize].max(1);
        (self.parts, self.busiest_share) = (sum.parts, sum.busiest as f64 / asked as f64);
        self.port = sum.port.value.filter(|_| u64::from(sum.port.lead) * 2 > sum.parts);
        self.seen_ns = end_ns;
    }

    fn is_live(&self, now_ns: u64) -> bool {
        self.incidents.may_go_on(now_ns) || now_ns.saturating_sub(self.seen_ns) < SILENT_AFTER_NS
    }
}

/// All places that were worth a look.
#[derive(Debug, Default)]
pub(crate) struct Wide {
    places: BTreeMap<Place, Box<State>>,
    /// What those asked of each place who ask much.
    searched: BTreeMap<Place, Searched>,
    refused: u64,
}

/// Questions of hosts that each ask many since listeners of their place were last summed, and the newest one's tick.
#[derive(Clone, Copy, Debug, Default)]
struct Searched {
    questions: u64,
    tick: u64,
}

impl Searched {
    /// Whether they are of the second that is summed in tick number `tick`.
    const fn is_recent(&self, tick: u64) -> bool {
        tick.saturating_sub(self.tick) <= TICKS as u64
    }
}

impl Wide {
    /// Adds the window of tick number `tick`; `parts_min`: ports or hosts among which attempts must be spread.
    pub(crate) fn add(&mut self, window: &Window, parts_min: u64, tick: u64) {
        let listeners = || window.listeners.iter();
        if (window.listeners.len() as u64) < parts_min
            || listeners().map(|(_, listener)| listener.get(ListenerCounter::Attempted)).sum::<u64>()
                < WORTH_A_LOOK
        {
            return;
        }
        let mut sums: BTreeMap<Place, Sum> = BTreeMap::new();
        for (key, listener) in listeners().filter(|(_, listener)| is_asked(listener)) {
            sums.entry((key.address, None)).or_default().add(key, listener, Part::Port(key.port));
            let network = (network_of(key.address), Some(network_bits(key.address)));
            sums.entry(network).or_default().add(key, listener, Part::Host(key.address));
        }
        let places: Vec<Place> = sums.keys().copied().collect();
        for (place, mut sum) in sums {
            // Who searches several hosts at once is known of their network.
            let network = (network_of(place.0), Some(network_bits(place.0)));
            let searched = self.searched_of(place, tick).max(self.searched_of(network, tick));
            sum.counts[WideCount::Searched as usize] = searched;
            let known = self.places.contains_key(&place);
            let is_much = sum.parts >= parts_min && sum.counts[WideCount::Asked as usize] >= WORTH_A_LOOK;
            if !known && (!is_much || !self.has_room(window.end_ns)) {
                continue;
            }
            let state = self.places.entry(place).or_insert_with(|| Box::new(State::new(tick)));
            state.add(sum, tick, window.end_ns);
        }
        // Listeners are told once a second, those who ask at each tick: what is summed is done with.
        for place in places {
            self.searched.remove(&place);
        }
    }

    /// Somebody who asks many asked so many `more` in tick number `tick`, most of them at one host or in one network.
    pub(crate) fn search(&mut self, counts: &ActorWindow, more: u64, tick: u64) {
        let host = counts.host.filter(|_| counts.host_is_most);
        let network = host.or(counts.network.map(|(address, _)| address));
        let network = network.map(|address| (network_of(address), Some(network_bits(address))));
        for place in host.map(|address| (address, None)).into_iter().chain(network) {
            if self.searched.len() >= PLACES_MAX && !self.searched.contains_key(&place) {
                self.refused += 1;
                continue;
            }
            let searched = self.searched.entry(place).or_default();
            let before = if searched.is_recent(tick) { searched.questions } else { 0 };
            *searched = Searched { questions: before + more, tick };
        }
    }

    fn searched_of(&self, place: Place, tick: u64) -> u64 {
        let searched = self.searched.get(&place).filter(|searched| searched.is_recent(tick));
        searched.map_or(0, |searched| searched.questions)
    }

    fn has_room(&mut self, now_ns: u64) -> bool {
        if self.places.len() >= PLACES_MAX {
            self.places.retain(|_, state| state.is_live(now_ns));
        }
        let has_room = self.places.len() < PLACES_MAX;
        self.refused += u64::from(!has_room);
        has_room
    }

    /// Judges all that live, at the end of tick number `tick`.
    pub(crate) fn judge(&mut self, judging: &Judging<'_>, tick: u64, changing: &mut Changing<'_>) {
        let now_ns = judging.now_ns;
        self.searched.retain(|_, searched| searched.is_recent(tick));
        self.places.retain(|place, state| {
            state.catch_up(tick);
            let evidence = WideEvidence {
                config: judging.config,
                place: *place,
                counts: &state.ticks.sum,
                parts: state.parts,
                busiest_share: state.busiest_share,
                port: state.port,
            };
            if let Some((target, finding)) = wide_findings(&evidence) {
                state.incidents.take(finding, target, judging, changing);
            }
            state.incidents.close_over(judging, changing);
            state.is_live(now_ns)
        });
    }

    /// Whether a flood is open that a listener at this address is part of.
    pub(crate) fn covers(&self, address: IpAddr) -> bool {
        let is_open = |place: Place| self.places.get(&place).is_some_and(|state| !state.incidents.is_empty());
        !self.places.is_empty()
            && (is_open((address, None)) || is_open((network_of(address), Some(network_bits(address)))))
    }

    /// Times that a place found no room.
    pub(crate) const fn refused(&self) -> u64 {
        self.refused
    }

    pub(crate) fn skip(&mut self) {
        self.places.clear();
        self.searched.clear();
    }

    pub(crate) fn incidents(&self) -> impl Iterator<Item = &Incident> {
        self.places.values().flat_map(|state| state.incidents.iter())
    }

    pub(crate) fn incidents_mut(&mut self) -> impl Iterator<Item = &mut Incident> {
        self.places.values_mut().flat_map(|state| state.incidents.iter_mut())
    }

    pub(crate) fn close_all(&mut self, now_ns: u64, changed: &mut Vec<Incident>) {
        self.places.values_mut().for_each(|state| state.incidents.close_all(now_ns, changed));
    }
}

fn is_asked(listener: &ListenerWindow) -> bool {
    counts_of(listener).iter().any(|count| *count != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(listeners: impl Iterator<Item = ([u8; 4], u16)>) -> Window {
        let mut window = Window { end_ns: 1_000_000_000, ..Window::default() };
        let listeners = listeners.map(|(address, port)| {
            let mut listener = ListenerWindow::default();
            listener.counters[ListenerCounter::Attempted as usize] = 5;
            (ListenerKey { address: address.into(), port }, listener)
        });
        window.listeners = crate::keyed::Keyed::gather(listeners, ListenerWindow::merge);
        window
    }

    #[test]
    fn ports_of_a_host_and_hosts_of_a_network_are_summed() {
        let mut wide = Wide::default();
        wide.add(&window((1..=100).map(|port| ([192, 0, 2, 7], port))), 16, 1);
        let host = &wide.places[&(IpAddr::from([192, 0, 2, 7]), None)];
        assert_eq!((host.ticks.sum[0], host.parts, host.port), (500, 100, None));
        assert!(host.busiest_share < 0.02);
        // The network has one host.
        assert_eq!(wide.places.len(), 1);
        let mut wide = Wide::default();
        wide.add(&window((1..=100).map(|host| ([192, 0, 2, host], 80))), 16, 1);
        let network = &wide.places[&(IpAddr::from([192, 0, 2, 0]), Some(24))];
        assert_eq!((network.ticks.sum[0], network.parts, network.port), (500, 100, Some(80)));
        assert_eq!(wide.places.len(), 1);
    }

    #[test]
    fn places_are_bounded_and_who_finds_none_is_counted() {
        let mut wide = Wide::default();
        for network in 0..=PLACES_MAX as u8 {
            wide.add(&window((1..=20).map(|host| ([10, 0, network, host], 80))), 16, 1);
        }
        assert_eq!((wide.places.len(), wide.refused()), (PLACES_MAX, 1));
    }
}
