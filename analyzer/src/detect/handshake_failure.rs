//! `handshake_failure`: attempts at a listener fail, over minutes, and it is no flood.
//!
//! Fault: a service that is down or whose accept queue is full, a firewall, a path that loses one direction.
//! Measured: over five minutes, attempts less those completed, those given up after the answer, and those that are not a
//! second old; that is, refused and timed out. Their share, their number, and in how many slots of five
//! seconds they were.
//! Ordinary traffic does not trigger it: a refused connection or a lost client is a single event, and no incident; a
//! client that tries a dead server every few seconds is not enough; scanners find closed ports everywhere, so that
//! where no connection was ever seen six times as many count; half-open scans end what was answered with a RST, and
//! that is not counted; where nothing at all comes back nothing is told, since answers may not be seen. Attempts of a
//! SYN flood are its own: none is told beside one, and they are forgotten.
//! Thresholds: 0.5 % (feature model: `conn_timeout_ratio`, over 5 min), 50 attempts, in a minute's slots at least
//! (`handshake_failure*`).
//! What would fool it: a SYN flood too slow to be called one; a view that lost its answers on the way.

use super::Evidence;
use crate::fact::Fact;
use crate::feature::ratio;
use crate::history::Remembered;
use crate::incident::{Finding, Kind, Severity};

const MINUTE_S: u64 = 60;
const PERIOD_S: u64 = 300;
/// Slots of five seconds in which some must have failed.
const SLOTS_MIN: usize = 12;
/// Failed attempts in a minute of which none was completed that make a service one that is down.
const FAILED_DOWN: u64 = 10;
/// Share from which on a service is degraded.
const DEGRADED_SHARE: f64 = 0.1;

/// How attempts went.
struct Attempts {
    asked: u64,
    failed: u64,
    refused: u64,
    answered: u64,
    completed: u64,
}

impl Attempts {
    fn of(evidence: &Evidence<'_>, sum: impl Fn(Remembered) -> u64) -> Self {
        let (asked, completed) = (sum(Remembered::Attempted), sum(Remembered::Completed));
        let young = evidence.handshakes.asked;
        let failed = asked.saturating_sub(completed + sum(Remembered::Aborted) + young);
        let refused = sum(Remembered::Refused).min(asked);
        Self { asked, failed: failed.max(refused), refused, answered: sum(Remembered::Answered), completed }
    }
}

/// Judges the last five minutes.
pub(super) fn detect(evidence: &Evidence<'_>) -> Option<Finding> {
    let config = evidence.config;
    let attempts = Attempts::of(evidence, |remembered| evidence.history.total(remembered));
    let least = if evidence.served { config.handshake_failures } else { config.handshake_failures_unserved };
    // Where nothing ever came back it may be that nothing of it is seen here.
    let is_seen = evidence.served || attempts.answered + attempts.refused != 0;
    let share = ratio(attempts.failed, attempts.asked).filter(|_| is_seen)?;
    if attempts.failed < least || share <= config.handshake_failure_share || slots(evidence) < SLOTS_MIN {
        return None;
    }
    let (port, address) = (evidence.listener.port, evidence.listener.address);
    Some(Finding {
        kind: Kind::HandshakeFailure,
        severity: severity(evidence, share),
        rule: format!(
            "refused and timed-out share of attempts in 5 min > {} and at least {least} of them",
            config.handshake_failure_share
        ),
        measured: share,
        unit: "of attempts",
        limit: config.handshake_failure_share,
        baseline: None,
        facts: facts(evidence, &attempts),
        window_s: evidence.history.span_s(PERIOD_S) as f64,
        distinct_sources: Some(evidence.sources.distinct.estimate()).filter(|distinct| *distinct != 0),
        spoofed_estimate: None,
        top_sources: evidence.sources.top.clone(),
        top_prefixes: evidence.sources.prefixes.clone(),
        ttl_classes: None,
        cause: causes(evidence, &attempts),
        next: vec![
            format!("ss -Hltnp 'sport = :{port}'"),
            "nstat -az TcpExtListenOverflows TcpExtListenDrops TcpAttemptFails".to_owned(),
            format!("nft list ruleset | grep -n 'dport.*{port}'"),
            format!(
                "tcpdump -ni any -c 100 'host {address} and tcp port {port}{}'",
                // The headers of IPv6 are not of one length, so that its flags have no name there.
                if address.is_ipv4() { " and tcp[tcpflags] & (tcp-syn|tcp-rst) != 0" } else { "" }
            ),
        ],
    })
}

fn facts(evidence: &Evidence<'_>, attempts: &Attempts) -> Vec<(&'static str, f64)> {
    let mut facts = vec![
        ("attempts", attempts.asked as f64),
        ("failed", attempts.failed as f64),
        ("refused", attempts.refused as f64),
        ("timed_out", attempts.failed.saturating_sub(attempts.refused) as f64),
        ("answered", attempts.answered as f64),
        ("completed", attempts.completed as f64),
    ];
    if evidence.whole_packets {
        let recent = |fact| evidence.history.recent(fact) as f64;
        facts.push(("answered_again_in_a_minute", recent(Fact::AnswerAgain)));
        facts.push(("of_these_after_the_ack", recent(Fact::AnswerAgainLate)));
    }
    facts
}

/// Slots in which some failed, by the slot's own count.
fn slots(evidence: &Evidence<'_>) -> usize {
    evidence.history.slots_where(|slot| {
        let good = slot(Remembered::Completed) + slot(Remembered::Aborted);
        slot(Remembered::Refused) != 0 || slot(Remembered::Attempted) > good
    })
}

/// P1 where a service that was there completes nothing any more.
fn severity(evidence: &Evidence<'_>, share: f64) -> Severity {
    let last = Attempts::of(evidence, |remembered| evidence.history.sum(remembered, MINUTE_S));
    if evidence.served && last.completed == 0 && last.failed >= FAILED_DOWN {
        return Severity::P1;
    }
    if share >= DEGRADED_SHARE { Severity::P2 } else { Severity::P3 }
}

fn causes(evidence: &Evidence<'_>, attempts: &Attempts) -> Vec<String> {
    let Attempts { asked, failed, refused, answered, completed } = *attempts;
    let (socket, distinct) = (evidence.socket(), evidence.sources.distinct.estimate());
    let timed_out = failed.saturating_sub(refused);
    let mut causes = Vec::new();
    if refused >= timed_out {
        let why = if completed == 0 { "nothing listens there" } else { "its queue is full, or it restarts" };
        causes.push(format!(
            "{socket} refuses: {refused} of {asked} attempts in five minutes end in RST; {why}"
        ));
        if distinct == 1 {
            causes.push("one source asks: a client that tries again without a pause, or a flood tool at a closed port".to_owned());
        }
        return causes;
    }
    if answered > completed + timed_out / 2 {
        causes.push(format!(
            "answers of {socket} do not arrive, or nobody waits for them: {answered} SYN-ACKs, {completed} completed"
        ));
    } else {
        causes.push(format!(
            "{socket} does not answer {timed_out} of {asked} attempts in five minutes: a firewall, a full queue, or a host that is down"
        ));
    }
    if !evidence.answers_visible {
        causes.push("answers are not visible from here: a port that refuses looks the same".to_owned());
    }
    if distinct > 3 && completed == 0 {
        causes.push(format!(
            "or a SYN flood below the limit for one: about {distinct} sources in two seconds, nothing completed"
        ));
    }
    causes
}

#[cfg(test)]
mod tests {
    use tidegauge_ebpf::listener::ListenerCounter;

    use super::*;
    use crate::detect::testing_asked::Heard;

    /// `asked` attempts every second, of which one in `one_in` is not completed, and `refused` of those.
    fn heard(seconds: usize, asked: u64, one_in: usize, refused: u64) -> Heard {
        let mut heard = Heard { served: true, ..Heard::default() };
        let mut second = 0_usize;
        heard.seconds(seconds, |window| {
            second += 1;
            let failed = u64::from(second.is_multiple_of(one_in));
            window.counters[ListenerCounter::Attempted as usize] = asked;
            window.counters[ListenerCounter::Completed as usize] = asked - failed;
            window.counters[ListenerCounter::Refused as usize] = refused.min(failed);
        });
        heard
    }

    #[test]
    fn one_in_a_hundred_over_minutes_is_a_fault() {
        let finding = heard(280, 50, 2, 0).judge(detect).unwrap();
        assert_eq!((finding.kind, finding.severity), (Kind::HandshakeFailure, Severity::P3));
        assert!((0.009..0.011).contains(&finding.measured), "{}", finding.measured);
        assert_eq!(finding.next.len(), 4);
    }

    #[test]
    fn a_service_that_completes_nothing_is_down() {
        let finding = heard(120, 1, 1, 1).judge(detect).unwrap();
        assert_eq!(finding.severity, Severity::P1);
        assert!(finding.cause[0].contains("refuses"), "{:?}", finding.cause);
    }

    #[test]
    fn single_events_short_outages_and_what_is_under_way_are_none() {
        // As many as the model has for healthy.
        assert_eq!(heard(280, 50, 6, 0).judge(detect), None);
        // One client that tries a dead server every ten seconds.
        let mut second = 0;
        let mut retries = Heard { served: true, ..Heard::default() };
        retries.seconds(280, |window| {
            second += 1;
            window.counters[ListenerCounter::Attempted as usize] = u64::from(second % 10 == 0);
        });
        assert_eq!(retries.judge(detect), None);
        // One burst of failures.
        let mut burst = Heard { served: true, ..Heard::default() };
        burst.seconds(10, |window| window.counters[ListenerCounter::Attempted as usize] = 100);
        assert_eq!(burst.judge(detect), None);
        let mut refused_once = Heard::default();
        refused_once.seconds(1, |window| {
            window.counters[ListenerCounter::Attempted as usize] = 1;
            window.counters[ListenerCounter::Refused as usize] = 1;
        });
        assert_eq!(refused_once.judge(detect), None);
    }

    #[test]
    fn attempts_without_any_answer_may_be_a_view_of_one_side() {
        let mut heard = Heard::default();
        heard.seconds(280, |window| window.counters[ListenerCounter::Attempted as usize] = 10);
        assert_eq!(heard.judge(detect), None);
    }

    #[test]
    fn a_closed_port_that_scanners_find_is_none() {
        let mut heard = heard(280, 1, 1, 1);
        heard.served = false;
        assert_eq!(heard.judge(detect), None);
    }
}
