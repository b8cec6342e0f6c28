//! `connection_flood`: connections that are completed, say nothing, and stay.
//!
//! Attack: each takes a worker, a descriptor or a place in the accept queue of the server, from real addresses; what a SYN
//! flood becomes once SYN cookies stand against it.
//! Measured: over five to ten seconds, completed handshakes less initiators that sent their first payload, per second;
//! their share of the completed ones; and connections open now.
//! Ordinary traffic does not trigger it: clients speak at once, also where the server greets first (SSH, SMTP, MySQL);
//! health checks and scans say nothing, but close; browsers open a connection or two in advance beside those they use.
//! A crowd speaks, whatever its size.
//! Thresholds: 100 silent connections a second, half of all, as many still open (`connection_flood_per_s`,
//! `connection_flood_silent_share`); or a third of that for half a minute.
//! What would fool it: connections that send a byte (then see `slow_http`), or that are opened at less than 33 a second; connections of which
//! there was no room to follow them (then the capture's quality says so); a pool of connections filled at once.

use super::Evidence;
use super::asking::nft_family;
use crate::feature::ratio;
use crate::history::{Remembered, SLOT_S};
use crate::incident::{Finding, Kind, Severity};

/// Share of the usual completed handshakes that still speak below which the service counts as down.
const SERVED_SHARE_DOWN: f64 = 0.5;

/// Connections of one source that the ready rule leaves open: a browser's six, for a few people behind one address.
const CONNECTIONS_OF_ONE: u32 = 20;

/// Seconds over which fewer are judged, and part of the limit that they must come to.
const FEW_OVER_S: u64 = 30;
const FEW_PART: f64 = 3.0;

/// Judges the last whole slot, or the last half minute, and the slot that is not over.
pub(super) fn detect(evidence: &Evidence<'_>) -> Option<Finding> {
    let limit = evidence.config.connection_flood_per_s;
    detect_over(evidence, SLOT_S, limit).or_else(|| detect_over(evidence, FEW_OVER_S, limit / FEW_PART))
}

fn detect_over(evidence: &Evidence<'_>, over_s: u64, limit: f64) -> Option<Finding> {
    let config = evidence.config;
    let span_s = evidence.history.span_s(over_s) as f64;
    if f64::from(evidence.open) < limit * over_s as f64 {
        return None;
    }
    let completed = evidence.history.sum(Remembered::Completed, over_s);
    let spoke = evidence.history.sum(Remembered::Spoke, over_s);
    let silent = completed.saturating_sub(spoke);
    let (per_s, share) = (silent as f64 / span_s, ratio(silent, completed)?);
    if per_s < limit || share < config.connection_flood_silent_share || u64::from(evidence.open) < silent {
        return None;
    }
    let distinct = evidence.sources.distinct.estimate();
    let (port, address) = (evidence.listener.port, evidence.listener.address);
    Some(Finding {
        kind: Kind::ConnectionFlood,
        severity: if over_s == SLOT_S { severity(evidence, spoke as f64 / span_s) } else { Severity::P2 },
        rule: format!(
            "completed and silent connections/s >= {limit:.0} and their share >= {} and as many open",
            config.connection_flood_silent_share
        ),
        measured: per_s,
        unit: "conn/s",
        limit,
        baseline: evidence.usual_completed().map(|usual| usual.median),
        facts: vec![
            ("completed", completed as f64),
            ("spoke", spoke as f64),
            ("silent_share", share),
            ("open", evidence.open.into()),
        ],
        window_s: span_s,
        distinct_sources: Some(distinct),
        spoofed_estimate: Some(0.0),
        top_sources: evidence.sources.top.clone(),
        top_prefixes: evidence.sources.prefixes.clone(),
        ttl_classes: Some(evidence.sources.ttl_classes.count_ones()),
        cause: causes(evidence, silent, completed, distinct),
        next: vec![
            format!(
                "ss -Htn state established 'sport = :{port}' | awk '{{print $4}}' | sort | uniq -c | sort -rn | head"
            ),
            format!("ss -Hltn 'sport = :{port}'"),
            "nstat -az TcpExtListenOverflows TcpExtListenDrops".to_owned(),
            format!(
                "nft add rule inet filter input {family} daddr {address} tcp dport {port} ct state new meter connection_flood {{ {family} saddr ct count over {CONNECTIONS_OF_ONE} }} reject with tcp reset",
                family = nft_family(address)
            ),
        ],
    })
}

/// P1 where clients that speak have become few, P2 where they still come through. What takes half a minute to show has become
/// usual in part.
fn severity(evidence: &Evidence<'_>, spoke_per_s: f64) -> Severity {
    let down = evidence
        .usual_completed()
        .is_some_and(|usual| usual.median >= 1.0 && spoke_per_s < SERVED_SHARE_DOWN * usual.median);
    if down { Severity::P1 } else { Severity::P2 }
}

fn causes(evidence: &Evidence<'_>, silent: u64, completed: u64, distinct: u64) -> Vec<String> {
    let mut causes = vec![format!(
        "connections to {} are held open without a word: {silent} of {completed} said nothing, {} are open, from about {distinct} sources in two seconds",
        evidence.socket(),
        evidence.open
    )];
    if distinct <= 3 {
        causes.push("or one client that fills a pool of connections, or a test of their number".to_owned());
    }
    causes
}

#[cfg(test)]
mod tests {
    use tidegauge_ebpf::listener::ListenerCounter;

    use super::*;
    use crate::detect::testing_asked::{Heard, facts};
    use crate::fact::Fact;

    fn heard(completed: u64, spoke: u64, open: u32) -> Heard {
        let mut heard = Heard::default();
        heard.seconds(30, |window| {
            window.counters[ListenerCounter::Completed as usize] = completed;
            (0..spoke).for_each(|_| window.facts.count(facts(&[Fact::Spoke])));
        });
        heard.open = open;
        heard.ask_from(0..100);
        heard
    }

    #[test]
    fn silent_connections_that_stay_are_a_flood() {
        let finding = heard(300, 100, 6_000).judge(detect).unwrap();
        assert_eq!((finding.kind, finding.measured), (Kind::ConnectionFlood, 200.0));
        // Fewer, for as long as it takes until as many are open.
        assert_eq!(heard(60, 10, 3_000).judge(detect).unwrap().window_s, 30.0);
        assert_eq!(heard(60, 10, 900).judge(detect), None);
        assert_eq!((finding.next.len(), finding.severity), (4, Severity::P2));
    }

    #[test]
    fn it_is_worse_where_those_who_speak_have_become_few() {
        let mut heard = heard(300, 10, 6_000);
        (0..60).for_each(|_| heard.completed.learn(100));
        assert_eq!(heard.judge(detect).unwrap().severity, Severity::P1);
    }

    #[test]
    fn a_crowd_speaks_checks_close_and_browsers_keep_one_in_advance() {
        assert_eq!(heard(5_000, 4_990, 9_000).judge(detect), None);
        assert_eq!(heard(500, 0, 20).judge(detect), None);
        assert_eq!(heard(400, 280, 2_000).judge(detect), None);
    }
}
