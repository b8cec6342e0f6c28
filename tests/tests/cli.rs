//! The command line as its users and their scripts meet it: bad input ends with one clear message and the documented
//! exit code, never with a panic; what could be read before the damage is kept; output is the same for the same packets.
//!
//! Exit codes: 0 done; 1 done, and `--fail-on` was met; 2 could not run.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod support;

use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::unistd::Uid;
use serde_json::Value;
use support::{Ran, events, incidents, run, tidegauge};
use tempfile::TempDir;
use tidegauge_tests::skip::skip;

/// A user without any right.
const NOBODY: &str = "65534";
const PCAP_HEADER_BYTES: usize = 24;

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data/replay").join(name)
}

/// A directory with one file in it.
fn written(bytes: &[u8]) -> (TempDir, PathBuf) {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("input");
    fs::write(&path, bytes).unwrap();
    (directory, path)
}

fn read(args: &[&str], capture: &Path) -> Ran {
    run(Command::new(tidegauge()).args(["read", "--json"]).args(args).arg(capture))
}

/// Could not run: nothing on standard output, and one line on standard error that says all these words.
fn assert_refused(ran: &Ran, words: &[&str]) {
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{}", ran.stderr);
    assert_eq!(ran.stderr.lines().count(), 1, "{}", ran.stderr);
    assert!(ran.stderr.starts_with("tidegauge: "), "{}", ran.stderr);
    assert_says(ran, words);
}

/// A command line that means nothing: one message, with the usage below it as is the custom.
fn assert_misused(ran: &Ran, words: &[&str]) {
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{}", ran.stderr);
    assert!(
        ran.stderr.starts_with("error: ") && ran.stderr.matches("error: ").count() == 1,
        "{}",
        ran.stderr
    );
    assert_says(ran, words);
}

fn assert_says(ran: &Ran, words: &[&str]) {
    for word in words {
        assert!(ran.stderr.contains(word), "{word:?} is not in {:?}", ran.stderr);
    }
}

/// All bytes of a capture of this project.
fn ordinary() -> Vec<u8> {
    fs::read(data("ordinary.pcap")).unwrap()
}

/// The ordinary capture up to its third record, and then these bytes.
fn two_records_and(more: &[u8]) -> Vec<u8> {
    let mut bytes = ordinary();
    let mut end = PCAP_HEADER_BYTES;
    for _ in 0..2 {
        let captured = bytes[end + 8..].first_chunk().map(|len| u32::from_le_bytes(*len)).unwrap();
        end += 16 + captured as usize;
    }
    bytes.truncate(end);
    bytes.extend(more);
    bytes
}

/// A pcap record header with this captured length.
fn record_header(captured: u32) -> Vec<u8> {
    [1_700_000_000, 0, captured, captured].iter().flat_map(|word: &u32| word.to_le_bytes()).collect()
}

#[test]
fn what_is_no_capture_is_refused_by_name_and_reason() {
    let directory = TempDir::new().unwrap();
    let missing = directory.path().join("missing.pcap");
    assert_refused(&read(&[], &missing), &["missing.pcap", "no such file"]);
    assert_refused(&read(&[], directory.path()), &["is a directory"]);
    let cases: [(&[u8], &[&str]); 6] = [
        (b"", &["is empty"]),
        (b"\x13\x37random bytes, not a capture", &["is not a capture file", "13 37 72 61"]),
        (&ordinary()[..10], &["file header cut", "10 of 24 bytes"]),
        (b"\x0a\x0d\x0d\x0a\x1c\0\0\0", &["file header cut"]),
        (b"\x1f\x8b\x08\0\0\0\0\0", &["gzip data cut", "nothing to read in it"]),
        (&ordinary()[..PCAP_HEADER_BYTES + 20], &["no packet could be read", "cut at byte 24"]),
    ];
    for (bytes, words) in cases {
        let (_directory, path) = written(bytes);
        for args in [&[][..], &["--no-mmap"]] {
            assert_refused(&read(args, &path), words);
        }
    }
}

#[test]
fn a_capture_without_packets_is_an_empty_result_not_an_error() {
    let (_directory, path) = written(&ordinary()[..PCAP_HEADER_BYTES]);
    let ran = read(&[], &path);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    assert_eq!(events(&ran.stdout).last().unwrap()["packets"], 0);
}

#[test]
fn what_was_read_before_the_damage_is_kept_and_the_cut_is_told() {
    let mut cut_frame = record_header(60);
    cut_frame.extend([0; 20]);
    let cases: [(&[u8], &str); 4] = [
        (&[1, 2, 3], "record header cut, 3 of 16 bytes"),
        (&cut_frame, "record of 76 bytes, 36 there"),
        (&record_header(u32::MAX), "4294967295"),
        (&record_header(50_000_000), "50000000"),
    ];
    for (damage, words) in cases {
        let (_directory, path) = written(&two_records_and(damage));
        let ran = read(&[], &path);
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        assert_eq!(ran.stderr.lines().count(), 1, "{}", ran.stderr);
        assert_says(&ran, &[words]);
        let said = events(&ran.stdout);
        let summary = said.last().unwrap();
        assert_eq!(summary["packets"], 2, "{words}");
        assert_eq!(summary["quality"]["verdict"], "degraded", "{words}");
        assert!(summary["quality"]["cut"][0].as_str().is_some_and(|cut| cut.contains(words)), "{summary}");
    }
}

#[test]
fn a_record_of_no_bytes_is_a_malformed_packet_and_reading_goes_on() {
    let mut records = record_header(0);
    records.extend(&ordinary()[PCAP_HEADER_BYTES..]);
    let (_directory, path) = written(&two_records_and(&records));
    let ran = read(&[], &path);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    let said = events(&ran.stdout);
    let whole = events(&read(&[], &data("ordinary.pcap")).stdout);
    let packets = |said: &[Value]| said[said.len() - 1]["packets"].as_u64().unwrap();
    assert_eq!(packets(&said), packets(&whole) + 3);
    assert_eq!(said[said.len() - 1]["quality"]["malformed"]["cut"], 1);
}

#[test]
fn a_file_one_may_not_read_is_refused() {
    let test = "a_file_one_may_not_read_is_refused";
    let (directory, path) = written(&ordinary());
    fs::set_permissions(&path, Permissions::from_mode(0o000)).unwrap();
    let Some(mut command) = as_nobody(test, &directory) else { return };
    assert_refused(&run(command.args(["read", "--json"]).arg(&path)), &["permission denied"]);
}

#[test]
fn watching_without_rights_is_refused_with_what_to_do() {
    let directory = TempDir::new().unwrap();
    let Some(mut command) = as_nobody("watching_without_rights_is_refused_with_what_to_do", &directory)
    else {
        return;
    };
    let refused = run(command.args(["live", "--json", "lo"]));
    assert_refused(&refused, &["not permitted", "run as root", "CAP_BPF", "CAP_NET_ADMIN"]);
}

/// The program for a user without rights: whoever is not root, else nobody, from a place where nobody can reach it.
fn as_nobody(test: &str, directory: &TempDir) -> Option<Command> {
    if !Uid::effective().is_root() {
        return Some(Command::new(tidegauge()));
    }
    if Command::new("setpriv").arg("--version").output().is_err() {
        skip(test, "needs setpriv");
        return None;
    }
    fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
    let program = directory.path().join("tidegauge");
    fs::copy(tidegauge(), &program).unwrap();
    let mut command = Command::new("setpriv");
    command.args(["--reuid", NOBODY, "--clear-groups"]).arg(program);
    Some(command)
}

#[test]
fn a_command_line_that_means_nothing_is_refused() {
    let tidegauge = |args: &[&str]| run(Command::new(tidegauge()).args(args));
    assert_refused(&tidegauge(&["read", "-", "-"]), &["standard input", "once"]);
    assert_refused(&tidegauge(&["live", "nosuch0"]), &["no network interface nosuch0", "ip -brief link"]);
    let with_xdp = tidegauge(&["live", "lo", "--source", "xdp", "--filter", "tcp"]);
    assert_refused(&with_xdp, &["--filter", "XDP", "--source ring"]);
    let two_sources = tidegauge(&["live", "lo", "--source", "xdp", "--source", "ring"]);
    assert_misused(&two_sources, &["--source", "multiple times"]);
    for window in ["soon", "0s", "1500ms", "1y", "-1s", ""] {
        assert_misused(&tidegauge(&["read", "x", &format!("--window={window}")]), &["--window"]);
    }
    assert_misused(&tidegauge(&["read", "x", "--fail-on", "p4"]), &["--fail-on", "p1, p2, p3"]);
    assert_misused(&tidegauge(&["read"]), &["<FILE>"]);
}

#[test]
fn a_filter_that_does_not_compile_is_refused() {
    assert_refused(
        &read(&["--filter", "tcp and and"], &data("ordinary.pcap")),
        &["tcp and and", "pcap-filter"],
    );
}

#[test]
fn a_filter_leaves_only_what_matches() {
    let ran = read(&["--filter", "tcp port 9"], &data("ordinary.pcap"));
    let said = events(&ran.stdout);
    let handshake = &said[said.len() - 1]["handshake"];
    assert_eq!((&handshake["attempted"], &handshake["refused"]), (&10.into(), &10.into()), "{}", ran.stderr);
}

#[test]
fn a_bad_configuration_is_refused_with_key_and_line() {
    let cases: [(&str, &[&str]); 5] = [
        ("conn_rise_factor = 4.0\nconn_rate_limit = 5\n", &["line 2", "conn_rate_limit", "unknown field"]),
        ("\n\nlow_window_share = 2.0\n", &["line 3", "low_window_share", "at most 1"]),
        ("close_after_s = 0\n", &["line 1", "close_after_s", "at least 1"]),
        ("conn_rise_factor = \"a\"\n", &["line 1", "conn_rise_factor", "expected f64"]),
        ("conn_rise_factor = = 1\n", &["line 1", "conn_rise_factor"]),
    ];
    for (text, words) in cases {
        let (_directory, path) = written(text.as_bytes());
        let config = path.to_str().unwrap();
        assert_refused(&read(&["--config", config], &data("ordinary.pcap")), words);
    }
    assert_refused(&read(&["--config", "nosuch.toml"], &data("ordinary.pcap")), &["nosuch.toml"]);
}

#[test]
fn fail_on_is_met_by_a_flood_and_not_by_ordinary_traffic() {
    for (capture, severity, code) in
        [("flood.pcap", "p1", 1), ("flood.pcap", "p3", 1), ("ordinary.pcap", "p3", 0)]
    {
        let ran = read(&["--fail-on", severity], &data(capture));
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(code), ""), "{capture}");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    for format in [&["--json"][..], &[]] {
        let mut command = Command::new(tidegauge());
        command.arg("read").args(format).arg(data("flood.pcap"));
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let ran = Ran::from(child.wait_with_output().unwrap());
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{format:?}");
    }
}

#[test]
fn however_a_capture_is_read_it_gives_the_same_lines() {
    let path = data("flood.pcap");
    let mapped = read(&[], &path).stdout;
    assert_eq!(mapped, read(&[], &path).stdout, "twice the same file");
    assert_eq!(without_source(&mapped), without_source(&read(&["--no-mmap"], &path).stdout), "not mapped");
    let from_file =
        run(Command::new(tidegauge()).args(["read", "--json", "-"]).stdin(File::open(&path).unwrap()));
    assert_eq!(without_source(&mapped), without_source(&from_file.stdout), "standard input");
    assert_eq!(without_source(&mapped), without_source(&piped_in_pieces(&path).stdout), "a slow pipe");
}

/// What names the input: the source, and an incident's evidence.
fn without_source(stdout: &str) -> Vec<Value> {
    let mut said = events(stdout);
    for event in &mut said {
        assert!(event["source"].is_object(), "{event}");
        event.as_object_mut().unwrap().retain(|key, _| key != "source" && key != "evidence");
    }
    said
}

fn piped_in_pieces(path: &Path) -> Ran {
    let mut command = Command::new(tidegauge());
    command.args(["read", "--json", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut pipe = child.stdin.take().unwrap();
    for piece in fs::read(path).unwrap().chunks(1_001) {
        pipe.write_all(piece).unwrap();
    }
    drop(pipe);
    child.wait_with_output().unwrap().into()
}

#[test]
fn lines_have_all_fields_of_the_contract() {
    let said = events(&read(&[], &data("flood.pcap")).stdout);
    let floods = incidents(&said, "syn_flood");
    let states: Vec<&Value> = floods.iter().map(|incident| &incident["state"]).collect();
    assert_eq!((states[0], states[states.len() - 1]), (&"opened".into(), &"closed".into()));
    for incident in floods {
        assert_fields(
            incident,
            "id kind state severity opened_ts updated_ts closed_ts target rule measured limit",
        );
        assert_fields(incident, "baseline window_s sources cause next evidence quality");
        assert_fields(&incident["target"], "addr port proto");
        assert_fields(&incident["sources"], "distinct spoofed_estimate top");
    }
    let summary = said.last().unwrap();
    assert_fields(summary, "packets bytes duration_s first_ts last_ts quality tcp handshake sources rtt_ms");
    assert_fields(&summary["quality"], "seen captured truncated malformed unsupported dropped verdict");
    assert_fields(
        &summary["tcp"],
        "segments syn syn_ack fin rst retransmission fast_retransmission out_of_order",
    );
    assert_fields(
        &summary["tcp"],
        "spurious_retransmission lost_segment duplicate_ack zero_window window_full",
    );
    assert_fields(&summary["tcp"], "window_update keep_alive keep_alive_ack");
    assert_fields(
        &summary["handshake"],
        "attempted answered refused completed timed_out half_open syn_per_s_max",
    );
    assert_fields(&summary["sources"], "distinct top");
    assert_fields(&summary["rtt_ms"], "count p50 p90 p99 max by_method");
}

fn assert_fields(object: &Value, names: &str) {
    for name in names.split_whitespace() {
        assert!(object.get(name).is_some(), "no {name} in {object}");
    }
}

#[test]
fn thresholds_are_checked_printed_and_explained() {
    let config = |args: &[&str]| run(Command::new(tidegauge()).arg("config").args(args));
    let defaults = config(&["default"]);
    let (_directory, file) = written(defaults.stdout.as_bytes());
    let checked = config(&["check", file.to_str().unwrap()]);
    assert_eq!(checked.code, Some(0), "{}", checked.stderr);
    assert!(checked.stdout.contains("right, 0 of"), "{}", checked.stdout);
    let (_directory, file) = written(b"# ours\nclose_after_s = 7\nlow_window_share = 0.25\n");
    let changed = config(&["check", file.to_str().unwrap()]).stdout;
    assert!(changed.contains("close_after_s = 7 (default 3)"), "{changed}");
    let (_directory, file) = written(b"close_after_s = 7\nlow_window_share = 25\n");
    assert_refused(&config(&["check", file.to_str().unwrap()]), &["line 2", "low_window_share", "at most 1"]);
    assert_refused(&config(&["explain", "rise"]), &["no threshold", "conn_rise_factor"]);
    assert!(config(&["explain", "close_after_s"]).stdout.contains("default 3"));
    assert_eq!(config(&["explain"]).stdout.lines().count(), defaults.stdout.matches(" = ").count());
}

#[test]
fn a_backtest_says_what_would_have_fired_and_what_another_configuration_says() {
    let backtest = |args: &[&str]| run(Command::new(tidegauge()).arg("backtest").args(args));
    let flood = data("flood.pcap");
    let flood = flood.to_str().unwrap();
    let (_directory, blind) = written(b"conn_rate_limit_per_s = 1e9\nconn_rise_floor_per_s = 1e9\n");
    let blind = blind.to_str().unwrap();
    let said: Value = serde_json::from_str(&backtest(&["--json", flood]).stdout).unwrap();
    let rules = said["runs"][0]["rules"].as_array().unwrap();
    assert!(rules.iter().any(|rule| rule["kind"] == "syn_flood" && rule["opened"] == 1), "{said}");
    assert_eq!(backtest(&[flood, "--fail-on", "p1"]).code, Some(1));
    assert_eq!(backtest(&[flood, "--config", blind, "--fail-on", "p3"]).code, Some(0));
    let compared = backtest(&[flood, "--against", blind, "--fail-on", "changed"]);
    assert_eq!(compared.code, Some(1));
    assert!(compared.stdout.contains("only with defaults: 1\n"), "{}", compared.stdout);
    assert_refused(&backtest(&["--config", flood, flood]), &["flood.pcap"]);
}

#[test]
fn thresholds_learnt_from_captures_are_right_and_tell_nothing_of_them() {
    let directory = TempDir::new().unwrap();
    let file = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let (thresholds, usual) = (file("thresholds.toml"), file("usual.json"));
    let captures = ["flood.pcap", "ordinary.pcap", "../demo.pcap"];
    let captures = captures.map(|name| data(name).to_str().unwrap().to_owned());
    let tool = |args: &[&str]| run(Command::new(tidegauge()).args(args).args(&captures));
    let learnt = tool(&["learn", "--config-out", &thresholds, "--baselines", &usual]);
    assert_eq!(learnt.code, Some(0), "{learnt:?}");
    let text = fs::read_to_string(&thresholds).unwrap();
    // Each value has its reason above it.
    let lines: Vec<&str> = text.lines().collect();
    let values: Vec<usize> = (1..lines.len()).filter(|line| !lines[*line].starts_with('#')).collect();
    let values: Vec<usize> = values.into_iter().filter(|line| !lines[*line].is_empty()).collect();
    assert!(
        !values.is_empty() && values.iter().all(|line| lines[line - 1].contains(" was told of ")),
        "{text}"
    );
    let checked = run(Command::new(tidegauge()).args(["config", "check", &thresholds]));
    assert_eq!(checked.code, Some(0), "{checked:?}");
    assert_eq!(tool(&["backtest", "--fail-on", "p3"]).code, Some(1), "the defaults tell of the flood");
    let again = tool(&["backtest", "--fail-on", "p3", "--config", &thresholds]);
    assert_eq!(again.code, Some(0), "{again:?}");
    let usual: Value = serde_json::from_str(&fs::read_to_string(usual).unwrap()).unwrap();
    assert_eq!(usual["listeners"][0]["port"], 80, "{usual}");
    // What somebody wrote is not written over.
    assert_refused(&tool(&["learn", "--config-out", &thresholds]), &["thresholds.toml"]);
}

#[test]
fn what_is_usual_is_left_to_the_next_run() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("usual.json");
    let usual = file.to_str().unwrap();
    let flood = data("flood.pcap");
    let before = read(&["--baselines", usual], &flood);
    assert_eq!((before.code, before.stderr.as_str()), (Some(0), ""));
    let left: Vec<_> =
        fs::read_dir(directory.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert_eq!(left, ["usual.json"], "nothing unfinished stays");
    let learnt: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    assert_eq!(learnt["version"], 2);
    // Both begin with the same, and the second has it from its first second on.
    let after = read(&["--baselines", usual], &flood);
    assert_eq!(after.code, Some(0), "{}", after.stderr);
    let backtest = |usual: &Path| {
        run(Command::new(tidegauge()).arg("backtest").arg("--baselines").arg(usual).arg(&flood))
    };
    assert_eq!(backtest(&file).code, Some(0));
    assert_refused(&backtest(&directory.path().join("none.json")), &["none.json", "not there"]);
    let (_directory, wrong) = written(b"{\"version\": 7, \"listeners\": []}");
    assert_refused(&read(&["--baselines", wrong.to_str().unwrap()], &flood), &["version 7", "delete"]);
    assert_refused(&read(&["--baselines", "/none/such.json"], &flood), &["/none/such.json"]);
}
