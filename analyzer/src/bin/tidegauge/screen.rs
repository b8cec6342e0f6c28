//! `tidegauge live` and `read` for a person at a terminal: the run is a child that is watched, its screen is here.
//!
//! Without a terminal nothing of this happens, unless one screen is asked for as text (`--once`).

use std::ffi::{OsStr, OsString};
use std::io::{self, IsTerminal, Read, Write};
use std::net::SocketAddr;
use std::process::{ChildStderr, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::{Args as ClapArgs, ValueEnum};
use rustix::process::Signal;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use tidegauge_console::board::{Board, SharedBoard};
use tidegauge_console::feed::Feed;
use tidegauge_console::terminal::{
    Glyphs, Origin, Palette, Player, Recording, Screen, Session, Speed, State, Theme, View, closing, once,
};

use super::args::{LiveArgs, ReadArgs};
use super::watched::Watched;

/// How often the run and signals are looked at while there is no screen.
const LOOK: Duration = Duration::from_millis(20);
/// Windows before one screen is printed: the first one may be the end of a second.
const WINDOWS_ONCE: u64 = 2;
/// Columns of one screen where there is no terminal, and its rows.
const ONCE_COLUMNS: u16 = 80;
const ONCE_ROWS: u16 = 40;
/// How long the last lines may take from the feed to the board.
const LAST_LINES: Duration = Duration::from_secs(1);
/// What a run says on standard error that is kept while there is a screen; of more, the rest is counted.
const SAID_BYTES_MAX: usize = 64 * 1024;

/// How a live run is shown.
#[derive(Debug, Default, ClapArgs)]
pub(crate) struct ShowArgs {
    /// Text as things happen, also on a terminal, where a screen would be shown.
    #[arg(long, conflicts_with_all = ["json", "once"])]
    plain: bool,
    /// Print one screen as text after the first windows, and end.
    #[arg(long, conflicts_with = "json")]
    once: bool,
    /// A page for browsers instead: short for `serve --listen ADDR live IFACE`.
    #[arg(long, value_name = "ADDR", conflicts_with_all = ["json", "once", "plain"])]
    pub(crate) web: Option<SocketAddr>,
}

/// How a file is shown.
#[derive(Debug, Default, ClapArgs)]
pub(crate) struct ReplayArgs {
    /// Show the file on a screen, in its own time: pause with space, seek with left and right, `?` tells the rest.
    #[arg(long, conflicts_with_all = ["json", "once"])]
    screen: bool,
    /// How fast, to begin with (`x` changes it).
    #[arg(long, value_enum, value_name = "TIMES", default_value_t = SpeedArg::One, requires = "screen")]
    speed: SpeedArg,
    /// Print one screen as text: how things are at the end of the file.
    #[arg(long, conflicts_with = "json")]
    once: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum SpeedArg {
    #[default]
    #[value(name = "1")]
    One,
    #[value(name = "10")]
    Ten,
    Max,
}

/// What is to be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Show {
    /// A live run, on a screen.
    Live,
    /// A recording, on a screen.
    Replay(Speed),
    /// One screen of text, of a run after some windows.
    OnceLive,
    /// One screen of text, of a run at its end.
    OnceRead,
}

impl Show {
    /// Of a live run; `None` is text or lines as ever.
    pub(crate) fn of_live(args: &LiveArgs) -> Option<Self> {
        if args.show.once {
            return Some(Self::OnceLive);
        }
        let is_wanted = !args.common.json && !args.show.plain;
        (is_wanted && io::stdin().is_terminal() && is_screen()).then_some(Self::Live)
    }

    /// Of files; `None` is text or lines as ever.
    pub(crate) fn of_read(args: &ReadArgs) -> Option<Self> {
        match (&args.show.once, &args.show.screen, args.show.speed) {
            (true, ..) => Some(Self::OnceRead),
            (_, false, _) => None,
            (_, true, SpeedArg::One) => Some(Self::Replay(Speed::One)),
            (_, true, SpeedArg::Ten) => Some(Self::Replay(Speed::Ten)),
            (_, true, SpeedArg::Max) => Some(Self::Replay(Speed::Max)),
        }
    }
}

/// Whether a screen can be drawn on standard output.
fn is_screen() -> bool {
    io::stdout().is_terminal()
        && std::env::var_os("TERM").is_some_and(|term| term != "dumb" && !term.is_empty())
}

/// Starts the run that this command line asks for and shows it; the exit code is the run's.
pub(crate) fn run(show: Show) -> anyhow::Result<ExitCode> {
    if matches!(show, Show::Replay(_)) && !is_screen() {
        bail!("--screen needs a terminal on standard output: use --once, or neither for the report");
    }
    let stop = signals()?;
    let mut feed = Feed::default();
    let mut losses = vec![feed.losses()];
    let board = SharedBoard::of(&mut feed).context("cannot start a thread")?;
    let mut origin = Origin::Live(board.clone());
    if let Show::Replay(speed) = show {
        let (recording, lost) = Recording::of(&mut feed).context("cannot start a thread")?;
        losses.push(lost);
        origin = Origin::Replay(Box::new(Player::new(recording, speed)));
    }
    let (mut watched, errors) = Watched::start_silent(&arguments(), feed)?;
    let said = Said::keep(errors)?;
    wait_for_first(show, &mut watched, &board, &stop)?;
    let mut outcome = Ok(());
    let last = match show {
        _ if !has_begun(&board.look()) => Last::Nothing,
        Show::OnceLive | Show::OnceRead => Last::Screen(one_screen(&board.look())),
        Show::Live | Show::Replay(_) => {
            let mut session = Session::new(origin, View::new(theme()), title(), losses);
            outcome = session.run(&stop, || !matches!(watched.ended(), Ok(None)));
            Last::Closing(Box::new(session))
        }
    };
    let ended_by_itself = watched.ended()?.is_some();
    watched.signal(Signal::TERM);
    let status = watched.wait()?;
    await_last_lines(&board);
    said.tell();
    let outcome = outcome.context("cannot draw on this terminal").and_then(|()| last.tell());
    // A terminal that has hung up takes nothing, and is no error of ours.
    outcome.or_else(|error| if stop.load(Ordering::Relaxed) { Ok(()) } else { Err(error) })?;
    match status.code().and_then(|code| u8::try_from(code).ok()) {
        Some(code) => Ok(ExitCode::from(code)),
        None if ended_by_itself => {
            bail!("the run was killed ({status}): its last lines and its summary are missing")
        }
        None => Ok(ExitCode::SUCCESS),
    }
}

/// What is printed at the end.
enum Last {
    Nothing,
    Screen(String),
    /// The run in a few lines.
    Closing(Box<Session>),
}

impl Last {
    fn tell(self) -> anyhow::Result<()> {
        let text = match self {
            Self::Nothing => return Ok(()),
            Self::Screen(text) => text,
            Self::Closing(session) => closing(&session.board()),
        };
        let mut out = io::stdout();
        out.write_all(text.as_bytes())?;
        Ok(out.flush()?)
    }
}

/// Set by the signals that end a run.
fn signals() -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGHUP, SIGINT, SIGTERM] {
        // A terminal that takes nothing (Ctrl-S) holds us up: the second signal ends it all the same.
        signal_hook::flag::register_conditional_shutdown(signal, 2, Arc::clone(&stop))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&stop)))
            .context("cannot catch signals")?;
    }
    Ok(stop)
}

/// Whether there is anything to show; else the run has said why on standard error.
fn has_begun(board: &Board) -> bool {
    board.source.is_some() || board.window.is_some() || board.summary.is_some()
}

/// This command line without what is about the screen, and with `--json`.
fn arguments() -> Vec<OsString> {
    child_arguments(std::env::args_os().skip(1))
}

fn child_arguments(arguments: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut kept = Vec::new();
    let mut arguments = arguments.peekable();
    kept.extend(arguments.next());
    kept.push("--json".into());
    while let Some(argument) = arguments.next() {
        match argument.to_str() {
            Some("--") => {
                kept.push(argument);
                kept.extend(arguments);
                break;
            }
            Some("--screen" | "--once" | "--plain" | "--json") => {}
            Some("--speed") => _ = arguments.next(),
            Some(text) if text.starts_with("--speed=") => {}
            _ => kept.push(argument),
        }
    }
    kept
}

/// What is looked at, in the words of the command line.
fn title() -> String {
    let words = arguments().into_iter().filter(|argument| argument != OsStr::new("--json"));
    words.map(|argument| argument.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

/// Until there is something to show, or nothing will be.
fn wait_for_first(
    show: Show,
    watched: &mut Watched,
    board: &SharedBoard,
    stop: &AtomicBool,
) -> anyhow::Result<()> {
    let is_there = |board: &Board| match show {
        Show::Live => board.source.is_some(),
        Show::Replay(_) => board.windows > 0,
        Show::OnceLive => board.windows >= WINDOWS_ONCE,
        Show::OnceRead => false,
    };
    while !stop.load(Ordering::Relaxed) && !is_there(&board.look()) {
        if watched.ended()?.is_some() {
            await_last_lines(board);
            break;
        }
        thread::sleep(LOOK);
    }
    Ok(())
}

/// What the run printed last is on its way still.
fn await_last_lines(board: &SharedBoard) {
    let started = Instant::now();
    while !board.look().is_over && started.elapsed() < LAST_LINES {
        thread::sleep(LOOK);
    }
}

fn one_screen(board: &Board) -> String {
    let view = View::new(Theme { palette: Palette::None, ..theme() });
    let state = State { title: title(), ..State::default() };
    let terminal = if io::stdout().is_terminal() { terminal_size::terminal_size() } else { None };
    let columns = terminal.map_or(ONCE_COLUMNS, |(terminal_size::Width(columns), _)| columns);
    once(&Screen { board, view: &view, state: &state }, columns, ONCE_ROWS)
}

/// As the environment wants it: `NO_COLOR`, `COLORFGBG`, the locale.
fn theme() -> Theme {
    let value = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let is_light =
        value("COLORFGBG").is_some_and(|colours| [";7", ";15"].iter().any(|end| colours.ends_with(end)));
    let palette = match value("NO_COLOR") {
        Some(_) => Palette::None,
        None if is_light => Palette::Light,
        None => Palette::Dark,
    };
    let locale =
        ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(value).unwrap_or_default().to_lowercase();
    let is_utf8 = locale.ends_with("utf-8") || locale.ends_with("utf8");
    Theme { palette, glyphs: if is_utf8 { Glyphs::Unicode } else { Glyphs::Ascii } }
}

/// What the run says on standard error, which is told when the screen is gone.
struct Said(JoinHandle<(Vec<u8>, usize)>);

impl Said {
    fn keep(mut errors: ChildStderr) -> anyhow::Result<Self> {
        let keep = move || {
            let (mut said, mut beyond) = (Vec::new(), 0);
            let mut buffer = [0; 4_096];
            while let Ok(count @ 1..) = errors.read(&mut buffer) {
                let room = SAID_BYTES_MAX.saturating_sub(said.len()).min(count);
                said.extend_from_slice(&buffer[..room]);
                beyond += count - room;
            }
            (said, beyond)
        };
        thread::Builder::new().name("said".into()).spawn(keep).map(Self).context("cannot start a thread")
    }

    fn tell(self) {
        let Ok((said, beyond)) = self.0.join() else { return };
        // Standard error may be gone: then there is nobody to tell.
        let _ = io::stderr().write_all(&said);
        if beyond > 0 {
            let _ = writeln!(io::stderr(), "tidegauge: and {beyond} more bytes of messages");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_run_gets_the_same_arguments_and_no_screen() {
        let child = |line: &str| {
            let kept = child_arguments(line.split(' ').map(OsString::from));
            kept.iter().map(|argument| argument.to_str().unwrap()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(child("live eth0 --once --window 1s"), "live --json eth0 --window 1s");
        assert_eq!(child("read --screen --speed 10 a.pcap"), "read --json a.pcap");
        assert_eq!(child("read a.pcap --speed=max --screen -- --once"), "read --json a.pcap -- --once");
        assert_eq!(child("live"), "live --json");
    }
}
