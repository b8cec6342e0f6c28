//! `port_scan`: somebody tries which ports of a host, or of many, are open.
//!
//! Attack: the first step of most others. SYNs, connections that are ended at once, FIN, NULL and XMAS segments, ACKs of no
//! connection that are answered by a RST, or datagrams, to one port after the other.
//! Measured: per asking host and minute, distinct ports, and the share of places (host and port) that do not answer: no
//! handshake completed, no datagram back. Places that answered in this minute or in the one before are not counted.
//! Ordinary traffic does not trigger it: clients know the port they want, and are answered; a peer-to-peer node asks many
//! ports, but of each host one, so that a scan of many hosts must have four times as many places as hosts; who asks
//! the same places again and again wants something of them (one-sided views of telephony); traceroute's datagrams are
//! told by their TTL ([`crate::account`]).
//! Thresholds: 60 ports a minute, 70 % in vain (`scan_ports`, `scan_unanswered_share`); half as many of one host of which
//! none answers.
//! What would fool it: a scan slower than a port a second, one from many addresses, one by a host that is answered at a
//! thousand places (a gateway), datagrams sent with a TTL of 30 or less.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::ActorEvidence;
use crate::incident::{Finding, HostTarget, Kind, NetworkTarget, Target};
use crate::window::ActorProtocol;

/// Places per host that make a scan of many hosts one of ports.
const PLACES_PER_HOST_MIN: u64 = 4;
/// Distinct places above which their estimate no longer grows with them.
const PLACES_MANY: u64 = 2_500;
/// Datagrams per second above which it is a flood: scanners send fewer, since ICMP errors are limited; at one host from
/// `udp_flood_per_s` on, where it is told as such.
const DATAGRAMS_PER_S_MAX: f64 = 20_000.0;
/// Part of the limit that is enough where all is in vain.
const IN_VAIN_PART: u64 = 2;
/// Seconds before datagrams are judged: whether the same are sent again, as in a call, shows by then.
const DATAGRAMS_AFTER_S: f64 = 2.0;

/// Judges what was asked since the count began.
pub(super) fn detect(evidence: &ActorEvidence<'_>) -> Option<(Target, Finding)> {
    let (config, counts) = (evidence.config, evidence.counts);
    if counts.ports < limit(evidence) || evidence.actor.protocol == ActorProtocol::Arp {
        return None;
    }
    let most_per_s = if counts.host_is_most {
        config.udp_flood_per_s.min(DATAGRAMS_PER_S_MAX)
    } else {
        DATAGRAMS_PER_S_MAX
    };
    let is_early_or_flood = evidence.actor.protocol == ActorProtocol::Udp
        && (evidence.seconds() < DATAGRAMS_AFTER_S || evidence.asked_per_s() > most_per_s);
    if is_early_or_flood || !evidence.searches() {
        return None;
    }
    let target = target(evidence)?;
    let rule = format!(
        "ports asked by one host in {:.0} s >= {} and share of places without an answer >= {}",
        evidence.seconds(),
        limit(evidence),
        config.scan_unanswered_share
    );
    let mut finding = evidence.finding(Kind::PortScan, rule, (counts.ports, "ports"));
    finding.limit = limit(evidence) as f64;
    finding.cause = causes(evidence);
    let [watch, stop] = evidence.next_commands();
    let listening = if evidence.actor.protocol == ActorProtocol::Udp { "ss -Hlun" } else { "ss -Hltn" };
    finding.next = vec![
        watch,
        format!("{listening} | awk '{{print $4}}' | sort -u"),
        format!("ss -Htn 'dst {}' | wc -l", evidence.actor.address),
        stop,
    ];
    Some((target, finding))
}

/// Fewer are enough where one host is asked by TCP and no port of it answers: a client has one that does.
fn limit(evidence: &ActorEvidence<'_>) -> u64 {
    let counts = evidence.counts;
    let in_vain =
        evidence.actor.protocol == ActorProtocol::Tcp && counts.host_is_most && counts.counts.answered == 0;
    evidence.config.scan_ports / if in_vain { IN_VAIN_PART } else { 1 }
}

/// The host that most of it goes to, or the network; `None` where each host is asked at a port or two.
fn target(evidence: &ActorEvidence<'_>) -> Option<Target> {
    let (counts, protocol) = (evidence.counts, evidence.protocol());
    if let Some(address) = counts.host.filter(|_| counts.host_is_most) {
        return Some(Target::Host(HostTarget { address, port: None, protocol }));
    }
    if counts.places < (PLACES_PER_HOST_MIN * counts.hosts).min(PLACES_MANY) {
        return None;
    }
    Some(network(evidence, None))
}

/// The network that is asked; all there is where it is in no one.
pub(super) fn network(evidence: &ActorEvidence<'_>, port: Option<u16>) -> Target {
    let anywhere = match evidence.actor.address {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let (address, prefix_bits) = evidence.counts.network.unwrap_or((anywhere, 0));
    Target::Network(NetworkTarget { address, prefix_bits, port, protocol: evidence.protocol() })
}

fn causes(evidence: &ActorEvidence<'_>) -> Vec<String> {
    let counts = &evidence.counts.counts;
    let how = match evidence.actor.protocol {
        ActorProtocol::Udp => "datagrams",
        _ if counts.answered == 0 => "attempts that are never completed",
        _ => "connections, SYNs or segments of none",
    };
    let mut causes = vec![format!(
        "{} scans ports with {how}: about {} ports of {} in {:.0} s, {:.0} per second; {} answered, {} refused",
        evidence.actor.address,
        evidence.counts.ports,
        if evidence.counts.host_is_most {
            "one host".to_owned()
        } else {
            format!("about {} hosts", evidence.counts.hosts)
        },
        evidence.seconds(),
        evidence.asked_per_s(),
        counts.answered,
        counts.refused
    )];
    if counts.answered == 0 && counts.refused == 0 {
        causes.push("no answer of any kind: all filtered, or the answers are not seen from here".to_owned());
    }
    causes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::testing_asked::{Asked, host};

    fn scan() -> Asked {
        let mut asked = Asked::new(ActorProtocol::Tcp);
        let counts = &mut asked.counts;
        (counts.ports, counts.hosts, counts.places) = (120, 1, 120);
        (counts.counts.asked, counts.counts.refused) = (120, 110);
        (counts.host, counts.host_is_most) = (Some(host(9)), true);
        asked
    }

    #[test]
    fn ports_of_one_host_that_do_not_answer_are_a_scan_of_it() {
        for (protocol, limit) in [(ActorProtocol::Tcp, 30.0), (ActorProtocol::Udp, 60.0)] {
            let mut asked = scan();
            asked.actor.protocol = protocol;
            let (target, finding) = asked.judge(detect).unwrap();
            assert!(matches!(target, Target::Host(HostTarget { port: None, .. })), "{target:?}");
            assert_eq!((finding.kind, finding.measured, finding.limit), (Kind::PortScan, 120.0, limit));
            assert!(finding.next.len() == 4 && finding.top_sources.len() == 1, "{finding:?}");
        }
    }

    #[test]
    fn forty_ports_are_one_where_none_answers() {
        let mut asked = scan();
        let counts = &mut asked.counts;
        (counts.ports, counts.places, counts.counts.asked, counts.counts.refused) = (40, 40, 40, 30);
        assert!(asked.judge(detect).is_some());
        asked.counts.counts.answered = 1;
        assert_eq!(asked.judge(detect), None);
    }

    #[test]
    fn many_ports_of_many_hosts_are_a_scan_of_their_network() {
        let mut asked = scan();
        (asked.counts.hosts, asked.counts.places, asked.counts.counts.asked) = (30, 400, 420);
        asked.counts.host_is_most = false;
        asked.counts.network = Some((host(0), 24));
        let (target, _) = asked.judge(detect).unwrap();
        assert!(matches!(target, Target::Network(NetworkTarget { prefix_bits: 24, .. })), "{target:?}");
    }

    #[test]
    fn clients_that_are_answered_or_ask_again_are_none() {
        let mut answered = scan();
        answered.counts.counts.answered = 60;
        assert_eq!(answered.judge(detect), None);
        // One side of a gateway's telephony: the same hundred ports, again and again.
        let mut again = scan();
        again.counts.counts.asked = 5_000;
        assert_eq!(again.judge(detect), None);
    }

    #[test]
    fn a_peer_to_peer_node_asks_each_host_at_one_port() {
        let mut asked = scan();
        (asked.counts.hosts, asked.counts.places, asked.counts.host_is_most) = (115, 120, false);
        assert_eq!(asked.judge(detect), None);
    }

    #[test]
    fn datagrams_at_a_floods_rate_are_none() {
        let mut asked = scan();
        asked.actor.protocol = ActorProtocol::Udp;
        (asked.counts.ports, asked.counts.places, asked.counts.counts.asked) = (3_000, 3_000, 200_000);
        asked.now_s = 2.0;
        assert_eq!(asked.judge(detect), None);
    }
}
