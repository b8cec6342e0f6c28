//! Builds capture files in memory, in either byte order, one record per call.

use super::super::step::Endian;

/// The microsecond magic number of pcap.
pub(super) const MICROSECONDS: u32 = 0xa1b2_c3d4;
/// The nanosecond magic number of pcap.
pub(super) const NANOSECONDS: u32 = 0xa1b2_3c4d;
/// The magic number of Kuznetzov's variant of pcap.
pub(super) const MODIFIED: u32 = 0xa1b2_cd34;

/// A file under construction.
#[derive(Clone)]
pub(super) struct Builder {
    endian: Endian,
    pub(super) bytes: Vec<u8>,
}

impl Builder {
    pub(super) fn new(endian: Endian) -> Self {
        Self { endian, bytes: Vec::new() }
    }

    pub(super) fn u16(mut self, value: u16) -> Self {
        self.bytes.extend(match self.endian {
            Endian::Big => value.to_be_bytes(),
            Endian::Little => value.to_le_bytes(),
        });
        self
    }

    pub(super) fn u32(mut self, value: u32) -> Self {
        self.bytes.extend(match self.endian {
            Endian::Big => value.to_be_bytes(),
            Endian::Little => value.to_le_bytes(),
        });
        self
    }

    pub(super) fn raw(mut self, bytes: &[u8]) -> Self {
        self.bytes.extend(bytes);
        self
    }

    fn padded(self, bytes: &[u8]) -> Self {
        let padding = bytes.len().next_multiple_of(4) - bytes.len();
        self.raw(bytes).raw(&[0; 3][..padding])
    }

    pub(super) fn pcap_header(self, magic: u32, link: u32) -> Self {
        self.u32(magic).u16(2).u16(4).u32(0).u32(0).u32(65_535).u32(link)
    }

    pub(super) fn record(self, seconds: u32, fraction: u32, wire_len: u32, frame: &[u8]) -> Self {
        self.u32(seconds).u32(fraction).u32(frame.len() as u32).u32(wire_len).raw(frame)
    }

    /// A record of Kuznetzov's variant: interface index, protocol, packet type and padding before the frame.
    pub(super) fn modified_record(self, seconds: u32, fraction: u32, frame: &[u8]) -> Self {
        let len = frame.len() as u32;
        self.u32(seconds).u32(fraction).u32(len).u32(len).u32(2).u16(0x0800).raw(&[4, 0]).raw(frame)
    }

    /// A pcapng block of any kind around a body that is whole words.
    pub(super) fn block(self, kind: u32, body: impl FnOnce(Self) -> Self) -> Self {
        let body = body(Self::new(self.endian)).bytes;
        let len = body.len() as u32 + 12;
        self.u32(kind).u32(len).raw(&body).u32(len)
    }

    /// A section header; what follows is in `endian`.
    pub(super) fn section(mut self, endian: Endian) -> Self {
        self.endian = endian;
        self.block(0x0a0d_0d0a, |body| body.u32(0x1a2b_3c4d).u16(1).u16(0).raw(&[0xff; 8]))
    }

    pub(super) fn interface(self, dlt: u16, snap_len: u32, options: &[(u16, &[u8])]) -> Self {
        self.block(1, |body| {
            let head = body.u16(dlt).u16(0).u32(snap_len);
            options
                .iter()
                .fold(head, |body, (code, value)| body.u16(*code).u16(value.len() as u16).padded(value))
        })
    }

    pub(super) fn enhanced(self, interface: u32, ticks: u64, wire_len: u32, frame: &[u8]) -> Self {
        self.block(6, |body| body.u32(interface).packet(ticks, wire_len, frame))
    }

    pub(super) fn obsolete(self, interface: u16, ticks: u64, wire_len: u32, frame: &[u8]) -> Self {
        self.block(2, |body| body.u16(interface).u16(9).packet(ticks, wire_len, frame))
    }

    fn packet(self, ticks: u64, wire_len: u32, frame: &[u8]) -> Self {
        let (high, low) = ((ticks >> 32) as u32, ticks as u32);
        self.u32(high).u32(low).u32(frame.len() as u32).u32(wire_len).padded(frame)
    }

    pub(super) fn simple(self, wire_len: u32, frame: &[u8]) -> Self {
        self.block(3, |body| body.u32(wire_len).padded(frame))
    }
}

/// A small pcap file of three frames.
pub(super) fn small_pcap(endian: Endian) -> Builder {
    Builder::new(endian)
        .pcap_header(MICROSECONDS, 1)
        .record(1, 2, 60, b"first")
        .record(1, 3, 0, b"")
        .record(2, 0, 5, b"third")
}

/// A small pcapng file of two sections, with all kinds of packet blocks and some blocks to skip.
pub(super) fn small_pcapng(endian: Endian) -> Builder {
    let other = if endian == Endian::Big { Endian::Little } else { Endian::Big };
    Builder::new(endian)
        .section(endian)
        .interface(1, 0, &[(2, b"eth0"), (9, &[9]), (0, b"")])
        .interface(101, 4, &[])
        .enhanced(0, 1_000, 60, b"first")
        .block(5, |body| body.u32(0).raw(&[0; 8]))
        .obsolete(1, 2, 4, b"two.")
        .section(other)
        .interface(113, 0, &[])
        .simple(5, b"third")
        .enhanced(0, 7, 6, b"fourth")
}
