//! The packet ring on a real link: all frames with their bytes and times, an idle link, a link that vanishes.
//! Needs root; says so and passes otherwise.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tidegauge_capture::interface::Interface;
use tidegauge_capture::ring::{RingDrops, RingError, RingOptions, RingSource};
use tidegauge_ebpf::link::LinkType;
use tidegauge_tests::known_frames::{frame, send};
use tidegauge_tests::netns::{SERVER_IFACE, Side};
use tidegauge_tests::packet_socket::BATCH_FRAMES;
use tidegauge_tests::skip::lab_or_skip;

const BATCHES: usize = 200;
const FILTER: &str = "ether proto 0x88b5";
/// A loaded machine may take its time.
const PATIENCE: Duration = Duration::from_secs(10);

fn open(options: &RingOptions) -> Result<RingSource, RingError> {
    RingSource::open(&Interface::open(SERVER_IFACE).expect("the lab is there"), options)
}

fn experiment() -> RingOptions {
    RingOptions { filter: Some(FILTER.to_owned()), ..RingOptions::default() }
}

fn now_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970").as_nanos() as u64
}

#[test]
fn known_frames_all_arrive_in_order_with_their_bytes_and_times() {
    let Some(lab) = lab_or_skip("known_frames_all_arrive_in_order_with_their_bytes_and_times") else {
        return;
    };
    let all = (BATCHES * BATCH_FRAMES) as u32;
    let watch = || {
        let mut ring = open(&experiment()).unwrap();
        assert_eq!(ring.link(), Some(LinkType::Ethernet));
        let mut last_ns = now_ns();
        send(&lab, BATCHES);
        let mut number = 0;
        let deadline = Instant::now() + PATIENCE;
        while number < all && Instant::now() < deadline {
            ring.poll(100, |seen| {
                let expected = frame(number);
                assert_eq!((seen.bytes, seen.wire_len as usize), (&expected[..], expected.len()));
                // A millisecond for a clock that is being adjusted.
                assert!(seen.ts_ns + 1_000_000 >= last_ns, "{} after {last_ns}", seen.ts_ns);
                last_ns = seen.ts_ns;
                number += 1;
            })
            .unwrap();
        }
        assert!(last_ns <= now_ns());
        let expected = RingDrops { received: u64::from(all), ..RingDrops::default() };
        assert_eq!((number, ring.drops()), (all, expected));
    };
    lab.inside(Side::Server, watch).unwrap();
}

#[test]
fn a_snap_length_cuts_the_bytes_and_not_the_length() {
    let Some(lab) = lab_or_skip("a_snap_length_cuts_the_bytes_and_not_the_length") else { return };
    let watch = || {
        let mut ring = open(&RingOptions { snaplen_bytes: 54, ..experiment() }).unwrap();
        send(&lab, BATCHES);
        let mut number = 0;
        ring.poll(2_000, |seen| {
            assert_eq!((seen.bytes, seen.wire_len as usize), (&frame(number)[..54], frame(number).len()));
            number += 1;
        })
        .unwrap();
        assert!(number > 0);
    };
    lab.inside(Side::Server, watch).unwrap();
}

#[test]
fn a_full_ring_loses_frames_and_says_how_many() {
    let Some(lab) = lab_or_skip("a_full_ring_loses_frames_and_says_how_many") else { return };
    let watch = || {
        let mut ring = open(&RingOptions { ring_bytes: 256 << 10, ..experiment() }).unwrap();
        send(&lab, BATCHES);
        let mut seen = 0;
        while ring.poll(200, |_| seen += 1).unwrap() != 0 {}
        let drops = ring.drops();
        assert!(drops.dropped_ring > 0, "{drops:?}");
        assert_eq!(seen + drops.dropped_ring, drops.received);
    };
    lab.inside(Side::Server, watch).unwrap();
}

#[test]
fn an_idle_link_gives_nothing_in_time() {
    let Some(lab) = lab_or_skip("an_idle_link_gives_nothing_in_time") else { return };
    let watch = || {
        let mut ring = open(&experiment()).unwrap();
        let start = Instant::now();
        assert_eq!(ring.poll(200, |_| ()).unwrap(), 0);
        let waited = start.elapsed();
        assert!(waited >= Duration::from_millis(190) && waited < PATIENCE, "{waited:?}");
    };
    lab.inside(Side::Server, watch).unwrap();
}

#[test]
fn an_interface_that_vanishes_is_an_error_of_its_own() {
    let Some(lab) = lab_or_skip("an_interface_that_vanishes_is_an_error_of_its_own") else { return };
    let watch = || {
        let mut ring = open(&experiment()).unwrap();
        assert_eq!(ring.poll(10, |_| ()).unwrap(), 0);
        let removed =
            lab.command(Side::Server, "ip").args(["link", "delete", SERVER_IFACE]).status().unwrap();
        assert!(removed.success());
        let deadline = Instant::now() + PATIENCE;
        let ended = loop {
            match ring.poll(100, |_| ()) {
                Err(error) => break error,
                Ok(_) => assert!(Instant::now() < deadline, "the ring did not notice"),
            }
        };
        assert!(matches!(ended, RingError::Vanished { .. }), "{ended}");
        // Asking for the drops of a link that is gone is no error.
        ring.drops();
    };
    lab.inside(Side::Server, watch).unwrap();
}

#[test]
fn a_filter_that_does_not_compile_and_an_interface_that_is_no_more_are_refused() {
    let test = "a_filter_that_does_not_compile_and_an_interface_that_is_no_more_are_refused";
    let Some(lab) = lab_or_skip(test) else { return };
    let watch = || {
        let refused = open(&RingOptions { filter: Some("tcp prot 80".into()), ..RingOptions::default() });
        let Err(error) = refused else { panic!("libpcap took a wrong filter") };
        assert!(matches!(error, RingError::Filter { .. }), "{error}");
        let gone = Interface { name: "gone".into(), index: 9_999, is_loopback: false };
        let Err(error) = RingSource::open(&gone, &RingOptions::default()) else { panic!("opened nothing") };
        assert!(matches!(error, RingError::Open { .. }), "{error}");
    };
    lab.inside(Side::Server, watch).unwrap();
}
