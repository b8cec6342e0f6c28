//! Labelled captures: which kinds must be found in them, and which must not. What is found is an incident, or else an
//! observation, which is told apart: it is no alarm.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// A capture and its labels.
#[derive(Clone, Debug)]
pub struct Labelled {
    /// Where it is.
    pub path: PathBuf,
    /// Its name.
    pub name: String,
    /// Labels as the manifest has them.
    pub labels: Vec<String>,
}

/// What says a label.
pub struct Expected {
    /// The label.
    pub label: &'static str,
    /// Kinds of incidents, of which one at least must be told.
    pub incidents: &'static [&'static str],
    /// Kinds of observations that say it where there is no such incident.
    pub observations: &'static [&'static str],
}

const fn expected(
    label: &'static str,
    incidents: &'static [&'static str],
    observations: &'static [&'static str],
) -> Expected {
    Expected { label, incidents, observations }
}

const EXPECTED: &[Expected] = &[
    expected("attack:syn_flood", &["syn_flood"], &[]),
    expected("attack:syn_flood_spoofed", &["syn_flood"], &[]),
    expected("attack:synack_reflection", &["syn_ack_reflection"], &["syn_ack_reflection"]),
    expected("attack:udp_amplification", &["udp_amplification"], &[]),
    expected("attack:udp_flood", &["udp_flood"], &[]),
    expected("attack:icmp_flood", &["icmp_flood"], &[]),
    expected("attack:port_scan", &["port_scan"], &["port_scan"]),
    expected("attack:udp_scan", &["port_scan", "host_sweep"], &["port_scan", "host_sweep"]),
    expected("attack:brute_force", &["brute_force"], &["brute_force"]),
    expected("attack:slowloris", &["slow_http"], &["slow_http"]),
    expected("attack:failed_connection_flood", &["handshake_failure"], &["connection_refused"]),
    expected("problem:zero_window", &["zero_window"], &["zero_window"]),
    // Of SYNs, too: those that nobody answers are sent again.
    expected("problem:retransmission", &["loss"], &["loss", "syn_retransmission", "unanswered"]),
    expected("problem:dup_ack", &["loss"], &["duplicate_ack"]),
    expected("problem:out_of_order", &["loss"], &["out_of_order"]),
    expected("problem:window_full", &["zero_window"], &["window_full"]),
    expected("problem:latency", &["high_rtt"], &["high_rtt", "slow_answer", "late_request"]),
    expected("problem:high_rtt", &["high_rtt"], &["high_rtt"]),
    expected("problem:http_5xx", &["http_errors"], &["http_errors"]),
    expected("problem:tls_alert", &["tls_failure"], &["tls_failure"]),
    expected("problem:dns_failures", &["dns_failure"], &["dns_failure"]),
    expected("problem:connection_refused", &["handshake_failure"], &["connection_refused"]),
    expected("problem:unanswered", &["handshake_failure"], &["unanswered"]),
    expected("problem:ip_fragments", &["fragment_flood"], &["ip_fragments"]),
    expected("problem:ttl_exceeded", &["routing_loop"], &["ttl_exceeded"]),
];

impl Labelled {
    /// Labels with a kind, and the kinds that say it.
    pub fn expected(&self) -> impl Iterator<Item = &'static Expected> {
        self.labels.iter().filter_map(|label| EXPECTED.iter().find(|known| known.label == label))
    }

    /// Whether nothing is wrong in it.
    pub fn is_benign(&self) -> bool {
        let fine =
            |label: &String| label == "benign" || label.starts_with("odd:") || label.starts_with("tag:");
        self.labels.iter().all(fine)
    }

    /// Kinds of incidents that fit a label of it.
    pub fn kinds(&self) -> BTreeSet<&'static str> {
        self.expected().flat_map(|expected| expected.incidents.iter().copied()).collect()
    }
}

/// The captures of a directory with a `MANIFEST.tsv`; none where there is none.
///
/// # Errors
/// Where the manifest cannot be read.
pub fn labelled(directory: &Path) -> Result<Vec<Labelled>> {
    let manifest = directory.join("MANIFEST.tsv");
    if !manifest.exists() {
        return Ok(Vec::new());
    }
    let text = fs::read_to_string(&manifest).with_context(|| format!("read {}", manifest.display()))?;
    let rows = text.lines().skip(1).filter_map(|line| {
        let mut columns = line.split('\t');
        let (name, labels) = (columns.next()?, columns.next()?);
        Some(Labelled {
            path: directory.join(name),
            name: name.to_owned(),
            labels: labels.split('|').map(str::to_owned).collect(),
        })
    });
    Ok(rows.filter(|capture| capture.path.exists()).collect())
}
