//! What befalls an open connection: losses, overtaking, needless repetition, idleness, and things that nobody should do.

use super::dialogue::{Dialogue, Piece};
use super::{opposite, window};
use crate::wire::{Direction, Marks, Segment, flag};

/// Duplicate ACKs by which a sender retransmits at once (RFC 5681, 3.2).
const DUPLICATE_ACKS_FAST: u64 = 3;

/// Plays one episode in which `sender` has the data.
pub(super) fn play(dialogue: &mut Dialogue, sender: Direction) {
    match dialogue.rng.range(0, 24) {
        0 => lost(dialogue, sender, Place::BeforeCapture),
        1 => lost(dialogue, sender, Place::BehindCapture),
        2 => timed_out(dialogue, sender),
        3 => spurious(dialogue, sender),
        4 | 5 => overtaken(dialogue, sender),
        6 | 7 => window::zero(dialogue, sender),
        8 | 9 => window::full(dialogue, sender),
        10 => window::update(dialogue, sender),
        11 => window::zero_with_data(dialogue, sender),
        12 => idle(dialogue, sender),
        13 => duplicate_acks(dialogue, sender),
        14 => urgent(dialogue, sender),
        15 => congestion(dialogue, sender),
        16 => overlapping(dialogue, sender),
        17 => not_captured(dialogue, sender),
        18 => both_ways(dialogue, sender),
        19 => several_lost(dialogue, sender),
        20 => lost_again(dialogue, sender),
        21 => old_acks(dialogue, sender),
        22 => odd(dialogue, sender),
        _ => steady(dialogue, sender),
    }
}

/// Where a segment is lost, seen from the capture point.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    BeforeCapture,
    BehindCapture,
}

fn steady(dialogue: &mut Dialogue, sender: Direction) {
    let receiver = opposite(sender);
    for round in 0..dialogue.rng.range(1, 9) {
        let bytes = dialogue.rng.range(1, u64::from(dialogue.features.full_bytes) + 1) as u16;
        dialogue.data(sender, bytes);
        dialogue.gap();
        if round % 2 == 1 {
            dialogue.answer_of(receiver);
            dialogue.ack(receiver);
        }
    }
    dialogue.answer_of(receiver);
    dialogue.ack(receiver);
}

/// A segment that the receiver does not get.
fn lose(dialogue: &mut Dialogue, sender: Direction, place: Place) -> Piece {
    let bytes = dialogue.features.full_bytes;
    match place {
        Place::BeforeCapture => dialogue.unseen(sender, bytes),
        Place::BehindCapture => dialogue.data(sender, bytes),
    }
}

/// Later segments, each answered by an ACK for the hole; returns how many.
fn beyond(dialogue: &mut Dialogue, sender: Direction, hole: u32) -> u64 {
    let receiver = opposite(sender);
    let later = dialogue.rng.range(1, 7);
    let mut beyond: Option<Piece> = None;
    for _ in 0..later {
        dialogue.gap();
        let piece = dialogue.full(sender);
        let reached =
            beyond.map_or(piece, |all| Piece { bytes: all.bytes.saturating_add(piece.bytes), ..all });
        beyond = Some(reached);
        dialogue.gap();
        dialogue.ack_up_to(receiver, hole, &[reached]);
    }
    later
}

fn lost(dialogue: &mut Dialogue, sender: Direction, place: Place) {
    let receiver = opposite(sender);
    dialogue.ack(receiver);
    dialogue.answer_of(sender);
    let missing = lose(dialogue, sender, place);
    let later = beyond(dialogue, sender, missing.start);
    if later >= DUPLICATE_ACKS_FAST {
        dialogue.answer_of(sender);
    } else {
        dialogue.time_out(0);
    }
    dialogue.piece(sender, missing);
    dialogue.answer_of(receiver);
    dialogue.ack(receiver);
}

/// Nothing comes back until the timer expires, more than once perhaps.
fn timed_out(dialogue: &mut Dialogue, sender: Direction) {
    let receiver = opposite(sender);
    let first = dialogue.full(sender);
    dialogue.gap();
    let second = dialogue.data(sender, 300);
    for attempt in 0..dialogue.rng.range(1, 5) as u32 {
        dialogue.time_out(attempt);
        dialogue.piece(sender, first);
    }
    dialogue.answer_of(receiver);
    if dialogue.rng.chance(500_000) {
        dialogue.ack_up_to(receiver, second.start, &[]);
        dialogue.answer_of(sender);
        dialogue.piece(sender, second);
        dialogue.answer_of(receiver);
    }
    dialogue.ack(receiver);
}

/// Sent again though it had arrived; the receiver says so (RFC 2883) where it can.
fn spurious(dialogue: &mut Dialogue, sender: Direction) {
    let receiver = opposite(sender);
    let piece = dialogue.full(sender);
    dialogue.answer_of(receiver);
    dialogue.ack(receiver);
    for _ in 0..dialogue.rng.range(1, 3) {
        dialogue.rest();
        dialogue.piece(sender, piece);
        dialogue.answer_of(receiver);
        dialogue.ack_again(receiver, &[piece]);
    }
}

/// A segment arrives late: soon, within a round trip, or after more than one.
fn overtaken(dialogue: &mut Dialogue, sender: Direction) {
    let receiver = opposite(sender);
    let late = dialogue.unseen(sender, dialogue.features.full_bytes);
    let early = dialogue.full(sender);
    if dialogue.rng.chance(500_000) {
        dialogue.gap();
        dialogue.ack_up_to(receiver, late.start, &[early]);
    }
    let round_trip_us = dialogue.round_trip_us();
    let delay_us = match dialogue.rng.range(0, 4) {
        0 => dialogue.rng.range(10, 300),
        1 => dialogue.rng.range(300, 3_500),
        2 => dialogue.rng.range(round_trip_us / 4, round_trip_us),
        _ => dialogue.rng.range(round_trip_us, 4 * round_trip_us + 4_000),
    };
    dialogue.wait(delay_us);
    dialogue.piece(sender, late);
    dialogue.answer_of(receiver);
    dialogue.ack(receiver);
}

/// Nothing to say: keep-alives with and without a byte, answered and not.
fn idle(dialogue: &mut Dialogue, sender: Direction) {
    let receiver = opposite(sender);
    dialogue.hear_all(sender);
    dialogue.hear_all(receiver);
    let payload_bytes = u16::from(dialogue.rng.chance(400_000));
    for _ in 0..dialogue.rng.range(1, 6) {
        let pause_us = dialogue.rng.range(1_000_000, 20_000_000);
        dialogue.wait(pause_us);
        let probe = dialogue.segment(sender, flag::ACK);
        dialogue.put(Segment { seq: probe.seq.wrapping_sub(1), payload_bytes, ..probe });
        if dialogue.rng.chance(800_000) {
            dialogue.answer_of(receiver);
            dialogue.ack_again(receiver, &[]);
        }
    }
}

fn duplicate_acks(dialogue: &mut Dialogue, receiver: Direction) {
    dialogue.full(opposite(receiver));
    dialogue.answer_of(receiver);
    dialogue.ack(receiver);
    for _ in 0..dialogue.rng.range(1, 7) {
        let pause_us = dialogue.rng.range(200, 30_000);
        dialogue.wait(pause_us);
        dialogue.ack_again(receiver, &[]);
    }
}

fn urgent(dialogue: &mut Dialogue, sender: Direction) {
    let segment = dialogue.segment(sender, flag::ACK | flag::PSH | flag::URG);
    let piece = dialogue.unseen(sender, 60);
    let marks = Marks { urgent: 10, ..Marks::default() };
    dialogue.put(Segment { payload_bytes: piece.bytes, marks, ..segment });
    dialogue.gap();
    dialogue.data(sender, 200);
    dialogue.answer_of(opposite(sender));
    dialogue.ack(opposite(sender));
}

/// A router marks a segment, the receiver tells, the sender slows down (RFC 3168, 6.1).
fn congestion(dialogue: &mut Dialogue, sender: Direction) {
    let receiver = opposite(sender);
    for (ecn, sent, told) in [(2, 0, 0), (3, 0, flag::ECE), (2, 0, flag::ECE), (2, flag::CWR, 0)] {
        let segment = dialogue.segment(sender, flag::ACK | sent);
        let piece = dialogue.unseen(sender, dialogue.features.full_bytes);
        let marks = Marks { ecn, ..Marks::default() };
        dialogue.put(Segment { payload_bytes: piece.bytes, marks, ..segment });
        dialogue.answer_of(receiver);
        dialogue.hear_all(receiver);
        let ack = dialogue.segment(receiver, flag::ACK | told);
        dialogue.put(ack);
        dialogue.gap();
    }
}

/// Sent again in other portions: the end of one segment and new bytes, two in one, half of one.
fn overlapping(dialogue: &mut Dialogue, sender: Direction) {
    let receiver = opposite(sender);
    let first = dialogue.data(sender, 500);
    dialogue.gap();
    let second = dialogue.data(sender, 500);
    dialogue.time_out(0);
    match dialogue.rng.range(0, 3) {
        0 => dialogue.piece(sender, Piece { start: first.start, bytes: 1_000 }),
        1 => dialogue.piece(sender, Piece { start: first.start.wrapping_add(100), bytes: 300 }),
        _ => {
            let _new = dialogue.unseen(sender, 400);
            dialogue.piece(sender, Piece { start: second.start.wrapping_add(200), bytes: 700 });
        }
    }
    dialogue.answer_of(receiver);
    dialogue.ack(receiver);
}

/// The capture misses data, and perhaps their ACK.
fn not_captured(dialogue: &mut Dialogue, sender: Direction) {
    let receiver = opposite(sender);
    for _ in 0..dialogue.rng.range(1, 4) {
        dialogue.unseen(sender, dialogue.features.full_bytes);
    }
    dialogue.answer_of(receiver);
    match dialogue.rng.range(0, 3) {
        0 => dialogue.ack(receiver),
        1 => {
            dialogue.full(sender);
            dialogue.answer_of(receiver);
            dialogue.ack(receiver);
        }
        _ => dialogue.hear_all(receiver),
    }
    dialogue.gap();
    dialogue.full(sender);
    dialogue.answer_of(receiver);
    dialogue.ack(receiver);
}

fn both_ways(dialogue: &mut Dialogue, sender: Direction) {
    let receiver = opposite(sender);
    for _ in 0..dialogue.rng.range(1, 5) {
        dialogue.data(sender, 400);
        dialogue.gap();
        dialogue.data(receiver, 700);
        dialogue.gap();
        dialogue.hear_all(receiver);
        dialogue.data(receiver, 700);
        dialogue.gap();
        dialogue.ack(sender);
    }
    let again = dialogue.data(sender, 300);
    dialogue.gap();
    let crossing = dialogue.data(receiver, 300);
    dialogue.time_out(0);
    dialogue.piece(sender, again);
    dialogue.gap();
    dialogue.piece(receiver, crossing);
    dialogue.answer_of(receiver);
    dialogue.ack(receiver);
    dialogue.gap();
    dialogue.ack(sender);
}

/// Two holes in one window, reported by SACK, filled one after the other.
fn several_lost(dialogue: &mut Dialogue, sender: Direction) {
    let receiver = opposite(sender);
    let place = if dialogue.rng.chance(500_000) { Place::BeforeCapture } else { Place::BehindCapture };
    dialogue.ack(receiver);
    dialogue.gap();
    let first = lose(dialogue, sender, place);
    dialogue.gap();
    let between = [dialogue.full(sender), dialogue.full(sender)];
    let second = lose(dialogue, sender, place);
    let behind = [dialogue.full(sender), dialogue.full(sender)];
    for block in [between[0], between[1], behind[0], behind[1]] {
        dialogue.gap();
        dialogue.ack_up_to(receiver, first.start, &[block]);
    }
    dialogue.answer_of(sender);
    dialogue.piece(sender, first);
    dialogue.answer_of(receiver);
    dialogue.ack_up_to(receiver, second.start, &behind);
    dialogue.answer_of(sender);
    dialogue.piece(sender, second);
    dialogue.answer_of(receiver);
    dialogue.ack(receiver);
}

/// What was sent again is lost as well.
fn lost_again(dialogue: &mut Dialogue, sender: Direction) {
    let receiver = opposite(sender);
    dialogue.ack(receiver);
    dialogue.gap();
    let missing = lose(dialogue, sender, Place::BehindCapture);
    beyond(dialogue, sender, missing.start);
    dialogue.answer_of(sender);
    dialogue.piece(sender, missing);
    dialogue.time_out(0);
    dialogue.piece(sender, missing);
    dialogue.answer_of(receiver);
    dialogue.ack(receiver);
}

/// ACKs that overtook each other.
fn old_acks(dialogue: &mut Dialogue, sender: Direction) {
    let receiver = opposite(sender);
    let old = dialogue.heard(receiver);
    let first = dialogue.full(sender);
    dialogue.gap();
    dialogue.full(sender);
    dialogue.answer_of(receiver);
    dialogue.ack(receiver);
    for number in [first.end(), old] {
        dialogue.gap();
        dialogue.ack_up_to(receiver, number, &[]);
    }
    dialogue.gap();
    dialogue.ack(receiver);
}

/// What no stack should send, and some do.
fn odd(dialogue: &mut Dialogue, sender: Direction) {
    let receiver = opposite(sender);
    let plain = dialogue.segment(sender, flag::ACK);
    let segment = match dialogue.rng.range(0, 8) {
        0 => Segment { flags: flag::SYN, ..plain },
        1 => Segment { flags: 0, ..plain },
        2 => Segment { flags: flag::FIN | flag::PSH | flag::URG, ..plain },
        3 => Segment { ack: plain.ack.wrapping_add(50_000), ..plain },
        4 => Segment { seq: plain.seq.wrapping_add(40_000), payload_bytes: 100, ..plain },
        5 => Segment { seq: plain.seq.wrapping_sub(40_000), payload_bytes: 100, ..plain },
        6 => Segment { flags: flag::SYN | flag::FIN, ..plain },
        _ => Segment { seq: plain.seq.wrapping_add(1 << 31), payload_bytes: 1, ..plain },
    };
    dialogue.put(segment);
    dialogue.answer_of(receiver);
    dialogue.ack(receiver);
    dialogue.gap();
    dialogue.full(sender);
    dialogue.answer_of(receiver);
    dialogue.ack(receiver);
}
