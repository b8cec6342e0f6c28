//! `syn_flood`: connection attempts that nobody means to complete, at one listener.
//!
//! Attack: SYNs, mostly from forged addresses, fill the listener's half-open queue.
//! Measured: SYNs per sliding second, repeated ones included, and of those old enough to have an answer (twice the
//! listener's usual handshake time, at least one tick) the share neither completed nor refused.
//! Ordinary traffic does not trigger it: a flash crowd, a benchmark or a download completes its handshakes, a closed
//! port refuses them; both are resolved.
//! Thresholds: 500/s (feature model) or a rise of 300 % above a floor, with half of the matured attempts unresolved;
//! or 500/s unresolved with a fifth of them so. From the configuration.
//! What would fool it: an attacker who completes handshakes (that is a connection flood); a view without the
//! answers, from which a refusing port looks silent (the finding says so).

use tidegauge_ebpf::listener::ListenerCounter;

use super::Evidence;
use crate::fact::Fact;
use crate::incident::{Finding, Kind, Severity};

/// Completed share of the usual rate below which the service counts as down.
const SERVED_SHARE_DOWN: f64 = 0.5;
/// Completed share of the attempts below which it does, where nothing is known of before.
const COMPLETED_SHARE_DOWN: f64 = 0.1;

/// Judges the last second.
pub(super) fn detect(evidence: &Evidence<'_>) -> Option<Finding> {
    let config = evidence.config;
    let handshakes = evidence.handshakes;
    let share = handshakes.unresolved_share()?;
    let (rate_limit, from_baseline) = evidence.rate_limit();
    let syn = (handshakes.asked + handshakes.repeated) as f64;
    let unresolved = handshakes.unresolved as f64;
    let mostly = syn > rate_limit
        && unresolved >= config.conn_rise_floor_per_s
        && share >= config.flood_unresolved_share;
    let in_absolute_terms =
        unresolved > config.conn_rate_limit_per_s && share >= config.flood_unresolved_share_at_limit;
    if !mostly && !in_absolute_terms {
        return None;
    }
    let limit_name = if from_baseline { "the usual rate x " } else { "" };
    let factor = if from_baseline { config.conn_rise_factor } else { rate_limit };
    Some(Finding {
        kind: Kind::SynFlood,
        severity: severity(evidence),
        rule: format!(
            "syn/s > {limit_name}{factor} and unresolved share of matured attempts >= {}",
            config.flood_unresolved_share
        ),
        measured: syn,
        unit: "syn/s",
        limit: rate_limit,
        baseline: evidence.usual_asked().map(|usual| usual.median),
        facts: facts(evidence, share),
        window_s: 1.0,
        distinct_sources: Some(evidence.sources.distinct.estimate()),
        spoofed_estimate: evidence.spoofed_estimate(),
        top_sources: evidence.sources.top.clone(),
        top_prefixes: evidence.sources.prefixes.clone(),
        ttl_classes: Some(evidence.sources.ttl_classes.count_ones()),
        cause: causes(evidence),
        next: next_commands(evidence),
    })
}

fn facts(evidence: &Evidence<'_>, unresolved_share: f64) -> Vec<(&'static str, f64)> {
    let handshakes = evidence.handshakes;
    let mut facts = vec![
        ("asked_per_s", handshakes.asked as f64),
        ("answered_per_s", handshakes.answered as f64),
        ("completed_per_s", handshakes.completed as f64),
        ("refused_per_s", handshakes.refused as f64),
        ("aborted_per_s", evidence.last_second(ListenerCounter::Aborted) as f64),
        ("unresolved_share", unresolved_share),
        ("syn_retransmission_per_s", handshakes.repeated as f64),
    ];
    if let Some(usual) = evidence.usual_completed() {
        facts.push(("usual_completed_per_s", usual.median));
    }
    if evidence.whole_packets {
        facts.push(("answered_again_lately", evidence.history.recent(Fact::AnswerAgain) as f64));
    }
    facts
}

/// P1 where the service no longer completes handshakes for others, P2 where it still does.
fn severity(evidence: &Evidence<'_>) -> Severity {
    let completed = evidence.handshakes.completed as f64;
    let down = match evidence.usual_completed() {
        Some(usual) if usual.median >= 1.0 => completed < SERVED_SHARE_DOWN * usual.median,
        _ => completed < COMPLETED_SHARE_DOWN * evidence.handshakes.asked as f64,
    };
    if down { Severity::P1 } else { Severity::P2 }
}

fn causes(evidence: &Evidence<'_>) -> Vec<String> {
    let handshakes = evidence.handshakes;
    let distinct = evidence.sources.distinct.estimate();
    let mut causes = Vec::new();
    match evidence.spoofed_estimate() {
        Some(spoofed) if spoofed >= 0.5 => causes.push(format!(
            "SYN flood from forged addresses: about {distinct} sources in two seconds, {} SYN/s, and they complete nothing",
            handshakes.asked + handshakes.repeated
        )),
        _ => causes.push(format!(
            "SYN flood from few real hosts: about {distinct} sources in two seconds, {} SYN/s, handshakes left open",
            handshakes.asked + handshakes.repeated
        )),
    }
    if severity(evidence) == Severity::P2 {
        causes.push(format!(
            "the listener holds so far, so P2 and not P1: it answers {} and completes {} of others in this second",
            handshakes.answered, handshakes.completed
        ));
    }
    if handshakes.answered == 0 && !evidence.answers_visible {
        causes.push("answers are not visible from here: a port that refuses looks the same".to_owned());
    } else if handshakes.answered == 0 {
        causes.push("or a listener that has stopped answering: no SYN-ACK in the last second".to_owned());
    }
    causes
}

fn next_commands(evidence: &Evidence<'_>) -> Vec<String> {
    let port = evidence.listener.port;
    let family = if evidence.listener.address.is_ipv4() { "ip" } else { "ip6" };
    let address = evidence.listener.address;
    vec![
        format!("ss -Hltn 'sport = :{port}'; ss -Htn state syn-recv 'sport = :{port}' | wc -l"),
        "nstat -az TcpExtSyncookiesSent TcpExtListenOverflows TcpExtListenDrops TcpExtTCPReqQFullDoCookies"
            .to_owned(),
        "sysctl net.ipv4.tcp_syncookies net.ipv4.tcp_max_syn_backlog net.core.somaxconn".to_owned(),
        format!(
            "nft add rule inet filter input {family} daddr {address} tcp dport {port} tcp flags syn limit rate over {}/second drop",
            evidence.config.conn_rate_limit_per_s
        ),
    ]
}
