//! The kernel program's tables on the heap, filled by the same packet logic: what tests hold against the kernel's own, and
//! against the full judgement ([`crate::follow`]).
//!
//! Sizes are fixed at creation.

use tidegauge_capture::frame::CapturedFrame;
use tidegauge_ebpf::attempt::AttemptBucket;
use tidegauge_ebpf::counter::{Counter, Counters};
use tidegauge_ebpf::judge::FlowBucket;
use tidegauge_ebpf::limits::{LISTENER_BUCKETS, PREFIX_BUCKETS, SOURCE_BUCKETS, TARGET_BUCKETS};
use tidegauge_ebpf::listener::ListenerBucket;
use tidegauge_ebpf::observe::{Arrival, Tables, flush, observe};
use tidegauge_ebpf::section::{Section, WORK_SLOTS};
use tidegauge_ebpf::settings::Settings;
use tidegauge_ebpf::source::SourceBucket;
use tidegauge_ebpf::stamp::{Moment, Stamp};
use tidegauge_ebpf::target::TargetBucket;

/// Frames that wait to be judged while the lines of their tables are fetched.
const LAG: u32 = HeapTables::DEPTH;

/// The tables of one CPU.
pub struct Shard {
    settings: Settings,
    tables: HeapTables,
}

/// The tables themselves, apart from the settings so that both can be borrowed at once.
struct HeapTables {
    section: Box<Section>,
    attempts: Box<[AttemptBucket]>,
    flows: Box<[FlowBucket]>,
    listeners: Box<[ListenerBucket]>,
    sources: Box<[SourceBucket]>,
    prefixes: Box<[SourceBucket]>,
    targets: Box<[TargetBucket]>,
}

impl Shard {
    /// Tables with so many half-open and flow buckets, each rounded up to a power of two.
    pub fn with_buckets(settings: Settings, attempt_buckets: u32, flow_buckets: u32) -> Self {
        Self {
            settings,
            tables: HeapTables {
                section: Box::default(),
                attempts: zeroed(attempt_buckets),
                flows: zeroed(flow_buckets),
                listeners: zeroed(LISTENER_BUCKETS),
                sources: zeroed(SOURCE_BUCKETS),
                prefixes: zeroed(PREFIX_BUCKETS),
                targets: zeroed(TARGET_BUCKETS),
            },
        }
    }

    /// Takes one captured frame through the packet logic. Its judgement may wait for the next frames; [`Shard::flush`]
    /// before reading the tables.
    #[inline]
    pub fn observe(&mut self, frame: &CapturedFrame<'_>) {
        let Some(link) = frame.link else {
            self.count_unsupported(frame);
            return;
        };
        let arrival = Arrival {
            now: Stamp::from_ns(frame.ts_ns),
            link,
            captured_len: u32::try_from(frame.bytes.len()).unwrap_or(u32::MAX),
            wire_len: frame.wire_len,
            segments: 1,
        };
        observe(frame.bytes, arrival, &mut self.tables, self.settings, LAG);
    }

    /// Takes one frame as the kernel program does, and judges it at once.
    pub fn observe_as_kernel(&mut self, frame: &[u8], arrival: Arrival) {
        observe(frame, arrival, &mut self.tables, self.settings, 0);
    }

    /// Judges the frames that still wait.
    pub fn flush(&mut self) {
        flush(&[][..], &mut self.tables, self.settings);
    }

    fn count_unsupported(&mut self, frame: &CapturedFrame<'_>) {
        let counters = &mut self.tables.section.counters;
        counters.add(Counter::Packets, 1);
        counters.add(Counter::Bytes, u64::from(frame.wire_len));
        counters.add(Counter::UnsupportedLink, 1);
    }

    /// Totals.
    pub const fn counters(&self) -> &Counters {
        &self.tables.section.counters
    }

    /// Half-open cache.
    pub const fn attempts(&self) -> &[AttemptBucket] {
        &self.tables.attempts
    }

    /// Flow table.
    pub const fn flows(&self) -> &[FlowBucket] {
        &self.tables.flows
    }

    /// Listener table.
    pub const fn listeners(&self) -> &[ListenerBucket] {
        &self.tables.listeners
    }

    /// Target table.
    pub const fn targets(&self) -> &[TargetBucket] {
        &self.tables.targets
    }

    /// Source prefix counters.
    pub const fn prefixes(&self) -> &[SourceBucket] {
        &self.tables.prefixes
    }

    /// Source counters.
    pub const fn sources(&self) -> &[SourceBucket] {
        &self.tables.sources
    }
}

fn zeroed<T: Default + Clone>(buckets: u32) -> Box<[T]> {
    vec![T::default(); buckets.next_power_of_two() as usize].into_boxed_slice()
}

/// The bucket a hash falls into; the tables' sizes are powers of two.
fn bucket<T>(table: &mut [T], hash: u64) -> Option<&mut T> {
    let mask = table.len() - 1;
    table.get_mut(hash as u32 as usize & mask)
}

impl Tables for HeapTables {
    const DEPTH: u32 = WORK_SLOTS as u32 - 1;

    #[inline(always)]
    fn section(&mut self) -> Option<&mut Section> {
        Some(&mut self.section)
    }

    #[inline(always)]
    fn attempts(&mut self, hash: u64) -> Option<&mut AttemptBucket> {
        bucket(&mut self.attempts, hash)
    }

    #[inline(always)]
    fn flows(&mut self, hash: u64) -> Option<&mut FlowBucket> {
        bucket(&mut self.flows, hash)
    }

    #[inline(always)]
    fn listeners(&mut self, id: u64) -> Option<&mut ListenerBucket> {
        bucket(&mut self.listeners, id)
    }

    #[inline(always)]
    fn sources(&mut self, pair: u64) -> Option<&mut SourceBucket> {
        bucket(&mut self.sources, pair)
    }

    #[inline(always)]
    fn prefixes(&mut self, pair: u64) -> Option<&mut SourceBucket> {
        bucket(&mut self.prefixes, pair)
    }

    #[inline(always)]
    fn targets(&mut self, hash: u64) -> Option<&mut TargetBucket> {
        // The lowest bit is always set.
        bucket(&mut self.targets, hash >> 32)
    }

    #[inline(always)]
    fn precise(&mut self, arrived: Stamp, _reserve: u32) -> Moment {
        Moment { stamp: arrived, precise: true }
    }
}
