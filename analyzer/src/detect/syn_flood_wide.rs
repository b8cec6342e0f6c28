//! `syn_flood`, spread: SYNs over all ports of a host, or over the hosts of a network ("carpet bombing"), so that no
//! listener has many.
//!
//! Attack: as [`super::syn_flood`]; random ports take the work of refusing or dropping each, many hosts take the link and
//! the state of what stands before them.
//! Measured: first SYNs per sliding second at a host over its ports, or at a network over its hosts, the share of them
//! that are completed, the share of the busiest part, and what hosts asked of it meanwhile that each ask many.
//! Ordinary traffic does not trigger it: the busy hosts of a site complete their handshakes; a scan's questions are those
//! of few; where a network has become silent its clients ask again, within a second and again after three.
//! Thresholds: `conn_rate_limit_per_s` over at least `carpet_hosts_min` ports or hosts, of which none has half; half of it
//! not completed (`flood_unresolved_share`). From the configuration.
//! What would fool it: a flood over more networks than that (/24, /48), each with little; a flood by few real hosts (it is
//! a scan then); the first second of a network's outage, where its clients are many.

use std::net::IpAddr;

use super::asking::nft_family;
use crate::config::Config;
use crate::incident::{Finding, HostTarget, Kind, NetworkTarget, Severity, Target};
use crate::wide::{Place, WideCount};

/// Share of those who ask many from which on it is a scan.
const SEARCHED_SHARE: f64 = 0.5;
/// Share of the busiest part from which on it is that part's.
const ONE_PART_SHARE: f64 = 0.5;
/// SYNs sent again per new one from which on these are clients that want an answer.
const CLIENTS_REPEAT_SHARE: f64 = 0.25;
/// Times the limit from which on services of it are about to be down.
const DOWN_FACTOR: f64 = 10.0;

/// All that a detector may look at of attempts that are spread.
pub(crate) struct WideEvidence<'a> {
    /// Thresholds.
    pub(crate) config: &'a Config,
    pub(crate) place: Place,
    /// The sliding second, by [`WideCount`].
    pub(crate) counts: &'a [u64],
    /// Ports of a host, or hosts of a network, and the share of the busiest.
    pub(crate) parts: u64,
    pub(crate) busiest_share: f64,
    /// The port of most of a network's.
    pub(crate) port: Option<u16>,
}

impl WideEvidence<'_> {
    fn per_s(&self, count: WideCount) -> f64 {
        self.counts.get(count as usize).copied().unwrap_or_default() as f64
    }
}

/// Judges the last second.
pub(crate) fn wide_findings(evidence: &WideEvidence<'_>) -> Option<(Target, Finding)> {
    let config = evidence.config;
    let asked = evidence.per_s(WideCount::Asked);
    let open_share = 1.0 - (evidence.per_s(WideCount::Completed) / asked.max(1.0)).min(1.0);
    let is_wide = evidence.parts >= config.carpet_hosts_min && evidence.busiest_share < ONE_PART_SHARE;
    let is_asked_again = evidence.per_s(WideCount::Repeated) >= asked * CLIENTS_REPEAT_SHARE;
    let is_flood = asked >= config.conn_rate_limit_per_s
        && is_wide
        && open_share >= config.flood_unresolved_share
        && evidence.per_s(WideCount::Searched) < asked * SEARCHED_SHARE
        && !is_asked_again;
    is_flood.then(|| finding(evidence, asked, open_share))
}

fn finding(evidence: &WideEvidence<'_>, asked: f64, open_share: f64) -> (Target, Finding) {
    let (config, (address, prefix_bits)) = (evidence.config, evidence.place);
    let limit = config.conn_rate_limit_per_s;
    let (target, place, parts) = match prefix_bits {
        Some(prefix_bits) => (
            Target::Network(NetworkTarget { address, prefix_bits, port: evidence.port, protocol: "tcp" }),
            format!("{address}/{prefix_bits}"),
            "hosts",
        ),
        None => {
            let host = HostTarget { address, port: None, protocol: "tcp" };
            (Target::Host(host), address.to_string(), "ports")
        }
    };
    let word = if prefix_bits.is_some() { "dst net" } else { "dst host" };
    let made_up = evidence.per_s(WideCount::Bare) / asked.max(1.0);
    let finding = Finding {
        rule: format!(
            "syn/s over at least {} {parts} >= {limit} and share not completed >= {}",
            config.carpet_hosts_min, config.flood_unresolved_share
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
            (parts, evidence.parts as f64),
            ("busiest_share", evidence.busiest_share),
        ],
        window_s: 1.0,
        cause: vec![
            format!(
                "SYN flood at {place}: {asked:.0} SYN/s over {} {parts}, {:.0} % not completed; hosts that each ask many have {:.0} of them",
                evidence.parts,
                open_share * 100.0,
                evidence.per_s(WideCount::Searched)
            ),
            "or many hosts search for open ports at once".to_owned(),
        ],
        next: next_commands(address, &format!("{word} {place}"), &place, limit),
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

    /// Attempts, those sent again, completed, without options and of searches in a second, over so many parts.
    fn judge(counts: [u64; 5], parts: u64, busiest_share: f64) -> Option<(Target, Finding)> {
        wide_findings(&WideEvidence {
            config: &Config::default(),
            place: (IpAddr::from([192, 0, 2, 0]), Some(24)),
            counts: &counts,
            parts,
            busiest_share,
            port: Some(80),
        })
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
