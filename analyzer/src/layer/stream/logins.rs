//! Segments of streams whose logins are read ([`super::super::login`]): each by itself, in the order in which they come.

use super::{Streams, direction, distance, end_of};
use crate::layer::login;
use crate::layer::message::StreamPart;
use crate::layer::slot::{Phase, flag};
use crate::layer::sums::LayerSums;
use crate::layer::turn::{Memory, Step, Turn};
use crate::layer::waits::Waits;

impl Streams {
    /// Whether the segment is one of these.
    #[inline]
    pub(super) fn is_of_logins(&self, part: &StreamPart<'_>) -> bool {
        let slot = self.slots.get(part.slot as usize);
        slot.is_some_and(|slot| slot.phase[direction(part)] == Phase::Login)
    }

    /// Reads what of a segment was not there before; what is missing before it stays so.
    pub(super) fn read_login(&mut self, part: &StreamPart<'_>, dns: &mut Waits, sums: &mut LayerSums) {
        let from = direction(part);
        self.release(part.slot, from);
        let Self { slots, details, passwords, .. } = self;
        let Some(slot) = slots.get_mut(part.slot as usize) else { return };
        let known = usize::try_from(distance(part.sequence, slot.next[from])).unwrap_or(0);
        slot.next[from] = end_of(part);
        let fresh = part.bytes.get(known..).unwrap_or_default();
        let memory = Memory { details, dns, passwords };
        if !fresh.is_empty() && login::segment(&mut Turn::of(slot, memory, part, sums), fresh) == Step::Over {
            slot.phase[from] = Phase::Done;
        }
    }

    /// Whether the server said in this slot what it thinks of a login, the same as before or not.
    pub(in crate::layer) fn has_login_answer(&self, slot: u32) -> bool {
        let slot = self.slots.get(slot as usize);
        slot.is_some_and(|slot| slot.protocol.is_some_and(login::is_read) && slot.has(flag::LOGIN_ANSWERED))
    }
}
