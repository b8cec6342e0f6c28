//! What watching costs: our programs in the kernel, our process, our memory, and how full the tables are.
//!
//! Measured by the binary and summed here; nothing in this file reads a clock. What could not be measured is `None`
//! and shown as `null`. Costs of intervals add up to the cost of the whole; gauges (memory, occupancy) are the latest.

use serde_json::{Value, json};

use crate::occupancy::Occupancy;

/// How often one of our programs ran, and how long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Runs {
    /// Frames it ran on; a super-frame is one.
    pub runs: u64,
    /// Nanoseconds, the kernel's own reading of its clock (about 20 ns a run) included.
    pub run_ns: u64,
}

impl Runs {
    /// What came since `before`.
    pub const fn since(self, before: Self) -> Self {
        Self {
            runs: self.runs.saturating_sub(before.runs),
            run_ns: self.run_ns.saturating_sub(before.run_ns),
        }
    }

    /// Adds another program's or interval's.
    pub const fn add(self, other: Self) -> Self {
        Self { runs: self.runs.saturating_add(other.runs), run_ns: self.run_ns.saturating_add(other.run_ns) }
    }

    /// Nanoseconds per frame; `None` where it did not run.
    pub fn ns_per_packet(self) -> Option<f64> {
        (self.runs != 0).then(|| rounded(self.run_ns as f64 / self.runs as f64, 1))
    }
}

/// A time in which the kernel measured our programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BpfSample {
    /// When it ended, nanoseconds since the epoch.
    pub end_ns: u64,
    /// How long it was.
    pub length_ns: u64,
    /// The XDP program.
    pub ingress: Runs,
    /// The TCX program; `None` where there is none.
    pub egress: Option<Runs>,
}

impl BpfSample {
    /// Both programs together.
    pub fn all(&self) -> Runs {
        self.ingress.add(self.egress.unwrap_or_default())
    }

    /// Share of one CPU that such runs took, all CPUs together.
    pub fn cpu_share(&self, runs: Runs) -> Option<f64> {
        share(runs.run_ns, self.length_ns)
    }

    fn merge(&mut self, other: &Self) {
        self.end_ns = self.end_ns.max(other.end_ns);
        self.length_ns += other.length_ns;
        self.ingress = self.ingress.add(other.ingress);
        self.egress = match (self.egress, other.egress) {
            (Some(own), Some(more)) => Some(own.add(more)),
            (own, more) => own.or(more),
        };
    }
}

/// How the programs are measured, and what came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bpf {
    /// `on`, `sampled`, `off`.
    pub mode: &'static str,
    /// Why there is no measurement.
    pub why_unknown: Option<String>,
    /// The latest, or the sum of those of the interval.
    pub sample: Option<BpfSample>,
}

/// Memory, bytes. The mapped tables and rings are part of the resident set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Resident now.
    pub rss_bytes: Option<u64>,
    /// Resident at most.
    pub rss_peak_bytes: Option<u64>,
    /// All BPF maps, as the kernel accounts them; `None` where the source has none.
    pub map_bytes: Option<u64>,
    /// Packet ring or UMEM; `None` where the source has none.
    pub buffer_bytes: Option<u64>,
}

/// The cost of an interval.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cost {
    /// Wall time of the interval, nanoseconds.
    pub wall_ns: u64,
    /// CPU time of all our threads, user and system.
    pub cpu_ns: Option<u64>,
    /// Our programs in the kernel; `None` where the source has none.
    pub bpf: Option<Bpf>,
    /// Memory; `None` where it is not read.
    pub memory: Option<Memory>,
    /// How full the tables are.
    pub occupancy: Option<Occupancy>,
}

impl Cost {
    /// Adds a later interval.
    pub fn merge(&mut self, later: &Self) {
        self.cpu_ns = match (self.cpu_ns, later.cpu_ns) {
            (Some(own), Some(more)) => Some(own.saturating_add(more)),
            (own, more) if self.wall_ns == 0 => own.or(more),
            _ => None,
        };
        self.wall_ns = self.wall_ns.saturating_add(later.wall_ns);
        if let Some(more) = &later.bpf {
            match &mut self.bpf {
                Some(own) => own.merge(more),
                None => self.bpf = Some(more.clone()),
            }
        }
        self.memory = later.memory.or(self.memory);
        self.occupancy = later.occupancy.or(self.occupancy);
    }

    /// Share of one CPU that our threads took.
    pub fn process_share(&self) -> Option<f64> {
        share(self.cpu_ns?, self.wall_ns)
    }

    /// The output contract's `cost`, at `now_ns`.
    pub fn json(&self, now_ns: u64) -> Value {
        let memory = self.memory.map(|memory| {
            json!({
                "rss_bytes": memory.rss_bytes,
                "rss_peak_bytes": memory.rss_peak_bytes,
                "map_bytes": memory.map_bytes,
                "buffer_bytes": memory.buffer_bytes,
            })
        });
        json!({
            "bpf": self.bpf.as_ref().map(|bpf| bpf.json(now_ns)),
            "process": self.cpu_ns.map(|_| json!({ "cpu_share": self.process_share() })),
            "memory": memory,
            "occupancy": self.occupancy.map(|occupancy| occupancy.json()),
        })
    }
}

impl Bpf {
    fn merge(&mut self, later: &Self) {
        self.mode = later.mode;
        match (&mut self.sample, &later.sample) {
            (Some(own), Some(more)) => own.merge(more),
            (own @ None, more) => *own = *more,
            (Some(_), None) => {}
        }
        self.why_unknown.clone_from(&later.why_unknown);
    }

    fn json(&self, now_ns: u64) -> Value {
        let sample = self.sample.as_ref();
        let program = |runs: Runs| {
            json!({
                "runs": runs.runs,
                "ns_per_packet": runs.ns_per_packet(),
                "cpu_share": sample.and_then(|sample| sample.cpu_share(runs)),
            })
        };
        json!({
            "mode": self.mode,
            "why_unknown": self.why_unknown,
            "measured_ms": sample.map(|sample| rounded(sample.length_ns as f64 / 1e6, 3)),
            "age_s": sample.map(|sample| rounded(now_ns.saturating_sub(sample.end_ns) as f64 / 1e9, 1)),
            "ns_per_packet": sample.and_then(|sample| sample.all().ns_per_packet()),
            "cpu_share": sample.and_then(|sample| sample.cpu_share(sample.all())),
            "xdp": sample.map(|sample| program(sample.ingress)),
            "tcx": sample.and_then(|sample| sample.egress).map(program),
        })
    }
}

fn share(part_ns: u64, whole_ns: u64) -> Option<f64> {
    (whole_ns != 0).then(|| rounded(part_ns as f64 / whole_ns as f64, 5))
}

fn rounded(value: f64, decimals: i32) -> f64 {
    let scale = 10_f64.powi(decimals);
    (value * scale).round() / scale
}
