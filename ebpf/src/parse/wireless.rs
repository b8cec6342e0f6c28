//! IEEE 802.11 frames, alone or behind radiotap (<https://www.radiotap.org>): what a monitoring station captures.
//!
//! Read are data frames that are in the clear and whole. Management and control frames, encrypted ones, several in one
//! (A-MSDU) and later fragments end the walk.

use super::{Cursor, Step, link, next};
use crate::frame::{Frame, Header};
use crate::packet::Fault;

/// First byte of the frame control field: version 0 and type, and what the subtypes of data frames say.
const VERSION_AND_TYPE: u8 = 0x0f;
const TYPE_DATA: u8 = 0x08;
const WITHOUT_DATA: u8 = 0x40;
const QUALITY_OF_SERVICE: u8 = 0x80;
/// Second byte: from one distribution system to another, encrypted, with an HT control field.
const BETWEEN_SYSTEMS: u8 = 0x03;
const PROTECTED: u8 = 0x40;
const ORDER: u8 = 0x80;
/// Of the QoS control field: the body is several frames.
const AGGREGATED: u8 = 0x80;

/// Radiotap's fields, by their bits in the words that say which are present: the first two, and another word.
const CLOCK: u32 = 1;
const FLAGS: u32 = 1 << 1;
const ANOTHER_WORD: u32 = 1 << 31;
/// Words that say which fields are present: one for each antenna.
const PRESENT_WORDS_MAX: u32 = 8;
/// Radiotap's flag for a body that begins at a multiple of four bytes.
const PADDED: u8 = 0x20;

/// A frame behind a radiotap header, whose integers are little-endian.
#[inline(always)]
pub(super) fn radiotap<F: Frame>(frame: F, start: Cursor) -> Step {
    let header = frame.header::<8>(0).ok_or(Fault::Cut)?;
    let header_bytes = u32::from(header.u16(2).swap_bytes());
    if header_bytes < 8 {
        return Err(Fault::Length);
    }
    let padded = flags(frame, header.u32(4).swap_bytes()) & PADDED != 0;
    let layout = if padded { Layout::Padded } else { Layout::Plain };
    data(frame, start.after(header_bytes, next::DONE), layout)
}

/// Radiotap's flags, 0 where there are none.
#[inline(always)]
fn flags<F: Frame>(frame: F, present: u32) -> u8 {
    if present & FLAGS == 0 {
        return 0;
    }
    let (mut word, mut fields) = (present, 8);
    for _ in 0..PRESENT_WORDS_MAX {
        if word & ANOTHER_WORD == 0 {
            break;
        }
        word = frame.u32(fields).map_or(0, u32::swap_bytes);
        fields += 4;
    }
    if present & CLOCK != 0 {
        fields = fields.next_multiple_of(8) + 8;
    }
    frame.u8(fields).unwrap_or(0)
}

/// How a frame of 802.11 was written down.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// The body begins at a multiple of four bytes, as radiotap says.
    Padded,
    /// As it was sent.
    Plain,
    /// The two bytes of its frame control may have changed places, as controllers of access points have them.
    Swapped,
}

/// A frame of 802.11.
#[inline(always)]
pub(super) fn data<F: Frame>(frame: F, cursor: Cursor, layout: Layout) -> Step {
    let control = frame.header::<2>(cursor.offset).ok_or(Fault::Cut)?;
    let (mut kind, mut how) = (control.u8(0), control.u8(1));
    if layout == Layout::Swapped && kind & VERSION_AND_TYPE != TYPE_DATA {
        (kind, how) = (how, kind);
    }
    if kind & (VERSION_AND_TYPE | WITHOUT_DATA) != TYPE_DATA || how & PROTECTED != 0 {
        return Ok(cursor.after(0, next::DONE));
    }
    let fragment = frame.u8(cursor.offset + 22).ok_or(Fault::Cut)? & 0x0f;
    let mut header_bytes = if how & BETWEEN_SYSTEMS == BETWEEN_SYSTEMS { 30 } else { 24 };
    let mut aggregated = false;
    if kind & QUALITY_OF_SERVICE != 0 {
        let quality = frame.u8(cursor.offset + header_bytes).ok_or(Fault::Cut)?;
        aggregated = quality & AGGREGATED != 0;
        header_bytes += if how & ORDER != 0 { 6 } else { 2 };
    }
    if layout == Layout::Padded {
        header_bytes = header_bytes.next_multiple_of(4);
    }
    let body = cursor.after(header_bytes, next::DONE);
    if fragment != 0 || aggregated { Ok(body) } else { Ok(link::logical(frame, body)) }
}
