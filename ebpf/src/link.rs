//! What the first byte of a frame is: the link types tidegauge reads, by their DLT / LINKTYPE number.
//!
//! Numbers are those of <https://www.tcpdump.org/linktypes.html>. A link type that is not here is counted as
//! unsupported by its number; no byte of such a frame is interpreted.

/// Outermost framing of a captured frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LinkType {
    /// Cisco's HDLC (DLT 104).
    CiscoHdlc,
    /// Ethernet II, with or without VLAN tags (DLT 1).
    Ethernet,
    /// FDDI (DLT 10).
    Fddi,
    /// Frame relay with an address of two bytes (DLT 107).
    FrameRelay,
    /// IEEE 802.11 (DLT 105).
    Ieee80211,
    /// Raw IPv4 or IPv6, told apart by the version nibble (DLT 12, 14, 101, 228, 229).
    Ip,
    /// BSD loopback: four bytes of address family in the capturing host's byte order (DLT 0) or in network
    /// byte order (DLT 108).
    Loopback,
    /// Linux cooked capture v1, 16 bytes (DLT 113).
    LinuxSll,
    /// Linux cooked capture v2, 20 bytes (DLT 276).
    LinuxSll2,
    /// Linux' netfilter log (DLT 239).
    NetfilterLog,
    /// PPP, with or without HDLC framing (DLT 9, 50).
    Ppp,
    /// IEEE 802.11 behind a radiotap header (DLT 127).
    Radiotap,
    /// SLIP, behind 16 bytes of direction and compressed header (DLT 8).
    Slip,
}

impl LinkType {
    /// The link type of a DLT / LINKTYPE number, or `None` where tidegauge does not read it.
    pub const fn from_dlt(dlt: u16) -> Option<Self> {
        match dlt {
            0 | 108 => Some(Self::Loopback),
            1 => Some(Self::Ethernet),
            8 => Some(Self::Slip),
            9 | 50 => Some(Self::Ppp),
            10 => Some(Self::Fddi),
            12 | 14 | 101 | 228 | 229 => Some(Self::Ip),
            104 => Some(Self::CiscoHdlc),
            105 => Some(Self::Ieee80211),
            107 => Some(Self::FrameRelay),
            113 => Some(Self::LinuxSll),
            127 => Some(Self::Radiotap),
            239 => Some(Self::NetfilterLog),
            276 => Some(Self::LinuxSll2),
            _ => None,
        }
    }
}
