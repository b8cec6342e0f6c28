//! One receiver's way out: a queue, a thread that keeps what comes on disk, and a thread that tells it.
//!
//! ```text
//! desk --> queue (bounded, never waits) --> keeper: disk --> pending (bounded) --> sender: receiver, again and again
//! ```
//! A receiver that hangs holds its sender, a disk that hangs its keeper: nobody else. Order is kept: what is not told holds up
//! what comes after it, with longer and longer pauses.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver as Queue, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::backoff::Backoff;
use super::health::{Fault, ReceiverHealth, Say, add};
use super::message::Message;
use super::pending::{Entry, Pending};
use super::receive::{Failure, Receiver};
use super::spool::{Left, Spool};

/// Messages between the desk and the keeper.
const QUEUE_MAX: usize = 1_024;
/// How often the keeper tries a disk that failed, and both look for what is too old.
const LOOK: Duration = Duration::from_secs(2);
/// Files that are brought to the disk at once.
const UNSYNCED_MAX: usize = 64;

/// What keeper and sender share.
struct Shared {
    pending: Mutex<Pending>,
    changed: Condvar,
    spool: Option<Spool>,
    health: Arc<ReceiverHealth>,
    age_max: Duration,
    /// Nothing follows. Changed under the lock of `pending` only, so that nobody sleeps through it.
    is_closing: AtomicBool,
}

/// Where the desk puts messages.
pub(super) struct Outbox {
    queue: SyncSender<Message>,
    health: Arc<ReceiverHealth>,
    full: Fault,
}

/// Its threads.
pub(super) struct Threads {
    keeper: JoinHandle<()>,
    sender: JoinHandle<()>,
}

impl Threads {
    pub(super) fn are_done(&self) -> bool {
        self.keeper.is_finished() && self.sender.is_finished()
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
        let keeper = Keeper {
            shared: Arc::clone(&shared),
            next_seq,
            disk: fault("disk"),
            room: fault("room"),
            unsynced: Vec::new(),
        };
        let sender = Sender { shared, receiver, down: fault(health.how), refused: fault("refused") };
        let threads = Threads {
            keeper: spawn(&format!("keep {}", health.name), move || keeper.run(&items))?,
            sender: spawn(&format!("tell {}", health.name), move || sender.run())?,
        };
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
fn age(arrived_ns: i64) -> Duration {
    let arrived = UNIX_EPOCH + Duration::from_nanos(u64::try_from(arrived_ns).unwrap_or(0));
    SystemTime::now().duration_since(arrived).unwrap_or_default()
}

impl Shared {
    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn forget(&self, gone: &[Entry], counter: &AtomicU64) {
        for entry in gone {
            add(counter, 1);
            self.remove_file(entry);
        }
        self.count();
    }

    fn remove_file(&self, entry: &Entry) {
        if let Some(spool) = self.spool.as_ref().filter(|_| entry.is_kept) {
            // A file that cannot be removed is told once more by the next process: at least once.
            let _ = spool.remove(entry.seq);
        }
    }

    fn count(&self) {
        self.health.counts.waiting.store(self.pending().len() as u64, Ordering::Relaxed);
    }
}

/// Brings what comes to the disk.
struct Keeper {
    shared: Arc<Shared>,
    next_seq: u64,
    disk: Fault,
    room: Fault,
    unsynced: Vec<std::fs::File>,
}

impl Keeper {
    fn run(mut self, queue: &Queue<Message>) {
        loop {
            // Waits only when nothing is left to be brought to the disk.
            let wait = if self.unsynced.is_empty() { LOOK } else { Duration::ZERO };
            match queue.recv_timeout(wait) {
                Ok(message) => self.keep(message),
                Err(RecvTimeoutError::Timeout) => self.sync(),
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if self.unsynced.len() >= UNSYNCED_MAX {
                self.sync();
            }
        }
        self.sync();
        let pending = self.shared.pending();
        self.shared.is_closing.store(true, Ordering::Relaxed);
        self.shared.changed.notify_all();
        drop(pending);
    }

    fn keep(&mut self, message: Message) {
        let seq = self.next_seq;
        self.next_seq += 1;
        let kept = self.write(seq, &message);
        let bytes = kept.unwrap_or(message.line.len() as u64 * 2 + 256);
        let severity = message.severity;
        let until = Instant::now() + self.shared.age_max;
        let entry =
            Entry { seq, severity, bytes, until, message: Some(Arc::new(message)), is_kept: kept.is_some() };
        let gone = self.shared.pending().push(entry);
        self.shared.changed.notify_all();
        self.full(&gone);
    }

    fn full(&mut self, gone: &[Entry]) {
        self.shared.forget(gone, &self.shared.health.counts.dropped_full);
        if !gone.is_empty() {
            self.room.is("too much waits for it; the oldest of the least severe are dropped");
        }
    }

    fn write(&mut self, seq: u64, message: &Message) -> Option<u64> {
        match self.shared.spool.as_ref()?.write(seq, message) {
            Ok((file, bytes)) => {
                self.unsynced.push(file);
                self.disk.is_over("what waits is kept on disk again");
                Some(bytes)
            }
            Err(error) => {
                add(&self.shared.health.counts.unkept, 1);
                self.disk.is(&format!("cannot keep what waits on disk, only in memory: {error}"));
                None
            }
        }
    }

    /// Nothing comes: time for the disk, for what is not on it, and for what is too old.
    fn sync(&mut self) {
        if let Some(spool) = &self.shared.spool {
            let unkept = self.shared.pending().unkept();
            for (seq, message) in unkept {
                let Ok((file, _)) = spool.write(seq, &message) else { break };
                self.unsynced.push(file);
                self.disk.is_over("what waits is kept on disk again");
                if !self.shared.pending().kept(seq) {
                    let _ = spool.remove(seq);
                }
            }
            if !self.unsynced.is_empty()
                && let Err(error) = spool.sync(&self.unsynced)
            {
                self.disk.is(&format!("cannot bring what waits to the disk: {error}"));
            }
        }
        self.unsynced.clear();
        let old = self.shared.pending().expire(Instant::now());
        self.shared.forget(&old, &self.shared.health.counts.dropped_old);
        if self.shared.pending().len() == 0 {
            self.room.is_over("nothing waits for it any more");
        }
    }
}

/// Tells the receiver.
struct Sender {
    shared: Arc<Shared>,
    receiver: Receiver,
    down: Fault,
    refused: Fault,
}

impl Sender {
    fn run(mut self) {
        let mut backoff = Backoff::default();
        loop {
            let next = self.next();
            let Some((seq, message)) = next else {
                if self.is_closing() {
                    return;
                }
                self.rest(self.receiver.look(LOOK), |pending| pending.len() == 0);
                self.idle();
                continue;
            };
            let Some(message) = message else {
                self.is_gone(seq, &self.shared.health.counts.torn);
                continue;
            };
            match self.receiver.tell(&message) {
                Ok(()) => {
                    backoff = Backoff::default();
                    self.is_told(seq, &message);
                }
                Err(Failure::Refused(why)) => {
                    backoff = Backoff::default();
                    self.refused.is(&format!("will not have {}: {why}", message.key));
                    self.is_gone(seq, &self.shared.health.counts.refused);
                }
                Err(Failure::Again { why, after }) => {
                    add(&self.shared.health.counts.retried, 1);
                    self.set_down(Some(why));
                    self.pause(backoff.next().max(after.unwrap_or_default()));
                }
            }
        }
    }

    /// What comes meanwhile waits behind what failed; at the end there is no time for long pauses.
    fn pause(&self, pause: Duration) {
        let until = Instant::now() + pause;
        let mut left = pause;
        while !self.is_closing() && !left.is_zero() {
            self.rest(left, |_| true);
            left = until.saturating_duration_since(Instant::now());
        }
        if self.is_closing() {
            thread::sleep(pause.min(LOOK / 10));
        }
    }

    fn next(&self) -> Option<(u64, Option<Arc<Message>>)> {
        let (seq, message) = {
            let pending = self.shared.pending();
            let entry = pending.front()?;
            (entry.seq, entry.message.clone())
        };
        if message.is_some() {
            return Some((seq, message));
        }
        let read = self.shared.spool.as_ref().and_then(|spool| spool.read(seq).ok().flatten());
        Some((seq, read.map(Arc::new)))
    }

    fn rest(&self, time: Duration, while_so: impl Fn(&Pending) -> bool) {
        let pending = self.shared.pending();
        if !while_so(&pending) || self.is_closing() {
            return;
        }
        // Woken early is as good.
        let _ = self.shared.changed.wait_timeout(pending, time);
    }

    fn is_closing(&self) -> bool {
        self.shared.is_closing.load(Ordering::Relaxed)
    }

    fn idle(&mut self) {
        match self.receiver.idle() {
            Some(Ok(())) => self.set_down(None),
            Some(Err(why)) => self.set_down(Some(why)),
            None => {}
        }
    }

    fn is_told(&mut self, seq: u64, message: &Message) {
        self.set_down(None);
        self.refused.is_over("takes messages again");
        let took = u64::try_from(age(message.arrived_ns).as_micros()).unwrap_or(u64::MAX);
        self.shared.health.counts.latest_us.store(took, Ordering::Relaxed);
        self.is_gone(seq, &self.shared.health.counts.delivered);
    }

    fn is_gone(&self, seq: u64, counter: &AtomicU64) {
        let entry = self.shared.pending().remove(seq);
        // It may have been dropped meanwhile; then that is counted, and what became of it here as well.
        add(counter, 1);
        if let Some(entry) = entry {
            self.shared.remove_file(&entry);
        }
        self.shared.count();
    }

    fn set_down(&mut self, why: Option<String>) {
        let health = &self.shared.health;
        health.is_down.store(why.is_some(), Ordering::Relaxed);
        match &why {
            Some(why) => self.down.is(&format!("cannot be told: {why}; what is to be told waits")),
            None => self.down.is_over("is told again"),
        }
        *health.fault.lock().unwrap_or_else(PoisonError::into_inner) = why;
    }
}
