//! `tidegauge learn`: captures that are taken to be benign in; thresholds with their reasons, and baselines, out.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use anyhow::Context;
use tidegauge_analyzer::backtest::Trial;
use tidegauge_analyzer::config::Config;
use tidegauge_analyzer::suggest::{ROUNDS_MAX, Suggestions};
use tidegauge_capture::confine::{Needs, confine};
use tidegauge_capture::file::{Input, Mapping};

use super::Outcome;
use super::args::LearnArgs;
use super::backtest::{reading, trial};
use super::baselines::Baselines;
use super::files::OpenFile;
use super::read::{self, Reading};
use super::sink::Sink;

/// Replays until nothing is told, and writes.
pub(crate) fn run(args: &LearnArgs) -> anyhow::Result<Outcome> {
    let cannot = || format!("cannot write {}", args.config_out.display());
    let mut out = File::options().write(true).create_new(true).open(&args.config_out).with_context(cannot)?;
    let baselines = args.baselines.as_deref().map(Baselines::open).transpose()?;
    // A round reads all captures, and the last one leaves baselines. They are opened before rights are given up.
    let mut rounds = (0..=ROUNDS_MAX).map(|_| open(args)).collect::<anyhow::Result<Vec<_>>>()?;
    let naming: Vec<&Path> = baselines.as_ref().and_then(Baselines::directory).into_iter().collect();
    if !args.no_confine {
        confine(Needs { rename_in: &naming, ..Needs::default() });
    }
    let last = rounds.pop().context("there is one more than rounds")?;
    let suggestions = suggest(rounds)?;
    let about = format!(
        "# Thresholds suggested by `tidegauge learn` from {} captures taken to be benign; all others are the defaults.\n",
        args.captures.len()
    );
    out.write_all(suggestions.toml(&about).as_bytes()).with_context(cannot)?;
    out.sync_data().with_context(cannot)?;
    if let Some(baselines) = baselines {
        leave_baselines(last, suggestions.config()?, baselines)?;
    }
    let mut told = io::stdout().lock();
    writeln!(told, "{}: {} thresholds suggested", args.config_out.display(), suggestions.len())?;
    for unsilenced in suggestions.unsilenced() {
        writeln!(told, "no threshold silences {unsilenced}")?;
    }
    Ok(if suggestions.unsilenced().is_empty() { Outcome::Done } else { Outcome::Failed })
}

fn open(args: &LearnArgs) -> anyhow::Result<Vec<OpenFile>> {
    args.captures.iter().map(|path| read::open(&Input::Path(path.clone()), Mapping::Mapped)).collect()
}

fn suggest(rounds: Vec<Vec<OpenFile>>) -> anyhow::Result<Suggestions> {
    let mut config = Config::default();
    let mut suggestions: Option<Suggestions> = None;
    for files in rounds {
        let trials = files.into_iter().map(|file| trial(file, &config, None, None));
        let trials: Vec<Trial> = trials.collect::<anyhow::Result<_>>()?;
        let suggested = suggestions.get_or_insert_with(|| Suggestions::of(&trials));
        let raised = suggested.raise(&trials, &config);
        let next = suggested.config()?;
        if !raised && next == config {
            return suggestions.context("there was a round");
        }
        config = next;
    }
    let mut suggestions = suggestions.context("there was a round")?;
    suggestions.give_up();
    Ok(suggestions)
}

/// What is usual, with thresholds that tell nothing: an incident would keep its seconds out.
fn leave_baselines(files: Vec<OpenFile>, config: Config, baselines: Baselines) -> anyhow::Result<()> {
    let reading = Reading { baselines: Some(baselines), ..reading(&config, None, None)? };
    let mut files = files;
    files.sort_by_key(|file| file.first_ts_ns);
    read::replay(files, reading, &mut Sink::of_incidents(String::new())).map(drop)
}
