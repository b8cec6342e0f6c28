//! Bounds, and what is told.

use std::net::{IpAddr, Ipv4Addr};

use super::*;
use crate::window::{HostWindow, ListenerWindow};

fn address(number: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + number))
}

fn listener(attempts: u64, sources: &[(IpAddr, u32)]) -> ListenerWindow {
    let mut listener = ListenerWindow::default();
    listener.counters[ListenerCounter::Attempted as usize] = attempts;
    let networks: Vec<_> = sources.iter().map(|(source, count)| (network_of(*source), *count)).collect();
    listener.add_sources(sources, &networks);
    listener
}

#[test]
fn who_asks_is_known_by_windows() {
    let key = ListenerKey { address: address(1), port: 80 };
    let mut window = Window { end_ns: 1, ..Window::default() };
    window.listeners = [(key, listener(20, &[(address(700), 15)]))].into_iter().collect();
    let mut resolver = HostWindow::default();
    let mut facts = crate::fact::Facts::NONE;
    facts.set(Fact::Query);
    resolver.facts.count(facts);
    resolver.sources.push((address(1), 1));
    window.hosts = [(address(2), resolver)].into_iter().collect();
    let mut graph = Graph::default();
    graph.note_names(&window);
    graph.add_second(&window);
    assert!(graph.asks(address(700), address(1)) && graph.asks(address(1), address(2)));
    assert!(!graph.asks(address(1), address(700)));
    assert_eq!(graph.clients_of(key), Some(network_of(address(700))));
    let json = graph.json();
    let ids: Vec<_> =
        json["nodes"].as_array().unwrap().iter().map(|node| node["id"].as_str().unwrap()).collect();
    assert!(ids.contains(&"10.0.0.1:80") && ids.contains(&"10.0.2.0/24") && ids.contains(&"dns"), "{ids:?}");
    assert!(graph.dot().contains("\"10.0.2.188\" -> \"10.0.0.1:80\" [label=\"15\"];"), "{}", graph.dot());
}

#[test]
fn the_busiest_stay_and_what_goes_is_counted() {
    let mut graph = Graph::default();
    let busy = ListenerKey { address: address(0), port: 1 };
    for number in 0..3 * NODES_MAX as u32 {
        let key = ListenerKey { address: address(number * 300), port: 443 };
        graph.asked(key, 10, [(address(number * 300 + 1), 10)].into_iter(), &[]);
        graph.asked(busy, 1_000, [(address(7), 1_000)].into_iter(), &[]);
        graph.make_room();
        assert!(graph.nodes.len() <= NODES_MAX && graph.edges.len() <= EDGES_MAX);
    }
    assert!(graph.asks(address(7), busy.address));
    assert!(graph.nodes_forgotten > 0 && graph.edges_forgotten > 0);
    assert_eq!(graph.json()["nodes_forgotten"], graph.nodes_forgotten);
}
