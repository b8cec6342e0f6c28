//! The captures at hand and their frames.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use tidegauge_capture::file::{FileReader, Input, Mapping};
use tidegauge_tests::random::Random;

/// Where captures are, from the package's directory: those shared beside the checkout, and the project's own.
const DIRECTORIES: [&str; 2] = ["../../shared/captures", "data"];
/// Frames kept per capture to draw mutated ones from, so that no long capture crowds out the odd ones.
const SAMPLE_FRAMES: usize = 400;

/// All captures, and the directories that are not there.
pub(crate) fn captures() -> (Vec<PathBuf>, Vec<PathBuf>) {
    let (mut captures, mut missing) = (Vec::new(), Vec::new());
    for directory in DIRECTORIES.map(|directory| Path::new(env!("CARGO_MANIFEST_DIR")).join(directory)) {
        let Ok(entries) = std::fs::read_dir(&directory) else {
            missing.push(directory);
            continue;
        };
        captures.extend(entries.flatten().map(|entry| entry.path()).filter(|path| is_capture(path)));
    }
    captures.sort();
    (captures, missing)
}

fn is_capture(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "pcap" || extension == "pcapng")
}

/// One frame.
pub(crate) struct Frame<'a> {
    pub(crate) ts_ns: u64,
    pub(crate) bytes: &'a [u8],
}

/// All frames of a capture, in one buffer.
#[derive(Default)]
pub(crate) struct Frames {
    bytes: Vec<u8>,
    /// Time, and end in `bytes`, ascending.
    ends: Vec<(u64, usize)>,
}

impl Frames {
    pub(crate) fn read(path: &Path) -> Self {
        let mut frames = Self::default();
        let mut reader = FileReader::open(&Input::Path(path.to_owned()), Mapping::Mapped)
            .expect("captures at hand can be read");
        let end = reader.for_each(|frame| {
            frames.bytes.extend(frame.bytes);
            frames.ends.push((frame.ts_ns, frames.bytes.len()));
            ControlFlow::Continue(())
        });
        end.expect("captures at hand can be read to their end");
        frames
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Frame<'_>> {
        let starts = std::iter::once(0).chain(self.ends.iter().map(|(_, end)| *end));
        let spans = starts.zip(&self.ends);
        spans.map(|(start, (ts_ns, end))| Frame { ts_ns: *ts_ns, bytes: &self.bytes[start..*end] })
    }
}

/// Frames of every capture, evenly drawn.
pub(crate) fn sample(captures: &[PathBuf], random: &mut Random) -> Vec<Vec<u8>> {
    let mut drawn = Vec::new();
    for path in captures {
        let frames = Frames::read(path);
        let every = (frames.ends.len() / SAMPLE_FRAMES).max(1);
        let first = random.below(every as u32) as usize;
        drawn.extend(frames.iter().skip(first).step_by(every).map(|frame| frame.bytes.to_vec()));
    }
    drawn
}
