//! What a run told, on disk: for the morning after, for the report of last week.
//!
//! Segments of JSON Lines, the output contract's own, compressed once they are full: whatever reads lines (`report`, `diff`,
//! jq, DuckDB) reads history, and a line is safe as soon as it is written. Columns (Parquet) would be smaller, but a file of
//! them is nothing before its end is written, and a crash would cost all since the last one; an embedded database would be a
//! second format to keep.
//!
//! Bounded by bytes and by age ([`Limits`]): the oldest segment goes first. Windows are kept with their
//! [`slim::LISTED_MAX`] busiest listeners, hosts and targets; connections and judgements are not kept.
//!
//! A process that is killed leaves at most half a line, which the next one cuts off and counts. A disk that is full costs the
//! lines that do not fit, which are counted and said once; so does a process that cannot keep up.

mod keeper;
mod query;
mod segment;
mod slim;

use std::path::PathBuf;

use thiserror::Error;

pub use keeper::{Ended, History, Say};
pub use query::{Query, read, read_while, span_s};
pub use slim::LISTED_MAX;

/// How much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// All segments together.
    pub bytes_max: u64,
    /// From the newest line back, packet time.
    pub age_max_s: u64,
    /// A segment before it is compressed.
    pub segment_bytes: u64,
    /// The same, packet time.
    pub segment_s: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes_max: 512 << 20, age_max_s: 30 * 86_400, segment_bytes: 16 << 20, segment_s: 3_600 }
    }
}

/// Why there is no history.
#[derive(Debug, Error)]
pub enum HistoryError {
    /// The directory or a file in it.
    #[error("cannot {what} {}: {error}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        error: std::io::Error,
    },
    /// Another process keeps its history there.
    #[error("{} is in use by another run: one directory for each", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
}

impl HistoryError {
    fn io(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |error| Self::Io { what, path, error }
    }
}

#[cfg(test)]
mod tests;
