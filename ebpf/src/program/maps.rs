//! The program's maps and load-time constants. Names and layouts are userspace's contract (`capture::xdp`).

use aya_ebpf::helpers::generated::{bpf_get_smp_processor_id, bpf_jiffies64, bpf_ktime_get_ns};
use aya_ebpf::macros::map;
use aya_ebpf::maps::Array;
use tidegauge_ebpf::attempt::AttemptBucket;
use tidegauge_ebpf::judge::FlowBucket;
use tidegauge_ebpf::limits::{
    ATTEMPT_BUCKETS, FLOW_BUCKETS_LIVE, LISTENER_BUCKETS, PREFIX_BUCKETS, SOURCE_BUCKETS, TARGET_BUCKETS,
};
use tidegauge_ebpf::listener::ListenerBucket;
use tidegauge_ebpf::observe::Tables;
use tidegauge_ebpf::section::Section;
use tidegauge_ebpf::settings::{INWARD, OUTWARD, Settings, feature};
use tidegauge_ebpf::source::SourceBucket;
use tidegauge_ebpf::stamp::{Moment, Stamp};
use tidegauge_ebpf::target::TargetBucket;

/// `BPF_F_MMAPABLE`.
const MMAPABLE: u32 = 1 << 10;

// One entry or section per possible CPU: the loader multiplies the sizes.
#[map]
static SECTIONS: Array<Section> = Array::with_max_entries(1, MMAPABLE);
#[map]
static LISTENERS: Array<ListenerBucket> = Array::with_max_entries(LISTENER_BUCKETS, MMAPABLE);
#[map]
static SOURCES: Array<SourceBucket> = Array::with_max_entries(SOURCE_BUCKETS, MMAPABLE);
#[map]
static PREFIXES: Array<SourceBucket> = Array::with_max_entries(PREFIX_BUCKETS, MMAPABLE);
#[map]
static TARGETS: Array<TargetBucket> = Array::with_max_entries(TARGET_BUCKETS, MMAPABLE);
// Shared by all CPUs.
#[map]
static ATTEMPTS: Array<AttemptBucket> = Array::with_max_entries(ATTEMPT_BUCKETS, MMAPABLE);
#[map]
static FLOWS: Array<FlowBucket> = Array::with_max_entries(FLOW_BUCKETS_LIVE, MMAPABLE);
/// The test's clock in nanoseconds, read only where `TEST_CLOCK` is set.
#[map]
static CLOCK: Array<u64> = Array::with_max_entries(1, MMAPABLE);

// Load-time constants (.rodata): the verifier knows their values and prunes what they switch off.
#[unsafe(no_mangle)]
static SEED: u64 = 0;
#[unsafe(no_mangle)]
static FEATURES: u32 = feature::ALL;
#[unsafe(no_mangle)]
static FRAME_BYTES_MAX: u32 = 0;
#[unsafe(no_mangle)]
static DIRECTIONS: u32 = INWARD | OUTWARD;
#[unsafe(no_mangle)]
static TEST_CLOCK: u32 = 0;
#[unsafe(no_mangle)]
static ATTEMPT_MASK: u32 = ATTEMPT_BUCKETS - 1;
#[unsafe(no_mangle)]
static FLOW_MASK: u32 = FLOW_BUCKETS_LIVE - 1;

/// Never written, but writable, so that no verifier takes its value for granted.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".data")]
static ZERO: u32 = 0;

/// 0, see [`crate::wire::Wire::zero`].
#[inline(always)]
pub(crate) fn zero() -> u32 {
    constant(&ZERO)
}

/// A load-time constant's value.
#[inline(always)]
fn constant<T: Copy>(value: &'static T) -> T {
    // SAFETY: a reference is readable; volatile, because the loader changes what the compiler saw.
    unsafe { core::ptr::read_volatile(value) }
}

/// Whether frames of this direction are counted at all.
#[inline(always)]
pub(crate) fn counts(direction: u32) -> bool {
    constant(&DIRECTIONS) & direction != 0
}

/// The packet logic's constants.
#[inline(always)]
pub(crate) fn settings() -> Settings {
    Settings {
        seed: constant(&SEED),
        features: constant(&FEATURES),
        frame_bytes_max: constant(&FRAME_BYTES_MAX),
    }
}

/// The test's clock, if the program was loaded for one.
#[inline(always)]
pub(crate) fn test_clock_ns() -> Option<u64> {
    if constant(&TEST_CLOCK) == 0 {
        return None;
    }
    CLOCK.get(0).copied()
}

/// The maps as the packet logic's tables, seen from one CPU.
pub(crate) struct KernelTables {
    cpu: u32,
}

impl KernelTables {
    #[inline(always)]
    pub(crate) fn new() -> Self {
        // SAFETY: a helper without arguments.
        Self { cpu: unsafe { bpf_get_smp_processor_id() } }
    }

    /// The map's entry as the tables' exclusive reference.
    #[inline(always)]
    fn entry<'a, T>(&'a mut self, map: &'static Array<T>, index: u32) -> Option<&'a mut T> {
        // SAFETY: the pointer is a live map value. Sections of one CPU are its own while a program runs (XDP runs in
        // softirq, TC with softirqs off). Shared tables may be written by another CPU at the same time: they hold
        // plain integers, each loaded and stored whole, and `judge` says what a lost update costs.
        map.get_ptr_mut(index).map(|value| unsafe { &mut *value })
    }
}

/// Jiffies since some time before boot. Inlined by the verifier: a load.
#[inline(always)]
fn jiffies() -> u64 {
    // SAFETY: a helper without arguments.
    unsafe { bpf_jiffies64() }
}

/// Nanoseconds since boot.
#[inline(always)]
fn now_ns() -> u64 {
    // SAFETY: a helper without arguments.
    unsafe { bpf_ktime_get_ns() }
}

impl KernelTables {
    /// A packet arrives: its time, precise to a jiffy, and whether packets come fast.
    #[inline(always)]
    pub(crate) fn arrive(&mut self) -> (Stamp, bool) {
        let test_clock_ns = test_clock_ns();
        let Some(Section { queue, .. }) = self.section() else { return (Stamp(0), false) };
        let now = match test_clock_ns {
            Some(ns) => queue.arrive(ns, || ns),
            None => queue.arrive(jiffies(), now_ns),
        };
        (now, queue.busy())
    }
}

impl Tables for KernelTables {
    const DEPTH: u32 = 1;

    #[inline(always)]
    fn section(&mut self) -> Option<&mut Section> {
        let cpu = self.cpu;
        self.entry(&SECTIONS, cpu)
    }

    #[inline(always)]
    fn prefixes(&mut self, pair: u64) -> Option<&mut SourceBucket> {
        let index = self.cpu * PREFIX_BUCKETS + (pair as u32 & (PREFIX_BUCKETS - 1));
        self.entry(&PREFIXES, index)
    }

    #[inline(always)]
    fn targets(&mut self, hash: u64) -> Option<&mut TargetBucket> {
        let index = self.cpu * TARGET_BUCKETS + ((hash >> 32) as u32 & (TARGET_BUCKETS - 1));
        self.entry(&TARGETS, index)
    }

    #[inline(always)]
    fn precise(&mut self, arrived: Stamp, reserve: u32) -> Moment {
        if test_clock_ns().is_some() {
            return Moment { stamp: arrived, precise: true };
        }
        let Some(Section { queue, .. }) = self.section() else {
            return Moment { stamp: arrived, precise: false };
        };
        // A packet that waited into the next tick has no precise time any more.
        if Stamp::from_ns(queue.now_ns) != arrived || !queue.take_precise(reserve) {
            return Moment { stamp: arrived, precise: false };
        }
        Moment { stamp: Stamp::from_ns(now_ns()), precise: true }
    }

    #[inline(always)]
    fn attempts(&mut self, hash: u64) -> Option<&mut AttemptBucket> {
        self.entry(&ATTEMPTS, hash as u32 & constant(&ATTEMPT_MASK))
    }

    #[inline(always)]
    fn flows(&mut self, hash: u64) -> Option<&mut FlowBucket> {
        self.entry(&FLOWS, hash as u32 & constant(&FLOW_MASK))
    }

    #[inline(always)]
    fn listeners(&mut self, id: u64) -> Option<&mut ListenerBucket> {
        let index = self.cpu * LISTENER_BUCKETS + (id as u32 & (LISTENER_BUCKETS - 1));
        self.entry(&LISTENERS, index)
    }

    #[inline(always)]
    fn sources(&mut self, pair: u64) -> Option<&mut SourceBucket> {
        let index = self.cpu * SOURCE_BUCKETS + (pair as u32 & (SOURCE_BUCKETS - 1));
        self.entry(&SOURCES, index)
    }
}
