//! Features of one listener over the sliding second (ten ticks of 100 ms) and the last ten whole seconds.
//!
//! A missing input makes a feature unknown (`None`), never zero.

use tidegauge_ebpf::listener::ListenerCounter;

use crate::distinct::Distinct;
use crate::fact::Fact;
use crate::window::ListenerWindow;

/// A tick in nanoseconds of packet time.
pub const TICK_NS: u64 = 100_000_000;
/// Ticks in the sliding second.
pub const TICKS: usize = 10;
/// Whole seconds kept for features over ten seconds.
const SECONDS: usize = 10;

/// Counters that are asked for over the sliding second.
const BY_TICK: [ListenerCounter; 13] = [
    ListenerCounter::Attempted,
    ListenerCounter::SynRetransmission,
    ListenerCounter::Answered,
    ListenerCounter::Refused,
    ListenerCounter::Aborted,
    ListenerCounter::Completed,
    ListenerCounter::CompletedOneSided,
    ListenerCounter::RwndListener,
    ListenerCounter::RwndListenerLow,
    ListenerCounter::RwndPeer,
    ListenerCounter::RwndPeerLow,
    ListenerCounter::RwndScaleUnknown,
    ListenerCounter::ZeroWindow,
];
/// Counters that are asked for over whole seconds.
const BY_SECOND: [ListenerCounter; 16] = [
    ListenerCounter::Attempted,
    ListenerCounter::Completed,
    ListenerCounter::CompletedOneSided,
    ListenerCounter::PayloadSegments,
    ListenerCounter::RetransmitOrReordered,
    ListenerCounter::RwndListener,
    ListenerCounter::RwndListenerLow,
    ListenerCounter::RwndPeer,
    ListenerCounter::RwndPeerLow,
    ListenerCounter::Transfers,
    ListenerCounter::TransfersSlow,
    ListenerCounter::TransfersUs,
    ListenerCounter::RoundTripsPeer,
    ListenerCounter::RoundTripsPeerUs,
    ListenerCounter::RoundTripsListener,
    ListenerCounter::RoundTripsListenerUs,
];

/// Where each counter is in a row of these; those that are nowhere are past its end.
const fn places(kept: &[ListenerCounter]) -> [u8; ListenerCounter::COUNT] {
    let mut places = [u8::MAX; ListenerCounter::COUNT];
    let mut index = 0;
    while index < kept.len() {
        places[kept[index] as usize] = index as u8;
        index += 1;
    }
    places
}

const PLACE_BY_TICK: [u8; ListenerCounter::COUNT] = places(&BY_TICK);
const PLACE_BY_SECOND: [u8; ListenerCounter::COUNT] = places(&BY_SECOND);

/// The last `SLOTS` rows of counts, and their sum: what is asked for at each tick is one place, not one in each row.
#[derive(Clone, Debug)]
pub(crate) struct Ring<const COUNTERS: usize, const SLOTS: usize> {
    pub(crate) sum: [u64; COUNTERS],
    /// Index of the newest row.
    newest: u16,
    /// Bits of the rows that are not all zero: a quiet listener is moved on at no cost.
    used: u16,
    rows: [[u64; COUNTERS]; SLOTS],
}

impl<const COUNTERS: usize, const SLOTS: usize> Ring<COUNTERS, SLOTS> {
    pub(crate) const EMPTY: Self =
        Self { sum: [0; COUNTERS], newest: 0, used: 0, rows: [[0; COUNTERS]; SLOTS] };

    pub(crate) fn advance(&mut self) {
        self.newest = (self.newest + 1) % SLOTS as u16;
        if self.used & 1 << self.newest != 0 {
            self.used &= !(1 << self.newest);
            let row = &mut self.rows[usize::from(self.newest)];
            for (sum, gone) in self.sum.iter_mut().zip(row) {
                *sum = sum.wrapping_sub(std::mem::take(gone));
            }
        }
    }

    pub(crate) fn add(&mut self, counts: [u64; COUNTERS]) {
        self.used |= 1 << self.newest;
        let row = &mut self.rows[usize::from(self.newest)];
        for ((sum, own), more) in self.sum.iter_mut().zip(row).zip(counts) {
            let before = *own;
            *own = own.saturating_add(more);
            *sum = sum.wrapping_add(*own - before);
        }
    }

    /// The row of so many steps ago.
    pub(crate) fn row(&self, age: usize) -> &[u64; COUNTERS] {
        &self.rows[(usize::from(self.newest) + SLOTS - age) % SLOTS]
    }
}

/// A counter of a row, by its place; 0 where it is not kept, which is a mistake in a detector.
fn at<const COUNTERS: usize>(
    row: &[u64; COUNTERS],
    places: &[u8; ListenerCounter::COUNT],
    counter: ListenerCounter,
) -> u64 {
    let value = row.get(usize::from(places[counter as usize])).copied();
    debug_assert!(value.is_some(), "{} is not kept", counter.name());
    value.unwrap_or_default()
}

/// Sums over the last ten ticks and the last ten seconds, of the counters that somebody asks for.
#[derive(Clone, Debug)]
pub struct Sliding {
    ticks: Ring<{ BY_TICK.len() }, TICKS>,
    /// SYNs without options.
    bare: Ring<1, TICKS>,
    seconds: Ring<{ BY_SECOND.len() }, SECONDS>,
}

impl Default for Sliding {
    fn default() -> Self {
        Self { ticks: Ring::EMPTY, bare: Ring::EMPTY, seconds: Ring::EMPTY }
    }
}

impl Sliding {
    /// So many ticks passed since the newest one.
    pub fn advance(&mut self, ticks: u64) {
        for _ in 0..ticks.min(TICKS as u64) {
            self.ticks.advance();
            self.bare.advance();
        }
    }

    /// Begins the next whole second.
    pub fn advance_second(&mut self) {
        self.seconds.advance();
    }

    /// Adds a window to the newest tick.
    pub fn add(&mut self, window: &ListenerWindow) {
        self.ticks.add(BY_TICK.map(|counter| window.get(counter)));
        let bare = window.fact(Fact::BareSyn);
        if bare != 0 {
            self.bare.add([bare]);
        }
        self.seconds.add(BY_SECOND.map(|counter| window.get(counter)));
    }

    /// A counter over the sliding second.
    pub fn last_second(&self, counter: ListenerCounter) -> u64 {
        at(&self.ticks.sum, &PLACE_BY_TICK, counter)
    }

    /// SYNs without any option over the sliding second.
    pub const fn bare_syns(&self) -> u64 {
        self.bare.sum[0]
    }

    /// A counter over the sliding second without its `grace` newest ticks.
    pub fn matured(&self, counter: ListenerCounter, grace: usize) -> u64 {
        let ages = grace.min(TICKS)..TICKS;
        ages.map(|age| at(self.ticks.row(age), &PLACE_BY_TICK, counter)).sum()
    }

    /// A counter over the current whole second.
    pub fn this_second(&self, counter: ListenerCounter) -> u64 {
        at(self.seconds.row(0), &PLACE_BY_SECOND, counter)
    }

    /// A counter over the last ten whole seconds.
    pub fn ten_seconds(&self, counter: ListenerCounter) -> u64 {
        at(&self.seconds.sum, &PLACE_BY_SECOND, counter)
    }
}

/// Handshake truth over the sliding second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Handshakes {
    /// First SYNs per second.
    pub asked: u64,
    /// SYNs sent again, per second: most of a flood that repeats one SYN.
    pub repeated: u64,
    /// SYNs, first or again, that had time to be answered.
    pub matured: u64,
    /// SYN-ACKs.
    pub answered: u64,
    /// RSTs in place of an answer.
    pub refused: u64,
    /// Completed handshakes, those seen from one side included.
    pub completed: u64,
    /// Of the matured ones, those neither completed nor refused.
    pub unresolved: u64,
}

impl Handshakes {
    /// Of the last second of a listener whose handshakes take up to `grace` ticks.
    pub fn of(sliding: &Sliding, grace: usize) -> Self {
        let completed = sliding.last_second(ListenerCounter::Completed)
            + sliding.last_second(ListenerCounter::CompletedOneSided);
        let refused = sliding.last_second(ListenerCounter::Refused);
        let matured = sliding.matured(ListenerCounter::Attempted, grace)
            + sliding.matured(ListenerCounter::SynRetransmission, grace);
        Self {
            asked: sliding.last_second(ListenerCounter::Attempted),
            repeated: sliding.last_second(ListenerCounter::SynRetransmission),
            matured,
            answered: sliding.last_second(ListenerCounter::Answered),
            refused,
            completed,
            unresolved: matured.saturating_sub(completed + refused),
        }
    }

    /// Unresolved share of the matured SYNs; `None` where none has matured.
    pub fn unresolved_share(&self) -> Option<f64> {
        ratio(self.unresolved, self.matured)
    }
}

/// Time that attempts get at a listener whose handshakes were never seen.
pub const GRACE_UNKNOWN_TICKS: usize = 5;

/// How long a listener's handshakes usually take, from their own mean: ticks an attempt is given to mature.
#[derive(Clone, Copy, Debug, Default)]
pub struct HandshakeTime {
    /// Exponentially weighted mean, microseconds.
    mean_us: f64,
}

impl HandshakeTime {
    /// Learns from a tick's handshakes.
    pub fn learn(&mut self, window: &ListenerWindow) {
        let handshakes =
            window.get(ListenerCounter::Completed) + window.get(ListenerCounter::CompletedOneSided);
        if let Some(mean_us) = ratio(window.get(ListenerCounter::HandshakeUs), handshakes) {
            // A coarse clock shows local handshakes as 0; that is known, and short.
            let mean_us = mean_us.max(1.0);
            let weight = if self.mean_us == 0.0 { 1.0 } else { 0.2 };
            self.mean_us += weight * (mean_us - self.mean_us);
        }
    }

    /// Twice the usual time in whole ticks, at least one and never the whole second; half a second where no handshake
    /// was seen yet, since the clients may be far away.
    pub fn grace_ticks(self) -> usize {
        if self.mean_us == 0.0 {
            return GRACE_UNKNOWN_TICKS;
        }
        let ticks = (2.0 * self.mean_us * 1_000.0 / TICK_NS as f64).ceil() as usize;
        ticks.clamp(1, TICKS - 1)
    }
}

/// A source of attempts and what it did, for findings.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// Distinct ones in the last one to two seconds, about.
    pub distinct: Distinct,
    /// Busiest first: attempts in the current second, at least.
    pub top: Vec<(std::net::IpAddr, u32)>,
    /// The same by source network.
    pub prefixes: Vec<(std::net::IpAddr, u32)>,
    /// TTL classes of attempts in the last one to two seconds.
    pub ttl_classes: u64,
}

/// `part / whole`, `None` for nothing of nothing.
pub fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole != 0).then(|| part as f64 / whole as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(attempted: u64, completed: u64) -> ListenerWindow {
        let mut window = ListenerWindow::default();
        window.counters[ListenerCounter::Attempted as usize] = attempted;
        window.counters[ListenerCounter::Completed as usize] = completed;
        window
    }

    #[test]
    fn the_newest_attempts_have_not_matured() {
        let mut sliding = Sliding::default();
        for _ in 0..5 {
            sliding.advance(1);
            sliding.add(&window(100, 10));
        }
        let handshakes = Handshakes::of(&sliding, 1);
        assert_eq!((handshakes.asked, handshakes.matured, handshakes.unresolved), (500, 400, 350));
    }

    #[test]
    fn a_tick_leaves_the_sliding_second_after_ten() {
        let mut sliding = Sliding::default();
        sliding.add(&window(7, 0));
        (0..9).for_each(|_| sliding.advance(1));
        assert_eq!(sliding.last_second(ListenerCounter::Attempted), 7);
        sliding.advance(1);
        assert_eq!(sliding.last_second(ListenerCounter::Attempted), 0);
    }

    #[test]
    fn slow_handshakes_are_given_time() {
        let mut time = HandshakeTime::default();
        assert_eq!(time.grace_ticks(), GRACE_UNKNOWN_TICKS);
        let mut slow = window(1, 1);
        slow.counters[ListenerCounter::HandshakeUs as usize] = 240_000;
        time.learn(&slow);
        assert_eq!(time.grace_ticks(), 5);
    }
}
