//! The terminal itself: taken, drawn to at most once a second and once for each key, and given back whatever happens.

use std::io::{self, Stdout, Write as _, stdout};
use std::mem::ManuallyDrop;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Arc, Once};
use std::thread;
use std::time::{Duration, Instant};

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::event::{self, Event};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};

use super::view::Wish;
use super::{Player, Progress, Screen, State, View};
use crate::board::{Board, SharedBoard};
use crate::feed::Losses;

/// Between two redraws that nobody asked for.
const REDRAW: Duration = Duration::from_secs(1);
/// Between two redraws for keys that are held down.
const KEY_REDRAW: Duration = Duration::from_millis(50);
/// How often signals and the run's end are looked for.
const LOOK: Duration = Duration::from_millis(100);
/// Keys that may wait; beyond them the terminal keeps them.
const EVENTS_MAX: usize = 64;
/// Without a new window for so many of them, it is said.
const SILENT_WINDOWS: f64 = 3.0;

/// Where what is shown comes from.
#[derive(Debug)]
pub enum Origin {
    /// A run that goes on.
    Live(SharedBoard),
    /// One that is shown again.
    Replay(Box<Player>),
}

/// A person at a terminal.
#[derive(Debug)]
pub struct Session {
    origin: Origin,
    view: View,
    state: State,
    losses: Vec<Arc<Losses>>,
    /// What is shown; of a live run a copy, so that looking holds nobody up.
    shown: Board,
    /// When the newest window came.
    news: Instant,
}

impl Session {
    /// Of a run with this title; `losses` are those of all that is between the run and here.
    pub fn new(origin: Origin, view: View, title: String, losses: Vec<Arc<Losses>>) -> Self {
        let state = State { title, ..State::default() };
        Self { origin, view, state, losses, shown: Board::default(), news: Instant::now() }
    }

    /// Shows it until the person quits, `stop` is set, or a live run has ended. The terminal is what it was before.
    ///
    /// # Errors
    /// Where the terminal cannot be had.
    pub fn run(&mut self, stop: &AtomicBool, mut has_ended: impl FnMut() -> bool) -> io::Result<()> {
        let mut tty = Tty::take()?;
        let events = events()?;
        let mut drawn: Option<Instant> = None;
        let mut looked = Instant::now();
        let mut is_due = true;
        while !stop.load(Ordering::Relaxed) && !HAS_PANICKED.load(Ordering::Relaxed) {
            if matches!(self.origin, Origin::Live(_)) && has_ended() {
                break;
            }
            let now = Instant::now();
            self.pass(now.duration_since(looked));
            looked = now;
            let since = drawn.map_or(REDRAW, |drawn| now.duration_since(drawn));
            if since >= REDRAW || (is_due && since >= KEY_REDRAW) {
                self.refresh(now);
                let scrolled_max = tty.draw(&self.screen())?;
                self.view.scrolled = self.view.scrolled.min(scrolled_max);
                (drawn, is_due) = (Some(now), false);
            }
            let wait = if is_due { KEY_REDRAW } else { LOOK.min(REDRAW.saturating_sub(since)) };
            match events.recv_timeout(wait) {
                Ok(Event::Key(key)) => {
                    is_due = true;
                    let wish = self.view.key(key, &self.shown);
                    if self.grant(wish) == Wish::Quit {
                        break;
                    }
                }
                Ok(Event::Resize(..)) => is_due = true,
                Ok(_) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        Ok(())
    }

    /// What is shown, as text for when the screen is gone.
    pub fn board(&self) -> Board {
        match &self.origin {
            Origin::Live(board) => board.look().clone(),
            Origin::Replay(player) => player.board.clone(),
        }
    }

    fn pass(&mut self, time: Duration) {
        if let Origin::Replay(player) = &mut self.origin
            && !self.state.is_paused
        {
            player.pass(i64::try_from(time.as_nanos()).unwrap_or(i64::MAX));
        }
    }

    fn screen(&self) -> Screen<'_> {
        Screen { board: &self.shown, view: &self.view, state: &self.state }
    }

    /// Looks at what is new.
    fn refresh(&mut self, now: Instant) {
        let count = |losses: &Arc<Losses>| {
            losses.not_taken.load(Ordering::Relaxed) + losses.not_understood.load(Ordering::Relaxed)
        };
        self.state.lines_lost = self.losses.iter().map(count).sum();
        match &self.origin {
            Origin::Live(board) => {
                let board = board.look();
                let missed = board.windows.saturating_sub(self.shown.windows);
                if missed > 0 {
                    self.news = now;
                }
                if !self.state.is_paused {
                    self.shown = board.clone();
                }
                drop(board);
                let window_s = self.shown.points().next_back().map_or(1.0, |point| point.window_s);
                let silent_s = now.duration_since(self.news).as_secs_f64();
                let silent_s = (silent_s >= window_s * SILENT_WINDOWS).then_some(silent_s as u64);
                self.state.lines_lost += self.shown.lines_lost;
                self.state.progress = Progress::Live { silent_s, missed };
            }
            Origin::Replay(player) => {
                self.shown = player.board.clone();
                self.state.progress = player.progress();
            }
        }
    }

    /// Does what a key asked of the run.
    fn grant(&mut self, wish: Wish) -> Wish {
        if wish == Wish::Pause {
            self.state.is_paused = !self.state.is_paused;
        }
        if let Origin::Replay(player) = &mut self.origin {
            match wish {
                Wish::NextSpeed => player.next_speed(),
                Wish::Seek(steps) => player.seek(steps),
                Wish::SeekStart => player.seek_start(),
                Wish::SeekEnd => player.seek_end(),
                Wish::Nothing | Wish::Pause | Wish::Quit => {}
            }
        }
        wish
    }
}

/// Keys and sizes, from a thread of its own: once a terminal has hung up, the reader never comes back to look at signals.
/// It ends with the process.
fn events() -> io::Result<Receiver<Event>> {
    let (queue, events) = sync_channel(EVENTS_MAX);
    let read = move || {
        while let Ok(event) = event::read() {
            if queue.send(event).is_err() {
                return;
            }
        }
    };
    thread::Builder::new().name("keys".into()).spawn(read)?;
    Ok(events)
}

/// A terminal that is ours until this is dropped.
///
/// The library's own end of a terminal tells standard error where it fails, which panics where that is gone as well: it is
/// left out, and [`restore`] does the same.
struct Tty(ManuallyDrop<Terminal<CrosstermBackend<Stdout>>>);

impl Tty {
    fn take() -> io::Result<Self> {
        restore_on_panic();
        enable_raw_mode()?;
        IS_TAKEN.store(true, Ordering::Relaxed);
        execute!(stdout(), EnterAlternateScreen).inspect_err(|_| restore())?;
        Terminal::new(CrosstermBackend::new(stdout()))
            .map(ManuallyDrop::new)
            .map(Self)
            .inspect_err(|_| restore())
    }

    /// Draws what has changed; how far it could be scrolled.
    fn draw(&mut self, screen: &Screen<'_>) -> io::Result<u16> {
        let drawn = self.0.draw(|frame| screen.draw(frame.area(), frame.buffer_mut()))?;
        Ok(screen.scrolled_max(drawn.area))
    }
}

impl Drop for Tty {
    fn drop(&mut self) {
        restore();
    }
}

/// Whether the terminal is to be given back: once, because a second time would move its cursor back over what was said
/// since.
static IS_TAKEN: AtomicBool = AtomicBool::new(false);

/// Gives the terminal back. It may be gone: then there is nothing to give back, and nobody to tell.
fn restore() {
    if !IS_TAKEN.swap(false, Ordering::Relaxed) {
        return;
    }
    let _ = execute!(stdout(), LeaveAlternateScreen, Show);
    let _ = disable_raw_mode();
    let _ = stdout().flush();
}

/// The terminal was given back because something panicked, in whichever thread.
static HAS_PANICKED: AtomicBool = AtomicBool::new(false);

/// Before a panic is told: on the screen that goes away nobody would read it.
fn restore_on_panic() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let tell = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            HAS_PANICKED.store(true, Ordering::Relaxed);
            restore();
            tell(panic);
        }));
    });
}
