//! `syn_ack_reflection`: SYN-ACKs that the host never asked for.
//!
//! Attack: SYNs with the victim's address as their source go to many open ports; their answers come here. Listeners
//! repeat them up to five times.
//! Measured: SYN-ACKs per second without a SYN before them, and segments other than RSTs that follow in such
//! connections.
//! Ordinary traffic does not trigger it: a host gets SYN-ACKs to its own SYNs, which were seen before them. Where only
//! what comes in is seen all SYN-ACKs look unasked, but data follows in as many connections; and more is asked
//! there, since a host that scans without being seen gets answers too.
//! The slow kind (backscatter: some host that is flooded answers to addresses of ours that were forged, a few times a
//! minute over many hosts and hours) is not an attack on us, takes nothing, and stays silent: it is in the counters
//! (`answered_unasked`) and below any rate that a host would notice.
//! Thresholds: `unasked_answers_per_s`, `one_sided_factor`. From the configuration.
//! What would fool it: a scanner behind a view of one direction above ten times the limit; a reflection in which data
//! is forged too.

use tidegauge_ebpf::packet::tcp_flag;

use super::host::{Flood, one_sided, severity};
use super::{HostCount, HostEvidence};
use crate::incident::{Finding, Kind, Target};

/// Segments that follow per SYN-ACK from which on these are connections seen from one side.
const FOLLOWED_SHARE: f64 = 0.5;

/// Judges the last second.
pub(super) fn detect(evidence: &HostEvidence<'_>) -> Option<(Target, Finding)> {
    let config = evidence.config;
    let unasked = evidence.per_s(HostCount::UnaskedAnswer);
    if unasked < config.unasked_answers_per_s {
        return None;
    }
    let limit = evidence.limit(config.unasked_answers_per_s, evidence.answers_visible);
    let followed = evidence.per_s(HostCount::Stray) - evidence.per_s(HostCount::StrayRst);
    if unasked < limit || followed >= unasked * FOLLOWED_SHARE {
        return None;
    }
    Some(finding(evidence, limit, followed))
}

fn finding(evidence: &HostEvidence<'_>, limit: f64, followed: f64) -> (Target, Finding) {
    let unasked = evidence.per_s(HostCount::UnaskedAnswer);
    let resets = evidence.per_s(HostCount::StrayRst);
    let cause = format!(
        "SYN-ACK reflection at {}: {unasked} SYN-ACK/s {} to SYNs that it did not send; its address is forged elsewhere",
        evidence.at_whom(),
        evidence.by_whom()
    );
    let resets_say = (resets > 0.0)
        .then(|| format!("closed ports are asked in its name too: {resets} RST/s of no connection"));
    evidence.finding(Flood {
        kind: Kind::SynAckReflection,
        severity: severity(unasked, evidence.config.unasked_answers_per_s),
        rule: format!("unasked SYN-ACK/s >= {limit} and segments that follow < {FOLLOWED_SHARE} per SYN-ACK"),
        measured: unasked,
        unit: "syn-ack/s",
        limit,
        baseline: None,
        facts: vec![
            ("unasked_syn_ack_per_s", unasked),
            ("stray_rst_per_s", resets),
            ("segments_that_follow_per_s", followed),
        ],
        // The reflectors are real; forged is what they answer.
        spoofed_estimate: Some(0.0),
        ttl_classes: evidence.sources.ttl_classes.count_ones(),
        target: evidence.target(None, "tcp"),
        cause: [Some(cause), resets_say, one_sided(evidence.answers_visible)].into_iter().flatten().collect(),
        next: vec![
            evidence.tcpdump_flags(tcp_flag::SYN | tcp_flag::ACK),
            "nstat -az TcpOutRsts TcpInErrs".to_owned(),
            format!("ss -Htn state syn-sent src {} | wc -l", evidence.place()),
            format!(
                "nft add rule inet filter input {} tcp flags '& (syn|ack) == (syn|ack)' ct state invalid,new drop",
                evidence.nft_place()
            ),
        ],
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing_host::Host;
    use super::*;

    #[test]
    fn answers_to_nothing_are_found() {
        let host = Host::new().with(HostCount::UnaskedAnswer, 400).with(HostCount::StrayRst, 90);
        assert_eq!(host.with(HostCount::Stray, 90).kinds(), [Kind::SynAckReflection]);
        assert_eq!(
            Host::new().with(HostCount::UnaskedAnswer, 4_000).one_sided().kinds(),
            [Kind::SynAckReflection]
        );
    }

    #[test]
    fn connections_seen_from_one_side_are_none() {
        let host = Host::new().with(HostCount::UnaskedAnswer, 5_000).with(HostCount::Stray, 20_000);
        assert_eq!(host.one_sided().kinds(), []);
        assert_eq!(Host::new().with(HostCount::UnaskedAnswer, 400).one_sided().kinds(), []);
        assert_eq!(Host::new().with(HostCount::UnaskedAnswer, 3).kinds(), []);
    }
}
