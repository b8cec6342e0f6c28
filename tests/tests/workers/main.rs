//! Several workers on one interface, and what they do when frames come faster than they are taken. Real rings in labs;
//! needs root, says so and passes otherwise.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod af_xdp;
#[path = "../support/load.rs"]
#[expect(dead_code, reason = "downloads are the live tests'")]
mod load;
#[path = "../live/running.rs"]
#[expect(dead_code, reason = "delays are the live tests'")]
mod running;
mod sampling;
#[path = "../support/mod.rs"]
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tidegauge_capture::interface::Interface;
use tidegauge_capture::ring::{RingOptions, RingSource};
use tidegauge_ebpf::link::LinkType;
use tidegauge_ebpf::packet::{Address, Packet, Transport};
use tidegauge_ebpf::parse::parse;
use tidegauge_tests::netns::{SERVER_IFACE, SERVER_V4, Side};
use tidegauge_tests::skip::lab_or_skip;

use crate::load::{Server, connect, flood};
use crate::running::{Live, alone, packets_of};

const RINGS: u32 = 4;

fn target() -> SocketAddr {
    (SERVER_V4, 80).into()
}

#[test]
fn both_directions_of_a_flow_come_to_one_ring_and_each_frame_once() {
    let Some(lab) = lab_or_skip("both_directions_of_a_flow_come_to_one_ring_and_each_frame_once") else {
        return;
    };
    let _alone = alone();
    let _server = Server::start(&lab, target(), &["echo-close"]);
    let open = || {
        let interface = Interface::open(SERVER_IFACE).unwrap();
        RingSource::open_group(&interface, &RingOptions::default(), RINGS).unwrap()
    };
    let mut rings = lab.inside(Side::Server, open).unwrap();
    let counts = connect(&lab, target(), 500, "1s");
    let mut rings_of = BTreeMap::<[(Address, u16); 2], BTreeSet<usize>>::new();
    let mut syns = 0;
    let deadline = Instant::now() + Duration::from_millis(500);
    while Instant::now() < deadline {
        for (number, ring) in rings.iter_mut().enumerate() {
            ring.poll(10, |frame| {
                let mut packet = Packet::EMPTY;
                parse(frame.bytes, LinkType::Ethernet, frame.wire_len, false, &mut packet);
                if packet.transport == Transport::Tcp {
                    let mut ends =
                        [(packet.source, packet.source_port), (packet.destination, packet.destination_port)];
                    ends.sort_unstable();
                    rings_of.entry(ends).or_default().insert(number);
                    syns += u64::from(packet.segment.is_syn());
                }
            })
            .unwrap();
        }
    }
    let attempted = counts["attempted"].as_u64().unwrap();
    assert_eq!((syns, rings_of.len() as u64), (attempted, attempted), "each frame in one ring");
    assert!(rings_of.values().all(|rings| rings.len() == 1), "{rings_of:?}");
    let used: BTreeSet<_> = rings_of.values().flatten().collect();
    assert_eq!(used.len(), RINGS as usize, "the flows are spread");
}

#[test]
fn any_number_of_workers_counts_the_same() {
    let Some(lab) = lab_or_skip("any_number_of_workers_counts_the_same") else { return };
    let _alone = alone();
    let _server = Server::start(&lab, target(), &["echo-close"]);
    for workers in ["1", "2", "4"] {
        let before = packets_of(&lab, SERVER_IFACE);
        let live = Live::start(&lab, &[SERVER_IFACE, "--source", "ring", "--workers", workers]);
        let counts = connect(&lab, target(), 500, "2s");
        std::thread::sleep(Duration::from_millis(300));
        let ended = live.interrupt();
        let seen = packets_of(&lab, SERVER_IFACE) - before;
        assert_eq!(ended.events[0]["source"]["workers"], workers.parse::<u64>().unwrap());
        let summary = ended.summary();
        // A busy machine may make a tick late; frames it must not lose.
        assert_eq!(summary["quality"]["dropped"], serde_json::json!({}), "{}", summary["quality"]);
        let handshake = &summary["handshake"];
        for told in ["attempted", "answered", "completed"] {
            assert_eq!(handshake[told], counts["completed"], "{workers} workers: {told}");
        }
        assert_eq!(handshake["completed_one_sided"], 0, "nothing is seen by halves");
        let packets = summary["packets"].as_u64().unwrap();
        assert!(packets.abs_diff(seen) <= 20, "{workers} workers: interface {seen}, seen {packets}");
    }
}

/// Stops the process for longer than its ring lasts, then lets it go on.
fn stall(live: &Live, time: Duration) {
    let pid = Pid::from_raw(live.pid() as i32);
    kill(pid, Signal::SIGSTOP).unwrap();
    std::thread::sleep(time);
    kill(pid, Signal::SIGCONT).unwrap();
}

fn sampled(event: &Value) -> bool {
    event["event"] == "window" && event["sampling"]["one_in_max"].as_u64().is_some_and(|one_in| one_in > 1)
}

#[test]
fn a_worker_that_loses_frames_follows_fewer_flows_and_says_so() {
    let Some(lab) = lab_or_skip("a_worker_that_loses_frames_follows_fewer_flows_and_says_so") else { return };
    let _alone = alone();
    let mut live =
        Live::start(&lab, &[SERVER_IFACE, "--source", "ring", "--workers", "1", "--ring-mib", "1"]);
    let sent = std::thread::scope(|scope| {
        let flood = scope.spawn(|| flood(&lab, target(), 20_000, "4s"));
        std::thread::sleep(Duration::from_millis(800));
        stall(&live, Duration::from_millis(700));
        flood.join().unwrap()["sent"].as_u64().unwrap()
    });
    live.wait_for(Duration::from_secs(5), sampled);
    let ended = live.interrupt();
    let summary = ended.summary();
    let quality = &summary["quality"];
    assert_ne!(quality["verdict"], "complete", "{quality}");
    let lost = quality["dropped"]["ring"].as_u64().unwrap();
    let one_in = quality["sampled_one_in"].as_u64().unwrap();
    assert!(lost > 0 && one_in >= 2, "{quality}");
    assert!(summary["sampling"]["segments_unsampled"].as_u64().unwrap() > 0, "{}", summary["sampling"]);
    // Header facts are exact: what is missing is what the ring lost, of SYNs and of the resets that answer them.
    let syns = summary["tcp"]["syn"].as_u64().unwrap();
    assert!(syns <= sent && syns + lost >= sent, "sent {sent}, lost {lost}, seen {syns}");
    // Attempts are an estimate, of those that were not lost: five standard errors are never missed.
    let attempted = summary["handshake"]["attempted"].as_u64().unwrap() as f64;
    let error = summary["sampling"]["error_95"]["attempted"].as_f64().unwrap();
    println!("sent {sent}, lost {lost}, one in {one_in}: attempted {attempted} +- {error}, SYNs {syns}");
    assert!((attempted - syns as f64).abs() <= 2.5 * error, "{attempted} of {syns} +- {error}");
}
