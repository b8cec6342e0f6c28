//! Round trips: of handshakes, and of timestamps that come back.

use tidegauge_ebpf::counter::Counter;
use tidegauge_ebpf::histogram::{Histogram, bucket_of, lower_bound};

use crate::scene::{ACK, PSH, SYN, Scene, Talk};

/// The values of a histogram, each as its bucket's lower bound.
fn values(histogram: &Histogram) -> Vec<u32> {
    let filled = histogram.buckets.iter().enumerate().filter(|(_, count)| **count != 0);
    filled.flat_map(|(bucket, count)| vec![lower_bound(bucket); *count as usize]).collect()
}

/// What a time of so many milliseconds is counted as: stamps are units of 1,024 ns.
fn of_ms(milliseconds: u32) -> u32 {
    let us = (u64::from(milliseconds) * 1_000_000 / 1_024) * 1_024 / 1_000;
    lower_bound(bucket_of(us as u32))
}

/// Both counted values lie in one bucket or in neighbours: the clock's units cut at other places.
fn assert_about(values: &[u32], milliseconds: &[u32]) {
    let expected: Vec<_> = milliseconds.iter().map(|ms| of_ms(*ms)).collect();
    assert_eq!(values.len(), expected.len(), "{values:?} are not {milliseconds:?} ms");
    for (value, expected) in values.iter().zip(&expected) {
        assert!(bucket_of(*value).abs_diff(bucket_of(*expected)) <= 1, "{values:?} are not {expected:?}");
    }
}

#[test]
fn a_handshake_tells_the_way_to_both_ends() {
    let (mut scene, mut talk) = (Scene::new(), Talk::new());
    scene.hear(&talk.client(SYN, 0));
    scene.wait_ms(3);
    scene.hear(&talk.server(SYN | ACK, 0));
    scene.wait_ms(40);
    scene.hear(&talk.client(ACK, 0));
    assert_about(&values(&scene.counters().handshake_us), &[3]);
    assert_about(&values(&scene.counters().handshake_ack_us), &[40]);
}

/// The client and the server are connected, and their clocks of timestamps run.
fn connected() -> (Scene, Talk) {
    let (mut scene, mut talk) = (Scene::new(), Talk::new());
    talk.shake_hands(&mut scene);
    (talk.client.timestamps, talk.server.timestamps) = ((1_000, 500), (501, 1_000));
    (scene, talk)
}

#[test]
fn a_timestamp_that_comes_back_tells_the_way_to_who_echoes_it() {
    let (mut scene, mut talk) = connected();
    scene.hear(&talk.client(ACK | PSH, 100));
    scene.wait_ms(7);
    scene.hear(&talk.server(ACK, 0));
    assert_about(&values(&scene.counters().echo_listener_us), &[7]);
    talk.server.timestamps = (520, 1_000);
    scene.hear(&talk.server(ACK | PSH, 100));
    scene.wait_ms(25);
    talk.client.timestamps = (1_040, 520);
    scene.hear(&talk.client(ACK, 0));
    assert_about(&values(&scene.counters().echo_peer_us), &[25]);
    assert_about(&values(&scene.counters().echo_listener_us), &[7]);
}

#[test]
fn only_the_first_segment_of_a_timestamp_is_timed_and_only_its_first_echo() {
    let (mut scene, mut talk) = connected();
    scene.hear(&talk.client(ACK | PSH, 100));
    scene.wait_ms(2);
    scene.hear(&talk.client(ACK | PSH, 100));
    scene.wait_ms(7);
    scene.hear(&talk.server(ACK, 0));
    scene.wait_ms(7);
    scene.hear(&talk.server(ACK, 0));
    assert_about(&values(&scene.counters().echo_listener_us), &[9]);
}

#[test]
fn a_timestamp_that_is_skipped_is_given_up() {
    let (mut scene, mut talk) = connected();
    scene.hear(&talk.client(ACK | PSH, 100));
    scene.wait_ms(50);
    // The segment was lost: what the server echoes is that of the one after it.
    talk.client.timestamps.0 = 1_050;
    scene.hear(&talk.client(ACK | PSH, 100));
    scene.wait_ms(5);
    talk.server.timestamps.1 = 1_050;
    scene.hear(&talk.server(ACK, 0));
    assert_eq!(values(&scene.counters().echo_listener_us), []);
    talk.client.timestamps.0 = 1_060;
    scene.hear(&talk.client(ACK | PSH, 100));
    scene.wait_ms(11);
    talk.server.timestamps.1 = 1_060;
    scene.hear(&talk.server(ACK, 0));
    assert_about(&values(&scene.counters().echo_listener_us), &[11]);
    assert_eq!(scene.get(Counter::RoundTripsUntimed), 0);
}

#[test]
fn a_pure_acknowledgment_begins_no_round_trip() {
    let (mut scene, mut talk) = connected();
    scene.hear(&talk.client(ACK, 0));
    scene.wait_ms(400);
    scene.hear(&talk.server(ACK | PSH, 100));
    assert_eq!(values(&scene.counters().echo_listener_us), []);
}
