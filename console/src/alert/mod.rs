//! Alerts: who is told of incidents, how, and that nothing is lost on the way.
//!
//! ```text
//! feed --> Desk (who is told what: routes, quiet hours, limits) --> Outbox of each receiver --> the receiver
//!          one thread, no waiting                                   queue, disk, two threads
//! ```
//! One message for each change of state that a receiver does not know of, at least once, in order; its key (run,
//! incident, step) lets receivers drop doubles. [`settings`] is the file, [`Health`] what others may show.

mod backoff;
mod desk;
mod health;
mod held;
mod keeper;
mod limit;
mod message;
mod office;
mod outbox;
mod pending;
mod quiet;
mod receive;
mod sender;
pub mod settings;
mod spool;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use thiserror::Error;

use self::desk::Desk;
use self::held::Held;
use self::office::{Change as NewSettings, Office};
use self::outbox::{Bounds, Outbox, Way};
use self::receive::Receiver;
use self::settings::{ReceiverSettings, Settings};
use self::spool::Spool;
use crate::fault::{Fault, Say};
use crate::feed::Feed;

pub use self::desk::DeskCounts;
pub use self::health::{Counts, Health, ReceiverHealth};
pub use self::message::{Change, Message, Severity, What};

/// Lines that may wait for the desk, which takes microseconds for one.
const LINES_MAX: usize = 2_048;
/// How long settings that were read again may take to be in force.
const CHANGE_MAX: Duration = Duration::from_secs(5);
/// How often it is looked whether all is told.
const LOOK: Duration = Duration::from_millis(5);

/// Why alerts cannot start.
#[derive(Debug, Error)]
pub enum AlertError {
    /// What is needed of a receiver is not there.
    #[error("receiver {name}: {why}")]
    Receiver {
        /// Which.
        name: String,
        /// In words.
        why: String,
    },
    /// A directory for what waits cannot be used.
    #[error("cannot keep what waits for {name} in {dir}: {error}")]
    Spool {
        /// For whom.
        name: String,
        /// Where.
        dir: String,
        /// Why.
        error: std::io::Error,
    },
    /// What waits would be left behind.
    #[error("another spool_dir wants a restart")]
    SpoolDir,
    /// The desk does not take settings.
    #[error("the settings before these are not in force yet")]
    Busy,
    /// The system has no more threads.
    #[error("cannot start a thread")]
    Thread(#[from] std::io::Error),
}

/// A name for this run that no other has.
pub fn run_name(now: Timestamp) -> String {
    format!("{:x}-{:08x}", now.as_millisecond(), backoff::random() >> 32)
}

/// Alerts at work.
pub struct Alerts {
    desk: JoinHandle<()>,
    /// Settings on their way to the desk.
    change: Arc<Mutex<Option<NewSettings>>>,
    is_ending: Arc<AtomicBool>,
    spool_dir: Option<PathBuf>,
    ways: Vec<Way>,
    /// Of receivers that are not in the file any more.
    abandoned: Vec<Way>,
    health: Health,
    say: Say,
}

impl Alerts {
    /// Starts telling of a feed's incidents; what an earlier run could not tell comes first.
    ///
    /// # Errors
    /// Where certificates, a directory or a thread cannot be had.
    pub fn start(settings: &Settings, run: &str, feed: &mut Feed, say: &Say) -> Result<Self, AlertError> {
        let (mut outboxes, mut ways, mut earlier) = (Vec::new(), Vec::new(), BTreeMap::new());
        for receiver in &settings.receivers {
            let (outbox, way, held) = open(receiver, prepare(receiver)?, settings, say)?;
            outboxes.push(outbox);
            ways.push(way);
            earlier.insert(receiver.name.clone(), held);
        }
        let (lines, losses) = feed.subscribe(LINES_MAX);
        let counts = Arc::new(Mutex::new(DeskCounts::default()));
        let health = Health::new(Arc::clone(&counts), losses);
        health.set_receivers(ways.iter().map(|way| Arc::clone(way.health())).collect());
        let (change, is_ending) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let mut office = Office {
            desk: Desk::new(run.to_owned(), settings, earlier, Timestamp::now()),
            outboxes,
            change: Arc::clone(&change),
            is_ending: Arc::clone(&is_ending),
            counts,
            losses: Arc::clone(&health.feed),
            lost: Fault::new(say, "alerts".into()),
        };
        let desk = thread::Builder::new().name("alerts".into()).spawn(move || office.run(&lines))?;
        let (spool_dir, say) = (settings.spool_dir.clone(), Arc::clone(say));
        Ok(Self { desk, change, is_ending, spool_dir, ways, abandoned: Vec::new(), health, say })
    }

    /// Goes on by other settings. Receivers are known by their names: who is still there keeps what waits for them, and is told
    /// it in the new way; what waits for who is not there any more stays on disk.
    ///
    /// # Errors
    /// Where certificates, a directory or a thread cannot be had: then all is as it was.
    pub fn reload(&mut self, settings: &Settings) -> Result<(), AlertError> {
        if settings.spool_dir != self.spool_dir {
            return Err(AlertError::SpoolDir);
        }
        self.wait_for_desk()?;
        // Who was taken out before may come back: their directories are free once their threads are done.
        self.abandoned.retain(|way| !way.is_done());
        // All that may fail comes first.
        let prepared: Vec<_> = settings.receivers.iter().map(prepare).collect::<Result<_, _>>()?;
        let (mut opened, mut changed) = (Vec::new(), Vec::new());
        for (receiver, prepared) in settings.receivers.iter().zip(prepared) {
            if self.ways.iter().any(|way| way.health().name == receiver.name) {
                changed.push((receiver, prepared));
            } else {
                opened.push(open(receiver, prepared, settings, &self.say)?);
            }
        }
        let bounds = Bounds::of(settings);
        let mut before = std::mem::take(&mut self.ways);
        let mut take = |name: &str| {
            before.iter().position(|way| way.health().name == name).map(|place| before.remove(place))
        };
        let (mut outboxes, mut earlier) = (Vec::new(), BTreeMap::new());
        for (receiver, prepared) in changed {
            let Some(way) = take(&receiver.name) else { continue };
            way.change(prepared, receiver.how.name(), bounds);
            self.ways.push(way);
        }
        for (outbox, way, held) in opened {
            earlier.insert(outbox.name().to_owned(), held);
            outboxes.push(outbox);
            self.ways.push(way);
        }
        before.iter().for_each(Way::abandon);
        self.abandoned.extend(before);
        let place = |way: &Way| settings.receivers.iter().position(|one| one.name == way.health().name);
        self.ways.sort_by_key(place);
        self.health.set_receivers(self.ways.iter().map(|way| Arc::clone(way.health())).collect());
        *lock(&self.change) = Some(NewSettings { settings: settings.clone(), outboxes, earlier });
        // In force for the next line; a desk that takes its time goes by them later.
        let _ = self.wait_for_desk();
        Ok(())
    }

    /// Until the settings before are in force.
    fn wait_for_desk(&self) -> Result<(), AlertError> {
        let until = Instant::now() + CHANGE_MAX;
        while lock(&self.change).is_some() {
            if Instant::now() >= until || self.desk.is_finished() {
                return Err(AlertError::Busy);
            }
            thread::sleep(LOOK);
        }
        Ok(())
    }

    /// The run is about to be asked to end: the incidents that it closes then are not over, and what quiet hours hold back of
    /// them is kept for the next run.
    pub fn ending(&self) {
        self.is_ending.store(true, Ordering::Relaxed);
    }

    /// How receivers fare.
    pub fn health(&self) -> Health {
        self.health.clone()
    }

    /// After the feed's end: waits until all is told, or this long. What is not told then waits on disk for the next
    /// run, if there is a `spool_dir`; the number of it is returned.
    pub fn finish(self, wait: Duration) -> u64 {
        let until = Instant::now() + wait;
        let is_done = || self.desk.is_finished() && self.ways.iter().all(Way::is_done);
        while !is_done() && Instant::now() < until {
            thread::sleep(LOOK);
        }
        // Who goes on telling would tell what the next run tells.
        self.ways.iter().for_each(Way::abandon);
        let waiting = |way: &Way| way.health().counts.waiting.load(Ordering::Relaxed);
        self.ways.iter().map(waiting).sum()
    }
}

/// One receiver's queue, threads, and what quiet hours held back when an earlier run ended.
fn open(
    receiver: &ReceiverSettings,
    prepared: Receiver,
    settings: &Settings,
    say: &Say,
) -> Result<(Outbox, Way, Vec<Held>), AlertError> {
    let health = Arc::new(ReceiverHealth::new(&receiver.name, receiver.how.name()));
    let spool = match &settings.spool_dir {
        Some(dir) => Some(spool(&dir.join(&receiver.name), &receiver.name)?),
        None => None,
    };
    Ok(Outbox::start(prepared, spool, Bounds::of(settings), &health, say)?)
}

fn spool(dir: &Path, name: &str) -> Result<(Spool, spool::Left), AlertError> {
    let failed = |error| AlertError::Spool { name: name.to_owned(), dir: dir.display().to_string(), error };
    Spool::open(dir).map_err(failed)
}

fn prepare(receiver: &ReceiverSettings) -> Result<Receiver, AlertError> {
    Receiver::new(receiver).map_err(|why| AlertError::Receiver { name: receiver.name.clone(), why })
}

/// Tells one receiver of nothing, to see whether it hears: at once, and without what waits for it.
///
/// # Errors
/// Why it was not told, in words.
pub fn test(receiver: &ReceiverSettings, message: &Message) -> Result<(), String> {
    let mut way = prepare(receiver).map_err(|error| error.to_string())?;
    way.tell(message).map_err(|failure| failure.why().to_owned())
}

fn lock<T>(of: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    of.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
