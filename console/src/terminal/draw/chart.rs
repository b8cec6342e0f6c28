//! Connection attempts per second over time, with what is usual of them.

use ratatui::text::{Line, Span};

use super::super::theme::Role;
use super::super::{Screen, words};
use super::incidents;
use crate::board::Point;

/// Columns of the scale on the left.
const SCALE_COLUMNS: usize = 7;
/// Columns of a window, as long as there is room.
const WINDOW_COLUMNS_MAX: usize = 3;

/// What is drawn, in numbers.
pub(super) fn heading(screen: &Screen<'_>) -> String {
    let last = screen.board.points().next_back();
    let now = words::short(last.and_then(|point| point.conn_rate));
    let usual = words::short(last.and_then(|point| point.conn_rate_usual));
    format!("connections/s  now {now}, usual {usual}")
}

/// A column for each window, the newest on the right: full where an incident was open, and the line of what is usual.
pub(super) fn lines(screen: &Screen<'_>, columns: u16, rows: u16) -> Vec<Line<'static>> {
    let width = usize::from(columns).saturating_sub(SCALE_COLUMNS);
    let rows = usize::from(rows).saturating_sub(1);
    let points = newest(screen, width);
    let wide = (width / points.len().max(1)).clamp(1, WINDOW_COLUMNS_MAX);
    let columns = columns_of(screen, &points);
    let top = highest(&points);
    let mut lines = Vec::with_capacity(rows + 1);
    for row in (0..rows).rev() {
        let scale = match row {
            _ if row + 1 == rows => words::short(Some(top)),
            0 => "0".to_owned(),
            _ => String::new(),
        };
        let mut spans = vec![Span::raw(format!("{} ", words::right(&scale, SCALE_COLUMNS - 1)))];
        spans.push(Span::raw(" ".repeat(width - points.len() * wide)));
        spans.extend(row_of(screen, &columns, top, (row, rows), wide));
        lines.push(Line::from(spans));
    }
    lines.push(screen.span(span_of(&points, width), Role::Dim).into());
    lines
}

/// The same in one line, with its numbers; nothing is said of what is usual but by them.
pub(super) fn line(screen: &Screen<'_>, columns: u16) -> Option<Line<'static>> {
    let text = heading(screen).replace("connections/s  ", "conn/s ");
    let width = usize::from(columns).saturating_sub(text.chars().count() + 1);
    let points = newest(screen, width);
    let top = highest(&points);
    let heights = screen.view.theme.heights();
    let bars: String = points.iter().map(|point| heights[eighths(point.conn_rate, top, 8)]).collect();
    Some(Line::from(vec![Span::raw(format!("{text} ")), screen.span(bars, Role::Usual)]))
}

/// A window, and whether an incident was open in it.
type Column<'a> = (&'a Point, bool);

fn columns_of<'a>(screen: &Screen<'_>, points: &[&'a Point]) -> Vec<Column<'a>> {
    let spans: Vec<(i64, i64)> = screen.board.incidents().map(incidents::span_ns).collect();
    let is_in = |point: &Point| {
        let start_ns = point.ts_ns - (point.window_s * 1e9) as i64;
        spans.iter().any(|(opened_ns, closed_ns)| *opened_ns < point.ts_ns && *closed_ns > start_ns)
    };
    points.iter().map(|point| (*point, is_in(point))).collect()
}

fn newest<'a>(screen: &Screen<'a>, count: usize) -> Vec<&'a Point> {
    let points = screen.board.points();
    let skipped = points.len().saturating_sub(count);
    points.skip(skipped).collect()
}

fn highest(points: &[&Point]) -> f64 {
    let all = points.iter().flat_map(|point| [point.conn_rate, point.conn_rate_usual]).flatten();
    all.fold(1.0, f64::max)
}

/// Of a bar of `most` eighths of a row, how many; what is there at all is to be seen.
fn eighths(value: Option<f64>, top: f64, most: usize) -> usize {
    let Some(value) = value else { return 0 };
    let eighths = (value / top * most as f64).round() as usize;
    eighths.clamp(usize::from(value > 0.0), most)
}

/// Cells of a row, those of one style together: fewer bytes.
fn row_of(
    screen: &Screen<'_>,
    columns: &[Column<'_>],
    top: f64,
    (row, rows): (usize, usize),
    wide: usize,
) -> Vec<Span<'static>> {
    let mut runs: Vec<(Role, String)> = Vec::new();
    for column in columns {
        let (role, cell) = cell(screen, column, top, row, rows);
        match runs.last_mut() {
            Some((last, text)) if *last == role => text.push_str(&cell.repeat(wide)),
            _ => runs.push((role, cell.repeat(wide))),
        }
    }
    runs.into_iter().map(|(role, text)| screen.span(text, role)).collect()
}

fn cell(
    screen: &Screen<'_>,
    (point, is_incident): &Column<'_>,
    top: f64,
    row: usize,
    rows: usize,
) -> (Role, &'static str) {
    let theme = screen.view.theme;
    let (incident, calm, line) = theme.chart();
    let (role, full) = if *is_incident { (Role::Warn, incident) } else { (Role::Usual, calm) };
    let height = eighths(point.conn_rate, top, rows * 8);
    let usual = point.conn_rate_usual.map(|usual| eighths(Some(usual), top, rows * 8));
    let filled = height.saturating_sub(row * 8).min(8);
    let is_usual_here = usual.is_some_and(|usual| usual.saturating_sub(1) / 8 == row);
    match filled {
        0 if is_usual_here => (Role::Plain, line),
        0 => (Role::Plain, " "),
        8 => (role, full),
        part => (role, theme.heights()[part]),
    }
}

/// From when to when, under the columns.
fn span_of(points: &[&Point], width: usize) -> String {
    let (Some(first), Some(last)) = (points.first(), points.last()) else { return String::new() };
    let windows = format!("{} windows", points.len());
    let (from, to) = (words::clock(first.ts_ns), words::clock(last.ts_ns));
    let text = if points.len() == 1 { to } else { format!("{from} to {to}, {windows}") };
    format!("{} {}", " ".repeat(SCALE_COLUMNS - 1), words::right(&text, width))
}
