//! The live loop over the kernel's counters: read all CPUs' sections once a tick, without a system call.

use anyhow::bail;
use tidegauge_analyzer::collect::{Collector, View};
use tidegauge_analyzer::engine::Engine;
use tidegauge_analyzer::feature::{TICK_NS, TICKS};
use tidegauge_analyzer::output::{Setup, Source};
use tidegauge_analyzer::quality::SourceLosses;
use tidegauge_analyzer::replay::waiting;
use tidegauge_analyzer::summary::{Span, Summary};
use tidegauge_analyzer::window::Window;
use tidegauge_capture::clock::coarse_clock_us;
use tidegauge_capture::interface::Interface;
use tidegauge_capture::xdp::{Egress, Mode, XdpSource};
use tidegauge_ebpf::stamp::Stamp;

use super::args::LiveArgs;
use super::live::Clock;
use super::pinned::Account;
use super::sink::{Sink, Telling};
use super::{Outcome, confine};

/// Watches until the clock says stop or the interface is gone.
pub(crate) fn run(
    args: &LiveArgs,
    interface: &Interface,
    clock: &Clock,
    xdp: &XdpSource,
) -> anyhow::Result<Outcome> {
    let mut engine = Engine::new(args.common.thresholds()?, xdp.egress().is_seen());
    let mut losses = SourceLosses::default();
    if let Egress::None { why } = xdp.egress() {
        losses.unseen.push(format!("outgoing frames: {why}"));
    }
    let nic_drops_before = interface.nic_drops();
    let mut collectors: Vec<_> = (0..xdp.maps().cpus()).map(|_| Collector::default()).collect();
    let first_ns = clock.now_ns();
    let mut account =
        Account::open(xdp.pin(), first_ns, || collect(&mut collectors, xdp, 0, first_ns).totals);
    let confined = Some(confine::live(&args.common, xdp.keeps()));
    let source = Source { setup: Setup { confined, pin: account.state() }, ..describe(interface, xdp) };
    let mut sink = Sink::new(&args.common, source, Telling::live());
    sink.start(first_ns)?;
    let first_ns = account.tell_gap(first_ns, &mut engine, &mut sink, &mut losses)?;
    let mut tick_start_ns = clock.tick_start_ns();
    let mut changes = Vec::new();
    let mut vanished = false;
    while !clock.is_over() && !vanished {
        let tick_end_ns = tick_start_ns + TICK_NS;
        clock.sleep_until(tick_end_ns);
        engine.push(collect(&mut collectors, xdp, tick_start_ns, tick_end_ns), &mut changes);
        if tick_end_ns.is_multiple_of(TICK_NS * TICKS as u64) {
            vanished = !interface.is_present();
            note_nic_drops(&mut losses, nic_drops_before, interface.nic_drops());
        }
        sink.tell(&mut changes, &engine, &losses)?;
        sink.flush()?;
        account.note(sink.told());
        // After a stall (a suspended machine, a stopped process) the ticks in between are one.
        tick_start_ns = tick_end_ns.max(clock.tick_start_ns());
    }
    engine.finish(&mut changes);
    sink.tell(&mut changes, &engine, &losses)?;
    let now_ns = clock.now_ns();
    let span = Span {
        first_last_ns: Some((first_ns, now_ns)),
        waiting_attempts: waiting_attempts(xdp),
        resolution_us: coarse_clock_us(),
        late_frames: 0,
    };
    let summary = Summary::of(engine.run(), &losses, &span);
    let outcome = sink.finish(&summary, &engine, now_ns)?;
    account.note(sink.told());
    if vanished {
        bail!("network interface {} is gone: the summary has what was counted until then", interface.name);
    }
    Ok(outcome)
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

fn collect(collectors: &mut [Collector], xdp: &XdpSource, start_ns: u64, end_ns: u64) -> Window {
    let mut window = Window { start_ns, end_ns, ..Window::default() };
    for (cpu, collector) in (0..).zip(collectors) {
        window.merge(collector.collect(View::Kernel(xdp.maps(), cpu), start_ns, end_ns));
    }
    window
}

/// Frames that the NIC lost since the start, where the driver tells.
fn note_nic_drops(losses: &mut SourceLosses, before: Option<u64>, now: Option<u64>) {
    if let (Some(before), Some(now)) = (before, now)
        && now > before
    {
        losses.dropped.insert("nic", now - before);
    }
}

/// Attempts that still wait, by the newest stamp that the kernel wrote: its clock is not ours.
fn waiting_attempts(xdp: &XdpSource) -> u64 {
    let maps = xdp.maps();
    let buckets = || (0..maps.attempt_buckets()).filter_map(|bucket| maps.attempt_bucket(bucket));
    let asked = buckets().flat_map(|bucket| bucket.ways).filter(|attempt| attempt.fingerprint != 0);
    let newest = asked.map(|attempt| attempt.asked).reduce(|a, b| if b.since(a) != 0 { b } else { a });
    waiting(buckets(), newest.unwrap_or(Stamp(0)))
}
