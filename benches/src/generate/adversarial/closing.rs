//! How a conversation ends: by FIN in every order, by RST in every place, or not.

use super::dialogue::Dialogue;
use super::opposite;
use crate::wire::{Direction, Segment, flag};

const FIN: u8 = flag::FIN | flag::ACK;

/// Plays one of them.
pub(super) fn play(dialogue: &mut Dialogue) {
    let first = dialogue.either_end();
    match dialogue.rng.range(0, 12) {
        0 => {}
        1 => reset(dialogue, first, flag::RST),
        2 => reset(dialogue, first, flag::RST | flag::ACK),
        3 => half_closed(dialogue, first),
        4 => both_at_once(dialogue, first),
        5 => fin_again(dialogue, first),
        6 => reset_after_fin(dialogue, first),
        7 => data_after_reset(dialogue, first),
        8 => fin_with_data(dialogue, first),
        9 => fin_out_of_order(dialogue, first),
        _ => in_order(dialogue, first),
    }
}

/// A FIN of this end, with all it has heard.
fn fin(dialogue: &mut Dialogue, end: Direction) -> Segment {
    let segment = dialogue.segment(end, FIN);
    dialogue.put(segment);
    dialogue.count_flag(end);
    segment
}

fn in_order(dialogue: &mut Dialogue, first: Direction) {
    let second = opposite(first);
    fin(dialogue, first);
    dialogue.answer_of(second);
    if dialogue.rng.chance(500_000) {
        dialogue.ack(second);
        dialogue.rest();
    } else {
        dialogue.hear_all(second);
    }
    fin(dialogue, second);
    dialogue.answer_of(first);
    dialogue.ack(first);
}

/// One end has nothing more to say, the other goes on.
fn half_closed(dialogue: &mut Dialogue, first: Direction) {
    let second = opposite(first);
    fin(dialogue, first);
    dialogue.answer_of(second);
    dialogue.ack(second);
    for _ in 0..dialogue.rng.range(1, 8) {
        dialogue.gap();
        dialogue.full(second);
        dialogue.gap();
        dialogue.full(second);
        dialogue.answer_of(first);
        dialogue.ack(first);
    }
    fin(dialogue, second);
    dialogue.answer_of(first);
    dialogue.ack(first);
}

fn both_at_once(dialogue: &mut Dialogue, first: Direction) {
    let second = opposite(first);
    fin(dialogue, first);
    dialogue.gap();
    fin(dialogue, second);
    dialogue.answer_of(second);
    dialogue.ack(first);
    dialogue.gap();
    dialogue.ack(second);
}

/// The FIN or its answer is lost, and the FIN sent again.
fn fin_again(dialogue: &mut Dialogue, first: Direction) {
    let second = opposite(first);
    let sent = fin(dialogue, first);
    for attempt in 0..dialogue.rng.range(1, 4) as u32 {
        dialogue.time_out(attempt);
        dialogue.put(sent);
    }
    dialogue.answer_of(second);
    dialogue.ack(second);
    if dialogue.rng.chance(500_000) {
        dialogue.time_out(0);
        dialogue.put(sent);
        dialogue.answer_of(second);
        dialogue.ack(second);
    }
    fin(dialogue, second);
    dialogue.answer_of(first);
    dialogue.ack(first);
}

fn reset(dialogue: &mut Dialogue, from: Direction, flags: u8) {
    if dialogue.rng.chance(300_000) {
        dialogue.full(opposite(from));
        dialogue.gap();
    }
    let segment = dialogue.segment(from, flags);
    dialogue.put(Segment { rwnd: 0, ..segment });
    if dialogue.rng.chance(300_000) {
        dialogue.gap();
        dialogue.put(Segment { rwnd: 0, ..segment });
    }
}

/// The end that closed first has gone when data for it arrive.
fn reset_after_fin(dialogue: &mut Dialogue, first: Direction) {
    let second = opposite(first);
    fin(dialogue, first);
    dialogue.answer_of(second);
    dialogue.ack(second);
    dialogue.gap();
    dialogue.full(second);
    dialogue.answer_of(first);
    let segment = dialogue.segment(first, flag::RST);
    dialogue.put(Segment { rwnd: 0, ..segment });
}

/// What was on its way when the reset passed, and the answers to it.
fn data_after_reset(dialogue: &mut Dialogue, first: Direction) {
    let second = opposite(first);
    let segment = dialogue.segment(first, flag::RST | flag::ACK);
    dialogue.put(Segment { rwnd: 0, ..segment });
    for _ in 0..dialogue.rng.range(1, 4) {
        dialogue.gap();
        dialogue.full(second);
    }
    dialogue.answer_of(first);
    dialogue.put(Segment { flags: flag::RST, rwnd: 0, ..segment });
}

fn fin_with_data(dialogue: &mut Dialogue, first: Direction) {
    let second = opposite(first);
    let segment = dialogue.segment(first, FIN | flag::PSH);
    let _sent = dialogue.unseen(first, 700);
    dialogue.put(Segment { payload_bytes: 700, ..segment });
    dialogue.count_flag(first);
    if dialogue.rng.chance(400_000) {
        dialogue.time_out(0);
        dialogue.put(Segment { payload_bytes: 700, ..segment });
    }
    dialogue.answer_of(second);
    dialogue.hear_all(second);
    fin(dialogue, second);
    dialogue.answer_of(first);
    dialogue.ack(first);
}

/// The FIN overtakes the last data.
fn fin_out_of_order(dialogue: &mut Dialogue, first: Direction) {
    let second = opposite(first);
    let late = dialogue.unseen(first, 900);
    fin(dialogue, first);
    dialogue.gap();
    dialogue.ack_up_to(second, late.start, &[]);
    dialogue.gap();
    dialogue.piece(first, late);
    dialogue.answer_of(second);
    dialogue.ack(second);
    dialogue.gap();
    fin(dialogue, second);
    dialogue.answer_of(first);
    dialogue.ack(first);
}
