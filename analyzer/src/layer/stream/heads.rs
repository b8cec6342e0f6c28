//! What others ask of a slot: its record, its protocol, and whether a request's head waits, or its body comes in pieces.

use super::{Streams, distance, end_of};
use crate::fact::{Fact, Facts};
use crate::layer::message::StreamPart;
use crate::layer::record::{AppRecord, Protocol};
use crate::layer::slot::{Phase, TTFB_NONE, TTFB_UNKNOWN, flag};

/// Payload of a part of a request's body below which it is a piece: whoever has more to send fills segments.
pub(super) const PIECE_BYTES: u32 = 256;

impl Streams {
    pub(in crate::layer) fn app(&self, slot: u32) -> Option<AppRecord> {
        let slot = self.slots.get(slot as usize)?;
        let ttfb_us = (!matches!(slot.ttfb_us, TTFB_NONE | TTFB_UNKNOWN)).then_some(slot.ttfb_us);
        if slot.protocol.is_none() && ttfb_us.is_none() {
            return None;
        }
        let is = |protocol| slot.protocol == Some(protocol);
        Some(AppRecord {
            protocol: slot.protocol,
            ttfb_us,
            tls: self.details.tls.get(slot.detail).filter(|_| is(Protocol::Tls)).map(|tls| tls.record()),
            http: self.details.http.get(slot.detail).filter(|_| is(Protocol::Http)).map(|http| http.record()),
        })
    }

    pub(in crate::layer) fn protocol(&self, slot: u32) -> Option<Protocol> {
        self.slots.get(slot as usize)?.protocol
    }

    #[inline]
    pub(in crate::layer) fn waits_for_head(&self, slot: u32) -> bool {
        let slot = self.slots.get(slot as usize);
        slot.is_some_and(|slot| slot.protocol == Some(Protocol::Http) && slot.flags & flag::HEAD_WAITS != 0)
    }

    /// A part of what a request announced: one that is small and not the last is noted for as long as no larger
    /// one follows.
    #[cold]
    pub(super) fn note_piece(&mut self, part: &StreamPart<'_>, facts: &mut Facts) {
        let waited = self.waits_for_head(part.slot);
        let Some(slot) = self.slots.get_mut(part.slot as usize) else { return };
        if slot.phase[0] != Phase::HttpHead {
            return;
        }
        let is_last = distance(slot.next[0], end_of(part)) == 0;
        let is_piece = part.payload_bytes < PIECE_BYTES && !is_last;
        slot.flags = slot.flags & !flag::PIECES | if is_piece { flag::PIECES } else { 0 };
        self.note_head(part.slot);
        let waits = self.waits_for_head(part.slot);
        facts.set_if(waits && !waited, Fact::HeadOpened);
        facts.set_if(!waits && waited, Fact::HeadDone);
    }

    /// Remembers in the slot whether a head waits: it does so too where its buffer went to another, of which there are
    /// fewer than there are heads in an attack.
    pub(super) fn note_head(&mut self, slot: u32) {
        let Some(slot) = self.slots.get_mut(slot as usize) else { return };
        if slot.protocol != Some(Protocol::Http) {
            return;
        }
        let waited = slot.flags & flag::HEAD_WAITS != 0;
        if slot.extra[0] == 0 {
            // It was answered.
            slot.flags &= !flag::PIECES;
        }
        let waits = match slot.phase[0] {
            Phase::HttpHead => slot.buffer[0] != 0 || slot.has(flag::PIECES),
            Phase::Lost => waited,
            _ => false,
        };
        slot.flags = slot.flags & !flag::HEAD_WAITS | if waits { flag::HEAD_WAITS } else { 0 };
    }
}
