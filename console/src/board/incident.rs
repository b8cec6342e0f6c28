//! One incident: its newest line, and the states it went through.

use std::collections::VecDeque;
use std::sync::Arc;

use serde_json::Value;

use crate::line::Line;

/// Steps that are kept of an incident; of more, the oldest but the first go.
const STEPS_MAX: usize = 64;

/// Something that was told of an incident.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Packet time.
    pub ts_ns: i64,
    /// `opened`, `updated` or `closed`.
    pub state: String,
    /// `P1`, `P2` or `P3`.
    pub severity: String,
    /// What the rule measured.
    pub measured: Option<f64>,
}

/// An incident.
#[derive(Clone, Debug)]
pub struct IncidentCard {
    /// The newest line, with all that is known.
    pub line: Arc<Line>,
    steps: VecDeque<Step>,
}

impl IncidentCard {
    pub(super) fn new(line: &Arc<Line>) -> Self {
        let mut card = Self { line: Arc::clone(line), steps: VecDeque::new() };
        card.take(line);
        card
    }

    pub(super) fn take(&mut self, line: &Arc<Line>) {
        if self.steps.len() == STEPS_MAX {
            self.steps.remove(1);
        }
        let text = |name: &str| line.json[name].as_str().unwrap_or_default().to_owned();
        self.steps.push_back(Step {
            ts_ns: line.ts_ns,
            state: text("state"),
            severity: text("severity"),
            measured: line.number("measured"),
        });
        self.line = Arc::clone(line);
    }

    /// Its name for as long as the run lasts.
    pub fn id(&self) -> &str {
        self.text("id")
    }

    /// What it is.
    pub fn kind(&self) -> &str {
        self.text("kind")
    }

    /// Now.
    pub fn severity(&self) -> &str {
        self.text("severity")
    }

    /// Whether it goes on.
    pub fn is_open(&self) -> bool {
        self.text("state") != "closed"
    }

    /// What was told of it, oldest first.
    pub fn steps(&self) -> impl DoubleEndedIterator<Item = &Step> + ExactSizeIterator {
        self.steps.iter()
    }

    /// What it is about: `10.0.0.2:80/tcp`, `10.0.0.2`, or `everything`.
    pub fn target(&self) -> String {
        place(&self.line.json["target"])
    }

    fn text(&self, name: &str) -> &str {
        self.line.json[name].as_str().unwrap_or_default()
    }
}

/// A target of a line as text.
pub(crate) fn place(target: &Value) -> String {
    let addr = target["addr"].as_str().unwrap_or("everything");
    match (target["port"].as_u64(), target["proto"].as_str()) {
        (Some(port), Some(proto)) if addr.contains(':') => format!("[{addr}]:{port}/{proto}"),
        (Some(port), Some(proto)) => format!("{addr}:{port}/{proto}"),
        _ => addr.to_owned(),
    }
}
