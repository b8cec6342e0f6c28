//! `/api/history`: an interval of what the run's history keeps, as the page shows what is now.
//!
//! One interval is read at a time, in a thread that may wait for disks, and of bounded size: others wait for it, and not
//! forever. What is told is bounded as the board is: points are joined where there are many, and of incidents the newest
//! are told.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::countries::Countries;
use super::heat::Heat;
use super::limits::INCIDENTS_TOLD_MAX;
use super::told;
use crate::board::{Board, IncidentCard, Point};
use crate::history::{self, HistoryError, Query};
use crate::line::{Event, time_ns};
use crate::report::Series;

/// Longest interval: a day.
const SPAN_S_MAX: f64 = 86_400.0;
/// Lines that are read of it: a day of seconds and what comes between.
const LINES_MAX: u64 = 100_000;
/// How long a request waits for the one before it.
const WAIT_MAX: Duration = Duration::from_secs(20);

/// Why an interval is not told.
#[derive(Debug)]
pub(super) enum Refusal {
    /// Not what can be asked for.
    Asked(&'static str),
    /// Others are asking.
    Busy,
    /// The disk.
    History(HistoryError),
    /// No such incident in it.
    Incident,
}

/// An interval, packet time, seconds since the epoch.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Interval {
    from_s: f64,
    to_s: f64,
}

/// Where history is, and whose turn it is to read it.
#[derive(Debug)]
pub(super) struct Past {
    dir: PathBuf,
    countries: Option<Arc<Countries>>,
    turn: Semaphore,
}

impl Past {
    pub(super) fn new(dir: PathBuf, countries: Option<Arc<Countries>>) -> Self {
        Self { dir, countries, turn: Semaphore::new(1) }
    }

    /// What is asked for by `from` and `to` (seconds since the epoch, or RFC 3339), and `incident`: all of one. Without them:
    /// of what time there is history.
    pub(super) async fn told(&self, asked: &HashMap<String, String>) -> Result<Value, Refusal> {
        let interval = Interval::of(asked)?;
        let incident = asked.get("incident").cloned();
        let _turn = self.turn().await?;
        let (dir, countries) = (self.dir.clone(), self.countries.clone());
        let work = move || match (interval, incident) {
            (None, _) => Ok(json!({ "kept_s": history::span_s(&dir).map_err(Refusal::History)? })),
            (Some(interval), None) => Ok(interval.read(&dir, countries)?.told(interval)),
            (Some(interval), Some(name)) => {
                interval.read(&dir, None)?.incident(&name).ok_or(Refusal::Incident)
            }
        };
        tokio::task::spawn_blocking(work).await.map_err(|_| Refusal::Busy)?
    }

    async fn turn(&self) -> Result<SemaphorePermit<'_>, Refusal> {
        let turn = tokio::time::timeout(WAIT_MAX, self.turn.acquire()).await;
        turn.ok().and_then(Result::ok).ok_or(Refusal::Busy)
    }
}

impl Interval {
    /// `None` where no times were given.
    fn of(asked: &HashMap<String, String>) -> Result<Option<Self>, Refusal> {
        let time_s = |text: &String| {
            text.parse()
                .ok()
                .or_else(|| time_ns(text).map(|ns| ns as f64 / 1e9))
                .filter(|s: &f64| s.is_finite())
        };
        let (from, to) = match (asked.get("from"), asked.get("to")) {
            (None, None) => return Ok(None),
            (from, to) => (from.and_then(time_s), to.and_then(time_s)),
        };
        let (Some(from_s), Some(to_s)) = (from, to) else {
            return Err(Refusal::Asked("from and to are seconds since the epoch, or RFC 3339 times"));
        };
        if from_s < 0.0 || to_s <= from_s {
            return Err(Refusal::Asked("from must be before to"));
        }
        if to_s - from_s > SPAN_S_MAX {
            return Err(Refusal::Asked("no more than a day at once: `tidegauge history` tells longer times"));
        }
        Ok(Some(Self { from_s, to_s }))
    }

    fn read(self, dir: &Path, countries: Option<Arc<Countries>>) -> Result<Shown, Refusal> {
        let ns = |s: f64| (s * 1e9) as i64;
        let query =
            Query { from_ns: Some(ns(self.from_s)), to_ns: Some(ns(self.to_s)), incidents_only: false };
        let mut shown = Shown { heat: Heat::new(countries), ..Shown::default() };
        let unreadable =
            history::read_while(dir, &query, |line| shown.take(line)).map_err(Refusal::History)?;
        shown.unreadable = unreadable;
        Ok(shown)
    }
}

/// What an interval came to.
#[derive(Default)]
struct Shown {
    board: Board,
    series: Series,
    heat: Heat,
    lines: u64,
    unreadable: u64,
    last_s: Option<f64>,
}

impl Shown {
    fn take(&mut self, line: crate::line::Line) -> ControlFlow<()> {
        if self.lines == LINES_MAX {
            return ControlFlow::Break(());
        }
        self.lines += 1;
        self.last_s = Some(line.ts_ns as f64 / 1e9);
        if line.event == Event::Window {
            self.series.push(Point::of(&line));
        }
        self.heat.take(&line);
        self.board.take(&Arc::new(line));
        ControlFlow::Continue(())
    }

    fn told(&self, Interval { from_s, to_s }: Interval) -> Value {
        let board = &self.board;
        let incidents: Vec<Value> = board.incidents().rev().take(INCIDENTS_TOLD_MAX).map(listed).collect();
        json!({
            "from_s": from_s,
            "to_s": to_s,
            "read_until_s": (self.lines == LINES_MAX).then_some(self.last_s),
            "source": board.source.as_ref().map(|line| &line.json),
            "window": board.window.as_ref().map(|line| told::window(&line.json)),
            "points": told::columns(self.series.points().iter()),
            "windows_per_point": self.series.windows_per_point(),
            "windows": board.windows,
            "incidents": incidents,
            "incidents_untold": board.incidents().len().saturating_sub(INCIDENTS_TOLD_MAX),
            "incidents_forgotten": board.incidents_forgotten,
            "heat": self.heat.told(),
            "lines_unreadable": self.unreadable,
        })
    }

    fn incident(&self, name: &str) -> Option<Value> {
        let card = self.board.incidents().find(|card| name_of(card) == name)?;
        let mut whole = told::whole_incident(card);
        // Downloads are of the run that goes on: an earlier run's incident may have the same name.
        whole["evidence"] = json!(false);
        Some(whole)
    }
}

/// Names begin anew with each run: here they go with the time.
fn name_of(card: &IncidentCard) -> String {
    format!("{}@{}", card.id(), card.line.json["opened_ts"].as_str().unwrap_or_default())
}

fn listed(card: &IncidentCard) -> Value {
    let mut told = told::listed(card);
    told["id"] = json!(name_of(card));
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(pairs: &[(&str, &str)]) -> HashMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn an_interval_is_bounded() {
        let of = |from: &str, to: &str| Interval::of(&asked(&[("from", from), ("to", to)]));
        let right = of("2026-01-10T12:00:00Z", "1768050000").unwrap();
        assert_eq!(right, Some(Interval { from_s: 1_768_046_400.0, to_s: 1_768_050_000.0 }));
        assert_eq!(Interval::of(&asked(&[])).unwrap(), None);
        for (from, to) in [("2", "1"), ("0", "86401"), ("noon", "1"), ("NaN", "1"), ("-5", "1"), ("0", "inf")]
        {
            assert!(of(from, to).is_err(), "{from} to {to}");
        }
        assert!(Interval::of(&asked(&[("from", "1")])).is_err(), "one of them is not enough");
    }
}
