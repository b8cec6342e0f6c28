//! The desk's thread: lines in, messages to their outboxes, settings that are read again. It waits for nobody.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver as Lines, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::desk::{Addressed, Desk, DeskCounts};
use super::held::Held;
use super::lock;
use super::outbox::Outbox;
use super::settings::Settings;
use crate::fault::Fault;
use crate::feed::Losses;
use crate::line::Line;

/// How often the desk looks at the clock.
const TICK: Duration = Duration::from_millis(500);

/// Settings that were read again, with all that may fail done.
pub(super) struct Change {
    pub(super) settings: Settings,
    /// Of receivers that are new.
    pub(super) outboxes: Vec<Outbox>,
    /// What an earlier run held back for them, by their names.
    pub(super) earlier: BTreeMap<String, Vec<Held>>,
}

/// The desk, and the outboxes in the order of its receivers.
pub(super) struct Office {
    pub(super) desk: Desk,
    pub(super) outboxes: Vec<Outbox>,
    pub(super) change: Arc<Mutex<Option<Change>>>,
    pub(super) is_ending: Arc<AtomicBool>,
    pub(super) counts: Arc<Mutex<DeskCounts>>,
    pub(super) losses: Arc<Losses>,
    pub(super) lost: Fault,
}

impl Office {
    pub(super) fn run(&mut self, lines: &Lines<Arc<Line>>) {
        let mut ticked = Instant::now();
        loop {
            match lines.recv_timeout(TICK) {
                Ok(line) => {
                    self.desk.is_ending = self.is_ending.load(Ordering::Relaxed);
                    let messages = self.desk.take(&line, Timestamp::now());
                    self.send(messages);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if ticked.elapsed() >= TICK {
                ticked = Instant::now();
                self.tick();
            }
        }
        let messages = self.desk.finish(Timestamp::now());
        self.send(messages);
        // Without them the receivers' threads come to their ends.
        self.outboxes.clear();
        // Who waits for settings to be in force waits no longer.
        *lock(&self.change) = None;
    }

    fn tick(&mut self) {
        // Not to be done under the lock.
        let change = lock(&self.change).take();
        if let Some(change) = change {
            self.change(change);
        }
        let messages = self.desk.tick(Timestamp::now());
        self.send(messages);
        if self.losses.not_taken.load(Ordering::Relaxed) > 0 {
            self.lost.is("lines came faster than they were looked at; incidents may have been missed");
        }
    }

    /// Who is not in the file any more goes with their outbox.
    fn change(&mut self, change: Change) {
        self.outboxes.extend(change.outboxes);
        let place = |outbox: &Outbox| {
            change.settings.receivers.iter().position(|receiver| receiver.name == outbox.name())
        };
        self.outboxes.retain(|outbox| place(outbox).is_some());
        self.outboxes.sort_by_key(place);
        self.desk.change(&change.settings, change.earlier, Timestamp::now());
    }

    fn send(&mut self, messages: Vec<Addressed>) {
        for (index, message) in messages {
            self.outboxes[index].put(message);
        }
        for (index, outbox) in self.outboxes.iter().enumerate() {
            if self.desk.held(index).is_some_and(|held| outbox.hold(held)) {
                self.desk.is_kept(index);
            }
        }
        *lock(&self.counts) = self.desk.counts;
    }
}
