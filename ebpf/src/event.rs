//! What a TCP segment was and did, as bits of one word.
//!
//! A word and not an enum tree: it is tested bit by bit when it is counted, and most segments have few bits set.

use crate::frame::Frame;

/// First SYN of an attempt.
pub const ATTEMPTED: u32 = 1 << 0;
/// A waiting attempt was given up to make room for it.
pub const ATTEMPT_LOST: u32 = 1 << 1;
/// The same SYN again.
pub const SYN_AGAIN: u32 = 1 << 2;
/// First SYN-ACK of an attempt.
pub const ANSWERED: u32 = 1 << 3;
/// A SYN-ACK to no SYN that we know.
pub const ANSWERED_UNASKED: u32 = 1 << 4;
/// RST in place of an answer.
pub const REFUSED: u32 = 1 << 5;
/// RST after the answer, or by the initiator.
pub const ABORTED: u32 = 1 << 6;
/// The initiator's ACK of the answer.
pub const COMPLETED: u32 = 1 << 7;
/// The initiator's ACK, its answer unseen.
pub const COMPLETED_ONE_SIDED: u32 = 1 << 8;
/// Payload below the highest sequence number seen.
pub const RETRANSMIT_OR_REORDERED: u32 = 1 << 9;
/// Payload beyond the highest sequence number seen: a segment before it was not captured (yet).
pub const LOST_SEGMENT: u32 = 1 << 10;
/// Window field 0 on an established flow.
pub const ZERO_WINDOW: u32 = 1 << 11;
/// At most one byte just below the expected number.
pub const KEEP_ALIVE: u32 = 1 << 12;
/// A window of known scale: [`Outcome::rwnd_bytes`].
pub const RWND: u32 = 1 << 13;
/// A window whose scale is unknown, because its handshake was not seen.
pub const RWND_SCALE_UNKNOWN: u32 = 1 << 14;
/// A MiB was delivered: [`Outcome::transfer`].
pub const TRANSFER: u32 = 1 << 15;
/// The flow took a free slot.
pub const FLOW_ADMITTED: u32 = 1 << 16;
/// The flow took the slot of an unproven or silent one.
pub const FLOW_EVICTED: u32 = 1 << 17;
/// The flow found no slot.
pub const FLOW_REFUSED: u32 = 1 << 18;
/// The listener is the segment's source, not its destination.
pub const FROM_LISTENER: u32 = 1 << 19;
/// A handshake told who listens; otherwise it is the end with the lower port.
pub const LISTENER_KNOWN: u32 = 1 << 20;

/// A round trip by timestamps ends with it: [`Outcome::round_trip`].
pub const ECHO: u32 = 1 << 21;
/// A round trip by timestamps begins with it.
pub const PROBE: u32 = 1 << 22;
/// Its handshake's half was timed precisely: [`Outcome::round_trip`], with [`ANSWERED`] or [`COMPLETED`].
pub const HANDSHAKE_TRIP: u32 = 1 << 23;
/// A round trip by timestamps ends with it, and nobody knows when exactly.
pub const ECHO_UNTIMED: u32 = 1 << 24;
/// A SYN that crosses the other end's: a simultaneous open.
pub const SYN_CROSSED: u32 = 1 << 25;
/// With [`ANSWERED`]: the attempt was refused before.
pub const REFUSED_ANSWERED: u32 = 1 << 26;

/// Events of which most segments have none.
pub const RARE: u32 = !(RWND | RWND_SCALE_UNKNOWN | FROM_LISTENER | LISTENER_KNOWN | PROBE);

/// All that a TCP segment says, before it is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Bits above.
    pub events: u32,
    /// Stamp units from the SYN to this segment, with [`ANSWERED`] and `COMPLETED*`.
    pub elapsed: u32,
    /// Receive window in bytes, with [`RWND`].
    pub rwnd_bytes: u32,
    /// Stamp units the MiB took, with [`TRANSFER`].
    pub transfer: u32,
    /// Stamp units to the segment's sender and back, with [`ECHO`] or [`HANDSHAKE_TRIP`].
    pub round_trip: u32,
}

impl Outcome {
    /// Itself; the verifier then follows as one what led to different values, see [`Frame::opaque`].
    #[inline(always)]
    pub fn opaque<F: Frame>(self, frame: F) -> Self {
        Self {
            events: frame.opaque(self.events),
            elapsed: frame.opaque(self.elapsed),
            rwnd_bytes: frame.opaque(self.rwnd_bytes),
            transfer: frame.opaque(self.transfer),
            round_trip: frame.opaque(self.round_trip),
        }
    }

    /// Whether any of the `bits` is set.
    #[inline(always)]
    pub const fn has(&self, bits: u32) -> bool {
        self.events & bits != 0
    }
}
