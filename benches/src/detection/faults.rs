//! Scenes of faults: what a network, a server or a resolver does when it is ill.

use std::net::Ipv4Addr;

use etherparse::{Icmpv4Type, icmpv4::TimeExceededCode};

use super::background::{Exchange, VICTIM, VICTIM_PORT, client, connection, dns, speak};
use super::frames::{Ends, Packet, Tcp, icmp, tcp, udp};
use super::scene::Trouble;
use crate::rng::Rng;

const MINUTE_US: u64 = 60_000_000;
const VICTIM_TEXT: &str = "192.0.2.80";
/// A listener of its own: the ordinary traffic of the busy one would thin the fault.
const ILL: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 90);
const ILL_TEXT: &str = "192.0.2.90";
const ILL_PORT: u16 = 443;
const RESOLVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 153);
const SEGMENT_BYTES: usize = 1_200;

/// All of them, at the thresholds of the default configuration.
pub fn troubles(limit: impl Fn(&str) -> f64) -> Vec<Trouble> {
    let trouble = |kind, threshold, value, lasts_us, packets| Trouble {
        kind,
        threshold,
        value,
        target: (ILL_TEXT, Some(ILL_PORT)),
        within_s: lasts_us as f64 / 1e6,
        lasts_us,
        packets,
    };
    let surge =
        trouble("conn_surge", "conn_rate_limit_per_s", limit("conn_rate_limit_per_s"), 10_000_000, surge);
    vec![
        Trouble { target: (VICTIM_TEXT, Some(VICTIM_PORT)), within_s: 2.0, ..surge },
        trouble("loss", "loss_share", limit("loss_share"), 3 * MINUTE_US / 2, loss),
        trouble("zero_window", "zero_window_s", limit("zero_window_s"), MINUTE_US, zero_window),
        trouble("high_rtt", "high_rtt_ms", limit("high_rtt_ms"), MINUTE_US, high_rtt),
        trouble(
            "handshake_failure",
            "handshake_failure_share",
            limit("handshake_failure_share"),
            5 * MINUTE_US,
            unanswered,
        ),
        trouble("tls_failure", "tls_failure_share", limit("tls_failure_share"), MINUTE_US, tls_failure),
        trouble("http_errors", "http_5xx_share", limit("http_5xx_share"), MINUTE_US, http_errors),
        Trouble {
            target: ("192.0.2.153", None),
            ..trouble("dns_failure", "dns_failure_share", limit("dns_failure_share"), MINUTE_US, dns_failure)
        },
        Trouble {
            target: ("198.51.100.9", None),
            ..trouble(
                "routing_loop",
                "routing_loop_packets",
                limit("routing_loop_packets"),
                MINUTE_US,
                routing_loop,
            )
        },
        trouble(
            "mtu_blackhole",
            "mtu_blackhole_repeats",
            limit("mtu_blackhole_repeats"),
            MINUTE_US,
            mtu_blackhole,
        ),
    ]
}

fn surge(trouble: &Trouble, strength: f64, rng: &mut Rng) -> Vec<Packet> {
    let mut packets = Vec::new();
    for (at_us, number) in trouble.times(trouble.value * strength).zip(1_000_000..) {
        connection(at_us, number, (VICTIM, VICTIM_PORT), rng, &mut packets);
    }
    packets
}

/// One long transfer: who sends, from when on, and its numbers.
struct Transfer {
    there: Ends,
    own: u32,
    peer: u32,
}

impl Transfer {
    /// A client that asks the ill listener for much.
    fn open(number: u16, at_us: u64, rtt_us: u64, rng: &mut Rng, packets: &mut Vec<Packet>) -> Self {
        let there = Ends {
            from: (Ipv4Addr::new(10, 20, (number >> 8) as u8, number as u8), 40_000 + number % 20_000),
            to: (ILL, ILL_PORT),
            ttl: 58,
        };
        let (own, peer) = (rng.next_u32(), rng.next_u32());
        let transfer = Self { there, own: own.wrapping_add(1), peer: peer.wrapping_add(1) };
        packets.push(tcp(at_us, there, Tcp { flags: "S", sequence: own, window: 64_240, ..Tcp::default() }));
        let answer =
            Tcp { flags: "SA", sequence: peer, acknowledgement: transfer.own, window: 65_160, payload: &[] };
        packets.push(tcp(at_us + 500, there.back(), answer));
        transfer.say(at_us + 500 + rtt_us, 0, &[], packets);
        transfer.say(at_us + 600 + rtt_us, 0, b"more, please", packets);
        Self { own: transfer.own.wrapping_add(12), ..transfer }
    }

    /// The client, which has got `got` bytes.
    fn say(&self, at_us: u64, got: u32, payload: &[u8], packets: &mut Vec<Packet>) {
        let acknowledgement = self.peer.wrapping_add(got);
        let flags = if payload.is_empty() { "A" } else { "AP" };
        packets.push(tcp(
            at_us,
            self.there,
            Tcp { flags, sequence: self.own, acknowledgement, window: 64_240, payload },
        ));
    }

    /// The server, from byte `from` on.
    fn send(&self, at_us: u64, from: u32, payload: &[u8], packets: &mut Vec<Packet>) {
        let segment = Tcp {
            flags: "A",
            sequence: self.peer.wrapping_add(from),
            acknowledgement: self.own,
            window: 65_160,
            payload,
        };
        packets.push(tcp(at_us, self.there.back(), segment));
    }
}

/// Twenty transfers of fifty segments a second each, of which this share is sent again.
fn loss(trouble: &Trouble, strength: f64, rng: &mut Rng) -> Vec<Packet> {
    let share_per_million = (trouble.value * strength).min(0.9) * 1e6;
    let mut packets = Vec::new();
    for number in 0..20 {
        let transfer = Transfer::open(number, super::scene::WARM_UP_US, 30_000, rng, &mut packets);
        for (at_us, place) in trouble.times(50.0).zip(0_u32..) {
            let (at_us, from) = (at_us + 100_000, place * SEGMENT_BYTES as u32);
            transfer.send(at_us, from, &[b'.'; SEGMENT_BYTES], &mut packets);
            if rng.chance(share_per_million as u64) {
                transfer.send(at_us + 12_000, from, &[b'.'; SEGMENT_BYTES], &mut packets);
            }
            transfer.say(at_us + 14_000, from + SEGMENT_BYTES as u32, &[], &mut packets);
        }
    }
    packets
}

/// A client that stops reading for so many seconds.
fn zero_window(trouble: &Trouble, strength: f64, rng: &mut Rng) -> Vec<Packet> {
    let mut packets = Vec::new();
    let begin_us = super::scene::WARM_UP_US;
    for number in 0..3 {
        let transfer = Transfer::open(number, begin_us, 20_000, rng, &mut packets);
        transfer.send(begin_us + 100_000, 0, &[b'.'; SEGMENT_BYTES], &mut packets);
        let got = SEGMENT_BYTES as u32;
        let closed = Tcp {
            flags: "A",
            sequence: transfer.own,
            acknowledgement: transfer.peer.wrapping_add(got),
            window: 0,
            payload: &[],
        };
        let until_us = (trouble.value * strength * 1e6) as u64;
        let mut after_us = 120_000;
        packets.push(tcp(begin_us + after_us, transfer.there, closed));
        let mut pause_us = 300_000;
        while after_us < until_us {
            after_us += pause_us;
            pause_us = (2 * pause_us).min(2_000_000);
            transfer.send(begin_us + after_us, got, b".", &mut packets);
            packets.push(tcp(begin_us + after_us + 20_000, transfer.there, closed));
        }
    }
    packets
}

/// Clients whose way became this long; before, it was 20 ms.
fn high_rtt(trouble: &Trouble, strength: f64, rng: &mut Rng) -> Vec<Packet> {
    let mut packets = Vec::new();
    let long_us = (trouble.value * strength * 1e3) as u64;
    let before = (0..400).map(|place| (place * 50_000, 20_000));
    let after = trouble.times(20.0).map(|at_us| (at_us, long_us));
    for ((at_us, rtt_us), number) in before.chain(after).zip(0_u16..) {
        let transfer = Transfer::open(number % 5_000, at_us, rtt_us, rng, &mut packets);
        transfer.send(at_us + rtt_us + 2_000, 0, &[b'.'; 300], &mut packets);
        transfer.say(at_us + 2 * rtt_us + 2_000, 300, &[], &mut packets);
    }
    packets
}

/// A share of 50 clients a second gets no answer, and asks again.
fn unanswered(trouble: &Trouble, strength: f64, rng: &mut Rng) -> Vec<Packet> {
    let share_per_million = ((trouble.value * strength).min(1.0) * 1e6) as u64;
    let mut packets = Vec::new();
    for (at_us, number) in trouble.times(50.0).zip(2_000_000..) {
        if !rng.chance(share_per_million) {
            connection(at_us, number, (ILL, ILL_PORT), rng, &mut packets);
            continue;
        }
        let ends = Ends { from: client(number), to: (ILL, ILL_PORT), ttl: 58 };
        let syn = Tcp { flags: "S", sequence: rng.next_u32(), window: 64_240, ..Tcp::default() };
        for again_us in [0, 1_000_000, 3_000_000] {
            packets.push(tcp(at_us + again_us, ends, syn));
        }
    }
    packets
}

/// A ClientHello of TLS 1.2, as short as it may be.
fn client_hello() -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.extend([0, 0, 2, 0x13, 0x01, 1, 0, 0, 0]);
    let mut hello = vec![0x16, 3, 1, 0, body.len() as u8 + 4, 1, 0, 0, body.len() as u8];
    hello.extend(body);
    hello
}

/// A share of the clients is told that the version is wrong; the others get a hello.
fn tls_failure(trouble: &Trouble, strength: f64, rng: &mut Rng) -> Vec<Packet> {
    let share_per_million = ((trouble.value * strength).min(1.0) * 1e6) as u64;
    let hello = client_hello();
    let mut server_hello = vec![0x16, 3, 3, 0, 44, 2, 0, 0, 40, 3, 3];
    server_hello.extend([9; 32]);
    server_hello.extend([0, 0x13, 0x01, 0, 0, 0]);
    let mut packets = Vec::new();
    for (at_us, number) in trouble.times(20.0).zip(3_000_000..) {
        let there = Ends { from: client(number), to: (ILL, ILL_PORT), ttl: 58 };
        let fails = rng.chance(share_per_million);
        let response: &[u8] = if fails { &[0x15, 3, 3, 0, 2, 2, 70] } else { &server_hello };
        speak(at_us, there, Exchange { request: &hello, response, body_bytes: 0 }, rng, &mut packets);
    }
    packets
}

/// A share of 50 responses a second is 503.
fn http_errors(trouble: &Trouble, strength: f64, rng: &mut Rng) -> Vec<Packet> {
    let share_per_million = ((trouble.value * strength).min(1.0) * 1e6) as u64;
    let mut packets = Vec::new();
    for (at_us, number) in trouble.times(50.0).zip(4_000_000..) {
        let there = Ends { from: client(number), to: (ILL, ILL_PORT), ttl: 58 };
        let response: &[u8] = if rng.chance(share_per_million) {
            b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 100\r\n\r\n"
        } else {
            b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"
        };
        let request = b"GET / HTTP/1.1\r\nHost: www.example.net\r\n\r\n";
        speak(at_us, there, Exchange { request, response, body_bytes: 100 }, rng, &mut packets);
    }
    packets
}

/// A share of 50 questions a second is answered with SERVFAIL.
fn dns_failure(trouble: &Trouble, strength: f64, rng: &mut Rng) -> Vec<Packet> {
    let share_per_million = ((trouble.value * strength).min(1.0) * 1e6) as u64;
    let mut packets = Vec::new();
    for (at_us, number) in trouble.times(50.0).zip(5_000_000..) {
        let there = Ends { from: client(number), to: (RESOLVER, 53), ttl: 60 };
        let id = rng.next_u32() as u16;
        let flags = if rng.chance(share_per_million) { 0x8182 } else { 0x8180 };
        packets.push(udp(at_us, there, &dns(id, 0x0100)));
        packets.push(udp(at_us + 2_000, there.back(), &dns(id, flags)));
    }
    packets
}

/// Packets to one network come back as expired, from the two routers that send them to each other.
fn routing_loop(trouble: &Trouble, strength: f64, rng: &mut Rng) -> Vec<Packet> {
    let mut packets = Vec::new();
    for (at_us, number) in trouble.times(trouble.value * strength / 10.0).zip(0_u32..) {
        let there = Ends {
            from: (Ipv4Addr::new(10, 7, 0, (number % 50) as u8 + 1), 40_000),
            to: (Ipv4Addr::new(198, 51, 100, 9), 443),
            ttl: 61,
        };
        let syn = Tcp { flags: "S", sequence: rng.next_u32(), window: 64_240, ..Tcp::default() };
        let packet = tcp(at_us, there, syn);
        let router = Ipv4Addr::new(172, 16, 0, (number % 2) as u8 + 1);
        let back = Ends { from: (router, 0), to: there.from, ttl: 200 };
        let mut quote = packet.bytes[14..42].to_vec();
        quote[8] = 1;
        packets.push(packet);
        let kind = Icmpv4Type::TimeExceeded(TimeExceededCode::TtlExceededInTransit);
        packets.push(icmp(at_us + 30_000, back, kind, &quote));
    }
    packets
}

/// Full segments that are sent again and again, while handshakes and requests get through.
fn mtu_blackhole(trouble: &Trouble, strength: f64, rng: &mut Rng) -> Vec<Packet> {
    let mut packets = Vec::new();
    for (begin_us, number) in trouble.times(1.0).zip(0_u16..) {
        let transfer = Transfer::open(number, begin_us, 20_000, rng, &mut packets);
        let mut after_us = 30_000;
        let repeats = (trouble.value * strength).ceil() as u32;
        for round in 0..=repeats.min(8) {
            transfer.send(begin_us + after_us, 0, &[b'.'; 1_448], &mut packets);
            after_us += 300_000 << round;
        }
    }
    packets
}
