//! Floods of SYNs that no listener has enough of: over the ports of a host, over the hosts of a network. One incident,
//! about the host or the network, beside ordinary traffic, however long it lasts; a scan, or a flood of one port, stays
//! what it is. Scenes of `bench-detection`.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

#[path = "support/mod.rs"]
mod support;

use std::process::Command;

use serde_json::Value;
use support::{events, incidents, run, tidegauge};
use tempfile::TempDir;
use tidegauge_analyzer::config::{Config, KEYS};
use tidegauge_benches::detection::scene::{self, Trouble};
use tidegauge_benches::detection::{floods, misuse};

/// Kinds and targets of the incidents that open when this happens at so many times its threshold.
fn opened(trouble: &Trouble, strength: f64) -> Vec<(String, String)> {
    let directory = TempDir::new().unwrap();
    let capture = directory.path().join("scene.pcap");
    scene::write(&capture, Some((trouble, strength)), trouble.lasts_us, 1).unwrap();
    let ran = run(Command::new(tidegauge()).args(["read", "--json"]).arg(&capture));
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let lines = events(&ran.stdout);
    let opened = lines.iter().filter(|line| line["event"] == "incident" && line["state"] == "opened");
    let opened: Vec<_> = opened.map(|line| (text(&line["kind"]), text(&line["target"]["addr"]))).collect();
    for (kind, _) in &opened {
        assert_eq!(incidents(&lines, kind).last().unwrap()["state"], "closed", "{kind}");
    }
    opened
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn limit(name: &str) -> f64 {
    KEYS.iter().find(|key| key.name == name).map_or(f64::NAN, |key| (key.get)(&Config::default()))
}

/// Longer than listeners need to tell of attempts that fail without a flood.
const LONG_US: u64 = 90_000_000;

#[test]
fn a_flood_over_ports_or_hosts_is_one_incident_of_the_host_or_the_network() {
    let one = |kind: &str, target: &str| vec![(kind.to_owned(), target.to_owned())];
    let floods = floods::troubles(limit);
    let of = |target: &str| -> Vec<&Trouble> {
        floods.iter().filter(|flood| flood.kind == "syn_flood" && flood.target.0 == target).collect()
    };
    // At one listener, and at all ports of its host.
    assert_eq!(of("192.0.2.80").len(), 2);
    for flood in of("192.0.2.80") {
        assert_eq!(opened(flood, 2.0), one("syn_flood", "192.0.2.80"));
    }
    let over_network = of("198.51.100")[0];
    let long = Trouble { lasts_us: LONG_US, ..*over_network };
    assert_eq!(opened(&long, 6.0), one("syn_flood", "198.51.100.0/24"));
    // Of the networks of a /16 no one has enough, or each of them has: it is one incident all the same.
    for flood in floods.iter().filter(|flood| flood.target.0 == "198.18.0.0") {
        for strength in [1.5, 12.0] {
            assert_eq!(opened(flood, strength), one(flood.kind, "198.18.0.0/16"));
        }
    }
    let scans = misuse::troubles(limit);
    let scan = scans.iter().find(|scan| scan.kind == "port_scan").unwrap();
    assert_eq!(opened(scan, 10.0).iter().map(|(kind, _)| kind.as_str()).collect::<Vec<_>>(), ["port_scan"]);
}
