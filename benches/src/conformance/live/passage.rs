//! The truth about each frame that reached an end, from the box's record: new, sent again, overtaken, or doubled by the
//! box; and whether both readers say so.
//!
//! What the box let through is matched with the capture of the receiving end one by one, in order; a mismatch is an error.
//! The classes follow from what the sender sent and the receiver already had, in bytes, not from any reader's rules.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, ensure};
use serde::Serialize;
use tidegauge_tests::middlebox::{Passages, Segment as Passed};

use super::super::judgement::{Judgement, Judgements};
use super::super::ours::Said;
use super::super::tshark::Segment;

const FIN: u8 = 0x01;
const SYN: u8 = 0x02;

/// What a segment that arrived was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Carries nothing that takes a sequence number.
    Bare,
    /// First time that its bytes are sent, or the first copy that arrived with nothing behind it having arrived.
    New,
    /// Its bytes were sent before, and something at or behind them had arrived.
    SentAgain,
    /// Sent once, and something behind it had arrived already.
    Overtaken,
    /// The box's second copy of the very same packet.
    Doubled,
}

/// How both readers did on one class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Score {
    /// Segments of the class.
    pub segments: u64,
    /// Of these, those that tidegauge says so of.
    pub tidegauge: u64,
    /// Those that tshark does.
    pub tshark: u64,
}

/// Scores of all classes but [`Class::Bare`].
pub type Scores = BTreeMap<Class, Score>;

/// The class of each segment that arrived, in the order of arrival.
pub fn classes(passages: &Passages) -> Vec<(Passed, Class)> {
    let resent = resent(passages);
    let mut highest: BTreeMap<(u16, u16), u32> = BTreeMap::new();
    let mut passed = BTreeSet::new();
    let mut classes = Vec::new();
    for index in &passages.left {
        let Some(segment) = passages.entered[*index].segment else { continue };
        let (start, end) = range(&segment);
        let is_second = !passed.insert(*index);
        let highest = highest.entry((segment.source_port, segment.destination_port)).or_insert(start);
        let is_behind = is_before(start, *highest);
        let class = match (is_second, start == end, resent[*index], is_behind) {
            (true, ..) => Class::Doubled,
            (_, true, ..) => Class::Bare,
            (_, _, _, false) => Class::New,
            (_, _, true, true) => Class::SentAgain,
            (_, _, false, true) => Class::Overtaken,
        };
        if is_before(*highest, end) {
            *highest = end;
        }
        classes.push((segment, class));
    }
    classes
}

/// Of each frame that entered, whether its sender had sent all its bytes before.
fn resent(passages: &Passages) -> Vec<bool> {
    let mut sent: BTreeMap<(u16, u16), u32> = BTreeMap::new();
    let resent = passages.entered.iter().map(|passage| {
        let Some(segment) = passage.segment else { return false };
        let (start, end) = range(&segment);
        let sent = sent.entry((segment.source_port, segment.destination_port)).or_insert(start);
        // A sender's first frames leave in order, so what does not go beyond the highest was there before.
        let is_resent = start != end && !is_before(*sent, end);
        if is_before(*sent, end) {
            *sent = end;
        }
        is_resent
    });
    resent.collect()
}

/// The sequence numbers that a segment takes.
const fn range(segment: &Passed) -> (u32, u32) {
    let flags = ((segment.flags & SYN != 0) as u32) + ((segment.flags & FIN != 0) as u32);
    (segment.sequence, segment.sequence.wrapping_add(segment.payload_bytes + flags))
}

const fn is_before(left: u32, right: u32) -> bool {
    right.wrapping_sub(left).cast_signed() > 0
}

/// Holds what arrived at an end against what both readers say of it in the capture of that end.
pub fn score(passages: &Passages, arrived: &[&Segment], said: &Said) -> Result<Scores> {
    let classes = classes(passages);
    ensure!(
        classes.len() == arrived.len(),
        "the box let {} segments through, the capture has {}",
        classes.len(),
        arrived.len()
    );
    let mut scores = Scores::new();
    for ((passed, class), seen) in classes.iter().zip(arrived) {
        ensure!(
            (passed.sequence, passed.payload_bytes) == (seen.seq, seen.payload_bytes),
            "packet {} is not the one that the box let through",
            seen.packet
        );
        if *class == Class::Bare {
            continue;
        }
        let ours = said.judged.get(&seen.packet).map(|judged| judged.judgements).unwrap_or_default();
        let score = scores.entry(*class).or_default();
        score.segments += 1;
        score.tidegauge += u64::from(is_right(*class, passed, ours));
        score.tshark += u64::from(is_right(*class, passed, seen.judgements));
    }
    Ok(scores)
}

/// Whether these judgements are the class's.
fn is_right(class: Class, passed: &Passed, judgements: Judgements) -> bool {
    let (start, end) = range(passed);
    let sent_again = judgements.has(Judgement::Retransmission);
    let overtaken = judgements.has(Judgement::OutOfOrder);
    match class {
        Class::Bare => true,
        Class::New => !sent_again && !overtaken,
        Class::SentAgain => sent_again,
        Class::Overtaken => overtaken,
        // Without a word for it, or too late for it, what has bytes is called one of these, and what has none repeats an ACK.
        Class::Doubled => {
            let repeats = judgements.has(Judgement::DuplicateAck) || judgements.has(Judgement::KeepAliveAck);
            let again = if start == end { repeats } else { sent_again || overtaken };
            judgements.has(Judgement::CapturedTwice) || again
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;
    use tidegauge_tests::middlebox::{Act, Passage};

    fn passed(sequence: u32, payload_bytes: u32) -> Passed {
        Passed { source_port: 80, destination_port: 4_000, sequence, payload_bytes, flags: 0x10 }
    }

    fn passages(segments: &[Passed], left: &[usize]) -> Passages {
        let passage =
            |segment: &Passed| Passage { segment: Some(*segment), act: Act::Passed, entered: Instant::now() };
        Passages {
            entered: segments.iter().map(passage).collect(),
            left: left.to_vec(),
            ..Passages::default()
        }
    }

    fn classes_of(segments: &[Passed], left: &[usize]) -> Vec<Class> {
        classes(&passages(segments, left)).into_iter().map(|(_, class)| class).collect()
    }

    #[test]
    fn what_arrives_is_classed_by_bytes() {
        use Class::{Bare, Doubled, New, Overtaken, SentAgain};
        let start = u32::MAX - 50;
        let at = |offset: u32, bytes| passed(start.wrapping_add(offset), bytes);
        // The second is lost and sent again, the third overtaken by the fourth, which is doubled.
        let segments = [at(0, 100), at(100, 100), at(200, 100), at(300, 100), at(100, 100), at(400, 0)];
        assert_eq!(
            classes_of(&segments, &[0, 3, 3, 2, 4, 5]),
            [New, New, Doubled, Overtaken, SentAgain, Bare]
        );
        // A tail that is lost and sent again is new to the receiver.
        assert_eq!(classes_of(&[at(0, 100), at(100, 100), at(100, 100)], &[0, 2]), [New, New]);
    }

    #[test]
    fn readers_are_scored_on_what_they_say_and_mismatches_are_told() {
        let segments = [passed(1, 100), passed(101, 100), passed(101, 100)];
        let record = passages(&segments, &[0, 1, 2]);
        let seen = |packet, seq, judgements: &[Judgement]| Segment {
            packet,
            seq,
            payload_bytes: 100,
            judgements: judgements.iter().copied().collect(),
            ..Segment::default()
        };
        let captured = [seen(1, 1, &[]), seen(2, 101, &[]), seen(3, 101, &[Judgement::Retransmission])];
        let arrived: Vec<&Segment> = captured.iter().collect();
        let scores = score(&record, &arrived, &Said::default()).unwrap();
        assert_eq!(scores[&Class::SentAgain], Score { segments: 1, tidegauge: 0, tshark: 1 });
        assert_eq!(scores[&Class::New], Score { segments: 2, tidegauge: 2, tshark: 2 });
        assert!(score(&record, &arrived[1..], &Said::default()).is_err());
        assert!(score(&record, &[arrived[1], arrived[0], arrived[2]], &Said::default()).is_err());
    }
}
