//! Round trips by TCP timestamps (RFC 7323): from the first segment with a timestamp that carries payload to the first
//! one that echoes it (Nichols' passive ping). One is timed per connection at a time.
//!
//! The state lies in its owner's spare bytes ([`crate::judge::Flow`], [`crate::tcp::connection::Connection`]).

use crate::event::{self, Outcome};
use crate::flow::Side;
use crate::limits::PROBE_TIMEOUT;
use crate::packet::Segment;
use crate::stamp::{Moment, Stamp};

/// [`Probe::flags`]: a round trip is being timed.
pub(crate) const PROBING: u8 = 0x10;
/// [`Probe::flags`]: the segment that began it was sent by the side with the higher hash.
const PROBE_HIGH: u8 = 0x20;

/// Where the owner keeps the state.
pub(crate) struct Probe<'a> {
    /// Two bits of it.
    pub(crate) flags: &'a mut u8,
    /// When the segment passed whose echo is waited for; meaningful with [`PROBING`].
    pub(crate) at: &'a mut Stamp,
    /// Lowest bits of that segment's timestamp.
    pub(crate) timestamp: &'a mut u16,
}

impl Probe<'_> {
    /// What a segment with timestamps means: [`event::ECHO`] where it ends a round trip, [`event::PROBE`] where one may
    /// begin with it. `last` has the lowest bits of the sender's last timestamp. [`Probe::time`] then takes the times.
    #[inline(always)]
    pub(crate) fn match_timestamps(
        self,
        last: &mut u8,
        sender: Side,
        segment: &Segment,
        now: Stamp,
        outcome: &mut Outcome,
    ) {
        let from_high = if sender as u8 != 0 { PROBE_HIGH } else { 0 };
        if *self.flags & PROBING != 0 && *self.flags & PROBE_HIGH != from_high {
            let behind = (segment.echo as u16).wrapping_sub(*self.timestamp);
            if behind == 0 {
                outcome.events |= event::ECHO;
                *self.flags &= !PROBING;
            } else if behind < 1 << 15 {
                // A later one was echoed: this one never will be.
                *self.flags &= !PROBING;
            }
        }
        let first = *last != segment.timestamp as u8;
        *last = segment.timestamp as u8;
        let free = *self.flags & PROBING == 0 || now.since(*self.at) > PROBE_TIMEOUT;
        if first && free && segment.payload_bytes != 0 {
            outcome.events |= event::PROBE;
        }
    }

    /// Takes the time of what [`Probe::match_timestamps`] found.
    #[inline(always)]
    pub(crate) fn time(self, sender: Side, segment: &Segment, at: Moment, outcome: &mut Outcome) {
        if outcome.has(event::ECHO) {
            outcome.round_trip = at.stamp.since(*self.at);
        }
        if !at.precise {
            let untimed = if outcome.has(event::ECHO) { event::ECHO_UNTIMED } else { 0 };
            outcome.events = (outcome.events & !event::ECHO) | untimed;
        } else if outcome.has(event::PROBE) {
            *self.at = at.stamp;
            *self.timestamp = segment.timestamp as u16;
            let high = if sender as u8 != 0 { PROBE_HIGH } else { 0 };
            *self.flags = (*self.flags & !PROBE_HIGH) | PROBING | high;
        }
    }
}
