//! Floods of SYNs that no listener has enough of: over the ports of a host, over the hosts of a network. One incident,
//! about the host or the network, beside ordinary traffic, however long it lasts; a scan, or a flood of one port, stays
//! what it is. Scenes of `bench-detection`.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

#[path = "support/mod.rs"]
mod support;

use std::ops::ControlFlow;
use std::process::Command;

use serde_json::Value;
use support::{events, incidents, run, tidegauge};
use tempfile::TempDir;
use tidegauge_analyzer::collect::{Collector, View};
use tidegauge_analyzer::config::{Config, KEYS};
use tidegauge_analyzer::engine::{Change, Engine};
use tidegauge_analyzer::feature::TICK_NS;
use tidegauge_analyzer::incident::State;
use tidegauge_analyzer::track::Shard;
use tidegauge_benches::detection::scene::{self, Trouble};
use tidegauge_benches::detection::{floods, misuse};
use tidegauge_capture::file::{FileReader, Input, Mapping};
use tidegauge_ebpf::settings::Settings;

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

/// The same by the kernel program's logic over its own tables, read out at each tick.
fn opened_by_kernel(trouble: &Trouble, strength: f64) -> Vec<(String, String)> {
    let directory = TempDir::new().unwrap();
    let capture = directory.path().join("scene.pcap");
    scene::write(&capture, Some((trouble, strength)), trouble.lasts_us, 1).unwrap();
    let mut shard = Shard::with_buckets(Settings::with_seed(1), 1 << 12, 1 << 14);
    let (mut collector, mut engine) = (Collector::default(), Engine::new(Config::default(), true));
    let (mut changes, mut tick_ns) = (Vec::new(), 0);
    let mut reader = FileReader::open(&Input::Path(capture), Mapping::Mapped).unwrap();
    let end = reader.for_each(|frame| {
        let next_ns = frame.ts_ns - frame.ts_ns % TICK_NS;
        if tick_ns != 0 && next_ns > tick_ns {
            shard.flush();
            let window = collector.collect(View::Heap(&shard), tick_ns, tick_ns + TICK_NS);
            engine.push(window, &mut changes);
        }
        tick_ns = next_ns.max(tick_ns);
        shard.observe(&frame);
        ControlFlow::Continue(())
    });
    end.unwrap();
    engine.finish(&mut changes);
    let incidents = changes.iter().filter_map(|change| match change {
        Change::Incident(incident) if incident.state == State::Opened => Some(incident),
        _ => None,
    });
    incidents.map(|incident| (incident.peak.kind.name().to_owned(), incident.target.to_string())).collect()
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

/// Where the kernel judges nobody counts by who asks: what tells a search is how often few sources are noted.
#[test]
fn where_the_kernel_judges_a_fast_search_is_none_of_the_floods() {
    let scans = misuse::troubles(limit);
    // 3,000 SYNs a second, faster than floods need.
    let of = |kind: &str| {
        let scan = scans.iter().find(|scan| scan.kind == kind).unwrap();
        opened_by_kernel(scan, 3_000.0 * 5.0 / scan.value)
    };
    assert_eq!(of("host_sweep"), [("host_sweep".to_owned(), "198.51.100.0/24 port 445 tcp".to_owned())]);
    assert_eq!(of("port_scan").iter().map(|(kind, _)| kind.as_str()).collect::<Vec<_>>(), ["port_scan"]);
    let floods = floods::troubles(limit);
    let over_network =
        floods.iter().find(|flood| flood.kind == "syn_flood" && flood.target.0 == "198.51.100").unwrap();
    let kinds: Vec<_> = opened_by_kernel(over_network, 6.0).into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(kinds, ["syn_flood"]);
}
