//! Screens of a real run, cell by cell, at the sizes people have. `UPDATE_GOLDEN=1` rewrites the expected ones: look at the
//! difference before it is committed.
//!
//! `golden/demo.jsonl` is what `tidegauge read --json demo.pcap` printed: a real flood at a real server.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::crossterm::event::{KeyCode, KeyEvent};
use ratatui::style::Color;

use crate::board::Board;
use crate::line::{Line, time_ns};
use crate::terminal::{Glyphs, Palette, Progress, Reading, Screen, Speed, State, Theme, View, closing, once};

const UPDATE_VARIABLE: &str = "UPDATE_GOLDEN";
/// While the flood goes on; after its end.
const DURING: &str = "2026-11-23T15:41:30Z";
const AFTER: &str = "2026-11-23T15:42:00Z";

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/terminal/draw/golden").join(name)
}

/// As things were then.
fn board(at: &str) -> Board {
    let at_ns = time_ns(at).unwrap();
    let text = fs::read_to_string(golden("demo.jsonl")).unwrap();
    let mut board = Board::default();
    for line in text.lines().map(|line| Line::parse(line).unwrap()).filter(|line| line.ts_ns <= at_ns) {
        board.take(&Arc::new(line));
    }
    board
}

fn state() -> State {
    let progress = Progress::Replay { speed: Speed::One, at_ns: 0, reading: Reading::Read, not_kept: 0 };
    State { title: "read demo.pcap".to_owned(), progress, ..State::default() }
}

fn pressed(board: &Board, theme: Theme, keys: &[KeyCode]) -> View {
    let mut view = View::new(theme);
    keys.iter().for_each(|key| _ = view.key(KeyEvent::from(*key), board));
    view
}

/// Through the terminal's own path.
fn drawn(screen: &Screen<'_>, columns: u16, rows: u16) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
    terminal.draw(|frame| screen.draw(frame.area(), frame.buffer_mut())).unwrap();
    terminal.backend().buffer().clone()
}

fn text(buffer: &Buffer) -> String {
    let row = |cells: &[ratatui::buffer::Cell]| {
        let row: String = cells.iter().map(ratatui::buffer::Cell::symbol).collect();
        row.trim_end().to_owned() + "\n"
    };
    buffer.content().chunks(usize::from(buffer.area.width)).map(row).collect()
}

fn check(name: &str, at: &str, theme: Theme, keys: &[KeyCode], size: (u16, u16)) {
    let (board, state) = (board(at), state());
    let view = pressed(&board, theme, keys);
    golden_screen(name, &Screen { board: &board, view: &view, state: &state }, size);
}

fn golden_screen(name: &str, screen: &Screen<'_>, (columns, rows): (u16, u16)) {
    let found = text(&drawn(screen, columns, rows));
    let expected = golden(name).with_extension("txt");
    if std::env::var_os(UPDATE_VARIABLE).is_some() {
        fs::write(&expected, &found).unwrap();
    }
    let wanted = fs::read_to_string(&expected).unwrap_or_default();
    assert!(found == wanted, "{name}; {UPDATE_VARIABLE}=1 accepts what is found:\n{found}");
    assert_eq!(once(screen, columns, rows), found, "{name}: as plain text it is the same");
}

#[test]
fn screens_of_a_flood() {
    let theme = Theme::default();
    for (name, size) in
        [("80x24", (80, 24)), ("120x40", (120, 40)), ("200x60", (200, 60)), ("40x10", (40, 10))]
    {
        check(name, DURING, theme, &[], size);
    }
    check("after", AFTER, theme, &[], (80, 24));
    check("help", DURING, theme, &[KeyCode::Char('?')], (80, 24));
    check("ascii", DURING, Theme { palette: Palette::None, glyphs: Glyphs::Ascii }, &[], (80, 24));
    check("filtered", DURING, theme, &"/10.9.9.9".chars().map(KeyCode::Char).collect::<Vec<_>>(), (80, 24));
}

/// The flood's own line again, as other incidents at other places.
fn many() -> Board {
    let mut board = board(DURING);
    let flood = board.open_incidents()[0].line.text.clone();
    for (kind, severity, addr, state) in [
        ("connection_flood", "P1", "2001:db8:1234:5678::1:80", "opened"),
        ("udp_amplification", "P3", "198.51.100.7", "opened"),
        ("handshake_failure", "P2", "192.0.2.44", "closed"),
        ("port_scan", "P3", "192.0.2.45", "opened"),
        ("slow_transfer", "P2", "192.0.2.46", "opened"),
    ] {
        let text = flood
            .replace(
                r#""kind":"syn_flood","state":"updated","severity":"P2""#,
                &format!(r#""kind":"{kind}","state":"{state}","severity":"{severity}""#),
            )
            .replace(r#""id":"syn_flood-"#, &format!(r#""id":"{kind}-"#))
            .replace(r#""target":{"addr":"10.77.0.2""#, &format!(r#""target":{{"addr":"{addr}""#));
        assert_ne!(text, flood);
        board.take(&Arc::new(Line::parse(&text).unwrap()));
    }
    board
}

#[test]
fn the_worst_of_many_incidents_is_said_first() {
    let (board, state) = (many(), state());
    let keys = [KeyCode::Down, KeyCode::Down, KeyCode::Down, KeyCode::Down];
    for (name, size, keys) in
        [("many", (80, 24), &[][..]), ("many_chosen", (80, 24), &keys), ("many_150x50", (150, 50), &keys)]
    {
        let view = pressed(&board, Theme::default(), keys);
        golden_screen(name, &Screen { board: &board, view: &view, state: &state }, size);
    }
}

#[test]
fn an_incident_says_what_to_do() {
    let theme = Theme::default();
    check("incident", DURING, theme, &[KeyCode::Enter], (80, 24));
    check("incident_40x10", DURING, theme, &[KeyCode::Enter], (40, 10));
    let all = [KeyCode::Enter, KeyCode::End];
    check("incident_end", AFTER, theme, &all, (80, 24));
}

#[test]
fn without_colour_nothing_is_missing_and_nothing_is_coloured() {
    let (board, state) = (board(DURING), state());
    let keys: [&[KeyCode]; 3] = [&[], &[KeyCode::Enter], &[KeyCode::Char('?')]];
    for keys in keys {
        let screen_of = |palette| {
            let view = pressed(&board, Theme { palette, glyphs: Glyphs::Unicode }, keys);
            drawn(&Screen { board: &board, view: &view, state: &state }, 80, 24)
        };
        let [dark, light, plain] = [Palette::Dark, Palette::Light, Palette::None].map(screen_of);
        assert!(plain.content().iter().all(|cell| (cell.fg, cell.bg) == (Color::Reset, Color::Reset)));
        assert!(dark.content().iter().any(|cell| cell.fg != Color::Reset));
        if !keys.contains(&KeyCode::Char('?')) {
            assert_eq!([text(&dark), text(&light)], [text(&plain), text(&plain)]);
        }
    }
}

#[test]
fn no_size_breaks_it() {
    let (during, nothing, state) = (board(DURING), Board::default(), state());
    let keys: [&[KeyCode]; 4] =
        [&[], &[KeyCode::Enter], &[KeyCode::Char('?')], &[KeyCode::Enter, KeyCode::PageDown]];
    for board in [&during, &nothing] {
        for keys in keys {
            let view = pressed(board, Theme::default(), keys);
            let screen = Screen { board, view: &view, state: &state };
            for columns in [0, 1, 2, 5, 11, 20, 59, 60, 69, 70, 80, 110, 145, 400] {
                for rows in [0, 1, 2, 3, 7, 13, 19, 20, 21, 24, 90] {
                    let _ = once(&screen, columns, rows);
                }
            }
        }
    }
}

#[test]
fn what_cannot_be_trusted_is_said() {
    let during = board(DURING);
    let line = fs::read_to_string(golden("demo.jsonl")).unwrap().lines().next().unwrap().to_owned();
    let line =
        line.replace(r#""verdict":"complete","why":[]"#, r#""verdict":"degraded","why":["ring full"]"#);
    let line = line.replace(r#""dropped":{}"#, r#""dropped":{"ring":1500}"#);
    let mut board = during.clone();
    board.take(&Arc::new(Line::parse(&line).unwrap()));
    let view = View::default();
    let missing =
        State { progress: Progress::Live { silent_s: Some(7), missed: 0 }, lines_lost: 12, ..state() };
    let text = once(&Screen { board: &board, view: &view, state: &missing }, 120, 24);
    for said in ["degraded (ring full)", "lost 1,500", "12 lines not shown", "NOTHING NEW FOR 7 s"] {
        assert!(text.contains(said), "{said} is not in\n{text}");
    }
    let paused = State { progress: Progress::Live { silent_s: None, missed: 3 }, is_paused: true, ..state() };
    assert!(
        once(&Screen { board: &during, view: &view, state: &paused }, 80, 24)
            .contains("PAUSED, 3 windows since")
    );
}

#[test]
fn what_is_left_when_the_screen_is_gone() {
    let text = closing(&board(AFTER));
    for said in ["16,771 packets", "P2 syn_flood at 10.77.0.2:80/tcp", "peak 2,550 syn/s", "$ ss -Hltn"] {
        assert!(text.contains(said), "{said} is not in\n{text}");
    }
}
