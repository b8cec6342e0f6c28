//! What a run has of one quantity: a sample for each second or connection, in bounded memory.

/// Samples kept of one quantity: two hours of seconds. Of longer runs every second one is kept, then every fourth, and so
/// on: tests of thousands of samples gain nothing from more.
pub const SAMPLES_MAX: usize = 8_192;
const _: () = assert!(SAMPLES_MAX.is_multiple_of(2), "places that are kept stay multiples of the stride");

/// Samples in the order of time, evenly thinned.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Thinned<T> {
    kept: Vec<T>,
    /// One in so many is kept.
    stride: u64,
    offered: u64,
}

impl<T> Default for Thinned<T> {
    fn default() -> Self {
        Self { kept: Vec::new(), stride: 1, offered: 0 }
    }
}

impl<T: Copy> Thinned<T> {
    /// The next sample, so many times.
    pub(super) fn push(&mut self, value: T, times: u64) {
        let end = self.offered.saturating_add(times);
        while let Some(place) =
            self.offered.checked_next_multiple_of(self.stride).filter(|place| *place < end)
        {
            if self.kept.len() == SAMPLES_MAX {
                let mut keep = false;
                self.kept.retain(|_| {
                    keep = !keep;
                    keep
                });
                self.stride *= 2;
            }
            self.kept.push(value);
            self.offered = place + 1;
        }
        self.offered = end;
    }

    /// Those kept.
    pub(super) fn kept(&self) -> &[T] {
        &self.kept
    }

    /// How many there were.
    pub(super) const fn offered(&self) -> u64 {
        self.offered
    }
}

/// One quantity of a run.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Series {
    /// So much a second, and the sum over the seconds.
    Rate {
        /// One for each whole window, idle ones among them.
        per_s: Thinned<f64>,
        /// Sum of all.
        sum: f64,
    },
    /// Values that do not add: quantiles of seconds, times of connections.
    Values(Thinned<f64>),
    /// Parts of wholes.
    Shares(Thinned<(f64, f64)>),
}

impl Series {
    /// No rate yet, but for so many idle windows.
    pub(super) fn rate(idle: u64) -> Self {
        let mut per_s = Thinned::default();
        per_s.push(0.0, idle);
        Self::Rate { per_s, sum: 0.0 }
    }

    /// Samples that there were.
    pub(super) const fn samples(&self) -> u64 {
        match self {
            Self::Rate { per_s, .. } => per_s.offered(),
            Self::Values(values) => values.offered(),
            Self::Shares(shares) => shares.offered(),
        }
    }

    /// Takes a rate, so many times.
    pub(super) fn add_rate(&mut self, value: f64, times: u64) {
        if let Self::Rate { per_s, sum } = self {
            per_s.push(value, times);
            *sum += value * times as f64;
        }
    }

    /// Takes a value.
    pub(super) fn add_value(&mut self, value: f64) {
        if let Self::Values(values) = self {
            values.push(value, 1);
        }
    }

    /// Takes a part of a whole.
    pub(super) fn add_share(&mut self, part: f64, whole: f64) {
        if let Self::Shares(shares) = self {
            shares.push((part, whole), 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// What is kept is every stride-th, whatever the portions they came in.
        #[test]
        fn thinning_is_even(portions in proptest::collection::vec(1_u64..9_000, 1..12)) {
            let mut thinned = Thinned::default();
            let mut number = 0;
            for portion in &portions {
                (0..*portion).for_each(|_| {
                    thinned.push(number, 1);
                    number += 1;
                });
            }
            prop_assert_eq!(thinned.offered(), number);
            prop_assert!(thinned.kept().len() <= SAMPLES_MAX && thinned.kept().len() as u64 >= number.min(SAMPLES_MAX as u64 / 2));
            let stride = thinned.stride;
            prop_assert!(thinned.kept().iter().zip(0..).all(|(kept, place)| *kept == place * stride));
        }
    }

    #[test]
    fn a_year_of_idle_seconds_is_a_moment() {
        let mut thinned = Thinned::default();
        thinned.push(1.0, 5);
        thinned.push(0.0, u64::MAX);
        assert!(thinned.kept().len() <= SAMPLES_MAX && thinned.offered() == u64::MAX);
    }
}
