//! The limit reader: the least work that still counts packets, reads headers, or follows TCP. A yardstick.
//!
//! It says what this machine can do with a capture, so that other speeds can be given as ratios that hold on any
//! machine. It is no product: flows are told apart by a 64-bit hash alone, nothing expires, IP options beyond the
//! length, IPv6 extension headers and TCP options are not looked at, and nothing is reported but sums.
//! Each level contains the one before it. Called by the `limit` binary and by tests.

mod flows;
mod half_open;
mod packet;

use std::fs::File;
use std::io;
use std::path::Path;

use serde::Serialize;

use crate::memory::{map_file, prefetch};
use crate::pcap::{self, FILE_HEADER_BYTES, Record, Records};
use flows::Flows;
use half_open::HalfOpen;
use packet::{Packet, Protocol, flag};

/// Packets whose table lines are fetched before the first of them is processed: enough to hide a DRAM access.
const BATCH_PACKETS: usize = 32;
/// About the size of a second-level cache.
const BLOCK_BYTES: usize = 1 << 20;

/// How much is done per packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Level {
    /// Record headers only.
    Walk,
    /// And Ethernet, VLAN, IP, TCP and UDP headers, counted by flag and by second.
    L4,
    /// And a flow table, half-open handshakes, sequence numbers, handshake and segment round-trip times.
    Tcp,
}

/// How the file is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Input {
    /// Mapped: best for whole frames, because payload is never touched; the whole file counts as resident.
    Map,
    /// `read(2)` in blocks: best for small packets.
    Read,
}

/// Sums over a capture.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Counts {
    /// Records.
    pub packets: u64,
    /// Sum of their lengths on the wire.
    pub wire_bytes: u64,
    /// With TCP.
    pub tcp: u64,
    /// With UDP.
    pub udp: u64,
    /// SYN without ACK.
    pub syn: u64,
    /// SYN with ACK.
    pub syn_ack: u64,
    /// With FIN.
    pub fin: u64,
    /// With RST.
    pub rst: u64,
    /// SYNs seen before.
    pub syn_retransmissions: u64,
    /// Unanswered SYNs pushed out of the cache.
    pub half_open_evicted: u64,
    /// SYNs answered by RST.
    pub refused: u64,
    /// SYN-ACKs acknowledged.
    pub handshakes_completed: u64,
    /// From first SYN to that ACK, summed.
    pub handshake_us_sum: u64,
    /// Entries of the flow table.
    pub flows: u64,
    /// Payload segments that begin before the highest sequence number seen: sent again, or late.
    pub behind: u64,
    /// Pure ACKs that repeat the number before them.
    pub duplicate_acks: u64,
    /// Segments timed.
    pub rtt_samples: u64,
    /// From segment to its ACK, summed.
    pub rtt_us_sum: u64,
    /// SYNs of the busiest second.
    pub syn_per_s_max: u32,
    #[serde(skip)]
    seconds: Vec<Second>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Second {
    packets: u32,
    syn: u32,
    wire_bytes: u64,
}

/// Reads the capture at `path`.
pub fn run(path: &Path, level: Level, input: Input) -> io::Result<Counts> {
    let file = File::open(path)?;
    let mut counts = Counts::default();
    let mut tracker = Tracker::new()?;
    match input {
        Input::Map => {
            let map = map_file(&file)?;
            pcap::read_file_header(&mut &map[..])?;
            block(&map[FILE_HEADER_BYTES..], level, &mut counts, &mut tracker);
        }
        Input::Read => pcap::for_each_block(file, BLOCK_BYTES, |bytes| {
            block(bytes, level, &mut counts, &mut tracker) //
        })?,
    }
    tracker.flush(&mut counts);
    counts.flows = tracker.flows.count() as u64;
    counts.half_open_evicted = tracker.half_open.evicted();
    counts.syn_per_s_max = counts.seconds.iter().map(|second| second.syn).max().unwrap_or(0);
    Ok(counts)
}

/// Processes the whole records of `bytes`; returns how many bytes they are.
fn block(bytes: &[u8], level: Level, counts: &mut Counts, tracker: &mut Tracker) -> usize {
    let mut records = Records::new(bytes);
    // One loop per level, so that the cheaper ones do not pay for the branch.
    match level {
        Level::Walk => {
            for record in records.by_ref() {
                counts.packets += 1;
                counts.wire_bytes += u64::from(record.wire_bytes);
            }
        }
        Level::L4 => {
            for record in records.by_ref() {
                counts.record(&record);
            }
        }
        Level::Tcp => {
            for record in records.by_ref() {
                if let Some(packet) = counts.record(&record) {
                    tracker.push(packet, counts);
                }
            }
        }
    }
    records.consumed_bytes()
}

impl Counts {
    #[inline]
    fn record(&mut self, record: &Record<'_>) -> Option<Packet> {
        self.packets += 1;
        self.wire_bytes += u64::from(record.wire_bytes);
        let packet = packet::parse(record)?;
        let is_syn = packet.is_syn();
        match packet.protocol {
            Protocol::Tcp => {
                self.tcp += 1;
                self.syn += u64::from(is_syn);
                self.syn_ack += u64::from(packet.flags & (flag::SYN | flag::ACK) == flag::SYN | flag::ACK);
                self.fin += u64::from(packet.flags & flag::FIN != 0);
                self.rst += u64::from(packet.flags & flag::RST != 0);
            }
            Protocol::Udp => self.udp += 1,
        }
        let second = self.second(record.at_s);
        second.packets += 1;
        second.wire_bytes += u64::from(record.wire_bytes);
        second.syn += u32::from(is_syn);
        Some(packet)
    }

    /// The counters of a second. An hour of seconds is kept and reused, which bounds them for any time stamps.
    #[inline]
    fn second(&mut self, at_s: u32) -> &mut Second {
        if self.seconds.is_empty() {
            self.seconds = vec![Second::default(); 3600];
        }
        &mut self.seconds[at_s as usize % 3600]
    }
}

/// Flow state, and the packets whose table lines are on their way into the cache.
struct Tracker {
    batch: Vec<Packet>,
    flows: Flows,
    half_open: HalfOpen,
}

impl Tracker {
    fn new() -> io::Result<Self> {
        Ok(Self {
            batch: Vec::with_capacity(BATCH_PACKETS),
            flows: Flows::new()?,
            half_open: HalfOpen::new()?,
        })
    }

    #[inline]
    fn push(&mut self, packet: Packet, counts: &mut Counts) {
        if packet.is_syn() {
            prefetch(self.half_open.line(packet.key));
        } else {
            prefetch(self.flows.line(packet.key));
        }
        self.batch.push(packet);
        if self.batch.len() == BATCH_PACKETS {
            self.flush(counts);
        }
    }

    fn flush(&mut self, counts: &mut Counts) {
        let mut batch = std::mem::take(&mut self.batch);
        for packet in batch.drain(..) {
            self.process(&packet, counts);
        }
        self.batch = batch;
    }

    /// A SYN touches the half-open cache only: a flood of them costs no flow entry.
    #[inline]
    fn process(&mut self, packet: &Packet, counts: &mut Counts) {
        if packet.is_syn() {
            counts.syn_retransmissions += u64::from(self.half_open.insert(packet));
            return;
        }
        if let Some(flow) = self.flows.find(packet.key) {
            flow.update(packet, counts);
            return;
        }
        let asked_us = match packet.protocol {
            Protocol::Tcp if packet.flags & (flag::SYN | flag::RST) != 0 => self.half_open.take(packet.key),
            Protocol::Tcp | Protocol::Udp => None,
        };
        if packet.flags & flag::RST != 0 {
            counts.refused += u64::from(asked_us.is_some());
            return;
        }
        self.flows.insert(packet, asked_us).update(packet, counts);
    }
}

#[cfg(test)]
mod tests;
