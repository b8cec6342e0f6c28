//! Sums of windows, by the table.

use std::collections::BTreeMap;

use super::listeners::whole;
use super::table::{COUNT_MAPS, COUNTS, Count, CountMap};
use crate::line::Line;

/// Names in an object of the line that are told apart; what else there is, is `other`.
const NAMES_MAX: usize = 32;

/// All sums.
#[derive(Debug)]
pub(super) struct Sums {
    /// By the table's entry and part; `None` as long as no window told it.
    counts: Vec<Vec<Option<u64>>>,
    maps: Vec<BTreeMap<String, u64>>,
    /// Windows.
    pub(super) windows: u64,
}

impl Default for Sums {
    fn default() -> Self {
        Self {
            counts: COUNTS.iter().map(|count| vec![None; count.parts.len()]).collect(),
            maps: COUNT_MAPS.iter().map(|_| BTreeMap::new()).collect(),
            windows: 0,
        }
    }
}

impl Sums {
    /// Takes a window.
    pub(super) fn take(&mut self, line: &Line) {
        self.windows += 1;
        for (count, sums) in COUNTS.iter().zip(&mut self.counts) {
            for ((_, path), sum) in count.parts.iter().zip(sums) {
                if let Some(more) = line.number(path) {
                    *sum = Some(sum.unwrap_or(0) + whole(Some(more)));
                }
            }
        }
        for (map, sums) in COUNT_MAPS.iter().zip(&mut self.maps) {
            let object = map.path.split('.').try_fold(&line.json, |at, name| at.get(name));
            let Some(object) = object.and_then(serde_json::Value::as_object) else { continue };
            for (name, more) in object.iter().filter(|(name, _)| !map.except.contains(&name.as_str())) {
                let Some(more) = more.as_f64() else { continue };
                let is_told_apart = sums.contains_key(name) || sums.len() < NAMES_MAX;
                let name = if is_told_apart { name.as_str() } else { "other" };
                *sums.entry(name.to_owned()).or_default() += whole(Some(more));
            }
        }
    }

    /// Counters with the values of their label.
    pub(super) fn counts(&self) -> impl Iterator<Item = (&'static Count, Vec<(&'static str, u64)>)> {
        COUNTS.iter().zip(&self.counts).map(|(count, sums)| {
            let parts = count.parts.iter().zip(sums);
            (count, parts.filter_map(|((value, _), sum)| sum.map(|sum| (*value, sum))).collect())
        })
    }

    /// Counters by names that lines brought.
    pub(super) fn maps(&self) -> impl Iterator<Item = (&'static CountMap, &BTreeMap<String, u64>)> {
        COUNT_MAPS.iter().zip(&self.maps)
    }
}
