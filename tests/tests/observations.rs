//! Observations, by the built program: what is below any alarm is named, with its place and the numbers that others count,
//! and it is no alarm.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

#[expect(dead_code, reason = "kinds of incidents are other tests'")]
mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use support::{Ran, events, run, tidegauge};
use tidegauge_tests::skip::skip;

/// Shared captures with one thing wrong: the kind that names it, and the columns of the manifest, counted by tshark, that
/// its counts must come to.
const LABELLED: &[(&str, &str, &[&str])] = &[
    ("ppa_tcp_retransmissions.pcapng", "loss", &["tcp_retrans"]),
    ("ppa_tcp_dupack.pcapng", "duplicate_ack", &["tcp_dupack"]),
    ("ppa_tcp_zerowindowrecovery.pcapng", "zero_window", &["tcp_zerowin"]),
    ("ppa_tcp_refuseconnection.pcapng", "connection_refused", &["syn_refused"]),
    ("ppa_http_espn_fail.pcapng", "unanswered", &["syn_no_answer"]),
    ("ppa_icmp_traceroute.pcapng", "ttl_exceeded", &["icmp_ttl_exc"]),
    ("ppa_ipv6_fragments.pcapng", "ip_fragments", &["ip_frags"]),
    ("ppa_inconsistent_printer.pcapng", "loss", &["tcp_retrans"]),
    ("ppa_inconsistent_printer.pcapng", "window_full", &["tcp_winfull"]),
    ("odd_null_winfull.pcap", "window_full", &["tcp_winfull"]),
    ("loss_reorder_zerowin_http.pcap", "out_of_order", &["tcp_ooo"]),
    ("tls_handshake_failure.pcap", "tls_failure", &["tls_alert_recs"]),
    ("http_5xx_mix.pcap", "http_errors", &["http_5xx"]),
    ("smtp_delay1s.pcapng", "dns_failure", &["dns_nx", "dns_servfail"]),
    ("synack_backscatter_day.pcap", "syn_ack_reflection", &["synack"]),
];

fn read(args: &[&str], capture: &Path) -> Ran {
    let ran = run(Command::new(tidegauge()).arg("read").args(args).arg(capture));
    assert_eq!(ran.stderr, "", "{}", capture.display());
    ran
}

fn observations(capture: &Path) -> Vec<Value> {
    let events = events(&read(&["--json"], capture).stdout);
    let summary = events.last().unwrap();
    assert_eq!(summary["event"], "summary");
    summary["observations"].as_array().unwrap().clone()
}

#[test]
fn ten_refused_connections_are_named_and_are_no_alarm() {
    let capture = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/replay/ordinary.pcap");
    let all = observations(&capture);
    let refused = all.iter().find(|one| one["kind"] == "connection_refused").unwrap();
    assert_eq!((&refused["count"], &refused["target"]["port"]), (&10.into(), &9.into()), "{refused}");
    for words in ["what", "incident_needs", "filter", "next", "peer"] {
        assert!(refused[words].as_str().is_some_and(|words| !words.is_empty()), "{words} of {refused}");
    }
    let text = read(&["--fail-on", "p3"], &capture);
    assert_eq!(text.code, Some(0));
    assert!(
        text.stdout.contains("observed, no alarm") && text.stdout.contains("10 of 10"),
        "{}",
        text.stdout
    );
}

#[test]
fn an_incident_says_it_alone() {
    let capture = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/replay/flood.pcap");
    let flooded = |one: &Value| one["kind"] == "unanswered" || one["kind"] == "handshake_failure";
    let said: Vec<_> = observations(&capture).into_iter().filter(flooded).collect();
    assert!(said.is_empty(), "{said:?}");
}

#[test]
fn what_is_wrong_in_labelled_captures_is_named_with_the_counts_of_others() {
    let test = "what_is_wrong_in_labelled_captures_is_named_with_the_counts_of_others";
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/captures");
    let Ok(manifest) = fs::read_to_string(shared.join("MANIFEST.tsv")) else {
        return skip(test, "the shared captures are not beside the checkout");
    };
    for (name, kind, columns) in LABELLED {
        let expected: u64 = columns.iter().map(|column| counted(&manifest, name, column)).sum();
        let all = observations(&PathBuf::from(&shared).join(name));
        let of_kind = all.iter().filter(|one| one["kind"] == *kind);
        let told: u64 = of_kind.map(|one| one["count"].as_u64().unwrap()).sum();
        assert_eq!(told, expected, "{kind} of {name}");
    }
}

/// A number of the manifest.
fn counted(manifest: &str, name: &str, column: &str) -> u64 {
    let mut lines = manifest.lines();
    let place = lines.next().unwrap().split('\t').position(|title| title == column).unwrap();
    let row = lines.find(|line| line.split('\t').next() == Some(name)).unwrap();
    row.split('\t').nth(place).unwrap().parse().unwrap()
}
