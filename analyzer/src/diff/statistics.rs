//! The tests that tell a difference from noise. Plain functions over numbers; which test is used for what, and why, is
//! in [`super`].

/// Two-sided level 0.001, as a quantile of the normal distribution: a diff has about a hundred rows, so that one of ten
/// diffs of the same traffic has one row that is wrong.
pub const Z: f64 = 3.290_526_7;
/// Fewest samples of each side: with seven against seven, not even complete separation reaches the level.
pub const SAMPLES_MIN: usize = 8;
/// Fewest trials of each side, those that depend on others counted less.
pub const TRIALS_MIN: f64 = 30.0;
/// Blocks of consecutive samples, from which it is seen how much trials depend on each other.
const BLOCKS: usize = 32;
/// Largest correlation of neighbours that is believed: above it, there is one sample in forty.
const CORRELATION_MAX: f64 = 0.95;

/// Outcome of a rank test.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ranks {
    /// Distance from "no difference" in standard deviations; above 0, B's values are larger.
    pub z: f64,
    /// Chance that a value of B is larger than one of A, ties counted half: 0.5 where there is no difference.
    pub superiority: f64,
}

/// Mann-Whitney test in its normal approximation, with ties, and corrected for neighbours that are alike. Both sides have
/// [`SAMPLES_MIN`] values at least, in the order of time; none is NaN.
pub fn rank_test(a: &[f64], b: &[f64]) -> Ranks {
    let (n_a, n_b) = (a.len() as f64, b.len() as f64);
    let (ranks, ties) = ranks(a, b);
    let (ranks_a, ranks_b) = ranks.split_at(a.len());
    let wins = ranks_b.iter().sum::<f64>() - n_b * (n_b + 1.0) / 2.0;
    let all = n_a + n_b;
    let variance = n_a * n_b / 12.0 * (all + 1.0 - ties / (all * (all - 1.0)));
    let r = correlation(&[ranks_a, ranks_b]);
    let deviation = (variance * (1.0 + r) / (1.0 - r)).sqrt();
    let difference = wins - n_a * n_b / 2.0;
    // Wins come in halves: the nearer one counts.
    let difference = difference.signum() * (difference.abs() - 0.5).max(0.0);
    let z = if deviation > 0.0 { difference / deviation } else { 0.0 };
    Ranks { z, superiority: wins / (n_a * n_b) }
}

/// Rank of each value of `a` and then of `b` among all, equal ones in the middle of theirs; and the sum of `t^3 - t` over
/// groups of `t` equal values.
fn ranks(a: &[f64], b: &[f64]) -> (Vec<f64>, f64) {
    let mut order: Vec<(f64, usize)> = a.iter().chain(b).copied().zip(0..).collect();
    order.sort_unstable_by(|one, other| one.0.total_cmp(&other.0));
    let mut ranks = vec![0.0; order.len()];
    let mut ties = 0.0;
    let mut before = 0.0;
    for equal in order.chunk_by(|one, other| one.0 == other.0) {
        let count = equal.len() as f64;
        for (_, place) in equal {
            if let Some(rank) = ranks.get_mut(*place) {
                *rank = before + (count + 1.0) / 2.0;
            }
        }
        ties += count * count * count - count;
        before += count;
    }
    (ranks, ties)
}

/// Correlation of each value with the next one, within the series and over all of them together; 0 where it is negative.
fn correlation(series: &[&[f64]]) -> f64 {
    let (mut together, mut alone) = (0.0, 0.0);
    for values in series {
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        together +=
            values.windows(2).map(|pair| pair.iter().map(|value| value - mean).product::<f64>()).sum::<f64>();
        alone += values.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
    }
    if alone > 0.0 { (together / alone).clamp(0.0, CORRELATION_MAX) } else { 0.0 }
}

/// A share that was seen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share {
    /// What was seen, 0 to 1.
    pub share: f64,
    /// Trials behind it, as many as if they were independent.
    pub trials: f64,
}

/// Shares of both sides from `(part, whole)` of consecutive intervals; `None` where a side has no trial.
pub fn shares(a: &[(f64, f64)], b: &[(f64, f64)]) -> Option<(Share, Share)> {
    // A side without a single failure says nothing of how failures come: both take what the other shows as well.
    let effect = design_effect(a).max(design_effect(b)).max(1.0);
    Some((share(a, effect)?, share(b, effect)?))
}

fn share(intervals: &[(f64, f64)], effect: f64) -> Option<Share> {
    let (part, whole) = sums(intervals);
    (whole > 0.0).then(|| Share { share: (part / whole).clamp(0.0, 1.0), trials: whole / effect })
}

fn sums(intervals: &[(f64, f64)]) -> (f64, f64) {
    intervals.iter().fold((0.0, 0.0), |sum, interval| (sum.0 + interval.0, sum.1 + interval.1))
}

/// How many times the variance of a share is that of independent trials: what comes in bursts varies more (Kish's design
/// effect, of a ratio estimated from blocks).
fn design_effect(intervals: &[(f64, f64)]) -> f64 {
    let (part, whole) = sums(intervals);
    let share = part / whole;
    if !(share > 0.0 && share < 1.0) {
        return 1.0;
    }
    let blocks: Vec<_> = intervals.chunks(intervals.len().div_ceil(BLOCKS)).map(sums).collect();
    let count = blocks.len() as f64;
    if count < 2.0 {
        return 1.0;
    }
    let squares: f64 = blocks.iter().map(|(part, whole)| (part - share * whole).powi(2)).sum();
    let variance = squares / (whole * whole) * count / (count - 1.0);
    variance / (share * (1.0 - share) / whole)
}

/// Interval of the difference `b - a` of two shares, at the level of [`Z`]: Newcombe's, of two Wilson intervals.
pub fn share_difference(a: Share, b: Share) -> (f64, f64) {
    let (low_a, high_a) = wilson(a);
    let (low_b, high_b) = wilson(b);
    let difference = b.share - a.share;
    let below = (b.share - low_b).hypot(high_a - a.share);
    let above = (high_b - b.share).hypot(a.share - low_a);
    (difference - below, difference + above)
}

/// Wilson's score interval at the level of [`Z`].
pub fn wilson(share: Share) -> (f64, f64) {
    let Share { share: p, trials: n } = share;
    let square = Z * Z;
    let middle = (p + square / (2.0 * n)) / (1.0 + square / n);
    let half = Z / (1.0 + square / n) * (p * (1.0 - p) / n + square / (4.0 * n * n)).sqrt();
    ((middle - half).max(0.0), (middle + half).min(1.0))
}

/// Distance of two counts of rare events, over intervals of these lengths, from "the same rate", in standard deviations;
/// above 0, B's rate is higher. Huffman's test: square roots of such counts vary alike.
pub fn event_test(a: u64, a_s: f64, b: u64, b_s: f64) -> f64 {
    if !(a_s > 0.0 && b_s > 0.0) {
        return 0.0;
    }
    let longer = b_s / a_s;
    let root = |count: u64| (count as f64 + 0.375).sqrt();
    2.0 * (root(b) - longer.sqrt() * root(a)) / (1.0 + longer).sqrt()
}

/// Median of values, none of them NaN; `None` of none.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    let lower = *sorted.get(sorted.len().checked_sub(1)? / 2)?;
    Some(f64::midpoint(lower, upper))
}

/// Median distance from the median, as large as a standard deviation where values are normal (factor 1.4826).
pub fn spread(values: &[f64]) -> Option<f64> {
    let median_of_all = median(values)?;
    let distances: Vec<_> = values.iter().map(|value| (value - median_of_all).abs()).collect();
    median(&distances).map(|distance| distance * 1.482_6)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diff::random::Random;

    impl Random {
        fn values(&mut self, count: usize) -> Vec<f64> {
            (0..count).map(|_| self.next()).collect()
        }
    }

    #[test]
    fn ranks_are_those_of_the_textbook() {
        // By hand: of 25 pairs, B wins 18, and one is a tie.
        let (a, b) = ([1.0, 2.0, 3.0, 4.0, 10.0], [3.0, 5.0, 6.0, 7.0, 8.0]);
        let ranks = rank_test(&a, &b);
        assert!((ranks.superiority - 18.5 / 25.0).abs() < 1e-12, "{ranks:?}");
        assert_eq!(rank_test(&[1.0; 9], &[1.0; 9]), Ranks { z: 0.0, superiority: 0.5 });
    }

    #[test]
    fn the_fewest_samples_can_reach_the_level() {
        // Orders without correlation of neighbours.
        let low = [4.0, 1.0, 5.0, 2.0, 6.0, 0.0, 7.0, 3.0];
        let high = low.map(|value| value + 10.0);
        assert!(rank_test(&low, &high).z > Z);
        assert!(rank_test(&high, &low).z < -Z);
        assert!(rank_test(&low[1..], &high[1..]).z < Z, "and one fewer cannot");
    }

    #[test]
    fn the_same_traffic_is_seldom_called_different() {
        let mut random = Random(1);
        let wrong =
            (0..2_000).filter(|_| rank_test(&random.values(30), &random.values(30)).z.abs() > Z).count();
        assert!(wrong <= 8, "{wrong} of 2,000 at a level of 0.001");
    }

    #[test]
    fn waves_are_not_taken_for_independent() {
        // Each value is mostly the one before: thirty of them are as good as two or three.
        let mut random = Random(2);
        let wave = |random: &mut Random| -> Vec<f64> {
            let mut level = random.next();
            let step = |_| {
                level = 0.9 * level + 0.1 * random.next();
                level
            };
            (0..100).map(step).collect()
        };
        let wrong =
            (0..1_000).filter(|_| rank_test(&wave(&mut random), &wave(&mut random)).z.abs() > Z).count();
        assert!(wrong <= 20, "{wrong} of 1,000");
    }

    #[test]
    fn wilson_is_that_of_the_textbook() {
        // Newcombe 1998, table I, 81 of 263 at 95 %: 0.2553 to 0.3662. Here at 99.9 %, so it is wider.
        let (low, high) = wilson(Share { share: 81.0 / 263.0, trials: 263.0 });
        assert!(low < 0.2553 && high > 0.3662 && low > 0.2 && high < 0.42, "{low} {high}");
        let (low, high) = wilson(Share { share: 0.0, trials: 100.0 });
        assert!(low == 0.0 && (high - Z * Z / (100.0 + Z * Z)).abs() < 1e-12, "{high}");
    }

    #[test]
    fn shares_of_the_same_chance_are_seldom_called_different() {
        let mut random = Random(3);
        let mut draw = |chance: f64| -> Vec<(f64, f64)> {
            let mut interval = |_| ((0..50).filter(|_| random.next() < chance).count() as f64, 50.0);
            (0..20).map(&mut interval).collect()
        };
        let mut wrong = 0;
        for _ in 0..1_000 {
            let (a, b) = shares(&draw(0.02), &draw(0.02)).unwrap();
            let (low, high) = share_difference(a, b);
            wrong += i32::from(low > 0.0 || high < 0.0);
        }
        assert!(wrong <= 5, "{wrong} of 1,000");
        let (a, b) = shares(&draw(0.02), &draw(0.08)).unwrap();
        let (low, high) = share_difference(a, b);
        assert!(low > 0.0 && high < 0.15, "and a real difference is seen: {low} {high}");
    }

    #[test]
    fn one_burst_is_no_change() {
        // 200 losses in one second of a hundred: independent trials would make it certain.
        let calm = vec![(0.0, 100.0); 100];
        let mut burst = vec![(0.0, 100.0); 100];
        burst[50] = (80.0, 100.0);
        let (a, b) = shares(&calm, &burst).unwrap();
        let (low, _) = share_difference(a, b);
        assert!(low <= 0.0, "{low}");
        // The same losses spread over all seconds are a change.
        let (a, b) = shares(&calm, &vec![(0.8, 100.0); 100]).unwrap();
        assert!(share_difference(a, b).0 > 0.0);
        assert_eq!(shares(&calm, &[(0.0, 0.0)]), None);
    }

    #[test]
    fn rare_events_are_compared_by_their_rate() {
        assert!(event_test(0, 100.0, 1, 100.0).abs() < Z && event_test(3, 100.0, 6, 200.0).abs() < 0.5);
        assert!(event_test(0, 100.0, 20, 100.0) > Z && event_test(20, 100.0, 0, 100.0) < -Z);
        assert_eq!(event_test(0, 0.0, 9, 1.0), 0.0);
    }

    #[test]
    fn medians_and_spreads() {
        assert_eq!(
            (median(&[]), median(&[3.0, 1.0]), median(&[5.0, 1.0, 3.0])),
            (None, Some(2.0), Some(3.0))
        );
        assert_eq!(spread(&[1.0, 2.0, 3.0, 4.0, 100.0]), Some(1.482_6));
    }
}
