//! What a window has of attempts at one place: its parts, and who asks.

use std::net::IpAddr;

use tidegauge_ebpf::listener::ListenerCounter;

use crate::fact::Fact;
use crate::most::Most;
use crate::prefix::{Network, Size, network_of};
use crate::source_list::unite_sources;
use crate::window::{ListenerKey, ListenerWindow, TOP_SOURCES_MAX};

/// What is summed.
#[derive(Clone, Copy, Debug)]
#[repr(usize)]
pub(crate) enum WideCount {
    /// First SYNs.
    Asked,
    /// SYNs sent again.
    Repeated,
    /// Completed handshakes.
    Completed,
    /// First SYNs without options.
    Bare,
    /// Questions of hosts that each ask many: scans.
    Searched,
}

pub(super) const COUNTS: usize = WideCount::Searched as usize + 1;

/// Where attempts are spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    /// Over the hosts of a network, or its small networks. First, so that these are judged before what is in them.
    Network(Network),
    /// Over the ports of a host.
    Host(IpAddr),
}

impl Place {
    /// Those that a host is part of.
    pub(super) fn of(address: IpAddr) -> [Self; 3] {
        let network = |size| Self::Network(Network::of(address, size));
        [Self::Host(address), network(Size::Small), network(Size::Large)]
    }

    /// Its first address.
    pub(crate) const fn address(self) -> IpAddr {
        match self {
            Self::Host(address) => address,
            Self::Network(network) => network.address,
        }
    }

    pub(super) fn is_large(self) -> bool {
        matches!(self, Self::Network(network) if network.size() == Size::Large)
    }

    /// The part of it that a listener is.
    fn part(self, key: &ListenerKey) -> Part {
        match self {
            Self::Host(_) => Part::Port(key.port),
            Self::Network(network) if network.size() == Size::Small => Part::Address(key.address),
            Self::Network(_) => Part::Address(network_of(key.address)),
        }
    }
}

/// One of those that attempts are spread over.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    /// A host, or a small network's first address.
    Address(IpAddr),
    Port(u16),
}

/// What came to one place in a window.
#[derive(Default)]
pub(super) struct Sum {
    pub(super) counts: [u64; COUNTS],
    /// Listeners that were asked, their parts, and attempts at the busiest part.
    pub(super) listeners: u64,
    pub(super) parts: u64,
    pub(super) busiest: u64,
    /// The part at hand, and the attempts at it; listeners come in order.
    part: Option<(Part, u64)>,
    pub(super) port: Most<u16>,
    sources: Vec<(IpAddr, u32)>,
    prefixes: Vec<(IpAddr, u32)>,
    ttl_classes: u64,
}

/// Who asks, as far as it is noted at single listeners: of many attempts a sample.
#[derive(Clone, Debug, Default)]
pub(crate) struct Askers {
    /// Attempts that are noted, and distinct sources of them.
    pub(crate) noted: u64,
    pub(crate) distinct: u64,
    /// Of these attempts, those of a few that each ask in many places.
    pub(crate) searching: u64,
    /// The busiest of them, and their networks.
    pub(crate) top: Vec<(IpAddr, u32)>,
    pub(crate) prefixes: Vec<(IpAddr, u32)>,
    pub(crate) ttl_classes: u64,
}

impl Sum {
    /// Adds a listener of this place.
    pub(super) fn add(&mut self, place: Place, key: &ListenerKey, listener: &ListenerWindow) {
        let counts = counts_of(listener);
        let asked = counts[WideCount::Asked as usize];
        self.counts.iter_mut().zip(counts).for_each(|(own, more)| *own += more);
        if asked == 0 {
            return;
        }
        self.listeners += 1;
        let part = place.part(key);
        let of_part = match self.part {
            Some((known, asked)) if known == part => asked,
            _ => {
                self.parts += 1;
                0
            }
        };
        self.part = Some((part, of_part + asked));
        self.busiest = self.busiest.max(of_part + asked);
        self.port.record(key.port);
        self.sources.extend_from_slice(&listener.sources);
        self.prefixes.extend_from_slice(&listener.prefixes);
        self.ttl_classes |= listener.ttl_classes;
    }

    /// Who asked; `None`: none of them was noted.
    pub(super) fn askers(&mut self) -> Option<Askers> {
        let (mut top, mut prefixes) = (std::mem::take(&mut self.sources), std::mem::take(&mut self.prefixes));
        let searching = searching(&mut top);
        unite_sources(&mut top);
        unite_sources(&mut prefixes);
        let distinct = top.len() as u64;
        let noted = top.iter().map(|(_, attempts)| u64::from(*attempts)).sum();
        top.truncate(TOP_SOURCES_MAX);
        prefixes.truncate(TOP_SOURCES_MAX);
        (distinct != 0).then_some(Askers {
            noted,
            distinct,
            searching,
            top,
            prefixes,
            ttl_classes: self.ttl_classes,
        })
    }
}

/// Listeners at which a source must have been noted in one window for it to be one that searches.
const SEARCHED_MIN: usize = 8;

/// Attempts of those that search, of as many as are named: one that scans, or a few. Real hosts that flood a network
/// together look the same each, but are more.
fn searching(sources: &mut [(IpAddr, u32)]) -> u64 {
    sources.sort_unstable_by_key(|(address, _)| *address);
    let by_source = sources.chunk_by(|one, other| one.0 == other.0);
    let searching = by_source.filter(|noted| noted.len() >= SEARCHED_MIN);
    let mut attempts: Vec<u64> =
        searching.map(|noted| noted.iter().map(|(_, attempts)| u64::from(*attempts)).sum()).collect();
    attempts.sort_unstable_by(|one, other| other.cmp(one));
    attempts.iter().take(TOP_SOURCES_MAX).sum()
}

pub(super) fn counts_of(listener: &ListenerWindow) -> [u64; COUNTS] {
    let get = |counter| listener.get(counter);
    [
        get(ListenerCounter::Attempted),
        get(ListenerCounter::SynRetransmission),
        get(ListenerCounter::Completed) + get(ListenerCounter::CompletedOneSided),
        listener.fact(Fact::BareSyn),
        0,
    ]
}
