//! A transfer as fast as the host can: its sender moves between CPUs, and nothing of it is taken for sent again.
//!
//! No box here, which would be too slow. Where packets come fast the kernel path judges a packet with the next one on its
//! CPU; what one connection sends comes from several, so on the way out each packet is judged at once.

use std::time::Duration;

use tidegauge_tests::middlebox::checksums_as_on_the_wire;
use tidegauge_tests::netns::{SERVER_IFACE, Side};
use tidegauge_tests::skip::lab_or_skip;

use crate::running::{Live, alone};
use crate::scene::watch;
use crate::traffic::{connect_unlimited, listen, nstat};

const BYTES: usize = 400_000_000;
const CONNECTIONS: usize = 5;

#[test]
fn a_fast_transfer_is_judged_in_the_order_in_which_it_was_sent() {
    let test = "a_fast_transfer_is_judged_in_the_order_in_which_it_was_sent";
    let Some(lab) = lab_or_skip(test) else { return };
    let _alone = alone();
    let live = Live::start(&lab, &[SERVER_IFACE, "--source", "xdp"]);
    // A receiver with XDP gets frames that are not merged, and acknowledges more of them: packets come fast here, too.
    let receiver = watch(&lab, Side::Client);
    checksums_as_on_the_wire(&lab).unwrap();
    let listener = listen(&lab);
    for _ in 0..CONNECTIONS {
        let connection = connect_unlimited(&lab, &listener);
        connection.transfer(Side::Server, BYTES);
        connection.close();
    }
    std::thread::sleep(Duration::from_millis(300));
    let told = nstat(&lab, Side::Server, "TcpRetransSegs");
    receiver.interrupt();
    let ended = live.interrupt();
    let tcp = &ended.summary()["tcp"];
    println!("{test}: nstat {told}; {tcp}; {} super-frames", ended.summary()["super_frames"]);
    assert!(ended.summary()["super_frames"].as_u64().unwrap() > 1_000, "a transfer worth the name");
    // A sender leaves no hole. It was the trace of every packet that was judged too late.
    assert_eq!(tcp["lost_segment"], 0, "{tcp}");
}
