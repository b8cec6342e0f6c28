//! Counting who asks: heavy hitters by address and by prefix, distinct sources, TTL spread.

use super::Tables;
use crate::event;
use crate::flow::{pair_hash, prefix_of};
use crate::frame::Frame;
use crate::limits::LISTENER_WAYS;
use crate::settings::{Settings, feature};

/// Notes who made an attempt.
#[inline(always)]
pub(super) fn count_source<F: Frame, T: Tables>(frame: F, tables: &mut T, slot: u32, settings: Settings) {
    let Some((work, _)) = tables.section().map(|section| section.work(slot)) else { return };
    if !work.outcome.has(event::ATTEMPTED) {
        return;
    }
    let (source, ttl) = (work.packet.source, work.packet.ttl);
    let (now, listener) = (work.arrival.now, work.key.destination);
    let pair = pair_hash(source, listener, settings.seed);
    if settings.has(feature::DISTINCT)
        && let Some(bucket) = tables.listeners(listener)
        && let Some(way) = bucket.find(listener)
    {
        let way = frame.opaque(way as u32) as usize & (LISTENER_WAYS - 1);
        bucket.rows[way].askers.record(pair, ttl, now);
    }
    if settings.has(feature::SOURCES)
        && let Some(bucket) = tables.sources(pair)
    {
        bucket.record(pair, listener, source, now);
    }
    if settings.has(feature::PREFIXES) {
        let prefix = prefix_of(source);
        let pair = pair_hash(prefix, listener, settings.seed);
        if let Some(bucket) = tables.prefixes(pair) {
            bucket.record(pair, listener, prefix, now);
        }
    }
}
