//! What a run writes beside standard output, by the built program with its rights given up: the tables and the log are
//! whole, and hold what standard output says.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod support;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::{Field, Row};
use serde_json::{Value, json};
use support::{Ran, events, incidents, run, tidegauge};
use tempfile::TempDir;

fn capture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data/replay").join(name)
}

fn read(name: &str, args: &[&str]) -> Ran {
    let ran = run(Command::new(tidegauge()).arg("read").arg(capture(name)).args(args));
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    ran
}

fn rows(dir: &Path, table: &str) -> Vec<Row> {
    let reader = SerializedFileReader::new(File::open(dir.join(table)).unwrap()).unwrap();
    reader.get_row_iter(None).unwrap().map(Result::unwrap).collect()
}

fn field(row: &Row, name: &str) -> Value {
    let (_, field) = row.get_column_iter().find(|(column, _)| *column == name).unwrap();
    match field {
        Field::Null => Value::Null,
        Field::Bool(flag) => json!(flag),
        Field::Long(count) => json!(count),
        Field::Double(number) => json!(number),
        Field::Str(text) => json!(text),
        other => panic!("{name} is {other:?}"),
    }
}

#[test]
fn tables_hold_what_the_lines_say() {
    let dir = TempDir::new().unwrap();
    // Made where it is missing.
    let tables = dir.path().join("some/tables");
    for name in ["ordinary.pcap", "flood.pcap"] {
        let ran = read(name, &["--json", "--window", "2s", "--parquet", tables.to_str().unwrap()]);
        let events = events(&ran.stdout);
        let of_kind = |kind: &str| events.iter().filter(|event| event["event"] == kind).collect::<Vec<_>>();

        let (lines, windows) = (of_kind("window"), rows(&tables, "windows.parquet"));
        assert_eq!(lines.len(), windows.len());
        for (line, row) in lines.iter().zip(&windows) {
            assert_eq!(field(row, "packets"), line["packets"]);
            assert_eq!(field(row, "window_s"), line["window_s"]);
            assert_eq!(field(row, "payload_bytes"), line["tcp"]["payload_bytes"]);
            assert_eq!(field(row, "completed"), line["handshake"]["completed"]);
            assert_eq!(field(row, "rwnd_p50_bytes"), line["rwnd_bytes"]["p50"]);
            assert_eq!(
                field(row, "rtt_handshake_listener_p99_ms"),
                line["rtt_ms"]["by_method"]["handshake_listener"]["p99"]
            );
            assert_eq!(field(row, "quality"), line["quality"]["verdict"]);
        }
        let told: u64 = lines.iter().map(|line| line["listeners"].as_array().unwrap().len() as u64).sum();
        assert!(told > 0 && rows(&tables, "listeners.parquet").len() as u64 >= told);

        let (lines, changes) = (of_kind("incident"), rows(&tables, "incidents.parquet"));
        assert_eq!(lines.len(), changes.len());
        assert_eq!(incidents(&events, "syn_flood").is_empty(), name == "ordinary.pcap");
        for (line, row) in lines.iter().zip(&changes) {
            for name in ["id", "kind", "state", "severity", "measured", "rule"] {
                assert_eq!(field(row, name), line[name], "{name}");
            }
        }
    }
    let mut names: Vec<_> = fs::read_dir(&tables).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort_unstable();
    assert_eq!(names, ["flows.parquet", "incidents.parquet", "listeners.parquet", "windows.parquet"]);
}

#[test]
fn the_log_has_a_line_for_each_window_with_samples() {
    let dir = TempDir::new().unwrap();
    let log = dir.path().join("latency.hlog");
    // As text, windows are not printed and exported all the same.
    read("ordinary.pcap", &["--hlog", log.to_str().unwrap()]);
    let log = fs::read_to_string(log).unwrap();
    let lines = events(&read("ordinary.pcap", &["--json"]).stdout);
    for method in ["handshake_listener", "handshake_peer", "timestamps_listener", "timestamps_peer"] {
        let count = |event: &&Value| event["rtt_ms"]["by_method"][method]["count"].as_u64().unwrap() > 0;
        let expected = lines.iter().filter(|event| event["event"] == "window").filter(count).count();
        assert_eq!(log.matches(&format!("\nTag={method},")).count(), expected, "{method}: {log}");
    }
    assert!(log.contains("\n#[Histogram log format version 1.3]\n#"), "{log}");
}

#[test]
fn what_cannot_be_written_is_said_before_anything_is_read() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "in the way").unwrap();
    for (option, path) in [("--parquet", file.clone()), ("--hlog", dir.path().join("none/here"))] {
        let ran =
            run(Command::new(tidegauge()).arg("read").arg(capture("ordinary.pcap")).arg(option).arg(&path));
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{}", ran.stderr);
        assert!(
            ran.stderr.contains(path.to_str().unwrap()) && ran.stderr.lines().count() == 1,
            "{}",
            ran.stderr
        );
    }
}
