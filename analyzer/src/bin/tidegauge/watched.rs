//! A run that is watched: this program again, as a child that prints JSON Lines into a pipe, so that whoever watches can
//! neither slow it down nor take it along, and it stays locked in while this process talks to terminals and networks.

use std::ffi::{OsStr, OsString};
use std::io::{self, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};

use anyhow::{Context, anyhow};
use tidegauge_console::feed::Feed;

/// A run, and the thread that reads what it prints.
pub(crate) struct Watched {
    child: Child,
    reading: JoinHandle<io::Result<()>>,
}

impl Watched {
    /// Starts `tidegauge ARGUMENTS --json`; lines go where `feed` brings them.
    pub(crate) fn start(arguments: &[OsString], feed: Feed) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("cannot find this program's own file")?;
        let mut command = Command::new(program);
        command.args(arguments);
        if !arguments.iter().any(|argument| argument == OsStr::new("--json")) {
            command.arg("--json");
        }
        let mut child = command
            .stdin(Stdio::inherit())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start the run to be watched")?;
        let lines = child.stdout.take().ok_or_else(|| anyhow!("the run has no standard output"))?;
        let reading = thread::Builder::new()
            .name("feed".into())
            .spawn(move || feed.run(&mut BufReader::new(lines)))
            .context("cannot start a thread")?;
        Ok(Self { child, reading })
    }

    /// Its process, for signals.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
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
