//! Round trips and receive windows of the last minute in buckets, beside each other: a column for each bucket, or several.
//!
//! What is there at all is to be seen, be it one among millions. A bound stands where the bucket that it ends does.

use ratatui::text::{Line, Span};

use super::super::theme::Role;
use super::super::{Screen, words};
use crate::histogram::Histogram;

/// Columns of a bucket, as long as there is room.
const BUCKET_COLUMNS_MAX: usize = 3;
/// Columns between the two.
const GAP: usize = 3;
/// Rows from which on the last one tells the bounds.
const SCALE_ROWS_MIN: usize = 2;
/// Windows up to this many bytes are low (the feature model's 10 K).
const LOW_BYTES: f64 = 10_239.0;
/// Above this many they are healthy (its 58 K).
const HEALTHY_BYTES: f64 = 59_391.0;
/// Buckets where nothing was measured: those that a line has.
const NO_RTT_BUCKETS: usize = 21;
const NO_RWND_BUCKETS: usize = 14;

/// What is drawn in so many rows, of which time; where they do not tell the bounds, the first and the last ones.
pub(super) fn heading(screen: &Screen<'_>, rows: usize) -> String {
    let recent = &screen.board.recent;
    let sum = recent.sum();
    let method = sum.rtt().map_or("RTT", |(method, _)| method);
    let ends = |histogram: &Histogram, label: fn(f64) -> String| {
        let ends = histogram.le.first().zip(histogram.le.last()).filter(|_| rows < SCALE_ROWS_MIN);
        ends.map_or_else(String::new, |(first, last)| format!(" {}-{}", label(*first), label(*last)))
    };
    let rtt = sum.rtt().map_or_else(String::new, |(_, histogram)| ends(histogram, time));
    let name = if rtt.is_empty() { method } else { "RTT" };
    let rwnd = ends(&sum.rwnd_bytes, size);
    format!("{name}{rtt}, windows{rwnd}  last {} s", words::number(recent.length_s()))
}

/// Both, in so many rows; with two or more of them the bounds in the last.
pub(super) fn lines(screen: &Screen<'_>, columns: usize, rows: usize) -> Vec<Line<'static>> {
    let sum = screen.board.recent.sum();
    let none = |buckets: usize| Histogram { counts: vec![0; buckets], ..Histogram::default() };
    let rtt = sum.rtt().map_or_else(|| none(NO_RTT_BUCKETS), |(_, histogram)| histogram.clone());
    let rwnd = match sum.rwnd_bytes.counts.is_empty() {
        true => none(NO_RWND_BUCKETS),
        false => sum.rwnd_bytes,
    };
    let buckets = (rtt.counts.len() + rwnd.counts.len()).max(1);
    let wide = (columns.saturating_sub(GAP) / buckets).clamp(1, BUCKET_COLUMNS_MAX);
    let bar_rows = if rows >= SCALE_ROWS_MIN { rows - 1 } else { rows };
    let mut lines: Vec<Line<'static>> = (0..bar_rows)
        .rev()
        .map(|row| {
            let mut spans = bars(screen, &rtt, |_| Role::Usual, (row, bar_rows), wide);
            spans.push(Span::raw(" ".repeat(GAP)));
            let role = |le: Option<&f64>| match le {
                Some(le) if *le <= LOW_BYTES => Role::Warn,
                _ => Role::Usual,
            };
            spans.extend(bars(screen, &rwnd, role, (row, bar_rows), wide));
            Line::from(spans)
        })
        .collect();
    if rows > bar_rows {
        let text = format!(
            "{}{}{}",
            scale(&rtt, |_| true, time, wide),
            " ".repeat(GAP),
            scale(&rwnd, is_of_model, size, wide)
        );
        lines.push(screen.span(words::cut(text.trim_end(), columns), Role::Dim).into());
    }
    lines
}

/// A row of bars, counted from the bottom; bars of one style together.
fn bars(
    screen: &Screen<'_>,
    histogram: &Histogram,
    role: impl Fn(Option<&f64>) -> Role,
    (row, rows): (usize, usize),
    wide: usize,
) -> Vec<Span<'static>> {
    let most = histogram.counts.iter().copied().max().unwrap_or(0).max(1) as f64;
    let eighths = rows * 8;
    let mut runs: Vec<(Role, String)> = Vec::new();
    for (place, count) in histogram.counts.iter().enumerate() {
        let height = (*count as f64 / most * eighths as f64).round() as usize;
        let filled = height.max(usize::from(*count > 0)).saturating_sub(row * 8).min(8);
        let (role, cell) = match filled {
            0 if row == 0 => (Role::Dim, screen.view.theme.nothing()),
            0 => (Role::Plain, " "),
            _ => (role(histogram.le.get(place)), screen.view.theme.heights()[filled]),
        };
        match runs.last_mut() {
            Some((last, text)) if *last == role => text.push_str(&cell.repeat(wide)),
            _ => runs.push((role, cell.repeat(wide))),
        }
    }
    runs.into_iter().map(|(role, text)| screen.span(text, role)).collect()
}

/// Bounds under the columns where they are, as many as there is room for.
fn scale(histogram: &Histogram, is_told: fn(f64) -> bool, label: fn(f64) -> String, wide: usize) -> String {
    let columns = histogram.counts.len() * wide;
    let mut text = String::new();
    for (place, le) in histogram.le.iter().enumerate().filter(|(_, le)| is_told(**le)) {
        let (at, label) = ((place + 1) * wide, label(*le));
        let is_free = text.is_empty() || text.len() < at;
        if is_free && at + label.len() <= columns {
            text.push_str(&" ".repeat(at - text.len()));
            text.push_str(&label);
        }
    }
    format!("{text:<columns$}")
}

/// Of milliseconds: `6us`, `3.2ms`, `102ms`, `1.6s`.
fn time(ms: f64) -> String {
    match ms {
        ms if ms < 1.0 => format!("{:.0}us", ms * 1e3),
        ms if ms < 10.0 => format!("{ms:.1}ms"),
        ms if ms < 1e3 => format!("{ms:.0}ms"),
        ms => format!("{:.1}s", ms / 1e3),
    }
}

/// Of the last byte below a bound: `10K`, `1M`.
fn size(bytes: f64) -> String {
    let bound = (bytes + 1.0) / 1_024.0;
    if bound < 1_024.0 { format!("{bound:.0}K") } else { format!("{:.0}M", bound / 1_024.0) }
}

/// What the feature model calls low, what it calls healthy, and what is above: where columns are few, these matter.
fn is_of_model(bytes: f64) -> bool {
    bytes == LOW_BYTES || bytes >= HEALTHY_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_stand_where_their_buckets_end() {
        let histogram = Histogram { le: vec![10_239.0, 65_535.0, 1_048_575.0], counts: vec![0; 4], sum: 0.0 };
        assert_eq!(scale(&histogram, |_| true, size, 1), " 10K");
        assert_eq!(scale(&histogram, is_of_model, size, 4), "    10K 64K 1M  ");
        assert_eq!([0.006, 3.2, 102.4, 3276.8].map(time), ["6us", "3.2ms", "102ms", "3.3s"]);
    }
}
