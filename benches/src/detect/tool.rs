//! The tools under test: how each is started on the server's interface, and what counts as its alarm.
//!
//! FastNetMon runs by Debian's configuration file with only these lines changed: where it captures (AF_PACKET on
//! the one interface), whose networks it guards, where its files go, and that it reports nothing to its makers.
//! It bans a host once, so it is restarted for each run; tidegauge is too, to be equal.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::lab::{Lab, Side};
use crate::child::Running;
use crate::scratch::Scratch;

const FASTNETMON_CONFIG: &str = "/etc/fastnetmon.conf";
/// How often the file that FastNetMon's script writes is looked at; its line carries its own time.
const POLL: Duration = Duration::from_millis(20);

/// A program that raises alarms.
#[derive(Clone, Debug)]
pub enum Tool {
    /// FastNetMon, its program.
    FastNetMon(PathBuf),
    /// Ours, its program.
    Tidegauge(PathBuf),
}

/// That a flood was noticed.
#[derive(Clone, Debug)]
pub(super) struct Alarm {
    /// CLOCK_REALTIME.
    pub(super) at_ns: u64,
    /// The rate it names, where it does.
    pub(super) reported_pps: Option<f64>,
}

/// A tool at work.
pub(super) struct Watch {
    alarms: Receiver<Alarm>,
    tool: Running,
    /// Holds FastNetMon's files for as long as it runs.
    _files: Option<Scratch>,
}

impl Tool {
    /// Name in tables.
    pub fn name(&self) -> &'static str {
        match self {
            Self::FastNetMon(_) => "FastNetMon",
            Self::Tidegauge(_) => "tidegauge",
        }
    }

    pub(super) fn start(&self, lab: &Lab) -> Result<Watch> {
        match self {
            Self::FastNetMon(program) => start_fastnetmon(program, lab),
            Self::Tidegauge(program) => start_tidegauge(program, lab),
        }
    }
}

impl Watch {
    /// Takes the alarms that have come; an error where the tool is gone.
    pub(super) fn alarms_so_far(&mut self) -> Result<usize> {
        let mut count = 0;
        loop {
            match self.alarms.try_recv() {
                Ok(_) => count += 1,
                Err(TryRecvError::Empty) if self.tool.is_alive() => return Ok(count),
                Err(_) => bail!("it ended by itself"),
            }
        }
    }

    /// The next alarm within `timeout`.
    pub(super) fn wait(&mut self, timeout: Duration) -> Option<Alarm> {
        self.alarms.recv_timeout(timeout).ok()
    }
}

fn start_tidegauge(program: &Path, lab: &Lab) -> Result<Watch> {
    let mut command = lab.command(Side::Server, program);
    command.args(["live", &lab.server_iface, "--json"]).stdout(Stdio::piped());
    let mut child = command.spawn().context("start tidegauge")?;
    let stdout = child.stdout.take();
    let tool = Running::new(child);
    let lines = BufReader::new(stdout.context("tidegauge has no output")?).lines();
    let (sender, alarms) = channel();
    // Ends with the tool, whose output then ends.
    thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            let at_ns = realtime_ns();
            if let Some(event) = opened_syn_flood(&line)
                && sender.send(Alarm { at_ns, reported_pps: first_number(&event["measured"]) }).is_err()
            {
                break;
            }
        }
    });
    Ok(Watch { alarms, tool, _files: None })
}

/// The incident of an `opened` line of a SYN flood; `None` for every other line.
fn opened_syn_flood(line: &str) -> Option<Value> {
    let event: Value = serde_json::from_str(line).ok()?;
    let is = |field: &str, value: &str| event[field] == value;
    (is("event", "incident") && is("state", "opened") && is("kind", "syn_flood")).then_some(event)
}

/// What was measured is a number, or an object whose first number it is.
fn first_number(measured: &Value) -> Option<f64> {
    match measured {
        Value::Object(fields) => fields.values().find_map(first_number),
        other => other.as_f64(),
    }
}

fn start_fastnetmon(program: &Path, lab: &Lab) -> Result<Watch> {
    let files = Scratch::new("fastnetmon").context("create a temporary directory")?;
    let alarm_path = files.path().join("alarms");
    let config_path = write_fastnetmon_files(files.path(), &alarm_path, lab)?;
    let mut command = lab.command(Side::Server, program);
    command
        .arg("--configuration_file")
        .arg(config_path)
        .arg("--log_file")
        .arg(files.path().join("log"))
        .arg("--disable_pid_logic")
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let tool = Running::new(command.spawn().context("start FastNetMon")?);
    let (sender, alarms) = channel();
    thread::spawn(move || follow_script(&alarm_path, &sender));
    Ok(Watch { alarms, tool, _files: Some(files) })
}

/// Writes the networks, the script and the changed configuration into `directory`; returns where the last is.
pub(crate) fn write_fastnetmon_files(directory: &Path, alarm_path: &Path, lab: &Lab) -> Result<PathBuf> {
    let at = |name: &str| directory.join(name).display().to_string();
    let script = format!(
        "#!/bin/sh\n# address, direction, packets per second, action\nat_ns=$(date +%s%N)\n\
         [ \"$4\" = ban ] && echo \"$at_ns $3\" >> {}\n",
        alarm_path.display()
    );
    fs::write(at("notify"), script)?;
    fs::set_permissions(at("notify"), fs::Permissions::from_mode(0o755))?;
    fs::write(at("networks"), lab.server_network() + "\n")?;
    fs::write(at("exempt"), "")?;
    let changes = [
        ("mirror_afpacket", "on".to_owned()),
        ("interfaces", lab.server_iface.clone()),
        ("networks_list_path", at("networks")),
        ("white_list_path", at("exempt")),
        ("notify_script_path", at("notify")),
        ("disable_usage_report", "on".to_owned()),
        ("cli_stats_file_path", at("statistics")),
        ("cli_stats_ipv6_file_path", at("statistics6")),
    ];
    let defaults = fs::read_to_string(FASTNETMON_CONFIG)
        .with_context(|| format!("read {FASTNETMON_CONFIG}, Debian's defaults"))?;
    fs::write(at("config"), with_changes(&defaults, &changes))?;
    Ok(directory.join("config"))
}

/// `defaults` with the values of `changes`, each of which it must name.
fn with_changes(defaults: &str, changes: &[(&str, String)]) -> String {
    let mut config = String::with_capacity(defaults.len());
    for line in defaults.lines() {
        let key = line.split('=').next().unwrap_or_default().trim();
        match changes.iter().find(|(changed, _)| *changed == key) {
            Some((_, value)) => config.push_str(&format!("{key} = {value}\n")),
            None => config.push_str(&format!("{line}\n")),
        }
    }
    config
}

/// Sends the first alarm that the script writes; ends when nobody waits for it any more.
fn follow_script(alarm_path: &Path, sender: &Sender<Alarm>) {
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(60) {
        let text = fs::read_to_string(alarm_path).unwrap_or_default();
        if let Some((at_ns, reported)) = text.lines().next().and_then(|line| line.split_once(' '))
            && let Ok(at_ns) = at_ns.parse()
        {
            // The receiver is gone where the run has timed out; the alarm then came too late to count.
            let _ = sender.send(Alarm { at_ns, reported_pps: reported.parse().ok() });
            return;
        }
        thread::sleep(POLL);
    }
}

fn realtime_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_opened_syn_flood_is_an_alarm() {
        let line = |state, kind| {
            format!(
                r#"{{"event":"incident","state":"{state}","kind":"{kind}","measured":{{"syn_per_s":7}}}}"#
            )
        };
        let event = opened_syn_flood(&line("opened", "syn_flood")).unwrap();
        assert_eq!(first_number(&event["measured"]), Some(7.0));
        assert_eq!(first_number(&serde_json::json!(8.5)), Some(8.5));
        assert!(opened_syn_flood(&line("updated", "syn_flood")).is_none());
        assert!(opened_syn_flood(&line("opened", "conn_surge")).is_none());
        assert!(opened_syn_flood("not json").is_none());
    }

    #[test]
    fn only_the_named_values_change() {
        let defaults = "# interfaces = x\ninterfaces = eth3,eth4\nthreshold_pps = 20000\n";
        let changed = with_changes(defaults, &[("interfaces", "vb".into())]);
        assert_eq!(changed, "# interfaces = x\ninterfaces = vb\nthreshold_pps = 20000\n");
    }
}
