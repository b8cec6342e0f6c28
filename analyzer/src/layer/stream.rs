//! Follows the streams of connections as far as their readers want, in fixed memory.
//!
//! A segment that begins at the next byte of interest is read in place. What a reader cannot finish with, and what came
//! ahead of a hole, waits in a buffer. A hole that stays open while [`GAP_SEGMENTS_MAX`] segments pass is given up; then,
//! as after anything that is not understood, reading goes on where a segment begins as a message of the protocol does.
//! Everything behind the next byte of interest is refused by one comparison, without a look at its bytes.

mod begin;
mod heads;
mod logins;

use tidegauge_capture::memory::prefetch;

use self::begin::start;
use self::heads::PIECE_BYTES;
use super::buffer::{BUFFER_BYTES, Buffers};
use super::counter::LayerCounter::*;
use super::detail::Details;
use super::http;
use super::login;
use super::message::{Interest, StreamPart};
use super::noted;
use super::password::Passwords;
use super::record::{AppRecord, Protocol};
use super::slot::{Phase, Slot, clock_us, flag};
use super::sums::LayerSums;
use super::turn::{Bytes, Memory, Step, Turn};
use super::waits::Waits;
use super::{dns, tls};
use crate::fact::Facts;
use crate::huge;

/// Segments that may overtake a missing one: a window of 90 KiB in flight when it was lost. Then it was most likely not
/// captured.
const GAP_SEGMENTS_MAX: u8 = 64;
/// The same where an HTTP message begins behind the hole: what is missing is then most likely of a body, and reordering
/// seldom reaches further.
const GAP_SEGMENTS_TO_HEAD: u8 = 8;
/// Segments in which the beginning of a message is sought where nothing is known of a stream that is in its middle: most
/// of these are bulk data of a protocol that is not read.
const UNKNOWN_SEGMENTS_MAX: u8 = 16;
/// The same where its protocol is known: a body of which the head was missed, of 350 kB or more where segments are
/// merged.
const LOST_SEGMENTS_MAX: u8 = 250;

/// All connections of a shard.
pub(super) struct Streams {
    slots: huge::Table<Slot>,
    details: Details,
    buffers: Buffers,
    passwords: Passwords,
}

/// Whether the segment at hand is to be read on.
#[derive(PartialEq, Eq)]
enum Read {
    On,
    Ended,
}

fn direction(part: &StreamPart<'_>) -> usize {
    usize::from(!part.from_initiator)
}

/// Sequence number behind a segment.
fn end_of(part: &StreamPart<'_>) -> u32 {
    part.sequence.wrapping_add(part.payload_bytes)
}

/// How far `to` lies behind `from` in sequence space; negative where it lies before.
fn distance(from: u32, to: u32) -> i32 {
    to.wrapping_sub(from) as i32
}

impl Slot {
    fn interest(&self, from: usize) -> Interest {
        let over = |phase| matches!(phase, Phase::Done | Phase::Closed);
        match (over(self.phase[from]), over(self.phase[from ^ 1])) {
            (true, true) => Interest::BothDone,
            (true, false) => Interest::Done,
            (false, _) => Interest::More,
        }
    }
}

impl Streams {
    pub(super) fn new(connections: u32) -> Self {
        Self {
            slots: huge::Table::of(connections as usize, Slot::CLOSED),
            details: Details::new(connections),
            buffers: Buffers::new(),
            passwords: Passwords::new(),
        }
    }

    pub(super) fn allocated_bytes(&self) -> usize {
        let details = self.details.tls.allocated_bytes() + self.details.http.allocated_bytes();
        let few = self.buffers.allocated_bytes() + self.passwords.allocated_bytes();
        size_of_val(self.slots.items()) + details + few
    }

    pub(super) fn open(&mut self, slot: u32, next_sequence: [Option<u32>; 2]) {
        self.forget(slot);
        if let Some(slot) = self.slots.get_mut(slot as usize) {
            *slot = Slot::opened(next_sequence);
        }
    }

    /// Gives back what the slot holds.
    fn forget(&mut self, slot: u32) {
        let Some(slot) = self.slots.get_mut(slot as usize) else { return };
        for number in slot.buffer {
            self.buffers.release(number);
        }
        match slot.protocol {
            Some(Protocol::Tls) => self.details.tls.release(slot.detail),
            Some(Protocol::Http) => self.details.http.release(slot.detail),
            _ => {}
        }
        *slot = Slot::CLOSED;
    }

    pub(super) fn close(&mut self, number: u32, sums: &mut LayerSums) -> Option<AppRecord> {
        let record = self.app(number);
        let slot = self.slots.get(number as usize)?;
        sums.add(HttpUnanswered, http::unanswered(slot));
        if tls::is_unanswered(slot) {
            sums.count(TlsHellosUnanswered);
        }
        self.forget(number);
        record
    }

    /// Has the line of a slot fetched.
    #[inline]
    pub(super) fn prefetch(&self, slot: u32) {
        if let Some(slot) = self.slots.get(slot as usize) {
            prefetch(slot);
        }
    }

    /// Refuses what is of no interest; the rest is not inlined into the caller's loop.
    #[inline]
    pub(super) fn tcp(
        &mut self,
        part: &StreamPart<'_>,
        dns: &mut Waits,
        sums: &mut LayerSums,
        facts: &mut Facts,
    ) -> Interest {
        let from = direction(part);
        let Some(slot) = self.slots.get(part.slot as usize) else { return Interest::BothDone };
        match slot.phase[from] {
            Phase::Done | Phase::Closed => return slot.interest(from),
            Phase::Fresh => {}
            _ if distance(slot.next[from], end_of(part)) <= 0 => {
                let is_of_request = from == 0 && slot.protocol == Some(Protocol::Http);
                if is_of_request && (part.payload_bytes < PIECE_BYTES || slot.has(flag::PIECES)) {
                    self.note_piece(part, facts);
                }
                return Interest::More;
            }
            _ => {}
        }
        self.read(part, dns, sums, facts)
    }

    #[inline(never)]
    fn read(
        &mut self,
        part: &StreamPart<'_>,
        dns: &mut Waits,
        sums: &mut LayerSums,
        facts: &mut Facts,
    ) -> Interest {
        let before = noted::Stream::of(self.waits_for_head(part.slot), sums);
        let from = direction(part);
        if self.is_of_logins(part) {
            self.read_login(part, dns, sums);
        } else if part.payload_bytes != 0 && self.place(part, sums) == Read::On {
            self.read_in_order(part, dns, sums);
        }
        self.note_head(part.slot);
        noted::Stream::of(self.waits_for_head(part.slot), sums).since(before, facts);
        self.slots.get(part.slot as usize).map_or(Interest::BothDone, |slot| slot.interest(from))
    }

    /// Finds out where the segment lies. It is read on if it covers the next byte of interest.
    fn place(&mut self, part: &StreamPart<'_>, sums: &mut LayerSums) -> Read {
        let from = direction(part);
        let Some(slot) = self.slots.get_mut(part.slot as usize) else { return Read::Ended };
        match slot.phase[from] {
            Phase::Fresh => {
                slot.next[from] = part.sequence;
                slot.first_payload(from, clock_us(part.ts_ns));
            }
            Phase::Start => slot.first_payload(from, clock_us(part.ts_ns)),
            Phase::Lost => return find_again(slot, part),
            _ => {}
        }
        let ahead = distance(slot.next[from], part.sequence);
        let held = self.buffers.contiguous(slot.buffer[from]).len();
        if ahead <= held as i32 { Read::On } else { self.ahead_of_hole(part, ahead as usize, sums) }
    }

    /// A segment behind a hole waits, as far as there is room.
    fn ahead_of_hole(&mut self, part: &StreamPart<'_>, ahead: usize, sums: &mut LayerSums) -> Read {
        let from = direction(part);
        let Some(slot) = self.slots.get_mut(part.slot as usize) else { return Read::Ended };
        slot.missed[from] = slot.missed[from].saturating_add(1);
        let at_head = || slot.protocol == Some(Protocol::Http) && http::may_begin(part.bytes);
        let missed = slot.missed[from];
        if missed > GAP_SEGMENTS_MAX || (missed > GAP_SEGMENTS_TO_HEAD && at_head()) {
            sums.count(StreamGaps);
            lose(slot, &mut self.buffers, from, part.sequence);
            return find_again(slot, part);
        }
        if part.bytes.len() < part.payload_bytes as usize || ahead >= BUFFER_BYTES {
            return Read::Ended;
        }
        let held = slot.buffer[from];
        let number = if held == 0 { self.acquire(part.slot, from, sums) } else { held };
        if !self.buffers.put(number, ahead, part.bytes) && held == 0 {
            self.release(part.slot, from);
        }
        Read::Ended
    }

    fn acquire(&mut self, number: u32, from: usize, sums: &mut LayerSums) -> u8 {
        let (buffer, loser) = self.buffers.acquire((number, from));
        if let Some((loser, from)) = loser
            && let Some(slot) = self.slots.get_mut(loser as usize)
        {
            sums.count(StreamBuffersTaken);
            slot.buffer[from] = 0;
            let next = slot.next[from];
            lose(slot, &mut self.buffers, from, next);
        }
        if let Some(slot) = self.slots.get_mut(number as usize) {
            slot.buffer[from] = buffer;
        }
        buffer
    }

    fn release(&mut self, number: u32, from: usize) {
        if let Some(slot) = self.slots.get_mut(number as usize) {
            self.buffers.release(std::mem::take(&mut slot.buffer[from]));
        }
    }

    /// A segment that covers the next byte of interest. Where a buffer holds bytes, those of the segment are put behind
    /// them; a segment that is longer than the room goes in by parts.
    fn read_in_order(&mut self, part: &StreamPart<'_>, dns: &mut Waits, sums: &mut LayerSums) {
        let from = direction(part);
        let is_cut = part.bytes.len() < part.payload_bytes as usize;
        loop {
            let Some(slot) = self.slots.get_mut(part.slot as usize) else { return };
            let buffer = slot.buffer[from];
            let held = self.buffers.contiguous(buffer).len();
            let known = distance(part.sequence, slot.next[from].wrapping_add(held as u32));
            let fresh =
                usize::try_from(known).ok().and_then(|known| part.bytes.get(known..)).unwrap_or_default();
            if buffer == 0 {
                self.read_in_place(part, fresh, dns, sums);
                break;
            }
            if fresh.is_empty() || !self.buffers.put(buffer, held, fresh) {
                break;
            }
            if self.read_buffered(part, held, dns, sums) == Read::Ended {
                return;
            }
        }
        let Some(slot) = self.slots.get_mut(part.slot as usize) else { return };
        let followed = !matches!(slot.phase[from], Phase::Done | Phase::Lost | Phase::Login);
        if is_cut && followed && distance(slot.next[from], end_of(part)) > 0 {
            sums.count(StreamCut);
            lose(slot, &mut self.buffers, from, end_of(part));
        }
    }

    fn read_in_place(&mut self, part: &StreamPart<'_>, bytes: &[u8], dns: &mut Waits, sums: &mut LayerSums) {
        let from = direction(part);
        let is_cut = part.bytes.len() < part.payload_bytes as usize;
        let mut rest = bytes;
        while !rest.is_empty() {
            let step = self.step(part, Bytes { all: rest, buffered: false, fresh_from: 0 }, dns, sums);
            let Some(slot) = self.slots.get_mut(part.slot as usize) else { return };
            match step {
                Step::Took(len) => {
                    slot.next[from] = slot.next[from].wrapping_add(len);
                    slot.missed[from] = 0;
                    rest = rest.get(len as usize..).unwrap_or_default();
                    if slot.phase[from] == Phase::Done {
                        return;
                    }
                }
                Step::Wait if is_cut => return,
                Step::Wait => {
                    let fresh = rest;
                    if fresh.len() >= BUFFER_BYTES {
                        sums.count(StreamHeadsTooLong);
                        return lose(slot, &mut self.buffers, from, end_of(part));
                    }
                    let buffer = self.acquire(part.slot, from, sums);
                    self.buffers.put(buffer, 0, fresh);
                    self.read_buffered(part, 0, dns, sums);
                    return;
                }
                Step::Over => {
                    slot.phase[from] = Phase::Done;
                    return;
                }
                Step::Lost | Step::CutOut(..) => {
                    return lose(slot, &mut self.buffers, from, end_of(part));
                }
            }
        }
    }

    /// Reads what the buffer holds without a hole. Ended: the direction is over or lost.
    fn read_buffered(
        &mut self,
        part: &StreamPart<'_>,
        held: usize,
        dns: &mut Waits,
        sums: &mut LayerSums,
    ) -> Read {
        let from = direction(part);
        let mut fresh_from = held;
        loop {
            let Some(slot) = self.slots.get(part.slot as usize) else { return Read::Ended };
            let buffer = slot.buffer[from];
            let len = self.buffers.contiguous(buffer).len();
            if len == 0 {
                return Read::On;
            }
            let step = self.step_buffered(part, buffer, fresh_from, dns, sums);
            let Some(slot) = self.slots.get_mut(part.slot as usize) else { return Read::Ended };
            match step {
                Step::Took(took) => {
                    fresh_from = 0;
                    slot.next[from] = slot.next[from].wrapping_add(took);
                    slot.missed[from] = 0;
                    if slot.phase[from] == Phase::Done || !self.buffers.consume(buffer, took as usize) {
                        self.release(part.slot, from);
                        return Read::On;
                    }
                }
                Step::CutOut(at, cut) => {
                    fresh_from = 0;
                    slot.next[from] = slot.next[from].wrapping_add(cut as u32);
                    self.buffers.cut_out(buffer, at, cut);
                }
                Step::Wait if len < BUFFER_BYTES => return Read::On,
                Step::Over => {
                    slot.phase[from] = Phase::Done;
                    self.release(part.slot, from);
                    return Read::Ended;
                }
                Step::Wait | Step::Lost => {
                    if step == Step::Wait {
                        sums.count(StreamHeadsTooLong);
                    }
                    lose(slot, &mut self.buffers, from, end_of(part));
                    return Read::Ended;
                }
            }
        }
    }

    fn step_buffered(
        &mut self,
        part: &StreamPart<'_>,
        buffer: u8,
        fresh_from: usize,
        dns: &mut Waits,
        sums: &mut LayerSums,
    ) -> Step {
        let Self { slots, details, buffers, passwords } = self;
        let Some(slot) = slots.get_mut(part.slot as usize) else { return Step::Over };
        let bytes = Bytes { all: buffers.contiguous(buffer), buffered: true, fresh_from };
        let memory = Memory { details, dns, passwords };
        step(&mut Turn::of(slot, memory, part, sums), bytes, part.responder_port)
    }

    fn step(
        &mut self,
        part: &StreamPart<'_>,
        bytes: Bytes<'_>,
        dns: &mut Waits,
        sums: &mut LayerSums,
    ) -> Step {
        let Self { slots, details, passwords, .. } = self;
        let Some(slot) = slots.get_mut(part.slot as usize) else { return Step::Over };
        let memory = Memory { details, dns, passwords };
        step(&mut Turn::of(slot, memory, part, sums), bytes, part.responder_port)
    }
}

/// The reader's turn whose phase it is.
fn step(turn: &mut Turn<'_>, bytes: Bytes<'_>, responder_port: u16) -> Step {
    match turn.slot.phase[turn.from] {
        Phase::Fresh | Phase::Start => start(turn, bytes, responder_port),
        Phase::TlsRecord => tls::record(turn, bytes),
        Phase::TlsMessage => tls::message(turn, bytes),
        Phase::HttpHead => http::head(turn, bytes),
        Phase::HttpChunk => http::chunk(turn, bytes),
        Phase::HttpTrailer => http::trailer(turn, bytes),
        Phase::Dns => dns::message(turn, bytes),
        Phase::Login => login::segment(turn, bytes.all),
        Phase::Closed | Phase::Done | Phase::Lost => Step::Over,
    }
}

/// Reading lost its place: it may go on behind `next`.
fn lose(slot: &mut Slot, buffers: &mut Buffers, from: usize, next: u32) {
    buffers.release(std::mem::take(&mut slot.buffer[from]));
    // DNS messages over TCP have no mark by which they could be found again.
    let findable = slot.protocol != Some(Protocol::Dns);
    slot.phase[from] = if findable { Phase::Lost } else { Phase::Done };
    slot.next[from] = next;
    slot.missed[from] = 0;
    slot.extra[from] = 0;
    if slot.protocol == Some(Protocol::Http) {
        // Which response belongs to which request is no longer known.
        slot.extra = [0; 2];
        slot.asked_us = 0;
        slot.flags &= !flag::CONNECT;
    }
}

/// Reads on where a segment begins as a message does.
fn find_again(slot: &mut Slot, part: &StreamPart<'_>) -> Read {
    let from = direction(part);
    if distance(slot.next[from], part.sequence) >= 0 {
        let found = match slot.protocol {
            Some(Protocol::Http) => http::may_begin(part.bytes).then_some(Phase::HttpHead),
            Some(Protocol::Tls) => tls::may_begin(part.bytes).then_some(Phase::TlsRecord),
            // Of what was not recognised before, what is followed may still be.
            None => (http::may_begin(part.bytes) || tls::may_begin(part.bytes)).then_some(Phase::Fresh),
            Some(_) => None,
        };
        if let Some(phase) = found {
            slot.phase[from] = phase;
            slot.next[from] = part.sequence;
            slot.missed[from] = 0;
            return Read::On;
        }
    }
    slot.next[from] = end_of(part);
    slot.missed[from] = slot.missed[from].saturating_add(1);
    let limit = if slot.protocol.is_none() { UNKNOWN_SEGMENTS_MAX } else { LOST_SEGMENTS_MAX };
    if slot.missed[from] >= limit {
        slot.phase[from] = Phase::Done;
    }
    Read::Ended
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fact::Fact;

    struct Reader {
        streams: Streams,
        waits: Waits,
        sums: LayerSums,
    }

    impl Reader {
        fn read(&mut self, slot: u32, sequence: u32, bytes: &[u8]) -> Facts {
            let part = StreamPart {
                slot,
                from_initiator: true,
                sequence,
                payload_bytes: bytes.len() as u32,
                bytes,
                ts_ns: 1_000_000_000,
                responder_port: 80,
                ends: 0,
            };
            let mut facts = Facts::NONE;
            self.streams.tcp(&part, &mut self.waits, &mut self.sums, &mut facts);
            facts
        }
    }

    #[test]
    fn more_heads_wait_than_there_are_buffers() {
        const HEADS: u32 = 600;
        let mut reader = Reader {
            streams: Streams::new(HEADS),
            waits: Waits::new(16, 1_000_000_000),
            sums: LayerSums::default(),
        };
        let begun = b"GET / HTTP/1.1\r\nHost: a\r\n";
        for slot in 0..HEADS {
            reader.streams.open(slot, [Some(1), Some(1)]);
            assert!(reader.read(slot, 1, begun).has(Fact::HeadOpened), "{slot}");
        }
        let line = b"X-a: b\r\n";
        for slot in 0..HEADS {
            let facts = reader.read(slot, 1 + begun.len() as u32, line);
            assert!(!facts.has(Fact::HeadOpened) && !facts.has(Fact::HeadDone), "{slot}");
        }
        assert!((0..HEADS).all(|slot| reader.streams.waits_for_head(slot)));
        let last = HEADS - 1;
        reader.streams.open(last, [Some(1), Some(1)]);
        assert!(!reader.streams.waits_for_head(last));
        reader.read(last, 1, begun);
        let facts = reader.read(last, 1 + begun.len() as u32, b"X-a: b\r\n\r\n");
        assert!(facts.has(Fact::HeadDone) && facts.has(Fact::Request));
    }
}
