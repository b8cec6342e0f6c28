//! A run that is watched: this program again, as a child that prints JSON Lines into a pipe, so that whoever watches can
//! neither slow it down nor take it along, and it stays locked in while this process talks to terminals and networks.

use std::ffi::{OsStr, OsString};
use std::io::{self, BufReader};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};

use anyhow::{Context, anyhow};
use rustix::process::{Pid, Signal, kill_process};
use tidegauge_console::feed::Feed;

/// A run, and the thread that reads what it prints.
pub(crate) struct Watched {
    child: Child,
    reading: JoinHandle<io::Result<()>>,
}

impl Watched {
    /// Starts `tidegauge ARGUMENTS --json`; lines go where `feed` brings them.
    pub(crate) fn start(arguments: &[OsString], feed: Feed) -> anyhow::Result<Self> {
        Self::start_with(arguments, feed, Stdio::inherit())
    }

    /// The same, with what it says on standard error to be read: it would be in the way of a screen.
    pub(crate) fn start_silent(arguments: &[OsString], feed: Feed) -> anyhow::Result<(Self, ChildStderr)> {
        let mut watched = Self::start_with(arguments, feed, Stdio::piped())?;
        let errors = watched.child.stderr.take().ok_or_else(|| anyhow!("the run has no standard error"))?;
        Ok((watched, errors))
    }

    fn start_with(arguments: &[OsString], feed: Feed, errors: Stdio) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("cannot find this program's own file")?;
        let mut command = Command::new(program);
        command.args(arguments);
        if !arguments.iter().any(|argument| argument == OsStr::new("--json")) {
            command.arg("--json");
        }
        let mut child = command
            .stdin(Stdio::inherit())
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .context("cannot start the run to be watched")?;
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
