//! The book beside pinned tables: whose they are, how they are laid out, and up to where their counts were handed on.
//!
//! It is a BPF map of one entry, so that it lives and dies with the pins; mapped, so that keeping it costs no system
//! call and no right. One process writes it at a time (the pins are locked). What was told is kept twice, and a number
//! says which copy counts: a writer that is killed in between leaves the other one whole.
#![expect(unsafe_code, reason = "volatile access to memory shared with processes before and after this one")]

use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::atomic::{Ordering, fence};

use aya::maps::{Array, MapData};
use memmap2::{MmapOptions, MmapRaw};
use tidegauge_ebpf::counter::Counters;

use crate::xdp::attach::Mode;
use crate::xdp::error::one_line;

/// Size of the entry, with room for more counters.
const BOOK_BYTES: usize = 7 * 4096;
/// `BPF_F_MMAPABLE`.
const MMAPABLE: u32 = 1 << 10;
/// A book that was begun and not finished lacks it.
const MAGIC: u64 = u64::from_le_bytes(*b"tidegaug");
/// Bytes of a text; longer ones are cut.
const TEXT_BYTES: usize = 256;
/// Where the parts begin.
const HEADER_AT: usize = 0;
const CURRENT_AT: usize = 1024;
const TOLD_AT: [usize; 2] = [1024 + 64, 1024 + 64 + 13 * 1024];

/// Whose the pins are.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// [`MAGIC`], written last.
    magic: u64,
    /// Seed of the hashes by which the tables are filled.
    pub(super) seed: u64,
    /// Inode of the network namespace.
    pub(super) namespace: u64,
    /// 1 where XDP runs in generic mode.
    generic: u32,
    /// [`crate::xdp::clsact::Clsact::position`] of the egress filter, 0 where there is none.
    pub(super) clsact: u32,
    /// See [`super::layout`].
    layout: [u8; TEXT_BYTES],
    /// Why generic.
    why: [u8; TEXT_BYTES],
}

/// What was handed on, as the sum over all CPUs since the tables were made.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// All totals.
    pub totals: Counters,
    /// Until when, nanoseconds since the epoch; 0 where nothing was told yet.
    pub end_ns: u64,
}

const _: () = assert!(size_of::<Header>() <= CURRENT_AT && size_of::<Told>() <= TOLD_AT[1] - TOLD_AT[0]);
const _: () = assert!(TOLD_AT[1] + size_of::<Told>() <= BOOK_BYTES && BOOK_BYTES.is_multiple_of(4096));
const _: () =
    assert!(TOLD_AT[0].is_multiple_of(align_of::<Told>()) && TOLD_AT[1].is_multiple_of(align_of::<Told>()));

impl Header {
    pub(super) fn new(layout: &str, mode: &Mode) -> Self {
        let (generic, why) = match mode {
            Mode::Generic { why } => (1, why.as_str()),
            Mode::Native => (0, ""),
        };
        let (layout, why) = (bytes(layout), bytes(why));
        Self { magic: MAGIC, seed: 0, namespace: 0, generic, clsact: 0, layout, why }
    }

    pub(super) fn layout(&self) -> String {
        text(&self.layout)
    }

    pub(super) fn mode(&self) -> Mode {
        if self.generic == 0 { Mode::Native } else { Mode::Generic { why: text(&self.why) } }
    }
}

/// The open book.
pub(super) struct Book {
    memory: MmapRaw,
}

impl Book {
    /// Makes an empty one and pins it.
    pub(super) fn create(path: &Path) -> Result<Self, String> {
        let map = Array::<_, [u8; BOOK_BYTES]>::create(1, MMAPABLE).map_err(|error| one_line(&error))?;
        map.pin(path).map_err(|error| one_line(&error))?;
        Self::open(path)
    }

    /// Opens the one that is pinned.
    pub(super) fn open(path: &Path) -> Result<Self, String> {
        let data = MapData::from_pin(path).map_err(|error| one_line(&error))?;
        let info = data.info().map_err(|error| one_line(&error))?;
        if info.value_size() as usize != BOOK_BYTES || info.map_flags() & MMAPABLE == 0 {
            return Err(format!("it is another version's ({} bytes)", info.value_size()));
        }
        let map = |error: io::Error| format!("mmap: {error}");
        let memory = MmapOptions::new().len(BOOK_BYTES).map_raw(&data.fd().as_fd()).map_err(map)?;
        Ok(Self { memory })
    }

    /// The header, if the book was finished.
    pub(super) fn header(&self) -> Option<Header> {
        let header: Header = self.read(HEADER_AT);
        (header.magic == MAGIC).then_some(header)
    }

    /// Finishes the book, or turns its page: the next reader takes these pins for what the header says.
    pub(super) fn sign(&self, header: &Header) {
        self.write(HEADER_AT, Header { magic: 0, ..*header });
        fence(Ordering::Release);
        self.write(HEADER_AT, header.magic);
    }

    /// What was told last.
    pub(super) fn told(&self) -> Told {
        let current: u64 = self.read(CURRENT_AT);
        self.read(TOLD_AT[usize::from(current % 2 == 1)])
    }

    /// Notes what has been told by now.
    pub(super) fn tell(&self, told: &Told) {
        let next = self.read::<u64>(CURRENT_AT).wrapping_add(1);
        self.write(TOLD_AT[usize::from(next % 2 == 1)], *told);
        // A process that dies between the two leaves the copy before: its stores are seen in this order.
        fence(Ordering::Release);
        self.write(CURRENT_AT, next);
    }

    fn read<T: Copy>(&self, offset: usize) -> T {
        assert!(offset + size_of::<T>() <= self.memory.len());
        // SAFETY: within the mapping (asserted), which is page-aligned, at offsets that are multiples of `T`'s
        // alignment (asserted where they are defined); every `T` here consists of integers, valid with any bits.
        unsafe { self.memory.as_ptr().add(offset).cast::<T>().read_volatile() }
    }

    fn write<T: Copy>(&self, offset: usize, value: T) {
        assert!(offset + size_of::<T>() <= self.memory.len());
        // SAFETY: as for `read`; the mapping is writable, and no reference into it exists.
        unsafe { self.memory.as_mut_ptr().add(offset).cast::<T>().write_volatile(value) }
    }
}

fn bytes(text: &str) -> [u8; TEXT_BYTES] {
    let mut bytes = [0; TEXT_BYTES];
    let length = text.floor_char_boundary(TEXT_BYTES);
    bytes[..length].copy_from_slice(&text.as_bytes()[..length]);
    bytes
}

fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_at_a_letter() {
        assert_eq!(text(&bytes("why")), "why");
        let long = "ü".repeat(TEXT_BYTES);
        assert_eq!(text(&bytes(&long)), "ü".repeat(TEXT_BYTES / 2));
    }
}
