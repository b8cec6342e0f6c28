//! What decides, what is unknown, and whose consequence is whose.

use std::net::IpAddr;

use super::*;
use crate::graph::Graph;
use crate::incident::{Finding, HostTarget, Incident, Kind, Severity, Target};
use crate::quality::Interval;
use crate::window::ListenerKey;

const SECOND_NS: u64 = 1_000_000_000;

fn incident(
    number: u64,
    kind: Kind,
    host: [u8; 4],
    opened_s: u64,
    facts: &[(&'static str, f64)],
) -> Incident {
    let finding = Finding { facts: facts.to_vec(), measured: 1.0, ..Finding::bare(kind, Severity::P3) };
    let target = Target::Listener(ListenerKey { address: IpAddr::from(host), port: 80 });
    Incident::open(number, target, finding, opened_s * SECOND_NS, Interval::default())
}

fn first(incident: &Incident, host: HostCounts) -> Cause {
    rank(incident, host)[0].cause
}

#[test]
fn names_are_those_of_json() {
    for cause in Cause::ALL {
        assert_eq!(serde_json::to_value(cause).unwrap(), cause.name());
    }
    for layer in Layer::ALL {
        assert_eq!(serde_json::to_value(layer).unwrap(), layer.name());
    }
}

#[test]
fn the_hosts_own_counters_decide_where_packets_cannot() {
    let facts = [
        ("attempts", 1_000.0),
        ("completed", 900.0),
        ("failed", 100.0),
        ("timed_out", 100.0),
        ("refused", 0.0),
    ];
    let failing = incident(1, Kind::HandshakeFailure, [192, 0, 2, 1], 1, &facts);
    assert_eq!(first(&failing, HostCounts::default()), Cause::HostSilent);
    let overflows = |count| HostCounts { listen_overflows: Some(count), ..HostCounts::default() };
    assert_eq!(first(&failing, overflows(50)), Cause::AcceptQueueFull);
    let none = rank(&failing, overflows(0));
    assert!(
        none.iter().any(|ranked| ranked.cause == Cause::AcceptQueueFull && ranked.signs_against.len() == 1)
    );
}

#[test]
fn nothing_is_said_of_what_was_not_measured() {
    let unknown = rank(&incident(1, Kind::Loss, [192, 0, 2, 1], 1, &[]), HostCounts::default());
    assert_eq!(unknown, []);
    assert_eq!(rank(&incident(1, Kind::PortScan, [192, 0, 2, 1], 1, &[]), HostCounts::default()), []);
}

#[test]
fn frames_that_the_nic_dropped_come_first() {
    let mut lossy = incident(1, Kind::CaptureBlind, [192, 0, 2, 1], 1, &[]);
    lossy.seen.drop_frames("nic", 5);
    lossy.seen.drop_frames("ring", 7);
    let causes: Vec<_> = rank(&lossy, HostCounts::default()).iter().map(|ranked| ranked.cause).collect();
    assert_eq!(causes, [Cause::NicDrops, Cause::CaptureDrops], "equal scores: the lower layer first");
}

fn related(open: &[Incident], opened: &[&str]) -> Vec<(String, String)> {
    let opened: Vec<String> = opened.iter().map(|id| (*id).to_owned()).collect();
    let found = relate(&opened, open.iter(), &Graph::default());
    found.into_iter().map(|(id, because)| (id, because.id)).collect()
}

#[test]
fn what_lies_below_is_the_cause_whichever_is_told_first() {
    let pair = |one: &str, other: &str| (one.to_owned(), other.to_owned());
    let loss = |opened_s| incident(1, Kind::Loss, [192, 0, 2, 1], opened_s, &[]);
    let slow = |opened_s| incident(2, Kind::SlowTransfer, [192, 0, 2, 1], opened_s, &[]);
    let expected = [pair("slow_transfer-0002", "loss-0001")];
    assert_eq!(related(&[loss(10), slow(20)], &["slow_transfer-0002"]), expected);
    assert_eq!(related(&[loss(20), slow(10)], &["loss-0001"]), expected);
    // Two minutes before there was another reason.
    assert_eq!(related(&[loss(200), slow(10)], &["loss-0001"]), []);
}

#[test]
fn other_hosts_and_attacks_are_nobodys_consequence() {
    let far = incident(2, Kind::Loss, [203, 0, 113, 1], 10, &[]);
    let loss = incident(1, Kind::Loss, [192, 0, 2, 1], 10, &[]);
    assert_eq!(related(&[loss.clone(), far], &["loss-0001", "loss-0002"]), []);
    let flood = incident(2, Kind::SynFlood, [192, 0, 2, 1], 11, &[]);
    let ids = related(&[loss, flood], &["syn_flood-0002"]);
    assert_eq!(ids, [("loss-0001".to_owned(), "syn_flood-0002".to_owned())]);
}

#[test]
fn of_thousands_that_open_at_once_hundreds_are_looked_at() {
    let losses: Vec<Incident> = (1..5_000)
        .map(|number| incident(number, Kind::Loss, [192, 0, 2, (number % 250) as u8], 10, &[]))
        .collect();
    let ids: Vec<&str> = losses.iter().map(|loss| loss.id.as_str()).collect();
    let found = related(&losses, &ids);
    assert!((200..300).contains(&found.len()), "{}", found.len());
    assert!(found.iter().all(|(_, cause)| *cause == found[0].1), "one way is one cause");
}

#[test]
fn a_consequence_of_a_consequence_has_the_first_cause() {
    let target =
        Target::Host(HostTarget { address: IpAddr::from([192, 0, 2, 1]), port: None, protocol: "ip" });
    let finding = Finding { measured: 1.0, ..Finding::bare(Kind::RoutingLoop, Severity::P2) };
    let root = Incident::open(1, target, finding, SECOND_NS, Interval::default());
    let mut loss = incident(2, Kind::Loss, [192, 0, 2, 2], 2, &[]);
    loss.because_of = Some(Because { id: root.id.clone(), why: String::new() });
    let other = incident(3, Kind::Loss, [192, 0, 2, 3], 3, &[]);
    let ids = related(&[root, loss, other], &["loss-0003"]);
    assert_eq!(ids, [("loss-0003".to_owned(), "routing_loop-0001".to_owned())]);
}

#[test]
fn a_consequence_is_not_raised() {
    let mut loss = incident(1, Kind::Loss, [192, 0, 2, 1], 1, &[]);
    let worse = Finding { measured: 2.0, ..Finding::bare(Kind::Loss, Severity::P1) };
    loss.because_of = Some(Because { id: "routing_loop-0001".to_owned(), why: String::new() });
    loss.hold(worse.clone(), 5 * SECOND_NS);
    assert_eq!(loss.worst_severity, Severity::P3);
    loss.because_of = None;
    loss.hold(worse, 10 * SECOND_NS);
    assert_eq!(loss.worst_severity, Severity::P1);
}
