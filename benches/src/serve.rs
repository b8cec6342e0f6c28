//! What it costs to serve a run that sees 100,000 listeners: the page, metrics, and those who look at them.
//!
//! Handshakes are played through a lab, each listener once in a round, and watched by `tidegauge serve live`. The run
//! is a child of what serves, so that each has an account of its own. Needs root.

mod client;
mod cost;
mod load;

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use tidegauge_tests::netns::{CLIENT_IFACE, Lab, SERVER_IFACE, Side};

use crate::child::Running;
use crate::table::{Table, figure};
use client::{Clients, Scrapes};
use cost::Process;

pub use load::LISTENERS;

/// Where it is served, inside the lab.
const PORT: u16 = 7070;
/// It is served by then.
const START: Duration = Duration::from_secs(20);
/// After clients came, before anything is measured.
const SETTLE: Duration = Duration::from_secs(5);

/// Who looks.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Audience {
    /// Pages that are open.
    pub pages: usize,
    /// Whether metrics are asked for once a second.
    pub is_scraped: bool,
}

/// What an audience cost.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    /// Who looked.
    pub audience: Audience,
    /// CPU time of what serves, in CPUs.
    pub serve_cpus: f64,
    /// CPU time of the run, in CPUs.
    pub run_cpus: f64,
    /// Most memory of what serves.
    pub serve_rss_bytes: u64,
    /// Most memory of the run.
    pub run_rss_bytes: u64,
    /// Time of each answer of `/metrics`.
    pub scrape_ms: Vec<f64>,
    /// Size of the largest.
    pub scrape_bytes: usize,
    /// Messages that each page got per second, in the mean.
    pub messages_per_s: f64,
    /// Bytes of messages that each page got per second, in the mean.
    pub message_bytes_per_s: f64,
    /// Pages that were let go, and requests that were not answered.
    pub failed: u64,
}

/// All that was measured of one run.
#[derive(Clone, Debug, Serialize)]
pub struct Series {
    /// One for each audience.
    pub measured: Vec<Measured>,
    /// Frames that were sent per second.
    pub frames_per_s: f64,
    /// Listeners that were asked.
    pub listeners: usize,
    /// Frames that the run says it lost, by its metrics.
    pub frames_lost: f64,
}

/// Has each audience look for `duration`, in turn, at one run of `program` by `source`.
///
/// # Errors
/// Without root, or where the lab or the program does not come up.
pub fn run(program: &Path, source: &str, audiences: &[Audience], duration: Duration) -> Result<Series> {
    let lab = Lab::new()?;
    let child = start(program, source, &lab)?;
    let pid = child.id();
    let _serve = Running::new(child);
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let sender = scope.spawn(|| lab.inside(Side::Client, || load::send(CLIENT_IFACE, &is_over)));
        let looked = lab.inside(Side::Server, || look(pid, audiences, duration));
        is_over.store(true, Ordering::Relaxed);
        let sent = sender.join().ok().context("the sender failed")???;
        let (measured, frames_lost) = looked??;
        Ok(Series {
            measured,
            frames_per_s: sent.frames as f64 / sent.seconds,
            listeners: LISTENERS,
            frames_lost,
        })
    })
}

fn start(program: &Path, source: &str, lab: &Lab) -> Result<Child> {
    let mut command: Command = lab.command(Side::Server, program);
    command.args([
        "serve",
        "--listen",
        &format!("127.0.0.1:{PORT}"),
        "live",
        SERVER_IFACE,
        "--source",
        source,
    ]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().with_context(|| format!("start {}", program.display()))
}

fn look(pid: u32, audiences: &[Audience], duration: Duration) -> Result<(Vec<Measured>, f64)> {
    let since = Instant::now();
    while client::get(1, "/healthz").is_err() {
        ensure!(since.elapsed() < START, "nothing is served after {START:?}");
        thread::sleep(Duration::from_millis(100));
    }
    let serve = Process::of(pid);
    let run = serve.child().context("what serves has no child")?;
    // Each listener once, so that all are seen before anything is measured.
    thread::sleep(load::ROUND);
    let mut all = Vec::new();
    for audience in audiences {
        all.push(measure(*audience, serve, run, duration)?);
    }
    let metrics = client::get(1, "/metrics")?;
    Ok((all, client::sum(&metrics, "tidegauge_frames_dropped_total")))
}

fn measure(audience: Audience, serve: Process, run: Process, duration: Duration) -> Result<Measured> {
    let clients = Clients::open(audience.pages)?;
    thread::sleep(SETTLE);
    clients.begin();
    let before = (serve.cpu_s()?, run.cpu_s()?, Instant::now());
    let scrapes = match audience.is_scraped {
        true => client::scrape(duration),
        false => {
            thread::sleep(duration);
            Scrapes::default()
        }
    };
    let lasted_s = before.2.elapsed().as_secs_f64();
    let (serve_cpus, run_cpus) =
        ((serve.cpu_s()? - before.0) / lasted_s, (run.cpu_s()? - before.1) / lasted_s);
    let heard = clients.end();
    let each =
        |sum: u64| if audience.pages == 0 { 0.0 } else { sum as f64 / audience.pages as f64 / lasted_s };
    Ok(Measured {
        audience,
        serve_cpus,
        run_cpus,
        serve_rss_bytes: serve.rss_max_bytes()?,
        run_rss_bytes: run.rss_max_bytes()?,
        scrape_bytes: scrapes.bytes_max,
        messages_per_s: each(heard.messages),
        message_bytes_per_s: each(heard.bytes),
        failed: heard.failed + scrapes.failed,
        scrape_ms: scrapes.ms,
    })
}

/// A row for each audience.
pub fn table(series: &Series) -> Table {
    let header = [
        "who looks",
        "serving, % of a CPU",
        "its RSS MiB",
        "the run, % of a CPU",
        "its RSS MiB",
        "/metrics ms, median",
        "longest",
        "kB",
        "messages/s of a page",
        "kB/s",
        "failed",
    ];
    let mut table = Table::new(&header);
    for measured in &series.measured {
        let mut times = measured.scrape_ms.clone();
        times.sort_by(f64::total_cmp);
        let mib = |bytes: u64| figure(Some(bytes as f64 / f64::from(1 << 20)));
        let known = |value: f64| figure((value > 0.0).then_some(value));
        table.row(vec![
            measured.audience.name(),
            figure(Some(measured.serve_cpus * 100.0)),
            mib(measured.serve_rss_bytes),
            figure(Some(measured.run_cpus * 100.0)),
            mib(measured.run_rss_bytes),
            figure(times.get(times.len() / 2).copied()),
            figure(times.last().copied()),
            known(measured.scrape_bytes as f64 / 1e3),
            known(measured.messages_per_s),
            known(measured.message_bytes_per_s / 1e3),
            measured.failed.to_string(),
        ]);
    }
    table
}

impl Audience {
    fn name(self) -> String {
        let scraped = if self.is_scraped { "Prometheus each second" } else { "nobody" };
        match self.pages {
            0 => scraped.to_owned(),
            pages if self.is_scraped => format!("{scraped}, {pages} pages"),
            pages => format!("{pages} pages"),
        }
    }
}
