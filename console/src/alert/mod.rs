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
mod keeper;
mod limit;
mod message;
mod outbox;
mod pending;
mod quiet;
mod receive;
mod sender;
pub mod settings;
mod spool;

use std::sync::mpsc::{Receiver as Lines, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use thiserror::Error;

use self::desk::{Addressed, Desk, DeskCounts};
use self::health::Fault;
use self::outbox::{Bounds, Outbox, Threads};
use self::receive::Receiver;
use self::settings::{ReceiverSettings, Settings};
use self::spool::Spool;
use crate::feed::{Feed, Losses};
use crate::line::Line;

pub use self::health::{Counts, Health, ReceiverHealth, Say};
pub use self::message::{Change, Message, Severity, What};

/// Lines that may wait for the desk, which takes microseconds for one.
const LINES_MAX: usize = 2_048;
/// How often the desk looks at the clock.
const TICK: Duration = Duration::from_millis(500);
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
    threads: Vec<Threads>,
    health: Health,
}

impl Alerts {
    /// Starts telling of a feed's incidents; what an earlier run could not tell comes first.
    ///
    /// # Errors
    /// Where certificates, a directory or a thread cannot be had.
    pub fn start(settings: &Settings, run: &str, feed: &mut Feed, say: &Say) -> Result<Self, AlertError> {
        let bounds = Bounds {
            bytes_max: settings.spool_bytes_max,
            age_max: Duration::from_secs(settings.spool_age_max_s),
        };
        let (mut outboxes, mut threads, mut receivers) = (Vec::new(), Vec::new(), Vec::new());
        for receiver in &settings.receivers {
            let health = Arc::new(ReceiverHealth::new(&receiver.name, receiver.how.name()));
            let way = prepare(receiver)?;
            let spool = match &settings.spool_dir {
                Some(dir) => {
                    let dir = dir.join(&receiver.name);
                    let failed = |error| AlertError::Spool {
                        name: receiver.name.clone(),
                        dir: dir.display().to_string(),
                        error,
                    };
                    Some(Spool::open(&dir).map_err(failed)?)
                }
                None => None,
            };
            let (outbox, own) = Outbox::start(way, spool, bounds, &health, say)?;
            outboxes.push(outbox);
            threads.push(own);
            receivers.push(health);
        }
        let (lines, losses) = feed.subscribe(LINES_MAX);
        let counts = Arc::new(Mutex::new(DeskCounts::default()));
        let health = Health { receivers: Arc::new(receivers), desk: Arc::clone(&counts), feed: losses };
        let desk = Desk::new(run.to_owned(), settings, Timestamp::now());
        let mut office = Office {
            desk,
            outboxes,
            counts,
            losses: Arc::clone(&health.feed),
            lost: Fault::new(say, "alerts".into()),
        };
        let desk = thread::Builder::new().name("alerts".into()).spawn(move || office.run(&lines))?;
        Ok(Self { desk, threads, health })
    }

    /// How receivers fare.
    pub fn health(&self) -> Health {
        self.health.clone()
    }

    /// After the feed's end: waits until all is told, or this long. What is not told then waits on disk for the next
    /// run, if there is a `spool_dir`; the number of it is returned.
    pub fn finish(self, wait: Duration) -> u64 {
        let until = Instant::now() + wait;
        let is_done = || self.desk.is_finished() && self.threads.iter().all(Threads::are_done);
        while !is_done() && Instant::now() < until {
            thread::sleep(LOOK);
        }
        let waiting = |receiver: &Arc<ReceiverHealth>| {
            receiver.counts.waiting.load(std::sync::atomic::Ordering::Relaxed)
        };
        self.health.receivers.iter().map(waiting).sum()
    }
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

/// The desk's thread.
struct Office {
    desk: Desk,
    outboxes: Vec<Outbox>,
    counts: Arc<Mutex<DeskCounts>>,
    losses: Arc<Losses>,
    lost: Fault,
}

impl Office {
    fn run(&mut self, lines: &Lines<Arc<Line>>) {
        let mut ticked = Instant::now();
        loop {
            match lines.recv_timeout(TICK) {
                Ok(line) => {
                    let messages = self.desk.take(&line, Timestamp::now());
                    self.send(messages);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if ticked.elapsed() >= TICK {
                ticked = Instant::now();
                let messages = self.desk.tick(Timestamp::now());
                self.send(messages);
                if self.losses.not_taken.load(std::sync::atomic::Ordering::Relaxed) > 0 {
                    self.lost
                        .is("lines came faster than they were looked at; incidents may have been missed");
                }
            }
        }
        let messages = self.desk.finish(Timestamp::now());
        self.send(messages);
        // Without them the receivers' threads come to their ends.
        self.outboxes.clear();
    }

    fn send(&mut self, messages: Vec<Addressed>) {
        for (index, message) in messages {
            self.outboxes[index].put(message);
        }
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner) = self.desk.counts;
    }
}
