//! Traffic in a lab for tests: the project's own server and clients as processes, ended with their handle.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tidegauge_tests::netns::{Lab, Side};

/// A server in the lab that listens; killed when dropped.
pub(crate) struct Server(Child);

impl Server {
    /// Starts one; `mode` is the subcommand of `traffic serve` with its arguments.
    pub(crate) fn start(lab: &Lab, listen: SocketAddr, mode: &[&str]) -> Self {
        let mut command = traffic(lab, Side::Server);
        command.args(["serve", "--listen", &listen.to_string()]).args(mode).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.contains("listening"), "the server says {line:?}");
        Self(child)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have died with its lab.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Short connections from the client's side to `target` at a rate, to their end: the client's counts.
pub(crate) fn connect(lab: &Lab, target: SocketAddr, rate: u64, duration: &str) -> Value {
    connect_from(lab, Side::Client, target, rate, duration)
}

/// The same from either side.
pub(crate) fn connect_from(lab: &Lab, side: Side, target: SocketAddr, rate: u64, duration: &str) -> Value {
    let (target, rate) = (target.to_string(), rate.to_string());
    let mut command = traffic(lab, side);
    last_line(command.args(["connect", "--target", &target, "--rate", &rate, "--duration", duration]))
}

/// A spoofed SYN flood at `target`, to its end: how many were sent, and when the first one left.
pub(crate) fn flood(lab: &Lab, target: SocketAddr, rate: u64, duration: &str) -> Value {
    let (target, rate) = (target.to_string(), rate.to_string());
    let mut command = traffic(lab, Side::Client);
    last_line(command.args(["flood", "--target", &target, "--rate", &rate, "--duration", duration]))
}

/// One large download, to its end: the client's counts.
pub(crate) fn download(lab: &Lab, target: SocketAddr) -> Value {
    last_line(traffic(lab, Side::Client).args(["download", "--target", &target.to_string()]))
}

fn traffic(lab: &Lab, side: Side) -> Command {
    lab.command(side, env!("CARGO_BIN_EXE_traffic"))
}

fn last_line(command: &mut Command) -> Value {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_str(said.lines().last().expect("clients say what they did")).unwrap()
}
