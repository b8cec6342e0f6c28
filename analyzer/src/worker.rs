//! One worker: frames into its tables, and a window out of them whenever packet time passes a tick's end.
//!
//! Frames may be a little out of order (several interfaces, several queues): one that is late counts in the tick it
//! arrives in. Packet time that jumps back by more than [`BACKWARDS_NS`] starts anew.

use tidegauge_capture::frame::CapturedFrame;
use tidegauge_ebpf::stamp::Stamp;

use crate::collect::{Collector, View};
use crate::feature::TICK_NS;
use crate::occupancy::waiting;
use crate::sample::{FlowSampler, Pressure};
use crate::track::Shard;
use crate::window::Window;

/// A frame this much older than the current tick means that the clock was set or files are out of order.
pub const BACKWARDS_NS: u64 = 60 * 1_000_000_000;

/// What a worker has for the engine, in this order.
#[derive(Debug)]
pub enum Turn {
    /// A tick is over.
    Window(Box<Window>),
    /// Packet time jumped back to this tick, nanoseconds.
    JumpBack(u64),
}

/// A worker's tables and its place in time.
pub struct Worker {
    shard: Shard,
    collector: Collector,
    flow_sampler: FlowSampler,
    /// The current tick; `None` before the first frame of a worker that was not told when it begins.
    tick_start_ns: Option<u64>,
    /// The first and the last packet's time.
    first_last_ns: Option<(u64, u64)>,
    /// Frames that arrived in a later tick than their own.
    late: u64,
}

impl Worker {
    /// A worker on these tables.
    pub fn new(shard: Shard) -> Self {
        Self {
            shard,
            collector: Collector::default(),
            flow_sampler: FlowSampler::default(),
            tick_start_ns: None,
            first_last_ns: None,
            late: 0,
        }
    }

    /// Begins at this time, nanoseconds: from now on ticks pass without frames too.
    pub fn begin(&mut self, now_ns: u64) {
        self.tick_start_ns = Some(now_ns - now_ns % TICK_NS);
    }

    /// Takes one frame; what was over before it is appended to `turns`.
    #[inline]
    pub fn frame(&mut self, frame: &CapturedFrame<'_>, turns: &mut Vec<Turn>) {
        let ts_ns = frame.ts_ns;
        if self.tick_start_ns.is_none_or(|start_ns| ts_ns.wrapping_sub(start_ns) >= TICK_NS) {
            self.leave_tick(ts_ns, turns);
        }
        let (first, last) = self.first_last_ns.unwrap_or((ts_ns, ts_ns));
        self.first_last_ns = Some((first.min(ts_ns), last.max(ts_ns)));
        self.shard.observe(frame);
    }

    /// `ts_ns` is not in the current tick: after it, before it, or the first of all.
    #[cold]
    fn leave_tick(&mut self, ts_ns: u64, turns: &mut Vec<Turn>) {
        let tick_ns = ts_ns - ts_ns % TICK_NS;
        let Some(start_ns) = self.tick_start_ns else {
            self.tick_start_ns = Some(tick_ns);
            return;
        };
        if ts_ns < start_ns && start_ns - ts_ns <= BACKWARDS_NS {
            self.late += 1;
            return;
        }
        self.end_tick(turns);
        if ts_ns < start_ns {
            turns.push(Turn::JumpBack(tick_ns));
        }
        self.tick_start_ns = Some(tick_ns);
    }

    /// Hands the current tick over, and the empty ones up to `now_ns`: for live sources, when no frame comes.
    pub fn idle_until(&mut self, now_ns: u64, turns: &mut Vec<Turn>) {
        while let Some(start_ns) = self.tick_start_ns.filter(|start_ns| now_ns >= start_ns + TICK_NS) {
            self.end_tick(turns);
            self.tick_start_ns = Some(start_ns + TICK_NS);
        }
    }

    /// Hands over what is left.
    pub fn finish(&mut self, turns: &mut Vec<Turn>) {
        self.end_tick(turns);
    }

    fn end_tick(&mut self, turns: &mut Vec<Turn>) {
        let Some(start_ns) = self.tick_start_ns else { return };
        self.shard.flush();
        let view = View::Heap(&self.shard);
        let mut window = self.collector.collect(view, start_ns, start_ns + TICK_NS);
        let one_in = self.flow_sampler.one_in();
        if one_in > 1 {
            window.scale(one_in);
        }
        turns.push(Turn::Window(Box::new(window)));
    }

    /// A live source's tick is over, and so it kept up: whether all flows are followed from now on is decided here, so
    /// that within a tick the share is one. Call it right after [`Worker::idle_until`].
    pub fn relieve(&mut self, pressure: Pressure, turns: &mut Vec<Turn>) {
        let before = self.flow_sampler;
        let one_in = self.flow_sampler.tick(pressure);
        if one_in != before.one_in() {
            // What the tick that has begun counted already was counted with the share before.
            let after = std::mem::replace(&mut self.flow_sampler, before);
            self.end_tick(turns);
            self.flow_sampler = after;
            self.shard.sample_flows(one_in);
        }
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

    /// Attempts that still wait for an answer at the end, young enough to get one.
    pub fn waiting_attempts(&self) -> u64 {
        waiting(self.shard.attempts().iter().copied(), self.last_stamp())
    }

    fn last_stamp(&self) -> Stamp {
        Stamp::from_ns(self.first_last_ns.map_or(0, |(_, last)| last))
    }
}
