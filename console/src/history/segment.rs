//! Segments in a directory: `NUMBER.jsonl` is written to, `NUMBER-FIRST-LAST.jsonl.gz` is closed; numbers go up, times are
//! seconds since the epoch.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, Read};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;

use super::HistoryError;
use crate::line::LINE_BYTES_MAX;

/// A closed segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Closed {
    pub(super) number: u64,
    /// First and last second of its lines.
    pub(super) span_s: (i64, i64),
    pub(super) bytes: u64,
    pub(super) path: PathBuf,
}

/// What is in a directory.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// In the order of their numbers.
    pub(super) closed: Vec<Closed>,
    /// Those that nobody closed, with their numbers.
    pub(super) open: Vec<(u64, PathBuf)>,
}

/// Lists the segments of a directory; other files are left alone.
pub(super) fn list(dir: &Path) -> Result<Listing, HistoryError> {
    let mut listing = Listing::default();
    let entries = fs::read_dir(dir).map_err(HistoryError::io("read", dir))?;
    for entry in entries {
        let entry = entry.map_err(HistoryError::io("read", dir))?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        if let Some(number) = name.strip_suffix(".jsonl").and_then(|number| number.parse().ok()) {
            listing.open.push((number, entry.path()));
        } else if let Some((number, span_s)) = name.strip_suffix(".jsonl.gz").and_then(parse) {
            // Gone meanwhile: then it counts nothing.
            let bytes = entry.metadata().map_or(0, |file| file.len());
            listing.closed.push(Closed { number, span_s, bytes, path: entry.path() });
        }
    }
    listing.closed.sort_by_key(|closed| closed.number);
    listing.open.sort();
    Ok(listing)
}

fn parse(name: &str) -> Option<(u64, (i64, i64))> {
    let mut parts = name.splitn(3, '-');
    let (number, first, last) = (parts.next()?, parts.next()?, parts.next()?);
    Some((number.parse().ok()?, (first.parse().ok()?, last.parse().ok()?)))
}

/// Where the segment of a number is written.
pub(super) fn open_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:010}.jsonl"))
}

/// Compresses a segment that is full: under another name first, so that what has its name is whole.
pub(super) fn close(dir: &Path, number: u64, span_s: (i64, i64)) -> Result<Closed, HistoryError> {
    let open = open_path(dir, number);
    let path = dir.join(format!("{number:010}-{}-{}.jsonl.gz", span_s.0.max(0), span_s.1.max(0)));
    let unfinished = path.with_extension("unfinished");
    let compress = || -> io::Result<u64> {
        let mut from = BufReader::new(File::open(&open)?);
        let mut to = GzEncoder::new(BufWriter::new(File::create(&unfinished)?), Compression::default());
        io::copy(&mut from, &mut to)?;
        let file = to.finish()?.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.sync_all()?;
        fs::rename(&unfinished, &path)?;
        Ok(file.metadata()?.len())
    };
    let compressed = compress();
    if compressed.is_err() {
        // A disk that is full needs the room; it may not be there at all.
        let _ = fs::remove_file(&unfinished);
    }
    let bytes = compressed.map_err(HistoryError::io("compress", &open))?;
    fs::remove_file(&open).map_err(HistoryError::io("remove", &open))?;
    Ok(Closed { number, span_s, bytes, path })
}

/// Calls `each` with every whole line of a segment until it has enough. A last line without its end is none: it was being written.
pub(super) fn lines(
    path: &Path,
    mut each: impl FnMut(&str) -> ControlFlow<()>,
) -> Result<Torn, HistoryError> {
    let file = File::open(path).map_err(HistoryError::io("read", path))?;
    let is_compressed = path.extension().is_some_and(|end| end == "gz");
    let bytes: Box<dyn Read> =
        if is_compressed { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
    let mut from = BufReader::new(bytes);
    let (mut line, mut torn) = (Vec::new(), Torn::default());
    loop {
        line.clear();
        let read = (&mut from).take(LINE_BYTES_MAX as u64).read_until(b'\n', &mut line);
        if read.map_err(HistoryError::io("read", path))? == 0 {
            return Ok(torn);
        }
        match line.strip_suffix(b"\n").map(std::str::from_utf8) {
            Some(Ok(line)) => {
                torn.whole_bytes += line.len() as u64 + 1;
                if each(line).is_break() {
                    return Ok(torn);
                }
            }
            Some(Err(_)) | None => torn.lines += 1,
        }
    }
}

/// What of a segment is no line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Torn {
    pub(super) lines: u64,
    /// Bytes of those that are.
    pub(super) whole_bytes: u64,
}
