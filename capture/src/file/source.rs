//! Where the bytes come from: a cursor over a mapped file, over memory, or over a stream.
//!
//! All have the same contract: `bytes` is what is at hand from the cursor on, `consume` moves the cursor within
//! it, `fill` makes more of it visible. Resident memory is bounded by `WINDOW_BYTES` (mapped) or
//! `STREAM_BUFFER_BYTES_MAX`.

use std::io::{self, Read};

use super::limits::{STREAM_BUFFER_BYTES_MAX, STREAM_READ_BYTES};
use super::map::MappedFile;

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
            Self::Whole(whole) => &whole.contents.bytes()[whole.cursor..whole.window_end],
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

    /// Distance of the cursor from the start of the file.
    pub(super) fn offset(&self) -> u64 {
        match self {
            Self::Streamed(stream) => stream.offset,
            Self::Whole(whole) => whole.cursor as u64,
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

/// A cursor over contents that are there from the beginning, seen through a window.
pub(super) struct Whole {
    contents: Contents,
    window_bytes: usize,
    /// Pages before it were given back; <= `cursor`.
    released: usize,
    /// <= `window_end`
    cursor: usize,
    /// <= `contents.bytes().len()`
    window_end: usize,
}

impl Whole {
    pub(super) fn new(contents: Contents, window_bytes: usize) -> Self {
        Self { contents, window_bytes, released: 0, cursor: 0, window_end: 0 }
    }

    /// Starts the window at the cursor and gives back what is behind it.
    fn advance(&mut self, need: usize) {
        let window_bytes = self.window_bytes.max(need);
        self.window_end = self.cursor.saturating_add(window_bytes).min(self.contents.bytes().len());
        if let Contents::Mapped(file) = &self.contents {
            file.release(self.released..self.cursor);
        }
        self.released = self.cursor;
    }
}

/// A stream behind one bounded buffer.
pub(super) struct Stream {
    // One virtual call per `STREAM_READ_BYTES` is not worth a type parameter on everything above.
    from: Box<dyn Read + Send>,
    /// len <= `STREAM_BUFFER_BYTES_MAX`
    buffer: Vec<u8>,
    /// <= `end`
    start: usize,
    /// <= `buffer.len()`
    end: usize,
    /// Of `buffer[start]` in the stream.
    offset: u64,
}

impl Stream {
    pub(super) fn new(from: Box<dyn Read + Send>) -> Self {
        Self { from, buffer: vec![0; STREAM_READ_BYTES], start: 0, end: 0, offset: 0 }
    }

    /// Reads until `need` bytes are there or the stream ends; no longer, because a live pipe may be slow.
    fn fill(&mut self, need: usize) -> io::Result<()> {
        debug_assert!(need <= STREAM_BUFFER_BYTES_MAX);
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        while self.end < need {
            if self.end == self.buffer.len() {
                self.buffer.resize(self.end.saturating_mul(2).min(STREAM_BUFFER_BYTES_MAX), 0);
            }
            let limit = need.max(STREAM_READ_BYTES).min(self.buffer.len());
            match self.from.read(&mut self.buffer[self.end..limit]) {
                Ok(0) => break,
                Ok(len) => self.end += len,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
