//! `http_errors`: responses with status 5xx.
//!
//! Fault: a server or what is behind it fails.
//! Measured: responses with status 5xx of all responses at the listener over a minute (feature model,
//! `http_5xx_ratio`: > 1 %), in clear HTTP/1.
//! Ordinary traffic does not trigger it: one or two errors in a quiet minute are somebody's bad request; five are asked
//! for, of twenty responses.
//! Thresholds: the model's; the least counts are a convention.
//! What would fool it: an application that says 503 to ask its clients for patience.

use super::Evidence;
use crate::fact::Fact;
use crate::feature::ratio;
use crate::history::Remembered;
use crate::incident::{Finding, Kind, Severity};

const MINUTE_S: u64 = 60;
/// Shares of errors at which a service is down and degraded.
const DOWN_SHARE: f64 = 0.5;
const DEGRADED_SHARE: f64 = 0.05;

/// Judges the last minute.
pub(super) fn detect(evidence: &Evidence<'_>) -> Option<Finding> {
    let config = evidence.config;
    if evidence.history.recent(Fact::ServerError) == 0 {
        return None;
    }
    let minute = |remembered| evidence.history.sum(remembered, MINUTE_S);
    let errors = minute(Remembered::ServerError);
    if errors < config.http_5xx_min {
        return None;
    }
    let responses = minute(Remembered::Response).max(errors);
    let share = ratio(errors, responses)?;
    if share <= config.http_5xx_share || responses < config.http_responses_min {
        return None;
    }
    let severity = match share {
        _ if share >= DOWN_SHARE => Severity::P1,
        _ if share >= DEGRADED_SHARE => Severity::P2,
        _ => Severity::P3,
    };
    let requests = minute(Remembered::Request);
    let attempts = evidence.history.sum(Remembered::Attempted, MINUTE_S);
    let (socket, port) = (evidence.socket(), evidence.listener.port);
    let percent = share * 100.0;
    Some(Finding {
        rule: format!(
            "share of responses with status 5xx > {} over {MINUTE_S} s, and >= {} of them",
            config.http_5xx_share, config.http_5xx_min
        ),
        measured: share,
        unit: "share of responses",
        limit: config.http_5xx_share,
        facts: vec![
            ("responses", responses as f64),
            ("status_5xx", errors as f64),
            ("requests", requests as f64),
            ("connection_attempts", attempts as f64),
        ],
        window_s: MINUTE_S as f64,
        cause: vec![
            format!(
                "{socket} or what is behind it fails: {errors} of {responses} responses ({percent:.1} %) are 5xx"
            ),
            format!(
                "or it is overloaded: {requests} requests on {attempts} new connections in the same minute"
            ),
        ],
        next: vec![
            format!("curl -sS -o /dev/null -w '%{{http_code}} %{{time_total}}\\n' http://{socket}/"),
            format!("journalctl --since -5min -p warning; ss -Hltnp 'sport = :{port}'"),
            format!("ss -Htn state established 'sport = :{port}' | wc -l; nstat -az TcpExtListenOverflows"),
            format!(
                "tcpdump -ni any -A -s 200 'host {} and tcp src port {port}' | grep --line-buffered 'HTTP/1.* 5'",
                evidence.listener.address
            ),
        ],
        ..Finding::bare(Kind::HttpErrors, severity)
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::Listener;
    use super::*;

    fn responses(responses: u32, errors: u32) -> Listener {
        let mut listener = Listener::default();
        listener.facts(Fact::Response, responses);
        listener.facts(Fact::ServerError, errors);
        listener.pass(5);
        listener
    }

    #[test]
    fn two_per_cent_is_a_deviation_and_half_is_down() {
        let found = detect(&responses(3_000, 60).evidence()).unwrap();
        assert_eq!((found.severity, found.measured), (Severity::P3, 0.02));
        assert_eq!(detect(&responses(100, 60).evidence()).unwrap().severity, Severity::P1);
    }

    #[test]
    fn an_error_now_and_then_is_ordinary() {
        assert_eq!(detect(&responses(1_000, 8).evidence()), None);
        assert_eq!(detect(&responses(40, 2).evidence()), None);
        assert_eq!(detect(&responses(6, 5).evidence()), None);
    }
}
