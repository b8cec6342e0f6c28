//! The tables of `bench-detection`.

use std::collections::BTreeMap;

use super::captures::Labelled;
use super::judge::{Judged, Told};
use crate::table::Table;

/// A capture with what was told of it.
pub struct OfCapture {
    /// The capture.
    pub capture: Labelled,
    /// What was told.
    pub told: Vec<Told>,
    /// Its length, seconds.
    pub length_s: f64,
}

impl OfCapture {
    /// Labels for which no kind was told that says them.
    pub fn missed(&self) -> Vec<String> {
        let told = |kinds: &[&str]| self.told.iter().any(|told| kinds.contains(&told.kind.as_str()));
        self.capture.expected().filter(|(_, kinds)| !told(kinds)).map(|(label, _)| label.to_owned()).collect()
    }

    /// Incidents that no label speaks of.
    pub fn unlabelled(&self) -> Vec<&Told> {
        let kinds = self.capture.kinds();
        self.told.iter().filter(|told| !kinds.contains(told.kind.as_str())).collect()
    }
}

/// Captures: labels, what was told, what is missing.
pub fn captures(all: &[OfCapture]) -> Table {
    let mut table = Table::new(&["capture", "labels with a kind", "told", "missed"]);
    for of in all {
        let labels: Vec<_> = of.capture.expected().map(|(label, _)| label).collect();
        let mut counts = BTreeMap::<String, usize>::new();
        for told in &of.told {
            *counts.entry(format!("{} {}", told.severity, told.kind)).or_default() += 1;
        }
        let told: Vec<_> = counts
            .iter()
            .map(|(name, count)| if *count == 1 { name.clone() } else { format!("{name} x{count}") })
            .collect();
        let list = |words: &[String]| if words.is_empty() { "-".to_owned() } else { words.join(", ") };
        let labels: Vec<String> = labels.into_iter().map(str::to_owned).collect();
        table.row(vec![of.capture.name.clone(), list(&labels), list(&told), list(&of.missed())]);
    }
    table
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
