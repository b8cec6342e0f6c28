//! A board that one thread keeps and others look at.

use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::Board;
use crate::feed::{Feed, Losses};
use crate::line::Line;

/// Lines that may wait for the board; a line takes microseconds.
const LINES_MAX: usize = 1_024;

/// A board that many look at. Whoever looks holds the writer up: copy what is needed, then let go.
#[derive(Clone, Debug, Default)]
pub struct SharedBoard(Arc<Mutex<Board>>);

impl SharedBoard {
    /// A board of all lines of a feed, kept by a thread that ends with it.
    ///
    /// # Errors
    /// Where no thread can be had.
    pub fn of(feed: &mut Feed) -> std::io::Result<Self> {
        let (lines, losses) = feed.subscribe(LINES_MAX);
        let board = Self::default();
        let kept = board.clone();
        thread::Builder::new().name("board".into()).spawn(move || kept.keep(&lines, &losses))?;
        Ok(board)
    }

    /// Looks at it.
    pub fn look(&self) -> MutexGuard<'_, Board> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, lines: &Receiver<Arc<Line>>, losses: &Losses) {
        for line in lines {
            let mut board = self.look();
            board.take(&line);
            board.lines_lost = losses.not_taken.load(Ordering::Relaxed);
        }
        self.look().is_over = true;
    }
}
