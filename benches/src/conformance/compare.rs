//! The comparison itself: per judgement, packet by packet, every difference kept with its reason.

use std::collections::BTreeSet;

use serde::{Serialize, Serializer};

use super::judgement::Judgement;
use super::ours::Said;
use super::reason::{Alone, Context, Reason};
use super::tshark::Segment;

/// Who says that a packet is something, where the other does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Speaker {
    /// tidegauge.
    Tidegauge,
    /// tshark.
    Tshark,
    /// The headers themselves: tshark has no word for a packet captured twice.
    Headers,
}

/// What is different about a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// Only one of them says so.
    Judgement(Judgement),
    /// Both call it a duplicate ACK, but count differently.
    DuplicateAckNumber,
}

/// One packet on which tidegauge and tshark differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Its number in the capture, from 1.
    pub packet: u64,
    /// tshark's number of its connection; `None` where tshark sees no TCP.
    pub stream: Option<u32>,
    /// What it is about.
    pub what: What,
    /// Who says so.
    pub said_by: Speaker,
    /// Why.
    pub reason: Reason,
}

/// How often both agree, and how often one of them is alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Both say so.
    pub both: u64,
    /// Only tidegauge does.
    pub only_tidegauge: u64,
    /// Only tshark does.
    pub only_tshark: u64,
    /// Of the former two, those for which a rule has a reason.
    pub explained_tidegauge: u64,
    /// See there.
    pub explained_tshark: u64,
}

impl Tally {
    /// Share of what tidegauge says that tshark says, too; 1 where it says nothing.
    pub fn precision(&self) -> f64 {
        share(self.both, self.only_tidegauge)
    }

    /// Share of what tshark says that tidegauge says, too; 1 where it says nothing.
    pub fn recall(&self) -> f64 {
        share(self.both, self.only_tshark)
    }

    /// Precision where differences with a reason are left out.
    pub fn precision_unexplained(&self) -> f64 {
        share(self.both, self.only_tidegauge - self.explained_tidegauge)
    }

    /// Recall where differences with a reason are left out.
    pub fn recall_unexplained(&self) -> f64 {
        share(self.both, self.only_tshark - self.explained_tshark)
    }

    /// Differences.
    pub const fn differences(&self) -> u64 {
        self.only_tidegauge + self.only_tshark
    }

    /// Adds another capture's.
    pub fn add(&mut self, other: &Self) {
        self.both += other.both;
        self.only_tidegauge += other.only_tidegauge;
        self.only_tshark += other.only_tshark;
        self.explained_tidegauge += other.explained_tidegauge;
        self.explained_tshark += other.explained_tshark;
    }
}

fn share(right: u64, wrong: u64) -> f64 {
    if right + wrong == 0 { 1.0 } else { right as f64 / (right + wrong) as f64 }
}

/// One tally for each judgement, in the order of [`Judgement::ALL`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tallies([Tally; Judgement::ALL.len()]);

impl Tallies {
    /// That of one judgement.
    pub const fn of(&self, judgement: Judgement) -> &Tally {
        &self.0[judgement as usize]
    }

    /// Adds another capture's.
    pub fn add(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(all, one)| all.add(one));
    }
}

impl Serialize for Tallies {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer
            .collect_map(Judgement::ALL.into_iter().map(|judgement| (judgement.name(), self.of(judgement))))
    }
}

/// What came of one capture.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Compared {
    /// TCP segments that tshark sees.
    pub segments: u64,
    /// Per judgement.
    pub tallies: Tallies,
    /// All of them, in the order of packets.
    pub differences: Vec<Difference>,
    /// Duplicate ACKs on whose number both agree.
    pub numbers_equal: u64,
}

/// Compares what both say of one capture; `alone` is what tshark says without the copies, empty where there are none.
pub fn compare(segments: &[Segment], said: &Said, alone: &Alone) -> Compared {
    let context = Context::new(segments, said, alone);
    let mut compared = Compared { segments: segments.len() as u64, ..Compared::default() };
    let known: BTreeSet<u64> = segments.iter().map(|segment| segment.packet).collect();
    for segment in segments {
        packet(&context, segment.packet, Some(segment), &mut compared);
    }
    let mut strangers: Vec<u64> =
        said.judged.keys().copied().filter(|packet| !known.contains(packet)).collect();
    strangers.sort_unstable();
    for number in strangers {
        packet(&context, number, None, &mut compared);
    }
    compared.differences.sort_by_key(|difference| (difference.packet, difference.what));
    compared
}

fn packet(context: &Context<'_>, number: u64, segment: Option<&Segment>, compared: &mut Compared) {
    let ours = context.said.judged.get(&number).copied().unwrap_or_default();
    let theirs = segment.map(|segment| segment.judgements).unwrap_or_default();
    let mut differ = |what, said_by| {
        let reason = context.reason(number, segment, what, said_by);
        let stream = segment.map(|segment| segment.stream);
        compared.differences.push(Difference { packet: number, stream, what, said_by, reason });
        u64::from(reason != Reason::Unexplained)
    };
    for judgement in Judgement::ALL {
        let tally = &mut compared.tallies.0[judgement as usize];
        let (other, by_other) = match judgement {
            Judgement::CapturedTwice => (Speaker::Headers, context.is_copy(number)),
            _ => (Speaker::Tshark, theirs.has(judgement)),
        };
        match (ours.judgements.has(judgement), by_other) {
            (true, true) => tally.both += 1,
            (true, false) => {
                tally.only_tidegauge += 1;
                tally.explained_tidegauge += differ(What::Judgement(judgement), Speaker::Tidegauge);
            }
            (false, true) => {
                tally.only_tshark += 1;
                tally.explained_tshark += differ(What::Judgement(judgement), other);
            }
            (false, false) => {}
        }
    }
    let numbers = (ours.duplicate_ack_number, segment.and_then(|segment| segment.duplicate_ack_number));
    if ours.judgements.has(Judgement::DuplicateAck) && theirs.has(Judgement::DuplicateAck) {
        if numbers.0 == numbers.1 {
            compared.numbers_equal += 1;
        } else {
            differ(What::DuplicateAckNumber, Speaker::Tidegauge);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::judgement::Judgements;
    use crate::conformance::ours::Judged;
    use Judgement::{CapturedTwice, DuplicateAck, OutOfOrder, Retransmission};

    fn segment(packet: u64, judgements: &[Judgement]) -> Segment {
        let judgements: Judgements = judgements.iter().copied().collect();
        let number = judgements.has(DuplicateAck).then_some(1);
        Segment { packet, seq: packet as u32, judgements, duplicate_ack_number: number, ..Segment::default() }
    }

    fn said(packets: &[(u64, &[Judgement])]) -> Said {
        let judged = packets.iter().map(|(packet, judgements)| {
            let judgements: Judgements = judgements.iter().copied().collect();
            (*packet, Judged { judgements, duplicate_ack_number: judgements.has(DuplicateAck).then_some(2) })
        });
        Said { judged: judged.collect(), ..Said::default() }
    }

    #[test]
    fn every_packet_is_counted_once_per_judgement() {
        let segments = [
            segment(1, &[]),
            segment(2, &[Retransmission]),
            segment(3, &[Retransmission, OutOfOrder]),
            segment(5, &[DuplicateAck]),
        ];
        let said =
            said(&[(2, &[Retransmission]), (3, &[OutOfOrder]), (4, &[Retransmission]), (5, &[DuplicateAck])]);
        let compared = compare(&segments, &said, &Alone::new());
        let tally = compared.tallies.of(Retransmission);
        assert_eq!((tally.both, tally.only_tidegauge, tally.only_tshark), (1, 1, 1));
        assert_eq!((tally.precision(), tally.recall()), (0.5, 0.5));
        assert_eq!(compared.tallies.of(OutOfOrder).differences(), 0);
        let found: Vec<_> = compared.differences.iter().map(|d| (d.packet, d.what, d.said_by)).collect();
        let expected = [
            (3, What::Judgement(Retransmission), Speaker::Tshark),
            (4, What::Judgement(Retransmission), Speaker::Tidegauge),
            (5, What::DuplicateAckNumber, Speaker::Tidegauge),
        ];
        assert_eq!(found, expected);
        assert_eq!((compared.segments, compared.numbers_equal), (4, 0));
    }

    #[test]
    fn a_copy_must_be_one_by_the_facts() {
        let first = segment(1, &[]);
        let copy = Segment { packet: 2, judgements: [Retransmission].into_iter().collect(), ..first.clone() };
        let other = segment(3, &[]);
        let said = said(&[(2, &[CapturedTwice]), (3, &[CapturedTwice])]);
        let compared = compare(&[first, copy, other], &said, &Alone::new());
        let twice = compared.tallies.of(CapturedTwice);
        assert_eq!((twice.both, twice.only_tidegauge), (1, 1));
        let retransmission = compared.tallies.of(Retransmission);
        assert_eq!((retransmission.only_tshark, retransmission.explained_tshark), (1, 1));
        assert_eq!((retransmission.recall(), retransmission.recall_unexplained()), (0.0, 1.0));
    }

    #[test]
    fn nothing_said_is_nothing_wrong() {
        assert_eq!((Tally::default().precision(), Tally::default().recall()), (1.0, 1.0));
    }
}
