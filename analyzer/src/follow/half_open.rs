//! One partition's half-open cache: the packet logic's buckets ([`tidegauge_ebpf::attempt`]) with what a record of the
//! connection needs beside them. A SYN costs two cache lines here and nothing anywhere else.
//!
//! Limits: as many attempts as at creation; the oldest gives way, and one that still waited is counted.

use tidegauge_capture::memory::prefetch;
use tidegauge_ebpf::attempt::{
    ANSWERED, ASKED, Answer, Asked, Attempt, AttemptBucket, COMPLETED, FREE, Handshake, REFUSED, Reset,
    UNASKED,
};
use tidegauge_ebpf::flow::fingerprint;
use tidegauge_ebpf::limits::{ATTEMPT_WAYS, COPY_WITHIN_US, stamp_units_of_ms};
use tidegauge_ebpf::packet::Segment;
use tidegauge_ebpf::sequence::is_after;
use tidegauge_ebpf::stamp::{Moment, Stamp};
use tidegauge_ebpf::tcp::connection::{clock_us, within_us};
use tidegauge_ebpf::tcp::mark;
use tidegauge_ebpf::tcp::opening::Opening;

use super::record::Ends;
use crate::digest::Digest;
use crate::huge;

/// An attempt's own, 48 bytes: what becomes an [`Opening`], and how to know a copy of its last packet.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
struct Beside {
    first_ns: u64,
    first_packet: u64,
    sequences: [u32; 2],
    /// Fingerprint of the last packet, and when it came.
    print: u32,
    last_us: u32,
    /// Lowest bits of the flow's hash: they say which bucket it is in.
    hash: u32,
    windows: [u16; 2],
    payloads: [u16; 2],
    again: [u8; 2],
    /// Bits of [`note`].
    notes: u8,
}

/// Bits of [`Beside::notes`].
mod note {
    /// Both ends asked at once.
    pub(super) const SIMULTANEOUS: u8 = 1 << 0;
    /// The initiator's own SYN-ACK was seen: it had heard the other end's SYN.
    pub(super) const CROSSED: u8 = 1 << 1;
    /// The responder's SYN-ACK was seen.
    pub(super) const ANSWERED: u8 = 1 << 2;
    /// It acknowledged the SYN's payload, too.
    pub(super) const COVERED: u8 = 1 << 3;
    /// A connection was begun with it before the handshake was complete.
    pub(super) const JOINED: u8 = 1 << 4;
}

impl Beside {
    /// Of an attempt that begins.
    fn asked(digest: &Digest, packet_number: u64) -> Self {
        let segment = &digest.packet.segment;
        Self {
            first_ns: digest.ts_ns,
            first_packet: packet_number,
            windows: [segment.window, 0],
            payloads: [payload_bytes(segment), 0],
            sequences: [segment.sequence, 0],
            print: digest.print,
            last_us: clock_us(digest.ts_ns),
            hash: digest.hash as u32,
            ..Self::default()
        }
    }

    const fn opening(&self) -> Opening {
        let [asked, answered] = self.sequences;
        let covered = if self.has(note::COVERED) { self.payloads[0] as u32 } else { 0 };
        let crossing = if self.has(note::CROSSED) { Some(answered.wrapping_add(1)) } else { None };
        let answer =
            if self.has(note::ANSWERED) { Some(asked.wrapping_add(1).wrapping_add(covered)) } else { None };
        Opening {
            first_ns: self.first_ns,
            first_packet: self.first_packet,
            windows: self.windows,
            again: self.again,
            simultaneous: self.has(note::SIMULTANEOUS),
            sequences: self.sequences,
            payloads: self.payloads,
            acknowledgments: [crossing, answer],
        }
    }

    /// For its record; `None` where its connection has one.
    fn over(&self, attempt: Attempt, ends: Ends) -> Option<Over> {
        let over = Over { attempt, opening: self.opening(), ends, last_us: self.last_us };
        (!self.has(note::JOINED)).then_some(over)
    }

    const fn has(&self, note: u8) -> bool {
        self.notes & note != 0
    }

    /// Whether it is the packet before, captured again; remembers it.
    fn is_copy(&mut self, digest: &Digest, now_us: u32) -> bool {
        let same = digest.print != 0 && digest.print == self.print;
        let is_copy = same && within_us(now_us, self.last_us, COPY_WITHIN_US + 1);
        (self.print, self.last_us) = (digest.print, now_us);
        is_copy
    }
}

const _: () = assert!(size_of::<Beside>() == 48);

/// How long an attempt that came to nothing is worth remembering: a SYN is sent again for about a minute.
const REMEMBERED: u32 = stamp_units_of_ms(64_000);

/// Buckets to begin with. The cache doubles when an attempt would push out one that is remembered, up to its limit: a small one stays
/// in the CPU's caches.
const BUCKETS_FIRST: usize = 64;

/// A SYN sent again as a SYN-ACK, as both ends do in a simultaneous open.
const SYN_WITH_ACK: u32 = mark::RETRANSMISSION | mark::SYN_ACK_RETRANSMISSION;

/// Where an attempt is: its bucket and way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place(u32);

/// The cache.
pub(super) struct HalfOpen {
    buckets: huge::Table<AttemptBucket>,
    beside: huge::Table<Beside>,
    /// Who each attempt is between; empty where nobody wants records.
    ends: Vec<Ends>,
    records: bool,
    buckets_max: usize,
}

/// An attempt that is over, for a record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Over {
    pub(super) attempt: Attempt,
    pub(super) opening: Opening,
    pub(super) ends: Ends,
    /// Its last SYN or SYN-ACK, [`clock_us`].
    pub(super) last_us: u32,
}

impl HalfOpen {
    /// For so many attempts, rounded up to whole buckets; with `records` it remembers their addresses.
    pub(super) fn new(attempts: u32, records: bool) -> Self {
        let buckets_max = (attempts as usize).div_ceil(ATTEMPT_WAYS).next_power_of_two();
        let buckets = buckets_max.min(BUCKETS_FIRST);
        let slots = buckets * ATTEMPT_WAYS;
        Self {
            buckets: huge::Table::new(buckets),
            beside: huge::Table::new(slots),
            ends: vec![Ends::default(); if records { slots } else { 0 }],
            records,
            buckets_max,
        }
    }

    /// Doubles the cache: each bucket's attempts go to it and to the one as far behind as there were buckets.
    #[cold]
    fn grow(&mut self) {
        let len = self.buckets.len();
        let mut grown = Self {
            buckets: huge::Table::new(2 * len),
            beside: huge::Table::new(2 * len * ATTEMPT_WAYS),
            ends: vec![Ends::default(); 2 * self.ends.len()],
            records: self.records,
            buckets_max: self.buckets_max,
        };
        for index in 0..len * ATTEMPT_WAYS {
            let (bucket, way) = (index / ATTEMPT_WAYS, index % ATTEMPT_WAYS);
            let attempt = self.buckets[bucket].ways[way];
            if attempt.state() == FREE {
                continue;
            }
            let half = usize::from(self.beside[index].hash as usize & len != 0);
            let bucket = bucket + half * len;
            // Ways are in no order, so each may stay where it is.
            grown.buckets[bucket].ways[way] = attempt;
            grown.beside[bucket * ATTEMPT_WAYS + way] = self.beside[index];
            if let Some(ends) = self.ends.get(index) {
                grown.ends[bucket * ATTEMPT_WAYS + way] = *ends;
            }
        }
        *self = grown;
    }

    /// Makes room in a bucket that is full of attempts worth remembering, where the limit allows.
    #[inline]
    fn make_room(&mut self, hash: u64, now: Stamp) {
        let remembered = |way: &Attempt| {
            !matches!(way.state(), FREE | COMPLETED)
                && way.fingerprint != fingerprint(hash)
                && now.since(way.asked) < REMEMBERED
        };
        while self.buckets.len() < self.buckets_max
            && self.buckets[self.bucket(hash)].ways.iter().all(remembered)
        {
            self.grow();
        }
    }

    /// Bytes of one attempt.
    pub(super) const fn bytes(records: bool) -> usize {
        let ends = if records { size_of::<Ends>() } else { 0 };
        size_of::<AttemptBucket>().div_ceil(ATTEMPT_WAYS) + size_of::<Beside>() + ends
    }

    /// Most half-open buckets.
    pub(super) const fn buckets_max(&self) -> usize {
        self.buckets_max
    }

    /// The half-open buckets.
    pub(super) fn buckets(&self) -> &[AttemptBucket] {
        self.buckets.items()
    }

    #[inline]
    fn bucket(&self, hash: u64) -> usize {
        hash as u32 as usize & (self.buckets.len() - 1)
    }

    /// Has the bucket of `hash` fetched.
    #[inline]
    pub(super) fn prefetch(&self, hash: u64) {
        let bucket = self.bucket(hash);
        prefetch(&self.buckets[bucket]);
    }

    /// Has what lies beside it fetched too, for SYN and SYN-ACK.
    #[inline]
    pub(super) fn prefetch_beside(&self, hash: u64) {
        let bucket = self.bucket(hash);
        self.beside.items()[bucket * ATTEMPT_WAYS..][..ATTEMPT_WAYS].iter().for_each(prefetch);
    }

    #[inline]
    fn place(&self, hash: u64) -> Option<Place> {
        let bucket = self.bucket(hash);
        let way = self.buckets[bucket].ways.iter().position(|way| way.fingerprint == fingerprint(hash))?;
        Some(Place((bucket * ATTEMPT_WAYS + way) as u32))
    }

    fn attempt(&self, place: Place) -> Attempt {
        let index = place.0 as usize;
        self.buckets[index / ATTEMPT_WAYS].ways[index % ATTEMPT_WAYS]
    }

    /// Whether anything of this flow is remembered.
    pub(super) fn knows(&self, hash: u64) -> bool {
        self.place(hash).is_some()
    }

    /// Whether a SYN-ACK of this flow came that nobody had asked for.
    pub(super) fn is_unasked(&self, hash: u64) -> bool {
        self.place(hash).is_some_and(|place| self.attempt(place).state() == UNASKED)
    }

    /// A SYN. What had to give way for it is handed to `over`.
    pub(super) fn ask(
        &mut self,
        digest: &Digest,
        packet_number: u64,
        mut over: impl FnMut(Over),
    ) -> (Asked, u32) {
        let (hash, sender) = (digest.hash, digest.key.sender());
        let segment = &digest.packet.segment;
        self.make_room(hash, digest.now());
        let reused = self.place(hash).is_some_and(|place| self.attempt(place).state() != UNASKED);
        let bucket = self.bucket(hash);
        let before = self.buckets[bucket];
        let at = Moment { stamp: digest.now(), precise: true };
        let asked = self.buckets[bucket].ask(fingerprint(hash), sender, segment, at);
        let Some(place) = self.place(hash) else { return (asked, 0) };
        let old = before.ways[place.0 as usize % ATTEMPT_WAYS];
        let index = place.0 as usize;
        let now_us = clock_us(digest.ts_ns);
        let mut marks = 0;
        match asked {
            Asked::First { .. } => {
                let told = matches!(old.state(), ASKED | ANSWERED);
                if let Some(ends) = self.ends.get(index).filter(|_| told) {
                    self.beside[index].over(old, *ends).into_iter().for_each(&mut over);
                }
                if reused {
                    marks = mark::REUSED_PORTS;
                }
                self.beside[index] = Beside::asked(digest, packet_number);
                if let Some(ends) = self.ends.get_mut(index) {
                    *ends = Ends::of(&digest.packet, sender);
                }
            }
            Asked::Again => {
                marks = self.again(index, digest, now_us, 0, mark::SYN_RETRANSMISSION);
                match (old.state(), marks) {
                    // A copy asks nothing.
                    (REFUSED, mark::CAPTURED_TWICE) => self.buckets[bucket] = before,
                    // Its record was told when it was refused.
                    (REFUSED, _) => self.beside[index] = Beside::asked(digest, packet_number),
                    _ => {}
                }
            }
            Asked::Crossed => {
                self.beside[index].notes |= note::SIMULTANEOUS;
                self.beside[index].sequences[1] = segment.sequence;
                self.beside[index].windows[1] = segment.window;
                marks = mark::SIMULTANEOUS_OPEN;
            }
        }
        (asked, marks)
    }

    /// A SYN or SYN-ACK that was sent before, or captured twice.
    fn again(&mut self, index: usize, digest: &Digest, now_us: u32, end: usize, kind: u32) -> u32 {
        let beside = &mut self.beside[index];
        if beside.is_copy(digest, now_us) {
            return mark::CAPTURED_TWICE;
        }
        beside.again[end] = beside.again[end].saturating_add(1);
        mark::RETRANSMISSION | kind
    }

    /// A SYN-ACK.
    pub(super) fn answer(&mut self, digest: &Digest) -> (Answer, u32) {
        let (hash, sender) = (digest.hash, digest.key.sender());
        let segment = &digest.packet.segment;
        let bucket = self.bucket(hash);
        let at = Moment { stamp: digest.now(), precise: true };
        let now_us = clock_us(digest.ts_ns);
        let known = self.place(hash);
        if let Some(place) = known
            && self.attempt(place).state() != UNASKED
            && self.attempt(place).initiator() == sender as u8
            && self.beside[place.0 as usize].sequences[0] == segment.sequence
        {
            return (Answer::Again, self.crossing(place, digest, now_us));
        }
        if known.is_some_and(|place| self.attempt(place).state() == UNASKED) {
            return (Answer::Unasked, self.unasked(digest, known, now_us));
        }
        let answer = self.buckets[bucket].answer(fingerprint(hash), sender, segment, at);
        let marks = match (answer, known) {
            (Answer::First { .. }, Some(place)) => {
                let beside = &mut self.beside[place.0 as usize];
                let asked_again = beside.has(note::SIMULTANEOUS) && beside.sequences[1] == segment.sequence;
                let acknowledged = segment.acknowledgment.wrapping_sub(beside.sequences[0]);
                let covered = acknowledged == 1 + u32::from(beside.payloads[0]);
                beside.notes |= note::ANSWERED | if covered { note::COVERED } else { 0 };
                beside.windows[1] = segment.window;
                beside.payloads[1] = payload_bytes(segment);
                beside.sequences[1] = segment.sequence;
                (beside.print, beside.last_us) = (digest.print, now_us);
                if asked_again { SYN_WITH_ACK } else { 0 }
            }
            (Answer::Again, Some(place)) => {
                let index = place.0 as usize;
                let answered = &mut self.beside[index];
                let before = std::mem::replace(&mut answered.sequences[1], segment.sequence);
                if !answered.has(note::ANSWERED) {
                    // Whatever ended the attempt, this is its first answer.
                    answered.notes |= note::ANSWERED;
                    (answered.print, answered.last_us) = (digest.print, now_us);
                    0
                } else if before == segment.sequence {
                    self.again(index, digest, now_us, 1, mark::SYN_ACK_RETRANSMISSION)
                } else {
                    answered.windows[1] = segment.window;
                    (answered.print, answered.last_us) = (digest.print, now_us);
                    super::handshake::answered_anew(before, segment.sequence)
                }
            }
            _ => self.unasked(digest, known, now_us),
        };
        (answer, marks)
    }

    /// The initiator's half of a simultaneous open: it answers the responder's SYN, and is its own SYN again.
    fn crossing(&mut self, place: Place, digest: &Digest, now_us: u32) -> u32 {
        let segment = &digest.packet.segment;
        let beside = &mut self.beside[place.0 as usize];
        if beside.is_copy(digest, now_us) {
            return mark::CAPTURED_TWICE;
        }
        if !beside.has(note::SIMULTANEOUS | note::ANSWERED) {
            // The responder's SYN was not captured.
            beside.sequences[1] = segment.acknowledgment.wrapping_sub(1);
        }
        beside.notes |= note::CROSSED;
        beside.windows[0] = segment.window;
        SYN_WITH_ACK
    }

    /// A SYN-ACK to no SYN that we know: remembered, so that it is known when it comes again.
    fn unasked(&mut self, digest: &Digest, known: Option<Place>, now_us: u32) -> u32 {
        let (hash, sender) = (digest.hash, digest.key.sender());
        let segment = &digest.packet.segment;
        if let Some(place) = known {
            let attempt = self.attempt(place);
            let same = attempt.state() == UNASKED && attempt.responder_isn == segment.sequence;
            if same && attempt.initiator() != sender as u8 {
                return self.again(place.0 as usize, digest, now_us, 1, mark::SYN_ACK_RETRANSMISSION);
            }
            if attempt.state() != UNASKED {
                let [asked, _] = self.beside[place.0 as usize].opening().next_sequences();
                let by_responder = attempt.is_asked() && attempt.initiator() != sender as u8;
                let unseen = by_responder && is_after(segment.acknowledgment, asked);
                return if unseen { mark::ACKED_UNSEEN } else { 0 };
            }
        }
        self.make_room(hash, digest.now());
        let bucket = self.bucket(hash);
        if self.buckets[bucket].note_unasked(fingerprint(hash), sender, segment, digest.now())
            && let Some(place) = self.place(hash)
        {
            self.beside[place.0 as usize] = Beside {
                first_ns: digest.ts_ns,
                sequences: [segment.acknowledgment.wrapping_sub(1), segment.sequence],
                windows: [0, segment.window],
                payloads: [0, payload_bytes(segment)],
                notes: note::ANSWERED,
                print: digest.print,
                last_us: now_us,
                hash: hash as u32,
                ..Beside::default()
            };
        }
        0
    }

    /// The handshake that an ACK completes, if any, and what is known of its beginning.
    pub(super) fn complete(&mut self, digest: &Digest) -> Option<(Handshake, Opening)> {
        let hash = digest.hash;
        let bucket = self.bucket(hash);
        let segment = &digest.packet.segment;
        let place = self.place(hash)?;
        // What a connection was begun with completes no other one when that is over.
        if self.beside[place.0 as usize].has(note::JOINED) {
            return None;
        }
        let handshake = self.buckets[bucket].complete(fingerprint(hash), digest.key.sender(), segment);
        handshake.happened.then(|| (handshake, self.beside[place.0 as usize].opening()))
    }

    /// Whether a connection was begun with the SYN, before this answer came.
    pub(super) fn is_joined(&self, hash: u64) -> bool {
        self.place(hash).is_some_and(|place| self.beside[place.0 as usize].has(note::JOINED))
    }

    /// That connection turned out to be another one: the handshake may yet be completed.
    pub(super) fn part(&mut self, hash: u64) {
        if let Some(place) = self.place(hash) {
            self.beside[place.0 as usize].notes &= !note::JOINED;
        }
    }

    /// What SYN or SYN-ACK told of the connection of a segment that completes no handshake; once.
    pub(super) fn join(&mut self, digest: &Digest) -> Option<(Attempt, Opening)> {
        let place = self.place(digest.hash)?;
        let attempt = self.attempt(place);
        let beside = &mut self.beside[place.0 as usize];
        if !matches!(attempt.state(), ASKED | ANSWERED | UNASKED) || beside.has(note::JOINED) {
            return None;
        }
        beside.notes |= note::JOINED;
        Some((attempt, beside.opening()))
    }

    /// A RST.
    pub(super) fn reset(&mut self, digest: &Digest, mut over: impl FnMut(Over)) -> Reset {
        let hash = digest.hash;
        let bucket = self.bucket(hash);
        let segment = &digest.packet.segment;
        let reset = self.buckets[bucket].reset(fingerprint(hash), digest.key.sender(), segment);
        if reset != Reset::Unrelated
            && let Some(place) = self.place(hash)
            && let Some(ends) = self.ends.get(place.0 as usize)
        {
            self.beside[place.0 as usize].over(self.attempt(place), *ends).into_iter().for_each(&mut over);
        }
        reset
    }

    /// What still waits at the end.
    pub(super) fn waiting(&self) -> impl Iterator<Item = Over> {
        let attempts = self.buckets.items().iter().flat_map(|bucket| &bucket.ways);
        attempts.zip(self.beside.items()).zip(&self.ends).filter_map(|((attempt, beside), ends)| {
            let waits = matches!(attempt.state(), ASKED | ANSWERED);
            if waits { beside.over(*attempt, *ends) } else { None }
        })
    }
}

/// Payload of a SYN or SYN-ACK; one frame's at most.
fn payload_bytes(segment: &Segment) -> u16 {
    u16::try_from(segment.payload_bytes).unwrap_or(u16::MAX)
}
