//! Counts by listener since they were last handed over, in fixed memory.
//!
//! Limits: [`ROWS`] listeners, four in a bucket. A listener that completed handshakes keeps its row for
//! [`PROVEN_IDLE`] of silence, any other for [`LISTENER_IDLE`]; a segment that finds no row is in the totals alone,
//! and counted (`listeners_refused`).
//! A row is handed over at the end of a whole second, or of a tick in which [`ATTEMPTS_IN_EARNEST`] attempts have come
//! together: a rate that detectors judge within the second is told within the tick, and quiet listeners cost a tenth.

use tidegauge_capture::memory::{advise_huge_pages, prefetch};
use tidegauge_ebpf::counter::{Counter, Counters};
use tidegauge_ebpf::event::{self, Outcome};
use tidegauge_ebpf::flow::pair_hash;
use tidegauge_ebpf::limits::{LISTENER_IDLE, PROVEN_IDLE};
use tidegauge_ebpf::listener::{Askers, ListenerCounter, RWND_OCTAVES};
use tidegauge_ebpf::observe::row::{Row, count_row};
use tidegauge_ebpf::packet::Address;
use tidegauge_ebpf::settings::Settings;
use tidegauge_ebpf::stamp::Stamp;

use super::sources::{SOURCE_ATTEMPTS_MIN, Sources};
use crate::digest::Digest;
use crate::distinct::Distinct;
use crate::window::{ListenerKey, ListenerWindow, Window, ip_addr};

/// Rows: a large site's listeners, 4 MiB.
pub const ROWS: usize = 8_192;
const WAYS: usize = 4;
const BUCKETS: usize = ROWS / WAYS;
/// Attempts since the last handing over that make a listener be told at the end of the tick: of 50/s, half the rate
/// from which on a rise can be a surge.
pub const ATTEMPTS_IN_EARNEST: u64 = 5;
/// Octaves that the smallest windows share a cache line with; see [`Tally::octaves`].
const PLACES: usize = 32;

/// Where each counter is: those that most segments touch lie in one cache line.
const PLACE: [u8; ListenerCounter::COUNT] = places();

const fn places() -> [u8; ListenerCounter::COUNT] {
    let hot = [
        ListenerCounter::Packets as usize,
        ListenerCounter::Bytes as usize,
        ListenerCounter::PayloadSegments as usize,
        ListenerCounter::RwndListener as usize,
        ListenerCounter::RwndListenerLow as usize,
        ListenerCounter::RwndPeer as usize,
        ListenerCounter::RwndPeerLow as usize,
        ListenerCounter::RwndScaleUnknown as usize,
    ];
    let mut places = [u8::MAX; ListenerCounter::COUNT];
    let mut index = 0;
    while index < hot.len() {
        places[hot[index]] = index as u8;
        index += 1;
    }
    let (mut counter, mut next) = (0, hot.len() as u8);
    while counter < ListenerCounter::COUNT {
        if places[counter] == u8::MAX {
            places[counter] = next;
            next += 1;
        }
        counter += 1;
    }
    places
}

/// One listener's counts.
#[derive(Clone, Debug)]
#[repr(C, align(64))]
struct Tally {
    address: Address,
    seen: Stamp,
    port: u16,
    /// A handshake told that it listens.
    known: bool,
    /// It completed a handshake once.
    proven: bool,
    /// It is on the list of those to hand over.
    touched: bool,
    /// By [`PLACE`].
    counters: [u64; PLACES],
    octaves: [u32; RWND_OCTAVES],
}

impl Row for Tally {
    #[inline(always)]
    fn add(&mut self, counter: ListenerCounter, amount: u64) {
        self.counters[usize::from(PLACE[counter as usize]) % PLACES] += amount;
    }

    #[inline(always)]
    fn know(&mut self) {
        self.known = true;
    }

    #[inline(always)]
    fn record_rwnd(&mut self, bytes: u32) {
        // The octave of 0 and 1 is 0.
        self.octaves[(31 - (bytes | 1).leading_zeros()) as usize % RWND_OCTAVES] += 1;
    }
}

impl Tally {
    const EMPTY: Self = Self {
        address: [0; 4],
        seen: Stamp(0),
        port: 0,
        known: false,
        proven: false,
        touched: false,
        counters: [0; PLACES],
        octaves: [0; RWND_OCTAVES],
    };

    fn get(&self, counter: ListenerCounter) -> u64 {
        self.counters[usize::from(PLACE[counter as usize]) % PLACES]
    }

    fn silent(&self, now: Stamp) -> bool {
        now.since(self.seen) > if self.proven { PROVEN_IDLE } else { LISTENER_IDLE }
    }

    fn key(&self) -> ListenerKey {
        ListenerKey { address: ip_addr(self.address), port: self.port }
    }
}

/// All rows.
pub(super) struct Listeners {
    /// [`tidegauge_ebpf::flow::end_hash`] of each row, 0 where free.
    ids: Box<[[u64; WAYS]]>,
    rows: Box<[Tally]>,
    askers: Box<[Askers]>,
    /// Rows with something to hand over.
    touched: Vec<u32>,
}

impl Listeners {
    pub(super) fn new() -> Self {
        let listeners = Self {
            ids: vec![[0; WAYS]; BUCKETS].into_boxed_slice(),
            rows: vec![Tally::EMPTY; ROWS].into_boxed_slice(),
            askers: vec![Askers::default(); ROWS].into_boxed_slice(),
            touched: Vec::with_capacity(ROWS),
        };
        advise_huge_pages(&listeners.rows);
        listeners
    }

    #[inline]
    fn bucket(id: u64) -> usize {
        id as usize & (BUCKETS - 1)
    }

    #[inline]
    pub(super) fn prefetch(&self, id: u64) {
        prefetch(&self.ids[Self::bucket(id)]);
    }

    #[inline]
    pub(super) fn prefetch_row(&self, id: u64) {
        let bucket = Self::bucket(id);
        if let Some(way) = self.ids[bucket].iter().position(|known| *known == id) {
            let row = &self.rows[bucket * WAYS + way];
            prefetch(row);
            prefetch(&row.counters);
            prefetch(&row.octaves[RWND_OCTAVES / 2]);
        }
    }

    /// Counts a segment; its row's place, if it has one.
    #[inline]
    pub(super) fn count(
        &mut self,
        id: u64,
        digest: &Digest,
        outcome: &Outcome,
        settings: Settings,
        totals: &mut Counters,
    ) -> Option<u32> {
        let bucket = Self::bucket(id);
        let place = match self.ids[bucket].iter().position(|known| *known == id) {
            Some(way) => bucket * WAYS + way,
            None => self.begin(id, digest, outcome, totals)?,
        };
        let row = &mut self.rows[place];
        row.seen = digest.now();
        if !row.touched {
            row.touched = true;
            self.touched.push(place as u32);
        }
        count_row(
            row,
            &digest.packet.segment,
            u64::from(digest.segments),
            digest.wire_bytes,
            outcome,
            settings,
        );
        if outcome.has(event::COMPLETED) {
            row.proven = true;
        }
        Some(place as u32)
    }

    /// A row for a listener that has none: a free one, else that of a silent listener.
    #[cold]
    fn begin(
        &mut self,
        id: u64,
        digest: &Digest,
        outcome: &Outcome,
        totals: &mut Counters,
    ) -> Option<usize> {
        let bucket = Self::bucket(id);
        let now = digest.now();
        let free = self.ids[bucket].iter().position(|known| *known == 0);
        // What was not handed over yet cannot give way; it is at most a second old.
        let silent = |way: &usize| {
            let row = &self.rows[bucket * WAYS + way];
            !row.touched && row.silent(now)
        };
        let way = free.or_else(|| (0..WAYS).find(silent));
        let Some(way) = way else {
            totals.add(Counter::ListenersRefused, 1);
            return None;
        };
        totals.add(Counter::ListenersEvicted, u64::from(free.is_none()));
        let (address, port) = if outcome.has(event::FROM_LISTENER) {
            (digest.packet.source, digest.packet.source_port)
        } else {
            (digest.packet.destination, digest.packet.destination_port)
        };
        let place = bucket * WAYS + way;
        self.ids[bucket][way] = id;
        self.rows[place] = Tally { address, port, seen: now, ..Tally::EMPTY };
        self.askers[place].start(now);
        Some(place)
    }

    /// Notes who made an attempt.
    pub(super) fn note_asker(&mut self, place: Option<u32>, digest: &Digest, seed: u64) {
        let Some(place) = place else { return };
        let pair = pair_hash(digest.packet.source, digest.key.destination, seed);
        self.askers[place as usize].record(pair, digest.packet.ttl, digest.now());
    }

    /// Moves counts into `window`: all of them at the end of a second, else those where much happened.
    pub(super) fn hand_over(&mut self, everything: bool, window: &mut Window, sources: &Sources) {
        let in_earnest =
            |row: &Tally| everything || row.get(ListenerCounter::Attempted) >= ATTEMPTS_IN_EARNEST;
        let mut due: Vec<(ListenerKey, u32)> = Vec::new();
        let rows = &mut self.rows;
        self.touched.retain(|place| {
            let row = &mut rows[*place as usize];
            if !in_earnest(row) {
                return true;
            }
            row.touched = false;
            due.push((row.key(), *place));
            false
        });
        due.sort_unstable_by_key(|(key, _)| *key);
        let mut named = None;
        let listeners = due.iter().map(|(key, place)| {
            let mut listener = self.take(*place);
            if listener.get(ListenerCounter::Attempted) >= SOURCE_ATTEMPTS_MIN {
                let id = self.id(*place);
                named.get_or_insert_with(|| sources.newest()).name(id, &mut listener);
            }
            (*key, listener)
        });
        let listeners: Vec<_> = listeners.collect();
        window.listeners = listeners.into_iter().collect();
    }

    fn id(&self, place: u32) -> u64 {
        self.ids[place as usize / WAYS][place as usize % WAYS]
    }

    fn take(&mut self, place: u32) -> ListenerWindow {
        let row = &mut self.rows[place as usize];
        let mut listener = ListenerWindow { known: row.known, ..ListenerWindow::default() };
        for (own, place) in listener.counters.iter_mut().zip(PLACE) {
            *own = row.counters[usize::from(place) % PLACES];
        }
        for (own, count) in listener.rwnd_octaves.iter_mut().zip(row.octaves) {
            *own = u64::from(count);
        }
        (row.counters, row.octaves) = ([0; PLACES], [0; RWND_OCTAVES]);
        let askers = &self.askers[place as usize];
        if listener.get(ListenerCounter::Attempted) != 0 {
            listener.distinct = Distinct::of(askers);
            listener.ttl_classes = askers.ttl_classes[0] | askers.ttl_classes[1];
        }
        listener
    }

    /// Rows, and how many are in use.
    pub(super) fn used(&self) -> (u64, u64) {
        let used = self.ids.iter().flatten().filter(|id| **id != 0).count();
        (ROWS as u64, used as u64)
    }
}

const _: () = assert!(ListenerCounter::COUNT <= PLACES && BUCKETS.is_power_of_two());

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_has_a_place_of_its_own() {
        let mut places = PLACE.to_vec();
        places.sort_unstable();
        assert!(places.iter().copied().eq(0..ListenerCounter::COUNT as u8), "{PLACE:?}");
    }

    #[test]
    fn octaves_are_those_of_the_packet_logic() {
        let mut row = Tally::EMPTY;
        for bytes in [0, 1, 2, 3, 1_023, 1_024, u32::MAX] {
            row.octaves = [0; RWND_OCTAVES];
            row.record_rwnd(bytes);
            assert_eq!(row.octaves[tidegauge_ebpf::histogram::octave_of(bytes) as usize], 1, "{bytes}");
        }
    }
}
