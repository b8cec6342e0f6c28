//! How connections begin that were not seen to be opened as the book says: scenes between two ends, and what each segment
//! was. Expected marks are tshark 4.0.17's.

use tidegauge_ebpf::flow::FlowKey;
use tidegauge_ebpf::packet::{
    Fragment, NO_SHIFT, Network, Packet, Segment, Transport, UNKNOWN_SHIFT, tcp_flag,
};
use tidegauge_ebpf::stamp::Stamp;
use tidegauge_ebpf::tcp::mark;

use super::{Follower, Sizes, Verdict};
use crate::digest::Digest;
use crate::fact::{Fact, Facts};
use crate::flow_record::CloseCause;

const SYN: u8 = tcp_flag::SYN;
const ACK: u8 = tcp_flag::ACK;
const FIN: u8 = tcp_flag::FIN;
const SYN_ACK: u8 = SYN | ACK;
/// The SYN again as a SYN-ACK, or a SYN-ACK again.
const ANSWERED_AGAIN: u32 = mark::RETRANSMISSION | mark::SYN_ACK_RETRANSMISSION;
/// First sequence numbers of client and server.
const FIRST: [u32; 2] = [5_000, u32::MAX - 3];

/// Two ends and what watches them.
struct Scene {
    follower: Follower,
    now_ms: u64,
    packets: u64,
    /// Of the last packet.
    facts: Facts,
    fragment: Fragment,
}

#[derive(Clone, Copy)]
enum End {
    Client,
    Server,
}

use End::{Client, Server};

impl Scene {
    fn new() -> Self {
        let sizes = Sizes { attempts: 3, connections: 64, stories: 64, records: true };
        Self {
            follower: Follower::new(sizes),
            now_ms: 1_000,
            packets: 0,
            facts: Facts::NONE,
            fragment: Fragment::Whole,
        }
    }

    fn wait_ms(&mut self, ms: u64) -> &mut Self {
        self.now_ms += ms;
        self
    }

    /// A segment, five milliseconds after the last one; numbers are distances from the first ones. Nobody offers a scale.
    fn hear(&mut self, end: End, flags: u8, seq: u32, ack: u32, bytes: u32, window: u16) -> u32 {
        self.between(40_000, end, flags, seq, ack, bytes, window)
    }

    #[expect(clippy::too_many_arguments, reason = "a segment has as many numbers")]
    fn between(
        &mut self,
        client_port: u16,
        end: End,
        flags: u8,
        seq: u32,
        ack: u32,
        bytes: u32,
        window: u16,
    ) -> u32 {
        self.now_ms += 5;
        self.packets += 1;
        let [own, peer] = match end {
            Client => [0, 1],
            Server => [1, 0],
        };
        let ports = [client_port, 80];
        let segment = Segment {
            sequence: FIRST[own].wrapping_add(seq),
            acknowledgment: if flags & ACK == 0 { 0 } else { FIRST[peer].wrapping_add(ack) },
            payload_bytes: bytes,
            window,
            flags,
            shift: if flags & SYN == 0 { UNKNOWN_SHIFT } else { NO_SHIFT },
            ..Packet::EMPTY.segment
        };
        let packet = Packet {
            source: [0, 0, 0xffff, 10 + own as u32],
            destination: [0, 0, 0xffff, 10 + peer as u32],
            source_port: ports[own],
            destination_port: ports[peer],
            segment,
            network: Network::Ipv4,
            transport: Transport::Tcp,
            fragment: self.fragment,
            ..Packet::EMPTY
        };
        let key = FlowKey::of(&packet, 1);
        let digest = Digest {
            packet,
            key,
            hash: key.hash(),
            ts_ns: self.now_ms * 1_000_000,
            wire_bytes: u64::from(bytes) + 54,
            print: self.packets as u32,
            ..Digest::EMPTY
        };
        let mut verdict = Verdict::default();
        self.follower.packet(&digest, || &[], self.packets, &mut verdict);
        self.facts = verdict.facts;
        verdict.judged.marks
    }

    /// A handshake as the book says.
    fn shake_hands(&mut self) {
        assert_eq!(self.hear(Client, SYN, 0, 0, 0, 1_000), 0);
        assert_eq!(self.hear(Server, SYN_ACK, 0, 1, 0, 1_000), 0);
        assert_eq!(self.hear(Client, ACK, 1, 1, 0, 1_000), 0);
    }
}

#[test]
fn a_connection_goes_on_from_a_syn_ack_that_was_its_first_packet() {
    let mut scene = Scene::new();
    scene.hear(Server, SYN_ACK, 0, 1, 0, 2_000);
    assert_eq!(scene.hear(Server, ACK, 1, 1, 0, 1_000), mark::WINDOW_UPDATE);
    assert_eq!(scene.hear(Server, ACK, 1, 1, 0, 1_000), mark::DUPLICATE_ACK);
    assert_eq!(scene.hear(Server, ACK, 501, 1, 100, 1_000), mark::LOST_SEGMENT);
    // Nobody scales: the SYN-ACK did not offer it.
    assert_eq!(scene.hear(Client, ACK, 1, 1, 1_000, 500), mark::WINDOW_FULL);
}

#[test]
fn a_server_that_speaks_before_the_handshake_is_complete_is_known_by_it() {
    let mut scene = Scene::new();
    scene.hear(Client, SYN, 0, 0, 0, 1_000);
    scene.hear(Server, SYN_ACK, 0, 1, 0, 2_000);
    assert_eq!(scene.hear(Server, ACK, 501, 1, 500, 2_000), mark::LOST_SEGMENT);
    assert_eq!(scene.hear(Client, ACK, 1, 1_001, 0, 1_000), mark::ACKED_UNSEEN);
    assert_eq!(scene.hear(Server, ACK | FIN, 1_001, 1, 0, 2_000), mark::HALF_CLOSE);
    scene.hear(Client, ACK | FIN, 1, 1_002, 0, 1_000);
    assert_eq!(scene.hear(Server, ACK, 1_002, 2, 0, 2_000), 0, "the last ACKs begin nothing");
    assert_eq!(scene.hear(Client, ACK, 2, 1_002, 0, 1_000), mark::DUPLICATE_ACK);
}

#[test]
fn a_syn_on_an_open_connection_begins_another_one() {
    let mut scene = Scene::new();
    scene.shake_hands();
    scene.hear(Server, ACK, 1, 1, 100, 1_000);
    scene.hear(Client, ACK, 1, 101, 0, 1_000);
    assert_eq!(scene.hear(Client, SYN, 1, 0, 0, 1_000), mark::REUSED_PORTS);
    assert_eq!(scene.hear(Server, ACK, 101, 1, 0, 1_000), 0, "not the last ACK again: nothing was before");
    assert_eq!(scene.hear(Client, ACK, 1, 101, 500, 1_000), 0, "of the SYN's number and the bytes behind it");
    assert_eq!(scene.hear(Server, ACK, 101, 501, 0, 1_000), mark::ACKED_UNSEEN);
    assert_eq!(scene.hear(Client, ACK, 501, 101, 100, 1_000), 0);
    // Older than the round trip from SYN to ACK, which was five milliseconds.
    assert_eq!(scene.wait_ms(1).hear(Client, ACK, 451, 101, 100, 1_000), mark::RETRANSMISSION);
}

#[test]
fn a_syn_ack_from_the_end_of_a_connection_is_ports_used_again() {
    let mut scene = Scene::new();
    scene.hear(Server, ACK, 1, 1, 100, 1_000);
    assert_eq!(scene.hear(Server, SYN_ACK, 50_000, 70_000, 0, 500), mark::REUSED_PORTS | mark::LOST_SEGMENT);
    assert_eq!(scene.hear(Server, ACK, 50_001, 70_000, 0, 500), mark::DUPLICATE_ACK);
    assert_eq!(
        scene.hear(Server, SYN_ACK, 10_000, 90_000, 0, 500),
        mark::REUSED_PORTS | ANSWERED_AGAIN,
        "behind what was sent, and not within it"
    );
}

#[test]
fn each_half_of_a_simultaneous_open_is_the_syn_again_and_an_ack() {
    let mut scene = Scene::new();
    scene.hear(Client, SYN, 0, 0, 0, 1_000);
    assert_eq!(scene.hear(Server, SYN, 0, 0, 0, 1_000), mark::SIMULTANEOUS_OPEN);
    assert_eq!(scene.hear(Client, SYN_ACK, 0, 1, 0, 1_000), ANSWERED_AGAIN);
    assert_eq!(scene.hear(Server, SYN_ACK, 0, 1, 0, 1_000), ANSWERED_AGAIN);
    assert_eq!(scene.hear(Client, ACK, 1, 1, 0, 500), mark::WINDOW_UPDATE);
    assert_eq!(scene.hear(Server, ACK, 1, 1, 0, 1_000), mark::DUPLICATE_ACK);
}

#[test]
fn half_a_simultaneous_open_is_enough() {
    let mut scene = Scene::new();
    scene.hear(Client, SYN, 0, 0, 0, 1_000);
    assert_eq!(scene.hear(Client, SYN_ACK, 0, 1, 0, 1_000), ANSWERED_AGAIN);
    assert_eq!(scene.hear(Client, ACK, 1, 1, 0, 500), mark::WINDOW_UPDATE);
}

#[test]
fn what_a_syn_ack_acknowledged_is_known_with_data_in_the_syn() {
    for covered in [100, 0] {
        let mut scene = Scene::new();
        scene.hear(Client, SYN, 0, 0, 100, 1_000);
        scene.hear(Server, SYN_ACK, 0, 1 + covered, 0, 1_000);
        scene.hear(Client, ACK, 1 + covered, 1, 0, 1_000);
        assert_eq!(scene.hear(Server, ACK, 1, 1 + covered, 0, 900), mark::WINDOW_UPDATE, "{covered}");
    }
}

#[test]
fn a_syn_that_nobody_answered_is_known_longer_than_a_handshake_that_is_complete() {
    let mut scene = Scene::new();
    let again = mark::RETRANSMISSION | mark::SYN_RETRANSMISSION;
    scene.hear(Client, SYN, 0, 0, 0, 1_000);
    for port in 1..=20 {
        scene.between(port, Client, SYN, 0, 0, 0, 1_000);
        scene.between(port, Server, SYN_ACK, 0, 1, 0, 1_000);
        scene.between(port, Client, ACK, 1, 1, 0, 1_000);
    }
    assert_eq!(scene.wait_ms(8_000).hear(Client, SYN, 0, 0, 0, 1_000), again);
    for port in 1..=20 {
        scene.wait_ms(500).between(port, Client, SYN, 70_000, 0, 0, 1_000);
        scene.between(port, Server, SYN_ACK, 70_000, 70_001, 0, 1_000);
        scene.between(port, Client, ACK, 70_001, 70_001, 0, 1_000);
    }
    assert_eq!(scene.hear(Client, SYN, 0, 0, 0, 1_000), again);
}

#[test]
fn where_no_connection_finds_room_a_segment_of_none_says_nothing() {
    let mut scene = Scene::new();
    scene.between(9, Client, ACK, 1, 1, 100, 1_000);
    assert!(scene.facts.has(Fact::Stray) && scene.facts.has(Fact::StrayNew));
    for port in 10..200 {
        scene.between(port, Client, SYN, 0, 0, 0, 1_000);
        scene.between(port, Server, SYN_ACK, 0, 1, 0, 1_000);
        scene.between(port, Client, ACK, 1, 1, 0, 1_000);
    }
    // Of connections that were refused, for all we know.
    for port in 200..400 {
        scene.between(port, Client, ACK, 1, 1, 100, 1_000);
        assert!(scene.facts.is_empty(), "{port}");
    }
}

#[test]
fn what_an_older_connection_left_does_not_spoil_the_next_one() {
    let mut scene = Scene::new();
    scene.hear(Client, SYN, 0, 0, 0, 1_000);
    // A server that remembers another connection says where that was, and is told that it is over (RFC 9293, figure 9).
    scene.hear(Server, ACK, 70_000, 900_000_000, 0, 1_000);
    assert_eq!(scene.hear(Client, tcp_flag::RST, 900_000_000, 0, 0, 0), mark::RESET_ABORTED);
    assert_eq!(scene.hear(Client, SYN, 0, 0, 0, 1_000), mark::RETRANSMISSION | mark::SYN_RETRANSMISSION);
    let answered = scene.hear(Server, SYN_ACK, 0, 1, 0, 1_000);
    assert_eq!(answered & mark::REUSED_PORTS, mark::REUSED_PORTS);
    assert_eq!(scene.hear(Client, ACK, 1, 1, 0, 1_000), 0);
    assert_eq!(scene.hear(Client, ACK, 1, 1, 500, 1_000), 0);
    assert_eq!(scene.hear(Server, ACK, 1, 501, 0, 1_000), 0);
    assert_eq!(scene.hear(Server, ACK, 1, 501, 500, 1_000), 0);
    assert_eq!(scene.hear(Client, ACK, 501, 501, 0, 1_000), 0);
}

#[test]
fn an_older_connection_that_nobody_reset_ends_with_the_answer() {
    let mut scene = Scene::new();
    scene.hear(Client, SYN, 0, 0, 0, 1_000);
    scene.hear(Server, ACK, 70_000, 900_000_000, 0, 1_000);
    scene.hear(Server, SYN_ACK, 0, 1, 0, 1_000);
    scene.hear(Client, ACK, 1, 1, 0, 1_000);
    assert_eq!(scene.hear(Server, ACK, 1, 1, 500, 1_000), 0);
    let told = scene.follower.told.iter().map(|record| record.close).collect::<Vec<_>>();
    assert_eq!(told, [CloseCause::ReusedPorts]);
}

#[test]
fn payload_that_overtakes_its_syn_ack_is_of_the_same_connection() {
    let mut scene = Scene::new();
    scene.hear(Client, SYN, 0, 0, 0, 1_000);
    scene.hear(Server, ACK, 1, 1, 500, 1_000);
    let late = scene.hear(Server, SYN_ACK, 0, 1, 0, 1_000);
    assert_eq!(late & (mark::REUSED_PORTS | mark::LOST_SEGMENT), 0);
    assert_eq!(scene.hear(Client, ACK, 1, 501, 0, 1_000), 0);
    assert_eq!(scene.hear(Server, ACK, 501, 1, 500, 1_000), 0);
    assert!(scene.follower.told.is_empty());
}

#[test]
fn a_server_that_answers_with_another_number_is_taken_at_its_last_word() {
    let mut scene = Scene::new();
    scene.hear(Client, SYN, 0, 0, 0, 1_000);
    assert_eq!(scene.hear(Server, SYN_ACK, 0, 1, 0, 1_000), 0);
    assert_eq!(scene.hear(Server, SYN_ACK, 90_000, 1, 0, 1_000), mark::REUSED_PORTS | mark::LOST_SEGMENT);
    assert_eq!(scene.hear(Server, SYN_ACK, 90_000, 1, 0, 1_000), ANSWERED_AGAIN);
    assert_eq!(scene.hear(Server, SYN_ACK, 0, 1, 0, 1_000), mark::REUSED_PORTS | ANSWERED_AGAIN);
    assert_eq!(scene.hear(Client, ACK, 1, 1, 0, 1_000), 0);
    assert_eq!(scene.hear(Server, ACK, 1, 1, 500, 1_000), 0);
    assert_eq!(scene.hear(Client, ACK, 1, 501, 0, 1_000), 0);
}

#[test]
fn what_follows_a_fragmented_segment_is_not_held_against_what_was_before_it() {
    let mut scene = Scene::new();
    scene.shake_hands();
    assert_eq!(scene.hear(Server, ACK, 1, 1, 500, 1_000), 0);
    scene.fragment = Fragment::First;
    assert_eq!(scene.hear(Server, ACK, 501, 1, 1_480, 1_000), 0);
    scene.fragment = Fragment::Whole;
    assert_eq!(
        scene.hear(Client, ACK, 1, 4_001, 0, 1_000),
        0,
        "it was not captured as a whole, and it was sent"
    );
    assert_eq!(scene.hear(Server, ACK, 4_001, 1, 500, 1_000), 0);
    assert_eq!(scene.hear(Server, ACK, 5_001, 1, 500, 1_000), mark::LOST_SEGMENT);
}

#[test]
fn a_syn_that_crosses_another_is_not_sent_again_whatever_its_number() {
    for number in [0, 4, 900] {
        let mut scene = Scene::new();
        scene.hear(Client, SYN, 0, 0, 0, 1_000);
        assert_eq!(
            scene.hear(Server, SYN, number, 0, 0, 1_000),
            mark::SIMULTANEOUS_OPEN,
            "4 is sequence number 0"
        );
        let again = mark::RETRANSMISSION | mark::SYN_RETRANSMISSION;
        assert_eq!(scene.hear(Server, SYN, number, 0, 0, 1_000), again);
    }
}

#[test]
fn a_syn_ack_behind_the_ack_of_it_is_the_first_one() {
    let mut scene = Scene::new();
    scene.hear(Client, SYN, 0, 0, 0, 1_000);
    assert_eq!(scene.hear(Client, ACK, 1, 1, 0, 1_000), 0);
    assert_eq!(scene.hear(Server, SYN_ACK, 0, 1, 0, 1_000), 0, "overtaken");
    assert_eq!(scene.hear(Server, ACK, 1, 1, 100, 1_000), 0);
    assert_eq!(scene.hear(Server, ACK, 201, 1, 100, 1_000), mark::LOST_SEGMENT, "its number is known");
    assert_eq!(scene.hear(Server, SYN_ACK, 0, 1, 0, 1_000), ANSWERED_AGAIN);
}

#[test]
fn an_answer_after_a_refusal_is_the_first_one() {
    let mut scene = Scene::new();
    scene.hear(Client, SYN, 0, 0, 0, 1_000);
    assert_eq!(scene.hear(Server, tcp_flag::RST | ACK, 0, 1, 0, 0), mark::RESET_REFUSED);
    scene.hear(Client, SYN, 0, 0, 0, 1_000);
    assert_eq!(scene.hear(Server, SYN_ACK, 9_000, 1, 0, 1_000), 0);
    assert_eq!(scene.hear(Server, SYN_ACK, 9_000, 1, 0, 1_000), ANSWERED_AGAIN);
}

#[test]
fn a_syn_ack_that_answers_another_syn_acknowledges_what_was_not_captured() {
    let mut scene = Scene::new();
    scene.hear(Client, SYN, 0, 0, 0, 1_000);
    assert_eq!(scene.hear(Server, SYN_ACK, 700, 1 << 28, 0, 1_000), mark::ACKED_UNSEEN);
    assert_eq!(scene.hear(Server, SYN_ACK, 0, 1, 0, 1_000), 0, "this one answers");
}

#[test]
fn a_syn_that_a_connection_began_with_is_sent_again_when_the_attempt_is_forgotten() {
    let mut scene = Scene::new();
    scene.hear(Client, ACK, 1, 1, 100, 1_000);
    scene.hear(Server, ACK, 1, 101, 100, 1_000);
    let again = mark::RETRANSMISSION | mark::SYN_RETRANSMISSION;
    assert_eq!(scene.hear(Client, SYN, 0, 0, 0, 1_000), again);
    assert_eq!(scene.hear(Client, ACK, 101, 101, 100, 1_000), 0, "the connection goes on");
    assert_eq!(scene.hear(Client, SYN, 5_000, 0, 0, 1_000), mark::REUSED_PORTS);
}

#[test]
fn records_have_what_came_before_and_behind_the_connection() {
    let mut scene = Scene::new();
    scene.hear(Client, SYN, 0, 0, 0, 1_000);
    scene.hear(Server, SYN_ACK, 0, 1, 0, 1_000);
    scene.hear(Server, ACK, 1, 1, 100, 1_000);
    scene.hear(Server, tcp_flag::RST, 101, 0, 0, 0);
    assert_eq!(scene.hear(Server, tcp_flag::RST, 101, 0, 0, 0), mark::RESET_OUT_OF_STATE);
    scene.between(40_001, Client, SYN, 0, 0, 0, 1_000);
    scene.between(40_001, Server, tcp_flag::RST | ACK, 0, 1, 0, 0);
    let now_ns = scene.now_ms * 1_000_000;
    let mut records = scene.follower.finish(now_ns, Stamp::from_ns(now_ns)).told;
    records.sort_by_key(|record| record.number);
    let counts: Vec<_> = records.iter().map(|told| (told.forward.packets, told.reverse.packets)).collect();
    assert_eq!(counts, [(1, 4), (1, 1)]);
    assert_eq!((records[0].number, records[0].first_ns), (1, 1_005_000_000), "its SYN");
    assert_eq!(records[0].last_ns, 1_025_000_000, "the last RST");
    assert_eq!((records[1].first_ns, records[1].last_ns), (1_030_000_000, 1_035_000_000));
}

#[test]
fn records_count_what_of_the_handshake_came_late() {
    let mut scene = Scene::new();
    scene.hear(Client, SYN, 0, 0, 0, 1_000);
    scene.hear(Server, SYN_ACK, 0, 1, 0, 1_000);
    scene.hear(Client, ACK, 1, 1, 0, 1_000);
    assert_eq!(scene.hear(Server, SYN_ACK, 0, 1, 0, 1_000), ANSWERED_AGAIN);
    assert_eq!(scene.hear(Client, SYN, 0, 0, 0, 1_000), mark::RETRANSMISSION | mark::SYN_RETRANSMISSION);
    let now_ns = scene.now_ms * 1_000_000;
    let records = scene.follower.finish(now_ns, Stamp::from_ns(now_ns)).told;
    let handshake = records[0].handshake.unwrap();
    assert_eq!((records[0].forward.packets, records[0].reverse.packets), (3, 2));
    assert_eq!((handshake.syn_retransmission, handshake.syn_ack_retransmission), (1, 1));
}

#[test]
fn a_refused_syn_that_comes_again_has_a_record_for_each() {
    let mut scene = Scene::new();
    for _ in 0..2 {
        scene.hear(Client, SYN, 0, 0, 0, 1_000);
        assert_eq!(scene.hear(Server, tcp_flag::RST | ACK, 0, 1, 0, 0), mark::RESET_REFUSED);
    }
    let again = mark::RETRANSMISSION | mark::SYN_RETRANSMISSION;
    assert_eq!(scene.hear(Client, SYN, 0, 0, 0, 1_000), again);
    scene.hear(Server, SYN_ACK, 9_000, 1, 0, 1_000);
    scene.hear(Client, ACK, 1, 9_001, 0, 1_000);
    let now_ns = scene.now_ms * 1_000_000;
    let mut records = scene.follower.finish(now_ns, Stamp::from_ns(now_ns)).told;
    records.sort_by_key(|record| record.number);
    let counts: Vec<_> = records.iter().map(|told| (told.forward.packets, told.reverse.packets)).collect();
    assert_eq!(counts, [(1, 1), (1, 1), (2, 1)]);
}
