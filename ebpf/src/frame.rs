//! Reading hostile bytes: the one trait through which `parse` sees a frame, in the kernel and in userspace.
//!
//! Every read is bounds-checked and says `None` past the captured end; no read can panic. The kernel's
//! implementation (over `data`/`data_end`) is in the BPF program; this file has the one over a slice.

/// A frame that can be read at any offset. Integers are in network byte order.
pub trait Frame: Copy {
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

impl Frame for &[u8] {
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
