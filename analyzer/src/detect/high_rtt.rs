//! `high_rtt`: round trips that take too long.
//!
//! Fault: a queue that is full, a link that is overloaded or takes a detour, a host that answers late.
//! Measured: mean round trip over ten seconds, from here to the listener and from here to its peers apart: handshakes,
//! and timestamps that come back. Applications have no part in either: their delay is the time to a response.
//! Ordinary traffic does not trigger it: who is far away is always far away. It takes more than 100 ms (feature model)
//! and three times the listener's own baseline, in half of the seconds, and at the peers' end several slow peers or no
//! new client for two minutes. Without a rise only what no distance explains counts.
//! Thresholds: the model's 100 ms; factor and samples see the table; 800 ms is more than a satellite's way.
//! What would fool it: clients that send nothing but delayed acknowledgments; a crowd of far-away clients at a listener
//! that had only near ones.

use tidegauge_ebpf::listener::ListenerCounter;

use super::Evidence;
use crate::feature::ratio;
use crate::history::Remembered;
use crate::incident::{Finding, Kind, Severity};
use crate::round_trip_time::{Half, SLOW_SECONDS_MIN};

/// Round trips that are enough for what no distance explains.
const FAR_SAMPLES_MIN: u64 = 5;
/// Deviations from the median that are usual.
const DEVIATIONS: f64 = 5.0;
/// Times the limit that degrades a service.
const DEGRADED: f64 = 5.0;
/// How long nobody must have come for a rise to be the old clients', seconds.
const NOBODY_NEW_S: u64 = 120;

/// A mean that is too long.
struct Long {
    half: Half,
    mean_ms: f64,
    samples: u64,
    limit_ms: f64,
    /// `None`: it is long without a rise.
    usual_ms: Option<f64>,
}

/// Judges the last ten seconds.
pub(super) fn detect(evidence: &Evidence<'_>) -> Option<Finding> {
    let config = evidence.config;
    let halves = Half::ALL.into_iter().filter_map(|half| long(evidence, half));
    let long = halves.max_by(|one, other| one.mean_ms.total_cmp(&other.mean_ms))?;
    let severity = if long.usual_ms.is_some() && long.mean_ms >= DEGRADED * config.high_rtt_ms {
        Severity::P2
    } else {
        Severity::P3
    };
    let rule = match long.usual_ms {
        Some(_) => format!(
            "mean round trip > {} ms and > {} x its baseline over 10 s",
            config.high_rtt_ms, config.high_rtt_rise_factor
        ),
        None => format!("mean round trip > {} ms over 10 s", config.high_rtt_far_ms),
    };
    let (address, port) = (evidence.listener.address, evidence.listener.port);
    Some(Finding {
        rule,
        measured: long.mean_ms,
        unit: "ms",
        limit: long.limit_ms,
        baseline: long.usual_ms,
        facts: vec![
            ("round_trips", long.samples as f64),
            ("slow_peers", evidence.round_trip_time.slow_peers().into()),
            ("slow_seconds_of_10", evidence.round_trip_time.slow_seconds(long.half).into()),
            ("to_listener_ms", mean_ms(evidence, Half::Listener).map_or(-1.0, |(mean_ms, _)| mean_ms)),
            ("to_clients_ms", mean_ms(evidence, Half::Peer).map_or(-1.0, |(mean_ms, _)| mean_ms)),
        ],
        window_s: 10.0,
        cause: causes(evidence, &long),
        next: vec![
            format!("ss -tin '( sport = :{port} or dport = :{port} )' | grep -o 'rtt:[^ ]*'"),
            "tc -s qdisc show; ip -s link".to_owned(),
            format!("mtr -rnzc 30 -T -P {port} {address}"),
            format!("tcpdump -ni any -tttt 'host {address} and tcp port {port} and tcp[13] & 2 != 0'"),
        ],
        ..Finding::bare(Kind::HighRtt, severity)
    })
}

/// Mean and number; `None`: no round trip.
fn mean_ms(evidence: &Evidence<'_>, half: Half) -> Option<(f64, u64)> {
    let (count, sum) = half.counters();
    let samples = evidence.sliding.ten_seconds(count);
    Some((ratio(evidence.sliding.ten_seconds(sum), samples)? / 1_000.0, samples))
}

fn long(evidence: &Evidence<'_>, half: Half) -> Option<Long> {
    let config = evidence.config;
    if evidence.round_trip_time.slow_seconds(half) < SLOW_SECONDS_MIN {
        return None;
    }
    let (mean_ms, samples) = mean_ms(evidence, half)?;
    if mean_ms <= config.high_rtt_ms || samples < FAR_SAMPLES_MIN {
        return None;
    }
    let usual = evidence.round_trip_time.usual_us(half);
    let limit_ms = usual.map(|usual| {
        let rise = (usual.median * config.high_rtt_rise_factor)
            .max(usual.median + DEVIATIONS * usual.deviation)
            / 1_000.0;
        rise.max(config.high_rtt_ms)
    });
    if let (Some(usual), Some(limit_ms)) = (usual, limit_ms)
        && mean_ms > limit_ms
        && samples >= config.high_rtt_samples_min
        && is_not_one_newcomer(evidence, half)
    {
        return Some(Long { half, mean_ms, samples, limit_ms, usual_ms: Some(usual.median / 1_000.0) });
    }
    let limit_ms = config.high_rtt_far_ms;
    (mean_ms > limit_ms).then_some(Long { half, mean_ms, samples, limit_ms, usual_ms: None })
}

/// One client from far away raises the mean of a listener's peers, and nothing is wrong.
fn is_not_one_newcomer(evidence: &Evidence<'_>, half: Half) -> bool {
    half == Half::Listener
        || evidence.round_trip_time.slow_peers() >= evidence.config.high_rtt_peers_min
        || evidence.history.sum(Remembered::Attempted, NOBODY_NEW_S) == 0
}

fn causes(evidence: &Evidence<'_>, long: &Long) -> Vec<String> {
    let socket = evidence.socket();
    let before = long.usual_ms.map_or(String::new(), |usual_ms| format!(", {usual_ms:.0} ms before"));
    let payload = evidence.sliding.ten_seconds(ListenerCounter::PayloadSegments);
    let again = evidence.sliding.ten_seconds(ListenerCounter::RetransmitOrReordered);
    let loss = ratio(again, payload).unwrap_or(0.0) * 100.0;
    let Long { mean_ms, samples, .. } = long;
    let place = match long.half {
        Half::Peer => format!(
            "the way to the clients of {socket}: {mean_ms:.0} ms in the mean of {samples} round trips{before}, at least {} slow peers; the listener answers from its side",
            evidence.round_trip_time.slow_peers()
        ),
        Half::Listener => format!(
            "the way to {socket} or its host: {mean_ms:.0} ms in the mean of {samples} round trips{before}; kernels answer these, so an application can delay them only by taking all of the processor"
        ),
    };
    let queue = if loss >= 1.0 {
        format!("a full queue on that way: {loss:.1} % of the segments were sent again or overtaken too")
    } else {
        "a long queue on that way, or a detour: hardly any segment is sent again".to_owned()
    };
    vec![place, queue]
}

#[cfg(test)]
mod tests {
    use super::super::testing::Listener;
    use super::*;

    fn peers(mean_ms: u64, samples: u64, usual_ms: Option<u64>, slow_peers: u32) -> Listener {
        let mut listener = Listener::default();
        listener.count(ListenerCounter::Attempted, 5);
        listener.count(ListenerCounter::RoundTripsPeer, samples);
        listener.count(ListenerCounter::RoundTripsPeerUs, samples * mean_ms * 1_000);
        listener.add();
        let usual_us = usual_ms.map(|usual_ms| usual_ms * 1_000);
        listener.round_trip_time.teach(Half::Peer, usual_us, 10, slow_peers);
        listener
    }

    #[test]
    fn a_rise_of_several_peers_is_told_with_its_half() {
        let found = detect(&peers(200, 100, Some(20), 5).evidence()).unwrap();
        assert_eq!((found.severity, found.limit), (Severity::P3, 100.0));
        assert!(found.cause[0].starts_with("the way to the clients"), "{:?}", found.cause);
        assert_eq!(detect(&peers(600, 100, Some(20), 5).evidence()).unwrap().severity, Severity::P2);
    }

    #[test]
    fn far_away_clients_are_ordinary() {
        assert_eq!(detect(&peers(250, 100, Some(240), 30).evidence()), None, "they always were");
        assert_eq!(detect(&peers(250, 100, Some(20), 1).evidence()), None, "one has come");
        assert_eq!(detect(&peers(250, 100, None, 30).evidence()), None, "nothing to compare with");
        assert_eq!(detect(&peers(90, 100, Some(2), 30).evidence()), None, "below the limit");
    }

    #[test]
    fn no_distance_explains_a_second() {
        let found = detect(&peers(1_000, 9, None, 1).evidence()).unwrap();
        assert_eq!((found.severity, found.baseline), (Severity::P3, None));
        assert_eq!(detect(&peers(1_000, 2, None, 1).evidence()), None);
    }
}
