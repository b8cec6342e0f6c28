//! A conversation long enough to be timed: no capture at hand has a MiB in one flow within the test run's frames.

use tidegauge_ebpf::packet::tcp_flag::{ACK, PSH, SYN};

const MIB: u32 = 1 << 20;
const SEGMENT_BYTES: u16 = 1_460;
const CLIENT: ([u8; 4], u16) = ([10, 0, 0, 1], 40_000);
const SERVER: ([u8; 4], u16) = ([10, 0, 0, 2], 80);

/// Handshake and three MiB from client to server, each segment acknowledged, at so many nanoseconds a segment.
pub(crate) fn frames(segment_ns: u64) -> Vec<(u64, Vec<u8>)> {
    let mut talk = Talk { ts_ns: 1_000_000_000, sequences: [u32::MAX - MIB, 5], frames: Vec::new() };
    talk.say(0, SYN, 0);
    talk.say(1, SYN | ACK, 0);
    talk.say(0, ACK, 0);
    // Each MiB ends with the segment that completes it, and the first segment starts the clock.
    for _ in 0..3 * MIB / u32::from(SEGMENT_BYTES) + 4 {
        talk.ts_ns += segment_ns;
        talk.say(0, ACK | PSH, SEGMENT_BYTES);
        talk.say(1, ACK, 0);
    }
    talk.frames
}

struct Talk {
    ts_ns: u64,
    /// Next numbers of client and server.
    sequences: [u32; 2],
    frames: Vec<(u64, Vec<u8>)>,
}

impl Talk {
    fn say(&mut self, who: usize, flags: u8, payload_bytes: u16) {
        let (from, to) = if who == 0 { (CLIENT, SERVER) } else { (SERVER, CLIENT) };
        let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0];
        frame.extend((40 + payload_bytes).to_be_bytes());
        frame.extend([0, 0, 0x40, 0, 64, 6, 0, 0]);
        frame.extend(from.0);
        frame.extend(to.0);
        frame.extend(from.1.to_be_bytes());
        frame.extend(to.1.to_be_bytes());
        frame.extend(self.sequences[who].to_be_bytes());
        frame.extend(self.sequences[1 - who].to_be_bytes());
        frame.extend([0x50, flags, 0xfa, 0xf0, 0, 0, 0, 0]);
        frame.resize(frame.len() + usize::from(payload_bytes), 0);
        let numbers = u32::from(payload_bytes) + u32::from(flags & SYN != 0);
        self.sequences[who] = self.sequences[who].wrapping_add(numbers);
        self.frames.push((self.ts_ns, frame));
    }
}
