//! What a result did not see: counts by place and reason over an interval, and one verdict over them with its reasons.
//!
//! Intervals are whole seconds, `window` lines, the life of an incident or the run; they add up. The limits of the
//! verdict are the constants below: nothing else decides it.

mod reason;

use std::collections::BTreeMap;

use serde::Serialize;
use tidegauge_capture::nic::{NicLoss, SoftnetLoss};
use tidegauge_ebpf::counter::{Counter, Counters};

use crate::engine::Run;
use crate::sample::Sampling;

pub use reason::{
    BLIND_SHARE, LATE_NS, MALFORMED_FRAMES_MIN, MALFORMED_SHARE, Reason, STALL_BLIND_NS, TABLE_LOSS_SHARE,
    reasons,
};

/// Losses that the source tells, beside what the counters hold: since the start, they only grow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceLosses {
    /// Frames lost, by place (`nic`, `softnet`, `ring`); by `softnet` at most so many.
    pub dropped: BTreeMap<&'static str, u64>,
    /// Places of which nobody tells what they lost: shown as `null`.
    pub untold: Vec<&'static str>,
    /// Capture files that ended inside a record or were broken: file and reason.
    pub cut: Vec<String>,
    /// What cannot be seen from here at all, in words.
    pub unseen: Vec<String>,
    /// Frames of link types that are not read, by DLT number.
    pub unread_links: BTreeMap<u16, u64>,
}

impl SourceLosses {
    /// What the NIC lost since the start; unknown where nobody tells.
    pub fn note_nic(&mut self, nic: Option<&mut NicLoss>) {
        // Drivers count frames that an AF_XDP socket did not take as well.
        let by_queues: u64 = self
            .dropped
            .iter()
            .filter(|(place, _)| place.starts_with("af_xdp"))
            .map(|(_, frames)| frames)
            .sum();
        match nic.and_then(NicLoss::frames).map(|frames| frames.saturating_sub(by_queues)) {
            Some(0) => {}
            Some(frames) => _ = self.dropped.insert("nic", frames),
            None => self.note_untold("nic"),
        }
    }

    /// What the CPUs' backlogs lost since the start, where frames come through them; unknown where nobody tells.
    pub fn note_softnet(&mut self, softnet: Option<&mut SoftnetLoss>) {
        match softnet.and_then(SoftnetLoss::frames) {
            Some(0) => {}
            Some(frames) => _ = self.dropped.insert("softnet", frames),
            None => self.note_untold("softnet"),
        }
    }

    fn note_untold(&mut self, place: &'static str) {
        if !self.untold.contains(&place) {
            self.untold.push(place);
        }
    }
}

/// How late ticks of an interval were handled. `None` where there is no clock to be late by: capture files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lag {
    /// The latest tick: from its end to its handling, nanoseconds.
    pub worst_ns: u64,
    /// Ticks handled later than [`LATE_NS`].
    pub late_ticks: u64,
    /// Ticks whose counters were read together with others', after a stall: their counts are spread evenly.
    pub merged_ticks: u64,
}

impl Lag {
    /// The lag of one tick, handled so long after its end.
    pub const fn of_tick(late_ns: u64) -> Self {
        Self { worst_ns: late_ns, late_ticks: (late_ns > LATE_NS) as u64, merged_ticks: 0 }
    }

    /// Adds another interval's.
    pub const fn merge(&mut self, other: Self) {
        if other.worst_ns > self.worst_ns {
            self.worst_ns = other.worst_ns;
        }
        self.late_ticks += other.late_ticks;
        self.merged_ticks += other.merged_ticks;
    }
}

/// The counters that say how well an interval was seen.
const TOLD: [Counter; 14] = [
    Counter::Packets,
    Counter::SuperFrames,
    Counter::Truncated,
    Counter::Unsupported,
    Counter::UnsupportedLink,
    Counter::MalformedCut,
    Counter::MalformedDepth,
    Counter::MalformedLength,
    Counter::MalformedVersion,
    Counter::Segments,
    Counter::Attempted,
    Counter::AttemptsLost,
    Counter::FlowsRefused,
    Counter::ListenersRefused,
];
const MALFORMED: [(&str, Counter); 4] = [
    ("cut", Counter::MalformedCut),
    ("depth", Counter::MalformedDepth),
    ("length", Counter::MalformedLength),
    ("version", Counter::MalformedVersion),
];

/// What was counted and lost in an interval. Intervals merge in any order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interval {
    /// Its length, nanoseconds.
    pub length_ns: u64,
    /// By [`TOLD`].
    counts: [u64; TOLD.len()],
    /// Frames lost, by place.
    pub dropped: BTreeMap<&'static str, u64>,
    /// How late it was handled, where there is a clock.
    pub lag: Option<Lag>,
    /// One flow in so many was followed at the least; `None`: all were.
    pub sampled_one_in: Option<u32>,
}

impl Interval {
    /// Counts alone, with no loss known.
    pub fn of(totals: &Counters, length_ns: u64) -> Self {
        let mut interval = Self { length_ns, ..Self::default() };
        interval.count(totals);
        interval
    }

    /// The whole run: all that was counted, and all that the source lost.
    pub fn of_run(run: &Run, losses: &SourceLosses, length_ns: u64) -> Self {
        let mut interval = Self::of(&run.totals, length_ns);
        interval.dropped.clone_from(&losses.dropped);
        interval.lag = run.lag;
        interval.note_sampling(run.sampling.as_ref());
        interval
    }

    /// Adds what sampling did.
    pub fn note_sampling(&mut self, sampling: Option<&Sampling>) {
        self.sampled_one_in = self.sampled_one_in.max(sampling.map(|sampling| sampling.one_in_max));
    }

    /// Adds what was counted.
    pub fn count(&mut self, totals: &Counters) {
        for (own, counter) in self.counts.iter_mut().zip(TOLD) {
            *own = own.saturating_add(totals.get(counter));
        }
    }

    /// Adds frames lost at a place.
    pub fn drop_frames(&mut self, place: &'static str, frames: u64) {
        if frames != 0 {
            *self.dropped.entry(place).or_default() += frames;
        }
    }

    /// Adds the lag of a tick.
    pub fn note_lag(&mut self, lag: Lag) {
        self.lag.get_or_insert_default().merge(lag);
    }

    /// Adds another interval.
    pub fn merge(&mut self, other: &Self) {
        self.length_ns = self.length_ns.saturating_add(other.length_ns);
        for (own, more) in self.counts.iter_mut().zip(&other.counts) {
            *own = own.saturating_add(*more);
        }
        for (place, frames) in &other.dropped {
            self.drop_frames(place, *frames);
        }
        if let Some(lag) = other.lag {
            self.note_lag(lag);
        }
        self.sampled_one_in = self.sampled_one_in.max(other.sampled_one_in);
    }

    /// One of the counters that say how well was seen; 0 for any other.
    pub(crate) fn get(&self, counter: Counter) -> u64 {
        TOLD.iter().position(|told| *told == counter).map_or(0, |index| self.counts[index])
    }

    fn lost_frames(&self) -> u64 {
        self.dropped.values().sum()
    }

    /// Frames offered: captured and lost.
    pub(crate) fn offered(&self) -> u64 {
        self.get(Counter::Packets).saturating_add(self.lost_frames())
    }
}

/// How far the numbers can be trusted. Ordered: the later the worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// All that was offered was seen, in time.
    Complete,
    /// Something is missing; the counts say what.
    Degraded,
    /// Too much is missing to go by: findings are not upgraded.
    Blind,
}

/// Capture quality, as in the output contract.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Quality {
    /// Packets offered: captured and dropped.
    pub seen: u64,
    /// Packets read.
    pub captured: u64,
    /// Frames shortened by a snap length.
    pub truncated: u64,
    /// Malformed frames by reason.
    pub malformed: BTreeMap<&'static str, u64>,
    /// Frames of unread link types or network protocols.
    pub unsupported: BTreeMap<String, u64>,
    /// Packets, flows and attempts lost, by place; `null` where nobody tells.
    pub dropped: BTreeMap<&'static str, Option<u64>>,
    /// The latest tick, from its end to its handling; `null` for capture files.
    pub lag_ms_max: Option<f64>,
    /// Ticks later than [`LATE_NS`].
    pub late_ticks: Option<u64>,
    /// Ticks whose counters were read together with others', after a stall.
    pub merged_ticks: Option<u64>,
    /// One flow in so many was followed at the least; `null`: all were.
    pub sampled_one_in: Option<u32>,
    /// Files that ended early.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cut: Vec<String>,
    /// What cannot be seen from here.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unseen: Vec<String>,
    /// One word over all of it.
    pub verdict: Verdict,
    /// Why not `complete`, in words.
    pub why: Vec<String>,
    /// What a reader must know to read the counts right, without anything missing.
    pub notes: Vec<String>,
}

impl Quality {
    /// The quality of an interval, given what the source cannot see at all.
    pub fn of(interval: &Interval, losses: &SourceLosses) -> Self {
        let count = |counter| interval.get(counter);
        let reasons = reasons(interval, losses);
        Self {
            seen: interval.offered(),
            captured: count(Counter::Packets),
            truncated: count(Counter::Truncated),
            malformed: MALFORMED
                .iter()
                .map(|(name, counter)| (*name, count(*counter)))
                .filter(|(_, frames)| *frames != 0)
                .collect(),
            unsupported: unsupported(interval, losses),
            dropped: dropped(interval, losses),
            lag_ms_max: interval.lag.map(|lag| lag.worst_ns as f64 / 1e6),
            late_ticks: interval.lag.map(|lag| lag.late_ticks),
            merged_ticks: interval.lag.map(|lag| lag.merged_ticks),
            sampled_one_in: interval.sampled_one_in,
            cut: losses.cut.clone(),
            unseen: losses.unseen.clone(),
            verdict: reasons.iter().map(Reason::verdict).max().unwrap_or(Verdict::Complete),
            why: reasons.iter().map(Reason::to_string).collect(),
            notes: notes(interval),
        }
    }
}

fn dropped(interval: &Interval, losses: &SourceLosses) -> BTreeMap<&'static str, Option<u64>> {
    let tables = [
        ("half_open_cache", interval.get(Counter::AttemptsLost)),
        ("flow_table", interval.get(Counter::FlowsRefused)),
        ("listener_table", interval.get(Counter::ListenersRefused)),
    ];
    let places = interval.dropped.iter().map(|(place, lost)| (*place, *lost));
    let told = places.chain(tables).filter(|(_, lost)| *lost != 0).map(|(place, lost)| (place, Some(lost)));
    losses.untold.iter().map(|place| (*place, None)).chain(told).collect()
}

/// Unread link types by number where the source told them, else as one sum.
fn unsupported(interval: &Interval, losses: &SourceLosses) -> BTreeMap<String, u64> {
    let mut unsupported = BTreeMap::new();
    let unread_links = interval.get(Counter::UnsupportedLink);
    if losses.unread_links.values().sum::<u64>() == unread_links {
        let links = losses.unread_links.iter();
        unsupported.extend(links.map(|(dlt, frames)| (format!("link_type_{dlt}"), *frames)));
    } else {
        unsupported.insert("link_type".to_owned(), unread_links);
    }
    unsupported.insert("protocol".to_owned(), interval.get(Counter::Unsupported));
    unsupported.retain(|_, frames| *frames != 0);
    unsupported
}

fn notes(interval: &Interval) -> Vec<String> {
    let merged = interval.get(Counter::SuperFrames);
    let note = || format!("{merged} merged frames counted as the segments they stand for");
    (merged != 0).then(note).into_iter().collect()
}
