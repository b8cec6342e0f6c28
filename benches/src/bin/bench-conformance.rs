//! `bench-conformance`: is tidegauge as right as tshark? Packet by packet over captures and generated conversations.
//!
//! Prints markdown for `RESULTS.md`, or JSON with every difference. Exit code 1 where precision or recall of a promised
//! judgement is below 0.99 (without differences that the packets themselves explain), or a capture could not be compared; 2 where it could not run.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use serde::Serialize;
use tidegauge_benches::conformance::live::{self, figures::Outcome, scene::SCENES};
use tidegauge_benches::conformance::{Group, captures, report};
use tidegauge_benches::generate::{Capture, Kind};
use tidegauge_benches::machine::{Machine, data_directory, first_line, sibling};
use tidegauge_tests::skip::is_root;

/// Where captures are looked for, from the root of the checkout.
const CAPTURES_DEFAULT: [&str; 2] = ["../shared/captures", "tests/data"];
/// Of the first generated capture; the others have the next ones.
const SEED_FIRST: u64 = 42;

/// tidegauge's TCP judgement beside tshark's.
#[derive(Parser)]
struct Args {
    /// Captures, or directories of captures [default: those beside the checkout and the project's own].
    paths: Vec<PathBuf>,
    /// The program to judge [default: tidegauge beside this one].
    #[arg(long)]
    tidegauge: Option<PathBuf>,
    /// Generated captures, each with a seed of its own.
    #[arg(long, default_value_t = 3)]
    generated: u64,
    /// Conversations in each of them.
    #[arg(long, default_value_t = Kind::Adversarial.packets_default())]
    conversations: u64,
    /// Leave out the live part, which needs root.
    #[arg(long)]
    no_live: bool,
    /// Only live scenes whose name contains this; no captures.
    #[arg(long)]
    scene: Option<String>,
    /// Where generated captures are kept [default: bench-data in the target directory].
    #[arg(long)]
    data: Option<PathBuf>,
    /// Print JSON instead of markdown.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    machine: Machine,
    versions: Vec<String>,
    groups: Vec<Group>,
    live: Vec<Outcome>,
    /// Why there is no live part.
    live_left_out: Option<String>,
    /// What is not as promised.
    shortcomings: Vec<String>,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(report) if report.shortcomings.is_empty() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::from(1),
        Err(error) => {
            eprintln!("bench-conformance: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(args: &Args) -> Result<Report> {
    let report = compare(args)?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print_markdown(&report);
    }
    Ok(report)
}

fn compare(args: &Args) -> Result<Report> {
    let version = first_line("tshark", &["--version"]).context("run tshark (Debian package tshark)")?;
    let version = version.trim_end_matches('.').to_owned();
    let tidegauge = args.tidegauge.clone().map_or_else(|| sibling("tidegauge", "tidegauge-analyzer"), Ok)?;
    let groups = if args.scene.is_none() { read(args, &tidegauge)? } else { Vec::new() };
    let live_left_out = match () {
        () if args.no_live => Some("not asked for".to_owned()),
        () if !is_root() => Some("needs root".to_owned()),
        () => None,
    };
    let live = if live_left_out.is_none() { play(args, &tidegauge)? } else { Vec::new() };
    let mut shortcomings: Vec<String> = groups.iter().flat_map(report::shortcomings).collect();
    shortcomings.extend(live::report::shortcomings(&live));
    let versions = vec![version];
    Ok(Report { machine: Machine::read(), versions, groups, live, live_left_out, shortcomings })
}

/// Compares captures, recorded and generated.
fn read(args: &Args, tidegauge: &Path) -> Result<Vec<Group>> {
    let paths = match args.paths.as_slice() {
        [] => CAPTURES_DEFAULT.map(PathBuf::from).into_iter().filter(|path| path.is_dir()).collect(),
        paths => paths.to_vec(),
    };
    let mut recorded = Group::new("Captures");
    for capture in captures(&paths)? {
        eprintln!("{}", capture.display());
        recorded.add(tidegauge, &capture);
    }
    let mut generated = Group::new("Generated conversations");
    for seed in SEED_FIRST..SEED_FIRST + args.generated {
        eprintln!("generated, seed {seed}");
        generated.add(tidegauge, &generate(args, seed)?.path);
    }
    Ok([recorded, generated].into_iter().filter(|group| !group.is_empty()).collect())
}

/// Plays the live scenes.
fn play(args: &Args, tidegauge: &Path) -> Result<Vec<Outcome>> {
    let wanted = args.scene.as_deref().unwrap_or_default();
    let mut outcomes = Vec::new();
    for scene in SCENES.iter().filter(|scene| scene.name.contains(wanted)) {
        eprintln!("live: {}", scene.name);
        let played = live::play(scene, SEED_FIRST, tidegauge).with_context(|| scene.name)?;
        outcomes.push(live::figures::outcome(scene.name, &played).with_context(|| scene.name)?);
    }
    Ok(outcomes)
}

/// Has the `generate` binary make a capture, or find it.
fn generate(args: &Args, seed: u64) -> Result<Capture> {
    let data = args.data.clone().map_or_else(data_directory, Ok)?;
    let output = Command::new(sibling("generate", "tidegauge-benches")?)
        .args([Kind::Adversarial.name(), "--packets", &args.conversations.to_string()])
        .args(["--seed", &seed.to_string(), "--data"])
        .arg(data)
        .output()
        .context("run generate")?;
    ensure!(output.status.success(), "generate: {}", String::from_utf8_lossy(&output.stderr).trim());
    serde_json::from_slice(&output.stdout).context("read what generate printed")
}

fn print_markdown(report: &Report) {
    println!("{}\n", report.machine.line());
    println!("Versions: {}.\n", report.versions.join("; "));
    for group in &report.groups {
        println!("{}", report::markdown(group));
    }
    match &report.live_left_out {
        None => println!("{}", live::report::markdown(&report.live)),
        Some(why) => println!("- no live part: {why}\n"),
    }
    if report.shortcomings.is_empty() {
        println!("Precision and recall of every promised judgement are at least {}.", report::SHARE_MIN);
    }
    for shortcoming in &report.shortcomings {
        println!("- short of what is promised: {shortcoming}");
    }
}
