//! From tables that only grow to windows: each reading minus the one before. The kernel's memory-mapped sections and
//! the heap tables of a worker are read by the same code.

use tidegauge_capture::xdp::maps::Maps;
use tidegauge_ebpf::counter::{Counter, Counters};
use tidegauge_ebpf::limits::{LISTENER_BUCKETS, LISTENER_WAYS, SOURCE_BUCKETS};
use tidegauge_ebpf::listener::{ListenerCounter, ListenerRow};
use tidegauge_ebpf::source::SourceBucket;

use crate::distinct::Distinct;
use crate::track::Shard;
use crate::window::{ListenerKey, ListenerWindow, TOP_SOURCES_MAX, Window, ip_addr, sort_sources};

/// Attempts in a window below which its sources are not looked up.
const SOURCE_ATTEMPTS_MIN: u64 = 10;

/// One shard's tables, wherever they live.
#[derive(Clone, Copy)]
pub enum View<'a> {
    /// A worker's own.
    Heap(&'a Shard),
    /// One CPU's section of the kernel's.
    Kernel(&'a Maps, u32),
}

impl View<'_> {
    fn counters(self) -> Option<Counters> {
        match self {
            Self::Heap(shard) => Some(*shard.counters()),
            Self::Kernel(maps, cpu) => maps.counters(cpu),
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
        Self { counters: Counters::default(), rows: vec![KnownRow::default(); rows].into_boxed_slice() }
    }
}

impl Collector {
    /// What the shard counted since the last call, as the window `start_ns..end_ns`.
    pub fn collect(&mut self, view: View<'_>, start_ns: u64, end_ns: u64) -> Window {
        let mut window = Window { start_ns, end_ns, ..Window::default() };
        let Some(counters) = view.counters() else { return window };
        window.totals = counters.since(&self.counters);
        self.counters = counters;
        if window.totals.get(Counter::Segments) == 0 {
            return window;
        }
        let mut by_id = Vec::new();
        for bucket in 0..LISTENER_BUCKETS {
            self.collect_bucket(view, bucket, &mut window, &mut by_id);
        }
        if window.totals.get(Counter::Attempted) >= SOURCE_ATTEMPTS_MIN {
            collect_sources(view, &by_id, &mut window);
        }
        window
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

/// The busiest sources of the current sketch period, per listener.
fn collect_sources(view: View<'_>, by_id: &[(u32, ListenerKey)], window: &mut Window) {
    let buckets = (0..SOURCE_BUCKETS).filter_map(|bucket| view.source_bucket(bucket));
    let counts: Vec<_> =
        buckets.flat_map(|bucket| bucket.ways).filter(|count| count.fingerprint != 0).collect();
    let Some(newest) = counts.iter().map(|count| count.period).max() else { return };
    for (id, key) in by_id {
        let Some(listener) = window.listeners.get_mut(key) else { continue };
        if listener.get(ListenerCounter::Attempted) < SOURCE_ATTEMPTS_MIN {
            continue;
        }
        let ours = counts.iter().filter(|count| count.listener == *id && count.period == newest);
        listener.sources = ours.map(|count| (ip_addr(count.address), count.attempts)).collect();
        sort_sources(&mut listener.sources);
        listener.sources.truncate(TOP_SOURCES_MAX);
    }
}
