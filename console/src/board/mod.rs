//! What is now, and how it came to be: all that a screen, a page or a scrape shows, from the lines so far.
//!
//! Of fixed size: the newest window whole, of windows before it a [`Point`] each, incidents with the states they went through.
//! What is forgotten for want of room is counted.

mod incident;
mod point;
mod shared;

use std::collections::VecDeque;
use std::sync::Arc;

pub(crate) use incident::place;
pub use incident::{IncidentCard, Step};
pub use point::{LAYERS, Point};
pub use shared::SharedBoard;

use crate::histogram::Recent;
use crate::line::{Event, Line};

/// Windows that are kept as points: an hour of seconds.
pub const POINTS_MAX: usize = 3_600;

/// Incidents that are kept; of more, those that closed first are forgotten.
pub const INCIDENTS_MAX: usize = 512;

/// All that is shown.
#[derive(Clone, Debug, Default)]
pub struct Board {
    /// What is in force, of live runs.
    pub source: Option<Arc<Line>>,
    /// The newest window.
    pub window: Option<Arc<Line>>,
    /// The whole run, once it is over.
    pub summary: Option<Arc<Line>>,
    /// The newest word on thresholds.
    pub reload: Option<Arc<Line>>,
    /// Round trips and receive windows of the last minute.
    pub recent: Recent,
    points: VecDeque<Point>,
    incidents: VecDeque<IncidentCard>,
    /// Incidents that there was no room for.
    pub incidents_forgotten: u64,
    /// Lines that did not get here: they came faster than they were taken.
    pub lines_lost: u64,
    /// Windows so far.
    pub windows: u64,
    /// Whether the run has ended: nothing follows.
    pub is_over: bool,
}

impl Board {
    /// Takes a line.
    pub fn take(&mut self, line: &Arc<Line>) {
        match line.event {
            Event::Source => self.source = Some(Arc::clone(line)),
            Event::Summary => self.summary = Some(Arc::clone(line)),
            Event::Reload => self.reload = Some(Arc::clone(line)),
            Event::Incident => self.incident(line),
            Event::Window => self.window(line),
            Event::Flow | Event::Graph | Event::Judgement => {}
        }
    }

    /// Windows as points, oldest first.
    pub fn points(&self) -> impl DoubleEndedIterator<Item = &Point> + ExactSizeIterator {
        self.points.iter()
    }

    /// Incidents in the order in which they opened.
    pub fn incidents(&self) -> impl DoubleEndedIterator<Item = &IncidentCard> + ExactSizeIterator {
        self.incidents.iter()
    }

    /// Those that are open, worst first, then newest first.
    pub fn open_incidents(&self) -> Vec<&IncidentCard> {
        let mut open: Vec<_> = self.incidents.iter().rev().filter(|card| card.is_open()).collect();
        open.sort_by(|one, other| one.severity().cmp(other.severity()));
        open
    }

    fn window(&mut self, line: &Arc<Line>) {
        self.windows += 1;
        if self.points.len() == POINTS_MAX {
            self.points.pop_front();
        }
        self.points.push_back(Point::of(line));
        self.recent.take(line);
        self.window = Some(Arc::clone(line));
    }

    fn incident(&mut self, line: &Arc<Line>) {
        let id = line.json["id"].as_str().unwrap_or_default();
        // Names begin anew with each run, and history has several.
        let is_new =
            line.json["state"] == "opened" && line.number("pulses").is_none_or(|pulses| pulses <= 1.0);
        let known = self.incidents.iter_mut().rev().find(|card| card.id() == id);
        if let Some(card) = known.filter(|_| !is_new) {
            card.take(line);
            return;
        }
        if self.incidents.len() == INCIDENTS_MAX {
            let oldest_closed = self.incidents.iter().position(|card| !card.is_open());
            self.incidents.remove(oldest_closed.unwrap_or(0));
            self.incidents_forgotten += 1;
        }
        self.incidents.push_back(IncidentCard::new(line));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn incident(id: &str, state: &str, severity: &str) -> Arc<Line> {
        let text = format!(
            r#"{{"ts":"1970-01-01T00:00:01Z","event":"incident","id":"{id}","state":"{state}","severity":"{severity}","measured":7.0}}"#
        );
        Arc::new(Line::parse(&text).unwrap())
    }

    #[test]
    fn an_incident_is_one_card_whatever_becomes_of_it() {
        let mut board = Board::default();
        board.take(&incident("a", "opened", "P3"));
        board.take(&incident("b", "opened", "P2"));
        board.take(&incident("a", "updated", "P1"));
        let ids = |board: &Board| {
            board.open_incidents().iter().map(|card| card.id().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(ids(&board), ["a", "b"]);
        board.take(&incident("a", "closed", "P1"));
        assert_eq!(ids(&board), ["b"]);
        assert_eq!(board.incidents().next().map(|card| card.steps().count()), Some(3));
    }

    #[test]
    fn the_same_name_in_the_next_run_is_another_incident() {
        let mut board = Board::default();
        for state in ["opened", "closed", "opened", "updated", "closed"] {
            board.take(&incident("a", state, "P2"));
        }
        assert_eq!(board.incidents().map(|card| card.steps().count()).collect::<Vec<_>>(), [2, 3]);
    }

    #[test]
    fn incidents_that_are_open_outlive_those_that_closed() {
        let mut board = Board::default();
        board.take(&incident("open", "opened", "P1"));
        for number in 0..INCIDENTS_MAX + 5 {
            board.take(&incident(&number.to_string(), "closed", "P2"));
        }
        assert_eq!(board.incidents().len(), INCIDENTS_MAX);
        assert_eq!(board.incidents_forgotten, 6);
        assert_eq!(board.open_incidents().len(), 1);
    }
}
