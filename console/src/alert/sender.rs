//! The thread that tells a receiver what waits for it, oldest first, again and again.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::backoff::Backoff;
use super::health::{Fault, add};
use super::message::Message;
use super::outbox::{LOOK, Shared, age};
use super::pending::Pending;
use super::receive::{Failure, Receiver};

/// Tells the receiver.
pub(super) struct Sender {
    shared: Arc<Shared>,
    receiver: Receiver,
    down: Fault,
    refused: Fault,
}

impl Sender {
    pub(super) fn new(shared: Arc<Shared>, receiver: Receiver, down: Fault, refused: Fault) -> Self {
        Self { shared, receiver, down, refused }
    }

    pub(super) fn run(mut self) {
        let mut backoff = Backoff::default();
        loop {
            self.down.settle();
            self.refused.settle();
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
