//! `syn_flood`, spread: SYNs over all ports of a host, or over the hosts of a network ("carpet bombing"), a /24 or many of
//! a /16, so that no listener has many.
//!
//! Attack: as [`super::syn_flood`]; random ports take the work of refusing or dropping each, many hosts take the link and
//! the state of what stands before them.
//! Measured: first SYNs per sliding second at a host over its ports, or at a network over its hosts, the share of them
//! that are completed, the share of the busiest part, and what hosts asked of it meanwhile that each ask many.
//! Ordinary traffic does not trigger it: the busy hosts of a site complete their handshakes; a scan's questions are those
//! of few; where a network has become silent its clients ask again, within a second and again after three. The Internet's
//! noise that strays into a /16 (thousands of SYNs a second, of worms) is usual there.
//! Thresholds: `conn_rate_limit_per_s` over at least `carpet_hosts_min` ports or hosts, of which none has half; half of it
//! not completed (`flood_unresolved_share`). Of a /16 (/32) twice the limit above what is usual there, and a rise by half;
//! over three /24s (/48s) or more. From the configuration.
//! What would fool it: a flood over more networks than that, each with little; over a /16 one below five times its limit
//! that is there when a capture begins; a flood by few real hosts (it is a scan then); the first second of a network's
//! outage, where its clients are many. Where the kernel judges (XDP) a sample says who asks many ([`super::search_wide`]).

use std::net::IpAddr;

use super::asking::nft_family;
use super::{Parts, search_wide};
use crate::baseline::{Baseline, SECONDS_MIN};
use crate::config::Config;
use crate::incident::{Finding, HostTarget, Kind, NetworkTarget, Severity, Target};
use crate::wide::{Askers, NOTED_MIN, Place, WideCount};

/// Share of those who ask many from which on it is a scan.
pub(super) const SEARCHED_SHARE: f64 = 0.5;
/// Share of the busiest part from which on it is that part's.
const ONE_PART_SHARE: f64 = 0.5;
/// SYNs sent again per new one from which on these are clients that want an answer.
const CLIENTS_REPEAT_SHARE: f64 = 0.25;
/// Times what is usual, where something is.
const RISE: f64 = 1.5;
/// Times the limit that is asked where it is not known what is usual.
const UNKNOWN_FACTOR: f64 = 5.0;
/// Times the limit from which on services of it are about to be down.
const DOWN_FACTOR: f64 = 10.0;

/// All that a detector may look at of attempts that are spread.
pub(crate) struct WideEvidence<'a> {
    /// Thresholds.
    pub(crate) config: &'a Config,
    pub(crate) place: Place,
    /// The sliding second, by [`WideCount`].
    pub(crate) counts: &'a [u64],
    /// What they are spread over, and the share of the busiest part.
    pub(crate) parts: Parts,
    pub(crate) busiest_share: f64,
    /// The port of most of a network's.
    pub(crate) port: Option<u16>,
    pub(crate) askers: &'a Askers,
    /// Attempts per second, where something is usual.
    pub(crate) usual: Option<&'a Baseline>,
    /// Whether the source shows whole packets: then each who asks many is known.
    pub(crate) whole_packets: bool,
}

impl WideEvidence<'_> {
    pub(super) fn per_s(&self, count: WideCount) -> f64 {
        self.counts.get(count as usize).copied().unwrap_or_default() as f64
    }

    /// The rate from which on it is a flood.
    pub(super) fn limit(&self) -> f64 {
        let limit = self.config.conn_rate_limit_per_s;
        let Some(usual) = self.usual else { return limit };
        match usual.usual(SECONDS_MIN) {
            Some(usual) => (usual.median + limit).max(usual.median * RISE),
            None => limit * UNKNOWN_FACTOR,
        }
    }

    /// Share of the attempts that are probably forged: of those that were noted nearly each is from another address, and
    /// none is completed.
    fn spoofed_estimate(&self, open_share: f64) -> Option<f64> {
        let noted = self.askers.noted;
        (noted >= NOTED_MIN)
            .then(|| (self.askers.distinct as f64 / noted as f64 * open_share * 100.0).round() / 100.0)
    }

    /// Distinct sources, where a sample has them all: each is in it several times.
    pub(super) fn distinct(&self) -> Option<u64> {
        let Askers { noted, distinct, .. } = *self.askers;
        (noted >= NOTED_MIN && distinct * 4 <= noted).then_some(distinct)
    }
}

/// Judges the last second. A flood and a search look alike but for who asks.
pub(crate) fn wide_findings(evidence: &WideEvidence<'_>) -> Option<(Target, Finding)> {
    let config = evidence.config;
    let asked = evidence.per_s(WideCount::Asked);
    let open_share = 1.0 - (evidence.per_s(WideCount::Completed) / asked.max(1.0)).min(1.0);
    let is_wide = evidence.parts.are_many(config) && evidence.busiest_share < ONE_PART_SHARE;
    let is_asked_again = evidence.per_s(WideCount::Repeated) >= asked * CLIENTS_REPEAT_SHARE;
    let is_in_vain = asked >= evidence.limit()
        && is_wide
        && open_share >= config.flood_unresolved_share
        && evidence.per_s(WideCount::Searched) < asked * SEARCHED_SHARE
        && !is_asked_again;
    if is_in_vain && !evidence.whole_packets && search_wide::is_search(evidence) {
        return search_wide::detect(evidence, asked, open_share);
    }
    is_in_vain.then(|| finding(evidence, asked, open_share))
}

fn finding(evidence: &WideEvidence<'_>, asked: f64, open_share: f64) -> (Target, Finding) {
    let (config, limit) = (evidence.config, evidence.limit());
    let (target, place, word) = match evidence.place {
        Place::Network(network) => {
            let (address, prefix_bits) = (network.address, network.bits());
            let target = NetworkTarget { address, prefix_bits, port: evidence.port, protocol: "tcp" };
            (Target::Network(target), format!("{address}/{prefix_bits}"), "dst net")
        }
        Place::Host(address) => {
            let host = HostTarget { address, port: None, protocol: "tcp" };
            (Target::Host(host), address.to_string(), "dst host")
        }
    };
    let (count, parts) = evidence.parts.counted();
    let spoofed = evidence.spoofed_estimate(open_share);
    let made_up = evidence.per_s(WideCount::Bare) / asked.max(1.0);
    let finding = Finding {
        rule: format!(
            "syn/s over at least {} {parts} >= {limit:.0} and share not completed >= {}",
            evidence.parts.least(config),
            config.flood_unresolved_share
        ),
        measured: asked,
        unit: "syn/s",
        limit,
        facts: vec![
            ("asked_per_s", asked),
            ("completed_per_s", evidence.per_s(WideCount::Completed)),
            ("syn_retransmission_per_s", evidence.per_s(WideCount::Repeated)),
            ("unresolved_share", open_share),
            ("without_options_share", made_up),
            (parts, count as f64),
            ("busiest_share", evidence.busiest_share),
        ],
        window_s: 1.0,
        baseline: evidence.usual.and_then(|usual| usual.usual(SECONDS_MIN)).map(|usual| usual.median),
        distinct_sources: evidence.distinct(),
        spoofed_estimate: spoofed,
        top_sources: evidence.askers.top.clone(),
        top_prefixes: evidence.askers.prefixes.clone(),
        ttl_classes: Some(evidence.askers.ttl_classes.count_ones()).filter(|classes| *classes != 0),
        cause: vec![
            format!(
                "SYN flood at {place}: {asked:.0} SYN/s over {count} {parts}, {:.0} % not completed; hosts that each ask many have {:.0} of them",
                open_share * 100.0,
                evidence.per_s(WideCount::Searched)
            ),
            "or many hosts search for open ports at once".to_owned(),
        ],
        next: next_commands(
            evidence.place.address(),
            &format!("{word} {place}"),
            &place,
            config.conn_rate_limit_per_s,
        ),
        ..Finding::bare(
            Kind::SynFlood,
            if asked >= limit * DOWN_FACTOR { Severity::P1 } else { Severity::P2 },
        )
    };
    (target, finding)
}

fn next_commands(address: IpAddr, matched: &str, place: &str, limit: f64) -> Vec<String> {
    let flags = if address.is_ipv4() { "tcp[13]" } else { "ip6[53]" };
    let family = nft_family(address);
    vec![
        format!("tcpdump -nnc 20 '{matched} and tcp and {flags} & 18 == 2'"),
        "nstat -az TcpExtSyncookiesSent TcpExtListenDrops TcpOutRsts TcpExtTCPReqQFullDoCookies".to_owned(),
        "sysctl net.ipv4.tcp_syncookies net.netfilter.nf_conntrack_count net.netfilter.nf_conntrack_max"
            .to_owned(),
        format!(
            "nft add rule inet filter input {family} daddr {place} tcp flags syn ct state new limit rate over {limit}/second drop"
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prefix::{Network, Size};

    /// Attempts, those sent again, completed, without options and of searches in a second, over so many hosts.
    fn judge(counts: [u64; 5], hosts: u64, busiest_share: f64) -> Option<(Target, Finding)> {
        judge_at(Size::Small, counts, Parts::Hosts(hosts), busiest_share, None)
    }

    fn judge_at(
        size: Size,
        counts: [u64; 5],
        parts: Parts,
        busiest_share: f64,
        usual: Option<&Baseline>,
    ) -> Option<(Target, Finding)> {
        wide_findings(&WideEvidence {
            config: &Config::default(),
            place: Place::Network(Network::of(IpAddr::from([192, 0, 2, 0]), size)),
            counts: &counts,
            parts,
            busiest_share,
            port: Some(80),
            askers: &Askers::default(),
            usual,
            whole_packets: true,
        })
    }

    #[test]
    fn what_strays_into_a_large_network_is_usual_there() {
        let networks = Parts::Networks { networks: 200, hosts: 2_000 };
        let judge = |asked, usual: &Baseline| {
            judge_at(Size::Large, [asked, 0, 0, asked, 0], networks, 0.01, Some(usual))
        };
        let (quiet, mut noisy) = (Baseline::default(), Baseline::default());
        (0..20).for_each(|_| noisy.learn(4_000));
        assert!(judge(4_400, &noisy).is_none() && judge(5_800, &noisy).is_none());
        assert_eq!(judge(6_100, &noisy).unwrap().0.to_string(), "192.0.0.0/16 port 80 tcp");
        assert!(judge(2_000, &quiet).is_none() && judge(2_600, &quiet).is_some());
    }

    #[test]
    fn syns_over_a_network_that_nobody_completes_are_its_flood() {
        let (target, finding) = judge([2_000, 0, 20, 2_000, 0], 200, 0.01).unwrap();
        assert_eq!(target.to_string(), "192.0.2.0/24 port 80 tcp");
        assert_eq!((finding.kind, finding.severity, finding.next.len()), (Kind::SynFlood, Severity::P2, 4));
        assert_eq!(judge([20_000, 0, 20, 0, 0], 200, 0.01).unwrap().1.severity, Severity::P1);
    }

    #[test]
    fn a_busy_site_a_scan_an_outage_and_one_hosts_flood_are_none() {
        assert_eq!(judge([2_000, 0, 1_900, 0, 0], 200, 0.1), None);
        assert_eq!(judge([2_000, 0, 20, 2_000, 1_990], 200, 0.01), None);
        assert_eq!(judge([2_000, 1_500, 0, 0, 0], 200, 0.01), None);
        assert_eq!(judge([2_000, 0, 0, 0, 0], 200, 0.9), None);
        assert_eq!(judge([2_000, 0, 0, 0, 0], 8, 0.2), None);
        assert_eq!(judge([400, 0, 0, 0, 0], 200, 0.01), None);
    }
}
