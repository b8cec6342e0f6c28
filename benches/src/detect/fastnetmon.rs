//! FastNetMon at work: its files, its settings, and what its script writes.
//!
//! It runs by Debian's configuration file with only these lines changed: where it captures (AF_PACKET on the one
//! interface), whose networks it guards, where its files go, that it reports nothing to its makers, that it opens no
//! ports (so that two can listen at one place), and what its [`Settings`] say.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

use super::tool::{Alarm, Watch};
use crate::child::Running;
use crate::scratch::Scratch;

const DEFAULTS: &str = "/etc/fastnetmon.conf";
/// The script's lines, in the directory of its files.
const ALARMS: &str = "alarms";
/// How often that file is looked at; its lines carry their own time.
const POLL: Duration = Duration::from_millis(20);

/// Where it listens.
#[derive(Clone, Debug)]
pub struct Post {
    /// Network namespace, by name.
    pub namespace: String,
    /// Its interface there.
    pub iface: String,
    /// Whom it guards, a prefix.
    pub network: String,
}

/// When it calls something an attack.
#[derive(Clone, Debug)]
pub enum Settings {
    /// By Debian's file: 20,000 packets/s or 1,000 Mbit/s of a host, averaged over 5 s, checked each second.
    Defaults,
    /// Beside that by these rates, averaged over 1 s.
    Tuned(Limits),
}

/// Packets per second and host. 1.2.4 counts by protocol; it has no limit for SYNs alone.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// All segments.
    pub tcp_pps: f64,
    /// All datagrams.
    pub udp_pps: f64,
    /// All messages.
    pub icmp_pps: f64,
}

impl Settings {
    /// What is changed in the configuration.
    fn changes(&self) -> Vec<(&'static str, String)> {
        let Self::Tuned(limits) = self else { return Vec::new() };
        let on = || "on".to_owned();
        let whole = |rate: f64| format!("{rate:.0}");
        vec![
            ("average_calculation_time", "1".to_owned()),
            ("ban_for_tcp_pps", on()),
            ("ban_for_udp_pps", on()),
            ("ban_for_icmp_pps", on()),
            ("threshold_tcp_pps", whole(limits.tcp_pps)),
            ("threshold_udp_pps", whole(limits.udp_pps)),
            ("threshold_icmp_pps", whole(limits.icmp_pps)),
        ]
    }
}

/// Starts `program` at `post`.
pub(crate) fn start(program: &Path, post: &Post, settings: &Settings) -> Result<Watch> {
    let files = Scratch::new("fastnetmon").context("create a temporary directory")?;
    let config_path = write_files(files.path(), post, settings)?;
    let mut command = Command::new("ip");
    command
        .args(["netns", "exec", &post.namespace])
        .arg(program)
        .arg("--configuration_file")
        .arg(config_path)
        .arg("--log_file")
        .arg(files.path().join("log"))
        .arg("--disable_pid_logic")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let tool = Running::new(command.spawn().context("start FastNetMon")?);
    let (sender, alarms) = channel();
    let directory = files.path().to_owned();
    thread::spawn(move || follow_script(&directory, &sender));
    Ok(Watch { alarms, tool, _files: Some(files) })
}

/// Writes the networks, the script and the changed configuration into `directory`; returns where the last is.
pub(crate) fn write_files(directory: &Path, post: &Post, settings: &Settings) -> Result<PathBuf> {
    let at = |name: &str| directory.join(name).display().to_string();
    let script = format!(
        "#!/bin/sh\n# address, direction, packets per second, action\nat_ns=$(date +%s%N)\n\
         [ \"$4\" = ban ] && echo \"$at_ns $1 $3\" >> {}\n",
        at(ALARMS)
    );
    fs::write(at("notify"), script)?;
    fs::set_permissions(at("notify"), fs::Permissions::from_mode(0o755))?;
    fs::write(at("networks"), post.network.clone() + "\n")?;
    fs::write(at("exempt"), "")?;
    let mut changes = vec![
        ("mirror_afpacket", "on".to_owned()),
        ("interfaces", post.iface.clone()),
        ("networks_list_path", at("networks")),
        ("white_list_path", at("exempt")),
        ("notify_script_path", at("notify")),
        ("disable_usage_report", "on".to_owned()),
        ("enable_api", "off".to_owned()),
        ("prometheus", "off".to_owned()),
        ("cli_stats_file_path", at("statistics")),
        ("cli_stats_ipv6_file_path", at("statistics6")),
    ];
    changes.extend(settings.changes());
    let defaults =
        fs::read_to_string(DEFAULTS).with_context(|| format!("read {DEFAULTS}, Debian's defaults"))?;
    fs::write(at("config"), with_changes(&defaults, &changes)?)?;
    Ok(directory.join("config"))
}

/// `defaults` with the values of `changes`; an error where it does not name one of them.
fn with_changes(defaults: &str, changes: &[(&str, String)]) -> Result<String> {
    let key_of = |line: &str| line.split('=').next().unwrap_or_default().trim().to_owned();
    for (changed, _) in changes {
        let is_there = defaults.lines().any(|line| key_of(line) == *changed);
        anyhow::ensure!(is_there, "{DEFAULTS} has no {changed}");
    }
    let mut config = String::with_capacity(defaults.len());
    for line in defaults.lines() {
        let key = key_of(line);
        match changes.iter().find(|(changed, _)| *changed == key) {
            Some((_, value)) => config.push_str(&format!("{key} = {value}\n")),
            None => config.push_str(&format!("{line}\n")),
        }
    }
    Ok(config)
}

/// Sends the alarms that the script writes; ends when `directory` is gone, or nobody listens any more.
fn follow_script(directory: &Path, sender: &Sender<Alarm>) {
    let mut sent = 0;
    while directory.exists() {
        let text = fs::read_to_string(directory.join(ALARMS)).unwrap_or_default();
        // A line that is being written has no end yet.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        for alarm in whole.lines().skip(sent).map_while(alarm) {
            sent += 1;
            if sender.send(alarm).is_err() {
                return;
            }
        }
        thread::sleep(POLL);
    }
}

/// An alarm as the script writes it: when, about whom, packets per second.
fn alarm(line: &str) -> Option<Alarm> {
    let mut words = line.split(' ');
    let at_ns = words.next()?.parse().ok()?;
    let host = words.next()?.to_owned();
    Some(Alarm { at_ns, host: Some(host), reported_pps: words.next().and_then(|rate| rate.parse().ok()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_named_values_change() {
        let defaults = "# interfaces = x\ninterfaces = eth3,eth4\nthreshold_pps = 20000\n";
        let changed = with_changes(defaults, &[("interfaces", "vb".into())]).unwrap();
        assert_eq!(changed, "# interfaces = x\ninterfaces = vb\nthreshold_pps = 20000\n");
        assert!(with_changes(defaults, &[("threshold_tcp_syn_pps", "500".into())]).is_err());
    }

    #[test]
    fn a_line_of_the_script_is_an_alarm() {
        let told = alarm("17 192.0.2.80 20600").unwrap();
        assert_eq!(
            (told.at_ns, told.host.as_deref(), told.reported_pps),
            (17, Some("192.0.2.80"), Some(20_600.0))
        );
        assert!(alarm("192.0.2.80 20600").is_none());
    }
}
