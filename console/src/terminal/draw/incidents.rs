//! The list of incidents: open ones and those that closed.

use ratatui::text::{Line, Span};

use super::super::theme::Role;
use super::super::view::Focus;
use super::super::{Screen, place, words};
use super::headline::forged;
use crate::board::IncidentCard;
use crate::line::{number, time_ns};

/// Columns of the sources, of what is now, and those of a row from which there is room for them.
const SOURCES_COLUMNS: usize = 29;
const SOURCES_FROM: usize = 110;
const NOW_COLUMNS: usize = 32;
const NOW_FROM: usize = 145;
/// Columns of a row without its target, and most of a target.
const ROW_COLUMNS: usize = 56;
const TARGET_COLUMNS_MAX: usize = 48;

/// How many, in which order, of which kind.
pub(super) fn heading(screen: &Screen<'_>) -> String {
    let (board, view) = (screen.board, screen.view);
    let open = board.incidents().filter(|card| card.is_open()).count();
    let mut text = format!("incidents  {open} open, {} closed", board.incidents().len() - open);
    if board.incidents_forgotten > 0 {
        text += &format!(", {} forgotten", board.incidents_forgotten);
    }
    text += &format!("  {}", view.incident_order.name());
    if view.typing || !view.filter.is_empty() {
        text += &format!("  filter /{}{}", view.filter, if view.typing { "_" } else { "" });
    }
    text
}

/// A row for each; the chosen one is always among them.
pub(super) fn lines(screen: &Screen<'_>, columns: u16, rows: u16) -> Vec<Line<'static>> {
    let cards = screen.view.incidents(screen.board);
    if cards.is_empty() {
        let text = if screen.view.filter.is_empty() { "none" } else { "none that the filter lets through" };
        return vec![screen.span(format!("  {text}"), Role::Dim).into()];
    }
    let rows = usize::from(rows.max(1));
    let chosen = screen.view.chosen_at(&cards);
    let first = (chosen + 1).saturating_sub(rows);
    let shown = cards.iter().enumerate().skip(first).take(rows);
    shown.map(|(at, card)| row(screen, card, at == chosen, usize::from(columns))).collect()
}

fn row(screen: &Screen<'_>, card: &IncidentCard, is_chosen: bool, columns: usize) -> Line<'static> {
    let json = &card.line.json;
    let is_marked = is_chosen && screen.view.focus == Focus::Incidents;
    let mark = if is_marked { screen.view.theme.mark() } else { " " };
    let state = if card.is_open() { "open" } else { "closed" };
    let measured =
        format!("{} {}", words::short(number(json, "measured")), json["unit"].as_str().unwrap_or_default());
    let role = if card.is_open() { Screen::severity(card.severity()) } else { Role::Dim };
    let mut text = format!(" {state:<6} ");
    let narrow = columns < 70;
    if narrow {
        text += &format!("{} {} {measured}", card.kind(), place(card));
    } else {
        let more = match columns {
            0..SOURCES_FROM => 0,
            SOURCES_FROM..NOW_FROM => SOURCES_COLUMNS,
            _ => SOURCES_COLUMNS + NOW_COLUMNS,
        };
        let target_columns = columns.saturating_sub(ROW_COLUMNS + more).min(TARGET_COLUMNS_MAX);
        text += &format!("{} {} ", words::left(card.kind(), 18), words::left(&place(card), target_columns));
        text += &format!("{} {}", words::right(&measured, 14), words::right(&age(screen, card), 9));
        if more > 0 {
            text += &format!("  {}", words::left(&sources(card), SOURCES_COLUMNS - 2));
        }
        if more > SOURCES_COLUMNS {
            text += &now(screen, card).map_or(String::new(), |now| format!("  now {now}"));
        }
    }
    let room = columns.saturating_sub(4);
    let style = if is_marked { screen.style(Role::Selected) } else { screen.style(role) };
    Line::from(vec![
        Span::raw(mark),
        Span::styled(words::left(card.severity(), 2), screen.style(role)),
        Span::styled(words::cut(&text, room), style),
    ])
}

/// How long it lasts, or lasted.
pub(super) fn age(screen: &Screen<'_>, card: &IncidentCard) -> String {
    let now_ns = screen.board.window.as_ref().map_or(card.line.ts_ns, |window| window.ts_ns);
    let (opened_ns, closed_ns) = span_ns(card);
    words::lasting(closed_ns.min(now_ns.max(card.line.ts_ns)).saturating_sub(opened_ns))
}

/// When it opened, and closed; an open one closes at the end of time.
pub(super) fn span_ns(card: &IncidentCard) -> (i64, i64) {
    let time = |name: &str| card.line.json[name].as_str().and_then(time_ns);
    (time("opened_ts").unwrap_or(card.line.ts_ns), time("closed_ts").unwrap_or(i64::MAX))
}

/// What its target is asked and gives now, where that is a listener that the newest window has.
pub(super) fn now(screen: &Screen<'_>, card: &IncidentCard) -> Option<String> {
    let window = screen.board.window.as_ref()?;
    let place = &card.line.json["target"];
    let mut listeners = window.json["listeners"].as_array()?.iter();
    let listener = listeners.find(|listener| listener["target"] == *place && !place["port"].is_null())?;
    let [asked, completed] = ["attempted", "completed"].map(|name| words::short(number(listener, name)));
    Some(format!("{asked} asked, {completed} completed"))
}

/// `387 sources, 64 % forged`.
pub(super) fn sources(card: &IncidentCard) -> String {
    let distinct = number(&card.line.json, "sources.distinct");
    let mut text = distinct.map_or_else(String::new, |many| match many {
        1.0 => "1 source".to_owned(),
        _ => format!("{} sources", words::short(Some(many))),
    });
    if let Some(forged) = forged(card) {
        text += &format!(", {forged}");
    }
    text
}
