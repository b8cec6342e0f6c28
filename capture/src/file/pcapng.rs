//! pcapng: a file of blocks; each has its kind, its length, a body and its length again.
//!
//! Read: section headers (any number, each in its own byte order), interface descriptions, and the three blocks
//! with frames: enhanced, simple and the obsolete one. All other blocks, and all options but the two that define
//! an interface's clock, are skipped. State: the interfaces of the current section, `INTERFACES_MAX` at most.
//!
//! A simple packet block has no time; its frame gets that of the frame before it, so that packet time never jumps.

use super::clock::Clock;
use super::error::BrokenReason;
use super::limits::{BLOCK_BYTES_MAX, FRAME_BYTES_MAX, INTERFACES_MAX};
use super::step::{Endian, Part, Short, Step, words};
use crate::frame::CapturedFrame;
use tidegauge_ebpf::link::LinkType;

/// The kind of a section header, the same in both byte orders, and therefore the magic number of a file.
pub(super) const SECTION_MAGIC: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];
/// Shortest block: kind and both lengths.
pub(super) const BLOCK_BYTES_MIN: usize = 12;

const BYTE_ORDER_MARK: u32 = 0x1a2b_3c4d;
const TRAILER_BYTES: usize = 4;

/// Block kinds that are read.
mod kind {
    pub(super) const INTERFACE: u32 = 1;
    pub(super) const OBSOLETE_PACKET: u32 = 2;
    pub(super) const SIMPLE_PACKET: u32 = 3;
    pub(super) const ENHANCED_PACKET: u32 = 6;
}

/// Bytes before the variable part of a block, its kind and length included.
mod head_bytes {
    pub(super) const SECTION: usize = 24;
    pub(super) const INTERFACE: usize = 16;
    pub(super) const SIMPLE_PACKET: usize = 12;
    /// Of enhanced and obsolete packet blocks.
    pub(super) const PACKET: usize = 28;
}

/// Options of an interface description that are read.
mod option {
    pub(super) const END: u16 = 0;
    pub(super) const TIME_RESOLUTION: u16 = 9;
    pub(super) const TIME_OFFSET: u16 = 14;
}

/// Byte order and interfaces of the section at the cursor.
#[derive(Debug)]
pub(super) struct Pcapng {
    endian: Endian,
    /// len <= `INTERFACES_MAX`
    interfaces: Vec<Interface>,
    /// Time of the newest frame, for blocks that have none.
    last_ts_ns: u64,
}

#[derive(Clone, Copy, Debug)]
struct Interface {
    clock: Clock,
    dlt: u16,
    link: Option<LinkType>,
    /// 0: no limit.
    snap_len: u32,
}

/// Head of an enhanced or obsolete packet block, which differ in how they name the interface only.
struct PacketHead {
    interface: u32,
    ticks: u64,
    captured_len: u32,
    wire_len: u32,
}

impl Pcapng {
    /// A reader in front of the first section header. Until that is read the byte order is of no consequence.
    pub(super) fn new() -> Self {
        Self { endian: Endian::Little, interfaces: Vec::new(), last_ts_ns: 0 }
    }

    /// The block at the start of `bytes`.
    #[inline]
    pub(super) fn step<'a>(&mut self, bytes: &'a [u8]) -> Step<'a> {
        let Some([kind, block_len, mark]) = words(bytes) else {
            return Step::Short(Short { need: BLOCK_BYTES_MIN, part: Part::Header });
        };
        let endian = if kind == SECTION_MAGIC {
            let Some(endian) = byte_order(mark) else { return Step::Broken(BrokenReason::ByteOrder) };
            endian
        } else {
            self.endian
        };
        let len = endian.u32(block_len);
        if len > BLOCK_BYTES_MAX {
            return Step::Broken(BrokenReason::BlockTooLong(len));
        }
        if len < BLOCK_BYTES_MIN as u32 || !len.is_multiple_of(4) {
            return Step::Broken(BrokenReason::BlockLength(len));
        }
        let len = len as usize;
        let Some((block, trailer)) = bytes.get(..len).and_then(|block| block.split_last_chunk()) else {
            return Step::Short(Short { need: len, part: Part::Whole });
        };
        if *trailer != block_len {
            return Step::Broken(BrokenReason::BlockTrailer(len as u32, endian.u32(*trailer)));
        }
        let read = if kind == SECTION_MAGIC {
            self.section(endian, block).map(|()| None)
        } else {
            self.block(endian.u32(kind), block)
        };
        match read {
            Ok(Some(frame)) => Step::Frame { frame, len },
            Ok(None) => Step::Skip { len },
            Err(reason) => Step::Broken(reason),
        }
    }

    /// Reads a block that is not a section header; `block` is all of it but the trailer.
    #[inline]
    fn block<'a>(&mut self, kind: u32, block: &'a [u8]) -> Result<Option<CapturedFrame<'a>>, BrokenReason> {
        match kind {
            kind::ENHANCED_PACKET => self.enhanced_packet(block).map(Some),
            kind::SIMPLE_PACKET => self.simple_packet(block).map(Some),
            kind::OBSOLETE_PACKET => self.obsolete_packet(block).map(Some),
            kind::INTERFACE => self.interface(block).map(|()| None),
            _ => Ok(None),
        }
    }

    /// A new section: its own byte order, and no interface yet.
    fn section(&mut self, endian: Endian, block: &[u8]) -> Result<(), BrokenReason> {
        let [_, _, _, version, _, _] = words::<{ head_bytes::SECTION / 4 }>(block).ok_or(short(block))?;
        let (major, minor) = endian.u16_pair(version);
        if major != 1 {
            return Err(BrokenReason::SectionVersion(major, minor));
        }
        self.endian = endian;
        self.interfaces.clear();
        Ok(())
    }

    fn interface(&mut self, block: &[u8]) -> Result<(), BrokenReason> {
        let [_, _, link, snap_len] = words::<{ head_bytes::INTERFACE / 4 }>(block).ok_or(short(block))?;
        if self.interfaces.len() == INTERFACES_MAX {
            return Err(BrokenReason::Interfaces);
        }
        let (dlt, _reserved) = self.endian.u16_pair(link);
        let clock = self.clock(&block[head_bytes::INTERFACE..])?;
        let link = LinkType::from_dlt(dlt);
        self.interfaces.push(Interface { clock, dlt, link, snap_len: self.endian.u32(snap_len) });
        Ok(())
    }

    /// The clock that the options of an interface description define.
    fn clock(&self, mut options: &[u8]) -> Result<Clock, BrokenReason> {
        let mut clock = Clock::MICROSECONDS;
        while let Some((&[code_0, code_1, len_0, len_1], rest)) = options.split_first_chunk() {
            let code = self.endian.u16([code_0, code_1]);
            if code == option::END {
                break;
            }
            let len = usize::from(self.endian.u16([len_0, len_1]));
            let value = rest.get(..len).ok_or(BrokenReason::Option(code))?;
            match (code, value) {
                (option::TIME_RESOLUTION, &[tsresol]) => clock.set_resolution(tsresol),
                (option::TIME_OFFSET, &[a, b, c, d, e, f, g, h]) => {
                    clock.set_offset_s(self.endian.i64([a, b, c, d, e, f, g, h]));
                }
                _ => {}
            }
            // Values are padded to whole words; the last one's padding is forgotten by some writers.
            options = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
        }
        Ok(clock)
    }

    #[inline]
    fn enhanced_packet<'a>(&mut self, block: &'a [u8]) -> Result<CapturedFrame<'a>, BrokenReason> {
        let (head, rest) = self.packet_head(block)?;
        self.packet(head, rest)
    }

    /// Like an enhanced packet block, but the interface has 16 bits, and a drop count is in the other half.
    fn obsolete_packet<'a>(&mut self, block: &'a [u8]) -> Result<CapturedFrame<'a>, BrokenReason> {
        let (mut head, rest) = self.packet_head(block)?;
        let [_, _, interface] = words(block).ok_or(short(block))?;
        head.interface = u32::from(self.endian.u16_pair(interface).0);
        self.packet(head, rest)
    }

    #[inline]
    fn packet_head<'a>(&self, block: &'a [u8]) -> Result<(PacketHead, &'a [u8]), BrokenReason> {
        let [_, _, interface, ticks_high, ticks_low, captured_len, wire_len] =
            words::<{ head_bytes::PACKET / 4 }>(block).ok_or(short(block))?;
        let endian = self.endian;
        let head = PacketHead {
            interface: endian.u32(interface),
            ticks: u64::from(endian.u32(ticks_high)) << 32 | u64::from(endian.u32(ticks_low)),
            captured_len: endian.u32(captured_len),
            wire_len: endian.u32(wire_len),
        };
        Ok((head, &block[head_bytes::PACKET..]))
    }

    #[inline]
    fn packet<'a>(&mut self, head: PacketHead, rest: &'a [u8]) -> Result<CapturedFrame<'a>, BrokenReason> {
        let PacketHead { interface, ticks, captured_len, wire_len } = head;
        let known = self.interfaces.get(interface as usize).ok_or(BrokenReason::Interface(interface))?;
        let bytes = frame_bytes(rest, captured_len)?;
        let ts_ns = known.clock.ns(ticks);
        self.last_ts_ns = ts_ns;
        let wire_len = wire_len.max(captured_len);
        Ok(CapturedFrame { ts_ns, dlt: known.dlt, link: known.link, wire_len, bytes })
    }

    /// A frame of interface 0, which says how much of it was captured.
    fn simple_packet<'a>(&self, block: &'a [u8]) -> Result<CapturedFrame<'a>, BrokenReason> {
        let [_, _, wire_len] = words::<{ head_bytes::SIMPLE_PACKET / 4 }>(block).ok_or(short(block))?;
        let known = self.interfaces.first().ok_or(BrokenReason::Interface(0))?;
        let wire_len = self.endian.u32(wire_len);
        let snap_len = if known.snap_len == 0 { u32::MAX } else { known.snap_len };
        let bytes = frame_bytes(&block[head_bytes::SIMPLE_PACKET..], wire_len.min(snap_len))?;
        Ok(CapturedFrame { ts_ns: self.last_ts_ns, dlt: known.dlt, link: known.link, wire_len, bytes })
    }
}

/// The byte order a section header's third word is written in.
fn byte_order(mark: [u8; 4]) -> Option<Endian> {
    [Endian::Big, Endian::Little].into_iter().find(|endian| endian.u32(mark) == BYTE_ORDER_MARK)
}

/// The first `captured_len` bytes of a packet block's variable part.
#[inline]
fn frame_bytes(rest: &[u8], captured_len: u32) -> Result<&[u8], BrokenReason> {
    if captured_len > FRAME_BYTES_MAX {
        return Err(BrokenReason::FrameTooLong(captured_len));
    }
    rest.get(..captured_len as usize).ok_or(BrokenReason::FrameLength(captured_len))
}

/// The reason for a block that ends inside its fixed part; `block` is all of it but the trailer.
fn short(block: &[u8]) -> BrokenReason {
    BrokenReason::BlockLength((block.len() + TRAILER_BYTES) as u32)
}
