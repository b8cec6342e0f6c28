//! One TCP conversation as rounds of segments: handshake, requests and slow-start responses, close.
//!
//! The capture point lies between both ends. At most one segment per round has an accident, so that what follows
//! it (duplicate ACKs with SACK, the retransmission) is what a real stack would do and the truth is exact. Not
//! modelled: loss of ACKs, delayed-ACK timers, window limits, ECN.

use std::collections::VecDeque;

use super::Truth;
use super::sink::Packet;
use crate::rng::Rng;
use crate::wire::{Direction, Marks, Options, Segment, flag};

/// Microseconds between segments sent back to back, 1,514 bytes at 1 Gbit/s.
const SEGMENT_GAP_US: u64 = 12;
const WINDOW_SEGMENTS_FIRST: u32 = 10;
const WINDOW_SEGMENTS_MIN: u32 = 4;
const SYN_TIMEOUT_US: u64 = 1_000_000;
const RETRANSMISSION_TIMEOUT_US: u64 = 250_000;
/// Duplicate ACKs that make a sender retransmit at once.
const DUPLICATE_ACKS_FAST: usize = 3;
const RWND: u16 = 502;

/// What a conversation shall do.
#[derive(Clone, Debug)]
pub(super) struct TcpPlan {
    pub(super) start_us: u64,
    /// From the capture point to the client and back.
    pub(super) client_us: u64,
    /// From the capture point to the server and back.
    pub(super) server_us: u64,
    /// Payload of a full segment.
    pub(super) payload_bytes_max: u16,
    pub(super) window_segments_max: u32,
    /// Full segments of each response; the requests between them are one segment each.
    pub(super) responses: Vec<u32>,
    /// Pause before each request but the first.
    pub(super) think_us: u64,
    pub(super) opening: Opening,
    pub(super) close: Close,
}

/// How the handshake goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opening {
    Accepted,
    AcceptedAtSecondSyn,
    Refused,
}

/// How the conversation ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Close {
    Fin,
    Rst,
}

/// What befalls one data segment of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Accident {
    LostAfterCapture,
    LostBeforeCapture,
    Swapped,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Open,
    Request { index: usize },
    Response { index: usize, left: u32 },
    Close,
    Done,
}

/// The state of a conversation between two rounds.
pub(super) struct TcpScript {
    plan: TcpPlan,
    rng: Rng,
    phase: Phase,
    /// When the next round may start; later than every segment handed out.
    now_us: u64,
    /// Next sequence number of client and server.
    seq: [u32; 2],
    /// Offset of each side's timestamp clock.
    clock: [u32; 2],
    window_segments: u32,
    /// Acknowledgement number last sent by the client.
    client_ack: u32,
}

impl TcpScript {
    pub(super) fn new(plan: TcpPlan, mut rng: Rng) -> Self {
        Self {
            phase: Phase::Open,
            now_us: plan.start_us,
            seq: [rng.next_u32(), rng.next_u32()],
            clock: [rng.next_u32(), rng.next_u32()],
            window_segments: WINDOW_SEGMENTS_FIRST,
            client_ack: 0,
            plan,
            rng,
        }
    }

    /// Appends the next round in time order; false where the conversation is over.
    pub(super) fn next_round(&mut self, round: &mut VecDeque<Packet>, truth: &mut Truth) -> bool {
        match self.phase {
            Phase::Open => self.open(round, truth),
            Phase::Request { index } => self.request(index, round),
            Phase::Response { index, left } => self.response(index, left, round, truth),
            Phase::Close => self.close(round),
            Phase::Done => return false,
        }
        round.make_contiguous().sort_by_key(Packet::at_us);
        true
    }

    fn open(&mut self, round: &mut VecDeque<Packet>, truth: &mut Truth) {
        let [client, server] = self.seq;
        truth.tcp_flows += 1;
        let syn = Segment { ack: 0, ..self.segment(self.now_us, Direction::Forward, flag::SYN) };
        round.push_back(Packet::Tcp(syn));
        if self.plan.opening == Opening::AcceptedAtSecondSyn {
            truth.syn_retransmissions += 1;
            self.now_us += SYN_TIMEOUT_US;
            round.push_back(Packet::Tcp(Segment { at_us: self.now_us, ..syn }));
        }
        self.now_us += self.plan.server_us;
        self.seq[0] = client.wrapping_add(1);
        if self.plan.opening == Opening::Refused {
            truth.refused += 1;
            let reset = self.segment(self.now_us, Direction::Reverse, flag::RST | flag::ACK);
            round.push_back(Packet::Tcp(Segment { seq: 0, rwnd: 0, options: Options::Empty, ..reset }));
            self.phase = Phase::Done;
            return;
        }
        round.push_back(Packet::Tcp(self.segment(self.now_us, Direction::Reverse, flag::SYN | flag::ACK)));
        self.seq[1] = server.wrapping_add(1);
        self.now_us += self.plan.client_us;
        round.push_back(Packet::Tcp(self.segment(self.now_us, Direction::Forward, flag::ACK)));
        truth.handshakes_completed += 1;
        self.now_us += SEGMENT_GAP_US;
        self.phase = self.turn(0);
    }

    fn turn(&self, index: usize) -> Phase {
        if index < self.plan.responses.len() { Phase::Request { index } } else { Phase::Close }
    }

    fn request(&mut self, index: usize, round: &mut VecDeque<Packet>) {
        if index > 0 {
            self.now_us += self.plan.think_us;
        }
        let payload_bytes = self.rng.range(80, 900) as u16;
        let request = self.segment(self.now_us, Direction::Forward, flag::ACK | flag::PSH);
        round.push_back(Packet::Tcp(Segment { payload_bytes, ..request }));
        self.client_ack = self.seq[1];
        self.seq[0] = self.seq[0].wrapping_add(u32::from(payload_bytes));
        self.now_us += self.plan.server_us + self.rng.range(200, 20_000);
        self.phase = Phase::Response { index, left: self.plan.responses[index] };
    }

    /// One congestion window of the response, with its ACKs and what an accident brings.
    fn response(&mut self, index: usize, left: u32, round: &mut VecDeque<Packet>, truth: &mut Truth) {
        let count = left.min(self.window_segments);
        let accident = self.accident(count);
        let last_us = self.now_us + u64::from(count - 1) * SEGMENT_GAP_US;
        for position in 0..count {
            self.data(position, accident, round);
        }
        let end_us = match accident {
            None => self.acks(0..count, round, truth),
            Some((Accident::Swapped, position)) => self.swapped_acks(position, count, round, truth),
            Some((_, position)) => self.recovery(position, count, last_us, round, truth),
        };
        let lost = match accident {
            Some((Accident::LostBeforeCapture, _)) => {
                truth.upstream_holes += 1;
                true
            }
            Some((Accident::LostAfterCapture, _)) => true,
            Some((Accident::Swapped, _)) | None => false,
        };
        self.window_segments = if lost {
            (self.window_segments / 2).max(WINDOW_SEGMENTS_MIN)
        } else {
            (self.window_segments * 2).min(self.plan.window_segments_max)
        };
        self.seq[1] = self.data_seq(count);
        self.now_us = end_us + self.plan.server_us;
        self.phase = match left - count {
            0 => self.turn(index + 1),
            left => Phase::Response { index, left },
        };
    }

    /// The accident of a round of `count` segments, by the rates of the whole capture.
    fn accident(&mut self, count: u32) -> Option<(Accident, u32)> {
        for position in 0..count {
            let is_last = position + 1 == count;
            match self.rng.range(0, 100_000) {
                0..300 => return Some((Accident::LostAfterCapture, position)),
                300..430 if !is_last => return Some((Accident::LostBeforeCapture, position)),
                430..560 if !is_last => return Some((Accident::Swapped, position)),
                _ => {}
            }
        }
        None
    }

    /// The data segment at `position`, as the capture point sees it.
    fn data(&self, position: u32, accident: Option<(Accident, u32)>, round: &mut VecDeque<Packet>) {
        let slot = match accident {
            Some((Accident::LostBeforeCapture, lost)) if lost == position => return,
            Some((Accident::Swapped, first)) if first == position => position + 1,
            Some((Accident::Swapped, first)) if first + 1 == position => position - 1,
            _ => position,
        };
        let at_us = self.now_us + u64::from(slot) * SEGMENT_GAP_US;
        round.push_back(Packet::Tcp(self.data_segment(at_us, position)));
    }

    fn data_segment(&self, at_us: u64, position: u32) -> Segment {
        Segment {
            seq: self.data_seq(position),
            payload_bytes: self.plan.payload_bytes_max,
            ..self.segment(at_us, Direction::Reverse, flag::ACK)
        }
    }

    /// Sequence number of the segment at `position` of the current round.
    fn data_seq(&self, position: u32) -> u32 {
        self.seq[1].wrapping_add(position * u32::from(self.plan.payload_bytes_max))
    }

    /// ACKs of every second segment of `positions` and of the last; returns the time of the last one.
    fn acks(
        &mut self,
        positions: std::ops::Range<u32>,
        round: &mut VecDeque<Packet>,
        truth: &mut Truth,
    ) -> u64 {
        let mut at_us = self.now_us;
        for position in positions.clone() {
            if position % 2 == 1 || position + 1 == positions.end {
                at_us = self.now_us + u64::from(position) * SEGMENT_GAP_US + self.plan.client_us;
                self.ack(at_us, position + 1, None, round, truth);
            }
        }
        at_us
    }

    /// A swap at `position`: one ACK names the segment that came early, the next one covers both.
    fn swapped_acks(
        &mut self,
        position: u32,
        count: u32,
        round: &mut VecDeque<Packet>,
        truth: &mut Truth,
    ) -> u64 {
        self.acks(0..position, round, truth);
        let early_us = self.now_us + u64::from(position) * SEGMENT_GAP_US + self.plan.client_us;
        self.ack(early_us, position, Some(position + 1..position + 2), round, truth);
        truth.reordered += 1;
        let both_us = early_us + SEGMENT_GAP_US;
        self.ack(both_us, position + 2, None, round, truth);
        self.acks(position + 2..count, round, truth).max(both_us)
    }

    /// A loss at `position`: each later segment is answered by an ACK for the hole with a growing SACK block, the
    /// third of them (or the timer) brings the retransmission, and one ACK then covers the round.
    fn recovery(
        &mut self,
        position: u32,
        count: u32,
        last_us: u64,
        round: &mut VecDeque<Packet>,
        truth: &mut Truth,
    ) -> u64 {
        self.acks(0..position, round, truth);
        let mut sack_us = Vec::with_capacity((count - position) as usize);
        for later in position + 1..count {
            let at_us = self.now_us + u64::from(later) * SEGMENT_GAP_US + self.plan.client_us;
            self.ack(at_us, position, Some(position + 1..later + 1), round, truth);
            sack_us.push(at_us);
        }
        let quiet_us = last_us + self.plan.client_us;
        let again_us = match sack_us.get(DUPLICATE_ACKS_FAST - 1) {
            Some(third_us) => (third_us + self.plan.server_us).max(last_us + SEGMENT_GAP_US),
            None => quiet_us + RETRANSMISSION_TIMEOUT_US,
        };
        round.push_back(Packet::Tcp(self.data_segment(again_us, position)));
        truth.retransmissions += 1;
        let end_us = again_us.max(quiet_us) + self.plan.client_us;
        self.ack(end_us, count, None, round, truth);
        end_us
    }

    /// The client's ACK of everything before `position`, with a SACK block over `beyond`.
    fn ack(
        &mut self,
        at_us: u64,
        position: u32,
        beyond: Option<std::ops::Range<u32>>,
        round: &mut VecDeque<Packet>,
        truth: &mut Truth,
    ) {
        let ack = self.data_seq(position);
        let mut segment = Segment { ack, ..self.segment(at_us, Direction::Forward, flag::ACK) };
        if let (Some(beyond), Options::Timestamps { value, echo }) = (beyond, segment.options) {
            let (left, right) = (self.data_seq(beyond.start), self.data_seq(beyond.end));
            segment.options = Options::Sack { value, echo, left, right };
        }
        truth.duplicate_acks += u64::from(ack == self.client_ack);
        self.client_ack = ack;
        round.push_back(Packet::Tcp(segment));
    }

    fn close(&mut self, round: &mut VecDeque<Packet>) {
        self.phase = Phase::Done;
        if self.plan.close == Close::Rst {
            let reset = self.segment(self.now_us, Direction::Forward, flag::RST | flag::ACK);
            round.push_back(Packet::Tcp(Segment { options: Options::Empty, ..reset }));
            return;
        }
        round.push_back(Packet::Tcp(self.segment(self.now_us, Direction::Reverse, flag::FIN | flag::ACK)));
        self.seq[1] = self.seq[1].wrapping_add(1);
        self.now_us += self.plan.client_us;
        round.push_back(Packet::Tcp(self.segment(self.now_us, Direction::Forward, flag::FIN | flag::ACK)));
        self.seq[0] = self.seq[0].wrapping_add(1);
        self.now_us += self.plan.server_us;
        round.push_back(Packet::Tcp(self.segment(self.now_us, Direction::Reverse, flag::ACK)));
    }

    /// A segment without payload by the current sequence numbers, with the options that belong to its flags.
    fn segment(&self, at_us: u64, direction: Direction, flags: u8) -> Segment {
        let (own, peer, path_us) = match direction {
            Direction::Forward => (0, 1, self.plan.client_us),
            Direction::Reverse => (1, 0, self.plan.server_us),
        };
        let ticks = |side: usize, at_us: u64| self.clock[side].wrapping_add((at_us / 1000) as u32);
        let value = ticks(own, at_us);
        let echo = if flags == flag::SYN { 0 } else { ticks(peer, at_us.saturating_sub(path_us)) };
        let (options, rwnd) = if flags & flag::SYN != 0 {
            (Options::Syn { value, echo }, 64_240)
        } else {
            (Options::Timestamps { value, echo }, RWND)
        };
        Segment {
            at_us,
            direction,
            flags,
            seq: self.seq[own],
            ack: self.seq[peer],
            rwnd,
            payload_bytes: 0,
            options,
            marks: Marks::default(),
        }
    }
}
