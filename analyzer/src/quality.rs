//! What a result did not see: counts by place and reason, and one verdict over them.

use std::collections::BTreeMap;

use serde::Serialize;
use tidegauge_ebpf::counter::{Counter, Counters};

use crate::feature::ratio;

/// Lost share of the packets above which a result is called blind; any loss at all degrades it.
const BLIND_SHARE: f64 = 0.1;
/// Lost share of the attempts, flows or segments a table had to hold, above which it degrades the result.
const TABLE_LOSS_SHARE: f64 = 0.01;

/// Losses that the source tells, beside what the counters hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceLosses {
    /// Frames lost, by place (`nic`, `ring`).
    pub dropped: BTreeMap<&'static str, u64>,
    /// Capture files that ended inside a record or were broken: file and reason.
    pub cut: Vec<String>,
    /// What cannot be seen from here at all, in words.
    pub unseen: Vec<String>,
    /// Frames of link types that are not read, by DLT number.
    pub unread_links: BTreeMap<u16, u64>,
}

/// How far the numbers can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// More than a tenth is missing: findings are not upgraded.
    Blind,
    /// All that was offered was seen.
    Complete,
    /// Something is missing; the counts say what.
    Degraded,
}

/// Capture quality, as in the output contract.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Quality {
    /// Packets offered: captured and dropped.
    pub seen: u64,
    /// Packets read.
    pub captured: u64,
    /// Frames shortened by a snap length.
    pub truncated: u64,
    /// Malformed frames by reason.
    pub malformed: BTreeMap<&'static str, u64>,
    /// Frames of unread link types or network protocols.
    pub unsupported: BTreeMap<String, u64>,
    /// Packets, flows and attempts lost, by place.
    pub dropped: BTreeMap<&'static str, u64>,
    /// Files that ended early.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cut: Vec<String>,
    /// What cannot be seen from here.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unseen: Vec<String>,
    /// One word over all of it.
    pub verdict: Verdict,
}

impl Quality {
    /// The quality of what was counted, given what the source lost.
    pub fn of(counters: &Counters, losses: &SourceLosses) -> Self {
        let captured = counters.get(Counter::Packets);
        let lost_packets: u64 = losses.dropped.values().sum();
        let mut dropped = losses.dropped.clone();
        dropped.extend(non_zero(
            counters,
            &[
                ("half_open_cache", Counter::AttemptsLost),
                ("flow_table", Counter::FlowsRefused),
                ("listener_table", Counter::ListenersRefused),
            ],
        ));
        Self {
            seen: captured + lost_packets,
            captured,
            truncated: counters.get(Counter::Truncated),
            malformed: non_zero(
                counters,
                &[
                    ("cut", Counter::MalformedCut),
                    ("depth", Counter::MalformedDepth),
                    ("length", Counter::MalformedLength),
                    ("version", Counter::MalformedVersion),
                ],
            )
            .collect(),
            unsupported: unsupported(counters, losses),
            verdict: verdict(counters, lost_packets, losses),
            dropped,
            cut: losses.cut.clone(),
            unseen: losses.unseen.clone(),
        }
    }
}

fn unsupported(counters: &Counters, losses: &SourceLosses) -> BTreeMap<String, u64> {
    let protocols = non_zero(counters, &[("protocol", Counter::Unsupported)])
        .map(|(name, count)| (name.to_owned(), count));
    let links = losses.unread_links.iter().map(|(dlt, count)| (format!("link_type_{dlt}"), *count));
    protocols.chain(links).collect()
}

fn verdict(counters: &Counters, lost_packets: u64, losses: &SourceLosses) -> Verdict {
    let captured = counters.get(Counter::Packets);
    if ratio(lost_packets, captured + lost_packets).is_some_and(|share| share > BLIND_SHARE) {
        return Verdict::Blind;
    }
    let table_loss = [
        (Counter::AttemptsLost, Counter::Attempted),
        (Counter::FlowsRefused, Counter::Segments),
        (Counter::ListenersRefused, Counter::Segments),
    ];
    let tables_full = table_loss.iter().any(|(lost, all)| {
        ratio(counters.get(*lost), counters.get(*all)).is_some_and(|share| share > TABLE_LOSS_SHARE)
    });
    if lost_packets != 0 || tables_full || !losses.cut.is_empty() || !losses.unseen.is_empty() {
        Verdict::Degraded
    } else {
        Verdict::Complete
    }
}

fn non_zero<'a>(
    counters: &'a Counters,
    names: &'a [(&'static str, Counter)],
) -> impl Iterator<Item = (&'static str, u64)> + 'a {
    names.iter().map(|(name, counter)| (*name, counters.get(*counter))).filter(|(_, count)| *count != 0)
}
