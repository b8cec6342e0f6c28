//! The directory of evidence: files that were made before rights were given up, and get an incident's name when one
//! opens; how much may lie there; and what goes when that is reached.
//!
//! Only files whose names are of this program's form are ever counted or removed. One run at a time has a directory
//! (`flock`). Nothing is opened while a run goes on: files are renamed, shortened and removed, which is what Landlock and
//! seccomp leave it.

use std::collections::VecDeque;
use std::fs::{self, File, TryLockError};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::incident::Kind;

/// Files of this program begin and end so.
const PREFIX: &str = "tidegauge-";
const SUFFIX: &str = ".pcapng";
/// End of the names of files that belong to no incident yet.
const UNUSED_SUFFIX: &str = ".pcapng.unused";

/// Why there can be no evidence.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The directory or a file in it.
    #[error("cannot write evidence in {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Two runs would remove one another's files.
    #[error("another run keeps evidence in {}", .0.display())]
    InUse(PathBuf),
}

/// A file that is open, and what it is called now.
#[derive(Debug)]
pub struct Slot {
    file: File,
    path: PathBuf,
    unused: PathBuf,
    /// Bytes that were written.
    bytes: u64,
}

/// The directory.
#[derive(Debug)]
pub struct Store {
    dir: PathBuf,
    /// Held as long as this lives.
    _lock: File,
    free: Vec<Slot>,
    /// Files of earlier runs, the oldest first.
    earlier: VecDeque<(PathBuf, u64)>,
    /// Bytes of all files.
    bytes: u64,
    bytes_max: u64,
    /// Files of earlier runs that were removed.
    removed: u64,
}

impl Store {
    /// Takes a directory, which is made where it is missing, and makes `files` files in it; all files together may have
    /// `bytes_max`.
    ///
    /// # Errors
    /// Where it cannot be written, or another run has it.
    pub fn open(dir: &Path, files: usize, bytes_max: u64) -> Result<Self, StoreError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| StoreError::File { path, source }
        };
        fs::create_dir_all(dir).map_err(failed(dir))?;
        let lock = File::open(dir).map_err(failed(dir))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StoreError::InUse(dir.to_owned())),
            Err(TryLockError::Error(source)) => return Err(failed(dir)(source)),
        }
        let mut free = Vec::new();
        for number in (0..files).rev() {
            let path = dir.join(format!("{PREFIX}{number:03}{UNUSED_SUFFIX}"));
            let file = File::create(&path).map_err(failed(&path))?;
            free.push(Slot { file, unused: path.clone(), path, bytes: 0 });
        }
        let earlier = earlier(dir).map_err(failed(dir))?;
        let bytes = earlier.iter().map(|(_, bytes)| bytes).sum();
        Ok(Self { dir: dir.to_owned(), _lock: lock, free, earlier, bytes, bytes_max, removed: 0 })
    }

    /// Whether a file is free.
    pub const fn has_free(&self) -> bool {
        !self.free.is_empty()
    }

    /// A free file, under this name. What has the name already is replaced.
    ///
    /// # Errors
    /// Where it cannot be renamed; it stays free.
    pub fn take(&mut self, name: &str) -> io::Result<Option<Slot>> {
        let Some(mut slot) = self.free.pop() else { return Ok(None) };
        let path = self.dir.join(name);
        if let Err(error) = fs::rename(&slot.path, &path) {
            self.free.push(slot);
            return Err(error);
        }
        if let Some(place) = self.earlier.iter().position(|(earlier, _)| *earlier == path)
            && let Some((_, bytes)) = self.earlier.remove(place)
        {
            self.bytes -= bytes;
        }
        slot.path = path;
        Ok(Some(slot))
    }

    /// Removes what a file holds and its name; it is free again. One that cannot be is given up.
    ///
    /// # Errors
    /// Where the file cannot be shortened or renamed.
    pub fn give_back(&mut self, mut slot: Slot) -> io::Result<()> {
        slot.file.set_len(0)?;
        slot.file.seek(SeekFrom::Start(0))?;
        self.bytes -= std::mem::take(&mut slot.bytes);
        fs::rename(&slot.path, &slot.unused)?;
        slot.path.clone_from(&slot.unused);
        self.free.push(slot);
        Ok(())
    }

    /// Makes room for so many bytes out of what earlier runs left; whether there is room now.
    pub fn make_room(&mut self, bytes: u64) -> bool {
        while self.bytes + bytes > self.bytes_max {
            let Some((path, bytes)) = self.earlier.pop_front() else { return false };
            // One that somebody else removed takes no room either.
            let _ = fs::remove_file(path);
            self.bytes -= bytes;
            self.removed += 1;
        }
        true
    }

    /// Adds bytes to a file: all of them, or none.
    ///
    /// # Errors
    /// Where the medium is full or broken; the file is then as it was before.
    pub fn write(&mut self, slot: &mut Slot, bytes: &[u8]) -> io::Result<()> {
        if let Err(error) = slot.file.write_all(bytes) {
            // What is there of it would be half a block.
            slot.file.set_len(slot.bytes)?;
            slot.file.seek(SeekFrom::Start(slot.bytes))?;
            return Err(error);
        }
        slot.bytes += bytes.len() as u64;
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// Files of earlier runs that were removed.
    pub const fn removed(&self) -> u64 {
        self.removed
    }

    /// Removes files that no incident came for.
    pub fn finish(&mut self) {
        for slot in self.free.drain(..) {
            // The next run takes over what stays.
            let _ = fs::remove_file(slot.path);
        }
    }
}

impl Slot {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// The name of an incident's file; `opened` is a time in RFC 3339.
pub fn name_of(id: &str, opened: &str) -> String {
    let opened: String = opened.chars().filter(|letter| !matches!(letter, '-' | ':')).collect();
    format!("{PREFIX}{id}-{opened}{SUFFIX}")
}

/// Whether [`name_of`] gives such names.
fn is_ours(name: &str) -> bool {
    let middle = name.strip_prefix(PREFIX).and_then(|name| name.strip_suffix(SUFFIX));
    let Some((kind, rest)) = middle.and_then(|middle| middle.split_once('-')) else { return false };
    let Some((number, opened)) = rest.split_once('-') else { return false };
    let are_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_time = opened.split_once('T').is_some_and(|(day, time)| are_digits(day) && time.ends_with('Z'));
    Kind::ALL.iter().any(|known| known.name() == kind) && are_digits(number) && is_time
}

/// Evidence of earlier runs, the oldest first.
fn earlier(dir: &Path) -> io::Result<VecDeque<(PathBuf, u64)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let Ok(metadata) = entry.metadata() else { continue };
        if metadata.is_file() && entry.file_name().to_str().is_some_and(is_ours) {
            found.push((metadata.modified().ok(), entry.path(), metadata.len()));
        }
    }
    found.sort();
    Ok(found.into_iter().map(|(_, path, bytes)| (path, bytes)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_ours_are_ours() {
        let name = name_of("syn_flood-0001", "2026-11-23T15:41:28.600000000Z");
        assert_eq!(name, "tidegauge-syn_flood-0001-20261123T154128.600000000Z.pcapng");
        assert!(is_ours(&name) && is_ours(&name_of("land-123456", "1970-01-01T00:00:00.000000000Z")));
        for name in [
            "tidegauge-notes-0001-20261123T154128.6Z.pcapng",
            "tidegauge-land-0001-20261123T154128.6Z.pcap",
            "tidegauge-land-x-20261123T154128.6Z.pcapng",
            "tidegauge-land.pcapng",
            "tidegauge-000.pcapng.unused",
            "capture.pcapng",
        ] {
            assert!(!is_ours(name), "{name}");
        }
    }
}
