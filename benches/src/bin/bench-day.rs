//! `bench-day`: 24 hours of ordinary traffic at 100,000 listeners, replayed at full speed.
//!
//! Asked of it: memory that does not grow with the hours, the same output each time and with any number of workers,
//! and nobody woken: no P1, at most one P3. Exit code 1 where it falls short, 2 where it could not run.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use tidegauge_benches::detection::judge::incidents;
use tidegauge_benches::generate::{Kind, Spec, ensure as generate};
use tidegauge_benches::machine::{Machine, data_directory, sibling};
use tidegauge_benches::table::{Table, figure};

const SEED: u64 = 42;
/// Once with one worker, then again, then with two.
const RUNS: [u32; 3] = [1, 1, 2];
/// Parts of a run after which memory is told.
const PARTS: usize = 10;
/// How much more memory in the second half of the day than in the first is not flat, per cent. Tables of listeners fill
/// within the first hours.
const GROWTH_MAX_PERCENT: u64 = 5;
const P3_MAX: usize = 1;

/// A day at 100,000 listeners: memory, repeatability, false alarms.
#[derive(Parser)]
struct Args {
    /// The program to judge [default: tidegauge beside this one].
    #[arg(long)]
    tidegauge: Option<PathBuf>,
    /// Packets of the day.
    #[arg(long, default_value_t = Kind::Day.packets_default())]
    packets: u64,
    /// Where captures are kept [default: bench-data in the target directory].
    #[arg(long)]
    data: Option<PathBuf>,
}

/// What one run did.
struct Run {
    workers: u32,
    /// FNV-1a of all it printed.
    digest: u64,
    wall_s: f64,
    /// Anonymous memory in use after each tenth of its output.
    anonymous_kib: Vec<u64>,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(shortcomings) if shortcomings.is_empty() => ExitCode::SUCCESS,
        Ok(shortcomings) => {
            shortcomings.iter().for_each(|shortcoming| println!("- {shortcoming}"));
            ExitCode::from(1)
        }
        Err(error) => {
            eprintln!("bench-day: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(args: &Args) -> Result<Vec<String>> {
    let tidegauge = args.tidegauge.clone().map_or_else(|| sibling("tidegauge", "tidegauge-analyzer"), Ok)?;
    let directory = args.data.clone().map_or_else(data_directory, Ok)?;
    let capture = generate(&Spec { kind: Kind::Day, packets: args.packets, seed: SEED }, &directory)?;
    println!("{}\n", Machine::read().line());
    let truth = &capture.truth;
    let (packets, hours) = (truth.packets, truth.duration_us as f64 / 3.6e9);
    println!(
        "{packets} packets, {} TCP and {} UDP conversations in {hours:.2} hours.\n",
        truth.tcp_flows, truth.udp_flows
    );
    let mut runs = Vec::new();
    for workers in RUNS {
        runs.push(replay(&tidegauge, &capture.path, workers, hours)?);
    }
    let mut table =
        Table::new(&["workers", "s", "times as fast as it was", "MiB by tenths of the day", "output"]);
    for run in &runs {
        let mib: Vec<_> = run.anonymous_kib.iter().map(|kib| (kib / 1_024).to_string()).collect();
        let speed = figure(Some(hours * 3_600.0 / run.wall_s));
        table.row(vec![
            run.workers.to_string(),
            figure(Some(run.wall_s)),
            speed,
            mib.join(" "),
            format!("{:016x}", run.digest),
        ]);
    }
    println!("{table}");
    let mut shortcomings = Vec::new();
    judge(&runs, &mut shortcomings);
    alarms(&tidegauge, &capture.path, &mut shortcomings)?;
    Ok(shortcomings)
}

fn judge(runs: &[Run], shortcomings: &mut Vec<String>) {
    if runs.windows(2).any(|pair| pair[0].digest != pair[1].digest) {
        shortcomings.push("the output differs between runs".to_owned());
    }
    for run in runs {
        let (morning, evening) = run.anonymous_kib.split_at(run.anonymous_kib.len() / 2);
        let (Some(first), Some(most)) = (morning.iter().max(), evening.iter().max()) else {
            shortcomings.push("memory could not be read".to_owned());
            continue;
        };
        if most * 100 > first * (100 + GROWTH_MAX_PERCENT) {
            shortcomings.push(format!("{} workers: memory grew from {first} to {most} KiB", run.workers));
        }
    }
}

/// What is told of a day on which nothing was wrong.
fn alarms(tidegauge: &Path, capture: &Path, shortcomings: &mut Vec<String>) -> Result<()> {
    let (told, _) = incidents(tidegauge, capture)?;
    println!("{} incidents told of the day.", told.len());
    for told in &told {
        let addr = told.addr.as_deref().unwrap_or("-");
        println!("  {} {} at {addr} after {:.0} s", told.severity, told.kind, told.opened_s);
    }
    let of = |severity| told.iter().filter(|told| told.severity == severity).count();
    if of("P1") + of("P2") > 0 || of("P3") > P3_MAX {
        shortcomings.push(format!(
            "{} P1, {} P2, {} P3 told of ordinary traffic",
            of("P1"),
            of("P2"),
            of("P3")
        ));
    }
    Ok(())
}

/// Reads the capture; its output is digested as it comes, so that this program stays small.
fn replay(tidegauge: &Path, capture: &Path, workers: u32, hours: f64) -> Result<Run> {
    let started = Instant::now();
    let mut command = Command::new(tidegauge);
    command.args(["read", "--json", "--window", "60s", "--workers", &workers.to_string()]).arg(capture);
    let mut child =
        command.stdout(Stdio::piped()).spawn().with_context(|| tidegauge.display().to_string())?;
    let mut output = child.stdout.take().context("its output")?;
    let (mut digest, mut buffer) = (0xcbf2_9ce4_8422_2325_u64, vec![0; 1 << 16]);
    let (mut windows, mut anonymous_kib) = (0, Vec::new());
    loop {
        let length = output.read(&mut buffer).context("read its output")?;
        if length == 0 {
            break;
        }
        for byte in &buffer[..length] {
            digest = (digest ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
            windows += usize::from(*byte == b'\n');
        }
        let tenth = hours * 60.0 / PARTS as f64;
        if windows as f64 >= tenth * (anonymous_kib.len() + 1) as f64 && anonymous_kib.len() < PARTS {
            anonymous_kib.extend(anonymous(child.id()));
        }
    }
    let status = child.wait()?;
    ensure!(status.success(), "tidegauge ended with {status}");
    Ok(Run { workers, digest, wall_s: started.elapsed().as_secs_f64(), anonymous_kib })
}

/// Anonymous memory of a process, KiB: the mapped file is the page cache's.
fn anonymous(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("RssAnon:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}
