//! What a segment of an established flow is: windows, probes, resent bytes, and the time per MiB.

use tidegauge_ebpf::counter::Counter;
use tidegauge_ebpf::frame::Frame;
use tidegauge_ebpf::histogram::lower_bound;
use tidegauge_ebpf::listener::ListenerCounter;

use crate::frame::{Ipv4, Tcp, ethernet, ethernet_ip};
use crate::scene::{ACK, CLIENT, FIN, PSH, RST, SERVER, SYN, Scene, Talk};

const MIB: usize = 1 << 20;
const SEGMENT_BYTES: usize = 1_460;
/// Beyond one MiB with the first segment, which starts the clock and is not counted.
const SEGMENTS_PER_MIB: usize = MIB / SEGMENT_BYTES + 2;
/// Ethernet, IPv4 and TCP headers without options.
const HEADERS_BYTES: usize = 54;

/// What the handshake itself counts, besides what a test is about.
const HANDSHAKE: [(&str, u64); 3] = [("attempted", 1), ("answered", 1), ("completed", 1)];

fn established() -> (Scene, Talk) {
    let (mut scene, mut talk) = (Scene::new(), Talk::new());
    talk.shake_hands(&mut scene);
    (scene, talk)
}

/// What was judged besides the handshake.
fn judged(scene: &Scene) -> Vec<(&'static str, u64)> {
    scene.judged().into_iter().filter(|counted| !HANDSHAKE.contains(counted)).collect()
}

/// Samples of known scale, low ones, unknown ones.
fn windows(scene: &Scene) -> (u64, u64, u64) {
    let [known, low, unknown] =
        [Counter::RwndSamples, Counter::RwndLow, Counter::RwndScaleUnknown].map(|counter| scene.get(counter));
    (known, low, unknown)
}

#[test]
fn a_window_is_scaled_by_what_both_offered() {
    let (mut scene, mut talk) = (Scene::new(), Talk::new());
    talk.client.shift = Some(7);
    talk.client.window = 502;
    talk.shake_hands(&mut scene);
    assert_eq!(windows(&scene), (1, 0, 0));
    let smallest = scene.counters().rwnd_bytes.quantile(0.0).unwrap();
    assert_eq!(smallest, 63_488, "502 << 7 is 64,256, in the bucket from 62 KiB on");
}

#[test]
fn a_window_is_not_scaled_where_one_side_offered_nothing() {
    for (client, server) in [(Some(7), None), (None, Some(7)), (None, None)] {
        let (mut scene, mut talk) = (Scene::new(), Talk::new());
        (talk.client.shift, talk.server.shift) = (client, server);
        talk.client.window = 502;
        talk.shake_hands(&mut scene);
        assert_eq!(windows(&scene), (1, 1, 0), "{client:?} {server:?}");
    }
}

#[test]
fn a_window_of_a_flow_whose_handshake_was_not_seen_is_of_unknown_scale_and_never_low() {
    let (mut scene, mut talk) = (Scene::new(), Talk::new());
    (talk.client.window, talk.server.window) = (1, 1);
    scene.hear(&talk.client(ACK | PSH, 10));
    scene.hear(&talk.server(ACK | PSH, 10));
    assert_eq!(windows(&scene), (0, 0, 2));
    assert_eq!(scene.of(SERVER, ListenerCounter::RwndScaleUnknown), 2);
}

#[test]
fn a_window_is_of_unknown_scale_where_a_snap_length_cut_the_options_off() {
    let (mut scene, mut talk) = (Scene::new(), Talk::new());
    talk.client.window = 502;
    scene.hear_cut(&talk.client(SYN, 0), HEADERS_BYTES);
    scene.hear_cut(&talk.server(SYN | ACK, 0), HEADERS_BYTES);
    scene.hear(&talk.client(ACK, 0));
    assert_eq!(windows(&scene), (0, 0, 1));
}

#[test]
fn a_one_sided_view_knows_the_scale_only_where_none_was_offered() {
    for (offered, expected) in [(Some(7), (0, 0, 1)), (None, (1, 1, 0))] {
        let (mut scene, mut talk) = (Scene::new(), Talk::new());
        talk.client.shift = offered;
        talk.client.window = 502;
        scene.hear(&talk.client(SYN, 0));
        talk.server(SYN | ACK, 0);
        scene.hear(&talk.client(ACK, 0));
        assert_eq!(windows(&scene), expected);
    }
}

#[test]
fn low_windows_are_counted_by_the_side_that_advertises_them() {
    let (mut scene, mut talk) = established();
    talk.server.window = 10;
    for _ in 0..3 {
        scene.hear(&talk.server(ACK | PSH, 10));
    }
    talk.client.window = 79;
    scene.hear(&talk.client(ACK, 0));
    talk.client.window = 78;
    scene.hear(&talk.client(ACK, 0));
    let row = [
        ListenerCounter::RwndListener,
        ListenerCounter::RwndListenerLow,
        ListenerCounter::RwndPeer,
        ListenerCounter::RwndPeerLow,
    ];
    // 79 << 7 is 10,112: not low. 78 << 7 is 9,984. The handshake's ACK is the third of the peer.
    assert_eq!(row.map(|counter| scene.of(SERVER, counter)), [3, 3, 3, 1]);
    assert_eq!(scene.get(Counter::RwndLow), 4);
}

#[test]
fn a_zero_window_is_counted_and_one_that_comes_with_the_end_is_not() {
    let (mut scene, mut talk) = established();
    talk.server.window = 0;
    scene.hear(&talk.server(ACK, 0));
    assert_eq!(judged(&scene), [("zero_window", 1), ("rwnd_low", 1)]);
    scene.hear(&talk.server(FIN | ACK, 0));
    scene.hear(&talk.server(RST, 0));
    assert_eq!(scene.get(Counter::ZeroWindow), 1);
    assert_eq!(scene.of(SERVER, ListenerCounter::ZeroWindow), 1);
}

#[test]
fn a_keep_alive_has_one_byte_or_none_just_below_the_expected_number() {
    for payload_bytes in [0, 1] {
        let (mut scene, mut talk) = established();
        scene.hear(&talk.client(ACK | PSH, 100));
        scene.hear(&talk.server(ACK, 0));
        talk.client.next -= 1;
        scene.hear(&talk.client(ACK, payload_bytes));
        scene.hear(&talk.server(ACK, 0));
        assert_eq!(judged(&scene), [("keep_alive", 1)], "{payload_bytes} bytes");
    }
}

#[test]
fn a_probe_of_a_zero_window_is_neither_new_nor_a_keep_alive() {
    let (mut scene, mut talk) = established();
    scene.hear(&talk.client(ACK | PSH, 100));
    talk.server.window = 0;
    scene.hear(&talk.server(ACK, 0));
    for _ in 0..3 {
        scene.hear(&talk.client(ACK, 1));
        talk.client.next -= 1;
        scene.hear(&talk.server(ACK, 0));
    }
    talk.server.window = 64_000;
    scene.hear(&talk.server(ACK, 0));
    scene.hear(&talk.client(ACK | PSH, 100));
    assert_eq!(judged(&scene), [("zero_window", 4), ("rwnd_low", 4)]);
}

#[test]
fn bytes_sent_again_are_retransmitted_or_reordered() {
    let (mut scene, mut talk) = established();
    let data = talk.client(ACK | PSH, 100);
    scene.hear(&data);
    scene.hear(&data);
    assert_eq!(judged(&scene), [("retransmit_or_reordered", 1)]);
    assert_eq!(scene.of(SERVER, ListenerCounter::RetransmitOrReordered), 1);
}

#[test]
fn old_bytes_with_new_ones_behind_them_count_once_and_go_on() {
    let (mut scene, mut talk) = established();
    scene.hear(&talk.client(ACK, 100));
    talk.client.next -= 100;
    scene.hear(&talk.client(ACK, 200));
    scene.hear(&talk.client(ACK, 100));
    assert_eq!(judged(&scene), [("retransmit_or_reordered", 1)]);
}

#[test]
fn a_hole_is_a_lost_segment_and_what_fills_it_came_late() {
    let (mut scene, mut talk) = established();
    let missing = talk.client(ACK, 100);
    scene.hear(&talk.client(ACK, 100));
    assert_eq!(judged(&scene), [("lost_segment", 1)]);
    scene.hear(&missing);
    scene.hear(&talk.client(ACK, 100));
    assert_eq!(judged(&scene), [("retransmit_or_reordered", 1), ("lost_segment", 1)]);
}

#[test]
fn numbers_may_wrap() {
    let (mut scene, mut talk) = (Scene::new(), Talk::new());
    talk.client.next = u32::MAX - 50;
    talk.server.next = u32::MAX;
    talk.shake_hands(&mut scene);
    let wrapping = talk.client(ACK, 100);
    scene.hear(&wrapping);
    scene.hear(&talk.server(ACK, 100));
    scene.hear(&talk.client(ACK, 100));
    assert_eq!(judged(&scene), []);
    scene.hear(&wrapping);
    assert_eq!(judged(&scene), [("retransmit_or_reordered", 1)]);
}

/// The client sends `segments` over `milliseconds`, each acknowledged.
fn transfer(scene: &mut Scene, talk: &mut Talk, segments: usize, milliseconds: u64) {
    for index in 0..segments as u64 {
        scene.hear(&talk.client(ACK, SEGMENT_BYTES));
        scene.hear(&talk.server(ACK, 0));
        scene.wait_ms((index + 1) * milliseconds / segments as u64 - index * milliseconds / segments as u64);
    }
}

#[test]
fn a_mib_is_timed() {
    let (mut scene, mut talk) = established();
    transfer(&mut scene, &mut talk, SEGMENTS_PER_MIB, 100);
    assert_eq!(judged(&scene), [("transfers", 1)]);
    let took_us = scene.counters().transfer_us;
    let bucket = took_us.buckets.iter().position(|count| *count != 0).unwrap();
    assert!((lower_bound(bucket)..lower_bound(bucket + 1)).contains(&100_000), "bucket {bucket}");
    assert!((95_000..=100_000).contains(&scene.of(SERVER, ListenerCounter::TransfersUs)));
}

#[test]
fn a_slow_mib_is_counted_as_slow() {
    let (mut scene, mut talk) = established();
    transfer(&mut scene, &mut talk, 2 * SEGMENTS_PER_MIB, 1_000);
    assert_eq!(judged(&scene), [("transfers", 2), ("transfers_slow", 2)]);
    assert_eq!(scene.of(SERVER, ListenerCounter::TransfersSlow), 2);
}

#[test]
fn a_pause_of_the_application_is_not_timed() {
    let (mut scene, mut talk) = established();
    transfer(&mut scene, &mut talk, SEGMENTS_PER_MIB / 2, 10);
    // All it had is written, sent and acknowledged; then it is silent.
    scene.hear(&talk.client(ACK | PSH, SEGMENT_BYTES));
    scene.hear(&talk.server(ACK, 0));
    scene.wait_ms(5_000);
    transfer(&mut scene, &mut talk, SEGMENTS_PER_MIB - 2, 10);
    assert_eq!(judged(&scene), [], "the MiB began anew behind the pause");
    transfer(&mut scene, &mut talk, 3, 1);
    assert_eq!(judged(&scene), [("transfers", 1)]);
}

#[test]
fn a_pause_with_bytes_under_way_is_the_networks_and_timed() {
    let (mut scene, mut talk) = established();
    transfer(&mut scene, &mut talk, SEGMENTS_PER_MIB / 2, 10);
    scene.hear(&talk.client(ACK | PSH, SEGMENT_BYTES));
    scene.wait_ms(5_000);
    transfer(&mut scene, &mut talk, SEGMENTS_PER_MIB / 2 + 1, 10);
    assert_eq!(judged(&scene), [("transfers", 1), ("transfers_slow", 1)]);
}

#[test]
fn a_pause_before_a_closed_window_is_the_receivers_and_timed() {
    let (mut scene, mut talk) = established();
    transfer(&mut scene, &mut talk, SEGMENTS_PER_MIB / 2, 10);
    scene.hear(&talk.client(ACK | PSH, SEGMENT_BYTES));
    talk.server.window = 0;
    scene.hear(&talk.server(ACK, 0));
    scene.wait_ms(5_000);
    talk.server.window = 1;
    scene.hear(&talk.server(ACK, 0));
    transfer(&mut scene, &mut talk, SEGMENTS_PER_MIB / 2 + 1, 10);
    assert_eq!((scene.get(Counter::Transfers), scene.get(Counter::TransfersSlow)), (1, 1));
}

#[test]
fn no_mib_is_timed_where_the_other_direction_is_not_seen() {
    let (mut scene, mut talk) = established();
    for _ in 0..3 * SEGMENTS_PER_MIB {
        scene.hear(&talk.client(ACK, SEGMENT_BYTES));
    }
    assert_eq!(scene.get(Counter::Transfers), 0);
}

#[test]
fn what_follows_a_reset_or_both_ends_is_not_a_new_flow() {
    for reset in [false, true] {
        let (mut scene, mut talk) = established();
        if reset {
            scene.hear(&talk.server(RST | ACK, 0));
        } else {
            talk.close(&mut scene);
        }
        scene.hear(&talk.client(ACK, 0));
        assert_eq!(judged(&scene), []);
        assert_eq!((scene.get(Counter::FlowsAdmitted), scene.flows()), (1, 1));
    }
}

#[test]
fn fragments_count_by_their_headers_and_are_not_judged() {
    let (mut scene, _) = established();
    let tcp = Tcp {
        source_port: CLIENT.port,
        destination_port: SERVER.port,
        sequence: 5_000_000,
        flags: ACK,
        ..Tcp::default()
    };
    let mut ip = Ipv4::between(CLIENT.address, SERVER.address);
    ip.fragment = 0x2000;
    scene.hear(&ethernet_ip(&[], &ip.packet(6, &tcp.bytes(&[0; 80]))));
    ip.fragment = 0x0008;
    scene.hear(&ethernet_ip(&[], &ip.packet(6, &tcp.bytes(&[0; 80]))));
    assert_eq!(judged(&scene), []);
    assert_eq!((scene.get(Counter::Fragments), scene.get(Counter::Segments)), (2, 4));
}

#[test]
fn frames_that_are_not_tcp_count_by_what_they_are() {
    let mut scene = Scene::new();
    let ip = Ipv4::between(CLIENT.address, SERVER.address);
    scene.hear(&ethernet(&[0x8100], 0x0806, &[0; 28]));
    scene.hear(&ethernet(&[], 0x88cc, &[0; 46]));
    scene.hear(&ethernet_ip(&[], &ip.packet(1, &[8, 0, 0, 0, 0, 1, 0, 1])));
    scene.hear(&ethernet_ip(&[], &ip.packet(50, &[0; 20])));
    let counted = [Counter::Arp, Counter::Vlan, Counter::Unsupported, Counter::Icmp, Counter::OtherTransport];
    assert_eq!(counted.map(|counter| scene.get(counter)), [1; 5]);
    assert_eq!(scene.get(Counter::Ipv4), 2);
}

#[test]
fn a_header_cut_by_its_sender_is_malformed_and_one_cut_by_the_capture_is_truncated() {
    let syn = Talk::new().client(SYN, 0);
    let mut scene = Scene::new();
    scene.hear_cut(&syn, 40);
    assert_eq!((scene.get(Counter::Truncated), scene.get(Counter::MalformedCut)), (1, 0));
    scene.hear(&syn[..40]);
    assert_eq!((scene.get(Counter::Truncated), scene.get(Counter::MalformedCut)), (1, 1));
    assert_eq!(scene.get(Counter::Segments), 0);
}

#[test]
fn no_read_past_the_captured_end_succeeds() {
    let bytes: &[u8] = &[1, 2, 3, 4];
    assert_eq!((bytes.u8(3), bytes.u8(4)), (Some(4), None));
    assert_eq!((bytes.u16(2), bytes.u16(3), bytes.u16(u32::MAX)), (Some(0x0304), None, None));
    assert_eq!((bytes.u32(0), bytes.u32(1), bytes.u32(u32::MAX)), (Some(0x0102_0304), None, None));
}
