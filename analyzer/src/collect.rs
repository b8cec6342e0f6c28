//! From tables that only grow to windows: each reading minus the one before. The kernel's memory-mapped sections and
//! the heap tables of a worker are read by the same code.
//!
//! A reading of the kernel's costs about the same whatever the traffic is: totals are read of every CPU; histograms
//! once a second, a tenth of the CPUs in each tick; targets and the busiest sources of one CPU a tick, and of
//! [`ONSETS_PER_TICK`] more where much has just begun; listeners only where the program noted a change, of these at most
//! [`BUCKETS_PER_TICK`], and before them at most as many that are asked for in earnest. What is read later is not lost,
//! only told later.

use std::net::IpAddr;

use tidegauge_capture::xdp::maps::Maps;
use tidegauge_ebpf::counter::{Counter, Counters, VALUES};
use tidegauge_ebpf::limits::{
    LISTENER_BUCKETS, LISTENER_WAYS, PREFIX_BUCKETS, SOURCE_BUCKETS, TARGET_BUCKETS, TARGET_WAYS,
};
use tidegauge_ebpf::listener::{ListenerCounter, ListenerRow, RWND_OCTAVES};
use tidegauge_ebpf::section::{Asked, TOUCHED_WORDS};
use tidegauge_ebpf::source::{SourceBucket, SourceCount};
use tidegauge_ebpf::target::{TargetBucket, TargetRow};

use crate::distinct::Distinct;
use crate::feature::{TICK_NS, TICKS};
use crate::keyed::Keyed;
use crate::track::Shard;
use crate::window::{
    ListenerKey, ListenerWindow, TOP_SOURCES_MAX, TargetWindow, Window, ip_addr, sort_sources,
};

/// Listener buckets that are looked at in a tick, of all CPUs together, at 1 us each, where there are many CPUs.
pub const BUCKETS_PER_TICK: u32 = 48;
/// CPUs from which on reading their totals takes what it may.
const CPUS_MANY: u32 = 64;
/// Attempts at a bucket since it was last read that make it one to read at once: of a flood of 500/s, which comes by one
/// CPU, in a tick.
const ASKED_IN_EARNEST: u16 = 20;
/// CPUs whose sources or targets are looked at in a tick because much has just begun there.
pub const ONSETS_PER_TICK: u32 = 2;
/// Attempts in a window below which their sources are not looked up.
const SOURCE_ATTEMPTS_MIN: u64 = 10;
/// Attempts in a tick from which on their sources are looked up at once, where they are so many times those of the tick
/// before: a tenth of the healthy rate's second.
const SOURCE_ATTEMPTS_ONSET: u64 = 50;
const SOURCE_ATTEMPTS_RISE: u64 = 2;
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
    fn values(self) -> Option<[u64; VALUES]> {
        match self {
            Self::Heap(shard) => Some(shard.counters().values),
            Self::Kernel(maps, cpu) => maps.counter_values(cpu),
        }
    }

    fn counters(self) -> Option<Counters> {
        match self {
            Self::Heap(shard) => Some(*shard.counters()),
            Self::Kernel(maps, cpu) => maps.counters(cpu),
        }
    }

    /// The listener buckets that were touched lately, one bit each; `None` where nobody notes that.
    fn touched(self) -> Option<[u64; TOUCHED_WORDS]> {
        let Self::Kernel(maps, cpu) = self else { return None };
        let [even, odd] = maps.touched(cpu)?.banks;
        Some(std::array::from_fn(|word| even[word] | odd[word]))
    }

    /// Attempts by listener bucket; `None` where everything is read anyway.
    fn asked(self) -> Option<Asked> {
        match self {
            Self::Heap(_) => None,
            Self::Kernel(maps, cpu) => maps.asked(cpu),
        }
    }

    /// What it is this shard's turn to have read.
    fn turns(self, end_ns: u64) -> Turns {
        let Self::Kernel(maps, cpu) = self else { return Turns::ALL };
        let tick = end_ns / TICK_NS + u64::from(cpu);
        let ticks = TICKS as u64;
        // One CPU's in a tick, and not both of the same CPU.
        let round = ticks.max(u64::from(maps.cpus()));
        Turns {
            histograms: tick.is_multiple_of(ticks),
            sources: tick.is_multiple_of(round),
            targets: (tick + round / 2).is_multiple_of(round),
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

/// What is read of a shard now and then.
#[derive(Clone, Copy)]
struct Turns {
    histograms: bool,
    sources: bool,
    targets: bool,
}

impl Turns {
    const ALL: Self = Self { histograms: true, sources: true, targets: true };
}

/// What was read of one shard the last time.
pub struct Collector {
    counters: Counters,
    /// Packets when the histograms were last read.
    packets_then: u64,
    /// By bucket and way.
    rows: Box<[KnownRow]>,
    /// Listener buckets that changed and were not read since, one bit each.
    pending: [u64; TOUCHED_WORDS],
    /// Where the next reading of them begins.
    next_bucket: u32,
    /// Attempts at each when it was last read.
    asked_then: Asked,
    /// By bucket.
    targets: Box<[TargetBucket]>,
    /// Packets other than TCP when the targets were last read, and in the last tick.
    targets_then: u64,
    others: u64,
    /// End of the last window, 0 before the first one.
    end_ns: u64,
    /// Attempts of the last window.
    attempted: u64,
}

/// How much a reading may look at.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Everything at once: the first and the last reading of a run, and files.
    pub everything: bool,
    /// Listener buckets that may still be looked at, of all shards together.
    pub buckets: u32,
    /// The same for those that are asked for in earnest.
    pub asked_buckets: u32,
    /// Shards whose sources or targets may still be looked at out of their turn.
    pub onsets: u32,
}

impl Effort {
    /// Everything there is.
    pub const EVERYTHING: Self =
        Self { everything: true, buckets: u32::MAX, asked_buckets: u32::MAX, onsets: u32::MAX };
    /// What a tick of a live run on so many CPUs may take: together some 200 us.
    pub fn tick(cpus: usize) -> Self {
        // The totals of two CPUs take as long as a bucket.
        let buckets = BUCKETS_PER_TICK + CPUS_MANY.saturating_sub(cpus as u32) / 2;
        Self { everything: false, buckets, asked_buckets: buckets, onsets: ONSETS_PER_TICK }
    }

    /// Whether an onset may be looked at; it is then one less.
    fn take_onset(&mut self) -> bool {
        let left = self.onsets != 0;
        self.onsets = self.onsets.saturating_sub(1);
        left
    }
}

/// What is subtracted of a listener row the next time.
#[derive(Clone, Default)]
struct KnownRow {
    id: u64,
    generation: u32,
    rwnd_octaves: [u32; RWND_OCTAVES],
    counters: [u64; ListenerCounter::COUNT],
}

impl KnownRow {
    fn of(id: u64, row: &ListenerRow) -> Self {
        Self { id, generation: row.generation, rwnd_octaves: row.rwnd_octaves, counters: row.counters }
    }

    const fn packets(&self) -> u64 {
        self.counters[ListenerCounter::Packets as usize]
    }
}

impl Default for Collector {
    fn default() -> Self {
        let rows = LISTENER_BUCKETS as usize * LISTENER_WAYS;
        Self {
            counters: Counters::default(),
            packets_then: 0,
            rows: vec![KnownRow::default(); rows].into_boxed_slice(),
            pending: [0; TOUCHED_WORDS],
            next_bucket: 0,
            asked_then: Asked::default(),
            targets: vec![TargetBucket::default(); TARGET_BUCKETS as usize].into_boxed_slice(),
            targets_then: 0,
            others: 0,
            end_ns: 0,
            attempted: 0,
        }
    }
}

impl Collector {
    /// All that the shard counted since the last call, as the window `start_ns..end_ns`.
    pub fn collect(&mut self, view: View<'_>, start_ns: u64, end_ns: u64) -> Window {
        let mut window = Window { start_ns, end_ns, ..Window::default() };
        self.collect_into(&mut window, view, &mut Effort::EVERYTHING.clone());
        window
    }

    /// Adds what the shard counted since the last call to a window that other shards add to as well.
    pub fn collect_into(&mut self, window: &mut Window, view: View<'_>, effort: &mut Effort) {
        let Some(values) = view.values() else { return };
        let before = std::mem::replace(&mut self.counters.values, values);
        let counted = |counter: Counter| values[counter as usize].wrapping_sub(before[counter as usize]);
        for ((own, now), before) in window.totals.values.iter_mut().zip(&values).zip(&before) {
            *own = own.saturating_add(now.wrapping_sub(*before));
        }
        let turns = if effort.everything { Turns::ALL } else { view.turns(window.end_ns) };
        if turns.histograms {
            self.collect_histograms(view, window);
        }
        self.collect_targets(view, turns.targets, effort, window);
        let attempted = std::mem::replace(&mut self.attempted, counted(Counter::Attempted));
        let by_id = self.collect_listeners(view, counted(Counter::Segments), effort, window);
        let onset = self.attempted >= SOURCE_ATTEMPTS_ONSET.max(attempted * SOURCE_ATTEMPTS_RISE);
        if self.attempted >= SOURCE_ATTEMPTS_MIN && (turns.sources || (onset && effort.take_onset())) {
            collect_sources(view, &by_id, window);
        }
    }

    fn collect_histograms(&mut self, view: View<'_>, window: &mut Window) {
        let packets = self.counters.get(Counter::Packets);
        if std::mem::replace(&mut self.packets_then, packets) == packets {
            return;
        }
        let Some(mut now) = view.counters() else { return };
        // Frames that came since the totals were read count there the next time.
        now.values = self.counters.values;
        let before = std::mem::replace(&mut self.counters, now);
        let pairs = self.counters.histograms().into_iter().zip(before.histograms());
        for (own, (now, before)) in window.totals.histograms_mut().into_iter().zip(pairs) {
            own.merge(&now.since(before));
        }
    }

    fn collect_listeners(
        &mut self,
        view: View<'_>,
        segments: u64,
        effort: &mut Effort,
        window: &mut Window,
    ) -> Vec<(u32, ListenerKey)> {
        let mut by_id = Vec::new();
        let last_end_ns = std::mem::replace(&mut self.end_ns, window.end_ns);
        // Notes are kept for more than one tick and less than three: after a stall every bucket is looked at.
        let recent = last_end_ns != 0 && window.end_ns.saturating_sub(last_end_ns) <= TICK_NS;
        match view.touched().filter(|_| recent) {
            Some(touched) => self.pending.iter_mut().zip(touched).for_each(|(own, more)| *own |= more),
            None if matches!(view, View::Heap(_)) && segments == 0 => return by_id,
            None => self.pending = [u64::MAX; TOUCHED_WORDS],
        }
        let mut listeners = Vec::new();
        for bucket in self.take_asked(view, effort).into_iter().chain(self.take_pending(effort)) {
            self.collect_bucket(view, bucket, &mut listeners, &mut by_id);
        }
        window.listeners.merge(Keyed::gather(listeners, ListenerWindow::merge), ListenerWindow::merge);
        by_id
    }

    /// The buckets with so many attempts that they do not wait for their turn.
    fn take_asked(&mut self, view: View<'_>, effort: &mut Effort) -> Vec<u32> {
        let mut taken = Vec::new();
        if self.attempted == 0 {
            return taken;
        }
        let Some(asked) = view.asked() else { return taken };
        for (bucket, (now, then)) in asked.attempts.iter().zip(&mut self.asked_then.attempts).enumerate() {
            if now.wrapping_sub(*then) < ASKED_IN_EARNEST || effort.asked_buckets == 0 {
                continue;
            }
            effort.asked_buckets -= 1;
            *then = *now;
            self.pending[bucket / 64] &= !(1 << (bucket % 64));
            taken.push(bucket as u32);
        }
        taken
    }

    /// The buckets whose turn it is, from where the last time ended and around.
    fn take_pending(&mut self, effort: &mut Effort) -> Vec<u32> {
        let mut taken = Vec::new();
        if self.pending == [0; TOUCHED_WORDS] {
            return taken;
        }
        for step in 0..LISTENER_BUCKETS {
            let bucket = (self.next_bucket + step) % LISTENER_BUCKETS;
            let (word, bit) = (bucket as usize / 64, 1 << (bucket % 64));
            if self.pending[word] & bit == 0 {
                continue;
            }
            if effort.buckets == 0 {
                self.next_bucket = bucket;
                break;
            }
            effort.buckets -= 1;
            self.pending[word] &= !bit;
            taken.push(bucket);
        }
        taken
    }

    fn collect_targets(&mut self, view: View<'_>, turn: bool, effort: &mut Effort, window: &mut Window) {
        let others = [Counter::Udp, Counter::Icmp, Counter::OtherTransport, Counter::Fragments];
        let counted = others.iter().map(|counter| self.counters.get(*counter)).sum::<u64>();
        let before = std::mem::replace(&mut self.others, counted);
        let fresh = counted.wrapping_sub(before);
        // Much at once where nothing came since the last reading.
        let onset = fresh >= TARGET_PACKETS_ONSET && before == self.targets_then;
        if counted == self.targets_then || !(turn || (onset && effort.take_onset())) {
            return;
        }
        self.targets_then = counted;
        let mut targets = Vec::new();
        for bucket in 0..TARGET_BUCKETS {
            let Some(now) = view.target_bucket(bucket) else { continue };
            let before = std::mem::replace(&mut self.targets[bucket as usize], now);
            for way in 0..TARGET_WAYS {
                let known = (before.ids[way] == now.ids[way]).then_some(&before.rows[way]);
                if now.ids[way] != 0
                    && let Some(target) = target_difference(&now.rows[way], known)
                {
                    targets.push(target);
                }
            }
        }
        window.targets.merge(Keyed::gather(targets, TargetWindow::merge), TargetWindow::merge);
    }

    fn collect_bucket(
        &mut self,
        view: View<'_>,
        bucket: u32,
        listeners: &mut Vec<(ListenerKey, ListenerWindow)>,
        by_id: &mut Vec<(u32, ListenerKey)>,
    ) {
        let Some(ids) = view.listener_ids(bucket) else { return };
        for (way, id) in ids.into_iter().enumerate() {
            if id == 0 {
                continue;
            }
            let known = &mut self.rows[bucket as usize * LISTENER_WAYS + way];
            let same_owner = known.id == id;
            let Some(packets) = view.listener_packets(bucket, way) else { continue };
            if same_owner && known.packets() == packets {
                continue;
            }
            let Some(row) = view.listener_row(bucket, way) else { continue };
            let same_owner = same_owner && known.generation == row.generation;
            let listener = difference(&row, same_owner.then_some(&*known));
            *known = KnownRow::of(id, &row);
            let key = ListenerKey { address: ip_addr(row.address), port: row.port };
            // The sources' table knows listeners by the lower half of their id.
            by_id.push((id as u32, key));
            listeners.push((key, listener));
        }
    }
}

/// A row minus what it was, if it had the same owner then.
fn difference(row: &ListenerRow, before: Option<&KnownRow>) -> ListenerWindow {
    let mut listener = ListenerWindow {
        known: row.known != 0,
        distinct: Distinct::of(&row.askers),
        ttl_classes: row.askers.ttl_classes[0] | row.askers.ttl_classes[1],
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

/// The busiest sources and source prefixes of the current sketch period, per listener: also where each has few, as when one
/// host asks them all.
fn collect_sources(view: View<'_>, by_id: &[(u32, ListenerKey)], window: &mut Window) {
    let sources = newest((0..SOURCE_BUCKETS).filter_map(|bucket| view.source_bucket(bucket)));
    let prefixes = newest((0..PREFIX_BUCKETS).filter_map(|bucket| view.prefix_bucket(bucket)));
    for (id, key) in by_id {
        let Some(listener) = window.listeners.get_mut(key) else { continue };
        if listener.get(ListenerCounter::Attempted) != 0 {
            listener.add_sources(&busiest(&sources, *id), &busiest(&prefixes, *id));
        }
    }
}

/// The counts of the newest period that any of them is of, by listener.
fn newest(buckets: impl Iterator<Item = SourceBucket>) -> Vec<SourceCount> {
    let mut counts: Vec<_> =
        buckets.flat_map(|bucket| bucket.ways).filter(|count| count.fingerprint != 0).collect();
    let newest = counts.iter().map(|count| count.period).max();
    counts.retain(|count| Some(count.period) == newest);
    counts.sort_unstable_by_key(|count| count.listener);
    counts
}

fn busiest(counts: &[SourceCount], listener: u32) -> Vec<(IpAddr, u32)> {
    let first = counts.partition_point(|count| count.listener < listener);
    let ours = counts.iter().skip(first).take_while(|count| count.listener == listener);
    let mut busiest: Vec<_> = ours.map(|count| (ip_addr(count.address), count.attempts)).collect();
    sort_sources(&mut busiest);
    busiest.truncate(TOP_SOURCES_MAX);
    busiest
}
