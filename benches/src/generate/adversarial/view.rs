//! What a capture shows of a conversation: all of it, a part, or parts of it twice.
//!
//! A packet captured twice is the very same one: same bytes, same IP identification, a few microseconds later, as where
//! a mirror port copies what comes in and what goes out.

use super::dialogue::Dialogue;
use crate::rng::Rng;
use crate::wire::{Direction, Segment};

/// The second copy follows within this time: a mirror port's own delay.
const TWICE_WITHIN_US: u64 = 60;
/// Share of packets that the capture misses, or has twice, where it does so at all.
const MISSED_PER_MILLION: u64 = 30_000;
const TWICE_PER_MILLION: u64 = 100_000;

/// Segments in the order of their capture.
pub(super) struct Shown {
    pub(super) segments: Vec<Segment>,
    /// Second copies among them.
    pub(super) twice: u64,
}

/// Draws how much of the conversation is seen, and shows it.
pub(super) fn draw(dialogue: Dialogue, rng: &mut Rng) -> Shown {
    let mut segments = dialogue.segments;
    match rng.range(0, 20) {
        0 => segments.retain(|segment| segment.direction == Direction::Forward),
        1 => segments.retain(|segment| segment.direction == Direction::Reverse),
        2 => drop(segments.drain(..segments.len() / 3)),
        3 => segments.retain(|_| !rng.chance(MISSED_PER_MILLION)),
        4 => return twice(segments, 1_000_000, rng),
        5 => return twice(segments, TWICE_PER_MILLION, rng),
        _ => {}
    }
    Shown { segments, twice: 0 }
}

/// Shows so many of a million twice.
fn twice(segments: Vec<Segment>, per_million: u64, rng: &mut Rng) -> Shown {
    let mut shown = Shown { segments: Vec::with_capacity(2 * segments.len()), twice: 0 };
    for mut segment in segments {
        if !rng.chance(per_million) {
            shown.segments.push(segment);
            continue;
        }
        segment.marks.ip_id = Some(rng.next_u32() as u16);
        let at_us = segment.at_us + rng.range(1, TWICE_WITHIN_US);
        shown.segments.extend([segment, Segment { at_us, ..segment }]);
        shown.twice += 1;
    }
    shown.segments.sort_by_key(|segment| segment.at_us);
    shown
}
