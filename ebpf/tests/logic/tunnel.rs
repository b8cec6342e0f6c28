//! Packets in packets: the innermost one counts in userspace, the outer one in the kernel, on every link type.

use proptest::prelude::*;
use tidegauge_ebpf::link::LinkType;
use tidegauge_ebpf::packet::{Packet, Transport};

use crate::frame::{Ipv4, Ipv6, ethernet, ethernet_ip, udp};
use crate::parse::ip;

/// IP protocol of an IP packet inside another.
fn in_ip(inner: &[u8]) -> u8 {
    if inner[0] >> 4 == 6 { 41 } else { 4 }
}

fn ether_type(inner: &[u8]) -> [u8; 2] {
    if inner[0] >> 4 == 6 { [0x86, 0xdd] } else { [0x08, 0x00] }
}

fn outer() -> Ipv4 {
    Ipv4::between([192, 0, 2, 1], [192, 0, 2, 2])
}

/// The inner packet in every tunnel, by name, with the tunnels it passes.
pub(crate) fn tunnelled(inner: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let kind = ether_type(inner);
    let bridged = ethernet_ip(&[0x8100], inner);
    let over_udp =
        |port, payload: Vec<u8>| ethernet_ip(&[], &outer().packet(17, &udp(4_000, port, &payload)));
    let gre =
        |header: &[u8], payload: &[u8]| ethernet_ip(&[], &outer().packet(47, &[header, payload].concat()));
    let outer_6 = Ipv6 { source: [1; 16], destination: [2; 16], extensions: vec![(60, 0)] };
    let ppp = if inner[0] >> 4 == 6 { [0x00, 0x57] } else { [0x00, 0x21] };
    let user_packet = [&[0x30, 0xff, 0, 0, 0, 0, 0, 1][..], inner].concat();
    let with_extension = [&[0x34, 0xff, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0x85, 1, 0, 0, 0][..], inner].concat();
    vec![
        ("geneve", over_udp(6_081, [&[1, 0, kind[0], kind[1], 0, 0, 1, 0, 9, 9, 9, 9][..], inner].concat())),
        ("gre", gre(&[0, 0, kind[0], kind[1]], inner)),
        ("gre with all fields", gre(&[&[0xb0, 0, kind[0], kind[1]][..], &[0; 12]].concat(), inner)),
        ("gre bridged", gre(&[0, 0, 0x65, 0x58], &bridged)),
        ("gtp-u", over_udp(2_152, user_packet)),
        ("gtp-u with an extension", over_udp(2_152, with_extension)),
        ("ip in ipv4", ethernet_ip(&[], &outer().packet(in_ip(inner), inner))),
        ("ip in ipv6", ethernet_ip(&[], &outer_6.packet(in_ip(inner), inner))),
        ("mpls", ethernet(&[], 0x8847, &[&[0, 1, 0, 64, 0, 2, 1, 64][..], inner].concat())),
        ("pppoe", ethernet(&[], 0x8864, &[&[0x11, 0, 0, 1, 0, 0][..], &ppp, inner].concat())),
        ("vxlan", over_udp(4_789, [&[8, 0, 0, 0, 0, 0, 1, 0][..], &bridged].concat())),
    ]
}

/// What says nothing of where the packet was found.
fn inner_facts(packet: &Packet) -> Packet {
    Packet { network_offset: 0, transport_offset: 0, payload_offset: 0, vlan_tags: 0, tunnels: 0, ..*packet }
}

fn whole<const TUNNELS: bool>(frame: &[u8], link: LinkType) -> Packet {
    crate::parse::parsed_of(frame, link, frame.len() as u32, TUNNELS)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_innermost_packet_is_the_packet(inner in ip()) {
        let expected = inner_facts(&whole::<true>(&ethernet_ip(&[], &inner), LinkType::Ethernet));
        for (name, frame) in tunnelled(&inner) {
            let packet = whole::<true>(&frame, LinkType::Ethernet);
            prop_assert_eq!(inner_facts(&packet), expected, "{}", name);
            prop_assert_eq!(packet.tunnels, 1, "{}", name);
        }
    }

    #[test]
    fn the_kernel_stops_at_the_tunnel(inner in ip()) {
        for (name, frame) in tunnelled(&inner) {
            let packet = whole::<false>(&frame, LinkType::Ethernet);
            prop_assert_eq!((packet.tunnels, packet.fault), (0, None), "{}", name);
            prop_assert_ne!(packet.transport, Transport::Tcp, "{}", name);
        }
    }

    #[test]
    fn tunnels_nest(inner in ip()) {
        let expected = inner_facts(&whole::<true>(&ethernet_ip(&[], &inner), LinkType::Ethernet));
        let mut nested = outer().packet(in_ip(&inner), &inner);
        nested = outer().packet(47, &[&[0, 0, 8, 0][..], &nested].concat());
        let packet = whole::<true>(&ethernet_ip(&[], &nested), LinkType::Ethernet);
        // Eight headers more than most inner packets have: the longest exceed the walk's limit and say so.
        if packet.fault.is_none() {
            prop_assert_eq!((inner_facts(&packet), packet.tunnels), (expected, 2));
        }
    }

    #[test]
    fn every_link_type_leads_to_the_same_packet(inner in ip()) {
        let expected = inner_facts(&whole::<true>(&ethernet_ip(&[], &inner), LinkType::Ethernet));
        let kind = ether_type(&inner);
        let families: &[u8] = if inner[0] >> 4 == 6 { &[10, 23, 24, 28, 30] } else { &[2] };
        let mut frames = vec![
            (LinkType::Ip, inner.clone()),
            (LinkType::LinuxSll, [&[0; 14][..], &kind, &inner].concat()),
            (LinkType::LinuxSll2, [&kind[..], &[0; 18], &inner].concat()),
        ];
        for family in families {
            frames.push((LinkType::Loopback, [&[*family, 0, 0, 0][..], &inner].concat()));
            frames.push((LinkType::Loopback, [&[0, 0, 0, *family][..], &inner].concat()));
        }
        for (link, frame) in frames {
            prop_assert_eq!(inner_facts(&whole::<true>(&frame, link)), expected, "{:?}", link);
        }
    }
}
