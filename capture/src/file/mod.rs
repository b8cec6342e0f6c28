//! Capture files: pcap and pcapng, mapped or streamed, as a sequence of frames.
//!
//! Contract: any bytes may be read. No input makes the reader panic, loop, or allocate by a length in the file;
//! frames before the place where a file is cut or broken are all delivered, and `End` says where and why it ended.
//! Mapped and streamed reading run the same parser and give the same frames and the same `End`.
//!
//! Frames are pushed into a closure rather than pulled from an iterator: they borrow the reader's buffer, and the
//! closure is compiled into the loop over the records, which costs no allocation and no system call per record.
//! Where other threads work on the frames they come in batches, which share those bytes ([`FrameBatch`]).
//!
//! Files compressed by gzip are unpacked on the way. Not read: files compressed otherwise (the error names the command
//! to pipe them through), and files that grow after they were mapped. Limits are in [`limits`].

mod batch;
mod clock;
mod error;
pub mod limits;
mod map;
mod open;
mod pcap;
mod pcapng;
mod source;
mod step;
#[cfg(test)]
mod tests;
mod unpack;
mod walk;

use std::fmt;
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::path::PathBuf;

use self::limits::WINDOW_BYTES;
use self::pcap::Pcap;
use self::pcapng::Pcapng;
use self::source::{Contents, Source, Whole};
use self::step::{Short, Step};
use self::unpack::Torn;
use self::walk::{Pause, Reach};
use crate::frame::CapturedFrame;

pub use self::batch::{FrameBatch, FrameMeta};
pub use self::error::{BrokenReason, CutReason, End, FileError, FirstBytes, UnpackCommand};

/// Where a capture comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A file, a named pipe, or anything else that can be opened and read.
    Path(PathBuf),
    /// Standard input.
    Stdin,
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => path.display().fmt(f),
            Self::Stdin => f.write_str("standard input"),
        }
    }
}

/// How regular files are read; standard input and pipes are always streamed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mapping {
    /// Mapped into memory: the fast way. A file that is cut while it is read ends the process with SIGBUS.
    Mapped,
    /// Through one buffer: for files that others truncate or rotate by copying.
    Streamed,
}

/// A capture file with a cursor at its next record.
pub struct FileReader {
    input: Input,
    source: Source,
    format: Format,
}

/// The two formats, with what their readers remember.
enum Format {
    Pcap(Pcap),
    Pcapng(Pcapng),
}

impl FileReader {
    /// Opens a capture and reads its file header.
    pub fn open(input: &Input, mapping: Mapping) -> Result<Self, FileError> {
        Self::new(input.clone(), open::source(input, mapping)?)
    }

    /// Reads a capture that is in memory; `input` is what messages call it.
    pub fn from_bytes(input: Input, bytes: Vec<u8>) -> Result<Self, FileError> {
        Self::new(input, Source::Whole(Whole::new(Contents::Memory(bytes), WINDOW_BYTES)))
    }

    /// Reads a capture from any stream; `input` is what messages call it.
    pub fn from_stream(input: Input, stream: impl Read + Send + 'static) -> Result<Self, FileError> {
        Self::new(input, open::stream(stream))
    }

    fn new(input: Input, source: Source) -> Result<Self, FileError> {
        let mut source = open::unpacked(&input, source)?;
        let format = open::format(&input, &mut source)?;
        Ok(Self { input, source, format })
    }

    /// Time of the next frame, which is left in place: right after `open` that of the first one, so that several
    /// files can be put in order. `None` where no frame follows.
    pub fn next_ts_ns(&mut self) -> Result<Option<u64>, FileError> {
        loop {
            let step = match &mut self.format {
                Format::Pcap(pcap) => pcap.step(self.source.bytes()),
                Format::Pcapng(pcapng) => pcapng.step(self.source.bytes()),
            };
            let short = match step {
                Step::Broken(_) => return Ok(None),
                Step::Frame { frame, .. } => return Ok(Some(frame.ts_ns)),
                Step::Short(short) => short,
                Step::Skip { len } => {
                    self.source.consume(len);
                    continue;
                }
            };
            if !self.fill(short.need)? {
                return Ok(None);
            }
        }
    }

    /// Bytes of the file that were read: of a compressed one, compressed bytes.
    pub fn offset(&self) -> u64 {
        self.source.read_bytes()
    }

    /// Calls `each` for every frame, until the file ends or `each` breaks; called again, it goes on behind the last
    /// frame. Fails only where the medium does.
    pub fn for_each(
        &mut self,
        mut each: impl FnMut(CapturedFrame<'_>) -> ControlFlow<()>,
    ) -> Result<End, FileError> {
        loop {
            let bytes = self.source.bytes();
            let walk = self.format.walk(bytes, Reach::of(&self.source), &mut each);
            self.source.consume(walk.len);
            match walk.pause {
                Pause::Broken(reason) => return Ok(End::Broken { offset: self.source.offset(), reason }),
                Pause::Short(short) if self.fill(short.need)? => {}
                Pause::Short(short) => return Ok(self.end(short)),
                Pause::Stopped => return Ok(End::Stopped),
            }
        }
    }

    fn fill(&mut self, need: usize) -> Result<bool, FileError> {
        let offset = self.source.offset();
        self.source.fill(need).map_err(|error: io::Error| FileError::Read(self.input.clone(), offset, error))
    }

    /// The end of a file in which the record at the cursor is short.
    fn end(&self, short: Short) -> End {
        let offset = self.source.offset();
        match (self.source.torn(), self.source.bytes().len()) {
            (Some(Torn::Cut), _) => End::Cut { offset, reason: CutReason::Packing },
            (Some(Torn::Damaged), _) => End::Broken { offset, reason: BrokenReason::Packing },
            (None, 0) => End::Whole,
            (None, present) => End::Cut { offset, reason: short.cut(present) },
        }
    }
}
