//! Networks by their size: small ones, of one site (/24 of IPv4, /48 of IPv6), and the large ones that they are in (/16, /32).

use std::net::IpAddr;

use tidegauge_ebpf::flow::prefix_of;
use tidegauge_ebpf::packet::Address;

use crate::config::Config;
use crate::window::{address_of, ip_addr};

/// Small networks of a large one that something must be spread over to be the large one's.
pub(crate) const SMALL_NETWORKS_MIN: u64 = 3;
/// Times a limit that is asked of a large network: something strays into so many addresses at any time. As no small
/// network may have half, none has reached the limit itself before.
const LARGE_FACTOR: f64 = 2.0;

/// How much of the address space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Size {
    /// /24 or /48.
    Small,
    /// /16 or /32.
    Large,
}

/// A network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Network {
    /// First, so that large ones are judged before those that are in them.
    size: std::cmp::Reverse<Size>,
    /// Its first address.
    pub(crate) address: IpAddr,
}

impl Network {
    /// The network of this size that a host is in.
    pub(crate) fn of(address: IpAddr, size: Size) -> Self {
        let address = match (size, network_of(address)) {
            (Size::Large, IpAddr::V4(small)) => IpAddr::V4((small.to_bits() & 0xffff_0000).into()),
            (Size::Large, IpAddr::V6(small)) => IpAddr::V6((small.to_bits() >> 96 << 96).into()),
            (Size::Small, small) => small,
        };
        Self { size: std::cmp::Reverse(size), address }
    }

    pub(crate) const fn size(self) -> Size {
        self.size.0
    }

    /// Bits that name it.
    pub(crate) const fn bits(self) -> u8 {
        match (self.size.0, self.address.is_ipv4()) {
            (Size::Small, true) => 24,
            (Size::Small, false) => 48,
            (Size::Large, true) => 16,
            (Size::Large, false) => 32,
        }
    }
}

/// The small network of a host.
pub(crate) fn network_of(address: IpAddr) -> IpAddr {
    ip_addr(prefix_of(address_of(address)))
}

/// The first bits that two addresses have in common.
pub(crate) fn common_bits(one: Address, other: Address) -> u8 {
    let mut bits = 0;
    for (one, other) in one.into_iter().zip(other) {
        let same = (one ^ other).leading_zeros() as u8;
        bits += same;
        if same != 32 {
            break;
        }
    }
    bits
}

/// The thresholds of floods for a large network.
pub(crate) fn of_large(config: &Config) -> Config {
    Config {
        conn_rate_limit_per_s: config.conn_rate_limit_per_s * LARGE_FACTOR,
        unasked_answers_per_s: config.unasked_answers_per_s * LARGE_FACTOR,
        stray_flood_per_s: config.stray_flood_per_s * LARGE_FACTOR,
        udp_flood_per_s: config.udp_flood_per_s * LARGE_FACTOR,
        udp_empty_per_s: config.udp_empty_per_s * LARGE_FACTOR,
        amplification_per_s: config.amplification_per_s * LARGE_FACTOR,
        icmp_flood_per_s: config.icmp_flood_per_s * LARGE_FACTOR,
        fragment_flood_per_s: config.fragment_flood_per_s * LARGE_FACTOR,
        protocol_flood_per_s: config.protocol_flood_per_s * LARGE_FACTOR,
        ..config.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_in_a_small_network_and_that_in_a_large_one() {
        for (host, small, large) in [
            ("198.51.100.7", ("198.51.100.0", 24), ("198.51.0.0", 16)),
            ("2001:db8:7:1::5", ("2001:db8:7::", 48), ("2001:db8::", 32)),
        ] {
            for (size, (address, bits)) in [(Size::Small, small), (Size::Large, large)] {
                let network = Network::of(host.parse().unwrap(), size);
                assert_eq!((network.address, network.bits()), (address.parse().unwrap(), bits));
            }
        }
    }

    #[test]
    fn large_networks_come_first() {
        let network = |host: &str, size| Network::of(host.parse().unwrap(), size);
        assert!(network("198.51.100.7", Size::Large) < network("10.0.0.1", Size::Small));
    }
}
