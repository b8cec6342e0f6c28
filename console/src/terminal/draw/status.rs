//! The last line: how well the run sees, what it costs, what this screen did not get, and the keys.

use ratatui::text::{Line, Span};

use super::super::theme::Role;
use super::super::{Progress, Screen, words};
use super::headline::NARROW_COLUMNS;
use crate::line::number;

/// What is always told of the keys.
const KEYS: &str = "? help  q quit";

/// All of it; what there is no room for is left out from the right. `below` are the rows that a long text goes on.
pub(super) fn line(screen: &Screen<'_>, columns: u16, below: u16) -> Line<'static> {
    let columns = usize::from(columns);
    let keys = match () {
        () if screen.view.typing => "enter keep  esc drop".into(),
        () if screen.view.is_help || screen.view.opened.is_some() => match below {
            1.. if columns >= NARROW_COLUMNS => format!("down {below} more  esc back  q quit"),
            _ => "esc back  q quit".into(),
        },
        () => KEYS.to_owned(),
    };
    let (verdict, role) = quality(screen);
    let mut parts = vec![verdict];
    parts.extend(losses(screen));
    parts.extend(cost(screen));
    let mut text = String::new();
    for part in parts {
        let gap = if text.is_empty() { "" } else { "  " };
        let room = columns.saturating_sub(keys.len() + 2);
        if text.is_empty() {
            text = words::cut(&part, room.max(columns / 2));
        } else if text.chars().count() + gap.len() + part.chars().count() <= room {
            text += &format!("{gap}{part}");
        }
    }
    let rest = columns.saturating_sub(text.chars().count() + keys.len());
    Line::from(vec![
        screen.span(text, role),
        Span::raw(" ".repeat(rest)),
        screen.span(words::cut(&keys, columns), Role::Dim),
    ])
}

/// The verdict on the capture, with the first reason where it is not the best.
fn quality(screen: &Screen<'_>) -> (String, Role) {
    let Some(window) = &screen.board.window else { return ("capture ?".into(), Role::Dim) };
    let quality = &window.json["quality"];
    let verdict = quality["verdict"].as_str().unwrap_or(words::UNKNOWN);
    let why = quality["why"][0].as_str().map_or_else(String::new, |why| format!(" ({why})"));
    let role = match verdict {
        "complete" => Role::Plain,
        "blind" => Role::Alarm,
        _ => Role::Warn,
    };
    (format!("capture {verdict}{why}"), role)
}

/// What was seen and what was not, worst first.
fn losses(screen: &Screen<'_>) -> Vec<String> {
    let mut parts = Vec::new();
    if screen.state.lines_lost > 0 {
        parts.push(format!("{} lines not shown", words::short(Some(screen.state.lines_lost as f64))));
    }
    if let Progress::Replay { not_kept, .. } = screen.state.progress
        && not_kept > 0
    {
        parts.push(format!("recording full: {} lines beyond", words::short(Some(not_kept as f64))));
    }
    let Some(window) = &screen.board.window else { return parts };
    let quality = &window.json["quality"];
    let dropped: f64 =
        quality["dropped"].as_object().into_iter().flatten().filter_map(|(_, count)| count.as_f64()).sum();
    let seen = words::short(number(quality, "seen"));
    parts.push(format!("seen {seen} lost {}", words::short(Some(dropped))));
    if let Some(many) = number(quality, "sampled_one_in").filter(|many| *many > 1.0) {
        parts.push(format!("one flow in {}", words::number(many)));
    }
    parts
}

/// What the run costs; files say nothing of it.
fn cost(screen: &Screen<'_>) -> Vec<String> {
    let Some(window) = &screen.board.window else { return Vec::new() };
    let cost = |path: &str| number(&window.json, path);
    let share = cost("cost.process.cpu_share").map(|share| format!("cost {} CPU", words::percent(share)));
    let memory = cost("cost.memory.rss_bytes")
        .map(|bytes| format!("{} MiB", words::number((bytes / 1_048_576.0).round())));
    let packets = cost("cost.bpf.ns_per_packet").map(|ns| format!("{} ns/packet", words::number(ns.round())));
    [share, memory, packets].into_iter().flatten().collect()
}
