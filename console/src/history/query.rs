//! Reading history, also while it is written.

use std::path::Path;

use super::HistoryError;
use super::segment::{self, Listing};
use crate::line::{Event, Line};

/// What is asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Query {
    /// Packet time, from here on.
    pub from_ns: Option<i64>,
    /// Before this.
    pub to_ns: Option<i64>,
    /// Only incidents.
    pub incidents_only: bool,
}

impl Query {
    fn has(&self, line: &Line) -> bool {
        self.from_ns.is_none_or(|from_ns| line.ts_ns >= from_ns)
            && self.to_ns.is_none_or(|to_ns| line.ts_ns < to_ns)
            && (!self.incidents_only || line.event == Event::Incident)
    }

    fn may_have(&self, (first_s, last_s): (i64, i64)) -> bool {
        self.from_ns.is_none_or(|from_ns| last_s >= from_ns.div_euclid(1_000_000_000))
            && self.to_ns.is_none_or(|to_ns| first_s <= to_ns.div_euclid(1_000_000_000))
    }
}

/// Calls `each` with the lines that are asked for, in the order in which they were told. Returns how many lines could not be read.
///
/// # Errors
/// Where the directory or a segment cannot be read.
pub fn read(dir: &Path, query: &Query, mut each: impl FnMut(Line)) -> Result<u64, HistoryError> {
    let Listing { closed, open } = segment::list(dir)?;
    let closed = closed
        .into_iter()
        .filter(|closed| query.may_have(closed.span_s))
        .map(|closed| (closed.number, closed.path));
    let mut segments: Vec<_> = closed.chain(open).collect();
    segments.sort();
    // One that was closed a moment ago is there under both names.
    segments.dedup_by_key(|(number, _)| *number);
    let mut unreadable = 0;
    for (_, path) in segments {
        let mut not_ours = 0;
        let torn = segment::lines(&path, |text| match Line::parse(text) {
            Ok(line) if query.has(&line) => each(line),
            Ok(_) => {}
            Err(_) => not_ours += 1,
        });
        match torn {
            Ok(torn) => unreadable += torn.lines + not_ours,
            // Removed for its age meanwhile.
            Err(HistoryError::Io { error, .. }) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(unreadable)
}
