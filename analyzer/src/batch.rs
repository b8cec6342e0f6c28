//! A batch of frames on its way through the three steps, and where packet time passes the ends of ticks in it.
//!
//! Times are looked at in the order of the capture, when a batch is filled; so whoever works on a batch later knows
//! which of its frames belong to which tick. A frame that is a little late (several interfaces, several queues) counts
//! in the tick it arrives in. Packet time that jumps back by more than [`BACKWARDS_NS`] starts anew.

use std::collections::BTreeMap;

use tidegauge_capture::file::{FrameBatch, FrameMeta};
use tidegauge_capture::frame::CapturedFrame;
use tidegauge_ebpf::counter::{Counters, VALUES};
use tidegauge_ebpf::packet::{Transport, tcp_flag};
use tidegauge_ebpf::settings::Settings;

use crate::digest::{Digest, NOT_FOLLOWED, PARTITIONS};
use crate::feature::{TICK_NS, TICKS};

/// Frames of a batch: its digests fit a core's second-level cache.
pub const FRAMES_MAX: usize = 2_048;
/// A frame this much older than the current tick means that the clock was set or files are out of order.
pub const BACKWARDS_NS: u64 = 60 * 1_000_000_000;
const SECOND_NS: u64 = TICKS as u64 * TICK_NS;
/// Unread link types told apart; a capture with more of them than exist is hostile.
const UNREAD_LINKS_MAX: usize = 64;

/// What happens before a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// A tick is over.
    TickEnds {
        /// Its start, nanoseconds.
        start_ns: u64,
        /// Its end.
        end_ns: u64,
        /// Whether the next frame is in another second: then this tick is the second's last one with frames.
        ends_second: bool,
    },
    /// Packet time jumped back to this tick.
    JumpBack {
        /// Its start, nanoseconds.
        start_ns: u64,
    },
}

impl Turn {
    /// The tick from `start_ns` on is over, and the next thing is in the tick from `next_ns` on.
    const fn ends(start_ns: u64, next_ns: u64) -> Self {
        let ends_second = start_ns / SECOND_NS != next_ns / SECOND_NS;
        Self::TickEnds { start_ns, end_ns: start_ns + TICK_NS, ends_second }
    }
}

/// A turn, and the frame before which it happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Place of the frame in its batch.
    pub index: usize,
    /// What happens.
    pub turn: Turn,
}

/// Where packet time is.
#[derive(Clone, Debug, Default)]
pub struct Ticks {
    /// The current tick; `None` before the first frame.
    start_ns: Option<u64>,
    /// Times of the first and the last packet.
    first_last_ns: Option<(u64, u64)>,
    /// Frames that count in a later tick than their own.
    late: u64,
    /// Frames by DLT number that is not read, beyond [`UNREAD_LINKS_MAX`] under the last one.
    unread_links: BTreeMap<u16, u64>,
}

impl Ticks {
    /// A frame's time: cuts before it are appended.
    #[inline]
    fn pass(&mut self, ts_ns: u64, index: usize, cuts: &mut Vec<Cut>) {
        if self.start_ns.is_none_or(|start_ns| ts_ns.wrapping_sub(start_ns) >= TICK_NS) {
            self.leave(ts_ns, index, cuts);
        }
        let (first, last) = self.first_last_ns.unwrap_or((ts_ns, ts_ns));
        self.first_last_ns = Some((first.min(ts_ns), last.max(ts_ns)));
    }

    #[cold]
    fn leave(&mut self, ts_ns: u64, index: usize, cuts: &mut Vec<Cut>) {
        let tick_ns = ts_ns - ts_ns % TICK_NS;
        if let Some(start_ns) = self.start_ns {
            if ts_ns < start_ns && start_ns - ts_ns <= BACKWARDS_NS {
                self.late += 1;
                return;
            }
            cuts.push(Cut { index, turn: Turn::ends(start_ns, tick_ns) });
            if ts_ns < start_ns {
                cuts.push(Cut { index, turn: Turn::JumpBack { start_ns: tick_ns } });
            }
        }
        self.start_ns = Some(tick_ns);
    }

    /// Begins at this time, nanoseconds: from now on ticks pass without frames too.
    pub fn begin(&mut self, now_ns: u64) {
        self.start_ns = Some(now_ns - now_ns % TICK_NS);
    }

    /// Ends the current tick, and the empty ones up to `now_ns`, before frame number `index` of a batch: for live
    /// sources, where no frame need come.
    pub fn idle_until(&mut self, now_ns: u64, index: usize, cuts: &mut Vec<Cut>) {
        while let Some(start_ns) = self.start_ns.filter(|start_ns| now_ns >= start_ns + TICK_NS) {
            let next_ns = start_ns + TICK_NS;
            cuts.push(Cut { index, turn: Turn::ends(start_ns, next_ns) });
            self.start_ns = Some(next_ns);
        }
    }

    #[cold]
    fn note_unread(&mut self, dlt: u16) {
        let full = self.unread_links.len() >= UNREAD_LINKS_MAX && !self.unread_links.contains_key(&dlt);
        *self.unread_links.entry(if full { u16::MAX } else { dlt }).or_default() += 1;
    }

    /// Frames of link types that are not read, by DLT number.
    pub const fn unread_links(&self) -> &BTreeMap<u16, u64> {
        &self.unread_links
    }

    /// The turn that ends the current tick, and with it all that waits for its second's end.
    pub fn last_turn(&self) -> Option<Turn> {
        self.start_ns.map(|start_ns| Turn::TickEnds {
            start_ns,
            end_ns: start_ns + TICK_NS,
            ends_second: true,
        })
    }

    /// Times of the first and the last packet, nanoseconds.
    pub const fn first_last_ns(&self) -> Option<(u64, u64)> {
        self.first_last_ns
    }

    /// Frames counted in a later tick than their own.
    pub const fn late(&self) -> u64 {
        self.late
    }
}

/// A frame that a partition follows, with what a look ahead needs of it.
#[derive(Clone, Copy, Debug)]
pub struct Ticket {
    /// Hash of its flow.
    pub hash: u64,
    /// Its place in the batch.
    pub index: u16,
    /// What it is.
    pub kind: TicketKind,
}

/// What of the tables a frame will need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TicketKind {
    /// SYN or SYN-ACK: the half-open cache.
    Handshake,
    /// A segment without payload: its connection.
    Bare,
    /// A segment with payload: its connection and its story.
    Payload,
    /// No TCP: nothing.
    Other,
}

impl Ticket {
    #[inline]
    fn of(digest: &Digest, index: usize) -> Self {
        let segment = &digest.packet.segment;
        let kind = if digest.packet.transport != Transport::Tcp {
            TicketKind::Other
        } else if segment.has(tcp_flag::SYN) {
            TicketKind::Handshake
        } else if segment.payload_bytes == 0 {
            TicketKind::Bare
        } else {
            TicketKind::Payload
        };
        Self { hash: digest.hash, index: index as u16, kind }
    }
}

/// Frames, and what is known of them.
pub struct Batch {
    /// The frames themselves.
    pub frames: FrameBatch,
    /// Which of them count, where a filter lets only some pass; else all do.
    pub chosen: Option<Vec<u16>>,
    /// Number of the first frame in the run, from 1.
    pub first_packet: u64,
    /// Turns, in order.
    pub cuts: Vec<Cut>,
    /// What was read of each frame.
    pub digests: Vec<Digest>,
    /// Frames that each partition follows.
    pub lists: [Vec<Ticket>; PARTITIONS],
    /// Header facts: one set for each cut, of the frames before it, and one for those behind the last.
    pub headers: Vec<[u64; VALUES]>,
}

impl Default for Batch {
    fn default() -> Self {
        Self {
            frames: FrameBatch::new(),
            chosen: None,
            first_packet: 1,
            cuts: Vec::new(),
            digests: vec![Digest::EMPTY; FRAMES_MAX],
            lists: std::array::from_fn(|_| Vec::with_capacity(FRAMES_MAX)),
            headers: Vec::new(),
        }
    }
}

impl std::fmt::Debug for Batch {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Batch of {}", self.len())
    }
}

const _: () = assert!(FRAMES_MAX <= u16::MAX as usize);

impl Batch {
    /// Frames that count.
    pub fn len(&self) -> usize {
        self.chosen.as_ref().map_or(self.frames.frames().len(), Vec::len)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Frame number `index` of those that count.
    #[inline]
    fn meta(&self, index: usize) -> &FrameMeta {
        let place = self.chosen.as_ref().map_or(index, |chosen| usize::from(chosen[index]));
        &self.frames.frames()[place]
    }

    /// Captured bytes of frame number `index` of those that count.
    #[inline]
    pub fn bytes(&self, index: usize) -> &[u8] {
        self.frames.bytes(self.meta(index))
    }

    /// Frame number `index` of those that count.
    pub fn frame(&self, index: usize) -> CapturedFrame<'_> {
        let place = self.chosen.as_ref().map_or(index, |chosen| usize::from(chosen[index]));
        self.frames.frame(place)
    }

    /// Looks at the times of the frames, in the order of the run; `first_packet` is the number of the first.
    pub fn time(&mut self, ticks: &mut Ticks, first_packet: u64) {
        self.first_packet = first_packet;
        self.cuts.clear();
        for index in 0..self.len() {
            let FrameMeta { ts_ns, dlt, link, .. } = *self.meta(index);
            ticks.pass(ts_ns, index, &mut self.cuts);
            if link.is_none() {
                ticks.note_unread(dlt);
            }
        }
    }

    /// Leaves of what was read to be followed only the flows of which `unsampled_bits` of their hash are 0, and what is not
    /// TCP; returns the segments of the others.
    pub fn sample(&mut self, unsampled_bits: u64) -> u64 {
        let (mut unsampled, count) = (0, self.len());
        for digest in &mut self.digests[..count] {
            if digest.packet.transport == Transport::Tcp && digest.hash & unsampled_bits != 0 {
                digest.partition = NOT_FOLLOWED;
                unsampled += 1;
            }
        }
        for list in &mut self.lists {
            list.retain(|ticket| ticket.kind == TicketKind::Other || ticket.hash & unsampled_bits == 0);
        }
        unsampled
    }

    /// Reads all headers, on any thread; `counters` is room to count in.
    pub fn read(&mut self, settings: Settings, counters: &mut Counters) {
        self.lists.iter_mut().for_each(Vec::clear);
        self.headers.clear();
        let (frames, count) = (self.frames.view(), self.len());
        let ends = self.cuts.iter().map(|cut| cut.index.min(count)).chain([count]);
        let mut start = 0;
        for end in ends {
            let span = start..end.max(start);
            let (digests, lists) = (&mut self.digests[span.clone()], &mut self.lists);
            match self.chosen.as_deref() {
                None => read_span(frames.frames(span.clone()), digests, start, lists, &settings, counters),
                Some(chosen) => {
                    let chosen = chosen[span.clone()].iter().map(|place| frames.frame(usize::from(*place)));
                    read_span(chosen, digests, start, lists, &settings, counters);
                }
            }
            self.headers.push(std::mem::replace(&mut counters.values, [0; VALUES]));
            start = span.end;
        }
    }
}

/// Reads frames between two cuts into their digests, the first of which is number `start` in its batch.
fn read_span<'a>(
    frames: impl Iterator<Item = CapturedFrame<'a>>,
    digests: &mut [Digest],
    start: usize,
    lists: &mut [Vec<Ticket>; PARTITIONS],
    settings: &Settings,
    counters: &mut Counters,
) {
    for (offset, (digest, frame)) in digests.iter_mut().zip(frames).enumerate() {
        digest.read(&frame, settings, counters);
        if digest.partition != NOT_FOLLOWED {
            let list = &mut lists[usize::from(digest.partition) & (PARTITIONS - 1)];
            list.push(Ticket::of(digest, start + offset));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The turns of frames at these times, in ticks and tenths of them.
    fn turns(times: &[f64]) -> Vec<Turn> {
        let (mut ticks, mut cuts) = (Ticks::default(), Vec::new());
        for (index, time) in times.iter().enumerate() {
            ticks.pass((time * TICK_NS as f64) as u64, index, &mut cuts);
        }
        cuts.into_iter().map(|cut| cut.turn).collect()
    }

    fn ends(tick: u64, ends_second: bool) -> Turn {
        let start_ns = tick * TICK_NS;
        Turn::TickEnds { start_ns, end_ns: start_ns + TICK_NS, ends_second }
    }

    #[test]
    fn a_second_ends_with_its_last_tick_that_has_frames() {
        assert_eq!(turns(&[100.1, 100.2, 103.0, 112.5]), [ends(100, false), ends(103, true)]);
        assert_eq!(turns(&[109.0, 110.0]), [ends(109, true)]);
    }

    #[test]
    fn a_late_frame_counts_where_it_arrives_and_a_jump_back_begins_anew() {
        assert_eq!(turns(&[105.0, 104.9, 105.1]), []);
        let jump = Turn::JumpBack { start_ns: 100 * TICK_NS };
        assert_eq!(turns(&[5_000.0, 100.0]), [ends(5_000, true), jump]);
    }
}
