//! The live loop over a packet ring: whole frames through the same packet logic as files.

use anyhow::Context;
use tidegauge_analyzer::engine::Engine;
use tidegauge_analyzer::feature::TICK_NS;
use tidegauge_analyzer::occupancy::{Occupancy, Sampler, Tables};
use tidegauge_analyzer::output::{Setup, Source};
use tidegauge_analyzer::quality::{Lag, SourceLosses};
use tidegauge_analyzer::replay::Replay;
use tidegauge_analyzer::summary::{Span, Summary};
use tidegauge_analyzer::track::Shard;
use tidegauge_capture::interface::Interface;
use tidegauge_capture::ring::{RingError, RingOptions, RingSource};
use tidegauge_ebpf::stamp::Stamp;

use super::args::{DirectionArg, LiveArgs};
use super::live::{Clock, random_seed};
use super::meter::Meter;
use super::sink::{Sink, Telling};
use super::{Outcome, confine};

/// The kernel stamps ring frames in nanoseconds.
const RESOLUTION_US: u32 = 1;
/// Longest wait for a frame, a fifth of a tick.
const WAIT_MS: u32 = 20;
/// A tick is handed over this long after its end: blocks of the ring arrive late.
const SETTLE_NS: u64 = 30_000_000;

/// Watches until the clock says stop or the interface is gone.
pub(crate) fn run(
    args: &LiveArgs,
    interface: &Interface,
    clock: &Clock,
    why: &str,
) -> anyhow::Result<Outcome> {
    let options = RingOptions {
        ring_bytes: args.ring_mib << 20,
        filter: args.common.filter.clone(),
        directions: args.direction.bits(),
        ..RingOptions::default()
    };
    let mut ring = RingSource::open(interface, &options)?;
    let both = args.direction == DirectionArg::Both;
    let engine = Engine::new(args.common.thresholds()?, both).live();
    let mut replay = Replay::new(Shard::for_frames(random_seed()?, interface.frame_bytes_max()), engine);
    let mut sink = Sink::new(&args.common, describe(args, interface, why), Telling::live());
    let mut changes = Vec::new();
    let first_ns = clock.now_ns();
    sink.start(first_ns)?;
    let mut gone = None;
    let mut upkeep = Upkeep {
        meter: Meter::of_process(Some(u64::from(options.ring_bytes)), first_ns),
        losses: SourceLosses {
            unseen: args.direction.unseen().into_iter().collect(),
            ..SourceLosses::default()
        },
        noted_ns: first_ns,
    };
    while !clock.is_over() && gone.is_none() {
        let frames = match ring.poll(WAIT_MS, |frame| replay.frame(&frame, &mut changes)) {
            Ok(frames) => frames,
            Err(error @ RingError::Vanished { .. }) => {
                gone = Some(error);
                0
            }
            Err(error) => return Err(error.into()),
        };
        let now_ns = clock.now_ns();
        upkeep.turn(now_ns, frames, &mut ring, &mut replay, &mut sink);
        replay.idle_until(now_ns.saturating_sub(SETTLE_NS), &mut changes);
        if !changes.is_empty() {
            sink.tell(&mut changes, replay.engine(), &upkeep.losses)?;
            sink.flush()?;
        }
    }
    let now_ns = clock.now_ns().max(first_ns + TICK_NS);
    upkeep.end(now_ns, &mut ring, &mut replay, &mut sink);
    let losses = upkeep.losses;
    replay.finish(&mut changes);
    sink.tell(&mut changes, replay.engine(), &losses)?;
    let span = Span {
        first_last_ns: Some((first_ns, now_ns)),
        waiting_attempts: replay.waiting_attempts(),
        resolution_us: RESOLUTION_US,
        late_frames: replay.late(),
    };
    let summary = sink.with_cost(Summary::of(replay.engine().run(), &losses, &span));
    let outcome = sink.finish(&summary, replay.engine(), &losses, now_ns)?;
    match gone {
        Some(error) => Err(error).context("the summary has what was counted until then"),
        None => Ok(outcome),
    }
}

fn describe(args: &LiveArgs, interface: &Interface, why: &str) -> Source {
    let egress =
        if args.direction == DirectionArg::In { "none (only what comes in is asked for)" } else { "ring" };
    Source {
        kind: "ring",
        mode: "tpacket_v3",
        why: why.to_owned(),
        egress: Some(egress.to_owned()),
        name: interface.name.clone(),
        resolution_us: RESOLUTION_US,
        setup: Setup { confined: Some(confine::live(&args.common, None)), ..Setup::default() },
    }
}

/// What is done once a tick beside reading frames: losses, lateness, cost.
struct Upkeep {
    meter: Meter<'static>,
    losses: SourceLosses,
    /// When it was done last.
    noted_ns: u64,
}

impl Upkeep {
    /// A turn of the loop has read so many frames.
    fn turn(
        &mut self,
        now_ns: u64,
        frames: usize,
        ring: &mut RingSource,
        replay: &mut Replay,
        sink: &mut Sink,
    ) {
        if now_ns.saturating_sub(self.noted_ns) < TICK_NS {
            return;
        }
        note_drops(ring, &mut self.losses);
        let newest_ns = replay.first_last_ns().filter(|_| frames != 0).map(|(_, last)| last);
        let settled_ns = now_ns.saturating_sub(SETTLE_NS);
        replay.note_source(&self.losses, settled_ns, lag(self.noted_ns, newest_ns, now_ns));
        self.noted_ns = now_ns;
        sink.note_cost(self.meter.tick(now_ns, frames as u64, |sampler| look(sampler, replay, now_ns)));
    }

    /// The loop is over.
    fn end(&mut self, now_ns: u64, ring: &mut RingSource, replay: &mut Replay, sink: &mut Sink) {
        note_drops(ring, &mut self.losses);
        replay.note_source(&self.losses, now_ns.saturating_sub(SETTLE_NS), Lag::default());
        sink.note_cost(self.meter.end(now_ns, |sampler| look(sampler, replay, now_ns)));
    }
}

/// How full the worker's tables are.
fn look(sampler: &mut Sampler, replay: &Replay, now_ns: u64) -> Occupancy {
    sampler.look(Tables::Heap(replay.shard()), Stamp::from_ns(now_ns))
}

/// How late the loop is at `now_ns`, which was last here at `noted_ns` and has just read a frame of `newest_ns`.
fn lag(noted_ns: u64, newest_ns: Option<u64>, now_ns: u64) -> Lag {
    // A turn waits for frames once the tick is over, and frames wait for their block to be full.
    let turn_ns = now_ns.saturating_sub(noted_ns + TICK_NS + u64::from(WAIT_MS) * 1_000_000);
    let age_ns = newest_ns.map_or(0, |newest_ns| now_ns.saturating_sub(newest_ns + SETTLE_NS));
    Lag::of_tick(turn_ns.max(age_ns))
}

fn note_drops(ring: &mut RingSource, losses: &mut SourceLosses) {
    let drops = ring.drops();
    for (place, count) in [("ring", drops.dropped_ring), ("nic", drops.dropped_interface)] {
        if count != 0 {
            losses.dropped.insert(place, count);
        }
    }
}
