//! The thread that tells a receiver what waits for it, oldest first, again and again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::backoff::Backoff;
use super::health::add;
use super::message::Message;
use super::outbox::{LOOK, Shared, age};
use super::pending::Pending;
use super::receive::{Failure, Receiver};
use crate::fault::Fault;

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
        let mut backoff = self.backoff();
        loop {
            self.down.settle();
            self.refused.settle();
            if self.is_abandoned() {
                return;
            }
            if self.succeed() {
                backoff = self.backoff();
            }
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
                    backoff = self.backoff();
                    self.is_told(seq, &message);
                }
                Err(Failure::Refused(why)) => {
                    backoff = self.backoff();
                    let why = format!("will not have {}: {why}", message.key);
                    self.refused.is(&why);
                    self.shared.health.refused_for(why);
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

    fn backoff(&self) -> Backoff {
        Backoff::new(self.shared.bounds().retry)
    }

    /// Settings that were read again.
    fn succeed(&mut self) -> bool {
        let Some(mut next) = self.shared.next_receiver() else { return false };
        std::mem::swap(&mut self.receiver, &mut next);
        self.receiver.succeed(next);
        let health = &self.shared.health;
        self.down.is_of(format!("{} ({})", health.name, health.how()));
        true
    }

    fn is_abandoned(&self) -> bool {
        self.shared.is_abandoned.load(Ordering::Relaxed)
    }

    /// What comes meanwhile waits behind what failed; at the end there is no time for long pauses.
    fn pause(&self, pause: Duration) {
        let until = Instant::now() + pause;
        let mut left = pause;
        while !self.is_closing() && !self.is_abandoned() && !self.shared.has_next() && !left.is_zero() {
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
        if !while_so(&pending) || self.is_closing() || self.is_abandoned() || self.shared.has_next() {
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
        match &why {
            Some(why) => self.down.is(&format!("cannot be told: {why}; what is to be told waits")),
            None => self.down.is_over("is told again"),
        }
        self.shared.health.set_fault(why);
    }
}
