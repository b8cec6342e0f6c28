//! AF_XDP on a veth pair: frames in place, what is lost when nobody takes them, consent, and nothing left behind.

use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;
use tidegauge_capture::af_xdp::{self, AfXdpError, AfXdpOptions, Queue, QueueLosses, Transfer};
use tidegauge_capture::interface::Interface;
use tidegauge_capture::xdp::Mode;
use tidegauge_tests::known_frames::{EXPERIMENT, frame, send};
use tidegauge_tests::netns::{CLIENT_IFACE, Lab, SERVER_IFACE, SERVER_MAC, SERVER_V4, Side};
use tidegauge_tests::packet_socket::BATCH_FRAMES;
use tidegauge_tests::skip::lab_or_skip;

use crate::load::flood;
use crate::running::{Live, alone};
use crate::support::{incidents, run, tidegauge};
use crate::target;

/// A loaded machine may take its time.
const PATIENCE: Duration = Duration::from_secs(10);

fn open() -> Result<(af_xdp::AfXdpHold, Vec<Queue>), AfXdpError> {
    af_xdp::open(&Interface::open(SERVER_IFACE).expect("the lab is there"), &AfXdpOptions::default())
}

#[test]
fn known_frames_all_arrive_in_order_with_their_bytes() {
    let Some(lab) = lab_or_skip("known_frames_all_arrive_in_order_with_their_bytes") else { return };
    let _alone = alone();
    let watch = || {
        let (hold, mut queues) = open().unwrap();
        assert_eq!((hold.mode(), hold.transfer(), queues.len()), (&Mode::Native, Transfer::Copy, 1));
        let batches = 200;
        let all = (batches * BATCH_FRAMES) as u32;
        send(&lab, batches);
        let deadline = Instant::now() + PATIENCE;
        let (mut number, mut last_ns) = (0, 0);
        while number < all && Instant::now() < deadline {
            queues[0]
                .poll(50, |seen| {
                    if seen.bytes.get(12..14) != Some(&EXPERIMENT) {
                        return;
                    }
                    let expected = frame(number);
                    assert_eq!((seen.bytes, seen.wire_len as usize), (&expected[..], expected.len()));
                    assert!(seen.ts_ns >= last_ns);
                    last_ns = seen.ts_ns;
                    number += 1;
                })
                .unwrap();
        }
        assert_eq!((number, queues[0].losses()), (all, QueueLosses::default()));
        assert_eq!(hold.passed_frames(), Some(0));
    };
    lab.inside(Side::Server, watch).unwrap();
}

#[test]
fn what_nobody_takes_is_lost_and_counted_and_the_rest_is_there() {
    let Some(lab) = lab_or_skip("what_nobody_takes_is_lost_and_counted_and_the_rest_is_there") else {
        return;
    };
    let _alone = alone();
    let watch = || {
        let interface = Interface::open(SERVER_IFACE).unwrap();
        let (_hold, mut queues) = af_xdp::open(&interface, &AfXdpOptions { memory_bytes: 1 << 20 }).unwrap();
        let sent = 100 * BATCH_FRAMES as u32;
        send(&lab, 100);
        let (mut seen, mut in_order) = (0, 0);
        while queues[0]
            .poll(200, |taken| {
                if taken.bytes.get(12..14) == Some(&EXPERIMENT) {
                    in_order += u32::from(taken.bytes == frame(seen));
                    seen += 1;
                }
            })
            .unwrap()
            != 0
        {}
        let losses = queues[0].losses();
        assert!(losses.ring_full + losses.fill_empty > 0, "{losses:?}");
        let lost = (losses.ring_full + losses.fill_empty + losses.other) as u32;
        // The stack's own chatter is lost or not.
        assert!((seen + lost).abs_diff(sent) <= 20, "seen {seen}, {losses:?}, sent {sent}");
        assert_eq!(in_order, seen, "the first ones are whole");
        // What was given back is used again.
        send(&lab, 1);
        let mut again = 0;
        queues[0]
            .poll(500, |taken| again += u32::from(taken.bytes.get(12..14) == Some(&EXPERIMENT)))
            .unwrap();
        assert!(again > 0);
    };
    lab.inside(Side::Server, watch).unwrap();
}

#[test]
fn a_second_one_and_frames_too_long_are_refused() {
    let Some(lab) = lab_or_skip("a_second_one_and_frames_too_long_are_refused") else { return };
    let _alone = alone();
    let watch = || {
        let first = open().unwrap();
        let Err(error) = open() else { panic!("two sockets on one queue") };
        assert!(matches!(error, AfXdpError::QueueTaken { .. }), "{error}");
        drop(first);
    };
    lab.inside(Side::Server, watch).unwrap();
    let long = ["link", "set", "dev", SERVER_IFACE, "mtu", "9000"];
    assert!(lab.command(Side::Server, "ip").args(long).status().unwrap().success());
    let mut command = lab.command(Side::Server, tidegauge());
    let ran = run(command.args(["live", SERVER_IFACE, "--source", "af-xdp", "--yes"]));
    assert_eq!(ran.code, Some(2));
    assert!(ran.stderr.contains("MTU of 9000") && ran.stderr.contains("--source ring"), "{}", ran.stderr);
}

#[test]
fn nobody_loses_connections_without_having_agreed() {
    let Some(lab) = lab_or_skip("nobody_loses_connections_without_having_agreed") else { return };
    let live = |args: &[&str]| {
        let mut command = lab.command(Side::Server, tidegauge());
        run(command.args(["live", SERVER_IFACE, "--duration", "100ms"]).args(args))
    };
    let address = SERVER_V4.to_string();
    for (args, says) in [
        (&["--source", "af-xdp"][..], ["away from this host", address.as_str()]),
        (&["--source", "af-xdp", "--mirror"], ["no mirror port", address.as_str()]),
        (&["--source", "af-xdp", "--yes", "--direction", "in"], ["--direction", "leave it out"]),
        (&["--source", "af-xdp", "--yes", "--filter", "tcp"], ["--filter", "--source ring"]),
        (&["--source", "xdp", "--yes"], ["--yes", "--source af-xdp"]),
    ] {
        let ran = live(args);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{args:?}");
        assert!(says.iter().all(|words| ran.stderr.contains(words)), "{args:?}: {}", ran.stderr);
    }
}

/// What `ip` says of the server's interface.
fn xdp_of(lab: &Lab) -> Value {
    let mut command: Command = lab.command(Side::Server, "ip");
    let said = run(command.args(["-j", "link", "show", "dev", SERVER_IFACE])).stdout;
    serde_json::from_str::<Value>(&said).unwrap()[0]["xdp"].clone()
}

#[test]
fn a_flood_on_a_mirror_port_is_named_and_the_port_left_as_it_was() {
    let Some(lab) = lab_or_skip("a_flood_on_a_mirror_port_is_named_and_the_port_left_as_it_was") else {
        return;
    };
    let _alone = alone();
    // The sender finds the host by its hardware address, which nobody answers for from now on.
    let keep = ["neigh", "replace", &SERVER_V4.to_string(), "lladdr", &mac(), "dev", CLIENT_IFACE];
    assert!(lab.command(Side::Client, "ip").args(keep).status().unwrap().success());
    let flush = ["addr", "flush", "dev", SERVER_IFACE, "scope", "global"];
    assert!(lab.command(Side::Server, "ip").args(flush).status().unwrap().success());
    let mut live = Live::start(&lab, &[SERVER_IFACE, "--source", "af-xdp", "--mirror"]);
    let sent = flood(&lab, target(), 20_000, "2s")["sent"].as_u64().unwrap();
    live.wait_for(PATIENCE, |event| event["kind"] == "syn_flood" && event["state"] == "opened");
    assert!(!xdp_of(&lab).is_null());
    let ended = live.interrupt();
    assert!(xdp_of(&lab).is_null(), "detached");
    assert_eq!(ended.events[0]["source"]["kind"], "af_xdp");
    assert!(!incidents(&ended.events, "syn_flood").is_empty());
    let summary = ended.summary();
    let lost: u64 = summary["quality"]["dropped"]
        .as_object()
        .unwrap()
        .iter()
        .filter(|(place, _)| place.starts_with("af_xdp"))
        .filter_map(|(_, frames)| frames.as_u64())
        .sum();
    assert_eq!(summary["tcp"]["syn"].as_u64().unwrap() + lost, sent);

    let live = Live::start(&lab, &[SERVER_IFACE, "--source", "af-xdp", "--mirror"]);
    live.end_by(Signal::SIGKILL);
    let deadline = Instant::now() + PATIENCE;
    while !xdp_of(&lab).is_null() {
        assert!(Instant::now() < deadline, "a killed run detaches too");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn mac() -> String {
    SERVER_MAC.map(|byte| format!("{byte:02x}")).join(":")
}
