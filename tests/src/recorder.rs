//! tcpdump at one end of a lab: a capture of all that passes the side's interface, in nanoseconds, which lacks nothing.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Stdio};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::netns::{CLIENT_IFACE, Lab, SERVER_IFACE, Side};

/// Of the packet buffer in the kernel, KiB: some seconds of a fast transfer.
const BUFFER_KIB: &str = "65536";

/// The interface of a side.
pub const fn iface(side: Side) -> &'static str {
    match side {
        Side::Client => CLIENT_IFACE,
        Side::Server => SERVER_IFACE,
    }
}

/// A capture that is being taken. Ends, unfinished, where it is dropped.
#[derive(Debug)]
pub struct Recorder {
    tcpdump: Child,
    stderr: BufReader<ChildStderr>,
    file: PathBuf,
}

impl Recorder {
    /// Starts tcpdump into `<directory>/<interface>.pcap` and waits until it sees packets; of each frame at most
    /// `snap_bytes`, 0 for all.
    ///
    /// # Errors
    /// Where tcpdump cannot be run or does not start.
    pub fn start(lab: &Lab, side: Side, directory: &Path, snap_bytes: u32) -> Result<Self> {
        let file = directory.join(format!("{}.pcap", iface(side)));
        let mut command = lab.command(side, "tcpdump");
        command.args([
            "-n",
            "--immediate-mode",
            "--time-stamp-precision=nano",
            "-B",
            BUFFER_KIB,
            "-Z",
            "root",
        ]);
        command.args(["-s", &snap_bytes.to_string(), "-i", iface(side), "-w"]).arg(&file);
        let mut tcpdump = command.stderr(Stdio::piped()).spawn().context("run tcpdump")?;
        let stderr = BufReader::new(tcpdump.stderr.take().context("tcpdump's messages")?);
        let mut recorder = Self { tcpdump, stderr, file };
        let mut line = String::new();
        while !line.contains("listening on") {
            line.clear();
            ensure!(recorder.stderr.read_line(&mut line)? != 0, "tcpdump did not start");
        }
        Ok(recorder)
    }

    /// The file.
    ///
    /// # Errors
    /// Where tcpdump failed, or lost packets.
    pub fn finish(mut self) -> Result<PathBuf> {
        kill(Pid::from_raw(self.tcpdump.id().cast_signed()), Signal::SIGINT).context("stop tcpdump")?;
        let mut said = String::new();
        self.stderr.read_to_string(&mut said)?;
        ensure!(self.tcpdump.wait()?.success(), "tcpdump failed: {said}");
        ensure!(said.contains("0 packets dropped by kernel"), "tcpdump lost packets: {said}");
        Ok(self.file.clone())
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        // Both fail only where it has ended, which is what is wanted.
        let _ = self.tcpdump.kill();
        let _ = self.tcpdump.wait();
    }
}
