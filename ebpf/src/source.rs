//! Who asks most: heavy hitters among the sources of attempts, per listener, in fixed memory.
//!
//! Two counters a cache line, renewed every sketch period (1.07 s). A newcomer to a full line takes one from the
//! smaller counter and its place at zero (Misra and Gries 1982, per line), so a counter is a lower bound of what
//! its source sent in the period: "at least so many".

use crate::limits::SOURCE_WAYS;
use crate::packet::Address;
use crate::stamp::Stamp;

/// One source at one listener, 32 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SourceCount {
    /// Lower half of the listener's id.
    pub listener: u32,
    /// Upper half of the pair's hash; 0 is free.
    pub fingerprint: u32,
    /// Attempts in the period, at least.
    pub attempts: u32,
    /// [`Stamp::period`] that `attempts` is of.
    pub period: u32,
    /// The source.
    pub address: Address,
}

/// One cache line of sources.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SourceBucket {
    /// In no order.
    pub ways: [SourceCount; SOURCE_WAYS],
}

const _: () = assert!(size_of::<SourceCount>() == 32 && size_of::<SourceBucket>() == 64);

impl SourceBucket {
    /// Counts an attempt of `address` at `listener`; `pair` is [`crate::flow::pair_hash`] of both.
    #[inline(always)]
    pub fn record(&mut self, pair: u64, listener: u64, address: Address, now: Stamp) {
        let fingerprint = (pair >> 32) as u32 | 1;
        let period = now.period();
        let [first, second] = &mut self.ways;
        if first.is(fingerprint, period) {
            first.attempts = first.attempts.saturating_add(1);
            return;
        }
        if second.is(fingerprint, period) {
            second.attempts = second.attempts.saturating_add(1);
            return;
        }
        let smaller = if first.live(period) <= second.live(period) { first } else { second };
        if smaller.live(period) > 1 {
            smaller.attempts -= 1;
            return;
        }
        *smaller = SourceCount { listener: listener as u32, fingerprint, attempts: 1, period, address };
    }
}

impl SourceCount {
    #[inline(always)]
    const fn is(&self, fingerprint: u32, period: u32) -> bool {
        self.fingerprint == fingerprint && self.period == period
    }

    /// Attempts, or 0 where the period is over.
    #[inline(always)]
    const fn live(&self, period: u32) -> u32 {
        if self.period == period { self.attempts } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::pair_hash;
    use crate::packet::ipv4_mapped;

    #[test]
    fn a_heavy_source_survives_a_stream_of_singles_in_its_line() {
        let mut bucket = SourceBucket::default();
        let heavy = ipv4_mapped(1);
        for single in 0..3_000 {
            bucket.record(pair_hash(heavy, 7, 0), 7, heavy, Stamp(0));
            let other = ipv4_mapped(1_000 + single / 3);
            bucket.record(pair_hash(other, 7, 0), 7, other, Stamp(0));
        }
        let counted = bucket.ways.iter().find(|way| way.address == heavy).map(|way| way.attempts);
        assert!(matches!(counted, Some(1_500..=3_000)), "{counted:?}");
    }
}
