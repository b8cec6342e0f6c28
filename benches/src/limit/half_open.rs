//! SYNs that nobody has answered yet: a cache of fixed size, four 16-byte entries per cache line, oldest out.
//!
//! 16 MiB hold a million of them; what is pushed out early is counted. A flood costs this and nothing else.

use std::io;

use bytemuck::{Pod, Zeroable};

use super::packet::Packet;
use crate::memory::HugeArray;

const LINES: usize = 1 << 18;

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Entry {
    /// Zero: empty.
    key: u64,
    at_us: u32,
    seq: u32,
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
pub(super) struct Line([Entry; 4]);

pub(super) struct HalfOpen {
    lines: HugeArray<Line>,
    evicted: u64,
}

impl HalfOpen {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { lines: HugeArray::zeroed(LINES)?, evicted: 0 })
    }

    #[inline]
    pub(super) fn line(&self, key: u64) -> &Line {
        &self.lines.items()[index(key)]
    }

    /// Remembers a SYN; true where it is a retransmission of one already here.
    #[inline]
    pub(super) fn insert(&mut self, packet: &Packet) -> bool {
        let entries = &mut self.lines.items_mut()[index(packet.key)].0;
        if entries.iter().any(|entry| entry.key == packet.key && entry.seq == packet.seq) {
            return true;
        }
        let age_us = |entry: &Entry| match entry.key {
            0 => u32::MAX,
            _ => packet.at_us.wrapping_sub(entry.at_us),
        };
        if let Some(oldest) = entries.iter_mut().max_by_key(|entry| age_us(entry)) {
            self.evicted += u64::from(oldest.key != 0);
            *oldest = Entry { key: packet.key, at_us: packet.at_us, seq: packet.seq };
        }
        false
    }

    /// Removes the SYN of a flow that was answered; returns when it was first asked for.
    #[inline]
    pub(super) fn take(&mut self, key: u64) -> Option<u32> {
        let entries = &mut self.lines.items_mut()[index(key)].0;
        let entry = entries.iter_mut().find(|entry| entry.key == key)?;
        let at_us = entry.at_us;
        *entry = Entry::zeroed();
        Some(at_us)
    }

    pub(super) fn evicted(&self) -> u64 {
        self.evicted
    }
}

#[inline]
fn index(key: u64) -> usize {
    (key >> 32) as usize & (LINES - 1)
}
