//! What the engine remembers of one host between ticks: what came to it, what is usual there, open incidents.

use std::net::IpAddr;

use tidegauge_ebpf::target::{Majority, TargetCounter};

use crate::baseline::{Baseline, SECONDS_MIN};
use crate::detect::{HostEvidence, NetworkEvidence, host_findings};
use crate::fact::Fact;
use crate::feature::{Ring, Sources, TICKS};
use crate::incident::{Finding, Kind, Target};
use crate::learnt::LearntHost;
use crate::name_service::{NameMinute, NameService};
use crate::open_incidents::{Changing, Judging, OpenIncidents};
use crate::window::{HostWindow, TargetBeside, TargetWindow};

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
    /// Bytes on the wire of packets of other IP protocols, later fragments among them.
    OtherBytes,
    /// First fragments.
    FirstFragments,
    /// Datagrams that it sent, at most.
    SentUdp,
    /// ICMP messages that it sent, at most.
    SentIcmp,
    /// Datagrams that it sent to the port that most of what comes to it is from, at most.
    Asked,
    /// Segments of no connection that would be their connection's first.
    StrayNew,
    /// Such connections that it answered.
    StrayAnswered,
    /// ICMP errors.
    IcmpError,
}

/// How many [`HostCount`]s there are.
pub const HOST_COUNTS: usize = HostCount::IcmpError as usize + 1;

/// Silence after which all sums are zero.
const SILENT_AFTER_NS: u64 = 2_000_000_000;
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
    usual_sent: Baseline,
    sources: Sources,
    /// TTL classes of what is not TCP.
    ttl_classes: u64,
    source_port: Leading,
    destination_port: Leading,
    /// Whether the source tells of whole packets.
    is_whole: bool,
    names: Option<Box<NameService>>,
    second_ended: bool,
    tick: u64,
    /// Number of the engine's second that its memory of seconds has come to.
    seconds: u64,
    pub(crate) seen_ns: u64,
    /// Whether ends of seconds are told to it.
    pub(crate) is_awake: bool,
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
            usual_sent: Baseline::default(),
            sources: Sources::default(),
            ttl_classes: 0,
            source_port: Leading::default(),
            destination_port: Leading::default(),
            is_whole: false,
            names: None,
            second_ended: false,
            tick: 0,
            seconds: 0,
            seen_ns: 0,
            is_awake: false,
            incidents: OpenIncidents::default(),
        }
    }
}

impl HostState {
    /// What is known of a host before its first packet.
    pub(crate) fn of_learnt(learnt: LearntHost) -> Self {
        Self {
            usual_udp: learnt.udp.into(),
            usual_icmp: learnt.icmp.into(),
            usual_stray: learnt.stray.into(),
            usual_sent: learnt.sent.into(),
            ..Self::default()
        }
    }

    /// What it has learnt when second number `seconds` ended; `None`: nothing that is of use.
    pub(crate) fn learnt(&mut self, addr: IpAddr, seconds: u64) -> Option<LearntHost> {
        self.wake(seconds);
        self.usual_udp.usual(SECONDS_MIN)?;
        Some(LearntHost {
            addr,
            udp: (&self.usual_udp).into(),
            icmp: (&self.usual_icmp).into(),
            stray: (&self.usual_stray).into(),
            sent: (&self.usual_sent).into(),
        })
    }

    /// Moves on to tick number `tick`.
    pub(crate) fn catch_up(&mut self, tick: u64) {
        (self.tick..tick).take(TICKS).for_each(|_| self.ticks.advance());
        self.tick = tick;
    }

    /// Adds what came in tick number `tick` that is not TCP; `elsewhere`: datagrams and ICMP messages that came to
    /// others meanwhile, which is the most that it can have sent.
    pub(crate) fn add_target(&mut self, target: &TargetWindow, elsewhere: [u64; 2], tick: u64, end_ns: u64) {
        let mut counts = [0; HOST_COUNTS];
        for (place, counter) in [
            (HostCount::Udp, TargetCounter::UdpPackets),
            (HostCount::UdpBytes, TargetCounter::UdpBytes),
            (HostCount::Icmp, TargetCounter::IcmpPackets),
            (HostCount::IcmpBytes, TargetCounter::IcmpBytes),
            (HostCount::Other, TargetCounter::OtherPackets),
            (HostCount::OtherBytes, TargetCounter::OtherBytes),
            (HostCount::Fragments, TargetCounter::Fragments),
        ] {
            counts[place as usize] = target.get(counter);
        }
        let [udp, icmp] = elsewhere;
        let beside = TargetBeside { sent_udp: udp, sent_icmp: icmp, asked: udp, first_fragments: 0 };
        let beside = target.beside.unwrap_or(beside);
        for (place, count) in [
            (HostCount::SentUdp, beside.sent_udp),
            (HostCount::SentIcmp, beside.sent_icmp),
            (HostCount::Asked, beside.asked),
            (HostCount::FirstFragments, beside.first_fragments),
        ] {
            counts[place as usize] = count;
        }
        self.is_whole = target.beside.is_some();
        let datagrams = target.get(TargetCounter::UdpPackets);
        self.source_port.note(target.source_port, datagrams);
        self.destination_port.note(target.destination_port, datagrams);
        self.ttl_classes = target.ttl_classes;
        self.add(counts, tick, end_ns);
    }

    /// Ports that lead in a network, where they are not any one host's.
    pub(crate) const fn set_ports(&mut self, source: Leading, destination: Leading) {
        (self.source_port, self.destination_port) = (source, destination);
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
            (HostCount::StrayNew, Fact::StrayNew),
            (HostCount::StrayAnswered, Fact::StrayAnswered),
            (HostCount::IcmpError, Fact::IcmpError),
        ] {
            counts[place as usize] = host.facts.get(fact);
        }
        self.is_whole = true;
        if host.facts.get(Fact::Query) != 0 || host.facts.get(Fact::QueryAnswered) != 0 {
            self.names.get_or_insert_with(|| Box::new(NameService::new(end_ns))).add(&host.facts, end_ns);
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

    /// Something comes again, or for the first time, after second number `seconds` ended: those since it was last told
    /// of one were silent.
    pub(crate) fn wake(&mut self, seconds: u64) {
        let silent = seconds.saturating_sub(self.seconds);
        let is_new = self.seen_ns == 0 && self.usual_udp.seconds().next().is_none();
        if silent != 0 && !is_new {
            let usual =
                [&mut self.usual_udp, &mut self.usual_icmp, &mut self.usual_stray, &mut self.usual_sent];
            usual.into_iter().for_each(|baseline| baseline.learn_silence(silent));
            self.second_ended = true;
        }
        self.seconds = seconds;
    }

    /// Second number `seconds` ends: learns from it, unless something is wrong.
    pub(crate) fn end_second(&mut self, seconds: u64) {
        self.seconds = seconds;
        let second = std::mem::replace(&mut self.second, [0; HOST_COUNTS]);
        if self.incidents.is_empty() {
            self.usual_udp.learn(second[HostCount::Udp as usize]);
            self.usual_icmp.learn(second[HostCount::Icmp as usize]);
            self.usual_stray.learn(second[HostCount::Stray as usize]);
            self.usual_sent.learn(second[HostCount::SentUdp as usize]);
        }
        self.second_ended = true;
    }

    /// Whether a look at it may find anything.
    pub(crate) fn is_live(&self, now_ns: u64) -> bool {
        !self.incidents.is_empty() || now_ns.saturating_sub(self.seen_ns) < SILENT_AFTER_NS
    }

    /// Packets in the sliding second.
    pub(crate) fn packets(&self) -> u64 {
        const COUNTED: [HostCount; 6] = [
            HostCount::Udp,
            HostCount::Icmp,
            HostCount::Other,
            HostCount::Stray,
            HostCount::UnaskedAnswer,
            HostCount::Land,
        ];
        COUNTED.iter().map(|count| self.ticks.sum[*count as usize]).sum()
    }

    /// Judges the host at a tick's end.
    pub(crate) fn judge(&mut self, judging: &Judging<'_>, judged: &Judged<'_>, changing: &mut Changing<'_>) {
        let second_ended = std::mem::take(&mut self.second_ended);
        let names = self.names.as_deref_mut().filter(|_| second_ended).map(|names| {
            names.catch_up(judging.now_ns);
            names.minute()
        });
        if self.packets() >= PACKETS_WORTH_JUDGING || names.is_some() {
            for (target, finding) in self.findings(judging, judged, names) {
                if !judged.covered.contains(&finding.kind) {
                    self.incidents.take(finding, target, judging, changing);
                }
            }
        }
        for kind in judged.covered {
            self.incidents.supersede(*kind, judging.now_ns, changing.changed);
        }
        self.incidents.close_over(judging, changing);
    }

    fn findings(
        &self,
        judging: &Judging<'_>,
        judged: &Judged<'_>,
        names: Option<NameMinute>,
    ) -> Vec<(Target, Finding)> {
        host_findings(&HostEvidence {
            config: judging.config,
            address: judged.address,
            network: judged.network,
            counts: &self.ticks.sum,
            udp: &self.usual_udp,
            icmp: &self.usual_icmp,
            stray: &self.usual_stray,
            sent: &self.usual_sent,
            sources: &self.sources,
            ttl_classes: self.ttl_classes.count_ones(),
            source_port: self.source_port,
            destination_port: self.destination_port,
            names,
            // Whoever tells of whole packets does not know what it cannot see: that shows in the packets.
            answers_visible: if self.is_whole { judged.both_ways } else { judging.answers_visible },
        })
    }
}

/// What is judged, and what is known of it from elsewhere.
pub(crate) struct Judged<'a> {
    /// The host, or the first address of the network.
    pub(crate) address: IpAddr,
    pub(crate) network: Option<NetworkEvidence>,
    /// Kinds that are open for the whole network.
    pub(crate) covered: &'a [Kind],
    /// Whether handshakes are seen from both sides.
    pub(crate) both_ways: bool,
}

/// A port, and how much it leads: 1 where all datagrams have it, 0 where none does.
#[derive(Clone, Copy, Debug, Default)]
pub struct Leading {
    majority: Majority,
    /// The share by which it leads over all others.
    pub lead: f64,
}

/// Datagrams in a window from which on the lead is told anew.
const LEAD_FROM: u64 = 20;

impl Leading {
    /// The port, whether it leads or not.
    pub const fn port(self) -> u16 {
        self.majority.port
    }

    /// A port that is known to lead so much.
    pub const fn of(port: u16, lead: f64) -> Self {
        Self { majority: Majority { port, lead: 0 }, lead }
    }

    /// The running majority after so many more datagrams: how much of them it grew by is how much its port leads.
    fn note(&mut self, now: Majority, datagrams: u64) {
        let before = std::mem::replace(&mut self.majority, now);
        if datagrams < LEAD_FROM {
            return;
        }
        let (now_lead, before_lead) = (f64::from(now.lead), f64::from(before.lead));
        let grown = if now.port == before.port { now_lead - before_lead } else { now_lead + before_lead };
        self.lead = if now.lead == u16::MAX { 1.0 } else { (grown / datagrams as f64).clamp(0.0, 1.0) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_leads_by_what_its_majority_grows() {
        let mut leading = Leading::default();
        leading.note(Majority { port: 53, lead: 100 }, 100);
        assert_eq!((leading.port(), leading.lead), (53, 1.0));
        leading.note(Majority { port: 53, lead: 101 }, 1_000);
        assert!(leading.lead < 0.01);
        leading.note(Majority { port: 123, lead: 899 }, 1_000);
        assert_eq!((leading.port(), leading.lead), (123, 1.0));
    }
}
