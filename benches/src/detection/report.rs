//! The tables of `bench-detection`.

use std::collections::BTreeMap;

use super::captures::{Expected, Labelled};
use super::judge::{Judged, Told};
use crate::table::Table;

/// A capture with what was told of it.
pub struct OfCapture {
    /// The capture.
    pub capture: Labelled,
    /// Incidents that were told.
    pub told: Vec<Told>,
    /// Kinds of the observations that were told beside them.
    pub observed: Vec<String>,
    /// Its length, seconds.
    pub length_s: f64,
}

/// How a label was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// By an incident.
    Incident,
    /// By an observation alone, which is no alarm.
    Observed,
    /// Not at all.
    Not,
}

impl OfCapture {
    /// Labels with a kind, and how each was said.
    pub fn said(&self) -> impl Iterator<Item = (&'static str, Said)> {
        self.capture.expected().map(|Expected { label, incidents, observations }| {
            let said = if self.told.iter().any(|told| incidents.contains(&told.kind.as_str())) {
                Said::Incident
            } else if self.observed.iter().any(|kind| observations.contains(&kind.as_str())) {
                Said::Observed
            } else {
                Said::Not
            };
            (*label, said)
        })
    }

    /// Incidents that no label speaks of.
    pub fn unlabelled(&self) -> Vec<&Told> {
        let kinds = self.capture.kinds();
        self.told.iter().filter(|told| !kinds.contains(told.kind.as_str())).collect()
    }
}

/// Captures: which label was said how, all incidents, all observations.
pub fn captures(all: &[OfCapture]) -> Table {
    let mut table =
        Table::new(&["capture", "label: incident", "observed only", "missed", "incidents", "observations"]);
    for of in all {
        let labels = |how: Said| of.said().filter(move |(_, said)| *said == how).map(|(label, _)| label);
        let list = |words: &mut dyn Iterator<Item = String>| {
            let words: Vec<_> = words.collect();
            if words.is_empty() { "-".to_owned() } else { words.join(", ") }
        };
        let mut row = vec![of.capture.name.clone()];
        for how in [Said::Incident, Said::Observed, Said::Not] {
            row.push(list(&mut labels(how).map(str::to_owned)));
        }
        row.push(list(&mut counted(of.told.iter().map(|told| format!("{} {}", told.severity, told.kind)))));
        row.push(list(&mut counted(of.observed.iter().cloned())));
        table.row(row);
    }
    table
}

/// Each name once, with how often it came.
fn counted(names: impl Iterator<Item = String>) -> impl Iterator<Item = String> {
    let mut counts = BTreeMap::<String, usize>::new();
    names.for_each(|name| *counts.entry(name).or_default() += 1);
    counts.into_iter().map(|(name, count)| if count == 1 { name } else { format!("{name} x{count}") })
}

/// Scenes: per kind and strength how often it was found, and after what time.
pub fn scenes(all: &[Judged], strengths: &[f64]) -> Table {
    let titles: Vec<String> = strengths.iter().map(|strength| format!("x{strength}")).collect();
    let mut header = vec!["kind"];
    header.extend(titles.iter().map(String::as_str));
    header.extend(["found after s, median", "p95", "severity"]);
    let mut table = Table::new(&header);
    let mut by_kind = BTreeMap::<&str, Vec<&Judged>>::new();
    all.iter().for_each(|judged| by_kind.entry(judged.kind).or_default().push(judged));
    for (kind, judged) in by_kind {
        let mut row = vec![kind.to_owned()];
        for strength in strengths {
            let of: Vec<_> = judged.iter().filter(|judged| judged.strength == *strength).collect();
            row.push(format!("{}/{}", of.iter().filter(|judged| judged.found).count(), of.len()));
        }
        let mut times: Vec<f64> = judged
            .iter()
            .filter(|judged| judged.strength >= 2.0)
            .filter_map(|judged| judged.after_s)
            .collect();
        times.sort_by(f64::total_cmp);
        row.push(quantile(&times, 0.5));
        row.push(quantile(&times, 0.95));
        row.push(
            judged
                .iter()
                .filter_map(|judged| judged.severity.clone())
                .next_back()
                .unwrap_or_else(|| "-".to_owned()),
        );
        table.row(row);
    }
    table
}

fn quantile(sorted: &[f64], share: f64) -> String {
    if sorted.is_empty() {
        return "-".to_owned();
    }
    let place = ((sorted.len() as f64 * share).ceil() as usize).clamp(1, sorted.len());
    format!("{:.1}", sorted[place - 1])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(labels: &[&str], told: &[&str], observed: &[&str]) -> Vec<Said> {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let told = told.iter().map(|kind| Told {
            kind: (*kind).to_owned(),
            severity: "P3".to_owned(),
            addr: None,
            port: None,
            opened_s: 0.0,
            lasted_s: 0.0,
        });
        let capture = Labelled { path: "a".into(), name: "a".to_owned(), labels: names(labels) };
        let of = OfCapture { capture, told: told.collect(), observed: names(observed), length_s: 1.0 };
        of.said().map(|(_, said)| said).collect()
    }

    #[test]
    fn an_observation_is_no_incident() {
        let label = &["problem:tls_alert"][..];
        assert_eq!(of(label, &["tls_failure"], &["tls_failure"]), [Said::Incident]);
        assert_eq!(of(label, &["loss"], &["tls_failure"]), [Said::Observed]);
        assert_eq!(of(label, &[], &["loss"]), [Said::Not]);
        assert_eq!(of(&["attack:udp_flood"], &[], &["udp_flood"]), [Said::Not]);
    }
}
