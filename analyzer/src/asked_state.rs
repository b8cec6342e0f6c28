//! What the engine remembers of what is asked of hosts and networks as a whole ([`crate::asked`]), and the floods at
//! them. Bounded: [`ASKED_MAX`]; the longest silent give way first, then those of which least is asked, one with an open
//! incident never.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::account::actors::Bits;
use crate::asked::{ASKED_COUNTS, AskedCount, AskedKey, AskedWindow};
use crate::detect::{SpreadEvidence, is_by_few, may_be_flood, spread_finding};
use crate::feature::{Ring, Sources, TICKS};
use crate::incident::{Incident, Kind};
use crate::networks::network_of;
use crate::open_incidents::{Changing, Judging, OpenIncidents};
use crate::window::Window;

/// Hosts and networks remembered.
pub(crate) const ASKED_MAX: usize = 1_024;
/// Silence after which one without an incident is forgotten.
const SILENT_AFTER_NS: u64 = 2_000_000_000;
/// How long what a few sources did is in the sums.
const BY_FEW_NS: u64 = 1_500_000_000;

/// One host or network.
#[derive(Debug)]
struct AskedState {
    ticks: Ring<ASKED_COUNTS, TICKS>,
    tick: u64,
    seen_ns: u64,
    /// Ports and hosts of this second and of the one before.
    ports: [Bits; 2],
    hosts: [Bits; 2],
    port_lead: u32,
    host_lead: u32,
    sources: Sources,
    /// When a few sources last had half of it.
    by_few_ns: Option<u64>,
    /// Whether it may be about to become a flood.
    waits: bool,
    incidents: OpenIncidents,
}

impl Default for AskedState {
    fn default() -> Self {
        Self {
            ticks: Ring::EMPTY,
            tick: 0,
            seen_ns: 0,
            ports: [Bits::default(); 2],
            hosts: [Bits::default(); 2],
            port_lead: 0,
            host_lead: 0,
            sources: Sources::default(),
            by_few_ns: None,
            waits: false,
            incidents: OpenIncidents::default(),
        }
    }
}

impl AskedState {
    fn catch_up(&mut self, tick: u64) {
        (self.tick..tick).take(TICKS).for_each(|_| self.ticks.advance());
        self.tick = tick;
    }

    fn add(&mut self, window: &AskedWindow, tick: u64, end_ns: u64) {
        self.catch_up(tick);
        self.seen_ns = end_ns;
        self.ticks.add(window.counts);
        self.ports[0].add_all(&window.ports);
        self.hosts[0].add_all(&window.hosts);
        (self.port_lead, self.host_lead) = (window.port_lead, window.host_lead);
        // The counts of sources begin anew each second, what they did is in the sliding second for longer.
        if is_by_few(&window.sources, window.noted_in_period) {
            self.by_few_ns = Some(end_ns);
        }
        self.sources.distinct = window.distinct;
        self.sources.ttl_classes = window.ttl_classes;
        self.sources.top.clone_from(&window.sources);
        self.sources.prefixes.clone_from(&window.prefixes);
    }

    fn end_second(&mut self) {
        for bits in [&mut self.ports, &mut self.hosts] {
            *bits = [Bits::default(), bits[0]];
        }
    }

    fn is_live(&self, now_ns: u64) -> bool {
        !self.incidents.is_empty() || now_ns.saturating_sub(self.seen_ns) < SILENT_AFTER_NS
    }

    fn evidence<'a>(&'a self, key: AskedKey, judging: &'a Judging<'_>) -> SpreadEvidence<'a> {
        let estimate = |[this, before]: [Bits; 2]| {
            let mut both = this;
            both.add_all(&before);
            both.estimate()
        };
        SpreadEvidence {
            config: judging.config,
            key,
            last_second: &self.ticks.sum,
            ticks: std::array::from_fn(|age| self.ticks.row(age)[AskedCount::Attempted as usize]),
            ports: estimate(self.ports),
            hosts: estimate(self.hosts),
            port_lead: self.port_lead,
            host_lead: self.host_lead,
            sources: &self.sources,
            by_few: self.by_few_ns.is_some_and(|then| judging.now_ns.saturating_sub(then) < BY_FEW_NS),
        }
    }
}

/// What is told, or may be told soon, of a listener's host or its network as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Over {
    /// A SYN flood.
    Flood,
    /// Perhaps one: the next ticks tell.
    Suspicion,
    /// Nothing.
    Nothing,
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct AskedPlaces(BTreeMap<AskedKey, Box<AskedState>>);

impl AskedPlaces {
    /// Adds the window of tick number `tick`; how many were forgotten for want of room.
    pub(crate) fn add(&mut self, window: &Window, tick: u64) -> u64 {
        for (key, asked) in window.asked.iter() {
            self.0.entry(*key).or_default().add(asked, tick, window.end_ns);
        }
        crate::scope::trim(&mut self.0, ASKED_MAX, |state| {
            (!state.incidents.is_empty(), state.seen_ns, state.ticks.sum[AskedCount::Attempted as usize])
        })
    }

    pub(crate) fn end_second(&mut self, now_ns: u64) {
        self.0.retain(|_, state| state.is_live(now_ns));
        self.0.values_mut().for_each(|state| state.end_second());
    }

    pub(crate) fn skip(&mut self) {
        self.0.clear();
    }

    /// Judges all, networks first.
    pub(crate) fn judge(&mut self, judging: &Judging<'_>, tick: u64, changing: &mut Changing<'_>) {
        let mut flooded = Vec::new();
        for (key, state) in &mut self.0 {
            state.catch_up(tick);
            let covered = matches!(key, AskedKey::Host(host) if flooded.contains(&network_of(*host)));
            let evidence = state.evidence(*key, judging);
            let found = if covered { None } else { spread_finding(&evidence) };
            state.waits = !covered && found.is_none() && may_be_flood(&evidence);
            if let Some((target, finding)) = found {
                state.incidents.take(finding, target, judging, changing);
            }
            if covered {
                state.incidents.supersede(Kind::SynFlood, judging.now_ns, changing.changed);
            }
            state.incidents.close_over(judging, changing);
            if let AskedKey::Network(network) = key
                && !state.incidents.is_empty()
            {
                flooded.push(*network);
            }
        }
    }

    /// What a listener at this host may have its part of.
    pub(crate) fn over(&self, host: IpAddr) -> Over {
        if self.0.is_empty() {
            return Over::Nothing;
        }
        let keys = [AskedKey::Host(host), AskedKey::Network(network_of(host))];
        let states = || keys.iter().filter_map(|key| self.0.get(key));
        if states().any(|state| !state.incidents.is_empty()) {
            Over::Flood
        } else if states().any(|state| state.waits) {
            Over::Suspicion
        } else {
            Over::Nothing
        }
    }

    pub(crate) fn incidents(&self) -> impl Iterator<Item = &Incident> {
        self.0.values().flat_map(|state| state.incidents.iter())
    }

    pub(crate) fn incidents_mut(&mut self) -> impl Iterator<Item = &mut Incident> {
        self.0.values_mut().flat_map(|state| state.incidents.iter_mut())
    }

    pub(crate) fn close_all(&mut self, now_ns: u64, changed: &mut Vec<Incident>) {
        self.0.values_mut().for_each(|state| state.incidents.close_all(now_ns, changed));
    }
}
