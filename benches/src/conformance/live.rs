//! Live conformance: real kernel TCP in trouble, and what the kernel says of it beside what tidegauge and tshark read in
//! captures of both ends.
//!
//! A scene is a lab with a box in its middle that loses, doubles and delays by a seed; nothing is merged or split, so that a
//! frame is a packet. The truth has two sources: the sending kernel's counters for what was sent again, and the box's own
//! record, packet by packet, for what became of it. Needs root; called by `bench-conformance` and by a test.

pub mod figures;
pub mod passage;
pub mod report;
pub mod scene;

use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tidegauge_tests::conversation::{Connection, connect, listen};
use tidegauge_tests::kernel_tcp::{Counters, Ss};
use tidegauge_tests::middlebox::{MiddleBox, Record, Way, frames_as_on_the_wire};
use tidegauge_tests::netns::{Lab, Side};
use tidegauge_tests::recorder::Recorder;

use super::ours::{self, Said};
use super::tshark::{self, Segment};
use crate::scratch::Scratch;
use scene::{Scene, Traffic};

/// Headers, with room for every option.
const SNAP_BYTES: u32 = 128;
/// The last acknowledgments' way through box and captures, and a tail that is sent again needlessly.
const SETTLE: Duration = Duration::from_millis(500);
/// Both ends, in the order of everything that has one for each.
pub const SIDES: [Side; 2] = [Side::Client, Side::Server];

/// What one end's kernel, capture and readers say.
#[derive(Debug)]
pub struct End {
    /// How the kernel's counters grew.
    pub counters: Counters,
    /// Each connection just before it was closed.
    pub connections: Vec<Ss>,
    /// tshark's reading of the capture.
    pub segments: Vec<Segment>,
    /// tidegauge's.
    pub said: Said,
}

/// A scene that was played.
#[derive(Debug)]
pub struct Played {
    /// The client's end, the server's.
    pub ends: [End; 2],
    /// What the box did.
    pub record: Record,
}

impl Played {
    /// One end.
    pub const fn end(&self, side: Side) -> &End {
        &self.ends[side as usize]
    }
}

/// The way that a side sends.
pub const fn way_from(side: Side) -> Way {
    match side {
        Side::Client => Way::ToServer,
        Side::Server => Way::ToClient,
    }
}

/// The other one.
pub const fn opposite(side: Side) -> Side {
    match side {
        Side::Client => Side::Server,
        Side::Server => Side::Client,
    }
}

/// Plays a scene in a lab of its own, and has both readers read what both ends captured.
pub fn play(scene: &Scene, seed: u64, tidegauge: &Path) -> Result<Played> {
    let scratch = Scratch::new("live").context("create a temporary directory")?;
    let lab = Lab::with_middle()?;
    let boxed = MiddleBox::start(&lab, seed)?;
    frames_as_on_the_wire(&lab)?;
    let recorders = start_recorders(&lab, scratch.path())?;
    let before = counters(&lab)?;
    for way in [Way::ToServer, Way::ToClient] {
        boxed.set(way, scene.impairment);
    }
    let connections = converse(&lab, &scene.traffic)?;
    thread::sleep(SETTLE);
    let [client_before, server_before] = before;
    let [client, server] = counters(&lab)?;
    let grown = [client.since(&client_before), server.since(&server_before)];
    let [client_file, server_file] = recorders;
    let files = [client_file.finish()?, server_file.finish()?];
    let record = boxed.finish()?;
    ensure!(record.lost == 0, "the lab itself lost {} frames", record.lost);
    let [client_file, server_file] = files;
    let [client_counters, server_counters] = grown;
    let [client_connections, server_connections] = connections;
    let ends = [
        read_end(tidegauge, &client_file, client_counters, client_connections)?,
        read_end(tidegauge, &server_file, server_counters, server_connections)?,
    ];
    Ok(Played { ends, record })
}

fn start_recorders(lab: &Lab, directory: &Path) -> Result<[Recorder; 2]> {
    let start = |side| Recorder::start(lab, side, directory, SNAP_BYTES);
    Ok([start(Side::Client)?, start(Side::Server)?])
}

fn counters(lab: &Lab) -> Result<[Counters; 2]> {
    Ok([Counters::of(lab, Side::Client)?, Counters::of(lab, Side::Server)?])
}

/// One connection after the other; what `ss` says of each at either end before it is closed.
fn converse(lab: &Lab, traffic: &Traffic) -> Result<[Vec<Ss>; 2]> {
    let listener = listen(lab)?;
    let mut told = [Vec::new(), Vec::new()];
    for _ in 0..traffic.connections() {
        let connection = connect(lab, &listener)?;
        speak(&connection, traffic)?;
        thread::sleep(SETTLE);
        for (side, told) in SIDES.into_iter().zip(&mut told) {
            told.push(Ss::of(lab, side)?);
        }
        connection.close()?;
    }
    Ok(told)
}

fn speak(connection: &Connection, traffic: &Traffic) -> Result<()> {
    match *traffic {
        Traffic::Bulk { bytes, send_buffer_bytes, .. } => {
            connection.limit_send_buffers(send_buffer_bytes)?;
            connection.transfer(Side::Server, bytes)
        }
        Traffic::Ask { questions, .. } => Ok(connection.ask(questions)?),
    }
}

fn read_end(tidegauge: &Path, file: &Path, counters: Counters, connections: Vec<Ss>) -> Result<End> {
    let segments = tshark::segments(file)?;
    Ok(End { counters, connections, segments, said: ours::read(tidegauge, file)? })
}
