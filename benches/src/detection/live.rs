//! Scenes as they happen: played through a veth pair between two namespaces into `tidegauge live`, and the time from
//! the first packet of the trouble until somebody said so. FastNetMon listens to the same packets of the floods.
//!
//! All that listen do so at once, at one interface, so that they see the same packets on the same machine. Times are
//! CLOCK_REALTIME of one host: that of the scene's beginning, before its first frame is sent, and that of the answer.
//! Needs root; namespaces are gone with their [`Lab`].

use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use tidegauge_tests::netns::{CLIENT_IFACE, Lab, Side};
use tidegauge_tests::play::{Played, Timed, play};

use super::background::{BUSY_PER_S, SEGMENTS_IN};
use super::scene::{self, Trouble, WARM_UP_US};
use super::watcher::{Watcher, Watching};
use crate::detect::fastnetmon::{Limits, Settings};
use crate::table::Table;

/// Ordinary traffic before the trouble: baselines are usable after ten seconds.
const BEFORE_US: u64 = 12_000_000;
/// How long a trouble lasts at most, and how long an answer is waited for then. FastNetMon looks at its averages each
/// second, and without a flood they only fall.
const LASTS_US: u64 = 6_000_000;
const PATIENCE: Duration = Duration::from_secs(4);
/// FastNetMon's second begins when it starts: by so much more each round waits before it plays, up to a second, so that
/// troubles begin all over that second. No multiple of our own tick.
const PHASE_MS: u64 = 230;

/// How much of a trouble.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Strength {
    /// Events a second.
    Rate(f64),
    /// Times its threshold.
    Times(f64),
}

/// What is played. The listener that is flooded serves [`BUSY_PER_S`] connections a second all the while.
pub const SCENES: [(&str, Strength); 6] = [
    ("udp_flood", Strength::Rate(20_000.0)),
    ("icmp_flood", Strength::Rate(20_000.0)),
    ("syn_flood", Strength::Rate(20_000.0)),
    ("syn_flood", Strength::Rate(1_000.0)),
    ("port_scan", Strength::Times(2.0)),
    ("http_flood", Strength::Times(2.0)),
];
/// Of these, what FastNetMon counts.
const COUNTED: [&str; 3] = ["udp_flood", "icmp_flood", "syn_flood"];

/// The programs that listen.
pub struct Programs {
    /// Ours.
    pub tidegauge: PathBuf,
    /// FastNetMon, where it is installed.
    pub fastnetmon: Option<PathBuf>,
    /// The limits of its tuned settings.
    pub limits: Limits,
}

/// What one program said of a scene that was played some times.
#[derive(Clone, Debug)]
pub struct Series {
    kind: &'static str,
    strength: Strength,
    /// The program and how it was run.
    tool: String,
    /// From the first packet to its answer, seconds; `None` where none came.
    after_s: Vec<Option<f64>>,
    /// What was said before the trouble began.
    false_alarms: usize,
    /// Frames that it says it lost; `None` where it does not tell.
    lost: Option<u64>,
    /// How late the player was at most, nanoseconds.
    late_ns_max: u64,
}

/// FastNetMon's limits that say the same as ours, given new connections, datagrams and messages per second. It cannot
/// tell SYNs from other segments, so the segments of ordinary traffic at the listener are added to the first.
pub fn limits(conn_per_s: f64, udp_per_s: f64, icmp_per_s: f64) -> Limits {
    let ordinary_pps = (BUSY_PER_S * SEGMENTS_IN) as f64;
    Limits { tcp_pps: conn_per_s + ordinary_pps, udp_pps: udp_per_s, icmp_pps: icmp_per_s }
}

/// Plays each of [`SCENES`] that is among `troubles`, `rounds` times.
///
/// # Errors
/// Without root, or where the lab or a program does not come up.
pub fn run(programs: &Programs, troubles: &[&Trouble], rounds: u64) -> Result<Vec<Series>> {
    let mut all = Vec::new();
    for (kind, strength) in SCENES {
        let Some(trouble) = troubles.iter().find(|trouble| trouble.kind == kind) else { continue };
        let watchers = watchers(programs, kind);
        let mut of_scene: Vec<Series> = watchers
            .iter()
            .map(|watcher| Series {
                kind,
                strength,
                tool: watcher.name(),
                after_s: Vec::new(),
                false_alarms: 0,
                lost: None,
                late_ns_max: 0,
            })
            .collect();
        for seed in 0..rounds {
            once(&watchers, trouble, seed, &mut of_scene).with_context(|| format!("{kind}, live"))?;
            eprintln!("  {kind}, live, round {}", seed + 1);
        }
        all.append(&mut of_scene);
    }
    Ok(all)
}

/// Who listens to a scene: the source of whole frames always, the default one where handshakes are flooded.
fn watchers(programs: &Programs, kind: &str) -> Vec<Watcher> {
    let mut all = vec![Watcher::Tidegauge(programs.tidegauge.clone(), "ring")];
    if kind == "syn_flood" {
        all.push(Watcher::Tidegauge(programs.tidegauge.clone(), "xdp"));
    }
    if let Some(program) = programs.fastnetmon.as_ref().filter(|_| COUNTED.contains(&kind)) {
        all.push(Watcher::FastNetMon(program.clone(), Settings::Defaults));
        all.push(Watcher::FastNetMon(program.clone(), Settings::Tuned(programs.limits)));
    }
    all
}

/// The table of what was played.
pub fn table(all: &[Series]) -> Table {
    let header = [
        "kind, live",
        "strength",
        "tool",
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
            series.tool.clone(),
            format!("{}/{}", times.len(), series.after_s.len()),
            quantile(0.5),
            quantile(0.95),
            series.false_alarms.to_string(),
            series.lost.map_or_else(|| "-".to_owned(), |lost| lost.to_string()),
            format!("{:.0}", series.late_ns_max as f64 / 1e6),
        ]);
    }
    table
}

fn once(watchers: &[Watcher], trouble: &Trouble, seed: u64, all: &mut [Series]) -> Result<()> {
    let Some(strength) = all.first().map(|series| series.strength) else { return Ok(()) };
    let times = match strength {
        Strength::Rate(per_s) => per_s / trouble.value,
        Strength::Times(times) => times,
    };
    let frames = frames(trouble, times, seed);
    let lab = Lab::new()?;
    let watching: Result<Vec<Watching>> = watchers.iter().map(|watcher| watcher.start(&lab)).collect();
    let watching = watching?;
    thread::sleep(Duration::from_millis(seed * PHASE_MS % 1_000));
    let Played { began_ns, late_ns_max, .. } = lab.inside(Side::Client, || play(CLIENT_IFACE, &frames))??;
    thread::sleep(PATIENCE);
    let trouble_ns = began_ns + BEFORE_US * 1_000;
    for (one, series) in watching.into_iter().zip(all) {
        let heard = one.end(trouble, trouble_ns)?;
        series.after_s.push(heard.found_ns.map(|at_ns| (at_ns - trouble_ns) as f64 / 1e9));
        series.false_alarms += heard.false_alarms;
        series.lost = heard.lost.map(|lost| lost + series.lost.unwrap_or_default()).or(series.lost);
        series.late_ns_max = series.late_ns_max.max(late_ns_max);
    }
    Ok(())
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
