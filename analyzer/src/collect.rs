//! From tables that only grow to windows: each reading minus the one before. The kernel's memory-mapped sections and
//! the heap tables of a worker are read by the same code.
//!
//! A reading of the kernel's is cheap because it looks only where something changed: the program marks the listener
//! buckets it touches, histograms and targets are read once a second, and each CPU's busiest sources once a second, in
//! turn. What is read later is not lost, only told later.

use std::net::IpAddr;

use tidegauge_capture::xdp::maps::Maps;
use tidegauge_ebpf::counter::{Counter, Counters};
use tidegauge_ebpf::limits::{
    LISTENER_BUCKETS, LISTENER_WAYS, PREFIX_BUCKETS, SOURCE_BUCKETS, TARGET_BUCKETS, TARGET_WAYS,
};
use tidegauge_ebpf::listener::{ListenerCounter, ListenerRow};
use tidegauge_ebpf::section::TOUCHED_WORDS;
use tidegauge_ebpf::source::{SourceBucket, SourceCount};
use tidegauge_ebpf::target::{TargetBucket, TargetRow};

use crate::distinct::Distinct;
use crate::feature::{TICK_NS, TICKS};
use crate::track::Shard;
use crate::window::{
    ListenerKey, ListenerWindow, TOP_SOURCES_MAX, TargetWindow, Window, ip_addr, sort_sources,
};

/// Attempts in a window below which its sources are not looked up.
const SOURCE_ATTEMPTS_MIN: u64 = 10;
/// Attempts in a tick from which on its sources are looked up at once: a tenth of the healthy rate's second.
const SOURCE_ATTEMPTS_ONSET: u64 = 50;
/// Packets in a window, other than TCP, from which on its targets are looked up at once.
const TARGET_PACKETS_ONSET: u64 = 100;

/// One shard's tables, wherever they live.
#[derive(Clone, Copy)]
pub enum View<'a> {
    /// A worker's own.
    Heap(&'a Shard),
    /// One CPU's section of the kernel's.
    Kernel(&'a Maps, u32),
}

impl View<'_> {
    /// Brings `counters` up to date; histograms only where they cost nothing or are `wanted`.
    fn update(self, counters: &mut Counters, wanted: bool) -> Option<()> {
        match self {
            Self::Heap(shard) => *counters = *shard.counters(),
            Self::Kernel(maps, cpu) if wanted => *counters = maps.counters(cpu)?,
            Self::Kernel(maps, cpu) => counters.values = maps.counter_values(cpu)?,
        }
        Some(())
    }

    /// The listener buckets that were touched lately, one bit each; `None` where nobody notes that.
    fn touched(self) -> Option<[u64; TOUCHED_WORDS]> {
        let Self::Kernel(maps, cpu) = self else { return None };
        let [even, odd] = maps.touched(cpu)?.banks;
        Some(std::array::from_fn(|word| even[word] | odd[word]))
    }

    /// Whether it is this CPU's turn to have its sources read, once a second.
    const fn sources_turn(self, end_ns: u64) -> bool {
        match self {
            Self::Heap(_) => true,
            Self::Kernel(_, cpu) => (end_ns / TICK_NS + cpu as u64).is_multiple_of(TICKS as u64),
        }
    }

    fn listener_ids(self, bucket: u32) -> Option<[u64; LISTENER_WAYS]> {
        match self {
            Self::Heap(shard) => shard.listeners().get(bucket as usize).map(|bucket| bucket.ids),
            Self::Kernel(maps, cpu) => maps.listener_ids(cpu, bucket),
        }
    }

    /// Packets of a row: a cheap look whether it changed.
    fn listener_packets(self, bucket: u32, way: usize) -> Option<u64> {
        match self {
            Self::Heap(shard) => {
                let row = shard.listeners().get(bucket as usize)?.rows.get(way)?;
                Some(row.get(ListenerCounter::Packets))
            }
            Self::Kernel(maps, cpu) => maps.listener_packets(cpu, bucket, way),
        }
    }

    fn listener_row(self, bucket: u32, way: usize) -> Option<ListenerRow> {
        match self {
            Self::Heap(shard) => shard.listeners().get(bucket as usize)?.rows.get(way).copied(),
            Self::Kernel(maps, cpu) => maps.listener_row(cpu, bucket, way),
        }
    }

    fn prefix_bucket(self, bucket: u32) -> Option<SourceBucket> {
        match self {
            Self::Heap(shard) => shard.prefixes().get(bucket as usize).copied(),
            Self::Kernel(maps, cpu) => maps.prefix_bucket(cpu, bucket),
        }
    }

    fn target_bucket(self, bucket: u32) -> Option<TargetBucket> {
        match self {
            Self::Heap(shard) => shard.targets().get(bucket as usize).copied(),
            Self::Kernel(maps, cpu) => maps.target_bucket(cpu, bucket),
        }
    }

    fn source_bucket(self, bucket: u32) -> Option<SourceBucket> {
        match self {
            Self::Heap(shard) => shard.sources().get(bucket as usize).copied(),
            Self::Kernel(maps, cpu) => maps.source_bucket(cpu, bucket),
        }
    }
}

/// What was read of one shard the last time.
pub struct Collector {
    counters: Counters,
    /// By bucket and way.
    rows: Box<[KnownRow]>,
    /// By bucket.
    targets: Box<[TargetBucket]>,
    /// Packets other than TCP when the targets were last read.
    targets_read_at: u64,
    /// End of the last window, 0 before the first one.
    end_ns: u64,
    /// Attempts of the last window.
    attempted: u64,
}

/// A listener row as it was read.
#[derive(Clone, Default)]
struct KnownRow {
    id: u64,
    row: ListenerRow,
}

impl Default for Collector {
    fn default() -> Self {
        let rows = LISTENER_BUCKETS as usize * LISTENER_WAYS;
        Self {
            counters: Counters::default(),
            rows: vec![KnownRow::default(); rows].into_boxed_slice(),
            targets: vec![TargetBucket::default(); TARGET_BUCKETS as usize].into_boxed_slice(),
            targets_read_at: 0,
            end_ns: 0,
            attempted: 0,
        }
    }
}

impl Collector {
    /// What the shard counted since the last call, as the window `start_ns..end_ns`. Without `whole`, histograms and
    /// quiet targets may be left for a later call: the last one of a run, and one each second, should be whole.
    pub fn collect(&mut self, view: View<'_>, start_ns: u64, end_ns: u64, whole: bool) -> Window {
        let mut window = Window { start_ns, end_ns, ..Window::default() };
        let before = self.counters;
        if view.update(&mut self.counters, whole).is_none() {
            return window;
        }
        window.totals = self.counters.since(&before);
        self.collect_targets(view, whole, &mut window);
        let attempted = std::mem::replace(&mut self.attempted, window.totals.get(Counter::Attempted));
        let by_id = self.collect_listeners(view, &mut window);
        let onset = self.attempted >= SOURCE_ATTEMPTS_ONSET && attempted < SOURCE_ATTEMPTS_ONSET;
        if self.attempted >= SOURCE_ATTEMPTS_MIN && (onset || view.sources_turn(end_ns)) {
            collect_sources(view, &by_id, &mut window);
        }
        window
    }

    fn collect_listeners(&mut self, view: View<'_>, window: &mut Window) -> Vec<(u32, ListenerKey)> {
        let mut by_id = Vec::new();
        let last_end_ns = std::mem::replace(&mut self.end_ns, window.end_ns);
        // Notes are kept for more than one tick and less than three: after a stall every bucket is looked at.
        let recent = last_end_ns != 0 && window.end_ns.saturating_sub(last_end_ns) <= TICK_NS;
        match view.touched().filter(|_| recent) {
            Some(touched) => {
                for (index, mut bits) in (0..).zip(touched) {
                    while bits != 0 {
                        let bucket = index * u64::BITS + bits.trailing_zeros();
                        bits &= bits - 1;
                        self.collect_bucket(view, bucket, window, &mut by_id);
                    }
                }
            }
            None if matches!(view, View::Heap(_)) && window.totals.get(Counter::Segments) == 0 => {}
            None => {
                for bucket in 0..LISTENER_BUCKETS {
                    self.collect_bucket(view, bucket, window, &mut by_id);
                }
            }
        }
        by_id
    }

    fn collect_targets(&mut self, view: View<'_>, whole: bool, window: &mut Window) {
        let others = [Counter::Udp, Counter::Icmp, Counter::OtherTransport, Counter::Fragments];
        let counted = others.iter().map(|counter| self.counters.get(*counter)).sum::<u64>();
        let fresh = counted.wrapping_sub(self.targets_read_at);
        if fresh == 0 || (!whole && fresh < TARGET_PACKETS_ONSET) {
            return;
        }
        self.targets_read_at = counted;
        for bucket in 0..TARGET_BUCKETS {
            let Some(now) = view.target_bucket(bucket) else { continue };
            let before = std::mem::replace(&mut self.targets[bucket as usize], now);
            for way in 0..TARGET_WAYS {
                let known = (before.ids[way] == now.ids[way]).then_some(&before.rows[way]);
                if now.ids[way] != 0
                    && let Some((address, target)) = target_difference(&now.rows[way], known)
                {
                    window.targets.entry(address).or_default().merge(&target);
                }
            }
        }
    }

    fn collect_bucket(
        &mut self,
        view: View<'_>,
        bucket: u32,
        window: &mut Window,
        by_id: &mut Vec<(u32, ListenerKey)>,
    ) {
        let Some(ids) = view.listener_ids(bucket) else { return };
        for (way, id) in ids.into_iter().enumerate() {
            let known = &mut self.rows[bucket as usize * LISTENER_WAYS + way];
            let same_owner = known.id == id;
            let Some(packets) = view.listener_packets(bucket, way) else { continue };
            if id == 0 || (same_owner && known.row.get(ListenerCounter::Packets) == packets) {
                continue;
            }
            let Some(row) = view.listener_row(bucket, way) else { continue };
            let same_owner = same_owner && known.row.generation == row.generation;
            let listener = difference(&row, same_owner.then_some(&known.row));
            *known = KnownRow { id, row };
            let key = ListenerKey { address: ip_addr(row.address), port: row.port };
            // The sources' table knows listeners by the lower half of their id.
            by_id.push((id as u32, key));
            window.listeners.entry(key).or_default().merge(&listener);
        }
    }
}

/// A row minus what it was, if it had the same owner then.
fn difference(row: &ListenerRow, before: Option<&ListenerRow>) -> ListenerWindow {
    let mut listener = ListenerWindow {
        known: row.known != 0,
        distinct: Distinct::of_row(row),
        ttl_classes: row.ttl_classes[0] | row.ttl_classes[1],
        ..ListenerWindow::default()
    };
    for (index, own) in listener.counters.iter_mut().enumerate() {
        *own = row.counters[index].wrapping_sub(before.map_or(0, |before| before.counters[index]));
    }
    for (index, own) in listener.rwnd_octaves.iter_mut().enumerate() {
        let earlier = before.map_or(0, |before| before.rwnd_octaves[index]);
        *own = u64::from(row.rwnd_octaves[index].wrapping_sub(earlier));
    }
    listener
}

/// A target's row minus what it was, if it had the same owner then; `None` where nothing came.
fn target_difference(row: &TargetRow, before: Option<&TargetRow>) -> Option<(IpAddr, TargetWindow)> {
    let before = before.filter(|before| before.generation == row.generation);
    if before.is_some_and(|before| before.counters == row.counters) {
        return None;
    }
    let mut target = TargetWindow {
        ttl_classes: row.ttl_classes[0] | row.ttl_classes[1],
        source_port: row.source_port,
        destination_port: row.destination_port,
        ..TargetWindow::default()
    };
    for (index, own) in target.counters.iter_mut().enumerate() {
        *own = row.counters[index].wrapping_sub(before.map_or(0, |before| before.counters[index]));
    }
    Some((ip_addr(row.address), target))
}

/// The busiest sources and source prefixes of the current sketch period, per listener.
fn collect_sources(view: View<'_>, by_id: &[(u32, ListenerKey)], window: &mut Window) {
    let sources = newest((0..SOURCE_BUCKETS).filter_map(|bucket| view.source_bucket(bucket)));
    let prefixes = newest((0..PREFIX_BUCKETS).filter_map(|bucket| view.prefix_bucket(bucket)));
    for (id, key) in by_id {
        let Some(listener) = window.listeners.get_mut(key) else { continue };
        if listener.get(ListenerCounter::Attempted) < SOURCE_ATTEMPTS_MIN {
            continue;
        }
        listener.sources = busiest(&sources, *id);
        listener.prefixes = busiest(&prefixes, *id);
    }
}

/// The counts of the newest period that any of them is of.
fn newest(buckets: impl Iterator<Item = SourceBucket>) -> Vec<SourceCount> {
    let mut counts: Vec<_> =
        buckets.flat_map(|bucket| bucket.ways).filter(|count| count.fingerprint != 0).collect();
    let newest = counts.iter().map(|count| count.period).max();
    counts.retain(|count| Some(count.period) == newest);
    counts
}

fn busiest(counts: &[SourceCount], listener: u32) -> Vec<(IpAddr, u32)> {
    let ours = counts.iter().filter(|count| count.listener == listener);
    let mut busiest: Vec<_> = ours.map(|count| (ip_addr(count.address), count.attempts)).collect();
    sort_sources(&mut busiest);
    busiest.truncate(TOP_SOURCES_MAX);
    busiest
}
