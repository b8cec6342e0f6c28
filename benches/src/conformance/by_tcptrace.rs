//! What tcptrace's rules make of the segments that tshark lists: its figures recomputed without it, so that a difference
//! from tidegauge can be said to be one of rules.
//!
//! The rules are those of tcptrace 6.6.7 (its `rexmit.c` and `trace.c`), in words:
//! - what a direction sent is kept as pieces of its sequence space, a SYN or FIN taking one number; a quarter of the space
//!   stands for itself, and the opposite one is forgotten;
//! - a piece of which any byte is sent again counts as sent again, and its time is that of the last sending; a segment
//!   that begins and ends before a piece is out of order;
//! - an ACK gives a round trip where its number is the end of a piece that it is the first to acknowledge, that was sent
//!   once, and before which nothing was sent later;
//! - what follows a closed window is a probe, and none of this; the very packet captured twice is sent again like any other;
//! - 240 s of silence, or a SYN with another number, begin another connection.
//!
//! Times are microseconds. Memory: the pieces of one capture.

use std::collections::BTreeMap;

use super::ours::Endpoint;
use super::tcptrace::{Connection, Way};
use super::trips::Trip;
use super::tshark::Segment;

const FIN: u16 = 0x01;
const SYN: u16 = 0x02;
const RST: u16 = 0x04;
const ACK: u16 = 0x10;
const SILENCE_US: i64 = 240_000_000;
/// Quarters of the sequence space.
const QUARTERS: usize = 4;

/// Connections by tcptrace's rules, in the order of their first packets, and every round trip.
pub fn connections(segments: &[Segment]) -> (Vec<Connection>, Vec<Trip>) {
    let mut all: Vec<Followed> = Vec::new();
    let mut open: BTreeMap<[(&str, u16); 2], usize> = BTreeMap::new();
    let mut trips = Vec::new();
    for segment in segments {
        let ends = [&segment.source, &segment.destination].map(|(addr, port)| (addr.as_str(), *port));
        let key = if ends[0] <= ends[1] { ends } else { [ends[1], ends[0]] };
        let known = open.get(&key).copied().filter(|at| !all[*at].is_over(segment));
        let at = known.unwrap_or(all.len());
        if known.is_none() {
            all.push(Followed::new(segment));
            open.insert(key, at);
        }
        all[at].take(segment, &mut trips);
    }
    (all.into_iter().map(Followed::told).collect(), trips)
}

/// Bytes sent together, from `first` to `last`.
#[derive(Clone, Copy)]
struct Piece {
    first: u32,
    last: u32,
    sent_us: i64,
    sent_again: bool,
    acknowledged: bool,
    of_syn: bool,
}

#[derive(Default)]
struct Direction {
    way: Way,
    rtt_sum_us: i64,
    rtt_min_us: i64,
    rtt_max_us: i64,
    quarters: [Vec<Piece>; QUARTERS],
    syns: u32,
    is_ended: bool,
    first_number: u32,
    window_end: u32,
    shift: Option<u8>,
    window: u32,
}

struct Followed {
    ends: [(String, u16); 2],
    last_us: i64,
    directions: [Direction; 2],
}

impl Followed {
    fn new(segment: &Segment) -> Self {
        let ends = [segment.source.clone(), segment.destination.clone()];
        Self { ends, last_us: segment.at_us(), directions: Default::default() }
    }

    /// The sender's index: ends that are the same one send as the first.
    fn sender(&self, segment: &Segment) -> usize {
        usize::from(self.ends[0] != segment.source)
    }

    /// Whether the segment begins another connection.
    fn is_over(&self, segment: &Segment) -> bool {
        if segment.at_us() - self.last_us > SILENCE_US {
            return true;
        }
        let sender = self.sender(segment);
        let (own, peer) = (&self.directions[sender], &self.directions[1 - sender]);
        let outside = is_before(peer.window_end, segment.seq) || is_before(segment.seq, own.first_number);
        let is_behind_end = (own.is_ended || peer.is_ended) && outside;
        segment.flags & SYN != 0 && (is_behind_end || (own.syns > 1 && own.first_number != segment.seq))
    }

    fn take(&mut self, segment: &Segment, trips: &mut Vec<Trip>) {
        let sender = self.sender(segment);
        self.last_us = segment.at_us();
        let [first, second] = &mut self.directions;
        let (own, peer) = if sender == 0 { (first, second) } else { (second, first) };
        let has = |flag| segment.flags & flag != 0;
        own.is_ended |= has(FIN | RST);
        let scaled = !has(SYN) && own.shift.is_some() && peer.shift.is_some();
        let shift = if scaled { own.shift.unwrap_or_default() & 15 } else { 0 };
        let window = if has(ACK | SYN) { u32::from(segment.rwnd) << shift } else { 0 };
        if has(ACK) {
            own.window_end = segment.ack.wrapping_add(window);
        }
        if has(SYN) {
            (own.syns, own.first_number) = (own.syns + 1, segment.seq);
            own.shift = segment.window_shift.or(own.shift);
        }
        own.way.packets += 1;
        own.way.data_bytes += u64::from(segment.payload_bytes);
        if has(SYN | FIN) || segment.payload_bytes != 0 {
            if peer.window == 0 && peer.way.packets > 0 && !has(SYN) {
                own.way.zero_window_probes += 1;
            } else {
                own.send(segment);
            }
        }
        if has(ACK) {
            peer.acknowledge(segment, trips);
        }
        if !has(RST) {
            own.window = window;
            own.way.zero_windows += u64::from(has(ACK) && window == 0);
        }
    }

    fn told(self) -> Connection {
        let ends = self.ends.map(|(addr, port)| Endpoint { addr, port });
        Connection { ends, ways: self.directions.map(Direction::told) }
    }
}

impl Direction {
    fn send(&mut self, segment: &Segment) {
        let numbers = u32::from(segment.flags & SYN != 0) + u32::from(segment.flags & FIN != 0);
        let (first, length) = (segment.seq, segment.payload_bytes + numbers);
        let last = first.wrapping_add(length - 1);
        let piece = Piece {
            first,
            last,
            sent_us: segment.at_us(),
            sent_again: false,
            acknowledged: false,
            of_syn: segment.flags & SYN != 0,
        };
        self.quarters[(quarter(first) + 2) % QUARTERS].clear();
        let (again, out_of_order) = if quarter(first) == quarter(last) {
            add(&mut self.quarters[quarter(first)], piece)
        } else {
            let border = last & !(u32::MAX >> 2);
            let below =
                add(&mut self.quarters[quarter(first)], Piece { last: border.wrapping_sub(1), ..piece });
            let above = add(&mut self.quarters[quarter(last)], Piece { first: border, ..piece });
            (below.0 || above.0, above.1)
        };
        self.way.retransmitted += u64::from(again);
        self.way.out_of_order += u64::from(out_of_order);
    }

    /// The other end acknowledges what this one sent.
    fn acknowledge(&mut self, ack: &Segment, trips: &mut Vec<Trip>) {
        let here = quarter(ack.ack);
        let before = &mut self.quarters[(here + 3) % QUARTERS];
        before.iter_mut().for_each(|piece| piece.acknowledged = true);
        collapse(before);
        let mut newest_us = i64::MIN;
        let covered = self.quarters[here].iter_mut().take_while(|piece| piece.first < ack.ack);
        for piece in covered {
            newest_us = newest_us.max(piece.sent_us);
            if std::mem::replace(&mut piece.acknowledged, true) {
                continue;
            }
            if piece.last.wrapping_add(1) == ack.ack && !piece.sent_again && newest_us <= piece.sent_us {
                let us = (ack.at_us() - piece.sent_us).max(0);
                let sampled = self.way.rtt_samples != 0 && self.rtt_min_us != 0;
                self.rtt_min_us = if sampled { self.rtt_min_us.min(us) } else { us };
                self.rtt_max_us = self.rtt_max_us.max(us);
                (self.rtt_sum_us, self.way.rtt_samples) = (self.rtt_sum_us + us, self.way.rtt_samples + 1);
                trips.push(Trip { packet: ack.packet, us, of_syn: piece.of_syn });
            }
        }
        collapse(&mut self.quarters[here]);
    }

    fn told(mut self) -> Way {
        let ms = |us: i64| us as f64 / 1e3;
        self.way.rtt_min_ms = ms(self.rtt_min_us);
        self.way.rtt_max_ms = ms(self.rtt_max_us);
        if self.way.rtt_samples != 0 {
            self.way.rtt_mean_ms = ms(self.rtt_sum_us) / self.way.rtt_samples as f64;
        }
        self.way
    }
}

/// Adds what was sent to the pieces of a quarter; whether any of it had been sent before, and whether it is out of order.
fn add(pieces: &mut Vec<Piece>, sent: Piece) -> (bool, bool) {
    let (mut again, mut out_of_order) = (false, false);
    let mut first = sent.first;
    let mut at = pieces.partition_point(|piece| piece.last < first);
    while let Some(&piece) = pieces.get(at) {
        if first < piece.first {
            out_of_order |= sent.last < piece.last;
            let is_before = sent.last < piece.first;
            let last = if is_before { sent.last } else { piece.first - 1 };
            pieces.insert(at, Piece { first, last, ..sent });
            if is_before {
                return (again, out_of_order);
            }
            at += 1;
        }
        pieces[at].sent_again = true;
        if !again {
            pieces[at].sent_us = sent.sent_us;
        }
        again = true;
        if sent.last <= piece.last {
            return (again, out_of_order);
        }
        // The first number of the next quarter is not reached: `sent` ends in this one.
        (first, at) = (piece.last + 1, at + 1);
    }
    pieces.push(Piece { first, ..sent });
    (again, out_of_order)
}

/// Makes one of neighbours that are acknowledged.
fn collapse(pieces: &mut Vec<Piece>) {
    pieces.dedup_by(|next, piece| {
        let joins = piece.acknowledged && next.acknowledged && piece.last.wrapping_add(1) == next.first;
        if joins {
            (piece.last, piece.sent_us) = (next.last, piece.sent_us.max(next.sent_us));
        }
        joins
    });
}

const fn quarter(number: u32) -> usize {
    (number >> 30) as usize
}

/// Whether one sequence number is before another.
const fn is_before(one: u32, other: u32) -> bool {
    (one.wrapping_sub(other) as i32) < 0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sent by end 1 or 2 at a time in milliseconds: flags, sequence number, acknowledgement, payload.
    fn segment(
        packet: u64,
        from: u16,
        at_ms: i64,
        flags: u16,
        numbers: (u32, u32),
        payload_bytes: u32,
    ) -> Segment {
        let (seq, ack) = numbers;
        let ends = [(String::from("10.0.0.1"), from), (String::from("10.0.0.1"), 3 - from)];
        let [source, destination] = ends;
        let at_ns = at_ms * 1_000_000;
        Segment {
            packet,
            at_ns,
            source,
            destination,
            flags,
            seq,
            ack,
            payload_bytes,
            rwnd: 9,
            ..Segment::default()
        }
    }

    fn ways(segments: &[Segment]) -> [Way; 2] {
        connections(segments).0[0].ways
    }

    #[test]
    fn a_syn_is_timed_and_a_segment_by_the_ack_of_its_end() {
        let segments = [
            segment(1, 1, 0, SYN, (100, 0), 0),
            segment(2, 2, 10, SYN | ACK, (500, 101), 0),
            segment(3, 1, 11, ACK, (101, 501), 0),
            segment(4, 1, 20, ACK, (101, 501), 10),
            segment(5, 1, 21, ACK, (111, 501), 10),
            segment(6, 2, 40, ACK, (501, 121), 0),
        ];
        let [forward, reverse] = ways(&segments);
        assert_eq!((forward.rtt_samples, forward.rtt_min_ms, forward.rtt_max_ms), (2, 10.0, 19.0));
        assert_eq!((reverse.rtt_samples, reverse.rtt_min_ms), (1, 1.0));
        assert_eq!(
            connections(&segments).1.iter().map(|trip| trip.of_syn).collect::<Vec<_>>(),
            [true, true, false]
        );
    }

    #[test]
    fn what_was_sent_again_is_not_timed_nor_what_it_held_up() {
        let segments = [
            segment(1, 1, 0, ACK, (101, 501), 10),
            segment(2, 1, 1, ACK, (111, 501), 10),
            segment(3, 1, 50, ACK, (101, 501), 10),
            segment(4, 2, 60, ACK, (501, 121), 0),
        ];
        let [forward, _] = ways(&segments);
        assert_eq!((forward.retransmitted, forward.rtt_samples), (1, 0));
    }

    #[test]
    fn a_hole_that_is_filled_is_out_of_order_and_a_border_is_passed() {
        let border = 1 << 30;
        let segments = [
            segment(1, 1, 0, ACK, (border - 20, 501), 10),
            segment(2, 1, 1, ACK, (border - 5, 501), 10),
            segment(3, 1, 2, ACK, (border - 10, 501), 5),
            segment(4, 2, 9, ACK, (501, border + 5), 0),
        ];
        let [forward, _] = ways(&segments);
        assert_eq!((forward.out_of_order, forward.retransmitted, forward.rtt_samples), (1, 0, 1));
    }

    #[test]
    fn silence_begins_another_connection() {
        let segments = [segment(1, 1, 0, ACK, (1, 1), 1), segment(2, 1, 240_001, ACK, (2, 1), 1)];
        assert_eq!(connections(&segments).0.len(), 2);
    }
}
