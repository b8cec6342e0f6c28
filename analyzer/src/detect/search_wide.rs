//! `host_sweep` and `port_scan` where the kernel judges (XDP) and nobody counts by who asks: a few hosts try all of a network,
//! or all ports of a host, faster than the limit of a flood.
//!
//! Attack: as [`super::host_sweep`] and [`super::port_scan`].
//! Measured: what makes a spread flood ([`super::syn_flood_wide`]); and of the attempts whose sources the kernel noted, the share
//! of at most sixteen that were each noted at eight listeners or more in one reading.
//! Ordinary traffic does not trigger it: it is completed, as is told there. Forged addresses are noted once or twice each.
//! Thresholds: half of the noted attempts, of twenty; `scan_unanswered_share` of all not completed.
//! What would fool it: a flood by a few real hosts, which is a search in all but its purpose, as it is for sources of whole
//! packets; a search slower than the limit of a flood, which the kernel's counts do not show.

use super::asking::nft_family;
use super::syn_flood_wide::{SEARCHED_SHARE, WideEvidence};
use crate::feature::ratio;
use crate::incident::{Finding, HostTarget, Kind, NetworkTarget, Severity, Target};
use crate::wide::{NOTED_MIN, Place, WideCount};

/// Whether most of the noted attempts are of a few.
pub(super) fn is_search(evidence: &WideEvidence<'_>) -> bool {
    searching_share(evidence).is_some_and(|share| share >= SEARCHED_SHARE)
}

fn searching_share(evidence: &WideEvidence<'_>) -> Option<f64> {
    let askers = evidence.askers;
    ratio(askers.searching, askers.noted).filter(|_| askers.noted >= NOTED_MIN)
}

/// Judges what is known to be a search, so much asked, and such a share of it not completed.
pub(super) fn detect(evidence: &WideEvidence<'_>, asked: f64, open_share: f64) -> Option<(Target, Finding)> {
    let config = evidence.config;
    if open_share < config.scan_unanswered_share {
        return None;
    }
    let (kind, target) = match evidence.place {
        Place::Network(network) => {
            let (address, prefix_bits) = (network.address, network.bits());
            let target = NetworkTarget { address, prefix_bits, port: evidence.port, protocol: "tcp" };
            (Kind::HostSweep, Target::Network(target))
        }
        Place::Host(address) => {
            (Kind::PortScan, Target::Host(HostTarget { address, port: None, protocol: "tcp" }))
        }
    };
    let (count, parts) = evidence.parts.counted();
    let (who, _) = evidence.askers.top.first()?;
    let finding = Finding {
        rule: format!(
            "syn/s by few hosts over at least {} {parts} >= {:.0} and share not completed >= {}",
            evidence.parts.least(config),
            evidence.limit(),
            config.scan_unanswered_share
        ),
        measured: count as f64,
        unit: parts,
        limit: evidence.parts.least(config) as f64,
        facts: vec![
            ("asked_per_s", asked),
            ("completed_per_s", evidence.per_s(WideCount::Completed)),
            ("unanswered_share", open_share),
            ("searching_share", searching_share(evidence)?),
            (parts, count as f64),
        ],
        window_s: 1.0,
        distinct_sources: evidence.distinct(),
        top_sources: evidence.askers.top.clone(),
        top_prefixes: evidence.askers.prefixes.clone(),
        cause: vec![
            format!(
                "{who} searches: {asked:.0} SYN/s over {count} {parts}, {:.0} % not completed",
                open_share * 100.0
            ),
            "or floods them from its own address".to_owned(),
        ],
        next: vec![
            format!("tcpdump -ni any -c 50 'src host {who} and tcp'"),
            format!("ss -Htn 'dst {who}' | wc -l"),
            format!("ip neigh show | grep -F '{who} '"),
            format!("nft add rule inet filter input {} saddr {who} drop", nft_family(*who)),
        ],
        ..Finding::bare(kind, Severity::P3)
    };
    Some((target, finding))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::detect::Parts;
    use crate::detect::syn_flood_wide::wide_findings;
    use crate::prefix::{Network, Size};
    use crate::wide::Askers;

    /// 3,000 SYNs a second over 200 hosts of a network, or ports of a host, of which so many are completed.
    fn judge(place: Place, askers: &Askers, completed: u64) -> Option<(String, &'static str)> {
        let (target, finding) = wide_findings(&WideEvidence {
            config: &Config::default(),
            place,
            counts: &[3_000, 0, completed, 0, 0],
            parts: if matches!(place, Place::Host(_)) { Parts::Ports(200) } else { Parts::Hosts(200) },
            busiest_share: 0.01,
            port: Some(445),
            askers,
            usual: None,
            whole_packets: false,
        })?;
        Some((target.to_string(), finding.kind.name()))
    }

    #[test]
    fn one_host_that_asks_all_searches_and_many_that_ask_once_flood() {
        let host = [192, 0, 2, 7].into();
        let network = Place::Network(Network::of(host, Size::Small));
        let one =
            Askers { noted: 80, distinct: 2, searching: 70, top: vec![(host, 70)], ..Askers::default() };
        let told = |target: &str, kind| Some((target.to_owned(), kind));
        assert_eq!(judge(network, &one, 0), told("192.0.2.0/24 port 445 tcp", "host_sweep"));
        assert_eq!(judge(Place::Host(host), &one, 0), told("192.0.2.7/tcp", "port_scan"));
        assert_eq!(judge(network, &one, 1_200), None);
        let many = Askers { noted: 80, distinct: 80, top: vec![(host, 1)], ..Askers::default() };
        assert_eq!(judge(network, &many, 0), told("192.0.2.0/24 port 445 tcp", "syn_flood"));
    }
}
