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

use super::health::{Fault, ReceiverHealth, Say, add};
use super::keeper::{self, Keeper};
use super::message::Message;
use super::pending::{Entry, Pending};
use super::receive::Receiver;
use super::sender::Sender;
use super::spool::{Left, Spool};

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
    pub(super) age_max: Duration,
    /// Nothing follows. Changed under the lock of `pending` only, so that nobody sleeps through it.
    pub(super) is_closing: AtomicBool,
}

/// Where the desk puts messages.
pub(super) struct Outbox {
    queue: SyncSender<Message>,
    health: Arc<ReceiverHealth>,
    full: Fault,
}

/// Its threads.
pub(super) struct Threads(Vec<JoinHandle<()>>);

impl Threads {
    pub(super) fn are_done(&self) -> bool {
        self.0.iter().all(JoinHandle::is_finished)
    }
}

/// How much may wait, and for how long.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    pub(super) bytes_max: u64,
    pub(super) age_max: Duration,
}

impl Outbox {
    /// Starts the threads; what an earlier process left is told first.
    pub(super) fn start(
        receiver: Receiver,
        spool: Option<(Spool, Left)>,
        bounds: Bounds,
        health: &Arc<ReceiverHealth>,
        say: &Say,
    ) -> std::io::Result<(Self, Threads)> {
        let (spool, left) = spool.map_or((None, Left::default()), |(spool, left)| (Some(spool), left));
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
            age_max: bounds.age_max,
            is_closing: AtomicBool::new(false),
        });
        shared.forget(&gone, &health.counts.dropped_full);
        let (queue, items) = sync_channel(QUEUE_MAX);
        let (keeper, disk) = Keeper::new(&shared, next_seq, fault("disk"), fault("room"));
        let (own, syncing) = (Arc::clone(&shared), fault("sync"));
        let sender = Sender::new(shared, receiver, fault(health.how), fault("refused"));
        let threads = Threads(vec![
            spawn(&format!("keep {}", health.name), move || keeper.run(&items))?,
            spawn(&format!("sync {}", health.name), move || keeper::sync(&own, &disk, syncing))?,
            spawn(&format!("tell {}", health.name), move || sender.run())?,
        ]);
        Ok((Self { queue, health: Arc::clone(health), full: fault("queue") }, threads))
    }

    /// Never waits.
    pub(super) fn put(&mut self, message: Message) {
        add(&self.health.counts.taken, 1);
        match self.queue.try_send(message) {
            Ok(()) => self.full.is_over("messages are taken again"),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                add(&self.health.counts.dropped_full, 1);
                self.full.is("messages come faster than the disk takes them; they are lost until it does");
            }
        }
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

impl Shared {
    pub(super) fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
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
