//! The program's maps in our address space: read each tick without a system call.
//!
//! The kernel writes while we read. Every field is a plain integer of at most eight bytes, loaded whole; a row is
//! therefore a mixture of at most a few packets' updates, and the next tick has what this one missed.
#![expect(unsafe_code, reason = "volatile reads of memory that the kernel writes; every other file is safe")]

use std::io;
use std::os::fd::AsFd;

use aya::Ebpf;
use aya::maps::Map;
use memmap2::{MmapOptions, MmapRaw};
use tidegauge_ebpf::attempt::AttemptBucket;
use tidegauge_ebpf::counter::{Counters, VALUES};
use tidegauge_ebpf::judge::FlowBucket;
use tidegauge_ebpf::limits::{
    LISTENER_BUCKETS, LISTENER_WAYS, PREFIX_BUCKETS, SOURCE_BUCKETS, TARGET_BUCKETS,
};
use tidegauge_ebpf::listener::{ListenerBucket, ListenerRow};
use tidegauge_ebpf::section::{Asked, Queue, Section, Touched};
use tidegauge_ebpf::source::SourceBucket;
use tidegauge_ebpf::target::TargetBucket;

use super::object::{Settings, missing_map};

/// One mapped array.
struct Mapped {
    memory: MmapRaw,
}

impl Mapped {
    fn open<T>(ebpf: &Ebpf, name: &str, entries: u32) -> io::Result<Self> {
        let Some(Map::Array(data)) = ebpf.map(name) else { return Err(missing_map(name)) };
        let bytes = entries as usize * size_of::<T>();
        let memory = MmapOptions::new().len(bytes).map_raw_read_only(&data.fd().as_fd())?;
        Ok(Self { memory })
    }

    /// A copy of the `T` at byte offset `offset`; `None` outside the map.
    fn read<T: Copy>(&self, offset: usize) -> Option<T> {
        if offset + size_of::<T>() > self.memory.len() {
            return None;
        }
        // SAFETY: the check keeps the read inside the mapping, which is page-aligned while offsets are multiples of
        // `T`'s alignment (asserted); every `T` used here consists of integers, for which any bits are valid.
        // Volatile, because the kernel writes the memory meanwhile.
        unsafe {
            let pointer = self.memory.as_ptr().add(offset).cast::<T>();
            debug_assert!(pointer.is_aligned());
            Some(pointer.read_volatile())
        }
    }

    fn entry<T: Copy>(&self, index: usize) -> Option<T> {
        self.read(index * size_of::<T>())
    }
}

/// All tables of one loaded object.
pub struct Maps {
    cpus: u32,
    sections: Mapped,
    listeners: Mapped,
    sources: Mapped,
    prefixes: Mapped,
    targets: Mapped,
    attempts: Mapped,
    flows: Mapped,
    attempt_buckets: u32,
    flow_buckets: u32,
}

impl Maps {
    pub(super) fn open(ebpf: &Ebpf, cpus: u32, settings: &Settings) -> io::Result<Self> {
        Ok(Self {
            cpus,
            sections: Mapped::open::<Section>(ebpf, "SECTIONS", cpus)?,
            listeners: Mapped::open::<ListenerBucket>(ebpf, "LISTENERS", cpus * LISTENER_BUCKETS)?,
            sources: Mapped::open::<SourceBucket>(ebpf, "SOURCES", cpus * SOURCE_BUCKETS)?,
            prefixes: Mapped::open::<SourceBucket>(ebpf, "PREFIXES", cpus * PREFIX_BUCKETS)?,
            targets: Mapped::open::<TargetBucket>(ebpf, "TARGETS", cpus * TARGET_BUCKETS)?,
            attempts: Mapped::open::<AttemptBucket>(ebpf, "ATTEMPTS", settings.attempt_buckets)?,
            flows: Mapped::open::<FlowBucket>(ebpf, "FLOWS", settings.flow_buckets)?,
            attempt_buckets: settings.attempt_buckets,
            flow_buckets: settings.flow_buckets,
        })
    }

    /// CPUs, each of which is a shard of its own.
    pub const fn cpus(&self) -> u32 {
        self.cpus
    }

    /// Memory of all maps, in bytes.
    pub fn memory_bytes(&self) -> usize {
        let per_cpu = [&self.sections, &self.listeners, &self.sources, &self.prefixes, &self.targets];
        let shared = [&self.attempts, &self.flows];
        per_cpu.iter().chain(&shared).map(|mapped| mapped.memory.len()).sum()
    }

    /// A CPU's totals.
    pub fn counters(&self, cpu: u32) -> Option<Counters> {
        self.sections.read(cpu as usize * size_of::<Section>() + std::mem::offset_of!(Section, counters))
    }

    /// A CPU's totals without their histograms.
    pub fn counter_values(&self, cpu: u32) -> Option<[u64; VALUES]> {
        let counters = cpu as usize * size_of::<Section>() + std::mem::offset_of!(Section, counters);
        self.sections.read(counters + std::mem::offset_of!(Counters, values))
    }

    /// Which of a CPU's listener buckets changed lately.
    pub fn touched(&self, cpu: u32) -> Option<Touched> {
        self.sections.read(cpu as usize * size_of::<Section>() + std::mem::offset_of!(Section, touched))
    }

    /// Attempts by listener bucket on a CPU.
    pub fn asked(&self, cpu: u32) -> Option<Asked> {
        self.sections.read(cpu as usize * size_of::<Section>() + std::mem::offset_of!(Section, asked))
    }

    /// Packets of a CPU that wait for the next one to be judged.
    pub fn waiting(&self, cpu: u32) -> Option<u32> {
        let queue = cpu as usize * size_of::<Section>() + std::mem::offset_of!(Section, queue);
        self.sections.read(queue + std::mem::offset_of!(Queue, waiting))
    }

    /// The ids in one of a CPU's listener buckets, 0 where free.
    pub fn listener_ids(&self, cpu: u32, bucket: u32) -> Option<[u64; LISTENER_WAYS]> {
        self.listeners.read(listener_offset(cpu, bucket))
    }

    /// A listener's row.
    pub fn listener_row(&self, cpu: u32, bucket: u32, way: usize) -> Option<ListenerRow> {
        let rows = listener_offset(cpu, bucket) + std::mem::offset_of!(ListenerBucket, rows);
        self.listeners.read(rows + way * size_of::<ListenerRow>())
    }

    /// Packets of a listener's row: enough to see whether it changed.
    pub fn listener_packets(&self, cpu: u32, bucket: u32, way: usize) -> Option<u64> {
        let rows = listener_offset(cpu, bucket) + std::mem::offset_of!(ListenerBucket, rows);
        self.listeners
            .read(rows + way * size_of::<ListenerRow>() + std::mem::offset_of!(ListenerRow, counters))
    }

    /// One of a CPU's source buckets.
    pub fn source_bucket(&self, cpu: u32, bucket: u32) -> Option<SourceBucket> {
        self.sources.entry((cpu * SOURCE_BUCKETS + bucket) as usize)
    }

    /// One of a CPU's source prefix buckets.
    pub fn prefix_bucket(&self, cpu: u32, bucket: u32) -> Option<SourceBucket> {
        self.prefixes.entry((cpu * PREFIX_BUCKETS + bucket) as usize)
    }

    /// One of a CPU's target buckets.
    pub fn target_bucket(&self, cpu: u32, bucket: u32) -> Option<TargetBucket> {
        self.targets.entry((cpu * TARGET_BUCKETS + bucket) as usize)
    }

    /// A half-open bucket.
    pub fn attempt_bucket(&self, bucket: u32) -> Option<AttemptBucket> {
        self.attempts.entry(bucket as usize)
    }

    /// A flow bucket.
    pub fn flow_bucket(&self, bucket: u32) -> Option<FlowBucket> {
        self.flows.entry(bucket as usize)
    }

    /// Buckets of the half-open cache.
    pub const fn attempt_buckets(&self) -> u32 {
        self.attempt_buckets
    }

    /// Buckets of the flow table.
    pub const fn flow_buckets(&self) -> u32 {
        self.flow_buckets
    }
}

const fn listener_offset(cpu: u32, bucket: u32) -> usize {
    (cpu as usize * LISTENER_BUCKETS as usize + bucket as usize) * size_of::<ListenerBucket>()
}
