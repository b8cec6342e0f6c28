//! Counts by target of what is not TCP since they were last handed over, in the packet logic's rows
//! ([`tidegauge_ebpf::target`]).
//!
//! Limits: [`ROWS`] targets, four in a bucket; a silent one gives its row to a new one, and a packet that finds none is
//! counted (`targets_refused`). Handed over at the end of a whole second, or of a tick with [`PACKETS_IN_EARNEST`].

use tidegauge_ebpf::counter::{Counter, Counters};
use tidegauge_ebpf::flow::target_hash;
use tidegauge_ebpf::limits::{LISTENER_IDLE, TARGET_WAYS};
use tidegauge_ebpf::target::TargetBucket;

use crate::digest::Digest;
use crate::keyed::Keyed;
use crate::window::{TargetWindow, Window, ip_addr};

/// Rows, 0.6 MiB.
pub const ROWS: usize = 4_096;
const BUCKETS: usize = ROWS / TARGET_WAYS;
/// Packets in a tick, other than TCP, from which on targets are told at its end.
pub const PACKETS_IN_EARNEST: u64 = 100;

/// All rows.
pub(super) struct Targets {
    buckets: Box<[TargetBucket]>,
    /// Rows with something to hand over, and whether a row is among them.
    touched: Vec<u32>,
    is_touched: Box<[bool]>,
}

impl Targets {
    pub(super) fn new() -> Self {
        Self {
            buckets: vec![TargetBucket::default(); BUCKETS].into_boxed_slice(),
            touched: Vec::with_capacity(ROWS),
            is_touched: vec![false; ROWS].into_boxed_slice(),
        }
    }

    /// Counts a packet to its target; how many came there since it was handed over.
    #[inline]
    pub(super) fn count(&mut self, digest: &Digest, seed: u64, totals: &mut Counters) -> u64 {
        let now = digest.now();
        let id = target_hash(digest.packet.destination, seed);
        // The lowest bit is always set.
        let index = (id >> 32) as usize & (BUCKETS - 1);
        let bucket = &mut self.buckets[index];
        let way = match bucket.ids.iter().position(|known| *known == id) {
            Some(way) => way,
            None => {
                let free = bucket.ids.iter().position(|known| *known == 0);
                let silent = |way: &usize| {
                    let touched = self.is_touched[index * TARGET_WAYS + way];
                    !touched && now.since(bucket.rows[*way].seen) > LISTENER_IDLE
                };
                let Some(way) = free.or_else(|| (0..TARGET_WAYS).find(silent)) else {
                    totals.add(Counter::TargetsRefused, 1);
                    return 0;
                };
                totals.add(Counter::TargetsEvicted, u64::from(free.is_none()));
                bucket.ids[way] = id;
                bucket.rows[way].start(digest.packet.destination, now);
                way
            }
        };
        bucket.rows[way].record(&digest.packet, u64::from(digest.segments), digest.wire_bytes, now);
        let place = index * TARGET_WAYS + way;
        if !self.is_touched[place] {
            self.is_touched[place] = true;
            self.touched.push(place as u32);
        }
        bucket.rows[way].packets()
    }

    /// Moves counts into `window`: at the end of a second, or where much came in the tick.
    pub(super) fn hand_over(&mut self, everything: bool, packets: u64, window: &mut Window) {
        if !everything && packets < PACKETS_IN_EARNEST {
            return;
        }
        let targets = self.touched.drain(..).map(|place| {
            let place = place as usize;
            self.is_touched[place] = false;
            let row = &mut self.buckets[place / TARGET_WAYS].rows[place % TARGET_WAYS];
            let target = TargetWindow {
                counters: std::mem::take(&mut row.counters),
                ttl_classes: row.ttl_classes[0] | row.ttl_classes[1],
                source_port: row.source_port,
                destination_port: row.destination_port,
            };
            (ip_addr(row.address), target)
        });
        window.targets = Keyed::gather(targets, TargetWindow::merge);
    }
}
