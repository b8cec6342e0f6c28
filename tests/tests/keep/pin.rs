//! Pinned state: a restart loses no packet and counts none twice, connections stay known, what cannot be continued is
//! replaced and named, and `unpin` leaves nothing.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;
use tidegauge_capture::interface::Interface;
use tidegauge_capture::xdp::object::Settings;
use tidegauge_capture::xdp::{Hold, XdpError, XdpSource};
use tidegauge_ebpf::limits::FLOW_BUCKETS_LIVE;
use tidegauge_tests::client::{self, Load};
use tidegauge_tests::netns::{Lab, SERVER_IFACE, SERVER_V4, Side};
use tidegauge_tests::skip::lab_or_skip;

use crate::hooks::{BpfFs, Hooks, wait_until_none};
use crate::kill::{Echo, Stream};
use crate::load::Server;
use crate::running::{Ended, Live, alone, packets_of};
use crate::support::{Ran, run, tidegauge};

/// Frames that are nobody's load between two readings of the interface's counters: neighbour discovery, multicast.
const CHATTER_MAX: u64 = 16;

fn packets_in_windows(ended: &Ended) -> u64 {
    let windows = ended.events.iter().filter(|event| event["event"] == "window");
    windows.map(|window| window["packets"].as_u64().unwrap()).sum()
}

fn pin_of(ended: &Ended) -> &Value {
    &ended.events[0]["source"]["pin"]
}

fn unpin(lab: &Lab, dir: &Path) -> Ran {
    run(lab.command(Side::Server, tidegauge()).args(["unpin", SERVER_IFACE]).arg(dir))
}

#[test]
fn over_a_killed_and_a_stopped_run_every_packet_is_counted_once() {
    let test = "over_a_killed_and_a_stopped_run_every_packet_is_counted_once";
    let Some(lab) = lab_or_skip(test) else { return };
    let _alone = alone();
    let bpf = BpfFs::mounted();
    let _server = Server::start(&lab, (SERVER_V4, 80).into(), &["echo-close"]);
    // The interface's multicast reports are over then.
    std::thread::sleep(Duration::from_secs(2));
    let before = packets_of(&lab, SERVER_IFACE);
    let args = [SERVER_IFACE, &bpf.option()];
    let stop = AtomicBool::new(false);
    let runs = std::thread::scope(|scope| {
        let first = Live::start(&lab, &args);
        let load = Load {
            target: (SERVER_V4, 80).into(),
            sources: Vec::new(),
            rate_per_s: 500,
            duration: Duration::from_secs(60),
            workers: 16,
        };
        let (lab, stop) = (&lab, &stop);
        let clients = scope.spawn(move || lab.inside(Side::Client, || client::connect(&load, stop)));
        std::thread::sleep(Duration::from_millis(3_350));
        let first = first.end_by(Signal::SIGKILL);
        let second = Live::start(lab, &args);
        std::thread::sleep(Duration::from_millis(2_350));
        let second = second.end_by(Signal::SIGTERM);
        // The program counts on while nobody looks.
        std::thread::sleep(Duration::from_millis(1_500));
        let third = Live::start(lab, &args);
        std::thread::sleep(Duration::from_millis(1_500));
        stop.store(true, Ordering::Relaxed);
        let counts = clients.join().unwrap().unwrap().unwrap();
        assert_eq!(counts.attempted, counts.completed, "{counts:?}");
        std::thread::sleep(Duration::from_millis(300));
        [first, second, third.interrupt()]
    });
    let after = packets_of(&lab, SERVER_IFACE);
    let counted: Vec<u64> = runs.iter().map(packets_in_windows).collect();
    let gaps: Vec<_> = runs.iter().map(|run| pin_of(run)["gap"].clone()).collect();
    println!("interface {}, runs {counted:?}, gaps {gaps:?}", after - before);
    assert_eq!(pin_of(&runs[0])["state"], "fresh");
    for run in &runs[1..] {
        assert_eq!(pin_of(run)["state"], "taken_over");
        assert!(
            pin_of(run)["gap"]["packets"].as_u64().is_some_and(|packets| packets > 100),
            "{}",
            pin_of(run)
        );
        assert_eq!(run.summary()["packets"].as_u64(), Some(packets_in_windows(run)));
    }
    let counted: u64 = counted.iter().sum();
    assert!(counted.abs_diff(after - before) <= CHATTER_MAX, "interface {}, {counted}", after - before);
    let unpinned = unpin(&lab, &bpf.pins());
    assert_eq!((unpinned.code, unpinned.stderr.as_str()), (Some(0), ""));
    wait_until_none(&lab);
}

#[test]
fn connections_stay_known_over_a_restart() {
    let Some(lab) = lab_or_skip("connections_stay_known_over_a_restart") else { return };
    let _alone = alone();
    let bpf = BpfFs::mounted();
    let echo = Echo::start(&lab);
    for pinned in [false, true] {
        let mut args = vec![SERVER_IFACE];
        let option = bpf.option();
        args.extend(pinned.then_some(option.as_str()));
        let first = Live::start(&lab, &args);
        // Its handshake, which has the scale of its windows, is seen by the first run alone.
        let stream = Stream::open(&lab, &echo);
        std::thread::sleep(Duration::from_millis(700));
        first.end_by(Signal::SIGKILL);
        if !pinned {
            wait_until_none(&lab);
        }
        let second = Live::start(&lab, &args);
        std::thread::sleep(Duration::from_millis(1_500));
        let ended = second.interrupt();
        assert_eq!(stream.end().failed, 0);
        let rwnd = &ended.summary()["rwnd_bytes"];
        let unknown = rwnd["scale_unknown"].as_u64().unwrap();
        let known = rwnd["count"].as_u64().unwrap();
        assert_eq!((unknown == 0, known > 100), (pinned, pinned), "pinned {pinned}: {rwnd}");
    }
    unpin(&lab, &bpf.pins());
    wait_until_none(&lab);
}

#[test]
fn state_of_another_layout_is_replaced_and_the_reason_said() {
    let Some(lab) = lab_or_skip("state_of_another_layout_is_replaced_and_the_reason_said") else { return };
    let _alone = alone();
    let bpf = BpfFs::mounted();
    let hold = Hold { pin: Some(bpf.pins()), ..Hold::default() };
    let smaller = Settings { flow_buckets: 1 << 10, ..Settings::with_seed(7) };
    let open = |settings: &Settings| -> Result<(), XdpError> {
        let open = || XdpSource::open_with(&Interface::open(SERVER_IFACE).unwrap(), settings, &hold);
        lab.inside(Side::Server, open).unwrap().map(drop)
    };
    open(&smaller).unwrap();
    let old = Hooks::of(&lab);
    assert_eq!((old.xdp.len(), old.tcx.len()), (1, 1), "pinned: {old:?}");
    let live = Live::start(&lab, &[SERVER_IFACE, &bpf.option()]);
    let new = Hooks::of(&lab);
    assert_eq!((new.xdp.len(), new.tcx.len()), (1, 1), "never two: {new:?}");
    let ids = |hooks: &Hooks| BTreeSet::from_iter(hooks.xdp.iter().chain(&hooks.tcx).copied());
    assert!(ids(&old).is_disjoint(&ids(&new)), "{old:?} {new:?}");
    let ended = live.interrupt();
    assert_eq!(pin_of(&ended)["state"], "replaced");
    let why = pin_of(&ended)["why"].as_str().unwrap();
    for buckets in [smaller.flow_buckets, FLOW_BUCKETS_LIVE] {
        assert!(why.contains(&format!("x{buckets}")), "{why}");
    }
    // The same again is continued, with a new program in the old one's place.
    let live = Live::start(&lab, &[SERVER_IFACE, &bpf.option()]);
    let newest = Hooks::of(&lab);
    assert_eq!((newest.xdp.len(), newest.tcx.len()), (1, 1), "{newest:?}");
    assert!(ids(&new).is_disjoint(&ids(&newest)), "{new:?} {newest:?}");
    assert_eq!(pin_of(&live.interrupt())["state"], "taken_over");
    unpin(&lab, &bpf.pins());
    wait_until_none(&lab);
}

#[test]
fn state_that_was_cut_short_or_lost_its_interface_is_not_continued() {
    let test = "state_that_was_cut_short_or_lost_its_interface_is_not_continued";
    let Some(lab) = lab_or_skip(test) else { return };
    let _alone = alone();
    let bpf = BpfFs::mounted();
    let again = |spoil: &dyn Fn(), interface: &str| {
        Live::start(&lab, &[interface, &bpf.option()]).interrupt();
        spoil();
        let live = Live::start(&lab, &[interface, &bpf.option()]);
        let hooks = Hooks::of_interface(&lab, interface);
        assert_eq!((hooks.xdp.len(), hooks.tcx.len()), (1, 1), "{hooks:?}");
        let ended = live.interrupt();
        assert_eq!(pin_of(&ended)["state"], "replaced", "{}", pin_of(&ended));
        pin_of(&ended)["why"].as_str().unwrap().to_owned()
    };
    for (name, words) in
        [("book", "book cannot be read"), ("FLOWS", "FLOWS is missing"), ("ingress", "no pinned link")]
    {
        let why = again(&|| std::fs::remove_file(bpf.pins().join(name)).unwrap(), SERVER_IFACE);
        assert!(why.contains(words), "{name}: {why}");
    }
    unpin(&lab, &bpf.pins());
    wait_until_none(&lab);
    let ip = |words: &str| {
        let status = lab.command(Side::Server, "ip").args(words.split(' ')).status().unwrap();
        assert!(status.success(), "ip {words}");
    };
    let make = || {
        ip("link add name extra type veth peer name extra2");
        ip("link set extra up");
    };
    make();
    let remake = || {
        ip("link del extra");
        make();
    };
    let why = again(&remake, "extra");
    assert!(why.contains("its interface is gone"), "{why}");
}

#[test]
fn pins_are_one_run_s_at_a_time_and_one_interface_s() {
    let Some(lab) = lab_or_skip("pins_are_one_run_s_at_a_time_and_one_interface_s") else { return };
    let _alone = alone();
    let bpf = BpfFs::mounted();
    let refused = |args: &[&str]| {
        let ran = run(lab.command(Side::Server, tidegauge()).args(args));
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{}", ran.stderr);
        assert_eq!(ran.stderr.lines().count(), 1, "{}", ran.stderr);
        ran.stderr
    };
    let (option, dir) = (bpf.option(), bpf.pins().display().to_string());
    let live = Live::start(&lab, &[SERVER_IFACE, &option]);
    assert!(refused(&["live", SERVER_IFACE, &option]).contains("in use by another tidegauge"));
    assert!(refused(&["unpin", SERVER_IFACE, &dir]).contains("in use by another tidegauge"));
    live.interrupt();
    assert!(refused(&["live", "lo", &option]).contains("pins of another interface"));
    // Without --pin the pinned program is somebody else's, and the way out is named.
    assert!(refused(&["live", SERVER_IFACE]).contains("tidegauge unpin vb"));
    let unpinned = unpin(&lab, &bpf.pins());
    assert_eq!(unpinned.stdout.lines().count(), 10, "{}", unpinned.stdout);
    wait_until_none(&lab);
    assert!(!bpf.pins().exists() && bpf.path().exists());
    assert!(unpin(&lab, &bpf.pins()).stdout.contains("nothing of tidegauge's"));
    let elsewhere = refused(&["live", SERVER_IFACE, "--pin=/proc/pins"]);
    assert!(elsewhere.contains("mount -t bpf bpf /sys/fs/bpf"), "{elsewhere}");
}
