//! Which steps are ready, and who takes which: all under one lock that is held for some ten nanoseconds a step.
//!
//! Slots hold batches in turn: batch number `n` is in slot `n % slots`. A step of a batch is ready when the step before
//! it is done for that batch and the same step is done for the batch before. Later steps go first, so that a batch
//! leaves the caches' way soon.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::digest::PARTITIONS;

/// One step of one batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Task {
    /// Fill the batch in this slot, and read its headers.
    Fill {
        /// Its slot.
        slot: usize,
    },
    /// Follow the flows of one partition.
    Follow {
        /// The batch's slot.
        slot: usize,
        /// The partition.
        partition: usize,
    },
    /// Book it.
    Book {
        /// Its slot.
        slot: usize,
    },
}

struct State<E> {
    /// Per slot: whether headers are read, and partitions that are not done.
    read: Vec<bool>,
    left: Vec<usize>,
    /// Next batch to fill, and whether that is under way.
    fill: u64,
    filling: bool,
    /// Next batch of each partition.
    follow: [u64; PARTITIONS],
    following: [bool; PARTITIONS],
    /// Next batch to book.
    book: u64,
    booking: bool,
    /// Batches that there will be, once it is known.
    batches: Option<u64>,
    stopped: bool,
    error: Option<E>,
    /// Workers that wait for a step: waking nobody is a system call too.
    waiting: usize,
}

/// The board on which workers look for work.
pub(super) struct Board<E> {
    state: Mutex<State<E>>,
    changed: Condvar,
}

impl<E> State<E> {
    fn slot(&self, batch: u64) -> usize {
        (batch % self.read.len() as u64) as usize
    }

    fn is_over(&self) -> bool {
        self.stopped || self.batches.is_some_and(|batches| self.book >= batches)
    }

    fn next(&mut self, worker: usize, workers: usize) -> Option<Task> {
        let slot = self.slot(self.book);
        if !self.booking && self.book < self.fill && self.read[slot] && self.left[slot] == 0 {
            self.booking = true;
            return Some(Task::Book { slot });
        }
        // A worker's own partitions first: their tables are in its caches.
        let own = (0..PARTITIONS).filter(|partition| partition % workers == worker);
        let others = (0..PARTITIONS).filter(|partition| partition % workers != worker);
        let ready = |partition: &usize| {
            let batch = self.follow[*partition];
            !self.following[*partition] && batch < self.fill && self.read[self.slot(batch)]
        };
        if let Some(partition) = own.chain(others).find(ready) {
            self.following[partition] = true;
            return Some(Task::Follow { slot: self.slot(self.follow[partition]), partition });
        }
        let room = self.fill - self.book < self.read.len() as u64;
        if !self.filling && room && self.batches.is_none() {
            self.filling = true;
            let slot = self.slot(self.fill);
            self.read[slot] = false;
            self.left[slot] = PARTITIONS;
            return Some(Task::Fill { slot });
        }
        None
    }
}

impl<E> Board<E> {
    pub(super) fn new(slots: usize) -> Self {
        let state = State {
            read: vec![false; slots],
            left: vec![PARTITIONS; slots],
            fill: 0,
            filling: false,
            follow: [0; PARTITIONS],
            following: [false; PARTITIONS],
            book: 0,
            booking: false,
            batches: None,
            stopped: false,
            error: None,
            waiting: 0,
        };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, State<E>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A step to take, waited for if need be; `None` when all is done.
    pub(super) fn next(&self, worker: usize, workers: usize) -> Option<Task> {
        let mut state = self.state();
        loop {
            if state.is_over() {
                return None;
            }
            if let Some(task) = state.next(worker, workers) {
                return Some(task);
            }
            state.waiting += 1;
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.waiting -= 1;
        }
    }

    /// Changes the state, and wakes those who wait for a change.
    fn change(&self, change: impl FnOnce(&mut State<E>)) {
        let mut state = self.state();
        change(&mut state);
        let waited_for = state.waiting != 0;
        drop(state);
        if waited_for {
            self.changed.notify_all();
        }
    }

    /// The batch that was under way is filled: the next one may be, while the headers of this are read.
    pub(super) fn filled(&self, more: bool) {
        self.change(|state| {
            if more {
                state.fill += 1;
                state.filling = false;
            } else {
                state.batches = Some(state.fill);
            }
        });
    }

    /// A step is done.
    pub(super) fn done(&self, task: Task) {
        self.change(|state| match task {
            Task::Fill { slot } => state.read[slot] = true,
            Task::Follow { slot, partition } => {
                state.left[slot] -= 1;
                state.follow[partition] += 1;
                state.following[partition] = false;
            }
            Task::Book { .. } => {
                state.book += 1;
                state.booking = false;
            }
        });
    }

    /// A step failed: what was begun is ended, nothing more is begun. The first error stands.
    pub(super) fn fail(&self, error: E) {
        self.change(|state| {
            state.error.get_or_insert(error);
            state.stopped = true;
        });
    }

    /// Ends the run at once.
    pub(super) fn stop(&self) {
        self.change(|state| state.stopped = true);
    }

    /// Why it ended early.
    pub(super) fn into_error(self) -> Option<E> {
        self.state.into_inner().unwrap_or_else(PoisonError::into_inner).error
    }
}
