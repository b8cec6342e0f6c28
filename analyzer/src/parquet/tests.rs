//! Tables written and read back.

use std::path::PathBuf;

use ::parquet::file::reader::{FileReader, SerializedFileReader};
use ::parquet::record::{Field, Row};
use tidegauge_ebpf::counter::Counter;

use super::*;
use crate::flow_record::{
    CloseCause, DirectionRecord, Endpoint, FlowDirection, FlowState, Limiter, LimiterRecord, RttRecord,
};
use crate::incident::{Finding, Kind, Severity, Target};
use crate::quality::{Interval, SourceLosses};
use crate::window::{ListenerKey, ListenerWindow};

/// A directory of this test, removed with it.
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("tidegauge-parquet-{}-{name}", std::process::id()));
        _ = fs::remove_dir_all(&dir);
        Self(dir)
    }

    fn rows(&self, table: &str) -> Vec<Row> {
        let file = fs::File::open(self.0.join(format!("{table}.parquet"))).expect("the table is there");
        let reader = SerializedFileReader::new(file).unwrap();
        reader.get_row_iter(None).unwrap().map(Result::unwrap).collect()
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        _ = fs::remove_dir_all(&self.0);
    }
}

fn field<'a>(row: &'a Row, name: &str) -> &'a Field {
    row.get_column_iter().find(|(column, _)| *column == name).unwrap_or_else(|| panic!("no column {name}")).1
}

fn quality() -> Quality {
    Quality::of(&Interval::default(), &SourceLosses::default())
}

fn window(second: u64) -> Window {
    let mut window = Window { start_ns: second * 1_000_000_000, ..Window::default() };
    window.end_ns = window.start_ns + 1_000_000_000;
    window.totals.add(Counter::Packets, 10 + second);
    window.totals.add(Counter::LostSegment, 3);
    window.totals.handshake_us.record(12_000);
    let key = ListenerKey { address: "2001:db8::1".parse().unwrap(), port: 443 };
    window.listeners =
        [(key, ListenerWindow { known: true, ..ListenerWindow::default() })].into_iter().collect();
    window
}

fn flow(number: u64) -> FlowRecord {
    FlowRecord {
        told_ns: u64::MAX,
        number,
        first_ns: 1_700_000_000_123_456_789,
        last_ns: 1_700_000_001_000_000_000,
        initiator: Endpoint { addr: "10.0.0.2".parse().unwrap(), port: 40_000 },
        responder: Endpoint { addr: "10.0.0.1".parse().unwrap(), port: 443 },
        initiator_known: true,
        state: FlowState::Established,
        close: CloseCause::Open,
        handshake: None,
        forward: DirectionRecord {
            packets: 5,
            rtt: RttRecord { samples: 1, min_us: Some(77), ..RttRecord::default() },
            ..DirectionRecord::default()
        },
        reverse: DirectionRecord { goodput_bps: Some(0.5), sack: true, ..DirectionRecord::default() },
        limiter: Some(LimiterRecord {
            verdict: Limiter::Network,
            direction: FlowDirection::Reverse,
            application_share: 0.0,
            receiver_window_share: 0.25,
            network_share: 0.75,
            evidence: "7 losses".to_owned(),
        }),
        app: Some(serde_json::json!({ "http": 1 })),
        detail_lost: true,
    }
}

fn incident() -> Incident {
    let finding = Finding {
        kind: Kind::SynFlood,
        severity: Severity::P1,
        rule: "syn > 100".to_owned(),
        measured: 500.5,
        unit: "syn_per_s",
        limit: 100.0,
        baseline: None,
        facts: Vec::new(),
        window_s: 1.0,
        distinct_sources: Some(9),
        spoofed_estimate: None,
        top_sources: Vec::new(),
        top_prefixes: Vec::new(),
        ttl_classes: None,
        cause: vec!["one".to_owned(), "two".to_owned()],
        next: Vec::new(),
    };
    Incident::open(1, Target::Capture, finding, 2_000_000_000, Interval::default())
}

#[test]
fn what_was_written_reads_back() {
    let dir = Dir::new("back");
    let mut sink = ParquetSink::new(&dir.0).unwrap();
    (1..=3).for_each(|second| sink.window(&window(second), 1.0, 1, &quality()).unwrap());
    sink.flow(&flow(1)).unwrap();
    sink.incident(&incident(), &quality()).unwrap();
    sink.finish().unwrap();

    let windows = dir.rows("windows");
    assert_eq!(windows.len(), 3);
    assert_eq!(field(&windows[2], "start"), &Field::Long(3_000_000_000));
    assert_eq!(field(&windows[2], "packets"), &Field::Long(13));
    assert_eq!(field(&windows[2], "lost_segment"), &Field::Long(3));
    assert_eq!(field(&windows[2], "listeners"), &Field::Long(1));
    assert_eq!(field(&windows[2], "quality"), &Field::Str("complete".to_owned()));
    assert_eq!(field(&windows[2], "rtt_handshake_listener_count"), &Field::Long(1));
    assert_eq!(field(&windows[2], "rtt_handshake_listener_p50_ms"), &Field::Double(11.776));
    assert_eq!(field(&windows[2], "rtt_handshake_peer_p50_ms"), &Field::Null);

    let listeners = dir.rows("listeners");
    assert_eq!(listeners.len(), 3);
    assert_eq!(field(&listeners[0], "addr"), &Field::Str("2001:db8::1".to_owned()));
    assert_eq!(field(&listeners[0], "listens"), &Field::Bool(true));

    let flows = dir.rows("flows");
    assert_eq!(flows.len(), 1);
    assert_eq!(field(&flows[0], "ts"), &Field::Long(i64::MAX), "as much as fits");
    assert_eq!(field(&flows[0], "first_ts"), &Field::Long(1_700_000_000_123_456_789));
    assert_eq!(field(&flows[0], "handshake_listener_rtt_us"), &Field::Null);
    assert_eq!(field(&flows[0], "forward_rtt_min_us"), &Field::Long(77));
    assert_eq!(field(&flows[0], "reverse_rtt_min_us"), &Field::Null);
    assert_eq!(field(&flows[0], "reverse_goodput_bps"), &Field::Double(0.5));
    assert_eq!(field(&flows[0], "limiter_network_share"), &Field::Double(0.75));
    assert_eq!(field(&flows[0], "app"), &Field::Str(r#"{"http":1}"#.to_owned()));

    let incidents = dir.rows("incidents");
    assert_eq!(incidents.len(), 1);
    assert_eq!(field(&incidents[0], "severity"), &Field::Str("P1".to_owned()));
    assert_eq!(field(&incidents[0], "state"), &Field::Str("opened".to_owned()));
    assert_eq!(field(&incidents[0], "addr"), &Field::Null);
    assert_eq!(field(&incidents[0], "cause"), &Field::Str("one\ntwo".to_owned()));
}

#[test]
fn groups_are_bounded_and_none_is_lost() {
    let dir = Dir::new("groups");
    let mut sink = ParquetSink::new(&dir.0).unwrap();
    let rows = GROUP_ROWS as u64 * 2 + 1;
    (1..=rows).for_each(|number| sink.flow(&flow(number)).unwrap());
    sink.finish().unwrap();
    let file = fs::File::open(dir.0.join("flows.parquet")).unwrap();
    let reader = SerializedFileReader::new(file).unwrap();
    let groups: Vec<_> = reader.metadata().row_groups().iter().map(|group| group.num_rows()).collect();
    assert_eq!(groups, [GROUP_ROWS as i64, GROUP_ROWS as i64, 1]);
    let numbers = dir.rows("flows");
    assert!(numbers.iter().zip(1..).all(|(row, number)| field(row, "number") == &Field::Long(number)));
    assert!(dir.rows("windows").is_empty(), "a table without rows is a table");
}

#[test]
fn a_name_means_a_whole_file() {
    let dir = Dir::new("names");
    let mut sink = ParquetSink::new(&dir.0).unwrap();
    sink.window(&window(1), 1.0, 1, &quality()).unwrap();
    assert!(matches!(ParquetSink::new(&dir.0), Err(Error::Busy { .. })), "two runs do not share a file");
    // The run dies.
    drop(sink);
    assert!(!dir.0.join("windows.parquet").exists());
    // The next one takes over what is left, and the one after replaces its tables when it ends.
    for seconds in [2, 1] {
        let mut sink = ParquetSink::new(&dir.0).unwrap();
        (0..seconds).for_each(|second| sink.window(&window(second), 1.0, 1, &quality()).unwrap());
        sink.finish().unwrap();
        assert_eq!(dir.rows("windows").len(), seconds as usize);
    }
    let names = fs::read_dir(&dir.0).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(names.into_iter().all(|name| !name.to_string_lossy().contains("unfinished")));
}

#[test]
fn a_directory_that_cannot_be_is_named() {
    let error = ParquetSink::new(Path::new("/proc/none/here")).err().expect("it cannot be made");
    assert!(error.to_string().contains("/proc/none/here"), "{error}");
}

#[test]
fn columns_have_names_of_their_own_and_meanings() {
    for shape in [shape::windows(), shape::listeners(), shape::flows(), shape::incidents()] {
        let mut names: Vec<_> = shape.columns().map(|(name, _)| name.to_owned()).collect();
        assert!(shape.columns().all(|(_, about)| !about.is_empty()));
        names.sort_unstable();
        let all = names.len();
        names.dedup();
        assert_eq!(names.len(), all);
    }
}
