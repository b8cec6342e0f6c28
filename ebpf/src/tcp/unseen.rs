//! ACKs of what was not captured, and the count of duplicate ACKs that keeps them from being told again and again.

use super::connection::{Direction, STALLED, state};
use super::mark;
use crate::packet::Segment;
use crate::sequence::is_after;

/// Counts a duplicate ACK of `own`; returns its number.
#[inline(always)]
pub(super) fn one_more_duplicate(own: &mut Direction) -> u16 {
    own.duplicate_acks = match own.duplicate_acks {
        STALLED => 1,
        counted => (counted + 1).min(STALLED - 1),
    };
    own.duplicate_acks
}

/// Whether it acknowledges what was not captured; said once until more of it is captured, or until that end has itself
/// acknowledged something new.
#[inline(always)]
pub(super) fn unseen(own: &Direction, peer: &mut Direction, segment: &Segment) -> u32 {
    if peer.state & state::SENT == 0 || !is_after(segment.acknowledgment, peer.contiguous) {
        return 0;
    }
    let one_more = segment.acknowledgment == own.last_acknowledgment.wrapping_add(1);
    if one_more && segment.sequence == own.next_sequence && peer.state & state::PROBE != 0 {
        // The window opens, and the probe's byte was taken.
        (peer.next_sequence, peer.contiguous) = (segment.acknowledgment, segment.acknowledgment);
        return mark::WINDOW_UPDATE;
    }
    if is_after(peer.next_sequence, peer.contiguous) {
        peer.contiguous = peer.next_sequence;
        return mark::ACKED_UNSEEN;
    }
    // Nothing of it was captured, and nothing may follow for a while: this ACK and those after it are about the same.
    let said = peer.duplicate_acks != 0;
    peer.duplicate_acks = STALLED;
    if said { 0 } else { mark::ACKED_UNSEEN }
}
