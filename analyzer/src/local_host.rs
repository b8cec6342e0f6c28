//! The host we run on, live: what it counts of its own network stack, once a second, and the incidents that come of it.
//!
//! Bounded: as many listeners as a sample has ([`tidegauge_capture::host::queues::QUEUES_MAX`]); one with an open incident
//! stays until that closes. Nothing here is known of capture files. Called by [`crate::engine`].

use std::collections::BTreeMap;

use tidegauge_capture::host::{Counts, Gauges, HostCounter, Limits, ListenQueue, Sample};

use crate::config::Config;
use crate::detect::{CapacityEvidence, capacity_findings};
use crate::incident::{Incident, Kind, Target};
use crate::open_incidents::{Changing, Judging, OpenIncidents};
use crate::window::ListenerKey;

/// Kinds that fill queues and backlogs: what is full beside them is their doing.
const FLOODS: [Kind; 10] = [
    Kind::SynFlood,
    Kind::SynAckReflection,
    Kind::AckFlood,
    Kind::RstFlood,
    Kind::FinFlood,
    Kind::UdpFlood,
    Kind::UdpAmplification,
    Kind::IcmpFlood,
    Kind::FragmentFlood,
    Kind::ProtocolFlood,
];

/// What the host counted in an interval, and how things stood at its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostInterval {
    /// Its length, nanoseconds.
    pub length_ns: u64,
    /// What was counted in it.
    pub counts: Counts,
    /// At its end.
    pub gauges: Gauges,
    /// At its end.
    pub limits: Limits,
    /// Accept queues in which connections wait, the fullest first; `None` where the kernel does not tell.
    pub queues: Option<Vec<ListenQueue>>,
    /// Open connections against what there may be, at most in the interval; `None` where nothing is known of either.
    pub connections: Option<Connections>,
    /// Seconds in a row, up to its end, for which memory was in small pieces (`mem_fragmentation_share`).
    pub fragmented_s: u32,
    /// Lines of the kernel's files that could not be read.
    pub bad_lines: u64,
}

/// The resource that connections fill most: feature `tcp_connections` of the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connections {
    /// What bounds them: `configured`, `conntrack`, `files`, `orphans` or `memory`.
    pub by: &'static str,
    /// In use.
    pub used: u64,
    /// What there may be.
    pub capacity: u64,
}

impl Connections {
    /// In use per what there may be.
    pub fn share(&self) -> f64 {
        self.used as f64 / self.capacity.max(1) as f64
    }

    /// The fullest of what bounds connections here.
    fn of(gauges: &Gauges, limits: &Limits, config: &Config) -> Option<Self> {
        let memory = limits.tcp_mem_pages.map(|[_, _, most]| most);
        let bounds = [
            ("configured", gauges.tcp_inuse, Some(config.tcp_connections_max)),
            ("conntrack", gauges.conntrack, limits.conntrack),
            ("files", gauges.files, limits.files),
            ("orphans", gauges.tcp_orphan, limits.tcp_max_orphans),
            ("memory", gauges.tcp_mem_pages, memory),
        ];
        let known = bounds.into_iter().filter_map(|(by, used, capacity)| {
            Some(Self { by, used: used?, capacity: capacity.filter(|capacity| *capacity != 0)? })
        });
        known.max_by(|a, b| a.share().total_cmp(&b.share()))
    }
}

impl HostInterval {
    /// Adds a later interval.
    pub fn merge(&mut self, later: &Self) {
        self.length_ns += later.length_ns;
        self.counts.merge(&later.counts);
        (self.gauges, self.limits) = (later.gauges, later.limits);
        self.queues.clone_from(&later.queues);
        let fullest = self.connections.into_iter().chain(later.connections);
        self.connections = fullest.max_by(|a, b| a.share().total_cmp(&b.share()));
        self.fragmented_s = later.fragmented_s;
        self.bad_lines += later.bad_lines;
    }

    /// A counter; 0 where the host does not tell.
    pub fn count(&self, counter: HostCounter) -> u64 {
        self.counts.get(counter).unwrap_or_default()
    }

    /// A counter per second; 0 where the host does not tell.
    pub fn per_s(&self, counter: HostCounter) -> f64 {
        self.count(counter) as f64 * 1e9 / self.length_ns.max(1) as f64
    }
}

/// Seconds in a row for which something held, up to the last look.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lasting {
    pub(crate) overflow: u32,
    pub(crate) crowded: u32,
    pub(crate) softnet: u32,
    pub(crate) memory: u32,
    pub(crate) fragmented: u32,
    /// Listeners whose accept queue was full.
    pub(crate) full: BTreeMap<ListenerKey, u32>,
}

impl Lasting {
    fn note(&mut self, second: &HostInterval, config: &Config) {
        let next = |before: u32, holds: bool| if holds { before.saturating_add(1) } else { 0 };
        let crowded =
            second.connections.is_some_and(|connections| connections.share() > config.tcp_connections_share);
        let dropped = second.per_s(HostCounter::SoftnetDropped);
        let offered = dropped + second.per_s(HostCounter::SoftnetProcessed);
        let softnet = dropped >= config.softnet_drops_per_s && dropped > config.softnet_drop_share * offered;
        let overflows = second.per_s(HostCounter::ListenOverflows);
        let pieces = second.gauges.mem_fragmentation();
        self.overflow = next(self.overflow, overflows >= config.listen_overflows_per_s);
        self.crowded = next(self.crowded, crowded);
        self.softnet = next(self.softnet, softnet);
        self.memory = next(self.memory, second.count(HostCounter::AbortOnMemory) != 0);
        self.fragmented =
            next(self.fragmented, pieces.is_some_and(|share| share > config.mem_fragmentation_share));
        let full = second.queues.iter().flatten().filter(|queue| queue.is_full());
        let full = full.map(|queue| ListenerKey { address: queue.address, port: queue.port });
        let before = std::mem::take(&mut self.full);
        self.full = full.map(|key| (key, before.get(&key).copied().unwrap_or_default() + 1)).collect();
    }
}

/// Everything known of the host.
#[derive(Debug, Default)]
pub(crate) struct LocalHost {
    last: Option<(Sample, u64)>,
    /// The newest second, until it was judged.
    second: Option<HostInterval>,
    /// Of the engine's second that is being gathered.
    gathering: Option<Box<HostInterval>>,
    /// Since the start.
    run: Option<Box<HostInterval>>,
    lasting: Lasting,
    /// What was counted up to when an incident opened, by its name.
    before: BTreeMap<String, Counts>,
    own: OpenIncidents,
    listeners: BTreeMap<ListenerKey, OpenIncidents>,
}

impl LocalHost {
    /// Takes a look at the host, at `now_ns`.
    pub(crate) fn note(&mut self, sample: Sample, now_ns: u64, config: &Config) {
        let Some((before, then_ns)) = self.last.replace((sample, now_ns)) else { return };
        let Some((sample, _)) = &self.last else { return };
        let waiting = |queue: &&ListenQueue| queue.waiting != 0;
        let queues = sample.queues.as_ref();
        let mut second = HostInterval {
            length_ns: now_ns.saturating_sub(then_ns),
            counts: sample.counts.since(&before.counts),
            gauges: sample.gauges,
            limits: sample.limits,
            queues: queues.map(|queues| queues.listeners.iter().filter(waiting).copied().collect()),
            connections: Connections::of(&sample.gauges, &sample.limits, config),
            fragmented_s: 0,
            bad_lines: sample.bad_lines,
        };
        self.lasting.note(&second, config);
        second.fragmented_s = self.lasting.fragmented;
        self.gathering.get_or_insert_default().merge(&second);
        self.run.get_or_insert_default().merge(&second);
        self.second = Some(second);
    }

    /// What was seen since this was last asked.
    pub(crate) fn take(&mut self) -> Option<Box<HostInterval>> {
        self.gathering.take()
    }

    /// Since the start.
    pub(crate) fn run(&self) -> Option<&HostInterval> {
        self.run.as_deref()
    }

    /// Whether there is a look that was not judged yet.
    pub(crate) const fn is_due(&self) -> bool {
        self.second.is_some()
    }

    /// Judges the newest look. `flooded`: a flood is open, and what is full is its doing.
    pub(crate) fn judge(&mut self, judging: &Judging<'_>, flooded: bool, changing: &mut Changing<'_>) {
        let Some(second) = self.second.take() else { return };
        let evidence =
            CapacityEvidence { config: judging.config, second: &second, lasting: &self.lasting, flooded };
        for (target, finding) in capacity_findings(&evidence) {
            let incidents = match target {
                Target::Listener(key) => self.listeners.entry(key).or_default(),
                _ => &mut self.own,
            };
            incidents.take(finding, target, judging, changing);
        }
        self.own.close_over(judging, changing);
        self.listeners.retain(|_, incidents| {
            incidents.close_over(judging, changing);
            !incidents.is_empty()
        });
    }

    /// Whether an incident of this kind says what a full queue or backlog comes of.
    pub(crate) fn is_flood(kind: Kind) -> bool {
        FLOODS.contains(&kind)
    }

    /// Puts beside an incident what the host counted since it opened.
    pub(crate) fn join(&mut self, incident: &mut Incident) {
        let (Some(run), Some((sample, _))) = (&self.run, &self.last) else { return };
        let closed = incident.closed_ns.is_some();
        let before = self.before.entry(incident.id.clone()).or_insert(run.counts);
        let mut host = (**run).clone();
        host.counts = run.counts.since(before);
        host.length_ns = incident.updated_ns.saturating_sub(incident.opened_ns);
        host.limits = sample.limits;
        if closed {
            self.before.remove(&incident.id);
        }
        if incident.peak.kind == Kind::SynFlood {
            incident.peak.cause.extend(absorbed(&host, incident));
        }
        incident.host = Some(Box::new(host));
    }

    pub(crate) fn incidents(&self) -> impl Iterator<Item = &Incident> {
        self.own.iter().chain(self.listeners.values().flat_map(OpenIncidents::iter))
    }

    pub(crate) fn incidents_mut(&mut self) -> impl Iterator<Item = &mut Incident> {
        self.own.iter_mut().chain(self.listeners.values_mut().flat_map(OpenIncidents::iter_mut))
    }

    pub(crate) fn close_all(&mut self, now_ns: u64, changed: &mut Vec<Incident>) {
        self.own.close_all(now_ns, changed);
        self.listeners.values_mut().for_each(|incidents| incidents.close_all(now_ns, changed));
    }
}

/// What became of a SYN flood at this host.
fn absorbed(host: &HostInterval, incident: &Incident) -> Option<String> {
    let sent = host.count(HostCounter::SyncookiesSent);
    let dropped = host.count(HostCounter::ReqQFullDrop);
    let completed = incident.peak.facts.iter().find(|(name, _)| *name == "completed_per_s");
    if sent != 0 && completed.is_some_and(|(_, completed)| *completed > 0.0) {
        let back = host.count(HostCounter::SyncookiesRecv);
        return Some(format!(
            "absorbed by SYN cookies: {sent} sent since it opened, {back} came back, and others still complete"
        ));
    }
    (dropped != 0).then(|| {
        format!("the half-open queue is full and SYN cookies are off: {dropped} SYNs dropped since it opened")
    })
}
