//! What `parse` says of a frame: plain header facts, no judgement.

/// An IPv6 address, or an IPv4 address mapped into IPv6 (`::ffff:a.b.c.d`), as four big-endian words.
pub type Address = [u32; 4];

/// The IPv4 address `word` as an [`Address`].
#[inline(always)]
pub const fn ipv4_mapped(word: u32) -> Address {
    [0, 0, 0xffff, word]
}

/// TCP flag bits as they stand in the header's 14th byte (RFC 9293 section 3.1).
pub mod tcp_flag {
    /// No more data from the sender.
    pub const FIN: u8 = 0x01;
    /// Synchronize sequence numbers.
    pub const SYN: u8 = 0x02;
    /// Reset the connection.
    pub const RST: u8 = 0x04;
    /// Push: the sender's application wrote up to here.
    pub const PSH: u8 = 0x08;
    /// The acknowledgment field is significant.
    pub const ACK: u8 = 0x10;
    /// The urgent pointer is significant.
    pub const URG: u8 = 0x20;
    /// ECN echo (RFC 3168).
    pub const ECE: u8 = 0x40;
    /// Congestion window reduced (RFC 3168).
    pub const CWR: u8 = 0x80;
}

/// What the (innermost) network layer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Network {
    /// ARP (EtherType 0x0806).
    Arp,
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
    /// Anything else, LLC included.
    Other,
}

/// Place of a packet in a fragmented datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Fragment {
    /// First fragment: carries the transport header, not the whole payload.
    First,
    /// Later fragment: no transport header.
    Later,
    /// Not fragmented.
    Whole,
}

/// The transport layer of the innermost packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Transport {
    /// ICMP or ICMPv6. Headers quoted inside are not packets of their own.
    Icmp,
    /// Not reached: no IP, a later fragment, or a fault before it.
    None,
    /// Some other IP protocol.
    Other,
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// Why parsing stopped early. What was read before it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Fault {
    /// The captured bytes end inside a header.
    Cut,
    /// More headers than [`crate::limits::LAYERS_MAX`].
    Depth,
    /// A length field contradicts its own header (IHL, total length, data offset below the minimum).
    Length,
    /// An IP version that its framing does not announce.
    Version,
}

/// Header facts of one TCP segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Sequence number.
    pub sequence: u32,
    /// Acknowledgment number; meaningful only with [`tcp_flag::ACK`].
    pub acknowledgment: u32,
    /// Payload bytes on the wire (not captured bytes).
    pub payload_bytes: u32,
    /// Window field as it stands in the header, unscaled.
    pub window: u16,
    /// Value of the timestamps option (RFC 7323 section 3.2), where it is the first one and aligned, as all systems send
    /// it outside of SYN segments; 0 where there is none.
    pub timestamp: u32,
    /// The peer's timestamp it echoes; meaningful only where `timestamp` is not 0.
    pub echo: u32,
    /// Flag bits, see [`tcp_flag`].
    pub flags: u8,
    /// Window scale option of a SYN or SYN-ACK (RFC 7323), [`NO_SHIFT`] or [`UNKNOWN_SHIFT`].
    pub shift: u8,
}

/// The options were read and no window scale is among them: windows are not scaled.
pub const NO_SHIFT: u8 = 0xff;
/// Nobody knows: the options were cut off, or the segment that carries them was not seen.
pub const UNKNOWN_SHIFT: u8 = 0xfe;

impl Segment {
    /// A connection attempt: SYN without ACK.
    #[inline(always)]
    pub const fn is_syn(&self) -> bool {
        self.flags & (tcp_flag::SYN | tcp_flag::ACK) == tcp_flag::SYN
    }

    /// The answer to one: SYN with ACK.
    #[inline(always)]
    pub const fn is_syn_ack(&self) -> bool {
        self.flags & (tcp_flag::SYN | tcp_flag::ACK) == tcp_flag::SYN | tcp_flag::ACK
    }

    /// Whether all bits of `flag` are set.
    #[inline(always)]
    pub const fn has(&self, flag: u8) -> bool {
        self.flags & flag == flag
    }
}

/// Header facts of one frame, innermost packet first where it is tunnelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Source address; meaningful only where `network` is IPv4 or IPv6.
    pub source: Address,
    /// Destination address; meaningful only where `network` is IPv4 or IPv6.
    pub destination: Address,
    /// The TCP header; meaningful only where `transport` is [`Transport::Tcp`].
    pub segment: Segment,
    /// TCP or UDP source port; meaningful only where `transport` is one of them.
    pub source_port: u16,
    /// TCP or UDP destination port; meaningful only where `transport` is one of them.
    pub destination_port: u16,
    /// Offset of the innermost network header; meaningful only where `network` is ARP, IPv4 or IPv6.
    pub network_offset: u16,
    /// Offset of the transport header; meaningful only where `transport` is ICMP, TCP or UDP.
    pub transport_offset: u16,
    /// Offset of the transport header's payload, 0 where there is no transport header.
    pub payload_offset: u16,
    /// Network layer reached.
    pub network: Network,
    /// Transport layer reached.
    pub transport: Transport,
    /// Fragment state of the innermost IP packet.
    pub fragment: Fragment,
    /// Why parsing stopped early, if it did.
    pub fault: Option<Fault>,
    /// 802.1Q / 802.1ad tags passed.
    pub vlan_tags: u8,
    /// Tunnel headers passed.
    pub tunnels: u8,
    /// Time to live or hop limit of the innermost IP packet.
    pub ttl: u8,
}

impl Packet {
    /// A frame of which nothing is known yet.
    pub const EMPTY: Self = Self {
        source: [0; 4],
        destination: [0; 4],
        segment: Segment {
            sequence: 0,
            acknowledgment: 0,
            payload_bytes: 0,
            window: 0,
            timestamp: 0,
            echo: 0,
            flags: 0,
            shift: UNKNOWN_SHIFT,
        },
        source_port: 0,
        destination_port: 0,
        network_offset: 0,
        transport_offset: 0,
        payload_offset: 0,
        network: Network::Other,
        transport: Transport::None,
        fragment: Fragment::Whole,
        fault: None,
        vlan_tags: 0,
        tunnels: 0,
        ttl: 0,
    };

    /// Forgets the packet before. What has a meaning only together with a layer (addresses, ports, the segment) stays
    /// until that layer is read.
    #[inline(always)]
    pub fn clear(&mut self) {
        self.payload_offset = 0;
        self.network = Network::Other;
        self.transport = Transport::None;
        self.fragment = Fragment::Whole;
        self.fault = None;
        self.vlan_tags = 0;
        self.tunnels = 0;
    }
}
