//! Which packets concern an incident: those to and from its target, of its protocol and port; where one host is behind
//! it, those that it exchanges with the target; and ICMP errors that quote such a packet.

use std::net::IpAddr;

use tidegauge_ebpf::packet::{Address, Fragment, Network, Packet, Transport};

use crate::incident::{Incident, Kind, Target};
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
        let (address, prefix_bits, port, protocol) = match incident.target {
            Target::Capture => return None,
            Target::Listener(key) => (key.address, None, Some(key.port), "tcp"),
            Target::Host(host) => (host.address, None, host.port, host.protocol),
            Target::Network(network) => {
                (network.address, Some(network.prefix_bits), network.port, network.protocol)
            }
        };
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
