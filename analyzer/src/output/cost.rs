//! What watching costs, in words: for the report and the status line.

use std::fmt::Write as _;

use anstyle::Style;

use super::report::grouped;
use crate::cost::{Bpf, BpfSample, Cost, Memory, Runs};
use crate::occupancy::Occupancy;

const BOLD: Style = Style::new().bold();
const MIB: f64 = (1_u64 << 20) as f64;

/// The report's lines on the run's own cost.
pub(super) fn cost_lines(cost: &Cost) -> String {
    let mut text = String::new();
    let mut row = |name: &str, value: String| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{BOLD}{name:14}{BOLD:#} {value}");
    };
    if let Some(bpf) = &cost.bpf {
        row("own programs", programs(bpf));
    }
    if let Some(share) = cost.process_share() {
        row("own threads", format!("{} of one CPU", percent(share)));
    }
    if let Some(memory) = &cost.memory {
        row("own memory", memory_words(memory));
    }
    if let Some(occupancy) = &cost.occupancy {
        row("tables in use", occupancy_words(occupancy));
    }
    text
}

fn programs(bpf: &Bpf) -> String {
    let Some(sample) = &bpf.sample else {
        let why = bpf.why_unknown.as_deref().unwrap_or("not measured yet");
        return format!("unknown ({why})");
    };
    let mut words = vec![program("XDP", sample, sample.ingress)];
    words.extend(sample.egress.map(|runs| program("TCX", sample, runs)));
    format!("{} (measured for {:.1} s)", words.join("; "), sample.length_ns as f64 / 1e9)
}

fn program(name: &str, sample: &BpfSample, runs: Runs) -> String {
    let per_packet = runs.ns_per_packet().map_or("unknown".to_owned(), |ns| format!("{ns:.0} ns/packet"));
    let share = sample.cpu_share(runs).map_or("unknown".to_owned(), percent);
    format!("{name} {per_packet}, {share} of one CPU, {} packets", grouped(runs.runs))
}

fn memory_words(memory: &Memory) -> String {
    let parts = [
        ("resident", memory.rss_bytes),
        ("at most", memory.rss_peak_bytes),
        ("of it BPF maps", memory.map_bytes),
        ("of it packet ring", memory.buffer_bytes),
    ];
    let told = parts.iter().filter_map(|(name, bytes)| Some(format!("{name} {}", mib((*bytes)?))));
    told.collect::<Vec<_>>().join(", ")
}

fn occupancy_words(occupancy: &Occupancy) -> String {
    let parts = [
        ("flows", occupancy.flows_share(), occupancy.proven.slots),
        ("half-open attempts", occupancy.waiting.share(), occupancy.waiting.slots),
        ("listeners", occupancy.listeners.share(), occupancy.listeners.slots),
        ("sources", occupancy.sources.share(), occupancy.sources.slots),
    ];
    let told = parts.iter().filter_map(|(name, share, slots)| {
        Some(format!("{name} {} of {}", percent((*share)?), grouped(*slots)))
    });
    told.collect::<Vec<_>>().join(", ")
}

/// What a status line has room for: nanoseconds per packet, share of one CPU in kernel and process, memory.
pub(super) fn cost_in_short(cost: &Cost) -> String {
    let sample = cost.bpf.as_ref().and_then(|bpf| bpf.sample);
    let mut words = Vec::new();
    if cost.bpf.is_some() {
        let ns = sample.and_then(|sample| sample.all().ns_per_packet());
        words.push(ns.map_or("? ns/pkt".to_owned(), |ns| format!("{ns:.0} ns/pkt")));
    }
    // Without the programs' share the sum would be too small: it is then said as "more than".
    let kernel = sample.and_then(|sample| sample.cpu_share(sample.all()));
    let is_whole = cost.bpf.is_none() || kernel.is_some();
    words.extend(cost.process_share().map(|own| {
        format!("{}{} CPU", if is_whole { "" } else { ">" }, percent(own + kernel.unwrap_or_default()))
    }));
    words.extend(cost.memory.and_then(|memory| memory.rss_bytes).map(mib));
    words.join("  ")
}

fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent >= 10.0 { format!("{percent:.0} %") } else { format!("{percent:.1} %") }
}

fn mib(bytes: u64) -> String {
    format!("{:.0} MiB", bytes as f64 / MIB)
}
