//! `tidegauge backtest`: what a configuration, or each of two, would have said of captures.

use std::io::{self, Write};
use std::path::Path;

use anyhow::Context;
use tidegauge_analyzer::backtest::{self, Backtest, Trial};
use tidegauge_analyzer::config::Config;
use tidegauge_analyzer::follow::MEMORY_MIB_DEFAULT;
use tidegauge_analyzer::incident::Severity;
use tidegauge_analyzer::learnt::Learnt;
use tidegauge_capture::confine::{Needs, confine};
use tidegauge_capture::file::{Input, Mapping};
use tidegauge_capture::filter::Filter;

use super::args::{BacktestArgs, BacktestFailOn, thresholds};
use super::files::OpenFile;
use super::read::{self, Reading};
use super::sink::Sink;
use super::{Outcome, baselines};

/// Replays, prints, and judges.
pub(crate) fn run(args: &BacktestArgs) -> anyhow::Result<Outcome> {
    let mut configs = vec![(name(args.config.as_deref()), thresholds(args.config.as_deref())?)];
    if let Some(against) = &args.against {
        configs.push((name(Some(against)), thresholds(Some(against))?));
    }
    args.filter.as_deref().map(Filter::new).transpose()?;
    let learnt = args.baselines.as_deref().map(known).transpose()?;
    // All are opened before rights are given up, once for each configuration.
    let mut runs = Vec::new();
    for (name, config) in configs {
        let files = args.captures.iter().map(|path| read::open(&Input::Path(path.clone()), Mapping::Mapped));
        runs.push((name, config, files.collect::<anyhow::Result<Vec<OpenFile>>>()?));
    }
    if !args.no_confine {
        confine(Needs::default());
    }
    let mut backtests = Vec::new();
    for (config, thresholds, files) in runs {
        let trials =
            files.into_iter().map(|file| trial(file, &thresholds, learnt.as_ref(), args.filter.as_deref()));
        backtests.push(Backtest { config, trials: trials.collect::<anyhow::Result<_>>()? });
    }
    let first = backtests.first().context("there is at least one configuration")?;
    let other = backtests.get(1);
    let mut out = io::stdout().lock();
    if args.json {
        writeln!(out, "{}", backtest::json(first, other))?;
    } else {
        write!(out, "{}", backtest::table(first, other))?;
    }
    Ok(if is_met(args, first, other) { Outcome::Failed } else { Outcome::Done })
}

fn is_met(args: &BacktestArgs, first: &Backtest, other: Option<&Backtest>) -> bool {
    match args.fail_on {
        None => false,
        Some(BacktestFailOn::Changed) => other.is_some_and(|other| first.differs(other)),
        Some(BacktestFailOn::P1) => first.has(Severity::P1),
        Some(BacktestFailOn::P2) => first.has(Severity::P2),
        Some(BacktestFailOn::P3) => first.has(Severity::P3),
    }
}

/// What an earlier run has learnt; a file that was named must be there.
fn known(path: &Path) -> anyhow::Result<Learnt> {
    baselines::read(path)?.with_context(|| format!("{} is not there", path.display()))
}

fn name(path: Option<&Path>) -> String {
    path.map_or_else(|| "defaults".to_owned(), |path| path.display().to_string())
}

/// One capture under one configuration.
pub(crate) fn trial(
    file: OpenFile,
    config: &Config,
    learnt: Option<&Learnt>,
    filter: Option<&str>,
) -> anyhow::Result<Trial> {
    let capture = file.name.clone();
    let mut sink = Sink::of_incidents(capture);
    read::replay(vec![file], reading(config, learnt, filter)?, &mut sink)?;
    sink.into_trial().context("the sink collected")
}

/// How captures are read for their incidents.
pub(crate) fn reading(
    config: &Config,
    learnt: Option<&Learnt>,
    filter: Option<&str>,
) -> anyhow::Result<Reading> {
    Ok(Reading {
        config: config.clone(),
        baselines: None,
        learnt: learnt.cloned(),
        filter: filter.map(Filter::new).transpose()?,
        workers: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        memory_mib: MEMORY_MIB_DEFAULT,
        judgements: false,
        lines: false,
    })
}
