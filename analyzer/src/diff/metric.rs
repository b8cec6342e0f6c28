//! What is compared: where it is in a `window` or `flow` line, whether more of it is good, and how much of a difference
//! matters.

use crate::flow_record::{CloseCause, FlowRecord, Limiter};

/// Least relative difference that matters.
pub(super) const EFFECT_MIN: f64 = 0.05;
/// The same of quantiles from histograms, whose buckets are 6.25 % wide: one bucket may be no difference at all.
pub(super) const BUCKET_EFFECT_MIN: f64 = 0.07;
/// Least new payload of a connection whose goodput is compared: below, it is a matter of round trips.
const BULK_BYTES: u64 = 100_000;

/// Which way is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Good {
    /// Less is better.
    Less,
    /// More is better.
    More,
    /// Neither: it depends on what was asked of the network.
    Neither,
}

/// Where the numbers of a line are, as JSON pointers (RFC 6901).
#[derive(Clone, Copy, Debug)]
pub(super) enum Measure {
    /// A count per window.
    Rate(&'static str),
    /// A value that does not add, unknown where it is `null`.
    Value(&'static str),
    /// A part and its whole.
    Share(&'static str, &'static str),
}

/// One quantity of `window` lines.
#[derive(Clone, Copy, Debug)]
pub(super) struct Metric {
    /// Its name, with its unit last.
    pub(super) name: &'static str,
    /// Which way is better.
    pub(super) good: Good,
    /// Where it is.
    pub(super) measure: Measure,
}

const fn rate(name: &'static str, pointer: &'static str) -> Metric {
    Metric { name, good: Good::Neither, measure: Measure::Rate(pointer) }
}

const fn value(name: &'static str, good: Good, pointer: &'static str) -> Metric {
    Metric { name, good, measure: Measure::Value(pointer) }
}

const fn share(name: &'static str, good: Good, part: &'static str, whole: &'static str) -> Metric {
    Metric { name, good, measure: Measure::Share(part, whole) }
}

/// Of the whole run.
pub(super) const WINDOW: &[Metric] = &[
    rate("packets_per_s", "/packets"),
    rate("bytes_per_s", "/bytes"),
    rate("segments_per_s", "/tcp/segments"),
    rate("payload_bytes_per_s", "/tcp/payload_bytes"),
    rate("attempts_per_s", "/handshake/attempted"),
    rate("http_requests_per_s", "/http/requests"),
    rate("tls_hellos_per_s", "/tls/client_hellos"),
    rate("dns_queries_per_s", "/dns/queries"),
    share("retransmission_share", Good::Less, "/tcp/retransmission", "/tcp/segments"),
    share("fast_retransmission_share", Good::Less, "/tcp/fast_retransmission", "/tcp/segments"),
    share("spurious_retransmission_share", Good::Less, "/tcp/spurious_retransmission", "/tcp/segments"),
    share("out_of_order_share", Good::Less, "/tcp/out_of_order", "/tcp/segments"),
    share("retransmit_or_reordered_share", Good::Less, "/tcp/retransmit_or_reordered", "/tcp/segments"),
    share("lost_segment_share", Good::Less, "/tcp/lost_segment", "/tcp/segments"),
    share("duplicate_ack_share", Good::Less, "/tcp/duplicate_ack", "/tcp/segments"),
    share("zero_window_share", Good::Less, "/tcp/zero_window", "/tcp/segments"),
    share("window_full_share", Good::Less, "/tcp/window_full", "/tcp/segments"),
    share("answered_share", Good::More, "/handshake/answered", "/handshake/attempted"),
    share("completed_share", Good::More, "/handshake/completed", "/handshake/attempted"),
    share("refused_share", Good::Less, "/handshake/refused", "/handshake/attempted"),
    share("low_rwnd_share", Good::Less, "/rwnd_bytes/low", "/rwnd_bytes/count"),
    value("rwnd_p1_bytes", Good::More, "/rwnd_bytes/p1"),
    value("rwnd_p50_bytes", Good::More, "/rwnd_bytes/p50"),
    value("transfer_1mib_p50_ms", Good::Less, "/transfer_1mib_ms/p50"),
    value("transfer_1mib_p99_ms", Good::Less, "/transfer_1mib_ms/p99"),
    value("rtt_handshake_listener_p50_ms", Good::Less, "/rtt_ms/by_method/handshake_listener/p50"),
    value("rtt_handshake_listener_p99_ms", Good::Less, "/rtt_ms/by_method/handshake_listener/p99"),
    value("rtt_handshake_peer_p50_ms", Good::Less, "/rtt_ms/by_method/handshake_peer/p50"),
    value("rtt_handshake_peer_p99_ms", Good::Less, "/rtt_ms/by_method/handshake_peer/p99"),
    value("rtt_ack_listener_p50_ms", Good::Less, "/rtt_ms/by_method/ack_listener/p50"),
    value("rtt_ack_listener_p99_ms", Good::Less, "/rtt_ms/by_method/ack_listener/p99"),
    value("rtt_ack_peer_p50_ms", Good::Less, "/rtt_ms/by_method/ack_peer/p50"),
    value("rtt_ack_peer_p99_ms", Good::Less, "/rtt_ms/by_method/ack_peer/p99"),
    value("rtt_timestamps_listener_p50_ms", Good::Less, "/rtt_ms/by_method/timestamps_listener/p50"),
    value("rtt_timestamps_listener_p99_ms", Good::Less, "/rtt_ms/by_method/timestamps_listener/p99"),
    value("rtt_timestamps_peer_p50_ms", Good::Less, "/rtt_ms/by_method/timestamps_peer/p50"),
    value("rtt_timestamps_peer_p99_ms", Good::Less, "/rtt_ms/by_method/timestamps_peer/p99"),
    value("icmp_rtt_p50_ms", Good::Less, "/icmp_rtt_ms/p50"),
    value("icmp_rtt_p99_ms", Good::Less, "/icmp_rtt_ms/p99"),
    share("icmp_echo_unanswered_share", Good::Less, "/icmp/echo_unanswered", "/icmp/echo_requests"),
    value("tls_hello_p50_ms", Good::Less, "/tls/hello_ms/p50"),
    value("tls_hello_p99_ms", Good::Less, "/tls/hello_ms/p99"),
    value("tls_ttfb_p50_ms", Good::Less, "/tls/ttfb_ms/p50"),
    value("tls_ttfb_p99_ms", Good::Less, "/tls/ttfb_ms/p99"),
    share("tls_handshake_failure_share", Good::Less, "/tls/handshake_failures", "/tls/client_hellos"),
    share("tls_unanswered_share", Good::Less, "/tls/hellos_unanswered", "/tls/client_hellos"),
    value("http_latency_p50_ms", Good::Less, "/http/latency_ms/p50"),
    value("http_latency_p99_ms", Good::Less, "/http/latency_ms/p99"),
    share("http_5xx_share", Good::Less, "/http/status_5xx", "/http/responses"),
    share("http_4xx_share", Good::Less, "/http/status_4xx", "/http/responses"),
    share("http_unanswered_share", Good::Less, "/http/unanswered", "/http/requests"),
    value("dns_latency_p50_ms", Good::Less, "/dns/latency_ms/p50"),
    value("dns_latency_p99_ms", Good::Less, "/dns/latency_ms/p99"),
    share("dns_failure_share", Good::Less, "/dns/failures", "/dns/responses"),
    share("dns_unanswered_share", Good::Less, "/dns/unanswered", "/dns/queries"),
    value("version_entropy_bits", Good::Neither, "/version_entropy"),
];

/// Of one listener, in its object of a `window` line.
pub(super) const LISTENER: &[Metric] = &[
    rate("packets_per_s", "/packets"),
    rate("bytes_per_s", "/bytes"),
    rate("attempts_per_s", "/attempted"),
    share("answered_share", Good::More, "/answered", "/attempted"),
    share("completed_share", Good::More, "/completed", "/attempted"),
    share("refused_share", Good::Less, "/refused", "/attempted"),
    value("low_rwnd_share_per_window", Good::Less, "/rwnd_low_share"),
    value("transfer_1mib_mean_ms", Good::Less, "/transfer_1mib_ms"),
    value("rtt_listener_mean_ms", Good::Less, "/rtt_listener_ms"),
    value("rtt_peer_mean_ms", Good::Less, "/rtt_peer_ms"),
];

/// What a connection says.
#[derive(Clone, Copy)]
pub(super) enum FlowMeasure {
    /// A value.
    Value(fn(&FlowRecord) -> Option<f64>),
    /// Whether it is one of those; `None`: it is not asked.
    Share(fn(&FlowRecord) -> Option<bool>),
}

/// One quantity of `flow` lines.
#[derive(Clone, Copy)]
pub(super) struct FlowMetric {
    /// Its name, with its unit last.
    pub(super) name: &'static str,
    /// Which way is better.
    pub(super) good: Good,
    /// How it is had.
    pub(super) measure: FlowMeasure,
}

const fn flow_value(name: &'static str, good: Good, get: fn(&FlowRecord) -> Option<f64>) -> FlowMetric {
    FlowMetric { name, good, measure: FlowMeasure::Value(get) }
}

const fn flow_share(name: &'static str, good: Good, get: fn(&FlowRecord) -> Option<bool>) -> FlowMetric {
    FlowMetric { name, good, measure: FlowMeasure::Share(get) }
}

/// Of connections.
pub(super) const FLOW: &[FlowMetric] = &[
    flow_value("flow_goodput_bps", Good::More, |flow| {
        let bulk = [&flow.forward, &flow.reverse].into_iter().max_by_key(|sent| sent.goodput_bytes)?;
        bulk.goodput_bps.filter(|_| bulk.goodput_bytes >= BULK_BYTES)
    }),
    flow_value("flow_payload_bytes", Good::Neither, |flow| {
        Some((flow.forward.payload_bytes + flow.reverse.payload_bytes) as f64)
    }),
    flow_value("flow_duration_s", Good::Neither, |flow| {
        Some(flow.last_ns.saturating_sub(flow.first_ns) as f64 / 1e9)
    }),
    flow_value("flow_handshake_listener_us", Good::Less, |flow| {
        flow.handshake?.listener_rtt_us.map(f64::from)
    }),
    flow_value("flow_handshake_peer_us", Good::Less, |flow| flow.handshake?.peer_rtt_us.map(f64::from)),
    flow_value("flow_forward_rtt_mean_us", Good::Less, |flow| flow.forward.rtt.mean_us.map(f64::from)),
    flow_value("flow_reverse_rtt_mean_us", Good::Less, |flow| flow.reverse.rtt.mean_us.map(f64::from)),
    flow_value("flow_forward_jitter_us", Good::Less, |flow| flow.forward.rtt.jitter_us.map(f64::from)),
    flow_value("flow_reverse_jitter_us", Good::Less, |flow| flow.reverse.rtt.jitter_us.map(f64::from)),
    flow_value("flow_ttfb_us", Good::Less, |flow| flow.app.as_ref()?.get("ttfb_us")?.as_f64()),
    flow_share("flow_refused_share", Good::Less, |flow| Some(flow.close == CloseCause::Refused)),
    flow_share("flow_reset_share", Good::Less, |flow| {
        let reset = [CloseCause::ResetByInitiator, CloseCause::ResetByResponder, CloseCause::ResetOutOfState];
        Some(reset.contains(&flow.close))
    }),
    flow_share("flow_timed_out_share", Good::Less, |flow| Some(flow.close == CloseCause::TimedOut)),
    flow_share("flow_unreachable_share", Good::Less, |flow| Some(flow.close == CloseCause::Unreachable)),
    flow_share("limited_by_application_share", Good::Neither, |flow| limited(flow, Limiter::Application)),
    flow_share("limited_by_receiver_window_share", Good::Less, |flow| limited(flow, Limiter::ReceiverWindow)),
    flow_share("limited_by_network_share", Good::Less, |flow| limited(flow, Limiter::Network)),
];

fn limited(flow: &FlowRecord, by: Limiter) -> Option<bool> {
    flow.limiter.as_ref().map(|limiter| limiter.verdict == by)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        let names = |all: Vec<&str>| {
            let mut names = all.clone();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), all.len());
        };
        names(WINDOW.iter().map(|metric| metric.name).chain(FLOW.iter().map(|metric| metric.name)).collect());
        names(LISTENER.iter().map(|metric| metric.name).collect());
    }
}
