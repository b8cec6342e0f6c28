//! The busiest of the graph, small enough for a line of output every ten seconds (`--graph-lines`).
//!
//! `{ "event": "graph", "nodes": [...], "edges": [...], "nodes_untold", "edges_untold" }`, nodes and edges as in
//! [`super::export`]: of each type the nodes with incidents and then those with most, and the edges between them. Sums are
//! since the start of the run.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{Ends, Graph, Node, NodeState};

/// Nodes of each type.
pub const NODES_PER_TYPE_MAX: usize = 24;
/// Edges between them.
pub const EDGES_MAX: usize = 128;

impl Graph {
    /// The line without its time.
    pub fn excerpt(&self) -> Value {
        let told = self.busiest_nodes();
        let edges =
            self.edges.iter().filter(|(ends, _)| told.contains(&ends.from) && told.contains(&ends.to));
        let mut edges: Vec<_> = edges.collect();
        edges.sort_by_key(|(ends, sums)| (Reverse(sums.weight()), ends.from, ends.to));
        edges.truncate(EDGES_MAX);
        let nodes = told.iter().filter_map(|node| Some(node.json(self.nodes.get(node)?)));
        json!({
            "event": "graph",
            "nodes": nodes.collect::<Vec<_>>(),
            "edges": edges.iter().map(|(ends, sums)| sums.edge_json(&ends.from, &ends.to)).collect::<Vec<_>>(),
            "nodes_untold": self.nodes.len() - told.len(),
            "edges_untold": self.edges.len() - edges.len(),
        })
    }

    fn busiest_nodes(&self) -> BTreeSet<Node> {
        let mut by_type: [Vec<(&Node, &NodeState)>; 4] = Default::default();
        for (node, state) in &self.nodes {
            by_type[node.type_index()].push((node, state));
        }
        // What hosts are asked is told of their listeners, and of edges to them.
        let mut asked: BTreeMap<&Node, (u64, u64)> = BTreeMap::new();
        for (Ends { to, .. }, sums) in self.edges.iter().filter(|(ends, _)| matches!(ends.to, Node::Host(_)))
        {
            let (asks, packets) = asked.entry(to).or_default();
            *asks += sums.weight().0;
            *packets += sums.weight().1;
        }
        let rank = |(node, state): &(&Node, &NodeState)| {
            let own = state.traffic.weight();
            (!state.incidents.is_empty(), asked.get(node).map_or(own, |asked| own.max(*asked)))
        };
        for nodes in &mut by_type {
            nodes.sort_by(|one, other| rank(other).cmp(&rank(one)).then(one.0.cmp(other.0)));
            nodes.truncate(NODES_PER_TYPE_MAX);
        }
        by_type.iter().flatten().map(|(node, _)| **node).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::super::Traffic;
    use super::*;
    use crate::window::ListenerKey;

    #[test]
    fn of_many_the_busiest_are_told_and_the_rest_is_counted() {
        let mut graph = Graph::default();
        let address = |host: u32| IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + host));
        let listener = Node::Listener(ListenerKey { address: address(1), port: 80 });
        for asked in 1..=1_000 {
            let sums = Traffic { asked, ..Traffic::default() };
            for node in [Node::Host(address(asked as u32)), Node::Network(address(asked as u32 * 256))] {
                graph.edge(node, listener, &sums);
                graph.node(node, &sums);
            }
        }
        graph.node(listener, &Traffic::default());
        graph.node(Node::Host(address(9_999)), &Traffic::default());
        // Nobody is asked more than the host that listens, though none of it is told of the host itself.
        graph.edge(listener, Node::Host(address(9_999)), &Traffic { asked: 500_500, ..Traffic::default() });
        let told = graph.excerpt();
        assert!(told["nodes"].as_array().unwrap().iter().any(|node| node["id"] == "10.0.39.15"));
        let nodes = told["nodes"].as_array().unwrap();
        assert_eq!(nodes.len(), 2 * NODES_PER_TYPE_MAX + 1);
        assert_eq!((&told["nodes_untold"], &told["edges_untold"]), (&json!(1_953), &json!(1_953)));
        let networks = nodes.iter().filter(|node| node["type"] == "network");
        assert_eq!(networks.map(|node| node["asked"].as_u64()).min(), Some(Some(977)));
        let second = &told["edges"][1];
        assert_eq!((&second["asked"], &second["to"]), (&json!(1_000), &json!("10.0.0.1:80")));
        assert!(told.to_string().len() < 32 * 1024, "{} bytes", told.to_string().len());
    }
}
