//! Counts of one listener over the last five minutes, in slots of five seconds: for what is judged over a minute or more.

use tidegauge_ebpf::listener::ListenerCounter;

use crate::fact::Fact;
use crate::window::ListenerWindow;

/// Seconds in a slot.
pub const SLOT_S: u64 = 5;
const SLOTS: usize = 60;

/// What is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Remembered {
    /// Attempts.
    Attempted,
    /// Completed handshakes, those seen from one side included.
    Completed,
    /// Refused attempts.
    Refused,
    /// Segments with payload.
    PayloadSegments,
    /// Payload sent again or overtaken.
    SentAgain,
    /// Full-size segments sent again.
    FullSizeAgain,
    /// Zero windows.
    ZeroWindow,
    /// Initiators' first payload.
    Spoke,
    /// Requests.
    Request,
    /// Responses.
    Response,
    /// Responses with status 5xx.
    ServerError,
    /// ClientHellos.
    Hello,
    /// TLS handshakes that a fatal alert ended.
    HelloFailed,
    // What is asked of listeners.
    /// SYN-ACKs.
    Answered,
    /// Attempts reset after the answer or by the initiator.
    Aborted,
    /// Brief connections of protocols that ask for a password, and refused credentials.
    BriefLogin,
    /// Forms with another password than the last.
    PasswordSent,
    /// Request heads that were complete in the end, or given up.
    HeadDone,
    /// Responses with status 408.
    RequestTimeout,
    /// Sum over seconds of the incomplete heads at each second's end.
    HeadSeconds,
}

const COUNT: usize = Remembered::HeadSeconds as usize + 1;

impl Remembered {
    fn of(window: &ListenerWindow) -> [u32; COUNT] {
        let counter = |counter| window.get(counter);
        [
            counter(ListenerCounter::Attempted),
            counter(ListenerCounter::Completed) + counter(ListenerCounter::CompletedOneSided),
            counter(ListenerCounter::Refused),
            counter(ListenerCounter::PayloadSegments),
            window.fact(Fact::SentAgain),
            window.fact(Fact::FullSizeAgain),
            window.fact(Fact::ZeroWindow),
            window.fact(Fact::Spoke),
            window.fact(Fact::Request),
            window.fact(Fact::Response),
            window.fact(Fact::ServerError),
            window.fact(Fact::Hello),
            window.fact(Fact::HelloFailed),
            counter(ListenerCounter::Answered),
            counter(ListenerCounter::Aborted),
            window.fact(Fact::BriefLogin),
            window.fact(Fact::PasswordSent),
            window.fact(Fact::HeadDone),
            window.fact(Fact::RequestTimeout),
            0,
        ]
        .map(|count| u32::try_from(count).unwrap_or(u32::MAX))
    }
}

/// What is summed over the last half to whole minute too: it tells causes apart, and whether a look at the slots is worth
/// its price.
pub const RECENT: [Fact; 11] = [
    Fact::SentAgain,
    Fact::ListenerSentAgain,
    Fact::Hole,
    Fact::HelloFailed,
    Fact::VersionRefused,
    Fact::CertificateRefused,
    Fact::ServerError,
    Fact::AckedUnseen,
    Fact::AnswerAgain,
    Fact::AnswerAgainLate,
    Fact::WindowFull,
];
/// Seconds after which the older half of it is forgotten.
const RECENT_S: u64 = 30;

/// The slots; none before the first count.
#[derive(Clone, Debug, Default)]
pub struct History {
    slots: Vec<[u32; COUNT]>,
    /// Of all slots together: sixty slots of some hundred listeners are not added up each second.
    totals: [u64; COUNT],
    newest: usize,
    /// Seconds of the newest slot that are over.
    seconds: u64,
    /// Of this half minute and of the one before, by [`RECENT`].
    recent: [[u32; RECENT.len()]; 2],
    /// Seconds of the half minute that are over.
    recent_seconds: u64,
}

impl History {
    /// Adds a window to the newest slot.
    pub fn add(&mut self, window: &ListenerWindow) {
        let counts = Remembered::of(window);
        if self.slots.is_empty() {
            let is_recent = RECENT.iter().any(|fact| window.fact(*fact) != 0);
            if !is_recent && counts.iter().all(|count| *count == 0) {
                return;
            }
            self.slots = vec![[0; COUNT]; SLOTS];
        }
        for ((own, total), more) in self.slots[self.newest].iter_mut().zip(&mut self.totals).zip(counts) {
            let before = *own;
            *own = own.saturating_add(more);
            *total += u64::from(*own - before);
        }
        for (own, fact) in self.recent[0].iter_mut().zip(RECENT) {
            *own = own.saturating_add(u32::try_from(window.fact(fact)).unwrap_or(u32::MAX));
        }
    }

    /// A second ends in which so many heads were incomplete.
    pub fn add_heads(&mut self, heads: u32) {
        if heads != 0 && self.slots.is_empty() {
            self.slots = vec![[0; COUNT]; SLOTS];
        }
        if let Some(slot) = self.slots.get_mut(self.newest) {
            let sum = &mut slot[Remembered::HeadSeconds as usize];
            let before = *sum;
            *sum = sum.saturating_add(heads);
            self.totals[Remembered::HeadSeconds as usize] += u64::from(*sum - before);
        }
    }

    /// Forgets how attempts went: they were another incident's.
    pub fn forget_attempts(&mut self) {
        use Remembered::{Aborted, Answered, Attempted, Completed, Refused};
        for remembered in [Attempted, Completed, Refused, Answered, Aborted].map(|kept| kept as usize) {
            if std::mem::take(&mut self.totals[remembered]) != 0 {
                self.slots.iter_mut().for_each(|slot| slot[remembered] = 0);
            }
        }
    }

    /// One of [`RECENT`] over the last half to whole minute.
    pub fn recent(&self, fact: Fact) -> u64 {
        let place = RECENT.iter().position(|known| *known == fact);
        debug_assert!(place.is_some(), "{} is not kept", fact.name());
        let count = |counts: &[u32; RECENT.len()]| place.map_or(0, |place| u64::from(counts[place]));
        self.recent.iter().map(count).sum()
    }

    /// A second is over.
    pub fn end_second(&mut self) {
        if self.slots.is_empty() {
            return;
        }
        self.recent_seconds += 1;
        if self.recent_seconds == RECENT_S {
            self.recent_seconds = 0;
            self.recent = [[0; RECENT.len()], self.recent[0]];
        }
        self.seconds += 1;
        if self.seconds == SLOT_S {
            self.seconds = 0;
            self.newest = (self.newest + 1) % SLOTS;
            let over = std::mem::replace(&mut self.slots[self.newest], [0; COUNT]);
            for (total, gone) in self.totals.iter_mut().zip(over) {
                *total -= u64::from(gone);
            }
        }
    }

    /// So many seconds passed in which nothing was captured.
    pub fn skip(&mut self, seconds: u64) {
        if seconds >= SLOT_S * SLOTS as u64 {
            *self = Self::default();
        } else {
            (0..seconds).for_each(|_| self.end_second());
        }
    }

    /// Over the last whole slots of `seconds`, and the newest, which is not over.
    pub fn sum(&self, remembered: Remembered, seconds: u64) -> u64 {
        if self.slots.is_empty() {
            return 0;
        }
        let slots = ((seconds / SLOT_S) as usize).clamp(1, SLOTS - 1);
        let ages = 0..=slots;
        ages.map(|age| u64::from(self.slots[(self.newest + SLOTS - age) % SLOTS][remembered as usize])).sum()
    }

    /// By slot over the last `seconds`, the newest whole one first.
    pub fn slots(&self, remembered: Remembered, seconds: u64) -> impl Iterator<Item = u64> {
        let slots = if self.slots.is_empty() { 0 } else { ((seconds / SLOT_S) as usize).clamp(1, SLOTS - 1) };
        (1..=slots)
            .map(move |age| u64::from(self.slots[(self.newest + SLOTS - age) % SLOTS][remembered as usize]))
    }

    /// Over all five minutes.
    pub const fn total(&self, remembered: Remembered) -> u64 {
        self.totals[remembered as usize]
    }

    /// Seconds that [`Self::sum`] of `seconds` is over.
    pub fn span_s(&self, seconds: u64) -> u64 {
        (seconds / SLOT_S).clamp(1, SLOTS as u64 - 1) * SLOT_S + self.seconds
    }

    /// Slots of which `holds`, with what each of them has.
    pub fn slots_where(&self, holds: impl Fn(&dyn Fn(Remembered) -> u64) -> bool) -> usize {
        self.slots.iter().filter(|slot| holds(&|remembered| u64::from(slot[remembered as usize]))).count()
    }

    /// Of the slot that is not over.
    pub fn under_way(&self, remembered: Remembered) -> u64 {
        self.slots.get(self.newest).map_or(0, |slot| u64::from(slot[remembered as usize]))
    }

    /// Seconds that [`Self::under_way`] is over, the one that is not over counted whole.
    pub const fn under_way_s(&self) -> u64 {
        self.seconds + 1
    }

    /// Of the slot that was over last.
    pub fn last_slot(&self, remembered: Remembered) -> u64 {
        self.slots
            .get((self.newest + SLOTS - 1) % SLOTS)
            .map_or(0, |slot| u64::from(slot[remembered as usize]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_is_remembered_for_five_minutes() {
        let mut history = History::default();
        let mut window = ListenerWindow::default();
        window.counters[ListenerCounter::Attempted as usize] = 3;
        history.add(&window);
        (0..290).for_each(|_| history.end_second());
        assert_eq!(history.sum(Remembered::Attempted, 300), 3);
        assert_eq!(history.total(Remembered::Attempted), 3);
        assert_eq!(history.sum(Remembered::Attempted, 60), 0);
        (0..20).for_each(|_| history.end_second());
        assert_eq!(history.sum(Remembered::Attempted, 300), 0);
        assert_eq!(history.total(Remembered::Attempted), 0);
    }

    #[test]
    fn what_tells_causes_apart_is_remembered_for_up_to_a_minute() {
        let mut history = History::default();
        let mut window = ListenerWindow::default();
        let mut facts = crate::fact::Facts::NONE;
        facts.set(Fact::HelloFailed);
        window.facts.count(facts);
        history.add(&window);
        (0..35).for_each(|_| history.end_second());
        assert_eq!(history.recent(Fact::HelloFailed), 1);
        (0..30).for_each(|_| history.end_second());
        assert_eq!(history.recent(Fact::HelloFailed), 0);
        assert_eq!(history.slots(Remembered::HelloFailed, 300).sum::<u64>(), 1);
    }
}
