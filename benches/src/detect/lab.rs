//! The lab for live runs: two network namespaces, a server, ordinary clients and floods, all by the `traffic` tool.
//!
//! Nothing here touches the host's own interfaces. The lab and all that runs in it are gone when [`Lab`] is dropped;
//! after a crash the next lab of anyone sweeps them, because they carry this process's id.

use std::io::{BufRead, BufReader, Lines};
use std::path::{Path, PathBuf};
use std::process::{ChildStdout, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::fastnetmon::Post;
use crate::child::Running;

const PORT: u16 = 8080;
/// Longer than any plan; the load is ended by dropping it.
const BACKGROUND_DURATION: &str = "1440m";

/// Which end of the lab.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Where floods and ordinary connections come from.
    Client,
    /// Where the server is and the tools listen.
    Server,
}

/// A lab that is up.
#[derive(Debug)]
pub struct Lab {
    traffic: PathBuf,
    client_namespace: String,
    server_namespace: String,
    server_addr: String,
    /// The server's interface, which the tools watch.
    pub server_iface: String,
    /// The client's.
    pub client_iface: String,
}

impl Lab {
    /// Makes a lab with the `traffic` tool at `traffic`.
    pub fn up(traffic: &Path) -> Result<Self> {
        let output = Command::new(traffic)
            .args(["lab", "up", "--owner", &std::process::id().to_string()])
            .output()
            .with_context(|| format!("run {}", traffic.display()))?;
        ensure!(output.status.success(), "lab up: {}", String::from_utf8_lossy(&output.stderr).trim());
        let names: Value = serde_json::from_slice(&output.stdout).context("read the names of the lab")?;
        let name = |side: &str, field: &str| {
            let value = names[side][field].as_str().map(str::to_owned);
            value.with_context(|| format!("the lab has no {side}.{field}: {names}"))
        };
        Ok(Self {
            traffic: traffic.to_owned(),
            client_namespace: name("client", "namespace")?,
            server_namespace: name("server", "namespace")?,
            server_addr: name("server", "v4")?,
            server_iface: name("server", "iface")?,
            client_iface: name("client", "iface")?,
        })
    }

    /// Has the server's interface take frames that another interface redirects to it, also without an XDP program.
    pub fn take_redirected(&self) -> Result<()> {
        let mut command = self.command(Side::Server, "ethtool".as_ref());
        let status = command.args(["-K", &self.server_iface, "gro", "on"]).status();
        ensure!(status.is_ok_and(|status| status.success()), "ethtool is needed to switch GRO on");
        Ok(())
    }

    /// Where FastNetMon listens: at the server, for the server.
    pub fn post(&self) -> Post {
        Post {
            namespace: self.server_namespace.clone(),
            iface: self.server_iface.clone(),
            network: format!("{}/32", self.server_addr),
        }
    }

    /// A command that runs `program` at one end.
    pub fn command(&self, side: Side, program: &Path) -> Command {
        let namespace = match side {
            Side::Client => &self.client_namespace,
            Side::Server => &self.server_namespace,
        };
        let mut command = Command::new("ip");
        command.args(["netns", "exec", namespace]).arg(program).stdin(Stdio::null());
        command
    }

    fn target(&self) -> String {
        format!("{}:{PORT}", self.server_addr)
    }

    /// A server that answers until dropped; it listens when this returns.
    pub(super) fn serve(&self) -> Result<Running> {
        let mut command = self.command(Side::Server, &self.traffic);
        command.args(["serve", "--listen", &self.target(), "echo-close"]).stdout(Stdio::piped());
        let mut child = command.spawn().context("start the server")?;
        let stdout = child.stdout.take();
        let server = Running::new(child);
        let mut lines = BufReader::new(stdout.context("the server has no output")?).lines();
        let line = next_json(&mut lines)?;
        ensure!(line.get("listening").is_some(), "the server said {line}");
        Ok(server)
    }

    /// Ordinary connections at `rate_per_s` until dropped.
    pub(super) fn connect(&self, rate_per_s: u64) -> Result<Running> {
        let mut command = self.command(Side::Client, &self.traffic);
        command
            .args(["connect", "--target", &self.target(), "--rate", &rate_per_s.to_string()])
            .args(["--duration", BACKGROUND_DURATION])
            .stdout(Stdio::null());
        Ok(Running::new(command.spawn().context("start the clients")?))
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let owner = std::process::id().to_string();
        let down = Command::new(&self.traffic).args(["lab", "down", "--owner", &owner]).status();
        if !down.is_ok_and(|status| status.success()) {
            eprintln!("the lab of process {owner} is still up: {} lab down", self.traffic.display());
        }
    }
}

/// A flood on its way.
pub(super) struct Flood {
    lines: Lines<BufReader<ChildStdout>>,
    _sender: Running,
    /// CLOCK_REALTIME of the first packet.
    pub(super) first_packet_ns: u64,
}

impl Flood {
    /// Starts spoofed SYNs at the server; returns when the first is sent.
    pub(super) fn start(lab: &Lab, rate_pps: u64, duration: Duration) -> Result<Self> {
        let mut command = lab.command(Side::Client, &lab.traffic);
        command
            .args(["flood", "--target", &lab.target(), "--rate", &rate_pps.to_string()])
            .args(["--duration", &format!("{}ms", duration.as_millis())])
            .stdout(Stdio::piped());
        let mut child = command.spawn().context("start the flood")?;
        let stdout = child.stdout.take();
        let sender = Running::new(child);
        let mut lines = BufReader::new(stdout.context("the flood has no output")?).lines();
        let line = next_json(&mut lines)?;
        let first_packet_ns = line["first_packet_ns"].as_u64();
        let first_packet_ns = first_packet_ns.with_context(|| format!("the flood said {line}"))?;
        Ok(Self { lines, _sender: sender, first_packet_ns })
    }

    /// Waits for the end; returns the rate that was reached.
    pub(super) fn finish(mut self) -> Result<f64> {
        let line = next_json(&mut self.lines)?;
        line["achieved_pps"].as_f64().with_context(|| format!("the flood said {line}"))
    }
}

fn next_json(lines: &mut Lines<BufReader<ChildStdout>>) -> Result<Value> {
    match lines.next() {
        Some(line) => Ok(serde_json::from_str(&line.context("read from traffic")?)?),
        None => bail!("traffic ended without a word"),
    }
}
