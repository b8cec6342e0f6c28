//! Attempts that are spread: over many ports of one host, over many hosts of one network (/24, /48), or over many of these
//! of one /16 (/32), so that no listener of them need have enough for an incident. What is a large network's is one
//! incident, and not one of each that is in it.
//!
//! Sums of the listeners of each window that has many attempts; nothing is counted per packet. Bounded: [`PLACES_MAX`]
//! hosts and networks, of which a silent one without an incident gives way; who finds no place is counted. Called by
//! [`crate::scope`].

mod sum;

use std::collections::BTreeMap;
use std::net::IpAddr;

use tidegauge_ebpf::listener::ListenerCounter;

use crate::baseline::{Baseline, SECONDS_MIN};
use crate::config::Config;
use crate::detect::{Parts, WideEvidence, wide_findings};
use crate::feature::{Ring, TICKS};
use crate::incident::{Incident, Kind};
use crate::open_incidents::{Changing, Judging, OpenIncidents};
use crate::prefix::{Network, SMALL_NETWORKS_MIN, Size, of_large};
use crate::window::{ActorWindow, ListenerWindow, Window};
pub(crate) use sum::{Askers, Place, WideCount};
use sum::{COUNTS, Sum, counts_of};

/// Hosts and networks remembered.
const PLACES_MAX: usize = 128;
/// Attempts in a window below which none of it is looked at: a tenth of a second of the least flood.
const WORTH_A_LOOK: u64 = 50;
/// Noted attempts that say something of their sources.
pub(crate) const NOTED_MIN: u64 = 20;
/// Those that are enough of a sample to take a larger one's place, and ticks after which fewer do.
const ASKERS_NOTED_MIN: u64 = 2 * NOTED_MIN;
const ASKERS_TICKS: u64 = 2 * TICKS as u64;
/// Ticks for which a sample is waited for where the kernel judges: within as many each CPU's is read, where there are few.
const SAMPLE_WAIT_TICKS: u32 = TICKS as u32;
/// Silence after which all sums are zero.
const SILENT_AFTER_NS: u64 = 2_000_000_000;

/// One place.
#[derive(Debug)]
struct State {
    ticks: Ring<COUNTS, TICKS>,
    tick: u64,
    seen_ns: u64,
    parts: Parts,
    busiest_share: f64,
    port: Option<u16>,
    askers: Askers,
    askers_tick: u64,
    /// Ticks for which something would have been told, had there been a sample.
    unsampled_ticks: u32,
    /// Attempts per second, of a large network: into so many addresses somebody asks at any time.
    usual: Option<Baseline>,
    /// Those of the second at hand.
    second: u64,
    incidents: OpenIncidents,
}

impl State {
    /// What was not worth a look before is usual where it was looked for long enough.
    fn new(place: Place, tick: u64) -> Self {
        let usual = place.is_large().then(|| {
            let mut usual = Baseline::default();
            if tick > (SECONDS_MIN * TICKS) as u64 {
                usual.learn_silence(SECONDS_MIN as u64);
            }
            usual
        });
        Self {
            ticks: Ring::EMPTY,
            tick,
            seen_ns: 0,
            parts: Parts::default(),
            busiest_share: 0.0,
            port: None,
            askers: Askers::default(),
            askers_tick: 0,
            unsampled_ticks: 0,
            usual,
            second: 0,
            incidents: OpenIncidents::default(),
        }
    }

    fn catch_up(&mut self, tick: u64) {
        (self.tick..tick).take(TICKS).for_each(|_| self.ticks.advance());
        self.tick = tick;
    }

    fn add(&mut self, place: Place, sum: &mut Sum, tick: u64, end_ns: u64) {
        self.catch_up(tick);
        self.ticks.add(sum.counts);
        let asked = sum.counts[WideCount::Asked as usize];
        self.second += asked;
        self.busiest_share = sum.busiest as f64 / asked.max(1) as f64;
        self.parts = match place {
            Place::Host(_) => Parts::Ports(sum.parts),
            Place::Network(_) if place.is_large() => {
                Parts::Networks { networks: sum.parts, hosts: sum.listeners }
            }
            Place::Network(_) => Parts::Hosts(sum.parts),
        };
        self.port = sum.port.value.filter(|_| u64::from(sum.port.lead) * 2 > sum.listeners);
        self.note_askers(sum.askers(), tick);
        self.seen_ns = end_ns;
    }

    /// A sample that is taken when the kernel has just begun a new one says less than the last one does.
    fn note_askers(&mut self, askers: Option<Askers>, tick: u64) {
        let is_old = tick.saturating_sub(self.askers_tick) > ASKERS_TICKS;
        let told = askers.filter(|askers| is_old || askers.noted >= ASKERS_NOTED_MIN.min(self.askers.noted));
        if let Some(askers) = told {
            (self.askers, self.askers_tick) = (askers, tick);
        }
    }

    /// Whether it is known who asks, or was waited for in vain: a search is not to be told as a flood meanwhile.
    fn is_sampled(&mut self, whole_packets: bool) -> bool {
        self.unsampled_ticks += 1;
        whole_packets || self.askers.noted >= NOTED_MIN || self.unsampled_ticks > SAMPLE_WAIT_TICKS
    }

    fn end_second(&mut self) {
        let second = std::mem::take(&mut self.second);
        if let Some(usual) = self.usual.as_mut().filter(|_| self.incidents.is_empty()) {
            usual.learn(second);
        }
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
        let mut sums = sums_of(window);
        for (place, sum) in &mut sums {
            let place = *place;
            // Who searches several hosts at once is known of their network.
            let network = Place::Network(Network::of(place.address(), Size::Small));
            let searched = self.searched_of(place, tick).max(self.searched_of(network, tick));
            sum.counts[WideCount::Searched as usize] = searched;
            let known = self.places.contains_key(&place);
            let parts = if place.is_large() { SMALL_NETWORKS_MIN } else { parts_min };
            let is_much = sum.parts >= parts && sum.counts[WideCount::Asked as usize] >= WORTH_A_LOOK;
            if !known && (!is_much || !self.has_room(window.end_ns)) {
                continue;
            }
            let state = self.places.entry(place).or_insert_with(|| Box::new(State::new(place, tick)));
            state.add(place, sum, tick, window.end_ns);
        }
        // Listeners are told once a second, those who ask at each tick: what is summed is done with.
        for (place, _) in &sums {
            self.searched.remove(place);
        }
    }

    /// Somebody who asks many asked so many `more` in tick number `tick`, most of them at one host or in one network.
    pub(crate) fn search(&mut self, counts: &ActorWindow, more: u64, tick: u64) {
        let host = counts.host.filter(|_| counts.host_is_most);
        let network = host.or(counts.network.map(|(address, _)| address));
        let networks = [Size::Small, Size::Large]
            .into_iter()
            .filter_map(|size| Some(Place::Network(Network::of(network?, size))));
        // Who is not known to ask in one network alone asks in all that are seen, and most of it may be here.
        for place in host.map(Place::Host).into_iter().chain(networks) {
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

    /// A second ends.
    pub(crate) fn end_second(&mut self) {
        self.places.values_mut().for_each(|state| state.end_second());
    }

    /// Judges all that live, at the end of tick number `tick`.
    pub(crate) fn judge(&mut self, judging: &Judging<'_>, tick: u64, changing: &mut Changing<'_>) {
        let now_ns = judging.now_ns;
        self.searched.retain(|_, searched| searched.is_recent(tick));
        let mut large: Option<Config> = None;
        let mut open: Vec<Place> = Vec::new();
        self.places.retain(|place, state| {
            state.catch_up(tick);
            let config = match place.is_large() {
                true => &*large.get_or_insert_with(|| of_large(judging.config)),
                false => judging.config,
            };
            let evidence = WideEvidence {
                config,
                place: *place,
                counts: &state.ticks.sum,
                parts: state.parts,
                busiest_share: state.busiest_share,
                port: state.port,
                askers: &state.askers,
                usual: state.usual.as_ref(),
                whole_packets: judging.whole_packets,
            };
            let found = wide_findings(&evidence);
            let is_part =
                Place::of(place.address()).iter().any(|other| other != place && open.contains(other));
            if is_part {
                for kind in [Kind::SynFlood, Kind::HostSweep, Kind::PortScan] {
                    state.incidents.supersede(kind, now_ns, changing.changed);
                }
            } else if let Some((target, finding)) = found {
                if state.is_sampled(judging.whole_packets) {
                    state.incidents.take(finding, target, judging, changing);
                }
            } else {
                state.unsampled_ticks = 0;
            }
            state.incidents.close_over(judging, changing);
            open.extend((!state.incidents.is_empty()).then_some(*place));
            state.is_live(now_ns)
        });
    }

    /// Whether a flood is open that a listener at this address is part of.
    pub(crate) fn covers(&self, address: IpAddr) -> bool {
        let is_open = |place| self.places.get(&place).is_some_and(|state| !state.incidents.is_empty());
        !self.places.is_empty() && Place::of(address).into_iter().any(is_open)
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

/// What came to each place, in order. As listeners come in the order of their addresses, so do the places of each kind.
fn sums_of(window: &Window) -> Vec<(Place, Sum)> {
    let (mut hosts, mut small, mut large) = (Vec::new(), Vec::new(), Vec::new());
    for (key, listener) in window.listeners.iter().filter(|(_, listener)| is_asked(listener)) {
        for (sums, place) in [&mut hosts, &mut small, &mut large].into_iter().zip(Place::of(key.address)) {
            if sums.last().is_none_or(|(last, _)| *last != place) {
                sums.push((place, Sum::default()));
            }
            if let Some((_, sum)) = sums.last_mut() {
                sum.add(place, key, listener);
            }
        }
    }
    large.extend(small);
    large.extend(hosts);
    large
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::window::ListenerKey;

    fn window<A: Into<IpAddr>>(listeners: impl Iterator<Item = (A, u16)>) -> Window {
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
        let host = &wide.places[&Place::Host([192, 0, 2, 7].into())];
        assert_eq!((host.ticks.sum[0], host.parts, host.port), (500, Parts::Ports(100), None));
        assert!(host.busiest_share < 0.02);
        // The network has one host.
        assert_eq!(wide.places.len(), 1);
        let mut wide = Wide::default();
        wide.add(&window((1..=100).map(|host| ([192, 0, 2, host], 80))), 16, 1);
        let network = &wide.places[&Place::Network(Network::of([192, 0, 2, 0].into(), Size::Small))];
        assert_eq!((network.ticks.sum[0], network.parts, network.port), (500, Parts::Hosts(100), Some(80)));
        assert_eq!(wide.places.len(), 1);
    }

    #[test]
    fn each_place_is_summed_once_and_in_order() {
        let addresses =
            ["10.0.0.1", "10.0.1.1", "10.1.0.1", "198.51.100.7", "2001:db8:1::1", "2001:db8:2::1"];
        let listeners = addresses.iter().flat_map(|address| [(address, 22), (address, 80)]);
        let sums =
            sums_of(&window(listeners.map(|(address, port)| (address.parse::<IpAddr>().unwrap(), port))));
        assert!(sums.is_sorted_by(|one, next| one.0 < next.0));
        assert_eq!(sums.len(), 4 + 6 + 6);
        assert_eq!(
            sums.iter().map(|(_, sum)| sum.counts[WideCount::Asked as usize]).sum::<u64>(),
            3 * 12 * 5
        );
    }

    #[test]
    fn small_networks_of_a_large_one_are_summed_and_their_sources() {
        let mut wide = Wide::default();
        let mut window = window((1..=100).map(|host| ([198, 18, host % 4, host], 80)));
        for (number, listener) in (0..).zip(window.listeners.values_mut()) {
            listener.sources = vec![(IpAddr::from([203, 0, 113, number % 5]), 1)];
        }
        wide.add(&window, 16, 1);
        let large = &wide.places[&Place::Network(Network::of([198, 18, 0, 0].into(), Size::Large))];
        assert_eq!(large.parts, Parts::Networks { networks: 4, hosts: 100 });
        assert_eq!((large.askers.noted, large.askers.distinct, large.askers.top[0].1), (100, 5, 20));
        assert!((large.busiest_share - 0.25).abs() < 0.01);
    }

    #[test]
    fn a_sample_of_who_asks_outlasts_a_smaller_one_for_two_seconds() {
        let sample = |noted| Some(Askers { noted, ..Askers::default() });
        let mut state = State::new(Place::Host([192, 0, 2, 7].into()), 1);
        let mut noted = |askers, tick| {
            state.note_askers(askers, tick);
            state.askers.noted
        };
        assert_eq!([noted(sample(8), 1), noted(sample(70), 2), noted(sample(12), 3)], [8, 70, 70]);
        assert_eq!([noted(None, 4), noted(sample(50), 5), noted(sample(9), 30)], [70, 50, 9]);
    }

    #[test]
    fn a_sample_is_waited_for_where_the_kernel_judges() {
        let mut state = State::new(Place::Host([192, 0, 2, 7].into()), 1);
        assert!(state.is_sampled(true));
        assert_eq!((0..20).position(|_| state.is_sampled(false)), Some(9));
        state.unsampled_ticks = 0;
        state.note_askers(Some(Askers { noted: NOTED_MIN, ..Askers::default() }), 1);
        assert!(state.is_sampled(false));
    }

    #[test]
    fn places_are_bounded_and_who_finds_none_is_counted() {
        let mut wide = Wide::default();
        for network in 0..=PLACES_MAX as u8 {
            wide.add(&window((1..=20).map(|host| ([10, network, 0, host], 80))), 16, 1);
        }
        assert_eq!((wide.places.len(), wide.refused()), (PLACES_MAX, 1));
    }
}
