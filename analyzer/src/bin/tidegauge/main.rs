//! The command line: arguments in, exit code out. All reading of clocks, signals and the environment is here.
//!
//! Exit codes: 0 done; 1 done, and `--fail-on` was met; 2 could not run (one message on standard error).
#![forbid(unsafe_code)]

mod ahead;
mod alerts;
mod args;
mod args_console;
mod backtest;
mod baselines;
mod compared;
mod config;
mod confine;
mod costs;
mod diff;
mod doctor;
mod evidence;
mod exports;
mod files;
mod generate;
mod graph_lines;
mod history;
mod lane;
mod learn;
mod live;
mod live_af_xdp;
mod live_frames;
mod live_ring;
mod live_xdp;
mod meter;
mod metrics_file;
mod otlp;
mod page;
mod pinned;
mod progress;
mod read;
mod reports;
mod screen;
mod serve;
mod service;
mod sink;
mod thresholds;
mod told;
mod watched;

use std::io;
use std::process::ExitCode;

use clap::Parser;

use args::{Args, Command};
use screen::Show;

/// How a run that came to its end is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// `--fail-on` was not met.
    Done,
    /// It was.
    Failed,
}

impl Outcome {
    fn code(self) -> ExitCode {
        match self {
            Self::Done => ExitCode::SUCCESS,
            Self::Failed => ExitCode::from(1),
        }
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    let ended = match args.command {
        Command::Backtest(backtest) => backtest::run(&backtest).map(Outcome::code),
        Command::Config { command } => config::run(&command).map(Outcome::code),
        Command::Diff(diff) => diff::run(&diff).map(Outcome::code),
        Command::Doctor(doctor) => doctor::run(&doctor),
        Command::History(args) => history::run(&args).map(Outcome::code),
        Command::Generate(generate) => generate::run(&generate).map(Outcome::code),
        Command::Learn(learn) => learn::run(&learn).map(Outcome::code),
        Command::Report(report) => reports::run(&report).map(Outcome::code),
        Command::Live(live) => match (live.show.web, Show::of_live(&live)) {
            (Some(listen), _) => serve::of_live(listen),
            (None, Some(show)) => screen::run(show),
            (None, None) => live::run(&live).map(Outcome::code),
        },
        Command::Read(read) => match Show::of_read(&read) {
            Some(show) => screen::run(show),
            None => read::run(&read).map(Outcome::code),
        },
        Command::Serve(serve) => serve::run(&serve),
        Command::TestAlert(test) => alerts::test(&test),
        Command::Unpin(unpin) => confine::unpin(&unpin).map(Outcome::code),
    };
    match ended {
        Ok(code) => code,
        // The reader of our output went away: that is its choice, not an error.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // Standard error may be gone as well; there is nobody left to tell.
            let _ = io::Write::write_fmt(&mut io::stderr(), format_args!("tidegauge: {error:#}\n"));
            ExitCode::from(2)
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    })
}
