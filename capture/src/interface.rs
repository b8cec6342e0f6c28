//! A network interface by name: its index, whether it loops back, whether it is still there.

use std::io;
use std::net::IpAddr;

use rustix::net::{AddressFamily, SocketType, netdevice};
use thiserror::Error;

use crate::nic::ethtool::Ethtool;
use crate::nic::netlink::link;

const ETHERNET_HEADER_BYTES: u32 = 14;
/// MTU up to which a frame surely fits one buffer.
pub const XDP_MTU_MAX: u32 = 3_498;

/// A network interface of this namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Name.
    pub name: String,
    /// Index at the time it was opened.
    pub index: u32,
    /// Whether what it sends comes in again.
    pub is_loopback: bool,
}

/// There is no such interface.
#[derive(Debug, Error)]
#[error("no network interface {name}: see `ip -brief link` for those that are there")]
pub struct UnknownInterface {
    /// The name asked for.
    pub name: String,
}

impl Interface {
    /// The interface of this name.
    ///
    /// # Errors
    /// [`UnknownInterface`].
    pub fn open(name: &str) -> Result<Self, UnknownInterface> {
        let index = index_of(name).map_err(|_| UnknownInterface { name: name.to_owned() })?;
        Ok(Self { name: name.to_owned(), index, is_loopback: name == "lo" })
    }

    /// Largest packet it sends, bytes, link header apart; `None` where the kernel does not tell.
    pub fn mtu_bytes(&self) -> Option<u32> {
        link(self.index).ok().map(|link| link.mtu_bytes)
    }

    /// Whether its frames may be longer than one buffer of a driver, a page less what XDP keeps in it.
    pub fn wants_frags(&self) -> bool {
        !self.is_loopback && self.mtu_bytes().is_some_and(|mtu_bytes| mtu_bytes > XDP_MTU_MAX)
    }

    /// Longest Ethernet frame without VLAN tags that is one packet: a longer one was merged from several. 0 where that
    /// is not known.
    pub fn frame_bytes_max(&self) -> u32 {
        self.mtu_bytes().map_or(0, |mtu_bytes| mtu_bytes + ETHERNET_HEADER_BYTES)
    }

    /// RX queues in use; 1 where the driver does not tell.
    pub fn rx_queues(&self) -> u32 {
        let channels = Ethtool::open(&self.name).and_then(|ethtool| ethtool.channels());
        channels.map_or(1, |channels| channels.rx_queues.max(1))
    }

    /// Its IP addresses; those that every IPv6 interface gives itself (link-local) aside.
    pub fn addresses(&self) -> Vec<IpAddr> {
        let all = nix::ifaddrs::getifaddrs().into_iter().flatten();
        let own = all.filter(|entry| entry.interface_name == self.name);
        own.filter_map(|entry| {
            let address = entry.address?;
            if let Some(v4) = address.as_sockaddr_in() {
                return Some(IpAddr::V4(v4.ip()));
            }
            let v6 = address.as_sockaddr_in6()?.ip();
            (!v6.is_unicast_link_local()).then_some(IpAddr::V6(v6))
        })
        .collect()
    }

    /// Whether the interface of this name is still the one that was opened.
    pub fn is_present(&self) -> bool {
        index_of(&self.name).is_ok_and(|index| index == self.index)
    }
}

fn index_of(name: &str) -> io::Result<u32> {
    // Only a handle for the request. A local one: no other may be opened any more while a run is confined.
    let socket = rustix::net::socket(AddressFamily::UNIX, SocketType::DGRAM, None)?;
    Ok(netdevice::name_to_index(socket, name)?)
}
