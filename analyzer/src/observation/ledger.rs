//! What is remembered for observations that is no listener's: hosts, paths, askers, and the worst connections.
//!
//! Limits: [`HOSTS_MAX`], [`PATHS_MAX`], [`ACTORS_MAX`], [`IMPAIRMENTS_MAX`]; the first ones that come keep their places, and
//! what finds none is counted (`observations_left_out`).

use std::collections::BTreeMap;
use std::net::IpAddr;

use tidegauge_ebpf::target::TargetCounter;

use super::Observed;
use super::draft::{Draft, Span, second_of};
use super::listener::UNASKED_MIN;
use crate::config::Config;
use crate::detect::{ActorEvidence, actor_findings};
use crate::fact::Fact;
use crate::impairment::{Impairment, ImpairmentKey, Worst};
use crate::incident::{HostTarget, Kind, NetworkTarget, Target};
use crate::keyed::Keyed;
use crate::path::PathWindow;
use crate::prefix::{Network, Size};
use crate::window::{ActorKey, ActorWindow, HostWindow, ListenerKey, TargetWindow, Window};

/// Hosts with something to tell.
const HOSTS_MAX: usize = 1_024;
/// Destinations that packets do not reach.
const PATHS_MAX: usize = 256;
/// Hosts that ask others in vain.
const ACTORS_MAX: usize = 256;
/// Kinds of impairments of listeners.
const IMPAIRMENTS_MAX: usize = 4_096;
/// Seconds after which a query is not answered any more: resolvers ask again then.
const QUERY_WAITS_S: u64 = 5;
/// Hosts of a network from which on what comes to them is the network's.
const NETWORK_HOSTS_MIN: u64 = 4;
/// Ports or hosts, asked in vain, below which nobody is told to search.
const SEARCHED_MIN: u64 = 10;
/// Names that do not exist, of a hundred answers: resolvers usually have 10 to 30, a client of its own few.
const MISSED_PERCENT_MIN: u64 = 20;
const DNS_PORT: u16 = 53;

/// What is summed of a host.
const FACTS: [Fact; 7] = [
    Fact::Query,
    Fact::QueryAnswered,
    Fact::QueryFailed,
    Fact::ServerFailed,
    Fact::UnaskedAnswer,
    Fact::Unreachable,
    // With what is counted of targets.
    Fact::FirstFragment,
];
const QUERY: usize = 0;
const ANSWERED: usize = 1;
const FAILED: usize = 2;
const SERVER_FAILED: usize = 3;
const UNASKED: usize = 4;
const UNREACHABLE: usize = 5;
const FRAGMENTS: usize = 6;
const COUNTS: usize = 7;

#[derive(Clone, Debug, Default)]
struct HostSums {
    counts: [u64; COUNTS],
    spans: [Span; COUNTS],
    /// The busiest of those who asked for names, or sent.
    asker: Option<IpAddr>,
}

impl HostSums {
    fn add(&mut self, counts: &[u64; COUNTS], second: u64, asker: Option<IpAddr>) {
        for ((own, span), more) in self.counts.iter_mut().zip(&mut self.spans).zip(counts) {
            if *more != 0 {
                *own = own.saturating_add(*more);
                span.note(second);
            }
        }
        self.asker = asker.or(self.asker);
    }
}

/// All of it.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    hosts: BTreeMap<IpAddr, HostSums>,
    paths: BTreeMap<IpAddr, (PathWindow, Span)>,
    /// The count in which most places were asked, and when that was told, nanoseconds.
    actors: BTreeMap<ActorKey, (ActorWindow, u64)>,
    worst: BTreeMap<ImpairmentKey, Worst>,
    left_out: u64,
    /// End of the last window, nanoseconds.
    pub(crate) last_ns: u64,
}

impl Ledger {
    /// Adds a tick's window.
    pub(crate) fn add(&mut self, window: &Window) {
        self.last_ns = window.end_ns;
        let second = second_of(window.end_ns);
        for (address, host) in window.hosts.iter() {
            let counts = of_host(host);
            if counts != [0; COUNTS] {
                let asker = host.sources.first().map(|(source, _)| *source);
                self.host(*address, &counts, second, asker);
            }
        }
        for (address, target) in window.targets.iter() {
            let mut counts = [0; COUNTS];
            counts[FRAGMENTS] = target.get(TargetCounter::Fragments);
            if counts[FRAGMENTS] != 0 {
                self.host(*address, &counts, second, None);
            }
        }
        for (destination, path) in window.paths.iter() {
            if let Some((sum, span)) = room(&mut self.paths, *destination, PATHS_MAX, &mut self.left_out) {
                sum.merge(path);
                span.note(second);
            }
        }
        for (key, counts) in window.actors.iter() {
            let Some((most, told_ns)) = room(&mut self.actors, *key, ACTORS_MAX, &mut self.left_out) else {
                continue;
            };
            if counts.places >= most.places {
                (*most, *told_ns) = (counts.clone(), window.end_ns);
            }
        }
        for (key, worst) in window.impairments.iter() {
            if let Some(own) = room(&mut self.worst, *key, IMPAIRMENTS_MAX, &mut self.left_out) {
                own.merge(worst);
            }
        }
    }

    fn host(&mut self, address: IpAddr, counts: &[u64; COUNTS], second: u64, asker: Option<IpAddr>) {
        if let Some(host) = room(&mut self.hosts, address, HOSTS_MAX, &mut self.left_out) {
            host.add(counts, second, asker);
        }
    }

    /// Times that something found no room.
    pub(crate) const fn left_out(&self) -> u64 {
        self.left_out
    }

    /// The worst connection of a listener.
    pub(crate) fn worst(&self, listener: ListenerKey, impairment: Impairment) -> Option<&Worst> {
        self.worst.get(&(listener, impairment))
    }

    /// What there is to tell beside listeners. `unasked`: the listener with most SYN-ACKs that nobody asked for among
    /// those that never said anything else, and how many all such listeners sent.
    pub(crate) fn drafts(
        &self,
        targets: &Keyed<IpAddr, TargetWindow>,
        unasked: Option<(ListenerKey, u64)>,
        config: &Config,
    ) -> Vec<Draft<'_>> {
        let mut drafts = Vec::new();
        for (address, host) in &self.hosts {
            drafts.extend(self.names(*address, host));
            let target = |protocol| Target::Host(HostTarget { address: *address, port: None, protocol });
            let draft = |kind, target, place: usize| Draft {
                span: host.spans[place],
                peer: host.asker,
                ..Draft::new(kind, target, host.counts[place])
            };
            if host.counts[UNREACHABLE] != 0 {
                let draft = draft(Observed::Unreachable, target("icmp"), UNREACHABLE);
                drafts.push(Draft { peer: None, ..draft });
            }
            if host.counts[FRAGMENTS] != 0 {
                let draft = draft(Observed::IpFragments, target("ip"), FRAGMENTS);
                // Targets do not have the first fragments of TCP.
                let packets = targets.get(address).map(|target| target.packets().max(draft.count));
                drafts.push(Draft { of: packets, peer: None, ..draft });
            }
        }
        drafts.extend(self.unasked(unasked));
        drafts.extend(self.paths.iter().flat_map(|(destination, path)| of_path(*destination, path)));
        drafts.extend(self.actors.iter().filter_map(|(key, (counts, told_ns))| {
            let soft = Config { scan_ports: SEARCHED_MIN, sweep_hosts: SEARCHED_MIN, ..config.clone() };
            of_actor(*key, counts, *told_ns, &soft)
        }));
        drafts
    }

    /// A name server that fails, or that nobody hears of.
    fn names(&self, address: IpAddr, host: &HostSums) -> Option<Draft<'_>> {
        let [queries, answered, failed, server_failed] =
            [QUERY, ANSWERED, FAILED, SERVER_FAILED].map(|place| host.counts[place]);
        let target = Target::Host(HostTarget { address, port: Some(DNS_PORT), protocol: "udp" });
        let draft = |count, of, place: usize| {
            let draft = Draft::new(Observed::DnsFailure, target, count);
            Draft { of: Some(of), span: host.spans[place], peer: host.asker, beside: server_failed, ..draft }
        };
        let old = host.spans[QUERY].first() + QUERY_WAITS_S < second_of(self.last_ns);
        if answered == 0 && old && queries != 0 {
            return Some(Draft { of: None, ..draft(queries, queries, QUERY) });
        }
        let many = failed * 100 >= answered * MISSED_PERCENT_MIN;
        (failed != 0 && (many || server_failed != 0)).then(|| draft(failed, answered.max(failed), FAILED))
    }

    /// SYN-ACKs to hosts that asked for none, those to several hosts of a network together.
    fn unasked(&self, by: Option<(ListenerKey, u64)>) -> Vec<Draft<'_>> {
        let Some((by, by_silent)) = by else { return Vec::new() };
        let mut networks = BTreeMap::<Network, (u64, u64, Span)>::new();
        let hosts = self.hosts.iter().filter(|(_, host)| host.counts[UNASKED] != 0);
        for (address, host) in hosts.clone() {
            let (hosts, count, span) = networks.entry(Network::of(*address, Size::Small)).or_default();
            (*hosts, *count) = (*hosts + 1, *count + host.counts[UNASKED]);
            span.merge(host.spans[UNASKED]);
        }
        let all: u64 = networks.values().map(|(_, count, _)| count).sum();
        // What is seen from one side only looks unasked too, but then its listeners have something to say.
        if by_silent * 2 < all {
            return Vec::new();
        }
        let draft = |target, count, span, hosts| {
            let draft = Draft::new(Observed::SynAckReflection, target, count);
            Draft { span, peer: Some(by.address), beside: hosts, ..draft }
        };
        let mut drafts = Vec::new();
        for (network, (hosts, count, span)) in &networks {
            if *hosts >= NETWORK_HOSTS_MIN && *count >= UNASKED_MIN {
                let (address, prefix_bits) = (network.address, network.bits());
                let target = NetworkTarget { address, prefix_bits, port: None, protocol: "tcp" };
                drafts.push(draft(Target::Network(target), *count, *span, *hosts));
            }
        }
        for (address, host) in hosts {
            let (in_network, ..) = networks[&Network::of(*address, Size::Small)];
            if in_network < NETWORK_HOSTS_MIN && host.counts[UNASKED] >= UNASKED_MIN {
                let target = HostTarget { address: *address, port: None, protocol: "tcp" };
                drafts.push(draft(Target::Host(target), host.counts[UNASKED], host.spans[UNASKED], 1));
            }
        }
        drafts
    }
}

/// The place of a key, a new one while there is room.
fn room<'a, K: Ord + Copy, V: Default>(
    places: &'a mut BTreeMap<K, V>,
    key: K,
    most: usize,
    left_out: &mut u64,
) -> Option<&'a mut V> {
    if places.len() >= most && !places.contains_key(&key) {
        *left_out += 1;
        return None;
    }
    Some(places.entry(key).or_default())
}

fn of_host(host: &HostWindow) -> [u64; COUNTS] {
    let mut counts = [0; COUNTS];
    counts.iter_mut().zip(FACTS).for_each(|(count, fact)| *count = host.facts.get(fact));
    counts
}

fn of_path<'a>(destination: IpAddr, (path, span): &(PathWindow, Span)) -> Vec<Draft<'a>> {
    let target = Target::Host(HostTarget { address: destination, port: None, protocol: "ip" });
    let draft = |kind, count: u32| Draft {
        span: *span,
        peer: path.sender,
        beside: path.routers.len() as u64,
        ..Draft::new(kind, target, count.into())
    };
    let mut drafts = Vec::new();
    if path.ttl_exceeded != 0 {
        drafts.push(draft(Observed::TtlExceeded, path.ttl_exceeded));
    }
    if path.passed_again != 0 {
        drafts.push(draft(Observed::RoutingLoop, path.passed_again));
    }
    drafts
}

/// Who searches, by the rules of incidents with lower thresholds.
fn of_actor<'a>(actor: ActorKey, counts: &ActorWindow, now_ns: u64, soft: &Config) -> Option<Draft<'a>> {
    let evidence = ActorEvidence { config: soft, actor, counts, hosts_lately: counts.hosts, now_ns };
    let found = actor_findings(&evidence).into_iter().find_map(|(target, finding)| match finding.kind {
        Kind::PortScan => Some((Observed::PortScan, target, counts.ports)),
        Kind::HostSweep => Some((Observed::HostSweep, target, counts.hosts)),
        _ => None,
    });
    let (kind, target, count) = found?;
    let mut span = Span::default();
    span.note(second_of(counts.began_ns + 1));
    span.note(second_of(now_ns));
    let (peer, beside) = (Some(actor.address), counts.counts.answered.into());
    Some(Draft { span, peer, beside, ..Draft::new(kind, target, count) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(hosts: &[(&str, Fact, u32)], second: u64) -> Window {
        let hosts = hosts.iter().map(|(address, fact, count)| {
            let mut host = HostWindow::default();
            let mut facts = crate::fact::Facts::NONE;
            facts.set(*fact);
            (0..*count).for_each(|_| host.facts.count(facts));
            (address.parse().unwrap(), host)
        });
        let hosts = Keyed::gather(hosts, HostWindow::merge);
        Window { end_ns: second * 1_000_000_000, hosts, ..Window::default() }
    }

    fn told(windows: &[Window], unasked: Option<(ListenerKey, u64)>) -> Vec<String> {
        let mut ledger = Ledger::default();
        windows.iter().for_each(|window| ledger.add(window));
        let drafts = ledger.drafts(&Keyed::default(), unasked, &Config::default());
        drafts.iter().map(|draft| format!("{} {} {}", draft.kind.name(), draft.target, draft.count)).collect()
    }

    #[test]
    fn a_server_that_fails_or_is_not_heard_of_is_told() {
        use Fact::{Query, QueryAnswered, QueryFailed, ServerFailed};
        let server = |counts: &[(Fact, u32)], last_s| {
            let all: Vec<_> = counts.iter().map(|(fact, count)| ("192.0.2.53", *fact, *count)).collect();
            told(&[window(&all, 1), window(&[], last_s)], None)
        };
        assert_eq!(server(&[(Query, 3)], 9), ["dns_failure 192.0.2.53:53/udp 3"]);
        assert!(server(&[(Query, 3)], 3).is_empty(), "they may still be answered");
        assert!(server(&[(Query, 99), (QueryAnswered, 99), (QueryFailed, 9)], 9).is_empty());
        assert_eq!(server(&[(Query, 9), (QueryAnswered, 9), (QueryFailed, 2)], 9).len(), 1);
        assert_eq!(server(&[(QueryAnswered, 99), (QueryFailed, 1), (ServerFailed, 1)], 9).len(), 1);
    }

    #[test]
    fn answers_that_nobody_asked_for_are_a_networks_where_they_come_to_several_of_its_hosts() {
        let by = ListenerKey { address: [203, 0, 113, 9].into(), port: 80 };
        let hosts = ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4", "198.51.100.1"];
        let windows: Vec<_> =
            hosts.iter().map(|host| window(&[(*host, Fact::UnaskedAnswer, 10)], 1)).collect();
        let expected = ["syn_ack_reflection 192.0.2.0/24 tcp 40", "syn_ack_reflection 198.51.100.1/tcp 10"];
        assert_eq!(told(&windows, Some((by, 50))), expected);
        assert!(told(&windows, Some((by, 10))).is_empty(), "a view of one side");
        assert!(told(&windows, None).is_empty());
    }
}
