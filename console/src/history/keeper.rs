//! Writing history: a thread takes lines and appends them; segments that are full are compressed, the oldest go.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Receiver;
use std::thread::{self, JoinHandle};

use super::segment::{self, Closed};
use super::slim::kept;
use super::{HistoryError, Limits};
use crate::feed::{Feed, Losses};
use crate::line::{Event, Line};

/// Lines that may wait while a segment is compressed.
const LINES_MAX: usize = 4_096;

/// Seconds of lines after which they are made safe from a loss of power; incidents at once.
const SYNC_S: i64 = 10;

const SECOND_NS: i64 = 1_000_000_000;

/// What became of lines.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// Written.
    pub(super) kept: AtomicU64,
    /// Not written: the disk did not take them.
    pub(super) lost: AtomicU64,
    /// Half lines that an earlier process left.
    pub(super) torn: AtomicU64,
    /// Segments that were removed for want of room or for their age.
    pub(super) removed: AtomicU64,
}

/// What a history came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Lines that are not in it: the disk did not take them, or they came faster than it did.
    pub lost: u64,
    /// Segments that made way for newer ones.
    pub removed: u64,
}

/// Says something to whoever started it; each fault is said once, and once when it is over.
pub type Say = Box<dyn Fn(&str) + Send>;

/// A history that is being written.
pub struct History {
    thread: JoinHandle<()>,
    counts: Arc<Counts>,
    losses: Arc<Losses>,
}

impl History {
    /// Keeps what a feed tells in `dir`, which is made where it is missing.
    ///
    /// # Errors
    /// Where the directory cannot be used; later faults are said.
    pub fn start(dir: &Path, limits: Limits, feed: &mut Feed, say: Say) -> Result<Self, HistoryError> {
        let counts = Arc::new(Counts::default());
        let mut keeper = Keeper::open(dir, limits, Arc::clone(&counts), say)?;
        let (lines, losses) = feed.subscribe(LINES_MAX);
        let thread = thread::Builder::new()
            .name("history".into())
            .spawn(move || keeper.keep(&lines))
            .map_err(HistoryError::io("start a thread for", dir))?;
        Ok(Self { thread, counts, losses })
    }

    #[cfg(test)]
    pub(super) fn shared_counts(&self) -> &Arc<Counts> {
        &self.counts
    }

    /// After the feed has ended: waits for what is still to be written.
    pub fn finish(self) -> Ended {
        // A thread that failed has said so.
        let _ = self.thread.join();
        let lost = self.counts.lost.load(Ordering::Relaxed) + self.losses.not_taken.load(Ordering::Relaxed);
        Ended { lost, removed: self.counts.removed.load(Ordering::Relaxed) }
    }
}

/// The segment that is written to.
struct Open {
    number: u64,
    file: File,
    bytes: u64,
    span_ns: Option<(i64, i64)>,
    synced_ns: i64,
    /// It could not be closed: not to be tried again with every line.
    not_full_before: u64,
}

struct Keeper {
    dir: PathBuf,
    limits: Limits,
    open: Open,
    closed: Vec<Closed>,
    counts: Arc<Counts>,
    say: Say,
    is_faulty: bool,
    /// Held as long as it is open.
    _lock: File,
}

impl Keeper {
    fn open(dir: &Path, limits: Limits, counts: Arc<Counts>, say: Say) -> Result<Self, HistoryError> {
        fs::create_dir_all(dir).map_err(HistoryError::io("make", dir))?;
        let lock = lock(dir)?;
        remove_unfinished(dir);
        let listing = segment::list(dir)?;
        let mut closed = listing.closed;
        for (number, path) in listing.open {
            closed.extend(recover(dir, number, &path, &counts)?);
        }
        closed.sort_by_key(|closed| closed.number);
        let number = closed.last().map_or(1, |last| last.number + 1);
        let open = Open::create(dir, number)?;
        let mut keeper =
            Self { dir: dir.to_owned(), limits, open, closed, counts, say, is_faulty: false, _lock: lock };
        keeper.make_room();
        let torn = keeper.counts.torn.load(Ordering::Relaxed);
        if torn != 0 {
            (keeper.say)(&format!("{torn} half lines of an earlier run were cut off"));
        }
        Ok(keeper)
    }

    fn keep(&mut self, lines: &Receiver<Arc<Line>>) {
        for line in lines {
            if let Some(text) = kept(&line) {
                self.put(&line, text + "\n");
            }
        }
        // The end of the run: what is there is whole already, and the next one compresses it.
        let _ = self.open.file.sync_data();
    }

    fn put(&mut self, line: &Line, text: String) {
        let mut written = self.open.append(line, text.as_bytes());
        if written.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::StorageFull) && self.remove(1) {
            written = self.open.append(line, text.as_bytes());
        }
        let place = self.open_path();
        match written {
            Ok(()) => {
                self.counts.kept.fetch_add(1, Ordering::Relaxed);
                self.note_fault(None);
            }
            Err(error) => {
                self.counts.lost.fetch_add(1, Ordering::Relaxed);
                self.note_fault(Some(format!("cannot write {}: {error}; lines are lost", place.display())));
            }
        }
        if self.open.is_full(self.limits) {
            self.rotate();
        }
    }

    /// Closes the segment and begins another; where that fails, goes on with it.
    fn rotate(&mut self) {
        let Some((first_ns, last_ns)) = self.open.span_ns else { return };
        let number = self.open.number;
        let turned = Open::create(&self.dir, number + 1).and_then(|next| {
            let span_s = (first_ns / SECOND_NS, last_ns / SECOND_NS);
            let closed = segment::close(&self.dir, number, span_s);
            if closed.is_err() {
                // The next one is empty: what is open now stays.
                let _ = fs::remove_file(segment::open_path(&self.dir, number + 1));
            }
            closed.map(|closed| (next, closed))
        });
        match turned {
            Ok((next, closed)) => {
                self.open = next;
                self.closed.push(closed);
                self.make_room();
            }
            Err(error) => {
                self.open.not_full_before = self.open.bytes + self.limits.segment_bytes / 4;
                self.remove(1);
                self.note_fault(Some(error.to_string()));
            }
        }
    }

    fn open_path(&self) -> PathBuf {
        segment::open_path(&self.dir, self.open.number)
    }

    fn total_bytes(&self) -> u64 {
        self.open.bytes + self.closed.iter().map(|closed| closed.bytes).sum::<u64>()
    }

    /// Removes the oldest segments until all have room. Of those that are too old one at a time: a clock that jumps must
    /// not cost all of them.
    fn make_room(&mut self) {
        let newest_s = self.closed.last().map_or(0, |closed| closed.span_s.1);
        let is_old = self.closed.first().is_some_and(|oldest| {
            newest_s.saturating_sub(oldest.span_s.1)
                > i64::try_from(self.limits.age_max_s).unwrap_or(i64::MAX)
        });
        let mut over = self.total_bytes().saturating_sub(self.limits.bytes_max);
        let mut count = 0;
        while count < self.closed.len() && (over > 0 || (is_old && count == 0)) {
            over = over.saturating_sub(self.closed[count].bytes);
            count += 1;
        }
        self.remove(count);
    }

    /// Removes the oldest segments, so many; whether there was one.
    fn remove(&mut self, count: usize) -> bool {
        let count = count.min(self.closed.len());
        for closed in self.closed.drain(..count) {
            // Gone already is as good.
            let _ = fs::remove_file(&closed.path);
            self.counts.removed.fetch_add(1, Ordering::Relaxed);
        }
        count != 0
    }

    /// Says a fault when it begins and when it is over.
    fn note_fault(&mut self, fault: Option<String>) {
        match (&fault, self.is_faulty) {
            (Some(fault), false) => (self.say)(fault),
            (None, true) => (self.say)("is written again"),
            _ => {}
        }
        self.is_faulty = fault.is_some();
    }
}

impl Open {
    fn create(dir: &Path, number: u64) -> Result<Self, HistoryError> {
        let path = segment::open_path(dir, number);
        let file = OpenOptions::new().create(true).append(true).open(&path);
        let file = file.map_err(HistoryError::io("write", &path))?;
        Ok(Self { number, file, bytes: 0, span_ns: None, synced_ns: 0, not_full_before: 0 })
    }

    fn append(&mut self, line: &Line, text: &[u8]) -> io::Result<()> {
        if let Err(error) = self.file.write_all(text) {
            // Without the part that was written.
            let _ = self.file.set_len(self.bytes);
            return Err(error);
        }
        self.bytes += text.len() as u64;
        let (first_ns, last_ns) = self.span_ns.unwrap_or((line.ts_ns, line.ts_ns));
        self.span_ns = Some((first_ns.min(line.ts_ns), last_ns.max(line.ts_ns)));
        if line.event == Event::Incident || (line.ts_ns - self.synced_ns).abs() >= SYNC_S * SECOND_NS {
            self.synced_ns = line.ts_ns;
            // What cannot be made safe is not lost yet.
            let _ = self.file.sync_data();
        }
        Ok(())
    }

    fn is_full(&self, limits: Limits) -> bool {
        let lasted_ns = self.span_ns.map_or(0, |(first_ns, last_ns)| last_ns - first_ns);
        let is_due = self.bytes >= limits.segment_bytes
            || lasted_ns / SECOND_NS >= i64::try_from(limits.segment_s).unwrap_or(i64::MAX);
        is_due && self.bytes >= self.not_full_before
    }
}

/// One process to a directory.
fn lock(dir: &Path) -> Result<File, HistoryError> {
    let path = dir.join("lock");
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(HistoryError::io("write", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(HistoryError::InUse { path: dir.to_owned() }),
        Err(TryLockError::Error(error)) => Err(HistoryError::io("lock", &path)(error)),
    }
}

/// What an earlier process was compressing when it ended; the segment itself is still there.
fn remove_unfinished(dir: &Path) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.path().extension().is_some_and(|end| end == "unfinished") {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Closes a segment that an earlier process left, without the half line at its end.
fn recover(dir: &Path, number: u64, path: &Path, counts: &Counts) -> Result<Option<Closed>, HistoryError> {
    let mut span_ns: Option<(i64, i64)> = None;
    let torn = segment::lines(path, |text| {
        if let Ok(line) = Line::parse(text) {
            let (first, last) = span_ns.unwrap_or((line.ts_ns, line.ts_ns));
            span_ns = Some((first.min(line.ts_ns), last.max(line.ts_ns)));
        }
        ControlFlow::Continue(())
    })?;
    counts.torn.fetch_add(torn.lines, Ordering::Relaxed);
    let Some((first_ns, last_ns)) = span_ns else {
        fs::remove_file(path).map_err(HistoryError::io("remove", path))?;
        return Ok(None);
    };
    if torn.lines != 0 {
        let file = OpenOptions::new().write(true).open(path).map_err(HistoryError::io("write", path))?;
        file.set_len(torn.whole_bytes).map_err(HistoryError::io("shorten", path))?;
    }
    segment::close(dir, number, (first_ns / SECOND_NS, last_ns / SECOND_NS)).map(Some)
}
