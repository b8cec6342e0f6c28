//! Floods of SYNs that no listener has enough of: over the ports of a host, over the hosts of a network. One incident,
//! about the host or the network, beside ordinary traffic; and a scan, or a flood of one port, stays what it is.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

#[path = "support/mod.rs"]
mod support;

use std::net::Ipv4Addr;
use std::process::Command;

use serde_json::Value;
use support::{events, incidents, run, tidegauge};
use tempfile::TempDir;
use tidegauge_benches::detection::frames::{Ends, Packet, Tcp, tcp};
use tidegauge_benches::detection::scene::{self, Trouble};
use tidegauge_benches::rng::Rng;

const RATE_PER_S: f64 = 1_000.0;
const LASTS_US: u64 = 10_000_000;

/// Incidents that open when these SYNs come, as kind and target.
fn opened(packets: fn(&Trouble, f64, &mut Rng) -> Vec<Packet>) -> Vec<(String, String)> {
    let trouble = Trouble {
        kind: "syn_flood",
        threshold: "conn_rate_limit_per_s",
        value: RATE_PER_S,
        target: ("192.0.2.80", None),
        within_s: 1.0,
        lasts_us: LASTS_US,
        packets,
    };
    let directory = TempDir::new().unwrap();
    let capture = directory.path().join("scene.pcap");
    scene::write(&capture, Some((&trouble, 1.0)), LASTS_US, 1).unwrap();
    let ran = run(Command::new(tidegauge()).args(["read", "--json"]).arg(&capture));
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let lines = events(&ran.stdout);
    let kinds =
        ["syn_flood", "port_scan", "host_sweep", "conn_surge", "handshake_failure", "connection_flood"];
    let incidents = kinds.iter().flat_map(|kind| incidents(&lines, kind));
    let opened = incidents.filter(|line| line["state"] == "opened");
    opened.map(|line| (text(&line["kind"]), text(&line["target"]["addr"]))).collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn syn(at_us: u64, from: Ipv4Addr, to: (Ipv4Addr, u16), rng: &mut Rng) -> Packet {
    let ends = Ends { from: (from, rng.range(1_024, 65_536) as u16), to, ttl: rng.range(40, 120) as u8 };
    tcp(at_us, ends, Tcp { flags: "S", sequence: rng.next_u32(), window: 64_240, ..Tcp::default() })
}

fn forged(rng: &mut Rng) -> Ipv4Addr {
    Ipv4Addr::from_bits(rng.range(0x0b00_0000, 0x7f00_0000) as u32)
}

const HOST: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 80);

fn over_ports(trouble: &Trouble, strength: f64, rng: &mut Rng) -> Vec<Packet> {
    let times = trouble.times(trouble.value * strength);
    times.map(|at_us| syn(at_us, forged(rng), (HOST, rng.range(1, 65_536) as u16), rng)).collect()
}

fn over_hosts(trouble: &Trouble, strength: f64, rng: &mut Rng) -> Vec<Packet> {
    let times = trouble.times(trouble.value * strength);
    times
        .map(|at_us| syn(at_us, forged(rng), (Ipv4Addr::new(198, 51, 100, rng.next_u32() as u8), 443), rng))
        .collect()
}

fn scan(trouble: &Trouble, strength: f64, rng: &mut Rng) -> Vec<Packet> {
    let times = trouble.times(trouble.value * strength);
    let scanner = Ipv4Addr::new(203, 0, 113, 9);
    times.map(|at_us| syn(at_us, scanner, (HOST, rng.range(1, 65_536) as u16), rng)).collect()
}

fn to_one_port(trouble: &Trouble, strength: f64, rng: &mut Rng) -> Vec<Packet> {
    trouble.times(trouble.value * strength).map(|at_us| syn(at_us, forged(rng), (HOST, 80), rng)).collect()
}

#[test]
fn a_flood_over_ports_or_hosts_is_one_incident_of_the_host_or_the_network() {
    let one = |kind: &str, target: &str| vec![(kind.to_owned(), target.to_owned())];
    assert_eq!(opened(over_ports), one("syn_flood", "192.0.2.80"));
    assert_eq!(opened(over_hosts), one("syn_flood", "198.51.100.0/24"));
    assert_eq!(opened(to_one_port), one("syn_flood", "192.0.2.80"), "of its port");
    assert_eq!(opened(scan), one("port_scan", "192.0.2.80"));
}
