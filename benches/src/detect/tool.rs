//! The tools under test: how each is started on the server's interface, and what counts as its alarm.
//!
//! FastNetMon is restarted for each run, because it bans a host once; tidegauge is too, to be equal.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::fastnetmon::{self, Settings};
use super::lab::{Lab, Side};
use crate::child::Running;
use crate::scratch::Scratch;

/// A program that raises alarms.
#[derive(Clone, Debug)]
pub enum Tool {
    /// FastNetMon, its program.
    FastNetMon(PathBuf),
    /// Ours, its program.
    Tidegauge(PathBuf),
}

/// That a flood was noticed.
#[derive(Clone, Debug)]
pub(crate) struct Alarm {
    /// CLOCK_REALTIME.
    pub(crate) at_ns: u64,
    /// Whom it is about, where the tool is asked for more than one host.
    pub(crate) host: Option<String>,
    /// The rate it names, where it does.
    pub(crate) reported_pps: Option<f64>,
}

/// A tool at work.
pub(crate) struct Watch {
    pub(super) alarms: Receiver<Alarm>,
    pub(super) tool: Running,
    /// Holds FastNetMon's files for as long as it runs.
    pub(super) _files: Option<Scratch>,
}

impl Tool {
    /// Name in tables.
    pub fn name(&self) -> &'static str {
        match self {
            Self::FastNetMon(_) => "FastNetMon",
            Self::Tidegauge(_) => "tidegauge",
        }
    }

    pub(super) fn start(&self, lab: &Lab) -> Result<Watch> {
        match self {
            Self::FastNetMon(program) => fastnetmon::start(program, &lab.post(), &Settings::Defaults),
            Self::Tidegauge(program) => start_tidegauge(program, lab),
        }
    }
}

impl Watch {
    /// Takes the alarms that have come; an error where the tool is gone.
    pub(crate) fn alarms_so_far(&mut self) -> Result<Vec<Alarm>> {
        let mut alarms = Vec::new();
        loop {
            match self.alarms.try_recv() {
                Ok(alarm) => alarms.push(alarm),
                Err(TryRecvError::Empty) if self.tool.is_alive() => return Ok(alarms),
                Err(_) => bail!("it ended by itself"),
            }
        }
    }

    /// The next alarm within `timeout`.
    pub(super) fn wait(&mut self, timeout: Duration) -> Option<Alarm> {
        self.alarms.recv_timeout(timeout).ok()
    }
}

fn start_tidegauge(program: &Path, lab: &Lab) -> Result<Watch> {
    let mut command = lab.command(Side::Server, program);
    command.args(["live", &lab.server_iface, "--json"]).stdout(Stdio::piped());
    let mut child = command.spawn().context("start tidegauge")?;
    let stdout = child.stdout.take();
    let tool = Running::new(child);
    let lines = BufReader::new(stdout.context("tidegauge has no output")?).lines();
    let (sender, alarms) = channel();
    // Ends with the tool, whose output then ends.
    thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            let at_ns = realtime_ns();
            if let Some(event) = opened_syn_flood(&line)
                && sender
                    .send(Alarm { at_ns, host: None, reported_pps: first_number(&event["measured"]) })
                    .is_err()
            {
                break;
            }
        }
    });
    Ok(Watch { alarms, tool, _files: None })
}

/// The incident of an `opened` line of a SYN flood; `None` for every other line.
fn opened_syn_flood(line: &str) -> Option<Value> {
    let event: Value = serde_json::from_str(line).ok()?;
    let is = |field: &str, value: &str| event[field] == value;
    (is("event", "incident") && is("state", "opened") && is("kind", "syn_flood")).then_some(event)
}

/// What was measured is a number, or an object whose first number it is.
fn first_number(measured: &Value) -> Option<f64> {
    match measured {
        Value::Object(fields) => fields.values().find_map(first_number),
        other => other.as_f64(),
    }
}

fn realtime_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_opened_syn_flood_is_an_alarm() {
        let line = |state, kind| {
            format!(
                r#"{{"event":"incident","state":"{state}","kind":"{kind}","measured":{{"syn_per_s":7}}}}"#
            )
        };
        let event = opened_syn_flood(&line("opened", "syn_flood")).unwrap();
        assert_eq!(first_number(&event["measured"]), Some(7.0));
        assert_eq!(first_number(&serde_json::json!(8.5)), Some(8.5));
        assert!(opened_syn_flood(&line("updated", "syn_flood")).is_none());
        assert!(opened_syn_flood(&line("opened", "conn_surge")).is_none());
        assert!(opened_syn_flood("not json").is_none());
    }
}
