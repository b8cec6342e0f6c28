//! Loss, reordering and doubling: what is sent again.

use std::time::Duration;

use serde_json::Value;
use tidegauge_tests::middlebox::{Act, Impairment, Way};
use tidegauge_tests::netns::Side;

use crate::engines::assert_equal_engines;
use crate::oracle::{expected, sent_again};
use crate::scene::{Seen, opposite, scene};
use crate::traffic::{Ss, connect, listen, nstat};
use crate::tshark::assert_tshark_agrees;

/// Of each connection.
const BYTES: usize = 3_000_000;
const CONNECTIONS: usize = 3;

fn way_from(sender: Side) -> Way {
    match sender {
        Side::Client => Way::ToServer,
        Side::Server => Way::ToClient,
    }
}

/// What the kernel of the sender says it sent again.
struct Told {
    nstat: u64,
    ss: u64,
}

fn play(test: &str, sender: Side, impairment: Impairment) -> Option<(Seen, Told)> {
    scene(test, |lab, boxed| {
        boxed.set(way_from(sender), impairment);
        boxed
            .set(way_from(opposite(sender)), Impairment { delay: impairment.delay, ..Impairment::default() });
        let before = nstat(lab, sender, "TcpRetransSegs");
        let listener = listen(lab);
        let mut ss = 0;
        for _ in 0..CONNECTIONS {
            let connection = connect(lab, &listener);
            connection.transfer(sender, BYTES);
            // Every byte has arrived; its acknowledgment may be on the way, and with it what is sent again needlessly.
            std::thread::sleep(Duration::from_millis(500));
            ss += Ss::of(lab, sender).retransmitted();
            connection.close();
        }
        Told { nstat: nstat(lab, sender, "TcpRetransSegs") - before, ss }
    })
}

fn tcp(summary: &Value, counter: &str) -> u64 {
    summary["tcp"][counter].as_u64().unwrap_or_else(|| panic!("{counter}: {}", summary["tcp"]))
}

fn check(test: &str, sender: Side, impairment: Impairment) {
    let Some((seen, told)) = play(test, sender, impairment) else { return };
    let passages = seen.record.of(way_from(sender));
    let (sent, received) = (expected(passages.sent()), expected(passages.received()));
    println!(
        "{test}: box dropped {}, doubled {}, held back {}; nstat {}, ss {}; sent {sent:?}; received {received:?}",
        passages.count(Act::Dropped),
        passages.count(Act::Doubled),
        passages.count(Act::HeldBack),
        told.nstat,
        told.ss
    );
    let (near, far) = (seen.end(sender), seen.end(opposite(sender)));
    assert_eq!(tcp(&near.live, "retransmit_or_reordered"), told.nstat, "what was sent again, by nstat");
    assert_eq!((told.ss, sent.below, sent.copies), (told.nstat, told.nstat, told.nstat));
    assert_eq!(tcp(&near.live, "lost_segment"), 0);
    assert_eq!(tcp(&far.live, "retransmit_or_reordered"), received.below);
    if passages.count(Act::Doubled) + passages.count(Act::HeldBack) == 0 {
        // A copy whose first was lost fills a hole, which the receiver's side cannot tell from one that was overtaken.
        // Where nothing behind the hole had arrived it is new there: a lost end, or the end of a lost run.
        let again = sent_again(passages);
        println!("{test}: sent again {again:?}");
        assert_eq!(received.below, again.arrived - again.new_to_receiver);
        assert_eq!(told.nstat, again.arrived + again.dropped);
    }
    assert_eq!(tcp(&far.live, "lost_segment"), received.above);
    // Apart from the box's doubles, which only the far end sees, and its drops, which only the near one does.
    let difference = passages.count(Act::Dropped) as i64 - passages.count(Act::Doubled) as i64;
    let segments = |summary: &Value| tcp(summary, "segments") as i64;
    assert_eq!(segments(&near.live) - segments(&far.live), difference);
    for end in [near, far] {
        assert_equal_engines(end);
        assert_tshark_agrees(end);
    }
}

fn lossy(per_mille: u32) -> Impairment {
    Impairment { dropped_per_mille: per_mille, delay: Duration::from_millis(2), ..Impairment::default() }
}

#[test]
fn one_per_cent_lost_from_the_server() {
    check("one_per_cent_lost_from_the_server", Side::Server, lossy(10));
}

#[test]
fn five_per_cent_lost_from_the_server() {
    check("five_per_cent_lost_from_the_server", Side::Server, lossy(50));
}

#[test]
fn one_per_cent_lost_from_the_client() {
    check("one_per_cent_lost_from_the_client", Side::Client, lossy(10));
}

#[test]
fn five_per_cent_lost_from_the_client() {
    check("five_per_cent_lost_from_the_client", Side::Client, lossy(50));
}

#[test]
fn overtaken_and_doubled_segments() {
    let impairment = Impairment {
        delay: Duration::from_millis(2),
        doubled_per_mille: 10,
        overtaken_per_mille: 10,
        overtaken_by: Duration::from_millis(1),
        ..Impairment::default()
    };
    check("overtaken_and_doubled_segments", Side::Server, impairment);
}
