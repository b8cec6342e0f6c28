//! Classic pcap: a header of 24 bytes, then records of a 16-byte header and the frame. The reader has no state
//! besides the header, so a record costs four loads and two comparisons.
//!
//! Read: both byte orders, microsecond and nanosecond times, and Kuznetzov's variant with 24-byte record headers.
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
    dlt: u16,
    link: Option<LinkType>,
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
        // Up to 2.3 some writers swapped the two lengths of a record; nothing newer than 2.4 exists.
        let (major, minor) = endian.u16_pair(version);
        if (major, minor) != (2, 4) {
            return Err(BrokenReason::PcapVersion(major, minor));
        }
        // The upper half holds the length of the frame check sequence.
        let dlt = (endian.u32(link) & 0xffff) as u16;
        Ok(Self { endian, ns_per_fraction, record_header_bytes, dlt, link: LinkType::from_dlt(dlt) })
    }

    /// The record at the start of `bytes`.
    #[inline]
    pub(super) fn step<'a>(&self, bytes: &'a [u8]) -> Step<'a> {
        let header = words(bytes).filter(|_| bytes.len() >= self.record_header_bytes);
        let Some([seconds, fraction, captured_len, wire_len]) = header else {
            return Step::Short(Short { need: self.record_header_bytes, part: Part::Header });
        };
        let captured_len = self.endian.u32(captured_len);
        let wire_len = self.endian.u32(wire_len);
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
