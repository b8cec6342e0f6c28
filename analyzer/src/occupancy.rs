//! How full the tables are: estimated from a fixed number of buckets or places, others each time.
//!
//! Buckets are chosen by hashes, so any part of a table is a fair sample of it: with [`BUCKETS`] of them the standard
//! error of a share is below 0.6 % of the table. One look takes some 50 us whatever the tables' sizes are.

use serde_json::{Value, json};
use tidegauge_capture::xdp::maps::Maps;
use tidegauge_ebpf::attempt::{ASKED, Attempt, AttemptBucket};
use tidegauge_ebpf::judge::{CLOSED, Flow, FlowBucket, PROVEN};
use tidegauge_ebpf::limits::{
    ATTEMPT_WAYS, FLOW_WAYS, LISTENER_BUCKETS, LISTENER_WAYS, PROVEN_IDLE, SOURCE_BUCKETS, SOURCE_WAYS,
    UNPROVEN_IDLE,
};
use tidegauge_ebpf::source::SourceBucket;
use tidegauge_ebpf::stamp::Stamp;
use tidegauge_ebpf::tcp::connection::{Connection, KeepRank};

use crate::digest::PARTITIONS;
use crate::follow::Follower;

/// Buckets looked at in a time, of flows and of half-open attempts each.
pub const BUCKETS: u32 = 4_096;
/// Buckets looked at in a time, of listeners and of sources each: one shard's listeners.
pub const SHARD_BUCKETS: u32 = LISTENER_BUCKETS;

/// Unanswered attempts in half-open buckets that have not timed out at `now`, and were not refused before.
pub fn waiting(buckets: impl Iterator<Item = AttemptBucket>, now: Stamp) -> u64 {
    let waiting = |bucket: AttemptBucket| {
        let unanswered =
            |attempt: &&Attempt| attempt.state() == ASKED && attempt.waiting(now) && !attempt.was_refused();
        bucket.ways.iter().filter(unanswered).count() as u64
    };
    buckets.map(waiting).sum()
}

/// The kernel's tables, sections of all CPUs.
#[derive(Clone, Copy)]
pub struct Tables<'a>(pub &'a Maps);

/// Slots that were looked at, those among them that count, and all there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Slots {
    /// In the whole table.
    pub slots: u64,
    /// Looked at.
    pub looked_at: u64,
    /// Of these, in use.
    pub used: u64,
}

impl Slots {
    fn merge(&mut self, other: Self) {
        self.slots += other.slots;
        self.looked_at += other.looked_at;
        self.used += other.used;
    }

    fn look(&mut self, is_used: bool) {
        self.looked_at += 1;
        self.used += u64::from(is_used);
    }

    /// Share in use; `None` where nothing was looked at.
    pub fn share(self) -> Option<f64> {
        crate::feature::ratio(self.used, self.looked_at)
    }
}

/// How full all tables are. Of several shards: their sums.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Occupancy {
    /// Flow slots with a proven flow that is not silent for too long.
    pub proven: Slots,
    /// Flow slots with an unproven one.
    pub unproven: Slots,
    /// Half-open slots whose attempt still waits.
    pub waiting: Slots,
    /// Listener rows.
    pub listeners: Slots,
    /// Source counters of this sketch period (1.07 s) or the one before.
    pub sources: Slots,
}

impl Occupancy {
    /// Adds another shard's.
    pub fn merge(&mut self, other: &Self) {
        self.proven.merge(other.proven);
        self.unproven.merge(other.unproven);
        self.waiting.merge(other.waiting);
        self.listeners.merge(other.listeners);
        self.sources.merge(other.sources);
    }

    /// The output contract's `occupancy`: shares of the tables.
    pub fn json(&self) -> Value {
        let part = |slots: Slots| slots.share();
        let in_use = Slots { used: self.proven.used + self.unproven.used, ..self.proven };
        json!({
            "flows": {
                "slots": in_use.slots,
                "looked_at": in_use.looked_at,
                "used_share": part(in_use),
                "proven_share": part(self.proven),
                "unproven_share": part(self.unproven),
            },
            "half_open": {
                "slots": self.waiting.slots,
                "looked_at": self.waiting.looked_at,
                "waiting_share": part(self.waiting),
            },
            "listeners": { "slots": self.listeners.slots, "used_share": part(self.listeners) },
            "sources": { "slots": self.sources.slots, "used_share": part(self.sources) },
        })
    }

    /// Flow slots in use, proven or not, as a share.
    pub fn flows_share(&self) -> Option<f64> {
        Some(self.proven.share()? + self.unproven.share()?)
    }
}

impl Occupancy {
    /// Of followers at the end of a run: all their places. `listeners` are the rows, and those in use.
    pub fn of_followers(followers: &[Follower], listeners: (u64, u64), now: Stamp) -> Self {
        let mut occupancy = Self::default();
        for follower in followers {
            follower
                .connections()
                .iter()
                .for_each(|connection| occupancy.look_at_connection(connection, now));
            for attempt in follower.attempts().iter().flat_map(|bucket| &bucket.ways) {
                occupancy.waiting.look(attempt.waiting(now));
            }
        }
        let (slots, used) = listeners;
        occupancy.listeners = Slots { slots, looked_at: slots, used };
        for slots in [&mut occupancy.proven, &mut occupancy.unproven, &mut occupancy.waiting] {
            slots.slots = slots.looked_at;
        }
        occupancy
    }
}

/// Where the next look begins.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sampler {
    buckets: u32,
    shard_buckets: u32,
}

impl Sampler {
    /// Looks at the next part of the tables; `now` is by the clock that stamps their slots.
    pub fn look(&mut self, tables: Tables<'_>, now: Stamp) -> Occupancy {
        self.look_at(BUCKETS, tables, now)
    }

    /// The same with so many buckets.
    pub fn look_at(&mut self, buckets: u32, tables: Tables<'_>, now: Stamp) -> Occupancy {
        let mut occupancy = tables.slots();
        for bucket in part(self.buckets, buckets, tables.flow_buckets()) {
            let Some(flows) = tables.flows(bucket) else { continue };
            for flow in &flows.ways {
                occupancy.look_at_flow(flow, now);
            }
        }
        for bucket in part(self.buckets, buckets, tables.attempt_buckets()) {
            let Some(attempts) = tables.attempts(bucket) else { continue };
            for attempt in &attempts.ways {
                occupancy.waiting.look(attempt.waiting(now));
            }
        }
        for bucket in part(self.shard_buckets, SHARD_BUCKETS, tables.shards() * LISTENER_BUCKETS) {
            let Some(ids) = tables.listener_ids(bucket) else { continue };
            ids.iter().for_each(|id| occupancy.listeners.look(*id != 0));
        }
        for bucket in part(self.shard_buckets, SHARD_BUCKETS, tables.shards() * SOURCE_BUCKETS) {
            let Some(sources) = tables.sources(bucket) else { continue };
            let is_fresh = |period: u32| now.period().wrapping_sub(period) <= 1;
            sources.ways.iter().for_each(|source| {
                occupancy.sources.look(source.fingerprint != 0 && is_fresh(source.period));
            });
        }
        self.buckets = self.buckets.wrapping_add(buckets);
        self.shard_buckets = self.shard_buckets.wrapping_add(SHARD_BUCKETS);
        occupancy
    }

    /// Looks at the next part of what a worker follows; `listeners` are its rows, and those in use.
    pub fn look_at_followers(
        &mut self,
        followers: &[Follower],
        listeners: (u64, u64),
        now: Stamp,
    ) -> Occupancy {
        let mut occupancy = Occupancy::default();
        for follower in followers {
            let (connections_max, attempt_buckets_max) = follower.room();
            for place in self.spread(connections_max) {
                // What was never taken is free.
                match follower.connections().get(place) {
                    Some(connection) => occupancy.look_at_connection(connection, now),
                    None => {
                        occupancy.proven.look(false);
                        occupancy.unproven.look(false);
                    }
                }
            }
            for bucket in self.spread(attempt_buckets_max) {
                let ways =
                    follower.attempts().get(bucket).map_or_else(Default::default, |bucket| bucket.ways);
                ways.iter().for_each(|attempt| occupancy.waiting.look(attempt.waiting(now)));
            }
            for slots in [&mut occupancy.proven, &mut occupancy.unproven] {
                slots.slots += connections_max as u64;
            }
            occupancy.waiting.slots += (attempt_buckets_max * ATTEMPT_WAYS) as u64;
        }
        let (slots, used) = listeners;
        occupancy.listeners = Slots { slots, looked_at: slots, used };
        self.buckets = self.buckets.wrapping_add(1);
        occupancy
    }

    /// Places of a follower's table that are looked at this time: all over it, since it is filled from its beginning.
    fn spread(&self, places: usize) -> impl Iterator<Item = usize> + use<> {
        let step = places.div_ceil(BUCKETS as usize / PARTITIONS).max(1);
        (self.buckets as usize % step..places).step_by(step)
    }
}

/// The buckets of a look: at most `most`, from `from` on and around the end of the table.
fn part(from: u32, most: u32, buckets: u32) -> impl Iterator<Item = u32> {
    let from = from.checked_rem(buckets).unwrap_or_default();
    (0..most.min(buckets)).map(move |step| (from + step) % buckets)
}

impl Occupancy {
    fn look_at_connection(&mut self, connection: &Connection, now: Stamp) {
        let rank = connection.keep_rank(now);
        self.proven.look(rank == KeepRank::Proven);
        self.unproven.look(matches!(rank, KeepRank::Waiting | KeepRank::Unproven));
    }

    fn look_at_flow(&mut self, flow: &Flow, now: Stamp) {
        let taken = flow.fingerprint != 0 && flow.flags & CLOSED == 0;
        let is_proven = flow.flags & PROVEN != 0;
        let silence = now.since_coarse(flow.seen);
        self.proven.look(taken && is_proven && silence <= PROVEN_IDLE);
        self.unproven.look(taken && !is_proven && silence <= UNPROVEN_IDLE);
    }
}

impl Tables<'_> {
    /// Nothing looked at yet.
    fn slots(self) -> Occupancy {
        let slots =
            |buckets: u32, ways: usize| Slots { slots: u64::from(buckets) * ways as u64, ..Slots::default() };
        let flows = slots(self.flow_buckets(), FLOW_WAYS);
        Occupancy {
            proven: flows,
            unproven: flows,
            waiting: slots(self.attempt_buckets(), ATTEMPT_WAYS),
            listeners: slots(self.shards() * LISTENER_BUCKETS, LISTENER_WAYS),
            sources: slots(self.shards() * SOURCE_BUCKETS, SOURCE_WAYS),
        }
    }

    fn shards(self) -> u32 {
        self.0.cpus()
    }

    fn flow_buckets(self) -> u32 {
        self.0.flow_buckets()
    }

    fn attempt_buckets(self) -> u32 {
        self.0.attempt_buckets()
    }

    fn flows(self, bucket: u32) -> Option<FlowBucket> {
        self.0.flow_bucket(bucket)
    }

    fn attempts(self, bucket: u32) -> Option<AttemptBucket> {
        self.0.attempt_bucket(bucket)
    }

    fn listener_ids(self, bucket: u32) -> Option<[u64; LISTENER_WAYS]> {
        self.0.listener_ids(bucket / LISTENER_BUCKETS, bucket % LISTENER_BUCKETS)
    }

    fn sources(self, bucket: u32) -> Option<SourceBucket> {
        self.0.source_bucket(bucket / SOURCE_BUCKETS, bucket % SOURCE_BUCKETS)
    }
}
