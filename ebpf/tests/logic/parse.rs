//! `parse` against etherparse on generated packets, on their prefixes, and on bytes that are none.

use etherparse::{NetSlice, SlicedPacket, TcpOptionElement, TransportSlice};
use proptest::collection::vec;
use proptest::prelude::*;
use tidegauge_ebpf::link::LinkType;
use tidegauge_ebpf::packet::{
    Address, Fault, Fragment, NO_SHIFT, Network, Packet, Transport, UNKNOWN_SHIFT, ipv4_mapped, tcp_flag,
};
use tidegauge_ebpf::parse::parse;

use crate::frame::{AUTHENTICATION, FRAGMENT, Ipv4, Ipv6, Tcp, ethernet_ip, udp};

/// Shortest Ethernet frame without its checksum: shorter ones are padded on the wire.
const FRAME_BYTES_MIN: usize = 60;

fn options() -> impl Strategy<Value = Vec<u8>> {
    let option = prop_oneof![
        Just(vec![1]),
        Just(vec![2, 4, 5, 0xb4]),
        Just(vec![4, 2]),
        (0_u8..=14).prop_map(|shift| vec![3, 3, shift]),
        any::<[u8; 8]>().prop_map(|times| [&[8, 10][..], &times].concat()),
        Just(vec![254, 4, 1, 2]),
    ];
    vec(option, 0..6).prop_map(|options| {
        let mut bytes = Vec::new();
        for option in options.into_iter().filter(|option: &Vec<u8>| !option.is_empty()) {
            if bytes.len() + option.len() <= 40 {
                bytes.extend(option);
            }
        }
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    })
}

fn tcp() -> impl Strategy<Value = Tcp> {
    (any::<[u16; 2]>(), any::<[u32; 2]>(), any::<u8>(), any::<u16>(), options()).prop_map(
        |([source_port, destination_port], [sequence, acknowledgment], flags, window, options)| Tcp {
            source_port,
            destination_port,
            sequence,
            acknowledgment,
            flags,
            window,
            options,
        },
    )
}

/// A protocol number and the bytes behind the IP header.
fn transport() -> impl Strategy<Value = (u8, Vec<u8>)> {
    let payload = || vec(any::<u8>(), 0..200);
    // Ports of tunnels are another test's.
    let ports = [1_u16..2_000, 1_u16..2_000];
    prop_oneof![
        3 => (tcp(), payload()).prop_map(|(tcp, payload)| (6, tcp.bytes(&payload))),
        1 => (ports, payload()).prop_map(|([from, to], payload)| (17, udp(from, to, &payload))),
    ]
}

fn ipv4() -> impl Strategy<Value = Ipv4> {
    (any::<[u8; 4]>(), any::<[u8; 4]>(), 0_usize..=10).prop_map(|(source, destination, words)| Ipv4 {
        options: [1, 1, 1, 0].repeat(words),
        ..Ipv4::between(source, destination)
    })
}

fn ipv6() -> impl Strategy<Value = Ipv6> {
    // Each kind once and in the order of RFC 8200 section 4.1: etherparse reads no other.
    let order = [0, 60, 43, FRAGMENT, AUTHENTICATION];
    let extensions = (any::<[bool; 5]>(), any::<[u8; 5]>()).prop_map(move |(present, units)| {
        let chosen = order.into_iter().zip(present).zip(units).filter(|((_, present), _)| *present);
        chosen.map(|((kind, _), units)| (kind, units % 4)).collect::<Vec<_>>()
    });
    (any::<[u8; 16]>(), any::<[u8; 16]>(), extensions).prop_map(|(source, destination, extensions)| Ipv6 {
        source,
        destination,
        extensions,
    })
}

/// An IP packet.
pub(crate) fn ip() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        (ipv4(), transport()).prop_map(|(ip, (protocol, payload))| ip.packet(protocol, &payload)),
        (ipv6(), transport()).prop_map(|(ip, (protocol, payload))| ip.packet(protocol, &payload)),
    ]
}

/// A valid frame, with tags and padding.
fn frame() -> impl Strategy<Value = Vec<u8>> {
    let tags = vec(prop::sample::select(vec![0x8100_u16, 0x88a8, 0x9100]), 0..=3);
    (tags, ip()).prop_map(|(tags, packet)| {
        let mut frame = ethernet_ip(&tags, &packet);
        frame.resize(frame.len().max(FRAME_BYTES_MIN), 0);
        frame
    })
}

/// `parse` as the kernel runs it.
pub(crate) fn parsed_of(bytes: &[u8], link: LinkType, wire_len: u32, tunnels: bool) -> Packet {
    let mut packet = Packet::EMPTY;
    parse(bytes, link, wire_len, tunnels, &mut packet);
    packet
}

fn parsed(bytes: &[u8]) -> Packet {
    parsed_of(bytes, LinkType::Ethernet, bytes.len() as u32, false)
}

fn ipv6_address(bytes: [u8; 16]) -> Address {
    let words = bytes.as_chunks::<4>().0;
    [words[0], words[1], words[2], words[3]].map(u32::from_be_bytes)
}

/// The window scale that the oracle reads; `None` where it gives up at an option that it does not know.
fn shift(options: etherparse::TcpOptionsIterator<'_>) -> Option<u8> {
    for option in options {
        if let TcpOptionElement::WindowScale(shift) = option.ok()? {
            return Some(shift.min(14));
        }
    }
    Some(NO_SHIFT)
}

/// Everything that both read is the same.
fn assert_agrees(ours: &Packet, oracle: &SlicedPacket<'_>) {
    match oracle.net.as_ref() {
        Some(NetSlice::Ipv4(ip)) => {
            assert_eq!(ours.network, Network::Ipv4);
            let addresses = [ip.header().source(), ip.header().destination()];
            assert_eq!(
                [ours.source, ours.destination],
                addresses.map(|a| ipv4_mapped(u32::from_be_bytes(a)))
            );
        }
        Some(NetSlice::Ipv6(ip)) => {
            assert_eq!(ours.network, Network::Ipv6);
            let addresses = [ip.header().source(), ip.header().destination()];
            assert_eq!([ours.source, ours.destination], addresses.map(ipv6_address));
        }
        Some(NetSlice::Arp(_)) => assert_eq!(ours.network, Network::Arp),
        None => {}
    }
    match oracle.transport.as_ref() {
        Some(TransportSlice::Tcp(tcp)) => {
            assert_eq!((ours.transport, ours.fault), (Transport::Tcp, None));
            assert_eq!(
                (ours.source_port, ours.destination_port),
                (tcp.source_port(), tcp.destination_port())
            );
            let segment = &ours.segment;
            assert_eq!(segment.sequence, tcp.sequence_number());
            assert_eq!(segment.acknowledgment, tcp.acknowledgment_number());
            assert_eq!(segment.window, tcp.window_size());
            assert_eq!(segment.payload_bytes as usize, tcp.payload().len());
            let flags = [tcp.fin(), tcp.syn(), tcp.rst(), tcp.psh(), tcp.ack()];
            assert_eq!([0, 1, 2, 3, 4].map(|bit| segment.has(1 << bit)), flags);
            let expected = if tcp.syn() { shift(tcp.options_iterator()) } else { Some(UNKNOWN_SHIFT) };
            assert!(expected.is_none_or(|expected| segment.shift == expected), "{segment:?} {expected:?}");
        }
        Some(TransportSlice::Udp(udp)) => {
            assert_eq!((ours.transport, ours.fault), (Transport::Udp, None));
            assert_eq!(
                (ours.source_port, ours.destination_port),
                (udp.source_port(), udp.destination_port())
            );
        }
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn valid_frames_are_read_as_the_oracle_reads_them(frame in frame()) {
        let ours = parsed(&frame);
        let oracle = SlicedPacket::from_ethernet(&frame).unwrap();
        prop_assert!(oracle.transport.is_some());
        assert_agrees(&ours, &oracle);
        prop_assert_eq!(usize::from(ours.vlan_tags), oracle.vlan_ids().len());
        prop_assert_eq!(ours.fragment, Fragment::Whole);
    }

    #[test]
    fn frames_with_changed_bytes_are_read_as_the_oracle_reads_them(
        frame in frame(),
        changes in vec((0_usize..120, any::<u8>()), 1..4),
        bytes in 0_usize..400,
    ) {
        let mut frame = frame;
        frame.truncate(bytes.max(14));
        for (offset, value) in changes {
            if let Some(byte) = frame.get_mut(offset) {
                *byte = value;
            }
        }
        let ours = parsed(&frame);
        // Where etherparse refuses the packet, there is nothing to agree on.
        if let Ok(oracle) = SlicedPacket::from_ethernet(&frame) {
            assert_agrees(&ours, &oracle);
        }
    }

    #[test]
    fn a_prefix_gives_the_same_facts_or_says_where_it_is_cut(frame in frame(), bytes in 0_usize..400) {
        let whole = parsed(&frame);
        let cut = &frame[..bytes.min(frame.len())];
        let ours = parsed_of(cut, LinkType::Ethernet, frame.len() as u32, false);
        if ours.fault == Some(Fault::Cut) {
            // UDP's transport is known from the first header on, TCP's only with the whole fixed header.
            prop_assert_ne!(ours.transport, Transport::Tcp);
        } else {
            // Only options may be missing.
            let mut expected = whole;
            if ours.segment.shift == UNKNOWN_SHIFT {
                expected.segment.shift = UNKNOWN_SHIFT;
            }
            if cut.len() < frame.len() && ours.segment.timestamp == 0 {
                (expected.segment.timestamp, expected.segment.echo) = (0, 0);
            }
            prop_assert_eq!(ours, expected);
        }
    }

    #[test]
    fn any_bytes_give_a_packet(bytes in vec(any::<u8>(), 0..300), dlt in 0_u16..300, wire_len in any::<u32>()) {
        let link = LinkType::from_dlt(dlt).unwrap_or(LinkType::Ethernet);
        for packet in [true, false].map(|tunnels| parsed_of(&bytes, link, wire_len, tunnels)) {
            prop_assert!(packet.segment.payload_bytes <= wire_len);
            prop_assert!(packet.segment.shift <= 14 || packet.segment.shift >= UNKNOWN_SHIFT);
        }
    }

    #[test]
    fn a_chain_of_any_known_headers_ends(kinds in vec(0_usize..9, 0..40), tail in vec(any::<u8>(), 0..80)) {
        let tags = [0x8100_u16, 0x88a8, 0x9100];
        let frame = crate::frame::ethernet(
            &kinds.iter().map(|kind| tags[kind % 3]).collect::<Vec<_>>(), 0x86dd, &tail,
        );
        let packet = parsed(&frame);
        // The Ethernet header and the tags take one step each.
        if kinds.len() >= 12 {
            prop_assert_eq!(packet.fault, Some(Fault::Depth));
        }
    }
}

#[test]
fn a_first_fragment_is_read_and_a_later_one_is_not() {
    let tcp = Tcp { source_port: 1, destination_port: 2, flags: tcp_flag::SYN, ..Tcp::default() };
    let mut ip = Ipv4::between([10, 0, 0, 1], [10, 0, 0, 2]);
    for (fragment, expected, transport) in [
        (0x4000, Fragment::Whole, Transport::Tcp),
        (0x2000, Fragment::First, Transport::Tcp),
        (0x2001, Fragment::Later, Transport::None),
        (0x0001, Fragment::Later, Transport::None),
    ] {
        ip.fragment = fragment;
        let packet = parsed(&ethernet_ip(&[], &ip.packet(6, &tcp.bytes(&[]))));
        assert_eq!((packet.fragment, packet.transport), (expected, transport), "{fragment:#x}");
    }
}

#[test]
fn lengths_below_their_header_and_foreign_versions_are_faults() {
    let tcp = Tcp::default().bytes(&[]);
    let valid = ethernet_ip(&[], &Ipv4::between([1; 4], [2; 4]).packet(6, &tcp));
    for (offset, value, fault) in [
        (14, 0x44, Fault::Length),
        (14, 0x65, Fault::Version),
        (17, 19, Fault::Length),
        (14 + 20 + 12, 0x40, Fault::Length),
    ] {
        let mut frame = valid.clone();
        frame[offset] = value;
        assert_eq!(parsed(&frame).fault, Some(fault), "byte {offset}");
    }
}
