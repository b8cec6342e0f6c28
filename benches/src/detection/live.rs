//! Scenes as they happen: played through a veth pair between two namespaces into `tidegauge live --source ring`, and
//! the time from the first packet of the trouble until the line that says so arrived here.
//!
//! Both times are CLOCK_REALTIME of one host: that of the scene's beginning, before its first frame is sent, and ours
//! when the line has been read. Needs root; namespaces are gone with their [`Lab`].

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tidegauge_tests::netns::{CLIENT_IFACE, Lab, SERVER_IFACE, Side};
use tidegauge_tests::play::{Played, Timed, play};

use super::scene::{self, Trouble, WARM_UP_US};
use crate::child::Running;
use crate::table::Table;

/// Ordinary traffic before the trouble: baselines are usable after ten seconds.
const BEFORE_US: u64 = 12_000_000;
/// How long a trouble lasts at most, and how long an answer is waited for then.
const LASTS_US: u64 = 6_000_000;
const PATIENCE: Duration = Duration::from_secs(2);
/// The source has to be in force by then.
const START: Duration = Duration::from_secs(15);

/// How much of a trouble.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Strength {
    /// Events a second.
    Rate(f64),
    /// Times its threshold.
    Times(f64),
}

/// What is played. The listener that is flooded serves 100 connections a second all the while.
pub const SCENES: [(&str, Strength); 6] = [
    ("udp_flood", Strength::Rate(20_000.0)),
    ("icmp_flood", Strength::Rate(20_000.0)),
    ("syn_flood", Strength::Rate(20_000.0)),
    ("syn_flood", Strength::Rate(1_000.0)),
    ("port_scan", Strength::Times(2.0)),
    ("http_flood", Strength::Times(2.0)),
];

/// A scene that was played some times.
#[derive(Clone, Debug)]
pub struct Series {
    kind: &'static str,
    strength: Strength,
    /// From the first packet to the line, seconds; `None` where none came.
    after_s: Vec<Option<f64>>,
    /// What was said before the trouble began.
    false_alarms: usize,
    /// Frames that the ring lost.
    lost: u64,
    /// How late the player was at most, nanoseconds.
    late_ns_max: u64,
}

/// Plays each of [`SCENES`] that is among `troubles`, `rounds` times.
///
/// # Errors
/// Without root, or where the lab or tidegauge does not come up.
pub fn run(tidegauge: &Path, troubles: &[&Trouble], rounds: u64) -> Result<Vec<Series>> {
    let mut all = Vec::new();
    for (kind, strength) in SCENES {
        let Some(trouble) = troubles.iter().find(|trouble| trouble.kind == kind) else { continue };
        let mut series =
            Series { kind, strength, after_s: Vec::new(), false_alarms: 0, lost: 0, late_ns_max: 0 };
        for seed in 0..rounds {
            once(tidegauge, trouble, seed, &mut series).with_context(|| format!("{kind}, live"))?;
        }
        all.push(series);
    }
    Ok(all)
}

/// The table of what was played.
pub fn table(all: &[Series]) -> Table {
    let header = [
        "kind, live",
        "strength",
        "found",
        "after s, median",
        "p95",
        "false alarms",
        "frames lost",
        "player late ms",
    ];
    let mut table = Table::new(&header);
    for series in all {
        let mut times: Vec<f64> = series.after_s.iter().copied().flatten().collect();
        times.sort_by(f64::total_cmp);
        let quantile = |share: f64| {
            let place = ((times.len() as f64 * share).ceil() as usize).saturating_sub(1);
            times.get(place).map_or_else(|| "-".to_owned(), |time| format!("{time:.2}"))
        };
        table.row(vec![
            series.kind.to_owned(),
            match series.strength {
                Strength::Rate(per_s) => format!("{per_s}/s"),
                Strength::Times(times) => format!("x{times}"),
            },
            format!("{}/{}", times.len(), series.after_s.len()),
            quantile(0.5),
            quantile(0.95),
            series.false_alarms.to_string(),
            series.lost.to_string(),
            format!("{:.0}", series.late_ns_max as f64 / 1e6),
        ]);
    }
    table
}

/// A line, and when it was here.
type Line = (u64, Value);

fn once(tidegauge: &Path, trouble: &Trouble, seed: u64, series: &mut Series) -> Result<()> {
    let times = match series.strength {
        Strength::Rate(per_s) => per_s / trouble.value,
        Strength::Times(times) => times,
    };
    let frames = frames(trouble, times, seed);
    let lab = Lab::new()?;
    let mut command = lab.command(Side::Server, tidegauge);
    command.args(["live", SERVER_IFACE, "--source", "ring", "--json"]);
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
    let Played { began_ns, late_ns_max, .. } = lab.inside(Side::Client, || play(CLIENT_IFACE, &frames))??;
    thread::sleep(PATIENCE);
    drop(running);
    ensure!(reader.join().is_ok(), "the reader of its lines failed");
    let lines: Vec<Line> = lines.try_iter().collect();
    let trouble_ns = began_ns + BEFORE_US * 1_000;
    let opened: Vec<&Line> = lines.iter().filter(|(_, line)| line["state"] == "opened").collect();
    let found = opened.iter().find(|(at_ns, line)| *at_ns >= trouble_ns && is_it(trouble, line));
    series.after_s.push(found.map(|(at_ns, _)| (at_ns - trouble_ns) as f64 / 1e9));
    series.false_alarms += opened.iter().filter(|(at_ns, _)| *at_ns < trouble_ns).count();
    let (_, summary) = lines.last().context("it said nothing")?;
    series.lost += summary["quality"]["dropped"]["ring"].as_u64().unwrap_or_default();
    series.late_ns_max = series.late_ns_max.max(late_ns_max);
    Ok(())
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

fn is_it(trouble: &Trouble, line: &Value) -> bool {
    let (address, port) = trouble.target;
    line["kind"] == trouble.kind
        && line["target"]["addr"].as_str().is_some_and(|told| told.starts_with(address))
        && port.is_none_or(|port| line["target"]["port"] == port)
}

fn frames(trouble: &Trouble, times: f64, seed: u64) -> Vec<Timed> {
    let lasts_us = trouble.lasts_us.min(LASTS_US);
    let short = Trouble { lasts_us, ..*trouble };
    let from_us = WARM_UP_US - BEFORE_US;
    let timed = scene::packets(&[(&short, times)], lasts_us, seed).into_iter().filter_map(|packet| {
        let after_us = packet.at_us.checked_sub(from_us)?;
        let is_over = packet.at_us > WARM_UP_US + lasts_us;
        (!is_over).then_some(Timed { after_ns: after_us * 1_000, bytes: packet.bytes })
    });
    timed.collect()
}
