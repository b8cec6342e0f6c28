//! What is usual: the median of the last two minutes' seconds and its median absolute deviation, per key.
//!
//! Robust (half of the seconds may be anything), usable after [`SECONDS_MIN`], bounded ([`SECONDS_MAX`] values), and
//! frozen by not being fed: the engine feeds no second in which the key had an open incident.

/// Seconds remembered.
pub const SECONDS_MAX: usize = 120;
/// Seconds before a rise over the baseline means anything.
pub const SECONDS_MIN: usize = 10;
/// Seconds before the baseline is shown, and can tell whether a service still serves: a coarser question.
pub const SECONDS_MIN_SERVED: usize = 3;

/// One key's usual value per second.
#[derive(Clone, Debug, Default)]
pub struct Baseline {
    seconds: Vec<u32>,
    next: usize,
}

/// The usual value and its spread.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Usual {
    /// Median per second.
    pub median: f64,
    /// Median absolute deviation.
    pub deviation: f64,
}

impl Baseline {
    /// Learns one second.
    pub fn learn(&mut self, value: u64) {
        let value = u32::try_from(value).unwrap_or(u32::MAX);
        if self.seconds.len() < SECONDS_MAX {
            self.seconds.push(value);
        } else {
            self.seconds[self.next] = value;
            self.next = (self.next + 1) % SECONDS_MAX;
        }
    }

    /// Learns that nothing happened for `seconds`; more than are remembered change nothing more.
    pub fn learn_silence(&mut self, seconds: u64) {
        for _ in 0..seconds.min(SECONDS_MAX as u64) {
            self.learn(0);
        }
    }

    /// The seconds that it holds, the oldest first.
    pub fn seconds(&self) -> impl Iterator<Item = u32> {
        let (newer, older) = self.seconds.split_at(self.next.min(self.seconds.len()));
        older.iter().chain(newer).copied()
    }

    /// What is usual, `None` until so many seconds were seen.
    pub fn usual(&self, seconds_min: usize) -> Option<Usual> {
        if self.seconds.len() < seconds_min.max(1) {
            return None;
        }
        Some(usual_of(self.seconds.clone()))
    }

    /// What is usual of the seconds in which there was anything, `None` until so many were seen: of what comes in bursts
    /// the median is zero, and a burst is nothing new.
    pub fn usual_when_any(&self, seconds_min: usize) -> Option<Usual> {
        let values: Vec<u32> = self.seconds.iter().copied().filter(|value| *value != 0).collect();
        (values.len() >= seconds_min.max(1)).then(|| usual_of(values))
    }
}

fn usual_of(mut values: Vec<u32>) -> Usual {
    let median = median_of(&mut values);
    values.iter_mut().for_each(|value| *value = value.abs_diff(median));
    Usual { median: f64::from(median), deviation: f64::from(median_of(&mut values)) }
}

/// The upper median; the values' order is lost.
fn median_of(values: &mut [u32]) -> u32 {
    let middle = values.len() / 2;
    *values.select_nth_unstable(middle).1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minority_of_wild_seconds_does_not_move_it() {
        let mut baseline = Baseline::default();
        for second in 0..30 {
            baseline.learn(if second % 3 == 0 { 50_000 } else { 200 });
        }
        assert_eq!(baseline.usual(SECONDS_MIN), Some(Usual { median: 200.0, deviation: 0.0 }));
    }

    #[test]
    fn of_bursts_the_usual_one_is_known() {
        let mut baseline = Baseline::default();
        (0..4).for_each(|_| baseline.learn(130));
        baseline.learn_silence(40);
        assert_eq!(baseline.usual(SECONDS_MIN).map(|usual| usual.median), Some(0.0));
        let bursts = baseline.usual_when_any(SECONDS_MIN_SERVED);
        assert_eq!(bursts, Some(Usual { median: 130.0, deviation: 0.0 }));
        assert_eq!(baseline.usual_when_any(5), None);
    }

    #[test]
    fn it_says_nothing_before_ten_seconds_and_forgets_after_two_minutes() {
        let mut baseline = Baseline::default();
        (0..9).for_each(|_| baseline.learn(5));
        assert_eq!(baseline.usual(SECONDS_MIN), None);
        (0..200).for_each(|_| baseline.learn(7));
        assert_eq!(baseline.usual(SECONDS_MIN).map(|usual| usual.median), Some(7.0));
        baseline.learn_silence(u64::MAX);
        assert_eq!(baseline.usual(SECONDS_MIN).map(|usual| usual.median), Some(0.0));
    }
}
