//! Ordinary traffic around every scene: clients of a busy listener and of a few quiet ones, and their resolver.

use std::net::Ipv4Addr;

use super::frames::{Ends, Packet, Tcp, tcp, udp};
use crate::rng::Rng;

/// The busy listener; attacks on a listener are at it.
pub const VICTIM: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 80);
/// Its port.
pub const VICTIM_PORT: u16 = 80;
/// Connections per second at the busy listener.
pub const BUSY_PER_S: u64 = 100;
/// Segments of a [`connection`] that go to the listener.
pub const SEGMENTS_IN: u64 = 6;
const QUIET_PER_S: u64 = 10;
const QUIET: [(Ipv4Addr, u16); 4] = [
    (Ipv4Addr::new(192, 0, 2, 10), 443),
    (Ipv4Addr::new(192, 0, 2, 11), 5432),
    (Ipv4Addr::new(192, 0, 2, 12), 22),
    (Ipv4Addr::new(192, 0, 2, 13), 8080),
];
const RESOLVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 53);
const CLIENTS: u64 = 2_000;

/// All of it, from `from_us` to `until_us`, in no order.
pub fn traffic(from_us: u64, until_us: u64, rng: &mut Rng) -> Vec<Packet> {
    let mut packets = Vec::new();
    arrivals(from_us, until_us, BUSY_PER_S, rng, |at_us, number, rng| {
        connection(at_us, number, (VICTIM, VICTIM_PORT), rng, &mut packets);
    });
    for (listener, place) in QUIET.into_iter().zip(1..) {
        arrivals(from_us, until_us, QUIET_PER_S, rng, |at_us, number, rng| {
            connection(at_us, number + place * 7_919, listener, rng, &mut packets);
        });
    }
    arrivals(from_us, until_us, QUIET_PER_S, rng, |at_us, number, rng| {
        question(at_us, number, rng, &mut packets);
    });
    packets
}

/// Calls `begin` with times that come at random, `per_s` in the mean.
pub fn arrivals(
    from_us: u64,
    until_us: u64,
    per_s: u64,
    rng: &mut Rng,
    mut begin: impl FnMut(u64, u64, &mut Rng),
) {
    let gap_us = 1_000_000 / per_s.max(1);
    let (mut at_us, mut number) = (from_us, 0);
    while at_us < until_us {
        begin(at_us, number, rng);
        at_us += rng.range(0, 2 * gap_us).max(1);
        number += 1;
    }
}

/// Client number `number` and its port for that connection.
pub fn client(number: u64) -> (Ipv4Addr, u16) {
    let host = number % CLIENTS;
    let port = 32_768 + (number / CLIENTS * 7 + host) % 28_000;
    (Ipv4Addr::new(10, 7, (host >> 8) as u8, host as u8), port as u16)
}

/// A request and its answer.
pub fn connection(
    at_us: u64,
    number: u64,
    listener: (Ipv4Addr, u16),
    rng: &mut Rng,
    packets: &mut Vec<Packet>,
) {
    let there = Ends { from: client(number), to: listener, ttl: rng.range(52, 62) as u8 };
    let exchange = Exchange {
        request: b"GET /index.html HTTP/1.1\r\nHost: www.example.net\r\n\r\n",
        response: b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n",
        body_bytes: 500,
    };
    speak(at_us, there, exchange, rng, packets);
}

/// What is said on a connection.
#[derive(Clone, Copy)]
pub struct Exchange<'a> {
    /// By the client.
    pub request: &'a [u8],
    /// By the server.
    pub response: &'a [u8],
    /// Bytes behind it.
    pub body_bytes: usize,
}

/// A whole connection: handshake, a request, a response, both FINs.
pub fn speak(at_us: u64, there: Ends, exchange: Exchange<'_>, rng: &mut Rng, packets: &mut Vec<Packet>) {
    let back = there.back();
    let (client_us, server_us) = (rng.range(5_000, 40_000), rng.range(200, 2_000));
    let (own, peer) = (rng.next_u32(), rng.next_u32());
    let asked = exchange.request.len() as u32;
    let mut answer = exchange.response.to_vec();
    answer.resize(answer.len() + exchange.body_bytes, b'.');
    let answered = answer.len() as u32;
    let (own1, peer1) = (own.wrapping_add(1), peer.wrapping_add(1));
    let (own2, peer2) = (own1.wrapping_add(asked), peer1.wrapping_add(answered));
    let segment = |flags, sequence, acknowledgement, payload| Tcp {
        flags,
        sequence,
        acknowledgement,
        window: 64_240,
        payload,
    };
    let mut now_us = at_us;
    let mut say = |after_us: u64, ends, tcp_segment| {
        now_us += after_us;
        packets.push(tcp(now_us, ends, tcp_segment));
    };
    say(0, there, segment("S", own, 0, &[]));
    say(server_us, back, segment("SA", peer, own1, &[]));
    say(client_us, there, segment("A", own1, peer1, &[]));
    say(100, there, segment("AP", own1, peer1, exchange.request));
    say(server_us, back, segment("AP", peer1, own2, &answer));
    say(client_us, there, segment("A", own2, peer2, &[]));
    say(200, there, segment("FA", own2, peer2, &[]));
    say(server_us, back, segment("FA", peer2, own2.wrapping_add(1), &[]));
    say(client_us, there, segment("A", own2.wrapping_add(1), peer2.wrapping_add(1), &[]));
}

/// A DNS question and its answer.
fn question(at_us: u64, number: u64, rng: &mut Rng, packets: &mut Vec<Packet>) {
    let there = Ends { from: client(number), to: (RESOLVER, 53), ttl: 60 };
    let id = rng.next_u32() as u16;
    packets.push(udp(at_us, there, &dns(id, 0x0100)));
    packets.push(udp(at_us + rng.range(300, 20_000), there.back(), &dns(id, 0x8180)));
}

/// A DNS message about one name, with these flags.
pub fn dns(id: u16, flags: u16) -> Vec<u8> {
    let mut message = id.to_be_bytes().to_vec();
    message.extend(flags.to_be_bytes());
    message.extend([0, 1, 0, 0, 0, 0, 0, 0]);
    message.extend(*b"\x03www\x07example\x03net\x00\x00\x01\x00\x01");
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_has_as_many_segments_to_its_listener_as_are_named() {
        let mut packets = Vec::new();
        connection(0, 1, (VICTIM, VICTIM_PORT), &mut Rng::new(1), &mut packets);
        // Behind Ethernet's 14 bytes, at 16 of the IPv4 header.
        let to_it = packets.iter().filter(|packet| packet.bytes[30..34] == VICTIM.octets()).count();
        assert_eq!(to_it as u64, SEGMENTS_IN);
    }
}
