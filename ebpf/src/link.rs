//! What the first byte of a frame is: the link types tidegauge reads, by their DLT / LINKTYPE number.
//!
//! Numbers are those of <https://www.tcpdump.org/linktypes.html>. A link type that is not here is counted as
//! unsupported by its number; no byte of such a frame is interpreted.

/// Outermost framing of a captured frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LinkType {
    /// Ethernet II, with or without VLAN tags (DLT 1).
    Ethernet,
    /// Raw IPv4 or IPv6, told apart by the version nibble (DLT 12, 14, 101, 228, 229).
    Ip,
    /// BSD loopback: four bytes of address family in the capturing host's byte order (DLT 0) or in network
    /// byte order (DLT 108).
    Loopback,
    /// Linux cooked capture v1, 16 bytes (DLT 113).
    LinuxSll,
    /// Linux cooked capture v2, 20 bytes (DLT 276).
    LinuxSll2,
}

impl LinkType {
    /// The link type of a DLT / LINKTYPE number, or `None` where tidegauge does not read it.
    pub const fn from_dlt(dlt: u16) -> Option<Self> {
        match dlt {
            0 | 108 => Some(Self::Loopback),
            1 => Some(Self::Ethernet),
            12 | 14 | 101 | 228 | 229 => Some(Self::Ip),
            113 => Some(Self::LinuxSll),
            276 => Some(Self::LinuxSll2),
            _ => None,
        }
    }
}
