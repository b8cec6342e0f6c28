//! A frame between `data` and `data_end`, read as the verifier wants it: check, then load.

use tidegauge_ebpf::frame::{Frame, Header};

/// Packet bounds as the kernel gave them.
#[derive(Clone, Copy)]
pub(crate) struct Wire {
    /// First byte.
    pub(crate) data: usize,
    /// Behind the last one.
    pub(crate) end: usize,
    /// 0, which the verifier does not know.
    pub(crate) zero: u32,
}

impl Wire {
    #[inline(always)]
    pub(crate) fn captured_len(self) -> u32 {
        (self.end - self.data) as u32
    }

    #[inline(always)]
    fn read<T: Copy>(self, offset: u32) -> Option<T> {
        let start = self.data + offset as usize;
        let mut stop = start + size_of::<T>();
        // Without this the optimizer compares against `end - size`, and the verifier allows no arithmetic on the
        // packet's end.
        // SAFETY: moves a register onto itself (an empty template would break the line table).
        unsafe { core::arch::asm!("{0} = {0}", inout(reg) stop, options(pure, nomem, nostack)) };
        if stop > self.end {
            return None;
        }
        // SAFETY: the check above keeps the read inside the packet, which the verifier proves again at load
        // time; packets have no alignment and any bytes are a valid integer.
        Some(unsafe { (start as *const T).read_unaligned() })
    }
}

/// Bytes of the packet that are there: only [`Wire::header`] makes one.
#[derive(Clone, Copy)]
pub(crate) struct Checked<const BYTES: usize> {
    start: usize,
}

impl<const BYTES: usize> Checked<BYTES> {
    #[inline(always)]
    fn read<T: Copy>(self, at: usize) -> T {
        // Known when compiled: no branch is left.
        assert!(at + size_of::<T>() <= BYTES);
        // SAFETY: `start` was checked to have `BYTES` bytes behind it in the packet, which the verifier proves again at
        // load time; packets have no alignment and any bytes are a valid integer.
        unsafe { ((self.start + at) as *const T).read_unaligned() }
    }
}

impl<const BYTES: usize> Header for Checked<BYTES> {
    #[inline(always)]
    fn u8(self, at: usize) -> u8 {
        self.read(at)
    }

    #[inline(always)]
    fn u16(self, at: usize) -> u16 {
        u16::from_be(self.read(at))
    }

    #[inline(always)]
    fn u32(self, at: usize) -> u32 {
        u32::from_be(self.read(at))
    }
}

impl Frame for Wire {
    type Header<const BYTES: usize> = Checked<BYTES>;

    #[inline(always)]
    fn header<const BYTES: usize>(self, offset: u32) -> Option<Checked<BYTES>> {
        let mut start = self.data + offset as usize;
        // One register for the check and all reads: the verifier ties what was checked to the register it was checked
        // for, not to an address that is computed again.
        // SAFETY: moves a register onto itself.
        unsafe { core::arch::asm!("{0} = {0}", inout(reg) start, options(pure, nomem, nostack)) };
        let mut stop = start + BYTES;
        // SAFETY: as above; see `read`.
        unsafe { core::arch::asm!("{0} = {0}", inout(reg) stop, options(pure, nomem, nostack)) };
        if stop > self.end {
            return None;
        }
        Some(Checked { start })
    }

    #[inline(always)]
    fn u8(self, offset: u32) -> Option<u8> {
        self.read(offset)
    }

    #[inline(always)]
    fn u16(self, offset: u32) -> Option<u16> {
        self.read(offset).map(u16::from_be)
    }

    #[inline(always)]
    fn u32(self, offset: u32) -> Option<u32> {
        self.read(offset).map(u32::from_be)
    }

    #[inline(always)]
    fn opaque(self, value: u32) -> u32 {
        let mut opaque = u64::from(value);
        // SAFETY: one XOR with 0. Written out, or the optimizer would fold two of them away.
        unsafe {
            core::arch::asm!("{0} ^= {1}", inout(reg) opaque, in(reg) u64::from(self.zero), options(pure, nomem, nostack));
        }
        opaque as u32
    }
}
