//! Another time than now, and who asks by address space and country, over HTTP.

use std::path::PathBuf;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::mmdb::mmdb;
use crate::served::{Served, demo};
use crate::support::{run, tidegauge};

/// A file that knows the lab's network, and some of those that the demo's flood forges.
pub(crate) fn countries(directory: &TempDir) -> PathBuf {
    let path = directory.path().join("countries.mmdb");
    let networks = [("10.77.0.0", 16, "DE"), ("5.0.0.0", 8, "US"), ("2001:db8::", 32, "FR")];
    std::fs::write(&path, mmdb(&networks)).unwrap();
    path
}

#[test]
fn an_interval_of_history_is_told_as_now_is() {
    let directory = TempDir::new().unwrap();
    let options = ["--history", directory.path().to_str().unwrap()];
    let served = Served::start(&options, &["read", &demo()]);
    let board = served.wait_until_over();
    assert_eq!(board["has_history"], true);
    let times: Vec<f64> =
        board["points"]["ts_s"].as_array().unwrap().iter().filter_map(Value::as_f64).collect();
    let (first, last) = (times[0], times[times.len() - 1]);
    let get = |query: &str| served.http().get(&format!("/api/history{query}"), &[]);
    let kept = get("").json();
    assert!(kept["kept_s"][0].as_f64().is_some_and(|kept| (kept - first).abs() <= 1.0), "{kept} {first}");
    let whole = get(&format!("?from={}&to={}", first - 1.0, last + 1.0)).json();
    assert_eq!(whole["points"]["packets"], board["points"]["packets"]);
    assert_eq!((&whole["windows"], &whole["lines_unreadable"]), (&board["windows"], &json!(0)));
    assert_eq!(whole["heat"]["rows"][0]["name"], "10.77.0.2:80/tcp");
    let [incident] = whole["incidents"].as_array().unwrap().as_slice() else { panic!("{whole}") };
    assert_eq!((&incident["kind"], &incident["state"]), (&json!("syn_flood"), &json!("closed")));
    let name = incident["id"].as_str().unwrap();
    assert!(name.starts_with("syn_flood-0001@2026-"), "{name}");
    let all = get(&format!("?from={first}&to={last}&incident={name}")).json();
    assert!(all["incident"]["mitigation"]["nftables"].is_string(), "{all}");
    // Before it there was nothing, and its first half has half of the points.
    assert_eq!(get(&format!("?from={}&to={}", first - 60.0, first - 30.0)).json()["windows"], 0);
    let half = get(&format!("?from={first}&to={}", first + 5.0)).json();
    assert_eq!(half["points"]["ts_s"].as_array().map(Vec::len), Some(5), "{half}");
    for (query, status) in [
        ("?from=1&to=100000", 400),
        ("?from=5&to=4", 400),
        ("?from=noon&to=4", 400),
        ("?from=1&to=2&incident=none", 404),
    ] {
        assert_eq!(get(query).status, status, "{query}");
    }
}

#[test]
fn without_history_there_is_none() {
    let served = Served::start(&[], &["read", &demo()]);
    assert_eq!(served.wait_until_over()["has_history"], false);
    assert_eq!(served.http().get("/api/history", &[]).status, 404);
}

#[test]
fn who_asks_is_told_by_network_and_by_country() {
    let directory = TempDir::new().unwrap();
    let countries = countries(&directory);
    let served = Served::start(&["--mmdb", countries.to_str().unwrap()], &["read", &demo()]);
    served.wait_until_over();
    let heat = served.http().get("/api/heat", &[]).json();
    let of = |map: &str| -> Vec<(String, f64)> {
        let sum = |row: &Value| row["cells"].as_array().unwrap().iter().filter_map(Value::as_f64).sum();
        let rows = heat["by"][map]["rows"].as_array().unwrap();
        rows.iter().map(|row| (row["name"].as_str().unwrap().to_owned(), sum(row))).collect()
    };
    let (nets, countries) = (of("net16"), of("country"));
    println!("{nets:?} {countries:?}");
    // The clients' 549 connections and some of the flood from their own network, least of all lost.
    let clients = nets.iter().find(|(name, _)| name == "10.77.0.0/16").unwrap().1;
    assert!((400.0..=700.0).contains(&clients), "{clients}");
    let sum = |name: &str| countries.iter().find(|(country, _)| country == name).map(|(_, sum)| *sum);
    assert_eq!(sum("DE"), Some(clients), "{countries:?}");
    assert!(sum("US").is_some() && sum("unknown").is_some(), "{countries:?}");
    let graph = served.http().get("/api/graph", &[]).json();
    let nodes = graph["nodes"].as_array().unwrap();
    let listener = nodes.iter().find(|node| node["id"] == "10.77.0.2:80").unwrap();
    assert_eq!(
        (&listener["type"], &listener["incidents"][0]["id"]),
        (&json!("listener"), &json!("syn_flood-0001"))
    );
    assert!(graph["edges"].as_array().unwrap().iter().any(|edge| edge["to"] == "10.77.0.2:80"), "{graph}");
}

#[test]
fn a_file_that_tells_no_countries_is_refused() {
    let mut command = std::process::Command::new(tidegauge());
    let demo = demo();
    let ran = run(command.args(["serve", "--listen", "127.0.0.1:0", "--mmdb", &demo, "read", &demo]));
    assert_eq!((ran.code, ran.stderr.lines().count()), (Some(2), 1), "{}", ran.stderr);
    assert!(ran.stderr.contains("is not an MMDB file"), "{}", ran.stderr);
}
