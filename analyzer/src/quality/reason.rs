//! Why an interval was not seen whole: each reason with its limit, its verdict and its words.

use std::fmt;

use tidegauge_ebpf::counter::Counter;

use super::{Interval, MALFORMED, SourceLosses, Verdict};
use crate::feature::{TICK_NS, ratio};

/// Share of the offered frames above which lost or unread ones make an interval blind; any loss at all degrades it.
pub const BLIND_SHARE: f64 = 0.1;
/// Lost share of the attempts, flows or segments a table had to hold, above which it degrades the result. Never
/// blind: a flood fills the half-open cache with what would never have been answered, and is counted all the same.
pub const TABLE_LOSS_SHARE: f64 = 0.01;
/// Share of malformed frames above which what is not read degrades the result. Never blind: whoever sends frames
/// decides this.
pub const MALFORMED_SHARE: f64 = 0.01;
/// Malformed frames below which their share says nothing.
pub const MALFORMED_FRAMES_MIN: u64 = 10;
/// A tick handled later than this after its end degrades the interval: rates of a sliding second are no longer
/// judged within it. Two ticks; a packet ring's blocks are 50 ms late by design.
pub const LATE_NS: u64 = 200_000_000;
/// A stall of this length, where it merged more than [`BLIND_SHARE`] of the interval's ticks, makes it blind: no
/// sliding second within it has a true value.
pub const STALL_BLIND_NS: u64 = 1_000_000_000;

/// One reason, with the numbers behind it.
#[derive(Clone, Debug, PartialEq)]
pub enum Reason {
    /// A capture file that ended early.
    Cut(String),
    /// Frames lost at a place, as a share of those offered.
    Dropped {
        /// `nic`, `ring` ...
        place: &'static str,
        /// Their share.
        share: f64,
        /// Share of the frames lost at all places.
        all: f64,
    },
    /// Ticks that were handled late.
    Late {
        /// The latest, nanoseconds.
        worst_ns: u64,
    },
    /// Frames that contradict themselves.
    Malformed {
        /// Their share.
        share: f64,
    },
    /// One frame in so many was looked at.
    Sampled(u32),
    /// Ticks whose counters were read together, after a stall.
    Stalled {
        /// From the end of the first of them to the reading, nanoseconds.
        stalled_ns: u64,
        /// Their share of the interval's.
        share: f64,
    },
    /// A table that was full.
    TableFull {
        /// What it could not hold, in words.
        what: &'static str,
        /// As a share of all of them.
        share: f64,
    },
    /// Frames of link types that are not read.
    UnreadLink {
        /// Their share.
        share: f64,
    },
    /// What cannot be seen from here at all.
    Unseen(String),
}

impl Reason {
    /// What it makes of the interval.
    pub fn verdict(&self) -> Verdict {
        match self {
            Self::Dropped { all, .. } if *all > BLIND_SHARE => Verdict::Blind,
            Self::UnreadLink { share } if *share > BLIND_SHARE => Verdict::Blind,
            Self::Stalled { stalled_ns, share } if *stalled_ns >= STALL_BLIND_NS && *share > BLIND_SHARE => {
                Verdict::Blind
            }
            Self::Cut(_)
            | Self::Dropped { .. }
            | Self::Late { .. }
            | Self::Malformed { .. }
            | Self::Sampled(_)
            | Self::Stalled { .. }
            | Self::TableFull { .. }
            | Self::UnreadLink { .. }
            | Self::Unseen(_) => Verdict::Degraded,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |ns: u64| ns as f64 / 1e9;
        match self {
            Self::Cut(cut) => formatter.write_str(cut),
            Self::Dropped { place, share, .. } => {
                write!(formatter, "{place} dropped {} of frames", percent(*share))
            }
            Self::Late { worst_ns } => {
                write!(formatter, "a tick was handled {:.1} s after its end", seconds(*worst_ns))
            }
            Self::Malformed { share } => write!(formatter, "{} of frames are malformed", percent(*share)),
            Self::Sampled(one_in) => {
                write!(formatter, "overload: only one flow in {one_in} was followed at times")
            }
            Self::Stalled { stalled_ns, share } => {
                let (stalled_s, share) = (seconds(*stalled_ns), percent(*share));
                write!(
                    formatter,
                    "counters were not read for {stalled_s:.1} s: {share} of counts are spread evenly"
                )
            }
            Self::TableFull { what, share } => write!(formatter, "{} of {what}", percent(*share)),
            Self::UnreadLink { share } => {
                write!(formatter, "{} of frames have a link type that is not read", percent(*share))
            }
            Self::Unseen(what) => write!(formatter, "not seen: {what}"),
        }
    }
}

/// A share in per cent, never rounded to nothing.
fn percent(share: f64) -> String {
    if share < 0.001 { "less than 0.1 %".to_owned() } else { format!("{:.1} %", share * 100.0) }
}

/// All that kept an interval from being seen whole; none: it is complete.
pub fn reasons(interval: &Interval, losses: &SourceLosses) -> Vec<Reason> {
    let mut reasons = losses_of_frames(interval);
    reasons.extend(lateness(interval));
    reasons.extend(full_tables(interval));
    reasons.extend(malformed(interval));
    reasons.extend(interval.sampled_one_in.map(Reason::Sampled));
    reasons.extend(losses.cut.iter().cloned().map(Reason::Cut));
    reasons.extend(losses.unseen.iter().cloned().map(Reason::Unseen));
    reasons
}

fn losses_of_frames(interval: &Interval) -> Vec<Reason> {
    let offered = interval.offered();
    let share = |frames| ratio(frames, offered).filter(|share| *share > 0.0);
    let all = share(interval.lost_frames()).unwrap_or_default();
    let dropped = interval.dropped.iter();
    let dropped = dropped
        .filter_map(|(place, frames)| share(*frames).map(|share| Reason::Dropped { place, share, all }));
    let unread = share(interval.get(Counter::UnsupportedLink)).map(|share| Reason::UnreadLink { share });
    dropped.chain(unread).collect()
}

fn lateness(interval: &Interval) -> Option<Reason> {
    let lag = interval.lag?;
    if lag.merged_ticks != 0 {
        let merged_ns = lag.merged_ticks.saturating_mul(TICK_NS);
        let share = ratio(merged_ns, interval.length_ns.max(merged_ns))?;
        return Some(Reason::Stalled { stalled_ns: lag.worst_ns, share });
    }
    (lag.worst_ns > LATE_NS).then_some(Reason::Late { worst_ns: lag.worst_ns })
}

fn full_tables(interval: &Interval) -> impl Iterator<Item = Reason> {
    let (attempts, segments) = (interval.get(Counter::Attempted), interval.get(Counter::Segments));
    let tables = [
        ("attempts were given up for want of room", interval.get(Counter::AttemptsLost), attempts),
        ("segments found no room for their flow", interval.get(Counter::FlowsRefused), segments),
        ("segments found no room for their listener", interval.get(Counter::ListenersRefused), segments),
    ];
    tables.into_iter().filter_map(|(what, lost, all)| {
        let share = ratio(lost, all).filter(|share| *share > TABLE_LOSS_SHARE)?;
        Some(Reason::TableFull { what, share })
    })
}

fn malformed(interval: &Interval) -> Option<Reason> {
    let frames: u64 = MALFORMED.iter().map(|(_, counter)| interval.get(*counter)).sum();
    let share = ratio(frames, interval.get(Counter::Packets))?;
    (frames >= MALFORMED_FRAMES_MIN && share > MALFORMED_SHARE).then_some(Reason::Malformed { share })
}
