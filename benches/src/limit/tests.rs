//! The yardstick must measure what it claims to: its sums equal the generator's truth.

use super::*;
use crate::generate::{Kind, Spec, Truth, ensure};
use crate::scratch::Scratch;

fn generated(kind: Kind, packets: u64) -> (Scratch, Truth, std::path::PathBuf) {
    let scratch = Scratch::new("limit").unwrap();
    let capture = ensure(&Spec { kind, packets, seed: 42 }, scratch.path()).unwrap();
    (scratch, capture.truth, capture.path)
}

fn check(kind: Kind, packets: u64) {
    let (_scratch, truth, path) = generated(kind, packets);
    let counts = run(&path, Level::Tcp, Input::Read).unwrap();
    let header_facts = [counts.packets, counts.wire_bytes, counts.tcp, counts.udp];
    assert_eq!(header_facts, [truth.packets, truth.wire_bytes, truth.tcp_segments, truth.udp_datagrams]);
    let flags = [counts.syn, counts.syn_ack, counts.fin, counts.rst];
    assert_eq!(flags, [truth.syn, truth.syn_ack, truth.fin, truth.rst]);
    let handshakes = [counts.syn_retransmissions, counts.refused, counts.handshakes_completed];
    assert_eq!(handshakes, [truth.syn_retransmissions, truth.refused, truth.handshakes_completed]);
    assert_eq!(counts.flows, truth.tcp_flows - truth.refused + truth.udp_flows);
    assert_eq!(counts.behind, truth.retransmissions + truth.reordered);
    assert_eq!(counts.duplicate_acks, truth.duplicate_acks);
    assert!(counts.rtt_samples > counts.handshakes_completed);
    // The flood fills a twentieth of the cache: a full set of four is chance.
    assert!(counts.half_open_evicted <= 2);
}

#[test]
fn mix_equals_its_truth() {
    check(Kind::Mix, 60_000);
}

#[test]
fn synflood_equals_its_truth() {
    check(Kind::Synflood, 50_000);
}

#[test]
fn elephants_equal_their_truth() {
    check(Kind::Elephants, 20_000);
}

#[test]
fn both_inputs_and_every_level_agree_on_what_they_share() {
    let (_scratch, truth, path) = generated(Kind::Mix, 20_000);
    for input in [Input::Map, Input::Read] {
        for level in [Level::Walk, Level::L4, Level::Tcp] {
            let counts = run(&path, level, input).unwrap();
            assert_eq!((counts.packets, counts.wire_bytes), (truth.packets, truth.wire_bytes));
            if level >= Level::L4 {
                assert_eq!((counts.tcp, counts.syn), (truth.tcp_segments, truth.syn));
            }
        }
    }
}

#[test]
fn the_flow_table_grows_and_keeps_its_flows() {
    let mut flows = Flows::new().unwrap();
    let packet = |key| Packet {
        key,
        side: 0,
        protocol: Protocol::Udp,
        flags: 0,
        at_us: 0,
        seq: 0,
        ack: 0,
        payload_bytes: 0,
    };
    for key in 1..=100_000 {
        flows.insert(&packet(key), None);
    }
    assert_eq!(flows.count(), 100_000);
    assert!((1..=100_000).all(|key| flows.find(key).is_some()));
    assert!(flows.find(100_001).is_none());
}
