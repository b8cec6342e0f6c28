//! One message: what is told of an incident, with a key by which receivers know what they had already.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::line::{Line, number};

/// How soon somebody must look.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Severity {
    /// Down, or about to be.
    P1,
    /// Degraded.
    P2,
    /// A deviation.
    P3,
}

impl Severity {
    pub(crate) const ALL: [Self; 3] = [Self::P1, Self::P2, Self::P3];

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|severity| severity.name() == name)
    }

    /// As lines have it.
    pub fn name(self) -> &'static str {
        ["P1", "P2", "P3"][self.index()]
    }

    pub(crate) fn index(self) -> usize {
        self as usize
    }

    /// As syslog has it: critical, warning, notice.
    pub(crate) fn syslog(self) -> u8 {
        [2, 4, 5][self.index()]
    }
}

/// What became of an incident.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// Over.
    Closed,
    /// New to this receiver.
    Opened,
    /// Of another severity.
    Updated,
}

impl Change {
    /// As lines have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Opened => "opened",
            Self::Updated => "updated",
        }
    }
}

/// What a message tells of.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum What {
    /// An incident.
    Incident,
    /// How many that there was no room for.
    More,
    /// Nothing: whether it arrives.
    Test,
}

impl What {
    /// In a word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Incident => "incident",
            Self::More => "more",
            Self::Test => "test",
        }
    }
}

/// One message.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Message {
    /// Run, incident and step: the same for the same message, however often it is sent.
    pub key: String,
    /// What it tells of.
    pub what: What,
    /// What became of it.
    pub change: Change,
    /// Now.
    pub severity: Severity,
    /// What this receiver was told before, if that was something else.
    pub severity_before: Option<Severity>,
    /// When it was to be told, nanoseconds since the epoch.
    pub arrived_ns: i64,
    /// The incident's line.
    pub line: String,
    /// The same, taken apart.
    #[serde(skip)]
    pub json: Value,
}

impl Message {
    /// Of an incident's line.
    pub(crate) fn of(line: &Line, key: String, change: Change, severity: Severity, arrived_ns: i64) -> Self {
        Self {
            key,
            what: What::Incident,
            change,
            severity,
            severity_before: None,
            arrived_ns,
            line: line.text.clone(),
            json: line.json.clone(),
        }
    }

    /// Of something that is no incident.
    pub(crate) fn other(what: What, key: String, severity: Severity, json: Value, arrived_ns: i64) -> Self {
        let line = json.to_string();
        let change = Change::Opened;
        Self { key, what, change, severity, severity_before: None, arrived_ns, line, json }
    }

    /// To see whether a receiver is told.
    pub fn test(run: &str, now_ns: i64) -> Self {
        let ts = rfc3339(now_ns);
        let json = json!({
            "ts": ts, "event": "test", "id": "test-0001", "kind": "test", "state": "opened", "severity": "P3",
            "opened_ts": ts, "updated_ts": ts, "closed_ts": null, "target": null, "rule": "tidegauge test-alert",
            "measured": null, "unit": null, "limit": null, "sources": { "top": [] },
            "cause": ["this is a test: nothing happened, and nothing is to be done"], "next": [], "test": true,
        });
        Self::other(What::Test, format!("{run}/test-0001/0"), Severity::P3, json, now_ns)
    }

    /// As it is kept on disk.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        // A struct of strings and numbers is always JSON.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// From disk.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut message: Self = serde_json::from_slice(bytes).ok()?;
        message.json = serde_json::from_str(&message.line).ok()?;
        Some(message)
    }

    /// A text field of the line, empty where it is not there.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.json[name].as_str().unwrap_or_default()
    }

    /// What it is about, in words.
    pub(crate) fn target(&self) -> String {
        let target = &self.json["target"];
        let addr = target["addr"].as_str().unwrap_or("everything");
        match (target["port"].as_u64(), target["proto"].as_str()) {
            (Some(port), Some(proto)) if addr.contains(':') => format!("[{addr}]:{port}/{proto}"),
            (Some(port), Some(proto)) => format!("{addr}:{port}/{proto}"),
            _ => addr.to_owned(),
        }
    }

    /// One line for people.
    pub fn summary(&self) -> String {
        let cause = self.json["cause"][0].as_str().unwrap_or_default();
        match self.what {
            What::Test => format!("TEST by tidegauge: {cause}"),
            What::More => format!("{} {cause}", self.severity.name()),
            What::Incident => self.incident_summary(cause),
        }
    }

    fn incident_summary(&self, cause: &str) -> String {
        let before = self.severity_before.map_or_else(String::new, |before| format!("{} -> ", before.name()));
        let mut text = format!(
            "{before}{} {} {}: {}",
            self.severity.name(),
            self.text("kind"),
            self.change.name(),
            self.target()
        );
        if let Some(measured) = number(&self.json, "measured") {
            let limit =
                number(&self.json, "limit").map_or_else(String::new, |limit| format!(" (limit {limit})"));
            text.push_str(&format!(", {measured} {}{limit}", self.text("unit")));
        }
        if !cause.is_empty() {
            text.push_str(&format!(": {cause}"));
        }
        text
    }
}

/// Nanoseconds since the epoch as RFC 3339.
pub(crate) fn rfc3339(ns: i64) -> String {
    jiff::Timestamp::from_nanosecond(i128::from(ns)).map(|time| format!("{time:.6}")).unwrap_or_default()
}
