//! Two runs on one page: what changed and whether it is outside the noise, charts over each other from the beginning of each,
//! histograms beside each other, and the incidents of both.
//!
//! What is said of a row is `tidegauge diff`'s, word for word: here it is only shown.

use serde_json::{Value, json};

use super::chart::{Band, Curve, svg};
use super::content::{head, worst};
use super::text::{known, number, time};
use super::{Report, ReportError, bars, render};
use crate::board::{IncidentCard, Point};
use crate::line::time_ns;

/// What runs are called.
const LETTERS: [&str; 2] = ["A", "B"];
/// Verdicts that are news.
const NEWS: [&str; 3] = ["worse", "better", "changed"];

/// A line of a chart for each run.
type Quantity = (&'static str, fn(&Point) -> Option<f64>);

/// What is drawn.
const QUANTITIES: [Quantity; 10] = [
    ("connection attempts per second", |point| point.conn_rate),
    ("handshakes completed per second", |point| per_s(point, point.completed)),
    ("round trips, ms: half are below", |point| point.rtt_p50_ms),
    ("round trips, ms: 99 of 100 are below", |point| point.rtt_p99_ms),
    ("receive windows, bytes: half are above", |point| point.rwnd_p50_bytes),
    ("receive windows, bytes: 99 of 100 are above", |point| point.rwnd_p1_bytes),
    ("payload sent again, share", |point| point.loss_ratio),
    ("packets per second", |point| per_s(point, point.packets)),
    ("bytes per second", |point| per_s(point, point.bytes)),
    ("health, 0 to 100: the worst layer", |point| point.health),
];

fn per_s(point: &Point, count: Option<f64>) -> Option<f64> {
    count.map(|count| count / point.window_s.max(0.001))
}

/// What `tidegauge diff --json` says of two runs, and what they told.
#[derive(Clone, Copy, Debug)]
pub struct Comparison<'a> {
    /// The `diff` object.
    pub diff: &'a Value,
    /// Before.
    pub a: &'a Report,
    /// After.
    pub b: &'a Report,
}

impl Comparison<'_> {
    /// A page of its own: no script, nothing fetched.
    ///
    /// # Errors
    /// A fault of ours.
    pub fn html(&self) -> Result<String, ReportError> {
        render("comparison.html", include_str!("comparison.html"), &self.content())
    }

    /// The same for a ticket that takes Markdown, without the charts.
    ///
    /// # Errors
    /// A fault of ours.
    pub fn markdown(&self) -> Result<String, ReportError> {
        render("comparison.md", include_str!("comparison.md"), &self.content())
    }

    fn content(&self) -> Value {
        let runs = [self.a, self.b];
        let rows: Vec<Value> = self.diff["rows"].as_array().into_iter().flatten().map(row).collect();
        let (news, rest): (Vec<&Value>, Vec<&Value>) =
            rows.iter().partition(|row| NEWS.iter().any(|word| row["verdict"] == **word));
        let lengths = runs.map(length_ns);
        json!({
            "sentence": sentence(&self.diff["verdicts"]),
            "runs": [self.run(0), self.run(1)],
            "news": news,
            "rest": rest,
            "length": number(lengths.into_iter().max().unwrap_or(0) as f64 / 1e9),
            "charts": charts(runs),
            "histograms": bars::all(&[&self.a.histograms, &self.b.histograms]),
            "incidents": runs.iter().zip(LETTERS).flat_map(|(run, letter)| incidents(run, letter)).collect::<Vec<_>>(),
            "incidents_forgotten": runs.map(|run| run.board.incidents_forgotten).iter().sum::<u64>(),
        })
    }

    /// What one of them was.
    fn run(&self, place: usize) -> Value {
        let (report, told) = match place {
            0 => (self.a, &self.diff["a"]),
            _ => (self.b, &self.diff["b"]),
        };
        let mut run = head(&report.board, &report.series);
        run["letter"] = json!(LETTERS[place]);
        run["name"] = told["name"].clone();
        for sum in ["packets", "bytes", "duration_s", "windows", "flows"] {
            run[sum] = json!(known(&told[sum]));
        }
        for doubt in ["windows_degraded", "windows_skipped", "listeners_forgotten", "unreadable_lines"] {
            run[doubt] = told[doubt].clone();
        }
        run
    }
}

/// How many rows of which verdict.
fn sentence(verdicts: &Value) -> String {
    let told = verdicts.as_object().into_iter().flatten();
    let told: Vec<String> = told
        .filter(|(word, count)| NEWS.contains(&word.as_str()) && **count != 0)
        .map(|(word, count)| format!("{} {word}", known(count)))
        .collect();
    if told.is_empty() { "nothing is different, outside the noise".to_owned() } else { told.join(", ") }
}

/// One quantity, in words.
fn row(row: &Value) -> Value {
    let what = row["what"].as_str().unwrap_or_default();
    let is_share = what.ends_with("_share");
    let value = |side: &Value| match side["value"].as_f64() {
        None => "unknown".to_owned(),
        Some(value) if is_share => format!("{} %", number(value * 100.0)),
        Some(value) => match side["spread"].as_f64() {
            Some(spread) if spread > 0.0 => format!("{} ± {}", number(value), number(spread)),
            _ => number(value),
        },
    };
    json!({
        "verdict": row["verdict"],
        "what": what,
        "listener": row["listener"],
        "a": value(&row["a"]),
        "b": value(&row["b"]),
        "change": change(row, is_share),
        "evidence": evidence(&row["evidence"]),
        "samples": format!("{} / {}", known(&row["a"]["samples"]), known(&row["b"]["samples"])),
    })
}

fn change(row: &Value, is_share: bool) -> String {
    let values = row["a"]["value"].as_f64().zip(row["b"]["value"].as_f64());
    match (is_share, values, row["relative"].as_f64()) {
        (true, Some((a, b)), _) => format!("{} points", signed((b - a) * 100.0)),
        (_, _, Some(relative)) => format!("{} %", signed(relative * 100.0)),
        _ => "unknown".to_owned(),
    }
}

/// What a verdict rests on.
fn evidence(evidence: &Value) -> String {
    let number_of = |test: &str, name: &str| evidence[test][name].as_f64();
    if let Some((z, superiority)) = number_of("ranks", "z").zip(number_of("ranks", "superiority")) {
        return format!(
            "z {}; B is larger in {} % of pairs",
            signed(z),
            number((superiority * 100.0).round())
        );
    }
    if let Some((low, high)) = number_of("difference", "low").zip(number_of("difference", "high")) {
        return format!("from {} to {} points, at 99.9 %", signed(low * 100.0), signed(high * 100.0));
    }
    number_of("counts", "z").map_or_else(String::new, |z| format!("z {}", signed(z)))
}

fn signed(value: f64) -> String {
    let sign = if value < 0.0 { "" } else { "+" };
    format!("{sign}{}", number(value))
}

/// The beginning of a run, packet time.
fn begin_ns(run: &Report) -> Option<i64> {
    run.series.points().first().map(|point| point.ts_ns - (point.window_s * 1e9) as i64)
}

fn length_ns(run: &Report) -> i64 {
    let end = run.series.points().last().map(|point| point.ts_ns);
    end.zip(begin_ns(run)).map_or(0, |(end, begin)| end - begin)
}

/// Both over each other, each from its own beginning.
fn charts(runs: [&Report; 2]) -> Vec<Value> {
    let length = runs.map(length_ns).into_iter().max().unwrap_or(0).max(1) as f64;
    let share =
        |run: &Report, ts_ns: i64| ((ts_ns - begin_ns(run).unwrap_or(ts_ns)) as f64 / length).clamp(0.0, 1.0);
    let times =
        runs.map(|run| run.series.points().iter().map(|point| share(run, point.ts_ns)).collect::<Vec<f64>>());
    let mut bands = Vec::new();
    for (place, run) in runs.into_iter().enumerate() {
        let end = length_ns(run) as f64 / length;
        bands.extend(run.board.incidents().map(|card| Band {
            from: time_of(card, "opened_ts").map_or(0.0, |ts_ns| share(run, ts_ns)),
            to: time_of(card, "closed_ts").map_or(end, |ts_ns| share(run, ts_ns)),
            run: Some(place),
        }));
    }
    let chart = |(name, of): &Quantity| {
        let curve = |place: usize| Curve {
            name: LETTERS[place],
            at: &times[place],
            values: runs[place].series.points().iter().map(of).collect(),
        };
        let curves = [curve(0), curve(1)];
        let is_known = curves.iter().any(|curve| curve.values.iter().any(Option::is_some));
        json!({ "name": name, "svg": is_known.then(|| svg(name, &curves, &bands)) })
    };
    QUANTITIES.iter().map(chart).collect()
}

fn time_of(card: &IncidentCard, name: &str) -> Option<i64> {
    card.line.json[name].as_str().and_then(time_ns)
}

fn incidents<'a>(run: &'a Report, letter: &'static str) -> impl Iterator<Item = Value> + 'a {
    let begin = begin_ns(run);
    run.board.incidents().map(move |card| {
        let line = &card.line.json;
        let opened = time_of(card, "opened_ts");
        let after = opened.zip(begin).map(|(opened, begin)| number((opened - begin) as f64 / 1e9));
        json!({
            "run": letter,
            "id": card.id(),
            "severity": worst(card),
            "kind": card.kind(),
            "target": card.target(),
            "opened": opened.map(time),
            "after_s": after,
            "lasted_s": line["lasted_s"].as_f64().map(number),
            "peak": known(if line["summary"]["peak"].is_null() { &line["measured"] } else { &line["summary"]["peak"] }),
            "unit": line["unit"],
            "cause": line["cause"][0],
            "because_of": line["because_of"]["id"],
        })
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::line::Line;

    fn report(lines: &[&str]) -> Report {
        let mut report = Report::default();
        lines.iter().for_each(|text| report.take(&Arc::new(Line::parse(text).unwrap())));
        report
    }

    const A: &str =
        r#"{"ts":"2026-01-02T03:04:05Z","event":"window","window_s":1.0,"packets":7,"conn_rate":5.0}"#;
    const B: &str =
        r#"{"ts":"2026-01-03T03:04:05Z","event":"window","window_s":1.0,"packets":9,"conn_rate":500.0}"#;
    const INCIDENT: &str = r#"{"ts":"2026-01-03T03:04:05Z","event":"incident","id":"syn_flood-0001","kind":"syn_flood",
        "state":"opened","severity":"P1","opened_ts":"2026-01-03T03:04:04.5Z","target":{"addr":"192.0.2.1","port":80,
        "proto":"tcp"},"measured":1234.5,"unit":"syn/s","cause":["a flood"]}"#;

    fn diff() -> Value {
        json!({
            "a": { "name": "<b>|before", "packets": 7 }, "b": { "name": "after", "packets": 9 },
            "verdicts": { "worse": 1, "better": 0, "changed": 1, "unknown": 0, "same": 1 },
            "rows": [
                { "what": "refused_share", "verdict": "worse", "a": { "value": 0.01, "samples": 9 },
                  "b": { "value": 0.0304, "samples": 8 }, "relative": 2.04,
                  "evidence": { "difference": { "low": 0.01, "high": 0.0305 } } },
                { "what": "bytes_per_s", "verdict": "changed", "a": { "value": 100.0, "spread": 5.0, "samples": 9 },
                  "b": { "value": 90.0, "samples": 8 }, "relative": -0.1,
                  "evidence": { "ranks": { "z": -4.5, "superiority": 0.1 } } },
                { "what": "rtt_ack_peer_p50_ms", "verdict": "unknown", "a": { "value": null, "samples": 0 },
                  "b": { "value": 2.0, "samples": 3 }, "relative": null, "evidence": "none" },
            ],
        })
    }

    #[test]
    fn what_changed_is_said_with_its_noise() {
        let (a, b, diff) = (report(&[A]), report(&[B, INCIDENT]), diff());
        let comparison = Comparison { diff: &diff, a: &a, b: &b };
        let (html, markdown) = (comparison.html().unwrap(), comparison.markdown().unwrap());
        for page in [&html, &markdown] {
            for part in [
                "1 worse, 1 changed",
                "refused_share",
                "1 %",
                "3.040 %",
                "+2.040 points",
                "+1 to +3.050 points",
                "100 ± 5",
                "-10 %",
                "B is larger in 10 % of pairs",
                "unknown",
                "192.0.2.1:80",
                "1,234",
                "0.500 s",
            ] {
                assert!(page.contains(part), "{part} in {page}");
            }
            assert!(!page.contains("<b>|before"), "names are text");
        }
        assert!(html.contains("<svg") && !html.contains("<script") && !html.contains("://"));
        assert_eq!(html.matches(r#"class="curve c1""#).count(), html.matches(r#"class="curve c0""#).count());
    }

    #[test]
    fn two_runs_that_are_alike_are_said_to_be() {
        let a = report(&[A]);
        let diff = json!({ "verdicts": { "same": 3 }, "rows": [] });
        let page = Comparison { diff: &diff, a: &a, b: &a }.markdown().unwrap();
        assert!(page.contains("nothing is different, outside the noise"), "{page}");
    }
}
