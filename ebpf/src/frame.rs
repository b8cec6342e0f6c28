//! Reading hostile bytes: the one trait through which `parse` sees a frame, in the kernel and in userspace.
//!
//! Every read is bounds-checked and says `None` past the captured end; no read can panic. The kernel's
//! implementation (over `data`/`data_end`) is in the BPF program; this file has the one over a slice.

/// The bytes of a header that are known to be there: read at fixed places, without another check. Integers are in
/// network byte order. A place behind the end is a mistake in our program, not in the frame.
pub trait Header: Copy {
    /// The byte at `at`.
    fn u8(self, at: usize) -> u8;
    /// Two bytes at `at`.
    fn u16(self, at: usize) -> u16;
    /// Four bytes at `at`.
    fn u32(self, at: usize) -> u32;
}

/// A frame that can be read at any offset. Integers are in network byte order.
pub trait Frame: Copy {
    /// So many of its bytes.
    type Header<const BYTES: usize>: Header;

    /// The bytes from `offset` on, if all were captured: one check for a whole header.
    fn header<const BYTES: usize>(self, offset: u32) -> Option<Self::Header<BYTES>>;
    /// The byte at `offset`.
    fn u8(self, offset: u32) -> Option<u8>;
    /// Two bytes at `offset`.
    fn u16(self, offset: u32) -> Option<u16>;
    /// Four bytes at `offset`.
    fn u32(self, offset: u32) -> Option<u32>;

    /// `value` itself. In the kernel it also makes the verifier forget what it knows of the value, so that the
    /// paths that led to different ones are followed as one from here on.
    #[inline(always)]
    fn opaque(self, value: u32) -> u32 {
        value
    }
}

impl<const BYTES: usize> Header for &[u8; BYTES] {
    #[inline(always)]
    fn u8(self, at: usize) -> u8 {
        self[at]
    }

    #[inline(always)]
    fn u16(self, at: usize) -> u16 {
        u16::from_be_bytes([self[at], self[at + 1]])
    }

    #[inline(always)]
    fn u32(self, at: usize) -> u32 {
        u32::from_be_bytes([self[at], self[at + 1], self[at + 2], self[at + 3]])
    }
}

impl<'a> Frame for &'a [u8] {
    type Header<const BYTES: usize> = &'a [u8; BYTES];

    #[inline(always)]
    fn header<const BYTES: usize>(self, offset: u32) -> Option<&'a [u8; BYTES]> {
        self.get(offset as usize..)?.first_chunk()
    }

    #[inline(always)]
    fn u8(self, offset: u32) -> Option<u8> {
        self.get(offset as usize).copied()
    }

    #[inline(always)]
    fn u16(self, offset: u32) -> Option<u16> {
        self.get(offset as usize..)?.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))
    }

    #[inline(always)]
    fn u32(self, offset: u32) -> Option<u32> {
        self.get(offset as usize..)?.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
    }
}
