//! Causes are named: for each named case a capture in which it happens, and the cause that has to come first, with what
//! speaks against the others. Scenes of `bench-detection` where there is one, else of [`scenes`].
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod kernel;
mod scenes;
#[path = "../support/mod.rs"]
mod support;

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use support::{events, incidents, run, tidegauge};
use tempfile::TempDir;
use tidegauge_analyzer::config::{Config, KEYS};
use tidegauge_benches::detection::frames::Packet;
use tidegauge_benches::detection::scene::{self, Trouble};
use tidegauge_benches::detection::{faults, floods};

fn limit(name: &str) -> f64 {
    KEYS.iter().find(|key| key.name == name).map_or(f64::NAN, |key| (key.get)(&Config::default()))
}

/// All lines of a capture.
fn told(capture: &Path) -> Vec<Value> {
    let ran = run(Command::new(tidegauge()).args(["read", "--json"]).arg(capture));
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    events(&ran.stdout)
}

fn told_of(packets: Vec<Packet>) -> Vec<Value> {
    let directory = TempDir::new().unwrap();
    let capture = directory.path().join("scene.pcap");
    scenes::write(&capture, packets);
    told(&capture)
}

/// What is told of a scene of the bench at this many times its threshold.
fn told_of_trouble(trouble: &Trouble, strength: f64) -> Vec<Value> {
    let directory = TempDir::new().unwrap();
    let capture = directory.path().join("scene.pcap");
    scene::write(&capture, Some((trouble, strength)), trouble.lasts_us, 1).unwrap();
    told(&capture)
}

fn told_of_kind(kind: &str, strength: f64) -> Vec<Value> {
    let all = [faults::troubles(limit), floods::troubles(limit)];
    let trouble = all.iter().flatten().find(|trouble| trouble.kind == kind).unwrap();
    told_of_trouble(trouble, strength)
}

/// Closed incidents of a kind.
fn closed(lines: &[Value], kind: &str) -> Vec<Value> {
    incidents(lines, kind).into_iter().filter(|line| line["state"] == "closed").cloned().collect()
}

/// The first cause of the only incident of this kind has this name and speaks of what was measured.
fn assert_first(lines: &[Value], kind: &str, cause: &str) -> Value {
    let found = closed(lines, kind);
    assert_eq!(found.len(), 1, "{kind}: {found:#?}");
    let causes = found[0]["causes"].as_array().unwrap();
    assert_eq!(causes[0]["cause"], cause, "{causes:#?}");
    assert!(causes[0]["score"].as_f64().unwrap() >= 0.6, "{causes:#?}");
    assert!(!causes[0]["for"].as_array().unwrap().is_empty());
    found[0].clone()
}

/// Whether something measured speaks against this cause, and it is told.
fn assert_denied(incident: &Value, cause: &str) {
    let causes = incident["causes"].as_array().unwrap();
    let denied = causes.iter().find(|ranked| ranked["cause"] == cause);
    let denied = denied.unwrap_or_else(|| panic!("{cause} is not told: {causes:#?}"));
    assert!(!denied["against"].as_array().unwrap().is_empty(), "{denied:#?}");
    assert!(denied["score"].as_f64() < causes[0]["score"].as_f64(), "{causes:#?}");
}

#[test]
fn loss_behind_the_capture() {
    let incident = assert_first(&told_of_kind("loss", 2.0), "loss", "loss_behind_capture");
    assert_denied(&incident, "loss_before_capture");
    assert_denied(&incident, "capture_drops");
}

#[test]
fn loss_before_the_capture() {
    let incident = assert_first(&told_of(scenes::loss_before()), "loss", "loss_before_capture");
    assert_denied(&incident, "loss_behind_capture");
}

#[test]
fn what_only_the_capture_lost_is_no_loss() {
    let lines = told_of(scenes::capture_drops());
    assert!(closed(&lines, "loss").is_empty(), "{lines:#?}");
    let summary = lines.last().unwrap();
    assert!(summary["tcp"]["acked_unseen"].as_u64().unwrap() > 100, "{}", summary["tcp"]);
}

#[test]
fn a_receiver_that_does_not_read() {
    let lines = told_of_kind("zero_window", 3.0);
    let incident = assert_first(&lines, "zero_window", "receiver_not_reading");
    assert_denied(&incident, "slow_sender");
}

#[test]
fn a_slow_sender_is_no_receiver_that_does_not_read() {
    let lines = told_of(scenes::slow_sender());
    assert!(lines.iter().all(|line| line["event"] != "incident"), "{lines:#?}");
}

#[test]
fn tls_versions_that_do_not_overlap() {
    let incident = assert_first(&told_of_kind("tls_failure", 4.0), "tls_failure", "tls_versions");
    assert_denied(&incident, "tls_certificate");
}

#[test]
fn a_routing_loop() {
    assert_first(&told_of_kind("routing_loop", 3.0), "routing_loop", "routing_loop");
}

#[test]
fn a_black_holed_mtu() {
    let lines = told_of_kind("mtu_blackhole", 2.0);
    let incident = assert_first(&lines, "mtu_blackhole", "mtu_error_filtered");
    assert_denied(&incident, "mtu_error_ignored");
    assert_denied(&incident, "loss_behind_capture");
}

#[test]
fn dns_that_fails_in_front_of_everything() {
    let lines = told_of(scenes::dns_in_front());
    let root = assert_first(&lines, "dns_failure", "dns_upstream");
    assert_denied(&root, "dns_silent");
    let errors = closed(&lines, "http_errors");
    assert_eq!(errors.len(), 1);
    assert_eq!(errors[0]["because_of"]["id"], root["id"], "{}", errors[0]["because_of"]);
    assert_eq!(root["consequences"], 1);
}

#[test]
fn a_full_accept_queue() {
    let lines = told_of(scenes::accept_queue());
    let incident = assert_first(&lines, "handshake_failure", "accept_queue_full");
    assert_denied(&incident, "host_silent");
    assert_denied(&incident, "refused");
    // What clients send again has arrived: it is no second trouble.
    for loss in closed(&lines, "loss") {
        assert_eq!(loss["causes"][0]["cause"], "accept_queue_full", "{loss:#}");
        assert_eq!(loss["because_of"]["id"], incident["id"], "{loss:#}");
    }
}

#[test]
fn a_flood_absorbed_by_syn_cookies() {
    let absorbed = told_of(scenes::flood(scenes::Listener::Cookies));
    let incident = assert_first(&absorbed, "syn_flood", "syn_cookies");
    assert_eq!(incident["severity"], "P2", "others are served");
    assert_denied(&incident, "syn_queue_full");
    let text = incident["cause"].to_string();
    assert!(text.contains("so P2 and not P1"), "{text}");

    let full = told_of(scenes::flood(scenes::Listener::FullQueue));
    let incident = closed(&full, "syn_flood").remove(0);
    assert_eq!(incident["severity"], "P1", "nobody is served");
    assert_denied(&incident, "syn_cookies");
}

#[test]
fn one_lossy_way_is_one_cause_and_not_forty() {
    let lines = told_of(scenes::forty_lossy());
    let losses = closed(&lines, "loss");
    assert_eq!(losses.len(), 40);
    let roots: Vec<_> = losses.iter().filter(|loss| loss["because_of"].is_null()).collect();
    assert_eq!(roots.len(), 1, "{roots:#?}");
    assert_eq!(roots[0]["consequences"], 39);
    assert!(
        losses.iter().all(|loss| loss["because_of"].is_null() || loss["because_of"]["id"] == roots[0]["id"])
    );
}
