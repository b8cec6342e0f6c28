//! Windows of several workers, put together by tick and handed on in order.
//!
//! A tick is complete when every worker has passed its end. One worker that does not come forward cannot stop the
//! others for long: after [`PENDING_TICKS_MAX`] ticks they go on without it, and what it brings later counts in the
//! next tick.

use std::collections::BTreeMap;

use crate::batch::BACKWARDS_NS;
use crate::feature::TICK_NS;
use crate::join::Joiner;
use crate::window::Window;
use crate::worker::Passed;

/// Ticks that wait for the slowest worker: three seconds.
pub const PENDING_TICKS_MAX: usize = 30;

/// Ticks that are not complete.
#[derive(Debug)]
pub struct Merger {
    /// Until when each worker has handed over everything, nanoseconds.
    passed_ns: Vec<u64>,
    /// By start: windows by worker.
    pending: BTreeMap<u64, Vec<(usize, Window)>>,
    joiner: Joiner,
    /// End of the last tick that was handed on.
    done_ns: u64,
    late_windows: u64,
}

impl Merger {
    /// For so many workers.
    pub fn new(workers: usize) -> Self {
        Self {
            passed_ns: vec![0; workers],
            pending: BTreeMap::new(),
            joiner: Joiner::default(),
            done_ns: 0,
            late_windows: 0,
        }
    }

    /// Takes what worker number `worker` handed over until `passed_ns`; repassed what is complete by that, in order.
    pub fn take(&mut self, worker: usize, passed: Vec<Passed>, passed_ns: u64) -> Vec<Passed> {
        let mut ready = Vec::new();
        for step in passed {
            match step {
                Passed::Window(window) => self.add(worker, *window, &mut ready),
                Passed::JumpBack(start_ns) => self.jump_back(start_ns, &mut ready),
            }
        }
        self.passed_ns[worker] = passed_ns;
        let passed_ns = self.passed_ns.iter().copied().min().unwrap_or_default();
        while let Some(entry) = self.pending.first_entry() {
            if *entry.key() + TICK_NS > passed_ns && self.pending.len() <= PENDING_TICKS_MAX {
                break;
            }
            self.hand_on(&mut ready);
        }
        ready
    }

    /// No more comes.
    pub fn finish(&mut self) -> Vec<Passed> {
        let mut ready = Vec::new();
        self.hand_on_all(&mut ready);
        ready
    }

    /// Windows that came after their tick was handed on, and count in a later one.
    pub const fn late_windows(&self) -> u64 {
        self.late_windows
    }

    fn add(&mut self, worker: usize, mut window: Window, ready: &mut Vec<Passed>) {
        if window.start_ns < self.done_ns {
            if self.done_ns - window.start_ns > BACKWARDS_NS {
                // Another worker is still in the time before the clock was set.
                self.jump_back(window.start_ns, ready);
            } else {
                self.late_windows += 1;
                (window.start_ns, window.end_ns) = (self.done_ns, self.done_ns + TICK_NS);
            }
        }
        let tick = self.pending.entry(window.start_ns).or_default();
        match tick.iter_mut().find(|(known, _)| *known == worker) {
            Some((_, known)) => known.merge(window),
            None => tick.push((worker, window)),
        }
    }

    fn jump_back(&mut self, start_ns: u64, ready: &mut Vec<Passed>) {
        if self.done_ns.saturating_sub(start_ns) <= BACKWARDS_NS {
            // The first worker to notice has said so for all.
            return;
        }
        self.hand_on_all(ready);
        ready.push(Passed::JumpBack(start_ns));
        self.done_ns = start_ns;
        self.passed_ns.fill(start_ns);
    }

    fn hand_on_all(&mut self, ready: &mut Vec<Passed>) {
        while !self.pending.is_empty() {
            self.hand_on(ready);
        }
    }

    fn hand_on(&mut self, ready: &mut Vec<Passed>) {
        let Some((start_ns, mut windows)) = self.pending.pop_first() else { return };
        self.done_ns = start_ns + TICK_NS;
        // Who comes first depends on the machine.
        windows.sort_by_key(|(worker, _)| *worker);
        let window = self.joiner.join(windows);
        ready.push(Passed::Window(Box::new(window)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: u64 = TICK_NS;
    /// Some tick, long after the epoch.
    const FIRST: u64 = 1_000_000 * T;

    fn window(tick: u64, packets: u64) -> Passed {
        let start_ns = FIRST + tick * T;
        let mut window = Window { start_ns, end_ns: start_ns + T, ..Window::default() };
        window.totals.values[0] = packets;
        Passed::Window(Box::new(window))
    }

    /// Tick and packets of windows, `None` and the tick of a jump.
    fn told(passed: Vec<Passed>) -> Vec<(Option<u64>, i64)> {
        let tick = |ns: u64| (ns as i64 - FIRST as i64) / T as i64;
        let tell = |step| match step {
            Passed::Window(window) => (Some(window.totals.values[0]), tick(window.start_ns)),
            Passed::JumpBack(ns) => (None, tick(ns)),
        };
        passed.into_iter().map(tell).collect()
    }

    #[test]
    fn a_tick_is_handed_on_when_all_have_passed_it() {
        let mut merger = Merger::new(2);
        assert_eq!(told(merger.take(0, vec![window(0, 1), window(1, 2)], FIRST + 2 * T)), []);
        assert_eq!(told(merger.take(1, vec![window(0, 10)], FIRST + T)), [(Some(11), 0)]);
        assert_eq!(
            told(merger.take(1, vec![], FIRST + 2 * T)),
            [(Some(2), 1)],
            "an idle worker is not waited for"
        );
        assert_eq!(told(merger.take(1, vec![window(2, 5)], FIRST + 3 * T)), []);
        assert_eq!(told(merger.finish()), [(Some(5), 2)]);
    }

    #[test]
    fn what_comes_too_late_counts_in_the_next_tick() {
        let mut merger = Merger::new(2);
        let far = PENDING_TICKS_MAX as u64 + 1;
        let passed = (0..far).map(|tick| window(tick, 1)).collect();
        assert_eq!(told(merger.take(0, passed, FIRST + far * T)), [(Some(1), 0)]);
        assert_eq!(told(merger.take(1, vec![window(0, 7)], FIRST + 2 * T)), [(Some(8), 1)]);
        assert_eq!(merger.late_windows(), 1);
    }

    #[test]
    fn time_that_jumps_back_does_so_once() {
        let mut merger = Merger::new(2);
        let back = FIRST - 1_000 * T;
        let before = |tick: i64, packets| {
            let Passed::Window(mut window) = window(0, packets) else { unreachable!("it is a window") };
            (window.start_ns, window.end_ns) = (back + tick as u64 * T, back + (tick as u64 + 1) * T);
            Passed::Window(window)
        };
        merger.take(1, vec![window(0, 1)], FIRST + T);
        assert_eq!(told(merger.take(0, vec![window(0, 1)], FIRST + T)), [(Some(2), 0)]);
        assert_eq!(
            told(merger.take(0, vec![Passed::JumpBack(back), before(0, 1)], back + T)),
            [(None, -1_000)]
        );
        assert_eq!(
            told(merger.take(1, vec![Passed::JumpBack(back), before(0, 2)], back + T)),
            [(Some(3), -1_000)]
        );
    }
}
