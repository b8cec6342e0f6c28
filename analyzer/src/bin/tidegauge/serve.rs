//! `tidegauge serve`: a run, and all that shows it.

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Parser;
use rustix::process::Signal;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use tidegauge_console::board::SharedBoard;
use tidegauge_console::feed::Feed;
use tidegauge_console::metrics::Metrics;

use super::alerts;
use super::args::{Args, Command, ServeArgs};
use super::history;
use super::metrics_file::MetricsFile;
use super::service;
use super::watched::Watched;

/// How often signals and the run's end are looked for.
const LOOK: Duration = Duration::from_millis(100);

/// Starts the run and serves until a signal comes; the exit code is the run's.
pub(crate) fn run(args: &ServeArgs) -> anyhow::Result<ExitCode> {
    check(&args.run)?;
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop)).context("cannot catch signals")?;
    }
    let reload = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(SIGHUP, Arc::clone(&reload)).context("cannot catch signals")?;
    let mut feed = Feed::default();
    service::tell(&mut feed)?;
    let board = SharedBoard::of(&mut feed).context("cannot start a thread")?;
    let alerts = alerts::start(args.alerts.as_deref(), &mut feed)?;
    let history = history::start(&args.history, &mut feed)?;
    let metrics = Metrics::of(&mut feed).context("cannot start a thread")?;
    let mut metrics_file =
        args.metrics_file.as_ref().map(|path| MetricsFile::create(path, metrics.clone())).transpose()?;
    let mut watched = Watched::start(&args.run, feed)?;
    while !stop.load(Ordering::Relaxed) && watched.ended()?.is_none() {
        metrics_file.iter_mut().for_each(MetricsFile::tick);
        if reload.swap(false, Ordering::Relaxed) {
            service::reloading();
            send(&watched, Signal::HUP);
        }
        thread::sleep(LOOK);
    }
    service::stopping();
    // With its summary, if it did not end by itself.
    send(&watched, Signal::TERM);
    let status = watched.wait()?;
    alerts::finish(alerts);
    history::finish(history);
    metrics_file.iter_mut().for_each(MetricsFile::finish);
    let _ = board.look().windows;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::from(2), ExitCode::from))
}

/// What the run is asked to do must be right before anything starts.
fn check(run: &[OsString]) -> anyhow::Result<()> {
    let program = OsString::from("tidegauge");
    let args =
        Args::try_parse_from(std::iter::once(&program).chain(run)).unwrap_or_else(|error| error.exit());
    match args.command {
        Command::Live(_) | Command::Read(_) => Ok(()),
        _ => bail!("only a run can be served: `live IFACE` or `read FILE`"),
    }
}

/// Passes a signal on; the run may have ended by itself.
fn send(watched: &Watched, signal: Signal) {
    let process = rustix::process::Pid::from_raw(i32::try_from(watched.id()).unwrap_or(0));
    if let Some(process) = process {
        let _ = rustix::process::kill_process(process, signal);
    }
}
