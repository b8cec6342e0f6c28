//! What the engine remembers of one host between ticks: what came to it, what is usual there, open incidents.

use std::net::IpAddr;

use tidegauge_ebpf::target::{Majority, TargetCounter};

use crate::baseline::Baseline;
use crate::detect::{HostEvidence, host_findings};
use crate::fact::Fact;
use crate::feature::{Ring, Sources, TICKS};
use crate::incident::{Finding, Target};
use crate::open_incidents::{Changing, Judging, OpenIncidents};
use crate::window::{HostWindow, TargetWindow};

/// What is summed over the sliding second, and learnt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum HostCount {
    /// UDP datagrams.
    Udp,
    /// Their bytes on the wire.
    UdpBytes,
    /// ICMP messages.
    Icmp,
    /// Their bytes on the wire.
    IcmpBytes,
    /// Packets of other IP protocols.
    Other,
    /// Fragments.
    Fragments,
    /// Segments of no connection, RSTs and FINs included.
    Stray,
    /// Of these, RSTs.
    StrayRst,
    /// Of these, with FIN.
    StrayFin,
    /// SYN-ACKs that nobody asked for.
    UnaskedAnswer,
    /// SYNs from their own destination.
    Land,
    /// DNS queries to it.
    Query,
    /// DNS responses by it.
    QueryAnswered,
    /// Of these, failures.
    QueryFailed,
}

/// How many [`HostCount`]s there are.
pub const HOST_COUNTS: usize = 14;

/// Packets in the sliding second below which no detector looks.
const PACKETS_WORTH_JUDGING: u64 = 5;

/// One host's memory.
#[derive(Debug)]
pub(crate) struct HostState {
    ticks: Ring<HOST_COUNTS, TICKS>,
    /// Per whole second, what is usual of packets that are not TCP, and of those of no connection.
    second: [u64; HOST_COUNTS],
    usual_udp: Baseline,
    usual_icmp: Baseline,
    usual_stray: Baseline,
    sources: Sources,
    source_port: Majority,
    destination_port: Majority,
    tick: u64,
    pub(crate) seen_ns: u64,
    pub(crate) incidents: OpenIncidents,
}

impl Default for HostState {
    fn default() -> Self {
        Self {
            ticks: Ring::EMPTY,
            second: [0; HOST_COUNTS],
            usual_udp: Baseline::default(),
            usual_icmp: Baseline::default(),
            usual_stray: Baseline::default(),
            sources: Sources::default(),
            source_port: Majority::default(),
            destination_port: Majority::default(),
            tick: 0,
            seen_ns: 0,
            incidents: OpenIncidents::default(),
        }
    }
}

impl HostState {
    /// Moves on to tick number `tick`.
    pub(crate) fn catch_up(&mut self, tick: u64) {
        (self.tick..tick).take(TICKS).for_each(|_| self.ticks.advance());
        self.tick = tick;
    }

    /// Adds what came in tick number `tick` that is not TCP.
    pub(crate) fn add_target(&mut self, target: &TargetWindow, tick: u64, end_ns: u64) {
        let mut counts = [0; HOST_COUNTS];
        for (place, counter) in [
            (HostCount::Udp, TargetCounter::UdpPackets),
            (HostCount::UdpBytes, TargetCounter::UdpBytes),
            (HostCount::Icmp, TargetCounter::IcmpPackets),
            (HostCount::IcmpBytes, TargetCounter::IcmpBytes),
            (HostCount::Other, TargetCounter::OtherPackets),
            (HostCount::Fragments, TargetCounter::Fragments),
        ] {
            counts[place as usize] = target.get(counter);
        }
        (self.source_port, self.destination_port) = (target.source_port, target.destination_port);
        self.sources.ttl_classes |= target.ttl_classes;
        self.add(counts, tick, end_ns);
    }

    /// Adds the facts of packets in tick number `tick`.
    pub(crate) fn add_facts(&mut self, host: &HostWindow, tick: u64, end_ns: u64) {
        let mut counts = [0; HOST_COUNTS];
        for (place, fact) in [
            (HostCount::Stray, Fact::Stray),
            (HostCount::StrayRst, Fact::StrayRst),
            (HostCount::StrayFin, Fact::StrayFin),
            (HostCount::UnaskedAnswer, Fact::UnaskedAnswer),
            (HostCount::Land, Fact::Land),
            (HostCount::Query, Fact::Query),
            (HostCount::QueryAnswered, Fact::QueryAnswered),
            (HostCount::QueryFailed, Fact::QueryFailed),
        ] {
            counts[place as usize] = host.facts.get(fact);
        }
        self.sources.distinct = host.distinct;
        self.sources.ttl_classes = host.ttl_classes;
        self.sources.top.clone_from(&host.sources);
        self.sources.prefixes.clone_from(&host.prefixes);
        self.add(counts, tick, end_ns);
    }

    fn add(&mut self, counts: [u64; HOST_COUNTS], tick: u64, end_ns: u64) {
        self.catch_up(tick);
        self.seen_ns = end_ns;
        self.ticks.add(counts);
        for (own, more) in self.second.iter_mut().zip(counts) {
            *own += more;
        }
    }

    /// A second ends: learns from it, unless something is wrong.
    pub(crate) fn end_second(&mut self) {
        let second = std::mem::replace(&mut self.second, [0; HOST_COUNTS]);
        if self.incidents.is_empty() {
            self.usual_udp.learn(second[HostCount::Udp as usize]);
            self.usual_icmp.learn(second[HostCount::Icmp as usize]);
            self.usual_stray.learn(second[HostCount::Stray as usize]);
        }
    }

    /// Packets in the sliding second.
    pub(crate) fn packets(&self) -> u64 {
        [HostCount::Udp, HostCount::Icmp, HostCount::Other, HostCount::Stray, HostCount::UnaskedAnswer]
            .iter()
            .map(|count| self.ticks.sum[*count as usize])
            .sum()
    }

    /// Judges the host at a tick's end.
    pub(crate) fn judge(&mut self, judging: &Judging<'_>, address: IpAddr, changing: &mut Changing<'_>) {
        if self.packets() >= PACKETS_WORTH_JUDGING {
            for (target, finding) in self.findings(judging, address) {
                self.incidents.take(finding, target, judging, changing);
            }
        }
        self.incidents.close_over(judging, changing);
    }

    fn findings(&self, judging: &Judging<'_>, address: IpAddr) -> Vec<(Target, Finding)> {
        host_findings(&HostEvidence {
            config: judging.config,
            address,
            counts: &self.ticks.sum,
            udp: &self.usual_udp,
            icmp: &self.usual_icmp,
            stray: &self.usual_stray,
            sources: &self.sources,
            source_port: self.source_port,
            destination_port: self.destination_port,
            answers_visible: judging.answers_visible,
        })
    }
}
