//! What a whole run adds up to.

use std::collections::BTreeMap;
use std::net::IpAddr;

use tidegauge_ebpf::counter::Counters;

use crate::distinct::Distinct;
use crate::incident::Incident;
use crate::keyed::Keyed;
use crate::model::RunOutlook;
use crate::quality::Lag;
use crate::sample::Sampling;
use crate::truth::Truth;
use crate::window::{Refused, TargetWindow};

/// Sums over the whole run, for the summary and the report.
#[derive(Clone, Debug, Default)]
pub struct Run {
    /// All counters.
    pub totals: Counters,
    /// Most SYNs in one whole second of the clock.
    pub syn_per_s_max: u64,
    /// Sources of attempts, all listeners together.
    pub distinct_sources: Distinct,
    /// Busiest sources: most attempts in one second, at least.
    pub top_sources: BTreeMap<IpAddr, u32>,
    /// Where packets went that are not TCP.
    pub targets: Keyed<IpAddr, TargetWindow>,
    /// Targets that no longer fit.
    pub targets_forgotten: u64,
    /// Incidents that closed, oldest first.
    pub incidents: Vec<Incident>,
    /// Closed incidents that no longer fit the list.
    pub incidents_dropped: u64,
    /// Incidents of which nobody asked whose consequence they are: too many opened at once.
    pub incidents_unrelated: u64,
    /// Sources that no longer fit the list of the busiest.
    pub sources_forgotten: u64,
    /// Listeners forgotten for want of room.
    pub listeners_forgotten: u64,
    /// What found no row in the tables of hosts and of who asks.
    pub refused: Refused,
    /// Hosts, networks, paths and who asks that were forgotten for want of room.
    pub hosts_forgotten: u64,
    /// Times at which packet time jumped back.
    pub time_jumps_back: u64,
    /// How late ticks were handled; `None` for capture files.
    pub lag: Option<Lag>,
    /// What sampling did to the totals, where flows were sampled.
    pub sampling: Option<Sampling>,
    /// What only sources of whole packets tell.
    pub truth: Option<Box<Truth>>,
    /// The feature model: newest features, worst health, and how good its forecasts were.
    pub outlook: RunOutlook,
}
