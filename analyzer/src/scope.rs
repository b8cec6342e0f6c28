//! What the engine remembers by key beside listeners: hosts that something comes to, and hosts that ask others. Bounded;
//! the longest silent give way first, one with an open incident never.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::IpAddr;

use tidegauge_ebpf::counter::Counter;
use tidegauge_ebpf::target::TargetCounter;

use crate::actor_state::ActorState;
use crate::config::Config;
use crate::fact::Fact;
use crate::host_state::{HostState, Judged};
use crate::incident::Incident;
use crate::learnt::LearntHost;
use crate::networks::Networks;
use crate::open_incidents::{Changing, Judging};
use crate::path_state::PathState;
use crate::prefix::Size;
use crate::watch_list::WatchList;
use crate::wide::Wide;
use crate::window::{ActorKey, ActorProtocol, HostWindow, Window};

/// Hosts remembered.
pub const HOSTS_MAX: usize = 2_048;
/// Hosts that ask others remembered.
pub const ACTORS_MAX: usize = 2_048;
/// Destinations remembered that packets do not reach.
pub const PATHS_MAX: usize = 512;
/// Packets in a tick or second from which on a host that is not known is remembered: of the least rate that is a flood.
const PACKETS_WORTH_KEEPING: u64 = 20;

/// Handshakes after which older ones count half.
const HANDSHAKES_REMEMBERED: u64 = 2_000;

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Scopes {
    hosts: BTreeMap<IpAddr, Box<HostState>>,
    /// Those that something came to lately, or that have an open incident: ends of seconds are told to them alone.
    awake_hosts: WatchList<IpAddr>,
    /// Seconds that ended.
    seconds: u64,
    actors: BTreeMap<ActorKey, Box<ActorState>>,
    /// Those that something came of in the tick, or that have an open incident; the others are looked at once a second.
    watched_hosts: WatchList<IpAddr>,
    watched_actors: WatchList<ActorKey>,
    paths: BTreeMap<IpAddr, Box<PathState>>,
    networks: Networks,
    /// Attempts over many ports or hosts.
    wide: Wide,
    /// Datagrams and ICMP messages to all since targets were last told.
    totals: [u64; 2],
    /// Handshakes seen from both sides and from one, of the last minutes.
    handshakes: [u64; 2],
    /// Those that were forgotten for want of room.
    forgotten: u64,
}

impl Scopes {
    /// Adds the window of tick number `tick`.
    pub(crate) fn add(&mut self, window: &Window, tick: u64, config: &Config) {
        let end_ns = window.end_ns;
        self.note_totals(window);
        self.networks.add(window, self.totals, config.carpet_hosts_min, tick);
        let [udp, icmp] = self.totals;
        for (address, target) in window.targets.iter() {
            if let Some(host) = self.host(*address, target.packets()) {
                let elsewhere = [
                    udp.saturating_sub(target.get(TargetCounter::UdpPackets)),
                    icmp.saturating_sub(target.get(TargetCounter::IcmpPackets)),
                ];
                host.add_target(target, elsewhere, tick, end_ns);
            }
        }
        if !window.targets.is_empty() {
            self.totals = [0; 2];
        }
        for (address, facts) in window.hosts.iter() {
            if let Some(host) = self.host(*address, weight(facts)) {
                host.add_facts(facts, tick, end_ns);
            }
        }
        for (key, counts) in window.actors.iter() {
            let actor = self.actors.entry(*key).or_default();
            if key.protocol == ActorProtocol::Tcp {
                self.wide.search(counts, actor.asked_more(counts), tick);
            }
            actor.add(counts, end_ns);
            self.watched_actors.insert(*key);
        }
        self.wide.add(window, config.carpet_hosts_min, tick);
        self.add_paths(window);
        self.forgotten += trim(&mut self.hosts, HOSTS_MAX, |host| {
            (!host.incidents.is_empty(), host.seen_ns, host.packets())
        });
        self.forgotten +=
            trim(&mut self.actors, ACTORS_MAX, |actor| (!actor.incidents.is_empty(), actor.seen_ns, 0));
        self.forgotten +=
            trim(&mut self.paths, PATHS_MAX, |path| (!path.incidents.is_empty(), path.seen_ns, 0));
    }

    /// Destinations that packets do not reach, and with how many hops left such packets come by here.
    fn add_paths(&mut self, window: &Window) {
        let end_ns = window.end_ns;
        for (destination, path) in window.paths.iter() {
            self.paths.entry(*destination).or_default().add(path, end_ns);
        }
        if self.paths.is_empty() {
            return;
        }
        let listeners = window.listeners.iter().map(|(key, listener)| (&key.address, listener.ttl_classes));
        let targets = window.targets.iter().map(|(address, target)| (address, target.ttl_classes));
        for (address, ttl_classes) in listeners.chain(targets).filter(|(_, classes)| *classes != 0) {
            if let Some(path) = self.paths.get_mut(address) {
                path.note_ttl(ttl_classes, end_ns);
            }
        }
    }

    fn note_totals(&mut self, window: &Window) {
        let counters = [Counter::Udp, Counter::Icmp];
        for (total, counter) in self.totals.iter_mut().zip(counters) {
            *total += window.totals.get(counter);
        }
        let counters = [Counter::Completed, Counter::CompletedOneSided];
        for (count, counter) in self.handshakes.iter_mut().zip(counters) {
            *count += window.totals.get(counter);
        }
        if self.handshakes.iter().sum::<u64>() > HANDSHAKES_REMEMBERED {
            self.handshakes = self.handshakes.map(|count| count / 2);
        }
    }

    /// Whether handshakes are seen from both sides: then so are answers to what is not TCP.
    const fn both_ways(&self) -> bool {
        let [both, one] = self.handshakes;
        both > one * 4
    }

    fn host(&mut self, address: IpAddr, packets: u64) -> Option<&mut HostState> {
        let host = match self.hosts.entry(address) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(_) if packets < PACKETS_WORTH_KEEPING => return None,
            Entry::Vacant(place) => place.insert(Box::default()),
        };
        self.watched_hosts.insert(address);
        if !host.is_awake {
            self.awake_hosts.insert(address);
            host.wake(self.seconds);
        }
        Some(host)
    }

    /// Begins with what an earlier run has learnt.
    pub(crate) fn remember(&mut self, hosts: Vec<LearntHost>) {
        for host in hosts {
            self.hosts.insert(host.addr, Box::new(HostState::of_learnt(host)));
        }
    }

    /// What is usual of the hosts that much comes to.
    pub(crate) fn learnt(&mut self) -> Vec<LearntHost> {
        let hosts = self.hosts.iter_mut().filter_map(|(address, host)| host.learnt(*address, self.seconds));
        hosts.take(HOSTS_MAX).collect()
    }

    /// Has all looked at that live.
    pub(crate) fn watch_all(&mut self, now_ns: u64) {
        let is_live = |address: &&IpAddr| self.hosts.get(*address).is_some_and(|host| host.is_live(now_ns));
        self.watched_hosts.extend(self.awake_hosts.tidied().iter().filter(is_live).copied());
    }

    /// A second ends.
    pub(crate) fn end_second(&mut self, now_ns: u64) {
        self.seconds += 1;
        self.awake_hosts.retain(|address| {
            let Some(host) = self.hosts.get_mut(address) else { return false };
            host.end_second(self.seconds);
            host.is_awake = host.is_live(now_ns);
            if host.is_awake {
                self.watched_hosts.insert(*address);
            }
            host.is_awake
        });
        self.networks.end_second(self.seconds);
        self.wide.end_second();
        self.actors.retain(|_, actor| actor.is_live(now_ns));
        self.paths.retain(|_, path| path.is_live(now_ns));
        self.paths.values_mut().for_each(|path| path.end_second());
    }

    /// Time without packets was skipped, or began anew.
    pub(crate) fn skip(&mut self) {
        self.hosts.clear();
        self.awake_hosts.clear();
        self.networks.skip();
        self.wide.skip();
        self.totals = [0; 2];
        self.actors.clear();
        self.watched_hosts.clear();
        self.watched_actors.clear();
        self.paths.clear();
    }

    /// Judges attempts that are spread, before the listeners that they are spread over are judged.
    pub(crate) fn judge_wide(&mut self, judging: &Judging<'_>, tick: u64, changing: &mut Changing<'_>) {
        self.wide.judge(judging, tick, changing);
    }

    /// Whether a flood of attempts is open that a listener at this address is part of.
    pub(crate) fn is_flooded(&self, address: IpAddr) -> bool {
        self.wide.covers(address)
    }

    /// Judges all else that lives, at the end of tick number `tick`.
    pub(crate) fn judge(&mut self, judging: &Judging<'_>, tick: u64, changing: &mut Changing<'_>) {
        let both_ways = self.both_ways();
        let open = self.networks.judge(judging, tick, both_ways, changing);
        self.watched_hosts.retain(|address| {
            let Some(host) = self.hosts.get_mut(address) else { return false };
            host.catch_up(tick);
            let covered = open.over(*address, &[Size::Small, Size::Large]);
            let judged = Judged { address: *address, network: None, covered: &covered, both_ways };
            host.judge(judging, &judged, changing);
            !host.incidents.is_empty()
        });
        self.watched_actors.retain(|key| {
            let Some(actor) = self.actors.get_mut(key) else { return false };
            actor.judge(judging, *key, changing);
            !actor.incidents.is_empty()
        });
        for (destination, path) in &mut self.paths {
            path.judge(judging, *destination, changing);
        }
    }

    /// What was forgotten for want of room, or not taken.
    pub(crate) const fn forgotten(&self) -> u64 {
        self.forgotten + self.networks.refused() + self.wide.refused()
    }

    /// Open incidents.
    pub(crate) fn incidents(&self) -> impl Iterator<Item = &Incident> {
        let hosts = self.hosts.values().flat_map(|host| host.incidents.iter());
        let actors = self.actors.values().flat_map(|actor| actor.incidents.iter());
        let paths = self.paths.values().flat_map(|path| path.incidents.iter());
        hosts.chain(self.networks.incidents()).chain(self.wide.incidents()).chain(actors).chain(paths)
    }

    /// Open incidents.
    pub(crate) fn incidents_mut(&mut self) -> impl Iterator<Item = &mut Incident> {
        let hosts = self.hosts.values_mut().flat_map(|host| host.incidents.iter_mut());
        let actors = self.actors.values_mut().flat_map(|actor| actor.incidents.iter_mut());
        let paths = self.paths.values_mut().flat_map(|path| path.incidents.iter_mut());
        let wide = self.wide.incidents_mut();
        hosts.chain(self.networks.incidents_mut()).chain(wide).chain(actors).chain(paths)
    }

    /// Closes everything at the end of the run.
    pub(crate) fn close_all(&mut self, now_ns: u64, changed: &mut Vec<Incident>) {
        self.hosts.values_mut().for_each(|host| host.incidents.close_all(now_ns, changed));
        self.networks.close_all(now_ns, changed);
        self.wide.close_all(now_ns, changed);
        self.actors.values_mut().for_each(|actor| actor.incidents.close_all(now_ns, changed));
        self.paths.values_mut().for_each(|path| path.incidents.close_all(now_ns, changed));
    }
}

/// Facts of a host; one that is asked for names, or gets SYNs from itself, is remembered however few they are.
fn weight(host: &HostWindow) -> u64 {
    let kept = [Fact::Query, Fact::Land].iter().any(|fact| host.facts.get(*fact) != 0);
    if kept { u64::MAX } else { host.facts.total() }
}

/// Forgets the lowest of `rank` until at most `most` are left, in one pass once there are half as many again.
fn trim<K: Copy + Ord, S, R: Ord + Copy>(
    states: &mut BTreeMap<K, Box<S>>,
    most: usize,
    rank: impl Fn(&S) -> R,
) -> u64 {
    if states.len() <= most + most / 2 {
        return 0;
    }
    let surplus = states.len() - most;
    let mut ranked: Vec<(R, K)> = states.iter().map(|(key, state)| (rank(state), *key)).collect();
    ranked.select_nth_unstable(surplus);
    for (_, key) in &ranked[..surplus] {
        states.remove(key);
    }
    surplus as u64
}

#[cfg(test)]
mod tests {
    use tidegauge_ebpf::target::Majority;

    use super::*;
    use crate::feature::TICK_NS;
    use crate::sight::Sight;
    use crate::window::TargetWindow;

    /// Counts of targets alone, as the kernel has them.
    fn target(datagrams: u64) -> TargetWindow {
        let mut target = TargetWindow { ttl_classes: u64::MAX, ..TargetWindow::default() };
        target.counters[TargetCounter::UdpPackets as usize] = datagrams;
        target.counters[TargetCounter::UdpBytes as usize] = datagrams * 100;
        (target.source_port, target.destination_port) =
            (Majority { port: 7, lead: 1 }, Majority { port: 9, lead: 1 });
        target
    }

    /// Kinds and targets that open within three seconds in which so many datagrams come to each of these in a tick.
    fn opened(targets: &[(&str, u64)]) -> Vec<String> {
        let (config, sight) = (Config::default(), Sight::default());
        let (mut scopes, mut number, mut changed) = (Scopes::default(), 0, Vec::new());
        for tick in 1..30 {
            let end_ns = tick * TICK_NS;
            let mut window = Window { start_ns: end_ns - TICK_NS, end_ns, ..Window::default() };
            let pairs =
                targets.iter().filter_map(|(address, count)| Some((address.parse().ok()?, target(*count))));
            window.targets = pairs.collect();
            window.totals.add(Counter::Udp, targets.iter().map(|(_, count)| count).sum());
            scopes.add(&window, tick, &config);
            if tick % 10 == 0 {
                scopes.end_second(end_ns);
            }
            let judging = Judging {
                config: &config,
                answers_visible: true,
                whole_packets: true,
                now_ns: end_ns,
                sight: &sight,
                blindness: None,
            };
            scopes.judge(&judging, tick, &mut Changing { numbers: &mut number, changed: &mut changed });
        }
        let opened = changed.iter().filter(|incident| incident.state == crate::incident::State::Opened);
        opened.map(|incident| format!("{} {}", incident.peak.kind.name(), incident.target)).collect()
    }

    #[test]
    fn counts_of_the_kernel_are_enough_for_a_flood() {
        assert_eq!(opened(&[("192.0.2.7", 1_500)]), ["udp_flood 192.0.2.7/udp"]);
        assert_eq!(opened(&[("192.0.2.7", 1_500), ("198.51.100.1", 1_500)]).len(), 0);
    }

    #[test]
    fn what_is_learnt_of_a_host_knows_that_it_fell_silent() {
        let (config, mut scopes) = (Config::default(), Scopes::default());
        for tick in 1..=600 {
            let end_ns = tick * TICK_NS;
            let mut window = Window { start_ns: end_ns - TICK_NS, end_ns, ..Window::default() };
            if tick <= 200 {
                window.targets = [(IpAddr::from([192, 0, 2, 7]), target(100))].into_iter().collect();
            }
            scopes.add(&window, tick, &config);
            if tick % 10 == 0 {
                scopes.end_second(end_ns);
            }
            if tick == 200 {
                assert_eq!(scopes.learnt()[0].udp.iter().max(), Some(&1_000));
            }
        }
        // Twenty seconds of traffic, forty of silence.
        assert_eq!(scopes.learnt()[0].udp.iter().filter(|second| **second == 0).count(), 40);
    }

    #[test]
    fn a_flood_over_a_network_is_one_incident() {
        let addresses: Vec<String> = (1..=100).map(|host| format!("192.0.2.{host}")).collect();
        let targets: Vec<_> = addresses.iter().map(|address| (address.as_str(), 30)).collect();
        assert_eq!(opened(&targets), ["udp_flood 192.0.2.0/24 udp"]);
    }

    #[test]
    fn one_busy_host_of_a_network_is_its_own_incident() {
        let addresses: Vec<String> = (1..=30).map(|host| format!("192.0.2.{host}")).collect();
        let mut targets: Vec<_> = addresses.iter().map(|address| (address.as_str(), 1)).collect();
        targets[7].1 = 3_000;
        assert_eq!(opened(&targets), ["udp_flood 192.0.2.8/udp"]);
    }
}
