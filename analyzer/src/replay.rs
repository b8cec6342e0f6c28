//! Frames to ticks: one worker's tables, read out whenever packet time passes a tick's end.
//!
//! Frames may be a little out of order (several interfaces, several queues): one that is late counts in the tick it
//! arrives in. Packet time that jumps back by more than [`BACKWARDS_NS`] starts anew.

use tidegauge_capture::frame::CapturedFrame;
use tidegauge_ebpf::attempt::AttemptBucket;
use tidegauge_ebpf::stamp::Stamp;

use crate::collect::{Collector, View};
use crate::engine::{Change, Engine};
use crate::feature::TICK_NS;
use crate::occupancy::{BUCKETS_AT_END, Occupancy, Sampler, Tables};
use crate::quality::{Lag, SourceLosses};
use crate::track::Shard;

/// A frame this much older than the current tick means that the clock was set or files are out of order.
pub const BACKWARDS_NS: u64 = 60 * 1_000_000_000;

/// A frame source's way into the engine.
pub struct Replay {
    shard: Shard,
    collector: Collector,
    engine: Engine,
    /// The current tick, 0 before the first frame.
    tick_start_ns: u64,
    /// The first and the last packet's time.
    first_last_ns: Option<(u64, u64)>,
    /// Frames that arrived in a later tick than their own.
    late: u64,
}

impl Replay {
    /// A replay into `engine` by way of `shard`.
    pub fn new(shard: Shard, engine: Engine) -> Self {
        Self {
            shard,
            collector: Collector::default(),
            engine,
            tick_start_ns: 0,
            first_last_ns: None,
            late: 0,
        }
    }

    /// Takes one frame; what changed before it is appended to `changes`.
    #[inline]
    pub fn frame(&mut self, frame: &CapturedFrame<'_>, changes: &mut Vec<Change>) {
        let ts_ns = frame.ts_ns;
        if ts_ns.wrapping_sub(self.tick_start_ns) >= TICK_NS || self.first_last_ns.is_none() {
            self.leave_tick(ts_ns, changes);
        }
        let (first, last) = self.first_last_ns.unwrap_or((ts_ns, ts_ns));
        self.first_last_ns = Some((first.min(ts_ns), last.max(ts_ns)));
        self.shard.observe(frame);
    }

    /// `ts_ns` is not in the current tick: after it, before it, or the first of all.
    #[cold]
    fn leave_tick(&mut self, ts_ns: u64, changes: &mut Vec<Change>) {
        let tick_of = |ts_ns: u64| ts_ns - ts_ns % TICK_NS;
        if self.first_last_ns.is_none() {
            self.tick_start_ns = tick_of(ts_ns);
        } else if ts_ns >= self.tick_start_ns {
            self.flush(changes);
            self.tick_start_ns = tick_of(ts_ns);
        } else if self.tick_start_ns - ts_ns > BACKWARDS_NS {
            self.flush(changes);
            self.engine.jump_back(tick_of(ts_ns), changes);
            self.tick_start_ns = tick_of(ts_ns);
        } else {
            self.late += 1;
        }
    }

    /// Hands the current tick over, and the empty ones up to `now_ns`: for live sources, when no frame comes.
    pub fn idle_until(&mut self, now_ns: u64, changes: &mut Vec<Change>) {
        while self.first_last_ns.is_some() && now_ns >= self.tick_start_ns + TICK_NS {
            self.flush(changes);
            self.tick_start_ns += TICK_NS;
        }
    }

    /// What a live source lost and how late it is, see [`Engine::note_source`].
    pub fn note_source(&mut self, losses: &SourceLosses, now_ns: u64, lag: Lag) {
        self.engine.note_source(losses, now_ns, lag);
    }

    fn flush(&mut self, changes: &mut Vec<Change>) {
        let end_ns = self.tick_start_ns + TICK_NS;
        self.shard.flush();
        let window = self.collector.collect(View::Heap(&self.shard), self.tick_start_ns, end_ns, true);
        self.engine.push(window, changes);
    }

    /// Ends the run.
    pub fn finish(&mut self, changes: &mut Vec<Change>) {
        if self.first_last_ns.is_some() {
            self.flush(changes);
            self.engine.settle(changes);
        }
        self.engine.finish(changes);
    }

    /// The engine's sums.
    pub const fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The tables.
    pub const fn shard(&self) -> &Shard {
        &self.shard
    }

    /// Times of the first and the last packet, nanoseconds.
    pub const fn first_last_ns(&self) -> Option<(u64, u64)> {
        self.first_last_ns
    }

    /// Frames counted in a later tick than their own.
    pub const fn late(&self) -> u64 {
        self.late
    }

    /// How full the tables are at the last packet.
    pub fn occupancy(&self) -> Occupancy {
        let now = Stamp::from_ns(self.first_last_ns.map_or(0, |(_, last)| last));
        Sampler::default().look_at(BUCKETS_AT_END, Tables::Heap(&self.shard), now)
    }

    /// Attempts that still wait for an answer at the end, young enough to get one.
    pub fn waiting_attempts(&self) -> u64 {
        let now = Stamp::from_ns(self.first_last_ns.map_or(0, |(_, last)| last));
        waiting(self.shard.attempts().iter().copied(), now)
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
