//! Frames from the wire up, header by header. Checksums stay zero: the packet logic does not read them.

/// Ethernet, VLAN tags by their protocol number, an EtherType, the payload.
pub(crate) fn ethernet(tags: &[u16], ether_type: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    for (tag, id) in tags.iter().zip(1_u16..) {
        frame.extend(tag.to_be_bytes());
        frame.extend(id.to_be_bytes());
    }
    frame.extend(ether_type.to_be_bytes());
    frame.extend(payload);
    frame
}

/// An Ethernet frame around an IP packet, which says its version itself.
pub(crate) fn ethernet_ip(tags: &[u16], packet: &[u8]) -> Vec<u8> {
    ethernet(tags, if packet[0] >> 4 == 6 { 0x86dd } else { 0x0800 }, packet)
}

/// IPv4: addresses, option bytes (a multiple of four), flags and fragment offset, protocol.
#[derive(Clone, Debug)]
pub(crate) struct Ipv4 {
    pub(crate) source: [u8; 4],
    pub(crate) destination: [u8; 4],
    pub(crate) options: Vec<u8>,
    pub(crate) fragment: u16,
}

impl Ipv4 {
    pub(crate) const fn between(source: [u8; 4], destination: [u8; 4]) -> Self {
        Self { source, destination, options: Vec::new(), fragment: 0 }
    }

    pub(crate) fn packet(&self, protocol: u8, payload: &[u8]) -> Vec<u8> {
        let header_bytes = 20 + self.options.len();
        let total_bytes = (header_bytes + payload.len()) as u16;
        let mut packet = vec![0x40 | (header_bytes / 4) as u8, 0];
        packet.extend(total_bytes.to_be_bytes());
        packet.extend([0x12, 0x34]);
        packet.extend(self.fragment.to_be_bytes());
        packet.extend([64, protocol, 0, 0]);
        packet.extend(self.source);
        packet.extend(self.destination);
        packet.extend(&self.options);
        packet.extend(payload);
        packet
    }
}

/// IPv6 with extension headers: their protocol numbers, and how many units they are longer than the shortest.
#[derive(Clone, Debug)]
pub(crate) struct Ipv6 {
    pub(crate) source: [u8; 16],
    pub(crate) destination: [u8; 16],
    pub(crate) extensions: Vec<(u8, u8)>,
}

/// IPsec authentication header: its length counts words of four bytes, those of the others eight.
pub(crate) const AUTHENTICATION: u8 = 51;
/// Fragment header: without a length. Built as an atomic fragment.
pub(crate) const FRAGMENT: u8 = 44;

impl Ipv6 {
    pub(crate) fn packet(&self, protocol: u8, payload: &[u8]) -> Vec<u8> {
        let mut body = Vec::new();
        for (index, (kind, units)) in self.extensions.iter().enumerate() {
            let next = self.extensions.get(index + 1).map_or(protocol, |(kind, _)| *kind);
            let (length, bytes) = match *kind {
                AUTHENTICATION => (units * 2 + 1, 12 + usize::from(*units) * 8),
                FRAGMENT => (0, 8),
                _ => (*units, 8 + usize::from(*units) * 8),
            };
            body.extend([next, length]);
            body.resize(body.len() + bytes - 2, 0);
        }
        body.extend(payload);
        let mut packet = vec![0x60, 0, 0, 0];
        packet.extend((body.len() as u16).to_be_bytes());
        packet.push(self.extensions.first().map_or(protocol, |(kind, _)| *kind));
        packet.push(64);
        packet.extend(self.source);
        packet.extend(self.destination);
        packet.extend(body);
        packet
    }
}

/// A TCP segment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tcp {
    pub(crate) source_port: u16,
    pub(crate) destination_port: u16,
    pub(crate) sequence: u32,
    pub(crate) acknowledgment: u32,
    pub(crate) flags: u8,
    pub(crate) window: u16,
    /// A multiple of four bytes.
    pub(crate) options: Vec<u8>,
}

impl Tcp {
    pub(crate) fn bytes(&self, payload: &[u8]) -> Vec<u8> {
        let mut segment = Vec::with_capacity(20 + self.options.len() + payload.len());
        segment.extend(self.source_port.to_be_bytes());
        segment.extend(self.destination_port.to_be_bytes());
        segment.extend(self.sequence.to_be_bytes());
        segment.extend(self.acknowledgment.to_be_bytes());
        segment.extend([((20 + self.options.len()) / 4 * 16) as u8, self.flags]);
        segment.extend(self.window.to_be_bytes());
        segment.extend([0; 4]);
        segment.extend(&self.options);
        segment.extend(payload);
        segment
    }
}

/// A UDP datagram.
pub(crate) fn udp(source_port: u16, destination_port: u16, payload: &[u8]) -> Vec<u8> {
    let mut datagram = Vec::new();
    datagram.extend(source_port.to_be_bytes());
    datagram.extend(destination_port.to_be_bytes());
    datagram.extend((8 + payload.len() as u16).to_be_bytes());
    datagram.extend([0, 0]);
    datagram.extend(payload);
    datagram
}
