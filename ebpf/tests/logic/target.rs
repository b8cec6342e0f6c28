//! Targets of what is not TCP, source networks, merged frames.

use tidegauge_ebpf::counter::Counter;
use tidegauge_ebpf::packet::ipv4_mapped;
use tidegauge_ebpf::target::TargetCounter;

use crate::frame::{Ipv4, ethernet};
use crate::scene::{ACK, End, PSH, SYN, Scene, Talk};

fn udp(source: [u8; 4], source_port: u16, payload_bytes: usize) -> Vec<u8> {
    let length = (8 + payload_bytes) as u16;
    let mut datagram = Vec::new();
    for word in [source_port, 53, length, 0] {
        datagram.extend(word.to_be_bytes());
    }
    datagram.resize(usize::from(length), 0);
    ethernet(&[], 0x0800, &Ipv4::between(source, [10, 0, 0, 9]).packet(17, &datagram))
}

#[test]
fn datagrams_count_at_their_target_with_their_usual_port() {
    let mut scene = Scene::new();
    for sender in 1..=20 {
        scene.hear(&udp([10, 0, 1, sender], if sender % 4 == 0 { 7_000 } else { 123 }, 400));
    }
    let targets: Vec<_> = scene.targets().collect();
    let [target] = targets[..] else { panic!("one target, not {}", targets.len()) };
    assert_eq!(target.address, ipv4_mapped(0x0a00_0009));
    assert_eq!(target.get(TargetCounter::UdpPackets), 20);
    assert_eq!(target.get(TargetCounter::UdpBytes), 20 * (14 + 20 + 8 + 400));
    assert_eq!((target.source_port.port, target.destination_port.port), (123, 53));
    assert_eq!((target.ttl_classes[0] | target.ttl_classes[1]).count_ones(), 1);
}

#[test]
fn sources_of_one_network_count_together() {
    let mut scene = Scene::new();
    for host in 1..=50 {
        let client = End { address: [10, 3, 4, host], port: 40_000 };
        let server = End { address: [10, 0, 0, 2], port: 80 };
        scene.hear(&Talk::between(client, server).client(SYN, 0));
    }
    let networks: Vec<_> = scene.prefixes().map(|count| (count.address, count.attempts)).collect();
    assert_eq!(networks, [(ipv4_mapped(0x0a03_0400), 50)]);
}

#[test]
fn a_frame_longer_than_its_link_allows_counts_as_the_segments_it_stands_for() {
    let (mut scene, mut talk) = (Scene::new(), Talk::new());
    scene.settings.frame_bytes_max = 1_514;
    talk.shake_hands(&mut scene);
    let before = scene.get(Counter::Packets);
    scene.hear(&talk.client(ACK | PSH, 1_460));
    assert_eq!((scene.get(Counter::Packets) - before, scene.get(Counter::SuperFrames)), (1, 0));
    // 10 full segments, and a short one.
    scene.hear(&talk.client(ACK | PSH, 14_601));
    assert_eq!((scene.get(Counter::Packets) - before, scene.get(Counter::SuperFrames)), (12, 1));
    assert_eq!(scene.get(Counter::PayloadSegments), 12);
    assert_eq!(scene.get(Counter::PayloadBytes), 1_460 + 14_601);
}
