//! What leaves the program: JSON Lines for programs, a report for people. Both are made of the same records.

mod cost;
mod histograms;
pub mod host;
pub mod json;
mod numbers;
mod observations;
pub mod report;
mod status;

pub use histograms::{RTT_BELOW_US, RWND_BELOW_BYTES, histograms};
pub use status::status_line;

use serde::Serialize;
use tidegauge_capture::confine::Confined;

/// Where the numbers come from and how, in every object and on every screen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Source {
    /// `file`, `xdp` or `ring`.
    pub kind: &'static str,
    /// `native`, `generic`, `tpacket_v3`, `mapped`, `streamed`.
    pub mode: &'static str,
    /// Why this one.
    pub why: String,
    /// Whether outgoing frames are seen: `tcx`, `ring`, or why not. Absent for files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub egress: Option<String>,
    /// File names or the interface.
    pub name: String,
    /// Resolution of its clock, microseconds.
    pub resolution_us: u32,
    /// What is told once.
    #[serde(skip)]
    pub setup: Setup,
}

/// What is told once: in the `source` line, and in the report.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Setup {
    /// The rights that were given up.
    pub confined: Option<Confined>,
    /// Pinned state, if the run was asked for it.
    pub pin: Option<PinState>,
    /// Threads that take frames, where userspace does.
    pub workers: Option<u32>,
}

/// How a pinned run began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PinState {
    /// The directory.
    pub dir: String,
    /// `fresh`, `replaced` or `taken_over`.
    pub state: &'static str,
    /// Why it was replaced.
    pub why: Option<String>,
    /// What was counted between the runs, if it was taken over and that is known.
    pub gap: Option<Gap>,
}

/// What the programs counted while nobody read, in the first `window`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// From what was told last to the takeover, nanoseconds.
    pub lasted_ns: u64,
    /// Packets.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
}
