//! The way out without TCX: a clsact filter counts, goes with its run, and is found and removed where a run was killed.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tidegauge_capture::confine::{Needs, confine};
use tidegauge_capture::interface::Interface;
use tidegauge_capture::xdp::object::Settings;
use tidegauge_capture::xdp::{Egress, EgressHook, Hold, XdpSource};
use tidegauge_ebpf::counter::Counter;
use tidegauge_tests::netns::{Lab, SERVER_IFACE, SERVER_V4, Side};
use tidegauge_tests::skip::{lab_or_skip, skip};

use crate::hooks::{BpfFs, Hooks, in_a_child, wait_until_none};
use crate::load::{Server, connect};
use crate::running::{Live, alone, packets_of};
use crate::support::{run, tidegauge};

const FILTER: &str = "tidegauge_egress";
/// Where a child is told to pin.
const PIN_VARIABLE: &str = "TIDEGAUGE_TEST_PIN";

fn server() -> SocketAddr {
    (SERVER_V4, 80).into()
}

/// A process that holds a clsact filter on the server's interface until its standard input ends.
struct Holder {
    child: Child,
    stdout: BufReader<std::process::ChildStdout>,
    attached: Value,
}

impl Holder {
    /// `None` after saying so where the kernel has no clsact.
    fn start(lab: &Lab, test: &str, pin: Option<&BpfFs>) -> Option<Self> {
        let direct = in_a_child("clsact::holds_a_filter");
        let mut command = lab.command(Side::Server, direct.get_program());
        command.args(direct.get_args()).stdin(Stdio::piped()).stdout(Stdio::piped());
        command.envs(pin.map(|bpf| (PIN_VARIABLE, bpf.pins())));
        let mut child = command.spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let mut holder = Self { child, stdout, attached: Value::Null };
        holder.attached = holder.line();
        if holder.attached["egress"].as_str().is_some_and(|egress| egress.contains("no clsact")) {
            skip(test, &format!("this kernel has no clsact: {}", holder.attached));
            holder.end();
            return None;
        }
        Some(holder)
    }

    fn line(&mut self) -> Value {
        let mut lines = self.stdout.by_ref().lines().map(Result::unwrap);
        let line = lines.find(|line| line.starts_with('{')).expect("the holder says what it does");
        serde_json::from_str(&line).unwrap()
    }

    /// Ends it in order: what it counted.
    fn end(mut self) -> Value {
        drop(self.child.stdin.take());
        let counted = self.line();
        assert!(self.child.wait().unwrap().success());
        counted
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// Run by the tests in a process of its own: it is killed, and gives up its rights.
#[test]
#[ignore = "for a process of its own: it is to be killed"]
fn holds_a_filter() {
    let pin = std::env::var_os(PIN_VARIABLE).map(Into::into);
    let hold = Hold { egress: EgressHook::Clsact, pin };
    let interface = Interface::open(SERVER_IFACE).unwrap();
    let source = XdpSource::open_with(&interface, &Settings::with_seed(1), &hold).unwrap();
    let has_filter = matches!(source.egress(), Egress::Clsact { .. });
    assert_eq!(source.keeps().is_some(), has_filter && hold.pin.is_none());
    let confined = confine(Needs { keep: source.keeps(), host: true, ..Needs::default() });
    let egress = source.egress().to_string();
    println!("\n{}", json!({ "egress": egress, "capabilities": confined.capabilities }));
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
    let counters = (0..source.maps().cpus()).filter_map(|cpu| source.maps().counters(cpu));
    let packets: u64 = counters.map(|counters| counters.get(Counter::Packets)).sum();
    source.close(&interface).unwrap();
    println!("\n{}", json!({ "packets": packets }));
}

#[test]
fn a_clsact_filter_counts_and_goes_with_its_run() {
    let test = "a_clsact_filter_counts_and_goes_with_its_run";
    let Some(lab) = lab_or_skip(test) else { return };
    let _alone = alone();
    let _server = Server::start(&lab, server(), &["echo-close"]);
    let Some(holder) = Holder::start(&lab, test, None) else { return };
    let egress = holder.attached["egress"].as_str().unwrap();
    assert!(egress.starts_with("clsact (") && egress.contains("not crash-safe"), "{egress}");
    // The harness's own thread has its capabilities still: see the test of that.
    let capabilities = holder.attached["capabilities"].as_str().unwrap();
    assert!(capabilities.starts_with("dropped but CAP_NET_ADMIN (to remove"), "{capabilities}");
    let hooks = Hooks::of(&lab);
    assert_eq!((hooks.filters, hooks.clsact, hooks.tcx.len()), (vec![FILTER.to_owned()], true, 0));
    let before = packets_of(&lab, SERVER_IFACE);
    connect(&lab, server(), 100, "2s");
    let packets = packets_of(&lab, SERVER_IFACE) - before;
    let counted = holder.end()["packets"].as_u64().unwrap();
    assert!(counted >= packets && packets > 1_000, "both ways: {counted} of {packets}");
    wait_until_none(&lab);
}

#[test]
fn what_a_killed_run_left_is_removed_by_the_next_and_by_unpin() {
    let test = "what_a_killed_run_left_is_removed_by_the_next_and_by_unpin";
    let Some(lab) = lab_or_skip(test) else { return };
    let _alone = alone();
    let left_behind = || -> bool {
        let Some(holder) = Holder::start(&lab, test, None) else { return false };
        holder.kill();
        std::thread::sleep(Duration::from_millis(300));
        let left = Hooks::of(&lab);
        assert_eq!(
            (left.filters, left.xdp),
            (vec![FILTER.to_owned()], vec![]),
            "the link went, the filter stayed"
        );
        true
    };
    if !left_behind() {
        return;
    }
    let live = Live::start(&lab, &[SERVER_IFACE]);
    let hooks = Hooks::of(&lab);
    assert_eq!((hooks.filters.len(), hooks.clsact, hooks.tcx.len()), (0, false, 1), "TCX alone");
    live.interrupt();
    wait_until_none(&lab);
    assert!(left_behind());
    let unpinned = run(lab.command(Side::Server, tidegauge()).args(["unpin", SERVER_IFACE]));
    assert!(unpinned.stdout.contains("removed the TC filter on vb"), "{unpinned:?}");
    wait_until_none(&lab);
}

#[test]
fn a_clsact_that_others_use_stays() {
    let test = "a_clsact_that_others_use_stays";
    let Some(lab) = lab_or_skip(test) else { return };
    let _alone = alone();
    let tc = |words: &[&str]| {
        let status = lab.command(Side::Server, "tc").args(words).status().unwrap();
        assert!(status.success(), "tc {words:?}");
    };
    // Somebody's filter that comes while we are there.
    let Some(holder) = Holder::start(&lab, test, None) else { return };
    tc(&["filter", "add", "dev", SERVER_IFACE, "ingress", "bpf", "bytecode", "1,6 0 0 0"]);
    holder.end();
    assert!(Hooks::of(&lab).clsact && Hooks::of(&lab).filters.is_empty());
    // Somebody's clsact that was there before us, empty.
    tc(&["filter", "del", "dev", SERVER_IFACE, "ingress"]);
    Holder::start(&lab, test, None).unwrap().end();
    assert!(Hooks::of(&lab).clsact);
}

#[test]
fn a_pinned_clsact_filter_is_taken_over_in_its_place() {
    let test = "a_pinned_clsact_filter_is_taken_over_in_its_place";
    let Some(lab) = lab_or_skip(test) else { return };
    let _alone = alone();
    let bpf = BpfFs::mounted();
    let Some(holder) = Holder::start(&lab, test, Some(&bpf)) else { return };
    assert_eq!(holder.attached["capabilities"], "dropped; 1 threads that ran before keep theirs");
    holder.kill();
    let live = Live::start(&lab, &[SERVER_IFACE, &bpf.option()]);
    let hooks = Hooks::of(&lab);
    assert_eq!((hooks.filters.len(), hooks.xdp.len(), hooks.tcx.len()), (1, 1, 0), "{hooks:?}");
    let ended = live.interrupt();
    let source = &ended.events[0]["source"];
    assert_eq!(source["pin"]["state"], "taken_over");
    assert!(
        source["egress"].as_str().is_some_and(|egress| egress.starts_with("clsact (taken over")),
        "{source}"
    );
    let unpinned = run(lab.command(Side::Server, tidegauge()).args(["unpin", SERVER_IFACE]).arg(bpf.pins()));
    assert_eq!(unpinned.code, Some(0), "{}", unpinned.stderr);
    wait_until_none(&lab);
}
