//! A known delay: round trips by each method, against the box's record and against `ss`.

use std::time::Duration;

use serde_json::Value;
use tidegauge_tests::middlebox::{Impairment, Way};
use tidegauge_tests::netns::Side;

use crate::scene::scene;
use crate::traffic::{Ss, connect, listen};

/// Each way.
const DELAY: Duration = Duration::from_millis(20);
const ROUND_TRIP_MS: f64 = 40.0;
const QUESTIONS: u32 = 60;
/// Histograms tell the lower bound of a bucket that is at most a sixteenth wide.
const BUCKET: f64 = 1.0 / 16.0;
/// Stacks, the test's own threads and a busy machine, each way: median and minimum do not see more.
const HOST_MS: f64 = 2.0;

/// The round trip to the far end, by methods that time it: 40 ms, and what the box was late at most.
fn assert_far(what: &str, median_ms: f64, late_ms: f64) {
    let expected = ROUND_TRIP_MS * (1.0 - BUCKET)..=ROUND_TRIP_MS + late_ms + 2.0 * HOST_MS;
    assert!(expected.contains(&median_ms), "{what}: {median_ms} ms, expected {expected:?}");
}

/// The round trip through the near end's own stack.
fn assert_near(what: &str, median_ms: f64) {
    assert!(median_ms <= HOST_MS, "{what}: {median_ms} ms");
}

#[test]
fn round_trips_are_the_imposed_delay_by_every_method() {
    let test = "round_trips_are_the_imposed_delay_by_every_method";
    let played = scene(test, |lab, boxed| {
        for way in [Way::ToServer, Way::ToClient] {
            boxed.set(way, Impairment { delay: DELAY, ..Impairment::default() });
        }
        let listener = listen(lab);
        let connections: Vec<_> = (0..5).map(|_| connect(lab, &listener)).collect();
        std::thread::scope(|scope| {
            for connection in &connections {
                scope.spawn(|| connection.ask(QUESTIONS));
            }
        });
        let told = [Side::Client, Side::Server].map(|side| Ss::of(lab, side));
        connections.into_iter().for_each(crate::traffic::Connection::close);
        told
    });
    let Some((seen, told)) = played else { return };
    let late_ms = [Way::ToServer, Way::ToClient]
        .map(|way| seen.record.of(way).late_max.as_secs_f64() * 1e3)
        .into_iter()
        .sum::<f64>();
    println!("{test}: the box was late by at most {late_ms:.3} ms, both ways together");
    for (side, ss) in [(Side::Client, &told[0]), (Side::Server, &told[1])] {
        for (name, of) in [("minrtt", 0), ("rtt", 0)] {
            for value in ss.values(name) {
                println!("{side:?}: ss {name} {} ms", value[of]);
                assert!(
                    (ROUND_TRIP_MS..ROUND_TRIP_MS + late_ms + 2.0 * HOST_MS).contains(&value[of]),
                    "{side:?}: ss {name} {value:?}"
                );
            }
        }
        for (engine, summary) in [("kernel", &seen.end(side).live), ("userspace", &seen.end(side).read)] {
            let median = |method: &str| p50(summary, method);
            let all = ["handshake_listener", "handshake_peer", "timestamps_listener", "timestamps_peer"];
            let medians = all.map(median);
            println!("{side:?}, {engine}: {all:?} {medians:?}");
            let [asked, answered, echoed, echoed_by_peer] = medians;
            match side {
                Side::Client => {
                    assert_far("client: SYN to SYN-ACK", asked, late_ms);
                    assert_near("client: SYN-ACK to ACK", answered);
                    assert_far("client: echo of the listener", echoed, late_ms);
                    assert_near("client: echo of its own stack", echoed_by_peer);
                }
                Side::Server => {
                    assert_near("server: SYN to SYN-ACK", asked);
                    assert_far("server: SYN-ACK to ACK", answered, late_ms);
                    assert_near("server: echo of its own stack", echoed);
                    assert_far("server: echo of the peer", echoed_by_peer, late_ms);
                }
            }
        }
        crate::engines::assert_equal_engines(seen.end(side));
    }
}

fn p50(summary: &Value, method: &str) -> f64 {
    let times = &summary["rtt_ms"]["by_method"][method];
    assert!(times["count"].as_u64().is_some_and(|count| count != 0), "{method}: {times}");
    times["p50"].as_f64().unwrap_or_else(|| panic!("{method}: {times}"))
}
