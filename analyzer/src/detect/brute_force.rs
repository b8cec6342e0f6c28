//! `brute_force`: one password after the other is tried at a listener.
//!
//! Attack: connections of a protocol by which people log in (SSH, FTP, Telnet, RDP, VNC; told by their content, so on any
//! port), each of which ends with little said; MQTT's that the broker ends at once; logins that the server refuses in the
//! clear (FTP, mail, databases, SMB, LDAP: [`crate::layer`]), however many to a connection, and HTTP's credentials, each
//! another one than the last; forms and queries with another password each.
//! Measured: those of the first four kinds per source in a minute and in five where most are at one listener; per
//! listener, for attacks from many addresses, against what is usual there; forms per listener in a minute, and their
//! share of its requests. Whether a password was wrong is mostly encrypted, and not known.
//! Ordinary traffic does not trigger it: people log in a few times an hour and stay; scripts that log in for every
//! command come to a few a minute. Of databases, mail and file shares, where brief connections are the ordinary case,
//! only what is refused counts. A program with an old password says the same again and again. A busy server of repositories has as many logins all day: for the sum of many hosts the usual rate counts.
//! Who sends one password with each request tries none ([`crate::layer`]). People ask for many pages for each form with a
//! password, so that a site's own logins, which may all come by one proxy, are a small share.
//! Thresholds: 30 a minute by one host (`brute_force_logins`), 20 in five minutes (`brute_force_slow_logins`); 300 a
//! minute together and `conn_rise_factor` times the usual (`brute_force_spread_logins`); forms: 30 a minute that are a
//! fifth of the requests (`brute_force_form_share`).
//! What would fool it: fewer than one in fifteen seconds; a program with an old password where the server sends a challenge
//! (MySQL, PostgreSQL, SMB: each answer to it differs); a deployment tool that logs in anew for each of many commands
//! (the finding says so); an attack from many addresses that is there from the first minute; forms at a busy site, in
//! JSON, or over TLS; logins of which the beginning was not seen.

use super::asking::nft_family;
use super::{ActorEvidence, Evidence};
use crate::feature::ratio;
use crate::history::Remembered;
use crate::incident::{Finding, Kind, Severity, Target};

/// Seconds of a listener's logins that make them usual.
const USUAL_SECONDS_MIN: usize = 60;
/// Distinct sources of attempts in two seconds that are many.
const SOURCES_MANY: u64 = 4;
const MINUTE_S: u64 = 60;
/// What [`crate::window::ActorWindow::logins_before`] is over, seconds.
const MINUTES_BEFORE_S: f64 = 240.0;

/// Judges one host's logins since the count began.
pub(super) fn detect(evidence: &ActorEvidence<'_>) -> Option<(Target, Finding)> {
    let (counts, config) = (evidence.counts, evidence.config);
    let lead = u64::from(counts.login_lead);
    let of_minutes = lead + u64::from(counts.logins_before);
    let (logins, limit, seconds) = if lead >= config.brute_force_logins {
        (counts.counts.logins.into(), config.brute_force_logins, evidence.seconds())
    } else if lead != 0 && of_minutes >= config.brute_force_slow_logins {
        // The minutes before, of which the first may have been begun only.
        let before = if counts.logins_before == 0 { 0.0 } else { MINUTES_BEFORE_S };
        (of_minutes, config.brute_force_slow_logins, evidence.seconds() + before)
    } else {
        return None;
    };
    let listener = counts.login?;
    let who = evidence.actor.address;
    let rule = format!("brief logins by one host at one listener in {seconds:.0} s >= {limit}");
    let mut finding = evidence.finding(Kind::BruteForce, rule, (logins, "logins"));
    (finding.limit, finding.window_s) = (limit as f64, seconds);
    let per_s = logins as f64 / seconds;
    finding.top_sources = vec![(who, per_s.ceil() as u32)];
    finding.facts = vec![("logins", logins as f64), ("logins_per_s", (per_s * 10.0).round() / 10.0)];
    finding.cause = vec![
        format!(
            "{who} guesses passwords at {}: {logins} logins in {seconds:.0} s that were refused or ended with little said",
            std::net::SocketAddr::new(listener.address, listener.port)
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

/// Judges the last minute's forms with a password at a listener.
pub(super) fn detect_forms(evidence: &Evidence<'_>) -> Option<Finding> {
    let (config, history) = (evidence.config, evidence.history);
    let passwords = history.sum(Remembered::PasswordSent, MINUTE_S);
    let requests = history.sum(Remembered::Request, MINUTE_S);
    let share = ratio(passwords, requests)?;
    if passwords < config.brute_force_logins || share < config.brute_force_form_share {
        return None;
    }
    let (address, port) = (evidence.listener.address, evidence.listener.port);
    Some(Finding {
        rule: format!(
            "forms with another password in a minute >= {} and their share of the requests >= {}",
            config.brute_force_logins, config.brute_force_form_share
        ),
        measured: passwords as f64,
        unit: "forms",
        limit: config.brute_force_logins as f64,
        facts: vec![("forms", passwords as f64), ("requests", requests as f64), ("share", share)],
        window_s: history.span_s(MINUTE_S) as f64,
        distinct_sources: Some(evidence.sources.distinct.estimate()).filter(|distinct| *distinct != 0),
        top_sources: evidence.sources.top.clone(),
        top_prefixes: evidence.sources.prefixes.clone(),
        cause: vec![
            format!(
                "passwords are guessed at {}: {passwords} forms or queries in a minute, each with another one, {:.0} % of the requests",
                evidence.socket(),
                share * 100.0
            ),
            "or a test of the login, or a service that does nothing but log people in".to_owned(),
        ],
        next: vec![
            format!("ss -Htn 'sport = :{port}' | awk '{{print $4}}' | sort | uniq -c | sort -rn | head"),
            format!(
                "tcpdump -nA -c 200 -i any 'tcp dst port {port} and dst host {address}' | grep -aoE '^(GET|POST) [^ ?]*' | sort | uniq -c | sort -rn | head"
            ),
            format!(
                "nft add rule inet filter input {family} daddr {address} tcp dport {port} ct state new meter logins {{ {family} saddr limit rate over 20/minute }} drop",
                family = nft_family(address)
            ),
        ],
        ..Finding::bare(Kind::BruteForce, Severity::P3)
    })
}

/// What to look at, and a limit for new connections of those who match `source`.
fn next_commands(port: u16, source: &str) -> Vec<String> {
    vec![
        format!("ss -Hltnp 'sport = :{port}'"),
        "journalctl --since '-5 min' | grep -icE 'failed password|authentication failure|login incorrect'"
            .to_owned(),
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
        let mut slow = guessing(4);
        slow.counts.logins_before = 12;
        assert_eq!(slow.judge(detect), None);
    }

    #[test]
    fn a_login_every_twelve_seconds_is_guessing_after_some_minutes() {
        let mut slow = guessing(5);
        slow.counts.logins_before = 16;
        let (_, finding) = slow.judge(detect).unwrap();
        assert_eq!((finding.measured, finding.limit, finding.window_s), (21.0, 20.0, 260.0));
        // It is over: nothing in this minute.
        slow.counts.login_lead = 0;
        assert_eq!(slow.judge(detect), None);
    }

    /// So many forms with a password a second, among so many requests.
    fn forms(passwords: u64, requests: u64) -> Heard {
        let mut heard = Heard::default();
        heard.seconds(60, |window| {
            (0..passwords).for_each(|_| window.facts.count(facts(&[Fact::PasswordSent])));
            (0..requests).for_each(|_| window.facts.count(facts(&[Fact::Request])));
        });
        heard
    }

    #[test]
    fn forms_with_another_password_each_are_guesses_unless_few_of_many_requests() {
        let finding = forms(2, 4).judge(detect_forms).unwrap();
        assert_eq!((finding.measured, finding.next.len()), (120.0, 3));
        assert_eq!(forms(2, 40).judge(detect_forms), None);
        assert_eq!(forms(0, 40).judge(detect_forms), None);
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
