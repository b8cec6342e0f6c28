//! Who asks most: the packet logic's counters ([`tidegauge_ebpf::source`]) by source and by source network.

use std::net::IpAddr;

use tidegauge_ebpf::flow::{pair_hash, prefix_of};
use tidegauge_ebpf::limits::{PREFIX_BUCKETS, SOURCE_BUCKETS};
use tidegauge_ebpf::packet::Address;
use tidegauge_ebpf::source::{SourceBucket, SourceCount};
use tidegauge_ebpf::stamp::Stamp;

use crate::digest::Digest;
use crate::window::{ListenerWindow, TOP_SOURCES_MAX, ip_addr, sort_sources};

/// Attempts at a listener below which its sources are not looked up.
pub(super) const SOURCE_ATTEMPTS_MIN: u64 = 10;

/// The counters.
pub(super) struct Sources {
    sources: Box<[SourceBucket]>,
    prefixes: Box<[SourceBucket]>,
}

/// Those of the newest sketch period, by listener.
pub(super) struct Newest {
    sources: Vec<SourceCount>,
    prefixes: Vec<SourceCount>,
}

impl Sources {
    pub(super) fn new() -> Self {
        let buckets = |count: u32| vec![SourceBucket::default(); count as usize].into_boxed_slice();
        Self { sources: buckets(SOURCE_BUCKETS), prefixes: buckets(PREFIX_BUCKETS) }
    }

    /// Notes who made an attempt.
    pub(super) fn note(&mut self, digest: &Digest, seed: u64) {
        self.note_at(digest.packet.source, digest.key.destination, digest.now(), seed);
    }

    /// Notes who made a request: these are counted apart from attempts at the same listener.
    pub(super) fn note_request(&mut self, digest: &Digest, seed: u64) {
        let (source, listener) = (digest.packet.source, !digest.key.destination);
        let pair = pair_hash(source, listener, seed);
        let bucket = pair as u32 as usize & (self.sources.len() - 1);
        self.sources[bucket].record(pair, listener, source, digest.now());
    }

    /// Notes who sent something to listener or host number `listener`.
    pub(super) fn note_at(&mut self, source: Address, listener: u64, now: Stamp, seed: u64) {
        let prefix = prefix_of(source);
        for (table, address) in [(&mut self.sources, source), (&mut self.prefixes, prefix)] {
            let pair = pair_hash(address, listener, seed);
            let bucket = pair as u32 as usize & (table.len() - 1);
            table[bucket].record(pair, listener, address, now);
        }
    }

    /// The counts of the newest period that any of them is of.
    pub(super) fn newest(&self) -> Newest {
        let newest = |table: &[SourceBucket]| {
            let mut counts: Vec<SourceCount> = table.iter().flat_map(|bucket| bucket.ways).collect();
            counts.retain(|count| count.fingerprint != 0);
            let newest = counts.iter().map(|count| count.period).max();
            counts.retain(|count| Some(count.period) == newest);
            counts.sort_unstable_by_key(|count| count.listener);
            counts
        };
        Newest { sources: newest(&self.sources), prefixes: newest(&self.prefixes) }
    }
}

impl Newest {
    /// Names the busiest sources and networks of listener `id`.
    pub(super) fn name(&self, id: u64, listener: &mut ListenerWindow) {
        let [sources, prefixes] = self.busiest(id);
        listener.add_sources(&sources, &prefixes);
    }

    /// Names those who made most requests of listener `id`.
    pub(super) fn name_requesters(&self, id: u64, listener: &mut ListenerWindow) {
        listener.requesters = busiest(&self.sources, !id);
    }

    /// The busiest sources and networks of a listener or host.
    pub(super) fn busiest(&self, id: u64) -> [Vec<(IpAddr, u32)>; 2] {
        [busiest(&self.sources, id), busiest(&self.prefixes, id)]
    }
}

fn busiest(counts: &[SourceCount], id: u64) -> Vec<(IpAddr, u32)> {
    let first = counts.partition_point(|count| count.listener < id as u32);
    let ours = counts[first..].iter().take_while(|count| count.listener == id as u32);
    let mut busiest: Vec<_> = ours.map(|count| (ip_addr(count.address), count.attempts)).collect();
    sort_sources(&mut busiest);
    busiest.truncate(TOP_SOURCES_MAX);
    busiest
}
