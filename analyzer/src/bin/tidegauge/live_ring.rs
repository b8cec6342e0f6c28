//! The live loop over a packet ring: whole frames through the same packet logic as files.

use anyhow::Context;
use tidegauge_analyzer::engine::Engine;
use tidegauge_analyzer::feature::TICK_NS;
use tidegauge_analyzer::output::{Setup, Source};
use tidegauge_analyzer::quality::SourceLosses;
use tidegauge_analyzer::replay::Replay;
use tidegauge_analyzer::summary::{Span, Summary};
use tidegauge_analyzer::track::Shard;
use tidegauge_capture::interface::Interface;
use tidegauge_capture::ring::{RingError, RingOptions, RingSource};

use super::args::LiveArgs;
use super::live::{Clock, random_seed};
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
        ..RingOptions::default()
    };
    let mut ring = RingSource::open(interface, &options)?;
    let engine = Engine::new(args.common.thresholds()?, true);
    let mut replay = Replay::new(Shard::for_files(random_seed()?), engine);
    let source = Source {
        kind: "ring",
        mode: "tpacket_v3",
        why: why.to_owned(),
        egress: Some("ring".to_owned()),
        name: interface.name.clone(),
        resolution_us: RESOLUTION_US,
        setup: Setup { confined: Some(confine::live(&args.common, None)), ..Setup::default() },
    };
    let mut sink = Sink::new(&args.common, source, Telling::live());
    let mut losses = SourceLosses::default();
    let mut changes = Vec::new();
    let first_ns = clock.now_ns();
    sink.start(first_ns)?;
    let mut gone = None;
    while !clock.is_over() && gone.is_none() {
        match ring.poll(WAIT_MS, |frame| replay.frame(&frame, &mut changes)) {
            Ok(_) => {}
            Err(error @ RingError::Vanished { .. }) => gone = Some(error),
            Err(error) => return Err(error.into()),
        }
        replay.idle_until(clock.now_ns().saturating_sub(SETTLE_NS), &mut changes);
        if !changes.is_empty() {
            note_drops(&mut ring, &mut losses);
            sink.tell(&mut changes, replay.engine(), &losses)?;
            sink.flush()?;
        }
    }
    note_drops(&mut ring, &mut losses);
    replay.finish(&mut changes);
    sink.tell(&mut changes, replay.engine(), &losses)?;
    let now_ns = clock.now_ns().max(first_ns + TICK_NS);
    let span = Span {
        first_last_ns: Some((first_ns, now_ns)),
        waiting_attempts: replay.waiting_attempts(),
        resolution_us: RESOLUTION_US,
        late_frames: replay.late(),
    };
    let summary = Summary::of(replay.engine().run(), &losses, &span);
    let outcome = sink.finish(&summary, replay.engine(), now_ns)?;
    match gone {
        Some(error) => Err(error).context("the summary has what was counted until then"),
        None => Ok(outcome),
    }
}

fn note_drops(ring: &mut RingSource, losses: &mut SourceLosses) {
    let drops = ring.drops();
    for (place, count) in [("ring", drops.dropped_ring), ("nic", drops.dropped_interface)] {
        if count != 0 {
            losses.dropped.insert(place, count);
        }
    }
}
