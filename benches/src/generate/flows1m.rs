//! Very many short connections that are all open at the same time: what a flow table of any size is tried with.
//!
//! Four waves go over all connections: every handshake, then every request, every response, every close. The later
//! waves take them in another order, in which neighbours were not opened one after the other, so that no cache helps.
//! Nothing is kept of a connection: all of it follows from the seed and its number.

use std::io::{self, Write};

use super::population;
use super::sink::Sink;
use crate::rng::Rng;
use crate::wire::{Direction, Marks, Options, Path, Segment, flag};

/// Ten connections make 96 packets: nine each, and six of ten servers acknowledge the request before they answer it.
const PACKETS_PER_TEN: u64 = 96;
const ACKNOWLEDGED_PER_MILLION: u64 = 600_000;
const PACKET_GAP_US: u64 = 2;
/// A connection's next step comes so many connections later, 3 ms where a wave has three steps.
const LAG_SLOTS: u64 = 500;
/// Prime and larger than any number of connections, so that steps of this size reach each of them once.
const STRIDE: u64 = 2_147_483_647;
const LISTENER_PORT: u16 = 443;
const RWND: u16 = 502;

/// One segment of each connection, in a wave.
#[derive(Clone, Copy)]
enum Step {
    Syn,
    SynAck,
    Ack,
    Request,
    RequestAck,
    Response,
    ResponseAck,
    ServerFin,
    ClientFin,
    LastAck,
}

const WAVES: [&[Step]; 4] = [
    &[Step::Syn, Step::SynAck, Step::Ack],
    &[Step::Request, Step::RequestAck],
    &[Step::Response, Step::ResponseAck],
    &[Step::ServerFin, Step::ClientFin, Step::LastAck],
];

/// About `packets` packets, in as many connections as that makes, at least one.
pub(super) fn flows1m<W: Write>(packets: u64, rng: &mut Rng, sink: &mut Sink<W>) -> io::Result<()> {
    let connections = (packets * 10 / PACKETS_PER_TEN).max(1);
    let seed = rng.next_u64();
    let mut wave_us = 0;
    for (wave, steps) in WAVES.iter().enumerate() {
        let slot_us = steps.len() as u64 * PACKET_GAP_US;
        let slots = connections + (steps.len() as u64 - 1) * LAG_SLOTS;
        for slot in 0..slots {
            for (position, step) in (0..).zip(*steps) {
                let Some(place) = slot.checked_sub(position * LAG_SLOTS).filter(|&place| place < connections)
                else {
                    continue;
                };
                let number = if wave == 0 { place } else { place * STRIDE % connections };
                let connection = Connection::new(number, seed);
                let at_us = wave_us + slot * slot_us + position * PACKET_GAP_US;
                if let Some(segment) = connection.segment(*step, at_us) {
                    sink.tcp(&connection.path, &segment)?;
                }
            }
        }
        wave_us += slots * slot_us;
    }
    sink.truth.tcp_flows = connections;
    sink.truth.handshakes_completed = connections;
    Ok(())
}

/// What one connection is made of.
struct Connection {
    path: Path,
    /// First sequence number of client and server.
    first: [u32; 2],
    clock: [u32; 2],
    request_bytes: u16,
    response_bytes: u16,
    acknowledges_request: bool,
}

impl Connection {
    fn new(number: u64, seed: u64) -> Self {
        let mut rng = Rng::new(seed.wrapping_add(number));
        let path = population::path(number, LISTENER_PORT, &mut rng);
        Self {
            first: [rng.next_u32(), rng.next_u32()],
            clock: [rng.next_u32(), rng.next_u32()],
            request_bytes: rng.range(80, 900) as u16,
            response_bytes: rng.range(200, u64::from(path.payload_bytes_max()) + 1) as u16,
            acknowledges_request: rng.chance(ACKNOWLEDGED_PER_MILLION),
            path,
        }
    }

    /// The segment of a step; `None` where this connection does without.
    fn segment(&self, step: Step, at_us: u64) -> Option<Segment> {
        use Direction::{Forward, Reverse};
        const PUSH: u8 = flag::PSH | flag::ACK;
        const FIN: u8 = flag::FIN | flag::ACK;
        let (request, response) = (u32::from(self.request_bytes), u32::from(self.response_bytes));
        // Who sends, flags, payload, and what client and server have sent before, counted from their first number.
        let (direction, flags, payload_bytes, sent) = match step {
            Step::Syn => (Forward, flag::SYN, 0, [0, 0]),
            Step::SynAck => (Reverse, flag::SYN | flag::ACK, 0, [1, 0]),
            Step::Ack => (Forward, flag::ACK, 0, [1, 1]),
            Step::Request => (Forward, PUSH, self.request_bytes, [1, 1]),
            Step::RequestAck if !self.acknowledges_request => return None,
            Step::RequestAck => (Reverse, flag::ACK, 0, [1 + request, 1]),
            Step::Response => (Reverse, PUSH, self.response_bytes, [1 + request, 1]),
            Step::ResponseAck => (Forward, flag::ACK, 0, [1 + request, 1 + response]),
            Step::ServerFin => (Reverse, FIN, 0, [1 + request, 1 + response]),
            Step::ClientFin => (Forward, FIN, 0, [1 + request, 2 + response]),
            Step::LastAck => (Reverse, flag::ACK, 0, [2 + request, 2 + response]),
        };
        let (own, peer) = if direction == Forward { (0, 1) } else { (1, 0) };
        let number = |side: usize| self.first[side].wrapping_add(sent[side]);
        // A clock that ticks once a step: each value stands for one segment, and each echo for the one before.
        let tick = step as u32;
        let value = self.clock[own].wrapping_add(tick);
        let echo = self.clock[peer].wrapping_add(heard(step));
        let is_syn = flags & flag::SYN != 0;
        Some(Segment {
            at_us,
            direction,
            flags,
            seq: number(own),
            ack: if tick == 0 { 0 } else { number(peer) },
            rwnd: if is_syn { 64_240 } else { RWND },
            payload_bytes,
            options: match tick {
                0 => Options::Syn { value, echo: 0 },
                _ if is_syn => Options::Syn { value, echo },
                _ => Options::Timestamps { value, echo },
            },
            marks: Marks::default(),
        })
    }
}

/// The peer's step that the sender of this one heard last.
fn heard(step: Step) -> u32 {
    let step = match step {
        Step::Syn | Step::SynAck => Step::Syn,
        Step::Ack | Step::Request => Step::SynAck,
        Step::RequestAck | Step::Response => Step::Request,
        Step::ResponseAck => Step::Response,
        Step::ServerFin => Step::ResponseAck,
        Step::ClientFin => Step::ServerFin,
        Step::LastAck => Step::ClientFin,
    };
    step as u32
}
