//! What callers hand over: parts of streams, datagrams and ICMP messages, borrowed from the frame, and where they
//! begin in it.

use tidegauge_ebpf::frame::Frame;
use tidegauge_ebpf::link::LinkType;
use tidegauge_ebpf::packet::{Address, Packet};
use tidegauge_ebpf::parse::parse;

/// Payload of one TCP segment.
#[derive(Clone, Copy, Debug)]
pub struct StreamPart<'a> {
    /// Connection slot of the shard.
    pub slot: u32,
    /// Whether the connection's initiator sent it.
    pub from_initiator: bool,
    /// Sequence number of the first payload byte.
    pub sequence: u32,
    /// Payload bytes on the wire.
    pub payload_bytes: u32,
    /// Captured payload bytes: as many, or fewer.
    pub bytes: &'a [u8],
    /// Packet time.
    pub ts_ns: u64,
    /// The responder's port.
    pub responder_port: u16,
    /// A hash of both hosts' addresses, the same for all their connections.
    pub ends: u32,
}

/// What of a connection is still worth handing over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// Both directions, or this one and perhaps the other.
    More,
    /// This direction needs no more segments.
    Done,
    /// Neither direction does.
    BothDone,
}

/// One UDP datagram.
#[derive(Clone, Copy, Debug)]
pub struct Datagram<'a> {
    /// Sender.
    pub source: Address,
    /// Receiver.
    pub destination: Address,
    /// Sender's port.
    pub source_port: u16,
    /// Receiver's port.
    pub destination_port: u16,
    /// Captured payload, without what pads the frame behind it.
    pub bytes: &'a [u8],
    /// Packet time.
    pub ts_ns: u64,
}

/// Bytes of a UDP header behind which its payload begins, and place of its length field in it.
const UDP_HEADER_BYTES: usize = 8;
const UDP_LENGTH_AT: usize = 4;

impl<'a> Datagram<'a> {
    /// The datagram that `packet` was read from: `None` where nothing of its payload was captured. The length field of
    /// UDP counts where it is shorter than the frame.
    #[inline]
    pub fn of(frame: &'a [u8], packet: &Packet, ts_ns: u64) -> Option<Self> {
        let start = usize::from(packet.payload_offset);
        let payload = frame.get(start..)?;
        let length_at = start.checked_sub(UDP_HEADER_BYTES - UDP_LENGTH_AT)?;
        let length = frame.get(length_at..)?.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))?;
        // A length of zero is a jumbogram's or an offloading host's.
        let bytes = match usize::from(length).checked_sub(UDP_HEADER_BYTES) {
            Some(length) if length < payload.len() => payload.get(..length)?,
            _ => payload,
        };
        Some(Self {
            source: packet.source,
            destination: packet.destination,
            source_port: packet.source_port,
            destination_port: packet.destination_port,
            bytes,
            ts_ns,
        })
    }
}

/// Which ICMP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IcmpVersion {
    /// RFC 792.
    V4,
    /// RFC 4443.
    V6,
}

/// One ICMP message.
#[derive(Clone, Copy, Debug)]
pub struct IcmpMessage<'a> {
    /// Which ICMP.
    pub version: IcmpVersion,
    /// Sender.
    pub source: Address,
    /// Receiver.
    pub destination: Address,
    /// Captured bytes from the ICMP header on; padding behind the message does no harm.
    pub bytes: &'a [u8],
    /// Packet time.
    pub ts_ns: u64,
}

/// The bytes from the last header of a frame on that `parse` walks to: of ICMP and ARP packets their own header,
/// whose place a [`Packet`] does not tell. A second walk, for packets that are rare.
pub fn from_last_header(frame: &[u8], link: LinkType, wire_len: u32, tunnels: bool) -> &[u8] {
    let last = std::cell::Cell::new(0);
    let mut packet = Packet::EMPTY;
    parse(Walked { frame, last: &last }, link, wire_len, tunnels, &mut packet);
    frame.get(last.get() as usize..).unwrap_or_default()
}

/// A frame that notes the offset of each header at which the walk arrives.
#[derive(Clone, Copy)]
struct Walked<'a> {
    frame: &'a [u8],
    last: &'a std::cell::Cell<u32>,
}

impl<'a> Frame for Walked<'a> {
    type Header<const BYTES: usize> = &'a [u8; BYTES];

    fn header<const BYTES: usize>(self, offset: u32) -> Option<Self::Header<BYTES>> {
        self.frame.header(offset)
    }

    fn u8(self, offset: u32) -> Option<u8> {
        self.frame.u8(offset)
    }

    fn u16(self, offset: u32) -> Option<u16> {
        self.frame.u16(offset)
    }

    fn u32(self, offset: u32) -> Option<u32> {
        self.frame.u32(offset)
    }

    fn opaque(self, value: u32) -> u32 {
        self.last.set(value);
        value
    }
}
