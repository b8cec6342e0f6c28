//! Whole frames from rings: the full judgement, the layers above TCP and all kinds of incidents, as of a capture file.
//!
//! A scene of the detection bench is played in a lab while two runs watch and tcpdump records it. What the runs say is
//! held against what is read of the recording.

use std::time::Duration;

use serde_json::Value;
use tidegauge_analyzer::config::{Config, KEYS};
use tidegauge_benches::detection::scene::{self, Trouble, WARM_UP_US};
use tidegauge_benches::detection::{faults, floods, misuse};
use tidegauge_tests::netns::{CLIENT_IFACE, Lab, SERVER_IFACE, Side};
use tidegauge_tests::play::{Timed, play};
use tidegauge_tests::recorder::Recorder;
use tidegauge_tests::skip::lab_or_skip;

use crate::running::{Ended, Live, alone};
use crate::support::{events, incidents, tidegauge};

/// What is played, at which times its threshold.
const SCENES: [(&str, f64); 5] =
    [("udp_flood", 2.0), ("icmp_flood", 2.0), ("port_scan", 4.0), ("http_errors", 10.0), ("loss", 5.0)];
/// A fault of a minute, which is more than is played: here it is for what it does to segments.
const TOO_SHORT: &str = "loss";
/// Each frame whole; with room for longer ones tcpdump's buffer would hold few.
const SNAP_BYTES: u32 = 2_048;
/// Interfaces that have just come up report their groups, before one watches or after another.
const OURS: &str = "not ip6";
/// Of the ordinary traffic before the trouble, as much as baselines need.
const FROM_US: u64 = WARM_UP_US - 12_000_000;
const LASTS_US: u64 = 12_000_000;
/// Of these the file and the ring say the same, to the last digit.
const SAME: [&str; 16] = [
    "arp",
    "bytes",
    "dns",
    "handshake",
    "http",
    "icmp",
    "icmp_rtt_ms",
    "packets",
    "protocols",
    "quic",
    "rtt_ms",
    "rwnd_bytes",
    "streams",
    "tcp",
    "tls",
    "transfer_1mib_ms",
];
/// Of these several workers do, too: each has whole connections, but not all queries of one resolver and what they
/// are about.
const SAME_OF_SEVERAL: [&str; 9] =
    ["bytes", "handshake", "http", "packets", "protocols", "rtt_ms", "rwnd_bytes", "tcp", "tls"];

fn limit(name: &str) -> f64 {
    let key = KEYS.iter().find(|key| key.name == name).expect("a threshold");
    (key.get)(&Config::default())
}

fn troubles() -> Vec<(Trouble, f64)> {
    let all = [floods::troubles(limit), misuse::troubles(limit), faults::troubles(limit)];
    let chosen = |trouble: Trouble| {
        let (_, strength) = SCENES.iter().find(|(kind, _)| *kind == trouble.kind)?;
        let lasts_us = trouble.lasts_us.min(LASTS_US);
        Some((Trouble { lasts_us, ..trouble }, *strength))
    };
    all.into_iter().flatten().filter_map(chosen).collect()
}

fn frames(troubles: &[(Trouble, f64)]) -> Vec<Timed> {
    let borrowed: Vec<_> = troubles.iter().map(|(trouble, strength)| (trouble, *strength)).collect();
    let packets = scene::packets(&borrowed, LASTS_US, 7).into_iter();
    let frame = |packet: tidegauge_benches::detection::frames::Packet| {
        Some(Timed { after_ns: packet.at_us.checked_sub(FROM_US)? * 1_000, bytes: packet.bytes })
    };
    packets.filter_map(frame).collect()
}

/// One run with one worker, one with two, and the recording read.
fn watched(lab: &Lab, frames: &[Timed]) -> (Ended, Ended, Vec<Value>) {
    let directory = tempfile::tempdir().unwrap();
    let recorder = Recorder::start(lab, Side::Server, directory.path(), SNAP_BYTES).unwrap();
    let ring = ["--source", "ring", "--filter", OURS, "--workers"];
    let [one, two] =
        ["1", "2"].map(|workers| Live::start(lab, &[&[SERVER_IFACE][..], &ring[..], &[workers]].concat()));
    let played = lab.inside(Side::Client, || play(CLIENT_IFACE, frames)).unwrap().unwrap();
    println!("{} frames, {} us late at most", played.sent, played.late_ns_max / 1_000);
    std::thread::sleep(Duration::from_millis(300));
    let (one, two) = (one.interrupt(), two.interrupt());
    let capture = recorder.finish().unwrap();
    let read = std::process::Command::new(tidegauge())
        .args(["read", "--json", "--filter", OURS])
        .arg(capture)
        .output()
        .unwrap();
    (one, two, events(&String::from_utf8(read.stdout).unwrap()))
}

#[test]
fn a_ring_says_what_is_read_of_a_recording_of_the_same_packets() {
    let test = "a_ring_says_what_is_read_of_a_recording_of_the_same_packets";
    let Some(lab) = lab_or_skip(test) else { return };
    let _alone = alone();
    let troubles = troubles();
    let (one, two, read) = watched(&lab, &frames(&troubles));
    for run in [&one, &two] {
        // A busy machine may make a tick late; frames it must not lose.
        let quality = &run.summary()["quality"];
        assert_eq!(quality["dropped"], serde_json::json!({}), "{quality}");
        for (trouble, _) in troubles.iter().filter(|(trouble, _)| trouble.kind != TOO_SHORT) {
            let told = incidents(&run.events, trouble.kind);
            let (address, port) = trouble.target;
            let at_target = |told: &&Value| {
                told["state"] == "opened"
                    && told["target"]["addr"].as_str().is_some_and(|addr| addr.starts_with(address))
                    && port.is_none_or(|port| told["target"]["port"] == port)
            };
            assert!(told.iter().any(at_target), "{} at {address}: {told:#?}", trouble.kind);
        }
    }
    let summary = read.last().expect("a summary");
    for what in ["retransmission", "out_of_order", "duplicate_ack"] {
        assert!(summary["tcp"][what].as_u64().is_some(), "{what} is told: {}", summary["tcp"]);
    }
    assert!(summary["tcp"]["retransmission"].as_u64() > Some(0), "{}", summary["tcp"]);
    assert!(summary["rtt_ms"]["by_listener"].as_array().is_some_and(|places| !places.is_empty()));
    for what in SAME {
        assert_eq!(one.summary()[what], summary[what], "{what}, one worker");
    }
    for what in SAME_OF_SEVERAL {
        assert_eq!(two.summary()[what], summary[what], "{what}, two workers");
    }
    assert_windows(&one, &read);
}

/// Each window of the recording is a window of the run, with the same numbers. What came too late for its tick counts in
/// the next one, and is told: then they may differ.
fn assert_windows(run: &Ended, read: &[Value]) {
    if run.summary()["time"]["late_frames"] != 0 {
        return println!("a busy machine: {}", run.summary()["time"]);
    }
    // The run tells seconds without a packet, too.
    let windows = |events: &[Value]| -> Vec<Value> {
        let told = |event: &&Value| event["event"] == "window" && event["packets"] != 0;
        events.iter().filter(told).cloned().collect()
    };
    let (of_ring, of_file) = (windows(&run.events), windows(read));
    assert_eq!(of_ring.len(), of_file.len());
    for (ring, file) in of_ring.iter().zip(&of_file) {
        for what in SAME.iter().filter(|what| !file[**what].is_null()) {
            assert_eq!(ring[*what], file[*what], "{what} at {}", file["ts"]);
        }
    }
}
