//! Where generated packets go: built, written, and the facts of each counted on the way.
//!
//! Every capture passes through here once, in time order; header facts of the truth (flags, versions, lengths) are
//! counted only here, and conversations add what only they know (retransmissions, holes, completed handshakes).

use std::io::{self, Write};

use super::{EPOCH_US, Truth};
use crate::pcap::Writer;
use crate::wire::{Addresses, Direction, FrameBuilder, Path, Payload, Segment, flag};

/// One UDP datagram; what the path does not know.
#[derive(Clone, Debug)]
pub(super) struct Datagram {
    pub(super) at_us: u64,
    pub(super) direction: Direction,
    pub(super) payload: Payload,
}

/// What a conversation emits.
#[derive(Clone, Debug)]
pub(super) enum Packet {
    Tcp(Segment),
    Udp(Datagram),
}

impl Packet {
    pub(super) fn at_us(&self) -> u64 {
        match self {
            Self::Tcp(segment) => segment.at_us,
            Self::Udp(datagram) => datagram.at_us,
        }
    }
}

/// Writer of one capture.
pub(super) struct Sink<W> {
    builder: FrameBuilder,
    writer: Writer<W>,
    pub(super) truth: Truth,
}

impl<W: Write> Sink<W> {
    pub(super) fn new(out: W, snap_bytes: usize) -> io::Result<Self> {
        Ok(Self {
            builder: FrameBuilder::new(snap_bytes),
            writer: Writer::new(out, snap_bytes as u32)?,
            truth: Truth::default(),
        })
    }

    pub(super) fn packet(&mut self, path: &Path, packet: &Packet) -> io::Result<()> {
        match packet {
            Packet::Tcp(segment) => self.tcp(path, segment),
            Packet::Udp(datagram) => self.udp(path, datagram),
        }
    }

    pub(super) fn tcp(&mut self, path: &Path, segment: &Segment) -> io::Result<()> {
        let (wire_bytes, bytes) = self.builder.tcp(path, segment);
        self.writer.frame(EPOCH_US + segment.at_us, wire_bytes, bytes)?;
        let truth = &mut self.truth;
        truth.tcp_segments += 1;
        match segment.flags & (flag::SYN | flag::ACK) {
            flag::SYN => truth.syn += 1,
            flags if flags == flag::SYN | flag::ACK => truth.syn_ack += 1,
            _ => {}
        }
        truth.fin += u64::from(segment.flags & flag::FIN != 0);
        truth.rst += u64::from(segment.flags & flag::RST != 0);
        self.common(path, segment.at_us, wire_bytes);
        Ok(())
    }

    fn udp(&mut self, path: &Path, datagram: &Datagram) -> io::Result<()> {
        let (wire_bytes, bytes) = self.builder.udp(path, datagram.direction, &datagram.payload);
        self.writer.frame(EPOCH_US + datagram.at_us, wire_bytes, bytes)?;
        self.truth.udp_datagrams += 1;
        self.common(path, datagram.at_us, wire_bytes);
        Ok(())
    }

    fn common(&mut self, path: &Path, at_us: u64, wire_bytes: u32) {
        let truth = &mut self.truth;
        debug_assert!(at_us >= truth.duration_us, "packets come in time order");
        truth.packets += 1;
        truth.wire_bytes += u64::from(wire_bytes);
        truth.duration_us = at_us;
        truth.ipv6_packets += u64::from(matches!(path.addresses, Addresses::V6(..)));
        truth.vlan_packets += u64::from(path.vlan.is_some());
    }

    /// Flushes the file and hands over the truth.
    pub(super) fn finish(self) -> io::Result<Truth> {
        self.writer.finish()?;
        Ok(self.truth)
    }
}
