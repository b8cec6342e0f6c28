//! Counts by target of what is not TCP since they were last handed over, in the packet logic's rows
//! ([`tidegauge_ebpf::target`]).
//!
//! Limits: [`ROWS`] targets, four in a bucket; a silent one gives its row to a new one, and a packet that finds none is
//! counted (`targets_refused`). Handed over at the end of a whole second, or of a tick with [`PACKETS_IN_EARNEST`].

use tidegauge_capture::memory::{prefetch, prefetch_lines};
use tidegauge_ebpf::counter::{Counter, Counters};
use tidegauge_ebpf::flow::target_hash;
use tidegauge_ebpf::limits::{LISTENER_IDLE, TARGET_WAYS};
use tidegauge_ebpf::packet::Fragment;
use tidegauge_ebpf::target::TargetBucket;

use super::sent::{HostSent, Sent};
use crate::digest::Digest;
use crate::keyed::Keyed;
use crate::window::{TargetBeside, TargetWindow, Window, ip_addr};

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
    /// What each row's host had sent when it was last handed over, and first fragments that came to it since.
    besides: Box<[Beside]>,
    sent: Sent,
}

/// See [`Targets::besides`]; `port`: of which the third count is.
#[derive(Clone, Copy, Default)]
struct Beside {
    sent: HostSent,
    port: u16,
    first_fragments: u32,
}

impl Targets {
    pub(super) fn new() -> Self {
        Self {
            buckets: vec![TargetBucket::default(); BUCKETS].into_boxed_slice(),
            touched: Vec::with_capacity(ROWS),
            is_touched: vec![false; ROWS].into_boxed_slice(),
            besides: vec![Beside::default(); ROWS].into_boxed_slice(),
            sent: Sent::new(),
        }
    }

    /// Has the lines fetched that a packet will need.
    #[inline]
    pub(super) fn prefetch(&self, digest: &Digest, seed: u64) {
        self.sent.prefetch(target_hash(digest.packet.source, seed));
        let bucket = &self.buckets[Self::bucket(target_hash(digest.packet.destination, seed))];
        prefetch(&bucket.ids);
        prefetch_lines(&bucket.rows[0]);
    }

    #[inline]
    fn bucket(id: u64) -> usize {
        // The lowest bit is always set.
        (id >> 32) as usize & (BUCKETS - 1)
    }

    /// Counts a packet to its target; how many came there since it was handed over.
    #[inline]
    pub(super) fn count(&mut self, digest: &Digest, seed: u64, totals: &mut Counters) -> u64 {
        let now = digest.now();
        self.sent.count(target_hash(digest.packet.source, seed), &digest.packet, digest.segments);
        let id = target_hash(digest.packet.destination, seed);
        let index = Self::bucket(id);
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
                let port = digest.packet.source_port;
                self.besides[index * TARGET_WAYS + way] =
                    Beside { sent: self.sent.before(id, port), port, first_fragments: 0 };
                way
            }
        };
        bucket.rows[way].record(&digest.packet, u64::from(digest.segments), digest.wire_bytes, now);
        let place = index * TARGET_WAYS + way;
        self.besides[place].first_fragments += u32::from(digest.packet.fragment == Fragment::First);
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
            let TargetBucket { ids, rows, .. } = &mut self.buckets[place / TARGET_WAYS];
            let (id, row) = (ids[place % TARGET_WAYS], &mut rows[place % TARGET_WAYS]);
            let beside = self.besides[place].take(&self.sent, id, row.source_port.port);
            let target = TargetWindow {
                counters: std::mem::take(&mut row.counters),
                ttl_classes: row.ttl_classes[0] | row.ttl_classes[1],
                source_port: row.source_port,
                destination_port: row.destination_port,
                beside: Some(beside),
            };
            (ip_addr(row.address), target)
        });
        window.targets = Keyed::gather(targets, TargetWindow::merge);
        if everything {
            self.sent.end_second();
        }
    }
}

impl Beside {
    /// What happened since the last time, and begins anew. Where another port leads now it is counted from the
    /// beginning of the second.
    fn take(&mut self, sent: &Sent, id: u64, port: u16) -> TargetBeside {
        let now = sent.of(id, port);
        let [udp, icmp, asked] = self.sent;
        let asked = if port == self.port { asked } else { sent.before(id, port)[2] };
        let [udp, icmp, asked] = [(now[0], udp), (now[1], icmp), (now[2], asked)]
            .map(|(now, before)| u64::from(now.wrapping_sub(before)));
        let first_fragments = u64::from(self.first_fragments);
        *self = Self { sent: now, port, first_fragments: 0 };
        TargetBeside { sent_udp: udp, sent_icmp: icmp, asked, first_fragments }
    }
}
