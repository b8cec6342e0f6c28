//! Tells a person what tidegauge says to programs: its JSON lines, the interesting ones, as they come.
//!
//! Every line is kept as evidence; windows and other frequent events are not told. Lines that are no JSON are shown
//! as they are: they would be a mistake of tidegauge's that nobody should miss.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::stage::Stage;

/// How often a wait looks for Ctrl-C.
const POLL: Duration = Duration::from_millis(50);
/// Elements of a list that are shown.
const SHOWN_MAX: usize = 3;
/// Fields of an incident that a person wants, in this order.
const FIELDS: [&str; 9] =
    ["rule", "measured", "limit", "baseline", "sources", "cause", "next", "evidence", "quality"];

/// A line as it came, and when (nanoseconds since the epoch).
type Line = (u64, String);

/// Takes tidegauge's lines from its output.
pub(super) struct Listener {
    lines: Receiver<Line>,
}

impl Listener {
    /// Listens to `output` and keeps every line in `file`.
    pub(super) fn new(output: impl Read + Send + 'static, file: &Path) -> Result<Self> {
        let mut kept = File::create(file).with_context(|| format!("write {}", file.display()))?;
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                // The time is taken first: it is what the reader of a pipe would have seen.
                let now_ns = now_ns();
                if writeln!(kept, "{line}").is_err() || sender.send((now_ns, line)).is_err() {
                    return;
                }
            }
        });
        Ok(Self { lines })
    }

    /// Tells the story until it is `done` (which it returns) or `longest` is over.
    pub(super) fn listen(
        &mut self,
        story: &mut Story,
        stage: &Stage,
        longest: Duration,
        done: impl Fn(&Story) -> bool,
    ) -> Result<bool> {
        let until = Instant::now() + longest;
        while !done(story) {
            stage.check_interrupt()?;
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            match self.lines.recv_timeout(left.min(POLL)) {
                Ok(line) => story.tell(line),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) if story.has_summary() => return Ok(false),
                Err(RecvTimeoutError::Disconnected) => {
                    // Ctrl-C reaches every process of the terminal: then this is why it ended.
                    stage.check_interrupt()?;
                    bail!("tidegauge ended; its last words are above");
                }
            }
        }
        Ok(true)
    }

    /// Tells the story to the end of the output.
    pub(super) fn listen_to_end(self, story: &mut Story) -> Result<()> {
        for line in self.lines {
            story.tell(line);
        }
        Ok(())
    }
}

/// What was told so far.
#[derive(Debug)]
pub(super) struct Story {
    began: Instant,
    has_source: bool,
    has_summary: bool,
    /// Incidents that are open, by their id as JSON.
    open: BTreeSet<String>,
    opened: usize,
    flood_opened_ns: Option<u64>,
}

impl Story {
    pub(super) fn new() -> Self {
        Self {
            began: Instant::now(),
            has_source: false,
            has_summary: false,
            open: BTreeSet::new(),
            opened: 0,
            flood_opened_ns: None,
        }
    }

    /// Whether tidegauge said which source is in force.
    pub(super) const fn has_source(&self) -> bool {
        self.has_source
    }

    /// Whether tidegauge gave its summary, its last event.
    pub(super) const fn has_summary(&self) -> bool {
        self.has_summary
    }

    /// Incidents opened so far.
    pub(super) const fn opened(&self) -> usize {
        self.opened
    }

    /// Whether there were incidents and all of them are closed.
    pub(super) fn all_closed(&self) -> bool {
        self.opened > 0 && self.open.is_empty()
    }

    /// When the first `syn_flood` was opened, as a reader of the pipe saw it.
    pub(super) const fn flood_opened_ns(&self) -> Option<u64> {
        self.flood_opened_ns
    }

    /// A line of the narrator's.
    pub(super) fn say(&self, text: &str) {
        println!("{:>6.1} s  {text}", self.began.elapsed().as_secs_f64());
    }

    fn tell(&mut self, (at_ns, line): Line) {
        let Ok(event) = serde_json::from_str::<Value>(&line) else {
            self.say(&format!("not JSON: {line}"));
            return;
        };
        let name = event["event"].as_str().unwrap_or_default();
        // What an event is about stands under its name, or in the event itself.
        let body = event.get(name).filter(|body| body.is_object()).unwrap_or(&event);
        match name {
            "incident" => self.tell_incident(body, at_ns),
            "source" => {
                self.has_source = true;
                self.say(&format!("source in force: {}", plain(body)));
            }
            "summary" => {
                self.has_summary = true;
                self.say("summary");
                for (name, value) in body.as_object().into_iter().flatten() {
                    if !matches!(name.as_str(), "event" | "ts") {
                        println!("            {name:<10} {}", plain(value));
                    }
                }
            }
            _ => {}
        }
    }

    fn tell_incident(&mut self, incident: &Value, at_ns: u64) {
        let (kind, state) = (plain(&incident["kind"]), plain(&incident["state"]));
        let id = incident["id"].to_string();
        match state.as_str() {
            "closed" => {
                self.open.remove(&id);
            }
            "opened" => {
                self.open.insert(id);
                self.opened += 1;
                if kind == "syn_flood" {
                    self.flood_opened_ns.get_or_insert(at_ns);
                }
            }
            _ => {}
        }
        let severity = plain(&incident["severity"]);
        self.say(&format!("{severity} {kind} {state}: {}", plain(&incident["target"])));
        for field in FIELDS {
            let value = &incident[field];
            // Updates only carry what changed most: the measured value.
            let is_told = state != "updated" || field == "measured";
            if is_told && !value.is_null() {
                println!("            {field:<10} {}", plain(value));
            }
        }
    }
}

/// A value as a person reads it: no quotes, no braces, long lists cut.
fn plain(value: &Value) -> String {
    match value {
        Value::Array(items) => {
            let mut shown: Vec<String> = items.iter().take(SHOWN_MAX).map(plain).collect();
            if items.len() > SHOWN_MAX {
                shown.push(format!("and {} more", items.len() - SHOWN_MAX));
            }
            shown.join(", ")
        }
        Value::Null => "-".to_owned(),
        Value::Number(number) => match number.as_f64() {
            Some(float) if !number.is_u64() && !number.is_i64() => format!("{float:.3}"),
            _ => number.to_string(),
        },
        Value::Object(fields) => {
            let words = fields.iter().map(|(name, value)| match value {
                Value::Object(_) => format!("{name} ({})", plain(value)),
                value => format!("{name} {}", plain(value)),
            });
            words.collect::<Vec<_>>().join(", ")
        }
        Value::String(text) => text.clone(),
        Value::Bool(bool) => bool.to_string(),
    }
}

fn now_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn told(lines: &[Value]) -> Story {
        let mut story = Story::new();
        for (at_ns, line) in (1..).zip(lines) {
            story.tell((at_ns, line.to_string()));
        }
        story
    }

    #[test]
    fn an_incident_is_open_until_it_is_closed() {
        let opened = json!({"event": "incident", "id": 1, "kind": "syn_flood", "state": "opened"});
        let updated = json!({"event": "incident", "id": 1, "kind": "syn_flood", "state": "updated"});
        let closed = json!({"event": "incident", "id": 1, "kind": "syn_flood", "state": "closed"});
        let story = told(&[opened.clone(), updated]);
        assert!(!story.all_closed());
        assert_eq!((story.opened(), story.flood_opened_ns()), (1, Some(1)));
        assert!(told(&[opened, closed]).all_closed());
        assert!(!told(&[]).all_closed());
    }

    #[test]
    fn what_an_event_is_about_may_stand_under_its_name() {
        let nested =
            json!({"event": "incident", "incident": {"id": "a", "kind": "syn_flood", "state": "opened"}});
        assert_eq!(told(&[nested]).opened(), 1);
        assert!(told(&[json!({"event": "source", "source": {"kind": "xdp"}})]).has_source());
        assert!(told(&[json!({"event": "summary", "packets": 1})]).has_summary());
    }

    #[test]
    fn values_are_shown_as_a_person_reads_them() {
        let value = json!({"a": 1, "b": [1, 2, 3, 4], "c": {"d": 0.5, "e": null}, "f": "g"});
        assert_eq!(plain(&value), "a 1, b 1, 2, 3, and 1 more, c (d 0.500, e -), f g");
    }
}
