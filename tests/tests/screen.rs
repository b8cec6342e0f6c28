//! The screen as a person at a terminal meets it: on a real pseudoterminal, driven by keys, read through a terminal
//! emulation, until the terminal is what it was before.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

#[expect(dead_code, reason = "events and incidents are other tests'")]
mod support;

use std::fs::{self, File};
use std::io::{Read, Write};
use std::num::NonZero;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, poll};
use nix::pty::{Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{FlowArg, LocalFlags, tcflow, tcgetattr};
use nix::unistd::Pid;
use support::{Ran, run, tidegauge};
use tidegauge_tests::netns::{Lab, SERVER_IFACE, Side};
use tidegauge_tests::skip::lab_or_skip;

/// Nothing here takes longer, on a machine that is busy.
const LONGEST: Duration = Duration::from_secs(30);
/// What slow lines bear.
const BYTES_PER_S_MAX: usize = 20_000;

static STARTING: Mutex<()> = Mutex::new(());

const ESC: &str = "\u{1b}";
const LEFT: &str = "\u{1b}[D";
const END: &str = "\u{1b}[F";

fn demo() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data/demo.pcap")
}

/// A terminal with the program in its foreground, as its session's leader.
struct Terminal {
    child: Child,
    /// The other end of it; `None` once it has hung up.
    master: Option<File>,
    slave: OwnedFd,
    emulation: vt100::Parser,
    /// When how many bytes came.
    came: Vec<(Instant, usize)>,
}

impl Terminal {
    /// `command` in a terminal of its own.
    fn start(command: &mut Command, (columns, rows): (u16, u16)) -> Self {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        // What is started meanwhile would keep the other end open, and it could not hang up.
        let _one_at_a_time = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
        let pty = openpty(Some(&size), None).unwrap();
        let master = pty.master.try_clone().unwrap();
        drop(pty.master);
        let end = || Stdio::from(pty.slave.try_clone().unwrap());
        let child = command.stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
        let [cells, lines] = [columns, rows].map(|count| NonZero::new(count).unwrap());
        let emulation = vt100::Parser::new(lines, cells, 0);
        Self { child, master: Some(master.into()), slave: pty.slave, emulation, came: Vec::new() }
    }

    fn read(args: &[&str], size: (u16, u16)) -> Self {
        Self::start(
            of_terminal(&mut Command::new("setsid")).arg(tidegauge()).arg("read").arg(demo()).args(args),
            size,
        )
    }

    /// Takes what comes for so long.
    fn take(&mut self, time: Duration) {
        let until = Instant::now() + time;
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            let Some(master) = &mut self.master else { return std::thread::sleep(left) };
            let mut waiting = [PollFd::new(master.as_fd(), PollFlags::POLLIN)];
            let wait = u16::try_from(left.as_millis()).unwrap_or(u16::MAX);
            if poll(&mut waiting, wait).unwrap() == 0 {
                continue;
            }
            let mut bytes = [0; 16_384];
            let Ok(count @ 1..) = master.read(&mut bytes) else { return };
            self.came.push((Instant::now(), count));
            self.emulation.process(&bytes[..count]);
        }
    }

    fn text(&self) -> String {
        self.emulation.screen().contents()
    }

    /// Waits for this on the screen.
    fn see(&mut self, text: &str) {
        let started = Instant::now();
        while !self.text().contains(text) {
            assert!(started.elapsed() < LONGEST, "{text:?} is not on the screen:\n{}", self.text());
            self.take(Duration::from_millis(20));
        }
    }

    fn press(&mut self, keys: &str) {
        self.master.as_mut().unwrap().write_all(keys.as_bytes()).unwrap();
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
    }

    /// Waits for the program's end: its exit code.
    fn end(&mut self) -> Option<i32> {
        let started = Instant::now();
        loop {
            self.take(Duration::from_millis(20));
            if let Some(status) = self.child.try_wait().unwrap() {
                self.take(Duration::from_millis(20));
                return status.code();
            }
            assert!(started.elapsed() < LONGEST, "it does not end:\n{}", self.text());
        }
    }

    /// The terminal is as it was: it echoes, edits lines, shows its cursor and its first screen.
    fn assert_restored(&self) {
        let modes = tcgetattr(&self.slave).unwrap().local_flags;
        assert!(modes.contains(LocalFlags::ECHO | LocalFlags::ICANON | LocalFlags::ISIG), "{modes:?}");
        let screen = self.emulation.screen();
        assert!(!screen.alternate_screen() && !screen.hide_cursor(), "{}", self.text());
    }

    /// Processes that the program started.
    fn children(&self) -> Vec<Pid> {
        let pid = self.child.id();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        children.split_whitespace().map(|pid| Pid::from_raw(pid.parse().unwrap())).collect()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It has ended where the test came that far.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// With the terminal as its own, and a locale and a kind of terminal that people have.
fn of_terminal(setsid: &mut Command) -> &mut Command {
    setsid
        .arg("--ctty")
        .env("TERM", "xterm-256color")
        .env("LANG", "C.UTF-8")
        .env_remove("LC_ALL")
        .env_remove("NO_COLOR")
}

fn live(lab: &Lab, args: &[&str]) -> Terminal {
    let mut command = lab.command(Side::Server, "setsid");
    of_terminal(&mut command).arg(tidegauge()).args(["live", SERVER_IFACE]).args(args);
    Terminal::start(&mut command, (80, 24))
}

#[test]
fn a_replay_is_driven_by_keys() {
    let mut terminal = Terminal::read(&["--screen", "--speed", "max"], (80, 24));
    terminal.see("end of the file");
    terminal.see("NOTHING OPEN");
    assert!(terminal.emulation.screen().alternate_screen());
    // Back into the flood.
    terminal.press(" ");
    terminal.see("PAUSED");
    terminal.press(LEFT);
    terminal.see("P2 DEGRADED  syn_flood at 10.77.0.2:80/tcp");
    terminal.press("\r");
    terminal.see("what to do");
    terminal.see("$ ss -Hltn 'sport = :80'");
    terminal.press(END);
    terminal.see("how it came to be");
    terminal.press(ESC);
    terminal.see("handshakes in 1 s");
    terminal.press("/nothing\r");
    terminal.see("none that the filter lets through");
    terminal.press(ESC);
    terminal.see("P2 open");
    terminal.press("?");
    terminal.see("theme: dark");
    terminal.press("t");
    terminal.see("theme: light");
    terminal.press("q");
    assert_eq!(terminal.end(), Some(0));
    terminal.assert_restored();
    assert!(terminal.text().contains("P2 syn_flood at 10.77.0.2:80/tcp"), "{}", terminal.text());
}

#[test]
fn little_goes_over_a_slow_line() {
    let mut terminal = Terminal::read(&["--screen"], (200, 60));
    terminal.see("incidents");
    let first: usize = terminal.came.drain(..).map(|(_, count)| count).sum();
    let started = Instant::now();
    terminal.take(Duration::from_secs(9));
    let mut seconds = [0_usize; 10];
    for (at, count) in &terminal.came {
        seconds[at.duration_since(started).as_secs() as usize] += count;
    }
    println!("200x60: first screen {first} bytes, then each second {seconds:?}");
    assert!(seconds.iter().all(|bytes| *bytes < BYTES_PER_S_MAX), "{seconds:?}");
    assert!(first < BYTES_PER_S_MAX, "{first}");
    // Redraws, each of which is a write or a few at once: one a second, and no more.
    let gaps =
        terminal.came.windows(2).filter(|pair| pair[1].0 - pair[0].0 > Duration::from_millis(300)).count();
    assert!(gaps <= 10, "{gaps}: {:?}", terminal.came);
    // Keys that are held down.
    terminal.came.clear();
    for _ in 0..60 {
        terminal.press("?");
        terminal.take(Duration::from_millis(33));
    }
    let bytes: usize = terminal.came.iter().map(|(_, count)| count).sum();
    println!("200x60: 30 help screens a second for 2 s: {} bytes per second", bytes / 2);
}

#[test]
fn a_terminal_is_given_back_when_the_program_is_asked_to_end() {
    for signal in [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT] {
        let mut terminal = Terminal::read(&["--screen"], (80, 24));
        terminal.see("incidents");
        terminal.signal(signal);
        assert_eq!(terminal.end(), Some(0), "{signal}");
        terminal.assert_restored();
    }
}

#[test]
fn a_terminal_that_hangs_up_ends_the_program() {
    let mut terminal = Terminal::read(&["--screen"], (80, 24));
    terminal.see("incidents");
    terminal.master = None;
    assert_eq!(terminal.end(), Some(0));
}

#[test]
fn a_run_that_cannot_start_says_so_and_no_screen_comes() {
    let mut command = Command::new("setsid");
    of_terminal(&mut command).arg(tidegauge()).args(["live", "nosuch0"]);
    let mut wrong = Terminal::start(&mut command, (120, 24));
    assert_eq!(wrong.end(), Some(2));
    assert_eq!(
        wrong.text().trim(),
        "tidegauge: no network interface nosuch0: see `ip -brief link` for those that are there"
    );
    let mut command = Command::new("setsid");
    of_terminal(&mut command).arg(tidegauge()).args(["read", "--screen", "nosuch.pcap"]);
    let mut wrong = Terminal::start(&mut command, (120, 24));
    assert_eq!(wrong.end(), Some(2));
    assert!(wrong.text().starts_with("tidegauge: "), "{}", wrong.text());
    assert_eq!(wrong.text().trim().lines().count(), 1, "{}", wrong.text());
    wrong.assert_restored();
}

#[test]
fn a_live_run_has_a_screen_and_ends_with_it() {
    let Some(lab) = lab_or_skip("a_live_run_has_a_screen_and_ends_with_it") else { return };
    let mut terminal = live(&lab, &[]);
    terminal.see("NOTHING OPEN");
    terminal.see("  live");
    terminal.press(" ");
    terminal.see("PAUSED, 2 windows since");
    let children = terminal.children();
    assert_eq!(children.len(), 1);
    terminal.press("q");
    assert_eq!(terminal.end(), Some(0));
    terminal.assert_restored();
    assert!(terminal.text().contains("no incident"), "{}", terminal.text());
    assert!(kill(children[0], None).is_err(), "the run outlives its screen");
}

#[test]
fn a_run_that_dies_gives_the_terminal_back() {
    let Some(lab) = lab_or_skip("a_run_that_dies_gives_the_terminal_back") else { return };
    let mut terminal = live(&lab, &["--source", "ring"]);
    terminal.see("NOTHING OPEN");
    kill(terminal.children()[0], Signal::SIGKILL).unwrap();
    assert_eq!(terminal.end(), Some(2));
    terminal.assert_restored();
    assert!(terminal.text().contains("tidegauge: the run was killed (signal: 9"), "{}", terminal.text());
}

#[test]
fn a_terminal_that_takes_nothing_holds_nobody_up() {
    let Some(lab) = lab_or_skip("a_terminal_that_takes_nothing_holds_nobody_up") else { return };
    let mut terminal = live(&lab, &["--source", "ring", "--duration", "6s"]);
    terminal.see("NOTHING OPEN");
    tcflow(&terminal.slave, FlowArg::TCOOFF).unwrap();
    let run = terminal.children()[0];
    let started = Instant::now();
    // The run ends when it should, with its output read to the end; only then the screen can say anything again.
    while kill(run, None).is_ok() && !is_zombie(run) {
        assert!(started.elapsed() < LONGEST, "the run waits for its screen");
        terminal.take(Duration::from_millis(50));
    }
    tcflow(&terminal.slave, FlowArg::TCOON).unwrap();
    assert_eq!(terminal.end(), Some(0));
    terminal.assert_restored();
    assert!(terminal.text().contains("no incident"), "{}", terminal.text());
}

/// It has ended, and nobody has asked how yet.
fn is_zombie(process: Pid) -> bool {
    fs::read_to_string(format!("/proc/{process}/stat")).is_ok_and(|stat| stat.contains(") Z "))
}

#[test]
fn a_person_can_have_text() {
    let Some(lab) = lab_or_skip("a_person_can_have_text") else { return };
    let mut terminal = live(&lab, &["--plain", "--duration", "1s", "--source", "ring"]);
    assert_eq!(terminal.end(), Some(0));
    assert!(!terminal.emulation.screen().alternate_screen());
    assert!(terminal.text().contains("no incident"), "{}", terminal.text());
}

fn once(command: &mut Command) -> Ran {
    run(command.env("LANG", "C.UTF-8").env_remove("LC_ALL"))
}

#[test]
fn scripts_get_one_screen() {
    let read = once(Command::new(tidegauge()).args(["read", "--once"]).arg(demo()));
    assert_eq!((read.code, read.stderr.as_str()), (Some(0), ""));
    for said in ["NOTHING OPEN", "P2 closed", "10.77.0.2:80/tcp", "connections/s", "capture complete"] {
        assert!(read.stdout.contains(said), "{said} is not in\n{}", read.stdout);
    }
    assert!(!read.stdout.contains('\u{1b}') && read.stdout.lines().count() == 40, "{}", read.stdout);
    let failing = once(Command::new(tidegauge()).args(["read", "--once", "--fail-on", "p2"]).arg(demo()));
    assert_eq!(failing.code, Some(1));
    let nothing = once(Command::new(tidegauge()).args(["read", "--screen"]).arg(demo()));
    assert_eq!((nothing.code, nothing.stdout.as_str()), (Some(2), ""));
    assert!(
        nothing.stderr.contains("needs a terminal") && nothing.stderr.lines().count() == 1,
        "{}",
        nothing.stderr
    );
    let Some(lab) = lab_or_skip("scripts_get_one_screen (live)") else { return };
    let live = once(lab.command(Side::Server, tidegauge()).args(["live", SERVER_IFACE, "--once"]));
    assert_eq!(live.code, Some(0), "{}", live.stderr);
    assert!(live.stdout.contains("NOTHING OPEN"), "{}", live.stdout);
}
