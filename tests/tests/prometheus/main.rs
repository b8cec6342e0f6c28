//! Metrics as Prometheus takes them: its own checks of names, rules and alerts; sums that are the run's; and each query of the
//! Grafana board asked of a real Prometheus that scraped a real run with a flood in it.
//!
//! Needs `prometheus` and `promtool`, and root for the flood; says so and passes otherwise.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

#[path = "../support/load.rs"]
#[expect(dead_code, reason = "downloads are the live tests'")]
mod load;
mod server;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use load::Server;
use serde_json::Value;
use server::{Prometheus, SCRAPED, packaging, program};
use support::{events, incidents, run, tidegauge};
use tempfile::TempDir;
use tidegauge_tests::netns::{SERVER_IFACE, SERVER_V4, Side};
use tidegauge_tests::skip::{lab_or_skip, skip};

/// Panels that a run of connections and a flood over a packet ring leaves empty, and why.
const EMPTY: [(&str, &str); 1] = [("Frames lost, by place", "nothing is lost")];
/// Queries of panels with several that stay empty, and why.
const EMPTY_QUERIES: [(&str, &str); 2] =
    [("tidegauge_http_5xx_ratio", "no HTTP"), ("tidegauge_bpf_cpu_ratio", "no BPF program in a ring")];

/// Whether these programs are there; says which is not.
fn have(test: &str, programs: &[&str]) -> bool {
    let missing = programs.iter().find(|name| program(name).is_none());
    if let Some(missing) = missing {
        skip(test, &format!("needs {missing}"));
    }
    missing.is_none()
}

/// Metrics of a capture, once it is read.
fn metrics_of(capture: &Path) -> String {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("tidegauge.prom");
    let mut serve = Command::new(tidegauge());
    let ran = run(serve.args(["serve", "--no-page", "--metrics-file"]).arg(&file).arg("read").arg(capture));
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "nothing else is left");
    fs::read_to_string(file).unwrap()
}

fn demo() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data/demo.pcap")
}

/// Series and their values, without the label that all have.
fn series(text: &str) -> BTreeMap<String, f64> {
    let label = format!("source=\"{}\"", demo().display());
    let without = |name: &str| {
        assert!(name.contains(&label), "{name}");
        name.replace(&format!("{{{label}}}"), "").replace(&format!("{label},"), "")
    };
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let parts = lines.filter_map(|line| line.rsplit_once(' '));
    parts.map(|(name, value)| (without(name), value.parse().unwrap())).collect()
}

#[test]
fn sums_of_windows_are_the_runs_own_sums() {
    let ran = run(Command::new(tidegauge()).args(["read", "--json"]).arg(demo()));
    let events = events(&ran.stdout);
    let summary = events.last().unwrap();
    let text = metrics_of(&demo());
    let series = series(&text);
    for (name, path) in [
        ("tidegauge_packets_total", "/packets"),
        ("tidegauge_bytes_total", "/bytes"),
        ("tidegauge_tcp_segments_total{flag=\"any\"}", "/tcp/segments"),
        ("tidegauge_tcp_segments_total{flag=\"syn\"}", "/tcp/syn"),
        (
            "tidegauge_tcp_judgements_total{judgement=\"syn_ack_retransmission\"}",
            "/tcp/syn_ack_retransmission",
        ),
        ("tidegauge_handshakes_total{outcome=\"attempted\"}", "/handshake/attempted"),
        ("tidegauge_handshakes_total{outcome=\"completed\"}", "/handshake/completed"),
        ("tidegauge_frames_truncated_total", "/quality/truncated"),
    ] {
        assert_eq!(series.get(name).copied(), summary.pointer(path).unwrap().as_f64(), "{name}");
    }
    let of = |prefix: &str| -> f64 {
        series.iter().filter(|(name, _)| name.starts_with(prefix)).map(|(_, value)| value).sum()
    };
    assert_eq!(of("tidegauge_listener_packets_total{"), series["tidegauge_packets_total"]);
    let opened = incidents(&events, "syn_flood").iter().filter(|event| event["state"] == "opened").count();
    assert_eq!(series["tidegauge_incidents_opened_total{kind=\"syn_flood\"}"], opened as f64);
    assert_eq!(of("tidegauge_incidents_open{"), 0.0);
    assert_eq!((series["tidegauge_run_up"], series["tidegauge_lines_lost_total"]), (0.0, 0.0));
}

#[test]
fn a_file_that_cannot_be_written_is_said_before_anything_runs() {
    let mut serve = Command::new(tidegauge());
    let ran = run(serve
        .args(["serve", "--no-page", "--metrics-file", "/no/such/directory/a.prom", "read"])
        .arg(demo()));
    assert_eq!(ran.code, Some(2));
    assert!(ran.stderr.contains("cannot write metrics to /no/such/directory/a.prom"), "{}", ran.stderr);
}

#[test]
fn a_file_that_cannot_be_written_any_more_is_said_once() {
    let directory = TempDir::new().unwrap();
    let below = directory.path().join("below");
    fs::create_dir(&below).unwrap();
    let mut serve = Command::new(tidegauge());
    serve.args(["serve", "--no-page", "--metrics-file"]).arg(below.join("a.prom")).args(["read", "-"]);
    let mut serve = serve.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    serve.stdin.as_mut().unwrap().write_all(&fs::read(demo()).unwrap()).unwrap();
    while !below.join("a.prom").exists() {
        std::thread::sleep(Duration::from_millis(50));
    }
    fs::remove_dir_all(&below).unwrap();
    std::thread::sleep(Duration::from_secs(4));
    drop(serve.stdin.take());
    let output = serve.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "the run is none the worse for it: {said}");
    assert_eq!(said.matches("cannot write metrics to").count(), 1, "{said}");
}

#[test]
fn promtool_finds_nothing_to_say_of_names() {
    if !have("promtool_finds_nothing_to_say_of_names", &["promtool"]) {
        return;
    }
    let mut check = Command::new("promtool");
    check.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut check = check.spawn().unwrap();
    check.stdin.take().unwrap().write_all(metrics_of(&demo()).as_bytes()).unwrap();
    let output = check.wait_with_output().unwrap();
    let said =
        String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.is_empty(), "{said}");
}

#[test]
fn rules_and_alerts_pass_their_tests() {
    if !have("rules_and_alerts_pass_their_tests", &["promtool"]) {
        return;
    }
    for words in [&["check", "rules", "rules.yml", "alerts.yml"][..], &["test", "rules", "tests.yml"]] {
        let ran = run(Command::new("promtool").args(words).current_dir(packaging("prometheus")));
        assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    }
}

/// Titles and queries of the board, with what Grafana puts in.
fn queries() -> Vec<(String, String)> {
    let text = fs::read_to_string(packaging("grafana/tidegauge.json")).unwrap();
    let board: Value = serde_json::from_str(&text).unwrap();
    let mut queries = Vec::new();
    for panel in board["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            queries.push((
                panel["title"].as_str().unwrap().to_owned(),
                target["expr"].as_str().unwrap().to_owned(),
            ));
        }
    }
    let opened = board["annotations"]["list"][0]["expr"].as_str().unwrap();
    queries.push(("annotations".into(), opened.to_owned()));
    for (_, query) in &mut queries {
        *query = query.replace("$instance", ".*").replace("$source", ".*").replace("$__rate_interval", "10s");
        assert!(!query.contains('$'), "what is {query}?");
    }
    assert!(queries.len() > 30);
    queries
}

#[test]
fn panels_of_the_board_do_not_overlap() {
    let text = fs::read_to_string(packaging("grafana/tidegauge.json")).unwrap();
    let board: Value = serde_json::from_str(&text).unwrap();
    let mut taken = BTreeMap::new();
    for panel in board["panels"].as_array().unwrap() {
        let [x, y, w, h] = ["x", "y", "w", "h"].map(|side| panel["gridPos"][side].as_u64().unwrap());
        assert!(x + w <= 24, "{panel}");
        for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            let other = taken.insert(cell, panel["title"].clone());
            assert_eq!(other, None, "under {}", panel["title"]);
        }
    }
}

#[test]
fn every_query_of_the_board_is_answered_of_a_run_with_a_flood() {
    let test = "every_query_of_the_board_is_answered_of_a_run_with_a_flood";
    if !have(test, &["prometheus", "promtool", "python3"]) {
        return;
    }
    let Some(lab) = lab_or_skip(test) else { return };
    let directory = TempDir::new().unwrap();
    let target = SocketAddr::new(IpAddr::V4(SERVER_V4), 80);
    let _server = Server::start(&lab, target, &["echo-close"]);
    let mut serve = lab.command(Side::Server, tidegauge());
    serve.args(["serve", "--no-page", "--metrics-file"]).arg(directory.path().join(SCRAPED));
    serve.args(["live", SERVER_IFACE, "--source", "ring", "--duration", "28s"]);
    let mut serve = serve.spawn().unwrap();
    while !directory.path().join(SCRAPED).exists() {
        std::thread::sleep(Duration::from_millis(50));
    }
    let prometheus = Prometheus::start(directory.path());
    let start_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    std::thread::scope(|scope| {
        scope.spawn(|| load::connect(&lab, target, 100, "18s"));
        std::thread::sleep(Duration::from_secs(7));
        scope.spawn(|| load::flood(&lab, target, 10_000, "5s"));
    });
    assert!(serve.wait().unwrap().success());
    std::thread::sleep(Duration::from_secs(3));

    for (title, query) in queries() {
        let found =
            prometheus.since(start_s, &query).unwrap_or_else(|error| panic!("{title}: {query}: {error}"));
        let may_be_empty = EMPTY.iter().any(|(panel, _)| *panel == title)
            || EMPTY_QUERIES.iter().any(|(name, _)| query.contains(name));
        assert!(!found.is_empty() || may_be_empty, "{title}: {query}: nothing");
    }
    let ever = |query: &str| !prometheus.since(start_s, query).unwrap().is_empty();
    assert!(ever("tidegauge_incidents_open{kind=\"syn_flood\"} == 1"));
    assert!(ever("ALERTS{alertname=~\"TidegaugeIncidentP[12]\", alertstate=\"firing\", kind=\"syn_flood\"}"));
    assert!(ever("tidegauge_health_worst_score < 50"));
    assert!(ever("max_over_time(tidegauge_connection_attempts_per_second[5s]) > 9000"));
    assert!(ever("tidegauge_run_up == 0"), "the end is told");
    assert!(!ever("up{job=\"tidegauge\"} == 0"), "each scrape was understood");
}
