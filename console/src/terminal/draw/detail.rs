//! One incident: what was measured against what, why it is thought so, from where, what to do, and how it came to be.

use ratatui::text::{Line, Span};
use serde_json::Value;

use super::super::theme::Role;
use super::super::{Screen, place, words};
use super::{headline, incidents, tables};
use crate::board::IncidentCard;
use crate::line::number;

/// Columns of what a line is about.
const NAME_COLUMNS: usize = 11;
/// Sources and networks that are told.
const SOURCES_TOLD: usize = 10;

/// All of the incident that is open on the screen; `None` where none is.
pub(super) fn lines(screen: &Screen<'_>, columns: u16) -> Option<Vec<Line<'static>>> {
    let id = screen.view.opened.as_deref()?;
    let Some(card) = screen.board.incidents().find(|card| card.id() == id) else {
        let text = format!("{id} is not there: at this time it had not opened, or it is forgotten");
        return Some(vec![screen.span(text, Role::Dim).into()]);
    };
    let mut text = Text { screen, columns: usize::from(columns), lines: Vec::new() };
    text.head(card);
    text.peak_and_now(card);
    text.why(card);
    text.because(card);
    text.todo(card);
    text.sources(card);
    text.causes(card);
    text.mitigation(card);
    text.rule(card);
    text.timeline(card);
    Some(text.lines)
}

/// The beginning of the chosen one, without its head; nothing where none is.
pub(super) fn look(screen: &Screen<'_>, columns: u16) -> Vec<Line<'static>> {
    let cards = screen.view.incidents(screen.board);
    let Some(card) = cards.get(screen.view.chosen_at(&cards)) else { return Vec::new() };
    let mut text = Text { screen, columns: usize::from(columns), lines: Vec::new() };
    text.peak_and_now(card);
    let open = screen.board.open_incidents();
    if open.first().is_none_or(|worst| worst.id() != card.id()) {
        // That of the worst is in the headline.
        text.why(card);
    }
    text.commands(card);
    text.row("sources", &incidents::sources(card), Role::Warn);
    text.kept(&card.line.json);
    text.lines
}

/// Lines so far.
struct Text<'a> {
    screen: &'a Screen<'a>,
    columns: usize,
    lines: Vec<Line<'static>>,
}

impl Text<'_> {
    fn head(&mut self, card: &IncidentCard) {
        let badge = format!(" {} {} ", card.severity(), headline::meaning(card.severity()));
        let lasting = incidents::age(self.screen, card);
        let state = if card.is_open() { "open for" } else { "closed, lasted" };
        let text = format!(" {} at {}  {state} {lasting}", card.kind(), place(card));
        let room = self.columns.saturating_sub(badge.len());
        let role = if card.is_open() { Role::Alarm } else { Role::Selected };
        self.lines.push(Line::from(vec![
            self.screen.span(badge, role),
            self.screen.span(words::cut(&text, room), Screen::severity(card.severity())),
        ]));
    }

    fn peak_and_now(&mut self, card: &IncidentCard) {
        let json = &card.line.json;
        let unit = json["unit"].as_str().unwrap_or_default();
        let measured = number(json, "measured");
        let limit = number(json, "limit");
        let mut text = format!("{} {unit}", words::known(measured));
        if let Some(limit) = limit {
            text += &format!(", limit {}", words::number(limit));
        }
        text += &match number(json, "baseline") {
            Some(usual) => format!(", usual {}", words::number(usual)),
            None => ", usual not known".to_owned(),
        };
        if let Some(now) = incidents::now(self.screen, card) {
            self.row("now", &now, Role::Plain);
        }
        self.row("peak", &text, Role::Plain);
    }

    fn why(&mut self, card: &IncidentCard) {
        let json = &card.line.json;
        for (at, cause) in json["cause"].as_array().into_iter().flatten().enumerate() {
            self.text(if at == 0 { "why" } else { "" }, cause);
        }
    }

    fn because(&mut self, card: &IncidentCard) {
        let json = &card.line.json;
        if let Some(because) = json["because_of"]["id"].as_str() {
            let why = json["because_of"]["why"].as_str().unwrap_or_default();
            self.row("because of", &format!("{because}: {why}"), Role::Warn);
        }
        if let Some(many) = number(json, "consequences").filter(|many| *many > 0.0) {
            self.row("leads to", &format!("{} other incidents", words::number(many)), Role::Plain);
        }
    }

    fn rule(&mut self, card: &IncidentCard) {
        let json = &card.line.json;
        self.heading("rule, and what it measured");
        self.text("rule", &json["rule"]);
        let facts = json["facts"].as_object().into_iter().flatten();
        let facts: Vec<_> =
            facts.map(|(name, value)| format!("{name} {}", words::known(value.as_f64()))).collect();
        self.row("facts", &facts.join(", "), Role::Plain);
    }

    fn causes(&mut self, card: &IncidentCard) {
        let json = &card.line.json;
        let causes = json["causes"].as_array().into_iter().flatten();
        for (at, cause) in causes.enumerate() {
            if at == 0 {
                self.heading("likely causes, 0 to 1");
            }
            let name = cause["cause"].as_str().unwrap_or_default();
            let layer = cause["layer"].as_str().unwrap_or_default();
            let score = number(cause, "score");
            let role = if score.is_some_and(|score| score >= 0.5) { Role::Warn } else { Role::Plain };
            self.row(
                &score.map_or(String::new(), |score| format!("{score:.2}")),
                &format!("{name} ({layer})"),
                role,
            );
            self.evidence("  for", &cause["for"]);
            self.evidence("  against", &cause["against"]);
        }
    }

    fn evidence(&mut self, name: &str, points: &Value) {
        for point in points.as_array().into_iter().flatten() {
            let what = point["what"].as_str().unwrap_or_default();
            let measured = words::known(number(point, "measured"));
            self.row(name, &format!("{what}: {measured}"), Role::Plain);
        }
    }

    fn sources(&mut self, card: &IncidentCard) {
        let sources = &card.line.json["sources"];
        self.heading("sources");
        let mut text = incidents::sources(card);
        if let Some(classes) = number(sources, "ttl_classes") {
            text += &format!(", TTL classes {}", words::number(classes));
        }
        self.row("about", &text, Role::Warn);
        for (name, field) in [("busiest", "top"), ("networks", "prefixes")] {
            let told = sources[field].as_array().into_iter().flatten().take(SOURCES_TOLD);
            let told: Vec<_> = told
                .filter_map(|source| {
                    let addr = source["addr"].as_str()?;
                    // Sources are counted by networks of this length.
                    let network = match (field, addr.contains(':')) {
                        ("top", _) => "",
                        (_, false) => "/24",
                        (_, true) => "/48",
                    };
                    Some(format!("{addr}{network} {}/s", words::short(Some(tables::rate(source)))))
                })
                .collect();
            self.row(name, &told.join(", "), Role::Plain);
        }
    }

    fn todo(&mut self, card: &IncidentCard) {
        self.heading("what to do");
        self.commands(card);
        self.kept(&card.line.json);
    }

    fn commands(&mut self, card: &IncidentCard) {
        let json = &card.line.json;
        for next in json["next"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            let lines = words::wrapped(&format!("$ {next}"), self.columns, 4);
            self.lines.extend(lines.into_iter().map(Line::raw));
        }
    }

    fn mitigation(&mut self, card: &IncidentCard) {
        let json = &card.line.json;
        if json["mitigation"].is_null() {
            return;
        }
        self.heading("mitigation, to be judged first");
        self.text("", &json["mitigation"]["why"]);
        for (name, rules) in json["mitigation"].as_object().into_iter().flatten() {
            let Some(rules) = rules.as_str().filter(|_| name != "why") else { continue };
            for (at, rule) in rules.trim_end().lines().enumerate() {
                self.row(if at == 0 { name } else { "" }, rule, Role::Plain);
            }
        }
    }

    /// The packets, and how well they were seen.
    fn kept(&mut self, json: &Value) {
        match json["evidence"].as_str() {
            Some(path) => self.row("evidence", path, Role::Usual),
            None => self.row("evidence", "none kept: run with --evidence DIR", Role::Dim),
        }
        let verdict = json["quality"]["verdict"].as_str().unwrap_or(words::UNKNOWN);
        let role = if verdict == "complete" { Role::Plain } else { Role::Warn };
        self.row("capture", &format!("{verdict} when this was told"), role);
    }

    fn timeline(&mut self, card: &IncidentCard) {
        self.heading("how it came to be, UTC");
        let unit = card.line.json["unit"].as_str().unwrap_or_default();
        for step in card.steps() {
            let measured = words::known(step.measured);
            let text = format!("{} {:<7} {measured} {unit}", step.severity, step.state);
            self.row(&words::clock(step.ts_ns), &text, Screen::severity(&step.severity));
        }
    }

    fn heading(&mut self, text: &str) {
        self.lines.push(self.screen.heading(text, self.columns as u16));
    }

    fn text(&mut self, name: &str, value: &Value) {
        if let Some(text) = value.as_str() {
            self.row(name, text, Role::Plain);
        }
    }

    /// What it is about on the left, and the text beside it in as many lines as it takes; nothing of what is empty.
    fn row(&mut self, name: &str, text: &str, role: Role) {
        let room = self.columns.saturating_sub(NAME_COLUMNS);
        let indent = text.len() - text.trim_start().len() + 2;
        let mut name = words::left(name, NAME_COLUMNS);
        for part in words::wrapped(text, room, indent) {
            let dim = self.screen.span(std::mem::replace(&mut name, " ".repeat(NAME_COLUMNS)), Role::Dim);
            self.lines.push(Line::from(vec![dim, Span::styled(part, self.screen.style(role))]));
        }
    }
}
