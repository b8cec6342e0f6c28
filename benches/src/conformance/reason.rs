//! Why tidegauge and tshark differ on a packet: rules over facts that neither of them has judged.
//!
//! A rule must not excuse a mistake, so each asks for evidence in the headers (a copy that really is one, a fragment that
//! really is one) or in what tidegauge admits (connections it had to forget). What no rule fits is unexplained.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;

use super::compare::{Speaker, What};
use super::judgement::Judgement;
use super::ours::Said;
use super::tshark::Segment;

/// Copies of a packet this far apart are not the same packet seen twice.
const COPY_WITHIN_NS: i64 = 2_000_000;
/// Packets before in which the original of a copy is looked for.
const COPY_WITHIN_PACKETS: usize = 4_000;

/// Why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// tidegauge calls it captured twice, and it is: not sent again, on purpose.
    CapturedTwice,
    /// Copies before it in the same direction or its ACKs' have raised a count in tshark that tidegauge left alone.
    BehindCapturedTwice,
    /// Counted at the fragment with the TCP header; tshark counts at the one that completes the datagram.
    Fragment,
    /// tshark sees no TCP in the frame.
    NotTcpToTshark,
    /// tidegauge had to forget connections, and says so.
    NotKept,
    /// No rule fits.
    Unexplained,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CapturedTwice => "the very packet captured twice: not judged again, on purpose",
            Self::BehindCapturedTwice => "tshark counts packets captured twice before it",
            Self::Fragment => {
                "fragments: counted where the TCP header is, tshark where the datagram is complete"
            }
            Self::NotTcpToTshark => "no TCP to tshark",
            Self::NotKept => "connection state not kept, as the summary says",
            Self::Unexplained => "unexplained",
        })
    }
}

/// What rules look at: one capture.
pub(super) struct Context<'a> {
    pub(super) said: &'a Said,
    /// Packets that are copies of an earlier one by their headers.
    copies: BTreeSet<u64>,
    /// The first packet of each connection that both call a copy.
    first_twice: BTreeMap<u32, u64>,
    forgets: bool,
}

impl<'a> Context<'a> {
    pub(super) fn new(segments: &[Segment], said: &'a Said) -> Self {
        let copies = copies(segments);
        let mut first_twice = BTreeMap::new();
        for segment in segments {
            if copies.contains(&segment.packet) && is_twice(said, segment.packet) {
                first_twice.entry(segment.stream).or_insert(segment.packet);
            }
        }
        Self { said, copies, first_twice, forgets: forgotten(said) > 0 }
    }

    /// Whether the headers say that it is a copy.
    pub(super) fn is_copy(&self, packet: u64) -> bool {
        self.copies.contains(&packet)
    }

    /// The first rule that fits.
    pub(super) fn reason(
        &self,
        packet: u64,
        segment: Option<&Segment>,
        what: What,
        said_by: Speaker,
    ) -> Reason {
        let Some(segment) = segment else { return Reason::NotTcpToTshark };
        if said_by == Speaker::Tshark && is_twice(self.said, packet) && self.is_copy(packet) {
            return Reason::CapturedTwice;
        }
        if segment.is_fragment {
            return Reason::Fragment;
        }
        let is_counted = matches!(
            what,
            What::DuplicateAckNumber
                | What::Judgement(Judgement::DuplicateAck | Judgement::FastRetransmission)
        );
        let twice_before = self.first_twice.get(&segment.stream).is_some_and(|first| *first < packet);
        if is_counted && twice_before {
            return Reason::BehindCapturedTwice;
        }
        if self.forgets { Reason::NotKept } else { Reason::Unexplained }
    }
}

fn is_twice(said: &Said, packet: u64) -> bool {
    said.judged.get(&packet).is_some_and(|judged| judged.judgements.has(Judgement::CapturedTwice))
}

/// Connections that made room for others, by the summary's own account.
fn forgotten(said: &Said) -> u64 {
    let tables = said.summary["tables"].as_object();
    let evictions = tables.into_iter().flatten().filter(|(name, _)| name.contains("evict"));
    evictions.filter_map(|(_, count)| count.as_u64()).sum()
}

/// Packets whose headers are those of one shortly before.
fn copies(segments: &[Segment]) -> BTreeSet<u64> {
    let mut copies = BTreeSet::new();
    let mut recent: BTreeMap<(u32, u32), Vec<usize>> = BTreeMap::new();
    for (index, segment) in segments.iter().enumerate() {
        let seen = recent.entry((segment.stream, segment.seq)).or_default();
        seen.retain(|earlier| index - earlier <= COPY_WITHIN_PACKETS);
        let is_original_of = |earlier: &usize| {
            let earlier = &segments[*earlier];
            segment.at_ns - earlier.at_ns <= COPY_WITHIN_NS && segment.is_copy_of(earlier)
        };
        if seen.iter().any(is_original_of) {
            copies.insert(segment.packet);
        }
        seen.push(index);
    }
    copies
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::ours::Judged;
    use serde_json::json;

    fn segment(packet: u64) -> Segment {
        Segment { packet, at_ns: packet as i64 * 1_000, seq: packet as u32, ..Segment::default() }
    }

    fn twice(packet: u64) -> Said {
        let judgements = [Judgement::CapturedTwice].into_iter().collect();
        let judged = Judged { judgements, duplicate_ack_number: None };
        Said { judged: [(packet, judged)].into(), ..Said::default() }
    }

    const AGAIN: What = What::Judgement(Judgement::Retransmission);
    const FAST: What = What::Judgement(Judgement::FastRetransmission);

    #[test]
    fn a_copy_explains_itself_and_counts_behind_it() {
        let first = segment(1);
        let copy = Segment { packet: 2, ..first.clone() };
        let later = segment(3);
        let said = twice(2);
        let context = Context::new(&[first, copy.clone(), later.clone()], &said);
        assert_eq!(context.reason(2, Some(&copy), AGAIN, Speaker::Tshark), Reason::CapturedTwice);
        assert_eq!(context.reason(3, Some(&later), FAST, Speaker::Tshark), Reason::BehindCapturedTwice);
        assert_eq!(context.reason(3, Some(&later), AGAIN, Speaker::Tshark), Reason::Unexplained);
        let elsewhere = Segment { stream: 9, ..later };
        assert_eq!(context.reason(3, Some(&elsewhere), FAST, Speaker::Tshark), Reason::Unexplained);
    }

    #[test]
    fn what_only_claims_to_be_a_copy_does_not() {
        let (first, other) = (segment(1), segment(2));
        let late = Segment { packet: 3, at_ns: first.at_ns + 2 * COPY_WITHIN_NS, ..first.clone() };
        let segments = [first, other.clone(), late.clone()];
        for (packet, segment) in [(2, &other), (3, &late)] {
            let said = twice(packet);
            let context = Context::new(&segments, &said);
            assert_eq!(context.reason(packet, Some(segment), AGAIN, Speaker::Tshark), Reason::Unexplained);
        }
    }

    #[test]
    fn fragments_and_forgotten_connections_are_reasons_only_where_they_are() {
        let fragment = Segment { is_fragment: true, ..segment(1) };
        let said = Said::default();
        let context = Context::new(std::slice::from_ref(&fragment), &said);
        assert_eq!(context.reason(1, Some(&fragment), AGAIN, Speaker::Tshark), Reason::Fragment);
        assert_eq!(context.reason(7, None, AGAIN, Speaker::Tidegauge), Reason::NotTcpToTshark);
        let said = Said { summary: json!({"tables": {"flows_evicted": 3, "flows": 5}}), ..Said::default() };
        let context = Context::new(&[], &said);
        assert_eq!(context.reason(1, Some(&segment(1)), AGAIN, Speaker::Tshark), Reason::NotKept);
    }
}
