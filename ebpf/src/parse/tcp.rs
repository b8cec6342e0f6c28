//! TCP header (RFC 9293) and, on SYN segments, the window scale option (RFC 7323).

use super::{Cursor, Step, next};
use crate::frame::{Frame, Header};
use crate::limits::TCP_OPTIONS_MAX;
use crate::packet::{Fault, NO_SHIFT, Packet, Segment, Transport, UNKNOWN_SHIFT, tcp_flag};

const OPTION_END: u8 = 0;
const OPTION_NOP: u8 = 1;
const OPTION_WINDOW_SCALE: u8 = 3;
/// NOP, NOP, timestamps (kind 8) of ten bytes.
const OPTIONS_TIMESTAMPS: u32 = 0x0101_080a;
/// RFC 7323 section 2.3: a larger shift is used as 14.
const SHIFT_MAX: u8 = 14;

/// TCP header at the cursor. It must be captured up to its window; checksum and options may be cut.
#[inline(always)]
pub(super) fn segment<F: Frame>(frame: F, cursor: Cursor, packet: &mut Packet) -> Step {
    let offset = cursor.offset;
    let header = frame.header::<16>(offset).ok_or(Fault::Cut)?;
    packet.source_port = header.u16(0);
    packet.destination_port = header.u16(2);
    let (sequence, acknowledgment) = (header.u32(4), header.u32(8));
    let header_bytes = u32::from(header.u8(12) >> 4) * 4;
    let (flags, window) = (header.u8(13), header.u16(14));
    if header_bytes < 20 {
        return Err(Fault::Length);
    }
    let payload_bytes = cursor.end.saturating_sub(offset + header_bytes);
    let shift = if flags & tcp_flag::SYN != 0 {
        window_scale(frame, offset + 20, offset + header_bytes)
    } else {
        UNKNOWN_SHIFT
    };
    let (timestamp, echo) =
        if flags & tcp_flag::SYN == 0 { timestamps(frame, offset + 20, header_bytes) } else { (0, 0) };
    packet.transport = Transport::Tcp;
    packet.transport_offset = offset as u16;
    packet.payload_offset = (offset + header_bytes) as u16;
    packet.segment =
        Segment { sequence, acknowledgment, payload_bytes, window, timestamp, echo, flags, shift };
    Ok(cursor.after(header_bytes, next::DONE))
}

/// Value and echo of the timestamps option, if it is the first one behind two NOPs (RFC 7323 appendix A).
#[inline(always)]
pub(super) fn timestamps<F: Frame>(frame: F, options: u32, header_bytes: u32) -> (u32, u32) {
    match frame.header::<12>(options) {
        Some(header) if header_bytes >= 32 && header.u32(0) == OPTIONS_TIMESTAMPS => {
            (header.u32(4), header.u32(8))
        }
        _ => (0, 0),
    }
}

/// The shift of the window scale option, [`NO_SHIFT`] where there is none, [`UNKNOWN_SHIFT`] where it may be in what
/// was cut off or lies behind [`TCP_OPTIONS_MAX`] other options.
#[inline(always)]
pub(super) fn window_scale<F: Frame>(frame: F, start: u32, end: u32) -> u8 {
    let mut offset = start;
    for _ in 0..TCP_OPTIONS_MAX {
        if offset >= end {
            return NO_SHIFT;
        }
        let Some(kind) = frame.u8(offset) else { return UNKNOWN_SHIFT };
        if kind == OPTION_NOP {
            offset += 1;
            continue;
        }
        if kind == OPTION_END {
            return NO_SHIFT;
        }
        let Some(length) = frame.u8(offset + 1) else { return UNKNOWN_SHIFT };
        if kind == OPTION_WINDOW_SCALE && length == 3 {
            return match frame.u8(offset + 2) {
                Some(shift) if shift < SHIFT_MAX => shift,
                Some(_) => SHIFT_MAX,
                None => UNKNOWN_SHIFT,
            };
        }
        if length < 2 {
            return NO_SHIFT;
        }
        // 40 bytes of options at most: the mask tells the verifier what the loop's exit already says.
        offset = start + ((offset - start + u32::from(length)) & 0x3f);
    }
    UNKNOWN_SHIFT
}
