//! `tidegauge doctor` on real interfaces: what it finds, its exit codes, and that it leaves nothing behind.
//! Needs root; says so and passes otherwise.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

#[expect(dead_code, reason = "events are the live tests'")]
mod support;

use std::process::Command;

use aya::programs::TcAttachType;
use aya::programs::tc::{NlOptions, TcAttachOptions, qdisc_add_clsact};
use serde_json::{Value, json};
use support::{run, tidegauge};
use tidegauge_capture::xdp::object::{Object, Settings};
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
    let id = xdp_id(&lab);
    assert!(found.starts_with(&format!("XDP id {id} (native)")), "{found}, by iproute2 {id}");
    assert!(found.contains("TCX egress id "), "{found}");
    assert_eq!(told.state("trial"), "unknown", "{}", told.check("trial"));
    live.kill().unwrap();
    live.wait().unwrap();
}

/// The XDP program on the server's interface, by iproute2.
fn xdp_id(lab: &Lab) -> Value {
    let said = run(lab.command(Side::Server, "ip").args(["-j", "link", "show", "dev", SERVER_IFACE])).stdout;
    serde_json::from_str::<Value>(&said).unwrap()[0]["xdp"]["prog"]["id"].clone()
}

#[test]
fn filters_at_clsact_are_named_and_left_alone() {
    let Some(lab) = lab_or_skip("filters_at_clsact_are_named_and_left_alone") else { return };
    // As a killed run leaves it: a program of our name, and nobody who holds it.
    let attach = || {
        qdisc_add_clsact(SERVER_IFACE).unwrap();
        let mut object = Object::load(&Settings::with_seed(0)).unwrap();
        let program = object.egress().unwrap();
        let options = TcAttachOptions::Netlink(NlOptions::default());
        let id = program.attach_with_options(SERVER_IFACE, TcAttachType::Egress, options).unwrap();
        std::mem::forget(program.take_link(id).unwrap());
        program.info().unwrap().id()
    };
    let id = lab.inside(Side::Server, attach).unwrap();
    let tc = |args: &[&str]| {
        let ran = run(lab.command(Side::Server, "tc").args(args));
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{args:?}");
        ran.stdout
    };
    tc(&["filter", "add", "dev", SERVER_IFACE, "ingress", "protocol", "ip", "u32", "match", "u32", "0", "0"]);
    let expected = json!(format!("clsact ingress u32, clsact egress id {id}"));
    assert_eq!(Told::of(&lab, &[SERVER_IFACE]).check("programs")["found"], expected);
    let told = Told::of(&lab, &[SERVER_IFACE, "--try"]);
    assert_eq!((told.state("programs"), told.state("trial")), ("ok", "ok"), "{}", told.json);
    let filters = tc(&["filter", "show", "dev", SERVER_IFACE, "egress"]);
    assert!(filters.contains(&format!("id {id} ")), "the trial leaves what it found: {filters}");
}

#[test]
fn without_an_interface_all_are_listed_and_a_pair_is_tried_that_nobody_sees() {
    const TEST: &str = "without_an_interface_all_are_listed_and_a_pair_is_tried_that_nobody_sees";
    let Some(lab) = lab_or_skip(TEST) else { return };
    let links = || run(lab.command(Side::Server, "ip").args(["-brief", "link"])).stdout;
    let before = links();
    let told = Told::of(&lab, &["--try"]);
    assert_eq!(told.state("trial"), "ok", "{}", told.check("trial"));
    let found = told.check("trial")["found"].as_str().unwrap();
    assert!(found.starts_with("XDP natively and "), "{found}");
    assert_eq!(links(), before);
    let interfaces = told.json["interfaces"].as_array().unwrap();
    let ours = interfaces.iter().find(|one| one["name"] == SERVER_IFACE).unwrap();
    assert_eq!(
        *ours,
        json!({"name": SERVER_IFACE, "driver": "veth", "up": true, "mtu_bytes": 1500, "xdp": null})
    );
    assert_eq!(interfaces.len(), before.lines().count());
    assert_eq!(Told::of(&lab, &[SERVER_IFACE]).json["interfaces"], json!([]));
}

#[test]
fn offloads_are_as_ethtool_sets_them() {
    let Some(lab) = lab_or_skip("offloads_are_as_ethtool_sets_them") else { return };
    for setting in ["on", "off", "on"] {
        let ran = run(lab.command(Side::Server, "ethtool").args(["-K", SERVER_IFACE, "gro", setting]));
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert_eq!(Told::of(&lab, &[SERVER_IFACE]).check("GRO")["found"], setting);
    }
}

#[test]
fn each_finding_has_all_fields_and_text_says_the_same() {
    let Some(lab) = lab_or_skip("each_finding_has_all_fields_and_text_says_the_same") else { return };
    let told = Told::of(&lab, &[SERVER_IFACE]);
    assert_eq!(told.json["event"], "doctor");
    let text = run(lab.command(Side::Server, tidegauge()).args(["doctor", SERVER_IFACE, "--try"]));
    assert_eq!(text.code, told.code);
    assert!(text.stderr.starts_with("tidegauge: attaching to "), "it is said before: {}", text.stderr);
    assert!(text.stdout.starts_with(told.json["verdict"].as_str().unwrap()), "{}", text.stdout);
    for check in told.json["checks"].as_array().unwrap() {
        for field in ["scope", "name", "state", "found", "why"] {
            assert!(check[field].as_str().is_some_and(|text| !text.is_empty()), "{field}: {check}");
        }
        assert!(
            ["ok", "unknown", "limits", "missing"].contains(&check["state"].as_str().unwrap()),
            "{check}"
        );
        assert!(text.stdout.contains(check["name"].as_str().unwrap()), "{check}");
    }
    let commands_apart = text.stdout.lines().filter(|line| !line.trim_start().starts_with("->"));
    assert!(commands_apart.clone().all(|line| line.chars().count() <= 100), "{}", text.stdout);
}

#[test]
fn without_rights_it_says_which_and_that_nothing_works() {
    const TEST: &str = "without_rights_it_says_which_and_that_nothing_works";
    let Some(lab) = lab_or_skip(TEST) else { return };
    let id = NOBODY.to_string();
    let without =
        ["--reuid", &id, "--regid", &id, "--clear-groups", "--bounding-set=-all", "--inh-caps=-all"];
    let doctor = |args: &[&str]| {
        let mut command = lab.command(Side::Server, "setpriv");
        run(command.args(without).arg(tidegauge()).arg("doctor").args(args))
    };
    let ran = doctor(&["--json", SERVER_IFACE]);
    // The test's own directory may be root's: the program is opened for it.
    if ran.code == Some(126) || ran.code == Some(127) {
        return tidegauge_tests::skip::skip(TEST, "needs setpriv and a program that anybody may run");
    }
    let json: Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
    let told = Told { code: ran.code, json };
    assert_eq!((told.code, told.json["usable"].as_str()), (Some(2), Some("no")));
    let lacks = told.check("rights")["found"].as_str().unwrap();
    for right in ["CAP_BPF", "CAP_NET_ADMIN", "CAP_PERFMON", "CAP_NET_RAW"] {
        assert!(lacks.contains(right), "{lacks}");
    }
    // Nobody may say that there are no programs who could not ask.
    assert_eq!(told.state("programs"), "unknown", "{}", told.check("programs"));
    assert!(told.check("programs")["mend"].is_string());
    // What needs no rights is known all the same.
    for name in ["link", "MTU", "driver", "GRO", "NIC losses", "kernel", "clock source"] {
        assert_eq!(told.state(name), "ok", "{}", told.check(name));
    }
    let tried = doctor(&[SERVER_IFACE, "--try"]);
    assert_eq!((tried.code, tried.stderr.as_str()), (Some(2), ""), "nothing is touched");
}

#[test]
fn an_interface_that_is_not_there_is_an_error() {
    let ran = run(Command::new(tidegauge()).args(["doctor", "no-such-if"]));
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""));
    assert!(ran.stderr.contains("no network interface no-such-if"), "{}", ran.stderr);
}
