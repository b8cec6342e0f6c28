//! A scene: a lab with a box in its middle, watched at both ends by tidegauge and by tcpdump.

use std::path::PathBuf;
use std::process::Command;
use std::sync::MutexGuard;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tidegauge_tests::middlebox::{MiddleBox, Record, checksums_as_on_the_wire, frames_as_on_the_wire};
use tidegauge_tests::netns::{Lab, Side};
use tidegauge_tests::recorder::{Recorder, iface};
use tidegauge_tests::skip::{root_or_skip, skip};

use crate::running::{Live, alone};
use crate::support::{events, run, tidegauge};

/// Loading the program is the longest part.
const PATIENCE: Duration = Duration::from_secs(15);
/// The last frames' way through box and captures.
const SETTLE: Duration = Duration::from_millis(400);
/// Captures have all of each frame.
const WHOLE_FRAMES: u32 = 0;
/// Of the box's draws.
const SEED: u64 = 7;
/// Programs that a scene asks.
const TOOLS: [&str; 5] = ["ethtool", "nstat", "ss", "tcpdump", "tshark"];
const SIDES: [Side; 2] = [Side::Client, Side::Server];

/// What one end saw.
pub(crate) struct End {
    /// The summary of the run on its interface: the kernel path.
    pub(crate) live: Value,
    /// That of the capture of its interface: the userspace engine.
    pub(crate) read: Value,
    /// The capture.
    pub(crate) capture: PathBuf,
}

/// What was seen and what was done.
pub(crate) struct Seen {
    pub(crate) client: End,
    pub(crate) server: End,
    pub(crate) record: Record,
    _dir: TempDir,
}

impl Seen {
    pub(crate) const fn end(&self, side: Side) -> &End {
        match side {
            Side::Client => &self.client,
            Side::Server => &self.server,
        }
    }
}

/// The other side.
pub(crate) const fn opposite(side: Side) -> Side {
    match side {
        Side::Client => Side::Server,
        Side::Server => Side::Client,
    }
}

/// How frames come to the interfaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Frames {
    /// As on the wire.
    Single,
    /// Several segments as one frame, where the sending TCP has them: the TCX program sees it before it is cut.
    Super,
}

/// Plays `play` between two watched ends, each frame a packet.
pub(crate) fn scene<T>(test: &str, play: impl FnOnce(&Lab, &MiddleBox<'_>) -> T) -> Option<(Seen, T)> {
    scene_of(test, Frames::Single, play)
}

/// Plays `play` between two watched ends; `None`, having said why, where this machine cannot.
pub(crate) fn scene_of<T>(
    test: &str,
    frames: Frames,
    play: impl FnOnce(&Lab, &MiddleBox<'_>) -> T,
) -> Option<(Seen, T)> {
    if !root_or_skip(test) {
        return None;
    }
    let missing = |tool: &&str| Command::new(tool).arg("--version").output().is_err();
    if let Some(tool) = TOOLS.iter().copied().find(missing) {
        skip(test, &format!("needs {tool}"));
        return None;
    }
    let lab = match Lab::with_middle() {
        Ok(lab) => lab,
        Err(error) if format!("{error:#}").contains("not permitted") => {
            skip(test, &format!("{error:#}"));
            return None;
        }
        Err(error) => panic!("{error:#}"),
    };
    let _alone: MutexGuard<'_, ()> = alone();
    let dir = TempDir::new().unwrap();
    let boxed = MiddleBox::start(&lab, SEED).unwrap();
    let runs = SIDES.map(|side| watch(&lab, side));
    match frames {
        Frames::Single => frames_as_on_the_wire(&lab),
        Frames::Super => checksums_as_on_the_wire(&lab),
    }
    .unwrap();
    let captures = SIDES.map(|side| Recorder::start(&lab, side, dir.path(), WHOLE_FRAMES).unwrap());
    let played = play(&lab, &boxed);
    std::thread::sleep(SETTLE);
    let files = captures.map(|capture| capture.finish().unwrap());
    let [client, server] = runs.map(|run| run.interrupt().summary().clone());
    let record = boxed.finish().unwrap();
    assert_eq!(record.lost, 0, "frames that the lab itself lost");
    let [client, server] =
        [client, server].into_iter().zip(files).map(end).collect::<Vec<_>>().try_into().ok()?;
    Some((Seen { client, server, record, _dir: dir }, played))
}

fn end((live, capture): (Value, PathBuf)) -> End {
    assert_eq!(live["quality"]["captured"], live["quality"]["seen"], "{}", live["quality"]);
    let ran = run(Command::new(tidegauge()).args(["read", "--json"]).arg(&capture));
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    let read = events(&ran.stdout).pop().unwrap();
    End { live, read, capture }
}

/// A run on the interface of a side.
pub(crate) fn watch(lab: &Lab, side: Side) -> Live {
    let mut command = lab.command(side, tidegauge());
    let mut live = Live::spawn(command.args(["live", "--json", "--source", "xdp", iface(side)]));
    live.wait_for(PATIENCE, |event| event["event"] == "source");
    live
}
