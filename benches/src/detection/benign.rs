//! Loads that are no trouble, as heavy as this machine makes them: real programs through a veth pair between two
//! namespaces while `tidegauge live` watches the server's interface, by XDP and by the packet ring.
//!
//! What may be told: nothing; of connections opened faster than the model calls healthy a `conn_surge` (P3); where frames
//! or room for them really ran out, that. The watcher, the server and the load share the CPUs of one machine. Needs root;
//! programs that are not installed are said and left out.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use serde_json::Value;
use tidegauge_tests::netns::{CLIENT_EXTRA_V4, Lab, SERVER_IFACE, SERVER_V4, Side};

use crate::child::Running;
use crate::machine::{find_program, sibling};
use crate::table::Table;

const PORT: u16 = 8080;
/// Where the backup goes.
const BACKUP_PORT: u16 = 8730;
const SOURCES: [&str; 2] = ["xdp", "ring"];
/// How long the programs that take a time run.
const LASTS_S: u64 = 12;
/// What is told late is waited for.
const PATIENCE: Duration = Duration::from_secs(3);
/// Threads of the server, each with one connection at a time.
const WORKERS_MANY: u64 = 5_200;
const WORKERS_FEW: u64 = 64;
/// The storm, and the clients of the service that is restarted.
const STORM: u64 = 2_000;
const CLIENTS: u64 = 5_000;
/// Opened per second at first. What the clients did not get to in a second of a busy machine they make up for in the next:
/// twice this is still less than the model calls much.
const OPENED_PER_S: u64 = 200;
/// Between the last of the clients and the restart.
const BEFORE_RESTART: Duration = Duration::from_secs(5);
const BACKUP_BYTES: u64 = 4 << 30;

/// A load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// `wget` of 1 GiB.
    Wget,
    /// `iperf3` with 64 streams.
    Iperf,
    /// `wrk`, a connection per request, as fast as it goes.
    Wrk,
    /// Connections that stay: probed each second, asked each third.
    KeepAlive,
    /// A service that is restarted under its clients.
    Restart,
    /// Hardly anything, then as much as the link takes.
    Backup,
    /// `ping -f`.
    Ping,
}

const LOADS: [Load; 7] =
    [Load::Wget, Load::Iperf, Load::Wrk, Load::KeepAlive, Load::Restart, Load::Backup, Load::Ping];

impl Load {
    const fn name(self) -> &'static str {
        match self {
            Self::Wget => "wget of 1 GiB",
            Self::Iperf => "iperf3, 64 streams",
            Self::Wrk => "wrk, a connection per request",
            Self::KeepAlive => "keep-alive storm, 2,000 connections",
            Self::Restart => "restart under 5,000 clients",
            Self::Backup => "backup at night",
            Self::Ping => "ping -f",
        }
    }

    const fn program(self) -> Option<&'static str> {
        match self {
            Self::Wget => Some("wget"),
            Self::Iperf => Some("iperf3"),
            Self::Wrk => Some("wrk"),
            Self::Ping => Some("ping"),
            Self::KeepAlive | Self::Restart | Self::Backup => None,
        }
    }

    /// Whether it opens connections faster than the model calls healthy: then that is to be told.
    const fn is_surge(self) -> bool {
        matches!(self, Self::Wrk | Self::Restart)
    }

    /// Runs it from beginning to end; returns what it reached.
    fn run(self, stage: &Stage<'_>) -> Result<String> {
        match self {
            Self::Wget => stage.wget(),
            Self::Iperf => stage.iperf(),
            Self::Wrk => stage.wrk(),
            Self::KeepAlive => stage.keep_alive(),
            Self::Restart => stage.restart(),
            Self::Backup => stage.backup(),
            Self::Ping => stage.ping(),
        }
    }
}

/// A load, and what was told of it.
#[derive(Clone, Debug)]
pub struct Watched {
    load: Load,
    source: &'static str,
    reached: String,
    /// Severity at its worst, kind and target by incident.
    incidents: BTreeMap<String, (String, String, String)>,
    /// What was lost by place: frames, or entries of full tables.
    dropped: BTreeMap<String, u64>,
    verdict: String,
}

impl Watched {
    /// What should not have been told.
    pub fn shortcomings(&self) -> Vec<String> {
        let is_due = |severity: &str, kind: &str| match kind {
            "conn_surge" => self.load.is_surge() && severity == "P3",
            "capture_blind" | "capacity" => !self.dropped.is_empty(),
            _ => false,
        };
        let told = self.incidents.values().filter(|(severity, kind, _)| !is_due(severity, kind));
        told.map(|(severity, kind, target)| {
            format!("{} by {}: {severity} {kind} at {target}", self.load.name(), self.source)
        })
        .collect()
    }
}

/// Runs each load whose name contains `only`, once for each source.
///
/// # Errors
/// Without root, or where the lab, a load or tidegauge does not come up.
pub fn run(tidegauge: &Path, only: Option<&str>) -> Result<Vec<Watched>> {
    let traffic = sibling("traffic", "tidegauge-tests")?;
    let mut all = Vec::new();
    for load in LOADS.into_iter().filter(|load| only.is_none_or(|only| load.name().contains(only))) {
        if let Some(program) = load.program().filter(|program| find_program(program).is_none()) {
            println!("Left out: {}: {program} is not installed.", load.name());
            continue;
        }
        for source in SOURCES {
            all.push(watch(tidegauge, &traffic, load, source).with_context(|| load.name())?);
        }
    }
    Ok(all)
}

/// The table of what was told.
pub fn table(all: &[Watched]) -> Table {
    let mut table = Table::new(&["load", "source", "reached", "told", "lost", "quality"]);
    let list = |words: Vec<String>| if words.is_empty() { "-".to_owned() } else { words.join(", ") };
    for watched in all {
        let told = watched.incidents.values();
        let told = told.map(|(severity, kind, target)| format!("{severity} {kind} at {target}"));
        let lost = watched.dropped.iter().map(|(place, count)| format!("{place} {count}"));
        table.row(vec![
            watched.load.name().to_owned(),
            watched.source.to_owned(),
            watched.reached.clone(),
            list(told.collect()),
            list(lost.collect()),
            watched.verdict.clone(),
        ]);
    }
    table
}

fn watch(tidegauge: &Path, traffic: &Path, load: Load, source: &'static str) -> Result<Watched> {
    let lab = Lab::new()?;
    let mut command = lab.command(Side::Server, tidegauge);
    command.args(["live", SERVER_IFACE, "--source", source, "--json"]);
    let mut child = command.stdout(Stdio::piped()).spawn().context("start tidegauge")?;
    let mut stdout = BufReader::new(child.stdout.take().context("it has no output")?);
    let running = Running::new(child);
    let mut first = String::new();
    stdout.read_line(&mut first)?;
    ensure!(!first.is_empty(), "tidegauge did not start");
    let reader = thread::spawn(move || stdout.lines().map_while(Result::ok).collect::<Vec<_>>());
    let reached = load.run(&Stage { lab: &lab, traffic })?;
    thread::sleep(PATIENCE);
    drop(running);
    let lines = reader.join().map_err(|_| anyhow!("the reader of its lines failed"))?;
    told(load, source, reached, &lines)
}

fn told(load: Load, source: &'static str, reached: String, lines: &[String]) -> Result<Watched> {
    let mut incidents = BTreeMap::<String, (String, String, String)>::new();
    let mut summary = Value::Null;
    for line in lines {
        let line: Value = serde_json::from_str(line).with_context(|| line.clone())?;
        if line["event"] == "incident" {
            let text = |field: &str| line[field].as_str().unwrap_or("-").to_owned();
            let told = (text("severity"), text("kind"), place(&line["target"]));
            let worst = incidents.entry(text("id")).or_insert_with(|| told.clone());
            // P1 is before P2.
            worst.0 = worst.0.clone().min(told.0);
        } else if line["event"] == "summary" {
            summary = line;
        }
    }
    let quality = &summary["quality"];
    let verdict = quality["verdict"].as_str().context("it told no summary")?;
    let why: Vec<&str> = quality["why"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let verdict = [&[verdict], &why[..]].concat().join(": ");
    let dropped = quality["dropped"].as_object().into_iter().flatten();
    let dropped = dropped.filter_map(|(place, count)| Some((place.clone(), count.as_u64()?)));
    let dropped = dropped.filter(|(_, count)| *count > 0).collect();
    Ok(Watched { load, source, reached, incidents, dropped, verdict })
}

fn place(target: &Value) -> String {
    match (target["addr"].as_str(), target["port"].as_u64()) {
        (Some(addr), Some(port)) => format!("{addr}:{port}"),
        (Some(addr), None) => addr.to_owned(),
        _ => target.to_string(),
    }
}

/// Where a load runs.
struct Stage<'a> {
    lab: &'a Lab,
    traffic: &'a Path,
}

impl Stage<'_> {
    fn wget(&self) -> Result<String> {
        let _server = self.serve(PORT, "http", WORKERS_FEW)?;
        let started = Instant::now();
        let url = format!("http://{SERVER_V4}:{PORT}/{}", 1_u64 << 30);
        self.output(self.lab.command(Side::Client, "wget").args(["-q", "-O", "/dev/null", &url]))?;
        Ok(format!("{:.0} MB/s", (1_u64 << 30) as f64 / started.elapsed().as_secs_f64() / 1e6))
    }

    fn iperf(&self) -> Result<String> {
        let mut server = self.lab.command(Side::Server, "iperf3");
        let _server = self.start(server.args(["-s", "-1", "--forceflush"]))?;
        let mut client = self.lab.command(Side::Client, "iperf3");
        let said = self.output(client.args([
            "-J",
            "-P",
            "64",
            "-t",
            &LASTS_S.to_string(),
            "-c",
            &SERVER_V4.to_string(),
        ]))?;
        let said: Value = serde_json::from_str(&said).context("what iperf3 printed")?;
        let bits_per_s = said["end"]["sum_received"]["bits_per_second"].as_f64().context("its rate")?;
        Ok(format!("{:.0} MB/s", bits_per_s / 8e6))
    }

    fn wrk(&self) -> Result<String> {
        let _server = self.serve(PORT, "http", WORKERS_FEW)?;
        let mut wrk = self.lab.command(Side::Client, "wrk");
        wrk.args(["-t", "2", "-c", "64", "-d", &LASTS_S.to_string(), "-H", "Connection: close"]);
        let said = self.output(wrk.arg(format!("http://{SERVER_V4}:{PORT}/512")))?;
        let rate = said.lines().find_map(|line| line.strip_prefix("Requests/sec:")).context("its rate")?;
        Ok(format!("{:.0} connections/s", rate.trim().parse::<f64>().context("its rate")?))
    }

    fn keep_alive(&self) -> Result<String> {
        let _server = self.serve(PORT, "http", WORKERS_MANY)?;
        let said = self.output(&mut self.hold(STORM, STORM / OPENED_PER_S + LASTS_S))?;
        held(&said)
    }

    fn restart(&self) -> Result<String> {
        let server = self.serve(PORT, "http", WORKERS_MANY)?;
        let opening = Duration::from_secs(CLIENTS.div_ceil(OPENED_PER_S));
        let lasts_s = (opening + BEFORE_RESTART).as_secs() + LASTS_S;
        let said = thread::scope(|scope| {
            let clients = scope.spawn(|| self.output(&mut self.hold(CLIENTS, lasts_s)));
            thread::sleep(opening + BEFORE_RESTART);
            drop(server);
            let again = self.serve(PORT, "http", WORKERS_MANY);
            let said = clients.join().map_err(|_| anyhow!("the clients failed"))??;
            again.map(|_server| said)
        })?;
        held(&said)
    }

    fn backup(&self) -> Result<String> {
        let _server = self.serve(PORT, "echo-close", WORKERS_FEW)?;
        let _store = self.serve(BACKUP_PORT, "sink", WORKERS_FEW)?;
        let mut few = self.lab.command(Side::Client, self.traffic);
        few.args(["connect", "--rate", "20", "--duration", "24s", "--target", &socket(PORT)]);
        let _few = Running::new(few.stdout(Stdio::null()).spawn()?);
        thread::sleep(Duration::from_secs(LASTS_S));
        let mut upload = self.lab.command(Side::Client, self.traffic);
        upload.args(["upload", "--connections", "2", "--target", &socket(BACKUP_PORT)]);
        let said = self.output(upload.args(["--bytes", &(BACKUP_BYTES / 2).to_string()]))?;
        let said: Value = serde_json::from_str(&said)?;
        Ok(format!("{:.0} MB/s", said["bytes_per_s"].as_f64().context("its rate")? / 1e6))
    }

    fn ping(&self) -> Result<String> {
        let mut ping = self.lab.command(Side::Client, "ping");
        let said =
            self.output(ping.args(["-f", "-q", "-w", &LASTS_S.to_string(), &SERVER_V4.to_string()]))?;
        let counts = said.lines().find(|line| line.contains("transmitted")).context("its counts")?;
        let sent: f64 = counts.split(' ').next().unwrap_or_default().parse().context("its count")?;
        Ok(format!("{:.0} requests/s", sent / LASTS_S as f64))
    }

    fn hold(&self, connections: u64, lasts_s: u64) -> Command {
        let mut hold = self.lab.command(Side::Client, self.traffic);
        hold.args(["hold", "--target", &socket(PORT), "--duration", &format!("{lasts_s}s")]);
        hold.args(["--connections", &connections.to_string(), "--rate", &OPENED_PER_S.to_string()]);
        CLIENT_EXTRA_V4.iter().for_each(|own| _ = hold.args(["--source", &own.to_string()]));
        hold
    }

    /// A server of ours that is listening.
    fn serve(&self, port: u16, mode: &str, workers: u64) -> Result<Running> {
        let mut serve = self.lab.command(Side::Server, self.traffic);
        serve.args(["serve", "--listen", &socket(port), "--workers", &workers.to_string()]).arg(mode);
        self.start(&mut serve)
    }

    /// Starts a program and waits for its first line, or its end.
    fn start(&self, command: &mut Command) -> Result<Running> {
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        let mut stdout = BufReader::new(child.stdout.take().context("it has no output")?);
        let running = Running::new(child);
        stdout.read_line(&mut String::new())?;
        // What else it prints must find a reader.
        thread::spawn(move || _ = stdout.read_to_end(&mut Vec::new()));
        Ok(running)
    }

    fn output(&self, command: &mut Command) -> Result<String> {
        let output = command.stderr(Stdio::inherit()).output()?;
        ensure!(output.status.success(), "{command:?}: {}", output.status);
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

fn socket(port: u16) -> String {
    format!("{SERVER_V4}:{port}")
}

/// What `traffic hold` reached.
fn held(said: &str) -> Result<String> {
    let said: Value = serde_json::from_str(said).context("what the clients printed")?;
    Ok(format!(
        "{} opened, {} broken, {} attempts failed, {} answers",
        said["opened"], said["broken"], said["failed"], said["answered"]
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUMMARY: &str =
        r#"{"event":"summary","quality":{"verdict":"complete","why":[],"dropped":{"ring":0}}}"#;

    fn incident(severity: &str, kind: &str) -> String {
        let target = r#"{"addr":"10.77.0.2","port":8080}"#;
        format!(
            r#"{{"event":"incident","id":"{kind}","severity":"{severity}","kind":"{kind}","target":{target}}}"#
        )
    }

    fn shortcomings(load: Load, lines: &[String]) -> Vec<String> {
        let lines = [lines, &[SUMMARY.to_owned()]].concat();
        told(load, "xdp", String::new(), &lines).unwrap().shortcomings()
    }

    #[test]
    fn only_a_surge_of_connections_may_be_told_and_only_where_there_is_one() {
        let surge = [incident("P3", "conn_surge")];
        assert!(shortcomings(Load::Restart, &surge).is_empty());
        assert_eq!(shortcomings(Load::KeepAlive, &surge).len(), 1);
        assert_eq!(shortcomings(Load::Restart, &[incident("P2", "syn_flood")]).len(), 1);
    }

    #[test]
    fn the_worst_severity_of_an_incident_counts() {
        let lines = ["P3", "P2", "P3"].map(|severity| incident(severity, "conn_surge"));
        let told = shortcomings(Load::Restart, &lines);
        assert_eq!(told, ["restart under 5,000 clients by xdp: P2 conn_surge at 10.77.0.2:8080"]);
    }

    #[test]
    fn what_was_lost_has_to_be_lost_to_be_told() {
        let blind = incident("P2", "capture_blind");
        assert_eq!(shortcomings(Load::Wget, std::slice::from_ref(&blind)).len(), 1);
        let lossy = SUMMARY.replace(r#""ring":0"#, r#""ring":7"#);
        assert!(told(Load::Wget, "ring", String::new(), &[blind, lossy]).unwrap().shortcomings().is_empty());
    }
}
