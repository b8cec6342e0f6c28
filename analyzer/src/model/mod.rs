//! The feature model (DESIGN: section 5) over all traffic, once a second: features, health by layer, and a forecast.
//!
//! A feature is `None` where it was not measured, never zero: without payload there is no loss ratio, without a host's
//! counters no share of its capacity, and of fewer than twenty segments or attempts neither. Each is over its own time
//! ([`Feature`]); [`health`] and [`forecast`] read them.

pub mod features;
pub mod forecast;
pub mod health;
mod memory;
#[cfg(test)]
mod tests;

use serde_json::{Value, json};

use crate::config::Config;
use crate::local_host::HostInterval;
use crate::quality::Interval;
use crate::window::Window;
pub use features::{Feature, Features};
use forecast::{Forecast, Tally};
use health::Health;
use memory::Memory;

/// What only a host itself knows, where somebody reads it (procfs, live on the host); `None`: unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct HostShares {
    /// Open connections as a share of what the host can have.
    pub tcp_connections: Option<f64>,
    /// Free memory that is in pieces too small, as a share (`buddyinfo`).
    pub mem_fragmentation: Option<f64>,
}

impl HostShares {
    /// Of a second's counts.
    pub fn of(host: &HostInterval) -> Self {
        Self {
            tcp_connections: host.connections.map(|connections| connections.share()),
            mem_fragmentation: host.gauges.mem_fragmentation(),
        }
    }
}

/// All of a second.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outlook {
    /// The features at the second's end.
    pub features: Features,
    /// Their health.
    pub health: Health,
    /// Chance that the next second is healthy, 0 to 1; `None` before two seconds are known.
    pub healthy_next: Option<f64>,
}

impl Outlook {
    /// Adds a later second: the newest features, the worst health.
    pub fn merge(&mut self, later: &Self) {
        let worse = later.health.score.is_some_and(|new| self.health.score.is_none_or(|old| new <= old));
        if worse {
            self.health = later.health.clone();
        }
        self.features = later.features;
        self.healthy_next = later.healthy_next;
    }

    /// The fields `features`, `health` and `forecast`.
    pub fn fields(&self) -> [(&'static str, Value); 3] {
        [
            ("features", self.features.json()),
            ("health", self.health.json()),
            ("forecast", json!({ "healthy_next": self.healthy_next })),
        ]
    }
}

/// Whether what is usual may be learnt from a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Learning {
    /// No incident is open.
    Goes,
    /// One is: what is measured now is not usual.
    Waits,
}

/// The model's memory.
#[derive(Debug, Default)]
pub(crate) struct Model {
    memory: Memory,
    forecast: Forecast,
    host: HostShares,
}

/// The model over a whole run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunOutlook {
    /// Newest features and worst health.
    pub outlook: Outlook,
    /// How good the forecasts were.
    pub tally: Tally,
}

impl RunOutlook {
    /// The summary's object `forecast`.
    pub fn forecast(&self) -> Value {
        json!({
            "healthy_next": self.outlook.healthy_next,
            "seconds": self.tally.seconds,
            "brier": self.tally.brier(),
            "brier_of_persistence": self.tally.brier_of_persistence(),
        })
    }
}

impl Model {
    pub(crate) const fn note_host(&mut self, host: HostShares) {
        self.host = host;
    }

    /// A second is over.
    pub(crate) fn end_second(
        &mut self,
        config: &Config,
        window: &Window,
        seen: &Interval,
        learning: Learning,
    ) -> Outlook {
        let features = self.memory.end_second(window, seen, self.host, learning);
        let health = Health::of(config, &features);
        let healthy_next = self.forecast.end_second(config, &features, &health);
        Outlook { features, health, healthy_next }
    }

    /// So many seconds without a packet passed unseen.
    pub(crate) fn skip(&mut self, seconds: u64) {
        self.memory.skip(seconds);
        self.forecast.skip();
    }

    pub(crate) const fn tally(&self) -> Tally {
        self.forecast.tally()
    }
}
