//! Half-octave histogram in fixed memory: two buckets per power of two, so a quantile is right within 1.5 x.
//!
//! Buckets only ever grow; a window is the difference of two readings, and histograms add.

/// Buckets that any `u32` falls into.
pub const BUCKETS: usize = 64;

/// Counts by half octave.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Histogram {
    /// `buckets[i]` counts values in `lower_bound(i)..lower_bound(i + 1)`.
    pub buckets: [u32; BUCKETS],
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: [0; BUCKETS] }
    }
}

/// Bucket of a value: its highest bit, and the bit below that.
#[inline(always)]
pub const fn bucket_of(value: u32) -> usize {
    // Branches instead of a count of leading zeros, which BPF has no instruction for.
    let mut rest = value;
    let mut octave = 0;
    if rest >= 1 << 16 {
        rest >>= 16;
        octave += 16;
    }
    if rest >= 1 << 8 {
        rest >>= 8;
        octave += 8;
    }
    if rest >= 1 << 4 {
        rest >>= 4;
        octave += 4;
    }
    if rest >= 1 << 2 {
        rest >>= 2;
        octave += 2;
    }
    if rest >= 2 {
        octave += 1;
    }
    let half = if octave == 0 { value & 1 } else { (value >> (octave - 1)) & 1 };
    (octave as usize * 2 + half as usize) & (BUCKETS - 1)
}

/// Smallest value of a bucket.
pub const fn lower_bound(bucket: usize) -> u32 {
    let octave = bucket / 2;
    if octave == 0 { bucket as u32 } else { (2 + (bucket as u32 & 1)) << (octave - 1) }
}

impl Histogram {
    /// Counts one value.
    #[inline(always)]
    pub fn record(&mut self, value: u32) {
        let bucket = &mut self.buckets[bucket_of(value)];
        *bucket = bucket.wrapping_add(1);
    }

    /// Number of values.
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|count| u64::from(*count)).sum()
    }

    /// Adds another histogram's counts.
    pub fn merge(&mut self, other: &Self) {
        for (own, more) in self.buckets.iter_mut().zip(&other.buckets) {
            *own = own.saturating_add(*more);
        }
    }

    /// What was recorded since `earlier` was read from the same histogram.
    pub fn since(&self, earlier: &Self) -> Self {
        let mut delta = *self;
        for (own, before) in delta.buckets.iter_mut().zip(&earlier.buckets) {
            *own = own.wrapping_sub(*before);
        }
        delta
    }

    /// Lower bound of the bucket that holds quantile `q` (0 to 1), `None` where nothing was recorded.
    pub fn quantile(&self, q: f64) -> Option<u32> {
        let count = self.count();
        if count == 0 {
            return None;
        }
        // The value at rank ceil(q * n), the nearest-rank definition.
        let wanted = ((q * count as f64) as u64).clamp(1, count);
        let mut passed = 0;
        let bucket = self.buckets.iter().position(|bucket_count| {
            passed += u64::from(*bucket_count);
            passed >= wanted
        })?;
        Some(lower_bound(bucket))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_lies_in_its_bucket() {
        for value in (0..70_000).chain([1 << 20, (1 << 20) + (1 << 19), u32::MAX / 2, u32::MAX]) {
            let bucket = bucket_of(value);
            assert!(lower_bound(bucket) <= value, "{value} in {bucket}");
            assert!(bucket == BUCKETS - 1 || value < lower_bound(bucket + 1), "{value} in {bucket}");
        }
    }

    #[test]
    fn quantiles_are_the_nearest_rank() {
        let mut histogram = Histogram::default();
        for value in [1, 2, 4, 8] {
            histogram.record(value);
        }
        assert_eq!(
            [0.25, 0.5, 0.75, 1.0].map(|q| histogram.quantile(q)),
            [Some(1), Some(2), Some(4), Some(8)]
        );
        assert_eq!(Histogram::default().quantile(0.5), None);
    }
}
