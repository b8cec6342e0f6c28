//! Live, end to end: real traffic and floods in a lab, `tidegauge live` on the server's interface, and what it says.
//!
//! Ordinary traffic raises no flood; a flood is named, fast and with true numbers, from every source of packets.
//! How a run ends is in `ends.rs`. Needs root; says so and passes otherwise. Labs take turns: the load of one would be
//! the delay of another.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod ends;
mod host;
mod judged;
#[path = "../support/load.rs"]
mod load;
mod reload;
mod running;
#[path = "../support/mod.rs"]
mod support;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use load::{Server, connect, connect_from, download, flood};
use running::{Live, alone, packets_of};
use serde_json::Value;
use support::{incidents, tidegauge};
use tidegauge_tests::netns::{CLIENT_IFACE, Lab, SERVER_IFACE, SERVER_V4, SERVER_V6, Side};
use tidegauge_tests::skip::{lab_or_skip, skip};

/// From the first packet to the `opened` line. The aim is 0.3 s (measured by the benches); a busy test machine may
/// take longer, but not this long.
const DETECTION_MAX: Duration = Duration::from_secs(2);
/// Incidents close three seconds after their condition.
const CLOSING_MAX: Duration = Duration::from_secs(8);
/// Frames that are nobody's load, between the readings of the interface's counters and the run: ARP, neighbour
/// discovery, multicast reports of a new interface.
const CHATTER_MAX: u64 = 16;
const DOWNLOAD_BYTES: u64 = 500_000_000;

fn server_port(port: u16) -> SocketAddr {
    (SERVER_V4, port).into()
}

#[test]
fn five_thousand_completed_connections_a_second_are_no_flood() {
    let Some(lab) = lab_or_skip("five_thousand_completed_connections_a_second_are_no_flood") else { return };
    let _alone = alone();
    let _server = Server::start(&lab, server_port(80), &["echo-close"]);
    let live = Live::start(&lab, &[SERVER_IFACE]);
    let counts = connect(&lab, server_port(80), 5_000, "5s");
    let ended = live.interrupt();
    assert!(incidents(&ended.events, "syn_flood").is_empty(), "{:#?}", ended.events);
    let completed = counts["completed"].as_u64().unwrap();
    assert!(completed > 5_000, "a load worth the name: {counts}");
    assert_handshakes(ended.summary(), completed, completed);
}

#[test]
fn a_large_download_is_no_flood() {
    let Some(lab) = lab_or_skip("a_large_download_is_no_flood") else { return };
    let _alone = alone();
    let _server = Server::start(&lab, server_port(80), &["bulk", &DOWNLOAD_BYTES.to_string()]);
    let live = Live::start(&lab, &[SERVER_IFACE]);
    let counts = download(&lab, server_port(80));
    let ended = live.interrupt();
    assert_eq!(counts["bytes"], DOWNLOAD_BYTES);
    assert!(incidents(&ended.events, "syn_flood").is_empty(), "{:#?}", ended.events);
    assert_handshakes(ended.summary(), 1, 1);
    // Segments that a full veth queue lost are sent, and counted, again.
    let payload = ended.summary()["tcp"]["payload_bytes"].as_u64().unwrap();
    assert!((DOWNLOAD_BYTES..DOWNLOAD_BYTES / 20 * 21).contains(&payload), "{payload}");
    // The host hands over super-frames, which the interface counts as one packet each: segments are counted here.
    let packets = ended.summary()["packets"].as_u64().unwrap();
    assert!(packets > DOWNLOAD_BYTES / 1_500, "{packets}");
}

#[test]
fn a_port_that_refuses_is_no_flood() {
    let Some(lab) = lab_or_skip("a_port_that_refuses_is_no_flood") else { return };
    let _alone = alone();
    let live = Live::start(&lab, &[SERVER_IFACE]);
    let counts = connect(&lab, server_port(81), 2_000, "3s");
    let ended = live.interrupt();
    assert!(incidents(&ended.events, "syn_flood").is_empty(), "{:#?}", ended.events);
    assert_handshakes(ended.summary(), counts["attempted"].as_u64().unwrap(), 0);
    assert_eq!(ended.summary()["handshake"]["refused"], counts["refused"]);
}

#[test]
fn a_flood_over_background_traffic_is_named_and_counted() {
    let Some(lab) = lab_or_skip("a_flood_over_background_traffic_is_named_and_counted") else { return };
    flooded(&lab, SERVER_V4.into(), &[SERVER_IFACE], "xdp");
}

#[test]
fn a_flood_over_ipv6_is_named_and_counted() {
    let test = "a_flood_over_ipv6_is_named_and_counted";
    let Some(lab) = lab_or_skip(test) else { return };
    if !lab.has_ipv6() {
        return skip(test, "needs IPv6");
    }
    flooded(&lab, SERVER_V6.into(), &[SERVER_IFACE], "xdp");
}

#[test]
fn the_packet_ring_sees_the_same_flood() {
    let Some(lab) = lab_or_skip("the_packet_ring_sees_the_same_flood") else { return };
    flooded(&lab, SERVER_V4.into(), &[SERVER_IFACE, "--source", "ring"], "ring");
}

/// 200 connections a second, and over them for three seconds 20,000 SYNs a second.
fn flooded(lab: &Lab, target: IpAddr, args: &[&str], source: &str) {
    let _alone = alone();
    let target = SocketAddr::new(target, 80);
    let _server = Server::start(lab, target, &["echo-close"]);
    silence_repeats(lab);
    let before = packets_of(lab, SERVER_IFACE);
    let mut live = Live::start(lab, args);
    let (flood, counts) = std::thread::scope(|scope| {
        let background = scope.spawn(|| connect(lab, target, 200, "7s"));
        std::thread::sleep(Duration::from_secs(2));
        let flood = flood(lab, target, 20_000, "3s");
        (flood, background.join().unwrap())
    });
    live.wait_for(CLOSING_MAX, |event| event["kind"] == "syn_flood" && event["state"] == "closed");
    let ended = live.interrupt();
    let after = packets_of(lab, SERVER_IFACE);
    assert_eq!(ended.events[0]["source"]["kind"], source);
    assert_life(&incidents(&ended.events, "syn_flood"), target);
    let delay = ended.delay_of("syn_flood", flood["first_packet_ns"].as_u64().unwrap());
    println!("{source}, {target}: opened {} ms after the first packet", delay.as_millis());
    assert!(delay < DETECTION_MAX, "{delay:?}");
    let summary = ended.summary();
    if source == "ring" && summary["quality"]["verdict"] != "complete" {
        // The ring may lose frames on a busy machine, and says so: its counts are then lower than the truth.
        return;
    }
    let completed = counts["completed"].as_u64().unwrap();
    let attempted = flood["sent"].as_u64().unwrap() + counts["attempted"].as_u64().unwrap();
    assert_handshakes(summary, attempted, completed);
    // No super-frames here, which the interface would count as one: all segments are small.
    let seen = summary["packets"].as_u64().unwrap();
    assert!((after - before).abs_diff(seen) <= CHATTER_MAX, "interface {}, seen {seen}", after - before);
}

/// A server repeats its SYN-ACKs for a minute, also after the run: these would be in the interface's count alone.
fn silence_repeats(lab: &Lab) {
    let set = || std::fs::write("/proc/sys/net/ipv4/tcp_synack_retries", "0");
    lab.inside(Side::Server, set).unwrap().unwrap();
}

/// One incident: opened, perhaps updated, closed; at this target, with all that the contract promises.
fn assert_life(events: &[&Value], target: SocketAddr) {
    let states: Vec<&str> = events.iter().filter_map(|event| event["state"].as_str()).collect();
    assert_eq!((states.first(), states.last()), (Some(&"opened"), Some(&"closed")), "{states:?}");
    assert!(states[1..states.len() - 1].iter().all(|state| *state == "updated"), "{states:?}");
    for event in events {
        assert_eq!(event["id"], events[0]["id"], "one cause is one incident");
        assert_eq!(event["target"]["addr"].as_str(), Some(target.ip().to_string().as_str()));
        assert_eq!(event["target"]["port"], target.port());
    }
    let peak = events[events.len() - 1];
    assert!(peak["measured"].as_f64().is_some_and(|rate| rate > 10_000.0), "{peak}");
    assert!(peak["sources"]["spoofed_estimate"].as_f64().is_some_and(|share| share > 0.5), "{peak}");
}

/// Retransmitted SYNs (a full backlog drops some) are no attempts; the client's one is one.
fn assert_handshakes(summary: &Value, attempted: u64, completed: u64) {
    let handshake = &summary["handshake"];
    assert_eq!(handshake["attempted"].as_u64(), Some(attempted), "{handshake}");
    assert_eq!(handshake["completed"].as_u64(), Some(completed), "{handshake}");
}

#[test]
fn one_direction_alone_is_counted_where_that_is_asked_for() {
    let test = "one_direction_alone_is_counted_where_that_is_asked_for";
    let Some(lab) = lab_or_skip(test) else { return };
    let _alone = alone();
    let _server = Server::start(&lab, server_port(80), &["echo-close"]);
    for source in ["xdp", "ring"] {
        for (direction, asked, answered) in [("in", true, false), ("out", false, true)] {
            let live = Live::start(&lab, &[SERVER_IFACE, "--source", source, "--direction", direction]);
            connect(&lab, server_port(80), 50, "1s");
            let ended = live.interrupt();
            let tcp = &ended.summary()["tcp"];
            let seen = ["syn", "syn_ack"].map(|flag| tcp[flag].as_u64().unwrap() != 0);
            assert_eq!(seen, [asked, answered], "{source} {direction}: {tcp}");
            let unseen = &ended.summary()["quality"]["unseen"];
            assert!(!unseen.as_array().unwrap().is_empty(), "{source} {direction}: {unseen}");
        }
    }
}

#[test]
fn frames_in_several_buffers_are_counted_natively_with_their_whole_length() {
    let test = "frames_in_several_buffers_are_counted_natively_with_their_whole_length";
    let Some(lab) = lab_or_skip(test) else { return };
    let _alone = alone();
    for (side, iface) in [(Side::Client, CLIENT_IFACE), (Side::Server, SERVER_IFACE)] {
        let mut ip = lab.command(side, "ip");
        assert!(ip.args(["link", "set", "dev", iface, "mtu", "9000"]).status().unwrap().success());
    }
    // The client downloads: what it receives comes in frames of 9,000 bytes, which take three buffers.
    let _server = Server::start(&lab, server_port(81), &["bulk", &DOWNLOAD_BYTES.to_string()]);
    let mut command = lab.command(Side::Client, tidegauge());
    let mut live = Live::spawn(command.args(["live", "--json", CLIENT_IFACE]));
    live.wait_for(CLOSING_MAX, |event| event["event"] == "source");
    let counts = download(&lab, server_port(81));
    let ended = live.interrupt();
    assert_eq!(ended.events[0]["source"]["mode"], "native", "{}", ended.events[0]["source"]);
    assert_eq!(counts["bytes"], DOWNLOAD_BYTES);
    let payload = ended.summary()["tcp"]["payload_bytes"].as_u64().unwrap();
    assert!((DOWNLOAD_BYTES..DOWNLOAD_BYTES / 20 * 21).contains(&payload), "{payload}");
    assert_eq!(ended.summary()["quality"]["malformed"], serde_json::json!({}));
}

#[test]
fn where_no_driver_runs_xdp_the_generic_mode_is_chosen_and_said() {
    let test = "where_no_driver_runs_xdp_the_generic_mode_is_chosen_and_said";
    let Some(lab) = lab_or_skip(test) else { return };
    let _alone = alone();
    let _server = Server::start(&lab, "127.0.0.1:80".parse().unwrap(), &["echo-close"]);
    let live = Live::start(&lab, &["lo"]);
    connect_from(&lab, Side::Server, "127.0.0.1:80".parse().unwrap(), 20, "1s");
    let ended = live.interrupt();
    let source = &ended.events[0]["source"];
    assert_eq!((&source["kind"], &source["mode"]), (&"xdp".into(), &"generic".into()), "{source}");
    assert!(source["why"].as_str().is_some_and(|why| why.contains("native")), "{source}");
    // Each frame is seen once, though it leaves and arrives on the same interface.
    assert_handshakes(ended.summary(), 20, 20);
}
