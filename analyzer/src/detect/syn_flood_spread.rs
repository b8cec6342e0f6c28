//! `syn_flood` at a host or a network: attempts that nobody means to complete, spread over so many ports or hosts that no
//! listener has enough of them ("carpet bombing", or a flood to random ports).
//!
//! Attack: SYNs from forged addresses to all ports of a host, or to all hosts of a /24 (/48 of IPv6). Each listener gets a
//! few a second; the link, the firewall's state table and the hosts' processors get all of them.
//! Measured: SYNs per sliding second, repeated ones included, and of those older than [`GRACE_TICKS`] the share neither
//! completed nor refused; how many ports and hosts they went to, and whether one of these leads.
//! Ordinary traffic does not trigger it: clients complete their handshakes, hosts refuse on closed ports. A scan comes from
//! few sources ([`super::port_scan`], [`super::host_sweep`] tell it). Clients of servers that are silently gone ask again
//! after 1 s and 3 s (RFC 6298 section 5.7). What goes to one port or one host for more than half is told there.
//! Thresholds: `conn_rate_limit_per_s` of unresolved attempts and `flood_unresolved_share`; `carpet_hosts_min` hosts of a
//! network. From the configuration.
//! What would fool it: less than that rate; a botnet whose few hundred members each complete what they ask; a view of the
//! kernel's counters alone (XDP), which are by listener: there this is not looked for.

use std::net::IpAddr;

use super::host::TTL_CLASSES_MANY;
use crate::asked::{ASKED_COUNTS, AskedCount, AskedKey};
use crate::config::Config;
use crate::feature::{Sources, TICKS, ratio};
use crate::incident::{Finding, HostTarget, Kind, NetworkTarget, Severity, Target};

/// Ticks that attempts are given to be completed: clients far away, and a listener that is asked for the first time.
const GRACE_TICKS: usize = 3;
/// Sources from which on it is no scan, where not half of it is by so few.
const SOURCES_MIN: u64 = 32;
const SCANNERS: usize = 3;
/// SYNs sent again per new one from which on these are clients that want an answer.
const CLIENTS_REPEAT_SHARE: f64 = 0.25;
/// Ports from which on a host's attempts are spread.
const PORTS_MIN: u64 = 4;
/// Lead of the busiest port or host, in thousandths, from which on the flood is its own: it then has more than half.
const LEADS: u32 = 100;
/// Share of young attempts among all from which on it has just begun.
const MOSTLY_YOUNG: f64 = 0.6;
/// Completed share of the attempts below which nobody is served.
const COMPLETED_SHARE_DOWN: f64 = 0.1;

/// All that is known of a host or network.
pub(crate) struct SpreadEvidence<'a> {
    pub(crate) config: &'a Config,
    pub(crate) key: AskedKey,
    /// By [`AskedCount`].
    pub(crate) last_second: &'a [u64; ASKED_COUNTS],
    /// Attempts by tick, the newest first.
    pub(crate) ticks: [u64; TICKS],
    /// Distinct ports and hosts in the last one to two seconds.
    pub(crate) ports: u64,
    pub(crate) hosts: u64,
    /// See [`crate::asked::AskedWindow`].
    pub(crate) port_lead: u32,
    pub(crate) host_lead: u32,
    pub(crate) sources: &'a Sources,
    /// Whether a few sources had half of it lately.
    pub(crate) by_few: bool,
}

impl SpreadEvidence<'_> {
    fn per_s(&self, count: AskedCount) -> u64 {
        self.last_second[count as usize]
    }

    /// Attempts with time to be answered that were neither completed nor refused, and their share.
    fn unresolved(&self) -> Option<(u64, f64)> {
        let matured: u64 = self.ticks[GRACE_TICKS..].iter().sum();
        let resolved = self.per_s(AskedCount::Completed) + self.per_s(AskedCount::Refused);
        let unresolved = matured.saturating_sub(resolved);
        Some((unresolved, ratio(unresolved, matured)?))
    }

    /// Whether it is by more than a few: what those do is a scan, beside whoever else asks.
    fn is_by_many(&self) -> bool {
        self.sources.distinct.estimate() >= SOURCES_MIN && !self.by_few
    }

    /// Whether no port of the host, or no host of the network, has most of it.
    fn is_spread(&self) -> bool {
        match self.key {
            AskedKey::Host(_) => self.ports >= PORTS_MIN && self.port_lead < LEADS,
            AskedKey::Network(_) => self.hosts >= self.config.carpet_hosts_min && self.host_lead < LEADS,
        }
    }

    /// As many sources as attempts whose sender was noted, and none completes.
    fn spoofed(&self, unresolved_share: f64) -> Option<f64> {
        let noted = self.per_s(AskedCount::Noted);
        let dispersion = ratio(self.sources.distinct.estimate(), noted)?.min(1.0);
        Some((dispersion * unresolved_share * 100.0).round() / 100.0)
    }

    fn place(&self) -> String {
        match self.key {
            AskedKey::Host(address) => address.to_string(),
            AskedKey::Network(address) => format!("{address}/{}", prefix_bits(&self.key)),
        }
    }

    fn target(&self) -> Target {
        let protocol = "tcp";
        match self.key {
            AskedKey::Host(address) => Target::Host(HostTarget { address, port: None, protocol }),
            AskedKey::Network(address) => {
                let prefix_bits = prefix_bits(&self.key);
                Target::Network(NetworkTarget { address, prefix_bits, port: None, protocol })
            }
        }
    }

    fn is_ipv4(&self) -> bool {
        let (AskedKey::Host(address) | AskedKey::Network(address)) = self.key;
        address.is_ipv4()
    }
}

fn prefix_bits(key: &AskedKey) -> u8 {
    match key {
        AskedKey::Network(address) | AskedKey::Host(address) if address.is_ipv4() => 24,
        _ => 48,
    }
}

/// Whether so few sources that they are scanners have half of the attempts that the counts of sources are a part of.
pub(crate) fn is_by_few(busiest: &[(IpAddr, u32)], noted: u64) -> bool {
    busiest.iter().take(SCANNERS).map(|(_, attempts)| u64::from(*attempts)).sum::<u64>() * 2 >= noted
}

/// Whether it may turn out to be a flood of this kind: much is not completed yet that had no time to be. What its listeners
/// show waits for it, [`GRACE_TICKS`] at most.
pub(crate) fn may_be_flood(evidence: &SpreadEvidence<'_>) -> bool {
    let young = evidence.ticks[..GRACE_TICKS].iter().sum::<u64>();
    let asked = evidence.per_s(AskedCount::Attempted);
    let resolved = evidence.per_s(AskedCount::Completed) + evidence.per_s(AskedCount::Refused);
    let unresolved = asked.saturating_sub(resolved);
    young as f64 > asked as f64 * MOSTLY_YOUNG
        && unresolved as f64 >= evidence.config.conn_rate_limit_per_s
        && evidence.is_by_many()
        && evidence.is_spread()
}

/// Judges the last second.
pub(crate) fn detect(evidence: &SpreadEvidence<'_>) -> Option<(Target, Finding)> {
    let config = evidence.config;
    let (unresolved, share) = evidence.unresolved()?;
    let (asked, again) = (evidence.per_s(AskedCount::Attempted), evidence.per_s(AskedCount::Again));
    let is_flood = unresolved as f64 >= config.conn_rate_limit_per_s
        && share >= config.flood_unresolved_share
        && (again as f64) < CLIENTS_REPEAT_SHARE * asked as f64
        && evidence.is_by_many()
        && evidence.is_spread();
    is_flood.then(|| (evidence.target(), finding(evidence, share)))
}

fn finding(evidence: &SpreadEvidence<'_>, unresolved_share: f64) -> Finding {
    let config = evidence.config;
    let asked = evidence.per_s(AskedCount::Attempted);
    let completed_share = ratio(evidence.per_s(AskedCount::Completed), asked).unwrap_or(0.0);
    let severity = if completed_share < COMPLETED_SHARE_DOWN { Severity::P1 } else { Severity::P2 };
    let fact = |count| evidence.per_s(count) as f64;
    Finding {
        kind: Kind::SynFlood,
        severity,
        rule: format!(
            "unresolved attempts/s >= {} and unresolved share of matured attempts >= {}, no {} with half of them",
            config.conn_rate_limit_per_s,
            config.flood_unresolved_share,
            if matches!(evidence.key, AskedKey::Host(_)) { "port" } else { "host" },
        ),
        measured: (asked + evidence.per_s(AskedCount::Again)) as f64,
        unit: "syn/s",
        limit: config.conn_rate_limit_per_s,
        baseline: None,
        facts: vec![
            ("asked_per_s", fact(AskedCount::Attempted)),
            ("answered_per_s", fact(AskedCount::Answered)),
            ("completed_per_s", fact(AskedCount::Completed)),
            ("refused_per_s", fact(AskedCount::Refused)),
            ("unresolved_share", unresolved_share),
            ("syn_retransmission_per_s", fact(AskedCount::Again)),
            ("ports", evidence.ports as f64),
            ("hosts", evidence.hosts.max(1) as f64),
        ],
        window_s: 1.0,
        distinct_sources: Some(evidence.sources.distinct.estimate()),
        spoofed_estimate: evidence.spoofed(unresolved_share),
        top_sources: evidence.sources.top.clone(),
        top_prefixes: evidence.sources.prefixes.clone(),
        ttl_classes: Some(evidence.sources.ttl_classes.count_ones()),
        cause: causes(evidence, unresolved_share),
        next: next_commands(evidence),
    }
}

fn causes(evidence: &SpreadEvidence<'_>, unresolved_share: f64) -> Vec<String> {
    let asked = evidence.per_s(AskedCount::Attempted);
    let distinct = evidence.sources.distinct.estimate();
    let over = match evidence.key {
        AskedKey::Host(_) => format!("{} ports and more", evidence.ports),
        AskedKey::Network(_) => format!("about {} hosts, {} ports and more", evidence.hosts, evidence.ports),
    };
    let forged = evidence.spoofed(unresolved_share).is_some_and(|share| share >= 0.5);
    let by = if forged { "from forged addresses" } else { "from real hosts" };
    let mut causes = vec![format!(
        "SYN flood over {} ({over}) {by}: {distinct} sources and more, {asked} SYN/s, no port or host has half of them",
        evidence.place()
    )];
    if !forged && evidence.sources.ttl_classes.count_ones() < TTL_CLASSES_MANY {
        causes.push("or many hosts scan at once".to_owned());
    }
    if evidence.per_s(AskedCount::Answered) == 0 {
        causes.push(
            "nothing is answered: what is asked is closed, filtered or gone, or answers go another way"
                .to_owned(),
        );
    }
    causes
}

fn next_commands(evidence: &SpreadEvidence<'_>) -> Vec<String> {
    let place = evidence.place();
    let word = if matches!(evidence.key, AskedKey::Host(_)) { "dst host" } else { "dst net" };
    let flags = if evidence.is_ipv4() { "tcp[13]" } else { "ip6[53]" };
    let family = if evidence.is_ipv4() { "ip" } else { "ip6" };
    vec![
        format!("tcpdump -nnc 50 '{word} {place} and tcp and {flags} & 18 == 2'"),
        "ss -Htn state syn-recv | wc -l; nstat -az TcpExtSyncookiesSent TcpExtListenDrops TcpOutRsts"
            .to_owned(),
        "sysctl net.netfilter.nf_conntrack_count net.netfilter.nf_conntrack_max net.ipv4.tcp_syncookies"
            .to_owned(),
        format!(
            "nft add rule inet filter input {family} daddr {place} tcp flags & (fin | syn | rst | ack) == syn limit rate over {}/second drop",
            evidence.config.conn_rate_limit_per_s
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::distinct::Distinct;
    use tidegauge_ebpf::listener::Askers;
    use tidegauge_ebpf::stamp::Stamp;

    /// A second of 1,000 attempts from so many sources, of which so many were completed and sent again.
    fn found(
        key: AskedKey,
        sources: u64,
        completed: u64,
        again: u64,
        (ports, lead): (u64, u32),
    ) -> Option<Severity> {
        let mut askers = Askers::EMPTY;
        askers.start(Stamp(0));
        (0..sources)
            .for_each(|number| askers.record(number.wrapping_mul(0x9e37_79b9_7f4a_7c15), 60, Stamp(0)));
        let sources = Sources { distinct: Distinct::of(&askers), ..Sources::default() };
        let config = Config::default();
        let evidence = SpreadEvidence {
            config: &config,
            key,
            last_second: &[1_000, again, 0, 0, completed, 1_000],
            ticks: [100; TICKS],
            ports,
            hosts: ports,
            port_lead: lead,
            host_lead: lead,
            sources: &sources,
            by_few: false,
        };
        detect(&evidence).map(|(_, finding)| finding.severity)
    }

    #[test]
    fn what_is_spread_and_not_completed_is_a_flood() {
        let address = std::net::IpAddr::from([192, 0, 2, 0]);
        for key in [AskedKey::Host(address), AskedKey::Network(address)] {
            assert_eq!(found(key, 900, 0, 0, (200, 0)), Some(Severity::P1));
            assert_eq!(found(key, 900, 110, 0, (200, 0)), Some(Severity::P2), "some are served");
            assert_eq!(found(key, 900, 900, 0, (200, 0)), None, "completed");
            assert_eq!(found(key, 1, 0, 0, (200, 0)), None, "a scan");
            assert_eq!(found(key, 900, 0, 500, (200, 0)), None, "clients that ask again");
            assert_eq!(found(key, 900, 0, 0, (200, 600)), None, "of one port or host");
            assert_eq!(found(key, 900, 0, 0, (2, 0)), None, "of few");
        }
    }
}
