//! How receivers fare: counters that others show.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use super::desk::DeskCounts;

/// What became of a receiver's messages.
#[derive(Debug, Default)]
pub struct Counts {
    /// Messages that were to be told.
    pub taken: AtomicU64,
    /// Told.
    pub delivered: AtomicU64,
    /// Attempts that failed and are made again.
    pub retried: AtomicU64,
    /// Given up: the receiver will not have them.
    pub refused: AtomicU64,
    /// Gone because too much waited.
    pub dropped_full: AtomicU64,
    /// Gone because they waited too long.
    pub dropped_old: AtomicU64,
    /// Found half-written on disk.
    pub torn: AtomicU64,
    /// Found on disk when the program started.
    pub found: AtomicU64,
    /// Not on disk, because it failed.
    pub unkept: AtomicU64,
    /// Waiting now.
    pub waiting: AtomicU64,
    /// From the line's arrival to the newest delivery, microseconds.
    pub latest_us: AtomicU64,
}

/// A receiver's counters, and what is wrong with it.
#[derive(Debug)]
pub struct ReceiverHealth {
    /// Its name.
    pub name: String,
    /// Its kind.
    how: Mutex<&'static str>,
    /// What became of its messages.
    pub counts: Counts,
    /// Whether it is told nothing at the moment.
    pub is_down: AtomicBool,
    /// What is wrong now.
    pub fault: Mutex<Option<String>>,
    /// What was wrong last, over or not.
    pub latest_fault: Mutex<Option<String>>,
}

/// All of it.
#[derive(Clone, Debug)]
pub struct Health {
    receivers: Arc<Mutex<Vec<Arc<ReceiverHealth>>>>,
    /// What was not told, and why.
    pub desk: Arc<Mutex<DeskCounts>>,
    /// Lines that came faster than they were looked at.
    pub feed: Arc<crate::feed::Losses>,
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

impl ReceiverHealth {
    pub(super) fn new(name: &str, how: &'static str) -> Self {
        Self {
            name: name.to_owned(),
            how: Mutex::new(how),
            counts: Counts::default(),
            is_down: AtomicBool::new(false),
            fault: Mutex::new(None),
            latest_fault: Mutex::new(None),
        }
    }

    /// Its kind: `webhook`, `syslog` ...
    pub fn how(&self) -> &'static str {
        *lock(&self.how)
    }

    pub(super) fn is_now(&self, how: &'static str) {
        *lock(&self.how) = how;
    }

    /// A message that it would not have.
    pub(super) fn refused_for(&self, why: String) {
        *lock(&self.latest_fault) = Some(why);
    }

    /// What is wrong now, if something is.
    pub(super) fn set_fault(&self, why: Option<String>) {
        self.is_down.store(why.is_some(), Ordering::Relaxed);
        if why.is_some() {
            lock(&self.latest_fault).clone_from(&why);
        }
        *lock(&self.fault) = why;
    }

    fn json(&self) -> Value {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counts = &self.counts;
        json!({
            "name": self.name, "type": self.how(), "is_down": self.is_down.load(Ordering::Relaxed),
            "fault": *lock(&self.fault), "latest_fault": *lock(&self.latest_fault),
            "taken": of(&counts.taken), "delivered": of(&counts.delivered), "retried": of(&counts.retried),
            "refused": of(&counts.refused), "dropped_full": of(&counts.dropped_full),
            "dropped_old": of(&counts.dropped_old), "torn": of(&counts.torn), "found": of(&counts.found),
            "unkept": of(&counts.unkept), "waiting": of(&counts.waiting),
            "latest_ms": of(&counts.latest_us) as f64 / 1000.0,
        })
    }
}

impl Health {
    pub(super) fn new(desk: Arc<Mutex<DeskCounts>>, feed: Arc<crate::feed::Losses>) -> Self {
        Self { receivers: Arc::default(), desk, feed }
    }

    /// In the order of the file.
    pub fn receivers(&self) -> Vec<Arc<ReceiverHealth>> {
        lock(&self.receivers).clone()
    }

    pub(super) fn set_receivers(&self, receivers: Vec<Arc<ReceiverHealth>>) {
        *lock(&self.receivers) = receivers;
    }

    /// What the desk did not tell, and why.
    pub fn desk_counts(&self) -> DeskCounts {
        *lock(&self.desk)
    }

    /// What was to be told and never will be, in words, for each receiver of which that is so.
    pub fn losses(&self) -> Vec<String> {
        let of = |receiver: &Arc<ReceiverHealth>| {
            let counts = &receiver.counts;
            let lost = [
                (&counts.refused, "refused"),
                (&counts.dropped_full, "dropped for want of room"),
                (&counts.dropped_old, "dropped as too old"),
                (&counts.torn, "half-written"),
            ];
            let lost = lost.map(|(counter, what)| (counter.load(Ordering::Relaxed), what));
            let words: Vec<_> = lost
                .iter()
                .filter(|(count, _)| *count > 0)
                .map(|(count, what)| format!("{count} {what}"))
                .collect();
            if words.is_empty() { None } else { Some(format!("{}: {}", receiver.name, words.join(", "))) }
        };
        self.receivers().iter().filter_map(of).collect()
    }

    /// For pages and metrics.
    pub fn json(&self) -> Value {
        let desk = self.desk_counts();
        json!({
            "receivers": self.receivers().iter().map(|receiver| receiver.json()).collect::<Vec<_>>(),
            "lines": desk.lines, "lines_lost": self.feed.not_taken.load(Ordering::Relaxed),
            "consequences": desk.consequences, "summed": desk.summed, "quiet": desk.quiet,
            "forgotten": desk.forgotten, "not_understood": desk.not_understood,
        })
    }
}
