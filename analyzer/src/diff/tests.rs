//! Whole runs compared: windows with known differences, as the lines that a run prints of them.

use serde_json::{Value, json};
use tidegauge_ebpf::counter::Counter;
use tidegauge_ebpf::listener::ListenerCounter;

use super::random::Random;
use super::*;
use crate::config::Config;
use crate::flow_record::{
    CloseCause, DirectionRecord, Endpoint, FlowDirection, FlowRecord, FlowState, Limiter, LimiterRecord,
};
use crate::keyed::Keyed;
use crate::output::{self, Setup, Source};
use crate::quality::{self, Quality, SourceLosses};
use crate::window::{ListenerKey, ListenerWindow, Window};

const SECOND_NS: u64 = 1_000_000_000;
const START_NS: u64 = 1_700_000_000 * SECOND_NS;

impl Random {
    /// About so many, a fifth more or less.
    fn about(&mut self, mean: f64) -> u64 {
        (mean * (0.8 + 0.4 * self.next())) as u64
    }
}

/// What traffic is like.
#[derive(Clone, Copy)]
struct Traffic {
    seed: u64,
    packets_per_s: f64,
    loss: f64,
    rtt_us: f64,
    completed: f64,
    listener_rtt_us: f64,
}

const USUAL: Traffic = Traffic {
    seed: 5,
    packets_per_s: 1_000.0,
    loss: 0.01,
    rtt_us: 20_000.0,
    completed: 0.99,
    listener_rtt_us: 5_000.0,
};

impl Traffic {
    fn lines(self, seconds: u64) -> Vec<Value> {
        let mut random = Random(self.seed);
        (0..seconds).map(|second| window_line(&self.window(second, &mut random))).collect()
    }

    fn run(self, seconds: u64) -> RunSummary {
        run_of(self.lines(seconds), Interval::default())
    }

    fn window(self, second: u64, random: &mut Random) -> Window {
        let mut window = Window { start_ns: START_NS + second * SECOND_NS, ..Window::default() };
        window.end_ns = window.start_ns + SECOND_NS;
        let packets = random.about(self.packets_per_s);
        let totals = &mut window.totals;
        totals.add(Counter::Packets, packets);
        totals.add(Counter::Bytes, packets * 1_000);
        totals.add(Counter::Segments, packets);
        totals.add(Counter::PayloadSegments, packets);
        totals.add(Counter::Attempted, 100);
        for _ in 0..packets {
            totals.add(Counter::RetransmitOrReordered, u64::from(random.next() < self.loss));
        }
        let mut completed = 0;
        for _ in 0..100 {
            completed += u64::from(random.next() < self.completed);
            totals.handshake_us.record(random.about(self.rtt_us) as u32);
        }
        totals.add(Counter::Completed, completed);
        let mut listener = ListenerWindow { known: true, ..ListenerWindow::default() };
        let mut set = |counter, value| listener.counters[counter as usize] = value;
        set(ListenerCounter::Packets, packets);
        set(ListenerCounter::Bytes, packets * 1_000);
        set(ListenerCounter::RoundTripsListener, 10);
        set(ListenerCounter::RoundTripsListenerUs, 10 * random.about(self.listener_rtt_us));
        let key = ListenerKey { address: "10.0.0.1".parse().unwrap(), port: 443 };
        window.listeners = Keyed::gather([(key, listener)], ListenerWindow::merge);
        window
    }
}

fn window_line(window: &Window) -> Value {
    let source = Source {
        kind: "file",
        mode: "mapped",
        why: String::new(),
        egress: None,
        name: "test".to_owned(),
        resolution_us: 1,
        setup: Setup::default(),
    };
    let quality = Quality::of(&quality::Interval::default(), &SourceLosses::default());
    output::json::window(window, 1.0, &source, &quality, None, &Config::default())
}

fn run_of(lines: Vec<Value>, interval: Interval) -> RunSummary {
    let mut run = RunSummary::new("test".to_owned(), interval);
    lines.into_iter().for_each(|line| run.take(line));
    run.finish();
    run
}

/// Verdicts other than `same`, with what they are said of.
fn told(a: &RunSummary, b: &RunSummary) -> Vec<(Verdict, String)> {
    let diff = compare(a, b, 10).unwrap();
    let named = |row: &Row| {
        (row.verdict, row.listener.iter().map(|name| format!("{name} ")).collect::<String>() + &row.what)
    };
    diff.rows.iter().filter(|row| row.verdict != Verdict::Same).map(named).collect()
}

fn said(verdict: Verdict, what: &str) -> (Verdict, String) {
    (verdict, what.to_owned())
}

#[test]
fn the_same_traffic_twice_is_the_same() {
    let slow = Traffic { packets_per_s: 200.0, ..USUAL };
    let pair = |seed| told(&Traffic { seed, ..slow }.run(40), &Traffic { seed: seed + 1, ..slow }.run(40));
    let all: Vec<_> = (0..80).step_by(2).map(pair).collect();
    let told_of =
        |verdicts: &&Vec<(Verdict, String)>| verdicts.iter().any(|(verdict, _)| *verdict != Verdict::Unknown);
    // Seven independent quantities each, at a level of 0.001: one of 40 in a quarter of all cases.
    assert!(all.iter().filter(told_of).count() <= 1, "{all:?}");
}

#[test]
fn what_changed_is_told_with_its_direction() {
    let before = USUAL.run(60);
    let of = |after: Traffic| told(&before, &Traffic { seed: 6, ..after }.run(60));
    assert_eq!(
        of(Traffic { rtt_us: 40_000.0, ..USUAL }),
        [
            said(Verdict::Worse, "rtt_handshake_listener_p50_ms"),
            said(Verdict::Worse, "rtt_handshake_listener_p99_ms")
        ]
    );
    assert_eq!(
        of(Traffic { loss: 0.002, ..USUAL }),
        [said(Verdict::Better, "retransmit_or_reordered_share")]
    );
    assert_eq!(of(Traffic { completed: 0.95, ..USUAL }), [said(Verdict::Worse, "completed_share")]);
    assert_eq!(
        of(Traffic { listener_rtt_us: 9_000.0, ..USUAL }),
        [said(Verdict::Worse, "10.0.0.1:443 rtt_listener_mean_ms")]
    );
    let more = of(Traffic { packets_per_s: 2_000.0, ..USUAL });
    assert!(more.iter().all(|(verdict, _)| *verdict == Verdict::Changed), "{more:?}");
    assert!(more.contains(&said(Verdict::Changed, "packets_per_s")), "{more:?}");
    assert!(more.contains(&said(Verdict::Changed, "10.0.0.1:443 bytes_per_s")), "{more:?}");
}

#[test]
fn a_difference_that_does_not_matter_is_none() {
    // 3 % more, seen for a thousand seconds: certain, and nothing to act upon.
    let told = told(&USUAL.run(1_000), &Traffic { seed: 6, packets_per_s: 1_030.0, ..USUAL }.run(1_000));
    assert_eq!(told, []);
}

#[test]
fn a_few_seconds_tell_nothing() {
    let diff = compare(&USUAL.run(6), &Traffic { seed: 6, rtt_us: 40_000.0, ..USUAL }.run(6), 10).unwrap();
    let row = diff.rows.iter().find(|row| row.what == "rtt_handshake_listener_p50_ms").unwrap();
    assert_eq!((row.verdict, row.a.samples, row.evidence), (Verdict::Unknown, 6, Evidence::None));
    assert!(row.relative.unwrap() > 0.8, "what is seen is shown all the same");
}

#[test]
fn intervals_are_cut_at_their_seconds() {
    let mut lines = USUAL.lines(100);
    let second = |seconds| Some(Bound::Seconds(seconds));
    let first = run_of(lines.clone(), Interval { from: None, to: second(40.0) });
    let rest = run_of(lines.clone(), Interval { from: second(40.0), to: None });
    assert_eq!((first.windows, rest.windows), (40, 60));
    assert_eq!(first.packets + rest.packets, run_of(lines.clone(), Interval::default()).packets);
    let at = START_NS + 40 * SECOND_NS;
    let by_time = run_of(lines.clone(), Interval { from: Some(Bound::Time(at)), to: None });
    assert_eq!((by_time.windows, by_time.packets), (60, rest.packets));
    // Rates leave out the run's first and last second, not the interval's.
    assert_eq!(first.series["packets_per_s"].samples(), 39);
    lines.truncate(40);
    assert_eq!(run_of(lines, Interval::default()).series["packets_per_s"].samples(), 38);
    let none = run_of(USUAL.lines(10), Interval { from: second(50.0), to: None });
    assert!(matches!(compare(&none, &first, 10), Err(Error::Empty(_))));
}

#[test]
fn seconds_without_a_packet_count_as_such() {
    let mut lines = USUAL.lines(101);
    let mut kept = 0;
    lines.retain(|_| {
        kept += 1;
        kept % 4 == 1
    });
    let run = run_of(lines, Interval::default());
    let Series::Rate { per_s, sum } = &run.series["packets_per_s"] else { panic!("a rate") };
    assert_eq!((run.windows, per_s.offered()), (26, 99));
    assert!((sum / 99.0 - 250.0).abs() < 50.0, "{}", sum / 99.0);
    let Series::Rate { per_s, .. } = &run.listeners["10.0.0.1:443"].series["packets_per_s"] else {
        panic!("a rate")
    };
    assert_eq!(per_s.offered(), 99);
}

#[test]
fn a_listener_that_came_later_was_silent_before() {
    let mut random = Random(9);
    let mut windows: Vec<_> = (0..50).map(|second| USUAL.window(second, &mut random)).collect();
    let other = ListenerKey { address: "10.0.0.2".parse().unwrap(), port: 80 };
    for window in windows.iter_mut().skip(30) {
        let listener = window.listeners.values().next().unwrap().clone();
        window
            .listeners
            .merge(Keyed::gather([(other, listener)], ListenerWindow::merge), ListenerWindow::merge);
    }
    let run = run_of(windows.iter().map(window_line).collect(), Interval::default());
    let Series::Rate { per_s, .. } = &run.listeners["10.0.0.2:80"].series["packets_per_s"] else {
        panic!("a rate")
    };
    assert_eq!((per_s.offered(), per_s.kept().iter().filter(|rate| **rate == 0.0).count()), (48, 29));
    let told = told(&USUAL.run(50), &run);
    assert!(told.contains(&said(Verdict::Changed, "10.0.0.2:80 new_listener_bytes_per_s")), "{told:?}");
}

fn flow(second: u64, goodput_bps: f64, close: CloseCause) -> FlowRecord {
    let first_ns = START_NS + second * SECOND_NS;
    FlowRecord {
        told_ns: first_ns,
        number: second,
        first_ns,
        last_ns: first_ns + 500_000_000,
        initiator: Endpoint { addr: "10.0.0.2".parse().unwrap(), port: 40_000 },
        responder: Endpoint { addr: "10.0.0.1".parse().unwrap(), port: 443 },
        initiator_known: true,
        state: FlowState::Closed,
        close,
        handshake: None,
        forward: DirectionRecord::default(),
        reverse: DirectionRecord {
            goodput_bytes: 1_000_000,
            goodput_bps: Some(goodput_bps),
            ..DirectionRecord::default()
        },
        limiter: Some(LimiterRecord {
            verdict: if goodput_bps < 1e6 { Limiter::Network } else { Limiter::Application },
            direction: FlowDirection::Reverse,
            application_share: 0.0,
            receiver_window_share: 0.0,
            network_share: 1.0,
            evidence: String::new(),
        }),
        app: None,
        detail_lost: false,
    }
}

#[test]
fn connections_are_compared_where_they_are_told() {
    let run = |seed, goodput_bps: f64, reset_every: u64| {
        let mut random = Random(seed);
        let mut lines = USUAL.lines(60);
        for second in 0..60 {
            let close =
                if second % reset_every == 0 { CloseCause::ResetByResponder } else { CloseCause::Fin };
            let flow = flow(second, random.about(goodput_bps) as f64, close);
            lines.push(output::json::flow(&flow));
        }
        run_of(lines, Interval::default())
    };
    assert_eq!(told(&run(1, 8e6, 20), &run(2, 8e6, 20)), []);
    assert_eq!(
        told(&run(1, 8e6, 20), &run(2, 8e5, 2)),
        [
            // From none to all: there is nothing to relate it to.
            said(Verdict::Worse, "limited_by_network_share"),
            said(Verdict::Worse, "flow_reset_share"),
            said(Verdict::Worse, "flow_goodput_bps"),
            said(Verdict::Changed, "limited_by_application_share"),
        ]
    );
}

fn incident(id: u64, state: &str, second: u64) -> Value {
    let opened = crate::time::timestamp(START_NS + second * SECOND_NS);
    json!({ "ts": opened, "event": "incident", "id": format!("x-{id}"), "kind": "syn_flood", "state": state, "opened_ts": opened })
}

#[test]
fn incidents_are_counted_once_and_compared() {
    let with = |incidents: Vec<Value>, seconds| {
        let mut lines = USUAL.lines(seconds);
        lines.extend(incidents);
        run_of(lines, Interval::default())
    };
    let one = || vec![incident(1, "opened", 3), incident(1, "updated", 3), incident(1, "closed", 3)];
    let flood = |verdict| [said(verdict, "incidents_syn_flood")];
    assert_eq!(told(&with(vec![], 60), &with(one(), 60)), flood(Verdict::Worse));
    assert_eq!(told(&with(one(), 60), &with(vec![], 60)), flood(Verdict::Better));
    assert_eq!(
        told(&with(vec![], 60), &with(one(), 200)),
        flood(Verdict::Changed),
        "it was watched for longer"
    );
    assert_eq!(told(&with(one(), 60), &with(one(), 60)), []);
    let many = (0..40).map(|id| incident(id, "opened", id)).collect();
    assert_eq!(told(&with(one(), 60), &with(many, 60)), flood(Verdict::Worse));
}

#[test]
fn nothing_in_a_line_panics() {
    let mut lines = USUAL.lines(10);
    lines.extend([
        json!(null),
        json!([1]),
        json!({ "event": 5 }),
        json!({ "event": "window" }),
        json!({ "event": "window", "ts": "x", "start_ts": 1, "window_s": -1 }),
        json!({ "event": "flow", "ts": "2023-11-14T22:13:20Z" }),
        json!({ "event": "incident" }),
        json!({ "event": "other" }),
    ]);
    let mut odd = USUAL.lines(1).remove(0);
    odd["packets"] = json!(-5);
    odd["tcp"] = json!("none");
    odd["listeners"] = json!([{ "target": { "addr": "nowhere", "port": 70_000 } }, 7]);
    lines.push(odd.clone());
    odd["ts"] = json!("2500-01-01T00:00:01Z");
    odd["start_ts"] = json!("2500-01-01T00:00:00Z");
    lines.push(odd.clone());
    odd["window_s"] = json!(60.0);
    lines.push(odd);
    lines.extend(USUAL.lines(2));
    let run = run_of(lines, Interval::default());
    assert_eq!((run.windows, run.windows_skipped), (14, 1));
    assert_eq!(run.unreadable, 3 + 2 + 1 + 1 + 4);
    assert!(compare(&run, &run, 10).is_ok());
}

#[test]
fn memory_is_bounded() {
    let mut random = Random(4);
    let mut lines = Vec::new();
    for second in 0..200 {
        let mut window = USUAL.window(second, &mut random);
        let listener = window.listeners.values().next().unwrap().clone();
        let listeners = (0..10).map(|port| {
            let port = (second * 10 + port) as u16;
            (ListenerKey { address: "10.0.0.3".parse().unwrap(), port }, listener.clone())
        });
        window.listeners = Keyed::gather(listeners, ListenerWindow::merge);
        lines.push(window_line(&window));
    }
    let run = run_of(lines, Interval::default());
    assert!(
        run.listeners.len() <= LISTENERS_MAX && run.listeners_forgotten > 1_500,
        "{}",
        run.listeners_forgotten
    );
}

#[test]
fn windows_of_other_lengths_are_refused() {
    let longer = |mut line: Value| {
        line["window_s"] = json!(10.0);
        line
    };
    let run = run_of(USUAL.lines(30).into_iter().map(longer).collect(), Interval::default());
    assert_eq!(compare(&USUAL.run(30), &run, 10), Err(Error::Windows { a_s: 1.0, b_s: 10.0 }));
}

#[test]
fn the_table_shows_what_changed_first_and_is_aligned() {
    let (a, b) =
        (USUAL.run(60), Traffic { seed: 6, rtt_us: 40_000.0, listener_rtt_us: 9_000.0, ..USUAL }.run(60));
    let diff = compare(&a, &b, 10).unwrap();
    let text = table(&diff, &a, &b);
    let lines: Vec<_> = text.lines().collect();
    assert!(
        lines[0].starts_with("A  test: 60 s, 60 windows, ") && lines[1].starts_with("B  test: 60 s"),
        "{text}"
    );
    let rows: Vec<_> = lines.iter().skip_while(|line| !line.starts_with("verdict")).collect();
    assert!(rows[1].starts_with("worse    rtt_handshake_listener_p"), "{text}");
    assert!(text.contains("worse    10.0.0.1:443 rtt_listener_mean_ms"), "{text}");
    assert!(text.contains("\n3 worse, 0 better, 0 changed, 0 unknown, "), "{text}");
    let ends = rows.iter().take_while(|line| !line.is_empty()).map(|line| line.chars().count());
    assert!(ends.clone().max() == ends.min(), "{text}");
    let json = json(&diff, &a, &b);
    assert_eq!((&json["event"], &json["verdicts"]["worse"]), (&json!("diff"), &json!(3)));
    assert_eq!(json["rows"][0]["verdict"], "worse");
    assert!(json["rows"][0]["evidence"]["ranks"]["z"].as_f64().unwrap() > 5.0, "{}", json["rows"][0]);
}
