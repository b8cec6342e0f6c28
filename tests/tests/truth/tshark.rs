//! What tshark reads in a capture: windows that it scales itself, and its own judgement of each segment.

use std::path::Path;
use std::process::Command;

use crate::scene::End;

/// The limit of `rwnd_bytes.low`.
const LOW_BYTES: u64 = 10_000;

/// The fields of each packet that passes the filter.
fn fields(capture: &Path, filter: &str, fields: &[&str]) -> Vec<Vec<String>> {
    let mut tshark = Command::new("tshark");
    tshark.args(["-n", "-r"]).arg(capture).args(["-Y", filter, "-T", "fields"]);
    for field in fields {
        tshark.args(["-e", field]);
    }
    let output = tshark.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect()
}

/// Windows of all segments but SYN (not scaled) and RST (not a window).
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Windows {
    pub(crate) count: u64,
    pub(crate) low: u64,
    pub(crate) zero: u64,
    pub(crate) p1: u64,
    pub(crate) p50: u64,
}

impl Windows {
    pub(crate) fn of(capture: &Path) -> Self {
        let filter = "tcp.flags.syn == 0 && tcp.flags.reset == 0";
        let mut told = Self::default();
        let mut windows = Vec::new();
        for packet in fields(capture, filter, &["tcp.window_size", "tcp.flags.fin"]) {
            let window: u64 = packet[0].parse().unwrap();
            told.low += u64::from(window < LOW_BYTES);
            // A FIN's closed window stops nobody; tshark's own rule, too.
            told.zero += u64::from(window == 0 && matches!(packet[1].as_str(), "0" | "False"));
            windows.push(window);
        }
        windows.sort_unstable();
        told.count = windows.len() as u64;
        let rank = |share: f64| windows[(share * windows.len() as f64).ceil() as usize - 1];
        Self { p1: rank(0.01), p50: rank(0.5), ..told }
    }
}

/// tshark tells apart what the fast path does not: sent again (also fast, also needlessly) and overtaken. The sum is one
/// thing, and so is what is missing before.
pub(crate) fn assert_tshark_agrees(end: &End) {
    let analysis = ["tcp.analysis.retransmission", "tcp.analysis.out_of_order", "tcp.analysis.lost_segment"];
    let packets = fields(&end.capture, "tcp.analysis.flags", &analysis);
    let of = |fields: &[usize]| {
        let is = |packet: &&Vec<String>| fields.iter().any(|field| !packet[*field].is_empty());
        packets.iter().filter(is).count() as u64
    };
    let (below, above) = (of(&[0, 1]), of(&[2]));
    let tcp = &end.live["tcp"];
    let counted =
        [&tcp["retransmit_or_reordered"], &tcp["lost_segment"]].map(|count| count.as_u64().unwrap());
    println!("tshark: retransmission or out of order {below}, lost segment {above}; live {counted:?}");
    assert_eq!(counted, [below, above], "retransmit_or_reordered and lost_segment, by tshark");
}
