//! `land`: SYNs from their own destination.
//!
//! Attack: a SYN whose source address and port are the destination's made old systems answer themselves for ever.
//! Measured: such SYNs per second.
//! Ordinary traffic does not trigger it: nothing sends them over a network. On the loopback interface a program that
//! connects to a free port of its own range can meet itself, one SYN at a time; loopback addresses are left out.
//! Thresholds: `land_per_s`. From the configuration.
//! What would fool it: nothing; but today's systems drop these packets, so it says more of the network that let
//! them in than of the host.

use super::host::Flood;
use super::{HostCount, HostEvidence};
use crate::incident::{Finding, Kind, Severity, Target};

/// Judges the last second.
pub(super) fn detect(evidence: &HostEvidence<'_>) -> Option<(Target, Finding)> {
    let limit = evidence.config.land_per_s;
    let syns = evidence.per_s(HostCount::Land);
    if syns < limit || evidence.address.is_loopback() {
        return None;
    }
    let family = if evidence.address.is_ipv4() { "ip" } else { "ip6" };
    let place = evidence.place();
    Some(evidence.finding(Flood {
        kind: Kind::Land,
        severity: Severity::P3,
        rule: format!("SYN/s from their own destination >= {limit}"),
        measured: syns,
        unit: "syn/s",
        limit,
        baseline: None,
        facts: vec![("land_per_s", syns)],
        spoofed_estimate: Some(1.0),
        ttl_classes: evidence.sources.ttl_classes.count_ones(),
        target: evidence.target(None, "tcp"),
        cause: vec![
            format!("LAND attack: {syns} SYN/s to {place} with its own address and port as their source, which is forged"),
            "and whoever routes to it lets in packets from outside that claim to be from inside".to_owned(),
        ],
        next: vec![
            format!("tcpdump -nnec 20 'src {place} and dst {place} and tcp'"),
            "nstat -az IpExtInNoRoutes TcpExtIPReversePathFilter; sysctl net.ipv4.conf.all.rp_filter".to_owned(),
            format!("ip route get {place}"),
            format!(
                "nft add rule inet filter input iif != lo {family} saddr {place} {family} daddr {place} drop"
            ),
        ],
    }))
}

#[cfg(test)]
mod tests {
    use super::super::testing_host::Host;
    use super::*;

    #[test]
    fn syns_from_their_own_destination_are_found_and_one_is_not() {
        assert_eq!(Host::new().with(HostCount::Land, 20).kinds(), [Kind::Land]);
        assert_eq!(Host::new().with(HostCount::Land, 1).kinds(), []);
    }
}
