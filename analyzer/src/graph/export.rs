//! The graph as JSON or as DOT (Graphviz): nodes in the order of their names, edges by who asks and who is asked, so that the
//! same capture gives the same bytes.
//!
//! JSON: `{ "graph": "tidegauge", "version": 1, "nodes": [...], "edges": [...], "nodes_forgotten", "edges_forgotten" }`. A
//! node has `id`, `type` (`network`, `host`, `listener`, `service`), what it was asked and the connections told at it,
//! and the `incidents` at it (`id`, `severity`); an edge `from`, `to` (ids), and the same sums. `asked` is by windows: at
//! least so many attempts and queries, of those who ask much. `connections`, `packets`, `bytes` and `sent_again` are by
//! connections that are over or were open at the end.

use std::fmt::Write as _;
use std::net::SocketAddr;

use serde_json::{Value, json};

use super::{Graph, Node, NodeState, Traffic};
use crate::incident::Severity;

impl Node {
    const fn kind(&self) -> &'static str {
        match self {
            Self::Network(_) => "network",
            Self::Host(_) => "host",
            Self::Listener(_) => "listener",
            Self::Service(_) => "service",
        }
    }

    /// Each type its own.
    pub(super) const fn type_index(&self) -> usize {
        match self {
            Self::Network(_) => 0,
            Self::Host(_) => 1,
            Self::Listener(_) => 2,
            Self::Service(_) => 3,
        }
    }

    /// As an object.
    pub(super) fn json(&self, state: &NodeState) -> Value {
        let incidents = state.incidents.iter();
        let incidents: Vec<_> =
            incidents.map(|(id, severity)| json!({ "id": id, "severity": severity })).collect();
        with(json!({ "id": self.id(), "type": self.kind(), "incidents": incidents }), &state.traffic)
    }

    /// Unique among all nodes: addresses, networks, sockets and names look different.
    fn id(&self) -> String {
        match self {
            Self::Network(address) => format!("{address}/{}", if address.is_ipv4() { 24 } else { 48 }),
            Self::Host(address) => address.to_string(),
            Self::Listener(key) => SocketAddr::new(key.address, key.port).to_string(),
            Self::Service(name) => (*name).to_owned(),
        }
    }
}

impl Traffic {
    /// Of an edge, as an object.
    pub(super) fn edge_json(&self, from: &Node, to: &Node) -> Value {
        with(json!({ "from": from.id(), "to": to.id() }), self)
    }

    fn json(&self) -> Value {
        let Self { asked, connections, packets, bytes, sent_again } = self;
        json!({
            "asked": asked,
            "connections": connections,
            "packets": packets,
            "bytes": bytes,
            "sent_again": sent_again,
        })
    }
}

fn with(mut object: Value, traffic: &Traffic) -> Value {
    if let (Value::Object(object), Value::Object(sums)) = (&mut object, traffic.json()) {
        object.extend(sums);
    }
    object
}

impl Graph {
    /// As one JSON object; see above.
    pub fn json(&self) -> Value {
        let nodes = self.nodes.iter().map(|(node, state)| node.json(state));
        let edges = self.edges_by_asker().into_iter().map(|(from, to, sums)| sums.edge_json(from, to));
        json!({
            "graph": "tidegauge",
            "version": 1,
            "nodes": nodes.collect::<Vec<_>>(),
            "edges": edges.collect::<Vec<_>>(),
            "nodes_forgotten": self.nodes_forgotten,
            "edges_forgotten": self.edges_forgotten,
        })
    }

    /// All edges: from where, to where, and what passed.
    fn edges_by_asker(&self) -> Vec<(&Node, &Node, &Traffic)> {
        let edges = self.edges.iter().map(|(ends, traffic)| (&ends.from, &ends.to, traffic));
        let mut edges: Vec<_> = edges.collect();
        edges.sort_unstable_by_key(|(from, to, _)| (*from, *to));
        edges
    }

    /// As DOT: `dot -Tsvg`, or `sfdp` where it is large. Nodes with incidents are filled, by the worst severity.
    pub fn dot(&self) -> String {
        let mut text =
            String::from("digraph tidegauge {\n  rankdir=LR;\n  node [fontname=\"sans-serif\"];\n");
        for (node, state) in &self.nodes {
            let shape = match node {
                Node::Network(_) => "hexagon",
                Node::Host(_) => "box",
                Node::Listener(_) => "ellipse",
                Node::Service(_) => "component",
            };
            let id = node.id();
            let mut label = id.clone();
            state.incidents.keys().for_each(|incident| _ = write!(label, "\\n{incident}"));
            let fill = state.incidents.values().min().map_or(String::new(), |severity| {
                let colour = match severity {
                    Severity::P1 => "#f4a6a0",
                    Severity::P2 => "#f8d8a0",
                    Severity::P3 => "#f4f0b0",
                };
                format!(", style=filled, fillcolor=\"{colour}\"")
            });
            let _ = writeln!(text, "  \"{id}\" [shape={shape}, label=\"{label}\"{fill}];");
        }
        for (from, to, Traffic { asked, connections, .. }) in self.edges_by_asker() {
            let label = if *connections == 0 { asked } else { connections };
            let _ = writeln!(text, "  \"{}\" -> \"{}\" [label=\"{label}\"];", from.id(), to.id());
        }
        text.push_str("}\n");
        text
    }
}
