//! Why tidegauge and tshark differ on a packet: rules over facts that neither of them has judged.
//!
//! A rule must not excuse a mistake, so each asks for evidence: in the headers (a copy that really is one, a fragment that
//! really is one), in what tshark says of the same capture without the copies, or in what tidegauge admits (connections it
//! had to forget). What no rule fits is unexplained.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;

use super::compare::{Speaker, What};
use super::judgement::{Judgement, Judgements};
use super::ours::Said;
use super::tshark::Segment;

/// Copies of a packet further apart are not the same packet seen twice.
const COPY_WITHIN_NS: i64 = 2_000_000;
/// Within this time, and with an IPv4 identification, they certainly are.
const CERTAINLY_WITHIN_NS: i64 = 100_000;
/// Packets before in which the original of a copy is looked for.
const COPY_WITHIN_PACKETS: usize = 4_000;

const RST: u16 = 0x04;
const SYN_OR_FIN: u16 = 0x03;
/// One of these has every segment of a connection (RFC 9293 section 3.10.7.4).
const SYN_RST_OR_ACK: u16 = 0x16;
const SYN: u16 = 0x02;
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
    /// tshark itself says otherwise, and the same as tidegauge, when it does not read what one end had sent before its
    /// SYN-ACK with another number: tidegauge goes on from that number, tshark holds on to the highest.
    BehindRenumbered,
    /// Counted at the fragment with the TCP header; tshark counts at the one that completes the datagram.
    Fragment,
    /// Neither SYN nor RST nor ACK: no connection has such segments, and tidegauge judges none.
    NoAck,
    /// A SYN came again behind its SYN-ACK: tidegauge's round trip, within which a segment counts as overtaken, begins
    /// with the SYN that was answered, tshark's with the last one. Both say that the segment is behind others.
    OtherRoundTrip,
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
            Self::BehindRenumbered => {
                "tshark says the same without what was sent before the SYN-ACK with another number"
            }
            Self::OtherRoundTrip => "a SYN behind its SYN-ACK: the round trip is another one to tshark",
            Self::NoAck => "neither SYN nor RST nor ACK: of no connection",
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
    superseded: Superseded,
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
    /// A SYN behind a SYN-ACK.
    asked_again: Option<u64>,
    /// SYN-ACKs by sender and number: the first of each.
    answers: BTreeMap<(String, u16, u32), u64>,
}

impl<'a> Context<'a> {
    pub(super) fn new(segments: &[Segment], said: &'a Said, alone: &'a Alone) -> Self {
        Self {
            said,
            copies: copies(segments),
            alone,
            superseded: superseded(segments),
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
        if by == Speaker::Tshark && segment.flags & SYN_RST_OR_ACK == 0 {
            return Reason::NoAck;
        }
        if self.alone.get(&packet).is_some_and(|alone| self.agrees(packet, alone, what)) {
            return match self.superseded.streams.contains(&segment.stream) {
                true => Reason::BehindRenumbered,
                false => Reason::BehindCapturedTwice,
            };
        }
        if self.has_other_round_trip(segment, what) {
            return Reason::OtherRoundTrip;
        }
        match self.of_stream(segment, what, by) {
            Some(reason) => reason,
            None if self.forgets => Reason::NotKept,
            None => Reason::Unexplained,
        }
    }

    fn has_other_round_trip(&self, segment: &Segment, what: What) -> bool {
        const BEHIND: [Judgement; 3] =
            [Judgement::FastRetransmission, Judgement::OutOfOrder, Judgement::Retransmission];
        let is_behind = |judgements: Judgements| BEHIND.iter().any(|behind| judgements.has(*behind));
        let ours = self.said.judged.get(&segment.packet).copied().unwrap_or_default().judgements;
        let asked_again = self.streams.get(&segment.stream).and_then(|stream| stream.asked_again);
        BEHIND.iter().any(|behind| what == What::Judgement(*behind))
            && is_behind(ours)
            && is_behind(segment.judgements)
            && asked_again.is_some_and(|packet| packet < segment.packet)
    }

    /// What came before between the same ports.
    fn of_stream(&self, segment: &Segment, what: What, by: Speaker) -> Option<Reason> {
        let stream = self.streams.get(&segment.stream)?;
        if by != Speaker::Tshark {
            return None;
        }
        let first_of_several = self.superseded.first_answers.contains(&segment.packet);
        if what == What::Judgement(Judgement::ReusedPorts)
            && (stream.first == segment.packet || first_of_several)
        {
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

/// Packets without which tshark is asked once more: those that tidegauge calls captured twice and that are, by their
/// headers, and those that an end sent before a SYN-ACK with another number.
pub fn left_out(segments: &[Segment], said: &Said) -> BTreeSet<u64> {
    let mut packets = superseded(segments).packets;
    packets.extend(copies(segments).possible.into_iter().filter(|packet| is_twice(said, *packet)));
    packets
}

/// What ends sent before a SYN-ACK with another number, as long as they had sent no payload.
#[derive(Default)]
struct Superseded {
    packets: BTreeSet<u64>,
    streams: BTreeSet<u32>,
    /// First SYN-ACKs of ends that send another one.
    first_answers: BTreeSet<u64>,
}

/// What an end sent before it sent payload.
#[derive(Default)]
struct Beginning {
    packets: Vec<u64>,
    next_seq: u32,
    answer: Option<(u64, u32)>,
    over: bool,
}

fn superseded(segments: &[Segment]) -> Superseded {
    let mut found = Superseded::default();
    let mut beginnings: BTreeMap<(u32, &(String, u16)), Beginning> = BTreeMap::new();
    for segment in segments {
        let own = beginnings.entry((segment.stream, &segment.source)).or_default();
        if own.over {
            continue;
        }
        let is_answer = segment.flags & ANSWER == ANSWER;
        let same_again = own.answer.is_some_and(|(_, seq)| seq == segment.seq);
        let follows = segment.seq.wrapping_add(1) == own.next_seq;
        if is_answer && !own.packets.is_empty() && !same_again && !follows {
            found.packets.extend(own.packets.drain(..));
            found.streams.insert(segment.stream);
            found.first_answers.extend(own.answer.map(|(packet, _)| packet));
        }
        if is_answer {
            own.answer = Some((segment.packet, segment.seq));
        }
        own.over = !is_answer && segment.payload_bytes != 0;
        own.packets.push(segment.packet);
        let flags = u32::from(segment.flags & SYN_OR_FIN != 0);
        own.next_seq = segment.seq.wrapping_add(segment.payload_bytes).wrapping_add(flags);
    }
    found
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
            asked_again: None,
            answers: BTreeMap::new(),
        });
        if segment.flags & ANSWER == ANSWER {
            stream.answers.entry(answer_of(segment)).or_insert(segment.packet);
        } else if segment.flags & RST == 0 {
            if segment.flags & SYN != 0 && !stream.answers.is_empty() {
                stream.asked_again.get_or_insert(segment.packet);
            }
            stream.connection.get_or_insert(segment.packet);
        }
    }
    streams
}

fn is_twice(said: &Said, packet: u64) -> bool {
    said.judged.get(&packet).is_some_and(|judged| judged.judgements.has(Judgement::CapturedTwice))
}

/// Connections and attempts that made room for others or found none, by the summary's own account.
fn forgotten(said: &Said) -> u64 {
    let counts = ["flows_evicted", "flows_refused", "attempts_lost"];
    counts.iter().filter_map(|name| said.summary["tables"][name].as_u64()).sum()
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

    fn segment(packet: u64) -> Segment {
        Segment { packet, at_ns: packet as i64 * 1_000, seq: packet as u32, flags: ACK, ..Segment::default() }
    }

    fn twice(packet: u64) -> Said {
        let judgements = [Judgement::CapturedTwice].into_iter().collect();
        let judged = Judged { judgements, duplicate_ack_number: None };
        Said { judged: [(packet, judged)].into(), ..Said::default() }
    }

    const ACK: u16 = 0x10;
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
        assert_eq!(left_out(&segments, &said), [2].into());
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
            assert!(!context.is_copy(packet) && left_out(&segments, &said).is_empty());
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
    fn a_syn_behind_its_answer_is_a_reason_where_both_see_a_segment_behind_others() {
        let sent = |packet, flags| Segment { flags, ..segment(packet) };
        let judged =
            |judgement| Judged { judgements: [judgement].into_iter().collect(), duplicate_ack_number: None };
        let behind = Segment { judgements: judged(Judgement::Retransmission).judgements, ..sent(4, 0x10) };
        let alone = Alone::new();
        let reason = |ours, asked_again| {
            let said = Said { judged: [(4, judged(ours))].into(), ..Said::default() };
            let segments = [sent(1, SYN), sent(2, ANSWER), sent(3, asked_again), behind.clone()];
            Context::new(&segments, &said, &alone).reason(4, Some(&behind), AGAIN, Speaker::Tshark)
        };
        assert_eq!(reason(Judgement::OutOfOrder, SYN), Reason::OtherRoundTrip);
        assert_eq!(reason(Judgement::OutOfOrder, 0x10), Reason::Unexplained);
        assert_eq!(reason(Judgement::LostSegment, SYN), Reason::Unexplained);
    }

    #[test]
    fn what_was_sent_before_another_syn_ack_is_a_reason_only_where_tshark_bears_it_out() {
        let sent =
            |packet, seq, flags, payload_bytes| Segment { seq, flags, payload_bytes, ..segment(packet) };
        let [old, answer, data] = [sent(1, 90, 0x10, 0), sent(2, 5, ANSWER, 0), sent(3, 6, 0x10, 10)];
        let again = Segment { judgements: [Judgement::Retransmission].into_iter().collect(), ..data.clone() };
        let segments = [old.clone(), answer.clone(), again.clone()];
        assert_eq!(left_out(&segments, &Said::default()), [1].into());
        let reason = |alone: Segment| {
            let (said, alone) = (Said::default(), Alone::from([(3, alone)]));
            Context::new(&segments, &said, &alone).reason(3, Some(&again), AGAIN, Speaker::Tshark)
        };
        assert_eq!(reason(data.clone()), Reason::BehindRenumbered);
        assert_eq!(reason(again.clone()), Reason::Unexplained);
        let late = sent(4, 70, ANSWER, 0);
        assert!(left_out(&[answer.clone(), data, late], &Said::default()).is_empty(), "payload was sent");
        assert!(left_out(&[answer.clone(), Segment { packet: 2, ..answer }], &Said::default()).is_empty());
        let probe = Segment { flags: 0, ..old };
        let (said, alone) = (Said::default(), Alone::new());
        let context = Context::new(std::slice::from_ref(&probe), &said, &alone);
        assert_eq!(context.reason(1, Some(&probe), AGAIN, Speaker::Tshark), Reason::NoAck);
        assert_eq!(context.reason(1, Some(&probe), AGAIN, Speaker::Tidegauge), Reason::Unexplained);
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
