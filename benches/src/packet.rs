//! Nanoseconds per packet of XDP programs, by the kernel's own measure (`BPF_PROG_TEST_RUN`).
//!
//! Everything is measured above a floor: what an empty program costs in the same place, on the same frames, in the
//! same round. Preemption does not count in the kernel's figure, so it is steady on a busy machine; memory contention
//! does.

pub mod frame;
pub mod lane;
pub mod xdp_filter;

use std::os::fd::BorrowedFd;

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use crate::bpf;
use crate::measure::median;
use crate::xdp::XDP_PASS;

/// One program on one load in one round.
#[derive(Clone, Copy, Debug)]
pub struct Measure {
    /// Kernel's mean of one run.
    pub ns: f64,
    /// What a program that does nothing costs in its place.
    pub floor_ns: f64,
}

/// One program on one load in all rounds.
#[derive(Default, Serialize)]
pub struct Series {
    /// What was measured.
    pub name: String,
    /// By round.
    pub ns: Vec<f64>,
    /// By round.
    pub above_floor_ns: Vec<f64>,
}

impl Series {
    /// The middle of what was measured.
    pub fn median_ns(&self) -> Option<f64> {
        median(self.ns.clone())
    }

    /// The middle of what was measured above the floor.
    pub fn median_above_floor_ns(&self) -> Option<f64> {
        median(self.above_floor_ns.clone())
    }
}

/// All series, in the order of their first measures.
#[derive(Default, Serialize)]
pub struct Book(pub Vec<Series>);

impl Book {
    /// Adds a round's measure to the series of this name.
    pub fn note(&mut self, name: &str, measure: Measure) {
        let index = self.0.iter().position(|known| known.name == name).unwrap_or_else(|| {
            self.0.push(Series { name: name.to_owned(), ..Series::default() });
            self.0.len() - 1
        });
        self.0[index].ns.push(measure.ns);
        self.0[index].above_floor_ns.push(measure.ns - measure.floor_ns);
    }

    /// A series, if it was measured.
    pub fn get(&self, name: &str) -> Option<&Series> {
        self.0.iter().find(|series| series.name == name)
    }
}

/// One run of the kernel's measurement, which must end in the frame's passing.
pub fn test_run_ns(program: BorrowedFd<'_>, frame: &[u8], repeat: u32) -> Result<f64> {
    let run = bpf::test_run(program, frame, repeat).context("BPF_PROG_TEST_RUN")?;
    ensure!(run.verdict == XDP_PASS, "a program that should pass frames returned {}", run.verdict);
    Ok(f64::from(run.ns))
}
