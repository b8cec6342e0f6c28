//! What can go wrong with a capture file, and how its reading can end. The doc comment of a variant is its message.
//!
//! `FileError`: nothing could be read, or the medium failed; the message says what, why and what to do.
//! `End`: reading came to an end; whatever is wrong with the file there, all frames before it were delivered.

use std::fmt;
use std::io;

use displaydoc::Display;

use super::Input;

/// Why a capture file could not be read at all, or not to its end.
#[derive(Debug, Display, thiserror::Error)]
pub enum FileError {
    /// {0}: not a readable capture file: {1}
    BadHeader(Input, BrokenReason),
    /// {0} is {1}; unpack it on the way: {2}
    Compressed(Input, &'static str, UnpackCommand),
    /// {0} is a directory; name the capture files in it
    Directory(Input),
    /// {0} is empty, not even a file header was written; check that the capture was running and was closed
    Empty(Input),
    /// {0}: {1}, nothing to read in it; check that the capture was closed or that the copy is complete
    HeaderCut(Input, CutReason),
    /// {0} is not a capture file: it begins with {1}; tidegauge reads pcap and pcapng (`editcap` converts others)
    NotCapture(Input, FirstBytes),
    /// {0}: no such file; check the path
    NotFound(Input),
    /// {0}: cannot be opened: {1}
    Open(Input, io::Error),
    /// {0}: permission denied; make it readable for this user, or run as one who may read it
    PermissionDenied(Input),
    /// {0}: reading failed at byte {1}: {2}
    Read(Input, u64, io::Error),
    /// standard input is a terminal; pipe a capture into it or name a file
    Terminal,
}

/// How reading came to its end. Offsets are of the record that could not be read, in bytes from the start of the file,
/// unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The bytes at `offset` are no record; nothing behind them is read.
    Broken {
        /// Where the broken record begins.
        offset: u64,
        /// What is wrong with it.
        reason: BrokenReason,
    },
    /// The file ends inside a record: it was cut, or is still being written.
    Cut {
        /// Where the incomplete record begins.
        offset: u64,
        /// What is missing.
        reason: CutReason,
    },
    /// The caller asked to stop; the next call continues with the next frame.
    Stopped,
    /// The last record ends where the file ends.
    Whole,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken { offset, reason } => write!(f, "broken at byte {offset}: {reason}"),
            Self::Cut { offset, reason } => write!(f, "cut at byte {offset}: {reason}"),
            Self::Stopped => f.write_str("stopped"),
            Self::Whole => f.write_str("read to the end"),
        }
    }
}

/// Why bytes are not a record. `block` is a record of pcapng.
#[derive(Clone, Copy, Debug, Display, PartialEq, Eq)]
pub enum BrokenReason {
    /// block of {0} bytes is too short for its kind or not a multiple of four
    BlockLength(u32),
    /// block claims {0} bytes, more than any block has
    BlockTooLong(u32),
    /// block begins with its length as {0} and ends with {1}
    BlockTrailer(u32, u32),
    /// section header without a byte-order mark
    ByteOrder,
    /// frame of {0} bytes does not fit its block
    FrameLength(u32),
    /// frame claims {0} captured bytes, more than any snap length allows
    FrameTooLong(u32),
    /// frame of interface {0}, which is not described before it
    Interface(u32),
    /// more interfaces than a section may have
    Interfaces,
    /// option {0} reaches beyond its block
    Option(u16),
    /// gzip data damaged, nothing behind it is read
    Packing,
    /// pcap version {0}.{1}, only 2.0 to 2.4 are read
    PcapVersion(u16, u16),
    /// pcapng section version {0}.{1}, only 1.x is read
    SectionVersion(u16, u16),
    /// zeros instead of records
    ZeroFilled,
}

/// What of a record is missing at the end of a file.
#[derive(Clone, Copy, Debug, Display, PartialEq, Eq)]
pub enum CutReason {
    /// file header cut, {0} of {1} bytes there
    FileHeader(usize, usize),
    /// gzip data cut
    Packing,
    /// record of {1} bytes, {0} there
    Record(usize, usize),
    /// record header cut, {0} of {1} bytes there
    RecordHeader(usize, usize),
}

/// The first bytes of a file, four at most, printed in hexadecimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirstBytes {
    bytes: [u8; 4],
    /// <= 4
    len: usize,
}

impl FirstBytes {
    pub(super) fn of(file: &[u8]) -> Self {
        let mut bytes = [0; 4];
        let len = file.len().min(bytes.len());
        bytes[..len].copy_from_slice(&file[..len]);
        Self { bytes, len }
    }
}

impl fmt::Display for FirstBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.bytes[..self.len].iter().enumerate() {
            let gap = if index == 0 { "" } else { " " };
            write!(f, "{gap}{byte:02x}")?;
        }
        Ok(())
    }
}

/// The command line that unpacks a compressed file into `tidegauge read -`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnpackCommand {
    pub(super) program: &'static str,
    pub(super) input: Input,
}

impl fmt::Display for UnpackCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.input {
            Input::Path(path) => write!(f, "{} {} | tidegauge read -", self.program, path.display()),
            Input::Stdin => write!(f, "{} FILE | tidegauge read -", self.program),
        }
    }
}
