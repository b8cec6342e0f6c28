//! The programs that watch: how each is started, when it is ready, what it says when asked to end.

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde::Serialize;
use serde_json::Value;

use crate::child;
use crate::detect::fastnetmon::{Settings, write_files};
use crate::detect::lab::{Lab, Side};
use crate::scratch::Scratch;

/// Longest wait for a program to be ready.
const PATIENCE: Duration = Duration::from_secs(20);
/// FastNetMon does not say when it is ready.
const FASTNETMON_START: Duration = Duration::from_secs(4);
/// Units of the times in `/proc/PID/stat`: USER_HZ is 100 on every architecture.
const TICKS_PER_S: f64 = 100.0;

/// A program that watches the server's interface.
#[derive(Clone, Debug)]
pub enum Tool {
    /// Ours, from one of its sources.
    Tidegauge(PathBuf, &'static str),
    /// Writes what it captures to nowhere.
    Tcpdump(PathBuf),
    /// By packet sockets.
    FastNetMon(PathBuf),
    /// Nobody watches.
    Nobody,
}

/// What a program says of itself.
#[derive(Clone, Debug, Serialize)]
pub struct Watched {
    /// Frames it counted.
    pub counted: Option<u64>,
    /// Frames it says it lost.
    pub says_lost: Option<u64>,
    /// CPU time, user and system, from before the flood to its end.
    pub cpu_s: f64,
    /// Its own BPF programs' share of a CPU while they ran, where it measures that.
    pub program_ns: Option<f64>,
    /// Most memory resident.
    pub rss_max_bytes: u64,
}

impl Tool {
    /// In tables.
    pub fn name(&self) -> String {
        match self {
            Self::Tidegauge(_, source) => format!("tidegauge, {source}"),
            Self::Tcpdump(_) => "tcpdump -w /dev/null".to_owned(),
            Self::FastNetMon(_) => "FastNetMon (AF_PACKET)".to_owned(),
            Self::Nobody => "nobody watches".to_owned(),
        }
    }

    pub(super) fn start(&self, lab: &Lab) -> Result<Watching> {
        let started = Instant::now();
        let (mut command, files) = self.command(lab)?;
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let mut said = [collect(stdout.context("no output")?), collect(stderr.context("no errors")?)];
        match self {
            Self::Tidegauge(..) => said[0].wait_for("\"event\":\"source\"")?,
            Self::Tcpdump(_) => said[1].wait_for("listening on")?,
            Self::FastNetMon(_) => std::thread::sleep(FASTNETMON_START),
            Self::Nobody => {}
        }
        let cpu_before_s = cpu_s(child.id())?;
        Ok(Watching { tool: self.clone(), child, started, said, cpu_before_s, _files: files })
    }

    fn command(&self, lab: &Lab) -> Result<(Command, Option<Scratch>)> {
        let interface = &lab.server_iface;
        Ok(match self {
            Self::Tidegauge(program, source) => {
                let mut command = lab.command(Side::Server, program);
                command.args(["live", interface, "--json", "--source", source]);
                if *source == "af-xdp" {
                    command.arg("--yes");
                }
                (command, None)
            }
            Self::Tcpdump(program) => {
                let mut command = lab.command(Side::Server, program);
                // As much ring as ours has.
                command.args(["-n", "-i", interface, "-B", "65536", "-w", "/dev/null"]);
                (command, None)
            }
            Self::FastNetMon(program) => {
                let files = Scratch::new("fastnetmon").context("create a temporary directory")?;
                let config = write_files(files.path(), &lab.post(), &Settings::Defaults)?;
                let mut command = lab.command(Side::Server, program);
                command.arg("--configuration_file").arg(config);
                command.arg("--log_file").arg(files.path().join("log")).arg("--disable_pid_logic");
                (command, Some(files))
            }
            Self::Nobody => {
                let mut command = lab.command(Side::Server, "sleep".as_ref());
                command.arg("600");
                (command, None)
            }
        })
    }
}

/// A program at work.
pub(super) struct Watching {
    tool: Tool,
    child: Child,
    started: Instant,
    /// Standard output and error.
    said: [Said; 2],
    cpu_before_s: f64,
    _files: Option<Scratch>,
}

impl Watching {
    /// Asks it to end, and for its counts.
    pub(super) fn end(self) -> Result<Watched> {
        let pid = self.child.id();
        let cpu_s = cpu_s(pid)? - self.cpu_before_s;
        ensure!(Command::new("kill").args(["-TERM", &pid.to_string()]).status()?.success(), "it is gone");
        let (_, usage) = child::wait(self.child, self.started)?;
        let [stdout, stderr] = self.said.map(Said::all);
        let mut watched = Watched {
            counted: None,
            says_lost: None,
            cpu_s,
            program_ns: None,
            rss_max_bytes: usage.rss_max_bytes,
        };
        match self.tool {
            Tool::Tidegauge(..) => read_tidegauge(&stdout, &mut watched)?,
            Tool::Tcpdump(_) => {
                watched.counted = number_before(&stderr, " packets captured");
                watched.says_lost = number_before(&stderr, " packets dropped by kernel");
            }
            Tool::FastNetMon(_) | Tool::Nobody => {}
        }
        Ok(watched)
    }
}

fn read_tidegauge(stdout: &str, watched: &mut Watched) -> Result<()> {
    let summary: Value = serde_json::from_str(stdout.lines().last().context("tidegauge said nothing")?)?;
    ensure!(summary["event"] == "summary", "tidegauge ended without a summary");
    watched.counted = summary["tcp"]["syn"].as_u64();
    let dropped = summary["quality"]["dropped"].as_object();
    let frames = dropped
        .into_iter()
        .flatten()
        .filter(|(place, _)| !place.ends_with("table") && !place.ends_with("cache"));
    watched.says_lost = Some(frames.filter_map(|(_, frames)| frames.as_u64()).sum());
    watched.program_ns = summary["cost"]["bpf"]["ingress"]["ns_per_run"].as_f64();
    Ok(())
}

fn number_before(text: &str, words: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.contains(words))?;
    line.split(words).next()?.trim().parse().ok()
}

/// User and system time of a process with all its threads.
fn cpu_s(pid: u32) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).context("the program is gone")?;
    // Behind the name, which may have spaces: state is the third field, times are the 14th and 15th.
    let (_, fields) = stat.rsplit_once(')').context("/proc has another form")?;
    let field =
        |number: usize| fields.split_whitespace().nth(number - 3).and_then(|ticks| ticks.parse::<f64>().ok());
    Ok((field(14).zip(field(15)).map(|(user, system)| user + system)).context("/proc has another form")?
        / TICKS_PER_S)
}

/// What a pipe says, read while the program runs.
struct Said {
    lines: std::sync::mpsc::Receiver<String>,
    so_far: String,
    reader: JoinHandle<()>,
}

fn collect(pipe: impl Read + Send + 'static) -> Said {
    let (sender, lines) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            // Nobody asks any more where the run failed.
            let _ = sender.send(line);
        }
    });
    Said { lines, so_far: String::new(), reader }
}

impl Said {
    fn wait_for(&mut self, words: &str) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while let Ok(line) = self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            self.so_far.push_str(&line);
            self.so_far.push('\n');
            if line.contains(words) {
                return Ok(());
            }
        }
        bail!("it is not ready: {}", self.so_far)
    }

    fn all(mut self) -> String {
        let _ = self.reader.join();
        for line in self.lines.try_iter() {
            self.so_far.push_str(&line);
            self.so_far.push('\n');
        }
        self.so_far
    }
}
