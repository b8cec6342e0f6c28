//! One receiver's way out: a queue, a thread that keeps what comes on disk, one that brings it to the disk itself, and one
//! that tells it.
//!
//! ```text
//! desk --> queue (bounded, never waits) --> keeper: file --> pending (bounded) --> sender: receiver, again and again
//!                                                      +---> fsync
//! ```
//! A receiver that hangs holds its sender, a disk that hangs its keeper: nobody else. Order is kept: what is not told holds up
//! what comes after it, with longer and longer pauses.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::health::{ReceiverHealth, add};
use super::held::Held;
use super::keeper::{self, Keeper};
use super::message::Message;
use super::pending::{Entry, Pending};
use super::receive::Receiver;
use super::sender::Sender;
use super::settings::{Retry, Settings};
use super::spool::{Left, Spool};
use crate::fault::{Fault, Say};

/// Messages between the desk and the keeper.
const QUEUE_MAX: usize = 1_024;
/// How often the keeper tries a disk that failed, and looks for what is too old.
pub(super) const LOOK: Duration = Duration::from_secs(2);

/// What the threads of a receiver share.
pub(super) struct Shared {
    pending: Mutex<Pending>,
    pub(super) changed: Condvar,
    pub(super) spool: Option<Spool>,
    pub(super) health: Arc<ReceiverHealth>,
    bounds: Mutex<Bounds>,
    /// Settings that were read again: how it is told from now on.
    next: Mutex<Option<Receiver>>,
    /// It is in the file no more: what waits stays where it is.
    pub(super) is_abandoned: AtomicBool,
    /// Nothing follows. Changed under the lock of `pending` only, so that nobody sleeps through it.
    pub(super) is_closing: AtomicBool,
}

/// What the desk hands over.
pub(super) enum Item {
    /// All that is held back now.
    Held(Vec<Held>),
    Message(Box<Message>),
}

/// Where the desk puts messages.
pub(super) struct Outbox {
    queue: SyncSender<Item>,
    health: Arc<ReceiverHealth>,
    full: Fault,
}

impl Way {
    pub(super) fn health(&self) -> &Arc<ReceiverHealth> {
        &self.shared.health
    }

    pub(super) fn is_done(&self) -> bool {
        self.threads.iter().all(JoinHandle::is_finished)
    }

    /// From now on it is told so; what waits is told so as well.
    pub(super) fn change(&self, receiver: Receiver, how: &'static str, bounds: Bounds) {
        *lock(&self.shared.bounds) = bounds;
        self.shared.health.is_now(how);
        let mut pending = self.shared.pending();
        pending.limit(bounds.bytes_max);
        *lock(&self.shared.next) = Some(receiver);
        self.shared.changed.notify_all();
    }

    /// Tells nothing any more: what waits stays on disk, where there is one.
    pub(super) fn abandon(&self) {
        let _pending = self.shared.pending();
        self.shared.is_abandoned.store(true, Ordering::Relaxed);
        self.shared.changed.notify_all();
    }
}

/// How much may wait, for how long, and how often it is tried.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    pub(super) bytes_max: u64,
    pub(super) age_max: Duration,
    pub(super) retry: Retry,
}

impl Bounds {
    pub(super) fn of(settings: &Settings) -> Self {
        Self {
            bytes_max: settings.spool_bytes_max,
            age_max: Duration::from_secs(settings.spool_age_max_s),
            retry: settings.retry,
        }
    }
}

/// A receiver's way out, for whoever reads settings again.
pub(super) struct Way {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Outbox {
    /// Starts the threads; what an earlier process left is told first.
    pub(super) fn start(
        receiver: Receiver,
        spool: Option<(Spool, Left)>,
        bounds: Bounds,
        health: &Arc<ReceiverHealth>,
        say: &Say,
    ) -> std::io::Result<(Self, Way, Vec<Held>)> {
        let (spool, mut left) = spool.map_or((None, Left::default()), |(spool, left)| (Some(spool), left));
        let held = std::mem::take(&mut left.held);
        let fault = |what: &str| Fault::new(say, format!("{} ({what})", health.name));
        let mut pending = Pending::new(bounds.bytes_max);
        let next_seq = left.found.last().map_or(0, |found| found.seq + 1);
        add(&health.counts.torn, left.torn);
        add(&health.counts.found, left.found.len() as u64);
        if left.torn > 0 {
            say(&format!(
                "{}: {} messages were half-written when an earlier run was killed, and are lost",
                health.name, left.torn
            ));
        }
        let mut gone = Vec::new();
        for found in left.found {
            let until = Instant::now() + bounds.age_max.saturating_sub(age(found.arrived_ns));
            let (seq, severity, bytes) = (found.seq, found.severity, found.bytes);
            gone.extend(pending.push(Entry { seq, severity, bytes, until, message: None, is_kept: true }));
        }
        let shared = Arc::new(Shared {
            pending: Mutex::new(pending),
            changed: Condvar::new(),
            spool,
            health: Arc::clone(health),
            bounds: Mutex::new(bounds),
            next: Mutex::new(None),
            is_abandoned: AtomicBool::new(false),
            is_closing: AtomicBool::new(false),
        });
        shared.forget(&gone, &health.counts.dropped_full);
        let (queue, items) = sync_channel(QUEUE_MAX);
        let (keeper, disk) = Keeper::new(&shared, next_seq, fault("disk"), fault("room"));
        let (own, syncing) = (Arc::clone(&shared), fault("sync"));
        let sender = Sender::new(Arc::clone(&shared), receiver, fault(health.how()), fault("refused"));
        let threads = vec![
            spawn(&format!("keep {}", health.name), move || keeper.run(&items))?,
            spawn(&format!("sync {}", health.name), move || keeper::sync(&own, &disk, syncing))?,
            spawn(&format!("tell {}", health.name), move || sender.run())?,
        ];
        let outbox = Self { queue, health: Arc::clone(health), full: fault("queue") };
        Ok((outbox, Way { shared, threads }, held))
    }

    /// Never waits.
    pub(super) fn put(&mut self, message: Message) {
        add(&self.health.counts.taken, 1);
        match self.queue.try_send(Item::Message(Box::new(message))) {
            Ok(()) => self.full.is_over("messages are taken again"),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                add(&self.health.counts.dropped_full, 1);
                self.full.is("messages come faster than the disk takes them; they are lost until it does");
            }
        }
    }

    /// Keeps what is held back; `false` where there is no room to say so now.
    pub(super) fn hold(&self, held: Vec<Held>) -> bool {
        self.queue.try_send(Item::Held(held)).is_ok()
    }

    pub(super) fn name(&self) -> &str {
        &self.health.name
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> std::io::Result<JoinHandle<()>> {
    thread::Builder::new().name(name.to_owned()).spawn(work)
}

/// How long ago it was by the clock on the wall; a clock that was set back makes nothing older.
pub(super) fn age(arrived_ns: i64) -> Duration {
    let arrived = UNIX_EPOCH + Duration::from_nanos(u64::try_from(arrived_ns).unwrap_or(0));
    SystemTime::now().duration_since(arrived).unwrap_or_default()
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(super) fn bounds(&self) -> Bounds {
        *lock(&self.bounds)
    }

    pub(super) fn has_next(&self) -> bool {
        lock(&self.next).is_some()
    }

    pub(super) fn next_receiver(&self) -> Option<Receiver> {
        lock(&self.next).take()
    }

    pub(super) fn pending(&self) -> MutexGuard<'_, Pending> {
        lock(&self.pending)
    }

    pub(super) fn forget(&self, gone: &[Entry], counter: &AtomicU64) {
        for entry in gone {
            add(counter, 1);
            self.remove_file(entry);
        }
        self.count();
    }

    pub(super) fn remove_file(&self, entry: &Entry) {
        if let Some(spool) = self.spool.as_ref().filter(|_| entry.is_kept) {
            // A file that cannot be removed is told once more by the next process: at least once.
            let _ = spool.remove(entry.seq);
        }
    }

    pub(super) fn count(&self) {
        self.health.counts.waiting.store(self.pending().len() as u64, Ordering::Relaxed);
    }
}
