//! Both ends of a conversation, and the verbs by which a script speaks for them.
//!
//! The script moves the time; segments are noted as they pass the capture point. Sequence numbers wrap, and windows are
//! rounded to what the field can say.

use crate::rng::Rng;
use crate::wire::{Addresses, Direction, Marks, Mixture, Options, Path, SACK_BLOCKS_MAX, Segment, flag};

use super::opposite;

/// Between segments sent back to back, microseconds.
const BACK_TO_BACK_US: (u64, u64) = (12, 120);
/// First wait for an acknowledgement; it doubles.
const RETRANSMISSION_TIMEOUT_US: (u64, u64) = (200_000, 1_200_000);
/// Sequence numbers that begin so close to their end wrap within the conversation.
const WRAP_WITHIN_BYTES: u64 = 30_000;
const WRAPS_PER_MILLION: u64 = 250_000;
pub(super) const ENDS: [Direction; 2] = [Direction::Forward, Direction::Reverse];

/// What both ends agree on in the handshake.
#[derive(Clone, Copy, Debug)]
pub(super) struct Features {
    pub(super) timestamps: bool,
    pub(super) sack: bool,
    /// Window shifts of client and server.
    pub(super) scale: Option<[u8; 2]>,
    /// Payload of a full segment.
    pub(super) full_bytes: u16,
    /// From the capture point to client or server and back.
    pub(super) way_us: [u64; 2],
}

impl Features {
    pub(super) fn draw(path: &Path, rng: &mut Rng) -> Self {
        let timestamps = rng.chance(600_000);
        let header_bytes = if matches!(path.addresses, Addresses::V4(..)) { 40 } else { 60 };
        let room = 1_500 - header_bytes - if timestamps { 12 } else { 0 };
        let way =
            |rng: &mut Rng| if rng.chance(500_000) { rng.range(60, 1_500) } else { rng.range(1_500, 60_000) };
        Self {
            timestamps,
            sack: rng.chance(700_000),
            scale: rng.chance(700_000).then(|| [rng.range(0, 10) as u8, rng.range(0, 10) as u8]),
            full_bytes: if rng.chance(800_000) { room } else { 536 },
            way_us: [way(rng), way(rng)],
        }
    }
}

/// Bytes of one direction: the first sequence number and how many.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece {
    pub(super) start: u32,
    pub(super) bytes: u16,
}

impl Piece {
    pub(super) const fn end(self) -> u32 {
        self.start.wrapping_add(self.bytes as u32)
    }
}

/// One end.
#[derive(Clone, Copy, Debug, Default)]
struct End {
    /// Next sequence number to send.
    next: u32,
    /// What it acknowledges.
    heard: u32,
    /// Window in bytes.
    rwnd_bytes: u32,
    /// Offset of its timestamp clock.
    clock: u32,
    /// The value it last sent.
    clock_sent: u32,
}

/// The conversation so far.
pub(super) struct Dialogue {
    pub(super) rng: Rng,
    pub(super) now_us: u64,
    pub(super) features: Features,
    pub(super) segments: Vec<Segment>,
    ends: [End; 2],
}

impl Dialogue {
    pub(super) fn new(start_us: u64, features: Features, rng: Rng) -> Self {
        let mut dialogue =
            Self { rng, now_us: start_us, features, segments: Vec::new(), ends: [End::default(); 2] };
        for end in ENDS {
            dialogue.ends[end as usize].next = dialogue.first_number();
        }
        dialogue.begin();
        dialogue
    }

    /// Another conversation on the same ports, some time later: with numbers that are higher, lower, or quite close.
    pub(super) fn start_over(&mut self, features: Features) {
        let pause_us = if self.rng.chance(500_000) {
            self.rng.range(300, 900_000)
        } else {
            self.rng.range(900_000, 70_000_000)
        };
        self.wait(pause_us);
        self.features = features;
        for end in ENDS {
            let last = self.ends[end as usize].next;
            self.ends[end as usize].next = match self.rng.range(0, 3) {
                0 => last.wrapping_add(self.rng.range(1, 200_000) as u32),
                1 => last.wrapping_add(1 << 20).wrapping_add(self.rng.range(0, 1 << 30) as u32),
                _ => self.first_number(),
            };
        }
        self.begin();
    }

    fn first_number(&mut self) -> u32 {
        if self.rng.chance(WRAPS_PER_MILLION) {
            u32::MAX - self.rng.range(0, WRAP_WITHIN_BYTES) as u32
        } else {
            self.rng.next_u32()
        }
    }

    fn begin(&mut self) {
        for end in ENDS {
            self.ends[end as usize].heard = 0;
            self.ends[end as usize].clock = self.rng.next_u32();
            let window_bytes = self.rng.range(4_000, 65_000) as u32;
            self.set_window(end, window_bytes);
        }
    }

    pub(super) fn either_end(&mut self) -> Direction {
        ENDS[self.rng.range(0, 2) as usize]
    }

    pub(super) const fn wait(&mut self, us: u64) {
        self.now_us += us;
    }

    /// As between two segments of a burst.
    pub(super) fn gap(&mut self) {
        let us = self.rng.range(BACK_TO_BACK_US.0, BACK_TO_BACK_US.1);
        self.wait(us);
    }

    /// Until an answer of this end to what just passed is seen.
    pub(super) fn answer_of(&mut self, end: Direction) {
        let us = self.features.way_us[end as usize] + self.rng.range(5, 60);
        self.wait(us);
    }

    /// A whole round trip.
    pub(super) const fn round_trip_us(&self) -> u64 {
        self.features.way_us[0] + self.features.way_us[1]
    }

    /// Until the retransmission timer expires for the `attempt`th time, from 0.
    pub(super) fn time_out(&mut self, attempt: u32) {
        let us = self.rng.range(RETRANSMISSION_TIMEOUT_US.0, RETRANSMISSION_TIMEOUT_US.1) << attempt.min(4);
        self.wait(us);
    }

    /// A pause between two episodes.
    pub(super) fn rest(&mut self) {
        let us = match self.rng.range(0, 4) {
            0 => self.rng.range(100, 1_000),
            1 | 2 => self.rng.range(1_000, 300_000),
            _ => self.rng.range(300_000, 3_000_000),
        };
        self.wait(us);
    }

    pub(super) const fn next(&self, end: Direction) -> u32 {
        self.ends[end as usize].next
    }

    pub(super) const fn heard(&self, end: Direction) -> u32 {
        self.ends[end as usize].heard
    }

    /// It has everything that the other end sent.
    pub(super) const fn hear_all(&mut self, end: Direction) {
        self.ends[end as usize].heard = self.ends[opposite(end) as usize].next;
    }

    /// A sequence number without a byte: SYN or FIN.
    pub(super) const fn count_flag(&mut self, end: Direction) {
        self.ends[end as usize].next = self.ends[end as usize].next.wrapping_add(1);
    }

    /// The next window that this end offers, rounded down to what can be said; returns what is said.
    pub(super) fn set_window(&mut self, end: Direction, bytes: u32) -> u32 {
        let shift = self.features.scale.map_or(0, |scale| scale[end as usize]);
        let field = (bytes >> shift).min(0xffff);
        self.ends[end as usize].rwnd_bytes = field << shift;
        field << shift
    }

    pub(super) const fn window(&self, end: Direction) -> u32 {
        self.ends[end as usize].rwnd_bytes
    }

    /// A segment of this end as things stand, not yet sent.
    pub(super) fn segment(&self, from: Direction, flags: u8) -> Segment {
        let own = self.ends[from as usize];
        let is_syn = flags & flag::SYN != 0;
        let shift = self.features.scale.map_or(0, |scale| scale[from as usize]);
        // The window of a SYN is never scaled.
        let rwnd = if is_syn { own.rwnd_bytes.min(0xffff) } else { own.rwnd_bytes >> shift };
        let value = own.clock.wrapping_add((self.now_us / 1_000) as u32);
        let echo = if flags & flag::ACK == 0 { 0 } else { self.ends[opposite(from) as usize].clock_sent };
        let options = Mixture {
            mss: is_syn.then_some(1_460),
            sack_permitted: is_syn && self.features.sack,
            scale: self.features.scale.filter(|_| is_syn).map(|scale| scale[from as usize]),
            timestamps: self.features.timestamps.then_some((value, echo)),
            sack: [None; SACK_BLOCKS_MAX],
        };
        Segment {
            at_us: self.now_us,
            direction: from,
            flags,
            seq: own.next,
            ack: if flags & flag::ACK == 0 { 0 } else { own.heard },
            rwnd: rwnd as u16,
            payload_bytes: 0,
            options: Options::Mixed(options),
            marks: Marks::default(),
        }
    }

    /// It passes the capture point now.
    pub(super) fn put(&mut self, segment: Segment) {
        if let Options::Mixed(Mixture { timestamps: Some((value, _)), .. }) = segment.options {
            self.ends[segment.direction as usize].clock_sent = value;
        }
        self.segments.push(Segment { at_us: self.now_us, ..segment });
    }

    /// New bytes that this end sends and the capture does not see.
    pub(super) const fn unseen(&mut self, from: Direction, bytes: u16) -> Piece {
        let start = self.ends[from as usize].next;
        self.ends[from as usize].next = start.wrapping_add(bytes as u32);
        Piece { start, bytes }
    }

    /// New bytes of this end.
    pub(super) fn data(&mut self, from: Direction, bytes: u16) -> Piece {
        let piece = self.unseen(from, bytes);
        self.piece(from, piece);
        piece
    }

    /// A full segment of new bytes.
    pub(super) fn full(&mut self, from: Direction) -> Piece {
        self.data(from, self.features.full_bytes)
    }

    /// Bytes of this end wherever they lie: sent again, or late.
    pub(super) fn piece(&mut self, from: Direction, Piece { start, bytes }: Piece) {
        let push = if self.rng.chance(300_000) { flag::PSH } else { 0 };
        let segment = self.segment(from, flag::ACK | push);
        self.put(Segment { seq: start, payload_bytes: bytes, ..segment });
    }

    /// An ACK of everything that the other end sent.
    pub(super) fn ack(&mut self, from: Direction) {
        self.hear_all(from);
        self.ack_again(from, &[]);
    }

    /// An ACK of everything before this number.
    pub(super) fn ack_up_to(&mut self, from: Direction, number: u32, beyond: &[Piece]) {
        self.ends[from as usize].heard = number;
        self.ack_again(from, beyond);
    }

    /// The last ACK again, with SACK blocks where the ends agreed on them.
    pub(super) fn ack_again(&mut self, from: Direction, blocks: &[Piece]) {
        let mut segment = self.segment(from, flag::ACK);
        if let Options::Mixed(mixture) = &mut segment.options
            && self.features.sack
        {
            for (slot, block) in mixture.sack.iter_mut().zip(blocks) {
                *slot = Some((block.start, block.end()));
            }
        }
        self.put(segment);
    }
}
