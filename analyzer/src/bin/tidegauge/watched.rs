//! A run that is watched: this program again, as a child that prints JSON Lines into a pipe, so that whoever watches can
//! neither slow it down nor take it along, and it stays locked in while this process talks to terminals and networks.

use std::ffi::{OsStr, OsString};
use std::io::{self, BufReader};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use anyhow::{Context, anyhow};
use rustix::process::{Pid, Signal, kill_process};
use tidegauge_console::feed::Feed;

/// Starts one run, from a thread that keeps the rights which this process had when it was made.
pub(crate) struct Starter {
    go: SyncSender<Command>,
    started: JoinHandle<io::Result<Child>>,
}

impl Starter {
    pub(crate) fn new() -> io::Result<Self> {
        let (go, asked) = sync_channel::<Command>(1);
        let start = move || asked.recv().map_err(io::Error::other)?.spawn();
        let started = thread::Builder::new().name("starter".into()).spawn(start)?;
        Ok(Self { go, started })
    }

    fn start(self, command: Command) -> io::Result<Child> {
        self.go.send(command).map_err(io::Error::other)?;
        self.started.join().map_err(|_| io::Error::other("the thread that starts it failed"))?
    }
}

/// A run, and the thread that reads what it prints.
pub(crate) struct Watched {
    child: Child,
    reading: JoinHandle<io::Result<()>>,
}

impl Watched {
    /// Starts `tidegauge ARGUMENTS --json`; lines go where `feed` brings them.
    pub(crate) fn start(starter: Starter, arguments: &[OsString], feed: Feed) -> anyhow::Result<Self> {
        Self::start_with(starter, arguments, feed, Stdio::inherit())
    }

    /// The same, with what it says on standard error to be read: it would be in the way of a screen.
    pub(crate) fn start_silent(arguments: &[OsString], feed: Feed) -> anyhow::Result<(Self, ChildStderr)> {
        let starter = Starter::new().context("cannot start a thread")?;
        let mut watched = Self::start_with(starter, arguments, feed, Stdio::piped())?;
        let errors = watched.child.stderr.take().ok_or_else(|| anyhow!("the run has no standard error"))?;
        Ok((watched, errors))
    }

    fn start_with(
        starter: Starter,
        arguments: &[OsString],
        feed: Feed,
        errors: Stdio,
    ) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("cannot find this program's own file")?;
        let mut command = Command::new(program);
        command.args(arguments);
        if !arguments.iter().any(|argument| argument == OsStr::new("--json")) {
            command.arg("--json");
        }
        command.stdin(Stdio::inherit()).stdout(Stdio::piped()).stderr(errors);
        let mut child = starter.start(command).context("cannot start the run to be watched")?;
        let lines = child.stdout.take().ok_or_else(|| anyhow!("the run has no standard output"))?;
        let reading = thread::Builder::new()
            .name("feed".into())
            .spawn(move || feed.run(&mut BufReader::new(lines)))
            .context("cannot start a thread")?;
        Ok(Self { child, reading })
    }

    /// Sends it a signal; SIGTERM asks it to end with its summary.
    pub(crate) fn signal(&self, signal: Signal) {
        if let Some(process) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // It may have ended by itself.
            let _ = kill_process(process, signal);
        }
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Waits for its end, and for what it printed last.
    pub(crate) fn wait(mut self) -> anyhow::Result<ExitStatus> {
        let status = self.child.wait().context("cannot wait for the run")?;
        self.reading
            .join()
            .map_err(|_| anyhow!("the thread that reads the run failed"))?
            .context("cannot read what the run prints")?;
        Ok(status)
    }
}
