//! `tidegauge serve`: a run, and all that shows it.

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Parser;
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use tidegauge_console::board::SharedBoard;
use tidegauge_console::feed::Feed;

use super::args::{Args, Command, ServeArgs};
use super::page;
use super::watched::Watched;

/// How often signals and the run's end are looked for.
const LOOK: Duration = Duration::from_millis(100);
/// How a run ends that could not do what it was asked to.
const COULD_NOT_RUN: i32 = 2;

/// Starts the run and serves until a signal comes, beyond the run's end too; the exit code is the run's.
pub(crate) fn run(args: &ServeArgs) -> anyhow::Result<ExitCode> {
    let is_live = check(&args.run)?;
    let [stop, again] = [Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false))];
    for (signal, flag) in [(SIGINT, &stop), (SIGTERM, &stop), (SIGHUP, &again)] {
        signal_hook::flag::register(signal, Arc::clone(flag)).context("cannot catch signals")?;
    }
    let mut feed = Feed::default();
    let board = SharedBoard::of(&mut feed).context("cannot start a thread")?;
    let page = page::start(&args.page, board, &mut feed)?;
    let mut watched = Watched::start(&args.run, feed)?;
    let mut ended = None;
    while !stop.load(Ordering::Relaxed) {
        if again.swap(false, Ordering::Relaxed) && is_live && ended.is_none() {
            signal(&watched, Signal::HUP);
        }
        if ended.is_none() {
            ended = watched.ended()?;
            match ended {
                // Whoever started us learns it now, as from the run itself.
                Some(status) if status.code().is_none_or(|code| code == COULD_NOT_RUN) => break,
                Some(_) => page::say(format_args!("the run is over; {} stays until Ctrl-C", page.url())),
                None => {}
            }
        }
        thread::sleep(LOOK);
    }
    if ended.is_none() {
        signal(&watched, Signal::TERM);
    }
    let status = watched.wait()?;
    page.stop();
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::from(2), ExitCode::from))
}

/// What the run is asked to do must be right before anything starts. Whether it is a live one.
fn check(run: &[OsString]) -> anyhow::Result<bool> {
    let program = OsString::from("tidegauge");
    // `--json` is added for the run, and some options go with it only.
    let json = OsString::from("--json");
    let json = (!run.contains(&json)).then_some(&json);
    let words = std::iter::once(&program).chain(run).chain(json);
    let args = Args::try_parse_from(words).unwrap_or_else(|error| error.exit());
    match args.command {
        Command::Live(_) => Ok(true),
        Command::Read(_) => Ok(false),
        _ => bail!("only a run can be served: `live IFACE` or `read FILE`"),
    }
}

/// Sends the run a signal.
fn signal(watched: &Watched, signal: Signal) {
    if let Some(process) = i32::try_from(watched.id()).ok().and_then(Pid::from_raw) {
        // It may have ended by itself.
        let _ = kill_process(process, signal);
    }
}
