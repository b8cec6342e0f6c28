//! Evidence (`--evidence DIR`) by the built program with its rights given up: tshark opens the files and shows the
//! comments, they hold what concerns the incident, they are the same however the capture is read, and they are bounded.
//!
//! What tshark has to say is skipped, and said so, where there is none; the full disk needs root.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod support;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use support::{Ran, events, incidents, run, tidegauge};
use tempfile::TempDir;
use tidegauge_capture::file::{End, FileReader, Input, Mapping};
use tidegauge_tests::flood::{self, Delivery, Flood, Sources};
use tidegauge_tests::netns::{CLIENT_IFACE, SERVER_IFACE, SERVER_V4, Side};
use tidegauge_tests::skip;

/// A SYN flood at 10.77.0.2:80 over 50 connections per second, frames cut to 96 bytes.
const FLOOD: &str = "data/replay/flood.pcap";
const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

fn read(dir: &Path, args: &[&str]) -> Ran {
    let mut command = Command::new(tidegauge());
    command
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["read", "--json", "--evidence"])
        .arg(dir)
        .args(args);
    run(&mut command)
}

/// The last thing said of the flood, and of the run.
fn told(ran: &Ran) -> (Value, Value) {
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    let events = events(&ran.stdout);
    let closed = incidents(&events, "syn_flood").last().unwrap()["evidence"].clone();
    (closed, events.last().unwrap()["evidence"].clone())
}

fn path_of(kept: &Value) -> PathBuf {
    kept["path"].as_str().unwrap().into()
}

fn names(dir: &Path) -> Vec<String> {
    let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
    let mut names: Vec<_> = fs::read_dir(dir).unwrap().map(name).collect();
    names.sort_unstable();
    names
}

/// What tshark prints of a file, line by line; `None`: there is no tshark.
fn tshark(path: &Path, args: &[&str]) -> Option<Vec<String>> {
    let output = Command::new("tshark").arg("-r").arg(path).args(args).output().ok()?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect())
}

#[test]
fn tshark_opens_it_and_shows_rule_time_and_measured_value() {
    let dir = TempDir::new().unwrap();
    let ran = read(dir.path(), &["--evidence-snap", "64", FLOOD]);
    let (kept, totals) = told(&ran);
    let path = path_of(&kept);
    assert_eq!(names(dir.path()), [path.file_name().unwrap().to_str().unwrap()]);
    assert_eq!((totals["files"].as_u64(), &totals["packets"]), (Some(1), &kept["packets"]));
    assert_eq!(kept["bytes"].as_u64(), Some(path.metadata().unwrap().len()));

    let fields = ["-T", "fields", "-e", "frame.time_epoch", "-e", "frame.len", "-e", "frame.cap_len"];
    let Some(frames) = tshark(&path, &fields) else {
        skip::skip("tshark_opens_it_and_shows_rule_time_and_measured_value", "needs tshark");
        return;
    };
    assert_eq!(Some(frames.len() as u64), kept["packets"].as_u64());
    let lengths = |frame: &String| {
        let mut lengths = frame.split('\t').skip(1).map(|length| length.parse::<u32>().unwrap());
        (lengths.next().unwrap(), lengths.next().unwrap())
    };
    assert!(frames.iter().map(lengths).all(|(wire, kept)| kept == wire.min(64)));
    assert!(frames.iter().map(lengths).any(|(wire, kept)| wire > kept));

    let all = events(&ran.stdout);
    let opened = incidents(&all, "syn_flood")[0].clone();
    let comments = tshark(&path, &["-Y", "frame.comment", "-T", "fields", "-e", "frame.comment"]).unwrap();
    assert_eq!(comments.len(), 1, "{comments:?}");
    for part in [&opened["id"], &opened["rule"], &opened["opened_ts"]] {
        assert!(comments[0].contains(part.as_str().unwrap()), "{comments:?}");
    }
    assert!(
        comments[0].contains(&format!("measured {} syn/s", opened["measured"].as_f64().unwrap())),
        "{comments:?}"
    );
    // The flood and what the listener does, both ways, and nothing else.
    let others = tshark(&path, &["-Y", "!(ip.addr == 10.77.0.2 && tcp.port == 80)"]).unwrap();
    assert!(others.is_empty(), "{others:?}");
}

#[test]
fn the_files_are_the_same_however_the_capture_is_read() {
    let one = TempDir::new().unwrap();
    told(&read(one.path(), &["--workers", "1", FLOOD]));
    let whole =
        |dir: &Path| names(dir).into_iter().map(|name| fs::read(dir.join(name)).unwrap()).collect::<Vec<_>>();
    for args in [&["--workers", "4", FLOOD][..], &["--no-mmap", FLOOD], &["--workers", "2", FLOOD]] {
        let other = TempDir::new().unwrap();
        told(&read(other.path(), args));
        assert_eq!(names(one.path()), names(other.path()));
        assert!(whole(one.path()) == whole(other.path()), "{args:?}");
    }
    let other = TempDir::new().unwrap();
    let mut command = Command::new(tidegauge());
    command.args(["read", "--json", "--evidence"]).arg(other.path()).arg("-");
    command.stdin(File::open(Path::new(env!("CARGO_MANIFEST_DIR")).join(FLOOD)).unwrap());
    told(&run(&mut command));
    assert!(whole(one.path()) == whole(other.path()), "standard input");
}

#[test]
fn it_is_bounded_and_says_what_did_not_fit() {
    let dir = TempDir::new().unwrap();
    let (all, _) = told(&read(dir.path(), &[FLOOD]));
    let (kept, totals) = told(&read(dir.path(), &["--evidence-packets", "100", FLOOD]));
    assert_eq!((kept["packets"].as_u64(), kept["truncated"].as_bool()), (Some(100), Some(true)));
    let count = |kept: &Value, name: &str| kept[name].as_u64().unwrap();
    assert_eq!(count(&kept, "packets") + count(&kept, "packets_not_kept"), count(&all, "packets"));
    assert_eq!(totals["packets_not_kept"], kept["packets_not_kept"]);

    // What earlier runs left goes, the oldest first; what others have there stays.
    let (old, foreign) = (
        dir.path().join("tidegauge-land-0007-20200101T000000.000000000Z.pcapng"),
        dir.path().join("x.pcapng"),
    );
    for path in [&old, &foreign] {
        File::create(path).unwrap().set_len(1 << 20).unwrap();
    }
    fs::remove_file(path_of(&kept)).unwrap();
    let (kept, totals) = told(&read(dir.path(), &["--evidence-disk-mib", "1", FLOOD]));
    assert_eq!(totals["files_removed"].as_u64(), Some(1));
    assert!(!old.exists() && foreign.exists() && path_of(&kept).exists());
    // A quarter of it is one file's.
    assert!(count(&kept, "bytes") <= (1 << 20) / 4, "{kept}");
}

#[test]
fn addresses_are_replaced_and_headers_stay_right() {
    let dir = TempDir::new().unwrap();
    let key = dir.path().join("key");
    fs::write(&key, KEY).unwrap();
    let [plain, first, second, random] =
        ["plain", "first", "second", "random"].map(|name| dir.path().join(name));
    let key = ["--evidence-key", key.to_str().unwrap(), FLOOD];
    let (kept, _) = told(&read(&plain, &[FLOOD]));
    let (image, _) = told(&read(&first, &key));
    let (again, _) = told(&read(&second, &key));
    let (other, _) = told(&read(&random, &["--evidence-anonymise", FLOOD]));
    assert_eq!((&image["packets"], &image["anonymised"]), (&kept["packets"], &Value::Bool(true)));
    assert!(fs::read(path_of(&image)).unwrap() == fs::read(path_of(&again)).unwrap());
    assert!(fs::read(path_of(&image)).unwrap() != fs::read(path_of(&other)).unwrap());
    // Neither in a packet nor in a comment.
    let bytes = fs::read(path_of(&image)).unwrap();
    for real in [&[10, 77, 0, 2][..], b"10.77.0.2"] {
        assert!(!bytes.windows(real.len()).any(|window| window == real));
    }
    let fields = ["-T", "fields", "-e", "ip.src", "-e", "ip.dst", "-e", "tcp.srcport", "-e", "tcp.seq_raw"];
    let Some(real) = tshark(&path_of(&kept), &fields) else {
        skip::skip("addresses_are_replaced_and_headers_stay_right", "needs tshark");
        return;
    };
    let images = tshark(&path_of(&image), &fields).unwrap();
    // One image for each address, and all else as it was.
    let mut pairs = BTreeSet::new();
    for (real, image) in real.iter().zip(&images) {
        let (real, image): (Vec<_>, Vec<_>) = (real.split('\t').collect(), image.split('\t').collect());
        pairs.extend([(real[0], image[0]), (real[1], image[1])]);
        assert_eq!(real[2..], image[2..]);
    }
    let distinct = |side: fn(&(&str, &str)) -> String| pairs.iter().map(side).collect::<BTreeSet<_>>().len();
    assert_eq!(distinct(|(real, _)| (*real).to_owned()), pairs.len());
    assert_eq!(distinct(|(_, image)| (*image).to_owned()), pairs.len());
    let right = ["-o", "ip.check_checksum:TRUE", "-o", "tcp.check_checksum:TRUE"];
    let count =
        |path: &Path, filter: &str| tshark(path, &[&right[..], &["-Y", filter]].concat()).unwrap().len();
    assert_eq!(count(&path_of(&image), "ip.checksum.status != Good"), 0);
    // SYNs have no payload that could have been cut off.
    let good = "tcp.flags.syn == 1 && tcp.checksum.status == Good";
    assert_eq!(count(&path_of(&image), good), count(&path_of(&kept), good));
    assert_eq!(count(&path_of(&image), "_ws.malformed"), 0);
}

#[test]
fn what_cannot_be_written_is_said_first_and_a_full_disk_ends_no_run() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "in the way").unwrap();
    let ran = read(&file, &[FLOOD]);
    assert_eq!(
        (ran.code, ran.stdout.as_str(), ran.stderr.lines().count()),
        (Some(2), "", 1),
        "{}",
        ran.stderr
    );
    let lock = File::open(dir.path()).unwrap();
    lock.lock().unwrap();
    let ran = read(dir.path(), &[FLOOD]);
    assert!(ran.code == Some(2) && ran.stderr.contains("another run keeps evidence"), "{}", ran.stderr);
    drop(lock);

    if !skip::root_or_skip("what_cannot_be_written_is_said_first_and_a_full_disk_ends_no_run") {
        return;
    }
    // Its own mounts: the disk is gone with the process.
    let script = "mount -t tmpfs -o size=128k none \"$2\" && \"$1\" read --json --evidence \"$2\" \"$3\" && ls \"$2\"/*.pcapng >&2";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script, "sh"]).arg(tidegauge()).arg(dir.path());
    let ran = run(command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join(FLOOD)));
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let events = events(&ran.stdout);
    let kept = &incidents(&events, "syn_flood").last().unwrap()["evidence"];
    assert!(kept["fault"].as_str().is_some_and(|why| why.contains("No space left")), "{kept}");
    assert_eq!(
        (events.last().unwrap()["evidence"]["faults"].as_u64(), kept["truncated"].as_bool()),
        (Some(1), Some(true))
    );
}

#[test]
fn a_live_ring_keeps_what_came_before_and_after() {
    let Some(lab) = skip::lab_or_skip("a_live_ring_keeps_what_came_before_and_after") else { return };
    let dir = TempDir::new().unwrap();
    let mut command = lab.command(Side::Server, tidegauge());
    command.args(["live", SERVER_IFACE, "--json", "--source", "ring", "--duration", "9s", "--evidence"]);
    let mut child = command.arg(dir.path()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    // What is in force is said once all is open.
    let mut said = String::new();
    stdout.read_line(&mut said).unwrap();
    let flood = Flood {
        iface: CLIENT_IFACE.into(),
        target: SERVER_V4.into(),
        delivery: Delivery::Mirror,
        dest_ports: vec![80],
        sources: Sources::Spoofed,
        rate_pps: 5_000,
        duration: Duration::from_secs(2),
        seed: 1,
    };
    lab.inside(Side::Client, || flood::run(&flood, |_| {})).unwrap().unwrap();
    stdout.read_to_string(&mut said).unwrap();
    let ended = child.wait_with_output().unwrap();
    assert_eq!((ended.status.code(), String::from_utf8_lossy(&ended.stderr)), (Some(0), "".into()));
    let events = events(&said);
    let (changes, totals) = (incidents(&events, "syn_flood"), &events.last().unwrap()["evidence"]);
    let count = |kept: &Value, name: &str| kept[name].as_u64().unwrap();
    let (opened, closed) = (&changes[0]["evidence"], &changes.last().unwrap()["evidence"]);
    assert!(count(opened, "packets") > 0 && count(closed, "packets") > count(opened, "packets"), "{closed}");
    assert!(opened["first_ts"].as_str() < changes[0]["opened_ts"].as_str(), "{opened}");
    assert_eq!((count(totals, "faults"), count(totals, "files")), (0, 1), "{totals}");
    // Nothing is left but its file, which is whole.
    let path = path_of(closed);
    assert_eq!(names(dir.path()), [path.file_name().unwrap().to_str().unwrap()]);
    let mut frames = 0;
    let end = FileReader::open(&Input::Path(path), Mapping::Mapped).unwrap().for_each(|frame| {
        frames += u64::from(frame.bytes.len() <= 128);
        ControlFlow::Continue(())
    });
    assert_eq!((frames, matches!(end, Ok(End::Whole))), (count(closed, "packets"), true));
    assert_eq!(
        run(lab.command(Side::Server, tidegauge()).args([
            "live",
            SERVER_IFACE,
            "--source",
            "xdp",
            "--evidence",
            "x"
        ]))
        .code,
        Some(2)
    );
}
