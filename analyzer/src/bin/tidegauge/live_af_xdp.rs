//! AF_XDP as a live source: every frame of the interface comes here instead of to the host, so it must be asked for twice.

use anyhow::bail;
use tidegauge_analyzer::output::{Setup, Source};
use tidegauge_capture::af_xdp::{self, AfXdpHold, AfXdpOptions, RESOLUTION_US, Transfer};
use tidegauge_capture::frame_source::FrameSource;
use tidegauge_capture::interface::Interface;
use tidegauge_capture::xdp::Mode;

use super::args::{DirectionArg, LiveArgs};
use super::exports::Exports;
use super::live::{Clock, random_seed};
use super::live_frames::{Plan, Sources};
use super::thresholds::Thresholds;
use super::{Outcome, confine, live_frames};

/// Watches until the clock says stop or the interface is gone.
pub(crate) fn run(
    args: &LiveArgs,
    thresholds: &Thresholds,
    interface: &Interface,
    clock: &Clock,
) -> anyhow::Result<Outcome> {
    check_consent(args, interface)?;
    let options = AfXdpOptions { memory_bytes: args.ring_mib << 20 };
    let (hold, queues) = af_xdp::open(interface, &options)?;
    let from = Sources {
        plan: Plan { held_ms: 0, seed: random_seed()?, pinned: true, memory_mib: args.memory_mib },
        buffer_bytes: hold.memory_bytes(),
        exports: Exports::of_live(args)?,
        // Last: from here on nothing can be opened any more.
        described: describe(args, thresholds, interface, &hold, queues.len()),
        sources: queues.into_iter().map(FrameSource::AfXdp).collect(),
    };
    live_frames::run(args, thresholds, interface, clock, from)
}

/// Nobody loses their connections by a source they did not know.
fn check_consent(args: &LiveArgs, interface: &Interface) -> anyhow::Result<()> {
    let name = &interface.name;
    if args.direction != DirectionArg::Both {
        bail!("--direction cannot be used with --source af-xdp, which takes what arrives: leave it out");
    }
    if args.common.filter.is_some() {
        bail!("--filter cannot be used with --source af-xdp, which takes every frame: use --source ring");
    }
    let addresses = interface.addresses();
    let named = addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if args.mirror && !addresses.is_empty() {
        bail!(
            "{name} has addresses ({named}), so it is no mirror port: the host would lose its connections through it; \
             give --yes instead of --mirror if that is meant"
        );
    }
    if !args.mirror && !args.yes {
        let who = if named.is_empty() { String::new() } else { format!(", {named} will not be reachable") };
        bail!(
            "--source af-xdp takes every frame that arrives on {name} away from this host{who} while it runs: give \
             --mirror for a mirror port (it checks that {name} has no address), or --yes if that is meant"
        );
    }
    if args.yes {
        eprintln!("tidegauge: while this runs the host gets no frame that arrives on {name} (--yes)");
    }
    Ok(())
}

fn describe(
    args: &LiveArgs,
    thresholds: &Thresholds,
    interface: &Interface,
    hold: &AfXdpHold,
    queues: usize,
) -> Source {
    let transfer = match hold.transfer() {
        Transfer::Copy => "copy",
        Transfer::ZeroCopy => "zero-copy",
    };
    let (mode, why) = match hold.mode() {
        Mode::Native => ("native", format!("asked for with --source af-xdp; {transfer}")),
        Mode::Generic { why } => ("generic", format!("asked for with --source af-xdp; {transfer}; {why}")),
    };
    Source {
        kind: "af_xdp",
        mode,
        why,
        egress: Some("none (AF_XDP takes what arrives; a mirror port brings both directions)".to_owned()),
        name: interface.name.clone(),
        resolution_us: RESOLUTION_US,
        setup: Setup {
            confined: Some(confine::live(args, None, thresholds)),
            workers: Some(queues as u32),
            ..Setup::default()
        },
    }
}
