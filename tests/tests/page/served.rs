//! A running `tidegauge serve`: started, asked, ended.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::http::Http;
use crate::support::{Ran, tidegauge};

/// From start to end of a run.
const PATIENCE: Duration = Duration::from_secs(30);

/// The capture that the project recorded.
pub(crate) fn demo() -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data/demo.pcap").to_str().unwrap().to_owned()
}

/// A page that is served; killed when dropped.
pub(crate) struct Served {
    child: Child,
    stderr: BufReader<ChildStderr>,
    said: String,
    url: String,
}

impl Served {
    /// `tidegauge serve` on a free port with these options and this run.
    pub(crate) fn start(options: &[&str], run: &[&str]) -> Self {
        Self::by(Command::new(tidegauge()), options, run)
    }

    /// The same by a command that may say where.
    pub(crate) fn by(mut command: Command, options: &[&str], run: &[&str]) -> Self {
        command.arg("serve");
        if !options.contains(&"--listen") {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        command.args(options).args(run).stdout(Stdio::null()).stderr(Stdio::piped());
        command.stdin(if run.contains(&"-") { Stdio::piped() } else { Stdio::null() });
        let mut child = command.spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut said = String::new();
        stderr.read_line(&mut said).unwrap();
        let url = said.trim_end().split_once("page at ").map(|(_, url)| url.to_owned());
        let Some(url) = url else {
            let _ = child.kill();
            panic!("it does not say where the page is: {said:?}");
        };
        Self { child, stderr, said, url }
    }

    /// As it says itself.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.url.split_once("://").unwrap().1.trim_end_matches('/').parse().unwrap()
    }

    pub(crate) fn http(&self) -> Http {
        Http(self.address())
    }

    /// What `read -` reads.
    pub(crate) fn input(&mut self) -> ChildStdin {
        self.child.stdin.take().expect("the run reads standard input")
    }

    /// Waits for the end of the run; the board then.
    pub(crate) fn wait_until_over(&self) -> Value {
        let started = Instant::now();
        loop {
            let board = self.http().get("/api/board", &[]).json();
            if board["is_over"] == true {
                return board;
            }
            assert!(started.elapsed() < PATIENCE, "the run does not end");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits for the next line of what it says.
    pub(crate) fn hear(&mut self) -> String {
        let mut line = String::new();
        self.stderr.read_line(&mut line).unwrap();
        self.said.push_str(&line);
        line
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }

    /// Ends it by a signal.
    pub(crate) fn end_by(mut self, signal: Signal) -> Ran {
        self.signal(signal);
        let mut stderr = std::mem::take(&mut self.said);
        self.stderr.read_to_string(&mut stderr).unwrap();
        Ran { code: self.child.wait().unwrap().code(), stdout: String::new(), stderr }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // It may have been ended; its run is asked to end by it.
        let _ = kill(Pid::from_raw(self.child.id() as i32), Signal::SIGTERM);
        let _ = self.child.wait();
    }
}
