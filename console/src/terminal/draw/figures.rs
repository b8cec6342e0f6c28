//! Health and handshakes, numbers with a bar each; round trips and receive windows, histograms with their quantiles.

use ratatui::text::{Line, Span};

use super::super::theme::Role;
use super::super::{Screen, words};
use super::histograms;
use crate::board::{LAYERS, Point};
use crate::line::number;

/// Columns of a layer's name.
const LAYER_COLUMNS: usize = 12;
/// Below this a score is bad, below that it is poor.
const BAD: f64 = 30.0;
const POOR: f64 = 80.0;
/// Quantiles of round trips that are told.
const QUANTILES: [&str; 4] = ["p50", "p90", "p99", "max"];
/// Rows from which on losses have one of their own.
const TIME_ROWS_ALL: usize = 4;
/// The same of how long a MiB takes.
const TIME_ROWS_MORE: usize = 7;

fn last<'a>(screen: &Screen<'a>) -> Option<&'a Point> {
    screen.board.points().next_back()
}

fn of_window(screen: &Screen<'_>, path: &str) -> Option<f64> {
    screen.board.window.as_ref().and_then(|window| number(&window.json, path))
}

/// What a score says, and how it looks.
fn verdict(score: Option<f64>) -> (&'static str, Role) {
    match score {
        None => ("unknown", Role::Dim),
        Some(score) if score < BAD => ("BAD", Role::Bad),
        Some(score) if score < POOR => ("poor", Role::Warn),
        Some(_) => ("ok", Role::Good),
    }
}

/// A bar of so many columns.
fn bar(screen: &Screen<'_>, share: f64, columns: usize, role: Role) -> Vec<Span<'static>> {
    let (full, empty) = screen.view.theme.bar();
    let filled = ((share.clamp(0.0, 1.0) * columns as f64).round() as usize).max(usize::from(share > 0.0));
    vec![
        screen.span(full.repeat(filled.min(columns)), role),
        screen.span(empty.repeat(columns.saturating_sub(filled)), Role::Dim),
    ]
}

/// The worst layer, and what makes it so.
pub(super) fn health_heading(screen: &Screen<'_>) -> String {
    let score = last(screen).and_then(|point| point.health).map(f64::round);
    let is_worse = score.is_some_and(|score| score < 100.0);
    let score = words::known(score);
    let feature = screen.board.window.as_ref().and_then(|window| window.json["health"]["feature"].as_str());
    feature
        .filter(|_| is_worse)
        .map_or_else(|| format!("health {score}"), |feature| format!("health {score}: {feature}"))
}

/// A row for each layer, and what is expected of the next window.
pub(super) fn health(screen: &Screen<'_>, columns: u16) -> Vec<Line<'static>> {
    let scores = last(screen).map_or([None; 5], |point| point.layers);
    let width = usize::from(columns).saturating_sub(LAYER_COLUMNS + 15).clamp(4, 20);
    let mut lines: Vec<Line<'static>> = LAYERS
        .iter()
        .zip(scores)
        .map(|(layer, score)| {
            let (word, role) = verdict(score);
            let mut spans = vec![Span::raw(words::left(layer, LAYER_COLUMNS))];
            spans.extend(bar(screen, score.unwrap_or(0.0) / 100.0, width, role));
            let score = score.map_or(String::new(), |score| words::number(score.round()));
            spans.push(screen.span(format!(" {} {word}", words::right(&score, 3)), role));
            Line::from(spans)
        })
        .collect();
    if let Some(chance) = last(screen).and_then(|point| point.healthy_next) {
        let text = format!("next second healthy: {}", words::percent(chance));
        lines.push(screen.span(text, Role::Dim).into());
    }
    lines
}

/// The same in one line.
pub(super) fn health_line(screen: &Screen<'_>, columns: u16) -> Line<'static> {
    let (word, role) = verdict(last(screen).and_then(|point| point.health));
    let text = format!("{}  ", health_heading(screen));
    let room = usize::from(columns).saturating_sub(word.len() + 2);
    Line::from(vec![Span::raw(words::cut(text.trim_end(), room)), Span::raw(" "), screen.span(word, role)])
}

/// Of which time.
pub(super) fn handshake_heading(screen: &Screen<'_>) -> String {
    let window_s = last(screen).map_or(1.0, |point| point.window_s);
    format!("handshakes in {} s", words::number(window_s))
}

/// Asked, answered, completed, and how others ended.
pub(super) fn handshakes(screen: &Screen<'_>, columns: u16) -> Vec<Line<'static>> {
    let asked = of_window(screen, "handshake.attempted");
    let width = usize::from(columns).saturating_sub(26).clamp(4, 24);
    let row = |name: &str, path: &str, role: Role| {
        let count = of_window(screen, path);
        let share = count.zip(asked).filter(|(_, asked)| *asked > 0.0).map(|(count, asked)| count / asked);
        let mut spans =
            vec![Span::raw(format!("{} {} ", words::left(name, 9), words::right(&words::short(count), 7)))];
        spans.extend(bar(screen, share.unwrap_or(0.0), width, role));
        spans.push(Span::raw(format!(" {}", share.map_or_else(String::new, words::percent))));
        Line::from(spans)
    };
    let completed = of_window(screen, "handshake.completed").zip(asked);
    let is_poor = completed.is_some_and(|(completed, asked)| completed < asked / 2.0);
    let role = if is_poor { Role::Warn } else { Role::Good };
    let mut lines = vec![
        row("asked", "handshake.attempted", Role::Usual),
        row("answered", "handshake.answered", Role::Usual),
        row("completed", "handshake.completed", role),
        row("refused", "handshake.refused", Role::Warn),
        row("aborted", "handshake.aborted", Role::Warn),
    ];
    for (name, path) in [("SYN again", "tcp.syn_retransmission"), ("resets", "tcp.rst")] {
        let count = words::short(of_window(screen, path));
        lines.push(Line::raw(format!("{} {}", words::left(name, 9), words::right(&count, 7))));
    }
    lines
}

/// The same in one line.
pub(super) fn handshake_line(screen: &Screen<'_>, columns: u16) -> Line<'static> {
    let count = |path: &str| words::short(of_window(screen, path));
    let text = format!(
        "asked {} > answered {} > completed {}",
        count("handshake.attempted"),
        count("handshake.answered"),
        count("handshake.completed")
    );
    words::cut(&text, usize::from(columns)).into()
}

/// Of what the histograms are, which are all but the numbers below them.
pub(super) fn times_heading(screen: &Screen<'_>, rows: u16) -> String {
    histograms::heading(screen, histogram_rows(rows))
}

/// Rows for histograms, of those of [`times`].
fn histogram_rows(rows: u16) -> usize {
    let told = match usize::from(rows) {
        0..TIME_ROWS_ALL => 2,
        TIME_ROWS_ALL..TIME_ROWS_MORE => 3,
        _ => 4,
    };
    usize::from(rows).saturating_sub(told)
}

/// Round trips, receive windows and losses: histograms, and under them the newest window's quantiles.
pub(super) fn times(screen: &Screen<'_>, columns: u16, rows: u16) -> Vec<Line<'static>> {
    let columns = usize::from(columns);
    let mut lines = histograms::lines(screen, columns, histogram_rows(rows));
    lines.push(round_trips(screen, columns));
    if usize::from(rows) < TIME_ROWS_ALL {
        lines.push(windows_and_losses(screen, columns));
        return lines;
    }
    lines.extend([windows(screen, columns), Line::raw(words::cut(&losses(screen), columns))]);
    if usize::from(rows) >= TIME_ROWS_MORE {
        let megabyte = words::known(of_window(screen, "transfer_1mib_ms.p50"));
        lines.push(Line::raw(format!("1 MiB takes p50 {megabyte} ms")));
    }
    lines
}

fn round_trips(screen: &Screen<'_>, columns: usize) -> Line<'static> {
    let mut text = String::from("RTT ms");
    let told = QUANTILES.map(|quantile| format!("  {quantile} {}", milliseconds(screen, quantile)));
    let samples = format!("  of {}", words::short(of_window(screen, "rtt_ms.count")));
    for told in told.into_iter().chain([samples]) {
        if text.chars().count() + told.chars().count() <= columns {
            text += &told;
        }
    }
    Line::raw(words::cut(&text, columns))
}

fn windows(screen: &Screen<'_>, columns: usize) -> Line<'static> {
    let [p1, p50] = ["rwnd_bytes.p1", "rwnd_bytes.p50"].map(|path| words::known(of_window(screen, path)));
    let text = format!("windows  p1 {p1}  p50 {p50} bytes, low {}", percent(screen, "rwnd_bytes.low_share"));
    screen.span(words::cut(&text, columns), role_of_windows(screen)).into()
}

/// Where there is one row for both.
fn windows_and_losses(screen: &Screen<'_>, columns: usize) -> Line<'static> {
    let p1 = words::known(of_window(screen, "rwnd_bytes.p1"));
    let low = percent(screen, "rwnd_bytes.low_share");
    let loss = percent(screen, "features.loss_ratio");
    let text = format!("windows p1 {p1}, low {low}; sent again {loss}");
    screen.span(words::cut(&text, columns), role_of_windows(screen)).into()
}

fn role_of_windows(screen: &Screen<'_>) -> Role {
    let is_low = of_window(screen, "rwnd_bytes.low_share").is_some_and(|share| share > 0.0);
    if is_low { Role::Warn } else { Role::Plain }
}

fn percent(screen: &Screen<'_>, path: &str) -> String {
    of_window(screen, path).map_or_else(|| words::UNKNOWN.into(), words::percent)
}

fn losses(screen: &Screen<'_>) -> String {
    let loss = percent(screen, "features.loss_ratio");
    let timeouts = percent(screen, "features.conn_timeout_ratio");
    format!("payload sent again {loss}, timed out {timeouts}")
}

/// In one line.
pub(super) fn times_line(screen: &Screen<'_>, columns: u16) -> Line<'static> {
    let [p50, p99] = ["p50", "p99"].map(|quantile| milliseconds(screen, quantile));
    let window = words::short(of_window(screen, "rwnd_bytes.p50"));
    words::cut(&format!("RTT p50 {p50} p99 {p99} ms, window {window} B"), usize::from(columns)).into()
}

fn milliseconds(screen: &Screen<'_>, quantile: &str) -> String {
    words::known(of_window(screen, &format!("rtt_ms.{quantile}")))
}
