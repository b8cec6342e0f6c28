//! What others ask of a slot: its record, its protocol, and whether a request's head waits.

use super::Streams;
use crate::layer::record::{AppRecord, Protocol};
use crate::layer::slot::{Phase, TTFB_NONE, TTFB_UNKNOWN, flag};

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

    /// Remembers in the slot whether a head waits: it does so too where its buffer went to another, of which there are
    /// fewer than there are heads in an attack.
    pub(super) fn note_head(&mut self, slot: u32) {
        let Some(slot) = self.slots.get_mut(slot as usize) else { return };
        if slot.protocol != Some(Protocol::Http) {
            return;
        }
        let waited = slot.flags & flag::HEAD_WAITS != 0;
        let waits = match slot.phase[0] {
            Phase::HttpHead => slot.buffer[0] != 0,
            Phase::Lost => waited,
            _ => false,
        };
        slot.flags = slot.flags & !flag::HEAD_WAITS | if waits { flag::HEAD_WAITS } else { 0 };
    }
}
