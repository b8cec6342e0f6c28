//! What tidegauge's rules make of the segments that tshark lists and of tidegauge's own judgement of each: the figures of
//! its flow records, recomputed without them.
//!
//! The rules for round trips (`ebpf/src/tcp/measure.rs`), in words: of each direction one segment is timed at a time, and
//! the newest one beside it; an ACK of all that was sent ends that of the newest, any other that covers the timed segment
//! ends that; what is sent again or overtaken stops both, a hole that of the newest. Probes and SYNs are not timed.

use std::collections::BTreeMap;

use super::judgement::{Judgement, Judgements};
use super::ours::Said;
use super::trips::Trip;
use super::tshark::Segment;

const FIN: u16 = 0x01;
const SYN: u16 = 0x02;
const RST: u16 = 0x04;
const ACK: u16 = 0x10;

/// An address and a port.
pub type End = (String, u16);

/// What one end sent to another, over all of their connections.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Way {
    /// Segments, those captured twice once.
    pub packets: u64,
    /// Payload.
    pub payload_bytes: u64,
    /// Judged so, SYNs apart.
    pub retransmission: u64,
    /// Judged so, SYNs apart.
    pub out_of_order: u64,
    /// Judged so.
    pub zero_windows: u64,
    /// Round trips.
    pub rtt_samples: u64,
    /// The shortest, microseconds; 0 without any.
    pub rtt_min_us: i64,
    /// Their sum, microseconds.
    pub rtt_sum_us: i64,
}

#[derive(Default)]
struct Direction {
    way: Way,
    next: Option<u32>,
    advanced_us: i64,
    /// Number behind the segment that is timed, and when it was sent.
    timed: Option<(u32, i64)>,
    newest_timed: bool,
}

/// Directions by their sender and receiver, and every round trip.
pub fn ways(segments: &[Segment], said: &Said) -> (BTreeMap<[End; 2], Way>, Vec<Trip>) {
    let mut directions: BTreeMap<[End; 2], Direction> = BTreeMap::new();
    let mut trips = Vec::new();
    for segment in segments {
        let judged = said.judged.get(&segment.packet).map(|judged| judged.judgements).unwrap_or_default();
        if judged.has(Judgement::CapturedTwice) {
            continue;
        }
        let there = [segment.source.clone(), segment.destination.clone()];
        let back = [segment.destination.clone(), segment.source.clone()];
        let mut own = directions.remove(&there).unwrap_or_default();
        let mut peer = directions.remove(&back).unwrap_or_default();
        own.count(segment, judged);
        if segment.flags & RST == 0 {
            own.follow(&mut peer, segment, judged, &mut trips);
        }
        directions.insert(back, peer);
        directions.insert(there, own);
    }
    (directions.into_iter().map(|(ends, direction)| (ends, direction.way)).collect(), trips)
}

impl Direction {
    fn count(&mut self, segment: &Segment, judged: Judgements) {
        let is_syn = segment.flags & SYN != 0;
        self.way.packets += 1;
        self.way.payload_bytes += u64::from(segment.payload_bytes);
        self.way.retransmission += u64::from(!is_syn && judged.has(Judgement::Retransmission));
        self.way.out_of_order += u64::from(!is_syn && judged.has(Judgement::OutOfOrder));
        self.way.zero_windows += u64::from(judged.has(Judgement::ZeroWindow));
    }

    fn follow(&mut self, peer: &mut Self, segment: &Segment, judged: Judgements, trips: &mut Vec<Trip>) {
        let now_us = segment.at_us();
        let flags = u32::from(segment.flags & (SYN | FIN) != 0);
        let payload_end = segment.seq.wrapping_add(segment.payload_bytes);
        if segment.flags & SYN != 0 {
            if segment.flags & ACK == 0 && self.next != Some(segment.seq.wrapping_add(1)) {
                // Another connection between the same ports.
                for end in [&mut *self, peer] {
                    (end.timed, end.newest_timed, end.next) = (None, false, None);
                }
            }
            self.next = Some(segment.seq.wrapping_add(1));
            return;
        }
        self.newest_timed &= !judged.has(Judgement::LostSegment);
        if segment.flags & ACK != 0 {
            peer.acknowledge(segment, trips);
        }
        let is_behind = judged.has(Judgement::Retransmission) || judged.has(Judgement::OutOfOrder);
        let is_probe = judged.has(Judgement::KeepAlive) || judged.has(Judgement::ZeroWindowProbe);
        if is_behind {
            (self.timed, self.newest_timed) = (None, false);
        }
        let is_fresh = segment.payload_bytes != 0 && self.next.is_none_or(|next| is_after(payload_end, next));
        if is_fresh && !is_behind && !is_probe {
            self.timed.get_or_insert((payload_end, now_us));
            self.newest_timed = true;
        }
        let end = payload_end.wrapping_add(flags);
        if !judged.has(Judgement::ZeroWindowProbe) && self.next.is_none_or(|next| is_after(end, next)) {
            (self.next, self.advanced_us) = (Some(end), now_us);
        }
    }

    /// The other end acknowledges what this one sent.
    fn acknowledge(&mut self, ack: &Segment, trips: &mut Vec<Trip>) {
        let newest = self.newest_timed && self.next == Some(ack.ack);
        let timed = self.timed.filter(|(end, _)| !is_after(*end, ack.ack));
        let Some(sent_us) = (if newest { Some(self.advanced_us) } else { timed.map(|(_, sent_us)| sent_us) })
        else {
            return;
        };
        self.timed = None;
        self.newest_timed &= !newest;
        let us = ack.at_us() - sent_us;
        // Of several interfaces the ACK may be captured as if it were the earlier one.
        if us >= 0 {
            let way = &mut self.way;
            way.rtt_min_us = if way.rtt_samples == 0 { us } else { way.rtt_min_us.min(us) };
            (way.rtt_samples, way.rtt_sum_us) = (way.rtt_samples + 1, way.rtt_sum_us + us);
            trips.push(Trip { packet: ack.packet, us, of_syn: false });
        }
    }
}

/// Whether one sequence number is behind another.
const fn is_after(one: u32, other: u32) -> bool {
    (one.wrapping_sub(other) as i32) > 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::ours::Judged;

    fn segment(packet: u64, from: u16, at_ms: i64, seq: u32, ack: u32, payload_bytes: u32) -> Segment {
        let [source, destination] = [from, 3 - from].map(|port| (String::from("10.0.0.1"), port));
        let at_ns = at_ms * 1_000_000;
        Segment {
            packet,
            at_ns,
            source,
            destination,
            flags: ACK,
            seq,
            ack,
            payload_bytes,
            ..Segment::default()
        }
    }

    fn way(segments: &[Segment], judged: &[(u64, Judgement)]) -> Way {
        let judged = judged.iter().map(|(packet, judgement)| {
            let judgements = [*judgement].into_iter().collect();
            (*packet, Judged { judgements, duplicate_ack_number: None })
        });
        let said = Said { judged: judged.collect(), ..Said::default() };
        ways(segments, &said).0[&[segments[0].source.clone(), segments[0].destination.clone()]]
    }

    #[test]
    fn one_segment_is_timed_and_the_newest() {
        let mut segments = vec![
            segment(1, 1, 0, 1, 1, 10),
            segment(2, 1, 1, 11, 1, 10),
            segment(3, 1, 2, 21, 1, 10),
            segment(4, 2, 20, 1, 21, 0),
        ];
        let timed = way(&segments, &[]);
        assert_eq!((timed.rtt_samples, timed.rtt_min_us), (1, 20_000), "the first, by an ACK of two");
        segments.push(segment(5, 2, 21, 1, 31, 0));
        let both = way(&segments, &[]);
        assert_eq!(
            (both.rtt_samples, both.rtt_min_us, both.rtt_sum_us),
            (2, 19_000, 39_000),
            "and the newest"
        );
        let again = way(&segments, &[(3, Judgement::Retransmission)]);
        assert_eq!((again.rtt_samples, again.retransmission, again.packets), (0, 1, 3));
        let twice = way(&segments, &[(3, Judgement::CapturedTwice)]);
        assert_eq!((twice.packets, twice.payload_bytes), (2, 20));
    }
}
