//! Scenes that only differ in what causes them.

use std::fs::File;
use std::io::BufWriter;
use std::net::Ipv4Addr;
use std::path::Path;

use tidegauge_benches::detection::background::{Exchange, dns, speak};
use tidegauge_benches::detection::frames::{Ends, Packet, Tcp, tcp, udp};
use tidegauge_benches::detection::scene::EPOCH_US;
use tidegauge_benches::pcap::Writer;
use tidegauge_benches::rng::Rng;

const SECOND_US: u64 = 1_000_000;
const BYTES: u32 = 1_200;
const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 90);
const RESOLVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 153);

/// A capture of these, in their order of time.
pub(crate) fn write(path: &Path, mut packets: Vec<Packet>) {
    packets.sort_by_key(|packet| packet.at_us);
    let mut writer = Writer::new(BufWriter::new(File::create(path).unwrap()), 65_535).unwrap();
    for packet in &packets {
        writer.frame(EPOCH_US + packet.at_us, packet.bytes.len() as u32, &packet.bytes).unwrap();
    }
    writer.finish().unwrap();
}

/// A connection from a client to a listener, and its numbers.
#[derive(Clone, Copy)]
struct Talk {
    there: Ends,
    own: u32,
    peer: u32,
}

impl Talk {
    fn new(number: u32, listener: (Ipv4Addr, u16), rng: &mut Rng) -> Self {
        let client = Ipv4Addr::new(10, 20 + (number >> 16) as u8, (number >> 8) as u8, number as u8);
        let there = Ends { from: (client, 30_000 + (number % 30_000) as u16), to: listener, ttl: 58 };
        Self { there, own: rng.next_u32(), peer: rng.next_u32() }
    }

    fn client(&self, at_us: u64, flags: &'static str, sent: u32, got: u32, payload: &[u8]) -> Packet {
        let (sequence, acknowledgement) = (self.own.wrapping_add(sent), self.peer.wrapping_add(got));
        tcp(at_us, self.there, Tcp { flags, sequence, acknowledgement, window: 64_240, payload })
    }

    fn server(&self, at_us: u64, flags: &'static str, sent: u32, got: u32, payload: &[u8]) -> Packet {
        let (sequence, acknowledgement) = (self.peer.wrapping_add(sent), self.own.wrapping_add(got));
        tcp(at_us, self.there.back(), Tcp { flags, sequence, acknowledgement, window: 65_160, payload })
    }

    /// The handshake, and the client's request of ten bytes.
    fn open(&self, at_us: u64, packets: &mut Vec<Packet>) {
        packets.push(self.client(at_us, "S", 0, 0, &[]));
        packets.push(self.server(at_us + 500, "SA", 0, 1, &[]));
        packets.push(self.client(at_us + 20_500, "A", 1, 1, &[]));
        packets.push(self.client(at_us + 20_600, "AP", 1, 1, b"0123456789"));
    }
}

/// What becomes of every tenth segment.
#[derive(Clone, Copy, PartialEq)]
enum Fate {
    /// Lost before the capture: it comes later, in its second sending.
    LostBefore,
    /// Lost behind it: it comes twice.
    LostBehind,
    /// The capture alone has not got it.
    NotCaptured,
}

/// Transfers of fifty segments a second to ten clients of a listener, for so many seconds.
fn transfers(listener: (Ipv4Addr, u16), number: u32, seconds: u64, fate: Fate, rng: &mut Rng) -> Vec<Packet> {
    let mut packets = Vec::new();
    for client in 0..10 {
        let talk = Talk::new(number + client, listener, rng);
        let start_us = 100_000 + u64::from(client) * 1_700;
        talk.open(start_us, &mut packets);
        for place in 0..seconds * 50 {
            let (at_us, sent) = (start_us + 100_000 + place * 20_000, 1 + place as u32 * BYTES);
            let segment = |after_us| talk.server(at_us + after_us, "A", sent, 11, &[b'.'; BYTES as usize]);
            let lost = rng.chance(100_000) && place > 0;
            if !lost || fate == Fate::LostBehind {
                packets.push(segment(0));
            }
            if lost && fate != Fate::NotCaptured {
                // After the next one has come, and the client has said what is missing.
                packets.push(segment(25_000));
            }
            let got = if lost && fate != Fate::NotCaptured { sent } else { sent + BYTES };
            packets.push(talk.client(at_us + 10_000, "A", 11, got, &[]));
        }
    }
    packets
}

pub(crate) fn loss_before() -> Vec<Packet> {
    transfers((SERVER, 443), 0, 80, Fate::LostBefore, &mut Rng::new(1))
}

pub(crate) fn capture_drops() -> Vec<Packet> {
    transfers((SERVER, 443), 0, 80, Fate::NotCaptured, &mut Rng::new(2))
}

/// Forty listeners of one network, behind one lossy way.
pub(crate) fn forty_lossy() -> Vec<Packet> {
    let mut rng = Rng::new(3);
    let of = |listener: u8, rng: &mut Rng| {
        let address = (Ipv4Addr::new(192, 0, 2, 100 + listener), 443);
        transfers(address, u32::from(listener) * 100, 70, Fate::LostBehind, rng)
    };
    (0..40).flat_map(|listener| of(listener, &mut rng)).collect()
}

/// A server that has a little to send now and then; windows stay open.
pub(crate) fn slow_sender() -> Vec<Packet> {
    let (mut packets, mut rng) = (Vec::new(), Rng::new(4));
    for client in 0..5 {
        let talk = Talk::new(client, (SERVER, 443), &mut rng);
        talk.open(0, &mut packets);
        for place in 0..30_u32 {
            let at_us = 100_000 + u64::from(place) * 2 * SECOND_US;
            packets.push(talk.server(at_us, "AP", 1 + place * 100, 11, &[b'.'; 100]));
            packets.push(talk.client(at_us + 20_000, "A", 11, 101 + place * 100, &[]));
        }
    }
    packets
}

/// A front that asks a resolver for each request. From the thirtieth second on the resolver fails, and so does it.
pub(crate) fn dns_in_front() -> Vec<Packet> {
    let (mut packets, mut rng) = (Vec::new(), Rng::new(5));
    for number in 0..90 * 20_u64 {
        let at_us = number * 50_000;
        let ill = at_us > 30 * SECOND_US;
        let client = Ipv4Addr::new(10, 7, (number >> 8) as u8, number as u8);
        let there = Ends { from: (client, 40_000), to: (SERVER, 80), ttl: 58 };
        let response: &[u8] = if ill {
            b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 10\r\n\r\n"
        } else {
            b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"
        };
        let request = b"GET / HTTP/1.1\r\nHost: www.example.net\r\n\r\n";
        speak(at_us, there, Exchange { request, response, body_bytes: 10 }, &mut rng, &mut packets);
        let port = 20_000 + (number % 30_000) as u16;
        let asks = Ends { from: (SERVER, port), to: (RESOLVER, 53), ttl: 64 };
        let id = rng.next_u32() as u16;
        packets.push(udp(at_us + 1_000, asks, &dns(id, 0x0100)));
        packets.push(udp(at_us + 3_000, asks.back(), &dns(id, if ill { 0x8182 } else { 0x8180 })));
    }
    packets
}

/// An application that takes two of ten connections a second: Linux answers the next few SYNs, drops the ACKs that it
/// has no place for and what the clients send then, answers again, and soon does not answer at all (as recorded from a
/// kernel with a backlog of eight).
pub(crate) fn accept_queue() -> Vec<Packet> {
    let (mut packets, mut rng) = (Vec::new(), Rng::new(6));
    for number in 0..10 * 150_u32 {
        let at_us = u64::from(number) * 100_000;
        let talk = Talk::new(number, (SERVER, 80), &mut rng);
        match number % 10 {
            0 | 5 => {
                talk.open(at_us, &mut packets);
                packets.push(talk.server(at_us + 21_000, "AP", 1, 11, &[b'.'; 100]));
                packets.push(talk.client(at_us + 41_000, "A", 11, 101, &[]));
            }
            // Answered, and its ACK and request find no place.
            1 => {
                talk.open(at_us, &mut packets);
                for after_us in [220_000, 640_000, 1_500_000, 3_200_000] {
                    packets.push(talk.client(at_us + after_us, "AP", 1, 1, b"0123456789"));
                }
                for after_us in [1_020_000, 3_030_000] {
                    packets.push(talk.server(at_us + after_us, "SA", 0, 1, &[]));
                    packets.push(talk.client(at_us + after_us + 20_000, "A", 11, 1, &[]));
                }
            }
            _ => {
                for after_us in [0, 1_010_000, 3_020_000] {
                    packets.push(talk.client(at_us + after_us, "S", 0, 0, &[]));
                }
            }
        }
    }
    packets
}

/// How a listener bears a flood.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Listener {
    /// It answers every SYN, keeps nothing, and serves its clients.
    Cookies,
    /// It answers those that it has room for, again and again, and nobody else.
    FullQueue,
}

/// Fifty clients a second, and from the fifteenth second on two thousand forged SYNs.
pub(crate) fn flood(listener: Listener) -> Vec<Packet> {
    const ROOM: u64 = 128;
    let (mut packets, mut rng) = (Vec::new(), Rng::new(7));
    let start_us = 15 * SECOND_US;
    for number in 0..25 * 50_u32 {
        let at_us = u64::from(number) * 20_000;
        let talk = Talk::new(number, (SERVER, 80), &mut rng);
        if at_us < start_us || listener == Listener::Cookies {
            talk.open(at_us, &mut packets);
        } else {
            packets.push(talk.client(at_us, "S", 0, 0, &[]));
            packets.push(talk.client(at_us + 1_000_000, "S", 0, 0, &[]));
        }
    }
    for number in 0..10 * 2_000_u64 {
        let at_us = start_us + number * 500;
        let forged = Ipv4Addr::from_bits(rng.range(0x0b00_0000, 0x7f00_0000) as u32);
        let there = Ends { from: (forged, rng.range(1_024, 65_536) as u16), to: (SERVER, 80), ttl: 61 };
        let talk = Talk { there, own: rng.next_u32(), peer: rng.next_u32() };
        packets.push(talk.client(at_us, "S", 0, 0, &[]));
        if listener == Listener::Cookies {
            packets.push(talk.server(at_us + 100, "SA", 0, 1, &[]));
        } else if number < ROOM {
            for after_us in [100, 1_000_000, 3_000_000, 7_000_000] {
                packets.push(talk.server(at_us + after_us, "SA", 0, 1, &[]));
            }
        }
    }
    packets
}
