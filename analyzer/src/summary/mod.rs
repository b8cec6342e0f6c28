//! The numbers of a whole run, as the output contract has them. What was not measured is `null`, never zero.

mod rtt;
mod tcp;

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Serialize;
use serde_json::{Map, Value};
use tidegauge_ebpf::counter::{Counter, Counters};
use tidegauge_ebpf::histogram::Histogram;
use tidegauge_ebpf::target::TargetCounter;

use crate::account::RoundTrips;
use crate::cost::Cost;
use crate::engine::Run;
use crate::feature::ratio;
use crate::keyed::Keyed;
use crate::local_host::HostInterval;
use crate::observation::{Observation, Observations};
use crate::output::histograms;
use crate::quality::{Interval, Quality, SourceLosses};
use crate::time::timestamp;
use crate::window::TargetWindow;

pub use rtt::{PlaceRttSummary, RttSummary};
pub use tcp::Tcp;

/// Sources named in a summary.
const TOP_SOURCES: usize = 10;

/// The whole run.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// Packets on the wire.
    pub packets: u64,
    /// Bytes on the wire.
    pub bytes: u64,
    /// Merged frames among them, counted as the segments they stand for.
    pub super_frames: u64,
    /// From the first to the last packet.
    pub duration_s: f64,
    /// First packet, RFC 3339; `null` where there was none.
    pub first_ts: Option<String>,
    /// Last packet.
    pub last_ts: Option<String>,
    /// What was not seen.
    pub quality: Quality,
    /// What is an estimate and how good, where not all flows were followed.
    pub sampling: Option<Value>,
    /// Packets by network and transport protocol.
    pub protocols: BTreeMap<&'static str, u64>,
    /// TCP facts and judgements.
    pub tcp: Tcp,
    /// Handshake truth.
    pub handshake: HandshakeSummary,
    /// Receive windows.
    pub rwnd_bytes: RwndSummary,
    /// Time per MiB.
    pub transfer_1mib_ms: Quantiles,
    /// Who asked.
    pub sources: SourcesSummary,
    /// Round trips.
    pub rtt_ms: RttSummary,
    /// Round trips and receive windows in buckets; its form is [`crate::output::histograms`]'s.
    pub histograms: Value,
    /// Where packets went that are not TCP, most packets first.
    pub targets: Vec<TargetSummary>,
    /// Incidents by kind.
    pub incidents: BTreeMap<&'static str, u64>,
    /// What was seen and is no incident, the heaviest first; no alarm.
    pub observations: Vec<Observation>,
    /// Observations for which there was no room.
    pub observations_left_out: u64,
    /// What the tables had to give up or refuse.
    pub tables: BTreeMap<&'static str, u64>,
    /// Packet time that did not run forwards: frames counted in a later tick than their own, and jumps back.
    pub time: BTreeMap<&'static str, u64>,
    /// The feature model at the run's end; unknown is `null`.
    pub features: Value,
    /// The worst health of a second.
    pub health: Value,
    /// The chance that the second after the run is healthy, and how good such forecasts were.
    pub forecast: Value,
    /// What the host counted of its own stack, live.
    pub host: Option<Value>,
    /// What was read above TCP, UDP and ICMP, by protocol; nothing where the source does not show whole packets.
    #[serde(flatten)]
    pub layers: Map<String, Value>,
    /// What the run cost, as far as it was measured; its form is [`Cost::json`]'s.
    #[serde(skip)]
    pub cost: Option<Cost>,
}

/// Handshake truth of the run.
#[derive(Clone, Debug, Serialize)]
#[expect(missing_docs, reason = "the field names are the output contract's, DESIGN section 6")]
pub struct HandshakeSummary {
    pub attempted: u64,
    pub answered: u64,
    pub refused: u64,
    pub completed: u64,
    /// SYN and the initiator's ACK seen, the SYN-ACK not.
    pub completed_one_sided: u64,
    pub timed_out: u64,
    pub half_open: u64,
    pub aborted: u64,
    pub syn_per_s_max: u64,
}

/// Receive windows of the run.
#[derive(Clone, Debug, Serialize)]
pub struct RwndSummary {
    /// Windows of known scale.
    pub count: u64,
    /// Of these, those below 10,000 bytes.
    pub low: u64,
    /// `low / count`.
    pub low_share: Option<f64>,
    /// Windows of unknown scale, in no quantile.
    pub scale_unknown: u64,
    /// First percentile, bytes.
    pub p1: Option<u32>,
    /// Median, bytes.
    pub p50: Option<u32>,
}

/// Quantiles of times in a half-octave histogram: lower bounds, right within 1.5 x. A value below the clock's
/// resolution is unknown.
#[derive(Clone, Debug, Serialize)]
#[expect(missing_docs, reason = "the field names are the quantiles")]
pub struct Quantiles {
    pub count: u64,
    pub resolution_ms: f64,
    pub p50: Option<f64>,
    pub p90: Option<f64>,
    pub p99: Option<f64>,
    pub max: Option<f64>,
}

/// What went to one address and is not TCP.
#[derive(Clone, Debug, Serialize)]
pub struct TargetSummary {
    /// Its address.
    pub addr: String,
    /// By [`TargetCounter`].
    #[serde(flatten)]
    pub counts: BTreeMap<&'static str, u64>,
    /// UDP source port of most datagrams; what is reflected has one.
    pub source_port: u16,
    /// UDP destination port of most datagrams.
    pub destination_port: u16,
    /// Classes of four TTLs among its packets: many places send from many.
    pub ttl_classes: u32,
}

impl TargetSummary {
    /// A target's line.
    pub fn of(address: IpAddr, target: &TargetWindow) -> Self {
        Self {
            addr: address.to_string(),
            counts: TargetCounter::ALL.iter().map(|counter| (counter.name(), target.get(*counter))).collect(),
            source_port: target.source_port.port,
            destination_port: target.destination_port.port,
            ttl_classes: target.ttl_classes.count_ones(),
        }
    }
}

/// Targets with most packets, named in windows and summaries.
const TOP_TARGETS: usize = 10;

/// The targets with most packets.
pub fn top_targets(targets: &Keyed<IpAddr, TargetWindow>) -> Vec<TargetSummary> {
    let mut busiest: Vec<_> = targets.iter().collect();
    let order = |a: &(&IpAddr, &TargetWindow), b: &(&IpAddr, &TargetWindow)| {
        b.1.packets().cmp(&a.1.packets()).then(a.0.cmp(b.0))
    };
    if busiest.len() > TOP_TARGETS {
        busiest.select_nth_unstable_by(TOP_TARGETS, order);
        busiest.truncate(TOP_TARGETS);
    }
    busiest.sort_unstable_by(order);
    busiest.into_iter().map(|(address, target)| TargetSummary::of(*address, target)).collect()
}

/// Who made attempts.
#[derive(Clone, Debug, Serialize)]
pub struct SourcesSummary {
    /// Distinct sources, about (9 % standard error); a source at two listeners counts twice.
    pub distinct: u64,
    /// Busiest: most attempts in one second, at least.
    pub top: Vec<TopSource>,
}

/// One busy source.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TopSource {
    /// Its address.
    pub addr: String,
    /// Attempts per second, at least.
    pub syn_per_s: u32,
}

/// The busiest of `sources`.
pub fn top_sources<'a>(sources: impl Iterator<Item = (&'a IpAddr, &'a u32)>, most: usize) -> Vec<TopSource> {
    let mut sources: Vec<_> = sources.map(|(address, attempts)| (*address, *attempts)).collect();
    crate::window::sort_sources(&mut sources);
    sources.truncate(most);
    sources
        .into_iter()
        .map(|(address, syn_per_s)| TopSource { addr: address.to_string(), syn_per_s })
        .collect()
}

/// The run's extent, which its source knows.
#[derive(Clone, Copy, Debug, Default)]
pub struct Span {
    /// First and last packet (live: start and end), nanoseconds since the epoch.
    pub first_last_ns: Option<(u64, u64)>,
    /// Attempts too young to have timed out.
    pub waiting_attempts: u64,
    /// Resolution of the source's clock, microseconds.
    pub resolution_us: u32,
    /// Frames counted in a later tick than their own.
    pub late_frames: u64,
}

impl Summary {
    /// The summary of a finished run.
    pub fn of(run: &Run, losses: &SourceLosses, span: &Span) -> Self {
        let (first_last_ns, resolution_us) = (span.first_last_ns, span.resolution_us);
        let totals = &run.totals;
        let length_ns = first_last_ns.map_or(0, |(first, last)| last - first);
        let count = |counter| totals.get(counter);
        let (first, last) = (first_last_ns.map(|(first, _)| first), first_last_ns.map(|(_, last)| last));
        let mut incidents = BTreeMap::new();
        for incident in &run.incidents {
            *incidents.entry(incident.peak.kind.name()).or_default() += 1;
        }
        Self {
            packets: count(Counter::Packets),
            bytes: count(Counter::Bytes),
            super_frames: count(Counter::SuperFrames),
            duration_s: length_ns as f64 / 1e9,
            first_ts: first.map(timestamp),
            last_ts: last.map(timestamp),
            quality: Quality::of(&Interval::of_run(run, losses, length_ns), losses),
            sampling: run.sampling.map(|sampling| sampling.json(totals)),
            protocols: by_name(
                totals,
                &[
                    Counter::Arp,
                    Counter::Ipv4,
                    Counter::Ipv6,
                    Counter::Vlan,
                    Counter::Tunnelled,
                    Counter::Fragments,
                    Counter::Udp,
                    Counter::Icmp,
                    Counter::OtherTransport,
                    Counter::SuperFrames,
                ],
            ),
            tcp: Tcp::of(totals, run.truth.as_deref()),
            handshake: HandshakeSummary::of(run, span.waiting_attempts),
            rwnd_bytes: RwndSummary::of(totals),
            transfer_1mib_ms: Quantiles::of_us(&totals.transfer_us, resolution_us),
            sources: SourcesSummary {
                distinct: run.distinct_sources.estimate(),
                top: top_sources(run.top_sources.iter(), TOP_SOURCES),
            },
            rtt_ms: RttSummary::of(totals, run.truth.as_deref()),
            histograms: histograms(totals, run.truth.as_deref()),
            targets: top_targets(&run.targets),
            incidents,
            observations: Vec::new(),
            observations_left_out: 0,
            features: run.outlook.outlook.features.json(),
            health: run.outlook.outlook.health.json(),
            forecast: run.outlook.forecast(),
            tables: tables_of_run(run),
            layers: run.truth.as_ref().map(|truth| truth.layers.json()).unwrap_or_default(),
            cost: None,
            host: None,
            time: BTreeMap::from([("late_frames", span.late_frames), ("jumps_back", run.time_jumps_back)]),
        }
    }
}

impl Summary {
    /// With what the host counted, live.
    pub fn with_host(mut self, host: Option<&HostInterval>) -> Self {
        self.host = host.map(crate::output::host::sums);
        self
    }

    /// With what was seen and is no incident.
    pub fn with_observations(mut self, observations: Observations) -> Self {
        (self.observations, self.observations_left_out) = (observations.told, observations.left_out);
        self
    }

    /// With round trips by listener and by network.
    pub fn with_round_trips(mut self, round_trips: &RoundTrips) -> Self {
        self.rtt_ms.add_places(round_trips);
        self
    }
}

/// What the tables took in, gave up and refused.
pub fn tables(totals: &Counters) -> BTreeMap<&'static str, u64> {
    by_name(
        totals,
        &[
            Counter::AttemptsLost,
            Counter::FlowsAdmitted,
            Counter::FlowsEvicted,
            Counter::FlowsRefused,
            Counter::ListenersEvicted,
            Counter::ListenersRefused,
            Counter::TargetsEvicted,
            Counter::TargetsRefused,
        ],
    )
}

fn tables_of_run(run: &Run) -> BTreeMap<&'static str, u64> {
    let mut tables = tables(&run.totals);
    tables.insert("hosts_refused", run.refused.hosts);
    tables.insert("actors_refused", run.refused.actors);
    tables.insert("hosts_forgotten", run.hosts_forgotten);
    tables.insert("listeners_forgotten", run.listeners_forgotten);
    tables.insert("sources_forgotten", run.sources_forgotten);
    tables.insert("targets_forgotten", run.targets_forgotten);
    tables.insert("incidents_dropped", run.incidents_dropped);
    tables.insert("incidents_unrelated", run.incidents_unrelated);
    if let Some(truth) = &run.truth {
        tables.insert("stories_refused", truth.misfits.stories_refused);
        tables.insert("flows_told_early", truth.misfits.told_early);
        tables.insert("watches_given_up", truth.misfits.watches_given_up);
    }
    tables
}

fn by_name(totals: &Counters, counters: &[Counter]) -> BTreeMap<&'static str, u64> {
    counters.iter().map(|counter| (counter.name(), totals.get(*counter))).collect()
}

impl HandshakeSummary {
    fn of(run: &Run, waiting: u64) -> Self {
        let count = |counter| run.totals.get(counter);
        let (attempted, answered) = (count(Counter::Attempted), count(Counter::Answered));
        let refused = count(Counter::Refused);
        // Those that were both are to be taken away once.
        let refused_only = refused.saturating_sub(count(Counter::RefusedAnswered));
        let one_sided = count(Counter::CompletedOneSided);
        Self {
            attempted,
            answered,
            refused,
            completed: count(Counter::Completed),
            completed_one_sided: one_sided,
            timed_out: attempted.saturating_sub(answered + refused_only + one_sided + waiting),
            half_open: answered.saturating_sub(count(Counter::Completed)),
            aborted: count(Counter::Aborted),
            syn_per_s_max: run.syn_per_s_max,
        }
    }
}

impl RwndSummary {
    /// The windows of any totals.
    pub fn of(totals: &Counters) -> Self {
        let (count, low) = (totals.get(Counter::RwndSamples), totals.get(Counter::RwndLow));
        Self {
            count,
            low,
            low_share: ratio(low, count),
            scale_unknown: totals.get(Counter::RwndScaleUnknown),
            p1: totals.rwnd_bytes.quantile(0.01),
            p50: totals.rwnd_bytes.quantile(0.5),
        }
    }
}

impl Quantiles {
    /// Quantiles in milliseconds of a histogram of microseconds, taken by a clock of this resolution.
    pub fn of_us(histogram: &Histogram, resolution_us: u32) -> Self {
        let known = |value: &u32| *value >= resolution_us;
        let quantile = |q| histogram.quantile(q).filter(known).map(|value| f64::from(value) / 1_000.0);
        Self {
            count: histogram.count(),
            resolution_ms: f64::from(resolution_us) / 1_000.0,
            p50: quantile(0.5),
            p90: quantile(0.9),
            p99: quantile(0.99),
            max: quantile(1.0),
        }
    }
}
