//! Where the bytes come from: a cursor over a mapped file, over memory, or over a stream.
//!
//! All have the same contract: `bytes` is what is at hand from the cursor on, `consume` moves the cursor within
//! it, `fill` makes more of it visible, and `hold` keeps what is visible now readable for somebody else, also
//! after the next `fill`. Resident memory is bounded by `WINDOW_BYTES` (mapped) or `STREAM_BUFFER_BYTES_MAX`, once
//! for the source and once for each place that holds on to another part.

use std::io::{self, Read};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::limits::{STREAM_BUFFER_BYTES_MAX, STREAM_READ_BYTES};
use super::map::MappedFile;
use super::unpack::{Torn, unpacked};

/// Bytes of a capture file with a cursor.
pub(super) enum Source {
    Streamed(Stream),
    Whole(Whole),
}

impl Source {
    /// The bytes at hand from the cursor on.
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Streamed(stream) => &stream.buffer[stream.start..stream.end],
            Self::Whole(whole) => &whole.contents().bytes()[whole.cursor..whole.window.range.end],
        }
    }

    /// Moves the cursor over `len` of the bytes at hand.
    pub(super) fn consume(&mut self, len: usize) {
        debug_assert!(len <= self.bytes().len());
        match self {
            Self::Streamed(stream) => {
                stream.start += len;
                stream.offset += len as u64;
            }
            Self::Whole(whole) => whole.cursor += len,
        }
    }

    /// Gets at least `need` bytes at hand; `false` where the file ends before that.
    pub(super) fn fill(&mut self, need: usize) -> io::Result<bool> {
        match self {
            Self::Streamed(stream) => stream.fill(need)?,
            Self::Whole(whole) => whole.advance(need),
        }
        Ok(self.bytes().len() >= need)
    }

    /// Whether the bytes at hand come from memory as they are, and not from a buffer that was just filled.
    pub(super) fn is_whole(&self) -> bool {
        matches!(self, Self::Whole(_))
    }

    /// Distance of the cursor from the start of the file.
    pub(super) fn offset(&self) -> u64 {
        match self {
            Self::Streamed(stream) => stream.offset,
            Self::Whole(whole) => whole.cursor as u64,
        }
    }

    /// Bytes of the medium that were read: of a compressed one, compressed bytes.
    pub(super) fn read_bytes(&self) -> u64 {
        match self {
            Self::Streamed(Stream { packed_bytes: Some(packed_bytes), .. }) => {
                packed_bytes.load(Ordering::Relaxed)
            }
            _ => self.offset(),
        }
    }

    /// Why the bytes end before their time; `None`: they do not.
    pub(super) fn torn(&self) -> Option<Torn> {
        match self {
            Self::Streamed(stream) => stream.torn,
            Self::Whole(_) => None,
        }
    }

    /// What is compressed in it.
    pub(super) fn unpacked(self) -> Self {
        let (from, packed_bytes) = unpacked(self);
        Self::Streamed(Stream { packed_bytes: Some(packed_bytes), ..Stream::new(Box::new(from)) })
    }

    /// Where the cursor is in what `hold` gives.
    pub(super) fn held_offset(&self) -> usize {
        match self {
            Self::Streamed(stream) => stream.start,
            Self::Whole(whole) => whole.cursor,
        }
    }

    /// Keeps the bytes that were at hand since the last `fill`, for as long as the result is kept.
    pub(super) fn hold(&self) -> Held {
        match self {
            Self::Streamed(stream) => Held::Buffer(Arc::clone(&stream.buffer)),
            Self::Whole(whole) => Held::Window(Arc::clone(&whole.window)),
        }
    }

    /// Takes back what `hold` gave, of this or of another source; a buffer is used again.
    pub(super) fn take_back(&mut self, held: Held) {
        if let (Self::Streamed(stream), Held::Buffer(buffer)) = (self, held) {
            stream.take_back(buffer);
        }
    }
}

/// Bytes of a source that are kept readable.
#[derive(Default)]
pub(super) enum Held {
    Buffer(Arc<Vec<u8>>),
    /// Frames of a live source, which keeps none of them itself.
    Copied(Vec<u8>),
    #[default]
    Nothing,
    Window(Arc<Window>),
}

impl Held {
    /// Whether it is a buffer that had to grow.
    pub(super) fn is_grown(&self) -> bool {
        matches!(self, Self::Buffer(buffer) if buffer.len() > STREAM_READ_BYTES)
    }

    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Buffer(buffer) => buffer,
            Self::Copied(bytes) => bytes,
            Self::Nothing => &[],
            Self::Window(window) => window.contents.bytes(),
        }
    }
}

/// Contents that are there from the beginning.
pub(super) enum Contents {
    Mapped(MappedFile),
    Memory(Vec<u8>),
}

impl Contents {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Mapped(file) => file.bytes(),
            Self::Memory(bytes) => bytes,
        }
    }
}

/// A part of contents that is being read. When the last one lets go of it, its pages are given back.
pub(super) struct Window {
    contents: Arc<Contents>,
    /// start <= end <= `contents.bytes().len()`
    range: Range<usize>,
}

impl Drop for Window {
    fn drop(&mut self) {
        if let Contents::Mapped(file) = &*self.contents {
            file.release(self.range.clone());
        }
    }
}

/// A cursor over contents that are there from the beginning, seen through a window.
pub(super) struct Whole {
    window_bytes: usize,
    /// Within `window.range`.
    cursor: usize,
    window: Arc<Window>,
}

impl Whole {
    pub(super) fn new(contents: Contents, window_bytes: usize) -> Self {
        let window = Arc::new(Window { contents: Arc::new(contents), range: 0..0 });
        Self { window_bytes, cursor: 0, window }
    }

    fn contents(&self) -> &Contents {
        &self.window.contents
    }

    /// Starts the window at the cursor and lets go of the one before.
    fn advance(&mut self, need: usize) {
        let window_bytes = self.window_bytes.max(need);
        let end = self.cursor.saturating_add(window_bytes).min(self.contents().bytes().len());
        let contents = Arc::clone(&self.window.contents);
        self.window = Arc::new(Window { contents, range: self.cursor..end });
    }
}

/// A stream behind bounded buffers: one that is filled and read, and those that batches hold.
pub(super) struct Stream {
    // One virtual call per `STREAM_READ_BYTES` is not worth a type parameter on everything above.
    from: Box<dyn Read + Send>,
    /// len <= `STREAM_BUFFER_BYTES_MAX`; written only while nobody else holds it.
    buffer: Arc<Vec<u8>>,
    /// <= `end`
    start: usize,
    /// <= `buffer.len()`
    end: usize,
    /// Of `buffer[start]` in the stream.
    offset: u64,
    /// Buffers that nobody else holds, each of `STREAM_READ_BYTES`. A new one is made only while there is none here,
    /// so there are never more than those that hold some, and one.
    spare: Vec<Arc<Vec<u8>>>,
    /// Where the bytes are unpacked: the compressed ones that were read.
    packed_bytes: Option<Arc<AtomicU64>>,
    /// Unpacking came to an early end: nothing follows.
    torn: Option<Torn>,
}

impl Stream {
    pub(super) fn new(from: Box<dyn Read + Send>) -> Self {
        Self {
            from,
            buffer: new_buffer(),
            start: 0,
            end: 0,
            offset: 0,
            spare: Vec::new(),
            packed_bytes: None,
            torn: None,
        }
    }

    fn take_back(&mut self, mut buffer: Arc<Vec<u8>>) {
        // Whoever else holds it will be the last and bring it. One that had to grow is not kept.
        if Arc::get_mut(&mut buffer).is_some_and(|buffer| buffer.len() == STREAM_READ_BYTES) {
            self.spare.push(buffer);
        }
    }

    /// Reads until `need` bytes are there or the stream ends; no longer, because a live pipe may be slow.
    fn fill(&mut self, need: usize) -> io::Result<()> {
        debug_assert!(need <= STREAM_BUFFER_BYTES_MAX);
        self.own_buffer(need);
        let Self { from, buffer, end, packed_bytes, torn, .. } = self;
        // Nobody else holds it, so nothing is cloned.
        let buffer = Arc::make_mut(buffer);
        while *end < need && torn.is_none() {
            if *end == buffer.len() {
                buffer.resize(end.saturating_mul(2).min(STREAM_BUFFER_BYTES_MAX), 0);
            }
            let limit = need.max(STREAM_READ_BYTES).min(buffer.len());
            match from.read(&mut buffer[*end..limit]) {
                Ok(0) => break,
                Ok(len) => *end += len,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    *torn = packed_bytes.as_ref().and_then(|_| Torn::of(&error));
                    if torn.is_none() {
                        return Err(error);
                    }
                }
            }
        }
        Ok(())
    }

    /// Moves what is at hand to the start of a buffer that nobody else holds, and that is not longer than `need`
    /// makes it.
    fn own_buffer(&mut self, need: usize) {
        let present = self.start..self.end;
        let len = present.len();
        let keeps_size = self.buffer.len() <= STREAM_READ_BYTES.max(need);
        match Arc::get_mut(&mut self.buffer) {
            Some(buffer) if keeps_size => buffer.copy_within(present, 0),
            _ => {
                let mut other = self.spare.pop().unwrap_or_else(new_buffer);
                let buffer = Arc::make_mut(&mut other);
                // What is left of a longer buffer can be longer, too.
                buffer.resize(len.max(STREAM_READ_BYTES), 0);
                buffer[..len].copy_from_slice(&self.buffer[present]);
                self.buffer = other;
            }
        }
        (self.start, self.end) = (0, len);
    }
}

fn new_buffer() -> Arc<Vec<u8>> {
    Arc::new(vec![0; STREAM_READ_BYTES])
}
