//! Reports, by the built program: the same whether a capture is read or what a run printed, and one clear error where there
//! is nothing to report.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;

use support::{Ran, events, incidents, run, tidegauge};
use tempfile::TempDir;
use tidegauge_tests::netns::{SERVER_IFACE, Side};
use tidegauge_tests::skip::lab_or_skip;

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

#[test]
fn two_runs_are_compared_on_one_page() {
    let dir = TempDir::new().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let text = |name: &str| fs::read_to_string(path(name)).unwrap();
    // Before the flood, and while it is there.
    let lines = tidegauge_with(&["read", "--json", "--flows", &demo()]).stdout;
    fs::write(path("run.jsonl"), &lines).unwrap();
    let sides = |run: &str| [format!("{run}@0..3"), format!("{run}@3..8")];
    let [a, b] = sides(&path("run.jsonl"));
    let (html, markdown) = (path("a.html"), path("a.md"));
    let compared = tidegauge_with(&["diff", &a, &b, "--html", &html, "--markdown", &markdown]);
    assert_eq!((compared.code, compared.stderr.as_str()), (Some(0), ""));
    let plain = tidegauge_with(&["diff", &a, &b]);
    assert_eq!(compared.stdout, plain.stdout, "the table is the same");
    for page in [text("a.html"), text("a.md")] {
        assert!(page.contains("incidents_syn_flood") && page.contains("P2 syn_flood"), "{page}");
        assert!(
            page.contains("10.77.0.2:80") && page.contains("round trips by handshake_listener"),
            "{page}"
        );
        assert!(page.contains("nothing was found wrong"), "A had no incident: {page}");
    }
    let html = text("a.html");
    assert!(html.contains(r#"class="curve c1""#) && html.contains(r#"class="bar c1""#), "both are drawn");
    // Of the capture itself it is the same page, but for its name.
    let [a, b] = sides(&demo());
    let of_capture = tidegauge_with(&["diff", &a, &b, "--html", &path("b.html")]);
    assert_eq!(of_capture.code, Some(0), "{}", of_capture.stderr);
    let escaped = |name: &str| name.replace('/', "&#x2f;");
    assert_eq!(text("b.html").replace(&escaped(&demo()), &escaped(&path("run.jsonl"))), html);
}

#[test]
fn a_live_run_leaves_its_report() {
    let Some(lab) = lab_or_skip("a_live_run_leaves_its_report") else { return };
    let dir = TempDir::new().unwrap();
    for source in ["xdp", "ring"] {
        let (html, markdown) = (dir.path().join(source), dir.path().join(format!("{source}.md")));
        let mut live = lab.command(Side::Server, tidegauge());
        live.args(["live", SERVER_IFACE, "--source", source, "--duration", "2s", "--html"]).arg(&html);
        let ran = run(live.arg("--markdown").arg(&markdown));
        assert_eq!(ran.code, Some(0), "{source}: {}", ran.stderr);
        for file in [&html, &markdown] {
            let page = fs::read_to_string(file).unwrap();
            assert!(
                page.contains("vb: nothing was found wrong") && page.contains("packets"),
                "{source}: {page}"
            );
        }
    }
}
