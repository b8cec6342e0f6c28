//! Something counted by name and time, in a grid of fixed size: when it is full, columns are joined in pairs.

use std::collections::HashMap;
use std::ops::RangeInclusive;

use serde_json::{Value, json};

/// Columns of a grid.
pub(super) const COLUMNS_MAX: usize = 120;
/// Names that are kept; those beyond are summed.
pub(super) const ROWS_MAX: usize = 128;
/// Names that are told: those with most.
pub(super) const ROWS_TOLD_MAX: usize = 24;

/// Which time a column is.
#[derive(Debug)]
pub(super) struct Columns {
    windows: u64,
    windows_per_column: u64,
    start_ns: Option<i64>,
    window_s: f64,
}

impl Default for Columns {
    fn default() -> Self {
        Self { windows: 0, windows_per_column: 1, start_ns: None, window_s: 1.0 }
    }
}

/// What a window does to the columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Column,
    /// Columns have to be joined first.
    Joined,
}

impl Columns {
    /// Another window, which ended at this time.
    pub(super) fn window(&mut self, ts_ns: i64, window_s: Option<f64>) -> Next {
        self.window_s = window_s.unwrap_or(self.window_s);
        self.start_ns.get_or_insert(ts_ns);
        let is_full = self.windows / self.windows_per_column == COLUMNS_MAX as u64;
        if is_full {
            self.windows_per_column *= 2;
        }
        self.windows += 1;
        if is_full { Next::Joined } else { Next::Column }
    }

    /// The column of the newest window.
    pub(super) fn newest(&self) -> usize {
        (self.windows.saturating_sub(1) / self.windows_per_column) as usize
    }

    /// Windows so far.
    pub(super) fn windows(&self) -> u64 {
        self.windows
    }

    /// The columns of the windows after so many.
    pub(super) fn since(&self, windows: u64) -> RangeInclusive<usize> {
        let first = windows.min(self.windows.saturating_sub(1)) / self.windows_per_column;
        first as usize..=self.newest()
    }

    pub(super) fn count(&self) -> usize {
        if self.windows == 0 { 0 } else { self.newest() + 1 }
    }

    fn start_s(&self) -> Option<f64> {
        self.start_ns.map(|ns| ns as f64 / 1e9 - self.window_s)
    }

    fn column_s(&self) -> f64 {
        self.window_s * self.windows_per_column as f64
    }
}

/// The counts.
#[derive(Debug)]
pub(super) struct Grid {
    rows: HashMap<String, Vec<f32>>,
    /// Of names that had no row.
    others: Vec<f32>,
}

impl Default for Grid {
    fn default() -> Self {
        Self { rows: HashMap::new(), others: vec![0.0; COLUMNS_MAX] }
    }
}

impl Grid {
    pub(super) fn add(&mut self, name: &str, column: usize, count: f32) {
        if let Some(cells) = self.rows.get_mut(name) {
            cells[column] += count;
        } else if self.rows.len() < ROWS_MAX {
            self.rows.entry(name.to_owned()).or_insert_with(|| vec![0.0; COLUMNS_MAX])[column] += count;
        } else {
            self.others[column] += count;
        }
    }

    /// See [`Next::Joined`].
    pub(super) fn join(&mut self) {
        let halve = |cells: &mut Vec<f32>| {
            for at in 0..COLUMNS_MAX / 2 {
                cells[at] = cells[at * 2] + cells[at * 2 + 1];
            }
            cells[COLUMNS_MAX / 2..].fill(0.0);
        };
        self.rows.values_mut().for_each(halve);
        halve(&mut self.others);
    }

    /// The names with most, as the page draws them; `what` is counted, by `name`.
    pub(super) fn told(&self, what: &str, name: &str, columns: &Columns) -> Value {
        let sum = |cells: &[f32]| cells.iter().sum::<f32>();
        let mut rows: Vec<_> = self.rows.iter().collect();
        rows.sort_by(|one, other| sum(other.1).total_cmp(&sum(one.1)).then(one.0.cmp(other.0)));
        let untold = rows.len().saturating_sub(ROWS_TOLD_MAX);
        let count = columns.count();
        let mut others = self.others[..count].to_vec();
        for (_, cells) in rows.iter().skip(ROWS_TOLD_MAX) {
            others.iter_mut().zip(cells.iter()).for_each(|(sum, cell)| *sum += cell);
        }
        let told = rows.iter().take(ROWS_TOLD_MAX);
        json!({
            "what": what,
            "name": name,
            "start_s": columns.start_s(),
            "column_s": columns.column_s(),
            "columns": count,
            "rows": told.map(|(name, cells)| json!({ "name": name, "cells": short(&cells[..count]) })).collect::<Vec<_>>(),
            "others": (sum(&others) > 0.0).then(|| short(&others)),
            "rows_untold": untold,
        })
    }
}

/// Tenths are more than anybody sees, and less than half of the bytes.
fn short(cells: &[f32]) -> Vec<f64> {
    cells.iter().map(|cell| (f64::from(*cell) * 10.0).round() / 10.0).collect()
}
