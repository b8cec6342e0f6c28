//! What talks to what: hosts, listeners, services and networks, and how much passes between them.
//!
//! Fed with windows always (who asks busy listeners and name servers: enough to tell whose trouble is whose, see
//! [`crate::cause`]), and with connections where a run exports the graph ([`export`]). What is told of an edge are lower
//! bounds: quiet clients of busy listeners are not named in windows.
//!
//! Bounded: [`NODES_MAX`] nodes and [`EDGES_MAX`] edges. The busiest stay, and those of incidents; what gives way is
//! counted. Edges go from who asks to who is asked, from a listener to its host and to the service that it speaks.

pub mod excerpt;
pub mod export;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use tidegauge_ebpf::listener::ListenerCounter;

use crate::fact::Fact;
use crate::flow_record::FlowRecord;
use crate::incident::{Incident, Severity, Target};
use crate::prefix::network_of;
use crate::window::{ListenerKey, Window};

/// Nodes kept.
pub const NODES_MAX: usize = 4_096;
/// Edges kept.
pub const EDGES_MAX: usize = 16_384;
/// Incidents named at a node.
const NAMED_MAX: usize = 16;
const DNS_PORT: u16 = 53;

/// A node's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Node {
    /// A /24 of IPv4 or /48 of IPv6.
    Network(IpAddr),
    /// A host.
    Host(IpAddr),
    /// Who is asked: address and port; name servers with port 53.
    Listener(ListenerKey),
    /// A protocol above TCP or UDP, by its name in the output.
    Service(&'static str),
}

/// What passed over an edge, or at a node: sums since the start of the run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Questions by windows: attempts and queries, at least.
    pub asked: u64,
    /// Connections that were told.
    pub connections: u64,
    /// Their packets.
    pub packets: u64,
    /// Their payload bytes, both ways.
    pub bytes: u64,
    /// Their segments sent again.
    pub sent_again: u64,
}

impl Traffic {
    fn add(&mut self, more: &Self) {
        self.asked = self.asked.saturating_add(more.asked);
        self.connections = self.connections.saturating_add(more.connections);
        self.packets = self.packets.saturating_add(more.packets);
        self.bytes = self.bytes.saturating_add(more.bytes);
        self.sent_again = self.sent_again.saturating_add(more.sent_again);
    }

    const fn weight(&self) -> (u64, u64) {
        (self.asked.saturating_add(self.connections), self.packets)
    }
}

/// Both ends of an edge, the one that is asked first: who asks it is then together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Ends {
    to: Node,
    from: Node,
}

/// What is known of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeState {
    /// What was asked of it or by it.
    pub traffic: Traffic,
    /// Incidents at it, the first sixteen, by id.
    pub incidents: BTreeMap<String, Severity>,
}

/// All that is known.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    nodes: BTreeMap<Node, NodeState>,
    edges: BTreeMap<Ends, Traffic>,
    /// Who was asked for names in the second that is not over.
    names: BTreeMap<IpAddr, Names>,
    nodes_forgotten: u64,
    edges_forgotten: u64,
}

/// What a name server was asked in a second.
#[derive(Clone, Debug, Default)]
struct Names {
    asked: u64,
    sources: Vec<(IpAddr, u32)>,
    networks: Vec<(IpAddr, u32)>,
}

impl Graph {
    /// Adds a second's window: who asks busy listeners; and with it who asked name servers.
    pub fn add_second(&mut self, window: &Window) {
        for (key, listener) in window.listeners.iter().filter(|(_, listener)| !listener.sources.is_empty()) {
            let asked = listener.get(ListenerCounter::Attempted);
            let named = listener.sources.iter().take(NAMED_MAX);
            self.asked(*key, asked, named.copied(), &listener.prefixes);
        }
        for (address, Names { asked, sources, networks }) in std::mem::take(&mut self.names) {
            let key = ListenerKey { address, port: DNS_PORT };
            self.asked(key, asked, sources.into_iter(), &networks);
            let all = Traffic { asked, ..Traffic::default() };
            self.edge(Node::Listener(key), Node::Service("dns"), &all);
            self.node(Node::Service("dns"), &all);
        }
        self.make_room();
    }

    /// Notes a tick's hosts: who asks name servers. Windows longer than a tick do not have them.
    pub fn note_names(&mut self, window: &Window) {
        for (address, host) in window.hosts.iter().filter(|(_, host)| host.facts.get(Fact::Query) != 0) {
            if self.names.len() >= NODES_MAX && !self.names.contains_key(address) {
                self.nodes_forgotten += 1;
                continue;
            }
            let names = self.names.entry(*address).or_default();
            names.asked = names.asked.saturating_add(host.facts.get(Fact::Query));
            // Running sums: the newest has those before.
            if !host.sources.is_empty() {
                names.sources = host.sources.iter().take(NAMED_MAX).copied().collect();
                names.networks = host.prefixes.iter().take(NAMED_MAX).copied().collect();
            }
        }
    }

    /// Somebody asked a listener so often; sources and networks are running sums of a second.
    fn asked(
        &mut self,
        key: ListenerKey,
        asked: u64,
        sources: impl Iterator<Item = (IpAddr, u32)>,
        networks: &[(IpAddr, u32)],
    ) {
        let part = |count: u32| Traffic { asked: u64::from(count).min(asked), ..Traffic::default() };
        let all = Traffic { asked, ..Traffic::default() };
        self.edge(Node::Listener(key), Node::Host(key.address), &all);
        self.node(Node::Host(key.address), &Traffic::default());
        self.node(Node::Listener(key), &all);
        let hosts = sources.filter(|(source, _)| *source != key.address);
        let networks = networks.iter().take(NAMED_MAX).copied();
        let hosts = hosts.map(|(source, count)| (Node::Host(source), count));
        for (node, count) in hosts.chain(networks.map(|(network, count)| (Node::Network(network), count))) {
            self.edge(node, Node::Listener(key), &part(count));
            self.node(node, &part(count));
        }
    }

    /// Adds a connection that is over.
    pub fn add_flow(&mut self, flow: &FlowRecord) {
        let (asks, asked) = (flow.initiator.addr, flow.responder);
        let key = ListenerKey { address: asked.addr, port: asked.port };
        let sides = [&flow.forward, &flow.reverse];
        let sum =
            |of: fn(&crate::flow_record::DirectionRecord) -> u64| sides.iter().map(|side| of(side)).sum();
        let traffic = Traffic {
            asked: 0,
            connections: 1,
            packets: sum(|side| side.packets),
            bytes: sum(|side| side.payload_bytes),
            sent_again: sum(|side| side.retransmission.into()),
        };
        for node in [Node::Host(asks), Node::Network(network_of(asks))] {
            self.edge(node, Node::Listener(key), &traffic);
            self.node(node, &traffic);
        }
        self.node(Node::Listener(key), &traffic);
        self.node(Node::Host(key.address), &Traffic::default());
        self.edge(Node::Listener(key), Node::Host(key.address), &traffic);
        if let Some(service) = service_of(flow) {
            self.node(Node::Service(service), &traffic);
            self.edge(Node::Listener(key), Node::Service(service), &traffic);
        }
        self.make_room();
    }

    /// Adds to an edge. Its ends are added to beside, by [`Self::node`]: each is looked up once.
    fn edge(&mut self, from: Node, to: Node, traffic: &Traffic) {
        self.edges.entry(Ends { to, from }).or_default().add(traffic);
    }

    fn node(&mut self, node: Node, traffic: &Traffic) {
        self.nodes.entry(node).or_default().traffic.add(traffic);
    }

    /// Adds another graph of the same run: one of windows and one of connections.
    pub fn merge(&mut self, other: &Self) {
        for (ends, traffic) in &other.edges {
            self.edges.entry(*ends).or_default().add(traffic);
        }
        for (node, state) in &other.nodes {
            let own = self.nodes.entry(*node).or_default();
            own.traffic.add(&state.traffic);
            own.incidents.extend(state.incidents.iter().map(|(id, severity)| (id.clone(), *severity)));
        }
        self.nodes_forgotten += other.nodes_forgotten;
        self.edges_forgotten += other.edges_forgotten;
        self.make_room();
    }

    /// An incident changed: its node has it.
    pub fn note_incident(&mut self, incident: &Incident) {
        let node = match incident.target {
            Target::Listener(key) => Node::Listener(key),
            Target::Host(host) => Node::Host(host.address),
            Target::Network(network) => Node::Network(network.address),
            Target::Capture | Target::Machine => return,
        };
        let known = self.nodes.entry(node).or_default();
        if known.incidents.len() < NAMED_MAX || known.incidents.contains_key(&incident.id) {
            known.incidents.insert(incident.id.clone(), incident.worst_severity);
        }
        if let Target::Listener(key) = incident.target {
            self.edge(node, Node::Host(key.address), &Traffic::default());
            self.node(Node::Host(key.address), &Traffic::default());
        }
    }

    /// Whether a host asks something of another one.
    pub fn asks(&self, from: IpAddr, to: IpAddr) -> bool {
        let ports = |port| Node::Listener(ListenerKey { address: to, port });
        let mut listeners = self.nodes.range(ports(0)..=ports(u16::MAX));
        listeners
            .any(|(listener, _)| self.edges.contains_key(&Ends { to: *listener, from: Node::Host(from) }))
    }

    /// The network that most of a listener's clients are in, if it has more than half of what is asked.
    pub fn clients_of(&self, key: ListenerKey) -> Option<IpAddr> {
        let to = Node::Listener(key);
        let whole = self.nodes.get(&to)?.traffic.asked;
        // Networks come before all other nodes.
        let first = Node::Network(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let asking = self.edges.range(Ends { to, from: first }..).take_while(|(ends, _)| ends.to == to);
        let networks = asking.map_while(|(ends, traffic)| match ends.from {
            Node::Network(network) => Some((traffic.asked, network)),
            _ => None,
        });
        networks.max().filter(|(asked, _)| asked * 2 > whole).map(|(_, network)| network)
    }

    /// Forgets the least busy of what is too much, a quarter more than needed at a time: finding them looks at all.
    fn make_room(&mut self) {
        if self.edges.len() > EDGES_MAX {
            let ranked = |(ends, traffic): (&Ends, &Traffic)| (traffic.weight(), ends.from, ends.to);
            let mut ranks: Vec<_> = self.edges.iter().map(ranked).collect();
            let surplus = ranks.len() - EDGES_MAX * 3 / 4;
            ranks.select_nth_unstable(surplus - 1);
            for (_, from, to) in ranks.drain(..surplus) {
                self.edges.remove(&Ends { to, from });
            }
            self.edges_forgotten += surplus as u64;
        }
        if self.nodes.len() > NODES_MAX {
            self.forget_nodes();
        }
    }

    fn forget_nodes(&mut self) {
        let mut ranks: Vec<_> = self
            .nodes
            .iter()
            .map(|(node, state)| ((!state.incidents.is_empty(), state.traffic.weight()), *node))
            .collect();
        let surplus = ranks.len() - NODES_MAX * 3 / 4;
        ranks.select_nth_unstable(surplus - 1);
        let mut gone: Vec<Node> = ranks[..surplus].iter().map(|(_, node)| *node).collect();
        gone.sort_unstable();
        // Nodes and the ends that are asked come by in order: both are walked side by side with what goes.
        let mut left = gone.iter().copied().peekable();
        self.nodes.retain(|node, _| left.next_if_eq(node).is_none());
        let (before, mut left) = (self.edges.len(), gone.iter().copied().peekable());
        self.edges.retain(|ends, _| {
            while left.next_if(|node| *node < ends.to).is_some() {}
            left.peek() != Some(&ends.to) && gone.binary_search(&ends.from).is_err()
        });
        self.nodes_forgotten += surplus as u64;
        self.edges_forgotten += (before - self.edges.len()) as u64;
    }
}

/// What a connection speaks, by the record of the layers above it.
fn service_of(flow: &FlowRecord) -> Option<&'static str> {
    let app = flow.app.as_ref()?;
    ["tls", "http", "dns", "ssh"].into_iter().find(|name| app.get(name).is_some_and(|part| !part.is_null()))
}
