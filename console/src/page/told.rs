//! What is sent to the page: the board as JSON, with bounds, and without what the page does not show.

use serde_json::{Map, Value, json};

use super::limits::{INCIDENTS_TOLD_MAX, LISTENERS_TOLD_MAX};
use crate::board::{Board, IncidentCard, LAYERS, Point, Step};
use crate::line::number;

/// Of a window, besides its listeners.
const WINDOW_FIELDS: [&str; 16] = [
    "ts",
    "window_s",
    "packets",
    "bytes",
    "conn_rate",
    "handshake",
    "rwnd_bytes",
    "transfer_1mib_ms",
    "quality",
    "sampling",
    "cost",
    "host",
    "source",
    "features",
    "health",
    "forecast",
];
/// Of a listener.
const LISTENER_FIELDS: [&str; 7] =
    ["target", "conn_rate", "completed", "distinct_sources", "packets", "bytes", "rtt_listener_ms"];
/// Of a summary.
const SUMMARY_FIELDS: [&str; 11] = [
    "ts",
    "packets",
    "bytes",
    "duration_s",
    "first_ts",
    "last_ts",
    "quality",
    "handshake",
    "sources",
    "health",
    "tables",
];
/// Of an incident in a list.
const INCIDENT_FIELDS: [&str; 16] = [
    "ts",
    "id",
    "kind",
    "state",
    "severity",
    "opened_ts",
    "updated_ts",
    "closed_ts",
    "target",
    "measured",
    "unit",
    "limit",
    "baseline",
    "because_of",
    "consequences",
    "lasted_s",
];

/// The whole board.
pub(super) fn board(board: &Board) -> Value {
    let incidents: Vec<Value> = board.incidents().rev().take(INCIDENTS_TOLD_MAX).map(listed).collect();
    json!({
        "source": board.source.as_ref().map(|line| &line.json),
        "window": board.window.as_ref().map(|line| window(&line.json)),
        "summary": board.summary.as_ref().map(|line| fields(&line.json, &SUMMARY_FIELDS)),
        "thresholds": board.reload.as_ref().map(|line| thresholds(&line.json)),
        "points": columns(board.points()),
        "histograms": board.recent.json(),
        "incidents": incidents,
        "incidents_untold": board.incidents().len().saturating_sub(INCIDENTS_TOLD_MAX),
        "incidents_forgotten": board.incidents_forgotten,
        "windows": board.windows,
        "is_over": board.is_over,
    })
}

/// Whether thresholds were read again, or why not.
pub(super) fn thresholds(line: &Value) -> Value {
    fields(line, &["ts", "state", "why"])
}

/// A window without what the page does not show, with its busiest listeners.
pub(super) fn window(line: &Value) -> Value {
    let mut told = fields(line, &WINDOW_FIELDS);
    if let Some(rtt) = line["rtt_ms"].as_object() {
        told["rtt_ms"] = fields(&line["rtt_ms"], &["count", "p50", "p90", "p99", "max"]);
        told["rtt_ms"]["by_method"] = rtt.get("by_method").cloned().unwrap_or(Value::Null);
    }
    let mut listeners: Vec<&Value> = line["listeners"].as_array().into_iter().flatten().collect();
    let packets = |listener: &Value| number(listener, "packets").unwrap_or(0.0);
    listeners.sort_by(|one, other| packets(other).total_cmp(&packets(one)));
    told["listeners_untold"] = json!(listeners.len().saturating_sub(LISTENERS_TOLD_MAX));
    listeners.truncate(LISTENERS_TOLD_MAX);
    told["listeners"] = listeners.iter().map(|listener| fields(listener, &LISTENER_FIELDS)).collect();
    told
}

/// An incident in a list, with what led to it.
pub(super) fn listed(card: &IncidentCard) -> Value {
    let mut told = incident(&card.line.json);
    told["steps"] = card.steps().map(step).collect();
    told
}

/// An incident's line in a list.
pub(super) fn incident(line: &Value) -> Value {
    let mut told = fields(line, &INCIDENT_FIELDS);
    told["cause"] = json!(line["cause"][0]);
    let sources = &line["sources"];
    let first =
        |name: &str| -> Vec<&Value> { sources[name].as_array().into_iter().flatten().take(8).collect() };
    told["sources"] = json!({
        "distinct": sources["distinct"],
        "spoofed_estimate": sources["spoofed_estimate"],
        "top": first("top"),
        "prefixes": first("prefixes"),
    });
    told["likely"] = json!(line["causes"][0]["cause"]);
    told
}

/// All of an incident.
pub(super) fn whole_incident(card: &IncidentCard) -> Value {
    json!({
        "incident": card.line.json,
        "target": card.target(),
        "steps": card.steps().map(step).collect::<Vec<_>>(),
        "evidence": card.line.json["evidence"]["path"].is_string(),
    })
}

/// A point by its columns' names.
pub(super) fn point(point: &Point) -> Value {
    named(point).into_iter().map(|(name, value)| (name, json!(value))).collect::<Map<_, _>>().into()
}

fn step(step: &Step) -> Value {
    json!({ "ts_s": step.ts_ns as f64 / 1e9, "state": step.state, "severity": step.severity, "measured": step.measured })
}

/// Points as columns.
pub(super) fn columns<'a>(points: impl ExactSizeIterator<Item = &'a Point>) -> Value {
    let mut columns: Map<String, Value> = Map::new();
    for (name, _) in named(&Point::default()) {
        columns.insert(name, Value::Array(Vec::with_capacity(points.len())));
    }
    for point in points {
        for (name, value) in named(point) {
            if let Some(Value::Array(column)) = columns.get_mut(&name) {
                column.push(json!(value));
            }
        }
    }
    columns.into()
}

fn named(point: &Point) -> Vec<(String, Option<f64>)> {
    let mut named: Vec<(String, Option<f64>)> = [
        ("ts_s", Some(point.ts_ns as f64 / 1e9)),
        ("window_s", Some(point.window_s)),
        ("packets", point.packets),
        ("bytes", point.bytes),
        ("conn_rate", point.conn_rate),
        ("conn_rate_usual", point.conn_rate_usual),
        ("attempted", point.attempted),
        ("answered", point.answered),
        ("completed", point.completed),
        ("rtt_p50_ms", point.rtt_p50_ms),
        ("rtt_p99_ms", point.rtt_p99_ms),
        ("rwnd_p1_bytes", point.rwnd_p1_bytes),
        ("rwnd_p50_bytes", point.rwnd_p50_bytes),
        ("loss_ratio", point.loss_ratio.map(short)),
        ("health", point.health.map(short)),
        ("healthy_next", point.healthy_next),
        ("complete", Some(f64::from(u8::from(point.complete)))),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    named.extend(
        LAYERS.iter().zip(point.layers).map(|(layer, score)| (format!("layer_{layer}"), score.map(short))),
    );
    named
}

/// Four digits behind the point: nobody sees more of them in a chart, and they are most of the bytes.
fn short(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}

fn fields(line: &Value, names: &[&str]) -> Value {
    names.iter().map(|name| ((*name).to_owned(), line[*name].clone())).collect::<Map<_, _>>().into()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::line::Line;

    #[test]
    fn a_window_is_told_with_its_busiest_listeners_only() {
        let listeners: Vec<Value> = (0..100).map(|packets| json!({ "packets": packets })).collect();
        let told = window(
            &json!({ "packets": 3, "listeners": listeners, "rtt_ms": { "p50": 1.5, "by_listener": [1] } }),
        );
        assert_eq!((&told["listeners"][0]["packets"], &told["listeners_untold"]), (&json!(99), &json!(68)));
        assert_eq!((&told["rtt_ms"]["p50"], &told["rtt_ms"]["by_listener"]), (&json!(1.5), &Value::Null));
    }

    #[test]
    fn columns_have_one_place_for_each_point() {
        let mut all = Board::default();
        for second in 1..4 {
            let text =
                format!(r#"{{"ts":"1970-01-01T00:00:0{second}Z","event":"window","packets":{second}}}"#);
            all.take(&Arc::new(Line::parse(&text).unwrap()));
        }
        let told = board(&all);
        assert_eq!(told["points"]["ts_s"], json!([1.0, 2.0, 3.0]));
        assert_eq!(told["points"]["packets"], json!([1.0, 2.0, 3.0]));
        assert_eq!(told["points"]["layer_link"], json!([null, null, null]));
    }
}
