//! Packets of the busiest listeners over the whole run, in a grid of fixed size: when it is full, columns are joined in pairs.

use std::collections::HashMap;

use serde_json::{Value, json};

use crate::line::{Line, number};

/// Columns of the grid.
const COLUMNS_MAX: usize = 120;
/// Listeners that are kept; those beyond are summed.
const ROWS_MAX: usize = 128;
/// Listeners that are told: the busiest.
const ROWS_TOLD_MAX: usize = 24;

/// The grid.
#[derive(Debug)]
pub(super) struct Heat {
    rows: HashMap<String, Vec<f32>>,
    /// Packets of listeners that had no row.
    others: Vec<f32>,
    columns: usize,
    windows_per_column: u64,
    windows: u64,
    start_ns: Option<i64>,
    window_s: f64,
}

impl Default for Heat {
    fn default() -> Self {
        Self {
            rows: HashMap::new(),
            others: vec![0.0; COLUMNS_MAX],
            columns: 0,
            windows_per_column: 1,
            windows: 0,
            start_ns: None,
            window_s: 1.0,
        }
    }
}

impl Heat {
    /// Takes a window.
    pub(super) fn take(&mut self, line: &Line) {
        self.window_s = line.number("window_s").unwrap_or(self.window_s);
        self.start_ns.get_or_insert(line.ts_ns);
        if self.windows / self.windows_per_column == COLUMNS_MAX as u64 {
            self.join();
        }
        let column = (self.windows / self.windows_per_column) as usize;
        self.columns = column + 1;
        self.windows += 1;
        for listener in line.json["listeners"].as_array().into_iter().flatten() {
            let packets = number(listener, "packets").unwrap_or(0.0) as f32;
            let name = name_of(&listener["target"]);
            if self.rows.len() < ROWS_MAX || self.rows.contains_key(&name) {
                self.rows.entry(name).or_insert_with(|| vec![0.0; COLUMNS_MAX])[column] += packets;
            } else {
                self.others[column] += packets;
            }
        }
    }

    fn join(&mut self) {
        let halve = |cells: &mut Vec<f32>| {
            for at in 0..COLUMNS_MAX / 2 {
                cells[at] = cells[at * 2] + cells[at * 2 + 1];
            }
            cells[COLUMNS_MAX / 2..].fill(0.0);
        };
        self.rows.values_mut().for_each(halve);
        halve(&mut self.others);
        self.windows_per_column *= 2;
    }

    /// The grid of the busiest, as the page draws it.
    pub(super) fn told(&self) -> Value {
        let sum = |cells: &[f32]| cells.iter().sum::<f32>();
        let mut rows: Vec<_> = self.rows.iter().collect();
        rows.sort_by(|one, other| sum(other.1).total_cmp(&sum(one.1)).then(one.0.cmp(other.0)));
        let untold = rows.len().saturating_sub(ROWS_TOLD_MAX);
        let mut others = self.others[..self.columns].to_vec();
        for (_, cells) in rows.iter().skip(ROWS_TOLD_MAX) {
            others.iter_mut().zip(cells.iter()).for_each(|(sum, cell)| *sum += cell);
        }
        let told = rows.iter().take(ROWS_TOLD_MAX);
        json!({
            "what": "packets",
            "start_s": self.start_ns.map(|ns| ns as f64 / 1e9 - self.window_s),
            "column_s": self.window_s * self.windows_per_column as f64,
            "columns": self.columns,
            "rows": told.map(|(name, cells)| json!({ "name": name, "cells": &cells[..self.columns] })).collect::<Vec<_>>(),
            "others": (sum(&others) > 0.0).then_some(others),
            "listeners_untold": untold,
        })
    }
}

/// `10.0.0.2:80/tcp`, as incidents are named.
pub(super) fn name_of(target: &Value) -> String {
    let addr = target["addr"].as_str().unwrap_or("everything");
    match (target["port"].as_u64(), target["proto"].as_str()) {
        (Some(port), Some(proto)) if addr.contains(':') => format!("[{addr}]:{port}/{proto}"),
        (Some(port), Some(proto)) => format!("{addr}:{port}/{proto}"),
        _ => addr.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(second: usize, port: usize) -> Line {
        let text = format!(
            r#"{{"ts":"1970-01-01T01:{:02}:{:02}Z","event":"window","window_s":1.0,"listeners":[{{"target":{{"addr":"10.0.0.1","port":{port},"proto":"tcp"}},"packets":2}}]}}"#,
            second / 60,
            second % 60
        );
        Line::parse(&text).unwrap()
    }

    #[test]
    fn whatever_the_run_the_grid_has_its_size_and_loses_no_packet() {
        let mut heat = Heat::default();
        for second in 0..1_000 {
            heat.take(&window(second, second % 300));
        }
        let told = heat.told();
        let columns = told["columns"].as_u64().unwrap() as usize;
        assert!((COLUMNS_MAX / 2..=COLUMNS_MAX).contains(&columns), "{columns}");
        assert_eq!((told["column_s"].as_f64(), told["start_s"].as_f64()), (Some(16.0), Some(3_599.0)));
        let sum = |cells: &Value| cells.as_array().unwrap().iter().filter_map(Value::as_f64).sum::<f64>();
        let rows = told["rows"].as_array().unwrap();
        let all = rows.iter().map(|row| sum(&row["cells"])).sum::<f64>() + sum(&told["others"]);
        assert_eq!((rows.len(), all), (ROWS_TOLD_MAX, 2_000.0));
        assert_eq!(told["listeners_untold"], ROWS_MAX - ROWS_TOLD_MAX);
    }
}
