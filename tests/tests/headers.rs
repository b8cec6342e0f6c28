//! Header facts equal tshark's: packets, bytes, segments by flag, completed handshakes, most SYNs in a second. On the
//! shared captures against their manifest, which tshark counted; on the project's own captures against tshark itself.
//! And the incidents: `syn_flood` where one is, and nowhere else.
//!
//! The shared captures may not be copied into the project: where they are not beside the checkout, this is said.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use support::{events, incidents, run, tidegauge};
use tidegauge_tests::skip::skip;

/// Captures that hold a SYN flood. `synflood_slow_loopback` is named so by its source, but asks a few times a second.
const FLOODS: [&str; 3] =
    ["synflood_answered_1src.pcap", "synflood_slow_loopback.pcapng", "synflood_spoofed_1port.pcap"];

/// What is compared, by the manifest's names.
#[derive(Debug, Default, PartialEq, Eq)]
struct Facts(BTreeMap<&'static str, u64>);

/// Name in the manifest, place in the summary.
const COMPARED: [(&str, &str); 10] = [
    ("packets", "/packets"),
    ("wire_bytes", "/bytes"),
    ("tcp", "/tcp/segments"),
    ("syn", "/tcp/syn"),
    ("synack", "/tcp/syn_ack"),
    ("fin", "/tcp/fin"),
    ("rst", "/tcp/rst"),
    ("hs_complete", "/handshake/completed"),
    ("syn_per_s_max", "/handshake/syn_per_s_max"),
    ("truncated", "/quality/truncated"),
];

impl Facts {
    fn of_summary(summary: &Value) -> Self {
        let fact = |(name, place): &(&'static str, &str)| {
            (*name, summary.pointer(place).and_then(Value::as_u64).unwrap_or_else(|| panic!("no {place}")))
        };
        Self(COMPARED.iter().map(fact).collect())
    }

    /// The manifest leaves cells empty where there is nothing to count.
    fn of_row(row: &BTreeMap<&str, &str>) -> Self {
        let fact = |(name, _): &(&'static str, &str)| (*name, row[name].parse().unwrap_or(0));
        Self(COMPARED.iter().map(fact).collect())
    }
}

fn read(capture: &Path) -> Vec<Value> {
    let ran = run(Command::new(tidegauge()).args(["read", "--json"]).arg(capture));
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{}", capture.display());
    events(&ran.stdout)
}

fn shared_captures_or_skip(test: &str) -> Option<(PathBuf, String)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/captures");
    match std::fs::read_to_string(directory.join("MANIFEST.tsv")) {
        Ok(manifest) => Some((directory, manifest)),
        Err(error) => {
            skip(test, &format!("without the captures of {}: {error}", directory.display()));
            None
        }
    }
}

#[test]
fn shared_captures_give_tsharks_counts_and_floods_only_where_they_are() {
    let test = "shared_captures_give_tsharks_counts_and_floods_only_where_they_are";
    let Some((directory, manifest)) = shared_captures_or_skip(test) else { return };
    let mut lines = manifest.lines();
    let names: Vec<&str> = lines.next().unwrap().split('\t').collect();
    let mut wrong = Vec::new();
    for line in lines {
        let row: BTreeMap<&str, &str> = names.iter().copied().zip(line.split('\t')).collect();
        let file = row["file"];
        let said = read(&directory.join(file));
        let (found, wanted) = (Facts::of_summary(said.last().unwrap()), Facts::of_row(&row));
        if found != wanted {
            wrong.push(format!("{file}: found {found:?}, tshark counted {wanted:?}"));
        }
        let floods = incidents(&said, "syn_flood").len();
        if (floods != 0) != FLOODS.contains(&file) {
            wrong.push(format!("{file}: {floods} syn_flood events"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn own_captures_give_tsharks_counts() {
    let captures = own_captures();
    assert!(!captures.is_empty(), "the project has captures");
    for capture in captures {
        match tshark(&capture) {
            Some(wanted) => {
                let said = read(&capture);
                assert_eq!(Facts::of_summary(said.last().unwrap()), wanted, "{}", capture.display());
            }
            None => return skip("own_captures_give_tsharks_counts", "needs tshark"),
        }
    }
}

fn own_captures() -> Vec<PathBuf> {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("data");
    let directories = [data.clone(), data.join("replay")];
    let entries = directories.iter().filter_map(|directory| std::fs::read_dir(directory).ok()).flatten();
    let mut captures: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    captures.retain(|path| path.extension().is_some_and(|extension| extension == "pcap"));
    captures.sort();
    captures
}

const TSHARK_FIELDS: [&str; 6] =
    ["frame.time_epoch", "frame.len", "frame.cap_len", "tcp.flags", "tcp.stream", "tcp.completeness"];

/// Counts with tshark, two-pass as only then `tcp.completeness` is final; `None` where tshark is not installed.
fn tshark(capture: &Path) -> Option<Facts> {
    let mut command = Command::new("tshark");
    command.args(["-2", "-n", "-T", "fields", "-r"]).arg(capture);
    command.args(TSHARK_FIELDS.iter().flat_map(|field| ["-e", field]));
    let output = command.output().ok()?;
    assert!(output.status.success(), "tshark: {}", String::from_utf8_lossy(&output.stderr));
    let mut facts = Facts(COMPARED.iter().map(|(name, _)| (*name, 0)).collect());
    let mut completeness: BTreeMap<u64, u64> = BTreeMap::new();
    let mut syn_by_second: BTreeMap<u64, u64> = BTreeMap::new();
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let cells: Vec<&str> = line.split('\t').collect();
        let second = cells[0].split('.').next().and_then(|second| second.parse().ok()).unwrap_or(0);
        count_frame(&mut facts.0, number(cells[1]), number(cells[2]));
        if cells[3].is_empty() {
            continue;
        }
        let is_syn = count_segment(&mut facts.0, number(cells[3]));
        *syn_by_second.entry(second).or_default() += u64::from(is_syn);
        *completeness.entry(number(cells[4])).or_default() |= number(cells[5]);
    }
    // SYN, SYN-ACK and ACK are the lowest three bits.
    let completed = completeness.values().filter(|seen| *seen & 7 == 7).count();
    facts.0.insert("hs_complete", completed as u64);
    facts.0.insert("syn_per_s_max", syn_by_second.into_values().max().unwrap_or(0));
    Some(facts)
}

fn count_frame(facts: &mut BTreeMap<&'static str, u64>, len: u64, captured: u64) {
    for (name, more) in [("packets", 1), ("wire_bytes", len), ("truncated", u64::from(captured < len))] {
        *facts.entry(name).or_default() += more;
    }
}

/// Whether it is a SYN without ACK.
fn count_segment(facts: &mut BTreeMap<&'static str, u64>, flags: u64) -> bool {
    let has = |bit: u64| flags & bit != 0;
    let (fin, syn, rst, ack) = (has(0x01), has(0x02), has(0x04), has(0x10));
    let counts = [("tcp", true), ("syn", syn && !ack), ("synack", syn && ack), ("fin", fin), ("rst", rst)];
    for (name, more) in counts {
        *facts.entry(name).or_default() += u64::from(more);
    }
    syn && !ack
}

/// tshark prints lengths in decimal, flags in hexadecimal.
fn number(cell: &str) -> u64 {
    match cell.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).unwrap_or(0),
        None => cell.parse().unwrap_or(0),
    }
}
