//! `host_sweep`: somebody tries which hosts of a network have one port open, or are there at all (`ping`).
//!
//! Attack: how worms spread, and how whoever has a weakness in mind finds those who have it.
//! Measured: per asking host and minute, distinct hosts at one port or a few, and the share of places that do not answer,
//! as in [`super::port_scan`]; a host that answers a SYN is there, whatever the SYN was for.
//! Ordinary traffic does not trigger it: a gateway, a crawler, a resolver, a balancer that checks its servers by SYN and RST
//! and a monitoring host are answered by most, and places that answered once are not counted when they stop (a network
//! that fails under a monitoring host); a
//! peer-to-peer node asks many ports, and hosts that are in no network of their own, of which four times as many are
//! wanted, over TCP, and something must come back: from a view of one side a busy gateway looks like that.
//! Thresholds: 60 hosts a minute, 70 % in vain (`sweep_hosts`, `scan_unanswered_share`).
//! What would fool it: a sweep slower than a host a second, or one of hosts that do answer; a capture that begins while a
//! monitoring host's network is down. UDP to random addresses is not told.

use super::asking::is_of_ours;
use super::{ActorEvidence, port_scan};
use crate::incident::{Finding, Kind, Severity, Target};
use crate::window::ActorProtocol;

/// Hosts per port that make it a sweep.
const HOSTS_PER_PORT_MIN: u64 = 8;
/// Places per host above which it is a scan of ports.
const PLACES_PER_HOST_MAX: u64 = 4;
/// Ports by which worms and those who break in spread within a network.
const SPREADING: [u16; 11] = [22, 23, 135, 139, 445, 1433, 2323, 3306, 3389, 5555, 5900];

/// Judges what was asked since the count began.
pub(super) fn detect(evidence: &ActorEvidence<'_>) -> Option<(Target, Finding)> {
    let (config, counts) = (evidence.config, evidence.counts);
    if counts.hosts < config.sweep_hosts || evidence.actor.protocol == ActorProtocol::Arp {
        return None;
    }
    let few_ports = counts.port_is_most || counts.ports * HOSTS_PER_PORT_MIN <= counts.hosts;
    if !few_ports || counts.places > PLACES_PER_HOST_MAX * counts.hosts || !evidence.searches_hosts() {
        return None;
    }
    let factor = if counts.network.is_some() { 1.0 } else { scattered(evidence)? };
    let limit = config.sweep_hosts as f64 * factor;
    if (counts.hosts as f64) < limit {
        return None;
    }
    let rule = format!(
        "hosts asked by one host in {:.0} s >= {limit:.0} and share of places without an answer >= {}",
        evidence.seconds(),
        config.scan_unanswered_share
    );
    let has_ports = evidence.actor.protocol != ActorProtocol::Icmp;
    let port = counts.port.filter(|_| has_ports && (counts.port_is_most || counts.ports == 1));
    let mut finding = evidence.finding(Kind::HostSweep, rule, (counts.hosts, "hosts"));
    finding.limit = limit;
    finding.severity = severity(evidence, port);
    finding.cause = causes(evidence, port);
    let [watch, stop] = evidence.next_commands();
    finding.next = vec![
        watch,
        if has_ports {
            let port = port.map_or(String::new(), |port| format!(" 'dport = :{port}'"));
            format!("ss -Htnp state syn-sent{port} | head")
        } else {
            "nstat -az IcmpInEchos IcmpOutEchoReps IcmpInEchoReps".to_owned()
        },
        format!("ip neigh show | grep -F '{} '", evidence.actor.address),
        stop,
    ];
    Some((port_scan::network(evidence, port), finding))
}

/// How many more hosts are wanted where they are in no network of their own; `None`: none are enough.
fn scattered(evidence: &ActorEvidence<'_>) -> Option<f64> {
    let counts = &evidence.counts.counts;
    let both_ways = counts.answered + counts.refused != 0;
    (both_ways && evidence.actor.protocol == ActorProtocol::Tcp)
        .then_some(evidence.config.sweep_scattered_factor)
}

/// P2 where a host of one's own searches for what spreads.
fn severity(evidence: &ActorEvidence<'_>, port: Option<u16>) -> Severity {
    let spreads = port.is_some_and(|port| SPREADING.contains(&port));
    if spreads && is_of_ours(evidence.actor.address) { Severity::P2 } else { Severity::P3 }
}

fn causes(evidence: &ActorEvidence<'_>, port: Option<u16>) -> Vec<String> {
    let (who, counts) = (evidence.actor.address, evidence.counts);
    let ports = match port {
        Some(port) => format!("port {port} of "),
        None if evidence.actor.protocol == ActorProtocol::Icmp => "by echo requests ".to_owned(),
        None => format!("about {} ports of ", counts.ports),
    };
    let what = format!(
        "{ports}about {} hosts in {:.0} s; {} answered, {} refused",
        counts.hosts,
        evidence.seconds(),
        counts.counts.answered,
        counts.counts.refused
    );
    let mut causes = vec![if severity(evidence, port) == Severity::P2 {
        format!("{who}, a host of one's own, searches for others, as worms do: {what}")
    } else {
        format!("{who} sweeps the network: {what}")
    }];
    if counts.counts.answered + counts.counts.refused == 0 {
        causes.push("or a monitoring host whose network was down from the start: nothing answers".to_owned());
    }
    causes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::testing_asked::{Asked, host};
    use crate::incident::NetworkTarget;

    fn sweep() -> Asked {
        let mut asked = Asked::new(ActorProtocol::Tcp);
        let counts = &mut asked.counts;
        (counts.ports, counts.hosts, counts.places) = (1, 120, 120);
        (counts.counts.asked, counts.counts.answered) = (120, 6);
        (counts.port, counts.port_is_most) = (Some(445), true);
        counts.network = Some((host(0), 24));
        asked
    }

    #[test]
    fn one_port_of_a_network_is_a_sweep_of_it() {
        let (target, finding) = sweep().judge(detect).unwrap();
        let Target::Network(NetworkTarget { prefix_bits: 24, port: Some(445), .. }) = target else {
            panic!("{target:?}")
        };
        assert_eq!((finding.kind, finding.severity), (Kind::HostSweep, Severity::P3));
        assert_eq!((finding.measured, finding.next.len()), (120.0, 4));
    }

    #[test]
    fn a_host_of_ones_own_that_searches_for_file_shares_is_worse() {
        let mut asked = sweep();
        asked.actor.address = [10, 1, 2, 3].into();
        assert_eq!(asked.judge(detect).unwrap().1.severity, Severity::P2);
    }

    #[test]
    fn echo_requests_to_a_network_are_a_sweep_without_a_port() {
        let mut asked = sweep();
        asked.actor.protocol = ActorProtocol::Icmp;
        asked.counts.port = Some(0);
        let (target, finding) = asked.judge(detect).unwrap();
        assert_eq!(target.parts(), Some(("192.0.2.0/24".to_owned(), None, "icmp")));
        assert!(finding.cause[0].contains("by echo requests about 120 hosts"), "{:?}", finding.cause);
        asked.counts.counts.answered = 100;
        assert_eq!(asked.judge(detect), None);
    }

    #[test]
    fn a_balancer_that_checks_by_syn_and_rst_is_none() {
        let mut asked = sweep();
        assert!(asked.judge(detect).is_some());
        asked.counts.counts.accepted = asked.counts.counts.asked * 9 / 10;
        assert_eq!(asked.judge(detect), None);
    }

    #[test]
    fn gateways_crawlers_and_monitoring_are_answered() {
        let mut asked = sweep();
        (asked.counts.counts.asked, asked.counts.counts.answered) = (120, 90);
        assert_eq!(asked.judge(detect), None);
    }

    #[test]
    fn peers_are_at_many_ports_and_nowhere_in_particular() {
        let mut peers = sweep();
        (peers.counts.ports, peers.counts.port_is_most, peers.counts.network) = (80, false, None);
        assert_eq!(peers.judge(detect), None);
        let mut one_port = sweep();
        one_port.counts.network = None;
        assert_eq!(one_port.judge(detect), None);
        (one_port.counts.hosts, one_port.counts.places, one_port.counts.counts.asked) = (480, 480, 480);
        assert!(one_port.judge(detect).is_some());
    }

    #[test]
    fn one_side_of_a_gateway_or_resolver_is_no_sweep() {
        for protocol in [ActorProtocol::Tcp, ActorProtocol::Udp] {
            let mut asked = sweep();
            asked.actor.protocol = protocol;
            (asked.counts.hosts, asked.counts.places) = (900, 900);
            (asked.counts.counts.asked, asked.counts.counts.answered) = (2_000, 0);
            (asked.counts.network, asked.counts.port) = (None, Some(53));
            assert_eq!(asked.judge(detect), None, "{protocol:?}");
        }
    }
}
