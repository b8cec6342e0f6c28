//! What a live run says of itself: what it costs, against what the kernel says of its process and maps; that it was late,
//! where it was; that its ring lost frames, where it did. Needs root; says so and passes otherwise.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

#[path = "support/bpf_maps.rs"]
mod bpf_maps;
#[path = "support/load.rs"]
#[expect(dead_code, reason = "downloads are the live tests'")]
mod load;
#[path = "live/running.rs"]
#[expect(dead_code, reason = "delays are the live tests'")]
mod running;
#[path = "support/mod.rs"]
#[expect(dead_code, reason = "incidents are the live tests'")]
mod support;

use std::net::SocketAddr;
use std::time::Duration;

use bpf_maps::{map_bytes, resident_bytes};
use load::{Server, connect, flood};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use running::{Ended, Live, alone, packets_of};
use serde_json::Value;
use tidegauge_tests::netns::{SERVER_IFACE, SERVER_V4, Side};
use tidegauge_tests::skip::lab_or_skip;

const PATIENCE: Duration = Duration::from_secs(15);
/// Four ticks.
const STOP: Duration = Duration::from_millis(400);
/// Frames that are nobody's load: see the live tests.
const CHATTER_MAX: u64 = 16;

fn server_port() -> SocketAddr {
    (SERVER_V4, 80).into()
}

fn stop(live: &Live, for_so_long: Duration) {
    let pid = Pid::from_raw(live.pid() as i32);
    kill(pid, Signal::SIGSTOP).unwrap();
    std::thread::sleep(for_so_long);
    kill(pid, Signal::SIGCONT).unwrap();
}

/// The `window` lines.
fn windows(ended: &Ended) -> impl Iterator<Item = &Value> {
    ended.events.iter().filter(|event| event["event"] == "window")
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("not a number: {value}"))
}

/// Shares of one CPU. Two programs on two CPUs could take more than one; under this load they do not.
fn assert_share(name: &str, value: &Value) {
    assert!((0.0..=1.0).contains(&number(value)), "{name}: {value}");
}

#[test]
fn what_watching_costs_is_what_the_kernel_says() {
    let Some(lab) = lab_or_skip("what_watching_costs_is_what_the_kernel_says") else { return };
    let _alone = alone();
    let _server = Server::start(&lab, server_port(), &["echo-close"]);
    let mut live = Live::start(&lab, &[SERVER_IFACE, "--source", "xdp", "--cost", "on"]);
    // Measuring begins with the first tick.
    live.wait_for(PATIENCE, |event| event["event"] == "window");
    let before = packets_of(&lab, SERVER_IFACE);
    connect(&lab, server_port(), 500, "3s");
    let offered = packets_of(&lab, SERVER_IFACE) - before;
    let (maps, resident) = (map_bytes(live.pid()), resident_bytes(live.pid()));
    let ended = live.interrupt();
    let cost = &ended.summary()["cost"];
    println!("{cost}");
    let bpf = &cost["bpf"];
    assert_eq!((&bpf["mode"], &bpf["why_unknown"]), (&"on".into(), &Value::Null));
    for program in ["xdp", "tcx"] {
        let ns = number(&bpf[program]["ns_per_packet"]);
        assert!((1.0..100_000.0).contains(&ns), "{program}: {bpf}");
        assert_share(program, &bpf[program]["cpu_share"]);
    }
    // Each frame is one run of one of the programs: all of this load's frames are single.
    let runs = bpf["xdp"]["runs"].as_u64().unwrap() + bpf["tcx"]["runs"].as_u64().unwrap();
    assert!(runs.abs_diff(offered) <= CHATTER_MAX, "runs {runs}, the interface counted {offered}");
    assert_share("programs", &bpf["cpu_share"]);
    assert_share("process", &cost["process"]["cpu_share"]);
    assert_eq!(cost["memory"]["map_bytes"], maps);
    let told = cost["memory"]["rss_bytes"].as_u64().unwrap();
    assert!(told.abs_diff(resident) <= 1 << 20, "resident: told {told}, by the kernel {resident}");
    assert!(cost["memory"]["rss_peak_bytes"].as_u64().unwrap() >= told);
    for (table, share) in
        [("flows", "used_share"), ("half_open", "waiting_share"), ("listeners", "used_share")]
    {
        assert_share(table, &cost["occupancy"][table][share]);
    }
    assert!(windows(&ended).all(|window| window["cost"]["memory"]["map_bytes"] == maps));
}

#[test]
fn a_cost_that_is_not_measured_is_unknown_and_says_why() {
    let Some(lab) = lab_or_skip("a_cost_that_is_not_measured_is_unknown_and_says_why") else { return };
    let _alone = alone();
    let ended =
        Live::start(&lab, &[SERVER_IFACE, "--source", "xdp", "--cost", "off", "--duration", "1500ms"]).end();
    let bpf = &ended.summary()["cost"]["bpf"];
    assert!(bpf["why_unknown"].as_str().is_some_and(|why| why.contains("--cost off")), "{bpf}");
    let unknown = ["ns_per_packet", "cpu_share", "xdp", "tcx", "measured_ms"];
    assert!(unknown.iter().all(|field| bpf[field] == Value::Null), "{bpf}");
}

#[test]
fn a_stopped_process_says_that_it_was_late_and_loses_no_count() {
    let Some(lab) = lab_or_skip("a_stopped_process_says_that_it_was_late_and_loses_no_count") else { return };
    let _alone = alone();
    let _server = Server::start(&lab, server_port(), &["echo-close"]);
    let mut live = Live::start(&lab, &[SERVER_IFACE, "--source", "xdp"]);
    live.wait_for(PATIENCE, |event| event["event"] == "window");
    let counts = std::thread::scope(|scope| {
        let load = scope.spawn(|| connect(&lab, server_port(), 200, "3s"));
        std::thread::sleep(Duration::from_millis(1_200));
        stop(&live, STOP);
        load.join().unwrap()
    });
    let ended = live.interrupt();
    let summary = ended.summary();
    let quality = &summary["quality"];
    println!("{quality}");
    assert_eq!(summary["handshake"]["attempted"], counts["attempted"], "the kernel counted on");
    assert_eq!(summary["handshake"]["completed"], counts["completed"]);
    // A tick ends within the first 100 ms of the stop and is handled after it: 300 ms late, at least.
    assert!(number(&quality["lag_ms_max"]) >= 290.0, "{quality}");
    assert!(quality["merged_ticks"].as_u64().is_some_and(|ticks| (2..=6).contains(&ticks)), "{quality}");
    assert_eq!(quality["verdict"], "degraded", "{quality}");
    let why = quality["why"].to_string();
    assert!(why.contains("counters were not read for"), "{why}");
    let late = windows(&ended)
        .filter(|window| window["quality"]["merged_ticks"].as_u64().is_some_and(|ticks| ticks != 0));
    assert!((1..=2).contains(&late.count()), "the windows of that time say it, and no others");
}

#[test]
fn a_ring_that_is_too_small_loses_frames_and_says_how_many() {
    let Some(lab) = lab_or_skip("a_ring_that_is_too_small_loses_frames_and_says_how_many") else { return };
    let _alone = alone();
    let _server = Server::start(&lab, server_port(), &["echo-close"]);
    // Repeated SYN-ACKs would come after the run, in the interface's count alone.
    let silence = || std::fs::write("/proc/sys/net/ipv4/tcp_synack_retries", "0");
    lab.inside(Side::Server, silence).unwrap().unwrap();
    let before = packets_of(&lab, SERVER_IFACE);
    let live = Live::start(&lab, &[SERVER_IFACE, "--source", "ring", "--ring-mib", "1"]);
    // The reader stands still while more comes than the ring holds.
    let sent = std::thread::scope(|scope| {
        let flood = scope.spawn(|| flood(&lab, server_port(), 50_000, "1s"));
        std::thread::sleep(Duration::from_millis(300));
        stop(&live, STOP);
        flood.join().unwrap()["sent"].as_u64().unwrap()
    });
    let ended = live.interrupt();
    let offered = packets_of(&lab, SERVER_IFACE) - before;
    let quality = &ended.summary()["quality"];
    println!("{sent} sent, the interface counted {offered}: {quality}");
    let count = |field: &str| quality[field].as_u64().unwrap();
    let dropped = quality["dropped"]["ring"].as_u64().unwrap();
    assert!(dropped > 0, "{quality}");
    assert_eq!(count("seen"), count("captured") + dropped, "{quality}");
    assert!(count("seen").abs_diff(offered) <= CHATTER_MAX, "seen or lost, every frame is told: {quality}");
    assert_ne!(quality["verdict"], "complete");
    assert!(quality["why"].to_string().contains("ring dropped"), "{quality}");
}
