//! One side of a comparison while it is read: what the comparison needs of its lines, and what a report of both shows of them.

use std::sync::Arc;

use serde_json::Value;
use tidegauge_analyzer::diff::RunSummary;
use tidegauge_console::line::Line;
use tidegauge_console::report::Report;

/// A side.
pub(crate) struct Compared {
    pub(crate) run: RunSummary,
    /// Where a report is asked for.
    pub(crate) report: Option<Report>,
}

impl Compared {
    /// Takes a line of the output contract.
    pub(crate) fn take(&mut self, line: Value) {
        if let Some(report) = &mut self.report
            && self.run.looks_at(&line)
            && let Ok(line) = Line::of(line.clone(), String::new())
        {
            report.take(&Arc::new(line));
        }
        self.run.take(line);
    }
}
