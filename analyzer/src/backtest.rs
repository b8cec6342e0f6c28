//! What a configuration would have said of captures, and what another one says otherwise.
//!
//! Incidents of two configurations are the same where kind and target are and their times meet.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::{Value, json};

use crate::incident::{Incident, Kind, Severity};
use crate::suggest::Rates;
use crate::time::timestamp;

const HOUR_NS: f64 = 3.6e12;

/// One capture under one configuration.
#[derive(Clone, Debug, Default)]
pub struct Trial {
    /// Name of the capture.
    pub capture: String,
    /// Times of its first and last packet, nanoseconds.
    pub first_last_ns: Option<(u64, u64)>,
    /// Its incidents, all closed.
    pub incidents: Vec<Incident>,
    /// Busiest seconds.
    pub rates: Rates,
    /// Incidents beyond the bound of a run ([`crate::engine::INCIDENTS_MAX`]).
    pub dropped: u64,
}

/// All captures under one configuration.
#[derive(Clone, Debug, Default)]
pub struct Backtest {
    /// Name of the configuration.
    pub config: String,
    /// In the order given.
    pub trials: Vec<Trial>,
}

/// What one kind of incident did.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Sum {
    opened: u64,
    by_severity: [u64; 3],
    lasted_ns: u64,
    longest_ns: u64,
    first_after_ns: Option<u64>,
}

impl Trial {
    fn length_ns(&self) -> u64 {
        self.first_last_ns.map_or(0, |(first, last)| last.saturating_sub(first))
    }

    fn after_ns(&self, incident: &Incident) -> u64 {
        incident.opened_ns.saturating_sub(self.first_last_ns.map_or(0, |(first, _)| first))
    }
}

impl Backtest {
    fn incidents(&self) -> impl Iterator<Item = (&Trial, &Incident)> {
        self.trials.iter().flat_map(|trial| trial.incidents.iter().map(move |incident| (trial, incident)))
    }

    fn hours(&self) -> f64 {
        self.trials.iter().map(|trial| trial.length_ns() as f64 / HOUR_NS).sum()
    }

    fn sums(&self) -> BTreeMap<Kind, Sum> {
        let mut sums = BTreeMap::<Kind, Sum>::new();
        for (trial, incident) in self.incidents() {
            let sum = sums.entry(incident.peak.kind).or_default();
            sum.opened += 1;
            sum.by_severity[incident.worst_severity as usize] += 1;
            sum.lasted_ns += incident.lasted_ns();
            sum.longest_ns = sum.longest_ns.max(incident.lasted_ns());
            let after = trial.after_ns(incident);
            sum.first_after_ns = Some(sum.first_after_ns.map_or(after, |first| first.min(after)));
        }
        sums
    }

    /// Whether an incident of this severity or worse opened.
    pub fn has(&self, severity: Severity) -> bool {
        self.incidents().any(|(_, incident)| incident.worst_severity <= severity)
    }

    /// Incidents that `other` does not have.
    fn beyond<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = (&'a Trial, &'a Incident)> {
        self.incidents().filter(|(trial, incident)| {
            let theirs = other.trials.iter().find(|theirs| theirs.capture == trial.capture);
            !theirs.is_some_and(|theirs| theirs.incidents.iter().any(|other| is_same(incident, other)))
        })
    }

    /// Whether two configurations say something else of any capture.
    pub fn differs(&self, other: &Self) -> bool {
        self.beyond(other).next().is_some() || other.beyond(self).next().is_some()
    }
}

fn is_same(one: &Incident, other: &Incident) -> bool {
    let ends = |incident: &Incident| incident.closed_ns.unwrap_or(u64::MAX);
    let meet = one.opened_ns <= ends(other) && other.opened_ns <= ends(one);
    one.peak.kind == other.peak.kind && one.target == other.target && meet
}

/// Lines for a person; with `other`, also what that says otherwise.
pub fn table(backtest: &Backtest, other: Option<&Backtest>) -> String {
    let mut text = String::new();
    for backtest in std::iter::once(backtest).chain(other) {
        one_table(&mut text, backtest);
    }
    if let Some(other) = other {
        for (name, lines) in [
            (&backtest.config, backtest.beyond(other).collect::<Vec<_>>()),
            (&other.config, other.beyond(backtest).collect()),
        ] {
            let _ = writeln!(text, "only with {name}: {}", lines.len());
            lines.iter().for_each(|(trial, incident)| incident_line(&mut text, trial, incident));
        }
    }
    text
}

fn one_table(text: &mut String, backtest: &Backtest) {
    // Writing to a string does not fail.
    let hours = backtest.hours();
    let _ = writeln!(
        text,
        "{}: {} captures, {hours:.3} hours of traffic",
        backtest.config,
        backtest.trials.len()
    );
    let _ = writeln!(
        text,
        "  {:<20} {:>6} {:>4} {:>4} {:>4} {:>9} {:>10} {:>10}",
        "rule", "opened", "P1", "P2", "P3", "per hour", "longest s", "first at s"
    );
    for (kind, sum) in backtest.sums() {
        let [p1, p2, p3] = sum.by_severity;
        let per_hour = if hours > 0.0 { format!("{:.2}", sum.opened as f64 / hours) } else { "-".to_owned() };
        let _ = writeln!(
            text,
            "  {:<20} {:>6} {p1:>4} {p2:>4} {p3:>4} {per_hour:>9} {:>10.1} {:>10.1}",
            kind.name(),
            sum.opened,
            seconds(sum.longest_ns),
            seconds(sum.first_after_ns.unwrap_or_default()),
        );
    }
    for (trial, incident) in backtest.incidents() {
        incident_line(text, trial, incident);
    }
    for trial in backtest.trials.iter().filter(|trial| trial.dropped != 0) {
        let _ = writeln!(text, "  {}: {} more incidents are not listed", trial.capture, trial.dropped);
    }
    text.push('\n');
}

fn incident_line(text: &mut String, trial: &Trial, incident: &Incident) {
    let finding = &incident.peak;
    let _ = writeln!(
        text,
        "  {:?} {} at {}: {} +{:.1} s, lasted {:.1} s, {:.6} {} (limit {:.6})",
        incident.worst_severity,
        finding.kind.name(),
        incident.target,
        trial.capture,
        seconds(trial.after_ns(incident)),
        seconds(incident.lasted_ns()),
        finding.measured,
        finding.unit,
        finding.limit,
    );
}

/// One object with all of it.
pub fn json(backtest: &Backtest, other: Option<&Backtest>) -> Value {
    let mut object = json!({ "event": "backtest", "runs": [run_json(backtest)] });
    if let Some(other) = other {
        object["runs"] = json!([run_json(backtest), run_json(other)]);
        let list = |incidents: Vec<(&Trial, &Incident)>| -> Vec<Value> {
            incidents.into_iter().map(|(trial, incident)| incident_json(trial, incident)).collect()
        };
        object["only"] =
            json!([list(backtest.beyond(other).collect()), list(other.beyond(backtest).collect())]);
    }
    object
}

fn run_json(backtest: &Backtest) -> Value {
    let hours = backtest.hours();
    let rules: Vec<Value> = backtest
        .sums()
        .into_iter()
        .map(|(kind, sum)| {
            json!({
                "kind": kind,
                "opened": sum.opened,
                "p1": sum.by_severity[0],
                "p2": sum.by_severity[1],
                "p3": sum.by_severity[2],
                "per_hour": (hours > 0.0).then(|| sum.opened as f64 / hours),
                "lasted_s": seconds(sum.lasted_ns),
                "longest_s": seconds(sum.longest_ns),
                "first_after_s": sum.first_after_ns.map(seconds),
            })
        })
        .collect();
    let incidents: Vec<Value> =
        backtest.incidents().map(|(trial, incident)| incident_json(trial, incident)).collect();
    json!({
        "config": backtest.config,
        "captures": backtest.trials.iter().map(|trial| &trial.capture).collect::<Vec<_>>(),
        "hours": hours,
        "incidents_dropped": backtest.trials.iter().map(|trial| trial.dropped).sum::<u64>(),
        "rules": rules,
        "incidents": incidents,
    })
}

fn incident_json(trial: &Trial, incident: &Incident) -> Value {
    let finding = &incident.peak;
    json!({
        "capture": trial.capture,
        "kind": finding.kind,
        "severity": incident.worst_severity,
        "target": incident.target.to_string(),
        "opened_ts": timestamp(incident.opened_ns),
        "opened_after_s": seconds(trial.after_ns(incident)),
        "lasted_s": seconds(incident.lasted_ns()),
        "rule": finding.rule,
        "measured": finding.measured,
        "unit": finding.unit,
        "limit": finding.limit,
    })
}

fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}
