//! Listeners that are asked most, and who asks.

use std::collections::{BTreeMap, BTreeSet};

use ratatui::text::Line;
use serde_json::Value;

use super::super::theme::Role;
use super::super::view::Focus;
use super::super::{Screen, target, words};
use crate::line::number;

/// Columns of a number.
const NUMBER_COLUMNS: usize = 8;

/// How many, in which order.
pub(super) fn listeners_heading(screen: &Screen<'_>) -> String {
    let view = screen.view;
    let count = view.listeners(screen.board).len();
    let mark = if view.focus == Focus::Listeners { screen.view.theme.mark() } else { "" };
    format!("{mark}listeners  {count} seen, most {} first", column(view.listener_order.field()))
}

fn column(field: &str) -> &'static str {
    match field {
        "conn_rate" => "conn/s",
        "half_open" => "half open",
        "distinct_sources" => "sources",
        _ => "bytes",
    }
}

/// A head and a row for each.
pub(super) fn listeners(screen: &Screen<'_>, columns: u16, rows: u16) -> Vec<Line<'static>> {
    let listeners = screen.view.listeners(screen.board);
    if listeners.is_empty() {
        return vec![screen.span("  none in the newest window", Role::Dim).into()];
    }
    let fields: &[(&str, &str)] = match columns {
        0..30 => &[("conn/s", "conn_rate")],
        30..46 => &[("conn/s", "conn_rate"), ("done", "completed")],
        46..64 => &[("conn/s", "conn_rate"), ("done", "completed"), ("sources", "distinct_sources")],
        _ => &[
            ("conn/s", "conn_rate"),
            ("done", "completed"),
            ("halfopen", "half_open"),
            ("sources", "distinct_sources"),
            ("bytes", "bytes"),
        ],
    };
    let place = usize::from(columns).saturating_sub(fields.len() * (NUMBER_COLUMNS + 1)).max(4);
    let head: String =
        fields.iter().map(|(name, _)| format!(" {}", words::right(name, NUMBER_COLUMNS))).collect();
    let head = format!("{}{head}", words::left("", place));
    let mut lines = vec![Line::from(screen.span(head, Role::Dim))];
    let hit: BTreeSet<String> = screen.board.open_incidents().into_iter().map(super::super::place).collect();
    for listener in listeners.into_iter().take(usize::from(rows).saturating_sub(1)) {
        let told = |(_, field): &(&str, &str)| {
            format!(" {}", words::right(&words::short(number(listener, field)), NUMBER_COLUMNS))
        };
        let numbers: String = fields.iter().map(told).collect();
        let name = target(&listener["target"]);
        let is_hit = hit.contains(&name);
        let mark = if is_hit { "! " } else { "  " };
        let role = if is_hit { Role::Warn } else { Role::Plain };
        let text = format!("{}{numbers}", words::left(&format!("{mark}{name}"), place));
        lines.push(screen.span(text, role).into());
    }
    lines
}

/// Of how many incidents.
pub(super) fn sources_heading(screen: &Screen<'_>) -> String {
    match screen.board.open_incidents().len() {
        0 => "sources  of incidents".to_owned(),
        1 => "sources  of the open incident".to_owned(),
        many => format!("sources  of {many} open incidents"),
    }
}

/// What is known of who asks: the busiest of all open incidents, each with the incident it is busiest in.
pub(super) fn sources(screen: &Screen<'_>, columns: u16, rows: u16) -> Vec<Line<'static>> {
    let columns = usize::from(columns);
    let open = screen.board.open_incidents();
    if open.is_empty() {
        return vec![screen.span(words::cut("  no open incident", columns), Role::Dim).into()];
    }
    let mut lines = Vec::new();
    if let Some(worst) = open.first() {
        let text = super::incidents::sources(worst);
        lines.push(screen.span(words::cut(&text, columns), Role::Warn).into());
    }
    let mut busiest: BTreeMap<&str, (f64, &str)> = BTreeMap::new();
    for card in &open {
        for source in card.line.json["sources"]["top"].as_array().into_iter().flatten() {
            let Some(addr) = source["addr"].as_str().filter(|addr| screen.view.wants(addr)) else { continue };
            let rate = rate(source);
            let known = busiest.entry(addr).or_insert((rate, card.kind()));
            if rate > known.0 {
                *known = (rate, card.kind());
            }
        }
    }
    let mut busiest: Vec<_> = busiest.into_iter().collect();
    busiest.sort_by(|(_, (one, _)), (_, (other, _))| other.total_cmp(one));
    for (addr, (rate, kind)) in busiest.into_iter().take(usize::from(rows).saturating_sub(lines.len())) {
        let rate = format!("{}/s", words::short(Some(rate)));
        let kind = if columns >= 44 { format!("  {kind}") } else { String::new() };
        let place = columns.saturating_sub(9 + kind.len()).max(4);
        lines.push(Line::raw(format!("{} {}{kind}", words::left(addr, place), words::right(&rate, 8))));
    }
    lines
}

/// What is counted of a source, whatever its name.
pub(super) fn rate(source: &Value) -> f64 {
    let fields = source.as_object().into_iter().flatten();
    fields.filter_map(|(_, value)| value.as_f64()).next().unwrap_or_default()
}
