//! The plain numbers of a report, under its incidents: TCP, round trips, what was read above TCP.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::report::{BOLD, grouped, styled};
use crate::summary::{Quantiles, Summary, Tcp};

/// The plain numbers under the incidents.
pub(super) fn numbers(text: &mut String, summary: &Summary) {
    tcp_numbers(text, summary);
    for (name, method) in [
        ("RTT listener", "handshake_listener"),
        ("RTT peer", "handshake_peer"),
        ("ACK listener", "ack_listener"),
        ("ACK peer", "ack_peer"),
        ("echo listener", "timestamps_listener"),
        ("echo peer", "timestamps_peer"),
    ] {
        if let Some(times) = summary.rtt_ms.by_method.get(method) {
            quantiles(text, name, "ms", times);
        }
    }
    quantiles(text, "1 MiB takes", "ms", &summary.transfer_1mib_ms);
    LAYERS.iter().for_each(|layer| layer_numbers(text, layer, &summary.layers));
    for (name, counts) in
        [("protocols", &summary.protocols), ("tables", &summary.tables), ("time", &summary.time)]
    {
        let counts: Vec<_> =
            counts.iter().filter(|(_, count)| **count != 0).map(|(name, count)| (*name, *count)).collect();
        row(text, name, &counts);
    }
}

fn tcp_numbers(text: &mut String, summary: &Summary) {
    let (tcp, handshake, rwnd) = (&summary.tcp, &summary.handshake, &summary.rwnd_bytes);
    let segments = [("segments", tcp.segments), ("syn", tcp.syn), ("syn_ack", tcp.syn_ack)];
    row(text, "tcp", &[&segments[..], &[("fin", tcp.fin), ("rst", tcp.rst)]].concat());
    let asked = [("asked", handshake.attempted), ("answered", handshake.answered)];
    let ended = [("completed", handshake.completed), ("refused", handshake.refused)];
    let open = [("half open", handshake.half_open), ("timed out", handshake.timed_out)];
    let other = [("one-sided", handshake.completed_one_sided), ("max SYN/s", handshake.syn_per_s_max)];
    row(text, "handshakes", &[asked, ended, open, other].concat());
    judgement(text, tcp);
    let known = [("known scale", rwnd.count), ("below 10,000", rwnd.low)];
    row(text, "windows", &[&known[..], &[("unknown scale", rwnd.scale_unknown)]].concat());
    if let (Some(p1), Some(p50)) = (rwnd.p1, rwnd.p50) {
        row(text, "", &[("p1 bytes", u64::from(p1)), ("p50 bytes", u64::from(p50))]);
    }
}

/// What segments were. Where whole packets were seen, what was sent again is told from what was overtaken.
fn judgement(text: &mut String, tcp: &Tcp) {
    let Some(retransmission) = tcp.retransmission else {
        let resent =
            [("sent again or overtaken", tcp.retransmit_or_reordered), ("SYN again", tcp.syn_retransmission)];
        let stalls = [("hole before", tcp.lost_segment), ("zero window", tcp.zero_window)];
        return row(
            text,
            "judgement",
            &[&resent[..], &stalls[..], &[("keep-alive", tcp.keep_alive)]].concat(),
        );
    };
    let told = |name, count: Option<u64>| (name, count.unwrap_or_default());
    let resent = [
        ("sent again", retransmission),
        told("fast", tcp.fast_retransmission),
        told("spurious", tcp.spurious_retransmission),
        ("SYN", tcp.syn_retransmission),
        told("SYN-ACK", tcp.syn_ack_retransmission),
    ];
    row(text, "judgement", &resent);
    let order = [told("overtaken", tcp.out_of_order), ("hole before", tcp.lost_segment)];
    let acks =
        [told("duplicate ACK", tcp.duplicate_ack), told("ACK of what was not captured", tcp.acked_unseen)];
    row(text, "", &[order, acks].concat());
    let stalls = [("zero window", tcp.zero_window), told("window full", tcp.window_full)];
    let other = [("keep-alive", tcp.keep_alive), told("captured twice", tcp.captured_twice)];
    row(text, "", &[stalls, other].concat());
}

/// What the report tells of a protocol above TCP and UDP.
struct Layer {
    label: &'static str,
    /// Its object in the summary.
    name: &'static str,
    /// Counts with their labels; the first ones say whether the protocol was seen at all.
    counts: &'static [(&'static str, &'static str)],
    /// Times in it, with their label.
    times: &'static [(&'static str, &'static str)],
}

const LAYERS: [Layer; 5] = [
    Layer {
        label: "TLS",
        name: "tls",
        counts: &[
            ("hellos", "hellos"),
            ("failed handshakes", "handshake_failures"),
            ("fatal alerts", "alerts_fatal"),
            ("expired certificates", "certificates_expired"),
        ],
        times: &[("TLS hello", "hello_ms"), ("TLS TTFB", "ttfb_ms")],
    },
    Layer {
        label: "HTTP",
        name: "http",
        counts: &[
            ("requests", "requests"),
            ("responses", "responses"),
            ("4xx", "status_4xx"),
            ("5xx", "status_5xx"),
            ("unanswered", "unanswered"),
        ],
        times: &[("HTTP answer", "latency_ms")],
    },
    Layer {
        label: "DNS",
        name: "dns",
        counts: &[
            ("queries", "queries"),
            ("responses", "responses"),
            ("no such name", "nxdomain"),
            ("servfail", "servfail"),
            ("unanswered", "unanswered"),
        ],
        times: &[("DNS answer", "latency_ms")],
    },
    Layer {
        label: "QUIC",
        name: "quic",
        counts: &[("datagrams", "datagrams"), ("initials", "initials"), ("retries", "retries")],
        times: &[],
    },
    Layer { label: "logins", name: "logins", counts: &[("refused", "refused")], times: &[] },
];

/// A protocol's counts and times; nothing where it was not seen.
fn layer_numbers(text: &mut String, layer: &Layer, layers: &Map<String, Value>) {
    let Some(object) = layers.get(layer.name) else { return };
    let counts: Vec<_> =
        layer.counts.iter().map(|(label, key)| (*label, object[*key].as_u64().unwrap_or_default())).collect();
    if counts.iter().take(2).all(|(_, count)| *count == 0) {
        return;
    }
    row(text, layer.label, &counts);
    for (label, key) in layer.times {
        let times = &object[*key];
        if let (Some(count @ 1..), Some(resolution_ms)) =
            (times["count"].as_u64(), times["resolution_ms"].as_f64())
        {
            let [p50, p90, p99, max] = ["p50", "p90", "p99", "max"].map(|quantile| times[quantile].as_f64());
            quantiles(text, label, "ms", &Quantiles { count, resolution_ms, p50, p90, p99, max });
        }
    }
}

fn row(text: &mut String, name: &str, counts: &[(&str, u64)]) {
    if counts.is_empty() {
        return;
    }
    let counts: Vec<_> = counts.iter().map(|(label, count)| format!("{label} {}", grouped(*count))).collect();
    let _ = writeln!(text, "{} {}", styled(BOLD, format_args!("{name:14}")), counts.join(", "));
}

fn quantiles(text: &mut String, name: &str, unit: &str, quantiles: &Quantiles) {
    let name = styled(BOLD, format_args!("{name:14}"));
    if quantiles.count == 0 {
        let _ = writeln!(text, "{name} unknown (no sample)");
        return;
    }
    let floor = quantiles.resolution_ms;
    let value = |value: Option<f64>| value.map_or(format!("below {floor}"), |value| format!("{value:.3}"));
    let (p50, p99, max) = (value(quantiles.p50), value(quantiles.p99), value(quantiles.max));
    let count = grouped(quantiles.count);
    let _ = writeln!(text, "{name} p50 {p50}, p99 {p99}, max {max} {unit} ({count} samples)");
}
