//! The newest connections that the run told, as rows of a table that can be searched.

use std::collections::VecDeque;

use serde_json::{Value, json};

use super::limits::{FLOWS_MAX, FLOWS_TOLD_MAX};
use crate::line::{Line, number};

/// A row, and the text that is searched; a line until somebody looks.
#[derive(Debug)]
enum Row {
    Line(String),
    Read { text: String, json: Value },
}

impl Row {
    /// Its text and its cells.
    fn read(&mut self) -> (&str, &Value) {
        if let Self::Line(line) = self {
            // What is no JSON after all is a row of unknowns.
            let flow = serde_json::from_str(line).unwrap_or_default();
            *self = read(&flow);
        }
        match self {
            Self::Line(line) => (line, &Value::Null),
            Self::Read { text, json } => (text, json),
        }
    }
}

/// The table.
#[derive(Debug, Default)]
pub(super) struct Flows {
    rows: VecDeque<Row>,
    seen: u64,
}

impl Flows {
    /// Takes a `flow` line.
    pub(super) fn take(&mut self, line: &Line) {
        self.seen += 1;
        if self.rows.len() == FLOWS_MAX {
            self.rows.pop_front();
        }
        self.rows.push_back(Row::Line(line.text.clone()));
    }

    /// The newest rows that contain every word.
    pub(super) fn found(&mut self, words: &str) -> Value {
        let words: Vec<String> = words.split_whitespace().take(8).map(str::to_lowercase).collect();
        let mut found = 0;
        let mut rows = Vec::new();
        for row in self.rows.iter_mut().rev() {
            let (text, json) = row.read();
            if words.iter().all(|word| text.contains(word)) {
                found += 1;
                if rows.len() < FLOWS_TOLD_MAX {
                    rows.push(json.clone());
                }
            }
        }
        json!({ "rows": rows, "found": found, "kept": self.rows.len(), "seen": self.seen })
    }
}

fn read(flow: &Value) -> Row {
    let end = |name: &str| {
        let (addr, port) =
            (flow[name]["addr"].as_str().unwrap_or("?"), flow[name]["port"].as_u64().unwrap_or(0));
        if addr.contains(':') { format!("[{addr}]:{port}") } else { format!("{addr}:{port}") }
    };
    let both = |name: &str| {
        ["forward", "reverse"].iter().filter_map(|way| number(flow, &format!("{way}.{name}"))).sum::<f64>()
    };
    let rtt_us = [number(flow, "handshake.listener_rtt_us"), number(flow, "handshake.peer_rtt_us")];
    let json = json!({
        "number": flow["number"],
        "first_ts": flow["first_ts"],
        "last_ts": flow["last_ts"],
        "from": end("initiator"),
        "to": end("responder"),
        "state": flow["state"],
        "close": flow["close"],
        "packets": both("packets"),
        "bytes": both("bytes"),
        "retransmission": both("retransmission"),
        "rtt_ms": rtt_us[0].zip(rtt_us[1]).map(|(one, other)| (one + other) / 1_000.0),
        "limiter": flow["limiter"]["verdict"],
        "app": flow["app"]["protocol"],
    });
    let text = ["from", "to", "state", "close", "app"].map(|name| json[name].as_str().unwrap_or_default());
    Row::Read { text: text.join(" ").to_lowercase(), json }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_found_by_all_their_words_newest_first() {
        let mut flows = Flows::default();
        for port in 0..FLOWS_MAX + 10 {
            let text = format!(
                r#"{{"ts":"1970-01-01T00:00:01Z","event":"flow","initiator":{{"addr":"10.0.0.1","port":{port}}},"responder":{{"addr":"fd00::2","port":443}},"state":"closed","forward":{{"bytes":7}},"reverse":{{"bytes":5}}}}"#
            );
            flows.take(&Line::parse(&text).unwrap());
        }
        let found = flows.found("[FD00::2]:443 closed");
        assert_eq!((found["kept"].as_u64(), found["found"].as_u64()), (Some(4_096), Some(4_096)));
        assert_eq!(found["rows"].as_array().map(Vec::len), Some(FLOWS_TOLD_MAX));
        assert_eq!(
            (&found["rows"][0]["from"], &found["rows"][0]["bytes"]),
            (&json!("10.0.0.1:4105"), &json!(12.0))
        );
        assert_eq!(flows.found("udp")["found"], 0);
    }
}
