//! Debian's xdp-filter, measured by bpftool. It is loaded in a mount namespace of its own, so that what it pins is gone
//! with it.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::frame::{Kind, frame};
use crate::machine::find_program;

const OBJECTS: &str = "/usr/lib/x86_64-linux-gnu/bpf";

/// Configurations: TCP ports only, IP addresses only, everything.
pub const VARIANTS: [&str; 3] = ["alw_tcp", "alw_ip", "alw_all"];

/// Nanoseconds of one of them on a data segment.
pub fn run_ns(variant: &str, directory: &Path, repeat: u32) -> Result<f64> {
    ensure!(find_program("bpftool").is_some(), "bpftool is not installed");
    let frame_path = directory.join("frame");
    fs::write(&frame_path, frame(0, Kind::Data, 0)).context("write the frame")?;
    let object = format!("{OBJECTS}/xdpfilt_{variant}.o");
    ensure!(Path::new(&object).is_file(), "no {object} (package xdp-tools)");
    bpftool_ns(&object, &frame_path, repeat).with_context(|| object.clone())
}

fn bpftool_ns(object: &str, frame_path: &Path, repeat: u32) -> Result<f64> {
    let script = "mount -t bpf bpf /sys/fs/bpf && bpftool prog load \"$1\" /sys/fs/bpf/measured type xdp \
                  && bpftool --json prog run pinned /sys/fs/bpf/measured data_in \"$2\" repeat \"$3\"";
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c", script, "sh", object])
        .arg(frame_path)
        .arg(repeat.to_string())
        .output()
        .context("run unshare")?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let result: Value = serde_json::from_slice(&output.stdout).context("read what bpftool printed")?;
    result["duration"].as_f64().with_context(|| format!("bpftool printed {result}"))
}
