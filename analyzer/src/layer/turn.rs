//! One turn of a protocol's reader: what it may look at and change, and what it says of the bytes at hand.

use super::counter::LayerCounter::StreamDetailsRefused;
use super::detail::{Details, HttpDetail, Table, TlsDetail};
use super::message::StreamPart;
use super::password::Passwords;
use super::slot::{DETAIL_REFUSED, NO_DETAIL, Slot, clock_us};
use super::sums::LayerSums;
use super::waits::Waits;

/// What a reader did with the bytes that begin at the next one of interest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// So many bytes are done with; more than there are, where those behind are passed over.
    Took(u32),
    /// These are not enough.
    Wait,
    /// The direction is of no more interest.
    Over,
    /// They are not what was expected.
    Lost,
    /// Take so many bytes at this place out of the middle, then read on.
    CutOut(usize, usize),
}

/// The bytes at hand, from the next one of interest on.
#[derive(Clone, Copy)]
pub(super) struct Bytes<'a> {
    pub(super) all: &'a [u8],
    /// Whether they are in a buffer: then they can be changed ([`Step::CutOut`]).
    pub(super) buffered: bool,
    /// Those before were there at the last turn, and were not enough.
    pub(super) fresh_from: usize,
}

/// One turn.
pub(super) struct Turn<'a> {
    pub(super) slot: &'a mut Slot,
    pub(super) details: &'a mut Details,
    pub(super) dns: &'a mut Waits,
    pub(super) passwords: &'a mut Passwords,
    pub(super) sums: &'a mut LayerSums,
    /// Direction.
    pub(super) from: usize,
    pub(super) slot_number: u32,
    /// See [`super::StreamPart::ends`].
    pub(super) ends: u32,
    pub(super) ts_ns: u64,
    pub(super) now_us: u32,
    /// The end of the segment was not captured.
    pub(super) is_cut: bool,
}

/// What readers remember beside the slot.
pub(super) struct Memory<'a> {
    pub(super) details: &'a mut Details,
    pub(super) dns: &'a mut Waits,
    pub(super) passwords: &'a mut Passwords,
}

impl<'a> Turn<'a> {
    /// The turn of a segment's bytes.
    pub(super) fn of(
        slot: &'a mut Slot,
        memory: Memory<'a>,
        part: &StreamPart<'_>,
        sums: &'a mut LayerSums,
    ) -> Self {
        let Memory { details, dns, passwords } = memory;
        let StreamPart { slot: slot_number, ts_ns, ends, .. } = *part;
        let (from, now_us) = (usize::from(!part.from_initiator), clock_us(ts_ns));
        let is_cut = part.bytes.len() < part.payload_bytes as usize;
        Self { slot, details, dns, passwords, sums, from, slot_number, ends, ts_ns, now_us, is_cut }
    }
}

impl Turn<'_> {
    /// Details of a TLS connection, if there is room.
    pub(super) fn tls(&mut self) -> Option<&mut TlsDetail> {
        detail(&mut self.details.tls, &mut self.slot.detail, self.sums)
    }

    /// Details of an HTTP connection, if there is room.
    pub(super) fn http(&mut self) -> Option<&mut HttpDetail> {
        detail(&mut self.details.http, &mut self.slot.detail, self.sums)
    }
}

fn detail<'a, T: Default>(
    table: &'a mut Table<T>,
    number: &mut u32,
    sums: &mut LayerSums,
) -> Option<&'a mut T> {
    match *number {
        DETAIL_REFUSED => return None,
        NO_DETAIL => match table.acquire() {
            Some(acquired) => *number = acquired,
            None => {
                *number = DETAIL_REFUSED;
                sums.count(StreamDetailsRefused);
                return None;
            }
        },
        _ => {}
    }
    table.get_mut(*number)
}
