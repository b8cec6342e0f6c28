//! What is exported of a window line: names, what they mean, and where in the line the numbers are.
//!
//! Windows are increments: a [`Count`] is their sum. A [`Level`] is the newest window's. What a line says `null` of has no
//! series, for unknown is not zero. Names are without `tidegauge_` before and `_total` behind them.

/// A counter: one series, or one for each value of a label.
pub(super) struct Count {
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) label: Option<&'static str>,
    /// Values of the label, and the paths of their numbers.
    pub(super) parts: &'static [(&'static str, &'static str)],
}

/// A counter whose label's values are the names in an object of the line.
pub(super) struct CountMap {
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) label: &'static str,
    pub(super) path: &'static str,
    /// Names that are counted elsewhere.
    pub(super) except: &'static [&'static str],
}

/// A gauge: as [`Count`], of the newest window.
pub(super) struct Level {
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) label: Option<&'static str>,
    pub(super) parts: &'static [(&'static str, &'static str)],
    /// How many of the line's unit are one of the metric's.
    pub(super) divisor: f64,
}

const fn count(
    name: &'static str,
    help: &'static str,
    parts: &'static [(&'static str, &'static str)],
) -> Count {
    Count { name, help, label: None, parts }
}

const fn counts(
    name: &'static str,
    help: &'static str,
    label: &'static str,
    parts: &'static [(&'static str, &'static str)],
) -> Count {
    Count { name, help, label: Some(label), parts }
}

const fn level(
    name: &'static str,
    help: &'static str,
    parts: &'static [(&'static str, &'static str)],
) -> Level {
    Level { name, help, label: None, parts, divisor: 1.0 }
}

const fn levels(
    name: &'static str,
    help: &'static str,
    label: &'static str,
    parts: &'static [(&'static str, &'static str)],
) -> Level {
    Level { name, help, label: Some(label), parts, divisor: 1.0 }
}

const fn per(divisor: f64, level: Level) -> Level {
    Level { divisor, ..level }
}

pub(super) const MS_PER_S: f64 = 1e3;
pub(super) const NS_PER_S: f64 = 1e9;

/// Sums of windows.
pub(super) const COUNTS: &[Count] = &[
    count("packets", "Frames counted", &[("", "packets")]),
    count("bytes", "Bytes of the frames counted", &[("", "bytes")]),
    count(
        "super_frames",
        "Frames larger than the wire's, put together by the NIC or the kernel",
        &[("", "super_frames")],
    ),
    counts(
        "tcp_segments",
        "TCP segments with a flag: syn is without ACK, syn_ack with; any is all segments, whatever their flags",
        "flag",
        &[
            ("any", "tcp.segments"),
            ("fin", "tcp.fin"),
            ("rst", "tcp.rst"),
            ("syn", "tcp.syn"),
            ("syn_ack", "tcp.syn_ack"),
        ],
    ),
    count("tcp_payload_segments", "TCP segments with payload", &[("", "tcp.payload_segments")]),
    count("tcp_payload_bytes", "Bytes of TCP payload", &[("", "tcp.payload_bytes")]),
    counts(
        "tcp_judgements",
        "TCP segments that were judged to be something",
        "judgement",
        &[
            ("acked_unseen", "tcp.acked_unseen"),
            ("d_sack", "tcp.d_sack"),
            ("duplicate_ack", "tcp.duplicate_ack"),
            ("fast_retransmission", "tcp.fast_retransmission"),
            ("keep_alive", "tcp.keep_alive"),
            ("lost_segment", "tcp.lost_segment"),
            ("out_of_order", "tcp.out_of_order"),
            ("reset_aborted", "tcp.reset_aborted"),
            ("reset_refused", "tcp.reset_refused"),
            ("retransmission", "tcp.retransmission"),
            ("retransmit_or_reordered", "tcp.retransmit_or_reordered"),
            ("spurious_retransmission", "tcp.spurious_retransmission"),
            ("syn_ack_retransmission", "tcp.syn_ack_retransmission"),
            ("syn_retransmission", "tcp.syn_retransmission"),
            ("window_full", "tcp.window_full"),
            ("zero_window", "tcp.zero_window"),
        ],
    ),
    counts(
        "handshakes",
        "TCP handshakes that came so far: attempted is all of them, the others are what became of them",
        "outcome",
        &[
            ("aborted", "handshake.aborted"),
            ("answered", "handshake.answered"),
            ("attempted", "handshake.attempted"),
            ("completed", "handshake.completed"),
            ("refused", "handshake.refused"),
        ],
    ),
    count(
        "receive_windows",
        "Receive windows of known scale that were looked at",
        &[("", "rwnd_bytes.count")],
    ),
    count("receive_windows_low", "Those of them below the limit", &[("", "rwnd_bytes.low")]),
    counts(
        "rtt_samples",
        "Round trips measured",
        "method",
        &[
            ("ack_listener", "rtt_ms.by_method.ack_listener.count"),
            ("ack_peer", "rtt_ms.by_method.ack_peer.count"),
            ("handshake_listener", "rtt_ms.by_method.handshake_listener.count"),
            ("handshake_peer", "rtt_ms.by_method.handshake_peer.count"),
            ("timestamps_listener", "rtt_ms.by_method.timestamps_listener.count"),
            ("timestamps_peer", "rtt_ms.by_method.timestamps_peer.count"),
        ],
    ),
    count("tls_client_hellos", "TLS ClientHellos", &[("", "tls.client_hellos")]),
    count("tls_server_hellos", "TLS ServerHellos", &[("", "tls.server_hellos")]),
    count("tls_alerts", "TLS alerts", &[("", "tls.alerts")]),
    count("tls_handshake_failures", "TLS handshakes that failed", &[("", "tls.handshake_failures")]),
    count("http_requests", "HTTP requests", &[("", "http.requests")]),
    counts(
        "http_responses",
        "HTTP responses by the first digit of their status",
        "class",
        &[
            ("1xx", "http.status_1xx"),
            ("2xx", "http.status_2xx"),
            ("3xx", "http.status_3xx"),
            ("4xx", "http.status_4xx"),
            ("5xx", "http.status_5xx"),
        ],
    ),
    count("dns_queries", "DNS queries", &[("", "dns.queries")]),
    count("dns_unanswered", "DNS queries without an answer in time", &[("", "dns.unanswered")]),
    counts(
        "dns_responses",
        "DNS responses by what they say; any is all of them",
        "result",
        &[("any", "dns.responses"), ("nxdomain", "dns.nxdomain"), ("servfail", "dns.servfail")],
    ),
    counts(
        "icmp_messages",
        "ICMP messages",
        "type",
        &[
            ("echo_reply", "icmp.echo_replies"),
            ("echo_request", "icmp.echo_requests"),
            ("other", "icmp.other"),
            ("redirect", "icmp.redirects"),
            ("too_big", "icmp.too_big"),
            ("ttl_exceeded", "icmp.ttl_exceeded"),
            ("unreachable", "icmp.unreachable"),
        ],
    ),
    count("quic_datagrams", "QUIC datagrams", &[("", "quic.datagrams")]),
    counts("arp_messages", "ARP messages", "type", &[("reply", "arp.replies"), ("request", "arp.requests")]),
    count("frames_seen", "Frames that came by", &[("", "quality.seen")]),
    count("frames_captured", "Frames that were looked at", &[("", "quality.captured")]),
    count("frames_truncated", "Frames that were shortened by the snap length", &[("", "quality.truncated")]),
    count("ticks_late", "Tenths of seconds that were handled late", &[("", "quality.late_ticks")]),
    counts(
        "table_losses",
        "What had no room in a table, or had to leave it",
        "what",
        &[
            ("attempts_lost", "tables.attempts_lost"),
            ("flows_evicted", "tables.flows_evicted"),
            ("flows_refused", "tables.flows_refused"),
            ("listeners_evicted", "tables.listeners_evicted"),
            ("listeners_refused", "tables.listeners_refused"),
            ("targets_evicted", "tables.targets_evicted"),
            ("targets_refused", "tables.targets_refused"),
        ],
    ),
];

/// Sums of windows, by names that the line brings.
pub(super) const COUNT_MAPS: &[CountMap] = &[
    CountMap {
        name: "frames_dropped",
        help: "Frames lost before they could be looked at, by the place that lost them",
        label: "place",
        path: "quality.dropped",
        // These are no frames: see `table_losses`.
        except: &["flow_table", "half_open_cache", "listener_table"],
    },
    CountMap {
        name: "frames_malformed",
        help: "Frames whose headers are broken",
        label: "reason",
        path: "quality.malformed",
        except: &[],
    },
    CountMap {
        name: "frames_unsupported",
        help: "Frames that are not read",
        label: "reason",
        path: "quality.unsupported",
        except: &[],
    },
];

/// Of the newest window.
pub(super) const LEVELS: &[Level] = &[
    level(
        "connection_attempts_per_second",
        "Connection attempts, mean of the newest window",
        &[("", "conn_rate")],
    ),
    level(
        "connection_attempts_usual_per_second",
        "What is usual of them",
        &[("", "features.conn_rate_usual")],
    ),
    levels(
        "health_score",
        "Health of a layer, from 0 (anomalous) to 100",
        "layer",
        &[
            ("application", "health.layers.application"),
            ("link", "health.layers.link"),
            ("network", "health.layers.network"),
            ("resource", "health.layers.resource"),
            ("transport", "health.layers.transport"),
        ],
    ),
    level("health_worst_score", "Health of the worst layer", &[("", "health.score")]),
    level(
        "forecast_healthy_probability",
        "The chance that the next second is healthy",
        &[("", "forecast.healthy_next")],
    ),
    level("loss_ratio", "Payload segments that were sent again", &[("", "features.loss_ratio")]),
    level("http_5xx_ratio", "HTTP responses with status 5xx", &[("", "features.http_5xx_ratio")]),
    level("connection_timeout_ratio", "Attempts that timed out", &[("", "features.conn_timeout_ratio")]),
    level("frames_lost_ratio", "Frames lost on the way to us", &[("", "features.frames_lost_ratio")]),
    level(
        "tcp_connections_ratio",
        "Connections of this host, as a share of its capacity",
        &[("", "features.tcp_connections")],
    ),
    level(
        "memory_fragmentation_ratio",
        "Fragmentation of this host's memory",
        &[("", "features.mem_fragmentation")],
    ),
    levels(
        "receive_window_bytes",
        "Receive windows: quantiles of the newest window (max over time at most; they cannot be averaged)",
        "stat",
        &[("p1", "rwnd_bytes.p1"), ("p50", "rwnd_bytes.p50")],
    ),
    per(
        MS_PER_S,
        levels(
            "rtt_seconds",
            "Round trips: quantiles of the newest window (max over time at most; they cannot be averaged)",
            "stat",
            &[("max", "rtt_ms.max"), ("p50", "rtt_ms.p50"), ("p90", "rtt_ms.p90"), ("p99", "rtt_ms.p99")],
        ),
    ),
    per(
        MS_PER_S,
        levels(
            "transfer_1mib_seconds",
            "Time in which 1 MiB is delivered: quantiles of the newest window",
            "stat",
            &[("p50", "transfer_1mib_ms.p50"), ("p99", "transfer_1mib_ms.p99")],
        ),
    ),
    per(
        MS_PER_S,
        levels(
            "http_latency_seconds",
            "HTTP request to response: quantiles of the newest window",
            "stat",
            &[("p50", "http.latency_ms.p50"), ("p99", "http.latency_ms.p99")],
        ),
    ),
    per(
        MS_PER_S,
        levels(
            "dns_latency_seconds",
            "DNS query to response: quantiles of the newest window",
            "stat",
            &[("p50", "dns.latency_ms.p50"), ("p99", "dns.latency_ms.p99")],
        ),
    ),
    per(
        MS_PER_S,
        level(
            "tick_lag_seconds",
            "The latest tick of the newest window: from its end to its handling",
            &[("", "quality.lag_ms_max")],
        ),
    ),
    level(
        "sampled_one_in",
        "Of how many flows one is followed, where not all are",
        &[("", "quality.sampled_one_in")],
    ),
    level("window_seconds", "Length of the newest window", &[("", "window_s")]),
    level("cpu_ratio", "CPU time of the run, in CPUs", &[("", "cost.process.cpu_share")]),
    level("bpf_cpu_ratio", "CPU time of the BPF programs, in CPUs", &[("", "cost.bpf.cpu_share")]),
    per(
        NS_PER_S,
        levels(
            "bpf_packet_seconds",
            "Time that a BPF program takes for a frame",
            "hook",
            &[("tcx", "cost.bpf.tcx.ns_per_packet"), ("xdp", "cost.bpf.xdp.ns_per_packet")],
        ),
    ),
    levels(
        "memory_bytes",
        "Memory of the run",
        "of",
        &[
            ("buffers", "cost.memory.buffer_bytes"),
            ("maps", "cost.memory.map_bytes"),
            ("rss", "cost.memory.rss_bytes"),
            ("rss_peak", "cost.memory.rss_peak_bytes"),
        ],
    ),
    levels(
        "table_used_ratio",
        "How full a table is",
        "table",
        &[
            ("flows", "cost.occupancy.flows.used_share"),
            ("half_open", "cost.occupancy.half_open.waiting_share"),
            ("listeners", "cost.occupancy.listeners.used_share"),
            ("sources", "cost.occupancy.sources.used_share"),
        ],
    ),
    levels(
        "host_events_per_second",
        "The host's own counters, mean of the newest window",
        "event",
        &[
            ("listen_drops", "host.listen_drops_per_s"),
            ("listen_overflows", "host.listen_overflows_per_s"),
            ("retrans_segs", "host.retrans_segs_per_s"),
            ("softnet_dropped", "host.softnet_dropped_per_s"),
            ("syncookies_sent", "host.syncookies_sent_per_s"),
        ],
    ),
];
