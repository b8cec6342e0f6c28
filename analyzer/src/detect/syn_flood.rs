//! `syn_flood`: connection attempts that nobody means to complete, at one listener.
//!
//! Attack: SYNs, mostly from forged addresses, fill the listener's half-open queue.
//! Measured: SYNs per sliding second, repeated ones included, and of those old enough to have an answer (twice the
//! listener's usual handshake time, at least one tick) the share neither completed nor refused.
//! Ordinary traffic does not trigger it: a flash crowd, a benchmark or a download completes its handshakes, a closed
//! port refuses them; both are resolved.
//! Thresholds: 500/s (feature model) or a rise of 300 % above a floor, with half of the matured attempts unresolved;
//! or 500/s unresolved with a fifth of them so. Slow floods, of small hosts: [`conn_rise_floor_per_s`] more than usual
//! (nothing is usual of a listener that never completed a handshake) for three seconds, half of them unresolved, and not
//! asked again: where a service is silently gone its clients do, after 1 s and 3 s (RFC 6298
//! section 5.7), so that soon there are more SYNs sent again than new ones; then at any limit new ones alone count,
//! or an outage would be a flood of four times its clients. And `syn_flood_low_per_s` where they are
//! plainly made up: SYNs without any option, which tools write and no system's stack sends (all tell their MSS), and of
//! which none is completed; or at a listener that never served, as many addresses as attempts. From the configuration.
//! What would fool it: an attacker who completes handshakes (that is a connection flood); a view without the
//! answers, from which a refusing port looks silent (the finding says so).
//!
//! [`conn_rise_floor_per_s`]: crate::config::Config::conn_rise_floor_per_s

use tidegauge_ebpf::listener::ListenerCounter;

use super::Evidence;
use crate::fact::Fact;
use crate::feature::Handshakes;
use crate::incident::{Finding, Kind, Severity};

/// Completed share of the usual rate below which the service counts as down.
const SERVED_SHARE_DOWN: f64 = 0.5;
/// Completed share of the attempts below which it does, where nothing is known of before.
const COMPLETED_SHARE_DOWN: f64 = 0.1;

/// Seconds' worth of unresolved attempts in ten seconds that a slow flood must have come to.
const SLOW_S: f64 = 3.0;
/// SYNs sent again per new one from which on these are clients that want an answer: each asks again within a second.
const CLIENTS_REPEAT_SHARE: f64 = 0.25;
/// And at most so many: Linux gives up after six, within two minutes; who sends one SYN again and again is no client.
const CLIENTS_REPEATS_MAX: f64 = 6.0;
/// Share of the attempts that must be made up for the low limit, and that may be completed all the same.
const MADE_UP_SHARE: f64 = 0.9;
/// Distinct addresses per attempt that are as good as one each: the sketch errs by some per cent.
const FORGED_SHARE: f64 = 0.75;

/// Judges the last second.
pub(super) fn detect(evidence: &Evidence<'_>) -> Option<Finding> {
    let config = evidence.config;
    let handshakes = evidence.handshakes;
    let share = handshakes.unresolved_share()?;
    let (rate_limit, from_baseline) = evidence.rate_limit();
    let again = if clients_ask_again(&handshakes) { 0 } else { handshakes.repeated };
    let syn = (handshakes.asked + again) as f64;
    let unresolved = (handshakes.unresolved as f64).min(syn);
    let mostly = syn > rate_limit
        && unresolved >= config.conn_rise_floor_per_s
        && share >= config.flood_unresolved_share;
    let in_absolute_terms =
        unresolved > config.conn_rate_limit_per_s && share >= config.flood_unresolved_share_at_limit;
    let slow = if mostly || in_absolute_terms { None } else { Some(slow(evidence, share)?) };
    let limit_in_words = match &slow {
        Some(slow) => slow.in_words(),
        None if from_baseline => format!("the usual rate x {}", config.conn_rise_factor),
        None => rate_limit.to_string(),
    };
    Some(Finding {
        kind: Kind::SynFlood,
        severity: if matches!(slow, Some(Slow::MadeUp(_))) && !evidence.served {
            Severity::P3
        } else {
            severity(evidence)
        },
        rule: format!(
            "syn/s > {limit_in_words} and unresolved share of matured attempts >= {}",
            config.flood_unresolved_share
        ),
        measured: syn,
        unit: "syn/s",
        limit: slow.map_or(rate_limit, |slow| slow.limit()),
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

/// A flood below the ordinary limits, and the limit that it is above.
#[derive(Clone, Copy)]
enum Slow {
    /// It lasts, and nobody asks again.
    Lasting(f64),
    /// Its SYNs are no clients'.
    MadeUp(f64),
}

impl Slow {
    const fn limit(self) -> f64 {
        match self {
            Self::Lasting(limit) | Self::MadeUp(limit) => limit,
        }
    }

    fn in_words(self) -> String {
        match self {
            Self::Lasting(limit) => format!("{limit} for {SLOW_S} s, not sent again,"),
            Self::MadeUp(limit) => {
                format!("{limit}, made up (without options, or each from another address),")
            }
        }
    }
}

/// `None`: the last seconds have no slow flood.
fn slow(evidence: &Evidence<'_>, share: f64) -> Option<Slow> {
    let (config, handshakes) = (evidence.config, evidence.handshakes);
    if !evidence.answers_visible {
        return None;
    }
    let low = config.syn_flood_low_per_s;
    if handshakes.asked as f64 >= low && (is_bare(evidence) || is_forged(evidence, share)) {
        return Some(Slow::MadeUp(low));
    }
    let floor = config.conn_rise_floor_per_s;
    let usual = if evidence.served { evidence.usual_asked()?.median } else { 0.0 };
    let limit = usual + floor;
    let lately = |counter| evidence.sliding.ten_seconds(counter);
    let resolved =
        lately(ListenerCounter::Completed) + lately(ListenerCounter::CompletedOneSided) + handshakes.refused;
    let unresolved_lately = lately(ListenerCounter::Attempted).saturating_sub(resolved) as f64;
    let lasts = handshakes.asked as f64 >= limit
        && (handshakes.unresolved as f64) >= floor
        && share >= config.flood_unresolved_share
        && unresolved_lately >= SLOW_S * floor
        && is_not_asked_again(&handshakes);
    lasts.then_some(Slow::Lasting(limit))
}

/// SYNs without options, none of which is completed: what is, is as many as there are others.
fn is_bare(evidence: &Evidence<'_>) -> bool {
    let handshakes = evidence.handshakes;
    let bare = evidence.sliding.bare_syns() as f64;
    let others = (handshakes.asked as f64 - bare).max(0.0);
    let resolved = (handshakes.completed + handshakes.refused) as f64;
    bare >= evidence.config.syn_flood_low_per_s
        && handshakes.unresolved != 0
        && resolved <= others + bare * (1.0 - MADE_UP_SHARE)
}

/// As many addresses as attempts at a listener that never served, and those that are older than a second were not sent
/// again, which clients do by then. Where it answers and nothing at all comes back, not
/// even a RST, nor is an answer repeated, it may be that the capture has SYNs alone.
fn is_forged(evidence: &Evidence<'_>, share: f64) -> bool {
    let handshakes = evidence.handshakes;
    let answers_go_on = evidence.history.recent(Fact::AnswerAgain) != 0
        || evidence.last_second(ListenerCounter::Aborted) != 0
        || (handshakes.answered as f64) < handshakes.asked as f64 * evidence.config.flood_unresolved_share;
    !evidence.served
        && share >= MADE_UP_SHARE
        && evidence.spoofed_estimate().is_some_and(|share| share >= FORGED_SHARE)
        && is_given_up(evidence)
        && answers_go_on
}

/// Whether enough attempts are old enough to be sent again, and are not.
fn is_given_up(evidence: &Evidence<'_>) -> bool {
    let asked = evidence.last_second(ListenerCounter::Attempted);
    let old = evidence.sliding.ten_seconds(ListenerCounter::Attempted).saturating_sub(asked);
    let repeated = evidence.handshakes.repeated as f64;
    old as f64 >= evidence.config.syn_flood_low_per_s
        && repeated < CLIENTS_REPEAT_SHARE * old.min(asked) as f64
}

/// Whether SYNs are sent again as often as by clients that wait for an answer: some of them, and each a few times.
fn clients_ask_again(handshakes: &Handshakes) -> bool {
    let repeated = handshakes.repeated as f64;
    !is_not_asked_again(handshakes) && repeated <= CLIENTS_REPEATS_MAX * handshakes.asked as f64
}

fn is_not_asked_again(handshakes: &Handshakes) -> bool {
    (handshakes.repeated as f64) < CLIENTS_REPEAT_SHARE * handshakes.asked as f64
}

/// P1 where the service no longer completes handshakes for others, P2 where it still does.
fn severity(evidence: &Evidence<'_>) -> Severity {
    let completed = evidence.handshakes.completed as f64;
    let completed_share = completed / evidence.handshakes.asked.max(1) as f64;
    let down = match evidence.usual_completed() {
        // Below the healthy rate, where nobody was ever served, nobody is known to be hurt.
        _ if !evidence.served
            && (evidence.handshakes.asked as f64) < evidence.config.conn_rate_limit_per_s =>
        {
            false
        }
        Some(usual) if usual.median >= 1.0 => completed < SERVED_SHARE_DOWN * usual.median,
        _ => completed_share < COMPLETED_SHARE_DOWN,
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

#[cfg(test)]
mod tests {
    use super::super::testing_asked::{Heard, facts};
    use super::*;
    use crate::feature::{Sliding, TICKS};
    use crate::window::ListenerWindow;

    /// So many attempts a second for five seconds, none answered, from as many hosts; of them so many repeated.
    fn unanswered(asked: u64, repeated: u64, served: bool) -> Option<Finding> {
        let mut heard = Heard { served, ..Heard::default() };
        heard.ask_from(0..asked);
        heard.handshakes = Handshakes {
            asked,
            repeated,
            matured: asked + repeated,
            unresolved: asked + repeated,
            ..Handshakes::default()
        };
        let mut window = ListenerWindow::default();
        window.counters[ListenerCounter::Attempted as usize] = asked;
        let mut sliding = Sliding::default();
        for _ in 0..5 {
            sliding.advance(TICKS as u64);
            sliding.add(&window);
            sliding.advance_second();
        }
        heard.judge(|evidence| detect(&Evidence { sliding: &sliding, ..*evidence }))
    }

    #[test]
    fn slow_floods_from_forged_addresses_are_found_and_clients_of_a_dead_service_are_none() {
        let finding = unanswered(200, 0, false).expect("a slow flood");
        assert_eq!((finding.severity, finding.limit), (Severity::P3, 30.0));
        assert_eq!(unanswered(200, 150, false), None);
        assert_eq!(unanswered(25, 0, false), None);
        // What is usual of a listener that served is not known yet.
        assert_eq!(unanswered(200, 0, true), None);
    }

    #[test]
    fn an_outage_is_no_flood_of_its_clients_repeats_and_one_syn_again_and_again_is() {
        // 150 clients a second, of which each has asked three times more: 600 SYNs a second.
        assert_eq!(unanswered(150, 450, true), None);
        assert!(unanswered(1, 2_000, true).is_some());
    }

    /// So many half-open attempts a second of one host for five seconds; the last of them without options.
    fn of_one_host(asked: u64, bare: u32, completed: u64, served: bool) -> Option<Finding> {
        let mut heard = Heard { served, ..Heard::default() };
        heard.ask_from(0..1);
        heard.handshakes = Handshakes {
            asked,
            matured: asked,
            completed,
            unresolved: asked - completed,
            ..Handshakes::default()
        };
        let mut window = ListenerWindow::default();
        window.counters[ListenerCounter::Attempted as usize] = asked;
        window.counters[ListenerCounter::Completed as usize] = completed;
        let mut sliding = Sliding::default();
        for _ in 0..5 {
            sliding.advance(TICKS as u64);
            sliding.add(&window);
            sliding.advance_second();
        }
        window.counters = Default::default();
        (0..bare).for_each(|_| window.facts.count(facts(&[Fact::BareSyn])));
        sliding.add(&window);
        heard.judge(|evidence| detect(&Evidence { sliding: &sliding, ..*evidence }))
    }

    #[test]
    fn one_host_that_leaves_its_handshakes_open_floods_too() {
        assert!(of_one_host(150, 0, 0, false).is_some_and(|finding| finding.limit == 100.0));
        assert_eq!(of_one_host(90, 0, 0, false), None);
        assert_eq!(of_one_host(150, 0, 150, false), None);
    }

    #[test]
    fn syns_that_no_stack_sends_flood_at_a_low_rate_and_whoever_completes_does_not() {
        assert!(of_one_host(40, 40, 0, false).is_some_and(|finding| finding.severity == Severity::P3));
        // Beside a hundred clients that are served.
        assert!(of_one_host(140, 40, 100, true).is_some());
        assert_eq!(of_one_host(140, 40, 140, true), None);
        assert_eq!(of_one_host(40, 0, 0, false), None);
    }
}
