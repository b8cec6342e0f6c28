//! `tidegauge serve`: a run, and all that shows it, keeps it or tells of it.
//!
//! It lasts as long as the run does, and with a page until somebody ends it.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::process::{ExitCode, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Parser;
use rustix::process::Signal;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use tidegauge_capture::confine::capability;
use tidegauge_console::board::SharedBoard;
use tidegauge_console::feed::Feed;
use tidegauge_console::history::History;
use tidegauge_console::metrics::Metrics;
use tidegauge_console::otlp::Otlp;
use tidegauge_console::page::Page;

use super::alerts::Told;
use super::args::{Args, Command, ServeArgs};
use super::metrics_file::MetricsFile;
use super::service::Service;
use super::watched::{Starter, Watched};
use super::{alerts, history, page};

/// How often signals and the run's end are looked for.
const LOOK: Duration = Duration::from_millis(100);
/// The run tells the page what talks to what.
const GRAPH_LINES: &str = "--graph-lines";
/// How a run ends that could not do what it was asked to.
const COULD_NOT_RUN: i32 = 2;

/// What was asked for.
#[derive(Default)]
struct Signals {
    stop: Arc<AtomicBool>,
    again: Arc<AtomicBool>,
}

/// What shows the run, keeps it, or tells of it.
struct Outlets {
    page: Option<Page>,
    metrics_file: Option<MetricsFile>,
    otlp: Option<Otlp>,
    alerts: Option<Told>,
    history: Option<History>,
}

/// Starts the run and serves it; the exit code is the run's.
pub(crate) fn run(args: &ServeArgs) -> anyhow::Result<ExitCode> {
    let is_live = check(&args.run)?;
    let signals = Signals::catch()?;
    // The run wants rights, and drops them once all is open. Nothing that listens or tells others here has them.
    let starter = Starter::new().context("cannot start a thread")?;
    if let Err(why) = capability::keep_for_serving() {
        bail!("cannot give up capabilities: {why}");
    }
    let mut feed = Feed::default();
    let service = Service::tell(&mut feed)?;
    let mut outlets = Outlets::start(args, &mut feed)?;
    let mut run = args.run.clone();
    if args.page.is_wanted() && !run.iter().any(|word| word == GRAPH_LINES) {
        run.push(GRAPH_LINES.into());
    }
    let mut watched = Watched::start(starter, &run, feed)?;
    serve(&mut watched, &mut outlets, &signals, &service, is_live)?;
    service.stopping();
    outlets.alerts.iter().for_each(Told::ending);
    // With its summary, if it did not end by itself.
    watched.signal(Signal::TERM);
    let status = watched.wait()?;
    outlets.finish();
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::from(2), ExitCode::from))
}

/// `live --web ADDR ...`, which is `serve --listen ADDR live ...`.
pub(crate) fn of_live(listen: SocketAddr) -> anyhow::Result<ExitCode> {
    let words = served(std::env::args_os().skip(1), listen);
    match Args::try_parse_from(words).unwrap_or_else(|error| error.exit()).command {
        Command::Serve(args) => run(&args),
        _ => bail!("--web goes with live"),
    }
}

/// The command line of `serve` for one of `live` with `--web`.
fn served(words: impl Iterator<Item = OsString>, listen: SocketAddr) -> Vec<OsString> {
    let mut served: Vec<OsString> = ["tidegauge", "serve", "--listen"].map(OsString::from).to_vec();
    served.push(listen.to_string().into());
    let mut is_value = false;
    for word in words {
        let is_of_web =
            is_value || word.to_str().is_some_and(|word| word == "--web" || word.starts_with("--web="));
        is_value = !is_value && word == "--web";
        if !is_of_web {
            served.push(word);
        }
    }
    served
}

/// Until there is nothing more to do, or somebody asks for the end.
fn serve(
    watched: &mut Watched,
    outlets: &mut Outlets,
    signals: &Signals,
    service: &Service,
    is_live: bool,
) -> anyhow::Result<()> {
    let mut has_ended = false;
    while !signals.stop.load(Ordering::Relaxed) {
        outlets.metrics_file.iter_mut().for_each(MetricsFile::tick);
        if signals.again.swap(false, Ordering::Relaxed) {
            outlets.alerts.iter_mut().for_each(Told::reload);
            if is_live && !has_ended {
                service.reloading();
                watched.signal(Signal::HUP);
            }
        }
        if !has_ended && let Some(status) = watched.ended()? {
            has_ended = true;
            match &outlets.page {
                Some(page) if could_run(status) => {
                    page::say(format_args!("the run is over; {} stays until Ctrl-C", page.url()));
                }
                // Whoever started us learns it now, as from the run itself.
                Some(_) | None => return Ok(()),
            }
        }
        thread::sleep(LOOK);
    }
    Ok(())
}

fn could_run(status: ExitStatus) -> bool {
    status.code().is_some_and(|code| code != COULD_NOT_RUN)
}

impl Signals {
    fn catch() -> anyhow::Result<Self> {
        let signals = Self::default();
        for (signal, flag) in [(SIGINT, &signals.stop), (SIGTERM, &signals.stop), (SIGHUP, &signals.again)] {
            signal_hook::flag::register(signal, Arc::clone(flag)).context("cannot catch signals")?;
        }
        Ok(signals)
    }
}

impl Outlets {
    fn start(args: &ServeArgs, feed: &mut Feed) -> anyhow::Result<Self> {
        let alerts = alerts::start(args.alerts.as_deref(), feed)?;
        let health = alerts.as_ref().map(Told::health);
        let is_wanted = args.page.is_wanted() || args.metrics_file.is_some() || args.otlp.is_wanted();
        let metrics = if is_wanted {
            let metrics = Metrics::of(feed).context("cannot start a thread")?;
            Some(metrics.with_alerts(health.clone()))
        } else {
            None
        };
        let metrics_file = match args.metrics_file.as_ref().zip(metrics.clone()) {
            Some((path, metrics)) => Some(MetricsFile::create(path, metrics)?),
            None => None,
        };
        let otlp = args.otlp.start(metrics.as_ref())?;
        let history = history::start(&args.history, feed)?;
        let page = if args.page.is_wanted() {
            let board = SharedBoard::of(feed).context("cannot start a thread")?;
            Some(page::start(&args.page, board, metrics, health, args.history.history.clone(), feed)?)
        } else {
            None
        };
        Ok(Self { page, metrics_file, otlp, alerts, history })
    }

    fn finish(mut self) {
        self.metrics_file.iter_mut().for_each(MetricsFile::finish);
        self.otlp.into_iter().for_each(Otlp::finish);
        alerts::finish(self.alerts);
        history::finish(self.history);
        self.page.into_iter().for_each(Page::stop);
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_live_run_with_a_page_is_one_that_is_served() {
        let listen = "127.0.0.1:9000".parse().unwrap();
        for line in
            ["live eth1 --web 127.0.0.1:9000 --source ring", "live --web=127.0.0.1:9000 eth1 --source ring"]
        {
            let words = served(line.split(' ').map(OsString::from), listen);
            let words: Vec<_> = words.iter().filter_map(|word| word.to_str()).collect();
            assert_eq!(words.join(" "), "tidegauge serve --listen 127.0.0.1:9000 live eth1 --source ring");
        }
    }
}
