//! Overload on a frame source: a worker that cannot keep up follows a share of the flows, chosen by hash, so that what
//! it says of a flow stays true. Header facts stay exact for every frame that was read; what is judged per flow becomes
//! an estimate with an error bound.
//!
//! With each flow in the sample with probability p = 1/n, a count of x events, at most one per flow, is estimated by
//! n times the events seen; its variance is x (1-p)/p, estimated by the estimate times (n-1) (Horvitz-Thompson). The
//! bound is 1.96 standard errors. Events that come several times in a flow (retransmissions, windows) are estimated the
//! same way, but their error depends on how unevenly flows have them: they get no bound.

use serde_json::{Value, json};
use tidegauge_ebpf::counter::{Counter, Counters};

/// Highest level: one flow in 1,024.
pub const LEVEL_MAX: u8 = 10;
/// A tick whose newest frame is older than this at its handling is one that did not keep up, nanoseconds.
pub const BEHIND_NS: u64 = 100_000_000;
/// Ticks after a change in which its effect is waited for.
const SETTLE_TICKS: u16 = 2;
/// Ticks in a row without pressure after which more flows are followed again.
const CALM_TICKS: u16 = 50;
/// The same where the last attempt failed: a doubling each time up to a minute.
const CALM_TICKS_MAX: u16 = 600;
/// Standard errors on either side that hold 95 % of estimates.
const ERRORS_95: f64 = 1.96;

/// How a worker kept up in one tick.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pressure {
    /// Frames its source lost.
    pub lost_frames: u64,
    /// Age of the newest frame when it was handled, beyond what the source's own buffering makes it.
    pub behind_ns: u64,
}

impl Pressure {
    const fn is_too_much(self) -> bool {
        self.lost_frames != 0 || self.behind_ns > BEHIND_NS
    }
}

/// Decides, tick by tick, which share of the flows is followed.
#[derive(Clone, Copy, Debug)]
pub struct FlowSampler {
    level: u8,
    /// Ticks in which nothing is decided.
    settling: u16,
    calm: u16,
    calm_needed: u16,
    /// The last change was to follow more.
    restored: bool,
}

impl Default for FlowSampler {
    fn default() -> Self {
        Self { level: 0, settling: 0, calm: 0, calm_needed: CALM_TICKS, restored: false }
    }
}

impl FlowSampler {
    /// A tick is over; says in how many flows one is followed from now on: 1, all of them.
    pub fn tick(&mut self, pressure: Pressure) -> u32 {
        if self.settling != 0 {
            self.settling -= 1;
        } else if pressure.is_too_much() {
            // Pressure soon after following more: that was too early.
            if std::mem::take(&mut self.restored) && self.calm < self.calm_needed {
                self.calm_needed = self.calm_needed.saturating_mul(2).min(CALM_TICKS_MAX);
            }
            self.step(self.level.saturating_add(1).min(LEVEL_MAX));
        } else {
            self.calm = self.calm.saturating_add(1);
            if self.level != 0 && self.calm >= self.calm_needed {
                self.step(self.level - 1);
                self.restored = true;
            } else if self.level == 0 && self.calm >= CALM_TICKS_MAX {
                self.calm_needed = CALM_TICKS;
            }
        }
        self.one_in()
    }

    fn step(&mut self, level: u8) {
        if self.level != level {
            (self.level, self.settling) = (level, SETTLE_TICKS);
        }
        self.calm = 0;
    }

    /// In how many flows one is followed.
    pub const fn one_in(&self) -> u32 {
        1 << self.level
    }
}

/// Counters of a shard's totals that are judged per flow.
pub const JUDGED: [Counter; 17] = [
    Counter::Attempted,
    Counter::SynRetransmission,
    Counter::Answered,
    Counter::AnsweredUnasked,
    Counter::Refused,
    Counter::Aborted,
    Counter::Completed,
    Counter::CompletedOneSided,
    Counter::RetransmitOrReordered,
    Counter::LostSegment,
    Counter::KeepAlive,
    Counter::ZeroWindow,
    Counter::RwndSamples,
    Counter::RwndLow,
    Counter::RwndScaleUnknown,
    Counter::Transfers,
    Counter::TransfersSlow,
];
/// Of these, those that happen at most once in a flow: their estimates have an error bound.
pub const BOUNDED: [Counter; 5] =
    [Counter::Attempted, Counter::Answered, Counter::Refused, Counter::Completed, Counter::CompletedOneSided];

/// What sampling did to a window. Windows of workers and ticks with different shares merge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sampling {
    /// The smallest share of flows followed: one in so many.
    pub one_in_max: u32,
    /// Variance of each of [`BOUNDED`].
    variances: [u64; BOUNDED.len()],
}

impl Sampling {
    /// Makes estimates of what was counted on one in `one_in` flows.
    pub fn scale(totals: &mut Counters, one_in: u32) -> Self {
        for counter in JUDGED {
            let counted = &mut totals.values[counter as usize];
            *counted = counted.saturating_mul(one_in.into());
        }
        let variance = |counter| totals.get(counter).saturating_mul(u64::from(one_in) - 1);
        Self { one_in_max: one_in, variances: BOUNDED.map(variance) }
    }

    /// Adds another window's.
    pub fn merge(&mut self, other: &Self) {
        self.one_in_max = self.one_in_max.max(other.one_in_max);
        for (own, more) in self.variances.iter_mut().zip(other.variances) {
            *own = own.saturating_add(more);
        }
    }

    /// The output contract's `sampling`: the half-widths of 95 % intervals, in events, and what was left out of `totals`.
    pub fn json(&self, totals: &Counters) -> Value {
        let errors: serde_json::Map<_, _> =
            self.errors_95().map(|(counter, error)| (counter.name().to_owned(), json!(error))).collect();
        json!({
            "one_in_max": self.one_in_max,
            "segments_unsampled": totals.get(Counter::SegmentsUnsampled),
            "error_95": errors,
        })
    }

    /// Each of [`BOUNDED`] with the half-width of its 95 % interval, in events.
    pub fn errors_95(&self) -> impl Iterator<Item = (Counter, f64)> {
        let half_width = |variance: u64| ERRORS_95 * (variance as f64).sqrt();
        BOUNDED.into_iter().zip(self.variances.map(half_width))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALM: Pressure = Pressure { lost_frames: 0, behind_ns: 0 };
    const LOSING: Pressure = Pressure { lost_frames: 1, behind_ns: 0 };

    fn ticks(sampler: &mut FlowSampler, pressure: Pressure, ticks: usize) -> u32 {
        (0..ticks).map(|_| sampler.tick(pressure)).last().unwrap_or(1)
    }

    #[test]
    fn pressure_halves_the_share_until_it_is_gone_and_calm_restores_it() {
        let mut sampler = FlowSampler::default();
        assert_eq!(sampler.tick(CALM), 1);
        assert_eq!(sampler.tick(LOSING), 2);
        // The effect is waited for.
        assert_eq!(ticks(&mut sampler, LOSING, 2), 2);
        assert_eq!(sampler.tick(Pressure { lost_frames: 0, behind_ns: BEHIND_NS + 1 }), 4);
        assert_eq!(ticks(&mut sampler, LOSING, 100), 1 << LEVEL_MAX);
        assert_eq!(ticks(&mut sampler, CALM, 10), 1 << LEVEL_MAX);
        assert_eq!(
            ticks(&mut sampler, CALM, usize::from(LEVEL_MAX) * usize::from(CALM_TICKS + SETTLE_TICKS)),
            1
        );
    }

    #[test]
    fn what_was_restored_too_early_is_restored_later_the_next_time() {
        let mut sampler = FlowSampler::default();
        let mut waits = Vec::new();
        for _ in 0..4 {
            while sampler.one_in() == 1 {
                sampler.tick(LOSING);
            }
            waits.push((0..).take_while(|_| sampler.tick(CALM) != 1).count());
        }
        assert!(waits.is_sorted_by(|a, b| a < b), "{waits:?}");
    }

    #[test]
    fn estimates_are_within_their_bound_nineteen_times_in_twenty() {
        const FLOWS: u64 = 10_000;
        const ONE_IN: u32 = 8;
        let mut within = 0;
        for seed in 0..1_000 {
            let is_sampled = |flow: &u64| {
                let end = [0, 0, seed, *flow as u32];
                tidegauge_ebpf::flow::end_hash(end, 1, 7) >> 48 & u64::from(ONE_IN - 1) == 0
            };
            let mut totals = Counters::default();
            totals.add(Counter::Attempted, (0..FLOWS).filter(is_sampled).count() as u64);
            let sampling = Sampling::scale(&mut totals, ONE_IN);
            let (_, error) = sampling.errors_95().next().expect("attempts are bounded");
            within += u32::from((totals.get(Counter::Attempted) as f64 - FLOWS as f64).abs() <= error);
        }
        assert!((930..=970).contains(&within), "{within} of 1000");
    }
}
