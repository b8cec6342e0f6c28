//! The two captures without an attack: `mix`, ordinary traffic by count, and `elephants`, ordinary traffic by volume.

use std::io::{self, Write};
use std::net::Ipv4Addr;

use super::population;
use super::script::{Close, Opening, TcpPlan, TcpScript};
use super::sink::Sink;
use super::timeline::{Conversation, Timeline};
use crate::rng::Rng;
use crate::wire::{Addresses, Path};

/// One TCP conversation per so many packets asked for; with the UDP ones it makes about that many packets.
const PACKETS_PER_TCP_FLOW: u64 = 25;
/// UDP conversations among all, per million: a tenth of the packets.
const UDP_PER_MILLION: u64 = 242_000;
/// Mean time between two conversations: 3,950 begin each second.
const ARRIVAL_GAP_US: u64 = 253;
const ELEPHANTS: u64 = 20;

/// About `packets` packets of interleaved conversations.
pub(super) fn mix<W: Write>(packets: u64, rng: &mut Rng, sink: &mut Sink<W>) -> io::Result<()> {
    let mut timeline = Timeline::default();
    let mut at_us = 0;
    let mut udp_flows = 0;
    for tcp_flow in 0..packets.div_ceil(PACKETS_PER_TCP_FLOW) {
        while rng.chance(UDP_PER_MILLION) {
            timeline.start(population::udp(udp_flows, at_us, rng), sink);
            udp_flows += 1;
        }
        timeline.start(population::tcp(tcp_flow, at_us, rng), sink);
        at_us += rng.range(0, 2 * ARRIVAL_GAP_US * 1_000_000 / (1_000_000 - UDP_PER_MILLION));
        timeline.drain(at_us, sink)?;
    }
    sink.truth.udp_flows = udp_flows;
    timeline.drain(u64::MAX, sink)
}

/// `segments` data segments of full size in [`ELEPHANTS`] transfers, and their ACKs.
pub(super) fn elephants<W: Write>(segments: u64, rng: &mut Rng, sink: &mut Sink<W>) -> io::Result<()> {
    let mut timeline = Timeline::default();
    for index in 0..ELEPHANTS {
        let client = Ipv4Addr::new(10, 9, 0, index as u8 + 1);
        let path = Path {
            addresses: Addresses::V4(client, Ipv4Addr::new(192, 0, 2, 80)),
            ports: (50_000 + index as u16, 443),
            vlan: None,
            ttl: 60,
        };
        let plan = TcpPlan {
            start_us: index * 1_000,
            client_us: rng.range(500, 5_000),
            server_us: rng.range(500, 5_000),
            payload_bytes_max: path.payload_bytes_max(),
            window_segments_max: 256,
            responses: vec![(segments / ELEPHANTS) as u32],
            think_us: 0,
            opening: Opening::Accepted,
            close: Close::Fin,
        };
        timeline.start(Conversation::tcp(path, TcpScript::new(plan, rng.fork())), sink);
    }
    timeline.drain(u64::MAX, sink)
}
