//! Runs programs side by side: interleaved rounds (A B C, A B C, ...), medians, ratios within a round.
//!
//! Interleaving lets a slow minute of the machine hit all of them, and a ratio is taken within each round before
//! the median, so that it survives what the absolute figures do not. A program that fails once is not run again.
//! Output goes nowhere; the last line of standard error is kept to explain a failure.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::child::{self, Usage};
use crate::scratch::Scratch;

/// Bounds for a program that might take the machine down with it.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Bounds {
    /// Address space, `ulimit -v`.
    pub memory_bytes: u64,
    /// CPU time, `ulimit -t`.
    pub cpu_s: u64,
}

/// A program to run.
#[derive(Clone, Debug, Serialize)]
pub struct Subject {
    /// Name in tables.
    pub name: String,
    /// Program and arguments.
    pub argv: Vec<String>,
}

impl Subject {
    /// `argv` as it would be typed in the right directory: of paths, other than devices, only the last part.
    pub fn command_line(&self) -> String {
        let short = |argument: &String| match argument.rsplit_once('/') {
            Some((directory, name)) if directory != "/dev" => name.to_owned(),
            _ => argument.clone(),
        };
        self.argv.iter().map(short).collect::<Vec<_>>().join(" ")
    }
}

/// A program and what its runs cost.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    /// What was run.
    pub subject: Subject,
    /// One entry per round, until it failed.
    pub runs: Vec<Usage>,
    /// Why it was not run to the end.
    pub failure: Option<String>,
}

impl Measured {
    /// Median over the runs; `None` where there is none.
    pub fn median(&self, value: impl Fn(&Usage) -> f64) -> Option<f64> {
        median(self.runs.iter().map(value).collect())
    }

    /// Median of this program's CPU time divided by the other's in the same round.
    pub fn cpu_ratio_to(&self, other: &Self) -> Option<f64> {
        let pairs = self.runs.iter().zip(&other.runs);
        median(pairs.map(|(own, base)| own.cpu_s() / base.cpu_s()).collect())
    }
}

/// The middle value, or the mean of the two middle ones.
pub fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        count if count % 2 == 1 => Some(values[middle]),
        _ => Some(f64::midpoint(values[middle - 1], values[middle])),
    }
}

/// Runs `subjects` in turn, `rounds` times over.
pub fn interleaved(subjects: Vec<Subject>, rounds: usize, bounds: Bounds) -> Result<Vec<Measured>> {
    let scratch = Scratch::new("measure").context("create a temporary directory")?;
    let mut all: Vec<Measured> = subjects
        .into_iter()
        .map(|subject| Measured { subject, runs: Vec::with_capacity(rounds), failure: None })
        .collect();
    for round in 1..=rounds {
        for measured in all.iter_mut().filter(|measured| measured.failure.is_none()) {
            eprintln!("  round {round}/{rounds}: {}", measured.subject.name);
            match run(&measured.subject, bounds, &scratch.path().join("stderr"))? {
                Ok(usage) => measured.runs.push(usage),
                Err(failure) => measured.failure = Some(failure),
            }
        }
    }
    Ok(all)
}

/// One run: its cost, or why the program failed.
fn run(subject: &Subject, bounds: Bounds, stderr_path: &Path) -> Result<Result<Usage, String>> {
    let stderr = File::create(stderr_path).context("create a file for standard error")?;
    // The shell sets the bounds and becomes the program, so that the costs are the program's.
    let script = format!("ulimit -v {}; ulimit -t {}; exec \"$@\"", bounds.memory_bytes / 1024, bounds.cpu_s);
    let started = Instant::now();
    let child = Command::new("sh")
        .args(["-c", &script, "sh"])
        .args(&subject.argv)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(stderr)
        .spawn()
        .with_context(|| format!("start {}", subject.command_line()))?;
    let (status, usage) = child::wait(child, started).context("wait for a child")?;
    if status.success() {
        return Ok(Ok(usage));
    }
    let mut text = String::new();
    // Standard error of a failed program may be any bytes; then the status alone has to explain it.
    let _ = File::open(stderr_path).and_then(|mut file| file.read_to_string(&mut text));
    let last_line = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("no message");
    let after = format!("{:.0} s, {} MB", usage.wall_s, usage.rss_max_bytes / 1_000_000);
    Ok(Err(format!("{status} after {after}: {}", last_line.trim())))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { memory_bytes: 1 << 30, cpu_s: 5 };

    fn subject(script: &str) -> Subject {
        Subject { name: script.into(), argv: vec!["sh".into(), "-c".into(), script.into()] }
    }

    #[test]
    fn command_lines_do_not_tell_where_things_are() {
        let argv = ["/usr/bin/x", "-r", "/data/mix.pcap", "-w", "/dev/null"].map(str::to_owned).to_vec();
        assert_eq!(Subject { name: "x".into(), argv }.command_line(), "x -r mix.pcap -w /dev/null");
    }

    #[test]
    fn medians_of_odd_even_and_no_values() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(vec![]), None);
    }

    #[test]
    fn a_failure_is_told_and_ends_that_program_only() {
        let subjects = vec![subject("echo first >&2; echo why >&2; exit 7"), subject("exit 0")];
        let all = interleaved(subjects, 3, BOUNDS).unwrap();
        assert!(all[0].runs.is_empty());
        let failure = all[0].failure.as_deref().unwrap();
        assert!(failure.contains('7') && failure.ends_with("why"), "{failure}");
        assert_eq!((all[1].runs.len(), all[1].failure.is_none()), (3, true));
    }

    #[test]
    fn the_cpu_bound_ends_a_program_that_spins() {
        let bounds = Bounds { cpu_s: 1, ..BOUNDS };
        let all = interleaved(vec![subject("while :; do :; done")], 1, bounds).unwrap();
        assert!(all[0].failure.is_some());
    }
}
