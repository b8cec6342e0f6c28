//! Who talks to whom, and how: paths, sizes and accidents of ordinary conversations, shared by all kinds.
//!
//! Addresses are documentation and private ranges. Five-tuples are unique per protocol by construction up to 1.6
//! billion conversations, so that flows counted by a reader can be compared with flows generated.

use std::collections::VecDeque;
use std::net::Ipv6Addr;

use super::script::{Close, Opening, TcpPlan, TcpScript};
use super::sink::{Datagram, Packet};
use super::timeline::Conversation;
use crate::rng::Rng;
use crate::wire::{Addresses, Direction, Path, Payload};

const CLIENTS: u64 = 60_000;
const SERVERS: u64 = 250;
/// First ephemeral port, and how many; `PORT_STEP` is prime and does not divide the count.
const PORT_FIRST: u64 = 32_768;
const PORTS: u64 = 28_232;
const PORT_STEP: u64 = 7_919;
const TCP_PORTS: [u16; 5] = [443, 443, 80, 5432, 6379];
const DNS_PORT: u16 = 53;
const MEDIA_PORT: u16 = 5004;

/// The path of ordinary conversation `index`: 10 % IPv6, 5 % tagged.
pub(super) fn path(index: u64, server_port: u16, rng: &mut Rng) -> Path {
    let client = index % CLIENTS;
    let port = PORT_FIRST + (index / CLIENTS * PORT_STEP + client) % PORTS;
    let server = rng.range(0, SERVERS);
    let addresses = if rng.chance(100_000) {
        let host = |net: u16, host: u64| Ipv6Addr::new(0x2001, 0xdb8, net, 0, 0, 0, 0, host as u16);
        Addresses::V6(host(1, client), host(2, server))
    } else {
        let server_addr = match server as u8 {
            ..200 => [192, 0, 2, server as u8 + 1],
            200.. => [198, 51, 100, server as u8 - 199],
        };
        Addresses::V4([10, 7, (client >> 8) as u8, client as u8].into(), server_addr.into())
    };
    let vlan = rng.chance(50_000).then(|| 100 + (client % 8) as u16);
    Path { addresses, ports: (port as u16, server_port), vlan, ttl: rng.range(52, 65) as u8 }
}

/// An ordinary TCP conversation: 2 % need a second SYN, 1 % are refused, 4 % end by reset.
pub(super) fn tcp(index: u64, start_us: u64, rng: &mut Rng) -> Conversation {
    let port = TCP_PORTS[rng.range(0, TCP_PORTS.len() as u64) as usize];
    let path = path(index, port, rng);
    tcp_on(path, start_us, rng)
}

/// The same on a given path.
pub(super) fn tcp_on(path: Path, start_us: u64, rng: &mut Rng) -> Conversation {
    let opening = match rng.range(0, 100) {
        0 => Opening::Refused,
        1..3 => Opening::AcceptedAtSecondSyn,
        _ => Opening::Accepted,
    };
    let turns = [1, 1, 1, 2, 2, 3][rng.range(0, 6) as usize];
    let plan = TcpPlan {
        start_us,
        client_us: rng.range(200, 40_000),
        server_us: rng.range(100, 60_000),
        payload_bytes_max: path.payload_bytes_max(),
        window_segments_max: 64,
        responses: (0..turns).map(|_| response_segments(rng)).collect(),
        think_us: rng.range(20_000, 1_500_000),
        opening,
        close: if rng.chance(40_000) { Close::Rst } else { Close::Fin },
    };
    Conversation::tcp(path, TcpScript::new(plan, rng.fork()))
}

/// Segments of one response: mostly one or two, rarely hundreds, five on average.
fn response_segments(rng: &mut Rng) -> u32 {
    let (low, high) = match rng.range(0, 1000) {
        0..620 => (1, 3),
        620..920 => (3, 10),
        920..994 => (10, 34),
        _ => (60, 300),
    };
    rng.range(low, high) as u32
}

/// A UDP conversation: seven in ten are one DNS question and its answer, the rest are media streams.
pub(super) fn udp(index: u64, start_us: u64, rng: &mut Rng) -> Conversation {
    if rng.chance(700_000) {
        let path = path(index, DNS_PORT, rng);
        let id = rng.next_u32() as u16;
        let answer_us = start_us + rng.range(300, 30_000);
        let round = [
            (start_us, Direction::Forward, dns_message(id, index, DnsPart::Query)),
            (answer_us, Direction::Reverse, dns_message(id, index, DnsPart::Response)),
        ];
        return Conversation::whole(path, round.into_iter().map(datagram).collect());
    }
    let path = path(index, MEDIA_PORT, rng);
    let gap_us = rng.range(2_000, 20_000);
    let round: VecDeque<Packet> = (0..rng.range(8, 35))
        .map(|position| {
            let direction = if position % 4 == 0 { Direction::Forward } else { Direction::Reverse };
            let payload = Payload::Filler(rng.range(160, 1200) as u16);
            datagram((start_us + position * gap_us, direction, payload))
        })
        .collect();
    Conversation::whole(path, round)
}

fn datagram((at_us, direction, payload): (u64, Direction, Payload)) -> Packet {
    Packet::Udp(Datagram { at_us, direction, payload })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum DnsPart {
    Query,
    Response,
}

/// A question for one of 500 names (A record), or its answer.
fn dns_message(id: u16, index: u64, part: DnsPart) -> Payload {
    let (flags, answers) = match part {
        DnsPart::Query => ([0x01, 0x00], 0),
        DnsPart::Response => ([0x81, 0x80], 1),
    };
    let mut message = Vec::with_capacity(64);
    message.extend_from_slice(&id.to_be_bytes());
    message.extend_from_slice(&flags);
    message.extend_from_slice(&[0, 1, 0, answers, 0, 0, 0, 0]);
    for label in [format!("h{:03}", index % 500).as_str(), "example", "net"] {
        message.push(label.len() as u8);
        message.extend_from_slice(label.as_bytes());
    }
    message.extend_from_slice(&[0, 0, 1, 0, 1]);
    if part == DnsPart::Response {
        // A pointer to the name, type A, class IN, 300 s, four bytes of address.
        message.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 1, 44, 0, 4, 192, 0, 2, 7]);
    }
    Payload::Bytes(message)
}
