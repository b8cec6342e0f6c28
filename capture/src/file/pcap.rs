//! Classic pcap: a header of 24 bytes, then records of a 16-byte header and the frame. The reader has no state
//! besides the header, so a record costs four loads and two comparisons.
//!
//! Read: both byte orders, microsecond and nanosecond times, versions 2.0 to 2.4, and Kuznetzov's variant with 24-byte
//! record headers. Before version 2.3 the two lengths of a record stood the other way round, and with 2.3 they do where
//! what was captured would else be longer than the frame (so libpcap has it).
//! A frame check sequence that the header announces stays at the end of the frame: IP lengths make it harmless.

use super::error::BrokenReason;
use super::limits::FRAME_BYTES_MAX;
use super::step::{Endian, Part, Short, Step, words};
use crate::frame::CapturedFrame;
use tidegauge_ebpf::link::LinkType;

pub(super) const FILE_HEADER_BYTES: usize = 24;

const RECORD_HEADER_BYTES: usize = 16;
/// Kuznetzov's patch adds interface index, protocol, packet type and padding.
const MODIFIED_RECORD_HEADER_BYTES: usize = 24;
const NS_PER_S: u64 = 1_000_000_000;

/// What a file's header says about its records.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pcap {
    endian: Endian,
    /// 1,000 in a microsecond file, 1 in a nanosecond file.
    ns_per_fraction: u64,
    /// 16 or 24.
    record_header_bytes: usize,
    lengths: Lengths,
    dlt: u16,
    link: Option<LinkType>,
}

/// Which of a record's two lengths is that of the captured bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lengths {
    First,
    Second,
    Shorter,
}

/// The three layouts a pcap magic number names, in either byte order.
#[derive(Clone, Copy, Debug)]
pub(super) struct Magic {
    endian: Endian,
    ns_per_fraction: u64,
    record_header_bytes: usize,
}

impl Magic {
    /// `None` where the bytes are not the magic number of a pcap file.
    pub(super) fn of(first: [u8; 4]) -> Option<Self> {
        let (endian, ns_per_fraction, record_header_bytes) = match u32::from_be_bytes(first) {
            0xa1b2_c3d4 => (Endian::Big, 1_000, RECORD_HEADER_BYTES),
            0xd4c3_b2a1 => (Endian::Little, 1_000, RECORD_HEADER_BYTES),
            0xa1b2_3c4d => (Endian::Big, 1, RECORD_HEADER_BYTES),
            0x4d3c_b2a1 => (Endian::Little, 1, RECORD_HEADER_BYTES),
            0xa1b2_cd34 => (Endian::Big, 1_000, MODIFIED_RECORD_HEADER_BYTES),
            0x34cd_b2a1 => (Endian::Little, 1_000, MODIFIED_RECORD_HEADER_BYTES),
            _ => return None,
        };
        Some(Self { endian, ns_per_fraction, record_header_bytes })
    }
}

impl Pcap {
    /// Reads the file header behind its magic number: version, two obsolete words, snap length, link type.
    pub(super) fn new(
        magic: Magic,
        [_, version, _, _, _, link]: [[u8; 4]; FILE_HEADER_BYTES / 4],
    ) -> Result<Self, BrokenReason> {
        let Magic { endian, ns_per_fraction, record_header_bytes } = magic;
        let lengths = match endian.u16_pair(version) {
            (2, 4) => Lengths::First,
            (2, 3) => Lengths::Shorter,
            (2, 0..3) => Lengths::Second,
            // Nothing newer exists, and nothing older is told by this magic number.
            (major, minor) => return Err(BrokenReason::PcapVersion(major, minor)),
        };
        // The upper half holds the length of the frame check sequence.
        let dlt = (endian.u32(link) & 0xffff) as u16;
        Ok(Self { endian, ns_per_fraction, record_header_bytes, lengths, dlt, link: LinkType::from_dlt(dlt) })
    }

    /// Whether the first of a record's lengths is the frame's.
    #[cold]
    fn are_swapped(&self, first: u32, second: u32) -> bool {
        self.lengths == Lengths::Second || first > second
    }

    /// The record at the start of `bytes`.
    #[inline]
    pub(super) fn step<'a>(&self, bytes: &'a [u8]) -> Step<'a> {
        let header = words(bytes).filter(|_| bytes.len() >= self.record_header_bytes);
        let Some([seconds, fraction, captured_len, wire_len]) = header else {
            return Step::Short(Short { need: self.record_header_bytes, part: Part::Header });
        };
        let (mut captured_len, mut wire_len) = (self.endian.u32(captured_len), self.endian.u32(wire_len));
        if self.lengths != Lengths::First && self.are_swapped(captured_len, wire_len) {
            (captured_len, wire_len) = (wire_len, captured_len);
        }
        if captured_len > FRAME_BYTES_MAX {
            return Step::Broken(BrokenReason::FrameTooLong(captured_len));
        }
        // Writers that reserve space ahead leave zeros behind when they die: sixteen of them are a header, too.
        if (captured_len | wire_len) == 0 && (seconds, fraction) == ([0; 4], [0; 4]) {
            return Step::Broken(BrokenReason::ZeroFilled);
        }
        let len = self.record_header_bytes + captured_len as usize;
        let Some(frame) = bytes.get(self.record_header_bytes..len) else {
            return Step::Short(Short { need: len, part: Part::Whole });
        };
        let ts_ns = u64::from(self.endian.u32(seconds)) * NS_PER_S
            + u64::from(self.endian.u32(fraction)) * self.ns_per_fraction;
        let wire_len = wire_len.max(captured_len);
        Step::Frame {
            frame: CapturedFrame { ts_ns, dlt: self.dlt, link: self.link, wire_len, bytes: frame },
            len,
        }
    }
}

// Times need no saturation: the largest a file can hold fits.
const _: () = assert!((u32::MAX as u64).checked_mul(NS_PER_S + 1_000).is_some());
