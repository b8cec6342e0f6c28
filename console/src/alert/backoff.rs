//! Pauses between attempts: twice as long each time, and never the same for all.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use super::settings::Retry;

/// The next pause.
pub(super) struct Backoff {
    pause: Duration,
    longest: Duration,
}

impl Backoff {
    /// The first one of a fault.
    pub(super) fn new(retry: Retry) -> Self {
        let of_ms = |ms: u64| Duration::from_millis(ms);
        let longest = of_ms(retry.longest_ms.get());
        Self { pause: of_ms(retry.first_ms.get()).min(longest), longest }
    }

    /// Half of the pause is left to chance: receivers that come back are not met by all at once.
    pub(super) fn next(&mut self) -> Duration {
        let pause = self.pause;
        self.pause = (pause * 2).min(self.longest);
        let chance = random() as f64 / u64::MAX as f64;
        pause.mul_f64(0.5 + chance / 2.0)
    }
}

/// Different in each call and each process; no secret.
pub(super) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_differ() {
        let pauses: Vec<_> = {
            let mut backoff = Backoff::new(Retry::default());
            (0..12).map(|_| backoff.next()).collect()
        };
        let (first, longest) = (Duration::from_millis(200), Duration::from_secs(30));
        assert!(pauses[0] >= first / 2 && pauses[0] <= first, "{pauses:?}");
        assert!(pauses[11] >= longest / 2 && pauses[11] <= longest, "{pauses:?}");
        let other: Vec<_> = {
            let mut backoff = Backoff::new(Retry::default());
            (0..12).map(|_| backoff.next()).collect()
        };
        assert_ne!(pauses, other);
    }
}
