//! What kept a sender from sending: its application, the receiver's window, or the network.
//!
//! Each silence between two payload segments of one direction is given to one of the three, after Siekkinen et al.,
//! "A root cause analysis toolkit for TCP", Computer Networks 52 (2008), reduced to what one pass tells:
//! - once everything sent is acknowledged, and the last segment had PSH as the end of what was written has (RFC 9293
//!   section 3.9.1.2), nothing but the application keeps a sender back; the time since that ACK is the application's.
//!   Without PSH there was more to send, and it waited below: in a queue of the sender's own host, for its pacing;
//! - the time before it is the receiver's where the last segment went up to its window (within one full segment);
//! - all the rest is the network's: bandwidth, congestion window, queues, loss.

use super::connection::{Details, Direction, elapsed_us, state};
use crate::limits::SENDER_SEGMENT_BYTES;

/// Gives the `silence_us` before a payload segment of `own` to those who caused it.
#[inline(always)]
pub(super) fn attribute(
    own: &Direction,
    details: &mut Details,
    peer: &Direction,
    silence_us: u32,
    now_us: u32,
    all_acknowledged: bool,
) {
    let nothing_to_send = all_acknowledged && own.state & state::PUSHED != 0;
    let application_us = if nothing_to_send { elapsed_us(now_us, peer.last_us).min(silence_us) } else { 0 };
    let waiting_us = silence_us - application_us;
    if own.state & state::BLOCKED != 0 {
        details.spend(application_us, waiting_us, 0);
    } else {
        details.spend(application_us, 0, waiting_us);
    }
}

/// [`state::BLOCKED`] where a sender that has sent up to `end` has no room for another full segment.
#[inline(always)]
pub(super) fn blocked(peer: &Direction, end: u32) -> u16 {
    if peer.state & state::ACKED == 0 || peer.shift_unknown() {
        return 0;
    }
    let window_end = peer.last_acknowledgment.wrapping_add(peer.rwnd_bytes());
    let room = window_end.wrapping_sub(end) as i32;
    if room < SENDER_SEGMENT_BYTES as i32 { state::BLOCKED } else { 0 }
}
