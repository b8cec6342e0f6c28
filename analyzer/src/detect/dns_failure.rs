//! `dns_failure`: a DNS server that fails, does not answer, or is asked for what does not exist.
//!
//! Fault: a resolver without its upstream, a zone whose servers are gone or whose signatures have ended, a server that is
//! down or behind a firewall; a client with a wrong search list; names that malware makes up.
//! Measured, per server, over the last minute: responses by which the server says that it failed (SERVFAIL), queries
//! older than five seconds without a response, and names that do not exist (NXDOMAIN).
//! Ordinary traffic does not trigger it: a search list fails on purpose until it finds (one name counts once, and not if
//! it is found, [`crate::layer`]); resolvers have 10 % to 30 % of NXDOMAIN, single SERVFAILs of broken zones, single
//! lost datagrams. REFUSED is an answer: servers of zones give it to all who take them for resolvers. Unanswered counts
//! only where the server's answers can be seen.
//! Thresholds: `dns_failure_min`, `dns_failure_share`, `dns_missing_min`, `dns_missing_share`. From the configuration.
//! NXDOMAIN alone is a deviation (P3): it may be what the client means. A block list (DNSBL) says "not listed" so, and
//! addresses without a name look so: a host that asks for many of these is told of once, at P3, with these causes.
//! What would fool it: a server that is down when the capture begins and of which no handshake of anybody shows that
//! answers would be seen; DNS over TLS, HTTPS or TCP.

use super::{HostEvidence, NameMinute};
use crate::feature::ratio;
use crate::incident::{Finding, HostTarget, Kind, Severity, Target};

/// Share of failures from which on nobody gets an answer, and queries from which on that is a service down.
const DOWN_SHARE: f64 = 0.9;
const DOWN_QUERIES: u64 = 50;
/// Hosts that ask it from which on it matters where it was never seen to answer.
const DOWN_ASKERS: u64 = 3;
const MINUTE_S: f64 = 60.0;
const DNS_PORT: u16 = 53;

/// What a minute's queries came to, as shares.
struct Shares {
    unanswered: u64,
    /// Failed or unanswered, of what was asked.
    broken: f64,
    /// Names that do not exist, of what was answered.
    missed: f64,
}

/// Judges the last minute, once a second.
pub(super) fn detect(evidence: &HostEvidence<'_>) -> Option<(Target, Finding)> {
    let (config, minute) = (evidence.config, evidence.names?);
    if minute.recent == 0 || evidence.network.is_some() {
        return None;
    }
    let shares = shares(evidence, minute)?;
    let broken = minute.server_failed + shares.unanswered;
    if broken >= config.dns_failure_min && shares.broken >= config.dns_failure_share {
        return Some(failing(evidence, minute, &shares));
    }
    let much_missing = minute.missed >= config.dns_missing_min && shares.missed >= config.dns_missing_share;
    much_missing.then(|| missing(evidence, minute, &shares))
}

fn shares(evidence: &HostEvidence<'_>, minute: NameMinute) -> Option<Shares> {
    let answers_seen = minute.answered != 0 || evidence.answers_visible;
    let unanswered = if answers_seen { minute.matured.saturating_sub(minute.answered) } else { 0 };
    let asked = minute.answered + unanswered;
    Some(Shares {
        unanswered,
        broken: ratio(minute.server_failed + unanswered, asked)?,
        missed: ratio(minute.missed, minute.answered).unwrap_or(0.0),
    })
}

fn failing(evidence: &HostEvidence<'_>, minute: NameMinute, shares: &Shares) -> (Target, Finding) {
    let config = evidence.config;
    // What never was there is not down: a wrong address in one client's configuration.
    let matters = minute.has_served || evidence.distinct().is_some_and(|askers| askers >= DOWN_ASKERS);
    let down = matters && shares.broken >= DOWN_SHARE && minute.queries >= DOWN_QUERIES;
    let address = evidence.address;
    let percent = shares.broken * 100.0;
    let cause = if shares.unanswered > minute.server_failed {
        [
            format!(
                "{address} does not answer: {} of {} queries in a minute",
                shares.unanswered, minute.queries
            ),
            "a server that is down or overloaded, or a path that drops one of the directions".to_owned(),
        ]
    } else {
        [
            format!("{address} answers SERVFAIL: {} times in a minute, {percent:.0} %", minute.server_failed),
            "its upstream or a zone's servers do not answer it, or signatures (DNSSEC) are not valid"
                .to_owned(),
        ]
    };
    let rule = format!(
        "SERVFAIL or unanswered >= {} of a minute's queries, at least {}",
        config.dns_failure_share, config.dns_failure_min
    );
    let severity = if down { Severity::P1 } else { Severity::P2 };
    finding(
        evidence,
        minute,
        shares,
        Said { severity, rule, cause, measured: shares.broken, limit: config.dns_failure_share },
    )
}

fn missing(evidence: &HostEvidence<'_>, minute: NameMinute, shares: &Shares) -> (Target, Finding) {
    let config = evidence.config;
    let cause = [
        format!(
            "clients of {} ask for names that do not exist: {} in a minute, {:.0} % of the answers, search lists counted once: a wrong name in a configuration, names that malware makes up, a random-name attack on a zone",
            evidence.address,
            minute.missed,
            shares.missed * 100.0
        ),
        "or nothing is wrong: block lists (DNSBL) say \"not listed\" so, and addresses without a name look so"
            .to_owned(),
    ];
    let rule = format!(
        "NXDOMAIN >= {} of a minute's answers, at least {}",
        config.dns_missing_share, config.dns_missing_min
    );
    let (measured, limit) = (shares.missed, config.dns_missing_share);
    finding(evidence, minute, shares, Said { severity: Severity::P3, rule, cause, measured, limit })
}

/// What differs between both.
struct Said {
    severity: Severity,
    rule: String,
    cause: [String; 2],
    measured: f64,
    limit: f64,
}

fn finding(
    evidence: &HostEvidence<'_>,
    minute: NameMinute,
    shares: &Shares,
    said: Said,
) -> (Target, Finding) {
    let address = evidence.address;
    let finding = Finding {
        kind: Kind::DnsFailure,
        severity: said.severity,
        rule: said.rule,
        measured: said.measured,
        unit: "share of queries",
        limit: said.limit,
        baseline: None,
        facts: vec![
            ("queries_per_min", minute.queries as f64),
            ("answered_per_min", minute.answered as f64),
            ("unanswered_per_min", shares.unanswered as f64),
            ("servfail_per_min", minute.server_failed as f64),
            ("failed_with_any_code_per_min", minute.failed as f64),
            ("names_missing_per_min", minute.missed as f64),
        ],
        window_s: MINUTE_S,
        distinct_sources: evidence.distinct(),
        spoofed_estimate: None,
        top_sources: evidence.sources.top.clone(),
        top_prefixes: evidence.sources.prefixes.clone(),
        ttl_classes: None,
        cause: said.cause.into(),
        next: vec![
            format!("dig @{address} . SOA +norecurse +time=2; dig @{address} example.org A +time=2"),
            format!("tcpdump -nnvc 50 'host {address} and udp port {DNS_PORT}'"),
            format!(
                "ss -Huan 'dst {address} and dport = :{DNS_PORT}'; nstat -az UdpInErrors UdpRcvbufErrors"
            ),
            "resolvectl statistics; cat /etc/resolv.conf".to_owned(),
        ],
    };
    let target = HostTarget { address, port: Some(DNS_PORT), protocol: "udp" };
    (Target::Host(target), finding)
}

#[cfg(test)]
mod tests {
    use super::super::testing_host::Host;
    use super::*;

    fn judged(minute: NameMinute) -> Vec<Severity> {
        let mut host = Host::new();
        host.names = Some(NameMinute { matured: minute.queries, recent: 1, ..minute });
        let _ = host.kinds();
        host.findings().into_iter().map(|(_, finding)| finding.severity).collect()
    }

    #[test]
    fn a_server_that_fails_or_is_silent_is_found() {
        let minute =
            NameMinute { queries: 50, answered: 50, server_failed: 20, failed: 20, ..NameMinute::default() };
        assert_eq!(judged(minute), [Severity::P2]);
        let silent = NameMinute { queries: 60, answered: 2, ..NameMinute::default() };
        assert_eq!(judged(NameMinute { has_served: true, ..silent }), [Severity::P1]);
        // It never was there.
        assert_eq!(judged(silent), [Severity::P2]);
        let minute =
            NameMinute { queries: 200, answered: 200, missed: 160, failed: 160, ..NameMinute::default() };
        assert_eq!(judged(minute), [Severity::P3]);
    }

    #[test]
    fn the_usual_failures_are_silent() {
        let minute = NameMinute {
            queries: 1_000,
            answered: 990,
            failed: 330,
            missed: 300,
            server_failed: 30,
            ..NameMinute::default()
        };
        assert_eq!(judged(minute), []);
    }

    #[test]
    fn one_side_of_a_server_is_silent() {
        let mut host = Host::new().one_sided();
        host.names = Some(NameMinute { queries: 900, matured: 900, recent: 9, ..NameMinute::default() });
        assert_eq!(host.kinds(), []);
        host.names = Some(NameMinute { answered: 900, ..NameMinute::default() });
        assert_eq!(host.kinds(), []);
    }
}
