//! Frames of scenes: whole, with valid checksums.

use std::net::Ipv4Addr;

use etherparse::{
    ArpHardwareId, ArpOperation, ArpPacket, EtherType, Icmpv4Type, IpNumber, PacketBuilder, TcpHeader,
};

/// Hosts are on one link: their hardware addresses do not matter.
const SOURCE: [u8; 6] = [2, 0, 0, 0, 0, 1];
const DESTINATION: [u8; 6] = [2, 0, 0, 0, 0, 2];

/// A frame and when it passes, microseconds from the start of the scene.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// When.
    pub at_us: u64,
    /// From the Ethernet header on.
    pub bytes: Vec<u8>,
}

/// Who sends to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// Sender and its port.
    pub from: (Ipv4Addr, u16),
    /// Receiver and its port.
    pub to: (Ipv4Addr, u16),
    /// TTL as captured.
    pub ttl: u8,
}

impl Ends {
    /// The way back.
    pub fn back(self) -> Self {
        Self { from: self.to, to: self.from, ttl: 64 }
    }
}

/// What a segment says.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tcp<'a> {
    /// Letters of `SAFRP`.
    pub flags: &'a str,
    /// Sequence number.
    pub sequence: u32,
    /// Acknowledgement number; it counts with `A`.
    pub acknowledgement: u32,
    /// Window field.
    pub window: u16,
    /// Payload.
    pub payload: &'a [u8],
}

/// A TCP segment.
pub fn tcp(at_us: u64, ends: Ends, segment: Tcp<'_>) -> Packet {
    let mut header = TcpHeader::new(ends.from.1, ends.to.1, segment.sequence, segment.window);
    for letter in segment.flags.chars() {
        match letter {
            'S' => header.syn = true,
            'A' => header.ack = true,
            'F' => header.fin = true,
            'R' => header.rst = true,
            'P' => header.psh = true,
            _ => {}
        }
    }
    if header.ack {
        header.acknowledgment_number = segment.acknowledgement;
    }
    let builder = PacketBuilder::ethernet2(SOURCE, DESTINATION)
        .ipv4(ends.from.0.octets(), ends.to.0.octets(), ends.ttl)
        .tcp_header(header);
    let mut bytes = Vec::with_capacity(builder.size(segment.payload.len()));
    // Writing to a vector does not fail, and payloads are short.
    let _ = builder.write(&mut bytes, segment.payload);
    Packet { at_us, bytes }
}

/// A datagram.
pub fn udp(at_us: u64, ends: Ends, payload: &[u8]) -> Packet {
    let builder = PacketBuilder::ethernet2(SOURCE, DESTINATION)
        .ipv4(ends.from.0.octets(), ends.to.0.octets(), ends.ttl)
        .udp(ends.from.1, ends.to.1);
    let mut bytes = Vec::with_capacity(builder.size(payload.len()));
    let _ = builder.write(&mut bytes, payload);
    Packet { at_us, bytes }
}

/// An ICMP message; ports do not matter.
pub fn icmp(at_us: u64, ends: Ends, kind: Icmpv4Type, payload: &[u8]) -> Packet {
    let builder = PacketBuilder::ethernet2(SOURCE, DESTINATION)
        .ipv4(ends.from.0.octets(), ends.to.0.octets(), ends.ttl)
        .icmpv4(kind);
    let mut bytes = Vec::with_capacity(builder.size(payload.len()));
    let _ = builder.write(&mut bytes, payload);
    Packet { at_us, bytes }
}

/// A packet of another IP protocol; ports do not matter.
pub fn other(at_us: u64, ends: Ends, protocol: IpNumber, payload: &[u8]) -> Packet {
    let builder = PacketBuilder::ethernet2(SOURCE, DESTINATION).ipv4(
        ends.from.0.octets(),
        ends.to.0.octets(),
        ends.ttl,
    );
    let mut bytes = Vec::with_capacity(builder.size(payload.len()));
    let _ = builder.write(&mut bytes, protocol, payload);
    Packet { at_us, bytes }
}

/// An ARP request.
pub fn arp(at_us: u64, sender: Ipv4Addr, wanted: Ipv4Addr) -> Packet {
    arp_of(at_us, ArpOperation::REQUEST, sender, wanted)
}

/// An ARP reply by whoever sends: the address is there.
pub fn arp_reply(at_us: u64, sender: Ipv4Addr, asker: Ipv4Addr) -> Packet {
    arp_of(at_us, ArpOperation::REPLY, sender, asker)
}

fn arp_of(at_us: u64, operation: ArpOperation, sender: Ipv4Addr, target: Ipv4Addr) -> Packet {
    let mut bytes = Vec::new();
    let request = ArpPacket::new(
        ArpHardwareId::ETHERNET,
        EtherType::IPV4,
        operation,
        &SOURCE,
        &sender.octets(),
        &[0; 6],
        &target.octets(),
    );
    if let Ok(request) = request {
        let _ = PacketBuilder::ethernet2(SOURCE, [0xff; 6]).arp(request).write(&mut bytes);
    }
    Packet { at_us, bytes }
}

/// Makes a datagram's frame the first of fragments that never become a packet: more are to come.
pub fn fragment(mut packet: Packet) -> Packet {
    const FLAGS_AT: usize = 14 + 6;
    if let Some(flags) = packet.bytes.get_mut(FLAGS_AT) {
        *flags |= 0x20;
    }
    checksum_ipv4(&mut packet.bytes);
    packet
}

fn checksum_ipv4(bytes: &mut [u8]) {
    let Some(header) = bytes.get_mut(14..34) else { return };
    (header[10], header[11]) = (0, 0);
    let sum: u32 = header.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let checksum = !((folded & 0xffff) + (folded >> 16)) as u16;
    header[10..12].copy_from_slice(&checksum.to_be_bytes());
}
