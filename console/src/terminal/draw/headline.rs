//! The first lines: what is looked at, and what is wrong with it in one sentence each: what, why it is thought so, what to
//! do.

use ratatui::text::{Line, Span};

use super::super::theme::Role;
use super::super::{Progress, Reading, Screen, place, words};
use crate::board::IncidentCard;
use crate::line::number;

/// Below these columns names and commands are left to the incident's own page.
pub(super) const NARROW_COLUMNS: usize = 60;

/// What is looked at, when, and how it moves.
pub(super) fn title(screen: &Screen<'_>, columns: u16) -> Line<'static> {
    let state = screen.state;
    let window = screen.board.window.as_ref();
    let at = window.map_or_else(String::new, |window| format!("  {} UTC", words::clock(window.ts_ns)));
    let (moves, role) = match &state.progress {
        Progress::Whole => (String::new(), Role::Plain),
        Progress::Live { missed, .. } if state.is_paused => {
            (format!("  PAUSED, {} windows since", words::number(*missed as f64)), Role::Alarm)
        }
        Progress::Live { silent_s: Some(seconds), .. } => {
            (format!("  NOTHING NEW FOR {seconds} s"), Role::Alarm)
        }
        Progress::Live { .. } => ("  live".to_owned(), Role::Good),
        Progress::Replay { .. } if state.is_paused => ("  PAUSED".to_owned(), Role::Alarm),
        Progress::Replay { reading: Reading::Shown, .. } => ("  end of the file".to_owned(), Role::Plain),
        Progress::Replay { speed, .. } => (format!("  replay {}", speed.name()), Role::Good),
    };
    let room = usize::from(columns).saturating_sub(at.chars().count() + moves.chars().count() + 10);
    let (name, room) = match usize::from(columns) < NARROW_COLUMNS {
        true => ("", room + 10),
        false => ("tidegauge ", room),
    };
    Line::from(vec![
        screen.span(name, Role::Heading),
        Span::raw(words::cut(&state.title, room)),
        Span::raw(at),
        screen.span(moves.get(..2).unwrap_or_default(), Role::Plain),
        screen.span(moves.get(2..).unwrap_or_default(), role),
    ])
}

/// What is wrong, at most so many lines.
pub(super) fn lines(screen: &Screen<'_>, columns: u16, lines_max: usize) -> Vec<Line<'static>> {
    let open = screen.board.open_incidents();
    let Some(worst) = open.first() else { return vec![calm(screen, columns)] };
    let columns = usize::from(columns);
    let mut lines = vec![what(screen, worst, open.len() - 1, columns)];
    let why = worst.line.json["cause"][0].as_str().unwrap_or_default();
    let why = words::wrapped(why, columns, 2);
    let next = worst.line.json["next"][0].as_str().filter(|_| columns >= NARROW_COLUMNS);
    let why_max = lines_max.saturating_sub(1 + usize::from(next.is_some())).max(1);
    lines.extend(why.into_iter().take(why_max).map(Line::raw));
    if let Some(next) = next {
        lines.push(Line::from(vec![
            screen.span("do ", Role::Heading),
            Span::raw(words::cut(&format!("$ {next}"), columns.saturating_sub(3))),
        ]));
    }
    lines.truncate(lines_max);
    lines
}

fn what(screen: &Screen<'_>, worst: &IncidentCard, others: usize, columns: usize) -> Line<'static> {
    let badge = match columns < NARROW_COLUMNS {
        true => format!(" {} ", worst.severity()),
        false => format!(" {} {} ", worst.severity(), meaning(worst.severity())),
    };
    let mut text = format!(" {} at {}", worst.kind(), place(worst));
    let measured = measured(worst);
    if others > 0 {
        text += &format!(", {others} more");
    }
    for more in [Some(measured), forged(worst)].into_iter().flatten() {
        if badge.len() + text.chars().count() + more.chars().count() + 2 <= columns {
            text += &format!(", {more}");
        }
    }
    let room = columns.saturating_sub(badge.len());
    let role = if worst.severity() == "P3" { Role::Selected } else { Role::Alarm };
    Line::from(vec![
        screen.span(words::cut(&badge, columns), role),
        screen.span(words::cut(&text, room), Screen::severity(worst.severity())),
    ])
}

/// What a severity says of the service.
pub(super) fn meaning(severity: &str) -> &'static str {
    match severity {
        "P1" => "DOWN OR ABOUT TO BE",
        "P2" => "DEGRADED",
        _ => "DEVIATION",
    }
}

/// `peak 2,550 syn/s (usual 50)`: the worst that was measured, which need not be what is now.
pub(super) fn measured(card: &IncidentCard) -> String {
    let json = &card.line.json;
    let unit = json["unit"].as_str().unwrap_or_default();
    let measured = format!("peak {}", words::known(number(json, "measured")));
    match number(json, "baseline") {
        Some(usual) => format!("{measured} {unit} (usual {})", words::number(usual)),
        None => format!("{measured} {unit}"),
    }
}

/// How much of it seems to come from addresses that are not the senders'.
pub(super) fn forged(card: &IncidentCard) -> Option<String> {
    let share = number(&card.line.json, "sources.spoofed_estimate")?;
    Some(format!("{} forged", words::percent(share)))
}

fn calm(screen: &Screen<'_>, columns: u16) -> Line<'static> {
    let board = screen.board;
    if board.window.is_none() {
        return screen.span("waiting for the first window", Role::Dim).into();
    }
    let closed = board.incidents().filter(|card| !card.is_open());
    let last = closed.max_by_key(|card| card.line.ts_ns);
    let text = last.map_or_else(
        || " no incident so far".to_owned(),
        |card| {
            let when = words::clock(card.line.ts_ns);
            format!(" last: {} {} at {}, {when}", card.severity(), card.kind(), place(card))
        },
    );
    Line::from(vec![
        screen.span(" NOTHING OPEN ", Role::Selected),
        Span::raw(words::cut(&text, usize::from(columns).saturating_sub(14))),
    ])
}
