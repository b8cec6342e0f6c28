//! Scenes of scans, and of connections and requests that are complete and meant ill.

use std::net::Ipv4Addr;

use etherparse::{IcmpEchoHeader, Icmpv4Type};

use super::background::{Exchange, VICTIM, VICTIM_PORT, speak};
use super::frames::{Ends, Packet, Tcp, arp, arp_reply, icmp, tcp};
use super::scene::Trouble;
use crate::rng::Rng;

const ATTACKER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 66);
const MINUTE_US: u64 = 60_000_000;
/// Scans and guesses come in bursts of so many seconds: at its threshold a burst is found at its end.
const BURST_S: f64 = 5.0;
const BURST_US: u64 = 5_000_000;
const VICTIM_TEXT: &str = "192.0.2.80";

/// All of them, at the thresholds of the default configuration.
pub fn troubles(limit: impl Fn(&str) -> f64) -> Vec<Trouble> {
    bursts(&limit).into_iter().chain(lasting(&limit)).collect()
}

/// Something that lasts a minute.
fn trouble(
    kind: &'static str,
    threshold: &'static str,
    limit: impl Fn(&str) -> f64,
    target: (&'static str, Option<u16>),
    packets: fn(&Trouble, f64, &mut Rng) -> Vec<Packet>,
) -> Trouble {
    let value = limit(threshold);
    Trouble { kind, threshold, value, target, within_s: 5.0, lasts_us: MINUTE_US, packets }
}

/// Scans and guesses.
fn bursts(limit: impl Fn(&str) -> f64) -> [Trouble; 8] {
    let limit = &limit;
    let (victim, network) = ((VICTIM_TEXT, None), "198.51.100");
    let (logins, gateway) = ("brute_force_logins", ("192.0.2.1", None));
    [
        trouble("port_scan", "scan_ports", limit, victim, port_scan),
        trouble("port_scan", "scan_ports", limit, victim, ack_scan),
        trouble("host_sweep", "sweep_hosts", limit, (network, Some(445)), host_sweep),
        trouble("host_sweep", "sweep_hosts", limit, (network, None), ping_sweep),
        trouble("arp_sweep", "arp_sweep_hosts", limit, ("192.0.2", None), arp_sweep),
        trouble("arp_spoof", "arp_spoof_unasked", limit, gateway, arp_spoof),
        trouble("brute_force", logins, limit, ("192.0.2.12", Some(22)), brute_force),
        trouble("brute_force", logins, limit, ("192.0.2.14", Some(80)), password_forms),
    ]
    .map(|trouble| Trouble { lasts_us: BURST_US, ..trouble })
}

/// What holds on.
fn lasting(limit: impl Fn(&str) -> f64) -> [Trouble; 3] {
    let limit = &limit;
    let listener = (VICTIM_TEXT, Some(VICTIM_PORT));
    [
        trouble("connection_flood", "connection_flood_per_s", limit, listener, connection_flood),
        trouble("http_flood", "http_flood_requests_per_s", limit, listener, http_flood),
        trouble("slow_http", "slow_http_heads", limit, listener, slow_http),
    ]
}

/// A SYN that is refused.
fn refused(at_us: u64, ends: Ends, rng: &mut Rng, packets: &mut Vec<Packet>) {
    let sequence = rng.next_u32();
    packets.push(tcp(at_us, ends, Tcp { flags: "S", sequence, window: 1_024, ..Tcp::default() }));
    let reset = Tcp { flags: "RA", acknowledgement: sequence.wrapping_add(1), ..Tcp::default() };
    packets.push(tcp(at_us + 400, ends.back(), reset));
}

/// So many ports in a burst; closed ones, as most are.
fn port_scan(trouble: &Trouble, strength: f64, rng: &mut Rng) -> Vec<Packet> {
    let mut packets = Vec::new();
    for (at_us, port) in trouble.times(trouble.value * strength / BURST_S).zip((1..1_024).cycle()) {
        let ends = Ends { from: (ATTACKER, 54_321), to: (VICTIM, port), ttl: 48 };
        refused(at_us, ends, rng, &mut packets);
    }
    packets
}

/// One port of so many hosts in a burst; nobody answers.
fn host_sweep(trouble: &Trouble, strength: f64, rng: &mut Rng) -> Vec<Packet> {
    let mut packets = Vec::new();
    for (at_us, host) in trouble.times(trouble.value * strength / BURST_S).zip((1..255).cycle()) {
        let ends = Ends { from: (ATTACKER, 50_000), to: (Ipv4Addr::new(198, 51, 100, host), 445), ttl: 48 };
        let syn = Tcp { flags: "S", sequence: rng.next_u32(), window: 1_024, ..Tcp::default() };
        packets.push(tcp(at_us, ends, syn));
    }
    packets
}

fn arp_sweep(trouble: &Trouble, strength: f64, _rng: &mut Rng) -> Vec<Packet> {
    let sender = Ipv4Addr::new(192, 0, 2, 99);
    let times = trouble.times(trouble.value * strength / BURST_S).zip((1..255).cycle());
    times.map(|(at_us, host)| arp(at_us, sender, Ipv4Addr::new(192, 0, 2, host))).collect()
}

/// So many hosts in a burst; one in ten is there.
fn ping_sweep(trouble: &Trouble, strength: f64, _rng: &mut Rng) -> Vec<Packet> {
    let mut packets = Vec::new();
    for (at_us, host) in trouble.times(trouble.value * strength / BURST_S).zip((1..255).cycle()) {
        let ends = Ends { from: (ATTACKER, 0), to: (Ipv4Addr::new(198, 51, 100, host), 0), ttl: 48 };
        let header = IcmpEchoHeader { id: 7, seq: u16::from(host) };
        packets.push(icmp(at_us, ends, Icmpv4Type::EchoRequest(header), &[b'.'; 56]));
        if host % 10 == 0 {
            packets.push(icmp(at_us + 900, ends.back(), Icmpv4Type::EchoReply(header), &[b'.'; 56]));
        }
    }
    packets
}

/// ACKs of no connection to so many ports in a burst, each refused.
fn ack_scan(trouble: &Trouble, strength: f64, rng: &mut Rng) -> Vec<Packet> {
    let mut packets = Vec::new();
    for (at_us, port) in trouble.times(trouble.value * strength / BURST_S).zip((1..1_024).cycle()) {
        let ends = Ends { from: (ATTACKER, 54_321), to: (VICTIM, port), ttl: 48 };
        let acknowledgement = rng.next_u32();
        let ack = Tcp { flags: "A", sequence: 1, acknowledgement, window: 1_024, payload: &[] };
        packets.push(tcp(at_us, ends, ack));
        packets.push(tcp(
            at_us + 400,
            ends.back(),
            Tcp { flags: "R", sequence: acknowledgement, ..Tcp::default() },
        ));
    }
    packets
}

/// So many replies in a burst, which nobody asked for.
fn arp_spoof(trouble: &Trouble, strength: f64, _rng: &mut Rng) -> Vec<Packet> {
    let (gateway, victim) = (Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 7));
    trouble.times(trouble.value * strength / BURST_S).map(|at_us| arp_reply(at_us, gateway, victim)).collect()
}

/// So many forms in a burst, each with another password.
fn password_forms(trouble: &Trouble, strength: f64, rng: &mut Rng) -> Vec<Packet> {
    let mut packets = Vec::new();
    for (at_us, number) in trouble.times(trouble.value * strength / BURST_S).zip(0_u16..) {
        let form = format!("username=admin&password={number:06}");
        let request = format!(
            "POST /login HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
            form.len()
        );
        let exchange = Exchange {
            request: request.as_bytes(),
            response: b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n",
            body_bytes: 900,
        };
        let there =
            Ends { from: (ATTACKER, 30_000 + number), to: (Ipv4Addr::new(192, 0, 2, 14), 80), ttl: 48 };
        speak(at_us, there, exchange, rng, &mut packets);
    }
    packets
}

/// So many SSH connections in a burst that end after a failed password.
fn brute_force(trouble: &Trouble, strength: f64, rng: &mut Rng) -> Vec<Packet> {
    let exchange = Exchange {
        request: b"SSH-2.0-client_1.0\r\n",
        response: b"SSH-2.0-OpenSSH_9.6\r\n",
        body_bytes: 1_000,
    };
    let mut packets = Vec::new();
    for (at_us, number) in trouble.times(trouble.value * strength / BURST_S).zip(0..) {
        let there =
            Ends { from: (ATTACKER, 40_000 + number), to: (Ipv4Addr::new(192, 0, 2, 12), 22), ttl: 48 };
        speak(at_us, there, exchange, rng, &mut packets);
    }
    packets
}

/// Completed connections of many hosts that never say anything and stay open.
fn connection_flood(trouble: &Trouble, strength: f64, rng: &mut Rng) -> Vec<Packet> {
    let mut packets = Vec::new();
    for (at_us, number) in trouble.times(trouble.value * strength).zip(0_u32..) {
        let host = Ipv4Addr::new(203, 0, 113, (number % 200) as u8 + 1);
        let there = Ends { from: (host, (1_024 + number / 200) as u16), to: (VICTIM, VICTIM_PORT), ttl: 50 };
        open(at_us, there, rng, &mut packets);
    }
    packets
}

/// A handshake; the numbers behind it.
fn open(at_us: u64, there: Ends, rng: &mut Rng, packets: &mut Vec<Packet>) -> (u32, u32) {
    let (own, peer) = (rng.next_u32(), rng.next_u32());
    let (own1, peer1) = (own.wrapping_add(1), peer.wrapping_add(1));
    let segment = |flags, sequence, acknowledgement| Tcp {
        flags,
        sequence,
        acknowledgement,
        window: 64_240,
        payload: &[],
    };
    packets.push(tcp(at_us, there, segment("S", own, 0)));
    packets.push(tcp(at_us + 500, there.back(), segment("SA", peer, own1)));
    packets.push(tcp(at_us + 20_500, there, segment("A", own1, peer1)));
    (own1, peer1)
}

/// Requests of some hundred hosts, one connection each.
fn http_flood(trouble: &Trouble, strength: f64, rng: &mut Rng) -> Vec<Packet> {
    let exchange = Exchange {
        request: b"GET /search?q=aaaaaaaaaaaaaaaa HTTP/1.1\r\nHost: www.example.net\r\n\r\n",
        response: b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n",
        body_bytes: 900,
    };
    let mut packets = Vec::new();
    for (at_us, number) in trouble.times(trouble.value * strength).zip(0_u32..) {
        let host = Ipv4Addr::new(203, 0, 113, (number % 100) as u8 + 1);
        let there = Ends { from: (host, (1_024 + number / 100) as u16), to: (VICTIM, VICTIM_PORT), ttl: 50 };
        speak(at_us, there, exchange, rng, &mut packets);
    }
    packets
}

/// So many connections at once whose request heads grow by a line every ten seconds.
fn slow_http(trouble: &Trouble, strength: f64, rng: &mut Rng) -> Vec<Packet> {
    let connections = (trouble.value * strength) as u16;
    let mut packets = Vec::new();
    for number in 0..connections {
        let at_us = super::scene::WARM_UP_US + u64::from(number) * 5_000;
        let there = Ends { from: (ATTACKER, 20_000 + number), to: (VICTIM, VICTIM_PORT), ttl: 48 };
        let (mut own, peer) = open(at_us, there, rng, &mut packets);
        let lines: [&[u8]; 7] = [
            b"GET / HTTP/1.1\r\nHost: a\r\n",
            b"X-a: b\r\n",
            b"X-b: b\r\n",
            b"X-c: b\r\n",
            b"X-d: b\r\n",
            b"X-e: b\r\n",
            b"X-f: b\r\n",
        ];
        for (line, round) in lines.into_iter().zip(0..) {
            let at_us = at_us + 30_000 + round * 10_000_000;
            let segment =
                Tcp { flags: "AP", sequence: own, acknowledgement: peer, window: 64_240, payload: line };
            packets.push(tcp(at_us, there, segment));
            own = own.wrapping_add(line.len() as u32);
            let ack = Tcp { flags: "A", sequence: peer, acknowledgement: own, window: 64_240, payload: &[] };
            packets.push(tcp(at_us + 500, there.back(), ack));
        }
    }
    packets
}
