//! The only `unsafe` code of the file readers: mapping a file, and giving back pages that were read.
//!
//! A mapping stands for the file as it was when it was opened: what is appended later is not seen. A file that is
//! cut *while it is read* ends the process with SIGBUS; who reads files under rotation streams them instead.

use std::fs::File;
use std::io;
use std::ops::Range;

use memmap2::{Advice, Mmap, UncheckedAdvice};

/// A regular file, mapped for reading from front to back.
pub(super) struct MappedFile(Mmap);

impl MappedFile {
    #[expect(unsafe_code, reason = "there is no safe way to map a file: another process may write to it")]
    pub(super) fn new(file: &File) -> io::Result<Self> {
        // SAFETY: the mapping is private and read-only, and its bytes are only ever read as integers and slices
        // of `u8`, for which every value is valid. A concurrent writer can make the frames wrong, and a
        // concurrent cut raises SIGBUS; both are stated in the module's contract.
        let map = unsafe { Mmap::map(file)? };
        // Advice only: without it the kernel reads ahead less.
        let _ = map.advise(Advice::Sequential);
        Ok(Self(map))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Gives the pages of `range` back to the kernel. Touching them again reads the file again.
    #[expect(
        unsafe_code,
        reason = "resident memory must not grow with the file; dropping pages is unchecked"
    )]
    pub(super) fn release(&self, range: Range<usize>) {
        debug_assert!(range.start <= range.end && range.end <= self.0.len());
        // SAFETY: the pages are a private mapping of a file that is never written to, so dropping them loses no
        // data: the next access, also through a slice that is still alive, finds the file's bytes again.
        // The kernel rounds to whole pages, which is harmless for the same reason.
        let _ = unsafe { self.0.unchecked_advise_range(UncheckedAdvice::DontNeed, range.start, range.len()) };
    }
}
