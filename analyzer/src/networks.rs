//! Floods over a whole network ("carpet bombing"): what comes to the hosts of one /24 of IPv4 or /48 of IPv6 together,
//! judged as what comes to a host is, so that no host of it need have enough for an incident.
//!
//! Looked at only in ticks in which many hosts get much. Bounded: [`NETWORKS_MAX`] networks; a silent one without an
//! incident gives way. Called by [`crate::scope`].

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use tidegauge_ebpf::flow::prefix_of;
use tidegauge_ebpf::target::{Majority, TargetCounter};

use crate::account::sent::SLOTS;
use crate::detect::NetworkEvidence;
use crate::host_state::{HostState, Judged, Leading};
use crate::incident::{Incident, Kind};
use crate::open_incidents::{Changing, Judging};
use crate::window::{HostWindow, TargetWindow, Window, address_of, ip_addr};

/// Networks remembered.
const NETWORKS_MAX: usize = 256;
/// Packets or facts in a window below which networks are not looked at: 500/s in a tick.
const WORTH_A_LOOK: u64 = 50;
/// Bits of the networks' names.
const BITS_IPV4: u8 = 24;
const BITS_IPV6: u8 = 48;

/// One network.
#[derive(Debug, Default)]
struct Network {
    state: HostState,
    /// Hosts that something came to in the newest window, and the share of the busiest.
    hosts: u64,
    busiest_share: f64,
}

/// All networks that were worth a look.
#[derive(Debug, Default)]
pub(crate) struct Networks(BTreeMap<IpAddr, Box<Network>>, u64);

/// The network of a host.
pub(crate) fn network_of(address: IpAddr) -> IpAddr {
    ip_addr(prefix_of(address_of(address)))
}

/// Bits that name it.
pub(crate) const fn network_bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { BITS_IPV4 } else { BITS_IPV6 }
}

/// What came to one network in a window.
#[derive(Default)]
struct Sum {
    target: TargetWindow,
    facts: HostWindow,
    hosts: u64,
    packets: u64,
    busiest: u64,
    /// Leads by port, of source and of destination ports.
    leads: [BTreeMap<u16, u64>; 2],
}

impl Networks {
    /// Adds the window of tick number `tick`; `totals`: datagrams and ICMP messages since targets were last told.
    pub(crate) fn add(&mut self, window: &Window, totals: [u64; 2], hosts_min: u64, tick: u64) {
        let looked_at = self.looked_at(window, hosts_min);
        let sums = Sum::of(window, hosts_min, &looked_at);
        for (address, sum) in looked_at.into_iter().zip(sums) {
            self.0.entry(address).or_default().add(&sum, totals, tick, window.end_ns);
        }
        if self.0.len() >= NETWORKS_MAX {
            let end_ns = window.end_ns;
            self.0.retain(|_, network| network.state.is_live(end_ns));
        }
    }

    /// Networks that are known, or get enough to be, in order. Most do not, and their hosts are not added up.
    fn looked_at(&mut self, window: &Window, hosts_min: u64) -> Vec<IpAddr> {
        let mut networks = sizes_of_networks(window, hosts_min);
        let mut places = NETWORKS_MAX.saturating_sub(self.0.len());
        networks.retain(|(address, hosts, packets)| {
            if self.0.contains_key(address) {
                return true;
            }
            let is_much = *hosts >= hosts_min && *packets >= WORTH_A_LOOK;
            let has_place = places != 0;
            self.1 += u64::from(is_much && !has_place);
            places -= usize::from(is_much && has_place);
            is_much && has_place
        });
        networks.into_iter().map(|(address, _, _)| address).collect()
    }

    /// Times that a network found no place.
    pub(crate) const fn refused(&self) -> u64 {
        self.1
    }

    pub(crate) fn end_second(&mut self, seconds: u64) {
        self.0.values_mut().for_each(|network| network.state.end_second(seconds));
    }

    pub(crate) fn skip(&mut self) {
        self.0.clear();
    }

    /// Judges all that live; what is open then, by network.
    pub(crate) fn judge(
        &mut self,
        judging: &Judging<'_>,
        tick: u64,
        both_ways: bool,
        changing: &mut Changing<'_>,
    ) -> BTreeSet<(IpAddr, Kind)> {
        let mut open = BTreeSet::new();
        for (address, network) in &mut self.0 {
            if !network.state.is_live(judging.now_ns) {
                continue;
            }
            network.state.catch_up(tick);
            let prefix_bits = network_bits(*address);
            let Network { hosts, busiest_share, .. } = **network;
            let evidence = NetworkEvidence { prefix_bits, hosts, busiest_share };
            let judged = Judged { address: *address, network: Some(evidence), covered: &[], both_ways };
            network.state.judge(judging, &judged, changing);
            open.extend(network.state.incidents.iter().map(|incident| (*address, incident.peak.kind)));
        }
        open
    }

    pub(crate) fn incidents(&self) -> impl Iterator<Item = &Incident> {
        self.0.values().flat_map(|network| network.state.incidents.iter())
    }

    pub(crate) fn incidents_mut(&mut self) -> impl Iterator<Item = &mut Incident> {
        self.0.values_mut().flat_map(|network| network.state.incidents.iter_mut())
    }

    pub(crate) fn close_all(&mut self, now_ns: u64, changed: &mut Vec<Incident>) {
        self.0.values_mut().for_each(|network| network.state.incidents.close_all(now_ns, changed));
    }
}

/// What comes to hosts in a window, one after the other: who has targets and facts is told twice.
fn hosts_of(window: &Window, hosts_min: u64) -> impl Iterator<Item = (IpAddr, Share<'_>)> {
    let targets = window.targets.iter().take_while(move |_| window.targets.len() as u64 >= hosts_min);
    let hosts = window.hosts.iter().take_while(move |_| window.hosts.len() as u64 >= hosts_min);
    let targets = targets.map(|(address, target)| (network_of(*address), Share::Target(target)));
    targets.chain(hosts.map(|(address, facts)| (network_of(*address), Share::Facts(facts))))
}

/// A part of what came to one host.
enum Share<'a> {
    Facts(&'a HostWindow),
    Target(&'a TargetWindow),
}

impl Share<'_> {
    /// `None` where it does not count as a host.
    fn packets(&self) -> Option<u64> {
        match self {
            Self::Facts(facts) if facts.facts.is_empty() => None,
            Self::Facts(facts) => Some(facts.facts.total()),
            Self::Target(target) => Some(target.packets()),
        }
    }
}

/// Networks of a window in order, each with its hosts and their packets.
fn sizes_of_networks(window: &Window, hosts_min: u64) -> Vec<(IpAddr, u64, u64)> {
    let mut sizes: Vec<(IpAddr, u64, u64)> = Vec::new();
    for (network, share) in hosts_of(window, hosts_min) {
        let (hosts, packets) = share.packets().map_or((0, 0), |packets| (1, packets));
        match sizes.last_mut() {
            // Hosts come in order.
            Some((last, all, sum)) if *last == network => (*all, *sum) = (*all + hosts, *sum + packets),
            _ => sizes.push((network, hosts, packets)),
        }
    }
    sizes.sort_by_key(|(network, _, _)| *network);
    sizes.dedup_by(|next, one| {
        let same = next.0 == one.0;
        if same {
            (one.1, one.2) = (one.1 + next.1, one.2 + next.2);
        }
        same
    });
    sizes
}

impl Network {
    fn add(&mut self, sum: &Sum, [udp, icmp]: [u64; 2], tick: u64, end_ns: u64) {
        (self.hosts, self.busiest_share) = (sum.hosts, sum.busiest as f64 / sum.packets.max(1) as f64);
        let own = |counter| sum.target.get(counter);
        let elsewhere = [
            udp.saturating_sub(own(TargetCounter::UdpPackets)),
            icmp.saturating_sub(own(TargetCounter::IcmpPackets)),
        ];
        self.state.add_target(&sum.without_strangers(udp, icmp), elsewhere, tick, end_ns);
        let [source, destination] = [0, 1].map(|end| {
            let leading = sum.leads[end].iter().max_by_key(|(_, lead)| **lead);
            let datagrams = own(TargetCounter::UdpPackets).max(1) as f64;
            leading.map_or(Leading::default(), |(port, lead)| Leading::of(*port, *lead as f64 / datagrams))
        });
        self.state.set_ports(source, destination);
        if !sum.facts.facts.is_empty() {
            self.state.add_facts(&sum.facts, tick, end_ns);
        }
    }
}

impl Sum {
    /// Of these networks, which are in order.
    fn of(window: &Window, hosts_min: u64, networks: &[IpAddr]) -> Vec<Self> {
        let mut sums: Vec<Self> = networks.iter().map(|_| Self::default()).collect();
        if networks.is_empty() {
            return sums;
        }
        for (network, share) in hosts_of(window, hosts_min) {
            let Ok(place) = networks.binary_search(&network) else { continue };
            match share {
                Share::Facts(facts) => sums[place].add_facts(facts),
                Share::Target(target) => sums[place].add_target(target),
            }
        }
        sums.iter_mut().for_each(|sum| sum.facts.unite());
        sums
    }

    fn add_host(&mut self, packets: u64) {
        self.hosts += 1;
        self.packets += packets;
        self.busiest = self.busiest.max(packets);
    }

    fn add_target(&mut self, target: &TargetWindow) {
        self.add_host(target.packets());
        self.target.merge(target);
        let datagrams = target.get(TargetCounter::UdpPackets);
        for (leads, Majority { port, lead }) in
            self.leads.iter_mut().zip([target.source_port, target.destination_port])
        {
            *leads.entry(port).or_default() += u64::from(lead).min(datagrams);
        }
    }

    /// The target, less what of all senders was counted to its hosts because they share their places: what a host sent
    /// is at most too high, which adds up over a network.
    fn without_strangers(&self, udp: u64, icmp: u64) -> TargetWindow {
        let mut target = self.target;
        if let Some(beside) = &mut target.beside {
            let share = |all: u64| (all * self.hosts).div_ceil(SLOTS as u64);
            beside.sent_udp = beside.sent_udp.saturating_sub(share(udp));
            beside.sent_icmp = beside.sent_icmp.saturating_sub(share(icmp));
        }
        target
    }

    /// Who has targets too is counted as two hosts; a network without enough of either has less than half.
    fn add_facts(&mut self, facts: &HostWindow) {
        if !facts.facts.is_empty() {
            self.add_host(facts.facts.total());
            self.facts.gather(facts);
        }
    }
}
