//! What quiet hours hold back, as it is kept over a restart, and what of it an earlier run left.
//!
//! Names of incidents begin anew with each run, and nobody says of an earlier run's incidents whether they are over. So what
//! an earlier run left is told when the hours end, as it was last; unless this run knows of the same kind at the same target,
//! which is then told in its place.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::message::{Change, Message, Severity};
use crate::line::Line;

/// One incident that waits for the end of quiet hours, for one receiver.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(super) struct Held {
    /// Run, incident and step.
    pub(super) key: String,
    /// What the receiver was told before, if it was.
    pub(super) before: Option<Severity>,
    /// The incident's line.
    pub(super) line: String,
}

/// One that an earlier run left.
pub(super) struct Earlier {
    pub(super) held: Held,
    pub(super) line: Line,
    pub(super) severity: Severity,
}

impl Earlier {
    /// `None` where it is no incident's line.
    pub(super) fn of(held: Held) -> Option<Self> {
        let line = Line::parse(&held.line).ok()?;
        let severity = Severity::from_name(line.json["severity"].as_str()?)?;
        Some(Self { held, line, severity })
    }

    /// Whether a line of this run is about the same.
    pub(super) fn is_about(&self, line: &Line) -> bool {
        self.line.json["kind"] == line.json["kind"] && self.line.json["target"] == line.json["target"]
    }

    /// `run_ended` in it says that nobody will tell of its end.
    pub(super) fn message(&self, arrived_ns: i64) -> Message {
        let change = if self.held.before.is_some() { Change::Updated } else { Change::Opened };
        let mut json = self.line.json.clone();
        json["run_ended"] = true.into();
        let line = Line { event: self.line.event, ts_ns: self.line.ts_ns, text: json.to_string(), json };
        let mut message = Message::of(&line, self.held.key.clone(), change, self.severity, arrived_ns);
        message.severity_before = self.held.before;
        message
    }
}

/// As it is kept.
pub(super) fn held(run: &str, id: &str, step: u32, before: Option<Severity>, line: &Arc<Line>) -> Held {
    Held { key: format!("{run}/{id}/{step}"), before, line: line.text.clone() }
}
