//! Counts by listener since they were last handed over, in fixed memory.
//!
//! Limits: [`ROWS`] listeners, four in a bucket. A listener that completed handshakes keeps its row for
//! [`PROVEN_IDLE`] of silence, any other for [`LISTENER_IDLE`]; a segment that finds no row is in the totals alone,
//! and counted (`listeners_refused`).
//! A row is handed over at the end of a whole second, or of a tick in which [`ATTEMPTS_IN_EARNEST`] attempts have come
//! together: a rate that detectors judge within the second is told within the tick, and quiet listeners cost a tenth.

use tidegauge_capture::memory::{prefetch, prefetch_lines};
use tidegauge_ebpf::counter::{Counter, Counters};
use tidegauge_ebpf::event::{self, Outcome};
use tidegauge_ebpf::flow::pair_hash;
use tidegauge_ebpf::histogram::octave_of;
use tidegauge_ebpf::limits::{LISTENER_IDLE, PROVEN_IDLE};
use tidegauge_ebpf::listener::{Askers, ListenerCounter, RWND_OCTAVES};
use tidegauge_ebpf::observe::row::{Row, count_row};
use tidegauge_ebpf::packet::Address;
use tidegauge_ebpf::settings::Settings;
use tidegauge_ebpf::stamp::Stamp;

use super::sources::{SOURCE_ATTEMPTS_MIN, Sources};
use crate::digest::Digest;
use crate::distinct::Distinct;
use crate::fact::{Fact, FactCounts, Facts};
use crate::huge;
use crate::keyed::Keyed;
use crate::window::{ListenerKey, ListenerWindow, Window, ip_addr};

/// Rows: a large site's listeners, 4 MiB.
pub const ROWS: usize = 8_192;
const WAYS: usize = 4;
const BUCKETS: usize = ROWS / WAYS;
/// Attempts since the last handing over that make a listener be told at the end of the tick: of 50/s, half the rate
/// from which on a rise can be a surge.
pub const ATTEMPTS_IN_EARNEST: u64 = 5;
/// Counters that are not in the row's first line; see [`PLACE`].
const PLACES: usize = 24;
/// Counters in the row's first line: those that most segments touch.
const HOT: [ListenerCounter; 7] = [
    ListenerCounter::Packets,
    ListenerCounter::PayloadSegments,
    ListenerCounter::RwndListener,
    ListenerCounter::RwndListenerLow,
    ListenerCounter::RwndPeer,
    ListenerCounter::RwndPeerLow,
    ListenerCounter::RwndScaleUnknown,
];

/// Where each counter is: below `HOT.len()` in the first line, else in the rest. Bytes have a place of their own.
const PLACE: [u8; ListenerCounter::COUNT] = places();

const fn places() -> [u8; ListenerCounter::COUNT] {
    let mut places = [u8::MAX; ListenerCounter::COUNT];
    let mut index = 0;
    while index < HOT.len() {
        places[HOT[index] as usize] = index as u8;
        index += 1;
    }
    let (mut counter, mut next) = (0, HOT.len() as u8);
    while counter < ListenerCounter::COUNT {
        if places[counter] == u8::MAX && counter != ListenerCounter::Bytes as usize {
            places[counter] = next;
            next += 1;
        }
        counter += 1;
    }
    places
}

/// One listener's counts: a cache line for every segment, one of the octaves, and the rest.
#[derive(Clone, Debug)]
#[repr(C, align(64))]
struct Tally {
    address: Address,
    bytes: u64,
    seen: Stamp,
    /// By [`PLACE`]. A listener is handed over before one of them could overflow: at the end of each second.
    hot: [u32; HOT.len()],
    port: u16,
    /// A handshake told that it listens.
    known: bool,
    flags: u8,
    /// Fills the line.
    reserved: u32,
    octaves: [u32; RWND_OCTAVES],
    /// By [`PLACE`].
    counters: [u64; PLACES],
}

/// Bits of [`Tally::flags`]: it completed a handshake once; it has something to hand over; it is on the second's list.
const PROVEN: u8 = 1;
const TOUCHED: u8 = 2;
const LISTED: u8 = 4;
/// How many rows ahead lines are asked for as rows are handed over.
const ROWS_AHEAD: usize = 4;

impl Row for Tally {
    #[inline(always)]
    fn add(&mut self, counter: ListenerCounter, amount: u64) {
        let place = usize::from(PLACE[counter as usize]);
        if matches!(counter, ListenerCounter::Bytes) {
            self.bytes += amount;
        } else if let Some(hot) = self.hot.get_mut(place) {
            *hot = hot.saturating_add(amount as u32);
        } else if let Some(rest) = self.counters.get_mut(place - HOT.len()) {
            *rest += amount;
        }
    }

    #[inline(always)]
    fn know(&mut self) {
        self.known = true;
    }

    #[inline(always)]
    fn record_rwnd(&mut self, bytes: u32) {
        self.octaves[octave_of(bytes) as usize % RWND_OCTAVES] += 1;
    }
}

impl Tally {
    const EMPTY: Self = Self {
        address: [0; 4],
        bytes: 0,
        seen: Stamp(0),
        hot: [0; HOT.len()],
        port: 0,
        known: false,
        flags: 0,
        reserved: 0,
        octaves: [0; RWND_OCTAVES],
        counters: [0; PLACES],
    };

    fn get(&self, counter: ListenerCounter) -> u64 {
        let place = usize::from(PLACE[counter as usize]);
        match self.hot.get(place) {
            _ if matches!(counter, ListenerCounter::Bytes) => self.bytes,
            Some(hot) => u64::from(*hot),
            None => self.counters.get(place - HOT.len()).copied().unwrap_or_default(),
        }
    }

    fn silent(&self, now: Stamp) -> bool {
        now.since(self.seen) > if self.flags & PROVEN != 0 { PROVEN_IDLE } else { LISTENER_IDLE }
    }

    fn key(&self) -> ListenerKey {
        ListenerKey { address: ip_addr(self.address), port: self.port }
    }
}

/// What few segments say of a listener.
#[derive(Clone, Debug, Default)]
struct Beside {
    /// Since it was handed over.
    facts: FactCounts,
    /// Connections that are open, and those with an incomplete request head.
    open: u32,
    heads: u32,
    /// Since it was handed over, see [`ListenerWindow::slow_peers`].
    slow_peers: u64,
    /// Who asked last since it was handed over; 0: nobody.
    asker: Address,
}

/// Which rows are handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Those where much happened.
    Much,
    /// All: a second ends.
    All,
    /// All, each with its sources: attempts are spread over them.
    Spread,
}

/// All rows.
pub(super) struct Listeners {
    /// [`tidegauge_ebpf::flow::end_hash`] of each row, 0 where free.
    ids: Box<[[u64; WAYS]]>,
    rows: huge::Table<Tally>,
    askers: huge::Table<Askers>,
    /// Apart from the rows: most segments have none.
    beside: huge::Table<Beside>,
    /// Rows that had something to hand over since the last second ended.
    listed: Vec<u32>,
    /// Of these, those to hand over at the end of the tick.
    in_earnest: Vec<u32>,
}

impl Listeners {
    pub(super) fn new() -> Self {
        Self {
            ids: vec![[0; WAYS]; BUCKETS].into_boxed_slice(),
            rows: huge::Table::of(ROWS, Tally::EMPTY),
            askers: huge::Table::new(ROWS),
            beside: huge::Table::new(ROWS),
            listed: Vec::with_capacity(ROWS),
            in_earnest: Vec::new(),
        }
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
    pub(super) fn prefetch_row(&self, id: u64, asks: bool, noted: bool) {
        let bucket = Self::bucket(id);
        if let Some(way) = self.ids[bucket].iter().position(|known| *known == id) {
            let row = &self.rows[bucket * WAYS + way];
            prefetch(row);
            prefetch(&row.octaves[RWND_OCTAVES / 2]);
            if noted {
                prefetch_lines(&self.beside[bucket * WAYS + way]);
            }
            if asks {
                prefetch_lines(&self.askers[bucket * WAYS + way]);
                prefetch_lines(&row.counters);
            }
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
        if row.flags & TOUCHED == 0 {
            if row.flags & LISTED == 0 {
                self.listed.push(place as u32);
            }
            row.flags |= TOUCHED | LISTED;
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
            row.flags |= PROVEN;
        }
        Some(place as u32)
    }

    /// A row for a listener that has none: a free one, else that of a silent listener.
    #[cold]
    fn begin(&mut self, id: u64, digest: &Digest, outcome: &Outcome, totals: &mut Counters) -> Option<usize> {
        let bucket = Self::bucket(id);
        let now = digest.now();
        let free = self.ids[bucket].iter().position(|known| *known == 0);
        // What was not handed over yet cannot give way; it is at most a second old.
        let silent = |way: &usize| {
            let row = &self.rows[bucket * WAYS + way];
            row.flags & TOUCHED == 0 && row.silent(now)
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
        let flags = self.rows[place].flags & LISTED;
        self.rows[place] = Tally { address, port, seen: now, flags, ..Tally::EMPTY };
        self.askers[place].start(now);
        self.beside[place] = Beside::default();
        Some(place)
    }

    /// Counts a segment's facts; `completed`: its handshake was just completed.
    pub(super) fn count_facts(&mut self, place: Option<u32>, facts: Facts, completed: bool) {
        let Some(place) = place else { return };
        let Beside { facts: counts, open, heads, .. } = &mut self.beside[place as usize];
        counts.count(facts);
        *open = open.saturating_add(u32::from(completed)).saturating_sub(u32::from(facts.has(Fact::Closed)));
        // A head that is complete in the segment that closes its connection was opened before.
        *heads = heads
            .saturating_add(u32::from(facts.has(Fact::HeadOpened)))
            .saturating_sub(u32::from(facts.has(Fact::HeadDone)));
    }

    /// Notes that a round trip to a peer took long.
    pub(super) fn note_slow_peer(&mut self, place: Option<u32>, peer: Address) {
        let Some(place) = place else { return };
        let word = peer.iter().fold(0, |word: u32, part| word.rotate_left(5) ^ part);
        // The top six bits of a multiplicative hash.
        self.beside[place as usize].slow_peers |= 1 << (word.wrapping_mul(0x9e37_79b1) >> 26);
    }

    /// Notes who asked last.
    pub(super) fn note_last_asker(&mut self, place: Option<u32>, asker: Address) {
        let Some(place) = place else { return };
        self.beside[place as usize].asker = asker;
    }

    /// Notes who made an attempt.
    pub(super) fn note_asker(&mut self, place: Option<u32>, digest: &Digest, seed: u64) {
        let Some(place) = place else { return };
        let pair = pair_hash(digest.packet.source, digest.key.destination, seed);
        self.askers[place as usize].record(pair, digest.packet.ttl, digest.now());
        // Attempts are counted one by one: it is this many once.
        if self.rows[place as usize].get(ListenerCounter::Attempted) == ATTEMPTS_IN_EARNEST {
            self.in_earnest.push(place);
        }
    }

    /// Moves counts into `window`.
    pub(super) fn hand_over(&mut self, due: Due, window: &mut Window, sources: &Sources) {
        let everything = due != Due::Much;
        let mut rows_due: Vec<(ListenerKey, u32)> = Vec::new();
        let rows = &mut self.rows;
        let in_earnest = self.in_earnest.drain(..);
        let listed = if everything { self.listed.len() } else { 0 };
        for place in in_earnest.chain(self.listed.drain(..listed)) {
            let row = &mut rows[place as usize];
            if row.flags & TOUCHED != 0 {
                rows_due.push((row.key(), place));
            }
            row.flags &= if everything { !(TOUCHED | LISTED) } else { !TOUCHED };
        }
        rows_due.sort_unstable_by_key(|(key, _)| *key);
        let mut named = None;
        let listeners = rows_due.iter().enumerate().map(|(index, (key, place))| {
            if let Some((_, place)) = rows_due.get(index + ROWS_AHEAD) {
                prefetch_lines(&self.rows[*place as usize]);
                prefetch_lines(&self.askers[*place as usize]);
            }
            let mut listener = self.take(*place);
            let attempted = listener.get(ListenerCounter::Attempted);
            if attempted >= SOURCE_ATTEMPTS_MIN || (due == Due::Spread && attempted != 0) {
                let id = self.id(*place);
                named.get_or_insert_with(|| sources.newest()).name(id, &mut listener);
            }
            if listener.fact(Fact::Request) >= SOURCE_ATTEMPTS_MIN {
                let id = self.id(*place);
                named.get_or_insert_with(|| sources.newest()).name_requesters(id, &mut listener);
            }
            (*key, listener)
        });
        window.listeners = Keyed::gather(listeners, ListenerWindow::merge);
    }

    fn id(&self, place: u32) -> u64 {
        self.ids[place as usize / WAYS][place as usize % WAYS]
    }

    fn take(&mut self, place: u32) -> ListenerWindow {
        let row = &mut self.rows[place as usize];
        let mut listener = ListenerWindow { known: row.known, ..ListenerWindow::default() };
        for counter in ListenerCounter::ALL {
            listener.counters[*counter as usize] = row.get(*counter);
        }
        for (own, count) in listener.rwnd_octaves.iter_mut().zip(row.octaves) {
            *own = u64::from(count);
        }
        (row.bytes, row.hot) = (0, [0; HOT.len()]);
        (row.counters, row.octaves) = ([0; PLACES], [0; RWND_OCTAVES]);
        let Beside { facts, open, heads, slow_peers, asker } = &mut self.beside[place as usize];
        listener.facts = std::mem::take(facts);
        listener.slow_peers = std::mem::take(slow_peers);
        listener.asker = Some(std::mem::take(asker)).filter(|asker| *asker != [0; 4]).map(ip_addr);
        (listener.open, listener.heads) = (*open, *heads);
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

const _: () = assert!(ListenerCounter::COUNT - 1 <= PLACES + HOT.len() && BUCKETS.is_power_of_two());
const _: () = assert!(std::mem::offset_of!(Tally, octaves) == 64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_is_counted_and_read_back() {
        let mut row = Tally::EMPTY;
        for (amount, counter) in (1..).zip(ListenerCounter::ALL) {
            row.add(*counter, amount);
        }
        for (amount, counter) in (1..).zip(ListenerCounter::ALL) {
            assert_eq!(row.get(*counter), amount, "{}", counter.name());
        }
    }

    #[test]
    fn octaves_are_those_of_the_packet_logic() {
        let mut row = Tally::EMPTY;
        for bytes in [0, 1, 2, 3, 1_023, 1_024, u32::MAX] {
            row.octaves = [0; RWND_OCTAVES];
            row.record_rwnd(bytes);
            assert_eq!(row.octaves[(31 - (bytes | 1).leading_zeros()) as usize], 1, "{bytes}");
        }
    }
}
