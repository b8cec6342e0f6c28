//! The kernel's tables and userspace's, fed the same frames on the same clock.

use aya::TestRun;
use aya::programs::TestRunOptions;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use tidegauge_analyzer::track::Shard;
use tidegauge_capture::xdp::XdpError;
use tidegauge_capture::xdp::object::{Object, Settings};
use tidegauge_ebpf::counter::{Counter, Counters};
use tidegauge_ebpf::limits::{LISTENER_BUCKETS, LISTENER_WAYS, SOURCE_BUCKETS};
use tidegauge_ebpf::link::LinkType;
use tidegauge_ebpf::observe::Arrival;
use tidegauge_ebpf::settings::Settings as LogicSettings;
use tidegauge_ebpf::source::SourceBucket;
use tidegauge_ebpf::stamp::Stamp;
use tidegauge_tests::skip::skip;

const SEED: u64 = 0x0123_4567_89ab_cdef;
/// Small enough to be full.
const FLOW_BUCKETS: u32 = 1 << 10;
const ATTEMPT_BUCKETS: u32 = 1 << 9;

/// Shortest frame that the test run takes: an Ethernet header.
const FRAME_BYTES_MIN: usize = 14;
/// Longest frame that it keeps in one piece: a page without headroom and the kernel's own tail, rounded down.
const FRAME_BYTES_MAX: usize = 3_500;

/// Offset of `gso_segs` in `struct __sk_buff` (linux/bpf.h), its last field that we set.
const SKB_GSO_SEGS: usize = 164;

/// Why reading an entry cannot fail.
const IN_MAP: &str = "the index is below the map's size";

/// Which program sees a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// The TC program.
    Egress {
        /// Segments that the kernel says the frame stands for.
        gso_segs: u32,
    },
    /// The XDP program.
    Ingress,
}

/// Both sides.
pub(crate) struct Twin {
    object: Object,
    shard: Shard,
    /// The CPU this thread is pinned to: its sections fill.
    cpu: u32,
    fed: u64,
    too_short: u64,
    cut: u64,
}

impl Twin {
    /// Both sides, empty; `None` after having said that BPF programs may not be loaded here.
    pub(crate) fn new_or_skip(test: &str) -> Option<Self> {
        let settings = Settings {
            flow_buckets: FLOW_BUCKETS,
            attempt_buckets: ATTEMPT_BUCKETS,
            test_clock: true,
            ..Settings::with_seed(SEED)
        };
        let object = match Object::load(&settings) {
            Ok(object) => object,
            Err(error @ XdpError::NotPermitted { .. }) => {
                skip(test, &error.to_string());
                return None;
            }
            Err(error) => panic!("{error}"),
        };
        let shard = Shard::with_buckets(LogicSettings::with_seed(SEED), ATTEMPT_BUCKETS, FLOW_BUCKETS);
        Some(Self { object, shard, cpu: pin(), fed: 0, too_short: 0, cut: 0 })
    }

    /// Gives both sides a frame, and compares the totals.
    pub(crate) fn feed(&mut self, ts_ns: u64, frame: &[u8], direction: Direction) -> Result<(), String> {
        if frame.len() < FRAME_BYTES_MIN {
            self.too_short += 1;
            return Ok(());
        }
        self.cut += u64::from(frame.len() > FRAME_BYTES_MAX);
        self.fed += 1;
        let frame = &frame[..frame.len().min(FRAME_BYTES_MAX)];
        self.object.set_clock(ts_ns).expect("the clock's map is writable");
        let segments = match direction {
            Direction::Egress { gso_segs } => {
                self.send(frame, gso_segs)?;
                gso_segs.max(1)
            }
            Direction::Ingress => {
                self.receive(frame)?;
                1
            }
        };
        let len = frame.len() as u32;
        let now = Stamp::from_ns(ts_ns);
        let link = LinkType::Ethernet;
        self.shard
            .observe_as_kernel(frame, Arrival { now, link, captured_len: len, wire_len: len, segments });
        same_counters(&self.kernel_counters(), self.shard.counters())
    }

    fn receive(&mut self, frame: &[u8]) -> Result<(), String> {
        let options = TestRunOptions { data_in: Some(frame), ..TestRunOptions::new() };
        let program = self.object.ingress().map_err(|error| error.to_string())?;
        program.test_run(options).map_err(|error| format!("XDP test run: {error:?}"))?;
        Ok(())
    }

    fn send(&mut self, frame: &[u8], gso_segs: u32) -> Result<(), String> {
        let mut skb = [0; SKB_GSO_SEGS + 4];
        skb[SKB_GSO_SEGS..].copy_from_slice(&gso_segs.to_ne_bytes());
        let options = TestRunOptions { data_in: Some(frame), ctx_in: Some(&skb), ..TestRunOptions::new() };
        let program = self.object.egress().map_err(|error| error.to_string())?;
        program.test_run(options).map_err(|error| format!("TC test run: {error:?}"))?;
        Ok(())
    }

    /// Totals over all CPUs.
    fn kernel_counters(&self) -> Counters {
        let maps = self.object.maps();
        let mut counters = Counters::default();
        for cpu in 0..maps.cpus() {
            counters.merge(&maps.counters(cpu).expect(IN_MAP));
        }
        counters
    }

    /// Compares everything; says the first difference.
    pub(crate) fn compare(&self) -> Result<(), String> {
        let maps = self.object.maps();
        same_counters(&self.kernel_counters(), self.shard.counters())?;
        for (index, user) in (0..).zip(self.shard.flows()) {
            same(&format!("flow bucket {index}"), &maps.flow_bucket(index).expect(IN_MAP), user)?;
        }
        for (index, user) in (0..).zip(self.shard.attempts()) {
            same(&format!("attempt bucket {index}"), &maps.attempt_bucket(index).expect(IN_MAP), user)?;
        }
        self.compare_listeners()?;
        self.compare_targets()?;
        for (index, user) in (0..SOURCE_BUCKETS).zip(self.shard.sources()) {
            for cpu in 0..maps.cpus() {
                let expected = if cpu == self.cpu { *user } else { SourceBucket::default() };
                let kernel = maps.source_bucket(cpu, index).expect(IN_MAP);
                same(&format!("source bucket {index} of CPU {cpu}"), &kernel, &expected)?;
            }
        }
        Ok(())
    }

    fn compare_targets(&self) -> Result<(), String> {
        let maps = self.object.maps();
        for (index, user) in (0..).zip(self.shard.targets()) {
            let kernel = maps.target_bucket(self.cpu, index).expect(IN_MAP);
            same(&format!("target bucket {index}"), &kernel, user)?;
        }
        for (index, user) in (0..).zip(self.shard.prefixes()) {
            let kernel = maps.prefix_bucket(self.cpu, index).expect(IN_MAP);
            same(&format!("prefix bucket {index}"), &kernel, user)?;
        }
        Ok(())
    }

    /// By id: rows of a CPU that is not ours show as superfluous ones.
    fn compare_listeners(&self) -> Result<(), String> {
        let maps = self.object.maps();
        let mut kernel = Vec::new();
        for (cpu, bucket) in (0..maps.cpus()).flat_map(|cpu| (0..LISTENER_BUCKETS).map(move |b| (cpu, b))) {
            let ids = maps.listener_ids(cpu, bucket).expect(IN_MAP);
            for way in (0..LISTENER_WAYS).filter(|way| ids[*way] != 0) {
                kernel.push((ids[way], maps.listener_row(cpu, bucket, way).expect(IN_MAP)));
            }
        }
        let mut user: Vec<_> =
            self.shard.listeners().iter().flat_map(|b| b.ids.into_iter().zip(b.rows)).collect();
        user.retain(|(id, _)| *id != 0);
        kernel.sort_by_key(|(id, _)| *id);
        user.sort_by_key(|(id, _)| *id);
        same("number of listeners", &kernel.len(), &user.len())?;
        kernel.iter().zip(&user).try_for_each(|(kernel, user)| same("listener", kernel, user))
    }

    /// Frames that both sides got.
    pub(crate) const fn fed(&self) -> u64 {
        self.fed
    }

    /// MiB timed, and slow ones among them.
    pub(crate) const fn timed(&self) -> (u64, u64) {
        let counters = self.shard.counters();
        (counters.get(Counter::Transfers), counters.get(Counter::TransfersSlow))
    }

    /// What was fed, for the test's output.
    pub(crate) fn summary(&self) -> String {
        let counters = self.shard.counters();
        let silent = Counter::ALL.iter().filter(|counter| counters.get(**counter) == 0);
        let silent: Vec<_> = silent.map(|counter| counter.name()).collect();
        format!(
            "{} frames equal ({} cut to {FRAME_BYTES_MAX} bytes; {} more below {FRAME_BYTES_MIN} bytes, which the kernel \
             does not take); {} of {} counters moved, not: {}",
            self.fed,
            self.cut,
            self.too_short,
            Counter::COUNT - silent.len(),
            Counter::COUNT,
            silent.join(" ")
        )
    }
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, kernel: &T, user: &T) -> Result<(), String> {
    if kernel == user { Ok(()) } else { Err(format!("{what}: kernel {kernel:?}, userspace {user:?}")) }
}

fn same_counters(kernel: &Counters, user: &Counters) -> Result<(), String> {
    if kernel == user {
        return Ok(());
    }
    for counter in Counter::ALL {
        same(counter.name(), &kernel.get(*counter), &user.get(*counter))?;
    }
    for (index, (kernel, user)) in kernel.histograms().into_iter().zip(user.histograms()).enumerate() {
        same(&format!("histogram {index}"), kernel, user)?;
    }
    same("room for counters", &kernel.values, &user.values)
}

/// Pins this thread to the first CPU it may use.
fn pin() -> u32 {
    let this_thread = Pid::from_raw(0);
    let allowed = sched_getaffinity(this_thread).expect("a thread may ask for its CPUs");
    let cpu = (0..CpuSet::count()).find(|cpu| allowed.is_set(*cpu) == Ok(true));
    let cpu = cpu.expect("a thread has a CPU");
    let mut one = CpuSet::new();
    one.set(cpu)
        .and_then(|()| sched_setaffinity(this_thread, &one))
        .expect("a thread may choose among its CPUs");
    u32::try_from(cpu).expect("CPUs are few")
}
