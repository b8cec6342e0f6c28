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
        let mut sums: BTreeMap<IpAddr, Sum> = BTreeMap::new();
        if window.targets.len() as u64 >= hosts_min {
            for (address, target) in window.targets.iter() {
                sums.entry(network_of(*address)).or_default().add_target(target);
            }
        }
        if window.hosts.len() as u64 >= hosts_min {
            for (address, facts) in window.hosts.iter() {
                sums.entry(network_of(*address)).or_default().add_facts(facts);
            }
        }
        for (address, sum) in sums {
            let much = sum.hosts >= hosts_min && sum.packets >= WORTH_A_LOOK;
            let known = self.0.contains_key(&address);
            if much && !known && self.0.len() >= NETWORKS_MAX {
                self.1 += 1;
            } else if much || known {
                self.0.entry(address).or_default().add(&sum, totals, tick, window.end_ns);
            }
        }
        if self.0.len() >= NETWORKS_MAX {
            let end_ns = window.end_ns;
            self.0.retain(|_, network| network.state.is_live(end_ns));
        }
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
            let prefix_bits = if address.is_ipv4() { BITS_IPV4 } else { BITS_IPV6 };
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
            self.facts.merge(facts);
        }
    }
}
