//! The common language of the two formats: bytes at the cursor in, one `Step` out; and reading integers.
//!
//! Invariants every `step` function keeps, and the reader relies on:
//! `Frame` and `Skip` have `0 < len <= bytes.len()`; `Short` needs more than `bytes.len()` and at most
//! `BLOCK_BYTES_MAX`; so reading ends. A header is judged only when all of it is there, and `Frame`, `Short` and
//! `Broken` may be asked for again; so the pieces in which bytes arrive do not show in what is read.

use super::error::{BrokenReason, CutReason};
use crate::frame::CapturedFrame;

/// What the bytes at the cursor are.
pub(super) enum Step<'a> {
    Broken(BrokenReason),
    /// A record of `len` bytes with one frame.
    Frame {
        frame: CapturedFrame<'a>,
        len: usize,
    },
    Short(Short),
    /// A record of `len` bytes without a frame.
    Skip {
        len: usize,
    },
}

/// More bytes are needed to tell: `need` in all, from the cursor on.
#[derive(Clone, Copy)]
pub(super) struct Short {
    pub(super) need: usize,
    pub(super) part: Part,
}

/// The part of a record that is incomplete.
#[derive(Clone, Copy)]
pub(super) enum Part {
    Header,
    Whole,
}

impl Short {
    /// The reason to report when no more than `present` bytes are to be had.
    pub(super) fn cut(self, present: usize) -> CutReason {
        match self.part {
            Part::Header => CutReason::RecordHeader(present, self.need),
            Part::Whole => CutReason::Record(present, self.need),
        }
    }
}

/// Byte order of a file's own numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Endian {
    Big,
    Little,
}

impl Endian {
    #[inline]
    pub(super) fn u16(self, bytes: [u8; 2]) -> u16 {
        match self {
            Self::Big => u16::from_be_bytes(bytes),
            Self::Little => u16::from_le_bytes(bytes),
        }
    }

    #[inline]
    pub(super) fn u32(self, bytes: [u8; 4]) -> u32 {
        match self {
            Self::Big => u32::from_be_bytes(bytes),
            Self::Little => u32::from_le_bytes(bytes),
        }
    }

    #[inline]
    pub(super) fn i64(self, bytes: [u8; 8]) -> i64 {
        match self {
            Self::Big => i64::from_be_bytes(bytes),
            Self::Little => i64::from_le_bytes(bytes),
        }
    }

    /// Both halves of a word, the first in the file first.
    #[inline]
    pub(super) fn u16_pair(self, [a, b, c, d]: [u8; 4]) -> (u16, u16) {
        (self.u16([a, b]), self.u16([c, d]))
    }
}

/// The first `N` 32-bit words of `bytes`, in file order; `None` where there are fewer. Headers of both formats
/// are whole words, so destructuring this array is the one length check each of them needs.
#[inline]
pub(super) fn words<const N: usize>(bytes: &[u8]) -> Option<[[u8; 4]; N]> {
    bytes.as_chunks::<4>().0.first_chunk::<N>().copied()
}
