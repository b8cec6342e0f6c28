//! What a report says, as the templates take it: every number a text already, "unknown" where it is not known.

use serde_json::{Value, json};

use super::chart::{Band, Curve, svg};
use super::series::Series;
use super::text::{known, number, time};
use crate::board::{Board, IncidentCard, Point, place};
use crate::line::time_ns;

/// Sources named of an incident.
const SOURCES_MAX: usize = 10;

/// What was looked at, when, how well it was seen, and the whole in a sentence.
pub(super) fn head(board: &Board, series: &Series) -> Value {
    let (points, summary) = (series.points(), board.summary.as_ref().map(|line| &line.json));
    let newest = board.summary.as_ref().or(board.window.as_ref()).or(board.source.as_ref());
    let source = newest.map(|line| &line.json["source"]);
    let of_points = |of: fn(&Point) -> Option<f64>| points.iter().filter_map(of).sum::<f64>();
    let sum = |name: &str, of: fn(&Point) -> Option<f64>| {
        summary.map_or_else(|| number(of_points(of)), |summary| known(&summary[name]))
    };
    let begin = points.first().map(|point| point.ts_ns - (point.window_s * 1e9) as i64);
    let quality = newest.map(|line| &line.json["quality"]);
    json!({
        "name": source.and_then(|source| source["name"].as_str()).unwrap_or("a run"),
        "kind": source.and_then(|source| source["kind"].as_str()),
        "sentence": sentence(board, series),
        "begin": begin.map(time),
        "end": points.last().map(|point| time(point.ts_ns)),
        "packets": sum("packets", |point| point.packets),
        "bytes": sum("bytes", |point| point.bytes),
        "quality": quality.and_then(|quality| quality["verdict"].as_str()).unwrap_or("unknown"),
        "why": quality.map(|quality| &quality["why"]),
        "is_cut": summary.is_none(),
        "windows_per_point": series.windows_per_point(),
    })
}

fn sentence(board: &Board, series: &Series) -> String {
    let (all, open) = (board.incidents().len(), board.open_incidents().len());
    match board.incidents().min_by_key(|card| worst(card)) {
        None if series.points().is_empty() => "nothing was told".to_owned(),
        None => match observed(board).len() {
            0 => "nothing was found wrong".to_owned(),
            1 => "no incident; one observation below any alarm".to_owned(),
            many => format!("no incident; {many} observations below any alarm"),
        },
        Some(card) => {
            let others = match all - 1 {
                0 => String::new(),
                1 => ", and one more incident".to_owned(),
                more => format!(", and {more} more incidents"),
            };
            let still = if open == 0 { "all closed".to_owned() } else { format!("{open} open at the end") };
            format!("{} {} at {}{others}; {still}", worst(card), card.kind(), card.target())
        }
    }
}

fn observed(board: &Board) -> &[Value] {
    let summary = board.summary.as_ref().and_then(|line| line.json["observations"].as_array());
    summary.map(Vec::as_slice).unwrap_or_default()
}

/// What was seen and is no incident.
pub(super) fn observations(board: &Board) -> Value {
    let told = observed(board).iter().map(|one| {
        json!({
            "kind": one["kind"],
            "target": place(&one["target"]),
            "what": one["what"],
            "first": one["first_ts"].as_str().and_then(time_ns).map(time),
            "last": one["last_ts"].as_str().and_then(time_ns).map(time),
            "incident_needs": one["incident_needs"],
            "filter": one["filter"],
            "next": one["next"],
        })
    });
    let left_out = board.summary.as_ref().and_then(|line| line.json["observations_left_out"].as_u64());
    json!({ "told": told.collect::<Vec<_>>(), "left_out": left_out.filter(|count| *count != 0) })
}

/// The worst severity of an incident's life.
pub(super) fn worst(card: &IncidentCard) -> &str {
    card.steps().map(|step| step.severity.as_str()).min().unwrap_or_else(|| card.severity())
}

/// One incident.
pub(super) fn incident(card: &IncidentCard) -> Value {
    let line = &card.line.json;
    let steps = card.steps().map(|step| {
        json!([
            time(step.ts_ns),
            step.state,
            step.severity,
            step.measured.map_or_else(|| "unknown".to_owned(), number)
        ])
    });
    let top = line["sources"]["top"].as_array().map(Vec::as_slice).unwrap_or_default();
    let sources = top.iter().take(SOURCES_MAX).map(|source| {
        let rate = source.as_object().and_then(|fields| fields.values().find_map(Value::as_f64));
        json!([source["addr"], rate.map_or_else(|| "unknown".to_owned(), number)])
    });
    json!({
        "id": card.id(),
        "kind": card.kind(),
        "severity": worst(card),
        "state": line["state"],
        "target": card.target(),
        "opened": line["opened_ts"],
        "closed": line["closed_ts"],
        "rule": line["rule"],
        "measured": known(&line["measured"]),
        "unit": line["unit"],
        "limit": known(&line["limit"]),
        "baseline": known(&line["baseline"]),
        "peak": known(&line["summary"]["peak"]),
        "share_served": line["summary"]["share_served"].as_f64().map(|share| number(share * 100.0)),
        "cause": line["cause"],
        "causes": causes(&line["causes"]),
        "because_of": line["because_of"]["id"],
        "distinct": known(&line["sources"]["distinct"]),
        "spoofed": line["sources"]["spoofed_estimate"].as_f64().map(|share| number(share * 100.0)),
        "sources": sources.collect::<Vec<_>>(),
        "next": line["next"],
        "mitigation": line["mitigation"],
        "evidence": line["evidence"]["path"].as_str().or_else(|| line["evidence"].as_str()),
        "quality": line["quality"]["verdict"],
        "steps": steps.collect::<Vec<_>>(),
    })
}

fn causes(causes: &Value) -> Vec<Value> {
    let said = |evidence: &Value| -> Vec<String> {
        let parts = evidence.as_array().map(Vec::as_slice).unwrap_or_default();
        parts
            .iter()
            .map(|part| {
                format!("{} ({})", part["what"].as_str().unwrap_or_default(), known(&part["measured"]))
            })
            .collect()
    };
    let causes = causes.as_array().map(Vec::as_slice).unwrap_or_default();
    let cause = |cause: &Value| {
        json!({
            "cause": cause["cause"], "layer": cause["layer"], "score": known(&cause["score"]),
            "for": said(&cause["for"]), "against": said(&cause["against"]),
        })
    };
    causes.iter().map(cause).collect()
}

/// Charts over the run.
pub(super) fn charts(board: &Board, series: &Series) -> Vec<Value> {
    let points = series.points();
    let (Some(first), Some(last)) = (points.first(), points.last()) else { return Vec::new() };
    let begin = first.ts_ns - (first.window_s * 1e9) as i64;
    let length = (last.ts_ns - begin).max(1) as f64;
    let share = |ts_ns: i64| ((ts_ns - begin) as f64 / length).clamp(0.0, 1.0);
    let shares: Vec<f64> = points.iter().map(|point| share(point.ts_ns)).collect();
    let bands = bands(board, share);
    let curve = |name, of: fn(&Point) -> Option<f64>| Curve {
        name,
        at: &shares,
        values: points.iter().map(of).collect(),
    };
    let chart = |name: &str, curves: Vec<Curve<'_>>| {
        if curves.iter().all(|curve| curve.values.iter().all(Option::is_none)) {
            return json!({ "name": name, "svg": null, "legend": [] });
        }
        let legend: Vec<_> = curves.iter().map(|curve| curve.name).collect();
        json!({ "name": name, "svg": svg(name, &curves, &bands), "legend": legend })
    };
    let per_s = |point: &Point, count: Option<f64>| count.map(|count| count / point.window_s.max(0.001));
    let rates = |name, of: fn(&Point) -> Option<f64>| Curve {
        name,
        at: &shares,
        values: points.iter().map(|point| per_s(point, of(point))).collect(),
    };
    vec![
        chart(
            "connection attempts per second",
            vec![curve("attempts", |point| point.conn_rate), curve("usual", |point| point.conn_rate_usual)],
        ),
        chart(
            "handshakes per second",
            vec![
                rates("asked", |point| point.attempted),
                rates("answered", |point| point.answered),
                rates("completed", |point| point.completed),
            ],
        ),
        chart(
            "round trips, ms",
            vec![
                curve("half are below", |point| point.rtt_p50_ms),
                curve("99 of 100 are below", |point| point.rtt_p99_ms),
            ],
        ),
        chart(
            "receive windows, bytes",
            vec![
                curve("half are above", |point| point.rwnd_p50_bytes),
                curve("99 of 100 are above", |point| point.rwnd_p1_bytes),
            ],
        ),
        chart("payload sent again, share", vec![curve("loss", |point| point.loss_ratio)]),
        chart("packets per second", vec![rates("packets", |point| point.packets)]),
        chart("health, 0 to 100", vec![curve("the worst layer", |point| point.health)]),
    ]
}

/// When incidents were open, in shares of the time.
fn bands(board: &Board, share: impl Fn(i64) -> f64) -> Vec<Band> {
    let time_of = |card: &IncidentCard, name: &str| card.line.json[name].as_str().and_then(time_ns);
    let band = |card: &IncidentCard| Band {
        from: time_of(card, "opened_ts").map_or(0.0, &share),
        to: time_of(card, "closed_ts").map_or(1.0, &share),
        run: None,
    };
    board.incidents().map(band).collect()
}

/// The numbers of the whole run.
pub(super) fn tables(summary: &Value) -> Vec<Value> {
    const TABLES: [(&str, &str); 8] = [
        ("handshake", "Handshakes"),
        ("tcp", "TCP"),
        ("tls", "TLS"),
        ("http", "HTTP"),
        ("dns", "DNS"),
        ("icmp", "ICMP"),
        ("features", "Features of the model"),
        ("tables", "What did not fit our tables"),
    ];
    let table = |(name, title): &(&str, &str)| {
        let fields = summary[*name].as_object()?;
        // A long list of zeros hides what is there; what is not known is said.
        let rows: Vec<_> = fields
            .iter()
            .filter(|(_, value)| value.is_null() || value.as_f64().is_some_and(|value| value != 0.0))
            .map(|(field, value)| json!([field, known(value)]))
            .collect();
        (!rows.is_empty()).then(|| json!({ "title": title, "rows": rows }))
    };
    let mut tables: Vec<_> = TABLES.iter().filter_map(table).collect();
    tables.insert(0, round_trips(&summary["rtt_ms"]));
    tables
}

/// By method: how often, and how long.
fn round_trips(rtt_ms: &Value) -> Value {
    let row = |name: &str, value: &Value| {
        json!([
            name,
            format!(
                "half below {}, 99 of 100 below {}, most {} ms ({} samples)",
                known(&value["p50"]),
                known(&value["p99"]),
                known(&value["max"]),
                known(&value["count"])
            )
        ])
    };
    let methods = rtt_ms["by_method"].as_object();
    let rows: Vec<_> = methods
        .into_iter()
        .flatten()
        .filter(|(_, value)| value["count"].as_f64().is_some_and(|count| count > 0.0))
        .map(|(name, value)| row(name, value))
        .collect();
    json!({ "title": "Round trips by method", "rows": rows })
}
