//! What tidegauge says of a capture, and whether that is what is known of it.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use super::scene::{Trouble, WARM_UP_US};

/// An incident as it was told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Told {
    /// Which kind.
    pub kind: String,
    /// Its severity at its worst.
    pub severity: String,
    /// Address of the target.
    pub addr: Option<String>,
    /// Its port.
    pub port: Option<u16>,
    /// From the first packet on, seconds.
    pub opened_s: f64,
    /// How long it lasted, seconds.
    pub lasted_s: f64,
}

/// All incidents of a capture, and its length in seconds.
///
/// # Errors
/// Where tidegauge cannot read it.
pub fn incidents(tidegauge: &Path, capture: &Path) -> Result<(Vec<Told>, f64)> {
    let mut command = Command::new(tidegauge);
    command.args(["backtest", "--json"]).arg(capture).stderr(Stdio::inherit());
    let output = command.output().with_context(|| format!("run {}", tidegauge.display()))?;
    ensure!(output.status.success(), "{}: {}", capture.display(), output.status);
    let said: Said = serde_json::from_slice(&output.stdout).context("what backtest printed")?;
    let run = said.runs.into_iter().next().context("one run")?;
    let told = run.incidents.into_iter().map(|incident| {
        let (addr, port) = parts(&incident.target);
        Told {
            kind: incident.kind,
            severity: incident.severity,
            addr,
            port,
            opened_s: incident.opened_after_s,
            lasted_s: incident.lasted_s,
        }
    });
    Ok((told.collect(), run.hours * 3_600.0))
}

/// Kinds of the observations of a capture.
///
/// # Errors
/// Where tidegauge cannot read it.
pub fn observations(tidegauge: &Path, capture: &Path) -> Result<Vec<String>> {
    let mut command = Command::new(tidegauge);
    command.args(["read", "--json"]).arg(capture).stderr(Stdio::inherit());
    let output = command.output().with_context(|| format!("run {}", tidegauge.display()))?;
    ensure!(output.status.success(), "{}: {}", capture.display(), output.status);
    let last = output.stdout.trim_ascii_end().rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
    let summary: Summary = serde_json::from_slice(last).context("the summary that read printed")?;
    Ok(summary.observations.into_iter().map(|observation| observation.kind).collect())
}

#[derive(Deserialize)]
struct Summary {
    observations: Vec<Observation>,
}

#[derive(Deserialize)]
struct Observation {
    kind: String,
}

#[derive(Deserialize)]
struct Said {
    runs: Vec<Run>,
}

#[derive(Deserialize)]
struct Run {
    hours: f64,
    incidents: Vec<Incident>,
}

#[derive(Deserialize)]
struct Incident {
    kind: String,
    severity: String,
    target: String,
    opened_after_s: f64,
    lasted_s: f64,
}

/// Address and port of a target as it is written: `192.0.2.80:80/tcp`, `[2001:db8::1]:443/tcp`, `192.0.2.7/icmp`.
fn parts(target: &str) -> (Option<String>, Option<u16>) {
    let words: Vec<&str> = target.split(' ').collect();
    let place = words.first().copied().unwrap_or_default();
    let port_word =
        words.iter().skip_while(|word| **word != "port").nth(1).and_then(|port| port.parse().ok());
    let place = match place.rsplit_once('/') {
        Some((address, protocol)) if protocol.parse::<u8>().is_err() => address,
        _ => place,
    };
    if let Ok(socket) = place.parse::<std::net::SocketAddr>() {
        return (Some(socket.ip().to_string()), Some(socket.port()));
    }
    (Some(place.to_owned()), port_word)
}

/// How a scene was judged.
#[derive(Clone, Debug, Serialize)]
pub struct Judged {
    /// What had to be found.
    pub kind: &'static str,
    /// Times its threshold.
    pub strength: f64,
    /// Whether it was found, of this kind, at this target.
    pub found: bool,
    /// From the first packet of the trouble to `opened`, seconds.
    pub after_s: Option<f64>,
    /// Its severity.
    pub severity: Option<String>,
    /// What else was told after the trouble began.
    pub besides: Vec<String>,
    /// What was told of ordinary traffic before.
    pub false_alarms: Vec<String>,
}

/// Holds what was told of a scene against what is in it.
pub fn judge(trouble: &Trouble, strength: f64, told: &[Told]) -> Judged {
    let begins_s = WARM_UP_US as f64 / 1e6;
    let (address, port) = trouble.target;
    let is_it = |told: &&Told| {
        told.kind == trouble.kind
            && told.opened_s >= begins_s
            && told.addr.as_deref().is_some_and(|addr| addr.starts_with(address))
            && (port.is_none() || told.port == port)
    };
    let found = told.iter().find(is_it);
    let name =
        |told: &Told| format!("{} {} at {}", told.severity, told.kind, told.addr.as_deref().unwrap_or("-"));
    Judged {
        kind: trouble.kind,
        strength,
        found: found.is_some(),
        after_s: found.map(|told| told.opened_s - begins_s),
        severity: found.map(|told| told.severity.clone()),
        besides: told.iter().filter(|told| told.opened_s >= begins_s && !is_it(told)).map(name).collect(),
        false_alarms: told.iter().filter(|told| told.opened_s < begins_s).map(name).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_read_as_they_are_written() {
        let read = |target| parts(target);
        assert_eq!(read("192.0.2.80:80/tcp"), (Some("192.0.2.80".into()), Some(80)));
        assert_eq!(read("192.0.2.7/icmp"), (Some("192.0.2.7".into()), None));
        assert_eq!(read("192.0.2.0/24 port 22 tcp"), (Some("192.0.2.0/24".into()), Some(22)));
    }
}
