//! A recording that is shown again in its own time: faster, paused, from another place.
//!
//! A [`Recording`] keeps the texts of lines as they come, from a thread of its own, up to [`RECORDING_BYTES_MAX`]; what is
//! beyond is counted. A [`Player`] takes them up to a packet time into its board. Going back is going forth from the start:
//! boards are quick to make, and nothing else has to be kept.

use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::{Progress, Reading};
use crate::board::Board;
use crate::feed::{Feed, Losses};
use crate::line::Line;

/// Text of lines that is kept: two hours of seconds with some 30 KiB each, a day of them with few listeners.
pub const RECORDING_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Lines that may wait to be kept.
const LINES_MAX: usize = 4_096;
/// Lines that are taken at once before keys are looked for.
const LINES_AT_ONCE: usize = 2_000;
/// Where nothing happens for longer, time passes at once.
const GAP_NS: i64 = 10_000_000_000;
/// What a seek goes.
const SEEK_NS: i64 = 5_000_000_000;

/// How fast packet time passes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Speed {
    /// As it was.
    #[default]
    One,
    /// Ten times that.
    Ten,
    /// All there is, at once.
    Max,
}

impl Speed {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::One => "1x",
            Self::Ten => "10x",
            Self::Max => "max",
        }
    }

    fn next(self) -> Self {
        match self {
            Self::One => Self::Ten,
            Self::Ten => Self::Max,
            Self::Max => Self::One,
        }
    }

    fn times(self) -> i64 {
        match self {
            Self::One => 1,
            Self::Ten => 10,
            Self::Max => i64::MAX,
        }
    }
}

/// Lines that were read.
#[derive(Debug, Default)]
struct Kept {
    lines: Vec<(i64, Box<str>)>,
    bytes: usize,
    not_kept: u64,
    is_over: bool,
}

impl Kept {
    fn take(&mut self, line: &Line, bytes_max: usize) {
        if self.not_kept > 0 || self.bytes + line.text.len() > bytes_max {
            self.not_kept += 1;
            return;
        }
        self.bytes += line.text.len();
        self.lines.push((line.ts_ns, line.text.as_str().into()));
    }
}

/// All lines of a run, as they come.
#[derive(Clone, Debug, Default)]
pub struct Recording(Arc<Mutex<Kept>>);

impl Recording {
    /// Of all lines of a feed; the thread that keeps them ends with it.
    ///
    /// # Errors
    /// Where no thread can be had.
    pub fn of(feed: &mut Feed) -> std::io::Result<(Self, Arc<Losses>)> {
        let (lines, losses) = feed.subscribe(LINES_MAX);
        let recording = Self::default();
        let kept = recording.clone();
        thread::Builder::new().name("recording".into()).spawn(move || kept.keep(&lines))?;
        Ok((recording, losses))
    }

    /// Whether anything came, or nothing more will.
    pub fn has_begun(&self) -> bool {
        let kept = self.look();
        kept.is_over || !kept.lines.is_empty()
    }

    /// Whether all has come.
    pub fn is_over(&self) -> bool {
        self.look().is_over
    }

    fn look(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, lines: &Receiver<Arc<Line>>) {
        for line in lines {
            self.look().take(&line, RECORDING_BYTES_MAX);
        }
        self.look().is_over = true;
    }
}

/// A recording and where in it we are.
#[derive(Debug, Default)]
pub struct Player {
    recording: Recording,
    /// All that is shown.
    pub board: Board,
    speed: Speed,
    taken: usize,
    /// Packet time; from the first line on.
    at_ns: Option<i64>,
}

impl Player {
    /// At the start of a recording.
    pub fn new(recording: Recording, speed: Speed) -> Self {
        Self { recording, speed, ..Self::default() }
    }

    pub(super) fn progress(&self) -> Progress {
        let kept = self.recording.look();
        let reading = match kept.is_over {
            false => Reading::Goes,
            true if self.taken < kept.lines.len() => Reading::Read,
            true => Reading::Shown,
        };
        let at_ns = self.at_ns.unwrap_or_default();
        Progress::Replay { speed: self.speed, at_ns, reading, not_kept: kept.not_kept }
    }

    pub(super) fn next_speed(&mut self) {
        self.speed = self.speed.next();
    }

    /// Lets this time pass; whether there is more to take at once.
    pub fn pass(&mut self, ns: i64) -> bool {
        let passed_ns = ns.saturating_mul(self.speed.times());
        let Some(first_ns) = self.first_ns() else { return false };
        // The lines of the first window are there from the start.
        let at_ns = self.at_ns.unwrap_or(first_ns).saturating_add(passed_ns);
        let next_ns = self.recording.look().lines.get(self.taken).map(|(ts_ns, _)| *ts_ns);
        self.at_ns = Some(match next_ns {
            Some(next_ns) if next_ns > at_ns.saturating_add(GAP_NS) => next_ns,
            Some(_) => at_ns,
            // There is nothing beyond: time stands, so that what comes is shown in its own time.
            None => at_ns.min(self.last_ns()),
        });
        self.take_due()
    }

    /// So many steps forth, or back.
    pub(super) fn seek(&mut self, steps: i64) {
        let Some(first_ns) = self.first_ns() else { return };
        let at_ns = self.at_ns.unwrap_or(first_ns).min(self.last_ns());
        self.go_to(at_ns.saturating_add(steps.saturating_mul(SEEK_NS)).max(first_ns));
    }

    /// To the start.
    pub(super) fn seek_start(&mut self) {
        self.go_to(self.first_ns().unwrap_or_default());
    }

    /// To the end of what has come.
    pub(super) fn seek_end(&mut self) {
        self.go_to(self.last_ns());
    }

    fn go_to(&mut self, at_ns: i64) {
        if self.at_ns.is_some_and(|now_ns| at_ns < now_ns) {
            (self.board, self.taken) = (Board::default(), 0);
        }
        self.at_ns = Some(at_ns.min(self.last_ns().max(self.first_ns().unwrap_or_default())));
        while self.take_due() {}
    }

    fn first_ns(&self) -> Option<i64> {
        self.recording.look().lines.first().map(|(ts_ns, _)| *ts_ns)
    }

    /// Lines come in the order in which they are told, which is not quite that of their times.
    fn last_ns(&self) -> i64 {
        let kept = self.recording.look();
        kept.lines.iter().rev().take(2).map(|(ts_ns, _)| *ts_ns).max().unwrap_or_default()
    }

    /// Takes what is due; whether that was not all of it.
    fn take_due(&mut self) -> bool {
        let at_ns = self.at_ns.unwrap_or_default();
        for _ in 0..LINES_AT_ONCE {
            let kept = self.recording.look();
            let Some(text) =
                kept.lines.get(self.taken).and_then(|(ts_ns, text)| (*ts_ns <= at_ns).then(|| text.clone()))
            else {
                return false;
            };
            drop(kept);
            self.taken += 1;
            if let Ok(line) = Line::parse(&text) {
                self.board.take(&Arc::new(line));
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_NS: i64 = 1_000_000_000;

    fn line(second: i64) -> Line {
        Line::parse(&format!(
            r#"{{"ts":"1970-01-01T00:{:02}:{:02}Z","event":"window"}}"#,
            second / 60,
            second % 60
        ))
        .unwrap()
    }

    fn player(seconds: impl IntoIterator<Item = i64>, speed: Speed) -> Player {
        let recording = Recording::default();
        for second in seconds {
            recording.look().take(&line(second), RECORDING_BYTES_MAX);
        }
        recording.look().is_over = true;
        Player::new(recording, speed)
    }

    #[test]
    fn time_passes_as_it_did_or_faster() {
        let mut one = player(1..=30, Speed::One);
        let mut ten = player(1..=30, Speed::Ten);
        let mut max = player(1..=30, Speed::Max);
        for player in [&mut one, &mut ten, &mut max] {
            player.pass(0);
            player.pass(SECOND_NS);
        }
        assert_eq!([&one, &ten, &max].map(|player| player.board.windows), [2, 11, 30]);
    }

    #[test]
    fn one_can_go_back_and_forth_and_not_beyond() {
        let mut player = player(1..=30, Speed::One);
        player.pass(0);
        player.seek(2);
        assert_eq!(player.board.windows, 11);
        player.seek(-1);
        assert_eq!(player.board.windows, 6);
        player.seek(-9);
        assert_eq!(player.board.windows, 1);
        player.seek_end();
        player.seek(3);
        assert_eq!(player.board.windows, 30);
        assert!(matches!(player.progress(), Progress::Replay { reading: Reading::Shown, .. }));
    }

    #[test]
    fn where_nothing_happens_nobody_waits() {
        let mut player = player([1, 2, 900, 901], Speed::One);
        player.pass(0);
        player.pass(SECOND_NS);
        player.pass(SECOND_NS / 10);
        assert_eq!(player.board.windows, 3);
    }

    #[test]
    fn what_there_is_no_room_for_is_counted() {
        let mut kept = Kept::default();
        let bytes_max = line(1).text.len() * 2;
        (1..=5).for_each(|second| kept.take(&line(second), bytes_max));
        assert_eq!((kept.lines.len(), kept.not_kept), (2, 3));
    }
}
