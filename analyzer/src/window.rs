//! A window: what one or more shards counted in an interval of packet time. Windows merge in any order and grouping.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tidegauge_ebpf::counter::Counters;
use tidegauge_ebpf::listener::{ListenerCounter, RWND_OCTAVES};
use tidegauge_ebpf::packet::{Address, ipv4_mapped};
use tidegauge_ebpf::target::{Majority, TargetCounter};

use crate::account::actors::{ActorCounts, Bits};
use crate::distinct::Distinct;
use crate::fact::{Fact, FactCounts, Facts};
use crate::impairment::{ImpairmentKey, Worst};
use crate::keyed::Keyed;
use crate::local_host::HostInterval;
use crate::path::{PathWindow, Trouble};
use crate::sample::Sampling;
pub use crate::source_list::sort_sources;
pub(crate) use crate::source_list::{merge_sources, unite_sources};
use crate::truth::Truth;

/// Sources kept per listener and window, the busiest.
pub const TOP_SOURCES_MAX: usize = 16;
/// Targets kept in a window that gathers for long, and in a run's sums.
pub const TARGETS_MAX: usize = 1_024;

/// Destination address and port that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListenerKey {
    /// Address.
    pub address: IpAddr,
    /// TCP port.
    pub port: u16,
}

/// What happened at one listener.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListenerWindow {
    /// Whether a handshake told that it listens.
    pub known: bool,
    /// By [`ListenerCounter`].
    pub counters: [u64; ListenerCounter::COUNT],
    /// Windows of known scale, by octave.
    pub rwnd_octaves: [u64; RWND_OCTAVES],
    /// Sources of attempts in the last one to two seconds.
    pub distinct: Distinct,
    /// Attempts by source in the current sketch period (1.07 s), at least; the busiest first.
    pub sources: Vec<(IpAddr, u32)>,
    /// The same by source network: /24 of IPv4, /48 of IPv6.
    pub prefixes: Vec<(IpAddr, u32)>,
    /// Requests by source, as `sources` of attempts, where there are many.
    pub requesters: Vec<(IpAddr, u32)>,
    /// TTL classes of attempts in the last one to two seconds ([`tidegauge_ebpf::target::ttl_class`]).
    pub ttl_classes: u64,
    /// Facts of packets; none where the source does not tell any.
    pub facts: FactCounts,
    /// Connections open at the window's end whose handshake was seen, and of these those with an incomplete request
    /// head. Of several windows the most.
    pub open: u32,
    /// See `open`.
    pub heads: u32,
    /// A bit for each peer, by its address, to which a round trip took more than [`RTT_SLOW_US`].
    pub slow_peers: u64,
    /// One of those who asked, `None` where nobody did or the source does not tell.
    pub asker: Option<IpAddr>,
}

/// From segment to ACK, microseconds, above which a peer is noted as slow (feature model: 100 ms).
pub const RTT_SLOW_US: u32 = 100_000;

/// What came to one host, of what [`crate::fact::Facts::OF_HOST`] counts by host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostWindow {
    /// Facts of packets.
    pub facts: FactCounts,
    /// Who sent them, in the last one to two seconds; where there are many, of a sample of them.
    pub distinct: Distinct,
    /// Packets by source in the current sketch period (1.07 s), about; the busiest first.
    pub sources: Vec<(IpAddr, u32)>,
    /// The same by source network.
    pub prefixes: Vec<(IpAddr, u32)>,
    /// TTL classes in the last one to two seconds.
    pub ttl_classes: u64,
}

/// With what somebody asks others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ActorProtocol {
    /// SYNs, and other segments of no connection.
    #[default]
    Tcp,
    /// Datagrams.
    Udp,
    /// ARP requests.
    Arp,
    /// Echo requests.
    Icmp,
}

/// Who asks others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ActorKey {
    /// Its address.
    pub address: IpAddr,
    /// What with.
    pub protocol: ActorProtocol,
}

/// What somebody asked of others since `began_ns`: a running sum, of which the newest counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ActorWindow {
    /// Beginning of the count, nanoseconds of packet time.
    pub began_ns: u64,
    /// What it asked, and what came of it.
    pub counts: ActorCounts,
    /// Distinct hosts, ports, and pairs of both, so that several workers' can be put together.
    pub distinct: [Bits; 3],
    /// Distinct hosts, about.
    pub hosts: u64,
    /// Distinct ports, about.
    pub ports: u64,
    /// Distinct pairs of host and port, about.
    pub places: u64,
    /// The host asked most, and whether it is more than half.
    pub host: Option<IpAddr>,
    /// See `host`.
    pub host_is_most: bool,
    /// The port asked most, and whether it is more than half.
    pub port: Option<u16>,
    /// See `port`.
    pub port_is_most: bool,
    /// The network that most of the hosts are in, and its prefix bits: the smallest that has them all, or the /24 or
    /// /16 (IPv6: /64 or /48) with more than half; `None` where they are all over the place.
    pub network: Option<(IpAddr, u8)>,
    /// Where passwords were tried most.
    pub login: Option<ListenerKey>,
    /// At least so many were tried there.
    pub login_lead: u32,
    /// And so many there in the four periods before.
    pub logins_before: u32,
}

/// Keys for which a table had no row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refused {
    /// Packets of hosts.
    pub hosts: u64,
    /// Questions of actors.
    pub actors: u64,
}

/// What came to one address that is not TCP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TargetWindow {
    /// By [`TargetCounter`]; the rest is room.
    pub counters: [u64; 8],
    /// TTL classes in the last one to two seconds.
    pub ttl_classes: u64,
    /// UDP source port of most datagrams.
    pub source_port: Majority,
    /// UDP destination port of most datagrams.
    pub destination_port: Majority,
    /// What only sources of whole packets tell.
    pub beside: Option<TargetBeside>,
}

/// What a target sent itself since it was last handed over, at most: what comes to it may be the answer. And what its
/// packets say beside their counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TargetBeside {
    /// Datagrams that it sent.
    pub sent_udp: u64,
    /// ICMP messages that it sent.
    pub sent_icmp: u64,
    /// Of the datagrams, those to the port that most of what comes to it is from, where that is a reflector's.
    pub asked: u64,
    /// First fragments that came to it.
    pub first_fragments: u64,
}

/// An interval of packet time, `start_ns..end_ns`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Window {
    /// Nanoseconds since the epoch.
    pub start_ns: u64,
    /// Nanoseconds since the epoch.
    pub end_ns: u64,
    /// All traffic. Boxed, so that windows are handed on at no cost.
    pub totals: Box<Counters>,
    /// Listeners with traffic.
    pub listeners: Keyed<ListenerKey, ListenerWindow>,
    /// Targets of what is not TCP.
    pub targets: Keyed<IpAddr, TargetWindow>,
    /// Hosts that facts were counted of.
    pub hosts: Keyed<IpAddr, HostWindow>,
    /// Who asks many.
    pub actors: Keyed<ActorKey, ActorWindow>,
    /// Listeners with connections in trouble, and those with none any more.
    pub troubles: Keyed<ListenerKey, Trouble>,
    /// Destinations that packets do not reach.
    pub paths: Keyed<IpAddr, PathWindow>,
    /// What connections suffered from that ended.
    pub impairments: Keyed<ImpairmentKey, Worst>,
    /// What found no row in the tables of these.
    pub refused: Refused,
    /// Where some flows were not followed: what is judged per flow is an estimate.
    pub sampling: Option<Sampling>,
    /// What only sources of whole packets tell; `None`: the source does not.
    pub truth: Option<Box<Truth>>,
    /// What the host counted of its own stack, live.
    pub host: Option<Box<HostInterval>>,
}

impl Window {
    /// Makes estimates of what was counted on one in `one_in` flows. Distinct sources stay what was seen: at least so
    /// many.
    pub fn scale(&mut self, one_in: u32) {
        self.sampling = Some(Sampling::scale(&mut self.totals, one_in));
        self.listeners.values_mut().for_each(|listener| listener.scale(one_in));
        self.hosts.values_mut().for_each(|host| host.facts.scale(Facts::OF_SEGMENTS, one_in));
        if let Some(truth) = &mut self.truth {
            truth.scale(one_in);
        }
    }

    /// Adds another shard's or interval's window.
    pub fn merge(&mut self, other: Self) {
        if self.is_blank() {
            *self = other;
            return;
        }
        if other.end_ns != 0 {
            self.start_ns = if self.end_ns == 0 { other.start_ns } else { self.start_ns.min(other.start_ns) };
            self.end_ns = self.end_ns.max(other.end_ns);
        }
        self.totals.merge(&other.totals);
        self.listeners.merge(other.listeners, ListenerWindow::merge);
        self.targets.merge(other.targets, TargetWindow::merge);
        self.hosts.merge(other.hosts, HostWindow::merge);
        self.actors.merge(other.actors, ActorWindow::merge);
        self.troubles.merge(other.troubles, Trouble::merge);
        self.paths.merge(other.paths, PathWindow::merge);
        self.impairments.merge(other.impairments, Worst::merge);
        self.refused.merge(other.refused);
        if let Some(sampling) = other.sampling {
            self.sampling.get_or_insert_default().merge(&sampling);
        }
        match (&mut self.truth, other.truth) {
            (Some(own), Some(more)) => own.merge(&more),
            (own @ None, more) => *own = more,
            (Some(_), None) => {}
        }
        if let Some(host) = other.host {
            self.host.get_or_insert_default().merge(&host);
        }
    }
}

impl Window {
    /// Whether nothing was ever added.
    fn is_blank(&self) -> bool {
        self.end_ns == 0
            && self.truth.is_none()
            && self.sampling.is_none()
            && self.listeners.is_empty()
            && self.targets.is_empty()
            && self.hosts.is_empty()
            && self.actors.is_empty()
            && self.troubles.is_empty()
            && self.paths.is_empty()
            && self.impairments.is_empty()
            && self.refused == Refused::default()
            && self.totals.values.iter().all(|value| *value == 0)
            && self
                .totals
                .histograms()
                .iter()
                .all(|histogram| histogram.buckets.iter().all(|count| *count == 0))
    }

    /// Keeps the busiest listeners and sources, for a window that gathers for long: sums stay whole, what is named is
    /// bounded.
    pub fn trim(&mut self, listeners_max: usize) {
        for listener in self.listeners.values_mut() {
            listener.sources.truncate(TOP_SOURCES_MAX);
            listener.prefixes.truncate(TOP_SOURCES_MAX);
            listener.requesters.truncate(TOP_SOURCES_MAX);
        }
        trim_targets(&mut self.targets, TARGETS_MAX);
        if self.listeners.len() <= listeners_max {
            return;
        }
        let busy = |listener: &ListenerWindow| {
            (listener.get(ListenerCounter::Attempted), listener.get(ListenerCounter::Packets))
        };
        let mut ranks: Vec<_> = self.listeners.values().map(busy).collect();
        let (_, least, _) = ranks.select_nth_unstable_by(listeners_max - 1, |a, b| b.cmp(a));
        let least = *least;
        self.listeners.retain(|_, listener| busy(listener) >= least);
    }
}

impl ListenerWindow {
    /// A counter's value.
    pub const fn get(&self, counter: ListenerCounter) -> u64 {
        self.counters[counter as usize]
    }

    /// Adds attempts by source and by source network.
    pub fn add_sources(&mut self, sources: &[(IpAddr, u32)], prefixes: &[(IpAddr, u32)]) {
        merge_sources(&mut self.sources, sources);
        merge_sources(&mut self.prefixes, prefixes);
    }

    fn scale(&mut self, one_in: u32) {
        let counters = self.counters.iter_mut().chain(&mut self.rwnd_octaves);
        counters.for_each(|count| *count = count.saturating_mul(one_in.into()));
        self.facts.scale(Facts::OF_SEGMENTS, one_in);
        self.open = self.open.saturating_mul(one_in);
        self.heads = self.heads.saturating_mul(one_in);
        for sources in [&mut self.sources, &mut self.prefixes, &mut self.requesters] {
            sources.iter_mut().for_each(|(_, attempts)| *attempts = attempts.saturating_mul(one_in));
            // Those that are more than can be counted are as many.
            sort_sources(sources);
        }
    }

    /// Adds another listener's counts: what a host's listeners have together.
    pub fn merge_counts(&mut self, other: &Self) {
        for (own, more) in self.counters.iter_mut().zip(&other.counters) {
            *own = own.saturating_add(*more);
        }
        for (own, more) in self.rwnd_octaves.iter_mut().zip(&other.rwnd_octaves) {
            *own = own.saturating_add(*more);
        }
        self.facts.merge(&other.facts);
    }

    /// Adds another shard's or interval's numbers of the same listener.
    pub fn merge(&mut self, other: &Self) {
        self.merge_counts(other);
        self.known |= other.known;
        self.distinct.merge(&other.distinct);
        merge_sources(&mut self.sources, &other.sources);
        merge_sources(&mut self.prefixes, &other.prefixes);
        merge_sources(&mut self.requesters, &other.requesters);
        self.ttl_classes |= other.ttl_classes;
        self.open = self.open.max(other.open);
        self.heads = self.heads.max(other.heads);
        self.slow_peers |= other.slow_peers;
        self.asker = self.asker.max(other.asker);
    }

    /// A fact's count.
    pub const fn fact(&self, fact: Fact) -> u64 {
        self.facts.get(fact)
    }
}

impl Refused {
    /// Adds another shard's or interval's.
    pub const fn merge(&mut self, other: Self) {
        self.hosts += other.hosts;
        self.actors += other.actors;
    }
}

impl HostWindow {
    /// Adds sources, each of which stands for `scale`.
    pub fn add_sources(&mut self, sources: &[(IpAddr, u32)], prefixes: &[(IpAddr, u32)], scale: u32) {
        let scaled = |sources: &[(IpAddr, u32)]| -> Vec<(IpAddr, u32)> {
            sources.iter().map(|(address, packets)| (*address, packets.saturating_mul(scale))).collect()
        };
        merge_sources(&mut self.sources, &scaled(sources));
        merge_sources(&mut self.prefixes, &scaled(prefixes));
    }

    /// Adds another shard's or interval's numbers of the same host.
    pub fn merge(&mut self, other: &Self) {
        self.gather(other);
        self.unite();
    }

    /// Adds one of many, whose sources are put in order when all are there ([`HostWindow::unite`]).
    pub(crate) fn gather(&mut self, other: &Self) {
        self.facts.merge(&other.facts);
        self.distinct.merge(&other.distinct);
        self.sources.extend_from_slice(&other.sources);
        self.prefixes.extend_from_slice(&other.prefixes);
        self.ttl_classes |= other.ttl_classes;
    }

    /// Puts the sources of all that were gathered in order.
    pub(crate) fn unite(&mut self) {
        unite_sources(&mut self.sources);
        unite_sources(&mut self.prefixes);
    }
}

impl ActorWindow {
    /// The newer running sum, and of the same count the larger.
    pub fn merge(&mut self, other: &Self) {
        let sum = |window: &Self| {
            let counts = &window.counts;
            u64::from(counts.asked)
                + u64::from(counts.logins)
                + u64::from(counts.moved)
                + u64::from(counts.unasked)
        };
        if (other.began_ns, sum(other)) > (self.began_ns, sum(self)) {
            *self = other.clone();
        }
    }
}

impl TargetWindow {
    /// A counter's value.
    pub const fn get(&self, counter: TargetCounter) -> u64 {
        self.counters[counter as usize]
    }

    /// Packets of all protocols.
    pub const fn packets(&self) -> u64 {
        self.get(TargetCounter::UdpPackets)
            + self.get(TargetCounter::IcmpPackets)
            + self.get(TargetCounter::OtherPackets)
    }

    /// Adds another shard's or interval's numbers of the same target.
    pub fn merge(&mut self, other: &Self) {
        for (own, more) in self.counters.iter_mut().zip(&other.counters) {
            *own = own.saturating_add(*more);
        }
        self.ttl_classes |= other.ttl_classes;
        let clearer = |one: Majority, other: Majority| {
            if (other.lead, other.port) > (one.lead, one.port) { other } else { one }
        };
        self.source_port = clearer(self.source_port, other.source_port);
        self.destination_port = clearer(self.destination_port, other.destination_port);
        if let Some(more) = &other.beside {
            self.beside.get_or_insert_default().merge(more);
        }
    }
}

impl TargetBeside {
    fn merge(&mut self, other: &Self) {
        for (own, more) in [
            (&mut self.sent_udp, other.sent_udp),
            (&mut self.sent_icmp, other.sent_icmp),
            (&mut self.asked, other.asked),
            (&mut self.first_fragments, other.first_fragments),
        ] {
            *own = own.saturating_add(more);
        }
    }
}

/// Keeps the targets with most packets; says how many went.
pub fn trim_targets(targets: &mut Keyed<IpAddr, TargetWindow>, most: usize) -> u64 {
    let surplus = targets.len().saturating_sub(most);
    if surplus == 0 {
        return 0;
    }
    let mut ranks: Vec<_> = targets.iter().map(|(address, target)| (target.packets(), *address)).collect();
    let (_, last_to_go, _) = ranks.select_nth_unstable(surplus - 1);
    let last_to_go = *last_to_go;
    targets.retain(|address, target| (target.packets(), *address) > last_to_go);
    surplus as u64
}

/// The packet logic's address as the standard library's.
pub fn ip_addr(address: Address) -> IpAddr {
    if address[..3] == [0, 0, 0xffff] {
        return IpAddr::V4(Ipv4Addr::from(address[3]));
    }
    let high = u128::from(address[0]) << 96 | u128::from(address[1]) << 64;
    let low = u128::from(address[2]) << 32 | u128::from(address[3]);
    IpAddr::V6(Ipv6Addr::from(high | low))
}

/// The standard library's address as the packet logic's.
pub fn address_of(address: IpAddr) -> Address {
    match address {
        IpAddr::V4(address) => ipv4_mapped(address.to_bits()),
        IpAddr::V6(address) => {
            let bits = address.to_bits();
            [(bits >> 96) as u32, (bits >> 64) as u32, (bits >> 32) as u32, bits as u32]
        }
    }
}
