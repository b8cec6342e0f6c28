//! Troubles of the receive window: full, zero, probed, opened again.

use super::dialogue::Dialogue;
use super::opposite;
use crate::wire::{Direction, Segment, flag};

/// Probes of a closed window.
const PROBES_MAX: u64 = 5;
const WINDOWS_BYTES: (u64, u64) = (1_500, 12_000);

/// Fills the receiver's window to its last byte: it says how much that is before. Returns what was sent.
fn fill(dialogue: &mut Dialogue, sender: Direction) -> u32 {
    let receiver = opposite(sender);
    let bytes = dialogue.rng.range(WINDOWS_BYTES.0, WINDOWS_BYTES.1) as u32;
    let offered = dialogue.set_window(receiver, bytes);
    dialogue.ack(receiver);
    dialogue.answer_of(sender);
    let mut left = offered;
    while left > 0 {
        let bytes = left.min(u32::from(dialogue.features.full_bytes));
        dialogue.data(sender, bytes as u16);
        left -= bytes;
        dialogue.gap();
    }
    offered
}

/// Filled, and emptied by the reader.
pub(super) fn full(dialogue: &mut Dialogue, sender: Direction) {
    let receiver = opposite(sender);
    let offered = fill(dialogue, sender);
    if dialogue.rng.chance(200_000) {
        // The last segment once more, which fills the window once more.
        dialogue.time_out(0);
        let bytes = offered.min(500) as u16;
        let start = dialogue.next(sender).wrapping_sub(u32::from(bytes));
        dialogue.piece(sender, super::dialogue::Piece { start, bytes });
    }
    dialogue.answer_of(receiver);
    let bytes = dialogue.rng.range(20_000, 60_000) as u32;
    dialogue.set_window(receiver, bytes);
    dialogue.ack(receiver);
}

/// Filled and not read: the window closes, is probed, and opens or does not.
pub(super) fn zero(dialogue: &mut Dialogue, sender: Direction) {
    let receiver = opposite(sender);
    fill(dialogue, sender);
    dialogue.answer_of(receiver);
    dialogue.set_window(receiver, 0);
    dialogue.ack(receiver);
    let is_linux = dialogue.rng.chance(500_000);
    for attempt in 0..dialogue.rng.range(0, PROBES_MAX) as u32 {
        dialogue.time_out(attempt);
        let probe = dialogue.segment(sender, flag::ACK);
        dialogue.put(if is_linux {
            // Linux probes with a number it has sent before, and no byte.
            Segment { seq: probe.seq.wrapping_sub(1), ..probe }
        } else {
            // Others with the next byte, which the receiver does not take.
            Segment { payload_bytes: 1, ..probe }
        });
        if dialogue.rng.chance(900_000) {
            dialogue.answer_of(receiver);
            dialogue.ack_again(receiver, &[]);
        }
    }
    if dialogue.rng.chance(150_000) {
        return;
    }
    dialogue.rest();
    let bytes = dialogue.rng.range(20_000, 60_000) as u32;
    dialogue.set_window(receiver, bytes);
    dialogue.ack_again(receiver, &[]);
    dialogue.answer_of(sender);
    for _ in 0..dialogue.rng.range(1, 4) {
        dialogue.full(sender);
        dialogue.gap();
    }
    dialogue.answer_of(receiver);
    dialogue.ack(receiver);
}

/// The receiver has nothing new to acknowledge, only more room, or less.
pub(super) fn update(dialogue: &mut Dialogue, receiver: Direction) {
    for _ in 0..dialogue.rng.range(1, 4) {
        let bytes = dialogue.rng.range(2_000, 60_000) as u32;
        dialogue.set_window(receiver, bytes);
        dialogue.ack_again(receiver, &[]);
        dialogue.gap();
    }
}

/// The window closes and opens while its owner sends data itself.
pub(super) fn zero_with_data(dialogue: &mut Dialogue, owner: Direction) {
    let before = dialogue.window(owner);
    dialogue.set_window(owner, 0);
    dialogue.hear_all(owner);
    dialogue.full(owner);
    dialogue.answer_of(opposite(owner));
    dialogue.ack(opposite(owner));
    dialogue.answer_of(owner);
    dialogue.set_window(owner, before.max(5_000));
    dialogue.ack_again(owner, &[]);
}
