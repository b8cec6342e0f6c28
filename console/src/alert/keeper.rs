//! The thread that keeps what comes in files, and the one that brings the files to the disk itself.
//!
//! They are two, because a disk takes its time: a process that is killed meanwhile has its files already.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver as Queue, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Instant;

use super::health::add;
use super::held::Held;
use super::message::Message;
use super::outbox::{Item, LOOK, Shared};
use super::pending::Entry;
use crate::fault::Fault;

/// Files that wait for the disk. Of more, the system brings those that find no place to the disk in its own time.
const UNSYNCED_MAX: usize = 256;

/// Keeps what comes.
pub(super) struct Keeper {
    shared: Arc<Shared>,
    next_seq: u64,
    disk: Fault,
    room: Fault,
    unsynced: SyncSender<File>,
}

impl Keeper {
    /// With the files for [`sync`].
    pub(super) fn new(shared: &Arc<Shared>, next_seq: u64, disk: Fault, room: Fault) -> (Self, Queue<File>) {
        let (unsynced, files) = sync_channel(UNSYNCED_MAX);
        (Self { shared: Arc::clone(shared), next_seq, disk, room, unsynced }, files)
    }

    pub(super) fn run(mut self, queue: &Queue<Item>) {
        let mut looked = Instant::now();
        loop {
            match queue.recv_timeout(LOOK) {
                Ok(Item::Message(message)) => self.keep(*message),
                Ok(Item::Held(held)) => self.hold(&held),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if looked.elapsed() >= LOOK {
                looked = Instant::now();
                self.look();
            }
        }
        self.look();
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
        let until = Instant::now() + self.shared.bounds().age_max;
        let is_kept = kept.is_some();
        let entry = Entry { seq, severity, bytes, until, message: Some(Arc::new(message)), is_kept };
        let gone = self.shared.pending().push(entry);
        self.shared.changed.notify_all();
        self.shared.forget(&gone, &self.shared.health.counts.dropped_full);
        if !gone.is_empty() {
            self.room.is("too much waits for it; the oldest of the least severe are dropped");
        }
    }

    /// What quiet hours hold back is there after a restart.
    fn hold(&mut self, held: &[Held]) {
        let Some(spool) = &self.shared.spool else { return };
        match spool.hold(held) {
            Ok(file) => file.into_iter().for_each(|file| _ = self.unsynced.try_send(file)),
            Err(error) => {
                self.disk.is(&format!("cannot keep what quiet hours hold back on disk: {error}"));
            }
        }
    }

    fn write(&mut self, seq: u64, message: &Message) -> Option<u64> {
        match self.shared.spool.as_ref()?.write(seq, message) {
            Ok((file, bytes)) => {
                // Full: see there.
                let _ = self.unsynced.try_send(file);
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

    /// What is not on disk is tried again, and what is too old goes.
    fn look(&mut self) {
        if let Some(spool) = &self.shared.spool {
            let unkept = self.shared.pending().unkept();
            for (seq, message) in unkept {
                let Ok((file, _)) = spool.write(seq, &message) else { break };
                let _ = self.unsynced.try_send(file);
                self.disk.is_over("what waits is kept on disk again");
                if !self.shared.pending().kept(seq) {
                    let _ = spool.remove(seq);
                }
            }
        }
        let old = self.shared.pending().expire(Instant::now());
        self.shared.forget(&old, &self.shared.health.counts.dropped_old);
        if self.shared.pending().len() == 0 {
            self.room.is_over("nothing waits for it any more");
        }
        self.disk.settle();
        self.room.settle();
    }
}

/// Brings files to the disk, as many at once as there are.
pub(super) fn sync(shared: &Shared, files: &Queue<File>, mut disk: Fault) {
    let Some(spool) = &shared.spool else { return };
    while let Ok(first) = files.recv() {
        let mut together = vec![first];
        together.extend(files.try_iter().take(UNSYNCED_MAX));
        match spool.sync(&together) {
            Ok(()) => disk.is_over("what waits is brought to the disk again"),
            Err(error) => disk.is(&format!("cannot bring what waits to the disk: {error}")),
        }
    }
}
