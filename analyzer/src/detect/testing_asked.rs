//! Evidence for tests of what is asked: of others by one host, and of a listener.

use std::net::IpAddr;

use tidegauge_ebpf::listener::Askers;
use tidegauge_ebpf::stamp::Stamp;

use super::{ActorEvidence, Evidence, Regulars};
use crate::baseline::Baseline;
use crate::config::Config;
use crate::distinct::Distinct;
use crate::fact::{Fact, Facts};
use crate::feature::{Handshakes, Sliding, Sources};
use crate::history::History;
use crate::incident::Finding;
use crate::incident::Target;
use crate::round_trip_time::RoundTripTime;
use crate::window::{ActorKey, ActorProtocol, ActorWindow, ListenerKey, ListenerWindow};

/// A host of the network that is asked.
pub(super) fn host(number: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, number])
}

/// These facts.
pub(super) fn facts(facts: &[Fact]) -> Facts {
    facts.iter().fold(Facts::NONE, |mut all, fact| {
        all.set(*fact);
        all
    })
}

/// What one host asks of others.
pub(super) struct Asked {
    pub(super) config: Config,
    pub(super) actor: ActorKey,
    pub(super) counts: ActorWindow,
    pub(super) hosts_lately: u64,
    pub(super) now_s: f64,
}

impl Asked {
    pub(super) fn new(protocol: ActorProtocol) -> Self {
        Self {
            config: Config::default(),
            actor: ActorKey { address: [203, 0, 113, 66].into(), protocol },
            counts: ActorWindow { began_ns: 1_000_000_000, ..ActorWindow::default() },
            hosts_lately: 0,
            now_s: 21.0,
        }
    }

    pub(super) fn judge(
        &self,
        detect: impl Fn(&ActorEvidence<'_>) -> Option<(Target, Finding)>,
    ) -> Option<(Target, Finding)> {
        detect(&ActorEvidence {
            config: &self.config,
            actor: self.actor,
            counts: &self.counts,
            hosts_lately: self.hosts_lately,
            now_ns: (self.now_s * 1e9) as u64,
        })
    }
}

/// What is asked of a listener.
#[derive(Default)]
pub(super) struct Heard {
    pub(super) config: Config,
    pub(super) history: History,
    pub(super) handshakes: Handshakes,
    pub(super) sources: Sources,
    pub(super) completed: Baseline,
    pub(super) requests: Baseline,
    pub(super) logins: Baseline,
    pub(super) busiest: Vec<(IpAddr, u32)>,
    pub(super) regulars: Regulars,
    pub(super) requesters: Vec<(IpAddr, u32)>,
    pub(super) regular_requesters: Regulars,
    pub(super) open: u32,
    pub(super) heads: u32,
    pub(super) served: bool,
    pub(super) round_trip_time: RoundTripTime,
}

impl Heard {
    /// So many seconds, each with what `second` counts.
    pub(super) fn seconds(&mut self, seconds: usize, mut second: impl FnMut(&mut ListenerWindow)) {
        for _ in 0..seconds {
            let mut window = ListenerWindow::default();
            second(&mut window);
            self.history.add(&window);
            self.history.add_heads(self.heads);
            self.history.end_second();
        }
    }

    /// Attempts by hosts of these numbers.
    pub(super) fn ask_from(&mut self, hosts: std::ops::Range<u64>) {
        let mut askers = Askers::default();
        askers.start(Stamp(1));
        for host in hosts {
            askers.record(host.wrapping_mul(0x9e37_79b9_7f4a_7c15), 60, Stamp(1));
        }
        self.sources.distinct = Distinct::of(&askers);
    }

    pub(super) fn judge(&self, detect: impl Fn(&Evidence<'_>) -> Option<Finding>) -> Option<Finding> {
        detect(&Evidence {
            config: &self.config,
            listener: ListenerKey { address: host(80), port: 80 },
            sliding: &Sliding::default(),
            handshakes: self.handshakes,
            asked: &Baseline::default(),
            completed: &self.completed,
            requests: &self.requests,
            sources: &self.sources,
            low_window_seconds: 0,
            answers_visible: true,
            whole_packets: true,
            history: &self.history,
            open: self.open,
            heads: self.heads,
            logins: &self.logins,
            busiest: &self.busiest,
            regulars: &self.regulars,
            requesters: &self.requesters,
            regular_requesters: &self.regular_requesters,
            round_trip_time: &self.round_trip_time,
            trouble: None,
            served: self.served,
        })
    }
}
