//! The two engines on the same packets: the kernel path while they passed, the userspace engine in the capture.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::scene::{End, Frames, scene_of};
use crate::traffic::{connect, listen};
use tidegauge_tests::netns::Side;

/// Parts of a summary that do not depend on time.
const PARTS: [&str; 4] = ["tcp", "handshake", "rwnd_bytes", "tables"];
/// Except this one: a rate of ticks, which begin at other moments in packet time than live.
const TIMED: &str = "syn_per_s_max";

/// All counters are equal, and windows are. Of round trips the numbers are: the kernel path reads a precise clock at most
/// 32 times a jiffy, and says how many round trips ended when it could not (`untimed`).
pub(crate) fn assert_equal_engines(end: &End) {
    let (mut live, mut read) = (counts(&end.live, &PARTS), counts(&end.read, &PARTS));
    for counts in [&mut live, &mut read] {
        counts.remove(&format!("handshake.{TIMED}"));
    }
    assert_told_by_both(&live, &read, end);
    let methods = |summary: &Value| -> BTreeMap<String, u64> {
        let methods = summary["rtt_ms"]["by_method"].as_object().unwrap().iter();
        methods.map(|(name, times)| (name.clone(), times["count"].as_u64().unwrap())).collect()
    };
    let untimed = end.live["rtt_ms"]["untimed"].as_u64().unwrap();
    for (method, (live, read)) in
        methods(&end.live).into_iter().map(|(name, count)| (name.clone(), (count, methods(&end.read)[&name])))
    {
        // A round trip that is not begun for want of a precise time leaves the next one to begin in its place.
        let explained = untimed + read / 20 + 1;
        assert!(
            live.abs_diff(read) <= explained,
            "{method}: kernel path {live} (untimed {untimed}), userspace {read}"
        );
    }
}

/// What the kernel path tells is what the userspace engine says, which tells more. A segment that arrives twice, byte for
/// byte and at once, is one captured twice to the latter: the only thing in which they may differ.
fn assert_told_by_both(live: &BTreeMap<String, Value>, read: &BTreeMap<String, Value>, end: &End) {
    let twice = end.read["tcp"]["captured_twice"].as_u64().unwrap();
    for (name, live) in live.iter().filter(|(_, live)| !live.is_null()) {
        let read = read.get(name).unwrap_or_else(|| panic!("userspace does not tell {name}"));
        if live == read {
            continue;
        }
        let counts = live.as_u64().zip(read.as_u64());
        let explained = counts.is_some_and(|(live, read)| live.abs_diff(read) <= twice);
        assert!(explained, "{name}: kernel path {live}, userspace {read}, captured twice {twice}");
    }
}

/// Numbers by their names.
fn counts(summary: &Value, parts: &[&str]) -> BTreeMap<String, Value> {
    let named = |part: &str| {
        let part = part.to_owned();
        let fields = summary[&part].as_object().unwrap().clone();
        fields.into_iter().map(move |(name, value)| (format!("{part}.{name}"), value))
    };
    parts.iter().flat_map(|part| named(part)).collect()
}

#[test]
fn super_frames_on_the_way_out_are_counted_as_their_segments() {
    let test = "super_frames_on_the_way_out_are_counted_as_their_segments";
    let played = scene_of(test, Frames::Super, |lab, _| {
        let listener = listen(lab);
        let connection = connect(lab, &listener);
        connection.transfer(Side::Server, 2_000_000);
        connection.close();
    });
    let Some((seen, ())) = played else { return };
    let end = &seen.server;
    println!("{test}: {} super-frames, {}", end.live["super_frames"], end.live["rwnd_bytes"]);
    assert!(end.live["super_frames"].as_u64().unwrap() > 10, "{}", end.live["super_frames"]);
    assert_eq!(end.read["super_frames"], 0, "they are cut before the capture");
    // Windows are left out: a super-frame tells its window once, its segments tell it each.
    let parts = ["tcp", "tables"];
    assert_told_by_both(&counts(&end.live, &parts), &counts(&end.read, &parts), end);
}
