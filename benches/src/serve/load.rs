//! Handshakes with [`LISTENERS`] listeners, one after the other, all of them once in [`ROUND`]; sent in bursts of a hundredth of
//! a second, which costs the machine little.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tidegauge_tests::packet_socket::PacketSocket;

use crate::wire::{Addresses, Direction, FrameBuilder, Marks, Options, Path, Segment, flag};

/// Listeners: addresses of 198.18.0.0/15 (RFC 2544) by ports.
pub const LISTENERS: usize = 100_000;
const PORTS: [u16; 4] = [443, 80, 5432, 6379];
/// In which each listener is asked once.
pub(super) const ROUND: Duration = Duration::from_secs(20);
/// Bursts a second.
const BURSTS_PER_S: u32 = 100;
const HANDSHAKES_PER_BURST: usize = LISTENERS / (ROUND.as_secs() as usize * BURSTS_PER_S as usize);
const SNAP_BYTES: usize = 128;
/// Window field of everybody.
const RWND: u16 = 64_240;

/// What was sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    pub(super) frames: u64,
    pub(super) seconds: f64,
}

/// Sends through `iface` until it is over.
pub(super) fn send(iface: &str, is_over: &AtomicBool) -> Result<Sent> {
    let socket = PacketSocket::open(iface).with_context(|| format!("open a packet socket on {iface}"))?;
    let mut builder = FrameBuilder::new(SNAP_BYTES);
    let started = Instant::now();
    let (mut frames, mut number) = (0, 0);
    for burst in 1_u32.. {
        if is_over.load(Ordering::Relaxed) {
            break;
        }
        for _ in 0..HANDSHAKES_PER_BURST {
            frames += handshake(&socket, &mut builder, number).context("send a frame")?;
            number += 1;
        }
        let due = Duration::from_secs(1) * burst / BURSTS_PER_S;
        thread::sleep(due.saturating_sub(started.elapsed()));
    }
    Ok(Sent { frames, seconds: started.elapsed().as_secs_f64() })
}

/// The handshake of this number: each round a client's next port.
fn handshake(socket: &PacketSocket, builder: &mut FrameBuilder, number: usize) -> std::io::Result<u64> {
    let (round, listener) = (number / LISTENERS, number % LISTENERS);
    let host = (listener / PORTS.len()) as u32 + 1;
    let path = Path {
        addresses: Addresses::V4(
            Ipv4Addr::from(0x0a00_0000 + (listener % 5_000) as u32 + 1),
            Ipv4Addr::from(0xc612_0000 + host),
        ),
        ports: (20_000 + (round % 40_000) as u16, PORTS[listener % PORTS.len()]),
        vlan: None,
        ttl: 60,
    };
    let segment = |direction, flags, seq, ack, options| Segment {
        at_us: 0,
        direction,
        flags,
        seq,
        ack,
        rwnd: RWND,
        payload_bytes: 0,
        options,
        marks: Marks::default(),
    };
    let syn = Options::Syn { value: number as u32, echo: 0 };
    let segments = [
        segment(Direction::Forward, flag::SYN, 1_000, 0, syn),
        segment(Direction::Reverse, flag::SYN | flag::ACK, 9_000, 1_001, syn),
        segment(Direction::Forward, flag::ACK, 1_001, 9_001, Options::Empty),
    ];
    for segment in &segments {
        socket.send_frame(builder.tcp(&path, segment).1)?;
    }
    Ok(segments.len() as u64)
}
