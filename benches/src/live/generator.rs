//! The sender: this program itself, run inside the client's namespace.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::thread::{CpuSet, sched_setaffinity};
use serde::{Deserialize, Serialize};

use crate::detect::lab::{Lab, Side};
use crate::packet::frame::{Kind, frame};
use crate::xdp::Sender;

/// Sources of the flood.
const SOURCES: u32 = 1 << 24;
/// Frames per request to the kernel, which takes some 25 ms before it sends the first.
const FRAMES_PER_REQUEST: u32 = 1 << 22;
/// The CPU that sends, and that receives on the same link.
const CPU: usize = 0;

/// What was sent.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub struct Sent {
    /// Frames.
    pub frames: u64,
    /// From the first to the last.
    pub seconds: f64,
}

/// Sends from the lab's client for `duration`, in a process of its own.
pub(super) fn flood(lab: &Lab, duration: Duration) -> Result<Sent> {
    let this = std::env::current_exe().context("find this program")?;
    let mut command = lab.command(Side::Client, &this);
    command.args(["--send", &lab.client_iface, "--seconds", &duration.as_secs().to_string()]);
    let output = command.stderr(Stdio::inherit()).output().context("start the sender")?;
    ensure!(output.status.success(), "the sender ended with {}", output.status);
    serde_json::from_slice(&output.stdout).context("read what the sender says")
}

/// Sends by the interface of this name in the namespace we are in, and prints [`Sent`].
pub fn send(interface: &str, duration: Duration) -> Result<()> {
    let mut own = CpuSet::new();
    own.set(CPU);
    sched_setaffinity(None, &own).context("stay on a CPU")?;
    let sender = Sender::load(index_of(interface)?, SOURCES).context("load the sending program")?;
    let frame = frame(0, Kind::Syn, 0);
    let (started, mut frames) = (Instant::now(), 0);
    while started.elapsed() < duration {
        sender.send(&frame, FRAMES_PER_REQUEST).context("send live frames (Linux 5.18)")?;
        frames += u64::from(FRAMES_PER_REQUEST);
    }
    let sent = Sent { frames, seconds: started.elapsed().as_secs_f64() };
    writeln!(std::io::stdout(), "{}", serde_json::to_string(&sent)?)?;
    Ok(())
}

fn index_of(interface: &str) -> Result<u32> {
    let output = Command::new("ip").args(["-j", "link", "show", "dev", interface]).output()?;
    let links: serde_json::Value = serde_json::from_slice(&output.stdout).context("read what ip says")?;
    let index = links[0]["ifindex"].as_u64().and_then(|index| u32::try_from(index).ok());
    index.with_context(|| format!("no interface {interface}"))
}
