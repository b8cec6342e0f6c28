//! A diff for people and for programs.

use std::fmt::Write;

use serde_json::{Value, json};

use super::{Diff, Evidence, Row, RunSummary, Side, Verdict};
use crate::time::timestamp;

/// One object: both sides, how many rows of each verdict, and all rows. `ts` is the end of B.
pub fn json(diff: &Diff, a: &RunSummary, b: &RunSummary) -> Value {
    let counts: serde_json::Map<String, Value> =
        Verdict::ALL.iter().map(|verdict| (verdict.name().to_owned(), json!(diff.count(*verdict)))).collect();
    json!({
        "ts": timestamp(b.span_ns.map_or(0, |(_, end)| end)),
        "event": "diff",
        "a": run_json(a),
        "b": run_json(b),
        "level": 0.001,
        "verdicts": counts,
        "rows": diff.rows,
    })
}

fn run_json(run: &RunSummary) -> Value {
    json!({
        "name": run.name,
        "start_ts": run.span_ns.map(|(start, _)| timestamp(start)),
        "end_ts": run.span_ns.map(|(_, end)| timestamp(end)),
        "duration_s": run.length_s(),
        "window_s": run.window_s,
        "windows": run.windows,
        "windows_degraded": run.degraded_windows,
        "windows_skipped": run.windows_skipped,
        "packets": run.packets,
        "bytes": run.bytes,
        "flows": run.flows,
        "listeners_forgotten": run.listeners_forgotten,
        "unreadable_lines": run.unreadable,
    })
}

/// Lines for a terminal: both sides, what changed, and what did not.
pub fn table(diff: &Diff, a: &RunSummary, b: &RunSummary) -> String {
    let mut text = String::new();
    for (letter, run) in [("A", a), ("B", b)] {
        side_lines(&mut text, letter, run);
    }
    // All quantities of the whole, and of listeners those that changed.
    let shown = |row: &&Row| row.listener.is_none() || row.verdict < Verdict::Unknown;
    let rows: Vec<_> = diff.rows.iter().filter(shown).collect();
    let cells: Vec<[String; 6]> = rows.iter().map(|row| cells(row)).collect();
    let heads = ["verdict", "what", "A", "B", "change", "samples A/B"].map(str::to_owned);
    let mut widths = heads.clone().map(|head| head.len());
    for row in &cells {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    text.push('\n');
    line(&mut text, &heads, &widths);
    cells.iter().for_each(|row| line(&mut text, row, &widths));
    let counts: Vec<_> = Verdict::ALL.iter().map(|verdict| (verdict.name(), diff.count(*verdict))).collect();
    let counts: Vec<_> = counts.iter().map(|(name, count)| format!("{count} {name}")).collect();
    let hidden = diff.rows.len() - rows.len();
    let hidden = if hidden == 0 { String::new() } else { format!(" ({hidden} rows of listeners not shown)") };
    _ = writeln!(text, "\n{}{hidden}; noise: 99.9 % within each run", counts.join(", "));
    text
}

fn side_lines(text: &mut String, letter: &str, run: &RunSummary) {
    let (duration, packets, bytes) =
        (in_words(run.length_s()), in_words(run.packets as f64), in_words(run.bytes as f64));
    let flows =
        if run.flows == 0 { String::new() } else { format!(", {} flows", in_words(run.flows as f64)) };
    let name = &run.name;
    _ = writeln!(
        text,
        "{letter}  {name}: {duration} s, {} windows, {packets} packets, {bytes} bytes{flows}",
        run.windows
    );
    let notes = [
        (run.degraded_windows, "windows were not seen completely"),
        (run.windows_skipped, "windows of another length were left out"),
        (run.listeners_forgotten, "listeners with little traffic were forgotten"),
        (run.unreadable, "lines could not be read"),
    ];
    for (count, note) in notes.into_iter().filter(|(count, _)| *count != 0) {
        _ = writeln!(text, "   {count} {note}");
    }
}

fn cells(row: &Row) -> [String; 6] {
    let what = match &row.listener {
        Some(listener) => format!("{listener} {}", row.what),
        None => row.what.clone(),
    };
    let is_share = row.what.ends_with("_share");
    let samples = format!("{}/{}", row.a.samples, row.b.samples);
    let (a, b) = (side(&row.a, is_share), side(&row.b, is_share));
    [row.verdict.name().to_owned(), what, a, b, change(row, is_share), samples]
}

fn side(side: &Side, is_share: bool) -> String {
    let Some(value) = side.value else { return "-".to_owned() };
    match side.spread {
        _ if is_share => format!("{} %", in_words(value * 100.0)),
        Some(spread) if spread > 0.0 => format!("{} ±{}", in_words(value), digits(spread, 2)),
        _ => in_words(value),
    }
}

/// Relative; of shares the difference in percentage points and where it lies.
fn change(row: &Row, is_share: bool) -> String {
    if is_share && let (Some(a), Some(b)) = (row.a.value, row.b.value) {
        let points = signed((b - a) * 100.0);
        return match row.evidence {
            Evidence::Difference { low, high } => {
                format!("{points} pp ({}..{})", signed(low * 100.0), signed(high * 100.0))
            }
            _ => format!("{points} pp"),
        };
    }
    row.relative.map_or_else(|| "-".to_owned(), |relative| format!("{} %", signed(relative * 100.0)))
}

fn signed(value: f64) -> String {
    let sign = if value < 0.0 { "-" } else { "+" };
    format!("{sign}{}", in_words(value.abs()))
}

/// Four digits that count; thousands apart.
fn in_words(value: f64) -> String {
    digits(value, 4)
}

fn digits(value: f64, most: i32) -> String {
    if (1_000.0..1e15).contains(&value) {
        let digits = format!("{value:.0}");
        let mut apart = String::new();
        for (place, digit) in digits.chars().enumerate() {
            if place != 0 && (digits.len() - place).is_multiple_of(3) {
                apart.push(',');
            }
            apart.push(digit);
        }
        return apart;
    }
    if value == 0.0 || !(1e-6..1e15).contains(&value) {
        return if value == 0.0 { "0".to_owned() } else { format!("{value:.2e}") };
    }
    let decimals = (most - 1 - value.log10().floor() as i32).clamp(0, 9) as usize;
    let text = format!("{value:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

fn line(text: &mut String, cells: &[String; 6], widths: &[usize; 6]) {
    let mut line = String::new();
    for (place, (cell, width)) in cells.iter().zip(widths).enumerate() {
        let room = " ".repeat(width - cell.chars().count());
        // Words to the left, numbers to the right.
        _ = if place < 2 { write!(line, "{cell}{room}  ") } else { write!(line, "{room}{cell}  ") };
    }
    text.push_str(line.trim_end());
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::in_words;

    #[test]
    fn numbers_are_short() {
        let words = [0.0, 0.012_345, 1.0, 1.5, 12.345, 999.96, 1_234_567.0, 1e-9].map(in_words);
        assert_eq!(words, ["0", "0.01235", "1", "1.5", "12.35", "1000", "1,234,567", "1.00e-9"]);
    }
}
