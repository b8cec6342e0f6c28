//! `conn_surge`: many more connections than usual at one listener, and they are real.
//!
//! Measured: attempts per sliding second against 500/s and against the baseline (a rise of 300 %, above a floor),
//! where the attempts are completed or refused. Of a listener that is asked in bursts a burst is usual: the rise is over
//! the larger of the usual second and the usual second with attempts, and it lasts: a pool that is filled within three
//! ticks is none.
//! Ordinary traffic triggers it when it surges: that is what it says. It is a deviation (P3), never a flood.
//! What would fool it: an attacker who completes every handshake looks like a crowd; the sources tell them apart.

use tidegauge_ebpf::listener::ListenerCounter;

use super::Evidence;
use crate::baseline::SECONDS_MIN_SERVED;
use crate::feature::ratio;
use crate::incident::{Finding, Kind, Severity};

/// Completed or refused share of the attempts that makes them real.
const RESOLVED_SHARE: f64 = 0.5;

/// Newest ticks, and ticks before the oldest ones, in each of which a rise must have such a share of its attempts.
const NEWEST_TICKS: usize = 3;
const OLDEST_BEFORE: usize = 6;
const LASTING_SHARE: f64 = 0.2;

/// Whether the second's attempts are spread over it. Where the kernel judges several ticks may be told at once.
fn lasts(evidence: &Evidence<'_>) -> bool {
    let since = |ticks| evidence.sliding.matured(ListenerCounter::Attempted, ticks) as f64;
    let (all, older, oldest) = (since(0), since(NEWEST_TICKS), since(OLDEST_BEFORE));
    (all - older).min(oldest) >= all * LASTING_SHARE
}

/// Judges the last second.
pub(super) fn detect(evidence: &Evidence<'_>) -> Option<Finding> {
    let handshakes = evidence.handshakes;
    let (mut rate_limit, mut from_baseline) = evidence.rate_limit();
    let burst = evidence.asked.usual_when_any(SECONDS_MIN_SERVED);
    if let Some(burst) = burst.filter(|_| from_baseline) {
        let rise = burst.median * evidence.config.conn_rise_factor;
        rate_limit = rate_limit.max(rise.min(evidence.config.conn_rate_limit_per_s));
        from_baseline = rate_limit < evidence.config.conn_rate_limit_per_s;
    }
    let asked = handshakes.asked as f64;
    // Young attempts count as unresolved here: whether they are a flood shows at the next ticks.
    let resolved = ratio(handshakes.completed + handshakes.refused, handshakes.asked)?;
    if asked <= rate_limit || resolved < RESOLVED_SHARE || (from_baseline && !lasts(evidence)) {
        return None;
    }
    let rule = if from_baseline {
        format!("conn/s > usual x {}", evidence.config.conn_rise_factor)
    } else {
        format!("conn/s > {rate_limit}")
    };
    Some(Finding {
        kind: Kind::ConnSurge,
        severity: Severity::P3,
        rule,
        measured: asked,
        unit: "conn/s",
        limit: rate_limit,
        baseline: evidence.usual_asked().map(|usual| usual.median),
        facts: vec![
            ("asked_per_s", asked),
            ("answered_per_s", handshakes.answered as f64),
            ("completed_per_s", handshakes.completed as f64),
            ("refused_per_s", handshakes.refused as f64),
        ],
        window_s: 1.0,
        distinct_sources: Some(evidence.sources.distinct.estimate()),
        spoofed_estimate: None,
        top_sources: evidence.sources.top.clone(),
        top_prefixes: evidence.sources.prefixes.clone(),
        ttl_classes: Some(evidence.sources.ttl_classes.count_ones()),
        cause: vec![cause(evidence)],
        next: vec![
            format!(
                "ss -Htn 'sport = :{}' | awk '{{print $4}}' | sort | uniq -c | sort -rn | head",
                evidence.listener.port
            ),
            "nstat -az TcpExtListenOverflows TcpExtListenDrops".to_owned(),
            format!("ss -ltn 'sport = :{}'", evidence.listener.port),
        ],
    })
}

fn cause(evidence: &Evidence<'_>) -> String {
    let handshakes = evidence.handshakes;
    let distinct = evidence.sources.distinct.estimate();
    if handshakes.refused > handshakes.completed {
        return format!(
            "{} refuses: {} of {} attempts per second are answered by RST; nothing listens there",
            evidence.socket(),
            handshakes.refused,
            handshakes.asked
        );
    }
    if distinct <= 3 {
        return format!(
            "few clients ({distinct}) opening connections fast: a benchmark, a crawler, a reconnect loop"
        );
    }
    format!(
        "many clients (about {distinct}) at once: a crowd, a deployment, clients that lost their connections"
    )
}

#[cfg(test)]
mod tests {
    use super::super::testing::Listener;
    use super::*;

    /// Attempts by tick, the newest last.
    fn of_ticks(attempts: [u64; 10]) -> bool {
        let mut listener = Listener::default();
        for attempts in attempts {
            listener.sliding.advance(1);
            listener.count(ListenerCounter::Attempted, attempts);
            listener.add();
        }
        lasts(&listener.evidence())
    }

    #[test]
    fn a_pool_that_is_filled_at_once_is_no_surge() {
        assert!(of_ticks([12; 10]) && of_ticks([0, 48, 0, 0, 0, 48, 0, 0, 0, 48]));
        for at in 0..=7 {
            let mut pool = [0; 10];
            pool[at..at + 3].fill(40);
            assert!(!of_ticks(pool), "{at}");
        }
    }
}
