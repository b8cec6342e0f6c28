//! `low_window`: receivers that leave their senders little room.
//!
//! Fault: a receiver that does not read, or whose socket buffer is small: throughput is window per round trip.
//! Measured: share of windows below 10,000 bytes (feature model: < 10 K) among those of known scale, per second and
//! side; unknown scales are counted apart and raise nothing.
//! Ordinary traffic does not trigger it: healthy receivers advertise 58 K and more; two low seconds in a row and
//! twenty samples each are asked for. Load balancers offer 4 KiB for requests of one: a listener's small windows count
//! where somebody filled one in the last half to whole minute, or it closed, as far as whole packets are seen.
//! What would fool it: clients that always advertise small windows on purpose (small devices) and need no throughput;
//! senders to a listener that always stop a segment short of its window.

use tidegauge_ebpf::limits::RWND_LOW_BYTES;
use tidegauge_ebpf::listener::ListenerCounter;

use super::Evidence;
use crate::config::Config;
use crate::fact::Fact;
use crate::feature::ratio;
use crate::incident::{Finding, Kind, Severity};

/// Low shares of the peers' and of the listener's windows; a side with too few samples counts as not low, `None`
/// where both have too few.
pub(super) fn shares(config: &Config, count: impl Fn(ListenerCounter) -> u64) -> Option<(f64, f64)> {
    let side = |all, low| {
        let samples = count(all);
        (samples >= config.low_window_samples_min).then(|| ratio(count(low), samples)).flatten()
    };
    let peer = side(ListenerCounter::RwndPeer, ListenerCounter::RwndPeerLow);
    let own = side(ListenerCounter::RwndListener, ListenerCounter::RwndListenerLow);
    if peer.is_none() && own.is_none() {
        return None;
    }
    Some((peer.unwrap_or(0.0), own.unwrap_or(0.0)))
}

/// Judges the last second, once enough seconds in a row were low.
pub(super) fn detect(evidence: &Evidence<'_>) -> Option<Finding> {
    let config = evidence.config;
    if evidence.low_window_seconds < config.low_window_seconds {
        return None;
    }
    let (peer, own) = shares(config, |counter| evidence.last_second(counter))?;
    let zero_windows = evidence.last_second(ListenerCounter::ZeroWindow);
    let limits_somebody =
        zero_windows > 0 || !evidence.whole_packets || evidence.history.recent(Fact::WindowFull) != 0;
    let share = peer.max(if limits_somebody { own } else { 0.0 });
    if share < config.low_window_share {
        return None;
    }
    let who = if own >= peer && limits_somebody { "the listener" } else { "its clients" };
    let reads =
        if zero_windows > 0 { "does not read fast enough (zero windows)" } else { "has small buffers" };
    Some(Finding {
        kind: Kind::LowWindow,
        severity: if zero_windows > 0 { Severity::P2 } else { Severity::P3 },
        rule: format!(
            "share of windows < {RWND_LOW_BYTES} bytes >= {} for {} s",
            config.low_window_share, config.low_window_seconds
        ),
        measured: share,
        unit: "share of windows",
        limit: config.low_window_share,
        baseline: None,
        facts: vec![
            ("low_share_of_clients", peer),
            ("low_share_of_listener", own),
            ("zero_windows_per_s", zero_windows as f64),
            (
                "windows_of_unknown_scale_per_s",
                evidence.last_second(ListenerCounter::RwndScaleUnknown) as f64,
            ),
        ],
        window_s: 1.0,
        distinct_sources: None,
        spoofed_estimate: None,
        top_sources: Vec::new(),
        top_prefixes: Vec::new(),
        ttl_classes: None,
        cause: vec![format!("{who} advertises windows below {RWND_LOW_BYTES} bytes: it {reads}")],
        next: vec![
            format!("ss -tinm 'sport = :{port} or dport = :{port}'", port = evidence.listener.port),
            "sysctl net.ipv4.tcp_rmem net.core.rmem_max net.ipv4.tcp_moderate_rcvbuf".to_owned(),
            "nstat -az TcpExtTCPFromZeroWindowAdv TcpExtTCPToZeroWindowAdv TcpExtTCPRcvCollapsed".to_owned(),
        ],
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::Listener;
    use super::*;

    /// A second in which all windows of one side are low.
    fn low(all: ListenerCounter, low: ListenerCounter, filled: u32) -> Option<Finding> {
        let mut listener = Listener::default();
        listener.count(all, 50);
        listener.count(low, 50);
        listener.facts(Fact::WindowFull, filled);
        listener.add();
        detect(&Evidence { low_window_seconds: 2, ..listener.evidence() })
    }

    #[test]
    fn a_listeners_small_windows_count_where_somebody_filled_one() {
        let own = |filled| low(ListenerCounter::RwndListener, ListenerCounter::RwndListenerLow, filled);
        assert!(own(1).is_some_and(|finding| finding.cause[0].starts_with("the listener")));
        assert_eq!(own(0), None, "a load balancer that waits for requests");
    }

    #[test]
    fn clients_small_windows_count() {
        let found = low(ListenerCounter::RwndPeer, ListenerCounter::RwndPeerLow, 0);
        assert!(found.is_some_and(|finding| finding.cause[0].starts_with("its clients")));
    }
}
