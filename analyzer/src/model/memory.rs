//! Seconds and minutes that features are summed over: 360 seconds and 24 hours, in fixed memory (60 KiB).

use std::collections::VecDeque;

use tidegauge_ebpf::counter::Counter;
use tidegauge_ebpf::histogram::{Histogram, lower_bound};

use super::features::{Feature, Features, SAMPLES_MIN, ratio_of_many as ratio};
use super::{HostShares, Learning};
use crate::baseline::{Baseline, SECONDS_MIN};
use crate::layer::LayerCounter;
use crate::quality::Interval;
use crate::window::Window;

/// Seconds kept: the minute five minutes ago has ended then.
const SECONDS: usize = 360;
const MINUTES: usize = 24 * 60;
const LOSS_S: usize = 5;
const TEN_S: usize = 10;
const MINUTE_S: usize = 60;
const FIVE_MINUTES_S: usize = 300;

/// One second's counts.
#[derive(Clone, Copy, Debug, Default)]
struct Second {
    attempted: u64,
    /// Completed, refused, aborted: not timed out.
    resolved: u64,
    completed: u64,
    payload: u64,
    again: u64,
    responses: u64,
    errors: u64,
    /// Number and sum, milliseconds.
    echoes: (u64, f64),
    transfers: (u64, f64),
}

#[derive(Debug, Default)]
pub(super) struct Memory {
    /// The newest first.
    seconds: VecDeque<Second>,
    /// Attempted and completed by minute, the newest first, and seconds of it that are over.
    minutes: VecDeque<[u64; 2]>,
    minute_seconds: u64,
    day: [u64; 2],
    rates: Baseline,
    /// Whether anything was ever answered: without, answers may not be visible.
    answers_seen: bool,
}

impl Memory {
    /// Adds a second; the features at its end.
    pub(super) fn end_second(
        &mut self,
        window: &Window,
        seen: &Interval,
        host: HostShares,
        learning: Learning,
    ) -> Features {
        let second = Second::of(window);
        self.answers_seen |= second.completed != 0 || window.totals.get(Counter::Answered) != 0;
        self.seconds.truncate(SECONDS - 1);
        self.seconds.push_front(second);
        self.note_day(&second);
        let mut features = Features::default();
        let usual = self.rates.usual(SECONDS_MIN).map(|usual| usual.median);
        if learning == Learning::Goes {
            self.rates.learn(second.attempted);
        }
        features.set(Feature::ConnRate, Some(second.attempted as f64));
        features.set(Feature::ConnRateUsual, usual);
        features.set(Feature::Transfer1mibMs, self.mean(TEN_S, |second| second.transfers));
        features.set(Feature::RwndBytes, median_window(window));
        features.set(Feature::LossRatio, self.loss(0, LOSS_S));
        features.set(Feature::IcmpRttMs, self.mean(TEN_S, |second| second.echoes));
        let errors = ratio(
            self.sum(0, MINUTE_S, |second| second.errors),
            self.sum(0, MINUTE_S, |second| second.responses),
        );
        features.set(Feature::Http5xxRatio, errors);
        features.set(Feature::ConnTimeoutRatio, self.timeouts());
        features.set(Feature::FramesLostRatio, lost(seen));
        features.set(Feature::TcpConnections, host.tcp_connections);
        features.set(Feature::MemFragmentation, host.mem_fragmentation);
        let success = ratio(self.day[1].min(self.day[0]), self.day[0]).filter(|_| self.answers_seen);
        features.set(Feature::ConnSuccess24h, success);
        features.set(Feature::LossSlope5m, self.slope());
        let entropy = window.truth.as_deref().and_then(|truth| truth.layers.versions.entropy_bits());
        features.set(Feature::VersionEntropy, entropy);
        features
    }

    /// So many seconds without a packet.
    pub(super) fn skip(&mut self, seconds: u64) {
        for _ in 0..seconds.min(SECONDS as u64) {
            self.seconds.truncate(SECONDS - 1);
            self.seconds.push_front(Second::default());
        }
        self.rates.learn_silence(seconds);
        self.minute_seconds += seconds;
        let minutes = self.minute_seconds / 60;
        self.minute_seconds %= 60;
        (0..minutes.min(MINUTES as u64)).for_each(|_| self.end_minute());
    }

    fn note_day(&mut self, second: &Second) {
        if self.minutes.is_empty() {
            self.minutes.push_front([0; 2]);
        }
        for ((day, minute), more) in
            self.day.iter_mut().zip(&mut self.minutes[0]).zip([second.attempted, second.completed])
        {
            *day += more;
            *minute += more;
        }
        self.minute_seconds += 1;
        if self.minute_seconds == 60 {
            self.minute_seconds = 0;
            self.end_minute();
        }
    }

    fn end_minute(&mut self) {
        if self.minutes.len() == MINUTES
            && let Some(gone) = self.minutes.pop_back()
        {
            self.day.iter_mut().zip(gone).for_each(|(day, gone)| *day -= gone);
        }
        self.minutes.push_front([0; 2]);
    }

    /// A count over the seconds of these ages.
    fn sum(&self, from: usize, to: usize, of: impl Fn(&Second) -> u64) -> u64 {
        self.seconds.iter().take(to).skip(from).map(of).sum()
    }

    fn mean(&self, seconds: usize, of: impl Fn(&Second) -> (u64, f64)) -> Option<f64> {
        let parts = self.seconds.iter().take(seconds).map(of);
        let (count, sum) = parts.fold((0, 0.0), |all, part| (all.0 + part.0, all.1 + part.1));
        (count != 0).then(|| sum / count as f64)
    }

    fn loss(&self, from: usize, to: usize) -> Option<f64> {
        ratio(self.sum(from, to, |second| second.again), self.sum(from, to, |second| second.payload))
    }

    /// Attempts that nothing became of, as in [`crate::detect`]'s `handshake_failure`: less all of the last second, which
    /// may still be answered.
    fn timeouts(&self) -> Option<f64> {
        let asked = self.sum(0, FIVE_MINUTES_S, |second| second.attempted);
        let resolved = self.sum(0, FIVE_MINUTES_S, |second| second.resolved);
        let young = self.sum(0, 1, |second| second.attempted);
        ratio(asked.saturating_sub(resolved).saturating_sub(young), asked).filter(|_| self.answers_seen)
    }

    fn slope(&self) -> Option<f64> {
        let before = self.loss(FIVE_MINUTES_S, FIVE_MINUTES_S + MINUTE_S)?;
        Some(self.loss(0, MINUTE_S)? - before)
    }
}

impl Second {
    fn of(window: &Window) -> Self {
        let (totals, layers) = (&window.totals, window.truth.as_deref().map(|truth| &truth.layers));
        let count = |counter| totals.get(counter);
        let above = |counter| layers.map_or(0, |layers| layers.get(counter));
        let completed = count(Counter::Completed) + count(Counter::CompletedOneSided);
        Self {
            attempted: count(Counter::Attempted),
            resolved: (completed + count(Counter::Refused) + count(Counter::Aborted))
                .saturating_sub(count(Counter::RefusedAnswered)),
            completed,
            payload: count(Counter::PayloadSegments),
            again: count(Counter::RetransmitOrReordered),
            responses: above(LayerCounter::HttpResponses),
            errors: above(LayerCounter::HttpStatus5xx),
            echoes: layers.map_or((0, 0.0), |layers| times(&layers.icmp_rtt_us)),
            transfers: times(&totals.transfer_us),
        }
    }
}

/// Number and sum in milliseconds, by the lower bounds of the buckets.
fn times(histogram: &Histogram) -> (u64, f64) {
    let buckets = histogram.buckets.iter().enumerate().filter(|(_, count)| **count != 0);
    buckets.fold((0, 0.0), |(count, sum), (bucket, more)| {
        let ms = f64::from(lower_bound(bucket)) / 1_000.0;
        (count + u64::from(*more), sum + ms * f64::from(*more))
    })
}

fn median_window(window: &Window) -> Option<f64> {
    let windows = &window.totals.rwnd_bytes;
    windows.quantile(0.5).filter(|_| windows.count() >= SAMPLES_MIN).map(f64::from)
}

/// Frames lost at the source, of those offered; `None` where nobody counts: files.
fn lost(seen: &Interval) -> Option<f64> {
    seen.lag?;
    let offered = seen.offered();
    ratio(seen.dropped.values().sum(), offered)
}
