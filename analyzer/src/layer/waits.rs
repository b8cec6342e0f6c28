//! What waits for an answer: DNS queries and echo requests, in a table of fixed size.
//!
//! Set-associative: a key's hash chooses one of the sets, within which all entries are looked at. An answer frees its
//! entry at once. A full set gives up its oldest entry, which is reported. An entry older than the timeout is no wait
//! any more, whether or not the sweep has come by: counts do not depend on how often ticks come.

use tidegauge_ebpf::packet::Address;

/// Entries of a set: two cache lines.
const WAYS: usize = 8;

/// Ticks in which the sweep comes by all sets once: 3.2 s at ten ticks a second, so that an unanswered query is counted
/// at the latest so long after its timeout.
const SWEEP_TICKS: usize = 32;

/// One wait; free where `key` is 0.
#[derive(Clone, Copy, Default)]
struct Wait {
    key: u64,
    asked_ns: u64,
}

/// A table of waits.
pub(super) struct Waits {
    sets: Box<[[Wait; WAYS]]>,
    timeout_ns: u64,
    /// Set at which the next sweep begins.
    swept: usize,
    /// Entries that are not free: where none is, a sweep has nothing to look at.
    used: usize,
}

/// What became of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// It waits.
    Waits,
    /// It waits since it was asked first.
    Repeated,
    /// It waits in the place of one that was given up.
    Evicted,
    /// It waits in the place of one whose timeout was over.
    Expired,
}

impl Waits {
    /// Room for so many waits, rounded up to a power of two of sets.
    pub(super) fn new(waits: usize, timeout_ns: u64) -> Self {
        let sets = waits.div_ceil(WAYS).next_power_of_two().max(SWEEP_TICKS);
        Self { sets: vec![[Wait::default(); WAYS]; sets].into_boxed_slice(), timeout_ns, swept: 0, used: 0 }
    }

    pub(super) fn allocated_bytes(&self) -> usize {
        size_of_val(&*self.sets)
    }

    /// The key of a question from `asker` to `asked` with its own number. Never 0. A collision of two keys among the
    /// few thousands that wait at a time has odds of 2^-40.
    pub(super) fn key(asker: Address, asked: Address, number: u64) -> u64 {
        // Two chains at a time, of which the processor does not wait for one to begin the other.
        let [asker, asked] = [mix_address(asker, number), mix_address(asked, SEED)];
        mix(asker ^ asked.rotate_left(32)) | 1
    }

    fn set(&mut self, key: u64) -> Option<&mut [Wait; WAYS]> {
        let mask = self.sets.len() - 1;
        self.sets.get_mut((key >> 32) as usize & mask)
    }

    /// A question at `now_ns`.
    pub(super) fn ask(&mut self, key: u64, now_ns: u64) -> Asked {
        let timeout_ns = self.timeout_ns;
        let Some(set) = self.set(key) else { return Asked::Evicted };
        if let Some(wait) = set.iter_mut().find(|wait| wait.key == key) {
            if is_over(wait, now_ns, timeout_ns) {
                wait.asked_ns = now_ns;
                return Asked::Expired;
            }
            return Asked::Repeated;
        }
        let free = set.iter_mut().find(|wait| wait.key == 0);
        if let Some(wait) = free {
            *wait = Wait { key, asked_ns: now_ns };
            self.used += 1;
            return Asked::Waits;
        }
        let Some(oldest) = set.iter_mut().min_by_key(|wait| wait.asked_ns) else { return Asked::Evicted };
        let expired = is_over(oldest, now_ns, timeout_ns);
        *oldest = Wait { key, asked_ns: now_ns };
        if expired { Asked::Expired } else { Asked::Evicted }
    }

    /// The answer to a question: how long it waited, microseconds, or `None` where none waits in time. One that is too
    /// late stays a wait that was not answered.
    pub(super) fn answer(&mut self, key: u64, now_ns: u64) -> Option<u32> {
        let timeout_ns = self.timeout_ns;
        let wait = self.set(key)?.iter_mut().find(|wait| wait.key == key)?;
        if is_over(wait, now_ns, timeout_ns) {
            return None;
        }
        let waited_us = now_ns.saturating_sub(wait.asked_ns) / 1_000;
        wait.key = 0;
        self.used -= 1;
        Some(u32::try_from(waited_us).unwrap_or(u32::MAX))
    }

    /// Comes by some of the sets; how many waits were over.
    pub(super) fn tick(&mut self, now_ns: u64) -> u64 {
        let count = self.sets.len() / SWEEP_TICKS;
        let over = self.sweep(self.swept, count, now_ns);
        self.swept = (self.swept + count) % self.sets.len();
        over
    }

    /// Comes by all of them.
    pub(super) fn finish(&mut self, now_ns: u64) -> u64 {
        self.sweep(0, self.sets.len(), now_ns)
    }

    fn sweep(&mut self, first: usize, count: usize, now_ns: u64) -> u64 {
        if self.used == 0 {
            return 0;
        }
        let mut over = 0;
        for wait in self.sets.iter_mut().skip(first).take(count).flatten() {
            if wait.key != 0 && is_over(wait, now_ns, self.timeout_ns) {
                wait.key = 0;
                over += 1;
            }
        }
        self.used -= over as usize;
        over
    }
}

fn is_over(wait: &Wait, now_ns: u64, timeout_ns: u64) -> bool {
    now_ns.saturating_sub(wait.asked_ns) > timeout_ns
}

/// Any odd number does: it only has to be the same in all runs.
const SEED: u64 = 0x9e37_79b9_7f4a_7c15;

/// An address and a number.
pub(super) const fn mix_address(address: Address, number: u64) -> u64 {
    let [a, b, c, d] = address;
    mix(mix(number ^ ((a as u64) << 32 | b as u64)) ^ ((c as u64) << 32 | d as u64))
}

/// A multiplication whose halves are folded: every bit of the input reaches the bits that choose a set.
const fn mix(value: u64) -> u64 {
    let wide = (value ^ SEED) as u128 * 0xd6e8_feb8_6659_fd93_u128;
    (wide as u64) ^ (wide >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT_NS: u64 = 1_000_000;

    #[test]
    fn an_answer_in_time_frees_its_question() {
        let mut waits = Waits::new(1, TIMEOUT_NS);
        assert_eq!(waits.ask(7, 0), Asked::Waits);
        assert_eq!(waits.ask(7, 10), Asked::Repeated);
        assert_eq!(waits.answer(7, 5_000), Some(5));
        assert_eq!(waits.answer(7, 5_000), None);
        assert_eq!(waits.finish(u64::MAX), 0);
    }

    #[test]
    fn a_late_answer_answers_nothing() {
        let mut waits = Waits::new(1, TIMEOUT_NS);
        waits.ask(7, 0);
        assert_eq!(waits.answer(7, TIMEOUT_NS + 1), None);
        assert_eq!(waits.ask(7, TIMEOUT_NS + 1), Asked::Expired);
        assert_eq!(waits.finish(TIMEOUT_NS), 0);
        assert_eq!(waits.finish(2 * TIMEOUT_NS + 2), 1);
    }

    #[test]
    fn a_full_set_gives_up_its_oldest() {
        let mut waits = Waits::new(1, TIMEOUT_NS);
        for key in 1..=8 {
            assert_eq!(waits.ask(key, key), Asked::Waits);
        }
        assert_eq!(waits.ask(9, 9), Asked::Evicted);
        assert_eq!(waits.answer(1, 9), None);
        assert_eq!(waits.answer(2, 9), Some(0));
    }

    #[test]
    fn the_sweep_comes_by_everywhere() {
        let mut waits = Waits::new(1_000, TIMEOUT_NS);
        for number in 0..100 {
            waits.ask(Waits::key([0; 4], [1; 4], number), 0);
        }
        assert_eq!((0..SWEEP_TICKS).map(|_| waits.tick(TIMEOUT_NS + 1)).sum::<u64>(), 100);
    }
}
