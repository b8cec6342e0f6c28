//! Which packets concern an incident: those to and from its target, of its protocol and port; where one host is behind
//! it, those that it exchanges with the target; and ICMP errors that quote such a packet.

use std::net::IpAddr;

use tidegauge_ebpf::packet::{Address, Fragment, Network, Packet, Transport};

use crate::incident::{Incident, Kind};
use crate::layer::{IcmpVersion, quoted_route};

/// Offsets of the addresses in an ARP packet of IPv4 over Ethernet (RFC 826).
const ARP_SENDER_AT: usize = 14;
const ARP_TARGET_AT: usize = 24;
/// Bits of an IPv6 address before a mapped IPv4 address.
const MAPPED_BITS: u8 = 96;

/// What a packet must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Concern {
    /// Network of the target, and the bits that count.
    network: u128,
    mask: u128,
    port: Option<u16>,
    /// `None`: any.
    transport: Option<Transport>,
    arp: bool,
    /// Who is behind it, if it is one.
    actor: Option<u128>,
}

impl Concern {
    /// Of an incident; `None` where it is about no packets.
    pub fn of(incident: &Incident) -> Option<Self> {
        let (address, prefix_bits, port, protocol) = incident.target.place()?;
        let bits = match address {
            IpAddr::V4(_) => MAPPED_BITS.saturating_add(prefix_bits.unwrap_or(32)),
            IpAddr::V6(_) => prefix_bits.unwrap_or(128),
        };
        let mask = u128::MAX.checked_shl(128_u32.saturating_sub(bits.into())).unwrap_or(0);
        let finding = &incident.peak;
        let is_of_one = finding.distinct_sources == Some(1)
            && matches!(finding.kind, Kind::PortScan | Kind::HostSweep | Kind::ArpSweep | Kind::BruteForce);
        let actor = finding.top_sources.first().filter(|_| is_of_one).map(|(address, _)| number(*address));
        let transport = match protocol {
            "tcp" => Some(Transport::Tcp),
            "udp" => Some(Transport::Udp),
            "icmp" => Some(Transport::Icmp),
            _ => None,
        };
        Some(Self { network: number(address) & mask, mask, port, transport, arp: protocol == "arp", actor })
    }

    /// Whether it is such a packet; `bytes` are its frame's.
    pub fn matches(&self, packet: &Packet, bytes: &[u8]) -> bool {
        match packet.network {
            Network::Arp => self.arp && self.arp_matches(packet, bytes),
            Network::Ipv4 | Network::Ipv6 if !self.arp => {
                let (source, destination) = (of(packet.source), of(packet.destination));
                let to = self.meets(destination, source);
                let from = self.meets(source, destination);
                let transport = packet.transport;
                // A later fragment has no header that names its transport.
                let is_ours = self.transport.is_none_or(|own| own == transport)
                    || (packet.fragment == Fragment::Later && self.transport == Some(Transport::Udp));
                let has_ports = matches!(transport, Transport::Tcp | Transport::Udp);
                let port = |port| !has_ports || self.port.is_none_or(|own| own == port);
                (is_ours && ((to && port(packet.destination_port)) || (from && port(packet.source_port))))
                    || (transport == Transport::Icmp && self.is_quoted(packet, bytes))
            }
            Network::Ipv4 | Network::Ipv6 | Network::Other => false,
        }
    }

    /// Whether one end is the target's and the other may be.
    fn meets(&self, target: u128, other: u128) -> bool {
        target & self.mask == self.network && self.actor.is_none_or(|actor| actor == other || actor == target)
    }

    fn arp_matches(&self, packet: &Packet, bytes: &[u8]) -> bool {
        let address = |at: usize| {
            let bytes = bytes.get(usize::from(packet.network_offset) + at..)?;
            Some(number(IpAddr::from(*bytes.first_chunk::<4>()?)))
        };
        let (Some(sender), Some(target)) = (address(ARP_SENDER_AT), address(ARP_TARGET_AT)) else {
            return false;
        };
        self.meets(target, sender) || self.meets(sender, target)
    }

    /// Whether it is an error about such a packet. The port is known of the way to the target only.
    fn is_quoted(&self, packet: &Packet, bytes: &[u8]) -> bool {
        let version = if packet.network == Network::Ipv4 { IcmpVersion::V4 } else { IcmpVersion::V6 };
        let quote = bytes.get(usize::from(packet.transport_offset)..);
        let Some(route) = quote.and_then(|bytes| quoted_route(version, bytes)) else { return false };
        let (source, destination) = (number(route.source), number(route.destination));
        let port =
            self.port.is_none() || route.destination_port.is_none() || route.destination_port == self.port;
        (self.meets(destination, source) && port) || self.meets(source, destination)
    }
}

fn of(address: Address) -> u128 {
    address.iter().fold(0, |sum, word| sum << 32 | u128::from(*word))
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

#[cfg(test)]
mod tests {
    use tidegauge_ebpf::packet::ipv4_mapped;

    use super::*;
    use crate::incident::{Finding, HostTarget, NetworkTarget, Severity, Target};
    use crate::quality::Interval;
    use crate::window::ListenerKey;

    fn concern(kind: Kind, target: Target, sources: &[[u8; 4]]) -> Concern {
        let finding = Finding {
            distinct_sources: Some(sources.len() as u64),
            top_sources: sources.iter().map(|source| (IpAddr::from(*source), 1)).collect(),
            ..Finding::bare(kind, Severity::P2)
        };
        Concern::of(&Incident::open(1, target, finding, 0, Interval::default())).expect("it is about packets")
    }

    /// A packet between two ends.
    fn packet(transport: Transport, source: ([u8; 4], u16), destination: ([u8; 4], u16)) -> Packet {
        Packet {
            network: Network::Ipv4,
            transport,
            source: ipv4_mapped(u32::from_be_bytes(source.0)),
            source_port: source.1,
            destination: ipv4_mapped(u32::from_be_bytes(destination.0)),
            destination_port: destination.1,
            ..Packet::EMPTY
        }
    }

    #[test]
    fn a_listener_is_its_port_both_ways() {
        let key = ListenerKey { address: IpAddr::from([10, 0, 0, 1]), port: 80 };
        let concern = concern(Kind::SynFlood, Target::Listener(key), &[]);
        let (own, peer) = ([10, 0, 0, 1], [10, 0, 0, 2]);
        let matches = |packet| concern.matches(&packet, &[]);
        assert!(matches(packet(Transport::Tcp, (peer, 5), (own, 80))));
        assert!(matches(packet(Transport::Tcp, (own, 80), (peer, 5))));
        assert!(!matches(packet(Transport::Tcp, (peer, 80), (own, 5))));
        assert!(!matches(packet(Transport::Udp, (peer, 5), (own, 80))));
        assert!(!matches(packet(Transport::Tcp, (peer, 5), ([10, 0, 0, 3], 80))));
    }

    #[test]
    fn a_scan_is_what_the_scanner_exchanges_with_the_network() {
        let network = NetworkTarget {
            address: IpAddr::from([10, 0, 1, 0]),
            prefix_bits: 24,
            port: None,
            protocol: "tcp",
        };
        let concern = concern(Kind::HostSweep, Target::Network(network), &[[9, 9, 9, 9]]);
        let (scanner, host) = (([9, 9, 9, 9], 5), ([10, 0, 1, 77], 22));
        assert!(concern.matches(&packet(Transport::Tcp, scanner, host), &[]));
        assert!(concern.matches(&packet(Transport::Tcp, host, scanner), &[]));
        assert!(!concern.matches(&packet(Transport::Tcp, ([9, 9, 9, 8], 5), host), &[]));
        assert!(!concern.matches(&packet(Transport::Tcp, scanner, ([10, 0, 2, 77], 22)), &[]));
    }

    #[test]
    fn errors_that_quote_it_are_of_it_and_so_are_later_fragments() {
        let host = HostTarget { address: IpAddr::from([10, 0, 0, 1]), port: Some(53), protocol: "udp" };
        let concern = concern(Kind::UdpFlood, Target::Host(host), &[]);
        let (router, sender) = (([1, 1, 1, 1], 0), ([10, 0, 0, 9], 0));
        // Time exceeded, of a datagram from the sender to the host.
        let mut quote =
            vec![11, 0, 0, 0, 0, 0, 0, 0, 0x45, 0, 0, 28, 0, 0, 0, 0, 1, 17, 0, 0, 10, 0, 0, 9, 10, 0, 0, 1];
        quote.extend([0, 5, 0, 53, 0, 8, 0, 0]);
        let error = packet(Transport::Icmp, router, sender);
        assert!(concern.matches(&error, &quote));
        quote[27] = 2;
        assert!(!concern.matches(&error, &quote));
        let later =
            Packet { fragment: Fragment::Later, ..packet(Transport::None, sender, ([10, 0, 0, 1], 0)) };
        assert!(concern.matches(&later, &[]));
    }
}
