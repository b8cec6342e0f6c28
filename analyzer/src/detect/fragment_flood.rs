//! `fragment_flood`: fragments that never become packets.
//!
//! Attack: fragments of which some are missing fill the memory in which a host puts packets together, until the fragments
//! of others find no room; tiny ones cost most for their bytes (FragmentSmack, CVE-2018-5391).
//! Measured: fragments per second, how many of them are first ones, and bytes per fragment. Each packet that comes whole
//! has one first fragment and at least one later one.
//! Ordinary traffic does not trigger it: large datagrams (NFS, iperf3 with `-l 8K`, signed DNS answers) come with all
//! their fragments, of which all but the last fill the link's MTU.
//! Thresholds: `fragment_flood_per_s`. From the configuration.
//! What would fool it: full-size fragments in the right proportion of packets that are still not complete (the finding
//! is then of what the datagrams are). The counts of the kernel do not tell first fragments of UDP from whole datagrams:
//! there only many tiny ones, or ten times the limit from all over the world, count.

use super::host::{Flood, TTL_CLASSES_MANY, severity};
use super::{HostCount, HostEvidence};
use crate::incident::{Finding, Kind, Target};

/// First fragments' share below which packets have none, and above which they have nothing else: a packet has two
/// fragments or more, and of 64 KiB in an Ethernet's MTU it has 45.
const FIRST_SHARE_LEAST: f64 = 0.02;
const FIRST_SHARE_MOST: f64 = 0.6;
/// Bytes of a fragment on average below which they are tiny: a packet in two parts has more than half an MTU each.
const TINY_BYTES: f64 = 200.0;

/// Judges the last second.
pub(super) fn detect(evidence: &HostEvidence<'_>) -> Option<(Target, Finding)> {
    let config = evidence.config;
    let fragments = evidence.per_s(HostCount::Fragments);
    if fragments < config.fragment_flood_per_s {
        return None;
    }
    let first = evidence.per_s(HostCount::FirstFragments);
    let others = evidence.per_s(HostCount::Other);
    let packets = evidence.per_s(HostCount::Udp) + evidence.per_s(HostCount::Icmp) + others;
    let bytes = evidence.per_s(HostCount::UdpBytes)
        + evidence.per_s(HostCount::IcmpBytes)
        + evidence.per_s(HostCount::OtherBytes);
    // Where fragments are most of what comes, its size is theirs.
    let are_most = fragments >= packets / 2.0;
    let tiny = are_most && bytes / packets.max(1.0) < TINY_BYTES;
    let share = first / fragments;
    // The kernel tells of none.
    let orphaned = first > 0.0 && !(FIRST_SHARE_LEAST..=FIRST_SHARE_MOST).contains(&share);
    // None at all of whole packets: those of the kernel have later ones as packets of no transport alone.
    let headless = first == 0.0 && evidence.distinct().is_some() && others >= fragments;
    let much_from_everywhere = evidence.ttl_classes >= TTL_CLASSES_MANY
        && fragments >= config.fragment_flood_per_s * config.one_sided_factor
        && first == 0.0;
    let incomplete = tiny || orphaned || headless || much_from_everywhere;
    incomplete.then(|| finding(evidence, share, bytes / packets.max(1.0)))
}

fn finding(evidence: &HostEvidence<'_>, first_share: f64, bytes: f64) -> (Target, Finding) {
    let limit = evidence.config.fragment_flood_per_s;
    let fragments = evidence.per_s(HostCount::Fragments);
    let cause = format!(
        "fragment flood at {}: {fragments} fragments/s {}, {:.0} % of them first ones, {bytes:.0} bytes each: they cannot become packets",
        evidence.at_whom(),
        evidence.by_whom(),
        first_share * 100.0
    );
    let or_lost =
        "or fragments are lost on the way: a firewall that lets first ones through alone".to_owned();
    let is_ipv4 = evidence.address.is_ipv4();
    let (name, which) = if is_ipv4 {
        ("ipv4.ipfrag", "ip frag-off & 0x3fff != 0")
    } else {
        ("ipv6.ip6frag", "exthdr frag exists")
    };
    evidence.finding(Flood {
        kind: Kind::FragmentFlood,
        severity: severity(fragments, limit),
        rule: format!(
            "fragments/s >= {limit}, and first ones < {FIRST_SHARE_LEAST} or > {FIRST_SHARE_MOST} of them, or < {TINY_BYTES} bytes each"
        ),
        measured: fragments,
        unit: "fragments/s",
        limit,
        baseline: None,
        facts: vec![
            ("fragments_per_s", fragments),
            ("first_fragments_per_s", evidence.per_s(HostCount::FirstFragments)),
            ("bytes_per_packet", bytes),
        ],
        spoofed_estimate: evidence.spoofed(fragments),
        ttl_classes: evidence.ttl_classes,
        target: evidence.target(None, "ip"),
        cause: vec![cause, or_lost],
        next: vec![
            if is_ipv4 {
                format!("tcpdump -nnvc 20 '{} and ip[6:2] & 0x3fff != 0'", evidence.tcpdump_place())
            } else {
                format!("tcpdump -nnvc 20 '{} and ip6 proto 44'", evidence.tcpdump_place())
            },
            "nstat -az IpReasmReqds IpReasmOKs IpReasmFails IpReasmTimeout Ip6ReasmFails".to_owned(),
            format!("sysctl net.{name}_high_thresh net.{name}_time; grep FRAG /proc/net/sockstat*"),
            format!(
                "nft 'add chain inet filter fragments {{ type filter hook prerouting priority -450; }}; add rule inet filter fragments {} {which} limit rate over {limit}/second drop'",
                evidence.nft_place()
            ),
        ],
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing_host::Host;
    use super::*;

    fn fragments(all: u64, first: u64, bytes: u64) -> Host {
        let host = Host::new().with(HostCount::Fragments, all).with(HostCount::FirstFragments, first);
        let host = host.with(HostCount::Udp, first).with(HostCount::UdpBytes, first * bytes);
        host.with(HostCount::Other, all - first).with(HostCount::OtherBytes, (all - first) * bytes)
    }

    #[test]
    fn parts_without_the_rest_are_found() {
        assert_eq!(fragments(1_000, 1_000, 1_500).kinds(), [Kind::FragmentFlood]);
        assert_eq!(fragments(1_000, 5, 1_500).kinds(), [Kind::FragmentFlood]);
        assert_eq!(fragments(1_000, 400, 60).kinds(), [Kind::FragmentFlood]);
    }

    #[test]
    fn large_datagrams_are_silent() {
        assert_eq!(fragments(80_000, 14_000, 1_400).ports(Some(700), Some(2_049)).kinds(), []);
        assert_eq!(fragments(2_000, 1_000, 900).kinds(), []);
    }
}
