//! `bench-detection`: what is found, how soon, and what is told of traffic that is fine.
//!
//! Labelled captures where they are present, and generated scenes of every kind at several strengths over ordinary
//! traffic; some of them live, as root. Prints markdown. Exit code 1 where a scene at twice its threshold or more was not found, or ordinary traffic
//! was called a P1, or something else than expected was told of a real load; 2 where it could not run.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use tidegauge_analyzer::config::{Config, KEYS};
use tidegauge_benches::detection::captures::labelled;
use tidegauge_benches::detection::judge::{Judged, incidents, judge, observations};
use tidegauge_benches::detection::live::Programs;
use tidegauge_benches::detection::report::{self, OfCapture, Said};
use tidegauge_benches::detection::scene::{self, Trouble};
use tidegauge_benches::detection::{benign, faults, floods, live, misuse};
use tidegauge_benches::machine::{Machine, find_program, sibling};
use tidegauge_benches::scratch::Scratch;
use tidegauge_tests::skip::is_root;

const CAPTURES_DEFAULT: &str = "../shared/captures";
const STRENGTHS: [f64; 5] = [0.5, 1.0, 2.0, 5.0, 10.0];
/// Ordinary traffic alone, seconds.
const QUIET_S: u64 = 600;

/// How well incidents are found.
#[derive(Parser)]
struct Args {
    /// The program to judge [default: tidegauge beside this one].
    #[arg(long)]
    tidegauge: Option<PathBuf>,
    /// A directory of labelled captures with a MANIFEST.tsv.
    #[arg(long, default_value = CAPTURES_DEFAULT)]
    captures: PathBuf,
    /// Seeds of each scene.
    #[arg(long, default_value_t = 3)]
    seeds: u64,
    /// Rounds of each scene that is played live, through two network namespaces, FastNetMon beside us at the
    /// floods where it is installed; 0: none. Needs root.
    #[arg(long, default_value_t = 5)]
    live: u64,
    /// Only kinds whose name contains this, with --benign only such loads; no captures.
    #[arg(long)]
    kind: Option<String>,
    /// Instead of all that: real loads that are no trouble, through two network namespaces, watched live. Needs root.
    #[arg(long)]
    benign: bool,
    /// Keep the scenes here.
    #[arg(long)]
    keep: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(shortcomings) if shortcomings.is_empty() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::from(1),
        Err(error) => {
            eprintln!("bench-detection: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// The value of a threshold.
fn limit(name: &str) -> f64 {
    let key = KEYS.iter().find(|key| key.name == name);
    key.map_or(f64::NAN, |key| (key.get)(&Config::default()))
}

fn run(args: &Args) -> Result<Vec<String>> {
    let tidegauge = args.tidegauge.clone().map_or_else(|| sibling("tidegauge", "tidegauge-analyzer"), Ok)?;
    println!("{}", Machine::read().line());
    let mut shortcomings = Vec::new();
    if args.benign {
        of_benign(args, &tidegauge, &mut shortcomings)?;
        return Ok(shortcomings);
    }
    if args.kind.is_none() {
        of_captures(args, &tidegauge, &mut shortcomings)?;
    }
    let scratch = Scratch::new("detection")?;
    let directory = args.keep.as_deref().unwrap_or_else(|| scratch.path());
    if args.kind.is_none() {
        of_quiet(directory, &tidegauge, &mut shortcomings)?;
    }
    let troubles = [floods::troubles(limit), misuse::troubles(limit), faults::troubles(limit)];
    let mut judged = Vec::new();
    for trouble in troubles.iter().flatten() {
        if args.kind.as_ref().is_some_and(|kind| !trouble.kind.contains(kind.as_str())) {
            continue;
        }
        for strength in STRENGTHS {
            for seed in 0..args.seeds {
                judged.push(of_scene(directory, &tidegauge, trouble, strength, seed)?);
            }
        }
    }
    println!("\n{}", report::scenes(&judged, &STRENGTHS));
    tell_scenes(&judged, &mut shortcomings);
    let chosen = |kind: &str| args.kind.as_ref().is_none_or(|wanted| kind.contains(wanted.as_str()));
    let troubles: Vec<&Trouble> = troubles.iter().flatten().filter(|trouble| chosen(trouble.kind)).collect();
    of_live(args, &tidegauge, &troubles)?;
    for shortcoming in &shortcomings {
        println!("- {shortcoming}");
    }
    Ok(shortcomings)
}

fn of_captures(args: &Args, tidegauge: &Path, shortcomings: &mut Vec<String>) -> Result<()> {
    let captures = labelled(&args.captures)?;
    if captures.is_empty() {
        println!("\nNo labelled captures in {}.", args.captures.display());
        return Ok(());
    }
    let mut all = Vec::new();
    for capture in captures {
        let (told, length_s) = incidents(tidegauge, &capture.path)?;
        let observed = observations(tidegauge, &capture.path)?;
        all.push(OfCapture { capture, told, observed, length_s });
    }
    println!("\n{}", report::captures(&all));
    tell_labels(&all);
    for of in &all {
        for (label, _) in of.said().filter(|(_, said)| *said == Said::Not) {
            shortcomings.push(format!("{}: {label} was not told", of.capture.name));
        }
        if of.capture.is_benign() {
            for told in of.unlabelled().iter().filter(|told| told.severity != "P3") {
                shortcomings.push(format!("{}: {} {} told", of.capture.name, told.severity, told.kind));
            }
        }
    }
    let benign = all.iter().filter(|of| of.capture.is_benign());
    let (hours, alarms) = benign.fold((0.0, 0), |(hours, alarms), of| {
        (hours + of.length_s / 3_600.0, alarms + of.unlabelled().len())
    });
    println!("{alarms} incidents in {hours:.2} hours of captures without a fault.");
    Ok(())
}

/// How many labels were said how.
fn tell_labels(all: &[OfCapture]) {
    let count = |how: Said| all.iter().flat_map(OfCapture::said).filter(|(_, said)| *said == how).count();
    let [incidents, observed, missed] = [Said::Incident, Said::Observed, Said::Not].map(count);
    println!(
        "{} labels with a kind: {incidents} told as incidents, {observed} observed only (no alarm), {missed} missed.",
        incidents + observed + missed
    );
}

fn of_quiet(directory: &Path, tidegauge: &Path, shortcomings: &mut Vec<String>) -> Result<()> {
    let path = directory.join("quiet.pcap");
    scene::write(&path, None, QUIET_S * 1_000_000, 1).with_context(|| path.display().to_string())?;
    let (told, length_s) = incidents(tidegauge, &path)?;
    println!("\n{} incidents in {:.2} hours of generated ordinary traffic.", told.len(), length_s / 3_600.0);
    shortcomings.extend(told.iter().map(|told| format!("ordinary traffic: {} {}", told.severity, told.kind)));
    Ok(())
}

fn of_live(args: &Args, tidegauge: &Path, troubles: &[&Trouble]) -> Result<()> {
    if args.live == 0 {
        return Ok(());
    }
    if !is_root() {
        println!("\nNothing was played live: it needs root.");
        return Ok(());
    }
    let limits =
        live::limits(limit("conn_rate_limit_per_s"), limit("udp_flood_per_s"), limit("icmp_flood_per_s"));
    let fastnetmon = find_program("fastnetmon");
    let programs = Programs { tidegauge: tidegauge.to_owned(), fastnetmon, limits };
    let before = Machine::read().line();
    let series = live::run(&programs, troubles, args.live)?;
    println!("\n{before}; load at the end {}\n\n{}", Machine::read().load(), live::table(&series));
    match &programs.fastnetmon {
        None => println!("- not measured: FastNetMon (not installed)"),
        Some(_) => println!(
            "FastNetMon, tuned: averages over 1 s; a host's TCP {:.0}, UDP {:.0}, ICMP {:.0} packets/s.",
            limits.tcp_pps, limits.udp_pps, limits.icmp_pps
        ),
    }
    Ok(())
}

fn of_benign(args: &Args, tidegauge: &Path, shortcomings: &mut Vec<String>) -> Result<()> {
    ensure!(is_root(), "real loads need root: they run in network namespaces");
    let all = benign::run(tidegauge, args.kind.as_deref())?;
    println!("\n{}", benign::table(&all));
    shortcomings.extend(all.iter().flat_map(benign::Watched::shortcomings));
    shortcomings.iter().for_each(|shortcoming| println!("- {shortcoming}"));
    Ok(())
}

fn of_scene(
    directory: &Path,
    tidegauge: &Path,
    trouble: &Trouble,
    strength: f64,
    seed: u64,
) -> Result<Judged> {
    let path = directory.join(format!("{}-x{strength}-s{seed}.pcap", trouble.kind));
    scene::write(&path, Some((trouble, strength)), trouble.lasts_us, seed)
        .with_context(|| path.display().to_string())?;
    let (told, _) = incidents(tidegauge, &path)?;
    Ok(judge(trouble, strength, &told))
}

fn tell_scenes(all: &[Judged], shortcomings: &mut Vec<String>) {
    for judged in all {
        let Judged { kind, strength, besides, false_alarms, .. } = judged;
        if *strength >= 2.0 && !judged.found {
            shortcomings.push(format!("{kind} x{strength} was not found; told: {}", besides.join(", ")));
        } else if !besides.is_empty() {
            println!("- {kind} x{strength}: besides {}", besides.join(", "));
        }
        for alarm in false_alarms {
            shortcomings.push(format!("{kind} x{strength}: before it began: {alarm}"));
        }
    }
}
