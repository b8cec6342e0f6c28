//! What waits for one receiver, on disk: a file for each message, so that any of them can go without the others.
//!
//! A file is written under another name and renamed, so a process that is killed leaves whole files and at most one
//! that has the other name. It is brought to the disk itself after the message was handed on (who waits for disks is late):
//! what a loss of power tears is found by its checksum. Both are counted and removed. The directory belongs to one process.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::held::Held;
use super::message::{Message, Severity};

/// The first words of a file.
const MAGIC: &str = "tidegauge-alert 1";
const SUFFIX: &str = "alert";
const UNFINISHED: &str = "part";
/// What quiet hours hold back, one JSON object a line.
const HELD: &str = "held.json";

/// One receiver's directory.
pub(super) struct Spool {
    dir: PathBuf,
    /// Held for as long as this lives.
    _lock: File,
}

/// A message that was found.
pub(super) struct Found {
    pub(super) seq: u64,
    pub(super) severity: Severity,
    pub(super) bytes: u64,
    pub(super) arrived_ns: i64,
}

/// What an earlier process left.
#[derive(Default)]
pub(super) struct Left {
    pub(super) found: Vec<Found>,
    pub(super) torn: u64,
    /// What quiet hours held back.
    pub(super) held: Vec<Held>,
}

impl Spool {
    /// Takes the directory, and looks at what is there.
    pub(super) fn open(dir: &Path) -> io::Result<(Self, Left)> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        let lock =
            OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(dir.join("lock"))?;
        if lock.try_lock().is_err() {
            return Err(io::Error::new(io::ErrorKind::WouldBlock, "another process uses it"));
        }
        let spool = Self { dir: dir.to_owned(), _lock: lock };
        let left = spool.look()?;
        Ok((spool, left))
    }

    fn look(&self) -> io::Result<Left> {
        let mut left = Left::default();
        for entry in fs::read_dir(&self.dir)? {
            let path = entry?.path();
            let extension = path.extension().and_then(|extension| extension.to_str());
            let seq = path.file_stem().and_then(|stem| u64::from_str_radix(stem.to_str()?, 16).ok());
            let (Some(extension), Some(seq)) = (extension, seq) else { continue };
            let message = if extension == SUFFIX { read(&path).ok().flatten() } else { None };
            match message {
                Some((message, bytes)) => {
                    let (severity, arrived_ns) = (message.severity, message.arrived_ns);
                    left.found.push(Found { seq, severity, bytes, arrived_ns });
                }
                None if extension == SUFFIX || extension == UNFINISHED => {
                    left.torn += 1;
                    fs::remove_file(&path)?;
                }
                None => {}
            }
        }
        left.held = self.held()?;
        left.found.sort_by_key(|found| found.seq);
        Ok(left)
    }

    fn held(&self) -> io::Result<Vec<Held>> {
        match fs::read_to_string(self.dir.join(HELD)) {
            // A line that power failed in is lost alone.
            Ok(text) => Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Keeps what is held back, all of it; the file for [`Self::sync`], if there is one.
    pub(super) fn hold(&self, held: &[Held]) -> io::Result<Option<File>> {
        let path = self.dir.join(HELD);
        if held.is_empty() {
            return match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(None),
            };
        }
        let unfinished = path.with_extension(UNFINISHED);
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
        // A struct of strings is always JSON.
        let lines = held.iter().filter_map(|held| serde_json::to_string(held).ok());
        file.write_all(lines.map(|line| line + "\n").collect::<String>().as_bytes())?;
        fs::rename(&unfinished, path)?;
        Ok(Some(file))
    }

    fn path(&self, seq: u64, extension: &str) -> PathBuf {
        self.dir.join(format!("{seq:016x}.{extension}"))
    }

    /// Keeps a message: a killed process leaves it. [`sync`] makes it outlive a loss of power.
    pub(super) fn write(&self, seq: u64, message: &Message) -> io::Result<(File, u64)> {
        let unfinished = self.path(seq, UNFINISHED);
        let bytes = file_of(message);
        let written = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&unfinished)
            .and_then(|mut file| {
                file.write_all(&bytes)?;
                fs::rename(&unfinished, self.path(seq, SUFFIX))?;
                Ok(file)
            });
        if written.is_err() {
            // What is half there only takes room.
            let _ = fs::remove_file(&unfinished);
        }
        Ok((written?, bytes.len() as u64))
    }

    /// Reads it back; `None` where it is not what was written.
    pub(super) fn read(&self, seq: u64) -> io::Result<Option<Message>> {
        Ok(read(&self.path(seq, SUFFIX))?.map(|(message, _)| message))
    }

    /// It is told, or given up.
    pub(super) fn remove(&self, seq: u64) -> io::Result<()> {
        fs::remove_file(self.path(seq, SUFFIX))
    }

    /// Brings files, and that they are there, to the disk.
    pub(super) fn sync(&self, files: &[File]) -> io::Result<()> {
        for file in files {
            file.sync_data()?;
        }
        File::open(&self.dir)?.sync_all()
    }
}

fn file_of(message: &Message) -> Vec<u8> {
    let body = message.to_bytes();
    let mut bytes = format!("{MAGIC} {} {}\n", hex(&Sha256::digest(&body)), body.len()).into_bytes();
    bytes.extend_from_slice(&body);
    bytes
}

fn read(path: &Path) -> io::Result<Option<(Message, u64)>> {
    let bytes = fs::read(path)?;
    let length = bytes.len() as u64;
    Ok(message_of(&bytes).map(|message| (message, length)))
}

fn message_of(bytes: &[u8]) -> Option<Message> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let head = std::str::from_utf8(&bytes[..end]).ok()?.strip_prefix(MAGIC)?;
    let (sum, length) = head.trim_start().split_once(' ')?;
    let body = &bytes[end + 1..];
    let is_whole = length.parse() == Ok(body.len()) && hex(&Sha256::digest(body)) == sum;
    if is_whole { Message::from_bytes(body) } else { None }
}

/// Bytes as hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_torn_at_any_byte_is_found_out() {
        let message = Message::test("run", 1_000);
        let bytes = file_of(&message);
        assert_eq!(message_of(&bytes), Some(message));
        for length in 0..bytes.len() {
            assert_eq!(message_of(&bytes[..length]), None, "{length} of {} bytes", bytes.len());
        }
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            assert_eq!(message_of(&flipped), None, "byte {at} is another");
        }
    }

    #[test]
    fn what_is_whole_is_found_in_order_and_what_is_torn_is_counted() {
        let dir = tempfile::tempdir().unwrap();
        let (spool, left) = Spool::open(dir.path()).unwrap();
        assert_eq!((left.found.len(), left.torn), (0, 0));
        for seq in [7, 300, 5] {
            let (file, _) = spool.write(seq, &Message::test(&seq.to_string(), 1)).unwrap();
            spool.sync(&[file]).unwrap();
        }
        assert!(Spool::open(dir.path()).is_err(), "it belongs to one");
        drop(spool);
        // Killed while writing, and a page that never came to the disk.
        fs::write(dir.path().join("0000000000000400.part"), "tidegauge-al").unwrap();
        fs::write(dir.path().join("0000000000000007.alert"), "").unwrap();
        let (spool, left) = Spool::open(dir.path()).unwrap();
        assert_eq!(left.found.iter().map(|found| found.seq).collect::<Vec<_>>(), [5, 300]);
        assert_eq!(left.torn, 2);
        assert_eq!(spool.read(300).unwrap(), Some(Message::test("300", 1)));
        spool.remove(5).unwrap();
        drop(spool);
        let (_, left) = Spool::open(dir.path()).unwrap();
        assert_eq!((left.found.len(), left.torn), (1, 0));
    }
}
