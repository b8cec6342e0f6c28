//! How a conversation begins: in order, late, twice, from both ends, not at all, or before the capture.

use super::dialogue::{Dialogue, ENDS, Features};
use super::opposite;
use crate::wire::{Direction, Segment, flag};

const CLIENT: Direction = Direction::Forward;
const SERVER: Direction = Direction::Reverse;
const SYN_ACK: u8 = flag::SYN | flag::ACK;

/// Whether there is a connection then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Open,
    Nothing,
}

/// Plays one of them.
pub(super) fn play(dialogue: &mut Dialogue) -> Outcome {
    match dialogue.rng.range(0, 20) {
        0 => refused(dialogue),
        1 => unanswered(dialogue),
        2 => from_both_ends(dialogue),
        3 => before_the_capture(dialogue),
        4 => another_first_number(dialogue),
        5 => with_data(dialogue),
        6 | 7 => {
            let again = dialogue.rng.range(1, 4);
            syns(dialogue, again);
            accept(dialogue, 0)
        }
        8 => {
            syns(dialogue, 0);
            let again = dialogue.rng.range(1, 3);
            accept(dialogue, again)
        }
        9 => congestion_told(dialogue),
        _ => {
            syns(dialogue, 0);
            accept(dialogue, 0)
        }
    }
}

/// A SYN, and again after each second that doubles.
fn syns(dialogue: &mut Dialogue, again: u64) {
    let syn = dialogue.segment(CLIENT, flag::SYN);
    dialogue.put(syn);
    for attempt in 0..again {
        dialogue.wait(1_000_000 << attempt);
        dialogue.put(syn);
    }
    dialogue.count_flag(CLIENT);
}

/// SYN-ACK, as often again, and the ACK.
fn accept(dialogue: &mut Dialogue, again: u64) -> Outcome {
    dialogue.answer_of(SERVER);
    dialogue.hear_all(SERVER);
    let answer = dialogue.segment(SERVER, SYN_ACK);
    dialogue.put(answer);
    for attempt in 0..again {
        dialogue.wait(1_000_000 << attempt);
        dialogue.put(answer);
    }
    dialogue.count_flag(SERVER);
    dialogue.answer_of(CLIENT);
    dialogue.ack(CLIENT);
    Outcome::Open
}

fn refused(dialogue: &mut Dialogue) -> Outcome {
    let again = dialogue.rng.range(0, 3);
    for _ in 0..=again {
        syns(dialogue, 0);
        dialogue.answer_of(SERVER);
        dialogue.hear_all(SERVER);
        let reset = dialogue.segment(SERVER, flag::RST | flag::ACK);
        dialogue.put(Segment { seq: 0, rwnd: 0, ..reset });
        dialogue.wait(500_000);
    }
    Outcome::Nothing
}

fn unanswered(dialogue: &mut Dialogue) -> Outcome {
    let again = dialogue.rng.range(0, 5);
    syns(dialogue, again);
    Outcome::Nothing
}

/// Both SYNs cross, both are answered by SYN-ACK (RFC 9293, 3.5), or by a plain ACK as some do.
fn from_both_ends(dialogue: &mut Dialogue) -> Outcome {
    for end in ENDS {
        let syn = dialogue.segment(end, flag::SYN);
        dialogue.put(syn);
        dialogue.gap();
    }
    let answers = ENDS.map(|end| dialogue.segment(end, SYN_ACK));
    for (end, answer) in ENDS.into_iter().zip(answers) {
        dialogue.count_flag(end);
        dialogue.answer_of(opposite(end));
        let ack = dialogue.next(opposite(end));
        dialogue.put(Segment { ack: if end == CLIENT { ack.wrapping_add(1) } else { ack }, ..answer });
    }
    for end in ENDS {
        dialogue.gap();
        dialogue.ack(end);
    }
    Outcome::Open
}

/// The capture starts in the middle: nobody knows the window's shift.
fn before_the_capture(dialogue: &mut Dialogue) -> Outcome {
    for end in ENDS {
        dialogue.count_flag(end);
    }
    for end in ENDS {
        dialogue.hear_all(end);
    }
    Outcome::Open
}

/// The client gives up its first attempt and tries again from the same port with another number.
fn another_first_number(dialogue: &mut Dialogue) -> Outcome {
    syns(dialogue, 0);
    let features = Features { ..dialogue.features };
    dialogue.start_over(features);
    syns(dialogue, 0);
    accept(dialogue, 0)
}

/// A SYN that carries data, which the answer covers, or does not.
fn with_data(dialogue: &mut Dialogue) -> Outcome {
    let syn = dialogue.segment(CLIENT, flag::SYN);
    dialogue.put(Segment { payload_bytes: 100, ..syn });
    dialogue.count_flag(CLIENT);
    if dialogue.rng.chance(500_000) {
        let _covered = dialogue.unseen(CLIENT, 100);
        return accept(dialogue, 0);
    }
    accept(dialogue, 0);
    dialogue.gap();
    dialogue.data(CLIENT, 100);
    dialogue.answer_of(SERVER);
    dialogue.ack(SERVER);
    Outcome::Open
}

/// Both ends agree on explicit congestion notification (RFC 3168, 6.1.1).
fn congestion_told(dialogue: &mut Dialogue) -> Outcome {
    let syn = dialogue.segment(CLIENT, flag::SYN | flag::ECE | flag::CWR);
    dialogue.put(syn);
    dialogue.count_flag(CLIENT);
    dialogue.answer_of(SERVER);
    dialogue.hear_all(SERVER);
    let answer = dialogue.segment(SERVER, SYN_ACK | flag::ECE);
    dialogue.put(answer);
    dialogue.count_flag(SERVER);
    dialogue.answer_of(CLIENT);
    dialogue.ack(CLIENT);
    Outcome::Open
}
