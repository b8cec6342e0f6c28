//! `slow_transfer`: bulk data that takes more than 200 ms per MiB, with the reason in the traffic.
//!
//! Fault: loss on the path, or a receiver that closes its window.
//! Measured: time of each MiB of new payload that was not held up by the application (feature model: > 200 ms), the
//! share of slow ones over ten seconds, and beside it retransmissions and low windows in the same ten seconds.
//! Ordinary traffic does not trigger it: a link that is merely slow shows neither loss nor low windows, and is a
//! number in the report, not an incident.
//! What would fool it: reordering without loss counts as loss here, since the fast path cannot tell them apart.

use tidegauge_ebpf::limits::{RWND_LOW_BYTES, TRANSFER_SLOW_MS};
use tidegauge_ebpf::listener::ListenerCounter;

use super::Evidence;
use crate::feature::ratio;
use crate::incident::{Finding, Kind, Severity};

/// Judges the last ten seconds.
pub(super) fn detect(evidence: &Evidence<'_>) -> Option<Finding> {
    let config = evidence.config;
    let over_ten_seconds = |counter| evidence.sliding.ten_seconds(counter);
    let transfers = over_ten_seconds(ListenerCounter::Transfers);
    if transfers < config.slow_transfer_samples_min {
        return None;
    }
    let slow_share = ratio(over_ten_seconds(ListenerCounter::TransfersSlow), transfers)?;
    let mean_ms = ratio(over_ten_seconds(ListenerCounter::TransfersUs), transfers)? / 1_000.0;
    let payload = over_ten_seconds(ListenerCounter::PayloadSegments);
    let loss = ratio(over_ten_seconds(ListenerCounter::RetransmitOrReordered), payload).unwrap_or(0.0);
    let windows =
        over_ten_seconds(ListenerCounter::RwndPeer) + over_ten_seconds(ListenerCounter::RwndListener);
    let low =
        over_ten_seconds(ListenerCounter::RwndPeerLow) + over_ten_seconds(ListenerCounter::RwndListenerLow);
    let low_share = ratio(low, windows).unwrap_or(0.0);
    let lossy = loss >= config.slow_transfer_loss_share;
    let blocked = low_share >= config.slow_transfer_loss_share;
    if slow_share < config.slow_transfer_share || !(lossy || blocked) {
        return None;
    }
    Some(Finding {
        kind: Kind::SlowTransfer,
        severity: Severity::P3,
        rule: format!(
            "share of MiB slower than {} ms >= {} with loss or low windows >= {}",
            TRANSFER_SLOW_MS, config.slow_transfer_share, config.slow_transfer_loss_share
        ),
        measured: mean_ms,
        unit: "ms/MiB",
        limit: f64::from(TRANSFER_SLOW_MS),
        baseline: None,
        facts: vec![
            ("slow_share", slow_share),
            ("mib_timed", transfers as f64),
            ("retransmit_or_reordered_share", loss),
            ("low_window_share", low_share),
        ],
        window_s: 10.0,
        distinct_sources: None,
        spoofed_estimate: None,
        top_sources: Vec::new(),
        top_prefixes: Vec::new(),
        ttl_classes: None,
        cause: causes(lossy.then_some(loss), blocked.then_some(low_share)),
        next: vec![
            format!("ss -tin 'sport = :{port} or dport = :{port}'", port = evidence.listener.port),
            "nstat -az TcpRetransSegs TcpExtTCPLostRetransmit TcpExtTCPFromZeroWindowAdv".to_owned(),
            "ip -s link".to_owned(),
        ],
    })
}

/// What holds the data up, in words: the share of segments lost and of windows that were low, where it is one of them.
fn causes(loss: Option<f64>, low_share: Option<f64>) -> Vec<String> {
    let receiver = low_share.map(|share| {
        format!("the receiver: {:.1} % of the windows are below {RWND_LOW_BYTES} bytes", share * 100.0)
    });
    let network = loss.map(|share| {
        format!("the network: {:.1} % of the segments were sent again or overtaken", share * 100.0)
    });
    receiver.into_iter().chain(network).collect()
}
