//! A program that is told by its standard input: no shell, an environment of its own, little time, and no rights where
//! root starts it. One at a time for each receiver, whatever it forks: its process group is killed.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, Signal, geteuid, kill_process_group};

use super::Failure;
use crate::alert::message::Message;
use crate::alert::settings::ExecSettings;

/// What is kept of what it says on standard error.
const SAID_BYTES_MAX: usize = 400;
/// How often it is looked whether it has ended, when it has closed its pipes.
const LOOK: Duration = Duration::from_millis(10);
/// Where programs look for others; nothing of our own environment is theirs.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// One receiver.
pub(crate) struct Exec {
    settings: ExecSettings,
    /// The message that failed last, and how often.
    failed: (String, u64),
}

impl Exec {
    pub(super) fn new(settings: &ExecSettings) -> Self {
        Self { settings: settings.clone(), failed: Default::default() }
    }

    pub(super) fn tell(&mut self, message: &Message) -> Result<(), Failure> {
        let name = self.settings.program.0.display();
        // A program that is not there is a receiver that is down: it may be installed again.
        let child =
            self.start(message).map_err(|error| Failure::again(format!("cannot start {name}: {error}")))?;
        let Err(why) = self.run(child, message) else { return Ok(()) };
        if self.failed.0 != message.key {
            self.failed = (message.key.clone(), 0);
        }
        self.failed.1 += 1;
        if self.failed.1 < self.settings.tries_max.get() {
            return Err(Failure::again(why));
        }
        Err(Failure::Refused(format!("{why}, {} times", self.failed.1)))
    }

    fn run(&self, mut child: Child, message: &Message) -> Result<(), String> {
        let name = self.settings.program.0.display();
        let timeout = Duration::from_millis(self.settings.timeout_ms.get());
        let mut said = Vec::new();
        let ended = follow(&mut child, message.line.as_bytes(), timeout, &mut said);
        // Whatever it left behind as well.
        kill_group(&child);
        let status = child.wait().map_err(|error| format!("cannot wait for {name}: {error}"))?;
        let said = String::from_utf8_lossy(&said).lines().next().unwrap_or_default().trim().to_owned();
        let said = if said.is_empty() { said } else { format!(": {said}") };
        match ended {
            Ok(Some(_)) if status.success() => Ok(()),
            Ok(Some(_)) => Err(format!("{name} ended with {status}{said}")),
            Ok(None) => Err(format!("{name} was killed after {} ms{said}", timeout.as_millis())),
            Err(error) => Err(format!("cannot follow {name}: {error}")),
        }
    }

    fn start(&self, message: &Message) -> io::Result<Child> {
        let mut command = Command::new(&self.settings.program.0);
        command
            .args(&self.settings.args)
            .env_clear()
            .env("PATH", PATH)
            .env("LANG", "C.UTF-8")
            .env("TIDEGAUGE_EVENT", message.what.name())
            .env("TIDEGAUGE_KEY", &message.key)
            .env("TIDEGAUGE_KIND", message.text("kind"))
            .env("TIDEGAUGE_SEVERITY", message.severity.name())
            .env("TIDEGAUGE_STATE", message.change.name())
            .env("TIDEGAUGE_TEXT", message.summary().replace('\0', ""))
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        if geteuid().is_root() {
            // This gives up root's other groups as well.
            command.gid(self.settings.gid.get() as u32).uid(self.settings.uid.get() as u32);
        }
        command.spawn()
    }
}

fn kill_group(child: &Child) {
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    if let Some(group) = group {
        // It may be gone.
        let _ = kill_process_group(group, Signal::KILL);
    }
}

/// Gives it its input and takes what it says, until it ends (`Some`) or its time is over.
fn follow(
    child: &mut Child,
    input: &[u8],
    timeout: Duration,
    said: &mut Vec<u8>,
) -> io::Result<Option<ExitStatus>> {
    let until = Instant::now() + timeout;
    let (mut stdin, mut stderr) = (child.stdin.take(), child.stderr.take());
    if let Some(stdin) = &stdin {
        rustix::io::ioctl_fionbio(stdin, true)?;
    }
    if let Some(stderr) = &stderr {
        rustix::io::ioctl_fionbio(stderr, true)?;
    }
    let mut rest = input;
    loop {
        if let Some(status) = child.try_wait()? {
            // What it said last.
            take(&mut stderr, said);
            return Ok(Some(status));
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(None);
        }
        wait(stdin.as_ref(), stderr.as_ref(), left.min(LOOK))?;
        give(&mut stdin, &mut rest);
        take(&mut stderr, said);
    }
}

fn wait(
    stdin: Option<&std::process::ChildStdin>,
    stderr: Option<&std::process::ChildStderr>,
    time: Duration,
) -> io::Result<()> {
    let mut pipes = Vec::with_capacity(2);
    pipes.extend(stdin.map(|pipe| PollFd::new(pipe, PollFlags::OUT)));
    pipes.extend(stderr.map(|pipe| PollFd::new(pipe, PollFlags::IN)));
    let time = rustix::event::Timespec { tv_sec: 0, tv_nsec: i64::from(time.subsec_nanos()) };
    match poll(&mut pipes, Some(&time)) {
        Err(error) if error != rustix::io::Errno::INTR => Err(error.into()),
        _ => Ok(()),
    }
}

/// Writes what fits; the pipe is closed when all is written, or nobody reads.
fn give(pipe: &mut Option<std::process::ChildStdin>, rest: &mut &[u8]) {
    let Some(open) = pipe.as_mut() else { return };
    let is_over = match io::Write::write(open, rest) {
        Ok(count) => {
            *rest = &rest[count..];
            rest.is_empty()
        }
        Err(error) => !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted),
    };
    if is_over {
        *pipe = None;
    }
}

/// Reads what is there, and keeps the begin of it.
fn take(pipe: &mut Option<std::process::ChildStderr>, said: &mut Vec<u8>) {
    let Some(open) = pipe.as_mut() else { return };
    let mut bytes = [0; 4_096];
    // One that never stops talking is not listened to for longer than this at a time.
    for _ in 0..16 {
        match io::Read::read(open, &mut bytes) {
            Ok(0) => {
                *pipe = None;
                return;
            }
            Ok(count) => {
                let room = SAID_BYTES_MAX.saturating_sub(said.len());
                said.extend_from_slice(&bytes[..count.min(room)]);
            }
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::super::body::sample;
    use super::*;

    /// A program of this text, and the directory that it may write to.
    fn exec(text: &str, rest: &str) -> (tempfile::TempDir, Exec) {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let program = dir.path().join("hook");
        fs::write(&program, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let settings = format!("name = \"x\"\nprogram = {program:?}\nargs = [{:?}]\n{rest}", dir.path());
        let settings: ExecSettings = toml::from_str(&settings).unwrap();
        (dir, Exec::new(&settings))
    }

    fn said(dir: &tempfile::TempDir, name: &str) -> String {
        fs::read_to_string(dir.path().join(name)).unwrap_or_default()
    }

    #[test]
    fn it_gets_the_incident_and_a_clean_environment_and_no_rights() {
        let (dir, mut exec) =
            exec("cat > $1/in; env > $1/env; id -u > $1/uid; id -G > $1/groups; pwd > $1/pwd", "");
        exec.tell(&sample()).unwrap();
        assert_eq!(said(&dir, "in"), sample().line);
        let environment = said(&dir, "env");
        assert!(
            environment.contains("TIDEGAUGE_SEVERITY=P2") && !environment.contains("CARGO"),
            "{environment}"
        );
        assert_eq!(said(&dir, "pwd"), "/\n");
        if geteuid().is_root() {
            assert_eq!((said(&dir, "uid").as_str(), said(&dir, "groups").as_str()), ("65534\n", "65534\n"));
        }
    }

    #[test]
    fn one_that_hangs_is_killed_with_its_children() {
        let (dir, mut exec) =
            exec("sleep 300 & echo $! > $1/child; echo trouble >&2; wait", "timeout_ms = 300");
        let started = Instant::now();
        let Err(Failure::Again { why, .. }) = exec.tell(&sample()) else { panic!("it hangs") };
        assert!(why.contains("killed after 300 ms: trouble"), "{why}");
        assert!(started.elapsed() < Duration::from_secs(5));
        let child = said(&dir, "child");
        let state = || fs::read_to_string(format!("/proc/{}/stat", child.trim())).unwrap_or_default();
        // Whoever inherits it may need a moment to bury it.
        let gone = (0..100).any(|_| {
            std::thread::sleep(Duration::from_millis(10));
            state().is_empty() || state().contains(") Z ")
        });
        assert!(gone, "{}", state());
    }

    #[test]
    fn failures_are_tried_again_so_often_and_what_is_said_is_bounded() {
        let (_dir, mut exec) = exec("yes x | head -c 3000000 | tr -d '\\n' >&2; exit 3", "tries_max = 2");
        let Err(Failure::Again { why, .. }) = exec.tell(&sample()) else { panic!("it fails") };
        assert!(why.contains("exit status: 3: xxx") && why.len() < 600, "{why}");
        let Err(Failure::Refused(why)) = exec.tell(&sample()) else { panic!("it fails twice") };
        assert!(why.ends_with("2 times"), "{why}");
    }

    #[test]
    fn a_program_that_is_not_there_is_waited_for() {
        let (dir, mut exec) = exec("exit 0", "tries_max = 1");
        let (program, elsewhere) = (dir.path().join("hook"), dir.path().join("elsewhere"));
        fs::rename(&program, &elsewhere).unwrap();
        for _ in 0..3 {
            let Err(Failure::Again { why, .. }) = exec.tell(&sample()) else { panic!("it is not there") };
            assert!(why.starts_with("cannot start "), "{why}");
        }
        fs::rename(&elsewhere, &program).unwrap();
        assert_eq!(exec.tell(&sample()), Ok(()));
    }

    #[test]
    fn a_large_input_that_nobody_reads_holds_nothing_up() {
        let (_dir, mut exec) = exec("exit 0", "");
        let mut message = sample();
        message.line = "x".repeat(1 << 20);
        assert_eq!(exec.tell(&message), Ok(()));
    }
}
