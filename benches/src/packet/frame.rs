//! The frames that are measured with.

use std::net::Ipv4Addr;

use crate::wire::{self, Addresses, Direction, FrameBuilder, Marks, Options, Payload, Segment, flag};
use crate::xdp::PAYLOAD_BYTES;

/// First source network, a /8; each network is measured once.
const NETWORK_FIRST: u8 = 11;
/// Networks there are, up to the multicast addresses.
pub const NETWORKS: u8 = 223 - NETWORK_FIRST;

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// 118 bytes of an established TCP flow, which is what published figures use.
    Data,
    /// The first segment of a handshake.
    Syn,
    /// A DNS-sized datagram.
    Datagram,
}

impl Kind {
    /// In words.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Data => "segment",
            Self::Syn => "SYN",
            Self::Datagram => "datagram",
        }
    }
}

/// A frame from one of the source networks; `seq` is the sequence number of a data segment.
pub fn frame(network: u8, kind: Kind, seq: u32) -> Vec<u8> {
    assert!(network < NETWORKS, "network {network}");
    let source = Ipv4Addr::new(NETWORK_FIRST + network, 0, 0, 1);
    let path = wire::Path {
        addresses: Addresses::V4(source, Ipv4Addr::new(192, 0, 2, 1)),
        ports: (40_000, 443),
        vlan: None,
        ttl: 64,
    };
    let direction = Direction::Forward;
    let mut builder = FrameBuilder::new(1514);
    let segment = |flags, payload_bytes, options| Segment {
        at_us: 0,
        direction,
        flags,
        seq,
        ack: 2_000,
        rwnd: 502,
        payload_bytes,
        options,
        marks: Marks::default(),
    };
    let (_, bytes) = match kind {
        Kind::Data => {
            let options = Options::Timestamps { value: 1, echo: 1 };
            builder.tcp(&path, &segment(flag::ACK | flag::PSH, PAYLOAD_BYTES, options))
        }
        Kind::Syn => builder.tcp(&path, &segment(flag::SYN, 0, Options::Mss)),
        Kind::Datagram => builder.udp(&path, direction, &Payload::Filler(PAYLOAD_BYTES)),
    };
    bytes.to_vec()
}
