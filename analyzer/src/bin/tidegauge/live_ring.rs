//! The packet ring as a live source: a group of rings, one for each worker.

use tidegauge_analyzer::output::{Setup, Source};
use tidegauge_capture::frame_source::FrameSource;
use tidegauge_capture::interface::Interface;
use tidegauge_capture::ring::{RingOptions, RingSource};

use super::args::{DirectionArg, LiveArgs};
use super::exports::Exports;
use super::live::{Clock, random_seed};
use super::live_frames::{Plan, RESOLUTION_US, Sources};
use super::thresholds::Thresholds;
use super::{Outcome, confine, live_frames};

/// Watches until the clock says stop or the interface is gone.
pub(crate) fn run(
    args: &LiveArgs,
    thresholds: &Thresholds,
    interface: &Interface,
    clock: &Clock,
    why: &str,
) -> anyhow::Result<Outcome> {
    let options = RingOptions {
        ring_bytes: args.ring_mib << 20,
        block_timeout_ms: args.block_ms,
        filter: args.common.filter.clone(),
        directions: args.direction.bits(),
        ..RingOptions::default()
    };
    let rings = RingSource::open_group(interface, &options, args.workers())?;
    let from = Sources {
        sources: rings.into_iter().map(FrameSource::Ring).collect(),
        buffer_bytes: options.ring_bytes.into(),
        exports: Exports::of_live(args)?,
        plan: Plan {
            held_ms: options.block_timeout_ms,
            seed: random_seed()?,
            pinned: false,
            memory_mib: args.memory_mib,
        },
        // Last: from here on nothing can be opened any more.
        described: describe(args, thresholds, interface, why),
    };
    live_frames::run(args, thresholds, interface, clock, from)
}

fn describe(args: &LiveArgs, thresholds: &Thresholds, interface: &Interface, why: &str) -> Source {
    let egress =
        if args.direction == DirectionArg::In { "none (only what comes in is asked for)" } else { "ring" };
    Source {
        kind: "ring",
        mode: "tpacket_v3",
        why: why.to_owned(),
        egress: Some(egress.to_owned()),
        name: interface.name.clone(),
        resolution_us: RESOLUTION_US,
        setup: Setup {
            confined: Some(confine::live(args, None, thresholds)),
            workers: Some(args.workers()),
            ..Setup::default()
        },
    }
}
