//! Runs every fuzz target for a while, two at a time.
//!
//! The targets are those of `fuzz/fuzz_targets`, built with the coverage flags that libFuzzer needs; they work on the
//! stable compiler. Output goes to one log per target; a target that fails shows the end of its log.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use anyhow::{Context, Result, bail};

use crate::{Verdict, shell};

/// The machine that this must not overwhelm has two cores.
const TARGETS_AT_A_TIME: usize = 2;
const LOG_LINES_SHOWN: usize = 40;
const FLAGS: [&str; 8] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Cdebug-assertions",
    "-Coverflow-checks",
    "-Ccodegen-units=1",
];

/// Names of all targets.
pub(crate) fn targets() -> Result<Vec<String>> {
    let directory = directory().join("fuzz_targets");
    let files = fs::read_dir(&directory).with_context(|| format!("list {}", directory.display()))?;
    let mut names = Vec::new();
    for file in files {
        let path = file?.path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            names.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
        }
    }
    names.sort();
    Ok(names)
}

/// Builds all targets; naming the host as `--target` keeps the flags away from build scripts and macros.
pub(crate) fn build() -> Result<()> {
    let mut cargo = shell::cargo(["build", "--release", "--bins", "--manifest-path"]);
    cargo.arg(directory().join("Cargo.toml")).args(["--target", &host()?]);
    cargo.env("CARGO_TARGET_DIR", target_dir()).env_remove("RUSTFLAGS");
    shell::run(cargo.env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\x1f")))
}

/// The command of its own.
pub(crate) fn run_alone(seconds: &str) -> Result<Verdict> {
    let seconds = seconds.parse().with_context(|| format!("{seconds} is not a number of seconds"))?;
    build()?;
    let failed = run(&targets()?, seconds)?;
    Ok(if failed.is_empty() { Verdict::Fine } else { Verdict::Wrong })
}

/// Runs each target for `seconds`; returns the names of those that found something.
pub(crate) fn run(targets: &[String], seconds: u32) -> Result<Vec<String>> {
    let mut failed = Vec::new();
    for pair in targets.chunks(TARGETS_AT_A_TIME) {
        println!("fuzzing {} for {seconds} s", pair.join(" and "));
        let running = pair.iter().map(|target| start(target, seconds)).collect::<Result<Vec<_>>>()?;
        for (target, mut child) in pair.iter().zip(running) {
            let status = child.wait().with_context(|| format!("wait for fuzz target {target}"))?;
            let log = fs::read_to_string(log_file(target)).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            if status.success() {
                println!("{target}: {}", lines.last().unwrap_or(&"no output"));
            } else {
                let shown = &lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..];
                println!("{target} ended with {status}; the end of its log:\n{}", shown.join("\n"));
                failed.push(target.clone());
            }
        }
    }
    Ok(failed)
}

fn start(target: &str, seconds: u32) -> Result<Child> {
    let corpus = directory().join("corpus").join(target);
    let artifacts = directory().join("artifacts");
    fs::create_dir_all(&corpus)
        .and_then(|()| fs::create_dir_all(&artifacts))
        .context("make the corpus directories")?;
    let log = File::create(log_file(target)).context("make the fuzz target's log")?;
    let binary = target_dir().join(host()?).join("release").join(target);
    Command::new(&binary)
        .arg(format!("-max_total_time={seconds}"))
        .args(["-rss_limit_mb=2048", "-max_len=65536"])
        .arg(format!("-artifact_prefix={}/{target}-", artifacts.display()))
        .arg(corpus)
        .stdout(log.try_clone().context("share the log")?)
        .stderr(log)
        .spawn()
        .with_context(|| format!("start {}", binary.display()))
}

/// The toolchain's own platform.
fn host() -> Result<String> {
    let version = shell::output(Command::new("rustc").arg("-vV"))?;
    match version.lines().find_map(|line| line.strip_prefix("host: ")) {
        Some(host) => Ok(host.to_owned()),
        None => bail!("rustc -vV names no host"),
    }
}

fn directory() -> PathBuf {
    shell::root().join("fuzz")
}

/// Apart from the workspace's: everything in it is instrumented.
fn target_dir() -> PathBuf {
    directory().join("target")
}

fn log_file(target: &str) -> PathBuf {
    Path::new(&directory()).join("artifacts").join(format!("{target}.log"))
}
