//! The memory shared with the kernel: chunks for frames, and the rings that pass them to and fro.
//!
//! Each ring has one producer and one consumer. Who owns a chunk is decided by the rings alone: from taking a
//! descriptor out of the RX ring until its address is put into the fill ring a chunk is ours and nobody writes to it.
#![expect(unsafe_code, reason = "memory that the kernel writes while we hold it; every other file is safe")]

use std::io;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU32, Ordering};

use memmap2::{MmapMut, MmapOptions, MmapRaw};
use rustix::net::xdp::{XdpDesc, XdpRingFlags, XdpRingOffset};

/// Chunks of one size, a power of two.
pub(super) struct Chunks {
    memory: MmapMut,
    chunk_bytes: u32,
}

impl Chunks {
    pub(super) fn new(chunks: u32, chunk_bytes: u32) -> io::Result<Self> {
        let bytes = chunks as usize * chunk_bytes as usize;
        // Populated now: memory at the start is memory at the peak.
        let memory = MmapOptions::new().len(bytes).populate().map_anon()?;
        Ok(Self { memory, chunk_bytes })
    }

    pub(super) fn address(&self) -> u64 {
        self.memory.as_ptr() as u64
    }

    pub(super) fn bytes(&self) -> usize {
        self.memory.len()
    }

    /// The chunk that holds this address.
    pub(super) const fn chunk_of(&self, address: u64) -> u64 {
        address & !(self.chunk_bytes as u64 - 1)
    }

    /// The frame of a descriptor that was taken from the RX ring and whose chunk was not given back; empty where the
    /// kernel would have put it outside of the memory.
    pub(super) fn frame(&self, desc: &XdpDesc) -> &[u8] {
        let (start, len) = (desc.addr as usize, desc.len as usize);
        if start.checked_add(len).is_none_or(|end| end > self.memory.len()) {
            return &[];
        }
        // SAFETY: inside the mapping by the check. The chunk is ours: the caller borrows `self` until it is done with the
        // frame, and gives chunks back only after that.
        unsafe { std::slice::from_raw_parts(self.memory.as_ptr().add(start), len) }
    }
}

/// What a ring holds.
pub(super) trait Entry: Copy {}
impl Entry for XdpDesc {}
impl Entry for u64 {}

/// One side of a ring; the other is the kernel's.
pub(super) struct Ring<T> {
    memory: MmapRaw,
    offset: XdpRingOffset,
    mask: u32,
    /// Our side's position, which only we write.
    own: u32,
    /// The other side's, as last seen.
    seen: u32,
    entry: std::marker::PhantomData<T>,
}

impl<T: Entry> Ring<T> {
    /// Maps a ring of a socket; `entries` is what it was made with, `page_offset` says which.
    pub(super) fn map(
        socket: &impl AsRawFd,
        offset: XdpRingOffset,
        page_offset: u64,
        entries: u32,
    ) -> io::Result<Self> {
        let bytes = offset.desc as usize + entries as usize * size_of::<T>();
        let memory = MmapOptions::new().len(bytes).offset(page_offset).populate().map_raw(socket)?;
        Ok(Self { memory, offset, mask: entries - 1, own: 0, seen: 0, entry: std::marker::PhantomData })
    }

    fn word(&self, offset: u64) -> &AtomicU32 {
        // SAFETY: the kernel told the offset of an aligned 32-bit word inside the mapping, which lives as long as `self`;
        // both sides access it as an atomic.
        unsafe { AtomicU32::from_ptr(self.memory.as_mut_ptr().add(offset as usize).cast()) }
    }

    fn entry(&self, position: u32) -> *mut T {
        let index = (position & self.mask) as usize;
        self.memory.as_mut_ptr().wrapping_add(self.offset.desc as usize + index * size_of::<T>()).cast()
    }

    /// Whether the kernel wants a system call before it looks at this ring again.
    pub(super) fn needs_wakeup(&self) -> bool {
        let flags = self.offset.flags.map_or(0, |offset| self.word(offset).load(Ordering::Relaxed));
        flags & XdpRingFlags::XDP_RING_NEED_WAKEUP.bits() != 0
    }
}

/// Our side consumes.
impl Ring<XdpDesc> {
    /// Entries that the kernel has put in and that were not taken.
    pub(super) fn available(&mut self) -> u32 {
        if self.seen == self.own {
            self.seen = self.word(self.offset.producer).load(Ordering::Acquire);
        }
        self.seen.wrapping_sub(self.own)
    }

    /// Entry number `index` of the available ones.
    pub(super) fn get(&self, index: u32) -> XdpDesc {
        debug_assert!(index < self.seen.wrapping_sub(self.own));
        // SAFETY: the mask keeps the position inside the mapped entries; the kernel has written it before it moved its
        // producer, which `available` read with acquire, and does not write it again before `release`.
        unsafe { self.entry(self.own.wrapping_add(index)).read() }
    }

    /// Gives the first `count` available entries back to the kernel.
    pub(super) fn release(&mut self, count: u32) {
        self.own = self.own.wrapping_add(count);
        self.word(self.offset.consumer).store(self.own, Ordering::Release);
    }
}

/// Our side produces.
impl Ring<u64> {
    /// Puts an address in; [`Ring::submit`] shows it to the kernel. There is always room: the ring has as many entries
    /// as there are chunks.
    pub(super) fn put(&mut self, address: u64) {
        // SAFETY: the mask keeps the position inside the mapped entries; the kernel reads it only after `submit`.
        unsafe { self.entry(self.own).write(address) };
        self.own = self.own.wrapping_add(1);
    }

    /// Shows what was put in to the kernel.
    pub(super) fn submit(&self) {
        self.word(self.offset.producer).store(self.own, Ordering::Release);
    }
}
