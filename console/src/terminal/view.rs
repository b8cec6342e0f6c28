//! What the person at the terminal chose to see, and what each key does to it.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::theme::Theme;
use crate::board::{Board, IncidentCard};
use crate::line::number;

/// Letters of a filter that are taken.
const FILTER_LETTERS_MAX: usize = 64;
/// Rows of an incident that a page is.
const PAGE_ROWS: u16 = 10;

/// The order of incidents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum IncidentOrder {
    /// Open ones first, then the worst, then the newest.
    #[default]
    Worst,
    Newest,
    Target,
}

/// The order of listeners.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum ListenerOrder {
    #[default]
    ConnRate,
    HalfOpen,
    Sources,
    Bytes,
}

/// What keys are about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Focus {
    #[default]
    Incidents,
    Listeners,
}

/// What a key asks of the run; all else is done in the view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    Nothing,
    Quit,
    Pause,
    NextSpeed,
    /// By so many steps, in a replay.
    Seek(i64),
    SeekStart,
    SeekEnd,
}

/// What is chosen.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// How it looks.
    pub theme: Theme,
    pub(super) focus: Focus,
    pub(super) incident_order: IncidentOrder,
    pub(super) listener_order: ListenerOrder,
    /// Only what has this in it.
    pub(super) filter: String,
    /// The filter is being typed.
    pub(super) typing: bool,
    pub(super) is_help: bool,
    /// The incident on which the mark is; the first where it is gone.
    pub(super) chosen: Option<String>,
    /// The incident that is looked at.
    pub(super) opened: Option<String>,
    /// Rows of it, or of the help, that are above the screen.
    pub(super) scrolled: u16,
}

impl View {
    /// A view that looks like this.
    pub fn new(theme: Theme) -> Self {
        Self { theme, ..Self::default() }
    }

    /// Incidents in the order and of the kind asked for.
    pub(super) fn incidents<'a>(&self, board: &'a Board) -> Vec<&'a IncidentCard> {
        let mut cards: Vec<_> = board.incidents().rev().filter(|card| self.wants_incident(card)).collect();
        match self.incident_order {
            IncidentOrder::Worst => cards.sort_by(|one, other| {
                other.is_open().cmp(&one.is_open()).then_with(|| one.severity().cmp(other.severity()))
            }),
            IncidentOrder::Newest => {}
            IncidentOrder::Target => cards.sort_by_key(|card| card.target()),
        }
        cards
    }

    /// Where the mark is.
    pub(super) fn chosen_at(&self, cards: &[&IncidentCard]) -> usize {
        let chosen = self.chosen.as_deref();
        cards.iter().position(|card| Some(card.id()) == chosen).unwrap_or(0)
    }

    /// Whether the filter lets this text through.
    pub(super) fn wants(&self, text: &str) -> bool {
        self.filter.is_empty() || text.to_lowercase().contains(&self.filter.to_lowercase())
    }

    fn wants_incident(&self, card: &IncidentCard) -> bool {
        let state = if card.is_open() { "open" } else { "closed" };
        let sources = card.line.json["sources"]["top"].as_array();
        let mut addresses = sources.into_iter().flatten().filter_map(|source| source["addr"].as_str());
        self.wants(&format!("{} {} {} {state}", card.severity(), card.kind(), card.target()))
            || addresses.any(|address| self.wants(address))
    }

    /// Listeners of the newest window, in the order and of the kind asked for.
    pub(super) fn listeners<'a>(&self, board: &'a Board) -> Vec<&'a serde_json::Value> {
        let window = board.window.as_ref();
        let listeners = window.and_then(|window| window.json["listeners"].as_array());
        let mut listeners: Vec<_> = listeners
            .into_iter()
            .flatten()
            .filter(|listener| self.filter.is_empty() || self.wants(&super::target(&listener["target"])))
            .collect();
        let field = self.listener_order.field();
        let rank = |listener: &serde_json::Value| number(listener, field).unwrap_or(-1.0);
        listeners.sort_by(|one, other| rank(other).total_cmp(&rank(one)));
        listeners
    }

    /// Does what a key is for.
    pub(super) fn key(&mut self, key: KeyEvent, board: &Board) -> Wish {
        if key.kind == KeyEventKind::Release {
            return Wish::Nothing;
        }
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return if key.code == KeyCode::Char('c') { Wish::Quit } else { Wish::Nothing };
        }
        if self.typing {
            self.type_filter(key.code);
            return Wish::Nothing;
        }
        match key.code {
            KeyCode::Char('q') => return Wish::Quit,
            KeyCode::Char(' ') => return Wish::Pause,
            KeyCode::Char('x') => return Wish::NextSpeed,
            KeyCode::Left => return Wish::Seek(-1),
            KeyCode::Right => return Wish::Seek(1),
            KeyCode::Char('t') => self.theme = self.theme.next(),
            KeyCode::Char('?' | 'h') => (self.is_help, self.scrolled) = (!self.is_help, 0),
            KeyCode::Esc | KeyCode::Backspace => self.back(),
            _ if self.is_help || self.opened.is_some() => self.scroll(key.code, board),
            KeyCode::Home => return Wish::SeekStart,
            KeyCode::End => return Wish::SeekEnd,
            _ => self.choose(key.code, board),
        }
        Wish::Nothing
    }

    fn type_filter(&mut self, key: KeyCode) {
        match key {
            KeyCode::Enter => self.typing = false,
            KeyCode::Esc => (self.typing, self.filter) = (false, String::new()),
            KeyCode::Backspace => _ = self.filter.pop(),
            KeyCode::Char(letter) if self.filter.chars().count() < FILTER_LETTERS_MAX => {
                self.filter.push(letter);
            }
            _ => {}
        }
    }

    /// One step out: of the help, of an incident, of a filter.
    fn back(&mut self) {
        self.scrolled = 0;
        if self.is_help {
            self.is_help = false;
        } else if self.opened.take().is_none() {
            self.filter.clear();
        }
    }

    fn scroll(&mut self, key: KeyCode, board: &Board) {
        match key {
            KeyCode::Up | KeyCode::Char('k') => self.scrolled = self.scrolled.saturating_sub(1),
            KeyCode::Down | KeyCode::Char('j') => self.scrolled = self.scrolled.saturating_add(1),
            KeyCode::PageUp => self.scrolled = self.scrolled.saturating_sub(PAGE_ROWS),
            KeyCode::PageDown => self.scrolled = self.scrolled.saturating_add(PAGE_ROWS),
            KeyCode::Home => self.scrolled = 0,
            KeyCode::End => self.scrolled = u16::MAX,
            KeyCode::Char('n' | 'p') if self.opened.is_some() => {
                self.step(if key == KeyCode::Char('n') { 1 } else { -1 }, board);
                (self.opened, self.scrolled) = (self.chosen.clone(), 0);
            }
            _ => {}
        }
    }

    fn choose(&mut self, key: KeyCode, board: &Board) {
        match key {
            KeyCode::Up | KeyCode::Char('k') => self.step(-1, board),
            KeyCode::Down | KeyCode::Char('j') => self.step(1, board),
            KeyCode::Enter => {
                self.step(0, board);
                (self.opened, self.scrolled) = (self.chosen.clone(), 0);
            }
            KeyCode::Tab | KeyCode::BackTab => {
                self.focus = match self.focus {
                    Focus::Incidents => Focus::Listeners,
                    Focus::Listeners => Focus::Incidents,
                };
            }
            KeyCode::Char('/') => self.typing = true,
            KeyCode::Char('s') => self.next_order(),
            _ => {}
        }
    }

    /// Moves the mark.
    fn step(&mut self, by: isize, board: &Board) {
        let cards = self.incidents(board);
        let at = self.chosen_at(&cards).saturating_add_signed(by).min(cards.len().saturating_sub(1));
        self.chosen = cards.get(at).map(|card| card.id().to_owned());
    }

    fn next_order(&mut self) {
        match self.focus {
            Focus::Incidents => {
                self.incident_order = match self.incident_order {
                    IncidentOrder::Worst => IncidentOrder::Newest,
                    IncidentOrder::Newest => IncidentOrder::Target,
                    IncidentOrder::Target => IncidentOrder::Worst,
                }
            }
            Focus::Listeners => {
                self.listener_order = match self.listener_order {
                    ListenerOrder::ConnRate => ListenerOrder::HalfOpen,
                    ListenerOrder::HalfOpen => ListenerOrder::Sources,
                    ListenerOrder::Sources => ListenerOrder::Bytes,
                    ListenerOrder::Bytes => ListenerOrder::ConnRate,
                }
            }
        }
    }
}

impl IncidentOrder {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Worst => "worst first",
            Self::Newest => "newest first",
            Self::Target => "by target",
        }
    }
}

impl ListenerOrder {
    /// In `window.listeners[]`.
    pub(super) fn field(self) -> &'static str {
        match self {
            Self::ConnRate => "conn_rate",
            Self::HalfOpen => "half_open",
            Self::Sources => "distinct_sources",
            Self::Bytes => "bytes",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::line::Line;

    fn board() -> Board {
        let mut board = Board::default();
        for (id, state, severity, addr) in [
            ("flood", "opened", "P2", "10.0.0.1"),
            ("scan", "opened", "P1", "10.0.0.2"),
            ("old", "closed", "P1", "10.0.0.3"),
        ] {
            let text = format!(
                r#"{{"ts":"1970-01-01T00:00:01Z","event":"incident","id":"{id}","kind":"{id}","state":"{state}","severity":"{severity}","target":{{"addr":"{addr}"}},"sources":{{"top":[{{"addr":"9.9.9.9"}}]}}}}"#
            );
            board.take(&Arc::new(Line::parse(&text).unwrap()));
        }
        board
    }

    fn ids(view: &View, board: &Board) -> Vec<String> {
        view.incidents(board).iter().map(|card| card.id().to_owned()).collect()
    }

    fn press(view: &mut View, keys: &str, board: &Board) -> Wish {
        let codes = keys.chars().map(|key| match key {
            '\n' => KeyCode::Enter,
            '\u{1b}' => KeyCode::Esc,
            key => KeyCode::Char(key),
        });
        codes.map(|code| view.key(KeyEvent::from(code), board)).last().unwrap()
    }

    #[test]
    fn open_ones_come_first_then_the_worst_unless_asked_otherwise() {
        let (mut view, board) = (View::default(), board());
        assert_eq!(ids(&view, &board), ["scan", "flood", "old"]);
        press(&mut view, "s", &board);
        assert_eq!(ids(&view, &board), ["old", "scan", "flood"]);
    }

    #[test]
    fn a_filter_takes_kinds_states_targets_and_sources() {
        let (mut view, board) = (View::default(), board());
        press(&mut view, "/FLO\n", &board);
        assert_eq!(ids(&view, &board), ["flood"]);
        press(&mut view, "\u{1b}", &board);
        assert_eq!(ids(&view, &board).len(), 3);
        for (filter, count) in [("closed", 1), ("10.0.0.2", 1), ("9.9.9.9", 3), ("nothing", 0)] {
            press(&mut view, &format!("/{filter}\n"), &board);
            assert_eq!(ids(&view, &board).len(), count, "{filter}");
            press(&mut view, "\u{1b}", &board);
        }
    }

    #[test]
    fn the_mark_stays_on_its_incident_and_opens_it() {
        let (mut view, mut board) = (View::default(), board());
        press(&mut view, "j", &board);
        assert_eq!(view.chosen.as_deref(), Some("flood"));
        let worse =
            r#"{"ts":"1970-01-01T00:00:02Z","event":"incident","id":"new","state":"opened","severity":"P1"}"#;
        board.take(&Arc::new(Line::parse(worse).unwrap()));
        press(&mut view, "\n", &board);
        assert_eq!(view.opened.as_deref(), Some("flood"));
        press(&mut view, "\u{1b}", &board);
        assert_eq!(view.opened, None);
    }

    #[test]
    fn while_a_filter_is_typed_letters_are_letters() {
        let (mut view, board) = (View::default(), board());
        assert_eq!(press(&mut view, "/q", &board), Wish::Nothing);
        assert_eq!(press(&mut view, "\nq", &board), Wish::Quit);
    }
}
