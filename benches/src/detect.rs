//! Detection latency, live: from the first packet of a flood to the alarm, for tidegauge and FastNetMon alike.
//!
//! Each run starts its tool anew on the server's interface, lets it see ordinary traffic for a while, floods the
//! server and waits for the alarm. Tools take turns within a round, so that both see the same machine. Both times
//! are CLOCK_REALTIME of one host: the sender's before its first send, and ours when the alarm arrives (a line on
//! standard output, or the start of the notify script).

pub mod fastnetmon;
pub mod lab;
pub(crate) mod tool;

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use crate::measure::median;
use lab::{Flood, Lab};
pub use tool::Tool;

/// Ordinary connections per second before, during and after each flood.
pub const BACKGROUND_PER_S: u64 = 200;
/// How long an alarm is waited for after the flood has ended.
const PATIENCE: Duration = Duration::from_secs(4);
/// Between runs, so that half-open connections of one do not answer in the next.
const SETTLE: Duration = Duration::from_secs(1);

/// What to run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// SYNs per second; 0 is as many as the sender can.
    pub rates: Vec<u64>,
    /// Tools and how often each is run at each rate.
    pub tools: Vec<(Tool, usize)>,
    /// Length of each flood.
    pub flood: Duration,
    /// Ordinary traffic between a tool's start and the flood.
    pub warm_up: Duration,
}

/// One run.
#[derive(Clone, Debug, Serialize)]
pub struct Detection {
    /// What the sender reached.
    pub achieved_pps: f64,
    /// From the first packet to the alarm; `None` where none came.
    pub latency_ms: Option<f64>,
    /// The rate that the alarm named.
    pub reported_pps: Option<f64>,
    /// Alarms before the flood began.
    pub false_alarms: usize,
}

/// One tool at one rate.
#[derive(Clone, Debug, Serialize)]
pub struct Series {
    /// Name of the tool.
    pub tool: &'static str,
    /// SYNs per second asked for.
    pub rate_pps: u64,
    /// Its runs in order.
    pub runs: Vec<Detection>,
}

impl Series {
    /// Latencies of the runs that had an alarm.
    pub fn latencies_ms(&self) -> Vec<f64> {
        self.runs.iter().filter_map(|run| run.latency_ms).collect()
    }

    /// Median rate of the sender.
    pub fn achieved_pps(&self) -> Option<f64> {
        median(self.runs.iter().map(|run| run.achieved_pps).collect())
    }
}

/// Carries out `plan` in `lab`, with a real server and ordinary connections beside every flood.
pub fn run(plan: &Plan, lab: &Lab) -> Result<Vec<Series>> {
    let _server = lab.serve()?;
    let mut background = lab.connect(BACKGROUND_PER_S)?;
    let mut all = Vec::new();
    for &rate_pps in &plan.rates {
        let mut series: Vec<Series> = plan
            .tools
            .iter()
            .map(|(tool, _)| Series { tool: tool.name(), rate_pps, runs: Vec::new() })
            .collect();
        let rounds = plan.tools.iter().map(|(_, runs)| *runs).max().unwrap_or(0);
        for round in 0..rounds {
            for ((tool, runs), series) in plan.tools.iter().zip(&mut series) {
                if round < *runs {
                    ensure!(background.is_alive(), "the background connections have ended");
                    let detection = detect(tool, rate_pps, plan, lab)
                        .with_context(|| format!("{} at {rate_pps} SYN/s", tool.name()))?;
                    eprintln!("  {rate_pps}/s, round {}, {}: {detection:?}", round + 1, tool.name());
                    series.runs.push(detection);
                }
            }
        }
        all.append(&mut series);
    }
    Ok(all)
}

fn detect(tool: &Tool, rate_pps: u64, plan: &Plan, lab: &Lab) -> Result<Detection> {
    let mut watch = tool.start(lab)?;
    thread::sleep(plan.warm_up);
    let false_alarms = watch.alarms_so_far().context("the tool ended before the flood")?.len();
    let flood = Flood::start(lab, rate_pps, plan.flood)?;
    let alarm = watch.wait(plan.flood + PATIENCE);
    let (first_packet_ns, achieved_pps) = (flood.first_packet_ns, flood.finish()?);
    drop(watch);
    thread::sleep(SETTLE);
    let latency_ms = alarm.as_ref().map(|alarm| (alarm.at_ns as f64 - first_packet_ns as f64) / 1e6);
    let reported_pps = alarm.and_then(|alarm| alarm.reported_pps);
    Ok(Detection { achieved_pps, latency_ms, reported_pps, false_alarms })
}
