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

/// What a kernel counts of its own side, and what both read in the capture of that side.
fn counted(played: &Played, side: Side, figures: &mut Vec<Figure>) -> Result<()> {
    let end = played.end(side);
    let doubles = SIDES.iter().any(|side| played.record.of(way_from(*side)).count(Act::Doubled) > 0);
    let own: Vec<&Segment> = sent_by(end, side).collect();
    let received: Vec<&Segment> = sent_by(end, opposite(side)).collect();
    let ours = |segment: &Segment| {
        end.said.judged.get(&segment.packet).map(|judged| judged.judgements).unwrap_or_default()
    };
    let theirs = |segment: &Segment| segment.judgements;
    let kernel = |counter: &str| Ok::<_, anyhow::Error>(end.counters.get(counter)? as f64);
    let ss_retransmitted = end.connections.iter().map(|ss| ss.retransmitted()).sum::<u64>() as f64;
    let mut add = |what, truth_name, truth, tidegauge, tshark, reason| {
        figures.push(Figure { side: name(side), what, truth_name, truth, tidegauge, tshark, reason });
    };
    let both = |segments: &[&Segment], judgements: &[Judgement]| {
        (Some(count(segments, judgements, ours)), Some(count(segments, judgements, theirs)))
    };

    let again = [Judgement::Retransmission, Judgement::OutOfOrder];
    let (tidegauge, tshark) = both(&own, &again);
    let sent_again = kernel("TcpRetransSegs")?;
    add("sent again", "TcpRetransSegs", sent_again, tidegauge, tshark, "");
    let (tidegauge, tshark) = both(&own, &again[..1]);
    add("sent again, called so", "TcpRetransSegs", sent_again, tidegauge, tshark, CALLED_SO);
    add("sent again, open connections", "ss retrans", ss_retransmitted, None, None, NOT_OPEN);
    let syns = [Judgement::SynRetransmission, Judgement::SynAckRetransmission];
    let (tidegauge, tshark) = both(&own, &syns);
    add(
        "SYN and SYN-ACK sent again",
        "TCPSynRetrans",
        kernel("TcpExtTCPSynRetrans")?,
        tidegauge,
        tshark,
        SYNS,
    );
    let twice = (Some(more_than_once(&own, ours)), Some(more_than_once(&own, theirs)));
    add(
        "sent again repeatedly",
        "TCPLostRetransmit",
        kernel("TcpExtTCPLostRetransmit")?,
        twice.0,
        twice.1,
        LOST,
    );
    let (tidegauge, tshark) = both(&received, &[Judgement::DSack]);
    let duplicates = kernel("TcpExtTCPDSACKRecv")? + kernel("TcpExtTCPDSACKOfoRecv")?;
    add(
        "told of duplicates",
        "TCPDSACKRecv + TCPDSACKOfoRecv",
        duplicates,
        tidegauge,
        tshark,
        if doubles { DOUBLES } else { "" },
    );
    let (tidegauge, tshark) = both(&own, &[Judgement::SpuriousRetransmission]);
    add("sent again needlessly", "TCPDSACKRecv + TCPDSACKOfoRecv", duplicates, tidegauge, tshark, SPURIOUS);
    let queued = kernel("TcpExtTCPOFOQueue")?;
    let (tidegauge, tshark) = both(&received, &[Judgement::LostSegment]);
    add("arrived beyond a hole", "TCPOFOQueue", queued, tidegauge, tshark, QUEUED);
    let host = kernel("TcpExtTCPSpuriousRtxHostQueues")?;
    add("not sent again: first still queued", "TCPSpuriousRtxHostQueues", host, None, None, UNSEEN);
    if let Some((kernel, tidegauge)) = shortest_round_trips(end, side) {
        add("shortest round trip, ms", "ss minrtt", kernel, Some(tidegauge), None, ROUND_TRIP);
    }
    Ok(())
}

const CALLED_SO: &str =
    "what is sent again within a round trip of newer data is called out of order by Wireshark's rule";
const NOT_OPEN: &str = "before the close: FINs sent again come later";
const SYNS: &str = "the kernel counts each SYN-ACK sent again here only where a timer sent it";
const LOST: &str = "the kernel counts only what SACK shows to be lost again, not what a timer sends again";
const SPURIOUS: &str = "the receiver tells of every duplicate, also of the network's; readers call needless what was acknowledged before";
const QUEUED: &str =
    "the kernel counts every segment that waits, readers the first behind each hole, a pure ACK, too";
const DOUBLES: &str = "of an ACK that the network doubles the kernel may count one or both; tidegauge one where they come at once";
const UNSEEN: &str = "never leaves the host";
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
