//! A flood at the highest rate that this machine makes, and what programs that watch the interface see of it and cost.
//!
//! The kernel's own frame generator (`BPF_PROG_TEST_RUN` with live frames) sends SYNs from ever new sources over a veth
//! pair; it and the receiving interface's work run on one CPU, the watching programs where the scheduler puts them. The
//! frames carry another host's hardware address, as on a mirror port: programs see them, the stack drops them at once.

pub mod generator;
pub mod tool;

use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::Value;

use crate::detect::lab::{Lab, Side};
use tool::{Tool, Watched};

/// One run.
#[derive(Clone, Debug, Serialize)]
pub struct Run {
    /// Frames that the generator handed to the link.
    pub sent: u64,
    /// Frames that the receiving interface counted.
    pub arrived: u64,
    /// Seconds of sending.
    pub sending_s: f64,
    /// What the program says of itself.
    pub watched: Watched,
}

impl Run {
    /// Frames that arrived, in millions a second.
    pub fn arrived_mpps(&self) -> f64 {
        self.arrived as f64 / self.sending_s / 1e6
    }

    /// CPU time of the program while frames came, in CPUs.
    pub fn cpus(&self) -> f64 {
        self.watched.cpu_s / self.sending_s
    }

    /// Frames that arrived and that the program did not count; `None` where it does not say.
    pub fn lost(&self) -> Option<u64> {
        Some(self.arrived.saturating_sub(self.watched.counted?))
    }
}

/// Floods for `duration` while `tool` watches.
pub fn run(lab: &Lab, tool: &Tool, duration: Duration) -> Result<Run> {
    let watching = tool.start(lab)?;
    let before = arrived(lab)?;
    let sent = generator::flood(lab, duration)?;
    // Frames that wait in rings are handled now.
    std::thread::sleep(Duration::from_millis(500));
    let arrived = arrived(lab)? - before;
    let watched = watching.end()?;
    Ok(Run { sent: sent.frames, arrived, sending_s: sent.seconds, watched })
}

/// Frames that the receiving interface counted so far.
fn arrived(lab: &Lab) -> Result<u64> {
    let mut command = lab.command(Side::Server, "ip".as_ref());
    let output = command.args(["-s", "-j", "link", "show", "dev", &lab.server_iface]).output()?;
    let links: Value = serde_json::from_slice(&output.stdout).context("read what ip says")?;
    links[0]["stats64"]["rx"]["packets"].as_u64().context("ip says nothing of received packets")
}
