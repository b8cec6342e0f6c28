//! The engine: takes one window a tick, in time order, and says what changed. The same for files and live sources.
//!
//! Bounded: about [`LISTENERS_MAX`] listeners are remembered, the silent and unproven ones give way first and are
//! counted; a gap in time is skipped in one step, however long.

mod consequences;
mod observed;
mod room;
mod run;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use tidegauge_capture::host::Sample;
use tidegauge_ebpf::counter::{Counter, Counters};

use crate::cause::{self, HostCounts};
use crate::config::Config;
use crate::feature::{GRACE_UNKNOWN_TICKS, TICK_NS, TICKS};
use crate::graph::Graph;
use crate::incident::Incident;
use crate::keyed::Keyed;
use crate::learnt::Learnt;
use crate::listener_state::ListenerState;
use crate::local_host::{HostInterval, LocalHost};
use crate::model::{HostShares, Learning, Model, Outlook};
use crate::observation::ledger::Ledger;
use crate::open_incidents::{Changing, Judging};
use crate::quality::{Interval, Lag, SourceLosses};
use crate::scope::Scopes;
use crate::sight::Sight;
use crate::watch_list::WatchList;
use crate::window::{ListenerKey, Window};
pub use run::Run;

/// Listeners remembered.
pub const LISTENERS_MAX: usize = 4_096;
/// Listeners above that, so that making room costs one pass for many and not one each.
pub const LISTENERS_SLACK: usize = 1_024;
/// Sources remembered for the summary.
pub const SOURCES_MAX: usize = 256;
/// Closed incidents kept for the report; older ones were told as they closed.
pub const INCIDENTS_MAX: usize = 1_000;

/// What happened in a tick.
#[derive(Clone, Debug)]
pub enum Change {
    /// An incident opened, was updated or closed.
    Incident(Box<Incident>),
    /// A whole second is over.
    Second(Box<Second>),
}

/// A whole second: what was counted, and how well it was seen.
#[derive(Clone, Debug)]
pub struct Second {
    /// The counts.
    pub window: Window,
    /// How well they were seen.
    pub seen: Interval,
    /// The feature model at its end.
    pub outlook: Outlook,
}

/// The engine's memory.
pub struct Engine {
    config: Config,
    /// Whether the source shows both directions' handshake segments.
    answers_visible: bool,
    /// Boxed: they are large, and a tree moves what is in it.
    listeners: BTreeMap<ListenerKey, Box<ListenerState>>,
    /// Those that are silent: no end of a second is told to them, they hear of all when traffic returns.
    asleep: BTreeMap<ListenerKey, Box<ListenerState>>,
    /// Those in which a detector could find something, or has: the others are not looked at each tick. All with an open
    /// incident are here.
    watched: WatchList<ListenerKey>,
    /// Hosts, and who asks them.
    scopes: Scopes,
    /// The host we run on, live.
    local_host: LocalHost,
    /// Ticks that began.
    tick: u64,
    /// Seconds that ended.
    seconds: u64,
    /// End of the last tick, nanoseconds; 0 before the first.
    now_ns: u64,
    /// The second being gathered.
    second: Window,
    /// How well it is seen.
    sight: Sight,
    /// Whether seconds without a packet are told too.
    tells_idle_seconds: bool,
    incident_numbers: u64,
    /// What asks what.
    graph: Graph,
    /// What was seen and is no incident.
    ledger: Ledger,
    model: Model,
    /// Everything since the start.
    run: Run,
}

impl Engine {
    /// An engine that has seen nothing.
    pub fn new(config: Config, answers_visible: bool) -> Self {
        Self {
            config,
            answers_visible,
            listeners: BTreeMap::new(),
            asleep: BTreeMap::new(),
            watched: WatchList::default(),
            scopes: Scopes::default(),
            local_host: LocalHost::default(),
            tick: 0,
            seconds: 0,
            now_ns: 0,
            second: Window::default(),
            sight: Sight::default(),
            tells_idle_seconds: false,
            incident_numbers: 0,
            graph: Graph::default(),
            ledger: Ledger::default(),
            model: Model::default(),
            run: Run::default(),
        }
    }

    /// Tells seconds without a packet too: live, they are how an idle link differs from one that is not seen.
    pub fn live(mut self) -> Self {
        self.tells_idle_seconds = true;
        self
    }

    /// Begins with what an earlier run has learnt.
    pub fn with_learnt(mut self, learnt: Learnt) -> Self {
        for listener in learnt.listeners {
            let key = ListenerKey { address: listener.addr, port: listener.port };
            self.asleep.insert(key, Box::new(ListenerState::of_learnt(listener)));
        }
        self.scopes.remember(learnt.hosts);
        self
    }

    /// What is usual, for a later run.
    pub fn learnt(&mut self) -> Learnt {
        let all = self.listeners.iter_mut().chain(&mut self.asleep);
        let known = all.filter_map(|(key, state)| state.learnt(*key, self.seconds));
        Learnt::new(known.take(LISTENERS_MAX).collect(), self.scopes.learnt())
    }

    /// Other thresholds from here on; what is known and what is open stays.
    pub fn set_config(&mut self, config: Config) {
        self.config = config;
    }

    /// The thresholds in force.
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// What a live source lost since the start, and when the ticks are handled that are pushed from now on; `lag` is
    /// what makes the next one late beside that. Once a tick.
    pub fn note_source(&mut self, losses: &SourceLosses, now_ns: u64, lag: Lag) {
        self.sight.note(losses, now_ns, lag);
    }

    /// What the host we run on counts, as it is at `now_ns`. Once a second.
    pub fn note_host(&mut self, sample: Sample, now_ns: u64) {
        self.local_host.note(sample, now_ns, &self.config);
    }

    /// Takes the window of one tick, which must not begin before the last one ended.
    pub fn push(&mut self, mut window: Window, changes: &mut Vec<Change>) {
        self.run.totals.merge(&window.totals);
        if let Some(sampling) = &window.sampling {
            self.run.sampling.get_or_insert_default().merge(sampling);
        }
        if let Some(truth) = &window.truth {
            self.run.truth.get_or_insert_default().merge(truth);
        }
        self.catch_up(window.start_ns, changes);
        self.now_ns = window.end_ns;
        self.note_sources(&window);
        self.note_targets(&window);
        self.add_listeners(&window);
        self.note_troubles(&window);
        self.scopes.add(&window, self.tick, &self.config);
        if let Some(lag) = self.sight.count(&window) {
            self.run.lag.get_or_insert_default().merge(lag);
        }
        self.run.refused.merge(window.refused);
        self.run.hosts_forgotten = self.scopes.forgotten();
        self.graph.note_names(&window);
        self.ledger.add(&window);
        // Judged as they came; nobody reads them of longer windows.
        (window.hosts, window.actors) = (Keyed::default(), Keyed::default());
        (window.paths, window.troubles) = (Keyed::default(), Keyed::default());
        window.impairments = Keyed::default();
        self.second.merge(window);
        self.judge(changes);
    }

    /// Adds a tick's listeners to what is remembered of them.
    fn add_listeners(&mut self, window: &Window) {
        let (tick, end_ns, config) = (self.tick, window.end_ns, &self.config);
        let mut new = Vec::new();
        let mut known = self.listeners.iter_mut().peekable();
        // Where most are known both are walked side by side; where few came they are looked up.
        let side_by_side = window.listeners.len() >= known.len() / 16;
        for (key, listener) in window.listeners.iter() {
            if side_by_side {
                while known.next_if(|(known, _)| *known < key).is_some() {}
            }
            match known.next_if(|(known, _)| side_by_side && *known == key) {
                Some((_, state)) => {
                    state.add(listener, tick, end_ns);
                    if state.is_worth_judging(config) {
                        self.watched.insert(*key);
                    }
                }
                None => new.push((key, listener)),
            }
        }
        for (key, listener) in new {
            if self.listeners.len() + self.asleep.len() >= LISTENERS_MAX + LISTENERS_SLACK {
                self.make_room();
            }
            let state = match self.listeners.entry(*key) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(place) => {
                    let mut state = self.asleep.remove(key).unwrap_or_default();
                    state.wake(self.seconds, tick);
                    place.insert(state)
                }
            };
            state.add(listener, tick, end_ns);
            if state.is_worth_judging(&self.config) {
                self.watched.insert(*key);
            }
        }
    }

    /// Hands what is told of connections in trouble to their listeners.
    fn note_troubles(&mut self, window: &Window) {
        for (key, trouble) in window.troubles.iter() {
            let known = self.listeners.get_mut(key).or_else(|| self.asleep.get_mut(key));
            if let Some(state) = known {
                state.note_trouble(trouble, window.end_ns);
                self.watched.insert(*key);
            }
        }
    }

    /// Ends ticks and seconds up to `start_ns`; a gap of more than a few seconds is skipped in one step.
    fn catch_up(&mut self, start_ns: u64, changes: &mut Vec<Change>) {
        if self.now_ns == 0 {
            self.now_ns = start_ns;
            return;
        }
        while self.now_ns <= start_ns {
            let missing_s = (start_ns - self.now_ns) / (TICKS as u64 * TICK_NS);
            if missing_s > u64::from(self.config.close_after_s) + 1 && !self.has_incidents() {
                self.end_second(changes);
                self.skip(missing_s);
                self.now_ns = start_ns;
                return;
            }
            self.next_tick(changes);
            if self.now_ns == start_ns {
                return;
            }
            self.now_ns += TICK_NS;
            self.judge(changes);
        }
    }

    /// Forgets what the sums hold: a time without packets was skipped.
    fn skip(&mut self, seconds: u64) {
        let all = self.listeners.values_mut().chain(self.asleep.values_mut());
        all.for_each(|listener| listener.skip(seconds, self.seconds, self.tick));
        self.scopes.skip();
        self.model.skip(seconds);
    }

    /// Begins a tick at `now_ns`; ends the second before if the clock says so.
    fn next_tick(&mut self, changes: &mut Vec<Change>) {
        self.tick += 1;
        if !self.now_ns.is_multiple_of(TICKS as u64 * TICK_NS) {
            return;
        }
        self.seconds += 1;
        let now_ns = self.now_ns;
        let mut silent = Vec::new();
        for (key, listener) in &mut self.listeners {
            if listener.is_silent(now_ns) {
                silent.push(*key);
                continue;
            }
            listener.end_second(&self.config, self.seconds, self.tick, now_ns);
            if listener.is_worth_judging(&self.config) || listener.is_worth_a_long_look(now_ns) {
                self.watched.insert(*key);
            }
        }
        for key in silent {
            self.asleep.extend(self.listeners.remove_entry(&key));
        }
        self.scopes.end_second(self.now_ns);
        self.end_second(changes);
    }

    fn end_second(&mut self, changes: &mut Vec<Change>) {
        let mut window = std::mem::take(&mut self.second);
        if window.end_ns == 0 {
            return;
        }
        window.host = self.local_host.take();
        let mut changed = Vec::new();
        let seen = self.sight.end_second(self.now_ns, &mut self.incident_numbers, &mut changed);
        for key in self.watched.tidied() {
            let incidents = self.listeners.get_mut(key).map(|listener| listener.incidents.iter_mut());
            incidents.into_iter().flatten().for_each(|incident| incident.seen.merge(&seen));
        }
        let others = self.scopes.incidents_mut().chain(self.local_host.incidents_mut());
        others.for_each(|incident| incident.seen.merge(&seen));
        if let Some(host) = &window.host {
            self.model.note_host(HostShares::of(host));
        }
        self.graph.add_second(&window);
        let learning = if self.has_incidents() { Learning::Waits } else { Learning::Goes };
        let outlook = self.model.end_second(&self.config, &window, &seen, learning);
        self.run.outlook.outlook.merge(&outlook);
        self.run.outlook.tally = self.model.tally();
        if window.totals.get(Counter::Packets) != 0 || self.tells_idle_seconds {
            self.run.syn_per_s_max = self.run.syn_per_s_max.max(window.totals.get(Counter::Syn));
            changes.push(Change::Second(Box::new(Second { window, seen, outlook })));
        }
        self.tell(changed, changes);
    }

    fn judge(&mut self, changes: &mut Vec<Change>) {
        let mut changed = Vec::new();
        let flooded = self.local_host.is_due()
            && self.open_incidents().any(|incident| LocalHost::is_flood(incident.peak.kind));
        self.sight.judge(self.now_ns, &mut changed);
        let blindness = self.sight.blindness();
        let judging = Judging {
            config: &self.config,
            answers_visible: self.answers_visible,
            whole_packets: self.run.truth.is_some(),
            now_ns: self.now_ns,
            sight: &self.sight,
            blindness: blindness.as_deref(),
        };
        let mut changing = Changing { numbers: &mut self.incident_numbers, changed: &mut changed };
        self.scopes.judge_wide(&judging, self.tick, &mut changing);
        self.watched.retain(|key| {
            let Some(listener) = self.listeners.get_mut(key) else { return false };
            listener.catch_up(self.tick);
            let covered = self.scopes.is_flooded(key.address);
            listener.judge(&judging, (*key, covered), &mut changing);
            !listener.incidents.is_empty() || listener.is_worth_judging(&self.config)
        });
        self.scopes.judge(&judging, self.tick, &mut changing);
        self.local_host.judge(&judging, flooded, &mut changing);
        self.tell(changed, changes);
    }

    fn tell(&mut self, mut changed: Vec<Incident>, changes: &mut Vec<Change>) {
        self.relate(&mut changed);
        for mut incident in changed {
            // What the incident itself has are whole seconds.
            incident.seen.merge(self.sight.running());
            self.local_host.join(&mut incident);
            incident.causes = cause::rank(&incident, HostCounts::of(incident.host.as_deref()));
            self.graph.note_incident(&incident);
            if incident.closed_ns.is_some() {
                let known = self.run.incidents.iter_mut().rfind(|known| known.id == incident.id);
                if let Some(known) = known {
                    *known = incident.clone();
                } else if self.run.incidents.len() < INCIDENTS_MAX {
                    self.run.incidents.push(incident.clone());
                } else {
                    self.run.incidents_dropped += 1;
                }
            }
            changes.push(Change::Incident(Box::new(incident)));
        }
    }

    fn has_incidents(&self) -> bool {
        self.open_incidents().next().is_some()
    }

    /// Packet time jumped back to `start_ns`: what is open closes, what was learnt stays.
    pub fn jump_back(&mut self, start_ns: u64, changes: &mut Vec<Change>) {
        self.close_all(changes);
        self.run.time_jumps_back += 1;
        self.skip(0);
        self.now_ns = start_ns;
    }

    /// The capture is over: gives attempts that are too young to be judged the time they would have had. Where an
    /// incident is open already there is nothing to find out.
    pub fn settle(&mut self, changes: &mut Vec<Change>) {
        for _ in 0..GRACE_UNKNOWN_TICKS {
            if self.has_incidents() {
                return;
            }
            self.next_tick(changes);
            self.now_ns += TICK_NS;
            self.scopes.watch_all(self.now_ns);
            self.judge(changes);
        }
    }

    /// Ends the run: the second being gathered, and incidents that are still open.
    pub fn finish(&mut self, changes: &mut Vec<Change>) {
        self.close_all(changes);
    }

    fn close_all(&mut self, changes: &mut Vec<Change>) {
        self.end_second(changes);
        let mut changed = Vec::new();
        self.sight.close(self.now_ns, &mut changed);
        for listener in self.listeners.values_mut() {
            listener.incidents.close_all(self.now_ns, &mut changed);
        }
        self.scopes.close_all(self.now_ns, &mut changed);
        self.local_host.close_all(self.now_ns, &mut changed);
        self.tell(changed, changes);
    }

    /// Counts from before the first window: in the run's sums, and in no listener's.
    pub fn add_before(&mut self, totals: &Counters) {
        self.run.totals.merge(totals);
    }

    /// What asks what, with the incidents so far.
    pub const fn graph(&self) -> &Graph {
        &self.graph
    }

    /// What the host we run on counted since the start, live.
    pub fn host(&self) -> Option<&HostInterval> {
        self.local_host.run()
    }

    /// Sums since the start.
    pub const fn run(&self) -> &Run {
        &self.run
    }

    /// Incidents that are open now.
    pub fn open_incidents(&self) -> impl Iterator<Item = &Incident> {
        let watched = self.watched.iter().filter_map(|key| self.listeners.get(key));
        watched
            .flat_map(|listener| listener.incidents.iter())
            .chain(self.scopes.incidents())
            .chain(self.local_host.incidents())
            .chain(&self.sight.incident)
    }
}
