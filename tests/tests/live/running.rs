//! A running `tidegauge live` in a lab: started, listened to, ended; and the interface's own view.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tidegauge_tests::netns::{Lab, Side};

use crate::support::{events, tidegauge};

/// Start and end take this long at most: loading the program is the longest part.
const PATIENCE: Duration = Duration::from_secs(15);

/// Held by the one test whose lab may be busy now.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A line and when it came.
struct Line {
    text: String,
    at: SystemTime,
}

/// A run that has said what it counts with, so that traffic from now on is seen.
pub(crate) struct Live {
    child: Child,
    coming: Receiver<Line>,
    lines: Vec<Line>,
}

impl Live {
    /// `tidegauge live --json` with these arguments on the server's side.
    pub(crate) fn start(lab: &Lab, args: &[&str]) -> Self {
        let mut command = lab.command(Side::Server, tidegauge());
        command.args(["live", "--json"]).args(args);
        let mut live = Self::spawn(&mut command);
        live.wait_for(PATIENCE, |event| event["event"] == "source");
        live
    }

    /// A command that says JSON Lines, from its first moment.
    pub(crate) fn spawn(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (said, coming) = channel();
        std::thread::spawn(move || {
            for text in stdout.lines().map_while(Result::ok) {
                // Nobody listens any more once a test has failed.
                let _ = said.send(Line { text, at: SystemTime::now() });
            }
        });
        Self { child, coming, lines: Vec::new() }
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a line.
    pub(crate) fn wait_for(&mut self, patience: Duration, is_it: impl Fn(&Value) -> bool) {
        let started = Instant::now();
        let is_it = |line: &Line| serde_json::from_str(&line.text).is_ok_and(|event| is_it(&event));
        if self.lines.iter().any(is_it) {
            return;
        }
        while let Ok(line) = self.coming.recv_timeout(patience.saturating_sub(started.elapsed())) {
            let found = is_it(&line);
            self.lines.push(line);
            if found {
                return;
            }
        }
        let _ = self.child.kill();
        let mut stderr = String::new();
        let _ = self.child.stderr.take().map(|mut pipe| pipe.read_to_string(&mut stderr));
        let said: Vec<&str> = self.lines.iter().map(|line| line.text.as_str()).collect();
        panic!("the line did not come in {patience:?}: {said:#?} {stderr}");
    }

    /// Ends it as Ctrl-C does; it must end well.
    pub(crate) fn interrupt(self) -> Ended {
        let ended = self.end_by(Signal::SIGINT);
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
        ended
    }

    /// Ends it by a signal.
    pub(crate) fn end_by(self, signal: Signal) -> Ended {
        kill(Pid::from_raw(self.pid() as i32), signal).unwrap();
        self.end()
    }

    /// Waits for its end.
    pub(crate) fn end(mut self) -> Ended {
        let mut stderr = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        let code = self.child.wait().unwrap().code();
        self.lines.extend(self.coming.iter());
        let text: String = self.lines.iter().map(|line| format!("{}\n", line.text)).collect();
        let killed = code.is_none();
        let whole = |line: &str| serde_json::from_str(line).ok();
        let events = if killed { text.lines().filter_map(whole).collect() } else { events(&text) };
        Ended { code, stderr, events, at: self.lines.into_iter().map(|line| line.at).collect() }
    }
}

/// A run that is over.
pub(crate) struct Ended {
    /// `None` when a signal killed it.
    pub(crate) code: Option<i32>,
    pub(crate) stderr: String,
    /// Of a killed run, what it said until then.
    pub(crate) events: Vec<Value>,
    at: Vec<SystemTime>,
}

impl Ended {
    pub(crate) fn summary(&self) -> &Value {
        self.events.last().expect("runs that were not killed say something")
    }

    /// From a moment to the line that told the incident.
    pub(crate) fn delay_of(&self, kind: &str, since_ns: u64) -> Duration {
        let opened = |event: &Value| event["kind"] == kind && event["state"] == "opened";
        let index = self.events.iter().position(opened).expect("it opened");
        let at = self.at[index].duration_since(UNIX_EPOCH).unwrap();
        at.saturating_sub(Duration::from_nanos(since_ns))
    }
}

/// Packets in and out by the interface's own counters.
pub(crate) fn packets_of(lab: &Lab, iface: &str) -> u64 {
    let output = lab.command(Side::Server, "ip").args(["-s", "-j", "link", "show", "dev", iface]).output();
    let links: Value = serde_json::from_slice(&output.unwrap().stdout).unwrap();
    let packets = |way: &str| links[0]["stats64"][way]["packets"].as_u64().unwrap();
    packets("rx") + packets("tx")
}
