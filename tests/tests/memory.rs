//! A flood against the default tables: memory stays what it was, and established flows stay followed, each of them.
//!
//! 10,000 flows are established by their packets, then 316,000 sources ask for a connection and segments of 2,000,000
//! flows pass that nobody saw begin, then each established flow sends a segment again, which only a flow that is still
//! followed can tell. All frames come in by the server's interface as from a mirror port: the stack behind it drops them.
//! `TIDEGAUGE_FLOOD_FLOWS` sets another number than two million, for slow machines. Needs root.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

#[path = "support/bpf_maps.rs"]
mod bpf_maps;
#[path = "live/running.rs"]
#[expect(dead_code, reason = "delays, signals and interface counters are the live tests'")]
mod running;
#[path = "support/mod.rs"]
#[expect(dead_code, reason = "incidents are the live tests'")]
mod support;

use std::cell::Cell;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use bpf_maps::{map_bytes, resident_bytes};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use running::{Live, alone};
use serde_json::Value;
use tidegauge_tests::netns::{CLIENT_IFACE, CLIENT_MAC, Lab, SERVER_IFACE, SERVER_V4, Side};
use tidegauge_tests::packet_socket::{BATCH_FRAMES, Batch, PacketSocket};
use tidegauge_tests::skip::lab_or_skip;
use tidegauge_tests::syn_frame::{FRAME_BYTES_MAX, Mac};

const ESTABLISHED: u32 = 10_000;
const SPOOFED: u32 = 316_000;
const FLOWS: u32 = 2_000_000;
/// What the default tables may take, all together.
const MAP_BYTES_MAX: u64 = 64 << 20;
/// What an incident with its sources, the lines told and the allocator's own pages may take.
const GROWTH_BYTES_MAX: u64 = 4 << 20;
/// More than one of them, whatever their length: packets have stopped coming fast.
const JIFFIES: Duration = Duration::from_millis(50);
const PATIENCE: Duration = Duration::from_secs(30);

/// Hardware address that nobody in a lab has: the stack drops what carries it.
const ELSEWHERE_MAC: Mac = [0x02, 0x77, 0, 0, 0, 0xff];
const FRAME_BYTES: usize = 14 + 20 + 20 + PAYLOAD_BYTES;
const PAYLOAD_BYTES: usize = 10;
const CLIENT_ISN: u32 = 1_000;
const SERVER_ISN: u32 = 5_000;
const SERVER_PORT: u16 = 80;
const SYN: u8 = 0x02;
const PSH: u8 = 0x08;
const ACK: u8 = 0x10;

/// A segment to or from the server.
#[derive(Clone, Copy)]
struct Segment {
    peer: Ipv4Addr,
    peer_port: u16,
    from_server: bool,
    flags: u8,
    sequence: u32,
    acknowledgment: u32,
}

impl Segment {
    /// Those with PSH carry ten bytes. Checksums are nobody's business here.
    fn write(self, frame: &mut [u8; FRAME_BYTES_MAX]) -> usize {
        let payload_bytes = if self.flags & PSH != 0 { PAYLOAD_BYTES } else { 0 };
        let (client, server) = ((self.peer, self.peer_port), (SERVER_V4, SERVER_PORT));
        let (source, destination) = if self.from_server { (server, client) } else { (client, server) };
        *frame = [0; FRAME_BYTES_MAX];
        frame[..6].copy_from_slice(&ELSEWHERE_MAC);
        frame[6..12].copy_from_slice(&CLIENT_MAC);
        frame[12..16].copy_from_slice(&[0x08, 0x00, 0x45, 0]);
        frame[16..18].copy_from_slice(&u16::try_from(40 + payload_bytes).unwrap().to_be_bytes());
        frame[22..24].copy_from_slice(&[64, 6]);
        frame[26..30].copy_from_slice(&source.0.octets());
        frame[30..34].copy_from_slice(&destination.0.octets());
        frame[34..36].copy_from_slice(&source.1.to_be_bytes());
        frame[36..38].copy_from_slice(&destination.1.to_be_bytes());
        frame[38..42].copy_from_slice(&self.sequence.to_be_bytes());
        frame[42..46].copy_from_slice(&self.acknowledgment.to_be_bytes());
        frame[46..50].copy_from_slice(&[0x50, self.flags, 0xff, 0xff]);
        FRAME_BYTES
    }
}

/// A flow's handshake and ten bytes each way, then nothing but these ten again.
fn established(flow: u32) -> [Segment; 6] {
    let peer = Ipv4Addr::from_bits(0x0a4e_0000 + flow);
    let client = |flags, sequence, acknowledgment| Segment {
        peer,
        peer_port: 40_000,
        from_server: false,
        flags,
        sequence,
        acknowledgment,
    };
    let server = |flags, sequence, acknowledgment| Segment {
        from_server: true,
        ..client(flags, sequence, acknowledgment)
    };
    let sent = PAYLOAD_BYTES as u32;
    [
        client(SYN, CLIENT_ISN, 0),
        server(SYN | ACK, SERVER_ISN, CLIENT_ISN + 1),
        client(ACK, CLIENT_ISN + 1, SERVER_ISN + 1),
        client(PSH | ACK, CLIENT_ISN + 1, SERVER_ISN + 1),
        server(PSH | ACK, SERVER_ISN + 1, CLIENT_ISN + 1 + sent),
        client(ACK, CLIENT_ISN + 1 + sent, SERVER_ISN + 1 + sent),
    ]
}

/// Of the flow established before.
fn sent_again(flow: u32) -> Segment {
    established(flow)[3]
}

fn asking(source: u32) -> Segment {
    let peer = Ipv4Addr::from_bits(0x0b00_0000 + source);
    Segment { peer, peer_port: 1_024, from_server: false, flags: SYN, sequence: source, acknowledgment: 0 }
}

/// A segment with payload of a flow whose beginning nobody saw, from either end.
fn unseen(flow: u32) -> Segment {
    Segment {
        peer: Ipv4Addr::from_bits(0x0c00_0000 + flow / 4),
        peer_port: 2_000 + (flow % 4) as u16,
        from_server: flow & 16 != 0,
        flags: PSH | ACK,
        sequence: flow,
        acknowledgment: !flow,
    }
}

/// Sends all of them from the client's side, and behind a pause one that says nothing new; the interface took each.
///
/// From one CPU, and with that last one, because the program judges a packet with the next one on its CPU while packets
/// come fast: without it the last of the burst would stay unjudged.
fn send(lab: &Lab, segments: impl Iterator<Item = Segment> + Send) -> u64 {
    let work = move || {
        let mut first = CpuSet::new();
        first.set(0).unwrap();
        sched_setaffinity(Pid::from_raw(0), &first).unwrap();
        let socket = PacketSocket::open(CLIENT_IFACE).unwrap();
        let mut batch = Batch::default();
        let mut segments = segments.peekable();
        let mut accepted = 0;
        while segments.peek().is_some() {
            let ready: Vec<Segment> = segments.by_ref().take(BATCH_FRAMES).collect();
            let mut next = ready.iter();
            batch.fill(ready.len(), |frame| next.next().map_or(0, |segment| segment.write(frame)));
            let sent = socket.send(&mut batch).unwrap();
            assert_eq!(sent.refused, 0, "the interface refused frames");
            accepted += sent.accepted;
        }
        std::thread::sleep(JIFFIES);
        batch.fill(1, |frame| established(0)[5].write(frame));
        accepted + socket.send(&mut batch).unwrap().accepted
    };
    lab.inside(Side::Client, work).unwrap()
}

/// Waits until the windows told so far have so many segments in all; the sum of another count in them.
fn wait_for_segments(live: &mut Live, segments: u64, of: [&str; 2]) -> u64 {
    let (seen, counted) = (Cell::new(0), Cell::new(0));
    live.wait_for(PATIENCE, |event| {
        if event["event"] == "window" {
            seen.set(seen.get() + event["tcp"]["segments"].as_u64().unwrap());
            counted.set(counted.get() + event[of[0]][of[1]].as_u64().unwrap());
        }
        seen.get() >= segments
    });
    counted.get()
}

fn flood_flows() -> u32 {
    std::env::var("TIDEGAUGE_FLOOD_FLOWS").map_or(FLOWS, |flows| flows.parse().unwrap())
}

#[test]
fn a_flood_takes_no_memory_and_no_established_flow() {
    let Some(lab) = lab_or_skip("a_flood_takes_no_memory_and_no_established_flow") else { return };
    let _alone = alone();
    let mut live = Live::start(&lab, &[SERVER_IFACE, "--source", "xdp"]);
    let pid = live.pid();

    let mut sent = send(&lab, (0..ESTABLISHED).flat_map(established));
    let tracked = wait_for_segments(&mut live, sent, ["tables", "flows_admitted"]);
    // A bucket holds two flows: of 10,000 in 131,072 buckets some nine find two before them, and that is told.
    assert!((u64::from(ESTABLISHED) - 40..=u64::from(ESTABLISHED)).contains(&tracked), "{tracked}");
    let (maps_before, resident_before) = (map_bytes(pid), resident_bytes(pid));
    assert!(maps_before < MAP_BYTES_MAX, "{maps_before}");

    let flows = flood_flows();
    let started = Instant::now();
    sent += send(&lab, (0..SPOOFED).map(asking));
    sent += send(&lab, (0..flows).map(unseen));
    let lasted = started.elapsed();
    wait_for_segments(&mut live, sent, ["tables", "flows_admitted"]);
    let (maps_after, resident_after) = (map_bytes(pid), resident_bytes(pid));

    sent += send(&lab, (0..ESTABLISHED).map(sent_again));
    wait_for_segments(&mut live, sent, ["tables", "flows_admitted"]);
    let ended = live.interrupt();
    let summary = ended.summary();
    println!(
        "{} frames of the flood in {lasted:?}; maps {maps_before} then {maps_after} bytes; resident {resident_before} \
         then {resident_after} bytes; {tracked} flows followed before, after {}; {}; {}",
        SPOOFED + flows,
        summary["tcp"]["retransmit_or_reordered"],
        summary["tables"],
        summary["cost"]
    );
    assert_eq!(summary["tcp"]["segments"], sent, "every frame was seen");
    assert_eq!(maps_after, maps_before);
    assert!(resident_after <= resident_before + GROWTH_BYTES_MAX, "{resident_before} then {resident_after}");
    let expected_attempts = u64::from(SPOOFED + ESTABLISHED);
    assert_eq!(summary["handshake"]["attempted"], expected_attempts);
    assert_eq!(summary["handshake"]["completed"], ESTABLISHED);
    // The one number that proves it: each flow that was followed before the flood is followed after it.
    assert_eq!(summary["tcp"]["retransmit_or_reordered"], tracked);
    assert!(
        summary["tables"]["flows_evicted"].as_u64().is_some_and(|evicted| evicted > 0),
        "a flood worth the name"
    );
    assert_eq!(summary["cost"]["memory"]["map_bytes"], maps_after, "what it says of itself");
    assert_ne!(summary["incidents"]["syn_flood"], Value::Null);
}
