//! Conformance: what tidegauge says of captures, packet by packet, beside what tshark says, and connection by connection
//! beside tcptrace.
//!
//! Nothing is taken on trust: each program is run once per capture and only its output is read. A difference counts as one
//! even where it has a reason; tables say both figures. Called by `bench-conformance`.

pub mod by_tcptrace;
pub mod by_tidegauge;
pub mod compare;
pub mod connections;
pub mod judgement;
pub mod left_out;
pub mod live;
pub mod ours;
pub mod reason;
pub mod report;
pub mod tcptrace;
pub mod trips;
pub mod tshark;
pub mod without;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Serialize;

use crate::machine::find_program;
use crate::scratch::Scratch;
use compare::{Compared, Tallies, compare};
use connections::Connections;
use left_out::left_out;
use ours::Said;
use reason::Alone;
use tshark::Segment;

/// How a capture's name may end.
const EXTENSIONS: [&str; 3] = ["cap", "pcap", "pcapng"];

/// One capture and what came of it.
#[derive(Clone, Debug, Serialize)]
pub struct Capture {
    /// File name without directories.
    pub name: String,
    /// tidegauge beside tshark.
    pub compared: Compared,
}

/// Captures that are summed up in one table.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Group {
    /// What they are.
    pub title: String,
    /// One by one.
    pub captures: Vec<Capture>,
    /// All together.
    pub tallies: Tallies,
    /// TCP segments in them.
    pub segments: u64,
    /// Beside tcptrace; `None` where it is not installed.
    pub connections: Option<Connections>,
    /// Captures that a program could not read, and why.
    pub failed: Vec<String>,
}

impl Group {
    /// An empty group.
    pub fn new(title: &str) -> Self {
        let connections = find_program("tcptrace").map(|_| Connections::default());
        Self { title: title.to_owned(), connections, ..Self::default() }
    }

    /// Whether nothing was added to it.
    pub fn is_empty(&self) -> bool {
        self.captures.is_empty() && self.failed.is_empty()
    }

    /// Runs tidegauge, tshark and, where it is installed, tcptrace once each on a capture, and adds what comes of it.
    pub fn add(&mut self, tidegauge: &Path, capture: &Path) {
        let name = capture.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let both = || Ok((tshark::segments(capture)?, ours::read(tidegauge, capture)?));
        let both: Result<_> = both();
        let (segments, said) = match both {
            Ok(both) => both,
            Err(error) => return self.failed.push(format!("{name}: {error:#}")),
        };
        if let Some(connections) = &mut self.connections {
            match tcptrace::connections(capture) {
                Ok(theirs) => connections.add(&name, &said, &theirs, &segments),
                Err(error) => connections.leave_out(&name, &format!("{error:#}")),
            }
        }
        let alone = match alone(capture, &segments, &said) {
            Ok(alone) => alone,
            Err(error) => return self.failed.push(format!("{name}: {error:#}")),
        };
        let compared = compare(&segments, &said, &alone);
        self.segments += compared.segments;
        self.tallies.add(&compared.tallies);
        self.captures.push(Capture { name, compared });
    }
}

/// What tshark says of a capture without the packets that are to be left out, by their numbers in the whole one; nothing
/// where there are none, or where the format does not allow to take them out.
fn alone(capture: &Path, segments: &[Segment], said: &Said) -> Result<Alone> {
    let others = left_out(segments, said);
    if others.is_empty() {
        return Ok(Alone::new());
    }
    let scratch = Scratch::new("alone").context("create a temporary directory")?;
    let (file, converted) = (scratch.path().join("alone.pcap"), scratch.path().join("converted.pcap"));
    let capture = match without::is_readable(capture) {
        true => capture,
        // Not where there are several link types.
        false if without::convert(capture, &converted) => &converted,
        false => return Ok(Alone::new()),
    };
    let kept = without::write(capture, &others, &file)?;
    let segments = tshark::segments(&file)?.into_iter();
    let number = |packet: u64| kept.get(usize::try_from(packet).ok()?.checked_sub(1)?).copied();
    Ok(segments.filter_map(|segment| Some((number(segment.packet)?, segment))).collect())
}

/// The captures that `paths` name: files as they are, and all that directories hold, by name.
pub fn captures(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut captures = Vec::new();
    for path in paths {
        if path.is_dir() {
            captures.extend(captures_in(path)?);
        } else {
            captures.push(path.clone());
        }
    }
    Ok(captures)
}

/// All of a directory and those below it.
fn captures_in(directory: &Path) -> Result<Vec<PathBuf>> {
    let read = || -> Result<Vec<PathBuf>> {
        let entries = fs::read_dir(directory)?;
        entries.map(|entry| Ok(entry?.path())).collect()
    };
    let mut paths = read().with_context(|| format!("list {}", directory.display()))?;
    paths.sort();
    let mut captures = Vec::new();
    for path in paths {
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        if path.is_dir() {
            captures.extend(captures_in(&path)?);
        } else if EXTENSIONS.contains(&extension) {
            captures.push(path);
        }
    }
    Ok(captures)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_are_searched_and_files_are_taken_as_they_are() {
        let scratch = Scratch::new("captures").unwrap();
        let below = scratch.path().join("below");
        fs::create_dir(&below).unwrap();
        for name in ["b.pcapng", "a.pcap", "notes.txt", "below/c.pcap"] {
            fs::write(scratch.path().join(name), "").unwrap();
        }
        let file = scratch.path().join("notes.txt");
        let found = captures(&[scratch.path().to_owned(), file.clone()]).unwrap();
        let names = ["a.pcap", "b.pcapng", "below/c.pcap"].map(|name| scratch.path().join(name));
        assert_eq!(found, [&names[..], &[file]].concat());
        assert!(captures(&[scratch.path().join("none")]).unwrap()[0].ends_with("none"));
    }
}
