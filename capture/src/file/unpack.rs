//! gzip-compressed captures, unpacked while they are read: from any source, mapped or streamed, into a stream.
//!
//! Several compressed parts one after the other are one capture, as `zcat` has it. Memory: the decoder's window of
//! 32 KiB beside both sources' own; what is unpacked is never held as a whole, however much it becomes. A capture in
//! which the packing is cut or damaged gives all bytes before that ([`Torn`]).

use std::io::{self, BufRead, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::bufread::MultiGzDecoder;

use super::source::Source;

/// First bytes of a compressed file (RFC 1952), and the only method there is.
pub(super) const GZIP_MAGIC: [u8; 3] = [0x1f, 0x8b, 8];

/// How unpacking came to an early end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Torn {
    /// The compressed bytes end before their time.
    Cut,
    /// They are no compressed bytes, or not those whose checksum they have.
    Damaged,
}

impl Torn {
    /// `None` where the medium failed and not the packing.
    pub(super) fn of(error: &io::Error) -> Option<Self> {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Some(Self::Cut),
            io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => Some(Self::Damaged),
            _ => None,
        }
    }
}

/// What is in a compressed source, and how many of its compressed bytes were read.
pub(super) fn unpacked(source: Source) -> (impl Read + Send + 'static, Arc<AtomicU64>) {
    let packed_bytes = Arc::new(AtomicU64::new(0));
    let packed = Packed { source, read_bytes: Arc::clone(&packed_bytes) };
    (MultiGzDecoder::new(packed), packed_bytes)
}

/// A source as the decoder reads it, without another buffer between them.
struct Packed {
    source: Source,
    read_bytes: Arc<AtomicU64>,
}

impl BufRead for Packed {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.source.bytes().is_empty() {
            self.source.fill(1)?;
        }
        Ok(self.source.bytes())
    }

    fn consume(&mut self, len: usize) {
        self.source.consume(len);
        self.read_bytes.store(self.source.offset(), Ordering::Relaxed);
    }
}

impl Read for Packed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.fill_buf()?.read(buffer)?;
        self.consume(len);
        Ok(len)
    }
}
