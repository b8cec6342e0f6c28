//! The packet logic on frames of any link type: no panic, and counters that agree with each other.
//!
//! Nothing is known of what a random frame is, but every frame is one thing and no attempt ends twice: the sums
//! below hold for any input. The tables are tiny, so that buckets fill and slots change owners.

use tidegauge_analyzer::track::Shard;
use tidegauge_capture::frame::CapturedFrame;
use tidegauge_ebpf::counter::Counter;
use tidegauge_ebpf::link::LinkType;
use tidegauge_ebpf::listener::{ListenerCounter, ListenerRow};
use tidegauge_ebpf::settings::Settings;

/// Link types that are read, and one that is not. Ethernet more often, as outside.
const DLTS: [u16; 8] = [1, 1, 1, 101, 113, 276, 0, 127];
const BUCKETS: u32 = 2;
/// A frame's own header in the input: link type, length, step of the clock.
const FRAME_HEADER_BYTES: usize = 3;

/// Checks the frames that `input` is cut into.
pub fn check(mut input: &[u8]) {
    let mut shard = Shard::with_buckets(Settings::with_seed(1), BUCKETS, BUCKETS);
    let (mut frames, mut wire_bytes, mut ts_ns) = (0, 0, 0_u64);
    while let Some((&[choice, length, step], rest)) = input.split_first_chunk::<FRAME_HEADER_BYTES>() {
        let (bytes, rest) = rest.split_at(rest.len().min(usize::from(length)));
        input = rest;
        ts_ns = next_ts_ns(ts_ns, step);
        let dlt = DLTS[usize::from(choice) % DLTS.len()];
        // A quarter of the frames was longer than what is captured of it.
        let missing = if choice >> 6 == 3 { u32::from(choice) * u32::from(step) } else { 0 };
        let wire_len = bytes.len() as u32 + missing;
        shard.observe(&CapturedFrame { ts_ns, dlt, link: LinkType::from_dlt(dlt), wire_len, bytes });
        frames += 1;
        wire_bytes += u64::from(wire_len);
    }
    shard.flush();
    let counters = shard.counters();
    assert_eq!((counters.get(Counter::Packets), counters.get(Counter::Bytes)), (frames, wire_bytes));
    check_headers(&shard);
    check_judgements(&shard);
    check_listeners(&shard);
}

/// Mostly microseconds; now and then a timeout's length, or a step back.
fn next_ts_ns(ts_ns: u64, step: u8) -> u64 {
    match step {
        0 => ts_ns.saturating_sub(1_000_000_000),
        1 => ts_ns + 400_000_000_000,
        2..8 => ts_ns + 4_000_000_000,
        _ => ts_ns + u64::from(step) * 1_000,
    }
}

fn sum(shard: &Shard, counters: &[Counter]) -> u64 {
    counters.iter().map(|counter| shard.counters().get(*counter)).sum()
}

/// Every frame is one thing per layer.
fn check_headers(shard: &Shard) {
    use Counter::*;
    let get = |counter| shard.counters().get(counter);
    assert_eq!(sum(shard, &[Arp, Ipv4, Ipv6, Unsupported, UnsupportedLink]), get(Packets));
    assert!(sum(shard, &[Icmp, OtherTransport, Segments, Udp]) <= get(Packets));
    assert!(sum(shard, &[MalformedCut, MalformedDepth, MalformedLength, MalformedVersion]) <= get(Packets));
    for part in [Truncated, Vlan, Tunnelled, Fragments] {
        assert!(get(part) <= get(Packets), "{}", part.name());
    }
    assert!(sum(shard, &[Syn, SynAck]) <= get(Segments));
    for part in [Fin, Rst, PayloadSegments] {
        assert!(get(part) <= get(Segments), "{}", part.name());
    }
    assert!(get(PayloadBytes) <= get(Bytes));
}

/// Every SYN is one thing, an attempt ends at most once, and histograms hold what was counted.
fn check_judgements(shard: &Shard) {
    use Counter::*;
    let get = |counter| shard.counters().get(counter);
    assert_eq!(sum(shard, &[Attempted, SynCrossed, SynRetransmission]), get(Syn));
    assert!(sum(shard, &[Answered, AnsweredUnasked]) <= get(SynAck));
    assert!(sum(shard, &[Refused, Aborted]) <= get(Rst));
    let ends = [Aborted, AttemptsLost, Completed, CompletedOneSided, Refused];
    assert!(sum(shard, &ends) <= get(Attempted));
    assert!(get(Answered) <= get(Attempted) && get(Completed) <= get(Answered));
    assert!(sum(shard, &[RwndSamples, RwndScaleUnknown]) <= get(Segments));
    assert!(get(RwndLow) <= get(RwndSamples) && get(TransfersSlow) <= get(Transfers));
    let histograms = shard.counters();
    assert_eq!(histograms.rwnd_bytes.count(), get(RwndSamples));
    assert_eq!(histograms.handshake_us.count(), get(Answered));
    assert_eq!(histograms.transfer_us.count(), get(Transfers));
    let flows = shard.flows().iter().flat_map(|bucket| &bucket.ways).filter(|flow| flow.fingerprint != 0);
    assert!(flows.count() as u64 <= sum(shard, &[FlowsAdmitted, FlowsEvicted]));
}

/// While no row changed its owner, the rows hold what the totals hold.
fn check_listeners(shard: &Shard) {
    if shard.counters().get(Counter::ListenersEvicted) != 0 {
        return;
    }
    let rows: Vec<&ListenerRow> = shard.listeners().iter().flat_map(|bucket| &bucket.rows).collect();
    let total = |counter| rows.iter().map(|row| row.get(counter)).sum::<u64>();
    let refused = shard.counters().get(Counter::ListenersRefused);
    assert_eq!(total(ListenerCounter::Packets) + refused, shard.counters().get(Counter::Segments));
    if refused != 0 {
        return;
    }
    for (row, all) in [
        (ListenerCounter::Attempted, Counter::Attempted),
        (ListenerCounter::Answered, Counter::Answered),
        (ListenerCounter::Refused, Counter::Refused),
        (ListenerCounter::Aborted, Counter::Aborted),
        (ListenerCounter::Completed, Counter::Completed),
        (ListenerCounter::RetransmitOrReordered, Counter::RetransmitOrReordered),
        (ListenerCounter::RwndScaleUnknown, Counter::RwndScaleUnknown),
        (ListenerCounter::ZeroWindow, Counter::ZeroWindow),
    ] {
        assert_eq!(total(row), shard.counters().get(all), "{}", row.name());
    }
}
