//! `slow_http`: requests that are begun and never come to an end (Slowloris; R.U.D.Y., slow POST).
//!
//! Attack: a line of the head every ten seconds, or a byte of the body; each such connection holds a worker, a few hundred
//! of them a server.
//! Measured: connections whose request head is incomplete now, or whose body comes in small pieces, and how long such heads wait on average, by Little's law:
//! the sum of those waiting at each second's end, by those that wait now and those that were complete or over
//! meanwhile. Beside that, responses 408 (the server waited for a request in vain) in a minute: what is seen of attacks whose
//! beginning is not in the capture.
//! Ordinary traffic does not trigger it: a head comes in one segment, or in two of one round trip; where one is lost it
//! waits for a second. Who has a body to send fills segments, but for its last one. Connections that went away without a word are waiting all the time, and taken away. A
//! browser's connection in advance brings a 408 or two beside the responses that it asked for.
//! Thresholds: 50 heads for 3 s (`slow_http_heads`, `slow_http_wait_s`), or two fifths of them for five times as long; or half as many
//! 408 a minute that are half of all responses.
//! What would fool it: fewer heads; bodies in chunks or in larger pieces, slow readers (then see `zero_window`), TLS and HTTP/2,
//! of which no head is read.

use super::Evidence;
use super::asking::nft_family;
use crate::feature::ratio;
use crate::history::Remembered;
use crate::incident::{Finding, Kind, Severity};

/// Seconds over which waits are averaged, of many heads and of few.
const WAIT_OVER_S: u64 = 10;
const FEW_WAIT_OVER_S: u64 = 30;
/// Part of the threshold for heads from which on they are few, and times the wait that is then asked for.
const FEW_PART: f64 = 0.4;
const FEW_WAIT_FACTOR: f64 = 5.0;
const MINUTE_S: u64 = 60;
/// Part of the threshold for heads from which on responses 408 count, and their share of the responses.
const TIMEOUTS_PART: u64 = 2;
const TIMEOUTS_SHARE: f64 = 0.5;
/// Part of the completed connections that hold a head from which on a service is taken to be down: all workers wait.
const HEADS_DOWN: u64 = 4;

/// What was found.
struct Slow {
    heads: u64,
    mean_wait_s: f64,
    timeouts: u64,
    responses: u64,
}

/// Judges the last seconds, and the last minute's responses.
pub(super) fn detect(evidence: &Evidence<'_>) -> Option<Finding> {
    let (config, history) = (evidence.config, evidence.history);
    let slow = Slow {
        heads: evidence.heads.into(),
        mean_wait_s: mean_wait_s(evidence, WAIT_OVER_S).max(mean_wait_s(evidence, FEW_WAIT_OVER_S)),
        timeouts: history.sum(Remembered::RequestTimeout, MINUTE_S),
        responses: history.sum(Remembered::Response, MINUTE_S),
    };
    let wait = |heads, wait_s: f64, over_s| {
        let waits = slow.heads >= heads && mean_wait_s(evidence, over_s) >= wait_s;
        waits.then_some((heads, wait_s, over_s))
    };
    let few = (config.slow_http_heads as f64 * FEW_PART).ceil() as u64;
    let waiting = wait(config.slow_http_heads, config.slow_http_wait_s, WAIT_OVER_S)
        .or_else(|| wait(few, config.slow_http_wait_s * FEW_WAIT_FACTOR, FEW_WAIT_OVER_S));
    let given_up = slow.timeouts * TIMEOUTS_PART >= config.slow_http_heads
        && ratio(slow.timeouts, slow.responses).is_some_and(|share| share >= TIMEOUTS_SHARE);
    if waiting.is_none() && !given_up {
        return None;
    }
    let (rule, measured, unit, limit) = if let Some((heads, wait_s, _)) = waiting {
        let rule = format!("incomplete request heads >= {heads} and their mean wait >= {wait_s} s");
        (rule, slow.heads, "heads", heads as f64)
    } else {
        let limit = config.slow_http_heads as f64 / TIMEOUTS_PART as f64;
        (
            format!("responses 408 in a minute >= {limit} and their share >= {TIMEOUTS_SHARE}"),
            slow.timeouts,
            "responses",
            limit,
        )
    };
    let window_s = history.span_s(waiting.map_or(MINUTE_S, |(_, _, over_s)| over_s)) as f64;
    Some(finding(evidence, &slow, Rule { rule, measured: measured as f64, unit, limit, window_s }))
}

/// Mean time for which heads waited within the last `over_s` seconds, of which it is at most all.
fn mean_wait_s(evidence: &Evidence<'_>, over_s: u64) -> f64 {
    let waited_s = evidence.history.sum(Remembered::HeadSeconds, over_s);
    let heads = u64::from(evidence.heads) + evidence.history.sum(Remembered::HeadDone, over_s);
    ratio(waited_s, heads).unwrap_or(0.0)
}

struct Rule {
    rule: String,
    measured: f64,
    unit: &'static str,
    limit: f64,
    window_s: f64,
}

fn finding(evidence: &Evidence<'_>, slow: &Slow, rule: Rule) -> Finding {
    let (port, address) = (evidence.listener.port, evidence.listener.address);
    let Rule { rule, measured, unit, limit, window_s } = rule;
    Finding {
        kind: Kind::SlowHttp,
        severity: severity(evidence, slow),
        rule,
        measured,
        unit,
        limit,
        baseline: None,
        facts: vec![
            ("heads", slow.heads as f64),
            ("mean_wait_s", (slow.mean_wait_s * 10.0).round() / 10.0),
            ("status_408", slow.timeouts as f64),
            ("responses", slow.responses as f64),
            ("open", evidence.open.into()),
        ],
        window_s,
        distinct_sources: Some(evidence.sources.distinct.estimate()).filter(|distinct| *distinct != 0),
        spoofed_estimate: Some(0.0),
        top_sources: evidence.sources.top.clone(),
        top_prefixes: evidence.sources.prefixes.clone(),
        ttl_classes: None,
        cause: causes(evidence, slow),
        next: vec![
            format!("ss -Htn state established 'sport = :{port}' | awk '{{print $4}}' | sort | uniq -c | sort -rn | head"),
            format!("ss -Htno state established 'sport = :{port}' | wc -l; ss -Hltn 'sport = :{port}'"),
            "grep -rE 'RequestReadTimeout|client_header_timeout|timeout http-request' /etc/apache2 /etc/nginx /etc/haproxy 2>/dev/null".to_owned(),
            format!(
                "nft add rule inet filter input {family} daddr {address} tcp dport {port} ct state new meter slow_http {{ {family} saddr ct count over 20 }} reject with tcp reset",
                family = nft_family(address)
            ),
        ],
    }
}

/// P1 where heads wait and hardly anything is answered any more.
fn severity(evidence: &Evidence<'_>, slow: &Slow) -> Severity {
    let answered = evidence.history.sum(Remembered::Response, WAIT_OVER_S)
        - evidence
            .history
            .sum(Remembered::RequestTimeout, WAIT_OVER_S)
            .min(evidence.history.sum(Remembered::Response, WAIT_OVER_S));
    if slow.heads >= HEADS_DOWN * evidence.config.slow_http_heads && answered == 0 {
        Severity::P1
    } else {
        Severity::P2
    }
}

fn causes(evidence: &Evidence<'_>, slow: &Slow) -> Vec<String> {
    let mut causes = vec![format!(
        "Slowloris or slow POST at {}: {} requests wait for the end of their head or body, for {:.0} s on average so far; {} of {} responses in a minute are 408",
        evidence.socket(),
        slow.heads,
        slow.mean_wait_s,
        slow.timeouts,
        slow.responses
    )];
    if slow.heads == 0 {
        causes.push("or connections opened in advance, in numbers, that were never used".to_owned());
    } else {
        causes.push(
            "or clients behind a path that lost their second segments: then they are sent again".to_owned(),
        );
    }
    causes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::testing_asked::{Heard, facts};
    use crate::fact::Fact;

    fn heard(heads: u32, seconds: usize, done_per_s: u64) -> Heard {
        let mut heard = Heard { heads, ..Heard::default() };
        heard.seconds(seconds, |window| {
            window.heads = heads;
            (0..done_per_s).for_each(|_| window.facts.count(facts(&[Fact::HeadDone, Fact::Response])));
        });
        heard
    }

    #[test]
    fn heads_that_wait_for_seconds_are_an_attack() {
        let finding = heard(100, 8, 0).judge(detect).unwrap();
        assert_eq!((finding.kind, finding.severity), (Kind::SlowHttp, Severity::P2));
        assert_eq!((finding.measured, finding.limit, finding.next.len()), (100.0, 50.0, 4));
        assert_eq!(heard(400, 8, 0).judge(detect).unwrap().severity, Severity::P1);
    }

    #[test]
    fn heads_of_two_segments_wait_for_a_round_trip() {
        // A thousand a second, each for a tenth of one.
        assert_eq!(heard(100, 60, 1_000).judge(detect), None);
        // A moment's burst.
        assert_eq!(heard(200, 2, 0).judge(detect), None);
        assert_eq!(heard(19, 60, 0).judge(detect), None);
    }

    #[test]
    fn few_heads_must_wait_for_longer() {
        assert_eq!(heard(20, 60, 0).judge(detect).unwrap().limit, 20.0);
        assert_eq!(heard(20, 12, 0).judge(detect), None);
        // Those of a lossy path come to an end.
        assert_eq!(heard(20, 60, 5).judge(detect), None);
    }

    #[test]
    fn a_server_that_gives_most_requests_up_says_so_itself() {
        let timeouts = |given_up: u64, served: u64| {
            let mut heard = Heard::default();
            heard.seconds(60, |window| {
                (0..given_up)
                    .for_each(|_| window.facts.count(facts(&[Fact::Response, Fact::RequestTimeout])));
                (0..served).for_each(|_| window.facts.count(facts(&[Fact::Response])));
            });
            heard.judge(detect)
        };
        assert_eq!(timeouts(1, 0).unwrap().unit, "responses");
        assert_eq!(timeouts(1, 5), None);
    }
}
