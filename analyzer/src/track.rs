//! The tables in userspace: the same types the kernel program fills, on the heap, for sources that hand over frames.
//!
//! Sizes are fixed at creation. One shard is one worker's: nothing here is shared.

use std::collections::BTreeMap;

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

/// Unread link types told apart; a capture with more of them than exist is hostile.
const UNREAD_LINKS_MAX: usize = 64;

/// Bits that choose the sampled flows begin here: behind those that choose the bucket, which must all stay in use.
const SAMPLE_SHIFT: u32 = 48;

/// Frames that wait to be judged while the lines of their tables are fetched.
const LAG: u32 = HeapTables::DEPTH;

/// One worker's tables.
pub struct Shard {
    settings: Settings,
    tables: HeapTables,
    /// Frames by DLT number that is not read, beyond the maximum under the last one.
    unread_links: BTreeMap<u16, u64>,
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
    /// Bits of a flow's hash that are 0 where it is followed.
    unsampled_bits: u64,
}

impl Shard {
    /// Tables with so many half-open and flow buckets, each rounded up to a power of two.
    pub fn with_buckets(settings: Settings, attempt_buckets: u32, flow_buckets: u32) -> Self {
        Self {
            settings,
            unread_links: BTreeMap::new(),
            tables: HeapTables {
                section: Box::default(),
                attempts: zeroed(attempt_buckets),
                flows: zeroed(flow_buckets),
                listeners: zeroed(LISTENER_BUCKETS),
                sources: zeroed(SOURCE_BUCKETS),
                prefixes: zeroed(PREFIX_BUCKETS),
                targets: zeroed(TARGET_BUCKETS),
                unsampled_bits: 0,
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

    /// From now on follows the flows of one in `one_in`, a power of two, of all hash values: whole flows, the same ones
    /// as long as the number stays.
    pub fn sample_flows(&mut self, one_in: u32) {
        self.tables.unsampled_bits = (u64::from(one_in) - 1) << SAMPLE_SHIFT;
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
        let full = self.unread_links.len() >= UNREAD_LINKS_MAX && !self.unread_links.contains_key(&frame.dlt);
        *self.unread_links.entry(if full { u16::MAX } else { frame.dlt }).or_default() += 1;
    }

    /// Frames of link types that are not read, by DLT number.
    pub const fn unread_links(&self) -> &BTreeMap<u16, u64> {
        &self.unread_links
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
    fn sampled(&self, hash: u64) -> bool {
        hash & self.unsampled_bits == 0
    }

    #[inline(always)]
    fn precise(&mut self, arrived: Stamp, _reserve: u32) -> Moment {
        Moment { stamp: arrived, precise: true }
    }
}
