//! The lab on which the demo plays, and the processes that play. Dropping the stage ends them and removes the lab.
//!
//! The lab itself is made by `traffic lab up`: one code for namespaces, shared with the tests. It belongs to this
//! process, so that a stage whose process was killed is swept by the next one. Every wait ends on Ctrl-C, with an
//! error that unwinds to the stage's drop.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::Leave;
use crate::shell;

const POLL: Duration = Duration::from_millis(20);
/// How long a process may take to end in order, or to say that it is ready.
const PATIENCE: Duration = Duration::from_secs(5);

/// Set by Ctrl-C and by requests to end.
#[derive(Clone, Debug)]
pub(super) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// From now on signals set the flag instead of ending this process.
    pub(super) fn new() -> Result<Self> {
        let flag = Arc::new(AtomicBool::new(false));
        for signal in [SIGHUP, SIGINT, SIGTERM] {
            signal_hook::flag::register(signal, Arc::clone(&flag)).context("listen for Ctrl-C")?;
        }
        Ok(Self(flag))
    }

    fn check(&self) -> Result<()> {
        ensure!(!self.0.load(Ordering::Relaxed), "interrupted; everything was removed");
        Ok(())
    }
}

/// One end of the lab.
#[derive(Clone, Copy, Debug)]
pub(super) enum Side {
    /// Where clients and the flood start.
    Client,
    /// Where the server and tidegauge run.
    Server,
}

/// A process on the stage.
#[derive(Clone, Copy, Debug)]
pub(super) struct Actor(usize);

/// The lab with everything that runs in it.
#[derive(Debug)]
pub(super) struct Stage {
    client: String,
    server: String,
    /// Name and process; those that ended stay, so that an [`Actor`] stays valid.
    children: Vec<(&'static str, Child)>,
    interrupt: Interrupt,
    leave: Leave,
}

impl Stage {
    /// Makes the lab.
    pub(super) fn up(leave: Leave, interrupt: Interrupt) -> Result<Self> {
        let said = shell::output(&mut lab("up"))?;
        let said: Value = serde_json::from_str(&said).context("read what `traffic lab up` says")?;
        let namespace = |side: &str| {
            let name = said[side]["namespace"].as_str().map(str::to_owned);
            name.with_context(|| format!("`traffic lab up` names no {side} namespace"))
        };
        let (client, server) = (namespace("client")?, namespace("server")?);
        Ok(Self { client, server, children: Vec::new(), interrupt, leave })
    }

    /// A command that will run on one side.
    pub(super) fn command(&self, side: Side, program: impl AsRef<Path>) -> Command {
        let namespace = match side {
            Side::Client => &self.client,
            Side::Server => &self.server,
        };
        let mut command = Command::new("ip");
        command.args(["netns", "exec", namespace]).arg(program.as_ref()).stdin(Stdio::null());
        command
    }

    /// The test tools on one side.
    pub(super) fn traffic(&self, side: Side) -> Command {
        self.command(side, shell::release_binary("traffic"))
    }

    /// Starts a process that is ended with the stage at the latest.
    pub(super) fn start(&mut self, name: &'static str, command: &mut Command) -> Result<Actor> {
        let child = command.spawn().with_context(|| format!("start {name}"))?;
        self.children.push((name, child));
        Ok(Actor(self.children.len() - 1))
    }

    /// Starts a process and waits until it says on stderr that it is ready. What it says later is dropped.
    pub(super) fn start_when_it_says(
        &mut self,
        name: &'static str,
        command: &mut Command,
        ready: &str,
    ) -> Result<()> {
        let actor = self.start(name, command.stderr(Stdio::piped()))?;
        let mut errors =
            self.children[actor.0].1.stderr.take().with_context(|| format!("take {name}'s errors"))?;
        let mut said = Vec::new();
        let mut part = [0; 256];
        while !String::from_utf8_lossy(&said).contains(ready) {
            match errors.read(&mut part)? {
                0 => bail!("{name} ended: {}", String::from_utf8_lossy(&said).trim()),
                count => said.extend_from_slice(&part[..count]),
            }
        }
        // Somebody must read the rest, or the process would stop at a full pipe.
        thread::spawn(move || std::io::copy(&mut errors, &mut std::io::sink()));
        Ok(())
    }

    /// Starts the server and waits until it listens.
    pub(super) fn serve(&mut self, address: &str, log_file: &Path) -> Result<()> {
        let mut command = self.traffic(Side::Server);
        command.args(["serve", "--listen", address, "echo-close"]).stdout(log(log_file)?);
        self.start("server", &mut command)?;
        let until = Instant::now() + PATIENCE;
        while !fs::read_to_string(log_file).unwrap_or_default().contains("listening") {
            ensure!(Instant::now() < until, "the server does not listen");
            self.sleep(POLL)?;
        }
        Ok(())
    }

    /// What a process started with a piped stdout writes.
    pub(super) fn stdout_of(&mut self, actor: Actor) -> Option<ChildStdout> {
        self.children.get_mut(actor.0).and_then(|(_, child)| child.stdout.take())
    }

    /// Waits, unless interrupted.
    pub(super) fn sleep(&self, duration: Duration) -> Result<()> {
        let until = Instant::now() + duration;
        loop {
            self.interrupt.check()?;
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            thread::sleep(left.min(POLL));
        }
    }

    /// An error when somebody pressed Ctrl-C.
    pub(super) fn check_interrupt(&self) -> Result<()> {
        self.interrupt.check()
    }

    /// Waits for a process to end by itself, which must be a success.
    pub(super) fn wait(&mut self, actor: Actor) -> Result<()> {
        loop {
            self.interrupt.check()?;
            let (name, child) = &mut self.children[actor.0];
            match child.try_wait()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => bail!("{name} ended with {status}"),
                None => thread::sleep(POLL),
            }
        }
    }

    /// Asks a process to end in order, as an operator would.
    pub(super) fn stop(&mut self, actor: Actor) -> Result<()> {
        let (name, child) = &mut self.children[actor.0];
        ensure!(end(child), "{name} did not end within {PATIENCE:?} of SIGTERM");
        Ok(())
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        for (_, child) in self.children.iter_mut().rev() {
            end(child);
        }
        match self.leave {
            Leave::Lab => {
                println!(
                    "\nnamespaces {} and {} stay (--keep); the next lab removes them",
                    self.client, self.server
                );
            }
            Leave::Nothing => {
                if let Err(error) = shell::run(&mut lab("down")) {
                    eprintln!(
                        "could not remove the namespaces {} and {}: {error:#}",
                        self.client, self.server
                    );
                }
            }
        }
    }
}

/// `traffic lab` for a lab that belongs to this process.
fn lab(action: &str) -> Command {
    let mut command = Command::new(shell::release_binary("traffic"));
    command.args(["lab", action, "--owner", &std::process::id().to_string()]);
    command
}

/// Ends a process: in order, and by force after a while. Whether it ended in order.
fn end(child: &mut Child) -> bool {
    let until = Instant::now() + PATIENCE;
    if let (Ok(None), Ok(pid)) = (child.try_wait(), i32::try_from(child.id())) {
        // It may end by itself meanwhile; then there is nobody to tell.
        let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
    }
    while let Ok(None) = child.try_wait() {
        if Instant::now() >= until {
            let _ = child.kill();
            let _ = child.wait();
            return false;
        }
        thread::sleep(POLL);
    }
    true
}

/// A file for a process's output.
pub(super) fn log(path: &Path) -> Result<File> {
    File::create(path).with_context(|| format!("write {}", path.display()))
}
