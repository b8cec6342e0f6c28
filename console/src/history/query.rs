//! Reading history, also while it is written.

use std::ops::ControlFlow;
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
    read_while(dir, query, |line| {
        each(line);
        ControlFlow::Continue(())
    })
}

/// The same until `each` has enough.
///
/// # Errors
/// As [`read`].
pub fn read_while(
    dir: &Path,
    query: &Query,
    mut each: impl FnMut(Line) -> ControlFlow<()>,
) -> Result<u64, HistoryError> {
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
    let mut flow = ControlFlow::Continue(());
    for (_, path) in segments {
        if flow.is_break() {
            break;
        }
        let mut not_ours = 0;
        let torn = segment::lines(&path, |text| {
            if flow.is_continue() {
                match Line::parse(text) {
                    Ok(line) if query.has(&line) => flow = each(line),
                    Ok(_) => {}
                    Err(_) => not_ours += 1,
                }
            }
            flow
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

/// First and last second of what is kept, packet time; `None` where nothing is. Of a segment that is being written only the
/// first line is looked at.
///
/// # Errors
/// Where the directory cannot be read.
pub fn span_s(dir: &Path) -> Result<Option<(i64, i64)>, HistoryError> {
    let Listing { closed, open } = segment::list(dir)?;
    let mut spans: Vec<_> = closed.iter().map(|closed| closed.span_s).collect();
    for (_, path) in open {
        let mut first_s = None;
        let looked = segment::lines(&path, |text| {
            first_s = Line::parse(text).ok().map(|line| line.ts_ns.div_euclid(1_000_000_000));
            if first_s.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        // One that is closed this moment counts with the next look.
        spans.extend(looked.ok().and(first_s).map(|first_s| (first_s, first_s)));
    }
    let whole = |(first, last): (i64, i64), (from, to): (i64, i64)| (first.min(from), last.max(to));
    Ok(spans.into_iter().reduce(whole))
}
