//! Evidence for tests of detectors.

use std::net::{IpAddr, Ipv4Addr};

use tidegauge_ebpf::flow::pair_hash;
use tidegauge_ebpf::listener::ListenerRow;
use tidegauge_ebpf::packet::ipv4_mapped;
use tidegauge_ebpf::stamp::Stamp;

use super::{HOST_COUNTS, HostCount, HostEvidence, Leading, NameMinute, NetworkEvidence, host_findings};
use crate::baseline::Baseline;
use crate::config::Config;
use crate::distinct::Distinct;
use crate::feature::Sources;
use crate::incident::{Finding, Kind, Target};

/// A host to be judged: nothing comes to it, answers are seen.
pub(super) struct Host {
    pub(super) config: Config,
    counts: [u64; HOST_COUNTS],
    udp: Baseline,
    icmp: Baseline,
    stray: Baseline,
    sent: Baseline,
    sources: Sources,
    pub(super) ttl_classes: u32,
    pub(super) source_port: Leading,
    pub(super) destination_port: Leading,
    pub(super) network: Option<NetworkEvidence>,
    pub(super) names: Option<NameMinute>,
    pub(super) answers_visible: bool,
}

impl Host {
    pub(super) fn new() -> Self {
        Self {
            config: Config::default(),
            counts: [0; HOST_COUNTS],
            udp: Baseline::default(),
            icmp: Baseline::default(),
            stray: Baseline::default(),
            sent: Baseline::default(),
            sources: Sources::default(),
            ttl_classes: 1,
            source_port: Leading::default(),
            destination_port: Leading::default(),
            network: None,
            names: None,
            answers_visible: true,
        }
    }

    pub(super) fn with(mut self, count: HostCount, value: u64) -> Self {
        self.counts[count as usize] = value;
        self
    }

    /// One direction only.
    pub(super) fn one_sided(mut self) -> Self {
        self.answers_visible = false;
        self
    }

    /// So many sources.
    pub(super) fn from(mut self, sources: u32) -> Self {
        let mut row = ListenerRow::default();
        for source in 0..sources {
            row.askers.record(pair_hash(ipv4_mapped(source), 1, 7), 64, Stamp(0));
        }
        self.sources.distinct = Distinct::of(&row.askers);
        self
    }

    /// Ports that all datagrams have.
    pub(super) fn ports(mut self, source: Option<u16>, destination: Option<u16>) -> Self {
        let leading = |port: Option<u16>| port.map_or(Leading::default(), |port| Leading::of(port, 1.0));
        (self.source_port, self.destination_port) = (leading(source), leading(destination));
        self
    }

    /// Datagrams that are usual to come and to be sent.
    pub(super) fn usual(mut self, udp: u64, sent: u64) -> Self {
        for _ in 0..20 {
            self.udp.learn(udp);
            self.sent.learn(sent);
        }
        self
    }

    pub(super) fn evidence(&self) -> HostEvidence<'_> {
        HostEvidence {
            config: &self.config,
            address: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7)),
            counts: &self.counts,
            udp: &self.udp,
            icmp: &self.icmp,
            stray: &self.stray,
            sent: &self.sent,
            sources: &self.sources,
            ttl_classes: self.ttl_classes,
            source_port: self.source_port,
            destination_port: self.destination_port,
            network: self.network,
            names: self.names,
            answers_visible: self.answers_visible,
        }
    }

    pub(super) fn findings(&self) -> Vec<(Target, Finding)> {
        host_findings(&self.evidence())
    }

    /// Kinds that are found; each with three or four commands, and a cause.
    pub(super) fn kinds(&self) -> Vec<Kind> {
        let found = self.findings();
        for (_, finding) in &found {
            assert!((3..=4).contains(&finding.next.len()), "{:?}", finding.next);
            assert!(!finding.cause.is_empty());
            assert!(finding.measured >= finding.limit);
        }
        found.into_iter().map(|(_, finding)| finding.kind).collect()
    }
}
