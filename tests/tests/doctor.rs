//! `tidegauge doctor` on real interfaces: what it finds, its exit codes, and that it leaves nothing behind.
//! Needs root; says so and passes otherwise.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

#[expect(dead_code, reason = "events are the live tests'")]
mod support;

use std::os::unix::process::CommandExt;
use std::process::Command;

use serde_json::Value;
use support::{run, tidegauge};
use tidegauge_tests::netns::{Lab, SERVER_IFACE, Side};
use tidegauge_tests::skip::lab_or_skip;

/// Somebody without rights.
const NOBODY: u32 = 65_534;

struct Told {
    code: Option<i32>,
    json: Value,
}

impl Told {
    fn of(lab: &Lab, args: &[&str]) -> Self {
        let ran = run(lab.command(Side::Server, tidegauge()).args(["doctor", "--json"]).args(args));
        assert_eq!(ran.stderr, "");
        Self { code: ran.code, json: serde_json::from_str(&ran.stdout).unwrap() }
    }

    fn check(&self, name: &str) -> &Value {
        let checks = self.json["checks"].as_array().unwrap();
        checks
            .iter()
            .find(|check| check["name"] == name)
            .unwrap_or_else(|| panic!("no {name}: {}", self.json))
    }

    fn state(&self, name: &str) -> &str {
        self.check(name)["state"].as_str().unwrap()
    }
}

fn ip(lab: &Lab, args: &[&str]) {
    assert!(lab.command(Side::Server, "ip").args(args).status().unwrap().success(), "{args:?}");
}

#[test]
fn an_interface_is_described_tried_and_left_as_it_was() {
    let Some(lab) = lab_or_skip("an_interface_is_described_tried_and_left_as_it_was") else { return };
    let told = Told::of(&lab, &[SERVER_IFACE, "--try"]);
    assert!(matches!(told.code, Some(0 | 1)), "{}", told.json);
    for name in
        ["rights", "bpf program", "packet ring", "link", "MTU", "programs", "driver", "trial", "BPF JIT"]
    {
        assert_eq!(told.state(name), "ok", "{}", told.check(name));
    }
    assert_eq!(
        (told.check("driver")["found"].as_str(), told.check("programs")["found"].as_str()),
        (Some("veth"), Some("none"))
    );
    // All that is not well says how to mend it.
    let checks = told.json["checks"].as_array().unwrap();
    let limits = checks.iter().filter(|check| check["state"] == "limits" || check["state"] == "missing");
    assert!(limits.clone().all(|check| check["mend"].is_string()), "{}", told.json);
    assert_eq!(told.code == Some(1), limits.count() != 0);
    assert_eq!(Told::of(&lab, &[SERVER_IFACE]).check("programs")["found"], "none", "the trial is over");
}

#[test]
fn what_is_wrong_with_an_interface_is_named() {
    let Some(lab) = lab_or_skip("what_is_wrong_with_an_interface_is_named") else { return };
    ip(&lab, &["link", "set", "dev", SERVER_IFACE, "mtu", "9000"]);
    let told = Told::of(&lab, &[SERVER_IFACE]);
    assert_eq!((told.code, told.state("MTU")), (Some(1), "limits"));
    assert!(told.check("MTU")["mend"].as_str().unwrap().contains("mtu 3498"));
    ip(&lab, &["link", "set", "dev", SERVER_IFACE, "down"]);
    let told = Told::of(&lab, &[SERVER_IFACE]);
    assert_eq!(told.check("link")["found"], "Ethernet, down");
    assert_eq!(told.check("link")["mend"], format!("ip link set dev {SERVER_IFACE} up"));
}

#[test]
fn a_program_that_is_there_is_named_and_left_alone() {
    let Some(lab) = lab_or_skip("a_program_that_is_there_is_named_and_left_alone") else { return };
    let mut live = lab.command(Side::Server, tidegauge());
    let mut live =
        live.args(["live", SERVER_IFACE, "--json"]).stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(live.stdout.as_mut().unwrap()), &mut line)
        .unwrap();
    let told = Told::of(&lab, &[SERVER_IFACE, "--try"]);
    let found = told.check("programs")["found"].as_str().unwrap();
    assert!(
        found.starts_with("XDP id ") && found.contains("(native)") && found.contains("TCX egress id "),
        "{found}"
    );
    assert_eq!(told.state("trial"), "unknown", "{}", told.check("trial"));
    live.kill().unwrap();
    live.wait().unwrap();
}

#[test]
fn without_rights_it_says_which_and_that_nothing_works() {
    let Some(_lab) = lab_or_skip("without_rights_it_says_which_and_that_nothing_works") else { return };
    let mut command = Command::new("setpriv");
    let id = NOBODY.to_string();
    command.args([
        "--reuid",
        &id,
        "--regid",
        &id,
        "--clear-groups",
        "--bounding-set=-all",
        "--inh-caps=-all",
    ]);
    // The test's own directory may be root's: the program is opened for it.
    let ran = run(command.arg(tidegauge()).args(["doctor", "--json"]).process_group(0));
    if ran.code == Some(126) || ran.code == Some(127) {
        return tidegauge_tests::skip::skip(
            "without_rights_it_says_which_and_that_nothing_works",
            "needs setpriv and a program that anybody may run",
        );
    }
    let json: Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
    let told = Told { code: ran.code, json };
    assert_eq!((told.code, told.json["usable"].as_str()), (Some(2), Some("no")));
    assert!(told.check("rights")["found"].as_str().unwrap().contains("CAP_NET_RAW missing"), "{}", told.json);
}

#[test]
fn an_interface_that_is_not_there_is_an_error() {
    let ran = run(Command::new(tidegauge()).args(["doctor", "no-such-if"]));
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""));
    assert!(ran.stderr.contains("no network interface no-such-if"), "{}", ran.stderr);
}
