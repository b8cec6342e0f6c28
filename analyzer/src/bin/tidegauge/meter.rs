//! Measures what this run costs, once a second: our programs, our threads, our memory, our tables.
//!
//! Having the kernel measure programs costs every BPF program of the host two readings of a clock a run, so by default
//! it does so for one tick in [`SAMPLE_EVERY_S`] seconds. The right to switch that on is given up with all others once
//! the run is confined: then the one measurement is that of the first ticks with traffic, for which the switch was
//! thrown before. What fails is unknown and says why; it never ends a run.

use tidegauge_analyzer::cost::{Bpf, BpfSample, Cost, Memory, Runs};
use tidegauge_analyzer::feature::{TICK_NS, TICKS};
use tidegauge_analyzer::occupancy::{Occupancy, Sampler};
use tidegauge_capture::process::{Process, cpu_ns};
use tidegauge_capture::xdp::XdpSource;
use tidegauge_capture::xdp::stats::{Measuring, RunTime, measure};

use super::args::CostArg;

/// Seconds from one measured tick to the next, with `--cost sampled`.
const SAMPLE_EVERY_S: u64 = 5;
/// Runs of our programs that make a measurement worth keeping, where it may be the only one.
const FIRST_RUNS_MIN: u64 = 1_000;
/// How long the first measurement may wait for them, seconds.
const FIRST_MAX_S: u64 = 60;
/// A second in nanoseconds.
const SECOND_NS: u64 = TICK_NS * TICKS as u64;

/// Measures; call [`Meter::tick`] once a tick.
pub(crate) struct Meter<'a> {
    programs: Option<Programs<'a>>,
    process: Option<Process>,
    /// What is fixed while it runs.
    map_bytes: Option<u64>,
    buffer_bytes: Option<u64>,
    sampler: Sampler,
    /// When the second that is being gathered began, and our CPU time then.
    since_ns: u64,
    cpu_then_ns: u64,
}

impl<'a> Meter<'a> {
    /// Measures a run whose programs are in the kernel.
    pub(crate) fn of_xdp(mode: CostArg, xdp: &'a XdpSource, now_ns: u64) -> Self {
        Self {
            programs: Some(Programs::new(mode, xdp, now_ns)),
            map_bytes: xdp.map_memory_bytes(),
            ..Self::of_process(None, now_ns)
        }
    }

    /// Measures a run without programs in the kernel; `buffer_bytes` is what its packet ring or UMEM takes.
    pub(crate) fn of_process(buffer_bytes: Option<u64>, now_ns: u64) -> Self {
        Self {
            programs: None,
            process: Process::open().ok(),
            map_bytes: None,
            buffer_bytes,
            sampler: Sampler::default(),
            since_ns: now_ns,
            cpu_then_ns: cpu_ns(),
        }
    }

    /// A tick of so many packets has ended. Once a second returns what that second cost; `look` is then asked how full
    /// the tables are.
    pub(crate) fn tick(
        &mut self,
        now_ns: u64,
        packets: u64,
        look: impl FnOnce(&mut Sampler) -> Occupancy,
    ) -> Option<Cost> {
        let second_ends = now_ns / SECOND_NS != self.since_ns / SECOND_NS;
        if let Some(programs) = &mut self.programs {
            programs.tick(now_ns, packets, second_ends);
        }
        second_ends.then(|| self.second(now_ns, look))
    }

    /// The run ends: what the rest of its last second cost.
    pub(crate) fn end(&mut self, now_ns: u64, look: impl FnOnce(&mut Sampler) -> Occupancy) -> Option<Cost> {
        if let Some(programs) = &mut self.programs {
            programs.end_sample(now_ns);
        }
        Some(self.second(now_ns, look))
    }

    fn second(&mut self, now_ns: u64, look: impl FnOnce(&mut Sampler) -> Occupancy) -> Cost {
        let resident = self.process.as_ref().map(Process::resident);
        let cpu_now_ns = cpu_ns();
        let cost = Cost {
            wall_ns: now_ns - self.since_ns,
            cpu_ns: Some(cpu_now_ns.saturating_sub(self.cpu_then_ns)),
            bpf: self.programs.as_mut().map(Programs::told),
            memory: resident.map(|resident| Memory {
                rss_bytes: resident.now_bytes,
                rss_peak_bytes: resident.peak_bytes,
                map_bytes: self.map_bytes,
                buffer_bytes: self.buffer_bytes,
            }),
            occupancy: Some(look(&mut self.sampler)),
        };
        (self.since_ns, self.cpu_then_ns) = (now_ns, cpu_now_ns);
        cost
    }
}

/// Our programs in the kernel.
struct Programs<'a> {
    xdp: &'a XdpSource,
    mode: CostArg,
    /// Held while the kernel measures for us.
    switch: Option<Measuring>,
    why_unknown: Option<String>,
    /// When the measurement that goes on began, and what the kernel had counted then.
    running: Option<(u64, Reading)>,
    next_ns: u64,
    /// Measured, and not told yet.
    sample: Option<BpfSample>,
    /// Until when the switch that was thrown at the start is kept for a first measurement.
    first_until_ns: u64,
    /// Something was measured.
    measured: bool,
}

/// What the kernel counted of both programs.
#[derive(Clone, Copy)]
struct Reading {
    ingress: Runs,
    egress: Option<Runs>,
}

impl<'a> Programs<'a> {
    fn new(mode: CostArg, xdp: &'a XdpSource, now_ns: u64) -> Self {
        let (switch, why_unknown) = match mode {
            CostArg::Off => (None, Some("switched off with --cost off".to_owned())),
            CostArg::On | CostArg::Sampled => {
                measure().map_or_else(|why| (None, Some(why)), |switch| (Some(switch), None))
            }
        };
        Self {
            xdp,
            mode,
            switch,
            why_unknown,
            running: None,
            next_ns: now_ns,
            sample: None,
            first_until_ns: now_ns + FIRST_MAX_S * SECOND_NS,
            measured: false,
        }
    }

    fn tick(&mut self, now_ns: u64, packets: u64, second_ends: bool) {
        let (is_over, is_due) = match self.mode {
            CostArg::Off => return,
            CostArg::On => (second_ends, true),
            // Throwing the switch takes the kernel some 200 us: not for an idle link.
            CostArg::Sampled => (true, packets != 0 && now_ns >= self.next_ns),
        };
        if is_over {
            self.end_sample(now_ns);
        }
        if is_due && self.running.is_none() {
            self.begin_sample(now_ns);
        }
    }

    fn begin_sample(&mut self, now_ns: u64) {
        if self.switch.is_none() {
            match measure() {
                Ok(switch) => (self.switch, self.why_unknown) = (Some(switch), None),
                // What was measured before is shown with its age.
                Err(_) if self.measured => return,
                // Somebody else may have the kernel measure: the counters then move all the same.
                Err(why) => self.why_unknown = Some(why),
            }
        }
        self.running = self.read().map(|reading| (now_ns, reading));
    }

    fn end_sample(&mut self, now_ns: u64) {
        let Some((begin_ns, before)) = self.running.take() else { return };
        let after = self.read();
        let Some(after) = after else { return };
        let sample = BpfSample {
            end_ns: now_ns,
            length_ns: now_ns - begin_ns,
            ingress: after.ingress.since(before.ingress),
            egress: after.egress.zip(before.egress).map(|(after, before)| after.since(before)),
        };
        let enough = sample.all().runs >= FIRST_RUNS_MIN || now_ns >= self.first_until_ns;
        if self.mode == CostArg::Sampled && enough {
            self.switch = None;
            self.next_ns = begin_ns + SAMPLE_EVERY_S * SECOND_NS;
        }
        // Counters that stand still without the switch say nothing.
        if self.why_unknown.is_none() || sample.all().runs != 0 {
            self.why_unknown = None;
            self.measured = true;
            self.sample = Some(sample);
        }
    }

    fn read(&mut self) -> Option<Reading> {
        let runs = |time: RunTime| Runs { runs: time.runs, run_ns: time.run_ns };
        let ingress = self.xdp.ingress_run_time().map(runs);
        if ingress.is_none() {
            self.why_unknown = Some("the kernel does not tell the run time of programs".to_owned());
        }
        Some(Reading { ingress: ingress?, egress: self.xdp.egress_run_time().map(runs) })
    }

    fn told(&mut self) -> Bpf {
        Bpf { mode: self.mode.name(), why_unknown: self.why_unknown.clone(), sample: self.sample.take() }
    }
}
