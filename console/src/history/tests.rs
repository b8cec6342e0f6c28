//! Histories on a real disk: kept, found again, bounded, and whole after the worst end.

use std::fs;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::mpsc::channel;

use tempfile::TempDir;

use super::*;
use crate::feed::Feed;

fn window(second: i64) -> String {
    format!(
        "{{\"ts\":\"{}\",\"event\":\"window\",\"packets\":{second}}}\n",
        jiff::Timestamp::from_second(second).unwrap()
    )
}

/// Keeps these lines; returns how many were lost.
fn keep(dir: &Path, limits: Limits, text: &str) -> u64 {
    let mut feed = Feed::default();
    let history = History::start(dir, limits, &mut feed, Box::new(|_| ())).unwrap();
    feed.run(&mut text.as_bytes()).unwrap();
    history.finish().lost
}

fn seconds(dir: &Path, query: &Query) -> Vec<i64> {
    let mut found = Vec::new();
    let unreadable = read(dir, query, |line| found.push(line.ts_ns / 1_000_000_000)).unwrap();
    assert_eq!(unreadable, 0);
    found
}

fn lines(range: std::ops::Range<i64>) -> String {
    range.map(window).collect()
}

const SMALL: Limits =
    Limits { bytes_max: 1 << 20, age_max_s: 1 << 30, segment_bytes: 4_096, segment_s: 1 << 30 };

#[test]
fn what_is_kept_is_found_by_its_time() {
    let dir = TempDir::new().unwrap();
    assert_eq!(keep(dir.path(), SMALL, &lines(1_000..1_500)), 0);
    assert_eq!(keep(dir.path(), SMALL, &lines(2_000..2_100)), 0);
    assert!(segment::list(dir.path()).unwrap().closed.len() > 3, "several segments");
    assert_eq!(
        seconds(dir.path(), &Query::default()),
        (1_000..1_500).chain(2_000..2_100).collect::<Vec<_>>()
    );
    let at = |second: i64| Some(second * 1_000_000_000);
    let query = Query { from_ns: at(1_490), to_ns: at(2_003), ..Query::default() };
    assert_eq!(seconds(dir.path(), &query), (1_490..1_500).chain(2_000..2_003).collect::<Vec<_>>());
    assert_eq!(seconds(dir.path(), &Query { incidents_only: true, ..Query::default() }), [0; 0]);
}

#[test]
fn whatever_a_killed_process_left_only_the_half_line_is_gone() {
    let whole = lines(1_000..1_003);
    for cut in 0..=whole.len() {
        let dir = TempDir::new().unwrap();
        fs::write(segment::open_path(dir.path(), 1), &whole[..cut]).unwrap();
        fs::write(dir.path().join("0000000000-1-2.jsonl.unfinished"), "half").unwrap();
        let history_lines = whole[..cut].matches('\n').count() as i64;
        assert_eq!(keep(dir.path(), SMALL, &lines(2_000..2_001)), 0);
        let expected: Vec<_> = (1_000..1_000 + history_lines).chain(2_000..2_001).collect();
        assert_eq!(seconds(dir.path(), &Query::default()), expected, "cut at {cut}");
        assert!(!dir.path().join("0000000000-1-2.jsonl.unfinished").exists());
    }
}

#[test]
fn the_oldest_goes_first_and_all_stay_within_their_room() {
    let dir = TempDir::new().unwrap();
    let limits = Limits { bytes_max: 8_192, ..SMALL };
    assert_eq!(keep(dir.path(), limits, &lines(0..4_000)), 0);
    let on_disk: u64 =
        fs::read_dir(dir.path()).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).sum();
    assert!(on_disk <= limits.bytes_max + limits.segment_bytes, "{on_disk}");
    let kept = seconds(dir.path(), &Query::default());
    assert_eq!(kept.last(), Some(&3_999));
    assert!(
        kept.len() > 100 && kept.windows(2).all(|pair| pair[0] + 1 == pair[1]),
        "the newest, without a gap"
    );
}

#[test]
fn a_clock_that_jumps_costs_a_segment_and_not_all() {
    let dir = TempDir::new().unwrap();
    let limits = Limits { age_max_s: 86_400, ..SMALL };
    assert_eq!(keep(dir.path(), limits, &lines(0..1_000)), 0);
    let before = segment::list(dir.path()).unwrap().closed.len();
    // A year ahead, for a segment and a bit.
    assert_eq!(keep(dir.path(), limits, &lines(31_536_000..31_536_080)), 0);
    let after = segment::list(dir.path()).unwrap().closed.len();
    assert!(after + 2 >= before, "{before} segments, then {after}");
    assert_eq!(seconds(dir.path(), &Query::default()).last(), Some(&31_536_079));
}

#[test]
fn two_runs_do_not_share_a_directory() {
    let dir = TempDir::new().unwrap();
    let mut feed = Feed::default();
    let first = History::start(dir.path(), SMALL, &mut feed, Box::new(|_| ())).unwrap();
    let second = History::start(dir.path(), SMALL, &mut Feed::default(), Box::new(|_| ()));
    assert!(matches!(second, Err(HistoryError::InUse { .. })));
    drop(feed);
    first.finish();
    assert!(History::start(dir.path(), SMALL, &mut Feed::default(), Box::new(|_| ())).is_ok());
}

#[test]
fn a_long_list_is_cut_to_the_busiest() {
    let dir = TempDir::new().unwrap();
    let hosts: Vec<_> = (0..100).map(|host| format!(r#"{{"addr":"h{host}","packets":{host}}}"#)).collect();
    let text = format!(
        "{{\"ts\":\"1970-01-01T00:00:01Z\",\"event\":\"window\",\"listeners\":[{}]}}\n",
        hosts.join(",")
    );
    keep(dir.path(), SMALL, &text);
    let mut found = Vec::new();
    read(dir.path(), &Query::default(), |line| found.push(line.json)).unwrap();
    assert_eq!(found[0]["listeners"].as_array().map(Vec::len), Some(LISTED_MAX));
    assert_eq!(
        (&found[0]["listeners"][0]["packets"], &found[0]["left_out"]["listeners"]),
        (&99.into(), &84.into())
    );
}

/// A disk of its own that is full soon; `None` without the right to mount.
fn small_disk() -> Option<TempDir> {
    let dir = TempDir::new().unwrap();
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"])
        .arg(dir.path())
        .output();
    mounted.is_ok_and(|output| output.status.success()).then_some(dir)
}

#[test]
fn a_full_disk_is_said_once_and_never_leaves_half_a_line() {
    let Some(dir) = small_disk() else { return };
    let (said, words) = channel();
    let mut feed = Feed::default();
    let roomy = Limits { segment_bytes: 1 << 20, ..SMALL };
    let say: Say = Box::new(move |text: &str| _ = said.send(text.to_owned()));
    let history = History::start(dir.path(), roomy, &mut feed, say).unwrap();
    feed.run(&mut lines(0..2_000).as_bytes()).unwrap();
    let counts = std::sync::Arc::clone(history.shared_counts());
    let lost = history.finish().lost;
    let kept = seconds(dir.path(), &Query::default());
    assert!(lost > 0 && kept.len() as u64 + lost == 2_000, "{} kept, {lost} lost", kept.len());
    assert_eq!(counts.kept.load(Ordering::Relaxed), kept.len() as u64);
    assert_eq!(words.iter().count(), 1);
    let unmounted = std::process::Command::new("umount").arg(dir.path()).status().unwrap();
    assert!(unmounted.success());
}

#[test]
fn on_a_full_disk_the_oldest_makes_way_for_the_newest() {
    let Some(dir) = small_disk() else { return };
    let lost = keep(dir.path(), SMALL, &lines(0..4_000)) + keep(dir.path(), SMALL, &lines(4_000..8_000));
    let lost = lost
        + keep(dir.path(), SMALL, &lines(8_000..12_000))
        + keep(dir.path(), SMALL, &lines(12_000..16_000));
    let kept = seconds(dir.path(), &Query::default());
    assert_eq!((kept.last(), lost), (Some(&15_999), 0), "{} kept", kept.len());
    assert!(kept.len() < 16_000 && kept[0] > 0, "{} kept from {}", kept.len(), kept[0]);
    let unmounted = std::process::Command::new("umount").arg(dir.path()).status().unwrap();
    assert!(unmounted.success());
}
