//! `tidegauge diff` as its users and their scripts meet it: captures and saved runs are the same to it, exit codes are
//! the documented ones, and what cannot be compared is said.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod support;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use support::{Ran, events, incidents, run, tidegauge};
use tempfile::TempDir;

fn capture(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("data").join(name);
    path.to_str().unwrap().to_owned()
}

/// What a run over a capture printed, in a file.
fn saved(dir: &TempDir, name: &str, args: &[&str]) -> PathBuf {
    let ran = run(Command::new(tidegauge()).args(["read", "--json"]).args(args).arg(capture(name)));
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let path = dir.path().join("run.jsonl");
    fs::write(&path, ran.stdout).unwrap();
    path
}

fn diff(args: &[&str]) -> Ran {
    run(Command::new(tidegauge()).arg("diff").args(args))
}

fn object(ran: &Ran) -> Value {
    assert_eq!(ran.stderr, "");
    serde_json::from_str(&ran.stdout).unwrap()
}

#[test]
fn a_capture_and_its_saved_run_are_the_same() {
    let dir = TempDir::new().unwrap();
    for name in ["demo.pcap", "replay/flood.pcap", "replay/ordinary.pcap"] {
        let saved = saved(&dir, name, &["--flows"]);
        let ran = diff(&[&capture(name), saved.to_str().unwrap(), "--json", "--fail-on", "changed"]);
        assert_eq!(ran.code, Some(0), "{name}: {}{}", ran.stdout, ran.stderr);
        let diff = object(&ran);
        assert_eq!((&diff["event"], &diff["a"]["packets"]), (&"diff".into(), &diff["b"]["packets"]));
        let rows = diff["rows"].as_array().unwrap();
        assert!(!rows.is_empty());
        for row in rows {
            assert_eq!(row["a"], row["b"], "{row}");
        }
    }
}

#[test]
fn a_new_incident_is_worse_and_ends_with_1() {
    let (ordinary, flood) = (capture("replay/ordinary.pcap"), capture("replay/flood.pcap"));
    let ran = diff(&[&ordinary, &flood, "--fail-on", "worse"]);
    assert_eq!(ran.code, Some(1), "{}{}", ran.stdout, ran.stderr);
    let first = ran.stdout.lines().skip_while(|line| !line.starts_with("verdict")).nth(1).unwrap();
    assert!(first.starts_with("worse    incidents_syn_flood"), "{}", ran.stdout);
    assert_eq!(diff(&[&flood, &flood, "--fail-on", "worse"]).code, Some(0), "the same one is not");
    let json = object(&diff(&[&flood, &ordinary, "--json"]));
    let ended =
        json["rows"].as_array().unwrap().iter().find(|row| row["what"] == "incidents_syn_flood").unwrap();
    assert_eq!(ended["verdict"], "better", "{ended}");
}

#[test]
fn intervals_of_captures_and_of_saved_runs_are_the_same() {
    let dir = TempDir::new().unwrap();
    let saved = saved(&dir, "demo.pcap", &["--flows"]);
    let lines = events(&fs::read_to_string(&saved).unwrap());
    let windows: Vec<&Value> = lines.iter().filter(|line| line["event"] == "window").collect();
    assert!(windows.len() > 4 && !incidents(&lines, "syn_flood").is_empty());
    let from = windows[2]["start_ts"].as_str().unwrap();
    let (a, b) = (format!("{}@{from}..", saved.display()), format!("{}@{from}..", capture("demo.pcap")));
    let json = object(&diff(&[&a, &b, "--json"]));
    assert_eq!(json["a"]["start_ts"], windows[2]["start_ts"]);
    for side in ["a", "b"] {
        assert_eq!(json[side]["windows"], windows.len() as u64 - 2);
    }
    assert!(json["rows"].as_array().unwrap().iter().all(|row| row["a"] == row["b"]));
    let (begin, rest) = (format!("{}@..3", saved.display()), format!("{}@3..", saved.display()));
    let json = object(&diff(&[&begin, &rest, "--json"]));
    let packets = |side: &str| json[side]["packets"].as_u64().unwrap();
    assert_eq!(packets("a") + packets("b"), lines.last().unwrap()["packets"].as_u64().unwrap());
}

#[test]
fn a_run_comes_from_a_pipe_and_may_be_cut() {
    let dir = TempDir::new().unwrap();
    let saved = saved(&dir, "demo.pcap", &[]);
    let text = fs::read_to_string(&saved).unwrap();
    // As by a program that was killed, without summary, and with half a line.
    let cut = dir.path().join("cut.jsonl");
    fs::write(&cut, &text[..text.trim_end().rfind('\n').unwrap() + 100]).unwrap();
    let mut cat = Command::new("cat");
    let mut cat = cat.arg(&saved).stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut command = Command::new(tidegauge());
    command.args(["diff", "/dev/stdin", cut.to_str().unwrap(), "--json"]);
    let json = object(&run(command.stdin(cat.stdout.take().unwrap())));
    cat.wait().unwrap();
    assert_eq!((&json["a"]["unreadable_lines"], &json["b"]["unreadable_lines"]), (&0.into(), &1.into()));
    assert_eq!(json["a"]["packets"], json["b"]["packets"]);
}

#[test]
fn what_cannot_be_compared_is_said() {
    let dir = TempDir::new().unwrap();
    let demo = capture("demo.pcap");
    let longer = saved(&dir, "demo.pcap", &["--window", "2s"]);
    let written = |name: &str, text: &str| {
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let cases = [
        (longer.to_str().unwrap().to_owned(), "--window"),
        (written("empty", ""), "empty"),
        (written("other.jsonl", "{\"a\":1}\n"), "no window lines"),
        (written("text", "hello"), "text"),
        (dir.path().join("none").to_str().unwrap().to_owned(), "none"),
        (format!("{demo}@noon.."), "noon is neither seconds nor an RFC 3339 time"),
        (format!("{demo}@1000.."), "no window lines"),
    ];
    for (b, words) in cases {
        let ran = diff(&[&demo, &b]);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{b}: {}", ran.stderr);
        assert!(ran.stderr.contains(words) && ran.stderr.lines().count() == 1, "{b}: {}", ran.stderr);
    }
    let file = File::open(&demo).unwrap();
    let ran = run(Command::new(tidegauge()).args(["diff", "/dev/stdin", &demo]).stdin(file));
    assert_eq!(ran.code, Some(0), "a capture as standard input is a file: {}", ran.stderr);
}
