//! Frames of files to the engine: one worker, and nobody to wait for.

use tidegauge_capture::frame::CapturedFrame;
use tidegauge_ebpf::attempt::AttemptBucket;
use tidegauge_ebpf::stamp::Stamp;

use crate::engine::{Change, Engine};
use crate::track::Shard;
use crate::worker::{Turn, Worker};

/// A frame source's way into the engine.
pub struct Replay {
    worker: Worker,
    engine: Engine,
    turns: Vec<Turn>,
}

impl Replay {
    /// A replay into `engine` by way of `shard`.
    pub fn new(shard: Shard, engine: Engine) -> Self {
        Self { worker: Worker::new(shard), engine, turns: Vec::new() }
    }

    /// Takes one frame; what changed before it is appended to `changes`.
    #[inline]
    pub fn frame(&mut self, frame: &CapturedFrame<'_>, changes: &mut Vec<Change>) {
        self.worker.frame(frame, &mut self.turns);
        if !self.turns.is_empty() {
            push_all(&mut self.engine, &mut self.turns, changes);
        }
    }

    /// Ends the run.
    pub fn finish(&mut self, changes: &mut Vec<Change>) {
        self.worker.finish(&mut self.turns);
        push_all(&mut self.engine, &mut self.turns, changes);
        if self.worker.first_last_ns().is_some() {
            self.engine.settle(changes);
        }
        self.engine.finish(changes);
    }

    /// The engine's sums.
    pub const fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The worker and its tables.
    pub const fn worker(&self) -> &Worker {
        &self.worker
    }
}

/// Hands what a worker had to the engine.
pub fn push_all(engine: &mut Engine, turns: &mut Vec<Turn>, changes: &mut Vec<Change>) {
    for turn in turns.drain(..) {
        match turn {
            Turn::Window(window) => engine.push(*window, changes),
            Turn::JumpBack(start_ns) => engine.jump_back(start_ns, changes),
        }
    }
}

/// Unanswered attempts in half-open buckets that have not timed out at `now`.
pub fn waiting(buckets: impl Iterator<Item = AttemptBucket>, now: Stamp) -> u64 {
    let waiting = |bucket: AttemptBucket| {
        let unanswered = |attempt: &&tidegauge_ebpf::attempt::Attempt| {
            attempt.state() == tidegauge_ebpf::attempt::ASKED && attempt.waiting(now)
        };
        bucket.ways.iter().filter(unanswered).count() as u64
    };
    buckets.map(waiting).sum()
}
