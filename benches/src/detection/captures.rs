//! Labelled captures: which kinds must be found in them, and which must not.

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

/// Labels, and the kinds of which one at least must be told.
const EXPECTED: &[(&str, &[&str])] = &[
    ("attack:syn_flood", &["syn_flood"]),
    ("attack:syn_flood_spoofed", &["syn_flood"]),
    ("attack:synack_reflection", &["syn_ack_reflection"]),
    ("attack:udp_amplification", &["udp_amplification"]),
    ("attack:udp_flood", &["udp_flood"]),
    ("attack:icmp_flood", &["icmp_flood"]),
    ("attack:port_scan", &["port_scan"]),
    ("attack:udp_scan", &["port_scan", "host_sweep"]),
    ("attack:brute_force", &["brute_force"]),
    ("attack:slowloris", &["slow_http"]),
    ("attack:failed_connection_flood", &["handshake_failure"]),
    ("problem:zero_window", &["zero_window"]),
    ("problem:retransmission", &["loss"]),
    ("problem:latency", &["high_rtt"]),
    ("problem:high_rtt", &["high_rtt"]),
    ("problem:http_5xx", &["http_errors"]),
    ("problem:tls_alert", &["tls_failure"]),
    ("problem:dns_failures", &["dns_failure"]),
    ("problem:connection_refused", &["handshake_failure"]),
    ("problem:unanswered", &["handshake_failure"]),
];

impl Labelled {
    /// Labels with a kind, and the kinds that say it.
    pub fn expected(&self) -> impl Iterator<Item = (&str, &'static [&'static str])> {
        self.labels.iter().filter_map(|label| {
            EXPECTED.iter().find(|(known, _)| known == label).map(|(_, kinds)| (label.as_str(), *kinds))
        })
    }

    /// Whether nothing is wrong in it.
    pub fn is_benign(&self) -> bool {
        let fine =
            |label: &String| label == "benign" || label.starts_with("odd:") || label.starts_with("tag:");
        self.labels.iter().all(fine)
    }

    /// Kinds that fit a label of it.
    pub fn kinds(&self) -> BTreeSet<&'static str> {
        self.expected().flat_map(|(_, kinds)| kinds.iter().copied()).collect()
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
