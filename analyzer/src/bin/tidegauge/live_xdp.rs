//! The live loop over the kernel's counters: read all CPUs' sections once a tick, without a system call.

use anyhow::bail;
use tidegauge_analyzer::collect::{Collector, Effort, View};
use tidegauge_analyzer::engine::{Change, Engine};
use tidegauge_analyzer::feature::{TICK_NS, TICKS};
use tidegauge_analyzer::occupancy::{Occupancy, Sampler, Tables, waiting};
use tidegauge_analyzer::output::{Setup, Source};
use tidegauge_analyzer::quality::{Lag, SourceLosses};
use tidegauge_analyzer::spread::spread;
use tidegauge_analyzer::summary::{Span, Summary};
use tidegauge_analyzer::window::Window;
use tidegauge_capture::clock::{coarse_clock_us, coarse_now_ns};
use tidegauge_capture::host::Host;
use tidegauge_capture::interface::Interface;
use tidegauge_capture::xdp::{Egress, Mode, XdpSource};
use tidegauge_ebpf::counter::Counter;
use tidegauge_ebpf::stamp::Stamp;

use super::ahead::{Ahead, Taken};
use super::args::{DirectionArg, LiveArgs};
use super::exports::Exports;
use super::live::Clock;
use super::meter::Meter;
use super::pinned::Account;
use super::sink::{Sink, Telling};
use super::thresholds::Thresholds;
use super::{Outcome, confine};

/// A second in nanoseconds.
const SECOND_NS: u64 = TICK_NS * TICKS as u64;

/// Watches until the clock says stop or the interface is gone.
pub(crate) fn run(
    args: &LiveArgs,
    thresholds: &Thresholds,
    interface: &Interface,
    clock: &Clock,
    xdp: &XdpSource,
) -> anyhow::Result<Outcome> {
    let mut engine = thresholds.engine(answers_visible(args, xdp));
    let mut losses =
        SourceLosses { unseen: unseen(args, xdp).into_iter().collect(), ..SourceLosses::default() };
    let mut ahead = Ahead::open(interface, taken(xdp));
    let mut collectors: Vec<_> = (0..xdp.maps().cpus()).map(|_| Collector::default()).collect();
    let first_ns = clock.now_ns();
    let mut account = Account::open(xdp.pin(), first_ns, || {
        *collect(&mut collectors, xdp, 0, first_ns, Effort::EVERYTHING).totals
    });
    // Before rights are given up: it may need one.
    let mut meter = Meter::of_xdp(args.cost, xdp, first_ns);
    let mut host = Host::open();
    let exports = Exports::of_live(args)?;
    let confined = Some(confine::live(args, xdp.keeps(), thresholds));
    let source =
        Source { setup: Setup { confined, pin: account.state(), workers: None }, ..describe(interface, xdp) };
    let mut sink = Sink::new(&args.common, source, Telling::live()).with_exports(exports);
    sink.start(first_ns)?;
    let first_ns = account.tell_gap(first_ns, &mut engine, &mut sink, &mut losses)?;
    let mut tick_start_ns = clock.tick_start_ns();
    let mut changes = Vec::new();
    let mut vanished = false;
    let mut over = clock.is_over();
    while !over && !vanished {
        clock.sleep_until(tick_start_ns + TICK_NS);
        over = clock.is_over();
        let end_ns = clock.tick_start_ns();
        let second_ends = over || end_ns / SECOND_NS != tick_start_ns / SECOND_NS;
        let effort = if over { Effort::EVERYTHING } else { Effort::tick(collectors.len()) };
        let window = collect(&mut collectors, xdp, tick_start_ns, end_ns, effort);
        let packets = window.totals.get(Counter::Packets);
        push(window, &mut engine, &losses, clock.now_ns(), &mut changes);
        if second_ends {
            vanished = !interface.is_present();
            ahead.note(&mut losses);
            engine.note_host(host.sample(), clock.now_ns());
        }
        sink.note_cost(meter.tick(clock.now_ns(), packets, |sampler| look(sampler, xdp)));
        sink.reload(thresholds, &mut engine, clock.now_ns())?;
        sink.tell(&mut changes, &engine, &losses)?;
        sink.flush()?;
        account.note(sink.told());
        tick_start_ns = end_ns;
    }
    ahead.note(&mut losses);
    engine.note_source(&losses, clock.now_ns(), Lag::default());
    sink.note_cost(meter.end(clock.now_ns(), |sampler| look(sampler, xdp)));
    thresholds.save(&mut engine)?;
    engine.finish(&mut changes);
    sink.tell(&mut changes, &engine, &losses)?;
    let now_ns = clock.now_ns();
    let span = span(xdp, first_ns, now_ns);
    let summary = sink.with_cost(Summary::of(engine.run(), &losses, &span)).with_host(engine.host());
    let summary = summary.with_observations(engine.observations());
    let outcome = sink.finish(&summary, &engine, &losses, Some((first_ns, now_ns)))?;
    account.note(sink.told());
    if vanished {
        bail!("network interface {} is gone: the summary has what was counted until then", interface.name);
    }
    Ok(outcome)
}

/// What the summary is over.
fn span(xdp: &XdpSource, first_ns: u64, now_ns: u64) -> Span {
    Span {
        first_last_ns: Some((first_ns, now_ns)),
        waiting_attempts: waiting_attempts(xdp),
        resolution_us: coarse_clock_us(),
        late_frames: 0,
    }
}

/// Hands over what was counted since the last reading: one tick, or after a stall (a suspended machine, a stopped
/// process, a reader of our output that made us wait) several, which are told as such.
fn push(window: Window, engine: &mut Engine, losses: &SourceLosses, now_ns: u64, changes: &mut Vec<Change>) {
    let ticks = (window.end_ns - window.start_ns) / TICK_NS;
    let merged_ticks = u64::from(ticks > 1);
    for tick in spread(window) {
        engine.note_source(losses, now_ns, Lag { merged_ticks, ..Lag::default() });
        engine.push(tick, changes);
    }
}

const fn taken(xdp: &XdpSource) -> Taken {
    match xdp.mode() {
        Mode::Native => Taken::InDriver,
        Mode::Generic { .. } => Taken::InStack,
    }
}

/// What is not seen, in words.
fn unseen(args: &LiveArgs, xdp: &XdpSource) -> Option<String> {
    match (args.direction.unseen(), xdp.egress()) {
        (None, Egress::None { why }) => Some(format!("outgoing frames: {why}")),
        (unseen, _) => unseen,
    }
}

/// Whether both what is asked and what is answered is seen.
fn answers_visible(args: &LiveArgs, xdp: &XdpSource) -> bool {
    xdp.egress().is_seen() && args.direction == DirectionArg::Both
}

fn describe(interface: &Interface, xdp: &XdpSource) -> Source {
    let (mode, why) = match xdp.mode() {
        Mode::Native => ("native", "the driver runs XDP".to_owned()),
        Mode::Generic { why } => ("generic", why.clone()),
    };
    Source {
        kind: "xdp",
        mode,
        why,
        egress: Some(xdp.egress().to_string()),
        name: interface.name.clone(),
        resolution_us: coarse_clock_us(),
        setup: Setup::default(),
    }
}

/// Reads all CPUs, another one first each time: where the effort does not suffice for all, they take turns.
fn collect(
    collectors: &mut [Collector],
    xdp: &XdpSource,
    start_ns: u64,
    end_ns: u64,
    mut effort: Effort,
) -> Window {
    let mut window = Window { start_ns, end_ns, ..Window::default() };
    let cpus = collectors.len();
    for step in 0..cpus {
        let cpu = ((end_ns / TICK_NS) as usize + step) % cpus;
        let view = View::Kernel(xdp.maps(), cpu as u32);
        collectors[cpu].collect_into(&mut window, view, &mut effort);
    }
    window
}

/// How full the kernel's tables are, by the clock that its program stamps with.
fn look(sampler: &mut Sampler, xdp: &XdpSource) -> Occupancy {
    sampler.look(Tables(xdp.maps()), Stamp::from_ns(coarse_now_ns()))
}

/// Attempts that still wait, by the newest stamp that the kernel wrote: its clock is not ours.
fn waiting_attempts(xdp: &XdpSource) -> u64 {
    let maps = xdp.maps();
    let buckets = || (0..maps.attempt_buckets()).filter_map(|bucket| maps.attempt_bucket(bucket));
    let asked = buckets().flat_map(|bucket| bucket.ways).filter(|attempt| attempt.fingerprint != 0);
    let newest = asked.map(|attempt| attempt.asked).reduce(|a, b| if b.since(a) != 0 { b } else { a });
    waiting(buckets(), newest.unwrap_or(Stamp(0)))
}
