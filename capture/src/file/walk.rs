//! From record to record over the bytes at hand: the loop that every frame of every file goes through.
//!
//! It ends because every record has a length (see `step`). Called by the two ways to get frames, `for_each` and
//! `next_batch`.

use std::ops::ControlFlow;

use super::Format;
use super::error::BrokenReason;
use super::limits::PREFETCH_AHEAD_BYTES;
use super::source::Source;
use super::step::{Short, Step};
use crate::frame::CapturedFrame;
use crate::memory::{CACHE_LINE_BYTES, prefetch};

/// Whether a walk asks for bytes ahead of those it looks at. Over a mapped file it does: a walk that looks at the first
/// bytes of each record leaves out what the CPU would recognise as reading in order, and waits for memory at every one of
/// long ones, and of short ones at every page.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    Ahead,
    Here,
}

impl Reach {
    pub(super) fn of(source: &Source) -> Self {
        // A stream's bytes are in the cache: they were just written there.
        if source.is_whole() { Self::Ahead } else { Self::Here }
    }
}

/// How far a walk over the bytes at hand came, and why not further.
pub(super) struct Walk {
    pub(super) len: usize,
    pub(super) pause: Pause,
}

pub(super) enum Pause {
    Broken(BrokenReason),
    Short(Short),
    Stopped,
}

impl Format {
    /// Takes record after record off `bytes` and calls `each` for every frame, until it breaks.
    #[inline]
    pub(super) fn walk<'a>(
        &mut self,
        bytes: &'a [u8],
        reach: Reach,
        each: &mut impl FnMut(CapturedFrame<'a>) -> ControlFlow<()>,
    ) -> Walk {
        match self {
            Self::Pcap(pcap) => walk(bytes, reach, |bytes| pcap.step(bytes), each),
            Self::Pcapng(pcapng) => walk(bytes, reach, |bytes| pcapng.step(bytes), each),
        }
    }
}

#[inline]
fn walk<'a>(
    bytes: &'a [u8],
    reach: Reach,
    mut step: impl FnMut(&'a [u8]) -> Step<'a>,
    each: &mut impl FnMut(CapturedFrame<'a>) -> ControlFlow<()>,
) -> Walk {
    let mut rest = bytes;
    let pause = loop {
        match step(rest) {
            Step::Broken(reason) => break Pause::Broken(reason),
            Step::Frame { frame, len } => {
                if reach == Reach::Ahead {
                    prefetch_ahead(rest, len);
                }
                rest = &rest[len..];
                if each(frame).is_break() {
                    break Pause::Stopped;
                }
            }
            Step::Short(short) => break Pause::Short(short),
            Step::Skip { len } => rest = &rest[len..],
        }
    };
    Walk { len: bytes.len() - rest.len(), pause }
}

/// Asks for as many bytes as the record at the start of `bytes` has, some way ahead of it: all of them, because
/// where the next records begin is not known yet.
#[inline]
fn prefetch_ahead(bytes: &[u8], len: usize) {
    // One line a turn, and no iterator: unrolled, the loop costs more in wrong guesses at its end than it saves.
    let mut at = PREFETCH_AHEAD_BYTES;
    while at < PREFETCH_AHEAD_BYTES + len {
        if let Some(place) = bytes.get(at) {
            prefetch(place);
        }
        at += CACHE_LINE_BYTES;
    }
}
