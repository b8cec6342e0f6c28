//! The full judgement as small scenes: a connection, what both ends send, and what each segment was.

use proptest::prelude::*;
use tidegauge_ebpf::attempt::Handshake;
use tidegauge_ebpf::event::Outcome;
use tidegauge_ebpf::flow::Side;
use tidegauge_ebpf::packet::{Segment, UNKNOWN_SHIFT};
use tidegauge_ebpf::stamp::Stamp;
use tidegauge_ebpf::tcp::connection::{Connection, Story, Tally, clock_us, flag};
use tidegauge_ebpf::tcp::opening::Opening;
use tidegauge_ebpf::tcp::options::Sack;
use tidegauge_ebpf::tcp::{Judged, Seen, mark};

use crate::scene::{ACK, FIN, PSH, RST};

/// Sent again though it was acknowledged.
const SPURIOUS: u32 = mark::RETRANSMISSION | mark::SPURIOUS_RETRANSMISSION;
const CLIENT: Side = Side::Low;
const SERVER: Side = Side::High;
/// From SYN to ACK, in a scene's handshake.
const ROUND_TRIP_US: u64 = 10_000;

/// A connection whose numbers begin at `base`, and a clock.
struct Scene {
    connection: Connection,
    story: Story,
    base: u32,
    now_us: u64,
    packets: u32,
}

impl Scene {
    /// A connection from mid-stream.
    fn from_the_middle(base: u32) -> Self {
        let (mut connection, mut story) = (Connection::default(), Story::default());
        connection.begin(7, 1);
        story.begin(1_000_000_000, 1);
        Self { connection, story, base, now_us: 1_000_000, packets: 0 }
    }

    /// A connection after its handshake, windows not scaled; the server's first window is 1,000 bytes.
    fn established(base: u32) -> Self {
        let mut scene = Self::from_the_middle(base);
        let asked = Stamp::from_ns((scene.now_us - ROUND_TRIP_US) * 1_000);
        let handshake = Handshake {
            happened: true,
            initiator: CLIENT as u8,
            initiator_shift: 0,
            responder_shift: 0,
            answer_seen: true,
            asked,
            answered_after: 1_000,
            answer_precise: true,
        };
        let opening = Opening {
            sequences: [base.wrapping_sub(1), base.wrapping_sub(1)],
            windows: [1_000, 1_000],
            acknowledgments: [None, Some(base)],
            ..Opening::default()
        };
        let elapsed = Stamp::from_ns(scene.now_us * 1_000).since(asked);
        scene.connection.establish(
            &mut scene.story,
            &handshake,
            &opening,
            elapsed,
            clock_us(scene.now_us * 1_000),
        );
        scene.hear(CLIENT, ACK, 0, 0, 0, 1_000);
        scene
    }

    fn wait_us(&mut self, us: u64) -> &mut Self {
        self.now_us += us;
        self
    }

    /// A segment; numbers are distances from the base.
    fn hear(&mut self, sender: Side, flags: u8, seq: u32, ack: u32, bytes: u32, window: u16) -> Judged {
        self.packets += 1;
        let print = self.packets;
        self.hear_printed(sender, flags, seq, ack, bytes, window, print)
    }

    #[expect(clippy::too_many_arguments, reason = "a segment has as many numbers")]
    fn hear_printed(
        &mut self,
        sender: Side,
        flags: u8,
        seq: u32,
        ack: u32,
        bytes: u32,
        window: u16,
        print: u32,
    ) -> Judged {
        self.now_us += 10;
        let segment = Segment {
            sequence: self.base.wrapping_add(seq),
            acknowledgment: self.base.wrapping_add(ack),
            payload_bytes: bytes,
            window,
            timestamp: 0,
            echo: 0,
            flags,
            shift: UNKNOWN_SHIFT,
        };
        let now_ns = self.now_us * 1_000;
        let seen = Seen {
            segment: &segment,
            sack: Sack::default(),
            now_ns,
            now: Stamp::from_ns(now_ns),
            segments: 1,
            wire_bytes: u64::from(bytes) + 54,
            print,
        };
        let mut judged = Judged::default();
        self.connection.judge(&mut self.story, sender, &seen, &mut Outcome::default(), &mut judged);
        judged
    }

    fn client(&mut self, seq: u32, bytes: u32) -> u32 {
        self.hear(CLIENT, ACK | PSH, seq, 0, bytes, 1_000).marks
    }

    /// A pure ACK of the server.
    fn server_ack(&mut self, ack: u32, window: u16) -> Judged {
        self.hear(SERVER, ACK, 0, ack, 0, window)
    }
}

/// Numbers of everyday, and such that come round in the middle of the scene.
fn bases() -> [u32; 3] {
    [1_000, u32::MAX - 150, u32::MAX - 50]
}

#[test]
fn payload_in_order_is_nothing_but_payload_and_its_ack_ends_a_round_trip() {
    for base in bases() {
        let mut scene = Scene::established(base);
        assert_eq!(scene.client(0, 100), 0);
        let judged = scene.wait_us(5_000).server_ack(100, 1_000);
        assert_eq!((judged.marks, judged.acknowledged, judged.round_trip_us), (0, true, 5_010));
        assert_eq!(scene.story.details[0].round_trip_min_us, 5_010);
    }
}

#[test]
fn an_ack_of_everything_times_the_newest_segment_and_one_of_less_the_first() {
    let mut scene = Scene::established(1_000);
    scene.client(0, 100);
    scene.wait_us(4_000).client(100, 100);
    assert_eq!(scene.wait_us(1_000).server_ack(200, 1_000).round_trip_us, 1_010);
    assert!(!scene.server_ack(200, 1_000).acknowledged, "once");
    scene.client(200, 100);
    scene.wait_us(4_000).client(300, 100);
    assert_eq!(scene.wait_us(1_000).server_ack(300, 1_000).round_trip_us, 5_020);
    assert_eq!(
        scene.wait_us(1_000).server_ack(400, 1_000).round_trip_us,
        2_020,
        "the newest, none being timed"
    );
    scene.client(400, 100);
    scene.wait_us(40_000).client(400, 100);
    assert!(!scene.server_ack(500, 1_000).acknowledged, "sent twice");
    scene.client(500, 100);
    scene.now_us -= 100;
    assert!(!scene.server_ack(600, 1_000).acknowledged, "captured as if it were earlier");
}

#[test]
fn bytes_that_were_missing_are_not_sent_again_when_they_come() {
    for base in bases() {
        let mut scene = Scene::established(base);
        scene.client(0, 100);
        assert_eq!(scene.client(200, 100), mark::LOST_SEGMENT);
        assert_eq!(scene.client(100, 100), mark::OUT_OF_ORDER);
        assert_eq!(scene.story.details[0].resent_bytes, 0, "overtaken");
        assert_eq!(scene.wait_us(50_000).client(100, 100), mark::RETRANSMISSION);
        assert_eq!(scene.story.details[0].resent_bytes, 100, "it is there already");
        scene.client(400, 100);
        scene.server_ack(500, 1_000);
        assert_eq!(scene.client(500, 100), 0);
        assert_eq!(scene.wait_us(50_000).client(300, 100), SPURIOUS);
        assert_eq!(scene.story.details[0].resent_bytes, 200, "the receiver had what we did not capture");
    }
}

#[test]
fn a_packet_captured_again_as_if_it_were_earlier_is_a_copy_too() {
    let mut scene = Scene::established(1_000);
    scene.hear_printed(CLIENT, ACK, 0, 0, 100, 1_000, 99);
    scene.now_us -= 500;
    assert_eq!(scene.hear_printed(CLIENT, ACK, 0, 0, 100, 1_000, 99).marks, mark::CAPTURED_TWICE);
    scene.now_us -= 50_000;
    assert_ne!(scene.hear_printed(CLIENT, ACK, 0, 0, 100, 1_000, 99).marks, mark::CAPTURED_TWICE);
}

#[test]
fn where_time_runs_backwards_what_is_near_was_overtaken_and_what_is_far_was_sent_again() {
    for (back_us, expected) in [(2_000, mark::OUT_OF_ORDER), (50_000, mark::RETRANSMISSION)] {
        let mut scene = Scene::established(1_000);
        scene.client(0, 100);
        scene.client(100, 100);
        scene.now_us -= back_us;
        assert_eq!(scene.client(0, 100), expected, "{back_us} us back");
    }
}

#[test]
fn bytes_sent_again_late_are_a_retransmission_and_soon_overtaken() {
    for base in bases() {
        let mut scene = Scene::established(base);
        scene.client(0, 100);
        scene.client(100, 100);
        assert_eq!(scene.client(0, 100), mark::OUT_OF_ORDER, "within a round trip");
        assert_eq!(scene.wait_us(ROUND_TRIP_US).client(100, 100), mark::RETRANSMISSION);
        assert_eq!(scene.story.details[0].get(Tally::Retransmission), 1);
        assert!(!scene.server_ack(200, 1_000).acknowledged, "nobody knows which copy it is for");
    }
}

#[test]
fn three_duplicate_acks_make_a_retransmission_a_fast_one() {
    for base in bases() {
        let mut scene = Scene::established(base);
        scene.client(0, 100);
        assert_eq!(scene.client(200, 100), mark::LOST_SEGMENT);
        assert_eq!(scene.server_ack(100, 1_000).marks, 0);
        for number in 1..=3 {
            let judged = scene.server_ack(100, 1_000);
            assert_eq!((judged.marks, judged.duplicate_ack), (mark::DUPLICATE_ACK, number));
        }
        let again = mark::RETRANSMISSION | mark::FAST_RETRANSMISSION;
        assert_eq!(scene.wait_us(15_000).client(100, 100), again);
        assert_eq!(scene.server_ack(300, 1_000).duplicate_ack, 0);
    }
}

#[test]
fn what_was_acknowledged_and_comes_again_is_spurious() {
    let mut scene = Scene::established(1_000);
    scene.client(0, 100);
    scene.server_ack(100, 1_000);
    assert_eq!(scene.wait_us(50_000).client(0, 100), mark::RETRANSMISSION | mark::SPURIOUS_RETRANSMISSION);
}

#[test]
fn a_closed_window_is_probed_and_opens() {
    for base in bases() {
        let mut scene = Scene::established(base);
        scene.client(0, 100);
        assert_eq!(scene.server_ack(100, 0).marks, mark::ZERO_WINDOW);
        assert_eq!(scene.client(100, 1), mark::ZERO_WINDOW_PROBE);
        let probed = mark::ZERO_WINDOW | mark::ZERO_WINDOW_PROBE_ACK;
        assert_eq!(scene.server_ack(100, 0).marks, probed);
        assert_eq!(scene.server_ack(100, 500).marks, mark::WINDOW_UPDATE);
        assert_eq!(scene.client(100, 500), mark::WINDOW_FULL);
    }
}

#[test]
fn a_window_of_an_end_that_was_never_heard_is_not_closed() {
    let mut scene = Scene::from_the_middle(1_000);
    assert_eq!([scene.client(0, 1), scene.client(1, 1), scene.client(2, 1)], [0; 3]);
}

#[test]
fn keep_alives_are_known_with_and_without_a_byte() {
    for bytes in [0, 1] {
        let mut scene = Scene::established(1_000);
        scene.client(0, 100);
        scene.server_ack(100, 1_000);
        assert_eq!(scene.wait_us(1_000_000).client(99, bytes), mark::KEEP_ALIVE);
        assert_eq!(scene.server_ack(100, 1_000).marks, mark::KEEP_ALIVE_ACK);
    }
}

#[test]
fn an_ack_of_what_was_not_captured_is_said_once() {
    let mut scene = Scene::established(1_000);
    scene.client(0, 100);
    assert_eq!(scene.server_ack(300, 1_000).marks, mark::ACKED_UNSEEN);
    assert_eq!(scene.server_ack(300, 900).marks, mark::WINDOW_UPDATE);
    assert_eq!(scene.client(300, 100), mark::LOST_SEGMENT);
    // Bytes were captured since: the hole before them is acknowledged with them, and all of it is known then.
    assert_eq!(scene.server_ack(400, 900).marks, mark::ACKED_UNSEEN);
    assert_eq!(scene.client(400, 100), 0);
    assert_eq!(scene.server_ack(500, 900).marks, 0);
}

#[test]
fn an_end_that_is_not_captured_is_acknowledged_unseen_once_for_each_of_its_acks() {
    let mut scene = Scene::established(1_000);
    scene.client(0, 100);
    assert_eq!(scene.server_ack(300, 1_000).marks, mark::ACKED_UNSEEN);
    assert_eq!([scene.server_ack(400, 1_000).marks, scene.server_ack(500, 1_000).marks], [0; 2]);
    // The client acknowledges something new: it is there, and its bytes still are not captured.
    scene.hear(SERVER, ACK | PSH, 0, 500, 50, 1_000);
    scene.hear(CLIENT, ACK, 100, 50, 0, 1_000);
    assert_eq!(scene.hear(SERVER, ACK, 50, 600, 0, 1_000).marks, mark::ACKED_UNSEEN);
    assert_eq!(scene.hear(SERVER, ACK, 50, 700, 0, 1_000).marks, 0);
    // Duplicate ACKs are counted from 1 again.
    let duplicate = scene.hear(CLIENT, ACK, 100, 50, 0, 1_000);
    assert_eq!((duplicate.marks, duplicate.duplicate_ack), (mark::DUPLICATE_ACK, 1));
    assert_eq!(scene.hear(SERVER, ACK, 50, 800, 0, 1_000).marks, 0, "it waits for something itself");
}

#[test]
fn an_ack_of_what_was_not_captured_makes_no_fast_retransmission() {
    let mut scene = Scene::established(1_000);
    scene.client(0, 100);
    scene.server_ack(300, 1_000);
    // The client now counts as one that was told; it has sent no duplicate ACK for the server's number.
    scene.hear(SERVER, ACK | PSH, 0, 300, 50, 1_000);
    scene.server_ack(400, 1_000);
    let again = scene.wait_us(ROUND_TRIP_US).hear(SERVER, ACK | PSH, 0, 400, 50, 1_000);
    assert_eq!(again.marks, mark::RETRANSMISSION);
}

#[test]
fn half_way_round_is_after_and_before() {
    for base in bases() {
        let mut scene = Scene::established(base);
        scene.client(0, 100);
        let opposite = scene.wait_us(ROUND_TRIP_US).client(100 + (1 << 31), 1);
        let again = mark::RETRANSMISSION | mark::SPURIOUS_RETRANSMISSION;
        assert_eq!(opposite, mark::LOST_SEGMENT | again);
        assert_eq!(scene.client(100, 100), 0, "what was expected still is");
    }
}

#[test]
fn a_packet_captured_twice_is_that_and_changes_nothing() {
    let mut scene = Scene::established(1_000);
    let first = scene.hear_printed(CLIENT, ACK | PSH, 0, 0, 100, 1_000, 99);
    let before = scene.connection;
    let second = scene.hear_printed(CLIENT, ACK | PSH, 0, 0, 100, 1_000, 99);
    assert_eq!((first.marks, second.marks), (0, mark::CAPTURED_TWICE));
    assert_eq!(scene.connection, before);
    let late = scene.wait_us(20_000).hear_printed(CLIENT, ACK | PSH, 0, 0, 100, 1_000, 99);
    assert_eq!(late.marks, mark::RETRANSMISSION, "no mirror is that slow");
}

#[test]
fn a_connection_closes_half_and_whole() {
    let mut scene = Scene::established(1_000);
    assert_eq!(scene.hear(CLIENT, ACK | FIN, 0, 0, 0, 1_000).marks, mark::HALF_CLOSE);
    assert!(scene.connection.is_open());
    assert_eq!(scene.hear(SERVER, ACK | PSH, 0, 1, 500, 1_000).marks, 0);
    assert_eq!(scene.hear(SERVER, ACK | FIN, 500, 1, 0, 1_000).marks, 0);
    assert!(!scene.connection.is_open());
    assert_eq!(scene.wait_us(300_000).hear(SERVER, ACK | FIN, 500, 1, 0, 1_000).marks, mark::RETRANSMISSION);
}

#[test]
fn a_connection_closed_by_the_only_side_that_was_heard_is_open_when_the_other_one_is() {
    let mut scene = Scene::from_the_middle(1_000);
    scene.hear(SERVER, ACK | FIN, 0, 1, 0, 1_000);
    assert!(!scene.connection.is_open(), "nobody else was heard");
    scene.hear(CLIENT, ACK, 1, 1, 0, 1_000);
    assert!(scene.connection.is_open());
    scene.hear(CLIENT, ACK | FIN, 1, 1, 0, 1_000);
    assert!(!scene.connection.is_open());
}

#[test]
fn a_reset_ends_a_connection_only_with_a_number_that_fits() {
    let mut scene = Scene::established(1_000);
    scene.client(0, 100);
    assert_eq!(scene.hear(CLIENT, RST, 5_000_000, 0, 0, 0).marks, mark::RESET_OUT_OF_STATE);
    assert!(scene.connection.is_open());
    assert_eq!(scene.hear(CLIENT, RST, 100, 0, 0, 0).marks, mark::RESET_ABORTED);
    assert!(scene.connection.flags & flag::CLOSED != 0);
    assert_eq!(scene.hear(SERVER, RST, 0, 0, 0, 0).marks, mark::RESET_OUT_OF_STATE);
}

#[test]
fn a_sender_waits_for_its_application_its_receiver_or_the_network() {
    let mut scene = Scene::established(1_000);
    scene.client(0, 100);
    scene.server_ack(100, 60_000);
    scene.wait_us(200_000).client(100, 100);
    let details = scene.story.details[0];
    assert!(details.application_us >= 200_000 && details.network_us < 1_000, "{details:?}");
    // The window is full, and stays so for a while.
    scene.server_ack(200, 1_000);
    scene.client(200, 1_000);
    scene.wait_us(300_000).server_ack(1_200, 60_000);
    scene.client(1_200, 1_000);
    assert!(scene.story.details[0].receiver_us >= 300_000, "{:?}", scene.story.details[0]);
    // Room, and nothing comes for a while although it is not all acknowledged.
    scene.wait_us(400_000).client(2_200, 1_000);
    assert!(scene.story.details[0].network_us >= 400_000, "{:?}", scene.story.details[0]);
    // All is acknowledged, and there was more to send: it waits in a queue below.
    scene.hear(CLIENT, ACK, 3_200, 0, 1_000, 1_000);
    scene.server_ack(4_200, 60_000);
    scene.wait_us(500_000).client(4_200, 1_000);
    assert!(scene.story.details[0].network_us >= 900_000, "{:?}", scene.story.details[0]);
}

proptest! {
    /// Any segments in any order and with any numbers: no panic, and what is told apart excludes itself.
    #[test]
    fn any_segments_give_marks_that_agree(
        base in any::<u32>(),
        handshake in any::<bool>(),
        segments in proptest::collection::vec(
            (any::<bool>(), any::<u8>(), 0_u32..3_000, 0_u32..3_000, 0_u32..1_500, any::<u16>(), 0_u64..50_000),
            1..200,
        ),
    ) {
        let mut scene = if handshake { Scene::established(base) } else { Scene::from_the_middle(base) };
        for (from_client, flags, seq, ack, bytes, window, wait_us) in segments {
            let sender = if from_client { CLIENT } else { SERVER };
            // SYNs never come here.
            let judged = scene.wait_us(wait_us).hear(sender, flags & !2, seq, ack, bytes, window);
            let has = |mark: u32| judged.marks & mark != 0;
            prop_assert!(!(has(mark::RETRANSMISSION) && has(mark::OUT_OF_ORDER)));
            prop_assert!(!has(mark::FAST_RETRANSMISSION | mark::SPURIOUS_RETRANSMISSION)
                || has(mark::RETRANSMISSION));
            prop_assert!(!(has(mark::DUPLICATE_ACK) && has(mark::WINDOW_UPDATE)));
            prop_assert_eq!(has(mark::DUPLICATE_ACK), judged.duplicate_ack != 0);
            prop_assert!(!has(mark::CAPTURED_TWICE) || judged.marks == mark::CAPTURED_TWICE);
        }
        for (direction, details) in scene.connection.directions.iter().zip(&scene.story.details) {
            prop_assert!(u64::from(details.resent_bytes) <= direction.payload_bytes);
            prop_assert!(details.round_trip_min_us <= details.round_trip_max_us);
        }
    }
}
