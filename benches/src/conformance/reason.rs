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
use super::left_out::{Copies, Resets, Superseded, copies, is_twice, resets, superseded};
use super::ours::Said;
use super::tshark::Segment;

const RST: u16 = 0x04;
/// One of these has every segment of a connection (RFC 9293 section 3.10.7.4).
const SYN_RST_OR_ACK: u16 = 0x16;
const FIN: u16 = 0x01;
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
    /// tshark itself says otherwise, and the same as tidegauge, when it does not read the one, of SYN-ACKs with different
    /// numbers from one end, that came to nothing: tidegauge goes on from the other, tshark holds on to the highest.
    BehindRenumbered,
    /// Counted at the fragment with the TCP header; tshark counts at the one that completes the datagram.
    Fragment,
    /// Neither SYN nor RST nor ACK: no connection has such segments, and tidegauge judges none.
    NoAck,
    /// A SYN came again behind its SYN-ACK: tidegauge's round trip, within which a segment counts as overtaken, begins
    /// with the SYN that was answered, tshark's with the last one. Both say that the segment is behind others.
    OtherRoundTrip,
    /// tshark itself says otherwise, and the same as tidegauge, when it does not read RSTs behind which the connection goes
    /// on: it takes the number and the window of 0 that they carry for the sender's, tidegauge takes neither.
    BehindReset,
    /// A RST, whose text or FIN is no part of the stream (RFC 9293 section 3.5.3): tidegauge holds it against nothing.
    ResetText,
    /// tshark calls it a fast retransmission, and has itself counted fewer than two duplicate ACKs for it. Both say that
    /// the segment is behind others.
    FewDuplicates,
    /// It was captured behind one of the same connection that has a later time: tshark takes a time that runs backwards for
    /// a long one, tidegauge goes by how far the two are apart. Both say that the segment is behind others.
    BackInTime,
    /// A SYN or SYN-ACK with the number of an earlier one, behind what followed that: to tshark overtaken, to tidegauge sent
    /// again, as it had arrived. Both say that the segment is behind others.
    HandshakeBehind,
    /// An ACK that repeats the one before and carries an option of Multipath TCP: tshark does not count it as a duplicate
    /// (RFC 8684: it says nothing of congestion), tidegauge does not read the option.
    Multipath,
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
                "tshark says the same without the one, of SYN-ACKs with different numbers, that came to nothing"
            }
            Self::OtherRoundTrip => "a SYN behind its SYN-ACK: the round trip is another one to tshark",
            Self::BehindReset => "tshark says the same without RSTs behind which the connection goes on",
            Self::ResetText => "the text or FIN of a RST is no part of the stream",
            Self::FewDuplicates => "fast to tshark, which counted fewer than two duplicate ACKs for it",
            Self::BackInTime => "behind one with a later time: a time that runs backwards is long to tshark",
            Self::HandshakeBehind => "a SYN or SYN-ACK that came again behind what followed it: overtaken to tshark",
            Self::Multipath => "a repeated ACK with an option of Multipath TCP: no duplicate to tshark",
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
    resets: Resets,
    hasty: BTreeSet<u64>,
    back_in_time: BTreeSet<u64>,
    syns_again: BTreeSet<u64>,
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
            resets: resets(segments),
            hasty: hasty(segments),
            back_in_time: back_in_time(segments),
            syns_again: syns_again(segments),
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
            let is_of = |streams: &BTreeSet<u32>| streams.contains(&segment.stream);
            return match () {
                () if is_of(&self.superseded.streams) => Reason::BehindRenumbered,
                () if is_of(&self.resets.streams) => Reason::BehindReset,
                () => Reason::BehindCapturedTwice,
            };
        }
        let says_more = segment.payload_bytes != 0 || segment.flags & FIN != 0;
        if by == Speaker::Tshark && segment.flags & RST != 0 && says_more {
            return Reason::ResetText;
        }
        if self.is_behind_to_both(segment, what) {
            if self.hasty.contains(&packet) {
                return Reason::FewDuplicates;
            }
            if self.has_other_round_trip(segment) {
                return Reason::OtherRoundTrip;
            }
            if self.syns_again.contains(&packet) {
                return Reason::HandshakeBehind;
            }
            if self.back_in_time.contains(&packet) {
                return Reason::BackInTime;
            }
        }
        let is_duplicate = what == What::Judgement(Judgement::DuplicateAck);
        if is_duplicate && by == Speaker::Tidegauge && segment.is_multipath {
            return Reason::Multipath;
        }
        match self.of_stream(segment, what, by) {
            Some(reason) => reason,
            None if self.forgets => Reason::NotKept,
            None => Reason::Unexplained,
        }
    }

    /// Whether both say that the segment is behind others, and differ on what that means.
    fn is_behind_to_both(&self, segment: &Segment, what: What) -> bool {
        const BEHIND: [Judgement; 5] = [
            Judgement::FastRetransmission,
            Judgement::OutOfOrder,
            Judgement::Retransmission,
            Judgement::SynRetransmission,
            Judgement::SynAckRetransmission,
        ];
        let is_behind = |judgements: Judgements| BEHIND.iter().any(|behind| judgements.has(*behind));
        let ours = self.said.judged.get(&segment.packet).copied().unwrap_or_default().judgements;
        BEHIND.iter().any(|behind| what == What::Judgement(*behind))
            && is_behind(ours)
            && is_behind(segment.judgements)
    }

    fn has_other_round_trip(&self, segment: &Segment) -> bool {
        let asked_again = self.streams.get(&segment.stream).and_then(|stream| stream.asked_again);
        asked_again.is_some_and(|packet| packet < segment.packet)
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

/// What tells a SYN-ACK from another answer.
fn answer_of(segment: &Segment) -> (String, u16, u32) {
    (segment.source.0.clone(), segment.source.1, segment.seq)
}

/// What tshark calls fast retransmissions though it has itself counted fewer than two duplicate ACKs: it keeps that count
/// in one number with "acknowledged something unseen", which then reads as many.
fn hasty(segments: &[Segment]) -> BTreeSet<u64> {
    let mut packets = BTreeSet::new();
    // By stream and end: what it acknowledged last, and how many times again.
    let mut acks = BTreeMap::<(u32, &(String, u16)), _>::new();
    for segment in segments {
        let asked_for = acks.get(&(segment.stream, &segment.destination));
        let duplicates = asked_for.filter(|(ack, _)| *ack == segment.seq).map_or(0, |(_, count)| *count);
        if segment.judgements.has(Judgement::FastRetransmission) && duplicates < 2 {
            packets.insert(segment.packet);
        }
        let own = acks.entry((segment.stream, &segment.source)).or_insert((segment.ack, 0));
        let counted = if own.0 == segment.ack { own.1 } else { 0 };
        *own = (segment.ack, segment.duplicate_ack_number.unwrap_or(counted));
    }
    packets
}

/// Segments captured behind one of the same connection with a later time.
fn back_in_time(segments: &[Segment]) -> BTreeSet<u64> {
    let mut newest = BTreeMap::new();
    let is_back = |segment: &&Segment| {
        let newest_ns = newest.entry(segment.stream).or_insert(segment.at_ns);
        *newest_ns = segment.at_ns.max(*newest_ns);
        segment.at_ns < *newest_ns
    };
    segments.iter().filter(is_back).map(|segment| segment.packet).collect()
}

/// SYNs and SYN-ACKs with the number of an earlier one from the same end.
fn syns_again(segments: &[Segment]) -> BTreeSet<u64> {
    let mut seen = BTreeSet::new();
    let syns = segments.iter().filter(|segment| segment.flags & SYN != 0);
    let again = syns.filter(|syn| !seen.insert((syn.stream, &syn.source, syn.flags & ANSWER, syn.seq)));
    again.map(|syn| syn.packet).collect()
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

/// Connections and attempts that made room for others or found none, by the summary's own account.
fn forgotten(said: &Said) -> u64 {
    let counts = ["flows_evicted", "flows_refused", "attempts_lost"];
    counts.iter().filter_map(|name| said.summary["tables"][name].as_u64()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::left_out::{COPY_WITHIN_NS, left_out};
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
        let acknowledge = Segment { ack: 6, destination: answer.source.clone(), ..sent(3, 1, 0x10, 0) };
        let acknowledge = Segment { source: (String::new(), 9), ..acknowledge };
        let taken = [answer.clone(), acknowledge, late.clone()];
        assert_eq!(left_out(&taken, &Said::default()), [4].into(), "the first one was taken up");
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

    #[test]
    fn resets_that_ended_nothing_are_a_reason_only_where_tshark_bears_it_out() {
        let sent = |packet, flags, payload_bytes| Segment { flags, payload_bytes, ..segment(packet) };
        let segments = [sent(1, ACK, 1), sent(2, RST, 0), sent(3, ACK, 1)];
        assert_eq!(left_out(&segments, &Said::default()), [2].into());
        assert!(left_out(&segments[..2], &Said::default()).is_empty(), "it may have ended the connection");
        let again =
            Segment { judgements: [Judgement::Retransmission].into_iter().collect(), ..sent(3, ACK, 1) };
        let reason = |segment: &Segment, alone: Alone| {
            let said = Said::default();
            let context = Context::new(&segments, &said, &alone);
            context.reason(segment.packet, Some(segment), AGAIN, Speaker::Tshark)
        };
        assert_eq!(reason(&again, Alone::from([(3, sent(3, ACK, 1))])), Reason::BehindReset);
        assert_eq!(reason(&again, Alone::from([(3, again.clone())])), Reason::Unexplained);
        assert_eq!(reason(&sent(2, RST, 5), Alone::new()), Reason::ResetText);
        assert_eq!(reason(&sent(2, RST, 0), Alone::new()), Reason::Unexplained);
    }

    #[test]
    fn fast_without_duplicates_is_a_reason_only_where_tshark_counted_none() {
        let ends = [(String::new(), 80), (String::new(), 90)];
        let judged = |judgement| [judgement].into_iter().collect::<Judgements>();
        let acknowledge = |packet, number| Segment {
            source: ends[1].clone(),
            destination: ends[0].clone(),
            ack: 4,
            duplicate_ack_number: number,
            ..segment(packet)
        };
        let fast = Segment {
            source: ends[0].clone(),
            destination: ends[1].clone(),
            judgements: judged(Judgement::FastRetransmission),
            ..segment(4)
        };
        let reason = |numbers: [Option<u32>; 3], ours| {
            let mut segments: Vec<_> =
                (1..).zip(numbers).map(|(at, number)| acknowledge(at, number)).collect();
            segments.push(fast.clone());
            let judged = Judged { judgements: judged(ours), duplicate_ack_number: None };
            let said = Said { judged: [(4, judged)].into(), ..Said::default() };
            let alone = Alone::new();
            Context::new(&segments, &said, &alone).reason(4, Some(&fast), FAST, Speaker::Tshark)
        };
        assert_eq!(reason([None, None, Some(1)], Judgement::OutOfOrder), Reason::FewDuplicates);
        assert_eq!(reason([None, Some(1), Some(2)], Judgement::OutOfOrder), Reason::Unexplained);
        assert_eq!(reason([None; 3], Judgement::LostSegment), Reason::Unexplained);
    }

    #[test]
    fn times_that_run_backwards_and_syns_that_come_again_are_reasons_where_both_see_a_segment_behind() {
        let judged = |judgement| [judgement].into_iter().collect::<Judgements>();
        let reason = |segments: &[Segment], what, ours| {
            let last = segments.last().unwrap();
            let judged = Judged { judgements: judged(ours), duplicate_ack_number: None };
            let said = Said { judged: [(last.packet, judged)].into(), ..Said::default() };
            let alone = Alone::new();
            Context::new(segments, &said, &alone).reason(last.packet, Some(last), what, Speaker::Tidegauge)
        };
        let overtaken = Segment { judgements: judged(Judgement::OutOfOrder), ..segment(2) };
        let earlier = Segment { at_ns: 0, ..overtaken.clone() };
        let fast = Judgement::FastRetransmission;
        assert_eq!(reason(&[segment(1), earlier.clone()], FAST, fast), Reason::BackInTime);
        assert_eq!(reason(&[segment(1), overtaken.clone()], FAST, fast), Reason::Unexplained);
        assert_eq!(reason(&[segment(1), earlier], FAST, Judgement::LostSegment), Reason::Unexplained);
        let syn = Segment { flags: SYN, seq: 1, ..segment(1) };
        let again = Segment { flags: SYN, seq: 1, ..overtaken };
        let what = What::Judgement(Judgement::SynRetransmission);
        let ours = Judgement::SynRetransmission;
        assert_eq!(reason(&[syn.clone(), again.clone()], what, ours), Reason::HandshakeBehind);
        assert_eq!(reason(&[syn, Segment { seq: 9, ..again }], what, ours), Reason::Unexplained);
    }

    #[test]
    fn a_repeated_ack_of_multipath_tcp_is_a_reason_only_with_its_option() {
        const REPEATED: What = What::Judgement(Judgement::DuplicateAck);
        let reason = |is_multipath, by| {
            let repeated = Segment { is_multipath, ..segment(1) };
            let (said, alone) = (Said::default(), Alone::new());
            Context::new(std::slice::from_ref(&repeated), &said, &alone).reason(
                1,
                Some(&repeated),
                REPEATED,
                by,
            )
        };
        assert_eq!(reason(true, Speaker::Tidegauge), Reason::Multipath);
        assert_eq!(reason(true, Speaker::Tshark), Reason::Unexplained);
        assert_eq!(reason(false, Speaker::Tidegauge), Reason::Unexplained);
    }
}
