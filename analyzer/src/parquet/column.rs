//! The columns of all tables: one list for each kind of record. A table is one or more of them side by side
//! ([`super::shape`]), under prefixes where a list comes twice.

use tidegauge_ebpf::counter::{Counter, Counters};
use tidegauge_ebpf::listener::ListenerCounter;

use super::Span;
use super::table::{Column, Get};
use crate::flow_record::{DirectionRecord, FlowRecord, HandshakeRecord, LimiterRecord};
use crate::incident::Incident;
use crate::layer::{LayerCounter, LayerSums};
use crate::quality::{Quality, Verdict};
use crate::summary::{Quantiles, RwndSummary, Tcp};
use crate::window::{ListenerKey, ListenerWindow};

const fn time<R>(name: &'static str, about: &'static str, get: fn(&R) -> Option<u64>) -> Column<R> {
    Column { name, about, get: Get::Time(get) }
}

const fn count<R>(name: &'static str, about: &'static str, get: fn(&R) -> Option<u64>) -> Column<R> {
    Column { name, about, get: Get::Count(get) }
}

const fn number<R>(name: &'static str, about: &'static str, get: fn(&R) -> Option<f64>) -> Column<R> {
    Column { name, about, get: Get::Number(get) }
}

const fn flag<R>(name: &'static str, about: &'static str, get: fn(&R) -> Option<bool>) -> Column<R> {
    Column { name, about, get: Get::Flag(get) }
}

const fn text<R>(name: &'static str, about: &'static str, get: fn(&R) -> Option<String>) -> Column<R> {
    Column { name, about, get: Get::Text(get) }
}

/// When: windows and listeners.
pub(super) const SPAN: &[Column<Span>] = &[
    time("start", "beginning of its first tick (100 ms) with packets, packet time", |span| {
        Some(span.start_ns)
    }),
    time("end", "end of its last one", |span| Some(span.end_ns)),
    number("window_s", "length of the window; rates are counts divided by it", |span| Some(span.window_s)),
];

/// How well it was seen.
pub(super) const QUALITY: &[Column<Quality>] = &[
    text("quality", "complete, degraded or blind", |quality| Some(verdict(quality.verdict).to_owned())),
    count("lost", "packets, flows and attempts lost, as far as somebody tells", |quality| {
        Some(quality.dropped.values().flatten().sum())
    }),
];

const fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Complete => "complete",
        Verdict::Degraded => "degraded",
        Verdict::Blind => "blind",
    }
}

/// Sums of a window.
pub(super) const TOTALS: &[Column<Counters>] = &[
    count("packets", "packets on the wire", |sums| Some(sums.get(Counter::Packets))),
    count("bytes", "their bytes, link headers included", |sums| Some(sums.get(Counter::Bytes))),
    count("super_frames", "merged frames among them", |sums| Some(sums.get(Counter::SuperFrames))),
    count("ipv4", "IPv4 packets", |sums| Some(sums.get(Counter::Ipv4))),
    count("ipv6", "IPv6 packets", |sums| Some(sums.get(Counter::Ipv6))),
    count("arp", "ARP packets", |sums| Some(sums.get(Counter::Arp))),
    count("fragments", "IP fragments", |sums| Some(sums.get(Counter::Fragments))),
    count("udp", "UDP datagrams", |sums| Some(sums.get(Counter::Udp))),
    count("icmp", "ICMP and ICMPv6 messages", |sums| Some(sums.get(Counter::Icmp))),
    count("attempted", "first SYNs", |sums| Some(sums.get(Counter::Attempted))),
    count("answered", "attempts answered by a SYN-ACK", |sums| Some(sums.get(Counter::Answered))),
    count("refused", "attempts refused by a RST", |sums| Some(sums.get(Counter::Refused))),
    count("completed", "handshakes completed", |sums| Some(sums.get(Counter::Completed))),
    count("completed_one_sided", "completed by the view of one side", |sums| {
        Some(sums.get(Counter::CompletedOneSided))
    }),
    count("aborted", "attempts reset after the answer or by the initiator", |sums| {
        Some(sums.get(Counter::Aborted))
    }),
    count("attempts_lost", "attempts given up for lack of room", |sums| {
        Some(sums.get(Counter::AttemptsLost))
    }),
    count("flows_refused", "segments not judged for lack of room", |sums| {
        Some(sums.get(Counter::FlowsRefused))
    }),
];

/// TCP facts and judgements of a window.
pub(super) const TCP: &[Column<Tcp>] = &[
    count("segments", "TCP segments", |tcp| Some(tcp.segments)),
    count("syn", "SYN without ACK", |tcp| Some(tcp.syn)),
    count("syn_ack", "SYN with ACK", |tcp| Some(tcp.syn_ack)),
    count("fin", "FIN set", |tcp| Some(tcp.fin)),
    count("rst", "RST set", |tcp| Some(tcp.rst)),
    count("payload_segments", "segments with payload", |tcp| Some(tcp.payload_segments)),
    count("payload_bytes", "TCP payload bytes", |tcp| Some(tcp.payload_bytes)),
    count("syn_retransmission", "SYNs sent again", |tcp| Some(tcp.syn_retransmission)),
    count("retransmit_or_reordered", "sent again or overtaken, not told apart", |tcp| {
        Some(tcp.retransmit_or_reordered)
    }),
    count("retransmission", "segments sent again", |tcp| tcp.retransmission),
    count("fast_retransmission", "sent again in answer to duplicate ACKs", |tcp| tcp.fast_retransmission),
    count("spurious_retransmission", "sent again although acknowledged", |tcp| tcp.spurious_retransmission),
    count("out_of_order", "segments overtaken", |tcp| tcp.out_of_order),
    count("lost_segment", "segments before which something was not seen", |tcp| Some(tcp.lost_segment)),
    count("duplicate_ack", "ACKs that say the same again", |tcp| tcp.duplicate_ack),
    count("zero_window", "segments that close the receive window", |tcp| Some(tcp.zero_window)),
    count("window_full", "segments that fill the receive window", |tcp| tcp.window_full),
    count("window_update", "ACKs that only open the window", |tcp| tcp.window_update),
    count("keep_alive", "keep-alive probes", |tcp| Some(tcp.keep_alive)),
    count("keep_alive_ack", "their ACKs", |tcp| tcp.keep_alive_ack),
    count("syn_ack_retransmission", "SYN-ACKs sent again", |tcp| tcp.syn_ack_retransmission),
    count("acked_unseen", "ACKs of what was not seen", |tcp| tcp.acked_unseen),
    count("zero_window_probe", "probes of a closed window", |tcp| tcp.zero_window_probe),
    count("zero_window_probe_ack", "their ACKs", |tcp| tcp.zero_window_probe_ack),
    count("reused_ports", "new connections with the addresses and ports of another", |tcp| tcp.reused_ports),
    count("captured_twice", "packets that the capture has twice", |tcp| tcp.captured_twice),
    count("d_sack", "reports of data received twice", |tcp| tcp.d_sack),
    count("reset_refused", "RSTs that refuse", |tcp| tcp.reset_refused),
    count("reset_aborted", "RSTs that abort", |tcp| tcp.reset_aborted),
    count("reset_out_of_state", "RSTs that fit no state", |tcp| tcp.reset_out_of_state),
];

/// What was read above TCP and UDP in a window.
pub(super) const LAYERS: &[Column<LayerSums>] = &[
    count("tls_client_hellos", "TLS ClientHellos", |sums| Some(sums.get(LayerCounter::TlsClientHellos))),
    count("tls_server_hellos", "TLS ServerHellos", |sums| Some(sums.get(LayerCounter::TlsServerHellos))),
    count("tls_alerts", "TLS alerts, encrypted ones included", |sums| {
        Some(sums.get(LayerCounter::TlsAlerts))
    }),
    count("tls_handshake_failures", "TLS handshakes ended by a fatal alert", |sums| {
        Some(sums.get(LayerCounter::TlsHandshakeFailures))
    }),
    count("http_requests", "HTTP/1 requests", |sums| Some(sums.get(LayerCounter::HttpRequests))),
    count("http_responses", "HTTP/1 responses", |sums| Some(sums.get(LayerCounter::HttpResponses))),
    count("http_status_4xx", "of these, 400 to 499", |sums| Some(sums.get(LayerCounter::HttpStatus4xx))),
    count("http_status_5xx", "of these, 500 to 599", |sums| Some(sums.get(LayerCounter::HttpStatus5xx))),
    count("http_unanswered", "requests without a response", |sums| {
        Some(sums.get(LayerCounter::HttpUnanswered))
    }),
    count("dns_queries", "DNS queries", |sums| Some(sums.get(LayerCounter::DnsQueries))),
    count("dns_responses", "DNS responses", |sums| Some(sums.get(LayerCounter::DnsResponses))),
    count("dns_failures", "of these, with any code but 0", |sums| Some(sums.get(LayerCounter::DnsFailures))),
    count("dns_unanswered", "queries without an answer in time", |sums| {
        Some(sums.get(LayerCounter::DnsUnanswered))
    }),
    count("icmp_echo_requests", "ICMP echo requests", |sums| Some(sums.get(LayerCounter::IcmpEchoRequests))),
    count("icmp_echo_replies", "ICMP echo replies", |sums| Some(sums.get(LayerCounter::IcmpEchoReplies))),
    count("icmp_unreachable", "destination unreachable", |sums| {
        Some(sums.get(LayerCounter::IcmpUnreachable))
    }),
    count("icmp_ttl_exceeded", "time exceeded", |sums| Some(sums.get(LayerCounter::IcmpTtlExceeded))),
    count("quic_datagrams", "datagrams that carry QUIC", |sums| Some(sums.get(LayerCounter::QuicDatagrams))),
    count("quic_initials", "QUIC Initial packets", |sums| Some(sums.get(LayerCounter::QuicInitials))),
    count("arp_requests", "ARP requests", |sums| Some(sums.get(LayerCounter::ArpRequests))),
    count("arp_replies", "ARP replies", |sums| Some(sums.get(LayerCounter::ArpReplies))),
    number("version_entropy_bits", "entropy of protocol versions; null: none seen", |sums| {
        sums.versions.entropy_bits()
    }),
];

/// Receive windows of a window.
pub(super) const RWND: &[Column<RwndSummary>] = &[
    count("count", "receive windows of known scale", |rwnd| Some(rwnd.count)),
    count("low", "of these, those below 10,000 bytes", |rwnd| Some(rwnd.low)),
    count("scale_unknown", "receive windows of unknown scale", |rwnd| Some(rwnd.scale_unknown)),
    count("p1_bytes", "first percentile", |rwnd| rwnd.p1.map(u64::from)),
    count("p50_bytes", "median", |rwnd| rwnd.p50.map(u64::from)),
];

/// Quantiles of one kind of times.
pub(super) const TIMES: &[Column<Quantiles>] = &[
    count("count", "samples", |times| Some(times.count)),
    number("p50_ms", "median, the lower bound of its bucket", |times| times.p50),
    number("p90_ms", "90th percentile", |times| times.p90),
    number("p99_ms", "99th percentile", |times| times.p99),
    number("max_ms", "largest", |times| times.max),
];

/// Who is asked.
pub(super) const LISTENER: &[Column<ListenerKey>] = &[
    text("addr", "address of the listener", |key| Some(key.address.to_string())),
    count("port", "its TCP port", |key| Some(key.port.into())),
];

/// What happened there in a window.
pub(super) const LISTENER_SUMS: &[Column<ListenerWindow>] = &[
    flag("listens", "a handshake told that it listens; null: not known", |sums| sums.known.then_some(true)),
    count("packets", "segments to and from it", |sums| Some(sums.get(ListenerCounter::Packets))),
    count("bytes", "their bytes on the wire", |sums| Some(sums.get(ListenerCounter::Bytes))),
    count("attempted", "first SYNs", |sums| Some(sums.get(ListenerCounter::Attempted))),
    count("syn_retransmission", "SYNs sent again", |sums| Some(sums.get(ListenerCounter::SynRetransmission))),
    count("answered", "attempts it answered", |sums| Some(sums.get(ListenerCounter::Answered))),
    count("refused", "attempts it refused", |sums| Some(sums.get(ListenerCounter::Refused))),
    count("aborted", "attempts reset after the answer or by the initiator", |sums| {
        Some(sums.get(ListenerCounter::Aborted))
    }),
    count("completed", "handshakes completed", |sums| Some(sums.get(ListenerCounter::Completed))),
    count("completed_one_sided", "completed by the view of one side", |sums| {
        Some(sums.get(ListenerCounter::CompletedOneSided))
    }),
    count("rst", "RST segments", |sums| Some(sums.get(ListenerCounter::Rst))),
    count("fin", "FIN segments", |sums| Some(sums.get(ListenerCounter::Fin))),
    count("payload_segments", "segments with payload", |sums| {
        Some(sums.get(ListenerCounter::PayloadSegments))
    }),
    count("retransmit_or_reordered", "sent again or overtaken", |sums| {
        Some(sums.get(ListenerCounter::RetransmitOrReordered))
    }),
    count("rwnd_count", "receive windows of known scale, both sides", |sums| {
        Some(sums.get(ListenerCounter::RwndListener) + sums.get(ListenerCounter::RwndPeer))
    }),
    count("rwnd_low", "of these, low ones", |sums| {
        Some(sums.get(ListenerCounter::RwndListenerLow) + sums.get(ListenerCounter::RwndPeerLow))
    }),
    count("zero_window", "zero windows", |sums| Some(sums.get(ListenerCounter::ZeroWindow))),
    number("transfer_1mib_mean_ms", "mean time per MiB", |sums| {
        mean_ms(sums, ListenerCounter::TransfersUs, ListenerCounter::Transfers)
    }),
    number("rtt_listener_mean_ms", "mean round trip to the listener", |sums| {
        mean_ms(sums, ListenerCounter::RoundTripsListenerUs, ListenerCounter::RoundTripsListener)
    }),
    number("rtt_peer_mean_ms", "mean round trip to its peers", |sums| {
        mean_ms(sums, ListenerCounter::RoundTripsPeerUs, ListenerCounter::RoundTripsPeer)
    }),
    count("distinct_sources", "sources of attempts in the last one to two seconds, about", |sums| {
        Some(sums.distinct.estimate())
    }),
];

fn mean_ms(sums: &ListenerWindow, us: ListenerCounter, samples: ListenerCounter) -> Option<f64> {
    crate::feature::ratio(sums.get(us), sums.get(samples)).map(|mean_us| mean_us / 1_000.0)
}

/// A connection.
pub(super) const FLOW: &[Column<FlowRecord>] = &[
    time("ts", "when it was told, packet time", |flow| Some(flow.told_ns)),
    count("number", "order of its first packet in the run, from 1", |flow| Some(flow.number)),
    time("first_ts", "first packet", |flow| Some(flow.first_ns)),
    time("last_ts", "last packet", |flow| Some(flow.last_ns)),
    text("initiator_addr", "who asked", |flow| Some(flow.initiator.addr.to_string())),
    count("initiator_port", "its TCP port", |flow| Some(flow.initiator.port.into())),
    text("responder_addr", "who was asked", |flow| Some(flow.responder.addr.to_string())),
    count("responder_port", "its TCP port", |flow| Some(flow.responder.port.into())),
    flag("initiator_known", "false: no handshake seen, the lower port is the responder's", |flow| {
        Some(flow.initiator_known)
    }),
    text("state", "how far it came", |flow| Some(flow.state.name().to_owned())),
    text("close", "why it is over", |flow| Some(flow.close.name().to_owned())),
    text("app", "what the layers above TCP know, JSON", |flow| flow.app.as_ref().map(ToString::to_string)),
    flag("detail_lost", "seen in part only: counts are at least these", |flow| Some(flow.detail_lost)),
];

/// Its handshake, as far as it was seen.
pub(super) const FLOW_HANDSHAKE: &[Column<HandshakeRecord>] = &[
    count("listener_rtt_us", "SYN to SYN-ACK", |handshake| handshake.listener_rtt_us.map(u64::from)),
    count("peer_rtt_us", "SYN-ACK to ACK", |handshake| handshake.peer_rtt_us.map(u64::from)),
    count("syn_retransmission", "SYNs sent again", |handshake| Some(handshake.syn_retransmission.into())),
    count("syn_ack_retransmission", "SYN-ACKs sent again", |handshake| {
        Some(handshake.syn_ack_retransmission.into())
    }),
    flag("simultaneous_open", "both sides sent a SYN first", |handshake| Some(handshake.simultaneous_open)),
];

/// What one side sent.
pub(super) const DIRECTION: &[Column<DirectionRecord>] = &[
    count("packets", "segments", |sent| Some(sent.packets)),
    count("bytes", "bytes on the wire", |sent| Some(sent.bytes)),
    count("payload_bytes", "TCP payload, each time it was sent", |sent| Some(sent.payload_bytes)),
    count("goodput_bytes", "payload that was new", |sent| Some(sent.goodput_bytes)),
    count("retransmission", "segments sent again", |sent| Some(sent.retransmission.into())),
    count("fast_retransmission", "of these, in answer to duplicate ACKs", |sent| {
        Some(sent.fast_retransmission.into())
    }),
    count("spurious_retransmission", "of these, although acknowledged", |sent| {
        Some(sent.spurious_retransmission.into())
    }),
    count("out_of_order", "segments overtaken", |sent| Some(sent.out_of_order.into())),
    count("lost_segment", "segments before which something was not seen", |sent| {
        Some(sent.lost_segment.into())
    }),
    count("duplicate_ack", "ACKs that say the same again", |sent| Some(sent.duplicate_ack.into())),
    count("zero_window", "segments that close the receive window", |sent| Some(sent.zero_window.into())),
    count("window_full", "segments that fill the other side's window", |sent| Some(sent.window_full.into())),
    count("keep_alive", "keep-alive probes", |sent| Some(sent.keep_alive.into())),
    count("captured_twice", "packets that the capture has twice", |sent| Some(sent.captured_twice.into())),
    count("rtt_samples", "round trips to the receiver and back, segment to ACK", |sent| {
        Some(sent.rtt.samples.into())
    }),
    count("rtt_min_us", "least of them", |sent| sent.rtt.min_us.map(u64::from)),
    count("rtt_mean_us", "their mean", |sent| sent.rtt.mean_us.map(u64::from)),
    count("rtt_max_us", "largest", |sent| sent.rtt.max_us.map(u64::from)),
    count("rtt_jitter_us", "mean difference between one and the next", |sent| {
        sent.rtt.jitter_us.map(u64::from)
    }),
    count("rwnd_min_bytes", "least receive window advertised", |sent| sent.rwnd_min_bytes.map(u64::from)),
    count("rwnd_max_bytes", "largest one", |sent| sent.rwnd_max_bytes.map(u64::from)),
    count("window_shift", "shift of this side's window", |sent| sent.window_shift.map(u64::from)),
    count("in_flight_max_bytes", "most bytes sent and not acknowledged", |sent| {
        sent.in_flight_max_bytes.map(u64::from)
    }),
    number("throughput_bps", "payload bits per second", |sent| sent.throughput_bps),
    number("goodput_bps", "new payload bits per second", |sent| sent.goodput_bps),
    flag("sack", "SACK permitted or used", |sent| Some(sent.sack)),
    flag("ecn", "ECN offered, taken up or marked", |sent| Some(sent.ecn)),
    flag("fin", "sent a FIN", |sent| Some(sent.fin)),
    flag("rst", "sent a RST", |sent| Some(sent.rst)),
];

/// What held it back.
pub(super) const LIMITER: &[Column<LimiterRecord>] = &[
    text("verdict", "application, receiver_window or network", |limiter| {
        Some(limiter.verdict.name().to_owned())
    }),
    text("direction", "whose data: forward or reverse", |limiter| Some(limiter.direction.name().to_owned())),
    number("application_share", "share of the time, 0 to 1", |limiter| Some(limiter.application_share)),
    number("receiver_window_share", "share of the time", |limiter| Some(limiter.receiver_window_share)),
    number("network_share", "share of the time", |limiter| Some(limiter.network_share)),
    text("evidence", "the numbers behind it, in words", |limiter| Some(limiter.evidence.clone())),
];

/// A change of an incident.
pub(super) const INCIDENT: &[Column<Incident>] = &[
    time("ts", "when it changed, packet time", |incident| Some(incident.updated_ns)),
    text("id", "the same in all its rows", |incident| Some(incident.id.clone())),
    text("kind", "what is wrong", |incident| Some(incident.peak.kind.name().to_owned())),
    text("state", "opened, updated or closed", |incident| word(&incident.state)),
    text("severity", "P1 is the worst", |incident| word(&incident.peak.severity)),
    time("opened_ts", "when it opened", |incident| Some(incident.opened_ns)),
    time("closed_ts", "when it closed; null: it has not", |incident| incident.closed_ns),
    number("lasted_s", "how long the condition held; null: it still does", |incident| {
        incident.closed_ns.map(|_| incident.lasted_ns() as f64 / 1e9)
    }),
    text("addr", "who is hit; null: the capture itself", |incident| {
        incident.target.parts().map(|(addr, ..)| addr)
    }),
    count("port", "its port", |incident| {
        incident.target.parts().and_then(|(_, port, _)| port).map(u64::from)
    }),
    text("proto", "tcp, udp, icmp, arp or ip", |incident| {
        incident.target.parts().map(|(.., proto)| proto.to_owned())
    }),
    text("rule", "the rule in words, with its numbers", |incident| Some(incident.peak.rule.clone())),
    number("measured", "the rule's main quantity at its worst", |incident| Some(incident.peak.measured)),
    text("unit", "its unit", |incident| Some(incident.peak.unit.to_owned())),
    number("limit", "what it was compared with", |incident| Some(incident.peak.limit)),
    number("baseline", "what is usual", |incident| incident.peak.baseline),
    count("distinct_sources", "sources, about", |incident| incident.peak.distinct_sources),
    number("spoofed_estimate", "share of forged sources, 0 to 1", |incident| incident.peak.spoofed_estimate),
    text("cause", "likely causes, the likeliest first, one a line", |incident| {
        Some(incident.peak.cause.join("\n"))
    }),
];

/// The word that JSON has for it.
fn word(value: &impl serde::Serialize) -> Option<String> {
    serde_json::to_value(value).ok()?.as_str().map(str::to_owned)
}
