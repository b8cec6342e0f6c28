//! `protocol_flood`: packets of IP protocols other than TCP, UDP and ICMP, from forged addresses.
//!
//! Attack: GRE, ESP, SCTP, IGMP or protocols that do not exist: filters for the three common ones let them through, and
//! they take the link all the same.
//! Measured: such packets per second at a host, without fragments (those are another flood, and later ones have no protocol
//! of their own), and how many sources they have for as many packets.
//! Ordinary traffic does not trigger it: a tunnel has one peer, a hub of tunnels some hundred, each of which sends many
//! packets a second; routing protocols go to multicast groups. Only where nearly each packet is from another address
//! nobody has a tunnel with them.
//! Thresholds: `protocol_flood_per_s`, half of the packets as good as one for each address. From the configuration.
//! What would fool it: a flood from few or real addresses (a tunnel looks like it); what is read as a tunnel and holds
//! packets (GRE with IP in it: those count, where they go to); spread over a network; the counts of the kernel, which do
//! not tell sources.

use super::host::{Flood, severity};
use super::{HostCount, HostEvidence};
use crate::incident::{Finding, Kind, Target};

/// Sources per packet from which on they are forged.
const FORGED_SHARE: f64 = 0.5;
/// Share of all that comes to the host and is not TCP that they must be: its sources are counted together.
const MOST_SHARE: f64 = 0.5;

/// Judges the last second.
pub(super) fn detect(evidence: &HostEvidence<'_>) -> Option<(Target, Finding)> {
    let limit = evidence.config.protocol_flood_per_s;
    let packets = evidence.per_s(HostCount::Other) - evidence.per_s(HostCount::Fragments);
    if packets < limit || evidence.address.is_multicast() {
        return None;
    }
    let all = packets + evidence.per_s(HostCount::Udp) + evidence.per_s(HostCount::Icmp);
    let spoofed = evidence.spoofed(all)?;
    let is_flood = spoofed >= FORGED_SHARE && packets >= all * MOST_SHARE;
    is_flood.then(|| finding(evidence, packets, spoofed))
}

fn finding(evidence: &HostEvidence<'_>, packets: f64, spoofed: f64) -> (Target, Finding) {
    let limit = evidence.config.protocol_flood_per_s;
    let bytes = evidence.per_s(HostCount::OtherBytes) / packets.max(1.0);
    let (others, reads) = if evidence.address.is_ipv4() {
        ("not tcp and not udp and not icmp", "IpInReceives IpInUnknownProtos IpExtInOctets")
    } else {
        ("not tcp and not udp and not icmp6", "Ip6InReceives Ip6InUnknownProtos Ip6InOctets")
    };
    evidence.finding(Flood {
        kind: Kind::ProtocolFlood,
        severity: severity(packets, limit),
        rule: format!(
            "packets/s of protocols other than TCP, UDP and ICMP >= {limit} and sources per packet >= {FORGED_SHARE}"
        ),
        measured: packets,
        unit: "packets/s",
        limit,
        baseline: None,
        facts: vec![
            ("other_protocols_per_s", packets),
            ("other_protocols_bytes_per_s", evidence.per_s(HostCount::OtherBytes)),
            ("bytes_per_packet", bytes.round()),
        ],
        spoofed_estimate: Some(spoofed),
        ttl_classes: evidence.ttl_classes,
        target: evidence.target(None, "ip"),
        cause: vec![format!(
            "flood of another IP protocol at {}: {packets} packets/s of {bytes:.0} bytes {}, as good as one each: forged",
            evidence.at_whom(),
            evidence.by_whom()
        )],
        next: vec![
            format!("tcpdump -nnvc 20 '{} and {others}'", evidence.tcpdump_place()),
            format!("nstat -az {reads}"),
            "ip -d tunnel show; ip xfrm state count; cat /proc/net/protocols | head -3".to_owned(),
            format!(
                "nft add rule inet filter input {} meta l4proto != {{ tcp, udp, icmp, icmpv6 }} limit rate over {limit}/second drop",
                evidence.nft_place()
            ),
        ],
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing_host::Host;
    use super::*;

    fn packets(count: u64, sources: u32) -> Host {
        let host = Host::new().with(HostCount::Other, count).with(HostCount::OtherBytes, count * 98);
        host.from(sources)
    }

    #[test]
    fn packets_from_as_many_addresses_are_a_flood() {
        assert_eq!(packets(3_000, 3_000).kinds(), [Kind::ProtocolFlood]);
        assert_eq!(packets(900, 900).kinds(), []);
    }

    #[test]
    fn a_tunnel_a_hub_of_many_and_later_fragments_are_none() {
        assert_eq!(packets(100_000, 1).kinds(), []);
        assert_eq!(packets(25_000, 200).kinds(), []);
        let fragments = packets(3_000, 3_000).with(HostCount::Fragments, 2_600);
        assert!(!fragments.with(HostCount::FirstFragments, 100).kinds().contains(&Kind::ProtocolFlood));
    }

    #[test]
    fn sources_of_datagrams_are_not_those_of_a_tunnel() {
        assert_eq!(
            packets(2_000, 3_000).with(HostCount::Udp, 3_000).with(HostCount::SentUdp, 3_000).kinds(),
            []
        );
    }
}
