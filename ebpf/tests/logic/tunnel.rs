//! Packets in packets: the innermost one counts in userspace, the outer one in the kernel, on every link type.

use proptest::prelude::*;
use tidegauge_ebpf::link::LinkType;
use tidegauge_ebpf::packet::{Fragment, Packet, Transport};

use crate::frame::{Ipv4, Ipv6, Tcp, ethernet, ethernet_ip, udp};
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
    let with_pptp = |header: &[u8]| gre(header, &[&ppp[1..], inner].concat());
    let wireless = [&[0x88, 0x02][..], &[0; 24], &[0xaa, 0xaa, 3, 0, 0, 0], &kind, inner].concat();
    let swapped = [&[0x02, 0x88][..], &wireless[2..]].concat();
    let access_point = |kind: u8| [0, 0x10, kind, 0, 0, 0, 0, 0];
    let l2tp = [&[0x4a, 2, 0, 99, 0, 1, 0, 2, 0, 3, 0, 4, 0, 2, 9, 9, 0xff, 3][..], &ppp, inner].concat();
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
        ("802.1ah", ethernet(&[], 0x88e7, &[&[0, 0, 0, 7][..], &bridged].concat())),
        ("capwap, 802.11", over_udp(5_247, [&access_point(3)[..], &swapped].concat())),
        ("capwap, ethernet", over_udp(5_247, [&access_point(2)[..], &bridged].concat())),
        ("erspan i", gre(&[0, 0, 0x88, 0xbe], &bridged)),
        ("erspan ii", gre(&[0x10, 0, 0x88, 0xbe, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1], &bridged)),
        (
            "erspan iii",
            gre(&[&[0x10, 0, 0x22, 0xeb, 0, 0, 0, 1][..], &[0; 11], &[1], &[7; 8]].concat(), &bridged),
        ),
        ("etherip", ethernet_ip(&[], &outer().packet(97, &[&[0x30, 0][..], &bridged].concat()))),
        ("fabricpath", ethernet(&[], 0x8903, &[&[0, 0x50][..], &bridged].concat())),
        ("gre of aruba", gre(&[0, 0, 0x82, 0x10], &wireless)),
        ("gre of pptp", with_pptp(&[0x30, 0x81, 0x88, 0x0b, 0, 9, 0, 9, 0, 0, 0, 1, 0, 0, 0, 2])),
        ("gre over udp", over_udp(4_754, [&[0, 0][..], &kind, inner].concat())),
        ("l2tp", over_udp(1_701, l2tp)),
        ("mpls in ip", ethernet_ip(&[], &outer().packet(137, &[&[0, 2, 1, 64][..], inner].concat()))),
        ("mpls over udp", over_udp(6_635, [&[0, 2, 1, 64][..], inner].concat())),
        ("vxlan generic", over_udp(4_790, [&[12, 0, 0, 3, 0, 0, 1, 0][..], &bridged].concat())),
        ("vxlan", over_udp(4_789, [&[8, 0, 0, 0, 0, 0, 1, 0][..], &bridged].concat())),
    ]
}

/// The packet on links of routers and Linux' loggers; `kind` is its EtherType.
fn serial(kind: &[u8], inner: &[u8]) -> Vec<(LinkType, Vec<u8>)> {
    let is_v6 = inner[0] >> 4 == 6;
    let (protocol, name) = if is_v6 { (0x57, 0x8e) } else { (0x21, 0xcc) };
    let fddi = [&[0x57][..], &[2; 12], &[0xaa, 0xaa, 3, 0, 0, 0], kind].concat();
    // Attributes of 5 and 8 bytes before the packet's, whose length is in either byte order.
    let logged = [&[2, 0, 0, 0][..], &[5, 0, 10, 0, 0, 0, 0, 0], &[8, 0, 1, 0, 8, 0, 1, 0]].concat();
    let logged_big = [&[2, 0, 0, 0][..], &[0, 5, 0, 10, 0, 0, 0, 0], &[0, 200, 0, 9]].concat();
    let links: Vec<(LinkType, Vec<u8>)> = vec![
        (LinkType::CiscoHdlc, [&[0x0f, 0][..], kind].concat()),
        (LinkType::Fddi, fddi),
        (LinkType::FrameRelay, [&[0x18, 0x41][..], kind].concat()),
        (LinkType::FrameRelay, vec![0x18, 0x41, 3, name]),
        (LinkType::FrameRelay, [&[0x18, 0x41, 3, 0, 0x80, 0, 0, 0][..], kind].concat()),
        (LinkType::NetfilterLog, [&logged[..], &[200, 0, 9, 0]].concat()),
        (LinkType::NetfilterLog, logged_big),
        (LinkType::Ppp, vec![0xff, 3, 0, protocol]),
        (LinkType::Ppp, vec![0, protocol]),
        (LinkType::Ppp, vec![protocol]),
        (LinkType::Ppp, [&[0x8f, 0][..], kind].concat()),
        (LinkType::Slip, vec![1; 16]),
    ];
    links.into_iter().map(|(link, header)| (link, [&header[..], inner].concat())).collect()
}

/// The packet in data frames of 802.11, with and without radiotap; `kind` is its EtherType.
fn wireless(kind: &[u8], inner: &[u8]) -> Vec<(LinkType, Vec<u8>)> {
    let body = [&[0xaa, 0xaa, 3, 0, 0, 0][..], kind, inner].concat();
    let data = [&[0x08, 0x01][..], &[0; 22], &body].concat();
    let with_quality = [&[0x88, 0x02][..], &[0; 24], &body].concat();
    let padded = [&[0x88, 0x02][..], &[0; 24], &[0; 2], &body].concat();
    let between = [&[0x88, 0x83][..], &[0; 28], &[0; 6], &body].concat();
    let plain = [0, 0, 8, 0, 0, 0, 0, 0];
    // A clock behind two words of what is present, then flags: padded.
    let clocked = [&[0, 0, 25, 0][..], &[3, 0, 0, 0x80], &[0; 4], &[0; 4], &[0; 8], &[0x20]].concat();
    vec![
        (LinkType::Ieee80211, data.clone()),
        (LinkType::Ieee80211, with_quality),
        (LinkType::Ieee80211, between),
        (LinkType::Radiotap, [&plain[..], &data].concat()),
        (LinkType::Radiotap, [&clocked[..], &padded].concat()),
    ]
}

#[test]
fn tags_with_an_ether_type_are_passed() {
    let inner = outer().packet(6, &Tcp::default().bytes(&[]));
    for (kind, tag_bytes) in [(0x8909, 6), (0x8926, 4), (0x893f, 6)] {
        let frame = ethernet(&[], kind, &[&[1; 6][..tag_bytes], &[8, 0], &inner].concat());
        assert_eq!(whole::<true>(&frame, LinkType::Ethernet).transport, Transport::Tcp, "{kind:#06x}");
    }
}

#[test]
fn teredo_is_passed_with_what_may_stand_before_it() {
    let inner = Ipv6 { source: [1; 16], destination: [2; 16], extensions: Vec::new() }
        .packet(6, &Tcp::default().bytes(b"payload"));
    let authentication = [&[0, 1, 1, 2][..], &[9; 12]].concat();
    let origin = [0, 0, 1, 2, 3, 4, 5, 6];
    for before in [&[][..], &authentication, &origin, &[&authentication[..], &origin].concat()] {
        for ports in [(3_544, 50_000), (50_000, 3_544)] {
            let datagram = udp(ports.0, ports.1, &[before, &inner].concat());
            let packet = whole::<true>(&ethernet_ip(&[], &outer().packet(17, &datagram)), LinkType::Ethernet);
            assert_eq!((packet.transport, packet.segment.payload_bytes), (Transport::Tcp, 7), "{before:?}");
        }
    }
}

#[test]
fn ports_of_tunnels_alone_make_no_tunnel() {
    // A control message of L2TP, an encrypted one of CAPWAP, a bubble's remains, text.
    for (port, payload) in [(1_701, &[0xc8, 2, 0, 12][..]), (5_247, &[1; 16]), (3_544, b"longer text")] {
        let frame = ethernet_ip(&[], &outer().packet(17, &udp(port, port, payload)));
        let packet = whole::<true>(&frame, LinkType::Ethernet);
        assert_eq!((packet.transport, packet.tunnels, packet.fault), (Transport::Udp, 0, None), "{port}");
    }
}

#[test]
fn a_session_ends_where_pppoe_says_and_not_where_the_inner_header_does() {
    let mut inner = outer().packet(6, &Tcp::default().bytes(b"padded"));
    inner.truncate(40);
    let session = |bytes: u8| {
        ethernet(&[], 0x8864, &[&[0x11, 0, 0, 1, 0, bytes, 0, 0x21][..], &inner, &[0; 6]].concat())
    };
    let payload_bytes = |frame: &[u8]| whole::<true>(frame, LinkType::Ethernet).segment.payload_bytes;
    assert_eq!((payload_bytes(&session(42)), payload_bytes(&session(0))), (0, 6));
}

#[test]
fn a_packet_whose_tunnel_is_in_fragments_has_its_own_length() {
    let inner = outer().packet(6, &Tcp::default().bytes(&[7; 1_000]));
    let first = Ipv4 { fragment: 0x2000, ..outer() }.packet(4, &inner[..600]);
    let packet = whole::<true>(&ethernet_ip(&[], &first), LinkType::Ethernet);
    assert_eq!((packet.fragment, packet.segment.payload_bytes), (Fragment::Whole, 1_000));
    let alone = outer().packet(4, &inner[..600]);
    let packet = whole::<true>(&ethernet_ip(&[], &alone), LinkType::Ethernet);
    assert_eq!(packet.segment.payload_bytes, 560);
}

#[test]
fn what_is_not_in_the_clear_is_not_looked_into() {
    let inner = outer().packet(6, &Tcp::default().bytes(&[]));
    let body = [&[0xaa, 0xaa, 3, 0, 0, 0, 8, 0][..], &inner].concat();
    let frame = |control: [u8; 2], fragment: u8, quality: &[u8]| {
        [&control[..], &[0; 20], &[fragment, 0], quality, &body].concat()
    };
    let read = frame([0x08, 0x01], 0x10, &[]);
    assert_eq!(whole::<true>(&read, LinkType::Ieee80211).transport, Transport::Tcp);
    for (name, frame) in [
        ("encrypted", frame([0x08, 0x41], 0, &[])),
        ("a later fragment", frame([0x08, 0x01], 1, &[])),
        ("several in one", frame([0x88, 0x01], 0, &[0x80, 0])),
        ("a beacon", frame([0x80, 0], 0, &[])),
        ("no data", frame([0x48, 0x01], 0, &[])),
    ] {
        let packet = whole::<true>(&frame, LinkType::Ieee80211);
        assert_eq!((packet.transport, packet.fault), (Transport::None, None), "{name}");
    }
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
        frames.extend(serial(&kind, &inner));
        frames.extend(wireless(&kind, &inner));
        for family in families {
            frames.push((LinkType::Loopback, [&[*family, 0, 0, 0][..], &inner].concat()));
            frames.push((LinkType::Loopback, [&[0, 0, 0, *family][..], &inner].concat()));
        }
        for (link, frame) in frames {
            prop_assert_eq!(inner_facts(&whole::<true>(&frame, link)), expected, "{:?}", link);
        }
    }
}
