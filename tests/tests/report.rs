//! Reports, by the built program: the same whether a capture is read or what a run printed, and one clear error where there
//! is nothing to report.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;

use support::{Ran, events, incidents, run, tidegauge};
use tempfile::TempDir;

fn demo() -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data/demo.pcap").display().to_string()
}

fn tidegauge_with(args: &[&str]) -> Ran {
    run(Command::new(tidegauge()).args(args))
}

#[test]
fn of_a_capture_and_of_its_lines_it_is_the_same() {
    let dir = TempDir::new().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let (html, markdown) = (path("a.html"), path("a.md"));
    let read = tidegauge_with(&["read", &demo(), "--json", "--html", &html, "--markdown", &markdown]);
    assert_eq!((read.code, read.stderr.as_str()), (Some(0), ""));
    let events = events(&read.stdout);
    let opened = incidents(&events, "syn_flood");
    assert!(!opened.is_empty(), "the capture has a flood");
    fs::write(path("run.jsonl"), &read.stdout).unwrap();
    let again = tidegauge_with(&[
        "report",
        &path("run.jsonl"),
        "--html",
        &path("b.html"),
        "--markdown",
        &path("b.md"),
    ]);
    assert_eq!((again.code, again.stderr.as_str(), again.stdout.as_str()), (Some(0), "", ""));
    let text = |name: &str| fs::read_to_string(path(name)).unwrap();
    assert_eq!(text("a.html"), text("b.html"));
    assert_eq!(text("a.md"), text("b.md"));
    // With and without lines on standard output.
    let plain = tidegauge_with(&["read", &demo(), "--html", &path("c.html")]);
    assert_eq!(plain.code, Some(0));
    assert_eq!(text("a.html"), text("c.html"));
    assert!(text("a.html").contains("P2 syn_flood") && text("a.html").matches("<svg").count() >= 5);
    assert!(text("a.md").contains("ss -Hltn 'sport = :80'"));
}

#[test]
fn what_is_no_run_is_said() {
    let dir = TempDir::new().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    fs::write(path("no.txt"), "hello\n").unwrap();
    fs::write(path("none"), "").unwrap();
    for (args, said) in [
        (vec!["report", &path("no.txt"), "--html", &path("x")], "no line of a run"),
        (vec!["report", &path("none"), "--html", &path("x")], "no line of a run"),
        (vec!["report", &path("gone"), "--html", &path("x")], "cannot read"),
        (vec!["report", &path("no.txt")], "say where the report goes"),
        (vec!["report", &path("no.txt"), "--html", &path("no/such/dir/x")], "cannot write"),
    ] {
        let ran = tidegauge_with(&args);
        assert_eq!(ran.code, Some(2), "{args:?}");
        assert!(ran.stderr.contains(said) && ran.stderr.lines().count() == 1, "{}", ran.stderr);
    }
}
