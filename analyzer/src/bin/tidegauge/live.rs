//! `tidegauge live`: which source is in force and why, and what all live sources share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use signal_hook::consts::{SIGINT, SIGTERM};
use tidegauge_analyzer::feature::TICK_NS;
use tidegauge_capture::interface::Interface;
use tidegauge_capture::xdp::object::Settings;
use tidegauge_capture::xdp::{EgressHook, Hold, XdpSource, pin};

use super::args::{DirectionArg, LiveArgs, SourceArg};
use super::thresholds::Thresholds;
use super::{Outcome, live_af_xdp, live_ring, live_xdp};

/// Watches an interface until a signal, the end of `--duration`, or the interface's disappearance.
pub(crate) fn run(args: &LiveArgs) -> anyhow::Result<Outcome> {
    let interface = Interface::open(&args.interface)?;
    let clock = Clock::start(args.duration)?;
    let thresholds = Thresholds::open(&args.common)?;
    let pin = args.pin.clone().map(|dir| dir.unwrap_or_else(|| pin::default_dir(&interface.name)));
    if pin.is_some()
        && (matches!(args.source, SourceArg::Ring | SourceArg::AfXdp)
            || args.common.filter.is_some()
            || args.evidence.evidence.is_some())
    {
        bail!(
            "--pin keeps the XDP program and its tables: it cannot be used with --source ring, --filter or --evidence"
        );
    }
    if (args.mirror || args.yes) && args.source != SourceArg::AfXdp {
        bail!("--mirror and --yes are for --source af-xdp: other sources leave frames with the host");
    }
    if args.source == SourceArg::AfXdp {
        return live_af_xdp::run(args, &thresholds, &interface, &clock);
    }
    if args.source == SourceArg::Ring {
        return live_ring::run(args, &thresholds, &interface, &clock, "asked for with --source ring");
    }
    if args.evidence.evidence.is_some() {
        if args.source == SourceArg::Xdp {
            bail!("--evidence cannot be used with XDP, which shows no frames: use --source ring");
        }
        return live_ring::run(args, &thresholds, &interface, &clock, "--evidence needs whole frames");
    }
    if args.common.filter.is_some() {
        if args.source == SourceArg::Xdp {
            bail!("--filter cannot be used with XDP, which counts every frame: use --source ring");
        }
        return live_ring::run(args, &thresholds, &interface, &clock, "--filter needs whole frames");
    }
    let egress = if args.direction == DirectionArg::In { EgressHook::Nothing } else { EgressHook::Best };
    let hold = Hold { pin, egress };
    let settings = Settings {
        frame_bytes_max: interface.frame_bytes_max(),
        directions: args.direction.bits(),
        frags: interface.wants_frags(),
        ..Settings::with_seed(random_seed()?)
    };
    match XdpSource::open_with(&interface, &settings, &hold) {
        Ok(xdp) => {
            let outcome = live_xdp::run(args, &thresholds, &interface, &clock, &xdp);
            xdp.close(&interface)?;
            outcome
        }
        Err(error) if args.source == SourceArg::Auto && hold.pin.is_none() && error.ring_may_serve() => {
            live_ring::run(args, &thresholds, &interface, &clock, &format!("no XDP: {error}"))
        }
        Err(error) => Err(error.into()),
    }
}

/// A seed nobody knows: hash slots cannot be aimed at.
pub(crate) fn random_seed() -> anyhow::Result<u64> {
    let mut bytes = [0; 8];
    let mut random = std::fs::File::open("/dev/urandom").context("cannot open /dev/urandom")?;
    std::io::Read::read_exact(&mut random, &mut bytes).context("cannot read /dev/urandom")?;
    Ok(u64::from_ne_bytes(bytes))
}

/// Wall time that never jumps: the clock at the start plus monotonic time; and the wish to stop.
pub(crate) struct Clock {
    start_ns: u64,
    started: Instant,
    duration: Option<Duration>,
    stop: Arc<AtomicBool>,
}

impl Clock {
    fn start(duration: Option<Duration>) -> anyhow::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            signal_hook::flag::register(signal, Arc::clone(&stop)).context("cannot catch signals")?;
        }
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let start_ns = u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX);
        Ok(Self { start_ns, started: Instant::now(), duration, stop })
    }

    /// Nanoseconds since the epoch.
    pub(crate) fn now_ns(&self) -> u64 {
        self.start_ns.saturating_add(u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    /// The start of the tick that is running now.
    pub(crate) fn tick_start_ns(&self) -> u64 {
        let now_ns = self.now_ns();
        now_ns - now_ns % TICK_NS
    }

    /// Sleeps until `ns`, if that is still to come.
    pub(crate) fn sleep_until(&self, ns: u64) {
        std::thread::sleep(Duration::from_nanos(ns.saturating_sub(self.now_ns())));
    }

    /// Ends the run, as a signal would.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Whether a signal came or the time is over.
    pub(crate) fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
            || self.duration.is_some_and(|duration| self.started.elapsed() >= duration)
    }
}
