//! Metrics of made-up lines: sums, what is not known, and how much of it there can be.

use std::fmt::Write;
use std::time::Instant;

use super::*;

/// The value of a series, as it is written.
fn value<'a>(text: &'a str, series: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))
}

fn window(fields: &str) -> Arc<Line> {
    let text = format!(
        r#"{{"ts":"1970-01-01T00:00:01.5Z","event":"window","window_s":1.0,"quality":{{"verdict":"complete","dropped":{{"nic":null,"ring":3,"flow_table":9}}}},{fields}}}"#
    );
    Arc::new(Line::parse(&text).unwrap())
}

#[test]
fn counters_are_sums_and_gauges_are_the_newest() {
    let metrics = Metrics::default();
    metrics.take(&window(r#""packets":5,"tcp":{"syn":1,"retransmission":null},"health":{"score":90.0}"#));
    metrics.take(&window(r#""packets":7,"tcp":{"syn":2,"retransmission":null},"health":{"score":19.5}"#));
    let text = metrics.text();
    assert_eq!(value(&text, "tidegauge_packets_total"), Some("12"));
    assert_eq!(value(&text, "tidegauge_tcp_segments_total{flag=\"syn\"}"), Some("3"));
    assert_eq!(value(&text, "tidegauge_frames_dropped_total{place=\"ring\"}"), Some("6"));
    assert_eq!(text.matches("tidegauge_frames_dropped_total{").count(), 1);
    assert_eq!(value(&text, "tidegauge_health_worst_score"), Some("19.5"));
    assert_eq!(value(&text, "tidegauge_quality{verdict=\"complete\"}"), Some("1.0"));
    assert_eq!(value(&text, "tidegauge_window_end_timestamp_seconds"), Some("1.5"));
    assert_eq!(value(&text, "tidegauge_windows_total"), Some("2"));
}

#[test]
fn histograms_are_of_the_whole_run() {
    let metrics = Metrics::default();
    for counts in ["[1,0,2]", "[0,5,1]"] {
        metrics.take(&window(&format!(
            r#""histograms":{{"rtt_ms":{{"le":[0.006,102.4],"by_method":{{"ack_peer":{{"counts":{counts},"sum":1500.0}}}}}},
                "rwnd_bytes":{{"le":[10239],"counts":[1,1],"sum":70000.0}}}}"#
        )));
    }
    let text = metrics.text();
    let bucket = |le: &str| {
        let series = format!("tidegauge_round_trip_seconds_bucket{{method=\"ack_peer\",le=\"{le}\"}}");
        value(&text, &series).unwrap_or_else(|| panic!("{series}: {text}"))
    };
    assert_eq!([bucket("6e-06"), bucket("0.1024"), bucket("+Inf")], ["1", "6", "9"]);
    assert_eq!(value(&text, "tidegauge_round_trip_seconds_count{method=\"ack_peer\"}"), Some("9"));
    assert_eq!(value(&text, "tidegauge_round_trip_seconds_sum{method=\"ack_peer\"}"), Some("3.0"));
    assert_eq!(value(&text, "tidegauge_advertised_window_bytes_bucket{le=\"10239\"}"), Some("2"));
    assert_eq!(value(&text, "tidegauge_advertised_window_bytes_sum"), Some("140000.0"));
}

#[test]
fn what_is_not_known_has_no_series() {
    let metrics = Metrics::default();
    metrics.take(&window(r#""packets":5,"tcp":{"retransmission":null},"rtt_ms":{"p50":null,"p99":2.5}"#));
    let text = metrics.text();
    assert!(!text.contains("judgement") && !text.contains("stat=\"p50\""), "{text}");
    assert_eq!(value(&text, "tidegauge_rtt_seconds{stat=\"p99\"}"), Some("0.0025"));
}

#[test]
fn runs_of_one_host_can_be_told_apart() {
    let metrics = Metrics::default();
    metrics.take(&window(
        r#""packets":5,"tcp":{"syn":1},"source":{"kind":"xdp","mode":"native","name":"eth1"}"#,
    ));
    let text = metrics.text();
    assert_eq!(value(&text, "tidegauge_packets_total{source=\"eth1\"}"), Some("5"));
    assert!(text.lines().all(|line| line.starts_with('#') || line.contains("source=\"eth1\"")), "{text}");
}

#[test]
fn names_of_others_are_escaped() {
    let metrics = Metrics::default();
    metrics.take(&window(r#""listeners":[{"target":{"addr":"a\"\n","port":1},"packets":1}]"#));
    let text = metrics.text();
    assert_eq!(value(&text, r#"tidegauge_listener_packets_total{listener="a\"\n:1"}"#), Some("1"));
}

#[test]
fn the_run_is_up_until_its_lines_end() {
    let mut feed = Feed::default();
    let metrics = Metrics::of(&mut feed).unwrap();
    assert_eq!(value(&metrics.text(), "tidegauge_run_up"), Some("1.0"));
    let lines = window(r#""packets":5"#).text.clone() + "\nwhat?\n";
    feed.run(&mut lines.as_bytes()).unwrap();
    let since = Instant::now();
    while value(&metrics.text(), "tidegauge_run_up") == Some("1.0") {
        assert!(since.elapsed().as_secs() < 10, "the end is not noticed");
        thread::yield_now();
    }
    let text = metrics.text();
    assert_eq!(value(&text, "tidegauge_packets_total"), Some("5"));
    assert_eq!(value(&text, "tidegauge_lines_not_understood_total"), Some("1"));
}

/// A hundred thousand listeners, two hundred of them in each window, as no window has.
#[test]
fn a_hundred_thousand_listeners_cost_no_more_than_fifty() {
    let metrics = Metrics::default();
    for second in 0..500_u32 {
        let mut listeners = String::new();
        for n in 0..200 {
            let at = second * 200 + n;
            let addr = std::net::Ipv4Addr::from(0x0a00_0000 + at);
            let comma = if n == 0 { "" } else { "," };
            write!(
                listeners,
                r#"{comma}{{"target":{{"addr":"{addr}","port":80}},"packets":{},"bytes":9000,"attempted":5,"half_open":1,"rtt_peer_ms":0.25}}"#,
                at % 997
            )
            .unwrap();
        }
        metrics.take(&window(&format!(r#""packets":100000,"listeners":[{listeners}]"#)));
    }
    let since = Instant::now();
    let text = metrics.text();
    let took = since.elapsed();
    println!(
        "{} bytes, {} series, {took:?}",
        text.len(),
        text.lines().filter(|line| !line.starts_with('#')).count()
    );
    assert_eq!(text.matches("tidegauge_listener_packets_total{").count(), LISTENERS_MAX + 1);
    assert!(text.len() < 100_000, "{} bytes", text.len());
    assert!(took.as_millis() < 20, "{took:?}");
}
