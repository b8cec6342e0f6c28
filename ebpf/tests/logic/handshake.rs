//! Handshake truth: asked, answered, refused, completed, and whose it was.

use tidegauge_ebpf::counter::Counter;
use tidegauge_ebpf::limits::FLOW_WAYS;
use tidegauge_ebpf::listener::ListenerCounter;

use crate::scene::{ACK, CLIENT, End, FIN, PSH, RST, SERVER, SYN, Scene, Talk};

/// A listener whose port is above its client's: port numbers alone point at the wrong end.
const HIGH_SERVER: End = End { address: [10, 0, 0, 2], port: 50_000 };

#[test]
fn a_complete_handshake_is_attempted_answered_and_completed() {
    let (mut scene, mut talk) = (Scene::new(), Talk::new());
    talk.shake_hands(&mut scene);
    assert_eq!(scene.judged(), [("attempted", 1), ("answered", 1), ("completed", 1)]);
    assert_eq!(scene.get(Counter::FlowsAdmitted), 1);
    assert_eq!(scene.counters().handshake_us.count(), 1);
    assert_eq!(scene.of(SERVER, ListenerCounter::Completed), 1);
    assert_eq!(scene.row(SERVER).known, 1);
    assert_eq!(scene.waiting(), 0);
}

#[test]
fn a_syn_sent_again_is_the_same_attempt() {
    let (mut scene, mut talk) = (Scene::new(), Talk::new());
    let syn = talk.client(SYN, 0);
    for _ in 0..3 {
        scene.hear(&syn);
        scene.wait_ms(1_000);
    }
    scene.hear(&talk.server(SYN | ACK, 0));
    scene.hear(&talk.client(ACK, 0));
    assert_eq!(
        scene.judged(),
        [("attempted", 1), ("syn_retransmission", 2), ("answered", 1), ("completed", 1)]
    );
}

#[test]
fn an_answer_sent_again_is_one_answer() {
    let (mut scene, mut talk) = (Scene::new(), Talk::new());
    scene.hear(&talk.client(SYN, 0));
    let answer = talk.server(SYN | ACK, 0);
    scene.hear(&answer);
    scene.hear(&answer);
    scene.hear(&talk.client(ACK, 0));
    scene.hear(&answer);
    assert_eq!(scene.judged(), [("attempted", 1), ("answered", 1), ("completed", 1)]);
}

#[test]
fn an_answer_that_was_forgotten_and_given_anew_is_the_one_that_is_completed() {
    let (mut scene, mut talk) = (Scene::new(), Talk::new());
    scene.hear(&talk.client(SYN, 0));
    scene.hear(&talk.server(SYN | ACK, 0));
    scene.wait_ms(1_000);
    // The first answer was lost on its way; the responder chooses another number for the next one.
    talk.server.next = 500_000;
    scene.hear(&talk.server(SYN | ACK, 0));
    scene.hear(&talk.client(ACK, 0));
    assert_eq!(scene.judged(), [("attempted", 1), ("answered", 1), ("completed", 1)]);
}

#[test]
fn a_reset_in_place_of_an_answer_is_refused_by_the_one_who_was_asked() {
    for server in [SERVER, HIGH_SERVER] {
        let (mut scene, mut talk) = (Scene::new(), Talk::between(CLIENT, server));
        scene.hear(&talk.client(SYN, 0));
        scene.hear(&talk.server(RST | ACK, 0));
        assert_eq!(scene.judged(), [("attempted", 1), ("refused", 1)]);
        assert_eq!((scene.flows(), scene.waiting()), (0, 0));
        assert_eq!(scene.of(server, ListenerCounter::Refused), 1, "port {}", server.port);
    }
}

#[test]
fn a_refused_syn_sent_again_is_the_same_attempt_and_may_yet_be_completed() {
    let (mut scene, mut talk) = (Scene::new(), Talk::new());
    let syn = talk.client(SYN, 0);
    let refusal = talk.server(RST | ACK, 0);
    for _ in 0..2 {
        scene.hear(&syn);
        scene.hear(&refusal);
        scene.wait_ms(500);
    }
    assert_eq!(scene.judged(), [("attempted", 1), ("syn_retransmission", 1), ("refused", 1)]);
    assert_eq!(scene.of(SERVER, ListenerCounter::Refused), 1);
    scene.hear(&syn);
    scene.hear(&talk.server(SYN | ACK, 0));
    scene.hear(&talk.client(ACK, 0));
    let counts = [
        ("attempted", 1),
        ("syn_retransmission", 2),
        ("answered", 1),
        ("refused", 1),
        ("refused_answered", 1),
        ("completed", 1),
    ];
    assert_eq!(scene.judged(), counts);
    assert_eq!(scene.of(SERVER, ListenerCounter::Completed), 1);
}

#[test]
fn an_aborted_syn_sent_again_is_not_asked_anew() {
    let (mut scene, mut talk) = (Scene::new(), Talk::new());
    let syn = talk.client(SYN, 0);
    scene.hear(&syn);
    scene.hear(&talk.server(SYN | ACK, 0));
    scene.hear(&talk.server(RST | ACK, 0));
    scene.hear(&syn);
    let counts = [("attempted", 1), ("syn_retransmission", 1), ("answered", 1), ("aborted", 1)];
    assert_eq!(scene.judged(), counts);
    assert_eq!(scene.waiting(), 0);
}

#[test]
fn a_reset_for_another_number_refuses_nothing() {
    let (mut scene, mut talk) = (Scene::new(), Talk::new());
    scene.hear(&talk.client(SYN, 0));
    talk.client.next -= 1;
    scene.hear(&talk.server(RST | ACK, 0));
    assert_eq!(scene.judged(), [("attempted", 1)]);
    assert_eq!(scene.waiting(), 1);
}

#[test]
fn a_reset_after_the_answer_is_aborted_whoever_sends_it() {
    for server in [SERVER, HIGH_SERVER] {
        for by_client in [false, true] {
            let (mut scene, mut talk) = (Scene::new(), Talk::between(CLIENT, server));
            scene.hear(&talk.client(SYN, 0));
            scene.hear(&talk.server(SYN | ACK, 0));
            scene.hear(&if by_client { talk.client(RST, 0) } else { talk.server(RST | ACK, 0) });
            assert_eq!(scene.judged(), [("attempted", 1), ("answered", 1), ("aborted", 1)]);
            assert_eq!(scene.of(server, ListenerCounter::Aborted), 1);
        }
    }
}

#[test]
fn completed_with_the_answer_unseen_is_one_sided() {
    let (mut scene, mut talk) = (Scene::new(), Talk::new());
    scene.hear(&talk.client(SYN, 0));
    talk.server(SYN | ACK, 0);
    scene.hear(&talk.client(ACK, 0));
    assert_eq!(scene.judged(), [("attempted", 1), ("completed_one_sided", 1)]);
    assert_eq!(scene.of(SERVER, ListenerCounter::CompletedOneSided), 1);
}

#[test]
fn an_answer_nobody_asked_for_is_no_attempt() {
    let (mut scene, mut talk) = (Scene::new(), Talk::new());
    scene.hear(&talk.server(SYN | ACK, 0));
    assert_eq!(scene.judged(), [("answered_unasked", 1)]);
    // Nor is one to another number.
    scene.hear(&talk.client(SYN, 0));
    talk.client.next = talk.client.next.wrapping_sub(1);
    scene.hear(&talk.server(SYN | ACK, 0));
    assert_eq!(scene.judged(), [("attempted", 1), ("answered_unasked", 2)]);
}

#[test]
fn an_acknowledgment_of_another_number_completes_nothing() {
    let (mut scene, mut talk) = (Scene::new(), Talk::new());
    scene.hear(&talk.client(SYN, 0));
    scene.hear(&talk.server(SYN | ACK, 0));
    talk.server.next -= 1;
    scene.hear(&talk.client(ACK, 0));
    assert_eq!(scene.judged(), [("attempted", 1), ("answered", 1)]);
}

#[test]
fn data_in_the_syn_completes_like_any_other() {
    let (mut scene, mut talk) = (Scene::new(), Talk::new());
    scene.hear(&talk.client(SYN, 100));
    scene.hear(&talk.server(SYN | ACK, 0));
    scene.hear(&talk.client(ACK, 0));
    assert_eq!(scene.judged(), [("attempted", 1), ("answered", 1), ("completed", 1)]);
}

/// A SYN from an address of its own.
fn spoofed(number: u32) -> Talk {
    let [_, b, c, d] = number.to_be_bytes();
    Talk::between(End { address: [172, b, c, d], port: 1_024 + (number % 60_000) as u16 }, SERVER)
}

#[test]
fn a_spoofed_syn_flood_leaves_no_flow_and_evicts_none() {
    const SPOOFED: u32 = 10_000;
    let (mut scene, mut talk) = (Scene::new(), Talk::new());
    talk.shake_hands(&mut scene);
    for number in 0..SPOOFED {
        let mut spoofed = spoofed(number);
        scene.hear(&spoofed.client(SYN, 0));
        // Half are answered, and some of the real owners of the addresses reset that.
        if number % 2 == 0 {
            scene.hear(&spoofed.server(SYN | ACK, 0));
        }
        if number % 10 == 0 {
            scene.hear(&spoofed.client(RST, 0));
        }
    }
    assert_eq!(scene.flows(), 1);
    assert_eq!(scene.get(Counter::FlowsAdmitted), 1);
    assert_eq!((scene.get(Counter::FlowsEvicted), scene.get(Counter::FlowsRefused)), (0, 0));
    assert_eq!(scene.get(Counter::Attempted), u64::from(SPOOFED) + 1);
    assert_eq!(scene.get(Counter::Aborted), u64::from(SPOOFED / 10));
    // Nothing is lost without being counted.
    let ended = scene.get(Counter::Completed) + scene.get(Counter::Aborted);
    assert_eq!(scene.get(Counter::Attempted), ended + scene.get(Counter::AttemptsLost) + scene.waiting());
    // And the flow that was there is still known: what it sends again is seen as that.
    let data = talk.client(ACK | PSH, 100);
    scene.hear(&data);
    scene.hear(&data);
    assert_eq!(scene.get(Counter::RetransmitOrReordered), 1);
}

#[test]
fn a_flood_of_acknowledgments_evicts_no_proven_flow() {
    let mut scene = Scene::new();
    let mut talk = Talk::new();
    talk.shake_hands(&mut scene);
    for number in 0..2_000 {
        scene.hear(&spoofed(number).client(ACK, 0));
        scene.wait_ms(1);
    }
    let data = talk.client(ACK | PSH, 100);
    scene.hear(&data);
    scene.hear(&data);
    assert_eq!(scene.get(Counter::RetransmitOrReordered), 1);
    assert!(scene.get(Counter::FlowsRefused) > 0);
}

#[test]
fn a_completed_handshake_displaces_an_unproven_flow_and_is_counted() {
    let mut scene = Scene::new();
    for number in 0..2_000 {
        scene.hear(&spoofed(number).client(ACK, 0));
    }
    assert_eq!(scene.flows(), 16 * FLOW_WAYS);
    Talk::new().shake_hands(&mut scene);
    assert_eq!((scene.get(Counter::Completed), scene.get(Counter::FlowsEvicted)), (1, 1));
}

#[test]
fn ports_used_again_are_a_new_attempt_and_a_new_flow() {
    let (mut scene, mut talk) = (Scene::new(), Talk::new());
    talk.shake_hands(&mut scene);
    talk.close(&mut scene);
    let mut again = Talk::new();
    again.client.next = 77_000;
    again.server.next = 88_000;
    again.shake_hands(&mut scene);
    scene.hear(&again.client(ACK | PSH, 100));
    assert_eq!(scene.judged(), [("attempted", 2), ("answered", 2), ("completed", 2)]);
    assert_eq!(scene.flows(), 1);
}

#[test]
fn ports_used_again_while_the_end_of_the_first_was_not_seen() {
    let (mut scene, mut talk) = (Scene::new(), Talk::new());
    talk.shake_hands(&mut scene);
    let mut again = Talk::new();
    again.client.next = 77_000;
    again.server.next = 88_000;
    again.shake_hands(&mut scene);
    scene.hear(&again.client(ACK | PSH, 100));
    assert_eq!(scene.judged(), [("attempted", 2), ("answered", 2), ("completed", 2)]);
}

#[test]
fn ports_used_again_and_refused_while_the_end_of_the_first_was_not_seen() {
    let (mut scene, mut talk) = (Scene::new(), Talk::new());
    talk.shake_hands(&mut scene);
    talk.client.next = 77_000;
    scene.hear(&talk.client(SYN, 0));
    scene.hear(&talk.server(RST | ACK, 0));
    assert_eq!(scene.judged(), [("attempted", 2), ("answered", 1), ("refused", 1), ("completed", 1)]);
}

#[test]
fn ports_used_again_in_a_one_sided_view() {
    let mut scene = Scene::new();
    for start in [1_000, 77_000] {
        let mut talk = Talk::new();
        talk.client.next = start;
        scene.hear(&talk.client(SYN, 0));
        talk.server(SYN | ACK, 0);
        scene.hear(&talk.client(ACK, 0));
        scene.hear(&talk.client(ACK | PSH, 100));
        scene.hear(&talk.client(FIN | ACK, 0));
    }
    assert_eq!(scene.judged(), [("attempted", 2), ("completed_one_sided", 2)]);
}

#[test]
fn a_reset_of_an_older_connection_leaves_the_attempt_waiting() {
    let (mut scene, mut talk) = (Scene::new(), Talk::new());
    let syn = talk.client(SYN, 0);
    scene.hear(&syn);
    // The server's ACK of another connection is reset by the number that it acknowledged.
    let mut older = Talk::new();
    older.client.next = 800_000_000;
    scene.hear(&older.client(RST, 0));
    scene.hear(&syn);
    scene.hear(&talk.server(SYN | ACK, 0));
    scene.hear(&talk.client(ACK, 0));
    let expected = [("attempted", 1), ("syn_retransmission", 1), ("answered", 1), ("completed", 1)];
    assert!(expected.iter().all(|counted| scene.judged().contains(counted)), "{:?}", scene.judged());
    assert_eq!(scene.get(Counter::Aborted), 0);
}

#[test]
fn attempts_without_an_answer_wait_for_three_seconds() {
    let (mut scene, mut talk) = (Scene::new(), Talk::new());
    scene.hear(&talk.client(SYN, 0));
    scene.wait_ms(2_900);
    assert_eq!(scene.waiting(), 1);
    scene.wait_ms(200);
    assert_eq!(scene.waiting(), 0);
}

#[test]
fn an_attack_on_oneself_with_equal_ends_is_an_attempt_and_no_more() {
    let (mut scene, mut talk) = (Scene::new(), Talk::between(SERVER, SERVER));
    scene.hear(&talk.client(SYN, 0));
    scene.hear(&talk.client(SYN | ACK, 0));
    scene.hear(&talk.client(ACK, 0));
    assert_eq!(scene.get(Counter::Attempted), 1);
    assert_eq!(scene.get(Counter::Answered), 0);
}
