//! Determinism, the shape that the kinds promise, and the truth against tshark where it is installed.

use std::collections::HashMap;
use std::process::Command;

use super::*;
use crate::conformance::{self, judgement::Judgement};
use crate::scratch::Scratch;

const KINDS: [Kind; 6] =
    [Kind::Elephants, Kind::Mix, Kind::Synflood, Kind::Flows1M, Kind::Adversarial, Kind::Day];
/// Kinds whose troubles are counted where they are made.
const COUNTED: [Kind; 5] = [Kind::Elephants, Kind::Mix, Kind::Synflood, Kind::Flows1M, Kind::Day];

fn generate(kind: Kind, packets: u64, seed: u64) -> (Scratch, Capture) {
    let scratch = Scratch::new("generate").unwrap();
    let capture = ensure(&Spec { kind, packets, seed }, scratch.path()).unwrap();
    (scratch, capture)
}

/// A few thousand packets.
fn scale(kind: Kind) -> u64 {
    if kind == Kind::Adversarial { 100 } else { 5_000 }
}

/// FNV-1a: enough to notice a changed byte.
fn digest(path: &Path) -> u64 {
    fs::read(path).unwrap().iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3) //
    })
}

#[test]
fn equal_seeds_give_equal_bytes_and_others_do_not() {
    for kind in KINDS {
        let (_first_dir, first) = generate(kind, scale(kind), 42);
        let (_second_dir, second) = generate(kind, scale(kind), 42);
        let (_other_dir, other) = generate(kind, scale(kind), 43);
        assert_eq!(digest(&first.path), digest(&second.path));
        assert_ne!(digest(&first.path), digest(&other.path));
    }
}

/// Fails when the bytes change: raise `REVISION`, then enter the new digests.
#[test]
fn the_bytes_are_those_of_this_revision() {
    let digests = KINDS.map(|kind| {
        let (_dir, capture) = generate(kind, scale(kind), 42);
        digest(&capture.path)
    });
    assert_eq!(
        (REVISION, digests),
        (
            1,
            [
                918667593902028898,
                70747576655347967,
                11568166198770069783,
                1599581188681467338,
                10573896243477683953,
                2065458952974307516
            ]
        )
    );
}

#[test]
fn a_mix_has_the_shares_it_promises() {
    let (_dir, capture) = generate(Kind::Mix, 400_000, 42);
    let truth = capture.truth;
    let per_mille = |part: u64, whole: u64| part * 1000 / whole;
    assert!((900..1100).contains(&per_mille(truth.packets, 400_000)), "{truth:?}");
    assert!((600..720).contains(&(truth.wire_bytes / truth.packets)), "{truth:?}");
    assert!((80..120).contains(&per_mille(truth.udp_datagrams, truth.packets)), "{truth:?}");
    assert!((80..120).contains(&per_mille(truth.ipv6_packets, truth.packets)), "{truth:?}");
    assert!((40..60).contains(&per_mille(truth.vlan_packets, truth.packets)), "{truth:?}");
    assert!((15..25).contains(&per_mille(truth.syn_retransmissions, truth.tcp_flows)), "{truth:?}");
    assert!((7..13).contains(&per_mille(truth.refused, truth.tcp_flows)), "{truth:?}");
    assert_eq!(truth.syn, truth.tcp_flows + truth.syn_retransmissions);
    assert_eq!(truth.handshakes_completed, truth.tcp_flows - truth.refused);
    assert!(truth.retransmissions > 0 && truth.reordered > 0 && truth.upstream_holes > 0);
}

#[test]
fn all_short_connections_are_open_at_once() {
    let (_dir, capture) = generate(Kind::Flows1M, 96_000, 42);
    let truth = capture.truth;
    assert_eq!((truth.tcp_flows, truth.syn, truth.syn_ack, truth.fin), (10_000, 10_000, 10_000, 20_000));
    assert!((95_000..97_000).contains(&truth.packets), "{truth:?}");
    assert_eq!((truth.rst, truth.retransmissions), (0, 0));
}

#[test]
fn a_file_is_written_once_and_leaves_no_partial_one() {
    let scratch = Scratch::new("generate").unwrap();
    let spec = Spec { kind: Kind::Synflood, packets: 1_000, seed: 1 };
    let first = ensure(&spec, scratch.path()).unwrap();
    let modified = fs::metadata(&first.path).unwrap().modified().unwrap();
    let again = ensure(&spec, scratch.path()).unwrap();
    assert_eq!(fs::metadata(&again.path).unwrap().modified().unwrap(), modified);
    assert_eq!(first.truth, again.truth);
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 2);
}

/// Counts by tshark, a judge that shares no code with the generator. Skipped, and said so, where it is missing.
#[test]
fn tshark_counts_the_same() {
    if Command::new("tshark").arg("--version").output().is_err() {
        eprintln!("skipped: tshark is not installed");
        return;
    }
    for kind in COUNTED {
        let (_dir, capture) = generate(kind, 20_000, 42);
        let seen = tshark_counts(&capture.path);
        let truth = &capture.truth;
        let seen = |name: &str| seen.get(name).copied().unwrap_or(0);
        assert_eq!(seen("bad_checksum"), 0, "{kind:?}");
        assert!(seen("good_checksum") > truth.packets / 3, "{kind:?}");
        assert_eq!(
            ["frames", "tcp", "udp", "syn", "syn_ack", "fin", "rst"].map(seen),
            [
                truth.packets,
                truth.tcp_segments,
                truth.udp_datagrams,
                truth.syn,
                truth.syn_ack,
                truth.fin,
                truth.rst
            ],
            "{kind:?}"
        );
        // A hole filled late is either to tshark, by its timing; the sum is not a matter of opinion.
        let judged = seen("retransmission") + seen("out_of_order");
        let written = truth.retransmissions + truth.reordered + truth.syn_retransmissions;
        assert_eq!(judged, written, "{kind:?}");
    }
}

/// By tshark's judgement, and by its facts where it has no word.
#[test]
fn adversarial_conversations_have_every_judgement_in_them() {
    if Command::new("tshark").arg("--version").output().is_err() {
        eprintln!("skipped: tshark is not installed");
        return;
    }
    let (_dir, capture) = generate(Kind::Adversarial, 1_000, 42);
    let segments = conformance::tshark::segments(&capture.path).unwrap();
    assert_eq!(segments.len() as u64, capture.truth.packets);
    for judgement in Judgement::ALL {
        let count = segments.iter().filter(|segment| segment.judgements.has(judgement)).count();
        assert!(count >= 50 || judgement == Judgement::CapturedTwice, "{judgement}: {count}");
    }
    let copies = segments.windows(2).filter(|pair| pair[1].is_copy_of(&pair[0])).count() as u64;
    let written = capture.truth.captured_twice;
    assert!(written > 500 && (written * 4 / 5..=written).contains(&copies), "{copies} of {written}");
}

fn tshark_counts(path: &Path) -> HashMap<&'static str, u64> {
    let fields = [
        "frame.number",
        "tcp.srcport",
        "udp.srcport",
        "tcp.flags",
        "ip.checksum.status",
        "tcp.checksum.status",
        "udp.checksum.status",
        "tcp.analysis.retransmission",
        "tcp.analysis.out_of_order",
    ];
    let mut command = Command::new("tshark");
    command.args(["-n", "-T", "fields", "-r"]).arg(path);
    for protocol in ["ip", "tcp", "udp"] {
        command.args(["-o", &format!("{protocol}.check_checksum:TRUE")]);
    }
    for field in fields {
        command.args(["-e", field]);
    }
    let output = command.output().unwrap();
    let mut counts = HashMap::new();
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let columns: Vec<&str> = line.split('\t').collect();
        let mut add = |name, is_so: bool| *counts.entry(name).or_default() += u64::from(is_so);
        let flags = u32::from_str_radix(columns[3].trim_start_matches("0x"), 16).unwrap_or(0);
        add("frames", true);
        add("tcp", !columns[1].is_empty());
        add("udp", !columns[2].is_empty());
        add("syn", flags & 0x12 == 0x02);
        add("syn_ack", flags & 0x12 == 0x12);
        add("fin", flags & 0x01 != 0);
        add("rst", flags & 0x04 != 0);
        // 0 is bad, 1 good, 2 not verified because the snap length cut the payload.
        add("bad_checksum", columns[4..7].contains(&"0"));
        add("good_checksum", columns[5..7].contains(&"1"));
        add("retransmission", !columns[7].is_empty());
        add("out_of_order", !columns[8].is_empty());
    }
    counts
}
