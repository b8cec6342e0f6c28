//! tidegauge's flows beside tcptrace's connections, direction by direction.
//!
//! Both are found by their endpoints and taken in order. Where the two cut what passed between the same endpoints into a
//! different number of connections, all of it is added up on both sides and compared as one. The two do not mean the same
//! by every word: where they differ, the figures of each are recomputed by its own rules from the segments that tshark
//! lists ([`super::by_tcptrace`], [`super::by_tidegauge`]). A difference is explained where both come out as told, over all
//! connections between the two ends; what is left is wrong in one of them, or in the rules as they are written down.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::IpAddr;

use serde::Serialize;

use super::by_tcptrace;
use super::by_tidegauge;
use super::ours::{self, Endpoint, Flow, Said};
use super::tcptrace::{self, Connection};
use super::trips::Kinds;
use super::tshark::Segment;
use crate::table::{Table, figure};

/// tcptrace prints tenths of a millisecond, so a time is equal when it is within one of them, or a hundredth of itself.
const RTT_STEP_MS: f64 = 0.1;
const RTT_SHARE: f64 = 0.01;
/// Directions named for each measure, the furthest apart first; `--json` has all of them.
const NAMED_MAX: usize = 12;

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// Segments.
    Packets,
    /// Payload, what was sent again included.
    PayloadBytes,
    /// Segments sent again: tcptrace calls so what has a byte that was seen before.
    Retransmission,
    /// Overtaken: tcptrace calls so what fills a hole.
    OutOfOrder,
    /// Sent again or overtaken: on the sum words have less influence.
    Below,
    /// Segments that close the window.
    ZeroWindow,
    /// Round trips measured.
    RttSamples,
    /// The shortest, milliseconds.
    RttMinMs,
    /// Their mean, milliseconds.
    RttMeanMs,
}

impl Measure {
    const ALL: [Self; 9] = [
        Self::Packets,
        Self::PayloadBytes,
        Self::Retransmission,
        Self::OutOfOrder,
        Self::Below,
        Self::ZeroWindow,
        Self::RttSamples,
        Self::RttMinMs,
        Self::RttMeanMs,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Packets => "packets",
            Self::PayloadBytes => "payload bytes",
            Self::Retransmission => "retransmission / rexmt data pkts",
            Self::OutOfOrder => "out of order / outoforder pkts",
            Self::Below => "both of these",
            Self::ZeroWindow => "zero windows / zero win adv",
            Self::RttSamples => "RTT samples",
            Self::RttMinMs => "RTT min, ms",
            Self::RttMeanMs => "RTT mean / avg, ms",
        }
    }

    /// Times differ by what tcptrace rounds, counts by nothing.
    fn agrees(self, ours: f64, theirs: f64) -> bool {
        match self {
            Self::RttMinMs | Self::RttMeanMs => {
                (ours - theirs).abs() <= (theirs.abs() * RTT_SHARE).max(RTT_STEP_MS)
            }
            _ => ours == theirs,
        }
    }
}

/// One direction in both programs' figures, each with its measure; times only where both measured any.
#[derive(Clone, Debug, Serialize)]
pub struct Pair {
    /// Capture.
    pub capture: String,
    /// Sender and receiver.
    pub direction: String,
    /// tidegauge's and tcptrace's.
    pub figures: Vec<(Measure, f64, f64)>,
    /// Measures of which both programs' figures follow from their rules.
    pub by_rule: Vec<Measure>,
}

/// All that was compared.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Connections {
    /// Captures that both could read.
    pub captures: u64,
    /// Connections of each: tidegauge's, tcptrace's.
    pub counts: (u64, u64),
    /// Endpoint pairs whose connections were added up because their numbers differ.
    pub added_up: u64,
    /// Connections that only one of them has: tidegauge, tcptrace.
    pub alone: (u64, u64),
    /// Packets captured twice in tcptrace's count ("hardware dups").
    pub hardware_duplicates: u64,
    /// Probes of a closed window in tcptrace's count.
    pub zero_window_probes: u64,
    /// Direction by direction.
    pub pairs: Vec<Pair>,
    /// Round trips by the rules of both.
    pub trips: Kinds,
    /// Captures left out, and why.
    pub left_out: Vec<String>,
}

impl Connections {
    /// Adds a capture: what tidegauge says of it, tcptrace's connections, and the segments that tshark lists.
    pub fn add(&mut self, capture: &str, said: &Said, connections: &[Connection], segments: &[Segment]) {
        let flows = &said.flows;
        let rules = Rules::of(segments, said, &mut self.trips);
        self.captures += 1;
        self.counts.0 += flows.len() as u64;
        self.counts.1 += connections.len() as u64;
        for way in connections.iter().flat_map(|connection| connection.ways) {
            self.hardware_duplicates += way.captured_twice;
            self.zero_window_probes += way.zero_window_probes;
        }
        let ours = by_ends(flows.iter().map(of_ours));
        let mut theirs = by_ends(connections.iter().map(of_theirs));
        for (ends, ours) in ours {
            match theirs.remove(&ends) {
                None => self.alone.0 += ours.len() as u64,
                Some(theirs) => self.pair(capture, &ends, &rules, [ours, theirs]),
            }
        }
        self.alone.1 += theirs.values().map(Vec::len).sum::<usize>() as u64;
    }

    /// Notes a capture that was not compared.
    pub fn leave_out(&mut self, capture: &str, why: &str) {
        self.left_out.push(format!("{capture}: {why}"));
    }

    fn pair(&mut self, capture: &str, ends: &Ends, rules: &Rules, both: [Vec<Ways>; 2]) {
        let [mut ours, mut theirs] = both;
        let sums = [sum(&ours), sum(&theirs)];
        let by_rule = [0, 1].map(|side| rules.explained(ends, side, sums.map(|ways| ways[side])));
        if ours.len() != theirs.len() {
            self.added_up += 1;
            (ours, theirs) = (vec![sums[0]], vec![sums[1]]);
        }
        for (ours, theirs) in ours.iter().zip(&theirs) {
            for (side, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
                let (from, to) = (&ends[side], &ends[1 - side]);
                let direction = format!("{}:{} to {}:{}", from.0, from.1, to.0, to.1);
                self.pairs.push(Pair {
                    capture: capture.to_owned(),
                    direction,
                    figures: figures(ours, theirs),
                    by_rule: by_rule[side].clone(),
                });
            }
        }
    }

    /// Everything as markdown.
    pub fn markdown(&self) -> String {
        let mut text = String::new();
        let (ours, theirs) = self.counts;
        let _ = writeln!(
            text,
            "### Beside tcptrace, connection by connection\n\n{} captures; {ours} flows, {theirs} connections of \
             tcptrace; between {} pairs of endpoints their numbers differ, and all of it is compared as one; only \
             tidegauge has {}, only tcptrace {}. tcptrace's \"hardware dups\": {}, its probes of closed windows: {}.\n",
            self.captures,
            self.added_up,
            self.alone.0,
            self.alone.1,
            self.hardware_duplicates,
            self.zero_window_probes
        );
        let _ = writeln!(text, "{}", self.table());
        self.trips.write(&mut text);
        for measure in Measure::ALL {
            self.write_furthest(measure, &mut text);
        }
        for left_out in &self.left_out {
            let _ = writeln!(text, "- left out: {left_out}");
        }
        text
    }

    fn figures_of(&self, measure: Measure) -> impl Iterator<Item = (&Pair, f64, f64)> {
        self.pairs.iter().filter_map(move |pair| {
            let found = pair.figures.iter().find(|(known, ..)| *known == measure);
            found.map(|(_, ours, theirs)| (pair, *ours, *theirs))
        })
    }

    fn table(&self) -> Table {
        let header =
            ["measure", "tcptrace", "tidegauge", "directions", "agree", "share", "by rule", "unexplained"];
        let mut table = Table::new(&header);
        for measure in Measure::ALL {
            let all: Vec<_> = self.figures_of(measure).collect();
            let agree = all.iter().filter(|(_, ours, theirs)| measure.agrees(*ours, *theirs)).count();
            let unexplained = self.unexplained(measure).count();
            let is_time = matches!(measure, Measure::RttMinMs | Measure::RttMeanMs);
            let total = |values: Vec<f64>| match values.iter().sum::<f64>() {
                sum if is_time => figure((!values.is_empty()).then(|| sum / values.len() as f64)),
                sum => format!("{sum}"),
            };
            table.row(vec![
                measure.name().to_owned(),
                total(all.iter().map(|(.., theirs)| *theirs).collect()),
                total(all.iter().map(|(_, ours, _)| *ours).collect()),
                all.len().to_string(),
                agree.to_string(),
                figure((!all.is_empty()).then(|| agree as f64 / all.len() as f64)),
                (all.len() - agree - unexplained).to_string(),
                unexplained.to_string(),
            ]);
        }
        table
    }

    /// Differences that do not follow from the rules.
    fn unexplained(&self, measure: Measure) -> impl Iterator<Item = (&Pair, f64, f64)> {
        let is_unexplained = move |(pair, ours, theirs): &(&Pair, f64, f64)| {
            !measure.agrees(*ours, *theirs) && !pair.by_rule.contains(&measure)
        };
        self.figures_of(measure).filter(is_unexplained)
    }

    /// The unexplained directions on which both differ most.
    fn write_furthest(&self, measure: Measure, text: &mut String) {
        let mut apart: Vec<_> = self.unexplained(measure).collect();
        apart.sort_by(|left, right| (right.1 - right.2).abs().total_cmp(&(left.1 - left.2).abs()));
        for (pair, ours, theirs) in apart.iter().take(NAMED_MAX) {
            let Pair { capture, direction, .. } = pair;
            let name = measure.name();
            let _ = writeln!(text, "- {name}: {capture}, {direction}: tidegauge {ours}, tcptrace {theirs}");
        }
        if apart.len() > NAMED_MAX {
            let _ = writeln!(text, "- {}: {} more", measure.name(), apart.len() - NAMED_MAX);
        }
    }
}

/// What both programs' rules make of a capture, over all connections between two ends.
struct Rules {
    ours: BTreeMap<Ends, Ways>,
    theirs: BTreeMap<Ends, Ways>,
}

impl Rules {
    fn of(segments: &[Segment], said: &Said, kinds: &mut Kinds) -> Self {
        let (connections, their_trips) = by_tcptrace::connections(segments);
        let (ways, our_trips) = by_tidegauge::ways(segments, said);
        kinds.add(&their_trips, &our_trips);
        let of_rule = |([from, to], way): (&[by_tidegauge::End; 2], &by_tidegauge::Way)| {
            let end = |end: &by_tidegauge::End| Endpoint { addr: end.0.clone(), port: end.1 };
            ([end(from), end(to)], [Way::of_rule(way), Way::default()])
        };
        let added_up = |all: BTreeMap<Ends, Vec<Ways>>| {
            all.into_iter().map(|(ends, ways)| (ends, sum(&ways))).collect::<BTreeMap<_, _>>()
        };
        Self {
            ours: added_up(by_ends(ways.iter().map(of_rule))),
            theirs: added_up(by_ends(connections.iter().map(of_theirs))),
        }
    }

    /// Measures of one direction of which both programs' figures are as the rules have it.
    fn explained(&self, ends: &Ends, side: usize, told: [Way; 2]) -> Vec<Measure> {
        let (Some(ours), Some(theirs)) = (self.ours.get(ends), self.theirs.get(ends)) else {
            return Vec::new();
        };
        let as_told = |told: &Way, by_rule: &Way| -> Vec<Measure> {
            let agreeing = figures(told, by_rule)
                .into_iter()
                .filter(|(measure, told, by_rule)| measure.agrees(*told, *by_rule));
            agreeing.map(|(measure, ..)| measure).collect()
        };
        let theirs = as_told(&told[1], &theirs[side]);
        let ours = as_told(&told[0], &ours[side]);
        ours.into_iter().filter(|measure| theirs.contains(measure)).collect()
    }
}

/// Both endpoints, sorted.
type Ends = [(IpAddr, u16); 2];
/// Figures of both directions, that of the first endpoint first.
type Ways = [Way; 2];

/// What both programs tell of a direction.
#[derive(Clone, Copy, Debug, Default)]
struct Way {
    packets: u64,
    payload_bytes: u64,
    retransmission: u64,
    out_of_order: u64,
    zero_windows: u64,
    rtt_samples: u64,
    /// Of no meaning without samples.
    rtt_min_ms: f64,
    rtt_sum_ms: f64,
}

impl Way {
    fn of_rule(way: &by_tidegauge::Way) -> Self {
        Self {
            packets: way.packets,
            payload_bytes: way.payload_bytes,
            retransmission: way.retransmission,
            out_of_order: way.out_of_order,
            zero_windows: way.zero_windows,
            rtt_samples: way.rtt_samples,
            rtt_min_ms: way.rtt_min_us as f64 / 1e3,
            rtt_sum_ms: way.rtt_sum_us as f64 / 1e3,
        }
    }
}

fn of_ours(flow: &Flow) -> ([Endpoint; 2], Ways) {
    let way = |way: &ours::Way| Way {
        packets: way.packets,
        payload_bytes: way.payload_bytes,
        retransmission: way.retransmission,
        out_of_order: way.out_of_order,
        zero_windows: way.zero_window,
        rtt_samples: way.rtt.samples,
        rtt_min_ms: way.rtt.min_us.unwrap_or_default() / 1e3,
        rtt_sum_ms: way.rtt.mean_us.unwrap_or_default() / 1e3 * way.rtt.samples as f64,
    };
    ([flow.initiator.clone(), flow.responder.clone()], [way(&flow.forward), way(&flow.reverse)])
}

fn of_theirs(connection: &Connection) -> ([Endpoint; 2], Ways) {
    let way = |way: &tcptrace::Way| Way {
        packets: way.packets,
        payload_bytes: way.data_bytes,
        retransmission: way.retransmitted,
        out_of_order: way.out_of_order,
        zero_windows: way.zero_windows,
        rtt_samples: way.rtt_samples,
        rtt_min_ms: way.rtt_min_ms,
        rtt_sum_ms: way.rtt_mean_ms * way.rtt_samples as f64,
    };
    (connection.ends.clone(), connection.ways.map(|ways| way(&ways)))
}

/// Directions by their endpoints; what has no address is left out.
fn by_ends(all: impl Iterator<Item = ([Endpoint; 2], Ways)>) -> BTreeMap<Ends, Vec<Ways>> {
    let mut by_ends: BTreeMap<Ends, Vec<Ways>> = BTreeMap::new();
    for (ends, mut ways) in all {
        let parsed = ends.map(|end| end.addr.parse::<IpAddr>().ok().map(|addr| (addr, end.port)));
        let [Some(first), Some(second)] = parsed else { continue };
        let mut ends = [first, second];
        if first > second {
            ends.swap(0, 1);
            ways.swap(0, 1);
        }
        by_ends.entry(ends).or_default().push(ways);
    }
    by_ends
}

fn sum(all: &[Ways]) -> Ways {
    std::array::from_fn(|side| {
        all.iter().map(|ways| ways[side]).fold(Way::default(), |sum, way| Way {
            packets: sum.packets + way.packets,
            payload_bytes: sum.payload_bytes + way.payload_bytes,
            retransmission: sum.retransmission + way.retransmission,
            out_of_order: sum.out_of_order + way.out_of_order,
            zero_windows: sum.zero_windows + way.zero_windows,
            rtt_samples: sum.rtt_samples + way.rtt_samples,
            rtt_min_ms: match (sum.rtt_samples, way.rtt_samples) {
                (0, _) => way.rtt_min_ms,
                (_, 0) => sum.rtt_min_ms,
                _ => sum.rtt_min_ms.min(way.rtt_min_ms),
            },
            rtt_sum_ms: sum.rtt_sum_ms + way.rtt_sum_ms,
        })
    })
}

fn figures(ours: &Way, theirs: &Way) -> Vec<(Measure, f64, f64)> {
    let count = |measure, of: fn(&Way) -> u64| (measure, of(ours) as f64, of(theirs) as f64);
    let mut figures = vec![
        count(Measure::Packets, |way| way.packets),
        count(Measure::PayloadBytes, |way| way.payload_bytes),
        count(Measure::Retransmission, |way| way.retransmission),
        count(Measure::OutOfOrder, |way| way.out_of_order),
        count(Measure::Below, |way| way.retransmission + way.out_of_order),
        count(Measure::ZeroWindow, |way| way.zero_windows),
        count(Measure::RttSamples, |way| way.rtt_samples),
    ];
    if ours.rtt_samples > 0 && theirs.rtt_samples > 0 {
        let mean = |way: &Way| way.rtt_sum_ms / way.rtt_samples as f64;
        figures.push((Measure::RttMinMs, ours.rtt_min_ms, theirs.rtt_min_ms));
        figures.push((Measure::RttMeanMs, mean(ours), mean(theirs)));
    }
    figures
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(host: u8, port: u16) -> Endpoint {
        Endpoint { addr: format!("10.0.0.{host}"), port }
    }

    fn flow(initiator: u8, packets: [u64; 2], min_us: f64) -> Flow {
        let rtt = ours::Rtt { samples: 2, min_us: Some(min_us), mean_us: Some(2.0 * min_us), max_us: None };
        let way = |packets| ours::Way { packets, rtt, ..ours::Way::default() };
        let responder = if initiator == 1 { end(2, 80) } else { end(1, 80) };
        Flow {
            number: 1,
            initiator: end(initiator, 80),
            responder,
            forward: way(packets[0]),
            reverse: way(packets[1]),
        }
    }

    fn connection(packets: [u64; 2], rtt_min_ms: f64) -> Connection {
        let way = |packets| tcptrace::Way {
            packets,
            rtt_samples: 2,
            rtt_min_ms,
            rtt_mean_ms: 2.0 * rtt_min_ms,
            ..tcptrace::Way::default()
        };
        Connection { ends: [end(1, 80), end(2, 80)], ways: packets.map(way) }
    }

    fn add(all: &mut Connections, capture: &str, flows: &[Flow], connections: &[Connection]) {
        let said = Said { flows: flows.to_vec(), ..Said::default() };
        all.add(capture, &said, connections, &[]);
    }

    fn agreeing(connections: &Connections, measure: Measure) -> (usize, usize) {
        let all: Vec<_> = connections.figures_of(measure).collect();
        (all.iter().filter(|(_, ours, theirs)| measure.agrees(*ours, *theirs)).count(), all.len())
    }

    #[test]
    fn directions_are_paired_whoever_began() {
        let mut connections = Connections::default();
        add(&mut connections, "a", &[flow(2, [7, 5], 1_040.0)], &[connection([5, 7], 1.0)]);
        assert_eq!(agreeing(&connections, Measure::Packets), (2, 2));
        assert_eq!(agreeing(&connections, Measure::RttMinMs), (2, 2), "within a tenth of a millisecond");
        assert_eq!(agreeing(&connections, Measure::RttMeanMs), (2, 2));
        add(&mut connections, "b", &[flow(1, [5, 8], 1_400.0)], &[connection([5, 7], 1.0)]);
        assert_eq!(agreeing(&connections, Measure::Packets), (3, 4));
        assert_eq!(agreeing(&connections, Measure::RttMinMs), (2, 4));
        assert!(
            connections
                .markdown()
                .contains("- packets: b, 10.0.0.2:80 to 10.0.0.1:80: tidegauge 8, tcptrace 7")
        );
    }

    #[test]
    fn what_is_cut_differently_is_added_up() {
        let mut connections = Connections::default();
        let flows = [flow(1, [3, 1], 5_000.0), flow(1, [2, 1], 1_000.0)];
        add(&mut connections, "a", &flows, &[connection([5, 2], 1.0)]);
        assert_eq!((connections.added_up, connections.pairs.len()), (1, 2));
        assert_eq!(agreeing(&connections, Measure::Packets), (2, 2));
        assert_eq!(agreeing(&connections, Measure::RttMinMs), (2, 2));
        assert_eq!(
            agreeing(&connections, Measure::RttMeanMs),
            (0, 2),
            "6 ms on the mean of four, 2 by tcptrace"
        );
    }

    #[test]
    fn connections_that_one_of_them_has_alone_are_counted() {
        let mut connections = Connections::default();
        add(&mut connections, "a", &[flow(1, [3, 1], 1.0)], &[]);
        add(&mut connections, "b", &[], &[connection([1, 1], 1.0)]);
        assert_eq!((connections.alone, connections.counts, connections.captures), ((1, 1), (1, 1), 2));
    }

    #[test]
    fn a_difference_is_explained_where_both_figures_follow_from_their_rules() {
        let sent = |packet, at_ms: i64, port, numbers: (u32, u32), payload_bytes| Segment {
            packet,
            at_ns: at_ms * 1_000_000,
            source: (format!("10.0.0.{port}"), 80),
            destination: (format!("10.0.0.{}", 3 - port), 80),
            flags: 0x10,
            rwnd: 9,
            seq: numbers.0,
            ack: numbers.1,
            payload_bytes,
            ..Segment::default()
        };
        // Two segments and the ACK of each: tcptrace times both, tidegauge the second by the ACK of all only.
        let segments = [
            sent(1, 0, 1, (1, 1), 10),
            sent(2, 1, 1, (11, 1), 10),
            sent(3, 2, 1, (21, 1), 10),
            sent(4, 9, 2, (1, 11), 0),
            sent(5, 9, 2, (1, 21), 0),
            sent(6, 9, 2, (1, 31), 0),
        ];
        let rtt = |samples, min_us| ours::Rtt { samples, min_us, mean_us: Some(8_000.0), max_us: None };
        let flow = |samples| Flow {
            number: 1,
            initiator: end(1, 80),
            responder: end(2, 80),
            forward: ours::Way { packets: 3, rtt: rtt(samples, Some(7_000.0)), ..ours::Way::default() },
            reverse: ours::Way { packets: 3, ..ours::Way::default() },
        };
        let way = |packets, rtt_samples| tcptrace::Way { packets, rtt_samples, ..tcptrace::Way::default() };
        let theirs = Connection { ends: [end(1, 80), end(2, 80)], ways: [way(3, 3), way(3, 0)] };
        let unexplained = |flow: Flow| {
            let mut connections = Connections::default();
            let said = Said { flows: vec![flow], ..Said::default() };
            connections.add("a", &said, std::slice::from_ref(&theirs), &segments);
            connections.unexplained(Measure::RttSamples).count()
        };
        assert_eq!((unexplained(flow(2)), unexplained(flow(1))), (0, 1));
    }
}
