//! One line of the output contract: what kind it is, when, and its fields.

use jiff::Timestamp;
use serde_json::Value;
use thiserror::Error;

/// Longest line that is taken; windows with all their listeners have some 200 KiB.
pub const LINE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Why a line is not one of ours.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum LineError {
    /// Not a JSON object.
    #[error("not a JSON object")]
    NotJson,
    /// No `event`, or one that is not known here.
    #[error("no known `event`")]
    NoEvent,
    /// No `ts`, or not a time.
    #[error("no `ts` that is a time (RFC 3339)")]
    NoTime,
}

/// What a line tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A TCP connection that is over.
    Flow,
    /// What talks to what.
    Graph,
    /// An incident opened, was updated or closed.
    Incident,
    /// A judged segment.
    Judgement,
    /// Thresholds were read again, or why not.
    Reload,
    /// What is in force; first.
    Source,
    /// The whole run; last.
    Summary,
    /// An interval.
    Window,
}

impl Event {
    fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "flow" => Self::Flow,
            "graph" => Self::Graph,
            "incident" => Self::Incident,
            "judgement" => Self::Judgement,
            "config" => Self::Reload,
            "source" => Self::Source,
            "summary" => Self::Summary,
            "window" => Self::Window,
            _ => return None,
        })
    }
}

/// A line.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// What it tells of.
    pub event: Event,
    /// Packet time, nanoseconds since the epoch.
    pub ts_ns: i64,
    /// All of it.
    pub json: Value,
    /// As it came, without the line end.
    pub text: String,
}

impl Line {
    /// Takes a line apart.
    ///
    /// # Errors
    /// Where it is not one of the contract's.
    pub fn parse(text: &str) -> Result<Self, LineError> {
        let text = text.trim_end();
        let json: Value = serde_json::from_str(text).map_err(|_| LineError::NotJson)?;
        Self::of(json, text.to_owned())
    }

    /// A line of a connection or a segment that is handed on as it is: its `json` is null. They are thousands a second, and of
    /// most of them nobody ever looks at more than that they came.
    ///
    /// # Errors
    /// Where it is not such a line.
    pub fn unread(text: &str) -> Result<Self, LineError> {
        let field = |name: &str| {
            let (_, rest) = text.split_once(&format!("\"{name}\":\""))?;
            rest.split_once('"').map(|(value, _)| value)
        };
        let event = field("event").and_then(Event::from_name).ok_or(LineError::NoEvent)?;
        let ts_ns = field("ts").and_then(time_ns).ok_or(LineError::NoTime)?;
        Ok(Self { event, ts_ns, json: Value::Null, text: text.trim_end().to_owned() })
    }

    /// Of what a line says, and the line.
    ///
    /// # Errors
    /// Where it is not one of the contract's.
    pub fn of(json: Value, text: String) -> Result<Self, LineError> {
        if !json.is_object() {
            return Err(LineError::NotJson);
        }
        let event = json["event"].as_str().and_then(Event::from_name).ok_or(LineError::NoEvent)?;
        let ts_ns = json["ts"].as_str().and_then(time_ns).ok_or(LineError::NoTime)?;
        Ok(Self { event, ts_ns, json, text })
    }

    /// The number at a path of names divided by dots; `None` where it is not there, or not known.
    pub fn number(&self, path: &str) -> Option<f64> {
        number(&self.json, path)
    }
}

/// The number at a path of names divided by dots.
pub fn number(json: &Value, path: &str) -> Option<f64> {
    path.split('.').try_fold(json, |at, name| at.get(name)).and_then(Value::as_f64)
}

/// Nanoseconds since the epoch of an RFC 3339 time.
pub fn time_ns(text: &str) -> Option<i64> {
    let time: Timestamp = text.parse().ok()?;
    i64::try_from(time.as_nanosecond()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_a_line_is_said() {
        assert_eq!(Line::parse("no").err(), Some(LineError::NotJson));
        assert_eq!(Line::parse("[]").err(), Some(LineError::NotJson));
        assert_eq!(Line::parse(r#"{"event":"tide"}"#).err(), Some(LineError::NoEvent));
        assert_eq!(Line::parse(r#"{"event":"window","ts":"noon"}"#).err(), Some(LineError::NoTime));
    }

    #[test]
    fn a_connection_is_handed_on_unread() {
        let text = r#"{"ts":"1970-01-01T00:00:01Z","event":"flow","number":7}"#;
        let line = Line::unread(text).unwrap();
        assert_eq!((line.event, line.ts_ns, &line.json), (Event::Flow, 1_000_000_000, &Value::Null));
        assert_eq!(line.text, text);
        assert_eq!(Line::unread("{}").err(), Some(LineError::NoEvent));
    }

    #[test]
    fn numbers_are_found_by_their_path() {
        let text = r#"{"ts":"1970-01-01T00:00:01.5Z","event":"window","rtt_ms":{"p50":0.25,"p90":null}}"#;
        let line = Line::parse(text).unwrap();
        assert_eq!((line.event, line.ts_ns), (Event::Window, 1_500_000_000));
        assert_eq!(line.number("rtt_ms.p50"), Some(0.25));
        assert_eq!((line.number("rtt_ms.p90"), line.number("rtt_ms.none.p50")), (None, None));
    }
}
