//! What keys do, and what signs mean.

use ratatui::text::{Line, Span};

use super::super::theme::Role;
use super::super::{Progress, Screen, words};

const KEYS: &[(&str, &str)] = &[
    ("up, down", "choose an incident; scroll"),
    ("enter", "open it: evidence, causes, commands"),
    ("n, p", "in an incident: the next, the one before"),
    ("esc", "back; drop the filter"),
    ("/", "filter: kind, target, source, P1, open"),
    ("tab", "incidents or listeners, for s"),
    ("s", "the next order"),
    ("space", "pause, go on"),
    ("t", "theme: dark, light, no colour"),
    ("q", "end the run, and leave"),
];

const REPLAY_KEYS: &[(&str, &str)] = &[
    ("left, right", "5 seconds back, forth"),
    ("home, end", "to the start, to the end"),
    ("x", "speed: 1, 10, all there is"),
];

const SIGNS: &[(&str, &str)] = &[
    ("P1 P2 P3", "down or about to be; degraded; deviation"),
    ("?", "not known, which is not zero"),
    ("~", "cut for want of room"),
    ("!", "a listener at which an incident is open"),
    ("bars", "connections: full where an incident was open"),
    ("dashes", "connections: what is usual of them, once that is known"),
    ("health", "0 to 100; from 80 ok, from 30 poor, below BAD"),
];

/// All of it.
pub(super) fn lines(screen: &Screen<'_>, columns: u16) -> Vec<Line<'static>> {
    let keys = format!("keys  theme: {}", screen.view.theme.name());
    let mut parts: Vec<(&str, &[(&str, &str)])> = vec![(&keys, KEYS)];
    if matches!(screen.state.progress, Progress::Replay { .. }) {
        parts.push(("of a replay", REPLAY_KEYS));
    }
    parts.push(("signs", SIGNS));
    let mut lines = Vec::new();
    for (heading, rows) in parts {
        lines.push(screen.heading(heading, columns));
        for (key, meaning) in rows {
            let room = usize::from(columns).saturating_sub(14);
            let mut meanings = words::wrapped(meaning, room, 0).into_iter();
            lines.push(Line::from(vec![
                screen.span(format!("  {} ", words::left(key, 11)), Role::Usual),
                Span::raw(meanings.next().unwrap_or_default()),
            ]));
            lines.extend(meanings.map(|rest| Line::raw(format!("{}{rest}", " ".repeat(14)))));
        }
    }
    lines
}
