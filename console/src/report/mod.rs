//! A run on one page, to attach to a ticket: what was wrong, the numbers behind it, and charts; as HTML that needs nothing
//! else, or as Markdown.
//!
//! Made of a run's lines, so of any run: while it is read, or from a file of what it printed. Of fixed size: see
//! [`Series`] and [`crate::board`].

mod bars;
mod chart;
mod comparison;
mod content;
mod series;
mod text;

use std::sync::Arc;

use minijinja::{AutoEscape, Environment};
use serde_json::{Value, json};
use thiserror::Error;

pub use comparison::Comparison;
pub use series::{POINTS_MAX, Series};

use crate::board::{Board, Point};
use crate::histogram::Histograms;
use crate::line::{Event, Line};

/// Why there is no report.
#[derive(Debug, Error)]
pub enum ReportError {
    /// A fault of ours.
    #[error("the report's template: {0}")]
    Template(#[from] minijinja::Error),
}

/// A run so far.
#[derive(Clone, Debug, Default)]
pub struct Report {
    board: Board,
    series: Series,
    histograms: Histograms,
}

impl Report {
    /// Takes a line.
    pub fn take(&mut self, line: &Arc<Line>) {
        if line.event == Event::Window {
            self.series.push(Point::of(line));
            self.histograms.add(&Histograms::of(line));
        }
        self.board.take(line);
    }

    /// Whether anything was told at all.
    pub fn is_empty(&self) -> bool {
        self.series.points().is_empty() && self.board.incidents().len() == 0 && self.board.summary.is_none()
    }

    /// A page of its own: no script, nothing fetched.
    ///
    /// # Errors
    /// A fault of ours.
    pub fn html(&self) -> Result<String, ReportError> {
        render("report.html", include_str!("report.html"), &self.content())
    }

    /// The same for a ticket that takes Markdown, without the charts.
    ///
    /// # Errors
    /// A fault of ours.
    pub fn markdown(&self) -> Result<String, ReportError> {
        render("report.md", include_str!("report.md"), &self.content())
    }

    fn content(&self) -> Value {
        json!({
            "head": content::head(&self.board, &self.series),
            "charts": content::charts(&self.board, &self.series),
            "histograms": bars::all(&[&self.histograms]),
            "incidents": self.board.incidents().map(content::incident).collect::<Vec<_>>(),
            "incidents_forgotten": self.board.incidents_forgotten,
            "observations": content::observations(&self.board),
            "tables": self.board.summary.as_ref().map(|summary| content::tables(&summary.json)),
        })
    }
}

fn render(name: &'static str, template: &'static str, content: &Value) -> Result<String, ReportError> {
    let mut environment = Environment::new();
    environment.set_trim_blocks(true);
    environment.set_lstrip_blocks(true);
    environment.set_auto_escape_callback(|name| match name.ends_with(".html") {
        true => AutoEscape::Html,
        false => AutoEscape::None,
    });
    // Names of files may have anything in them; what is told of packets has no such letters.
    environment.add_filter("md", |text: String| text.replace(['|', '`', '<', '\n', '\r'], " "));
    environment.add_global("style", include_str!("report.css"));
    environment.add_template(name, template)?;
    Ok(environment.get_template(name)?.render(content)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(lines: &[&str]) -> Report {
        let mut report = Report::default();
        lines.iter().for_each(|text| report.take(&Arc::new(Line::parse(text).unwrap())));
        report
    }

    const WINDOW: &str = r#"{"ts":"2026-01-02T03:04:05Z","event":"window","window_s":1.0,"packets":7,"bytes":700,
        "conn_rate":5.0,"quality":{"verdict":"complete"},"source":{"name":"<b>|x`"}}"#;
    const INCIDENT: &str = r#"{"ts":"2026-01-02T03:04:05Z","event":"incident","id":"syn_flood-0001","kind":"syn_flood",
        "state":"opened","severity":"P1","opened_ts":"2026-01-02T03:04:05Z","closed_ts":null,
        "target":{"addr":"192.0.2.1","port":80,"proto":"tcp"},"rule":"syn/s > 500","measured":1234.5,"unit":"syn/s",
        "limit":500.0,"baseline":null,"cause":["a flood"],"next":["ss -Htn 'sport = :80' | wc -l"],
        "sources":{"distinct":9,"spoofed_estimate":0.5,"top":[{"addr":"198.51.100.7","syn_per_s":40}]}}"#;

    #[test]
    fn what_is_told_is_there_and_what_is_not_known_is_said() {
        let report = report(&[WINDOW, INCIDENT]);
        let (html, markdown) = (report.html().unwrap(), report.markdown().unwrap());
        for page in [&html, &markdown] {
            for part in ["syn_flood", "192.0.2.1:80", "1,234", "198.51.100.7", "unknown", "P1", "a flood"] {
                assert!(page.contains(part), "{part} in {page}");
            }
        }
        assert!(markdown.contains("ss -Htn 'sport = :80' | wc -l"));
        assert!(html.contains("<svg") && !html.contains("<script") && !html.contains("://"));
    }

    #[test]
    fn names_are_text() {
        let report = report(&[WINDOW]);
        assert!(!report.html().unwrap().contains("<b>|"));
        assert!(!report.markdown().unwrap().contains("<b>|"));
    }

    #[test]
    fn a_run_of_nothing_is_a_report_too() {
        let report = Report::default();
        assert!(report.is_empty());
        assert!(report.html().unwrap().contains("nothing was told"));
        assert!(report.markdown().unwrap().contains("nothing was told"));
    }
}
