//! Evidence for detectors' tests.

use std::net::IpAddr;

use tidegauge_ebpf::listener::ListenerCounter;

use super::{Evidence, Regulars};
use crate::baseline::Baseline;
use crate::config::Config;
use crate::fact::{Fact, Facts};
use crate::feature::{Handshakes, Sliding, Sources};
use crate::history::History;
use crate::path::Trouble;
use crate::round_trip_time::RoundTripTime;
use crate::window::{ListenerKey, ListenerWindow};

/// A listener whose windows a test writes.
pub(super) struct Listener {
    pub(super) config: Config,
    pub(super) key: ListenerKey,
    pub(super) sliding: Sliding,
    pub(super) baseline: Baseline,
    pub(super) sources: Sources,
    pub(super) history: History,
    pub(super) round_trip_time: RoundTripTime,
    pub(super) trouble: Option<Trouble>,
    regulars: Regulars,
    /// Not added yet.
    window: ListenerWindow,
}

impl Default for Listener {
    fn default() -> Self {
        Self {
            config: Config::default(),
            key: ListenerKey { address: IpAddr::from([192, 0, 2, 80]), port: 443 },
            sliding: Sliding::default(),
            baseline: Baseline::default(),
            sources: Sources::default(),
            history: History::default(),
            round_trip_time: RoundTripTime::default(),
            trouble: None,
            regulars: Regulars::default(),
            window: ListenerWindow::default(),
        }
    }
}

impl Listener {
    /// Counts more in the window that is being written.
    pub(super) fn count(&mut self, counter: ListenerCounter, more: u64) {
        self.window.counters[counter as usize] += more;
    }

    /// So many packets with a fact.
    pub(super) fn facts(&mut self, fact: Fact, packets: u32) {
        let mut facts = Facts::NONE;
        facts.set(fact);
        (0..packets).for_each(|_| self.window.facts.count(facts));
    }

    /// Adds the window that was written.
    pub(super) fn add(&mut self) {
        let window = std::mem::take(&mut self.window);
        self.sliding.add(&window);
        self.history.add(&window);
    }

    /// The same, and lets so many seconds pass.
    pub(super) fn pass(&mut self, seconds: u64) {
        self.add();
        (0..seconds).for_each(|_| {
            self.history.end_second();
            self.sliding.advance_second();
        });
    }

    pub(super) fn evidence(&self) -> Evidence<'_> {
        Evidence {
            config: &self.config,
            listener: self.key,
            sliding: &self.sliding,
            handshakes: Handshakes::default(),
            asked: &self.baseline,
            completed: &self.baseline,
            requests: &self.baseline,
            sources: &self.sources,
            low_window_seconds: 0,
            answers_visible: true,
            whole_packets: true,
            history: &self.history,
            open: 0,
            heads: 0,
            logins: &self.baseline,
            busiest: &[],
            regulars: &self.regulars,
            requesters: &[],
            regular_requesters: &self.regulars,
            served: true,
            round_trip_time: &self.round_trip_time,
            trouble: self.trouble.as_ref(),
        }
    }
}
