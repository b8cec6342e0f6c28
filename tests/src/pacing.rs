//! When the next packet or connection is due: a rate kept against the clock, not against the last step, so that
//! oversleeping is made up for and the mean rate stays exact.
//!
//! Time is an argument (nanoseconds since the start); nothing here reads a clock.

/// Shortest sleep worth asking for: below it the timer slack of the kernel (50 us) dominates.
const SLEEP_NS_MIN: u64 = 100_000;
const NS_PER_S: u128 = 1_000_000_000;

/// What a paced sender is to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Everything was sent, or the time is over.
    Finished,
    /// Send this many, at least one.
    Now(usize),
    /// Nothing is due: sleep this long.
    Wait {
        /// Nanoseconds until a burst worth waking up for is due.
        wait_ns: u64,
    },
}

/// A constant rate over a duration.
#[derive(Clone, Copy, Debug)]
pub struct Pacer {
    rate_per_s: u64,
    duration_ns: u64,
    burst_max: usize,
}

impl Pacer {
    /// `rate_per_s` 0 means as fast as possible; `burst_max` caps one [`Due::Now`].
    pub const fn new(rate_per_s: u64, duration_ns: u64, burst_max: usize) -> Self {
        Self { rate_per_s, duration_ns, burst_max }
    }

    /// What is due at `elapsed_ns`, when `sent` have left.
    pub fn due(&self, elapsed_ns: u64, sent: u64) -> Due {
        if self.rate_per_s == 0 {
            return if elapsed_ns < self.duration_ns { Due::Now(self.burst_max) } else { Due::Finished };
        }
        let total = self.due_by(self.duration_ns);
        if sent >= total || elapsed_ns >= self.duration_ns {
            return Due::Finished;
        }
        // The first is due at time zero, hence the one more.
        let due = (self.due_by(elapsed_ns) + 1).min(total);
        match due.saturating_sub(sent) {
            0 => Due::Wait { wait_ns: self.due_at_ns(sent).saturating_sub(elapsed_ns).max(SLEEP_NS_MIN) },
            waiting => Due::Now(usize::try_from(waiting).unwrap_or(usize::MAX).min(self.burst_max)),
        }
    }

    /// The moment number `index` (from zero) is due.
    pub fn due_at_ns(&self, index: u64) -> u64 {
        if self.rate_per_s == 0 {
            return 0;
        }
        let at_ns = u128::from(index) * NS_PER_S / u128::from(self.rate_per_s);
        u64::try_from(at_ns).unwrap_or(u64::MAX)
    }

    fn due_by(&self, elapsed_ns: u64) -> u64 {
        let due = u128::from(elapsed_ns) * u128::from(self.rate_per_s) / NS_PER_S;
        u64::try_from(due).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_NS: u64 = 1_000_000_000;

    #[test]
    fn the_first_is_due_at_once_and_the_next_after_one_interval() {
        let pacer = Pacer::new(1_000, SECOND_NS, 64);
        assert_eq!(pacer.due(0, 0), Due::Now(1));
        assert_eq!(pacer.due(0, 1), Due::Wait { wait_ns: 1_000_000 });
        assert_eq!(pacer.due(1_000_000, 1), Due::Now(1));
    }

    #[test]
    fn oversleeping_is_made_up_for_in_bursts_of_at_most_the_batch() {
        let pacer = Pacer::new(1_000_000, SECOND_NS, 64);
        assert_eq!(pacer.due(10_000_000, 0), Due::Now(64));
        assert_eq!(pacer.due(10_000_000, 10_000), Due::Now(1));
    }

    #[test]
    fn a_short_wait_is_rounded_up_to_what_the_kernel_can_sleep() {
        assert_eq!(Pacer::new(1_000_000, SECOND_NS, 64).due(0, 1), Due::Wait { wait_ns: SLEEP_NS_MIN });
    }

    #[test]
    fn it_ends_by_count_and_by_time() {
        let pacer = Pacer::new(100, SECOND_NS, 64);
        assert_eq!(pacer.due(SECOND_NS / 2, 100), Due::Finished);
        assert_eq!(pacer.due(SECOND_NS, 3), Due::Finished);
        assert_eq!(Pacer::new(0, SECOND_NS, 64).due(SECOND_NS, 5), Due::Finished);
        assert_eq!(Pacer::new(0, SECOND_NS, 64).due(5, 5), Due::Now(64));
    }

    #[test]
    fn a_simulated_second_sends_exactly_the_rate() {
        for rate in [1, 20_000, 50_000, 330_000] {
            let pacer = Pacer::new(rate, SECOND_NS, 64);
            let (mut now_ns, mut sent) = (0, 0);
            loop {
                match pacer.due(now_ns, sent) {
                    Due::Finished => break,
                    Due::Now(count) => sent += count as u64,
                    Due::Wait { wait_ns } => now_ns += wait_ns + 70_000,
                }
            }
            assert!(sent * 1_000 >= rate * 999 && sent <= rate, "{sent} of {rate}");
        }
    }
}
