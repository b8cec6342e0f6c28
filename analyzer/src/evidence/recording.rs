//! The file of one incident: what is in it, what waits to be written, and what did not fit.

use std::io;

use tidegauge_capture::frame::CapturedFrame;

use super::anonymise::Anonymiser;
use super::concern::Concern;
use super::pcapng::{self, PacketBlock};
use super::store::Slot;

/// Interfaces of a file: each link type is one, and a capture may be hostile.
const INTERFACES_MAX: usize = 64;

/// How packets are written.
pub(super) struct Pen {
    /// Bytes that are kept of a frame.
    pub(super) snap_bytes: u32,
    /// Bytes at which a file is full.
    pub(super) full_at: u64,
    /// Who replaces addresses.
    pub(super) anonymiser: Option<Anonymiser>,
    /// The frame whose addresses are being replaced.
    pub(super) scratch: Vec<u8>,
}

impl Pen {
    /// The bytes of a frame that are written.
    fn bytes<'a>(&'a mut self, frame: &CapturedFrame<'a>) -> &'a [u8] {
        let (Some(anonymiser), Some(link)) = (&self.anonymiser, frame.link) else { return frame.bytes };
        self.scratch.clear();
        self.scratch.extend_from_slice(frame.bytes);
        let kept = anonymiser.frame(&mut self.scratch, link).min(self.scratch.len());
        &self.scratch[..kept]
    }
}

/// An incident's file.
pub(super) struct Recording {
    pub(super) id: String,
    pub(super) concern: Concern,
    pub(super) slot: Slot,
    /// When it closed.
    pub(super) closed_ns: Option<u64>,
    /// Packets that still fit.
    pub(super) room: usize,
    /// Link types by the number of their interface.
    pub(super) interfaces: Vec<u16>,
    /// What waits to be written, and how many packets that is.
    pub(super) buffer: Vec<u8>,
    pub(super) waiting: u64,
    /// What is said of the next packet.
    pub(super) comment: Option<String>,
    pub(super) packets: u64,
    pub(super) not_kept: u64,
    /// Bytes written and waiting.
    pub(super) bytes: u64,
    pub(super) first_last_ns: Option<(u64, u64)>,
    pub(super) fault: Option<String>,
}

impl Recording {
    /// A file that has nothing yet, for so many packets.
    pub(super) const fn new(id: String, concern: Concern, slot: Slot, room: usize) -> Self {
        Self {
            id,
            concern,
            slot,
            closed_ns: None,
            room,
            interfaces: Vec::new(),
            buffer: Vec::new(),
            waiting: 0,
            comment: None,
            packets: 0,
            not_kept: 0,
            bytes: 0,
            first_last_ns: None,
            fault: None,
        }
    }

    /// Adds a packet, if it fits.
    pub(super) fn add(&mut self, frame: &CapturedFrame<'_>, pen: &mut Pen) -> bool {
        let size = frame.bytes.len() as u64 + pcapng::PACKET_OVERHEAD_BYTES;
        let Some(interface) = self.interface(frame.dlt, pen.snap_bytes) else { return self.refuse() };
        if self.room == 0 || self.bytes + size > pen.full_at || self.fault.is_some() {
            return self.refuse();
        }
        let bytes = pen.bytes(frame);
        let comment = self.comment.take();
        let CapturedFrame { ts_ns, wire_len, .. } = *frame;
        let before = self.buffer.len();
        let block = PacketBlock { interface, ts_ns, wire_len, bytes, comment: comment.as_deref() };
        pcapng::packet(&mut self.buffer, &block);
        self.bytes += (self.buffer.len() - before) as u64;
        self.room -= 1;
        self.packets += 1;
        self.waiting += 1;
        let (first, last) = self.first_last_ns.unwrap_or((ts_ns, ts_ns));
        self.first_last_ns = Some((first.min(ts_ns), last.max(ts_ns)));
        true
    }

    const fn refuse(&mut self) -> bool {
        self.not_kept += 1;
        false
    }

    /// The number of the interface with this link type; a new one is described first.
    fn interface(&mut self, dlt: u16, snap_bytes: u32) -> Option<u32> {
        let known = self.interfaces.iter().position(|known| *known == dlt);
        if known.is_none() && self.interfaces.len() < INTERFACES_MAX {
            let before = self.buffer.len();
            pcapng::interface(&mut self.buffer, dlt, snap_bytes);
            self.bytes += (self.buffer.len() - before) as u64;
            self.interfaces.push(dlt);
            return Some(self.interfaces.len() as u32 - 1);
        }
        known.map(|place| place as u32)
    }

    /// So many bytes with so many packets could not be written.
    pub(super) fn fail(&mut self, error: &io::Error, bytes: u64, packets: u64) {
        self.fault = Some(error.to_string());
        self.bytes -= bytes;
        self.packets -= packets;
        self.not_kept += packets;
    }
}
