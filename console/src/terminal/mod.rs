//! The terminal: one screen of what is now, for a person who must know within a second what is attacked, how, from where,
//! whether it is real, and what to do.
//!
//! ```text
//! Board, View, State --> Screen::draw --> a buffer of cells --> the terminal (session), or plain text (plain)
//! ```
//! [`View`] is what was chosen with keys, [`State`] what the run does meanwhile. Drawing is a function of the three and
//! touches nothing else, so a screen of a saved run is the same everywhere. `session` alone knows the terminal.

mod draw;
mod plain;
mod replay;
mod session;
mod theme;
mod view;
mod words;

use serde_json::Value;

pub use plain::{closing, once};
pub use replay::{Player, RECORDING_BYTES_MAX, Recording, Speed};
pub use session::{Origin, Session};
pub use theme::{Glyphs, Palette, Theme};
pub use view::View;

use crate::board::{Board, IncidentCard};

/// What the run does while it is looked at.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// What is looked at: `live eth0`, `read FILE`.
    pub title: String,
    /// How it comes.
    pub progress: Progress,
    /// Nothing moves until the person says so.
    pub is_paused: bool,
    /// Lines that this screen did not get, and those that are none of the contract's.
    pub lines_lost: u64,
}

/// How lines come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Progress {
    /// All that there is, is there.
    #[default]
    Whole,
    /// As they are made.
    Live {
        /// Seconds without a new window, where that is longer than it should be.
        silent_s: Option<u64>,
        /// Windows that came while paused.
        missed: u64,
    },
    /// From a recording.
    Replay {
        /// How fast.
        speed: Speed,
        /// Packet time.
        at_ns: i64,
        /// Lines still come, nothing is left, or neither.
        reading: Reading,
        /// Lines there was no room for.
        not_kept: u64,
    },
}

/// How far a recording is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reading {
    /// The file is still being read.
    #[default]
    Goes,
    /// It is read, and not all of it has been shown.
    Read,
    /// All has been shown.
    Shown,
}

/// All that is drawn.
#[derive(Clone, Copy, Debug)]
pub struct Screen<'a> {
    /// What is now.
    pub board: &'a Board,
    /// What was chosen.
    pub view: &'a View,
    /// What the run does.
    pub state: &'a State,
}

/// `10.0.0.2:80/tcp`, `[fd77::2]:80/tcp`, `10.0.0.0/24 udp` or an address, of a `target`.
fn target(target: &Value) -> String {
    let Some(addr) = target["addr"].as_str() else {
        return match (target["host"].as_str(), target["capture"].as_str()) {
            (Some("this"), _) => "this host".to_owned(),
            (_, Some(_)) => "the capture".to_owned(),
            _ => "everything".to_owned(),
        };
    };
    let proto = target["proto"].as_str().map_or_else(String::new, |proto| format!("/{proto}"));
    match target["port"].as_u64() {
        Some(port) if addr.contains(':') => format!("[{addr}]:{port}{proto}"),
        Some(port) => format!("{addr}:{port}{proto}"),
        None => format!("{addr}{}", proto.replace('/', " ")),
    }
}

/// What an incident is at.
fn place(card: &IncidentCard) -> String {
    target(&card.line.json["target"])
}
