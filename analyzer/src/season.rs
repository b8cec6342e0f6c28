//! What is usual at this hour of the week: a mean per second for each of 168 hours, once three weeks have had it.
//!
//! Hours are UTC, of packet time. Robust by what is left out: seconds with an open incident, hours half of which had one,
//! and the hour in which a key was first seen. A new week counts a quarter. Bounded: 1.3 KiB a key, made when its first
//! whole hour is over. Called by `listener_state.rs` once a second; what comes of it is the expectation of a
//! [`crate::baseline::Baseline`].

use serde::{Deserialize, Serialize};

/// Hours of a week.
pub const HOURS: usize = 168;
/// Weeks that an hour must have been seen in.
pub const WEEKS_MIN: u8 = 3;
const HOUR_NS: u64 = 3_600_000_000_000;
const HOUR_S: u32 = 3_600;
/// Seconds of an hour that must have been seen without an incident.
const SECONDS_MIN: u32 = HOUR_S / 2;
/// Weight of a new week: one in so many.
const NEW_WEEK_ONE_IN: u64 = 4;

/// One hour of the week.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hour {
    /// Mean per 1,000 seconds.
    pub per_1000_s: u64,
    /// Weeks it was seen in, 255 at most.
    pub weeks: u8,
}

/// One key's week.
#[derive(Clone, Debug, Default)]
pub struct Season {
    hours: Option<Box<[Hour; HOURS]>>,
    /// Number of the hour that is running, since the epoch; `None` before the first second.
    running: Option<u64>,
    /// It was seen from its beginning.
    whole: bool,
    sum: u64,
    /// Seconds that count, and those that an incident took.
    counted: u32,
    frozen: u32,
}

impl Season {
    /// A second that ended at `now_ns`; `None`: an incident was open.
    pub fn note(&mut self, now_ns: u64, value: Option<u64>) {
        self.turn_to(now_ns.saturating_sub(1) / HOUR_NS);
        match value {
            Some(value) => {
                self.sum = self.sum.saturating_add(value);
                self.counted = self.counted.saturating_add(1);
            }
            None => self.frozen = self.frozen.saturating_add(1),
        }
    }

    /// What is usual in the hour of `now_ns`, per second; `None` where too few weeks had it.
    pub fn expected(&self, now_ns: u64) -> Option<u64> {
        let hour = self.hours.as_ref()?[(now_ns / HOUR_NS % HOURS as u64) as usize];
        (hour.weeks >= WEEKS_MIN).then_some(hour.per_1000_s / 1_000)
    }

    fn turn_to(&mut self, hour: u64) {
        let Some(running) = self.running.filter(|running| *running <= hour) else {
            // The first second, or time jumped back: an hour that was cut into says nothing.
            (self.running, self.whole) = (Some(hour), false);
            (self.sum, self.counted, self.frozen) = (0, 0, 0);
            return;
        };
        if running == hour {
            return;
        }
        let sum = std::mem::take(&mut self.sum);
        let (counted, frozen) = (std::mem::take(&mut self.counted), std::mem::take(&mut self.frozen));
        // Seconds of silence are not told one by one.
        let seconds = HOUR_S.saturating_sub(frozen).max(counted);
        if std::mem::replace(&mut self.whole, true) && seconds >= SECONDS_MIN {
            self.learn(running, sum.saturating_mul(1_000) / u64::from(seconds));
        }
        // Hours of silence in between, of a week at most.
        let silent = (running + 1..hour).rev().take(HOURS);
        silent.for_each(|silent| self.learn(silent, 0));
        self.running = Some(hour);
    }

    fn learn(&mut self, hour: u64, per_1000_s: u64) {
        let hours = self.hours.get_or_insert_with(|| Box::new([Hour::default(); HOURS]));
        let own = &mut hours[(hour % HOURS as u64) as usize];
        own.per_1000_s = if own.weeks == 0 {
            per_1000_s
        } else {
            (own.per_1000_s.saturating_mul(NEW_WEEK_ONE_IN - 1)).saturating_add(per_1000_s) / NEW_WEEK_ONE_IN
        };
        own.weeks = own.weeks.saturating_add(1);
    }
}

impl From<&Season> for Vec<Hour> {
    fn from(season: &Season) -> Self {
        season.hours.as_ref().map(|hours| hours.to_vec()).unwrap_or_default()
    }
}

impl From<Vec<Hour>> for Season {
    /// Of another number of hours: nothing is known.
    fn from(hours: Vec<Hour>) -> Self {
        Self { hours: hours.try_into().ok().map(Box::new), ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_NS: u64 = 1_000_000_000;
    const WEEK_NS: u64 = HOUR_NS * HOURS as u64;

    /// Seconds of an hour, which begins at `from_ns`, and the first of the next.
    fn hour(season: &mut Season, from_ns: u64, value: Option<u64>) {
        (1..=3_601).for_each(|second| season.note(from_ns + second * SECOND_NS, value));
    }

    #[test]
    fn three_weeks_make_an_hour_usual_and_incidents_do_not() {
        let mut season = Season::default();
        let monday_ns = 1_000 * WEEK_NS;
        season.note(monday_ns - HOUR_NS, Some(1));
        for week in 0..4 {
            let begins_ns = monday_ns + week * WEEK_NS;
            assert_eq!(season.expected(begins_ns), (week >= 3).then_some(80), "{week}");
            hour(&mut season, begins_ns, Some(80));
            hour(&mut season, begins_ns + HOUR_NS, None);
            // Of the hours without a word it is known that they were silent.
            season.note(begins_ns + 5 * HOUR_NS, Some(0));
        }
        let begins_ns = monday_ns + 4 * WEEK_NS;
        season.note(begins_ns, Some(0));
        assert_eq!(season.expected(begins_ns), Some(80));
        assert_eq!(season.expected(begins_ns + HOUR_NS), None);
        assert_eq!(season.expected(begins_ns + 3 * HOUR_NS), Some(0));
        assert_eq!(Season::from(Vec::from(&season)).expected(begins_ns), Some(80));
    }

    #[test]
    fn time_may_jump() {
        let mut season = Season::default();
        [5, u64::MAX, 0, 7 * HOUR_NS].into_iter().for_each(|ns| season.note(ns, Some(u64::MAX)));
        assert_eq!(season.expected(8 * HOUR_NS), None);
    }
}
