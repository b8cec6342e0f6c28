//! Receive windows against tshark, which scales them itself: of a receiver with a small buffer that stops reading.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;
use socket2::SockRef;
use tidegauge_tests::netns::Side;

use crate::engines::assert_equal_engines;
use crate::scene::{opposite, scene};
use crate::traffic::{connect, listen};
use crate::tshark::{Windows, assert_tshark_agrees};

const RECEIVE_BUFFER_BYTES: usize = 16 << 10;
const BYTES: usize = 400_000;
/// Long enough for several zero-window probes, the first after 200 ms.
const PAUSE: Duration = Duration::from_millis(1_500);

/// Lower bounds of buckets a sixteenth wide.
fn assert_quantile(name: &str, seen: &Value, told: u64) {
    let seen = seen.as_u64().unwrap();
    assert!(seen <= told && told <= seen + seen / 16 + 1, "{name}: {seen}, tshark {told}");
}

fn check(test: &str, receiver: Side) {
    let played = scene(test, |lab, _| {
        let listener = listen(lab);
        // What is accepted inherits it, and what is connected has it in time for its first windows.
        SockRef::from(&listener).set_recv_buffer_size(RECEIVE_BUFFER_BYTES).unwrap();
        let connection = connect(lab, &listener);
        let (from, to) = connection.from(opposite(receiver));
        SockRef::from(to).set_recv_buffer_size(RECEIVE_BUFFER_BYTES).unwrap();
        read_late(from, to);
        connection.close();
    });
    let Some((seen, ())) = played else { return };
    for side in [Side::Client, Side::Server] {
        let end = seen.end(side);
        let told = Windows::of(&end.capture);
        println!("{test}, {side:?}: {told:?}; live {}", end.live["rwnd_bytes"]);
        let (windows, tcp) = (&end.live["rwnd_bytes"], &end.live["tcp"]);
        let counted = [&windows["count"], &windows["low"], &tcp["zero_window"]].map(Value::as_u64);
        assert_eq!(counted, [told.count, told.low, told.zero].map(Some), "{side:?}: {tcp}");
        assert!(told.zero > 2 && told.low > told.zero, "a scene worth the name: {told:?}");
        assert_quantile("p1", &windows["p1"], told.p1);
        assert_quantile("p50", &windows["p50"], told.p50);
        assert_eq!(windows["scale_unknown"], 0);
        assert_tshark_agrees(end);
        assert_equal_engines(end);
    }
}

/// Writes until all is read; the reader begins after a pause, and then reads little at a time.
fn read_late(mut from: &TcpStream, mut to: &TcpStream) {
    std::thread::scope(|scope| {
        scope.spawn(move || from.write_all(&vec![b'.'; BYTES]).unwrap());
        std::thread::sleep(PAUSE);
        let mut left = BYTES;
        let mut chunk = [0; 4_096];
        while left > 0 {
            let most = left.min(chunk.len());
            left -= to.read(&mut chunk[..most]).unwrap();
            if left % (64 << 10) < chunk.len() {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    });
}

#[test]
fn windows_on_the_way_out_of_the_server_are_tsharks() {
    check("windows_on_the_way_out_of_the_server_are_tsharks", Side::Server);
}

#[test]
fn windows_on_the_way_in_to_the_server_are_tsharks() {
    check("windows_on_the_way_in_to_the_server_are_tsharks", Side::Client);
}
