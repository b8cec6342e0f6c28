//! The live run over frames: workers take them from rings through the same steps as those of files, and the engine takes
//! the workers' windows.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use anyhow::{Context, anyhow};
use tidegauge_analyzer::account::RoundTrips;
use tidegauge_analyzer::engine::{Change, Engine};
use tidegauge_analyzer::feature::{TICK_NS, TICKS};
use tidegauge_analyzer::follow::Sizes;
use tidegauge_analyzer::merge::Merger;
use tidegauge_analyzer::occupancy::Occupancy;
use tidegauge_analyzer::output::Source;
use tidegauge_analyzer::quality::{Lag, SourceLosses};
use tidegauge_analyzer::summary::{Span, Summary};
use tidegauge_analyzer::worker::{Passed, Worker};
use tidegauge_capture::frame_source::{FrameLosses, FrameSource, FrameSourceError};
use tidegauge_capture::host::Host;
use tidegauge_capture::interface::Interface;
use tidegauge_ebpf::settings::Settings;

use super::Outcome;
use super::ahead::{Ahead, Taken};
use super::args::{DirectionArg, LiveArgs};
use super::exports::Exports;
use super::lane::{End, Lane, REPORTS_MAX, Report, SETTLE_NS};
use super::live::Clock;
use super::meter::Meter;
use super::sink::{Sink, Telling};
use super::thresholds::Thresholds;

/// Rings stamp frames in nanoseconds.
pub(crate) const RESOLUTION_US: u32 = 1;

/// A second in nanoseconds.
const SECOND_NS: u64 = TICK_NS * TICKS as u64;

/// What a run over frames reads from.
pub(crate) struct Sources {
    /// One for each worker.
    pub(crate) sources: Vec<FrameSource>,
    /// Memory of all of them.
    pub(crate) buffer_bytes: u64,
    /// What is written beside standard output; their frames, as evidence, among it.
    pub(crate) exports: Exports,
    /// How workers are made.
    pub(crate) plan: Plan,
    /// How results name them.
    pub(crate) described: Source,
}

/// How workers are made.
pub(crate) struct Plan {
    /// How long their sources hold frames back.
    pub(crate) held_ms: u32,
    /// Of their hashes.
    pub(crate) seed: u64,
    /// Whether each stays on a CPU.
    pub(crate) pinned: bool,
    /// For connections and all else, of all workers.
    pub(crate) memory_mib: u32,
}

/// Watches until the clock says stop or the interface is gone.
pub(crate) fn run(
    args: &LiveArgs,
    thresholds: &Thresholds,
    interface: &Interface,
    clock: &Clock,
    from: Sources,
) -> anyhow::Result<Outcome> {
    let taken = match (from.described.kind, from.described.mode) {
        ("ring", _) | (_, "generic") => Taken::InStack,
        _ => Taken::InDriver,
    };
    // Before anybody is told that it has begun: what is lost from then on is counted.
    let (ahead, host) = (Ahead::open(interface, taken), Host::open());
    let first_ns = clock.now_ns();
    let resolution_us = from.described.resolution_us;
    let workers = from.sources.len();
    let evidence = from.exports.evidence.as_ref();
    let keepers: Vec<_> = from.sources.iter().map(|_| evidence.map(|to| to.keeper(workers))).collect();
    let mut sink = Sink::new(&args.common, from.described, Telling::live()).with_exports(from.exports);
    sink.start(first_ns)?;
    let both = args.direction == DirectionArg::Both;
    let mut run = Run {
        engine: thresholds.engine(both),
        merger: Merger::new(workers),
        sink,
        meter: Meter::of_process(Some(from.buffer_bytes), first_ns),
        losses: SourceLosses {
            unseen: args.direction.unseen().into_iter().collect(),
            ..SourceLosses::default()
        },
        ahead,
        host,
        told: vec![Told::default(); workers],
        frames: 0,
        metered_ns: first_ns,
        resolution_us,
        ends: Vec::new(),
    };
    let (sender, reports) = sync_channel(REPORTS_MAX * workers);
    let lanes = lanes(from.sources, &from.plan, interface, clock);
    let result = std::thread::scope(|scope| {
        for (lane, keeper) in lanes.into_iter().zip(keepers) {
            let lane = lane.with_keeper(keeper);
            let sender = sender.clone();
            scope.spawn(move || lane.run(&sender));
        }
        drop(sender);
        let result = run.until_all_ended(&reports, clock, thresholds);
        // Workers that are still there must not wait for us, whatever ended this.
        clock.stop();
        drop(reports);
        result
    });
    result?;
    thresholds.save(&mut run.engine)?;
    run.end(first_ns, clock.now_ns())
}

/// The workers: what a run over files has in tables, all of them have together.
fn lanes<'a>(
    sources: Vec<FrameSource>,
    plan: &Plan,
    interface: &Interface,
    clock: &'a Clock,
) -> Vec<Lane<'a>> {
    let sizes = Sizes::of_worker(plan.memory_mib, u32::try_from(sources.len()).unwrap_or(u32::MAX));
    let settings =
        Settings { frame_bytes_max: interface.frame_bytes_max(), ..Settings::with_seed(plan.seed) };
    let numbered = sources.into_iter().enumerate();
    let lane = |(number, source)| {
        let cpu = plan.pinned.then(|| cpu_of(number));
        Lane::new(number, source, Worker::new(settings, sizes), clock, plan.held_ms, cpu)
    };
    numbered.map(lane).collect()
}

/// A worker's CPU: from the last one on, because interrupts and their drivers' work prefer the first.
fn cpu_of(number: usize) -> usize {
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    cpus - 1 - number % cpus
}

/// What a worker told last.
#[derive(Clone, Copy, Default)]
struct Told {
    losses: FrameLosses,
    occupancy: Occupancy,
}

/// The engine's side.
struct Run {
    engine: Engine,
    merger: Merger,
    sink: Sink,
    meter: Meter<'static>,
    losses: SourceLosses,
    ahead: Ahead,
    host: Host,
    told: Vec<Told>,
    /// Frames of all workers since the meter was asked.
    frames: u64,
    metered_ns: u64,
    /// Of the frames' times.
    resolution_us: u32,
    ends: Vec<End>,
}

impl Run {
    fn until_all_ended(
        &mut self,
        reports: &Receiver<Report>,
        clock: &Clock,
        thresholds: &Thresholds,
    ) -> anyhow::Result<()> {
        let mut changes = Vec::new();
        while self.ends.len() < self.told.len() {
            let Ok(report) = reports.recv_timeout(Duration::from_nanos(TICK_NS * 10)) else {
                continue;
            };
            let now_ns = clock.now_ns();
            self.take(report, now_ns, &mut changes);
            if now_ns.saturating_sub(self.metered_ns) >= TICK_NS {
                self.meter(now_ns);
            }
            self.sink.reload(thresholds, &mut self.engine, now_ns)?;
            self.sink.tell(&mut changes, &self.engine, &self.losses)?;
            self.sink.flush()?;
            if self.ends.last().is_some_and(|end| end.error.is_some()) {
                clock.stop();
            }
        }
        Ok(())
    }

    fn take(&mut self, report: Report, now_ns: u64, changes: &mut Vec<Change>) {
        self.told[report.lane] = Told { losses: report.losses, occupancy: report.occupancy };
        let mut dropped = BTreeMap::new();
        for (place, frames) in
            self.told.iter().flat_map(|told| told.losses).filter(|(_, frames)| *frames != 0)
        {
            *dropped.entry(place).or_default() += frames;
        }
        self.losses.dropped.extend(dropped);
        self.frames += report.frames;
        let handled_ns = now_ns.saturating_sub(SETTLE_NS);
        self.engine.note_source(&self.losses, handled_ns, report.lag);
        // Before the windows that tell what these frames come to.
        self.sink.kept_frames(report.kept);
        let mut ready = self.merger.take(report.lane, report.passed, report.passed_ns);
        push_all(&mut self.engine, &mut ready, changes);
        self.ends.extend(report.end);
    }

    fn meter(&mut self, now_ns: u64) {
        // The driver is asked once a second.
        if now_ns / SECOND_NS != self.metered_ns / SECOND_NS {
            self.ahead.note(&mut self.losses);
            self.engine.note_host(self.host.sample(), now_ns);
        }
        self.metered_ns = now_ns;
        let occupancy = self.occupancy();
        let frames = std::mem::take(&mut self.frames);
        self.sink.note_cost(self.meter.tick(now_ns, frames, |_| occupancy));
    }

    fn occupancy(&self) -> Occupancy {
        let mut all = Occupancy::default();
        self.told.iter().for_each(|told| all.merge(&told.occupancy));
        all
    }

    fn end(mut self, first_ns: u64, now_ns: u64) -> anyhow::Result<Outcome> {
        let now_ns = now_ns.max(first_ns + TICK_NS);
        let mut changes = Vec::new();
        let occupancy = self.occupancy();
        self.ahead.note(&mut self.losses);
        self.engine.note_source(&self.losses, now_ns.saturating_sub(SETTLE_NS), Lag::default());
        self.sink.note_cost(self.meter.end(now_ns, |_| occupancy));
        push_all(&mut self.engine, &mut self.merger.finish(), &mut changes);
        self.engine.settle(&mut changes);
        self.engine.finish(&mut changes);
        self.sink.tell(&mut changes, &self.engine, &self.losses)?;
        let span = Span {
            first_last_ns: Some((first_ns, now_ns)),
            waiting_attempts: self.ends.iter().map(|end| end.waiting_attempts).sum(),
            resolution_us: self.resolution_us,
            late_frames: self.ends.iter().map(|end| end.late_frames).sum(),
        };
        let mut round_trips = RoundTrips::default();
        for end in &mut self.ends {
            round_trips.merge(std::mem::take(&mut end.round_trips));
        }
        let summary = Summary::of(self.engine.run(), &self.losses, &span).with_round_trips(&round_trips);
        let summary = self.sink.with_cost(summary).with_host(self.engine.host());
        let summary = summary.with_observations(self.engine.observations());
        let outcome = self.sink.finish(&summary, &self.engine, &self.losses, Some((first_ns, now_ns)))?;
        match self.ends.into_iter().find_map(|end| end.error) {
            Some(error) if error.is_vanished() => {
                Err(error).context("the summary has what was counted until then")
            }
            Some(error) => Err(source_failed(error)),
            None => Ok(outcome),
        }
    }
}

fn source_failed(error: FrameSourceError) -> anyhow::Error {
    anyhow!(error).context("the summary has what was counted until then")
}

/// Hands what a worker had to the engine.
fn push_all(engine: &mut Engine, passed: &mut Vec<Passed>, changes: &mut Vec<Change>) {
    for step in passed.drain(..) {
        match step {
            Passed::Window(window) => engine.push(*window, changes),
            Passed::JumpBack(start_ns) => engine.jump_back(start_ns, changes),
        }
    }
}
