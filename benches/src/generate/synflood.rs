//! The flood: spoofed SYNs at one listener, 500,000/s, and ordinary conversations that must not drown in it.
//!
//! Every 500th SYN one ordinary conversation begins, every eighth of these at the flooded listener itself. The
//! sources are random over 11.0.0.0 to 126.255.255.255; a five-tuple repeats only by chance.

use std::io::{self, Write};
use std::net::Ipv4Addr;

use super::population;
use super::sink::Sink;
use super::timeline::Timeline;
use crate::rng::Rng;
use crate::wire::{Addresses, Direction, Marks, Options, Path, Segment, flag};

const SYN_GAP_US: u64 = 2;
const SYNS_PER_CONVERSATION: u64 = 500;
const CONVERSATIONS_PER_VICTIM: u64 = 8;
const VICTIM: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 80);
const VICTIM_PORT: u16 = 443;

/// `syns` spoofed SYNs with a fiftieth as many ordinary packets among them.
pub(super) fn synflood<W: Write>(syns: u64, rng: &mut Rng, sink: &mut Sink<W>) -> io::Result<()> {
    let mut timeline = Timeline::default();
    for index in 0..syns {
        let at_us = index * SYN_GAP_US;
        if index % SYNS_PER_CONVERSATION == 0 {
            let conversation = match index / SYNS_PER_CONVERSATION {
                flow if flow % CONVERSATIONS_PER_VICTIM == 0 => {
                    population::tcp_on(path_to_victim(flow), at_us, rng)
                }
                flow => population::tcp(flow, at_us, rng),
            };
            timeline.start(conversation, sink);
        }
        timeline.drain(at_us, sink)?;
        sink.tcp(&spoofed_path(rng), &spoofed_syn(at_us, rng))?;
    }
    sink.truth.spoofed_syn = syns;
    timeline.drain(u64::MAX, sink)
}

fn path_to_victim(flow: u64) -> Path {
    let client = Ipv4Addr::new(10, 8, (flow >> 11) as u8, (flow >> 3) as u8);
    let port = 20_000 + (flow >> 19) as u16;
    Path { addresses: Addresses::V4(client, VICTIM), ports: (port, VICTIM_PORT), vlan: None, ttl: 58 }
}

fn spoofed_path(rng: &mut Rng) -> Path {
    let source = Ipv4Addr::from_bits(rng.range(0x0b00_0000, 0x7f00_0000) as u32);
    let port = rng.range(1_024, 65_536) as u16;
    let ttl = rng.range(32, 128) as u8;
    Path { addresses: Addresses::V4(source, VICTIM), ports: (port, VICTIM_PORT), vlan: None, ttl }
}

fn spoofed_syn(at_us: u64, rng: &mut Rng) -> Segment {
    Segment {
        at_us,
        direction: Direction::Forward,
        flags: flag::SYN,
        seq: rng.next_u32(),
        ack: 0,
        rwnd: 64_240,
        payload_bytes: 0,
        options: Options::Mss,
        marks: Marks::default(),
    }
}
