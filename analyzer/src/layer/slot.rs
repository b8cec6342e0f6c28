//! What one connection slot remembers: 32 bytes.
//!
//! Rare things (names, counts of messages) are in [`super::detail`], bytes that wait for others in
//! [`super::buffer`]; the slot has their numbers.

use super::record::Protocol;

/// What a direction's next byte is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Phase {
    /// No connection is in this slot.
    Closed,
    /// Nothing was seen of the direction, nor of the handshake.
    Fresh,
    /// The first byte of the stream.
    Start,
    /// Unknown: reading goes on where a segment begins as a message does.
    Lost,
    /// A TLS record header.
    TlsRecord,
    /// A handshake message within a TLS record.
    TlsMessage,
    /// The head of a request or response.
    HttpHead,
    /// The size line of a chunk.
    HttpChunk,
    /// A trailer field behind the last chunk, or the empty line that ends them.
    HttpTrailer,
    /// The length in front of a DNS message.
    Dns,
    /// Answers to logins, or what they are to.
    Login,
    /// Nothing that is of interest.
    Done,
}

/// State of one connection. Directions: 0 is the initiator's.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    /// Sequence number of the next byte that is of interest.
    pub(super) next: [u32; 2],
    /// Number of its details, by its protocol's table; or one of [`NO_DETAIL`], [`DETAIL_REFUSED`]. Of protocols whose
    /// logins are read: a hash of what the initiator said since the last refusal.
    pub(super) detail: u32,
    /// Time of what waits for an answer, microseconds modulo 2^32; 0 where nothing does.
    pub(super) asked_us: u32,
    /// First byte to first byte; or one of [`TTFB_UNKNOWN`], [`TTFB_NONE`].
    pub(super) ttfb_us: u32,
    /// TLS: bytes left of the handshake record at hand, by direction. HTTP: requests that wait, and which of the oldest
    /// sixteen are HEAD. Of protocols whose logins are read: segments that were looked at, by direction.
    pub(super) extra: [u16; 2],
    /// What comes next.
    pub(super) phase: [Phase; 2],
    /// Segments that came behind a gap, or that did not begin as a message does.
    pub(super) missed: [u8; 2],
    /// Reassembly buffer; 0 where there is none.
    pub(super) buffer: [u8; 2],
    /// What was recognised.
    pub(super) protocol: Option<Protocol>,
    /// One of [`flag`].
    pub(super) flags: u8,
}

const _: () = assert!(size_of::<Slot>() == 32, "a slot is half a cache line");

/// No details yet.
pub(super) const NO_DETAIL: u32 = u32::MAX;
/// There was no room for its details.
pub(super) const DETAIL_REFUSED: u32 = u32::MAX - 1;
/// The responder has not spoken yet.
pub(super) const TTFB_UNKNOWN: u32 = u32::MAX;
/// The responder spoke first.
pub(super) const TTFB_NONE: u32 = u32::MAX - 1;

/// Bits of [`Slot::flags`]; those of a direction are shifted by it.
pub(super) mod flag {
    /// TLS: the direction's records are encrypted.
    pub(crate) const CIPHERED: u8 = 0x01;
    /// TLS: the direction's hello was read.
    pub(crate) const HELLO: u8 = 0x04;
    /// TLS: version 1.3 was negotiated.
    pub(crate) const V13: u8 = 0x10;
    /// TLS: a fatal alert in the clear was counted.
    pub(crate) const FAILED: u8 = 0x20;
    /// TLS: the first application data were timed.
    pub(crate) const TIMED: u8 = 0x40;
    /// TLS: an alert was seen.
    pub(crate) const ALERTED: u8 = 0x80;
    /// HTTP: the request that waits is a CONNECT.
    pub(crate) const CONNECT: u8 = 0x01;
    /// HTTP: a request's head was begun, and not seen to be complete.
    pub(crate) const HEAD_WAITS: u8 = 0x02;
    /// HTTP: the newest request has a password other than the last one of these two hosts.
    pub(crate) const PASSWORD: u8 = 0x04;
    /// HTTP: the body of the request that waits comes in small pieces.
    pub(crate) const PIECES: u8 = 0x08;
    /// Protocols whose logins are read: one was refused, or taken where that is read too.
    pub(crate) const LOGIN_ANSWERED: u8 = 0x01;
}

impl Slot {
    /// A slot without a connection.
    pub(super) const CLOSED: Self = Self::in_phase(Phase::Closed);

    const fn in_phase(phase: Phase) -> Self {
        Self {
            next: [0; 2],
            detail: NO_DETAIL,
            asked_us: 0,
            ttfb_us: TTFB_UNKNOWN,
            extra: [0; 2],
            phase: [phase; 2],
            missed: [0; 2],
            buffer: [0; 2],
            protocol: None,
            flags: 0,
        }
    }

    /// A connection that begins.
    pub(super) fn opened(next_sequence: [Option<u32>; 2]) -> Self {
        let mut slot = Self::in_phase(Phase::Fresh);
        for ((next, phase), known) in slot.next.iter_mut().zip(&mut slot.phase).zip(next_sequence) {
            if let Some(sequence) = known {
                *next = sequence;
                *phase = Phase::Start;
            }
        }
        slot
    }

    /// Whether a bit is set; for bits of a direction shift it.
    pub(super) const fn has(&self, bit: u8) -> bool {
        self.flags & bit != 0
    }

    /// Notes when a direction sent its first payload.
    pub(super) fn first_payload(&mut self, from: usize, now_us: u32) {
        if from == 0 {
            if self.asked_us == 0 {
                self.asked_us = now_us;
            }
        } else if self.ttfb_us == TTFB_UNKNOWN {
            self.ttfb_us = since_us(self.asked_us, now_us).unwrap_or(TTFB_NONE);
        }
    }

    /// Time since the question that waits, which waits on.
    pub(super) const fn waited_us(&self, now_us: u32) -> Option<u32> {
        since_us(self.asked_us, now_us)
    }
}

/// Microseconds modulo 2^32, never 0: that means "no time".
pub(super) const fn clock_us(ts_ns: u64) -> u32 {
    let us = (ts_ns / 1_000) as u32;
    if us == 0 { 1 } else { us }
}

/// From one reading of [`clock_us`] to the next; `None` where there was none. Time that ran backwards is no time.
const fn since_us(asked_us: u32, now_us: u32) -> Option<u32> {
    if asked_us == 0 {
        return None;
    }
    let waited = now_us.wrapping_sub(asked_us);
    Some(if waited as i32 >= 0 { waited } else { 0 })
}
