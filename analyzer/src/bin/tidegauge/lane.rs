//! A worker's thread: takes frames from its source, hands over windows once a tick.

use std::sync::mpsc::SyncSender;

use tidegauge_analyzer::account::RoundTrips;
use tidegauge_analyzer::evidence::ring::{Chunk, Keeper};
use tidegauge_analyzer::feature::{TICK_NS, TICKS};
use tidegauge_analyzer::occupancy::Occupancy;
use tidegauge_analyzer::quality::Lag;
use tidegauge_analyzer::sample::Pressure;
use tidegauge_analyzer::worker::{Passed, Worker};
use tidegauge_capture::frame_source::{FrameLosses, FrameSource, FrameSourceError};
use tidegauge_capture::process::pin_to_cpu;
use tidegauge_ebpf::stamp::Stamp;

use super::live::Clock;

/// Longest wait for a frame, a fifth of a tick.
const WAIT_MS: u32 = 20;
/// A tick is handed over this long after its end at the least: blocks of a ring arrive late.
pub(crate) const SETTLE_NS: u64 = 30_000_000;
/// Reports that may wait for the engine: three seconds of one worker. When it does not come to read them, workers wait
/// too, and what their sources then lose is counted there.
pub(crate) const REPORTS_MAX: usize = 32;

/// What a worker tells once a tick.
pub(crate) struct Report {
    /// Its number.
    pub(crate) lane: usize,
    /// What it has for the engine.
    pub(crate) passed: Vec<Passed>,
    /// Until when that is everything, nanoseconds.
    pub(crate) passed_ns: u64,
    /// Frames read since the last report.
    pub(crate) frames: u64,
    /// Frames that its source lost since the start, by place.
    pub(crate) losses: FrameLosses,
    pub(crate) lag: Lag,
    pub(crate) occupancy: Occupancy,
    /// Frames that were kept for evidence, and how many were not.
    pub(crate) kept: Option<(Chunk, u64)>,
    /// Set in the last one.
    pub(crate) end: Option<End>,
}

/// What a worker leaves behind.
pub(crate) struct End {
    pub(crate) waiting_attempts: u64,
    pub(crate) late_frames: u64,
    pub(crate) round_trips: RoundTrips,
    /// Why it ended, if not because it was told to.
    pub(crate) error: Option<FrameSourceError>,
}

/// One worker with its source.
pub(crate) struct Lane<'a> {
    number: usize,
    source: FrameSource,
    worker: Worker,
    clock: &'a Clock,
    /// How long the source itself keeps frames back, nanoseconds.
    held_ns: u64,
    occupancy: Occupancy,
    /// End of the tick that it reports next.
    due_ns: u64,
    frames: u64,
    losses: FrameLosses,
    /// The CPU to stay on.
    cpu: Option<usize>,
    /// Keeps frames for evidence.
    keeper: Option<Keeper>,
}

impl<'a> Lane<'a> {
    /// Worker number `number`; its source holds frames back for up to `held_ms`. With `cpu` it stays there.
    pub(crate) fn new(
        number: usize,
        source: FrameSource,
        worker: Worker,
        clock: &'a Clock,
        held_ms: u32,
        cpu: Option<usize>,
    ) -> Self {
        Self {
            number,
            source,
            worker,
            clock,
            held_ns: SETTLE_NS.max(u64::from(held_ms) * 3 / 2 * 1_000_000),
            occupancy: Occupancy::default(),
            due_ns: clock.now_ns(),
            frames: 0,
            losses: FrameLosses::default(),
            cpu,
            keeper: None,
        }
    }

    /// Keeps frames for evidence.
    pub(crate) fn with_keeper(mut self, keeper: Option<Keeper>) -> Self {
        self.keeper = keeper;
        self
    }

    /// Works until it is over or the source ends; `reports` may be gone before.
    pub(crate) fn run(mut self, reports: &SyncSender<Report>) {
        if let Some(cpu) = self.cpu {
            // Where it may not, it works all the same.
            let _ = pin_to_cpu(cpu);
        }
        let mut passed = Vec::new();
        self.worker.begin(self.clock.now_ns());
        loop {
            let (worker, keeper) = (&mut self.worker, &mut self.keeper);
            let asked_ns = self.clock.now_ns();
            let polled = self.source.poll(WAIT_MS, |frame| {
                if let Some(keeper) = keeper {
                    keeper.push(&frame);
                }
                worker.frame(&frame, &mut passed);
            });
            let over = self.clock.is_over() || polled.is_err();
            let frames = polled.as_ref().map_or(0, |frames| *frames);
            self.frames += frames as u64;
            // Where others had the CPU since, there may be frames by now that the source was not asked for.
            let now_ns = self.clock.now_ns().min(asked_ns + u64::from(WAIT_MS) * 1_000_000);
            // As soon as the next tick's frames must all be here.
            if !over && now_ns.saturating_sub(self.held_ns) < self.due_ns {
                continue;
            }
            let mut report = self.report(now_ns, frames, over, &mut passed);
            if over {
                self.worker.finish(&mut report.passed);
                report.passed_ns = u64::MAX;
                report.end = Some(End {
                    waiting_attempts: self.worker.waiting_attempts(),
                    late_frames: self.worker.late(),
                    round_trips: self.worker.into_round_trips(),
                    error: polled.err(),
                });
                // Nobody may be there any more.
                let _ = reports.send(report);
                return;
            }
            if reports.send(report).is_err() {
                return;
            }
        }
    }

    /// A tick is over; the last poll brought `frames`.
    fn report(&mut self, now_ns: u64, frames: usize, over: bool, passed: &mut Vec<Passed>) -> Report {
        let settled_ns = now_ns.saturating_sub(self.held_ns);
        self.worker.catch_up(passed);
        let newest_ns = self.worker.first_last_ns().filter(|_| frames != 0).map(|(_, last)| last);
        let behind_ns = newest_ns.map_or(0, |newest_ns| settled_ns.saturating_sub(newest_ns));
        // A turn waits for frames once the tick is over, and frames wait for their block to be full.
        let turn_ns = settled_ns.saturating_sub(self.due_ns + u64::from(WAIT_MS) * 1_000_000);
        let lost = |losses: FrameLosses| losses.iter().map(|(_, frames)| frames).sum::<u64>();
        let lost_before = lost(std::mem::replace(&mut self.losses, self.source.losses()));
        // While frames are older than that, more of them may come for the ticks before.
        self.worker.idle_until(settled_ns.saturating_sub(behind_ns), passed);
        let pressure = Pressure { lost_frames: lost(self.losses).saturating_sub(lost_before), behind_ns };
        self.worker.relieve(pressure, passed);
        let second = |ns: u64| ns / (TICK_NS * TICKS as u64);
        if over || second(self.due_ns) != second(settled_ns) {
            self.occupancy = self.worker.look(Stamp::from_ns(now_ns));
        }
        self.due_ns = (settled_ns / TICK_NS + 1) * TICK_NS;
        Report {
            lane: self.number,
            passed: std::mem::take(passed),
            passed_ns: settled_ns.saturating_sub(behind_ns) / TICK_NS * TICK_NS,
            frames: std::mem::take(&mut self.frames),
            losses: self.losses,
            lag: Lag::of_tick(turn_ns.max(behind_ns)),
            occupancy: self.occupancy,
            kept: self.keeper.as_mut().map(Keeper::take),
            end: None,
        }
    }
}
