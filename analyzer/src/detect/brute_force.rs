//! `brute_force`: one password after the other is tried at a listener.
//!
//! Attack: connections of a protocol by which people log in (SSH, FTP, RDP, VNC; told by their content, so on any port),
//! each of which ends with little said.
//! Measured: such connections per source in a minute where most are at one listener; and per listener, for attacks from
//! many addresses, against what is usual there. Whether a password was wrong is encrypted, and not known.
//! Ordinary traffic does not trigger it: people log in a few times an hour and stay; scripts that log in for every
//! command come to a few a minute. Databases, mail and file shares, where brief logins are the ordinary case, do
//! not count. A busy server of repositories has as many logins all day: for the sum of many hosts the usual rate counts.
//! Thresholds: 30 a minute by one host (`brute_force_logins`); 300 a minute together and `conn_rise_factor` times the
//! usual (`brute_force_spread_logins`).
//! What would fool it: fewer than one in two seconds; a deployment tool that logs in anew for each of many commands (the
//! finding says so); an attack from many addresses that is there from the first minute.

use super::asking::nft_family;
use super::{ActorEvidence, Evidence};
use crate::history::Remembered;
use crate::incident::{Finding, Kind, Severity, Target};

/// Seconds of a listener's logins that make them usual.
const USUAL_SECONDS_MIN: usize = 60;
/// Distinct sources of attempts in two seconds that are many.
const SOURCES_MANY: u64 = 4;
const MINUTE_S: u64 = 60;

/// Judges one host's logins since the count began.
pub(super) fn detect(evidence: &ActorEvidence<'_>) -> Option<(Target, Finding)> {
    let (counts, limit) = (evidence.counts, evidence.config.brute_force_logins);
    if u64::from(counts.login_lead) < limit {
        return None;
    }
    let listener = counts.login?;
    let (who, logins) = (evidence.actor.address, u64::from(counts.counts.logins));
    let rule = format!("brief logins by one host at one listener in {:.0} s >= {limit}", evidence.seconds());
    let mut finding = evidence.finding(Kind::BruteForce, rule, (logins, "logins"));
    finding.limit = limit as f64;
    let per_s = logins as f64 / evidence.seconds();
    finding.top_sources = vec![(who, per_s.ceil() as u32)];
    finding.facts = vec![("logins", logins as f64), ("logins_per_s", (per_s * 10.0).round() / 10.0)];
    finding.cause = vec![
        format!(
            "{who} guesses passwords at {}: {logins} connections in {:.0} s that end with little said",
            std::net::SocketAddr::new(listener.address, listener.port),
            evidence.seconds()
        ),
        "or a script that logs in anew for each command: then its sizes and times are all alike, and no failure is logged"
            .to_owned(),
    ];
    finding.next = next_commands(listener.port, &format!("{} saddr {who} ", nft_family(who)));
    Some((Target::Listener(listener), finding))
}

/// Judges the last minute's logins by all hosts at a listener.
pub(super) fn detect_spread(evidence: &Evidence<'_>) -> Option<Finding> {
    let config = evidence.config;
    let logins = evidence.history.sum(Remembered::BriefLogin, MINUTE_S);
    if logins < config.brute_force_spread_logins {
        return None;
    }
    let usual = evidence.logins.usual(USUAL_SECONDS_MIN)?;
    let limit = (usual.median * MINUTE_S as f64 * config.conn_rise_factor)
        .max(config.brute_force_spread_logins as f64);
    let distinct = evidence.sources.distinct.estimate();
    if (logins as f64) < limit || distinct < SOURCES_MANY {
        return None;
    }
    let port = evidence.listener.port;
    Some(Finding {
        kind: Kind::BruteForce,
        severity: Severity::P3,
        rule: format!(
            "brief logins in a minute >= {} and usual x {}",
            config.brute_force_spread_logins, config.conn_rise_factor
        ),
        measured: logins as f64,
        unit: "logins",
        limit,
        baseline: Some(usual.median * MINUTE_S as f64),
        facts: vec![("logins", logins as f64)],
        window_s: evidence.history.span_s(MINUTE_S) as f64,
        distinct_sources: Some(distinct),
        spoofed_estimate: None,
        top_sources: evidence.sources.top.clone(),
        top_prefixes: evidence.sources.prefixes.clone(),
        ttl_classes: None,
        cause: vec![format!(
            "many hosts (about {distinct} in two seconds) guess passwords at {}: {logins} brief logins in a minute",
            evidence.socket()
        )],
        next: next_commands(port, ""),
    })
}

/// What to look at, and a limit for new connections of those who match `source`.
fn next_commands(port: u16, source: &str) -> Vec<String> {
    vec![
        format!("ss -Hltnp 'sport = :{port}'"),
        "journalctl -t sshd --since '-5 min' | grep -c 'Failed password'".to_owned(),
        "lastb -s -10min | awk '{print $3}' | sort | uniq -c | sort -rn | head".to_owned(),
        format!(
            "nft add rule inet filter input {source}tcp dport {port} ct state new limit rate over 6/minute drop"
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::testing_asked::{Asked, Heard, facts, host};
    use crate::fact::Fact;
    use crate::window::{ActorProtocol, ListenerKey};

    fn guessing(logins: u32) -> Asked {
        let mut asked = Asked::new(ActorProtocol::Tcp);
        (asked.counts.counts.logins, asked.counts.login_lead) = (logins, logins);
        asked.counts.login = Some(ListenerKey { address: host(12), port: 902 });
        asked
    }

    #[test]
    fn a_login_a_second_at_one_listener_is_guessing() {
        let (target, finding) = guessing(60).judge(detect).unwrap();
        assert!(matches!(target, Target::Listener(ListenerKey { port: 902, .. })));
        assert_eq!((finding.kind, finding.measured, finding.limit), (Kind::BruteForce, 60.0, 30.0));
        assert!(finding.next.len() == 4 && finding.next[3].contains("ip saddr 203.0.113.66 tcp dport 902"));
    }

    #[test]
    fn a_script_that_logs_in_every_few_seconds_is_none() {
        assert_eq!(guessing(15).judge(detect), None);
    }

    #[test]
    fn logins_at_many_listeners_are_a_tools_that_looks_after_them() {
        let mut asked = guessing(200);
        asked.counts.login_lead = 3;
        assert_eq!(asked.judge(detect), None);
    }

    fn logins_of_many(per_s_before: u64, per_s: u64) -> Heard {
        let mut heard = Heard::default();
        (0..120).for_each(|_| heard.logins.learn(per_s_before));
        heard.seconds(60, |window| (0..per_s).for_each(|_| window.facts.count(facts(&[Fact::BriefLogin]))));
        heard.ask_from(0..50);
        heard
    }

    #[test]
    fn many_hosts_that_come_at_once_guess_too() {
        let finding = logins_of_many(0, 10).judge(detect_spread).unwrap();
        assert_eq!((finding.kind, finding.measured), (Kind::BruteForce, 600.0));
    }

    #[test]
    fn a_busy_server_of_repositories_is_as_busy_as_ever() {
        assert_eq!(logins_of_many(10, 11).judge(detect_spread), None);
        assert_eq!(logins_of_many(0, 2).judge(detect_spread), None);
    }
}
