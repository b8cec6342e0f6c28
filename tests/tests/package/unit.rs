//! The unit's command, run as the unit would: as a user without rights but the unit's capabilities, with somebody where
//! systemd would listen.

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tidegauge_tests::netns::{Lab, SERVER_IFACE, Side};

use crate::support::Ran;

/// Start and end take this long at most.
const PATIENCE: Duration = Duration::from_secs(20);

/// A setting of a unit: all its lines, joined.
pub(crate) fn setting(unit: &str, name: &str) -> String {
    let lines = unit.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    lines.collect::<Vec<_>>().join(" ")
}

/// The words of `ExecStart`, with what systemd puts in: `environment` is the text of the instance's file, `etc` is where
/// the package's configuration is, `directory` what the unit may write to.
pub(crate) fn words(
    unit: &str,
    environment: &str,
    program: &Path,
    iface: &str,
    etc: &Path,
    directory: &Path,
) -> Vec<String> {
    let put_in = |word: &str| {
        word.replace("/usr/bin/tidegauge", program.to_str().unwrap())
            .replace("/etc/tidegauge", etc.to_str().unwrap())
            .replace("%i", iface)
            .replace("${RUNTIME_DIRECTORY}", directory.to_str().unwrap())
            .replace("${STATE_DIRECTORY}", directory.to_str().unwrap())
    };
    // A variable without braces is as many words as its value has, and none where it is not set.
    let expanded = |word: &str| match word.strip_prefix("$TIDEGAUGE") {
        Some(rest) => {
            let name = format!("TIDEGAUGE{rest}=");
            let value = environment.lines().find_map(|line| line.strip_prefix(&name)).unwrap_or_default();
            value.trim_matches('"').split_whitespace().map(str::to_owned).collect()
        }
        None => vec![word.to_owned()],
    };
    let command = setting(unit, "ExecStart");
    command.split_whitespace().flat_map(expanded).map(|word| put_in(&word)).collect()
}

/// A service that runs.
pub(crate) struct Service {
    child: Child,
    /// `setpriv` and `ip` become the program itself: signals reach it.
    listening: UnixDatagram,
    _socket: TempDir,
    said: Vec<String>,
}

impl Service {
    /// Starts it on the server's side.
    pub(crate) fn start(lab: &Lab, unit: &str, words: &[String]) -> Self {
        let socket = TempDir::new().unwrap();
        let path = socket.path().join("notify");
        let listening = UnixDatagram::bind(&path).unwrap();
        listening.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        for path in [socket.path(), &path] {
            std::os::unix::fs::chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        let rights =
            setting(unit, "AmbientCapabilities").to_lowercase().replace("cap_", "+").replace(' ', ",");
        let bound = format!("-all,{rights}");
        let mut command: Command = lab.command(Side::Server, "setpriv");
        command.args(["--clear-groups", "--no-new-privs", "--reuid", "65534", "--regid", "65534"]);
        command.args([format!("--inh-caps={bound}"), format!("--ambient-caps={bound}")]);
        command.arg(format!("--bounding-set={bound}")).args(words);
        command.env("NOTIFY_SOCKET", &path).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self { child: command.spawn().unwrap(), listening, _socket: socket, said: Vec::new() }
    }

    /// Waits until systemd would have heard this, after what was waited for before.
    pub(crate) fn wait_for(&mut self, word: &str) {
        if !self.says_within(PATIENCE, word) {
            let _ = self.child.kill();
            panic!("{word} was not said on {SERVER_IFACE}, but {:?}", self.said);
        }
    }

    /// Whether systemd hears this in so long.
    pub(crate) fn says_within(&mut self, patience: Duration, word: &str) -> bool {
        let since = Instant::now();
        let mut bytes = [0; 4_096];
        while since.elapsed() < patience {
            let Ok(count) = self.listening.recv(&mut bytes) else { continue };
            let text = String::from_utf8_lossy(&bytes[..count]).into_owned();
            let is_it = text.lines().any(|line| line.starts_with(word));
            self.said.push(text);
            if is_it {
                return true;
            }
        }
        false
    }

    /// Capabilities that threads of the service have, or may take; each set once.
    pub(crate) fn rights(&self) -> Vec<String> {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap().flatten();
        let status = tasks.map(|task| std::fs::read_to_string(task.path().join("status")).unwrap());
        let mut sets: Vec<_> = status
            .flat_map(|status| status.lines().map(str::to_owned).collect::<Vec<_>>())
            .filter(|line| ["CapInh", "CapPrm", "CapEff", "CapAmb"].iter().any(|set| line.starts_with(set)))
            .filter_map(|line| Some(line.split_once('\t')?.1.to_owned()))
            .collect();
        sets.sort();
        sets.dedup();
        sets
    }

    /// Signals the run itself, which is the service's child.
    pub(crate) fn signal_run(&self, signal: Signal) {
        let service = self.child.id();
        let tasks = std::fs::read_dir(format!("/proc/{service}/task")).unwrap().flatten();
        let children = tasks.map(|task| std::fs::read_to_string(task.path().join("children")).unwrap());
        let run = children.collect::<String>().trim().parse().expect("a service has one child");
        kill(Pid::from_raw(run), signal).unwrap();
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }

    /// Waits for its end.
    pub(crate) fn ended(self) -> Ran {
        self.child.wait_with_output().unwrap().into()
    }
}

/// A user without any right.
pub(crate) const NOBODY: u32 = 65_534;
