//! Frames in batches that other threads may work on while the next ones are read.
//!
//! A batch says where its frames lie in bytes that it shares with the reader: a window of the mapped file, or the
//! buffer of a stream. Nothing is copied, and nothing is allocated once the batches and buffers in use are there:
//! a batch that comes back to `next_batch` brings its buffer. Pulling is the sequential part of an analysis, so it
//! does no more than walk the record headers.
//!
//! Frames and `End` are those that `for_each` gives. Each batch in use keeps at most one window or one buffer.

use std::ops::ControlFlow;

use super::source::Held;
use super::{End, FileError, FileReader, Format, Pause, Walk, walk};
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
    held: Held,
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

    /// The captured bytes of one of `frames`, from the link header on; none for a frame of another batch whose
    /// place this one does not have.
    #[inline]
    pub fn bytes(&self, frame: &FrameMeta) -> &[u8] {
        let rest = usize::try_from(frame.offset).ok().and_then(|offset| self.held.bytes().get(offset..));
        rest.and_then(|rest| rest.get(..frame.captured_len as usize)).unwrap_or_default()
    }

    /// Frame number `index`, from 0.
    ///
    /// # Panics
    /// If there is no such frame.
    #[inline]
    pub fn frame(&self, index: usize) -> CapturedFrame<'_> {
        let frame = &self.frames[index];
        let FrameMeta { ts_ns, dlt, link, wire_len, .. } = *frame;
        CapturedFrame { ts_ns, dlt, link, wire_len, bytes: self.bytes(frame) }
    }
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
            let Walk { len, pause } = match &mut self.format {
                Format::Pcap(pcap) => walk(bytes, |bytes| pcap.step(bytes), &mut each),
                Format::Pcapng(pcapng) => walk(bytes, |bytes| pcapng.step(bytes), &mut each),
            };
            self.source.consume(len);
            if !frames.is_empty() {
                *held = self.source.hold();
            }
            match pause {
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
