//! Who listens while a scene is played: tidegauge by one of its sources, or FastNetMon with some settings.
//!
//! An answer's time is that of its arrival here for a line of tidegauge, and that of the start of its script for a ban
//! of FastNetMon; both are CLOCK_REALTIME.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tidegauge_tests::netns::{Lab, SERVER_IFACE, Side};

use super::scene::Trouble;
use crate::child::Running;
use crate::detect::fastnetmon::{self, Post, Settings};
use crate::detect::tool::Watch;

/// The source has to be in force by then.
const START: Duration = Duration::from_secs(15);
/// All hosts of the scenes that are not clients.
const GUARDED: &str = "192.0.2.0/24";

/// Who listens.
pub(super) enum Watcher {
    /// Ours, its program and source.
    Tidegauge(PathBuf, &'static str),
    /// FastNetMon, its program and settings.
    FastNetMon(PathBuf, Settings),
}

/// One that listens.
pub(super) enum Watching {
    Tidegauge { running: Running, lines: Receiver<Line>, reader: JoinHandle<()> },
    FastNetMon(Watch),
}

/// What one said of a scene.
pub(super) struct Heard {
    /// When the trouble was told.
    pub(super) found_ns: Option<u64>,
    /// How much was told before it began.
    pub(super) false_alarms: usize,
    /// Frames that it says it lost, in all places; `None` where it does not tell.
    pub(super) lost: Option<u64>,
}

/// A line, and when it was here.
type Line = (u64, Value);

impl Watcher {
    /// Name in tables.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Tidegauge(_, source) => format!("tidegauge, {source}"),
            Self::FastNetMon(_, Settings::Defaults) => "FastNetMon, defaults".to_owned(),
            Self::FastNetMon(_, Settings::Tuned(_)) => "FastNetMon, tuned".to_owned(),
        }
    }

    /// Starts it at the server's interface; tidegauge listens when this returns.
    pub(super) fn start(&self, lab: &Lab) -> Result<Watching> {
        match self {
            Self::Tidegauge(program, source) => start_tidegauge(program, source, lab),
            Self::FastNetMon(program, settings) => {
                let namespace = lab.namespace(Side::Server);
                let post = Post { namespace, iface: SERVER_IFACE.to_owned(), network: GUARDED.to_owned() };
                Ok(Watching::FastNetMon(fastnetmon::start(program, &post, settings)?))
            }
        }
    }
}

impl Watching {
    /// Ends it; what it said of `trouble`, which began at `trouble_ns`.
    pub(super) fn end(self, trouble: &Trouble, trouble_ns: u64) -> Result<Heard> {
        match self {
            Self::FastNetMon(mut watch) => {
                let alarms = watch.alarms_so_far().context("FastNetMon")?;
                let is_it = |host: Option<&str>| host == Some(trouble.target.0);
                let found =
                    alarms.iter().find(|alarm| alarm.at_ns >= trouble_ns && is_it(alarm.host.as_deref()));
                Ok(Heard {
                    found_ns: found.map(|alarm| alarm.at_ns),
                    false_alarms: alarms.iter().filter(|alarm| alarm.at_ns < trouble_ns).count(),
                    lost: None,
                })
            }
            Self::Tidegauge { running, lines, reader } => {
                drop(running);
                ensure!(reader.join().is_ok(), "the reader of its lines failed");
                let lines: Vec<Line> = lines.try_iter().collect();
                let opened: Vec<&Line> = lines.iter().filter(|(_, line)| line["state"] == "opened").collect();
                let found = opened.iter().find(|(at_ns, line)| *at_ns >= trouble_ns && is_it(trouble, line));
                let (_, summary) = lines.last().context("tidegauge said nothing")?;
                Ok(Heard {
                    found_ns: found.map(|(at_ns, _)| *at_ns),
                    false_alarms: opened.iter().filter(|(at_ns, _)| *at_ns < trouble_ns).count(),
                    lost: lost(summary),
                })
            }
        }
    }
}

fn start_tidegauge(program: &Path, source: &str, lab: &Lab) -> Result<Watching> {
    let mut command = lab.command(Side::Server, program);
    command.args(["live", SERVER_IFACE, "--source", source, "--json"]);
    let mut child = command.stdout(Stdio::piped()).spawn().context("start tidegauge")?;
    let stdout = child.stdout.take().context("it has no output")?;
    let running = Running::new(child);
    let (said, lines) = channel();
    let reader = thread::spawn(move || {
        for text in BufReader::new(stdout).lines().map_while(Result::ok) {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            if let Ok(line) = serde_json::from_str(&text) {
                // Nobody listens any more once the run is judged.
                let _ = said.send((now.as_nanos() as u64, line));
            }
        }
    });
    wait_for_source(&lines)?;
    Ok(Watching::Tidegauge { running, lines, reader })
}

fn wait_for_source(lines: &Receiver<Line>) -> Result<()> {
    let started = Instant::now();
    loop {
        let left = START.saturating_sub(started.elapsed());
        let (_, line) = lines.recv_timeout(left).context("tidegauge did not start")?;
        if line["event"] == "source" {
            return Ok(());
        }
    }
}

/// The object has the places that lost frames; one whose count is not known has null.
fn lost(summary: &Value) -> Option<u64> {
    summary["quality"]["dropped"].as_object()?.values().map(Value::as_u64).sum()
}

fn is_it(trouble: &Trouble, line: &Value) -> bool {
    let (address, port) = trouble.target;
    line["kind"] == trouble.kind
        && line["target"]["addr"].as_str().is_some_and(|told| told.starts_with(address))
        && port.is_none_or(|port| line["target"]["port"] == port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_lost_is_not_the_same_as_not_known() {
        let of = |dropped| lost(&serde_json::json!({ "quality": { "dropped": dropped } }));
        assert_eq!(of(serde_json::json!({})), Some(0));
        assert_eq!(of(serde_json::json!({ "ring": 3, "nic": 2 })), Some(5));
        assert_eq!(of(serde_json::json!({ "ring": 3, "nic": null })), None);
        assert_eq!(lost(&serde_json::json!({})), None);
    }
}
