//! Counters and gauges of a run, for Prometheus in its text format, and for OpenTelemetry.
//!
//! Windows are increments, so counters are sums of them and begin at zero with the run; gauges are of the newest window;
//! what is not known has no series. Histograms are sums too, and quantiles gauges of the newest window. All series have
//! the label `source`, which is what the run looks at: several runs of one host may end up in one scrape. The number of
//! series is bounded: [`LISTENERS_MAX`] listeners, all others together; names that lines bring are limited where they
//! are kept.
//!
//! Whoever scrapes looks at [`Metrics::text`], and [`crate::otlp`] sends [`Metrics::otlp`]; the lines come by
//! [`Metrics::of`], or one by one by [`Metrics::take`].

mod alerts;
mod collect;
mod family;
mod histograms;
mod incidents;
mod listeners;
mod otlp;
mod sums;
mod table;
mod text;

use std::borrow::Cow;
use std::fmt;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, prometheus_text};
use prometheus_client::registry::Registry;

use crate::alert::Health;
use crate::feed::{Feed, Losses};
use crate::histogram::Histograms;
use crate::line::{Event, Line};
use crate::otlp::Counts as OtlpCounts;
use family::{Families, Since};
use incidents::Incidents;
use listeners::Listeners;
use sums::Sums;

pub use listeners::LISTENERS_MAX;

/// What the text is, for the header of an answer.
pub const CONTENT_TYPE: &str = prometheus_text::CONTENT_TYPE;

/// Before every name.
const PREFIX: &str = "tidegauge";

/// The label of all series.
const SOURCE: &str = "source";

/// Lines that may wait to be counted; a line takes tens of microseconds.
const LINES_MAX: usize = 1_024;

/// All metrics of a run; clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Metrics(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    source: Option<Arc<Line>>,
    /// What the run looks at, once it is known: the label of all series, so that runs of one host can be told apart.
    name: Option<String>,
    window: Option<Arc<Line>>,
    sums: Sums,
    histograms: Histograms,
    incidents: Incidents,
    listeners: Listeners,
    /// Of our own queue.
    losses: Arc<Losses>,
    feed_losses: Arc<Losses>,
    is_over: bool,
    /// How those fare who are told of incidents.
    alerts: Option<Health>,
    /// How the OTLP receiver fares.
    otlp: Option<Arc<OtlpCounts>>,
    since: Since,
}

impl Metrics {
    /// Metrics of all lines of a feed, kept by a thread that ends with it.
    ///
    /// # Errors
    /// Where no thread can be had.
    pub fn of(feed: &mut Feed) -> std::io::Result<Self> {
        let (lines, losses) = feed.subscribe(LINES_MAX);
        let state = State { losses, feed_losses: feed.losses(), ..State::default() };
        let metrics = Self(Arc::new(Mutex::new(state)));
        let kept = metrics.clone();
        thread::Builder::new().name("metrics".into()).spawn(move || kept.keep(&lines))?;
        Ok(metrics)
    }

    /// How alerts fare is told as well.
    pub fn with_alerts(self, alerts: Option<Health>) -> Self {
        self.look().alerts = alerts;
        self
    }

    /// How the OTLP receiver fares is told as well.
    pub(crate) fn set_otlp(&self, counts: Arc<OtlpCounts>) {
        self.look().otlp = Some(counts);
    }

    /// Takes a line.
    pub fn take(&self, line: &Arc<Line>) {
        let mut state = self.look();
        if state.name.is_none() {
            state.name = line.json["source"]["name"].as_str().map(str::to_owned);
        }
        match line.event {
            Event::Incident => state.incidents.take(line),
            Event::Source => state.source = Some(Arc::clone(line)),
            Event::Window => {
                state.sums.take(line);
                state.histograms.add(&Histograms::of(line));
                state.listeners.take(line);
                state.window = Some(Arc::clone(line));
            }
            Event::Flow | Event::Graph | Event::Judgement | Event::Reload | Event::Summary => {}
        }
    }

    /// All metrics, as Prometheus reads them ([`CONTENT_TYPE`]).
    pub fn text(&self) -> String {
        let name = self.look().name.clone().map(|name| (Cow::from(SOURCE), Cow::from(name)));
        let mut registry = Registry::with_prefix_and_labels(PREFIX, name.into_iter());
        registry.register_collector(Box::new(self.clone()));
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = prometheus_text::encode(&mut text, &registry);
        text
    }

    /// All metrics as the body of an OTLP request, in JSON; nothing until it is known what they are of.
    pub fn otlp(&self, host: &str) -> Option<String> {
        let state = self.look();
        let source = state.name.as_deref();
        if source.is_none() && !state.is_over {
            return None;
        }
        let context = otlp::Context { host, source, since: state.since, now: Since::default() };
        Some(otlp::request(&Families::of(&state), &context).to_string())
    }

    /// Whether all lines of the run were taken, and no more come.
    pub fn is_over(&self) -> bool {
        self.look().is_over
    }

    /// Waits until that is so, or this long.
    pub fn wait_over(&self, limit: Duration) {
        let since = Instant::now();
        while !self.is_over() && since.elapsed() < limit {
            thread::sleep(limit / 100);
        }
    }

    fn look(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, lines: &Receiver<Arc<Line>>) {
        for line in lines {
            self.take(&line);
        }
        self.look().is_over = true;
    }
}

impl Collector for Metrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        text::encode(&Families::of(&self.look()), &mut encoder)
    }
}

#[cfg(test)]
mod tests;
