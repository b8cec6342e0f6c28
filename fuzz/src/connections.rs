//! TCP segments of a few connections in any order, with numbers that overlap, leave holes and come round: the half-open
//! cache, the table of connections, the full judgement, and what reads streams. No panic, and no growth.

use tidegauge_analyzer::batch::{Cut, Turn};
use tidegauge_analyzer::digest::Digest;
use tidegauge_analyzer::follow::{Follower, Sizes, Verdict};
use tidegauge_ebpf::flow::FlowKey;
use tidegauge_ebpf::packet::{Network, Packet, Segment, Transport, ipv4_mapped, tcp_flag};
use tidegauge_ebpf::settings::Settings;
use tidegauge_ebpf::tcp::mark;

/// Tables so small that connections push each other out.
const SIZES: Sizes = Sizes { attempts: 12, connections: 8, stories: 4, records: true };
/// Hosts and ports: a few dozen connections.
const HOSTS: u8 = 4;
const PORTS: u16 = 3;
/// One segment in the input.
const SEGMENT_BYTES: usize = 12;
const TICK_NS: u64 = 100_000_000;
/// What payload is taken from: heads that are recognised, and noise.
const STREAM: &[u8] =
    b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello\x16\x03\x01\x00\x20HTTP/1.1 200 OK\r\n\r\n";

/// Follows the segments that `input` describes.
pub fn check(input: &[u8]) {
    let mut follower = Follower::new(SIZES);
    let (mut now_ns, mut tick_ns) = (1_000_000_000_000_u64, 1_000_000_000_000_u64);
    let mut told = 0;
    for (number, bytes) in (1..).zip(input.as_chunks::<SEGMENT_BYTES>().0) {
        now_ns += step_ns(bytes[11]);
        if now_ns - tick_ns >= TICK_NS {
            let turn = Turn::TickEnds { start_ns: tick_ns, end_ns: tick_ns + TICK_NS, ends_second: true };
            told += follower.cut(&Cut { index: 0, turn }).told.len();
            tick_ns = now_ns - now_ns % TICK_NS;
        }
        let digest = digest(bytes, now_ns);
        let mut verdict = Verdict::default();
        let from = usize::from(bytes[9]) % STREAM.len();
        let payload_bytes = digest.packet.segment.payload_bytes as usize;
        let payload = &STREAM[from..][..payload_bytes.min(STREAM.len() - from)];
        follower.packet(&digest, || payload, number, &mut verdict);
        check_marks(verdict.judged.marks);
        assert!(follower.connections().len() <= SIZES.connections as usize);
    }
    let last = tidegauge_ebpf::stamp::Stamp::from_ns(now_ns);
    told += follower.finish(now_ns, last).told.len();
    let segments = input.len() / SEGMENT_BYTES;
    assert!(told <= segments, "{told} connections of {segments} segments");
}

fn digest(bytes: &[u8; SEGMENT_BYTES], now_ns: u64) -> Digest {
    let [ends, flags, seq_high, seq_low, ack_high, ack_low, length, window_high, window_low, _, copy, _] =
        *bytes;
    let (host, port) = (ends % HOSTS, u16::from(ends >> 4) % PORTS);
    let client = (ipv4_mapped(0x0a00_0001 + u32::from(host)), 40_000 + port);
    let server = (ipv4_mapped(0x0a00_0101), 80);
    let from_server = ends & 0x08 != 0;
    let (source, destination) = if from_server { (server, client) } else { (client, server) };
    // Numbers come round in the middle.
    let number =
        |high, low| u32::MAX.wrapping_sub(0x7fff).wrapping_add(u32::from(u16::from_be_bytes([high, low])));
    let payload_bytes = if flags & tcp_flag::SYN != 0 { 0 } else { u32::from(length) * 8 % 1_461 };
    let packet = Packet {
        source: source.0,
        destination: destination.0,
        source_port: source.1,
        destination_port: destination.1,
        network: Network::Ipv4,
        transport: Transport::Tcp,
        segment: Segment {
            sequence: number(seq_high, seq_low),
            acknowledgment: number(ack_high, ack_low),
            payload_bytes,
            window: u16::from_be_bytes([window_high, window_low]),
            timestamp: u32::from(copy),
            echo: u32::from(window_low),
            flags,
            shift: copy % 16,
        },
        ..Packet::EMPTY
    };
    let key = FlowKey::of(&packet, Settings::with_seed(1).seed);
    let print = u32::from(copy & 3);
    let wire_bytes = u64::from(payload_bytes) + 54;
    Digest { packet, key, hash: key.hash(), ts_ns: now_ns, wire_bytes, print, partition: 0, ..Digest::EMPTY }
}

/// Mostly microseconds; now and then a timeout's length.
fn step_ns(step: u8) -> u64 {
    match step {
        0 => 400_000_000_000,
        1..4 => 4_000_000_000,
        4..16 => 50_000_000,
        _ => u64::from(step) * 1_000,
    }
}

fn check_marks(marks: u32) {
    let has = |mark: u32| marks & mark != 0;
    assert!(!(has(mark::RETRANSMISSION) && has(mark::OUT_OF_ORDER)), "{marks:b}");
    let kinds = mark::FAST_RETRANSMISSION | mark::SPURIOUS_RETRANSMISSION | mark::SYN_RETRANSMISSION;
    assert!(!has(kinds) || has(mark::RETRANSMISSION), "{marks:b}");
}
