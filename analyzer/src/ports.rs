//! Ports that detectors know: services that answer anybody with more than they were asked, and ports to which much is
//! sent that is never answered.

/// A public service over UDP that floods are reflected by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reflector {
    /// Its port.
    pub port: u16,
    /// Its name.
    pub name: &'static str,
    /// Bytes on the wire from which on its answers are larger than what is usual to get from it; 0: what is usual is
    /// rare.
    pub large_bytes: u64,
    /// Whether hosts take much of it from many at any time.
    pub is_common: bool,
}

const fn reflector(port: u16, name: &'static str, large_bytes: u64) -> Reflector {
    Reflector { port, name, large_bytes, is_common: false }
}

const fn common(port: u16, name: &'static str) -> Reflector {
    Reflector { port, name, large_bytes: 0, is_common: true }
}

/// Those that are known (US-CERT TA14-017A, and vendors' reports since), by port.
pub const REFLECTORS: [Reflector; 35] = [
    reflector(17, "QOTD", 0),
    reflector(19, "chargen", 0),
    // Answers to a resolver are below 300 bytes on average; asked for are ANY, TXT and RRSIG.
    reflector(53, "DNS", 500),
    reflector(69, "TFTP", 0),
    reflector(111, "portmap", 0),
    // Time is told in 90 bytes; `monlist` has 482 in each datagram.
    reflector(123, "NTP", 200),
    reflector(137, "NetBIOS", 0),
    reflector(161, "SNMP", 0),
    reflector(177, "XDMCP", 0),
    reflector(389, "CLDAP", 0),
    reflector(427, "SLP", 0),
    // RFC 9000 section 8.1 bounds what a server sends to an address that is not validated; some DTLS gateways do not.
    common(443, "QUIC or DTLS"),
    reflector(500, "IKE", 0),
    reflector(520, "RIP", 0),
    reflector(623, "IPMI", 0),
    common(1_194, "OpenVPN"),
    reflector(1_434, "SQL Server browser", 0),
    reflector(1_900, "SSDP", 0),
    reflector(3_283, "ARMS", 0),
    common(3_478, "STUN"),
    reflector(3_702, "WS-Discovery", 0),
    // Through NAT this port carries all that an IPsec tunnel has: what is asked and answered is alike.
    reflector(4_500, "IKE through NAT", 0),
    // Telephones and their servers answer each other.
    reflector(5_060, "SIP", 0),
    reflector(5_093, "Sentinel licences", 0),
    reflector(5_353, "mDNS", 0),
    reflector(5_683, "CoAP", 0),
    reflector(10_001, "Ubiquiti discovery", 0),
    reflector(10_074, "Mitel TP-240", 0),
    reflector(11_211, "memcached", 0),
    reflector(17_185, "VxWorks debugging", 0),
    reflector(27_015, "Source engine", 0),
    reflector(30_718, "Lantronix discovery", 0),
    reflector(32_414, "Plex discovery", 0),
    reflector(37_810, "DVR discovery", 0),
    reflector(47_808, "BACnet", 0),
];

/// Ports whose service takes and never answers: syslog, statsd, NetFlow, sFlow, IPFIX, GELF, Lumberjack, VXLAN, Geneve.
const ONE_WAY: [u16; 13] =
    [162, 514, 2_055, 2_056, 4_739, 4_789, 5_140, 6_081, 6_343, 8_125, 9_995, 9_996, 12_201];

/// The reflector of a port.
pub fn reflector_of(port: u16) -> Option<&'static Reflector> {
    REFLECTORS.iter().find(|reflector| reflector.port == port)
}

/// Whether a port is a reflector's; asked for each datagram.
#[inline]
pub const fn is_reflector(port: u16) -> bool {
    matches!(
        port,
        17 | 19
            | 53
            | 69
            | 111
            | 123
            | 137
            | 161
            | 177
            | 389
            | 427
            | 443
            | 500
            | 520
            | 623
            | 1_194
            | 1_434
            | 1_900
            | 3_283
            | 3_478
            | 3_702
            | 4_500
            | 5_060
            | 5_093
            | 5_353
            | 5_683
            | 10_001
            | 10_074
            | 11_211
            | 17_185
            | 27_015
            | 30_718
            | 32_414
            | 37_810
            | 47_808
    )
}

/// Whether what is sent to a port is never answered.
pub fn is_one_way(port: u16) -> bool {
    ONE_WAY.contains(&port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_lists_of_reflectors_are_one() {
        for port in 0..=u16::MAX {
            assert_eq!(is_reflector(port), reflector_of(port).is_some(), "{port}");
        }
    }
}
