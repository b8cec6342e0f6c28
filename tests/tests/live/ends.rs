//! How a live run ends: on a signal, by being killed, where it cannot begin, and when its interface goes away. In each
//! case no program stays on the interface.

use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;
use tidegauge_tests::netns::{Lab, SERVER_IFACE, Side};
use tidegauge_tests::skip::lab_or_skip;

use crate::running::{Live, alone};
use crate::support::{run, tidegauge};

#[test]
fn signals_end_a_run_with_a_summary_and_detach() {
    let Some(lab) = lab_or_skip("signals_end_a_run_with_a_summary_and_detach") else { return };
    let _alone = alone();
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let live = Live::start(&lab, &[SERVER_IFACE]);
        assert_ne!(programs(&lab), Vec::<String>::new(), "attached while it runs");
        let ended = live.end_by(signal);
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{signal}");
        assert_eq!(programs(&lab), Vec::<String>::new(), "{signal}");
    }
}

#[test]
fn the_end_of_its_time_ends_a_run() {
    let Some(lab) = lab_or_skip("the_end_of_its_time_ends_a_run") else { return };
    let _alone = alone();
    let ended = Live::start(&lab, &[SERVER_IFACE, "--duration", "500ms"]).end();
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    assert_eq!(programs(&lab), Vec::<String>::new());
}

#[test]
fn a_killed_run_detaches_too() {
    let Some(lab) = lab_or_skip("a_killed_run_detaches_too") else { return };
    let _alone = alone();
    let ended = Live::start(&lab, &[SERVER_IFACE]).end_by(Signal::SIGKILL);
    assert_eq!(ended.code, None);
    // The kernel frees the links of a dead process a moment after its death.
    let gone = (0..50).any(|_| {
        std::thread::sleep(Duration::from_millis(20));
        programs(&lab).is_empty()
    });
    assert!(gone, "{:?}", programs(&lab));
}

#[test]
fn another_xdp_program_on_the_interface_is_left_alone() {
    let Some(lab) = lab_or_skip("another_xdp_program_on_the_interface_is_left_alone") else { return };
    let _alone = alone();
    let first = Live::start(&lab, &[SERVER_IFACE]);
    let there = programs(&lab);
    let second = run(lab.command(Side::Server, tidegauge()).args(["live", "--json", SERVER_IFACE]));
    assert_eq!((second.code, second.stdout.as_str()), (Some(2), ""), "{}", second.stderr);
    assert_eq!(second.stderr.lines().count(), 1, "{}", second.stderr);
    assert!(second.stderr.contains("ip link set dev vb xdp off"), "{}", second.stderr);
    assert_eq!(programs(&lab), there);
    first.interrupt();
}

#[test]
fn an_interface_that_vanishes_ends_the_run_with_what_was_counted() {
    let test = "an_interface_that_vanishes_ends_the_run_with_what_was_counted";
    let Some(lab) = lab_or_skip(test) else { return };
    let _alone = alone();
    for source in ["xdp", "ring"] {
        make_extra(&lab);
        let live = Live::start(&lab, &["extra", "--source", source]);
        ip(&lab, "link del extra");
        // Its end carries a summary: otherwise the events would not have been accepted.
        let ended = live.end();
        assert_eq!(ended.code, Some(2), "{source}: {}", ended.stderr);
        assert_eq!(ended.stderr.lines().count(), 1, "{source}: {}", ended.stderr);
        assert!(ended.stderr.contains("extra"), "{source}: {}", ended.stderr);
    }
}

/// A veth pair within the server's namespace, to be deleted without harm to the lab.
fn make_extra(lab: &Lab) {
    ip(lab, "link add name extra type veth peer name extra2");
    ip(lab, "link set extra up");
    ip(lab, "link set extra2 up");
}

fn ip(lab: &Lab, words: &str) {
    let status = lab.command(Side::Server, "ip").args(words.split(' ')).status().unwrap();
    assert!(status.success(), "ip {words}");
}

/// What is attached to the server's interface: XDP by `ip`, and where bpftool is installed also what it lists (TCX).
fn programs(lab: &Lab) -> Vec<String> {
    let mut found = Vec::new();
    let link = run(lab.command(Side::Server, "ip").args(["-d", "-j", "link", "show", "dev", SERVER_IFACE]));
    let links: Value = serde_json::from_str(&link.stdout).unwrap();
    found.extend(links[0].get("xdp").map(Value::to_string));
    if Command::new("bpftool").arg("version").output().is_ok() {
        let listed =
            run(lab.command(Side::Server, "bpftool").args(["-j", "net", "show", "dev", SERVER_IFACE]));
        let listed: Value = serde_json::from_str(&listed.stdout).unwrap();
        let hooks = listed[0].as_object().into_iter().flatten();
        let programs = hooks.flat_map(|(_, programs)| programs.as_array().into_iter().flatten());
        found.extend(programs.map(Value::to_string));
    }
    found
}
