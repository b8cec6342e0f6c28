//! A screen as plain text, and what is left to say when the screen is gone.

use std::fmt::Write as _;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::draw::ended;
use super::{Screen, place, words};
use crate::board::Board;
use crate::line::number;

/// Incidents that are told at the end.
const TOLD_MAX: usize = 20;

/// One screen, without a style, each line without what is empty at its end.
pub fn once(screen: &Screen<'_>, columns: u16, rows: u16) -> String {
    let area = Rect::new(0, 0, columns, rows);
    let mut buffer = Buffer::empty(area);
    screen.draw(area, &mut buffer);
    let mut text = String::new();
    for y in 0..rows {
        let line: String = (0..columns).map(|x| buffer[(x, y)].symbol()).collect();
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// The whole run in a few lines: what was seen, how well, and each incident with what to run next.
pub fn closing(board: &Board) -> String {
    let mut text = String::new();
    if let Some(summary) = &board.summary {
        let json = &summary.json;
        let count = |path: &str| words::known(number(json, path));
        let verdict = json["quality"]["verdict"].as_str().unwrap_or(words::UNKNOWN);
        let (packets, bytes) = (count("packets"), count("bytes"));
        let _ = writeln!(
            text,
            "{packets} packets, {bytes} bytes in {} s; capture {verdict}",
            count("duration_s")
        );
        let [asked, answered, completed] =
            ["attempted", "answered", "completed"].map(|name| count(&format!("handshake.{name}")));
        let _ = writeln!(text, "handshakes: asked {asked}, answered {answered}, completed {completed}");
    }
    let mut cards: Vec<_> = board.incidents().collect();
    cards.sort_by(|one, other| one.severity().cmp(other.severity()));
    if cards.is_empty() {
        text.push_str("no incident\n");
    }
    for card in cards.iter().take(TOLD_MAX) {
        let json = &card.line.json;
        let state = if card.is_open() { "open" } else { "closed" };
        let when = json["opened_ts"]
            .as_str()
            .and_then(crate::line::time_ns)
            .map_or_else(|| words::UNKNOWN.to_owned(), words::day_and_clock);
        let (severity, kind) = (card.severity(), card.kind());
        let _ = writeln!(text, "{severity} {kind} at {}  opened {when} UTC, {state}", place(card));
        let _ = writeln!(text, "    {}", ended(card));
        for next in json["next"].as_array().into_iter().flatten().filter_map(|next| next.as_str()).take(1) {
            let _ = writeln!(text, "    $ {next}");
        }
    }
    if let Some(more) = cards.len().checked_sub(TOLD_MAX + 1) {
        let _ = writeln!(text, "and {} more", more + 1);
    }
    text
}
