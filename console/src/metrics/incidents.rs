//! Incidents that are open, and how many opened.

use std::collections::{BTreeMap, HashMap};

use crate::line::Line;

/// Open incidents that are told apart; of more, only that there were more.
pub(super) const OPEN_MAX: usize = 1_024;

/// Kinds that are told apart; more are `other`.
const KINDS_MAX: usize = 64;

/// Kinds that count from zero, so that the first one is an increase.
const KINDS: [&str; 33] = [
    "ack_flood",
    "arp_spoof",
    "arp_sweep",
    "brute_force",
    "capacity",
    "capture_blind",
    "conn_surge",
    "connection_flood",
    "dns_failure",
    "fin_flood",
    "fragment_flood",
    "handshake_failure",
    "high_rtt",
    "host_sweep",
    "http_errors",
    "http_flood",
    "icmp_flood",
    "land",
    "loss",
    "low_window",
    "mtu_blackhole",
    "port_scan",
    "protocol_flood",
    "routing_loop",
    "rst_flood",
    "slow_http",
    "slow_transfer",
    "syn_ack_reflection",
    "syn_flood",
    "tls_failure",
    "udp_amplification",
    "udp_flood",
    "zero_window",
];

/// What is wrong, and how badly.
type Name = (String, String);

/// All incidents.
#[derive(Debug)]
pub(super) struct Incidents {
    open: HashMap<String, Name>,
    /// By kind and severity; what was open once stays, at zero.
    pub(super) open_by: BTreeMap<Name, u64>,
    /// By kind.
    pub(super) opened_by: BTreeMap<String, u64>,
    /// Changes of incidents that there was no room for.
    pub(super) not_kept: u64,
}

impl Default for Incidents {
    fn default() -> Self {
        Self {
            open: HashMap::new(),
            open_by: BTreeMap::new(),
            opened_by: KINDS.iter().map(|kind| ((*kind).to_owned(), 0)).collect(),
            not_kept: 0,
        }
    }
}

impl Incidents {
    /// Takes a change of an incident.
    pub(super) fn take(&mut self, line: &Line) {
        let text = |name: &str| line.json[name].as_str().unwrap_or_default();
        let (id, state) = (text("id"), text("state"));
        if let Some(before) = self.open.remove(id)
            && let Some(count) = self.open_by.get_mut(&before)
        {
            *count -= 1;
        }
        let kind = self.kind(text("kind"));
        if state == "opened" {
            *self.opened_by.entry(kind.clone()).or_default() += 1;
        }
        if state == "closed" {
            return;
        }
        if self.open.len() == OPEN_MAX {
            self.not_kept += 1;
            return;
        }
        let severity = match text("severity") {
            severity @ ("P1" | "P2" | "P3") => severity,
            _ => "other",
        };
        let name = (kind, severity.to_owned());
        *self.open_by.entry(name.clone()).or_default() += 1;
        self.open.insert(id.to_owned(), name);
    }

    fn kind(&self, kind: &str) -> String {
        let is_known = self.opened_by.contains_key(kind) || self.opened_by.len() < KINDS_MAX;
        if is_known && !kind.is_empty() { kind.to_owned() } else { "other".to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn incident(id: &str, kind: &str, state: &str, severity: &str) -> Line {
        let text = format!(
            r#"{{"ts":"1970-01-01T00:00:01Z","event":"incident","id":"{id}","kind":"{kind}","state":"{state}","severity":"{severity}"}}"#
        );
        Line::parse(&text).unwrap()
    }

    fn open(incidents: &Incidents, kind: &str, severity: &str) -> Option<u64> {
        incidents.open_by.get(&(kind.to_owned(), severity.to_owned())).copied()
    }

    #[test]
    fn an_incident_is_open_once_whatever_is_told_of_it() {
        let mut incidents = Incidents::default();
        incidents.take(&incident("a", "loss", "opened", "P3"));
        incidents.take(&incident("a", "loss", "updated", "P1"));
        assert_eq!((open(&incidents, "loss", "P3"), open(&incidents, "loss", "P1")), (Some(0), Some(1)));
        incidents.take(&incident("a", "loss", "closed", "P1"));
        incidents.take(&incident("a", "loss", "closed", "P1"));
        assert_eq!(open(&incidents, "loss", "P1"), Some(0));
        assert_eq!(incidents.opened_by["loss"], 1);
    }

    #[test]
    fn neither_kinds_nor_open_ones_grow_without_end() {
        let mut incidents = Incidents::default();
        for number in 0..OPEN_MAX + 10 {
            incidents.take(&incident(&number.to_string(), &format!("kind_{number}"), "opened", "P2"));
        }
        assert_eq!((incidents.open.len(), incidents.not_kept), (OPEN_MAX, 10));
        assert_eq!(incidents.opened_by.len(), KINDS_MAX + 1);
        assert_eq!(incidents.opened_by.values().sum::<u64>(), OPEN_MAX as u64 + 10);
    }
}
