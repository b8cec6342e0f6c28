//! Histograms in lines: the engine's fine ones ([`Histogram`]) in few buckets with fixed bounds, of windows and of the run.
//!
//! Each bound is one of the fine buckets', so counts are exact. A sum takes every value for the middle of its fine bucket,
//! which is at most 6.25 % wide: it is right within 3.2 %. Where flows are sampled, counts are of those that were followed.

use serde_json::{Map, Value, json};
use tidegauge_ebpf::counter::Counters;
use tidegauge_ebpf::histogram::{BUCKETS, Histogram, bucket_of, lower_bound};

use crate::truth::Truth;

/// Round trips, microseconds: each bucket has those below its bound, and the last one the rest. The feature model's
/// 100 ms is next to 102.4.
pub const RTT_BELOW_US: [u32; 20] = [
    6, 12, 25, 50, 100, 200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 51_200, 102_400, 204_800,
    409_600, 819_200, 1_638_400, 3_276_800,
];
/// The same of receive windows, bytes: with the feature model's 10 K and 58 K, and the 64 K of an unscaled window.
pub const RWND_BELOW_BYTES: [u32; 13] = [
    1 << 10,
    4 << 10,
    10 << 10,
    16 << 10,
    32 << 10,
    58 << 10,
    64 << 10,
    128 << 10,
    256 << 10,
    512 << 10,
    1 << 20,
    4 << 20,
    16 << 20,
];

const _: () = assert!(are_of_fine_buckets(&RTT_BELOW_US) && are_of_fine_buckets(&RWND_BELOW_BYTES));

const fn are_of_fine_buckets(bounds: &[u32]) -> bool {
    let mut place = 0;
    while place < bounds.len() {
        if lower_bound(bucket_of(bounds[place])) != bounds[place] {
            return false;
        }
        place += 1;
    }
    true
}

/// `rtt_ms` by method and `rwnd_bytes`: `le` has the bounds, `counts` those up to each and, one longer, the rest; `sum` is of
/// the values. `null` where nothing was measured; methods without a sample are left out.
pub fn histograms(totals: &Counters, truth: Option<&Truth>) -> Value {
    let mut methods = vec![
        ("handshake_listener", &totals.handshake_us),
        ("handshake_peer", &totals.handshake_ack_us),
        ("timestamps_listener", &totals.echo_listener_us),
        ("timestamps_peer", &totals.echo_peer_us),
    ];
    if let Some(truth) = truth {
        methods.extend([
            ("ack_listener", &truth.ack_listener_us),
            ("ack_peer", &truth.ack_peer_us),
            ("icmp_echo", &truth.layers.icmp_rtt_us),
        ]);
    }
    let by_method: Map<String, Value> = methods
        .into_iter()
        .filter_map(|(name, histogram)| Some((name.to_owned(), object(histogram, &RTT_BELOW_US, 1_000.0)?)))
        .collect();
    // A time is cut to whole microseconds, so those below a bound are those up to it; of bytes they are those up to the one
    // before.
    let le_ms = RTT_BELOW_US.map(|us| f64::from(us) / 1_000.0);
    let le_bytes = RWND_BELOW_BYTES.map(|bytes| bytes - 1);
    let rwnd = object(&totals.rwnd_bytes, &RWND_BELOW_BYTES, 1.0).map(|mut rwnd| {
        rwnd["le"] = json!(le_bytes);
        rwnd
    });
    json!({
        "rtt_ms": (!by_method.is_empty()).then(|| json!({ "le": le_ms, "by_method": by_method })),
        "rwnd_bytes": rwnd,
    })
}

/// Counts below each bound and the rest, and the sum in units of `divisor`; `None` where there is no value.
fn object(histogram: &Histogram, below: &[u32], divisor: f64) -> Option<Value> {
    let mut counts = vec![0_u64; below.len() + 1];
    // Twice the sum: the middle of two whole numbers may be between two.
    let mut doubled = 0_u64;
    let mut place = 0;
    for (bucket, count) in
        histogram.buckets.iter().enumerate().take(BUCKETS).filter(|(_, count)| **count != 0)
    {
        let least = lower_bound(bucket);
        while below.get(place).is_some_and(|bound| *bound <= least) {
            place += 1;
        }
        counts[place] += u64::from(*count);
        // The bound behind the last bucket is 2^32, which wraps to 0.
        let width = lower_bound(bucket + 1).wrapping_sub(least);
        doubled += u64::from(*count) * (2 * u64::from(least) + u64::from(width) - 1);
    }
    let is_empty = counts.iter().all(|count| *count == 0);
    (!is_empty).then(|| json!({ "counts": counts, "sum": doubled as f64 / 2.0 / divisor }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: impl IntoIterator<Item = u32>, below: &[u32]) -> Option<Value> {
        let mut histogram = Histogram::default();
        values.into_iter().for_each(|value| histogram.record(value));
        object(&histogram, below, 1.0)
    }

    #[test]
    fn counts_are_exact_at_their_bounds() {
        for bounds in [&RTT_BELOW_US[..], &RWND_BELOW_BYTES] {
            for (place, bound) in bounds.iter().enumerate() {
                let counts = of([bound - 1, *bound], bounds).unwrap()["counts"].clone();
                let of_place = |place: usize| counts[place].as_u64();
                assert_eq!((of_place(place), of_place(place + 1)), (Some(1), Some(1)), "{bound}");
            }
            let counts = of([u32::MAX], bounds).unwrap()["counts"].clone();
            assert_eq!(counts[bounds.len()], 1);
        }
    }

    #[test]
    fn a_sum_is_right_within_what_is_said() {
        let spread = |seed: u32| seed.wrapping_mul(2_654_435_761) >> (seed % 20);
        for values in [(0..31).collect::<Vec<_>>(), (0..5_000).map(spread).collect(), vec![u32::MAX; 3]] {
            let exact: f64 = values.iter().map(|value| f64::from(*value)).sum();
            let sum = of(values, &RTT_BELOW_US).unwrap()["sum"].as_f64().unwrap();
            assert!((sum - exact).abs() <= 0.032 * exact, "{sum} for {exact}");
        }
        assert_eq!(of(0..32, &RTT_BELOW_US).unwrap()["sum"], f64::from((0..32).sum::<u32>()));
    }

    #[test]
    fn what_was_not_measured_is_null() {
        assert_eq!(histograms(&Counters::default(), None), json!({ "rtt_ms": null, "rwnd_bytes": null }));
        let mut totals = Counters::default();
        totals.rwnd_bytes.record(65_535);
        totals.handshake_ack_us.record(7);
        let told = histograms(&totals, Some(&Truth::default()));
        assert_eq!(told["rwnd_bytes"]["le"][6], 65_535);
        assert_eq!(told["rwnd_bytes"]["counts"][6], 1);
        let methods = told["rtt_ms"]["by_method"].as_object().unwrap();
        assert_eq!(methods.keys().collect::<Vec<_>>(), ["handshake_peer"]);
    }
}
