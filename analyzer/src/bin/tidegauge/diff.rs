//! `tidegauge diff`: two captures, saved runs, or intervals of them, side by side.
//!
//! Both are opened before rights are given up. Captures go through the same engine as in `read`, and its lines are kept
//! as a comparison needs them instead of being printed; saved runs are read line by line.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use tidegauge_analyzer::config::Config;
use tidegauge_analyzer::diff::{self, Bound, Interval, RunSummary, Verdict};
use tidegauge_analyzer::follow::MEMORY_MIB_DEFAULT;
use tidegauge_analyzer::output::{Setup, Source};
use tidegauge_analyzer::time::parse_timestamp;
use tidegauge_capture::confine::{Needs, confine};
use tidegauge_capture::file::{Input, Mapping};
use tidegauge_capture::filter::Filter;
use tidegauge_console::report::{Comparison, Report};

use super::Outcome;
use super::args::{DiffArgs, DiffFailOn, thresholds};
use super::compared::Compared;
use super::files::OpenFile;
use super::read::{self, RESOLUTION_US, Reading};
use super::reports::ComparisonFiles;
use super::sink::Sink;

/// Longest line of a saved run that is read at once: lines have some ten kilobytes.
const LINE_BYTES_MAX: u64 = 16 << 20;

/// One side, open.
enum Opened {
    Capture(OpenFile),
    Saved(BufReader<File>),
}

/// Compares, prints, and judges.
pub(crate) fn run(args: &DiffArgs) -> anyhow::Result<Outcome> {
    let sides = [open(&args.a)?, open(&args.b)?];
    let config = thresholds(args.config.as_deref())?;
    // Compiled for each side, and once here: a wrong one is said before anything is read.
    args.filter.as_deref().map(Filter::new).transpose()?;
    let files = ComparisonFiles::open(&args.report)?;
    if !args.no_confine {
        confine(Needs::default());
    }
    let mut read = Vec::new();
    for (opened, run) in sides {
        let side = Compared { run, report: files.is_some().then(Report::default) };
        let mut side = match opened {
            Opened::Capture(file) => read_capture(file, side, config.clone(), args)?,
            Opened::Saved(lines) => read_lines(lines, side)?,
        };
        side.run.finish();
        read.push(side);
    }
    let [a, b] = read.as_slice() else { bail!("two runs were opened") };
    let diff = diff::compare(&a.run, &b.run, args.listeners.into())?;
    let mut out = io::stdout().lock();
    if args.json {
        writeln!(out, "{}", diff::json(&diff, &a.run, &b.run))?;
    } else {
        write!(out, "{}", diff::table(&diff, &a.run, &b.run))?;
    }
    if let (Some(files), Some(of_a), Some(of_b)) = (files, &a.report, &b.report) {
        files.write(&Comparison { diff: &diff::json(&diff, &a.run, &b.run), a: of_a, b: of_b })?;
    }
    let is_met = match args.fail_on {
        None => false,
        Some(DiffFailOn::Worse) => diff.count(Verdict::Worse) != 0,
        Some(DiffFailOn::Changed) => {
            diff.rows.iter().any(|row| !matches!(row.verdict, Verdict::Same | Verdict::Unknown))
        }
    };
    Ok(if is_met { Outcome::Failed } else { Outcome::Done })
}

/// Opens a side: what begins like a JSON object is a saved run, all else a capture.
fn open(side: &str) -> anyhow::Result<(Opened, RunSummary)> {
    let (path, interval) = path_and_interval(side)?;
    let file = File::open(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let is_regular = file.metadata().is_ok_and(|file| file.is_file());
    let mut lines = BufReader::new(file);
    let begin = lines.fill_buf().with_context(|| format!("cannot read {}", path.display()))?;
    let opened = if begin.trim_ascii_start().starts_with(b"{") {
        Opened::Saved(lines)
    } else if is_regular {
        drop(lines);
        Opened::Capture(read::open(&Input::Path(path), Mapping::Mapped)?)
    } else {
        bail!(
            "{side}: captures are read from files; from a pipe, JSON lines (tidegauge read --json --flows)"
        );
    };
    Ok((opened, RunSummary::new(side.to_owned(), interval)))
}

/// `FILE`, or `FILE@FROM..TO`. A file that is called so is that file.
fn path_and_interval(side: &str) -> anyhow::Result<(PathBuf, Interval)> {
    let whole = || Ok((PathBuf::from(side), Interval::default()));
    let Some((path, interval)) = side.rsplit_once('@').filter(|_| !Path::new(side).exists()) else {
        return whole();
    };
    let Some((from, to)) = interval.split_once("..") else { return whole() };
    let (from, to) = (bound(from)?, bound(to)?);
    if let (Some(Bound::Seconds(from)), Some(Bound::Seconds(to))) = (from, to) {
        ensure!(from < to, "{interval}: an interval ends after it begins");
    }
    Ok((PathBuf::from(path), Interval { from, to }))
}

fn bound(text: &str) -> anyhow::Result<Option<Bound>> {
    if text.is_empty() {
        return Ok(None);
    }
    if let Some(seconds) = text.parse().ok().filter(|seconds: &f64| seconds.is_finite() && *seconds >= 0.0) {
        return Ok(Some(Bound::Seconds(seconds)));
    }
    let time = parse_timestamp(text).map(Bound::Time);
    time.map(Some).with_context(|| format!("{text} is neither seconds nor an RFC 3339 time"))
}

/// The lines that `read` would print of a capture.
fn read_capture(file: OpenFile, side: Compared, config: Config, args: &DiffArgs) -> anyhow::Result<Compared> {
    let filter = args.filter.as_deref().map(Filter::new).transpose()?;
    let source = Source {
        kind: "file",
        mode: "mapped",
        why: "capture file".to_owned(),
        egress: None,
        name: side.run.name.clone(),
        resolution_us: RESOLUTION_US,
        setup: Setup::default(),
    };
    let mut sink = Sink::collecting(side, args.window, source);
    let reading = Reading {
        config,
        baselines: None,
        learnt: None,
        filter,
        workers: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        memory_mib: MEMORY_MIB_DEFAULT,
        judgements: false,
        lines: false,
    };
    read::replay(vec![file], reading, &mut sink)?;
    sink.into_side().context("the sink collected")
}

/// The lines of a saved run. What is no JSON is counted: the last line of a run that was killed is half a line.
fn read_lines(mut lines: BufReader<File>, mut side: Compared) -> anyhow::Result<Compared> {
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = lines.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line);
        if read.with_context(|| format!("cannot read {}", side.run.name))? == 0 {
            return Ok(side);
        }
        match serde_json::from_slice(&line) {
            Ok(value) => side.take(value),
            Err(_) if line.trim_ascii().is_empty() => {}
            Err(_) => side.run.note_unreadable(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_seconds_or_times() {
        let parse = |side: &str| path_and_interval(side).map_err(|error| error.to_string());
        let seconds = |seconds| Some(Bound::Seconds(seconds));
        assert_eq!(parse("a.pcap"), Ok(("a.pcap".into(), Interval::default())));
        assert_eq!(parse("a@b.pcap"), Ok(("a@b.pcap".into(), Interval::default())));
        assert_eq!(
            parse("a@b@10..40.5"),
            Ok(("a@b".into(), Interval { from: seconds(10.0), to: seconds(40.5) }))
        );
        assert_eq!(parse("a@..40"), Ok(("a".into(), Interval { from: None, to: seconds(40.0) })));
        let time = Interval { from: Some(Bound::Time(1_700_000_000_000_000_000)), to: None };
        assert_eq!(parse("a@2023-11-14T22:13:20Z.."), Ok(("a".into(), time)));
        for wrong in ["a@-1..2", "a@noon..", "a@1..nan"] {
            assert!(parse(wrong).is_err_and(|error| error.contains("neither seconds")), "{wrong}");
        }
        assert!(parse("a@9..3").is_err_and(|error| error.contains("ends after it begins")));
    }
}
