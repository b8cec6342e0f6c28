//! Frames in batches that other threads may work on while the next ones are read.
//!
//! A batch says where its frames lie in bytes that it shares with the reader: a window of the mapped file, or the
//! buffer of a stream. Nothing is copied, and nothing is allocated once the batches and buffers in use are there:
//! a batch that comes back to `next_batch` brings its buffer. Pulling is the sequential part of an analysis, so it
//! does no more than walk the record headers.
//!
//! Live sources take their frames back at once: a batch of theirs has copies (`push`), in one buffer of its own.
//!
//! Frames and `End` are those that `for_each` gives. Each batch in use keeps at most one window (`WINDOW_BYTES`, or
//! one block if that is longer) or one buffer (`STREAM_READ_BYTES`), whatever the file.

use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use super::source::Held;
use super::walk::{Pause, Reach};
use super::{End, FileError, FileReader};
use crate::frame::CapturedFrame;
use tidegauge_ebpf::link::LinkType;

/// One frame of a batch, without its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameMeta {
    /// Nanoseconds since the Unix epoch, by the file's clock.
    pub ts_ns: u64,
    /// Where its bytes begin in what its batch keeps.
    pub offset: u64,
    /// How many bytes there are.
    pub captured_len: u32,
    /// Length on the wire, at least `captured_len`.
    pub wire_len: u32,
    /// DLT / LINKTYPE number of the interface the frame came from.
    pub dlt: u16,
    /// `dlt` as a link type we read, `None` where we do not.
    pub link: Option<LinkType>,
}

// Two of them in a cache line: a batch is written by one CPU and read by another.
const _: () = assert!(size_of::<FrameMeta>() == 32);

/// Some frames of one file, in the file's order, together with the bytes they lie in.
#[derive(Default)]
pub struct FrameBatch {
    frames: Vec<FrameMeta>,
    /// Contains the bytes of all `frames`.
    pub(super) held: Held,
}

impl FrameBatch {
    /// A batch of no frames. It allocates when it is first filled.
    pub fn new() -> Self {
        Self::default()
    }

    /// The frames.
    pub fn frames(&self) -> &[FrameMeta] {
        &self.frames
    }

    /// Whether there is no frame.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Drops the frames and gives back pages of a mapped file that nobody else uses. `next_batch` does that, too: this
    /// is for where it is called under a lock, which need not be held for it.
    pub fn clear(&mut self) {
        self.frames.clear();
        // A stream's buffer stays, to be filled again.
        match &mut self.held {
            Held::Window(_) => self.held = Held::Nothing,
            Held::Copied(bytes) => bytes.clear(),
            Held::Buffer(_) | Held::Nothing => {}
        }
    }

    /// Adds a copy of a frame, for sources that take theirs back at once. Not to be mixed with frames of a file.
    #[inline]
    pub fn push(&mut self, frame: &CapturedFrame<'_>) {
        let CapturedFrame { ts_ns, dlt, link, wire_len, bytes } = *frame;
        if let Held::Nothing = self.held {
            self.held = Held::Copied(Vec::new());
        }
        let Held::Copied(held) = &mut self.held else { return };
        let (offset, captured_len) = (held.len() as u64, bytes.len() as u32);
        held.extend_from_slice(bytes);
        self.frames.push(FrameMeta { ts_ns, offset, captured_len, wire_len, dlt, link });
    }

    /// Bytes that its frames lie in.
    pub fn held_bytes(&self) -> usize {
        self.held.bytes().len()
    }

    /// The captured bytes of one of `frames`, from the link header on; none for a frame of another batch whose
    /// place this one does not have.
    #[inline]
    pub fn bytes(&self, frame: &FrameMeta) -> &[u8] {
        bytes_in(self.held.bytes(), frame)
    }

    /// Frame number `index`, from 0.
    ///
    /// # Panics
    /// If there is no such frame.
    #[inline]
    pub fn frame(&self, index: usize) -> CapturedFrame<'_> {
        self.view().frame(index)
    }

    /// All frames in one look: where the bytes lie is found once.
    pub fn view(&self) -> FrameView<'_> {
        FrameView { frames: &self.frames, held: self.held.bytes() }
    }
}

/// The frames of a batch with the bytes they lie in.
#[derive(Clone, Copy)]
pub struct FrameView<'a> {
    frames: &'a [FrameMeta],
    held: &'a [u8],
}

impl<'a> FrameView<'a> {
    /// Frame number `index`, from 0.
    ///
    /// # Panics
    /// If there is no such frame.
    #[inline]
    pub fn frame(self, index: usize) -> CapturedFrame<'a> {
        self.captured(&self.frames[index])
    }

    /// The frames of these numbers, in order.
    ///
    /// # Panics
    /// If there are not so many.
    #[inline]
    pub fn frames(self, range: Range<usize>) -> impl Iterator<Item = CapturedFrame<'a>> {
        self.frames[range].iter().map(move |frame| self.captured(frame))
    }

    #[inline(always)]
    fn captured(self, frame: &FrameMeta) -> CapturedFrame<'a> {
        let FrameMeta { ts_ns, dlt, link, wire_len, .. } = *frame;
        CapturedFrame { ts_ns, dlt, link, wire_len, bytes: bytes_in(self.held, frame) }
    }
}

/// The bytes of a frame; none where they are not all there.
#[inline(always)]
fn bytes_in<'a>(held: &'a [u8], frame: &FrameMeta) -> &'a [u8] {
    let Ok(start) = usize::try_from(frame.offset) else { return &[] };
    // A sum that wraps ends before its start.
    match held.get(start..start.wrapping_add(frame.captured_len as usize)) {
        Some(bytes) => bytes,
        None => nowhere(),
    }
}

/// A call, so that the processor guesses instead of waiting for the comparison.
#[cold]
#[inline(never)]
const fn nowhere() -> &'static [u8] {
    &[]
}

impl FileReader {
    /// Replaces what is in `batch` with the next frames: `frames_max` (at least one), or fewer where the bytes at
    /// hand end, so that a slow stream is not waited for while there are frames. `None`: call again for more; the
    /// end comes with the last frames or with none. Fails only where the medium does; the batch is empty then.
    pub fn next_batch(
        &mut self,
        batch: &mut FrameBatch,
        frames_max: usize,
    ) -> Result<Option<End>, FileError> {
        let FrameBatch { frames, held } = batch;
        frames.clear();
        self.source.take_back(std::mem::take(held));
        loop {
            let bytes = self.source.bytes();
            let held_offset = self.source.held_offset();
            let mut each = |frame: CapturedFrame<'_>| {
                let offset = held_offset + (frame.bytes.as_ptr().addr() - bytes.as_ptr().addr());
                let CapturedFrame { ts_ns, dlt, link, wire_len, bytes } = frame;
                let captured_len = bytes.len() as u32;
                frames.push(FrameMeta { ts_ns, offset: offset as u64, captured_len, wire_len, dlt, link });
                if frames.len() < frames_max { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            };
            let walk = self.format.walk(bytes, Reach::of(&self.source), &mut each);
            self.source.consume(walk.len);
            if !frames.is_empty() {
                *held = self.source.hold();
                if held.is_grown() {
                    *held = moved(frames, held);
                }
            }
            match walk.pause {
                Pause::Broken(reason) => {
                    return Ok(Some(End::Broken { offset: self.source.offset(), reason }));
                }
                Pause::Short(_) | Pause::Stopped if !frames.is_empty() => return Ok(None),
                Pause::Short(short) if self.fill(short.need)? => {}
                Pause::Short(short) => return Ok(Some(self.end(short))),
                // Only ever behind a frame.
                Pause::Stopped => return Ok(None),
            }
        }
    }
}

/// The bytes of `frames` alone, in place of a buffer that grew for a record of many MiB: the reader needs one of
/// these, the batches must not have one each. A record that long has one frame, of `FRAME_BYTES_MAX` at most.
fn moved(frames: &mut [FrameMeta], from: &Held) -> Held {
    let mut bytes = Vec::new();
    for frame in frames {
        let begin = frame.offset as usize;
        frame.offset = bytes.len() as u64;
        bytes.extend_from_slice(&from.bytes()[begin..begin + frame.captured_len as usize]);
    }
    Held::Buffer(Arc::new(bytes))
}
