//! What is usual: the median of the last two minutes' seconds and its median absolute deviation, per key.
//!
//! Robust (half of the seconds may be anything), usable after [`SECONDS_MIN`], bounded ([`SECONDS_MAX`] values), and
//! frozen by not being fed: the engine feeds no second in which the key had an open incident.
//!
//! What rises slowly is not learnt away: once two minutes are known, what counts as usual doubles in half an hour at most
//! (or rises by 10/s, which is nothing), so that a ramp to four times the usual within the hour still is a rise. Where
//! three weeks say what is usual at this hour ([`crate::season`]), it is at least that.

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
    /// What the median may count as at most, thousandths; `None` before two minutes are known.
    ceiling: Option<u64>,
    /// Seconds since it was moved.
    since_ceiling: u8,
    /// What is usual at this hour of the week.
    expected: Option<u32>,
}

/// Seconds between two moves of the ceiling.
const CEILING_S: u8 = 60;
/// It rises by one in so many each time, which doubles it in half an hour, or at least by a third of one a second; and it
/// falls as fast.
const CEILING_ONE_IN: u64 = 43;
const CEILING_STEP_MIN: u64 = 333;
/// Minutes of silence after which nothing is left of it.
const CEILING_MINUTES_MAX: u64 = 1_440;

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
        self.since_ceiling += 1;
        if self.since_ceiling >= CEILING_S {
            self.since_ceiling = 0;
            self.move_ceiling();
        }
    }

    /// Once a minute: looking at all seconds each second would cost more than it says.
    fn move_ceiling(&mut self) {
        if self.seconds.len() < SECONDS_MAX {
            return;
        }
        let median = u64::from(median_of(&mut self.seconds.clone())) * 1_000;
        self.ceiling = Some(match self.ceiling {
            None => median,
            Some(ceiling) if median > ceiling => {
                median.min(ceiling + (ceiling / CEILING_ONE_IN).max(CEILING_STEP_MIN))
            }
            Some(ceiling) => median.max(ceiling - ceiling / CEILING_ONE_IN),
        });
    }

    /// What is usual at this hour of the week, per second; `None`: not known.
    pub fn expect(&mut self, expected: Option<u64>) {
        self.expected = expected.map(|expected| u32::try_from(expected).unwrap_or(u32::MAX));
    }

    /// Learns that nothing happened for `seconds`; more than are remembered change nothing more.
    pub fn learn_silence(&mut self, seconds: u64) {
        for _ in 0..seconds.min(SECONDS_MAX as u64) {
            self.learn(0);
        }
        let more = seconds.saturating_sub(SECONDS_MAX as u64) / u64::from(CEILING_S);
        if let Some(ceiling) = &mut self.ceiling {
            (0..more.min(CEILING_MINUTES_MAX)).for_each(|_| *ceiling -= *ceiling / CEILING_ONE_IN);
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
        let mut usual = usual_of(self.seconds.clone());
        if let Some(ceiling) = self.ceiling {
            usual.median = usual.median.min(ceiling as f64 / 1_000.0);
        }
        if let Some(expected) = self.expected {
            usual.median = usual.median.max(f64::from(expected));
        }
        Some(usual)
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
    fn a_slow_ramp_is_not_learnt_away_and_a_day_that_begins_is() {
        let mut baseline = Baseline::default();
        (0..600).for_each(|_| baseline.learn(100));
        // To four times as much within ten minutes: still a rise of nearly three times.
        (0..600).for_each(|second| baseline.learn(100 + second / 2));
        let usual = baseline.usual(SECONDS_MIN).expect("it was watched").median;
        assert!((100.0..135.0).contains(&usual), "{usual}");
        // It stays there: after an hour and a half that is usual.
        (0..5_400).for_each(|_| baseline.learn(400));
        assert_eq!(baseline.usual(SECONDS_MIN).map(|usual| usual.median), Some(400.0));
        // A fall is usual at once, and what comes back within minutes is nothing new.
        (0..180).for_each(|_| baseline.learn(50));
        assert_eq!(baseline.usual(SECONDS_MIN).map(|usual| usual.median), Some(50.0));
        (0..180).for_each(|_| baseline.learn(300));
        assert_eq!(baseline.usual(SECONDS_MIN).map(|usual| usual.median), Some(300.0));
        baseline.expect(Some(350));
        assert_eq!(baseline.usual(SECONDS_MIN).map(|usual| usual.median), Some(350.0));
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
