//! Why tidegauge and tshark differ on a packet: rules over facts that neither of them has judged.
//!
//! A rule must not excuse a mistake, so each asks for evidence: in the headers (a copy that really is one, a fragment that
//! really is one), in what tshark says of the same capture without the copies, or in what tidegauge admits (connections it
//! had to forget). What no rule fits is unexplained.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;

use super::compare::{Speaker, What};
use super::judgement::Judgement;
use super::ours::Said;
use super::tshark::Segment;

/// Copies of a packet further apart are not the same packet seen twice.
const COPY_WITHIN_NS: i64 = 2_000_000;
/// Within this time, and with an IPv4 identification, they certainly are.
const CERTAINLY_WITHIN_NS: i64 = 100_000;
/// Packets before in which the original of a copy is looked for.
const COPY_WITHIN_PACKETS: usize = 4_000;

const RST: u16 = 0x04;
/// SYN and ACK.
const ANSWER: u16 = 0x12;

/// Why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// tidegauge calls it captured twice, and it is: not sent again, on purpose.
    CapturedTwice,
    /// tshark itself says otherwise, and the same as tidegauge, when packets captured twice are taken out before it reads.
    BehindCapturedTwice,
    /// Counted at the fragment with the TCP header; tshark counts at the one that completes the datagram.
    Fragment,
    /// tshark sees no TCP in the frame.
    NotTcpToTshark,
    /// The first packet between these ports: in its second pass tshark still knows the last ones.
    SecondPass,
    /// So far there are only SYN-ACKs and RSTs between these ports, and no SYN was captured: tidegauge keeps no
    /// connection. A SYN-ACK with the number of an earlier one is sent again all the same, and not explained by this.
    AnswersOnly,
    /// tidegauge had to forget connections, and says so.
    NotKept,
    /// No rule fits.
    Unexplained,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CapturedTwice => "the very packet captured twice: not judged again, on purpose",
            Self::BehindCapturedTwice => "tshark says the same without the packets captured twice",
            Self::Fragment => {
                "fragments: counted where the TCP header is, tshark where the datagram is complete"
            }
            Self::NotTcpToTshark => "no TCP to tshark",
            Self::SecondPass => {
                "the first packet between these ports: tshark's second pass knows the last ones"
            }
            Self::AnswersOnly => "only SYN-ACKs and RSTs so far, no SYN captured: no connection is kept",
            Self::NotKept => "connection state not kept, as the summary says",
            Self::Unexplained => "unexplained",
        })
    }
}

/// What tshark says of packets in a capture without those that were captured twice.
pub type Alone = BTreeMap<u64, Segment>;

/// What rules look at: one capture.
pub(super) struct Context<'a> {
    pub(super) said: &'a Said,
    copies: Copies,
    alone: &'a Alone,
    /// By tshark's numbers.
    streams: BTreeMap<u32, Stream>,
    forgets: bool,
}

/// When what came first between two ports; packet numbers.
struct Stream {
    /// Anything.
    first: u64,
    /// Anything but a SYN-ACK or an RST.
    connection: Option<u64>,
    /// SYN-ACKs by sender and number: the first of each.
    answers: BTreeMap<(String, u16, u32), u64>,
}

impl<'a> Context<'a> {
    pub(super) fn new(segments: &[Segment], said: &'a Said, alone: &'a Alone) -> Self {
        Self {
            said,
            copies: copies(segments),
            alone,
            streams: streams(segments),
            forgets: forgotten(said) > 0,
        }
    }

    /// Whether tidegauge calls it captured twice and headers bear that out, or they leave no doubt by themselves.
    pub(super) fn is_copy(&self, packet: u64) -> bool {
        self.copies.certain.contains(&packet) || self.is_confirmed(packet)
    }

    fn is_confirmed(&self, packet: u64) -> bool {
        is_twice(self.said, packet) && self.copies.possible.contains(&packet)
    }

    /// The first rule that fits.
    pub(super) fn reason(&self, packet: u64, segment: Option<&Segment>, what: What, by: Speaker) -> Reason {
        let Some(segment) = segment else { return Reason::NotTcpToTshark };
        if by == Speaker::Tshark && self.is_confirmed(packet) {
            return Reason::CapturedTwice;
        }
        if segment.is_fragment {
            return Reason::Fragment;
        }
        if self.alone.get(&packet).is_some_and(|alone| self.agrees(packet, alone, what)) {
            return Reason::BehindCapturedTwice;
        }
        match self.of_stream(segment, what, by) {
            Some(reason) => reason,
            None if self.forgets => Reason::NotKept,
            None => Reason::Unexplained,
        }
    }

    /// What came before between the same ports.
    fn of_stream(&self, segment: &Segment, what: What, by: Speaker) -> Option<Reason> {
        let stream = self.streams.get(&segment.stream)?;
        if by != Speaker::Tshark {
            return None;
        }
        if what == What::Judgement(Judgement::ReusedPorts) && stream.first == segment.packet {
            return Some(Reason::SecondPass);
        }
        let same_before =
            stream.answers.get(&answer_of(segment)).is_some_and(|first| *first < segment.packet);
        if same_before
            && matches!(what, What::Judgement(Judgement::Retransmission | Judgement::SynAckRetransmission))
        {
            return None;
        }
        let answers_only = stream.connection.is_none_or(|other| other >= segment.packet);
        (answers_only && stream.first < segment.packet).then_some(Reason::AnswersOnly)
    }

    /// Whether tidegauge says of a packet what tshark says of it without the copies.
    fn agrees(&self, packet: u64, alone: &Segment, what: What) -> bool {
        let ours = self.said.judged.get(&packet).copied().unwrap_or_default();
        match what {
            What::DuplicateAckNumber => ours.duplicate_ack_number == alone.duplicate_ack_number,
            What::Judgement(judgement) => ours.judgements.has(judgement) == alone.judgements.has(judgement),
        }
    }
}

/// Packets that tidegauge calls captured twice and that are, by their headers.
pub fn confirmed_copies(segments: &[Segment], said: &Said) -> BTreeSet<u64> {
    let possible = copies(segments).possible;
    possible.into_iter().filter(|packet| is_twice(said, *packet)).collect()
}

/// What tells a SYN-ACK from another answer.
fn answer_of(segment: &Segment) -> (String, u16, u32) {
    (segment.source.0.clone(), segment.source.1, segment.seq)
}

fn streams(segments: &[Segment]) -> BTreeMap<u32, Stream> {
    let mut streams = BTreeMap::new();
    for segment in segments {
        let stream = streams.entry(segment.stream).or_insert_with(|| Stream {
            first: segment.packet,
            connection: None,
            answers: BTreeMap::new(),
        });
        if segment.flags & ANSWER == ANSWER {
            stream.answers.entry(answer_of(segment)).or_insert(segment.packet);
        } else if segment.flags & RST == 0 {
            stream.connection.get_or_insert(segment.packet);
        }
    }
    streams
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
struct Copies {
    /// It may also be a packet with the same content that was sent once more.
    possible: BTreeSet<u64>,
    certain: BTreeSet<u64>,
}

fn copies(segments: &[Segment]) -> Copies {
    let mut copies = Copies { possible: BTreeSet::new(), certain: BTreeSet::new() };
    let mut recent: BTreeMap<(u32, u32), Vec<usize>> = BTreeMap::new();
    for (index, segment) in segments.iter().enumerate() {
        let seen = recent.entry((segment.stream, segment.seq)).or_default();
        seen.retain(|earlier| index - earlier <= COPY_WITHIN_PACKETS);
        let originals = seen.iter().map(|earlier| &segments[*earlier]);
        let age_ns = originals
            .filter(|earlier| segment.is_copy_of(earlier))
            .map(|earlier| segment.at_ns - earlier.at_ns);
        if let Some(age_ns) = age_ns.min().filter(|age_ns| *age_ns <= COPY_WITHIN_NS) {
            copies.possible.insert(segment.packet);
            if age_ns <= CERTAINLY_WITHIN_NS && segment.ip_id.is_some_and(|id| id != 0) {
                copies.certain.insert(segment.packet);
            }
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

    const SYN: u16 = 0x02;

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
    fn a_copy_explains_itself_and_what_is_gone_without_it() {
        let first = segment(1);
        let copy = Segment { packet: 2, ..first.clone() };
        let later =
            Segment { judgements: [Judgement::FastRetransmission].into_iter().collect(), ..segment(3) };
        let said = twice(2);
        let alone = Alone::from([(1, first.clone()), (3, segment(3))]);
        let segments = [first, copy.clone(), later.clone()];
        assert_eq!(confirmed_copies(&segments, &said), [2].into());
        let context = Context::new(&segments, &said, &alone);
        assert_eq!(context.reason(2, Some(&copy), AGAIN, Speaker::Tshark), Reason::CapturedTwice);
        assert_eq!(context.reason(3, Some(&later), FAST, Speaker::Tshark), Reason::BehindCapturedTwice);
        let alone = Alone::from([(3, later.clone())]);
        let context = Context::new(&segments, &said, &alone);
        assert_eq!(context.reason(3, Some(&later), FAST, Speaker::Tshark), Reason::Unexplained);
    }

    #[test]
    fn what_only_claims_to_be_a_copy_does_not() {
        let (first, other) = (segment(1), segment(2));
        let late = Segment { packet: 3, at_ns: first.at_ns + 2 * COPY_WITHIN_NS, ..first.clone() };
        let segments = [first, other.clone(), late.clone()];
        for (packet, segment) in [(2, &other), (3, &late)] {
            let (said, alone) = (twice(packet), Alone::new());
            let context = Context::new(&segments, &said, &alone);
            assert!(!context.is_copy(packet) && confirmed_copies(&segments, &said).is_empty());
            assert_eq!(context.reason(packet, Some(segment), AGAIN, Speaker::Tshark), Reason::Unexplained);
        }
    }

    #[test]
    fn headers_leave_no_doubt_where_they_have_an_identification() {
        let first = Segment { ip_id: Some(7), ..segment(1) };
        let copy = Segment { packet: 2, ..first.clone() };
        let unnumbered = [segment(3), Segment { packet: 4, ..segment(3) }];
        let segments = [first, copy, unnumbered[0].clone(), unnumbered[1].clone()];
        let (said, alone) = (Said::default(), Alone::new());
        let context = Context::new(&segments, &said, &alone);
        assert!(context.is_copy(2) && !context.is_copy(4));
    }

    #[test]
    fn what_came_before_between_the_ports_is_a_reason() {
        const REUSED: What = What::Judgement(Judgement::ReusedPorts);
        let sent = |packet, port, flags| Segment { source: (String::new(), port), flags, ..segment(packet) };
        let reason = |segments: &[Segment], what, by| {
            let (said, alone) = (Said::default(), Alone::new());
            let last = segments.last().unwrap();
            Context::new(segments, &said, &alone).reason(last.packet, Some(last), what, by)
        };
        let crossing = [sent(1, 80, SYN), sent(2, 90, SYN), sent(3, 80, ANSWER)];
        assert_eq!(reason(&crossing, AGAIN, Speaker::Tshark), Reason::Unexplained);
        assert_eq!(reason(&[sent(1, 80, ANSWER)], REUSED, Speaker::Tshark), Reason::SecondPass);
        let numbered = |packet, seq| Segment { seq, ..sent(packet, 80, ANSWER) };
        let again = [numbered(1, 5), numbered(3, 5)];
        assert_eq!(reason(&again, AGAIN, Speaker::Tshark), Reason::Unexplained);
        let answers = [numbered(1, 5), numbered(3, 7)];
        assert_eq!(reason(&answers, AGAIN, Speaker::Tshark), Reason::AnswersOnly);
        assert_eq!(reason(&answers, AGAIN, Speaker::Tidegauge), Reason::Unexplained);
        let [first, second] = answers;
        let reset = [first.clone(), sent(2, 90, RST), second.clone()];
        assert_eq!(reason(&reset, AGAIN, Speaker::Tshark), Reason::AnswersOnly);
        let behind = [first, sent(2, 90, 0x10), second];
        assert_eq!(reason(&behind, AGAIN, Speaker::Tshark), Reason::Unexplained);
    }

    #[test]
    fn fragments_and_forgotten_connections_are_reasons_only_where_they_are() {
        let fragment = Segment { is_fragment: true, ..segment(1) };
        let (said, alone) = (Said::default(), Alone::new());
        let context = Context::new(std::slice::from_ref(&fragment), &said, &alone);
        assert_eq!(context.reason(1, Some(&fragment), AGAIN, Speaker::Tshark), Reason::Fragment);
        assert_eq!(context.reason(7, None, AGAIN, Speaker::Tidegauge), Reason::NotTcpToTshark);
        let said = Said { summary: json!({"tables": {"flows_evicted": 3, "flows": 5}}), ..Said::default() };
        let context = Context::new(&[], &said, &alone);
        assert_eq!(context.reason(1, Some(&segment(1)), AGAIN, Speaker::Tshark), Reason::NotKept);
    }
}
