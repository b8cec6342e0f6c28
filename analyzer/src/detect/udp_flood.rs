//! `udp_flood`: datagrams that nobody waits for.
//!
//! Attack: as many datagrams as the link or the host's receive path can take, from forged addresses or rented machines.
//! Measured: datagrams per second above what is usual, and how many the host sent meanwhile above what is usual: at
//! least that many were not answered. Works with the counts of targets alone.
//! Ordinary traffic does not trigger it: QUIC, DNS, calls and games answer at least every tenth datagram; a stream
//! (iperf3, video, a tunnel) is one port at both ends from few places; a multicast group is a stream; collectors of logs
//! and flows take steadily, and are judged once that is known; a rise there from hosts that each send much is a burst of
//! logs, and a deviation (P3). Where what the host sends is not seen, nothing looks
//! answered: then only a rise over what is usual, port 0 (which no service has), datagrams without payload, or a spray over
//! all ports from all over the world counts. Datagrams without payload are what tools send that only count packets: no
//! stream has them, and nobody needs a thousand a second, so that Junos's limit itself is enough.
//! Thresholds: `udp_flood_per_s`, `udp_empty_per_s`, `udp_answered_share`, `one_sided_factor`. From the configuration.
//! What would fool it: a flood with payload in one five-tuple; a flood of queries that the host answers; a host that sends so many
//! datagrams of its own that they cover the flood, in its first ten seconds.

use super::host::{Flood, LEADS, LEADS_NOT, TTL_CLASSES_MANY, one_sided, severity, shown, usual};
use super::{HostCount, HostEvidence};
use crate::incident::{Finding, Kind, Severity, Target};
use crate::ports::is_one_way;

/// Times what is usual from which on it is a rise.
const RISE: f64 = 2.0;
/// Deviations of what is usual that a rise exceeds.
const DEVIATIONS: f64 = 5.0;
/// Sources, or where those are not known TTL classes, up to which one port at both ends is a stream.
const STREAM_SOURCES_MAX: u64 = 8;
const STREAM_TTL_CLASSES_MAX: u32 = 2;
/// Sources per datagram from which on they are forged.
const FORGED_SHARE: f64 = 0.5;
/// Of `one_sided_factor`, what a spray over all ports has to exceed where answers are not seen.
const SPRAY_SHARE: f64 = 0.4;

/// What is beyond the usual.
struct Beyond {
    received: f64,
    sent: f64,
    is_rise: bool,
}

/// Judges the last second.
pub(super) fn detect(evidence: &HostEvidence<'_>) -> Option<(Target, Finding)> {
    let config = evidence.config;
    let datagrams = evidence.per_s(HostCount::Udp);
    if datagrams < config.udp_empty_per_s.min(config.udp_flood_per_s) || evidence.address.is_multicast() {
        return None;
    }
    let is_empty = evidence.is_empty(HostCount::Udp, HostCount::UdpBytes);
    let limit = limit(evidence, is_empty);
    let beyond = beyond(evidence, datagrams)?;
    let sent = evidence.per_s(HostCount::SentUdp);
    let answered = beyond.sent >= beyond.received * config.udp_answered_share;
    if beyond.received < limit || answered || (!is_empty && is_stream(evidence)) {
        return None;
    }
    let is_one_way = evidence.leading_destination().is_some_and(is_one_way);
    let sees_answers = evidence.sees_answers(datagrams, sent);
    let is_strange = beyond.is_rise
        || (is_empty && !is_one_way)
        || (sees_answers && !is_one_way)
        || evidence.leading_destination() == Some(0)
        || is_spray(evidence, datagrams);
    is_strange.then(|| finding(evidence, &beyond, limit, sees_answers))
}

fn limit(evidence: &HostEvidence<'_>, is_empty: bool) -> f64 {
    let config = evidence.config;
    if is_empty { config.udp_empty_per_s.min(config.udp_flood_per_s) } else { config.udp_flood_per_s }
}

/// `None`: no more than usual.
fn beyond(evidence: &HostEvidence<'_>, datagrams: f64) -> Option<Beyond> {
    let sent = evidence.per_s(HostCount::SentUdp);
    let Some(usual_udp) = usual(evidence.udp) else {
        return Some(Beyond { received: datagrams, sent, is_rise: false });
    };
    let rise = (usual_udp.median * RISE).max(usual_udp.median + DEVIATIONS * usual_udp.deviation);
    let usual_sent = usual(evidence.sent).map_or(0.0, |usual| usual.median);
    (datagrams >= rise).then(|| Beyond {
        received: datagrams - usual_udp.median,
        sent: (sent - usual_sent).max(0.0),
        is_rise: true,
    })
}

/// One port at both ends, of few.
fn is_stream(evidence: &HostEvidence<'_>) -> bool {
    let few = match evidence.distinct() {
        Some(distinct) => distinct <= STREAM_SOURCES_MAX,
        None => evidence.ttl_classes <= STREAM_TTL_CLASSES_MAX,
    };
    few && evidence.source_port.lead >= LEADS && evidence.destination_port.lead >= LEADS
}

/// To a port that never answers, from hosts that each send many: nobody forges their addresses.
fn is_burst_of_logs(evidence: &HostEvidence<'_>, datagrams: f64) -> bool {
    evidence.leading_destination().is_some_and(is_one_way)
        && evidence.spoofed(datagrams).is_some_and(|share| share < FORGED_SHARE)
}

/// No port leads, and senders are all over the world.
fn is_spray(evidence: &HostEvidence<'_>, datagrams: f64) -> bool {
    let config = evidence.config;
    evidence.source_port.lead < LEADS_NOT
        && evidence.destination_port.lead < LEADS_NOT
        && evidence.ttl_classes >= TTL_CLASSES_MANY
        && datagrams >= config.udp_flood_per_s * config.one_sided_factor * SPRAY_SHARE
}

fn finding(
    evidence: &HostEvidence<'_>,
    beyond: &Beyond,
    limit: f64,
    sees_answers: bool,
) -> (Target, Finding) {
    let datagrams = evidence.per_s(HostCount::Udp);
    let bytes = evidence.per_s(HostCount::UdpBytes) / datagrams;
    let port = evidence.leading_destination();
    let to_port = port.map_or_else(|| "all over its ports".to_owned(), |port| format!("to port {port}"));
    let cause = format!(
        "UDP flood at {}: {datagrams} datagrams/s of {bytes:.0} bytes {to_port} {}, {} sent back",
        evidence.at_whom(),
        evidence.by_whom(),
        beyond.sent
    );
    let or_stopped = "or the service behind it has stopped answering".to_owned();
    let port_rule = port.map_or_else(String::new, |port| format!(" udp dport {port}"));
    evidence.finding(Flood {
        kind: Kind::UdpFlood,
        severity: if is_burst_of_logs(evidence, datagrams) {
            Severity::P3
        } else {
            severity(datagrams, limit)
        },
        rule: format!(
            "datagrams/s above usual >= {limit} and sent per datagram < {}",
            evidence.config.udp_answered_share
        ),
        measured: beyond.received,
        unit: "datagrams/s",
        limit,
        baseline: shown(evidence.udp),
        facts: vec![
            ("udp_per_s", datagrams),
            ("udp_bytes_per_s", evidence.per_s(HostCount::UdpBytes)),
            ("sent_above_usual_per_s", beyond.sent),
            ("source_port_lead", evidence.source_port.lead),
            ("destination_port_lead", evidence.destination_port.lead),
            ("icmp_sent_per_s", evidence.per_s(HostCount::SentIcmp)),
        ],
        spoofed_estimate: evidence.spoofed(datagrams),
        ttl_classes: evidence.ttl_classes,
        target: evidence.target(port, "udp"),
        cause: [Some(cause), Some(or_stopped), one_sided(sees_answers)].into_iter().flatten().collect(),
        next: vec![
            format!("tcpdump -nnc 20 '{} and udp'", evidence.tcpdump_place()),
            "nstat -az UdpInDatagrams UdpNoPorts UdpInErrors UdpRcvbufErrors".to_owned(),
            port.map_or_else(|| "ss -Huanp".to_owned(), |port| format!("ss -Huanp 'sport = :{port}'")),
            format!(
                "nft add rule inet filter input {}{port_rule} meta l4proto udp limit rate over {limit}/second drop",
                evidence.nft_place()
            ),
        ],
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing_host::Host;
    use super::super::{NetworkEvidence, Parts};
    use super::*;

    fn datagrams(count: u64, sent: u64) -> Host {
        let host = Host::new().with(HostCount::Udp, count).with(HostCount::UdpBytes, count * 100);
        host.with(HostCount::SentUdp, sent)
    }

    #[test]
    fn datagrams_that_nobody_answers_are_found() {
        assert_eq!(datagrams(10_000, 0).ports(None, Some(80)).kinds(), [Kind::UdpFlood]);
        assert_eq!(datagrams(10_000, 0).ports(None, Some(0)).one_sided().kinds(), [Kind::UdpFlood]);
        assert_eq!(datagrams(13_000, 3_000).usual(3_000, 3_000).kinds(), [Kind::UdpFlood]);
    }

    #[test]
    fn a_flood_over_a_network_is_the_networks() {
        let mut host = datagrams(10_000, 0);
        host.network =
            Some(NetworkEvidence { prefix_bits: 24, parts: Parts::Hosts(200), busiest_share: 0.01 });
        let found = host.findings();
        assert!(found.iter().any(|(target, finding)| {
            finding.kind == Kind::UdpFlood && target.to_string() == "192.0.2.7/24 udp"
        }));
        host.network =
            Some(NetworkEvidence { prefix_bits: 24, parts: Parts::Hosts(200), busiest_share: 0.9 });
        assert_eq!(host.kinds(), []);
    }

    #[test]
    fn what_is_answered_is_silent() {
        assert_eq!(datagrams(50_000, 5_000).ports(Some(443), None).kinds(), []);
        assert_eq!(datagrams(20_000, 20_000).ports(None, Some(53)).kinds(), []);
    }

    #[test]
    fn a_stream_and_a_collector_are_silent() {
        assert_eq!(datagrams(86_000, 0).ports(Some(40_000), Some(5_201)).kinds(), []);
        assert_eq!(datagrams(30_000, 0).ports(None, Some(514)).kinds(), []);
        assert_eq!(datagrams(36_000, 0).ports(None, Some(8_125)).usual(30_000, 0).kinds(), []);
    }

    #[test]
    fn a_burst_of_logs_is_a_deviation_and_a_flood_of_forged_ones_is_none() {
        let severity = |sources| {
            let burst = datagrams(9_000, 0).usual(300, 0).ports(None, Some(514)).from(sources);
            burst.findings()[0].1.severity
        };
        assert_eq!((severity(40), severity(9_000)), (Severity::P3, Severity::P2));
    }

    #[test]
    fn datagrams_without_payload_are_no_stream() {
        let host =
            |bytes: u64| Host::new().with(HostCount::Udp, 2_000).with(HostCount::UdpBytes, 2_000 * bytes);
        let port_to_port = |bytes: u64| host(bytes).ports(Some(53), Some(53)).one_sided();
        assert_eq!(port_to_port(42).kinds(), [Kind::UdpFlood]);
        assert_eq!(port_to_port(90).kinds(), []);
        assert_eq!(host(42).ports(None, Some(8_125)).one_sided().kinds(), [], "statsd");
    }

    #[test]
    fn one_side_of_a_busy_server_is_silent() {
        let mut server = datagrams(40_000, 0).ports(None, Some(443)).one_sided();
        server.ttl_classes = 20;
        assert_eq!(server.kinds(), []);
    }
}
