//! Round trips of one listener: means of whole seconds, what is usual of them, and how many peers are slow.
//!
//! Both halves apart: from here to the listener and back, from here to its peers and back. A second without a round
//! trip says nothing. Kept by the engine, read by the detector `high_rtt`.

use tidegauge_ebpf::listener::ListenerCounter;

use crate::baseline::{SECONDS_MIN, Usual};
use crate::config::Config;
use crate::feature::{Sliding, ratio};

/// Half of the way, as seen from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Half {
    /// To the listener and back.
    Listener,
    /// To its peers and back.
    Peer,
}

impl Half {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Listener, Self::Peer];

    /// How many round trips, and the sum of their microseconds.
    pub const fn counters(self) -> (ListenerCounter, ListenerCounter) {
        match self {
            Self::Listener => (ListenerCounter::RoundTripsListener, ListenerCounter::RoundTripsListenerUs),
            Self::Peer => (ListenerCounter::RoundTripsPeer, ListenerCounter::RoundTripsPeerUs),
        }
    }
}

/// Round trips in a second from which on its mean is learnt: a tenth of what a rise must have in ten.
const SAMPLES_MIN: u64 = 2;
/// Seconds looked back at.
const SECONDS: u32 = 10;
/// Of these, those whose mean must be long for the way to be.
pub const SLOW_SECONDS_MIN: u32 = 5;

/// Parts of itself by which what is usual moves towards each second's mean: in the first [`SECONDS_MIN`] and later.
const STEPS: [u32; 2] = [2, 20];

/// What is usual of one half, microseconds: a median and a median deviation that move by steps (Ma, Muthukrishnan and
/// Sandler 2013), so that half of the seconds may be anything. Most listeners have a mean each second, and few are ever
/// asked for it: this is three words, where [`crate::baseline::Baseline`] keeps the seconds.
#[derive(Clone, Copy, Debug, Default)]
struct Steady {
    median_us: u32,
    deviation_us: u32,
    seconds: u32,
}

impl Steady {
    fn learn(&mut self, mean_us: u64) {
        let mean_us = u32::try_from(mean_us).unwrap_or(u32::MAX);
        if self.seconds == 0 {
            self.median_us = mean_us;
        }
        let parts = STEPS[usize::from(self.seconds as usize >= SECONDS_MIN)];
        let deviation_us = mean_us.abs_diff(self.median_us);
        self.median_us = step(self.median_us, mean_us, parts);
        self.deviation_us = step(self.deviation_us, deviation_us, parts);
        self.seconds = self.seconds.saturating_add(1);
    }

    fn usual(&self) -> Option<Usual> {
        (self.seconds as usize >= SECONDS_MIN)
            .then(|| Usual { median: self.median_us.into(), deviation: self.deviation_us.into() })
    }
}

/// One step from `own` towards `seen`.
fn step(own: u32, seen: u32, parts: u32) -> u32 {
    let step = (own / parts).max(100).min(own.abs_diff(seen));
    if seen > own { own.saturating_add(step) } else { own - step }
}

/// One listener's.
#[derive(Clone, Debug, Default)]
pub struct RoundTripTime {
    /// By [`Half`].
    usual: [Steady; 2],
    /// A bit for each of the last seconds in which the mean was long, the newest lowest; by [`Half`].
    slow: [u16; 2],
    /// Bits of peers noted in this span of [`SECONDS`] and in the one before.
    slow_peers: [u64; 2],
    seconds: u32,
}

impl RoundTripTime {
    /// A whole second is over; `learns`: nothing is wrong.
    pub(crate) fn end_second(&mut self, config: &Config, sliding: &Sliding, learns: bool) {
        for half in Half::ALL {
            let (count, sum) = half.counters();
            let mean_us = ratio(sliding.this_second(sum), sliding.this_second(count));
            let is_slow = mean_us.is_some_and(|mean_us| mean_us > config.high_rtt_ms * 1_000.0);
            let slow = &mut self.slow[half as usize];
            *slow = (*slow << 1 | u16::from(is_slow)) & ((1 << SECONDS) - 1);
            let is_worth_learning = learns && sliding.this_second(count) >= SAMPLES_MIN;
            if is_worth_learning && let Some(mean_us) = mean_us {
                self.usual[half as usize].learn(mean_us as u64);
            }
        }
        self.seconds += 1;
        if self.seconds == SECONDS {
            self.seconds = 0;
            self.slow_peers = [0, self.slow_peers[0]];
        }
    }

    pub(crate) const fn note_slow_peers(&mut self, peers: u64) {
        self.slow_peers[0] |= peers;
    }

    /// Time without packets was skipped.
    pub(crate) const fn skip(&mut self) {
        self.slow = [0; 2];
        self.slow_peers = [0; 2];
    }

    /// Of the last ten seconds, those whose mean was long.
    pub const fn slow_seconds(&self, half: Half) -> u32 {
        self.slow[half as usize].count_ones()
    }

    /// Whether one half was long in so many of the last seconds that it may be worth telling.
    pub(crate) fn is_long(&self) -> bool {
        Half::ALL.iter().any(|half| self.slow_seconds(*half) >= SLOW_SECONDS_MIN)
    }

    /// Peers in the last ten to twenty seconds to which a round trip took long, at least so many.
    pub const fn slow_peers(&self) -> u32 {
        (self.slow_peers[0] | self.slow_peers[1]).count_ones()
    }

    /// Usual mean of a second, microseconds.
    pub fn usual_us(&self, half: Half) -> Option<Usual> {
        self.usual[half as usize].usual()
    }

    /// Teaches what is usual.
    #[cfg(test)]
    pub(crate) fn teach(&mut self, half: Half, usual_us: Option<u64>, slow_seconds: u32, slow_peers: u32) {
        if let Some(usual_us) = usual_us {
            (0..60).for_each(|_| self.usual[half as usize].learn(usual_us));
        }
        self.slow[half as usize] = (1 << slow_seconds) - 1;
        self.slow_peers[0] = (1 << slow_peers) - 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usual(means_ms: impl IntoIterator<Item = u64>) -> Option<f64> {
        let mut steady = Steady::default();
        means_ms.into_iter().for_each(|mean_ms| steady.learn(mean_ms * 1_000));
        steady.usual().map(|usual| usual.median / 1_000.0)
    }

    #[test]
    fn half_of_the_seconds_may_be_anything() {
        let mostly = (0..120).map(|second| if second % 3 == 0 { 900 } else { 20 });
        assert!(usual(mostly).is_some_and(|usual_ms| (18.0..30.0).contains(&usual_ms)));
        assert_eq!(usual([20; 9]), None, "too early");
    }

    #[test]
    fn a_first_second_that_is_odd_is_soon_forgotten_and_a_rise_is_not_learnt_at_once() {
        let late = [5].into_iter().chain([200; 12]);
        assert!(usual(late).is_some_and(|usual_ms| usual_ms > 150.0));
        let risen = [20; 60].into_iter().chain([300; 10]);
        assert!(usual(risen).is_some_and(|usual_ms| usual_ms < 35.0));
    }
}
