//! What leaves the program: JSON Lines for programs, a report for people. Both are made of the same records.

pub mod json;
pub mod report;
mod status;

pub use status::status_line;

use serde::Serialize;

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
}
