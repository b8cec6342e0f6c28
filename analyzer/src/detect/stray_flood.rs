//! `ack_flood`, `rst_flood`, `fin_flood`: segments of connections that do not exist. Three kinds of one judgement: what
//! differs is the flag.
//!
//! Attack: segments with forged addresses or random ports that the host has to look up, and answer with a RST each.
//! Measured: segments per second of which nothing is known, that would be the first of their connection (ACKs, FINs), or
//! RSTs of no connection; how many of those connections the host then answers with anything but a RST; and how
//! many segments each has.
//! Ordinary traffic does not trigger it: where a capture begins mid-connection each connection is new once, goes on, and
//! is answered within its round trip. Where only one side is seen none is answered, but each goes on (several
//! segments per connection), and more is asked there. A RST or FIN after its connection's end is late, not stray. A
//! reconnect storm begins with SYNs, and its RSTs answer them.
//! Thresholds: `stray_flood_per_s`, `one_sided_factor`. From the configuration.
//! What would fool it: a flood within one five-tuple (it looks like one connection); a view of one direction in whose
//! first minute more than ten times the limit of idle connections say one word each.

use tidegauge_ebpf::packet::tcp_flag;

use super::host::{Flood, one_sided, severity, shown};
use super::{HostCount, HostEvidence};
use crate::incident::{Finding, Kind, Target};

/// Answered share of new connections from which on they are real.
const ANSWERED_SHARE: f64 = 0.2;
/// Segments per new connection from which on it goes on.
const SEGMENTS_PER_CONNECTION: f64 = 1.5;
/// Share of the stray segments that have the flag in a flood of it.
const FLAG_SHARE: f64 = 0.8;
/// Distinct sources that a RST flood has where only one direction is seen: one peer may refuse many times.
const RST_SOURCES_MIN: u64 = 50;

/// One kind.
struct Of {
    kind: Kind,
    flag: &'static str,
    nft: &'static str,
    bits: u8,
}

const RST: Of = Of { kind: Kind::RstFlood, flag: "RST", nft: "rst", bits: tcp_flag::RST };
const FIN: Of = Of { kind: Kind::FinFlood, flag: "FIN", nft: "fin", bits: tcp_flag::FIN };
const ACK: Of = Of { kind: Kind::AckFlood, flag: "ACK", nft: "ack", bits: tcp_flag::ACK };

/// Judges the last second.
pub(super) fn detect(evidence: &HostEvidence<'_>) -> Option<(Target, Finding)> {
    let limit = evidence.config.stray_flood_per_s;
    let stray = evidence.per_s(HostCount::Stray);
    if stray < limit {
        return None;
    }
    let (resets, fins) = (evidence.per_s(HostCount::StrayRst), evidence.per_s(HostCount::StrayFin));
    if resets >= stray * FLAG_SHARE {
        return is_reset_flood(evidence, resets).then(|| finding(evidence, &RST, resets));
    }
    let new = evidence.per_s(HostCount::StrayNew);
    let answered = evidence.per_s(HostCount::StrayAnswered);
    let goes_on = stray - resets > new * SEGMENTS_PER_CONNECTION;
    if new < evidence.limit(limit, evidence.answers_visible) || answered > new * ANSWERED_SHARE || goes_on {
        return None;
    }
    let fin_flood = fins >= new * FLAG_SHARE;
    Some(finding(evidence, if fin_flood { &FIN } else { &ACK }, new))
}

/// Nobody answers a RST: where one direction is seen, these may be refusals of what was not seen.
fn is_reset_flood(evidence: &HostEvidence<'_>, resets: f64) -> bool {
    let limit = evidence.limit(evidence.config.stray_flood_per_s, evidence.answers_visible);
    let from_many = evidence.distinct().is_some_and(|distinct| distinct >= RST_SOURCES_MIN);
    resets >= limit && (evidence.answers_visible || from_many)
}

fn finding(evidence: &HostEvidence<'_>, of: &Of, measured: f64) -> (Target, Finding) {
    let Of { kind, flag, nft, bits } = *of;
    let limit = evidence.limit(evidence.config.stray_flood_per_s, evidence.answers_visible);
    let spoofed = evidence.spoofed(measured);
    let forged = spoofed.is_some_and(|share| share >= 0.5);
    let cause = format!(
        "{flag} flood at {}: {measured} segments/s of no connection {}{}",
        evidence.at_whom(),
        evidence.by_whom(),
        if forged { ", as good as one each: forged" } else { ": real hosts, with random ports" }
    );
    let state_lost = (kind != Kind::RstFlood).then(|| {
        "or state was lost: a firewall or balancer that begins anew sees its connections so".to_owned()
    });
    evidence.finding(Flood {
        kind,
        severity: severity(measured, evidence.config.stray_flood_per_s),
        rule: format!(
            "{flag} segments/s of no connection >= {limit}, answered share <= {ANSWERED_SHARE}, segments per connection <= {SEGMENTS_PER_CONNECTION}"
        ),
        measured,
        unit: "segments/s",
        limit,
        baseline: shown(evidence.stray),
        facts: vec![
            ("stray_per_s", evidence.per_s(HostCount::Stray)),
            ("stray_new_per_s", evidence.per_s(HostCount::StrayNew)),
            ("stray_answered_per_s", evidence.per_s(HostCount::StrayAnswered)),
            ("stray_rst_per_s", evidence.per_s(HostCount::StrayRst)),
            ("stray_fin_per_s", evidence.per_s(HostCount::StrayFin)),
        ],
        spoofed_estimate: spoofed,
        ttl_classes: evidence.sources.ttl_classes.count_ones(),
        target: evidence.target(None, "tcp"),
        cause: [Some(cause), state_lost, one_sided(evidence.answers_visible)].into_iter().flatten().collect(),
        next: vec![
            evidence.tcpdump_flags(bits),
            "nstat -az TcpInErrs TcpOutRsts TcpExtTCPChallengeACK TcpExtTCPAbortOnData".to_owned(),
            "sysctl net.netfilter.nf_conntrack_tcp_loose net.netfilter.nf_conntrack_count net.netfilter.nf_conntrack_max"
                .to_owned(),
            format!(
                "nft add rule inet filter input {} tcp flags {nft} ct state invalid,new drop",
                evidence.nft_place()
            ),
        ],
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing_host::Host;
    use super::*;

    fn strays(new: u64, stray: u64, answered: u64) -> Host {
        let host = Host::new().with(HostCount::StrayNew, new).with(HostCount::Stray, stray);
        host.with(HostCount::StrayAnswered, answered)
    }

    #[test]
    fn segments_of_nothing_are_a_flood_of_their_flag() {
        assert_eq!(strays(2_000, 2_000, 0).kinds(), [Kind::AckFlood]);
        assert_eq!(strays(2_000, 2_000, 0).with(HostCount::StrayFin, 2_000).kinds(), [Kind::FinFlood]);
        let resets = Host::new().with(HostCount::Stray, 2_000).with(HostCount::StrayRst, 2_000);
        assert_eq!(resets.kinds(), [Kind::RstFlood]);
        assert_eq!(strays(20_000, 20_000, 0).one_sided().kinds(), [Kind::AckFlood]);
    }

    #[test]
    fn a_capture_that_begins_mid_connection_is_none() {
        assert_eq!(strays(20_000, 22_000, 12_000).kinds(), []);
    }

    #[test]
    fn one_side_of_real_connections_is_none() {
        assert_eq!(strays(20_000, 90_000, 0).one_sided().kinds(), []);
        assert_eq!(strays(2_000, 2_000, 0).one_sided().kinds(), []);
        let refusals = Host::new().with(HostCount::Stray, 20_000).with(HostCount::StrayRst, 20_000);
        assert_eq!(refusals.one_sided().kinds(), []);
    }
}
