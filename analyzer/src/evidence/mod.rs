//! Evidence: for each incident the packets that concern it, from before the trigger on, in a pcapng file of its own.
//!
//! Frames that pass are kept for a while, cut to their headers ([`ring`]). When an incident opens, those that concern it
//! ([`concern`]) go to a file ([`store`]), and so do those that follow until it closes. Comments of the section and of
//! the packet nearest to the trigger say rule, time and measured value ([`pcapng`]). Addresses can be replaced
//! ([`anonymise`]).
//!
//! Everything is bounded: the ring by bytes, a file by packets (half of them before the trigger) and by its share of the
//! disk, files by number, all of them by bytes; what closed first goes first. What did not fit is counted, at the incident
//! and in the summary. A fault of the disk ends a file and not the run.
//!
//! Files are read in the capture's order and windows come between the frames, so that the same capture gives the same
//! files, whatever the number of workers. Live, workers hand over what they kept once a tick: packets of different
//! workers may be out of order by some ticks.

pub mod anonymise;
pub mod concern;
pub mod pcapng;
mod recording;
pub mod ring;
pub mod store;

use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;
use tidegauge_capture::frame::CapturedFrame;
use tidegauge_ebpf::packet::Packet;
use tidegauge_ebpf::parse::parse;

use crate::incident::{HostTarget, Incident, NetworkTarget, State, Target};
use crate::time::timestamp;
use crate::window::ListenerKey;
use anonymise::Anonymiser;
use concern::Concern;
use recording::{Pen, Recording};
use ring::{Chunk, Keeper, Ring};
use store::{Store, StoreError};

/// Seconds before the trigger beside those that the rule looked at.
const BEFORE_S: f64 = 10.0;
/// Part of all bytes that one file may have: the flood that lasts must not push all others out.
const FILE_SHARE: u64 = 4;
/// Part of a file's packets that may be from before the trigger.
const BEFORE_SHARE: usize = 2;
/// Bytes that wait to be written, of each file.
const BUFFER_BYTES: usize = 64 * 1024;

/// How much is kept.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of a frame.
    pub snap_bytes: u32,
    /// Bytes of the frames from before a trigger.
    pub ring_bytes: usize,
    /// Packets of an incident.
    pub packets: usize,
    /// Files that exist at a time.
    pub files: usize,
    /// Bytes of all files in the directory.
    pub disk_bytes: u64,
}

/// What is kept of one incident.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Kept {
    /// The file.
    pub path: PathBuf,
    /// Packets in it.
    pub packets: u64,
    /// Its size.
    pub bytes: u64,
    /// Time of the first packet, RFC 3339; `None`: there is none yet.
    pub first_ts: Option<String>,
    /// Time of the last.
    pub last_ts: Option<String>,
    /// Whether packets that concern the incident are missing from it.
    pub truncated: bool,
    /// How many.
    pub packets_not_kept: u64,
    /// Whether addresses are images.
    pub anonymised: bool,
    /// Why nothing more could be written, if that is so.
    pub fault: Option<String>,
}

/// What came of a run's evidence.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Files that were begun.
    pub files: u64,
    /// Packets that were written.
    pub packets: u64,
    /// Packets that concerned an incident and did not fit its file.
    pub packets_not_kept: u64,
    /// Frames that a live worker could not keep for the time before a trigger.
    pub frames_not_remembered: u64,
    /// Incidents for which no file was left.
    pub incidents_without_file: u64,
    /// Files that were removed to make room, those of earlier runs among them.
    pub files_removed: u64,
    /// Files that could not be written or named.
    pub faults: u64,
}

/// Keeps evidence.
pub struct Recorder {
    limits: Limits,
    pen: Pen,
    application: String,
    ring: Ring,
    store: Store,
    recordings: Vec<Recording>,
    /// Whether any incident is open that packets are kept of.
    is_following: bool,
    packet: Packet,
    totals: Totals,
}

impl Recorder {
    /// Takes the directory `dir`; `application` is who writes, in the files.
    ///
    /// # Errors
    /// Where it cannot be written, or another run has it.
    pub fn open(
        dir: &Path,
        limits: Limits,
        anonymiser: Option<Anonymiser>,
        application: String,
    ) -> Result<Self, StoreError> {
        Ok(Self {
            limits,
            pen: Pen {
                snap_bytes: limits.snap_bytes,
                full_at: limits.disk_bytes / FILE_SHARE,
                anonymiser,
                scratch: Vec::new(),
            },
            application,
            ring: Ring::new(limits.ring_bytes),
            store: Store::open(dir, limits.files, limits.disk_bytes)?,
            recordings: Vec::new(),
            is_following: false,
            packet: Packet::EMPTY,
            totals: Totals::default(),
        })
    }

    /// A frame passes.
    #[inline]
    pub fn frame(&mut self, frame: &CapturedFrame<'_>) {
        let snap_bytes = self.limits.snap_bytes as usize;
        self.ring.push(frame, snap_bytes);
        if self.is_following {
            self.follow(&cut(frame, snap_bytes));
        }
    }

    /// What each of so many workers keeps its frames in.
    pub fn keeper(&self, workers: usize) -> Keeper {
        Keeper::new(self.limits.snap_bytes as usize, self.limits.ring_bytes / workers.max(1))
    }

    /// Frames that a worker kept, and how many it could not.
    pub fn chunk(&mut self, chunk: Chunk, not_remembered: u64) {
        self.totals.frames_not_remembered += not_remembered;
        if chunk.is_empty() {
            return;
        }
        if self.is_following {
            chunk.frames().for_each(|frame| self.follow(&frame));
        }
        self.ring.take(chunk);
    }

    /// An incident changed; what is kept of it.
    pub fn incident(&mut self, incident: &Incident) -> Option<Kept> {
        let known = self.recordings.iter().position(|recording| recording.id == incident.id);
        let place = match (known, incident.state) {
            (Some(place), _) => place,
            (None, State::Opened) => self.begin(incident)?,
            // There was no file for it, or it had to go.
            (None, State::Updated | State::Closed) => return None,
        };
        self.recordings[place].closed_ns = incident.closed_ns;
        self.is_following = self.recordings.iter().any(|recording| recording.closed_ns.is_none());
        self.flush(place);
        // Making room may have moved it.
        self.kept(&incident.id)
    }

    /// What is kept of an incident now.
    pub fn kept(&self, id: &str) -> Option<Kept> {
        let recording = self.recordings.iter().find(|recording| recording.id == id)?;
        Some(Kept {
            path: recording.slot.path().to_owned(),
            packets: recording.packets,
            bytes: recording.bytes,
            first_ts: recording.first_last_ns.map(|(first, _)| timestamp(first)),
            last_ts: recording.first_last_ns.map(|(_, last)| timestamp(last)),
            truncated: recording.not_kept != 0,
            packets_not_kept: recording.not_kept,
            anonymised: self.pen.anonymiser.is_some(),
            fault: recording.fault.clone(),
        })
    }

    /// The run is over: writes what waits, and removes files that no incident came for.
    pub fn finish(&mut self) {
        (0..self.recordings.len()).for_each(|place| self.flush(place));
        self.store.finish();
    }

    /// What came of it so far.
    pub fn totals(&self) -> Totals {
        let files_removed = self.totals.files_removed + self.store.removed();
        Totals { files_removed, ..self.totals.clone() }
    }

    /// Begins a file, with what passed before.
    fn begin(&mut self, incident: &Incident) -> Option<usize> {
        let concern = Concern::of(incident)?;
        if !self.store.has_free() {
            self.remove_oldest(None);
        }
        let name = store::name_of(&incident.id, &timestamp(incident.opened_ns));
        let slot = match self.store.take(&name) {
            Ok(Some(slot)) => slot,
            Ok(None) => {
                self.totals.incidents_without_file += 1;
                return None;
            }
            Err(_) => {
                self.totals.incidents_without_file += 1;
                self.totals.faults += 1;
                return None;
            }
        };
        self.totals.files += 1;
        let mut recording = Recording::new(incident.id.clone(), concern, slot, self.limits.packets);
        pcapng::section(&mut recording.buffer, &self.application, &self.section_comment(incident));
        recording.bytes = recording.buffer.len() as u64;
        self.add_before(&mut recording, incident);
        self.recordings.push(recording);
        Some(self.recordings.len() - 1)
    }

    /// Adds the packets that passed before the incident opened; as many as may be, the last ones.
    fn add_before(&mut self, recording: &mut Recording, incident: &Incident) {
        let before_ns = ((incident.peak.window_s.max(0.0) + BEFORE_S) * 1e9) as u64;
        let from_ns = incident.opened_ns.saturating_sub(before_ns);
        let most = self.limits.packets / BEFORE_SHARE;
        let mut chosen = Vec::new();
        for frame in self.ring.newest_first().filter(|frame| frame.ts_ns >= from_ns) {
            if !is_of(&recording.concern, &frame, &mut self.packet) {
                continue;
            }
            if chosen.len() < most {
                chosen.push(frame);
            } else {
                recording.not_kept += 1;
            }
        }
        self.totals.packets_not_kept += recording.not_kept;
        chosen.reverse();
        // Workers hand over one after the other.
        chosen.sort_by_key(|frame| frame.ts_ns);
        let distance_ns = |frame: &CapturedFrame<'_>| frame.ts_ns.abs_diff(incident.opened_ns);
        // Of those that are as near, the last one.
        let nearest = (0..chosen.len()).rev().min_by_key(|place| distance_ns(&chosen[*place]));
        let comment = packet_comment(incident);
        for (place, frame) in chosen.iter().enumerate() {
            if Some(place) == nearest {
                recording.comment = Some(comment.clone());
            }
            let added = recording.add(frame, &mut self.pen);
            self.totals.packets += u64::from(added);
            self.totals.packets_not_kept += u64::from(!added);
        }
        if nearest.is_none() {
            recording.comment = Some(comment);
        }
    }

    /// A frame passes while incidents are open.
    fn follow(&mut self, frame: &CapturedFrame<'_>) {
        let Some(link) = frame.link else { return };
        parse(frame.bytes, link, frame.wire_len, true, &mut self.packet);
        let mut is_due = false;
        for recording in self.recordings.iter_mut().filter(|recording| recording.closed_ns.is_none()) {
            if !recording.concern.matches(&self.packet, frame.bytes) {
                continue;
            }
            let added = recording.add(frame, &mut self.pen);
            self.totals.packets += u64::from(added);
            self.totals.packets_not_kept += u64::from(!added);
            is_due |= recording.buffer.len() >= BUFFER_BYTES;
        }
        if is_due {
            self.flush_due();
        }
    }

    /// Writes what waits of files that have enough of it.
    fn flush_due(&mut self) {
        let is_due = |recording: &Recording| recording.buffer.len() >= BUFFER_BYTES;
        while let Some(place) = self.recordings.iter().position(is_due) {
            self.flush(place);
        }
    }

    /// Writes what waits of a file; a fault ends the file.
    fn flush(&mut self, place: usize) {
        let Some(recording) = self.recordings.get(place) else { return };
        let (bytes, id) = (recording.buffer.len() as u64, recording.id.clone());
        if bytes == 0 {
            return;
        }
        let mut has_room = self.store.make_room(bytes);
        while !has_room && self.remove_oldest(Some(&id)) {
            has_room = self.store.make_room(bytes);
        }
        let Some(recording) = self.recordings.iter_mut().find(|recording| recording.id == id) else { return };
        let buffer = std::mem::take(&mut recording.buffer);
        let waiting = std::mem::take(&mut recording.waiting);
        let written = if has_room {
            self.store.write(&mut recording.slot, &buffer)
        } else {
            Err(io::Error::other("no room left for evidence"))
        };
        if let Err(error) = written {
            recording.fail(&error, bytes, waiting);
            self.totals.packets -= waiting;
            self.totals.packets_not_kept += waiting;
            self.totals.faults += 1;
        } else {
            recording.buffer = buffer;
            recording.buffer.clear();
        }
    }

    /// Removes the file that closed first, but for that of `spare`; whether there was one.
    fn remove_oldest(&mut self, spare: Option<&str>) -> bool {
        let closed = self.recordings.iter().enumerate().filter(|(_, recording)| {
            recording.closed_ns.is_some() && spare.is_none_or(|spare| recording.id != spare)
        });
        let oldest = closed.min_by_key(|(place, recording)| (recording.closed_ns, *place));
        let Some(place) = oldest.map(|(place, _)| place) else { return false };
        let recording = self.recordings.remove(place);
        self.totals.files_removed += 1;
        if self.store.give_back(recording.slot).is_err() {
            self.totals.faults += 1;
        }
        true
    }

    /// What is said of the whole file.
    fn section_comment(&self, incident: &Incident) -> String {
        let finding = &incident.peak;
        let usual = finding.baseline.map_or("not known yet".to_owned(), |usual| format!("{usual:.0}"));
        let anonymised = match self.pen.anonymiser {
            Some(_) => {
                "\naddresses: images (Crypto-PAn), checksums adjusted; frames end behind the last header that was read"
            }
            None => "",
        };
        format!(
            "{} opened {} at {} ({:?})\nrule: {}\nmeasured: {} {} (limit {}, usual {usual})\nframes: cut to {} bytes{anonymised}",
            incident.id,
            timestamp(incident.opened_ns),
            self.target(incident.target),
            finding.severity,
            finding.rule,
            finding.measured,
            finding.unit,
            finding.limit,
            self.limits.snap_bytes
        )
    }

    /// A target as the file has it.
    fn target(&self, target: Target) -> Target {
        let Some(anonymiser) = &self.pen.anonymiser else { return target };
        match target {
            Target::Capture | Target::Machine => target,
            Target::Listener(ListenerKey { address, port }) => {
                Target::Listener(ListenerKey { address: anonymiser.address(address), port })
            }
            Target::Host(host) => {
                Target::Host(HostTarget { address: anonymiser.address(host.address), ..host })
            }
            Target::Network(network) => {
                let address = anonymiser.network(network.address, network.prefix_bits);
                Target::Network(NetworkTarget { address, ..network })
            }
        }
    }
}

/// A frame as it is kept.
fn cut<'a>(frame: &CapturedFrame<'a>, snap_bytes: usize) -> CapturedFrame<'a> {
    CapturedFrame { bytes: &frame.bytes[..frame.bytes.len().min(snap_bytes)], ..*frame }
}

/// Whether a frame is a packet that concerns an incident.
fn is_of(concern: &Concern, frame: &CapturedFrame<'_>, packet: &mut Packet) -> bool {
    let Some(link) = frame.link else { return false };
    parse(frame.bytes, link, frame.wire_len, true, packet);
    concern.matches(packet, frame.bytes)
}

/// What is said of the packet nearest to the trigger.
fn packet_comment(incident: &Incident) -> String {
    let finding = &incident.peak;
    format!(
        "tidegauge: {} opened {}, measured {} {} (limit {}): {}",
        incident.id,
        timestamp(incident.opened_ns),
        finding.measured,
        finding.unit,
        finding.limit,
        finding.rule
    )
}
