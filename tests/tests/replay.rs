//! Replay: each capture in `data/replay` gives, byte for byte, the JSON Lines beside it. A new case is two files.
//!
//! `UPDATE_GOLDEN=1` rewrites the expected output: look at the difference before it is committed. The captures were
//! recorded by the ignored test below, with this project's own traffic.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

#[path = "support/load.rs"]
mod load;
mod support;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use load::{Server, connect, download, flood};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::{events, incidents, run, tidegauge};
use tidegauge_tests::netns::{Lab, SERVER_IFACE, SERVER_V4, Side};
use tidegauge_tests::skip::lab_or_skip;

const UPDATE_VARIABLE: &str = "UPDATE_GOLDEN";
/// Headers with all options and no more: captures stay small.
const SNAP_BYTES: &str = "96";

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data/replay")
}

#[test]
fn captures_give_the_expected_lines() {
    let entries = fs::read_dir(data()).unwrap().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let mut captures: Vec<String> = names.filter(|name| name.ends_with(".pcap")).collect();
    captures.sort();
    assert!(captures.len() >= 2, "{captures:?}");
    for capture in captures {
        check(&capture);
    }
}

/// Runs where the capture is, so that its name and not this machine's paths stand in the output.
fn check(capture: &str) {
    let ran = run(Command::new(tidegauge()).args(["read", "--json", capture]).current_dir(data()));
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{capture}");
    let is_flood = !incidents(&events(&ran.stdout), "syn_flood").is_empty();
    assert_eq!(is_flood, capture == "flood.pcap", "{capture}");
    let expected = data().join(capture).with_extension("jsonl");
    if std::env::var_os(UPDATE_VARIABLE).is_some() {
        fs::write(&expected, &ran.stdout).unwrap();
    }
    let wanted = fs::read_to_string(&expected).unwrap();
    for (number, (found, wanted)) in (1..).zip(ran.stdout.lines().zip(wanted.lines())) {
        assert_eq!(found, wanted, "{capture}, line {number}; {UPDATE_VARIABLE}=1 accepts what is found");
    }
    assert_eq!(ran.stdout, wanted, "{capture}; {UPDATE_VARIABLE}=1 accepts what is found");
}

#[test]
#[ignore = "records the captures anew: other times, other counts, and so other expected lines"]
fn record_the_captures() {
    let Some(lab) = lab_or_skip("record_the_captures") else { return };
    let port = |port| SocketAddr::from((SERVER_V4, port));
    let echo = Server::start(&lab, port(80), &["echo-close"]);
    let bulk = Server::start(&lab, port(81), &["bulk", "4000000"]);
    let tape = Recording::start(&lab, "ordinary.pcap");
    connect(&lab, port(80), 20, "2s");
    download(&lab, port(81));
    connect(&lab, port(9), 10, "1s");
    tape.stop();
    drop(bulk);
    let tape = Recording::start(&lab, "flood.pcap");
    std::thread::scope(|scope| {
        scope.spawn(|| connect(&lab, port(80), 20, "3s"));
        std::thread::sleep(Duration::from_secs(1));
        flood(&lab, port(80), 2_000, "300ms");
    });
    tape.stop();
    drop(echo);
}

/// tcpdump on the server's interface.
struct Recording(Child);

impl Recording {
    fn start(lab: &Lab, name: &str) -> Self {
        let mut command = lab.command(Side::Server, "tcpdump");
        command.args(["-n", "-s", SNAP_BYTES, "-i", SERVER_IFACE, "--immediate-mode", "-w"]);
        // Root's tcpdump would otherwise write as another user, who may not write here.
        let mut child =
            command.arg(data().join(name)).args(["-Z", "root"]).stderr(Stdio::piped()).spawn().unwrap();
        // It says that it listens once it does.
        let mut line = String::new();
        let stderr = child.stderr.as_mut().unwrap();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(stderr), &mut line).unwrap();
        assert!(line.contains("listening"), "tcpdump says {line:?}");
        Self(child)
    }

    /// Ends it once the last frames of the connections have passed.
    fn stop(mut self) {
        std::thread::sleep(Duration::from_millis(500));
        kill(Pid::from_raw(self.0.id() as i32), Signal::SIGINT).unwrap();
        assert!(self.0.wait().unwrap().success());
    }
}
