//! The short way of `parse` against the walk, whose packets are the oracle: generated frames, mutated ones, captures.

use proptest::collection::vec;
use proptest::prelude::*;
use tidegauge_ebpf::counter::Counters;
use tidegauge_ebpf::flow::FlowKey;
use tidegauge_ebpf::link::LinkType;
use tidegauge_ebpf::observe::Arrival;
use tidegauge_ebpf::observe::totals::{count_headers, count_ordinary};
use tidegauge_ebpf::packet::{Fault, Network, Packet, Transport};
use tidegauge_ebpf::parse::parse;
use tidegauge_ebpf::parse::quick::quick;
use tidegauge_ebpf::stamp::Stamp;

use crate::frame::{Ipv4, Tcp, ethernet, ethernet_ip, udp};
use crate::parse::ip;
use crate::tunnel::tunnelled;

const LINKS: [LinkType; 5] =
    [LinkType::Ethernet, LinkType::Ip, LinkType::Loopback, LinkType::LinuxSll, LinkType::LinuxSll2];

/// A packet that was something else before: what is not written must not be seen.
fn used() -> Packet {
    Packet {
        source: [1, 2, 3, 4],
        destination: [5, 6, 7, 8],
        source_port: 9,
        destination_port: 10,
        network_offset: 11,
        transport_offset: 12,
        payload_offset: 13,
        fault: Some(Fault::Depth),
        vlan_tags: 14,
        tunnels: 15,
        ttl: 16,
        ..Packet::EMPTY
    }
}

/// Where the short way is taken, both agree in every field, also in those that keep what was there. Whether it was.
fn same(bytes: &[u8], link: LinkType, wire_len: u32) -> bool {
    let (mut walked, mut tried) = (used(), used());
    parse(bytes, link, wire_len, true, &mut walked);
    let marks = quick(bytes, link, wire_len, &mut tried);
    let expected = if marks.is_some() { walked } else { used() };
    assert_eq!(tried, expected, "{link:?} {wire_len} {bytes:02x?}");
    let Some(marks) = marks else { return false };
    let word = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
    if walked.transport == Transport::Tcp {
        assert_eq!(marks.checksum, word(usize::from(walked.transport_offset) + 16));
    }
    let is_ipv4 = walked.network == Network::Ipv4;
    let identification = if is_ipv4 { word(usize::from(walked.network_offset) + 4) } else { 0 };
    assert_eq!(marks.identification, identification);
    same_counts_and_key(bytes, link, wire_len, &walked);
    true
}

/// What is shorter for ordinary frames gives what it gives for all.
fn same_counts_and_key(bytes: &[u8], link: LinkType, wire_len: u32, packet: &Packet) {
    let captured_len = bytes.len() as u32;
    let arrival = Arrival { now: Stamp(0), link, captured_len, wire_len, segments: 1 };
    let (mut all, mut ordinary) = (Counters::default(), Counters::default());
    count_headers(bytes, &mut all, packet, &arrival, u64::from(wire_len));
    count_ordinary(&mut ordinary, packet, bytes.len(), wire_len);
    assert_eq!(ordinary, all, "{packet:?}");
    if packet.network == Network::Ipv4 {
        assert_eq!(FlowKey::of_ipv4(packet, 7), FlowKey::of(packet, 7));
    }
}

fn tags() -> impl Strategy<Value = Vec<u16>> {
    vec(prop::sample::select(vec![0x8100_u16, 0x88a8, 0x9100]), 0..=2)
}

/// Frames of all shapes: ordinary ones, with options, extensions, tags, in tunnels.
fn frame() -> impl Strategy<Value = Vec<u8>> {
    let plain = (tags(), ip()).prop_map(|(tags, packet)| ethernet_ip(&tags, &packet));
    let in_tunnel = (ip(), any::<prop::sample::Index>()).prop_map(|(packet, index)| {
        let mut frames = tunnelled(&packet);
        frames.swap_remove(index.index(frames.len())).1
    });
    prop_oneof![4 => plain, 1 => in_tunnel, 1 => vec(any::<u8>(), 0..120)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn frames_and_their_prefixes_are_read_alike(
        frame in frame(),
        bytes in 0_usize..140,
        wire in prop_oneof![Just(None), (0_u32..200).prop_map(Some), any::<u32>().prop_map(Some)],
    ) {
        let wire_len = wire.unwrap_or(frame.len() as u32);
        for link in LINKS {
            same(&frame, link, wire_len);
            same(&frame[..bytes.min(frame.len())], link, wire_len);
        }
    }

    #[test]
    fn changed_frames_are_read_alike(
        frame in frame(),
        changes in vec((12_usize..90, any::<u8>()), 1..4),
        bytes in 0_usize..400,
    ) {
        let mut frame = frame;
        let wire_len = frame.len() as u32;
        for (offset, value) in changes {
            if let Some(byte) = frame.get_mut(offset) {
                *byte = value;
            }
        }
        frame.truncate(bytes);
        for link in LINKS {
            same(&frame, link, wire_len);
        }
    }

    #[test]
    fn every_value_of_a_byte_that_decides_is_read_alike(packet in ip(), tags in tags(), value in any::<u8>()) {
        // EtherType, version and lengths, fragment, protocol, ports, data offset, flags, options; of both versions.
        let frame = ethernet_ip(&tags, &packet);
        for at in (12..40).chain(46..50).chain(54..68).chain(74..80) {
            let mut changed = frame.clone();
            if let Some(byte) = changed.get_mut(at) {
                *byte = value;
            }
            same(&changed, LinkType::Ethernet, frame.len() as u32);
        }
    }
}

#[test]
fn ordinary_frames_take_the_short_way_and_others_do_not() {
    let ip = Ipv4::between([10, 0, 0, 1], [10, 0, 0, 2]);
    let tcp = Tcp { source_port: 1, destination_port: 2, ..Tcp::default() }.bytes(&[]);
    let segment = ip.packet(6, &tcp);
    let datagram = |port| ip.packet(17, &udp(4_000, port, &[0; 40]));
    let mut fragment = ip.packet(6, &tcp);
    fragment[6] = 0x20;
    for (taken, name, frame) in [
        (true, "segment", ethernet_ip(&[], &segment)),
        (true, "tagged segment", ethernet_ip(&[0x8100], &segment)),
        (true, "datagram", ethernet_ip(&[], &datagram(53))),
        (false, "two tags", ethernet_ip(&[0x88a8, 0x8100], &segment)),
        (false, "fragment", ethernet_ip(&[], &fragment)),
        (false, "tunnel port", ethernet_ip(&[], &datagram(4_789))),
        (false, "ICMP", ethernet_ip(&[], &ip.packet(1, &[0; 40]))),
        (false, "another version than announced", ethernet(&[], 0x86dd, &segment)),
    ] {
        assert_eq!(same(&frame, LinkType::Ethernet, frame.len() as u32), taken, "{name}");
    }
    let frame = ethernet_ip(&[], &segment);
    assert!(!same(&frame[..frame.len() - 1], LinkType::Ethernet, frame.len() as u32), "cut");
}
