//! Log-linear histogram in fixed memory, with the buckets of hdrhistogram at one significant digit: values below 32
//! have a bucket each, above that every power of two is cut into 16, so a value is known within 6.25 %.
//!
//! Source of the layout: <http://hdrhistogram.org>, `sub_bucket_count` 32, unit 1. Buckets only ever grow; a window is
//! the difference of two readings, and histograms add.

/// Buckets that any `u32` falls into.
pub const BUCKETS: usize = SUB_BUCKETS + (32 - SUB_BUCKET_BITS as usize) * HALF;
/// Values with a bucket of their own.
const SUB_BUCKETS: usize = 1 << SUB_BUCKET_BITS;
const SUB_BUCKET_BITS: u32 = 5;
/// Buckets of each power of two above.
const HALF: usize = SUB_BUCKETS / 2;
/// Room in memory: a power of two, so that a mask proves an index.
const ROOM: usize = 512;

/// Counts by value.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Histogram {
    /// `buckets[i]` counts values in `lower_bound(i)..lower_bound(i + 1)`; the last ones are room.
    pub buckets: [u32; ROOM],
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: [0; ROOM] }
    }
}

/// Number of the highest set bit; 0 for 0 and 1.
#[inline(always)]
pub const fn octave_of(value: u32) -> u32 {
    if !cfg!(target_arch = "bpf") {
        return 31 - (value | 1).leading_zeros();
    }
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
    octave
}

/// Bucket of a value.
#[inline(always)]
pub const fn bucket_of(value: u32) -> usize {
    // The lowest bits set do not change the bucket of what is above, and put all that is below into octave 4.
    let shift = octave_of(value | (SUB_BUCKETS as u32 - 1)) - (SUB_BUCKET_BITS - 1);
    ((shift << (SUB_BUCKET_BITS - 1)) + (value >> shift)) as usize & (ROOM - 1)
}

/// Smallest value of a bucket.
pub const fn lower_bound(bucket: usize) -> u32 {
    if bucket < SUB_BUCKETS {
        return bucket as u32;
    }
    let shift = bucket / HALF - 1;
    ((bucket - shift * HALF) as u32) << shift
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
        let exact = q * count as f64;
        let floor = exact as u64;
        let wanted = (floor + u64::from((floor as f64) < exact)).clamp(1, count);
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
        assert_eq!((bucket_of(u32::MAX), lower_bound(BUCKETS - 1)), (BUCKETS - 1, 31 << 27));
    }

    #[test]
    fn octaves_are_those_of_the_highest_bit() {
        for bit in 0..32 {
            assert_eq!((octave_of(1 << bit), octave_of(u32::MAX >> bit)), (bit, 31 - bit));
        }
        assert_eq!(octave_of(0), 0);
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
