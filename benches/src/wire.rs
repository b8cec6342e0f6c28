//! Frames as bytes: Ethernet, 802.1Q, IPv4, IPv6, TCP with options, UDP; every checksum valid, IP, TCP and UDP.
//!
//! Payload is one repeated byte ([`FILLER`]) unless given, so its checksum has a closed form and the part beyond
//! the snap length is never built. Frames shorter than 60 bytes are padded, as a receiver sees them.

mod options;

use std::net::{Ipv4Addr, Ipv6Addr};

use options::OPTIONS_BYTES_MAX;
pub use options::{Mixture, Options, SACK_BLOCKS_MAX};

/// The payload byte of everything that is not DNS.
pub const FILLER: u8 = b'a';

/// Shortest Ethernet frame without its checksum.
const FRAME_BYTES_MIN: usize = 60;
const TCP: u8 = 6;
const UDP: u8 = 17;

/// TCP flag bits.
pub mod flag {
    /// No more data from the sender.
    pub const FIN: u8 = 0x01;
    /// Synchronise sequence numbers.
    pub const SYN: u8 = 0x02;
    /// Reset.
    pub const RST: u8 = 0x04;
    /// Push.
    pub const PSH: u8 = 0x08;
    /// The acknowledgement field is meant.
    pub const ACK: u8 = 0x10;
    /// The urgent pointer is meant.
    pub const URG: u8 = 0x20;
    /// Congestion was told of (ECN echo).
    pub const ECE: u8 = 0x40;
    /// Congestion window reduced.
    pub const CWR: u8 = 0x80;
}

/// Who speaks: the initiator (forward) or the other side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the initiator.
    Forward,
    /// To the initiator.
    Reverse,
}

/// Both addresses, the initiator's first; one enum, so that the versions cannot differ.
#[derive(Clone, Copy, Debug)]
pub enum Addresses {
    /// IPv4.
    V4(Ipv4Addr, Ipv4Addr),
    /// IPv6.
    V6(Ipv6Addr, Ipv6Addr),
}

/// What all frames of a conversation share.
#[derive(Clone, Copy, Debug)]
pub struct Path {
    /// Initiator and responder.
    pub addresses: Addresses,
    /// Ports in the same order.
    pub ports: (u16, u16),
    /// 802.1Q tag.
    pub vlan: Option<u16>,
    /// TTL or hop limit as captured.
    pub ttl: u8,
}

impl Path {
    /// Largest payload beside 12 bytes of timestamps in a frame of 1,514 bytes.
    pub fn payload_bytes_max(&self) -> u16 {
        match self.addresses {
            Addresses::V4(..) => 1448,
            Addresses::V6(..) => 1428,
        }
    }
}

/// One TCP segment; what the path does not know.
#[derive(Clone, Copy, Debug)]
pub struct Segment {
    /// Microseconds since the start of the capture.
    pub at_us: u64,
    /// Who sends it.
    pub direction: Direction,
    /// Bits of [`flag`].
    pub flags: u8,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement number.
    pub ack: u32,
    /// Window field as sent, not scaled.
    pub rwnd: u16,
    /// Bytes of [`FILLER`].
    pub payload_bytes: u16,
    /// Options.
    pub options: Options,
    /// What most segments do not have.
    pub marks: Marks,
}

/// Rarer properties of a segment; the default is none of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// The urgent pointer; it counts with [`flag::URG`].
    pub urgent: u16,
    /// Both bits of explicit congestion notification in the IP header (RFC 3168): 2 capable, 3 congestion experienced.
    pub ecn: u8,
    /// The IPv4 identification, where it is not just the next one: the very packet seen again has the same.
    pub ip_id: Option<u16>,
}

/// Payload of a datagram.
#[derive(Clone, Debug)]
pub enum Payload {
    /// These bytes.
    Bytes(Vec<u8>),
    /// So many of [`FILLER`].
    Filler(u16),
}

/// What both versions of the IP header say beside the addresses.
#[derive(Clone, Copy)]
struct IpHeader {
    ttl: u8,
    protocol: u8,
    l4_bytes: usize,
    marks: Marks,
}

/// Builds one frame at a time in a buffer that is reused.
pub struct FrameBuilder {
    bytes: Vec<u8>,
    snap_bytes: usize,
    ip_id: u16,
}

impl FrameBuilder {
    /// Frames are cut after `snap_bytes`, which must leave room for the headers (118 bytes at most here).
    pub fn new(snap_bytes: usize) -> Self {
        assert!(snap_bytes >= 118, "headers do not fit in {snap_bytes} bytes");
        Self { bytes: Vec::with_capacity(2048), snap_bytes, ip_id: 0 }
    }

    /// A TCP frame; returns its length on the wire and the captured bytes.
    pub fn tcp(&mut self, path: &Path, segment: &Segment) -> (u32, &[u8]) {
        let mut options = [0; OPTIONS_BYTES_MAX];
        let options_bytes = options::write(segment.options, &mut options);
        let header_bytes = 20 + options_bytes;
        let l4_bytes = header_bytes + usize::from(segment.payload_bytes);
        let sum = self.link_and_network(path, segment.direction, TCP, l4_bytes, segment.marks);

        let start = self.bytes.len();
        let (source, destination) = ports(path, segment.direction);
        self.bytes.extend_from_slice(&source.to_be_bytes());
        self.bytes.extend_from_slice(&destination.to_be_bytes());
        self.bytes.extend_from_slice(&segment.seq.to_be_bytes());
        self.bytes.extend_from_slice(&segment.ack.to_be_bytes());
        self.bytes.extend_from_slice(&[((header_bytes / 4) << 4) as u8, segment.flags]);
        self.bytes.extend_from_slice(&segment.rwnd.to_be_bytes());
        self.bytes.extend_from_slice(&[0; 2]);
        self.bytes.extend_from_slice(&segment.marks.urgent.to_be_bytes());
        self.bytes.extend_from_slice(&options[..options_bytes]);
        let sum = sum + sum_words(&self.bytes[start..]) + sum_filler(segment.payload_bytes);
        self.bytes[start + 16..start + 18].copy_from_slice(&fold(sum).to_be_bytes());
        self.finish(usize::from(segment.payload_bytes))
    }

    /// A UDP frame; returns its length on the wire and the captured bytes.
    pub fn udp(&mut self, path: &Path, direction: Direction, payload: &Payload) -> (u32, &[u8]) {
        let (given, filler_bytes) = match payload {
            Payload::Bytes(bytes) => (bytes.as_slice(), 0),
            Payload::Filler(filler_bytes) => (&[][..], *filler_bytes),
        };
        let l4_bytes = 8 + given.len() + usize::from(filler_bytes);
        let sum = self.link_and_network(path, direction, UDP, l4_bytes, Marks::default());

        let start = self.bytes.len();
        let (source, destination) = ports(path, direction);
        self.bytes.extend_from_slice(&source.to_be_bytes());
        self.bytes.extend_from_slice(&destination.to_be_bytes());
        self.bytes.extend_from_slice(&(l4_bytes as u16).to_be_bytes());
        self.bytes.extend_from_slice(&[0; 2]);
        self.bytes.extend_from_slice(given);
        let sum = fold(sum + sum_words(&self.bytes[start..]) + sum_filler(filler_bytes));
        // Zero means "no checksum" in UDP, so a sum of zero is sent as its other representation.
        let sum = if sum == 0 { 0xffff } else { sum };
        self.bytes[start + 6..start + 8].copy_from_slice(&sum.to_be_bytes());
        self.finish(usize::from(filler_bytes))
    }

    /// Writes Ethernet, the tag and IP; returns the unfolded sum of the pseudo header.
    fn link_and_network(
        &mut self,
        path: &Path,
        direction: Direction,
        protocol: u8,
        l4_bytes: usize,
        marks: Marks,
    ) -> u64 {
        let header = IpHeader { ttl: path.ttl, protocol, l4_bytes, marks };
        let mut macs = [[2, 0, 0, 0, 0, 2], [2, 0, 0, 0, 0, 1]];
        if direction == Direction::Reverse {
            macs.swap(0, 1);
        }
        self.bytes.clear();
        self.bytes.extend_from_slice(macs.as_flattened());
        if let Some(tag) = path.vlan {
            self.bytes.extend_from_slice(&[0x81, 0x00]);
            self.bytes.extend_from_slice(&tag.to_be_bytes());
        }
        let addresses_sum = match path.addresses {
            Addresses::V4(client, server) => {
                let pair = oriented(client, server, direction);
                self.ipv4(pair, header)
            }
            Addresses::V6(client, server) => {
                let pair = oriented(client, server, direction);
                self.ipv6(pair, header)
            }
        };
        addresses_sum + u64::from(protocol) + l4_bytes as u64
    }

    fn ipv4(&mut self, (source, destination): (Ipv4Addr, Ipv4Addr), header: IpHeader) -> u64 {
        let IpHeader { ttl, protocol, l4_bytes, marks } = header;
        self.bytes.extend_from_slice(&[0x08, 0x00]);
        let start = self.bytes.len();
        self.ip_id = self.ip_id.wrapping_add(1);
        self.bytes.extend_from_slice(&[0x45, marks.ecn]);
        self.bytes.extend_from_slice(&((20 + l4_bytes) as u16).to_be_bytes());
        self.bytes.extend_from_slice(&marks.ip_id.unwrap_or(self.ip_id).to_be_bytes());
        self.bytes.extend_from_slice(&[0x40, 0, ttl, protocol, 0, 0]);
        self.bytes.extend_from_slice(&source.octets());
        self.bytes.extend_from_slice(&destination.octets());
        let sum = fold(sum_words(&self.bytes[start..]));
        self.bytes[start + 10..start + 12].copy_from_slice(&sum.to_be_bytes());
        sum_words(&self.bytes[start + 12..])
    }

    fn ipv6(&mut self, (source, destination): (Ipv6Addr, Ipv6Addr), header: IpHeader) -> u64 {
        let IpHeader { ttl, protocol, l4_bytes, marks } = header;
        self.bytes.extend_from_slice(&[0x86, 0xdd, 0x60, marks.ecn << 4, 0, 0]);
        self.bytes.extend_from_slice(&(l4_bytes as u16).to_be_bytes());
        self.bytes.extend_from_slice(&[protocol, ttl]);
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&source.octets());
        self.bytes.extend_from_slice(&destination.octets());
        sum_words(&self.bytes[start..])
    }

    fn finish(&mut self, filler_bytes: usize) -> (u32, &[u8]) {
        let sent_bytes = self.bytes.len() + filler_bytes;
        let captured_bytes = sent_bytes.min(self.snap_bytes).max(self.bytes.len());
        self.bytes.resize(captured_bytes, FILLER);
        if captured_bytes < FRAME_BYTES_MIN {
            self.bytes.resize(FRAME_BYTES_MIN, 0);
        }
        self.bytes.truncate(self.snap_bytes);
        (sent_bytes.max(FRAME_BYTES_MIN) as u32, &self.bytes)
    }
}

fn oriented<T>(client: T, server: T, direction: Direction) -> (T, T) {
    match direction {
        Direction::Forward => (client, server),
        Direction::Reverse => (server, client),
    }
}

fn ports(path: &Path, direction: Direction) -> (u16, u16) {
    oriented(path.ports.0, path.ports.1, direction)
}

fn sum_words(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<2>();
    let sum: u64 = words.iter().map(|word| u64::from(u16::from_be_bytes(*word))).sum();
    sum + rest.first().map_or(0, |&last| u64::from(last) << 8)
}

/// The sum of `bytes` fillers that start at an even offset, as they do after every header here.
fn sum_filler(bytes: u16) -> u64 {
    let word = u64::from(u16::from_be_bytes([FILLER, FILLER]));
    u64::from(bytes / 2) * word + u64::from(bytes % 2) * (u64::from(FILLER) << 8)
}

fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(addresses: Addresses) -> Path {
        Path { addresses, ports: (40_000, 443), vlan: None, ttl: 64 }
    }

    fn v4() -> Path {
        path(Addresses::V4([10, 0, 0, 1].into(), [192, 0, 2, 1].into()))
    }

    fn data(payload_bytes: u16) -> Segment {
        Segment {
            at_us: 0,
            direction: Direction::Forward,
            flags: flag::ACK | flag::PSH,
            seq: 1,
            ack: 2,
            rwnd: 500,
            payload_bytes,
            options: Options::Timestamps { value: 3, echo: 4 },
            marks: Marks::default(),
        }
    }

    /// The checksum of a whole segment, its own field included, must come to zero.
    fn verify(frame: &[u8], network: usize, network_bytes: usize, addresses: usize, l4_bytes: usize) {
        let l4 = network + network_bytes;
        let protocol = u64::from(if network_bytes == 20 { frame[network + 9] } else { frame[network + 6] });
        let pseudo = sum_words(&frame[addresses..l4]) + protocol + l4_bytes as u64;
        assert_eq!(fold(pseudo + sum_words(&frame[l4..l4 + l4_bytes])), 0);
    }

    #[test]
    fn checksums_verify_in_both_versions_and_for_odd_payloads() {
        let mut builder = FrameBuilder::new(2000);
        for payload_bytes in [0, 1, 2, 999, 1428] {
            let (_, frame) = builder.tcp(&v4(), &data(payload_bytes));
            assert_eq!(fold(sum_words(&frame[14..34])), 0);
            verify(frame, 14, 20, 26, 32 + usize::from(payload_bytes));
            let v6 = path(Addresses::V6(Ipv6Addr::LOCALHOST, Ipv6Addr::UNSPECIFIED));
            let (_, frame) = builder.tcp(&v6, &data(payload_bytes));
            verify(frame, 14, 40, 22, 32 + usize::from(payload_bytes));
            let (_, frame) = builder.udp(&v6, Direction::Reverse, &Payload::Filler(payload_bytes));
            verify(frame, 14, 40, 22, 8 + usize::from(payload_bytes));
        }
    }

    #[test]
    fn the_snap_length_cuts_bytes_but_not_the_wire_length() {
        let mut builder = FrameBuilder::new(128);
        let (wire_bytes, frame) = builder.tcp(&v4(), &data(1448));
        assert_eq!((wire_bytes, frame.len()), (1514, 128));
        let tagged = Path { vlan: Some(7), ..v4() };
        let (wire_bytes, frame) = builder.tcp(&tagged, &data(1448));
        assert_eq!((wire_bytes, frame.len()), (1518, 128));
        assert_eq!(frame[12..18], [0x81, 0, 0, 7, 8, 0]);
    }

    #[test]
    fn short_frames_are_padded() {
        let mut builder = FrameBuilder::new(128);
        let bare = Segment { options: Options::Empty, ..data(0) };
        let (wire_bytes, frame) = builder.tcp(&v4(), &bare);
        assert_eq!((wire_bytes, frame.len()), (60, 60));
    }
}
