//! Floods over a whole network ("carpet bombing"): what comes to the hosts of one /24 of IPv4 or /48 of IPv6 together,
//! judged as what comes to a host is, so that no host of it need have enough for an incident. And over the small networks
//! of a /16 or /32: that is one incident and not one for each of them. Such a network has more hosts than there are rows:
//! where most of what came is its, so is what found no row, and its counts of what is not TCP are estimates.
//!
//! Looked at only in ticks in which many hosts get much. Bounded: [`NETWORKS_MAX`] networks; a silent one without an
//! incident gives way. Called by [`crate::scope`].

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use tidegauge_ebpf::counter::Counter;
use tidegauge_ebpf::target::{Majority, TargetCounter};

use crate::account::sent::SLOTS;
use crate::config::Config;
use crate::detect::{NetworkEvidence, Parts};
use crate::host_state::{HostState, Judged, Leading};
use crate::incident::{Incident, Kind};
use crate::open_incidents::{Changing, Judging};
use crate::prefix::{Network, Size, network_of, of_large};
use crate::window::{HostWindow, TargetBeside, TargetWindow, Window};

/// Networks remembered.
const NETWORKS_MAX: usize = 256;
/// Packets or facts in a window below which networks are not looked at: 500/s in a tick.
const WORTH_A_LOOK: u64 = 50;
/// What is known of one network.
#[derive(Debug, Default)]
struct Known {
    state: HostState,
    /// What something came to in the newest window, and the share of the busiest part.
    parts: Parts,
    busiest_share: f64,
}

/// All networks that were worth a look, the large ones first.
#[derive(Debug, Default)]
pub(crate) struct Networks(BTreeMap<Network, Box<Known>>, u64);

/// What is open for whole networks: the kinds, by network.
#[derive(Debug, Default)]
pub(crate) struct OpenKinds(BTreeSet<(Network, Kind)>);

impl OpenKinds {
    /// Those that a host, or a small network of this address, is part of.
    pub(crate) fn over(&self, address: IpAddr, sizes: &[Size]) -> Vec<Kind> {
        if self.0.is_empty() {
            return Vec::new();
        }
        let networks = sizes.iter().map(|size| Network::of(address, *size));
        let of = |network| self.0.iter().filter(move |(own, _)| *own == network).map(|(_, kind)| *kind);
        networks.flat_map(of).collect()
    }
}

/// What came to one network in a window.
#[derive(Default)]
struct Sum {
    target: TargetWindow,
    facts: HostWindow,
    hosts: u64,
    packets: u64,
    /// Hosts of a small network, small networks of a large one, and the packets of the busiest.
    parts: u64,
    busiest: u64,
    /// The part at hand, and its packets: hosts come in order.
    part: Option<(IpAddr, u64)>,
    /// Leads by port, of source and of destination ports.
    leads: [BTreeMap<u16, u64>; 2],
}

impl Networks {
    /// Adds the window of tick number `tick`; `totals`: datagrams and ICMP messages since targets were last told.
    pub(crate) fn add(&mut self, window: &Window, totals: [u64; 2], hosts_min: u64, tick: u64) {
        for size in [Size::Large, Size::Small] {
            let looked_at = self.looked_at(window, hosts_min, size);
            let sums = Sum::of(window, hosts_min, &looked_at, size);
            for (network, sum) in looked_at.into_iter().zip(sums) {
                let known = self.0.entry(network).or_default();
                let factor = if size == Size::Large { sum.seen_in(window) } else { 1.0 };
                known.add(&sum, factor, totals, tick, window.end_ns);
                known.parts = match size {
                    Size::Small => Parts::Hosts(sum.parts),
                    Size::Large => Parts::Networks { networks: sum.parts, hosts: sum.hosts },
                };
            }
        }
        if self.0.len() >= NETWORKS_MAX {
            let end_ns = window.end_ns;
            self.0.retain(|_, known| known.state.is_live(end_ns));
        }
    }

    /// Networks that are known, or get enough to be, in order. Most do not, and their hosts are not added up.
    fn looked_at(&mut self, window: &Window, hosts_min: u64, size: Size) -> Vec<Network> {
        let mut networks = sizes_of_networks(window, hosts_min, size);
        let mut places = NETWORKS_MAX.saturating_sub(self.0.len());
        networks.retain(|(network, hosts, packets)| {
            if self.0.contains_key(network) {
                return true;
            }
            let is_much = *hosts >= hosts_min && *packets >= WORTH_A_LOOK;
            let has_place = places != 0;
            self.1 += u64::from(is_much && !has_place);
            places -= usize::from(is_much && has_place);
            is_much && has_place
        });
        networks.into_iter().map(|(network, _, _)| network).collect()
    }

    /// Times that a network found no place.
    pub(crate) const fn refused(&self) -> u64 {
        self.1
    }

    pub(crate) fn end_second(&mut self, seconds: u64) {
        self.0.values_mut().for_each(|known| known.state.end_second(seconds));
    }

    pub(crate) fn skip(&mut self) {
        self.0.clear();
    }

    /// Judges all that live; what is open then. What is a large network's is not its small networks' too.
    pub(crate) fn judge(
        &mut self,
        judging: &Judging<'_>,
        tick: u64,
        both_ways: bool,
        changing: &mut Changing<'_>,
    ) -> OpenKinds {
        let mut open = OpenKinds::default();
        let mut large: Option<Config> = None;
        for (network, known) in &mut self.0 {
            if !known.state.is_live(judging.now_ns) {
                continue;
            }
            known.state.catch_up(tick);
            let (config, covered) = match network.size() {
                Size::Large => (&*large.get_or_insert_with(|| of_large(judging.config)), Vec::new()),
                Size::Small => (judging.config, open.over(network.address, &[Size::Large])),
            };
            let Known { parts, busiest_share, .. } = **known;
            let evidence = NetworkEvidence { prefix_bits: network.bits(), parts, busiest_share };
            let judged =
                Judged { address: network.address, network: Some(evidence), covered: &covered, both_ways };
            known.state.judge(&Judging { config, ..*judging }, &judged, changing);
            open.0.extend(known.state.incidents.iter().map(|incident| (*network, incident.peak.kind)));
        }
        open
    }

    pub(crate) fn incidents(&self) -> impl Iterator<Item = &Incident> {
        self.0.values().flat_map(|known| known.state.incidents.iter())
    }

    pub(crate) fn incidents_mut(&mut self) -> impl Iterator<Item = &mut Incident> {
        self.0.values_mut().flat_map(|known| known.state.incidents.iter_mut())
    }

    pub(crate) fn close_all(&mut self, now_ns: u64, changed: &mut Vec<Incident>) {
        self.0.values_mut().for_each(|known| known.state.incidents.close_all(now_ns, changed));
    }
}

/// What comes to hosts in a window, one after the other: who has targets and facts is told twice.
fn hosts_of(window: &Window, hosts_min: u64) -> impl Iterator<Item = (IpAddr, Share<'_>)> {
    let targets = window.targets.iter().take_while(move |_| window.targets.len() as u64 >= hosts_min);
    let hosts = window.hosts.iter().take_while(move |_| window.hosts.len() as u64 >= hosts_min);
    let targets = targets.map(|(address, target)| (*address, Share::Target(target)));
    targets.chain(hosts.map(|(address, facts)| (*address, Share::Facts(facts))))
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

/// Networks of this size in a window, in order, each with its hosts and their packets.
fn sizes_of_networks(window: &Window, hosts_min: u64, size: Size) -> Vec<(Network, u64, u64)> {
    let mut sizes: Vec<(Network, u64, u64)> = Vec::new();
    for (address, share) in hosts_of(window, hosts_min) {
        let network = Network::of(address, size);
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

impl Known {
    /// `factor`: packets for each that was counted.
    fn add(&mut self, sum: &Sum, factor: f64, [udp, icmp]: [u64; 2], tick: u64, end_ns: u64) {
        self.busiest_share = sum.busiest as f64 / sum.packets.max(1) as f64;
        let own = |counter| sum.target.get(counter);
        let elsewhere = [
            udp.saturating_sub(own(TargetCounter::UdpPackets)),
            icmp.saturating_sub(own(TargetCounter::IcmpPackets)),
        ];
        let target = scaled(sum.without_strangers(udp, icmp), factor);
        self.state.add_target(&target, elsewhere, tick, end_ns);
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
    fn of(window: &Window, hosts_min: u64, networks: &[Network], size: Size) -> Vec<Self> {
        let mut sums: Vec<Self> = networks.iter().map(|_| Self::default()).collect();
        if networks.is_empty() {
            return sums;
        }
        for (address, share) in hosts_of(window, hosts_min) {
            let Ok(place) = networks.binary_search(&Network::of(address, size)) else { continue };
            let sum = &mut sums[place];
            if let Some(packets) = share.packets() {
                let part = if size == Size::Small { address } else { network_of(address) };
                sum.add_packets(part, packets);
            }
            match share {
                Share::Facts(facts) => sum.facts.gather(facts),
                Share::Target(target) => sum.add_target(target),
            }
        }
        sums.iter_mut().for_each(|sum| sum.facts.unite());
        sums
    }

    /// Who has targets and facts is counted as two hosts; a network without enough of either has less than half.
    fn add_packets(&mut self, part: IpAddr, packets: u64) {
        self.hosts += 1;
        self.packets += packets;
        let of_part = match self.part {
            Some((known, of_part)) if known == part => of_part,
            _ => {
                self.parts += 1;
                0
            }
        };
        self.part = Some((part, of_part + packets));
        self.busiest = self.busiest.max(of_part + packets);
    }

    fn add_target(&mut self, target: &TargetWindow) {
        self.target.merge(target);
        let datagrams = target.get(TargetCounter::UdpPackets);
        for (leads, Majority { port, lead }) in
            self.leads.iter_mut().zip([target.source_port, target.destination_port])
        {
            *leads.entry(port).or_default() += u64::from(lead).min(datagrams);
        }
    }

    /// Packets that came for each that found a row, where most of those that did are of this network.
    fn seen_in(&self, window: &Window) -> f64 {
        let refused = window.totals.get(Counter::TargetsRefused);
        let counted: u64 = window.targets.values().map(TargetWindow::packets).sum();
        let is_most = self.target.packets() * 2 > counted;
        if is_most { (counted + refused) as f64 / counted as f64 } else { 1.0 }
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
}

fn scaled(mut target: TargetWindow, factor: f64) -> TargetWindow {
    let scaled = |count: u64| (count as f64 * factor).round() as u64;
    target.counters = target.counters.map(scaled);
    if let Some(TargetBeside { sent_udp, sent_icmp, asked, first_fragments }) = &mut target.beside {
        for count in [sent_udp, sent_icmp, asked, first_fragments] {
            *count = scaled(*count);
        }
    }
    target
}
