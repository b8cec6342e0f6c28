//! A window that stands for several ticks, because nobody read the counters meanwhile, as that many windows.
//!
//! Counts are spread evenly: how they came is not known, and as one tick's they would look like a burst that never
//! was. Sums are kept exactly; what is no sum (sketches, busiest sources) is in every part. Whoever spreads says so in
//! [`crate::quality::Lag::merged_ticks`].

use tidegauge_ebpf::histogram::Histogram;

use crate::feature::TICK_NS;
use crate::window::{ListenerWindow, Window};

/// Ticks that a window is spread over at most, ten seconds: of a longer stall, the last ones.
pub const SPREAD_TICKS_MAX: u64 = 100;

/// The parts of a window of whole ticks, one tick each, in time order.
pub fn spread(window: Window) -> impl Iterator<Item = Window> {
    let ticks = (window.end_ns.saturating_sub(window.start_ns) / TICK_NS).clamp(1, SPREAD_TICKS_MAX);
    let first_ns = window.end_ns.saturating_sub(ticks * TICK_NS);
    (0..ticks).map(move |index| {
        let part = Part { index, parts: ticks };
        let start_ns = first_ns + index * TICK_NS;
        let mut tick = Window { start_ns, end_ns: start_ns + TICK_NS, ..window.clone() };
        part.counts(&mut tick.totals.values);
        let totals = &mut tick.totals;
        for histogram in totals.histograms_mut() {
            part.histogram(histogram);
        }
        tick.listeners.values_mut().for_each(|listener| part.listener(listener));
        tick.targets.values_mut().for_each(|target| part.counts(&mut target.counters));
        tick
    })
}

/// Which part of how many.
#[derive(Clone, Copy)]
struct Part {
    index: u64,
    parts: u64,
}

impl Part {
    /// This part of a sum: all parts together are the sum.
    fn of(self, sum: u64) -> u64 {
        // No larger than the sum.
        let up_to = |parts: u64| (u128::from(sum) * u128::from(parts) / u128::from(self.parts)) as u64;
        up_to(self.index + 1) - up_to(self.index)
    }

    fn counts(self, sums: &mut [u64]) {
        sums.iter_mut().for_each(|sum| *sum = self.of(*sum));
    }

    fn histogram(self, histogram: &mut Histogram) {
        for bucket in &mut histogram.buckets {
            *bucket = u32::try_from(self.of(u64::from(*bucket))).unwrap_or(u32::MAX);
        }
    }

    fn listener(self, listener: &mut ListenerWindow) {
        self.counts(&mut listener.counters);
        self.counts(&mut listener.rwnd_octaves);
    }
}
