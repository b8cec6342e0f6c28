//! The figures of a scene: the kernel's, tidegauge's and tshark's, each with the reason for which they may differ.

use std::collections::BTreeSet;

use anyhow::Result;
use serde::Serialize;
use tidegauge_tests::middlebox::Act;
use tidegauge_tests::netns::{CLIENT_V4, SERVER_V4, Side};

use super::super::judgement::{Judgement, Judgements};
use super::super::tshark::Segment;
use super::passage::{self, Scores};
use super::{End, Played, SIDES, opposite, way_from};

/// One figure of one end.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    /// Whose kernel it is, or who sends.
    pub side: &'static str,
    /// What is counted.
    pub what: &'static str,
    /// The kernel's name for it, or where else the truth is from.
    pub truth_name: &'static str,
    /// The truth.
    pub truth: f64,
    /// `None` where it has no such figure.
    pub tidegauge: Option<f64>,
    /// `None` where it has no such figure.
    pub tshark: Option<f64>,
    /// Why they may differ; empty where they must not.
    pub reason: &'static str,
}

/// Everything about a scene.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// The scene's name.
    pub scene: String,
    /// Of both ends.
    pub figures: Vec<Figure>,
    /// Packet by packet at the receiving end, by who sends.
    pub scores: Vec<(&'static str, Scores)>,
}

impl Outcome {
    /// Figures that must be equal and are not.
    pub fn wrong(&self) -> impl Iterator<Item = &Figure> {
        self.figures
            .iter()
            .filter(|figure| figure.reason.is_empty() && figure.tidegauge != Some(figure.truth))
    }
}

/// Works them out.
pub fn outcome(scene: &str, played: &Played) -> Result<Outcome> {
    let mut outcome = Outcome { scene: scene.to_owned(), figures: Vec::new(), scores: Vec::new() };
    for side in SIDES {
        counted(played, side, &mut outcome.figures)?;
        let receiver = played.end(opposite(side));
        let arrived: Vec<&Segment> = sent_by(receiver, side).collect();
        let scores = passage::score(played.record.of(way_from(side)), &arrived, &receiver.said)?;
        outcome.scores.push((name(side), scores));
    }
    Ok(outcome)
}

/// A side in tables.
pub const fn name(side: Side) -> &'static str {
    match side {
        Side::Client => "client",
        Side::Server => "server",
    }
}

/// What the capture of an end has from a side.
fn sent_by(end: &End, side: Side) -> impl Iterator<Item = &Segment> {
    let address = match side {
        Side::Client => CLIENT_V4,
        Side::Server => SERVER_V4,
    };
    let address = address.to_string();
    end.segments.iter().filter(move |segment| segment.source.0 == address)
}

/// Where the figures of one end come from.
struct Reading<'a> {
    end: &'a End,
    side: Side,
    /// What the end's side sent, and what came in, by its capture.
    own: Vec<&'a Segment>,
    received: Vec<&'a Segment>,
}

/// tidegauge's and tshark's.
type Both = (Option<f64>, Option<f64>);

impl<'a> Reading<'a> {
    fn new(end: &'a End, side: Side) -> Self {
        Self {
            end,
            side,
            own: sent_by(end, side).collect(),
            received: sent_by(end, opposite(side)).collect(),
        }
    }

    fn kernel(&self, counter: &str) -> Result<f64> {
        Ok(self.end.counters.get(counter)? as f64)
    }

    fn ours(&self, segment: &Segment) -> Judgements {
        self.end.said.judged.get(&segment.packet).map(|judged| judged.judgements).unwrap_or_default()
    }

    /// How many of them have one of these judgements.
    fn both(&self, segments: &[&Segment], judgements: &[Judgement]) -> Both {
        let theirs = |segment: &Segment| segment.judgements;
        (Some(count(segments, judgements, |of| self.ours(of))), Some(count(segments, judgements, theirs)))
    }

    /// How many were sent again more than once.
    fn repeatedly(&self) -> Both {
        let theirs = |segment: &Segment| segment.judgements;
        (Some(more_than_once(&self.own, |of| self.ours(of))), Some(more_than_once(&self.own, theirs)))
    }

    fn figure(&self, what: &'static str, truth_name: &'static str, truth: f64, both: Both) -> Figure {
        let (tidegauge, tshark) = both;
        Figure { side: name(self.side), what, truth_name, truth, tidegauge, tshark, reason: "" }
    }
}

impl Figure {
    /// They may differ, for this reason.
    const fn because(self, reason: &'static str) -> Self {
        Self { reason, ..self }
    }
}

/// What a kernel counts of its own side, and what both read in the capture of that side.
fn counted(played: &Played, side: Side, figures: &mut Vec<Figure>) -> Result<()> {
    let end = played.end(side);
    let read = Reading::new(end, side);
    sent_again(&read, figures)?;
    let duplicates = read.kernel("TcpExtTCPDSACKRecv")? + read.kernel("TcpExtTCPDSACKOfoRecv")?;
    let told = read.both(&read.received, &[Judgement::DSack]);
    let told = read.figure("told of duplicates", "TCPDSACKRecv + TCPDSACKOfoRecv", duplicates, told);
    let doubles = SIDES.iter().any(|side| played.record.of(way_from(*side)).count(Act::Doubled) > 0);
    figures.push(if doubles { told.because(DOUBLES) } else { told });
    let needless = read.both(&read.own, &[Judgement::SpuriousRetransmission]);
    let needless =
        read.figure("sent again needlessly", "TCPDSACKRecv + TCPDSACKOfoRecv", duplicates, needless);
    figures.push(needless.because(SPURIOUS));
    let holes = read.both(&read.received, &[Judgement::LostSegment]);
    let holes = read.figure("arrived beyond a hole", "TCPOFOQueue", read.kernel("TcpExtTCPOFOQueue")?, holes);
    figures.push(holes.because(QUEUED));
    if let Some((kernel, tidegauge)) = shortest_round_trips(end, side) {
        let shortest = read.figure("shortest round trip, ms", "ss minrtt", kernel, (Some(tidegauge), None));
        figures.push(shortest.because(ROUND_TRIP));
    }
    Ok(())
}

fn sent_again(read: &Reading<'_>, figures: &mut Vec<Figure>) -> Result<()> {
    let again = [Judgement::Retransmission, Judgement::OutOfOrder];
    let truth = read.kernel("TcpRetransSegs")?;
    figures.push(read.figure(SENT_AGAIN, "TcpRetransSegs", truth, read.both(&read.own, &again)));
    let called_so = read.both(&read.own, &again[..1]);
    figures.push(read.figure(CALLED_SENT_AGAIN, "TcpRetransSegs", truth, called_so).because(CALLED_SO));
    let open = read.end.connections.iter().map(|ss| ss.retransmitted()).sum::<u64>() as f64;
    let open = read.figure("sent again, open connections", "ss retrans", open, (None, None));
    figures.push(open.because(NOT_OPEN));
    let syns = read.both(&read.own, &[Judgement::SynRetransmission, Judgement::SynAckRetransmission]);
    let truth = read.kernel("TcpExtTCPSynRetrans")?;
    figures.push(read.figure("SYN and SYN-ACK sent again", "TCPSynRetrans", truth, syns).because(SYNS));
    let truth = read.kernel("TcpExtTCPLostRetransmit")?;
    let repeatedly = read.figure("sent again repeatedly", "TCPLostRetransmit", truth, read.repeatedly());
    figures.push(repeatedly.because(LOST));
    let truth = read.kernel("TcpExtTCPSpuriousRtxHostQueues")?;
    let queued = read.figure("first still queued", "TCPSpuriousRtxHostQueues", truth, (None, None));
    figures.push(queued.because(UNSEEN));
    Ok(())
}

/// What a sender sent again, by either of the words that readers have for it.
pub const SENT_AGAIN: &str = "sent again";
/// The same, by the right word.
pub const CALLED_SENT_AGAIN: &str = "sent again, called so";
const CALLED_SO: &str =
    "what is sent again within a round trip of newer data is called out of order by Wireshark's rule";
const NOT_OPEN: &str = "before the close: FINs sent again come later";
const SYNS: &str = "the kernel counts each SYN-ACK sent again here only where a timer sent it";
const LOST: &str = "the kernel counts only what SACK shows to be lost again, not what a timer sends again";
const SPURIOUS: &str = "the receiver tells of every duplicate, also of the network's; readers call needless what was acknowledged before";
const QUEUED: &str =
    "the kernel counts every segment that waits, readers the first behind each hole, a pure ACK, too";
const DOUBLES: &str = "of an ACK that the network doubles the kernel may count one or both; tidegauge one where they come at once";
const UNSEEN: &str = "the kernel refrains from sending it again: nothing to be seen";
const ROUND_TRIP: &str = "the kernel's begins before the interface and ends behind it";

fn count(segments: &[&Segment], judgements: &[Judgement], of: impl Fn(&Segment) -> Judgements) -> f64 {
    let is_any = |segment: &&&Segment| judgements.iter().any(|judgement| of(segment).has(*judgement));
    segments.iter().filter(is_any).count() as f64
}

/// What was sent again and begins where something began that was sent again before.
fn more_than_once(segments: &[&Segment], of: impl Fn(&Segment) -> Judgements) -> f64 {
    let mut seen = BTreeSet::new();
    let again = segments.iter().filter(|segment| {
        let judgements = of(segment);
        judgements.has(Judgement::Retransmission) || judgements.has(Judgement::OutOfOrder)
    });
    again.filter(|segment| !seen.insert((segment.stream, segment.seq))).count() as f64
}

/// Of all connections, in milliseconds: the kernel's and tidegauge's.
fn shortest_round_trips(end: &End, side: Side) -> Option<(f64, f64)> {
    let kernel =
        end.connections.iter().flat_map(|ss| ss.values("minrtt")).filter_map(|value| value.first().copied());
    let flows = end.said.flows.iter().map(|flow| match side {
        Side::Client => flow.forward.rtt,
        Side::Server => flow.reverse.rtt,
    });
    let ours = flows.filter_map(|rtt| rtt.min_us);
    let shortest = |values: Vec<f64>| values.into_iter().min_by(f64::total_cmp);
    Some((shortest(kernel.collect())?, shortest(ours.collect())? / 1e3))
}
