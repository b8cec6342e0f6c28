//! The engine on made-up windows: what opens, what does not, when it closes, what it learns meanwhile, and that
//! neither gaps in time nor many listeners cost much. No frames, no clocks: a case is a few ticks of numbers.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use tidegauge_analyzer::config::Config;
use tidegauge_analyzer::engine::{Change, Engine, LISTENERS_MAX, LISTENERS_SLACK};
use tidegauge_analyzer::feature::TICK_NS;
use tidegauge_analyzer::incident::{Incident, Kind, REOPEN_NS, State, Target};
use tidegauge_analyzer::window::{ListenerKey, ListenerWindow, Window};
use tidegauge_ebpf::counter::Counter;
use tidegauge_ebpf::listener::ListenerCounter;

const START_NS: u64 = 1_700_000_000_000_000_000;
const SECOND: u32 = 10;
const YEAR_NS: u64 = 365 * 86_400 * 1_000_000_000;
const WEB: ListenerKey = ListenerKey { address: IpAddr::V4(Ipv4Addr::new(10, 77, 0, 2)), port: 80 };

/// One listener's numbers in one tick.
#[derive(Clone, Copy, Debug, Default)]
struct Tick {
    asked: u64,
    answered: u64,
    completed: u64,
    refused: u64,
    /// Of each completed handshake, from SYN to completing ACK.
    handshake_ms: u64,
}

/// Everything asked is completed at once.
const fn served(asked: u64) -> Tick {
    Tick { asked, answered: asked, completed: asked, refused: 0, handshake_ms: 1 }
}

/// 200 per second that complete, and this many SYNs that do not.
const fn under_flood(flood: u64) -> Tick {
    Tick { asked: 20 + flood, answered: 20 + flood, completed: 20, refused: 0, handshake_ms: 1 }
}

impl From<Tick> for ListenerWindow {
    fn from(tick: Tick) -> Self {
        let mut window = Self { known: true, ..Self::default() };
        for (counter, value) in [
            (ListenerCounter::Packets, 3 * tick.asked),
            (ListenerCounter::Attempted, tick.asked),
            (ListenerCounter::Answered, tick.answered),
            (ListenerCounter::Completed, tick.completed),
            (ListenerCounter::Refused, tick.refused),
            (ListenerCounter::HandshakeUs, tick.completed * tick.handshake_ms * 1_000),
        ] {
            window.counters[counter as usize] = value;
        }
        window
    }
}

/// An engine, its time, and all it said.
struct Run {
    engine: Engine,
    now_ns: u64,
    changes: Vec<Change>,
}

impl Run {
    fn new() -> Self {
        Self { engine: Engine::new(Config::default(), true), now_ns: START_NS, changes: Vec::new() }
    }

    fn push(&mut self, listeners: impl IntoIterator<Item = (ListenerKey, Tick)>) {
        let mut window = Window { start_ns: self.now_ns, end_ns: self.now_ns + TICK_NS, ..Window::default() };
        window.listeners = listeners.into_iter().map(|(key, tick)| (key, tick.into())).collect();
        let asked = window.listeners.values().map(|listener| listener.get(ListenerCounter::Attempted)).sum();
        window.totals.add(Counter::Packets, asked);
        window.totals.add(Counter::Attempted, asked);
        self.now_ns = window.end_ns;
        self.engine.push(window, &mut self.changes);
    }

    /// The same tick at the web server, so many times.
    fn web(&mut self, ticks: u32, tick: Tick) {
        (0..ticks).for_each(|_| self.push([(WEB, tick)]));
    }

    /// All that was said of incidents of a kind.
    fn said(&self, kind: Kind) -> Vec<&Incident> {
        let incidents = self.changes.iter().filter_map(|change| match change {
            Change::Incident(incident) if incident.peak.kind == kind => Some(&**incident),
            _ => None,
        });
        incidents.collect()
    }

    fn opened(&self, kind: Kind) -> Vec<&Incident> {
        self.said(kind).into_iter().filter(|incident| incident.state == State::Opened).collect()
    }

    fn is_open(&self, kind: Kind) -> bool {
        self.engine.open_incidents().any(|incident| incident.peak.kind == kind)
    }
}

#[test]
fn a_flood_opens_within_three_ticks_and_closes_after_it_ends() {
    let mut run = Run::new();
    run.web(15 * SECOND, served(20));
    let began_ns = run.now_ns;
    run.web(3 * SECOND, under_flood(2_000));
    let opened = run.opened(Kind::SynFlood);
    assert_eq!(opened.len(), 1);
    assert_eq!((opened[0].target, opened[0].closed_ns), (Target::Listener(WEB), None));
    assert!(
        opened[0].opened_ns - began_ns <= 3 * TICK_NS,
        "{} ms",
        (opened[0].opened_ns - began_ns) / 1_000_000
    );
    let ended_ns = run.now_ns;
    run.web(10 * SECOND, served(20));
    assert!(!run.is_open(Kind::SynFlood));
    let closed_ns = run.said(Kind::SynFlood).last().unwrap().closed_ns.unwrap();
    // The sliding second has to empty first.
    let after_s = u64::from(Config::default().close_after_s);
    assert!((after_s..=after_s + 1).contains(&((closed_ns - ended_ns) / 1_000_000_000)), "{closed_ns}");
}

#[test]
fn a_flood_that_pauses_is_one_incident() {
    let mut run = Run::new();
    run.web(15 * SECOND, served(20));
    for _ in 0..4 {
        run.web(SECOND, under_flood(2_000));
        run.web(2 * SECOND, served(20));
    }
    run.web(10 * SECOND, served(20));
    let states: Vec<State> = run.said(Kind::SynFlood).iter().map(|incident| incident.state).collect();
    assert_eq!(states.iter().filter(|state| **state == State::Opened).count(), 1, "{states:?}");
    assert_eq!(states.iter().filter(|state| **state == State::Closed).count(), 1, "{states:?}");
}

#[test]
fn a_flood_in_pulses_is_one_incident_that_is_opened_again() {
    let mut run = Run::new();
    run.web(15 * SECOND, served(20));
    for _ in 0..40 {
        run.web(SECOND, under_flood(2_000));
        run.web(9 * SECOND, served(20));
    }
    run.web(70 * SECOND, served(20));
    let said = run.said(Kind::SynFlood);
    let last = said.last().unwrap();
    assert!(said.iter().all(|incident| incident.id == last.id));
    assert_eq!((last.state, last.pulses), (State::Closed, 2), "once back, it waits");
    assert_eq!(said.iter().filter(|incident| incident.state == State::Closed).count(), 2);
    assert_eq!(run.engine.run().incidents.len(), 1);
}

#[test]
fn nothing_is_learnt_from_a_flood() {
    let mut run = Run::new();
    run.web(15 * SECOND, served(20));
    // Ten times as long as all that was learnt before: a baseline that learns would take it for usual.
    run.web(150 * SECOND, under_flood(2_000));
    // Longer than what comes back is the same.
    run.web(70 * SECOND, served(20));
    run.web(3 * SECOND, under_flood(2_000));
    let baselines: Vec<_> =
        run.opened(Kind::SynFlood).iter().map(|incident| incident.peak.baseline).collect();
    assert_eq!(baselines, [Some(200.0), Some(200.0)]);
}

#[test]
fn a_flood_on_a_silent_listener_needs_no_baseline() {
    let mut run = Run::new();
    run.web(3 * SECOND, Tick { asked: 2_000, ..Tick::default() });
    assert_eq!(run.opened(Kind::SynFlood).len(), 1);
}

#[test]
fn a_surge_that_completes_is_a_surge() {
    let mut run = Run::new();
    run.web(15 * SECOND, served(20));
    run.web(5 * SECOND, served(500));
    assert_eq!(run.opened(Kind::ConnSurge).len(), 1);
    assert!(run.said(Kind::SynFlood).is_empty());
}

#[test]
fn a_surge_at_a_refusing_port_is_no_flood() {
    let mut run = Run::new();
    run.web(15 * SECOND, Tick { asked: 200, refused: 200, ..Tick::default() });
    assert!(run.said(Kind::SynFlood).is_empty());
}

#[test]
fn a_surge_of_slow_handshakes_is_no_flood() {
    let slow =
        |asked, completed| Tick { asked, answered: completed, completed, refused: 0, handshake_ms: 300 };
    let mut run = Run::new();
    run.web(3, slow(10, 0));
    run.web(15 * SECOND, slow(10, 10));
    // Handshakes complete three ticks after they began.
    run.web(3, slow(400, 10));
    run.web(5 * SECOND, slow(400, 400));
    run.web(3, slow(10, 400));
    run.web(5 * SECOND, slow(10, 10));
    assert!(run.said(Kind::SynFlood).is_empty(), "{:#?}", run.opened(Kind::SynFlood));
    assert_eq!(run.opened(Kind::ConnSurge).len(), 1);
}

#[test]
fn equal_windows_give_equal_changes() {
    let run = || {
        let mut run = Run::new();
        let other = ListenerKey { port: 443, ..WEB };
        for tick in 0..60 * u64::from(SECOND) {
            // Numbers without pattern, the same each time.
            let noise = tick.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58;
            let flood = if tick % 170 < 40 { 1_000 + noise } else { noise };
            run.push([(WEB, under_flood(flood)), (other, served(noise * 3))]);
        }
        run.engine.finish(&mut run.changes);
        format!("{:?}", run.changes)
    };
    let first = run();
    assert!(first.contains("SynFlood"));
    assert_eq!(first, run());
}

#[test]
fn a_gap_of_years_costs_nothing_and_ends_what_was_open() {
    let mut run = Run::new();
    run.web(15 * SECOND, served(20));
    run.web(SECOND, under_flood(2_000));
    assert!(run.is_open(Kind::SynFlood));
    let started = Instant::now();
    let said = run.changes.len();
    run.now_ns += 6 * YEAR_NS;
    run.web(1, served(20));
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    assert!(run.changes.len() - said < 10, "{} changes", run.changes.len() - said);
    let closed = run.said(Kind::SynFlood).last().unwrap().closed_ns.unwrap();
    assert!(closed < START_NS + 30_000_000_000, "it closed when it was over, not years later");
}

#[test]
fn what_was_usual_before_a_long_silence_is_forgotten() {
    let mut run = Run::new();
    run.web(15 * SECOND, served(20));
    run.now_ns += YEAR_NS;
    run.web(SECOND, under_flood(2_000));
    assert_eq!(run.opened(Kind::SynFlood)[0].peak.baseline, Some(0.0));
}

#[test]
fn ten_thousand_listeners_stay_bounded_and_the_proven_one_stays() {
    let mut run = Run::new();
    run.web(15 * SECOND, served(20));
    let scanned = |number: u32| {
        let address = IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + number));
        (ListenerKey { address, port: 22 }, Tick { asked: 1, ..Tick::default() })
    };
    // It is silent when the others come: only that it once served speaks for it.
    run.now_ns += 3_000_000_000;
    let started = Instant::now();
    run.push((0..10_000).map(scanned));
    let left = 10_000 + 1 - run.engine.run().listeners_forgotten as usize;
    assert!((LISTENERS_MAX..=LISTENERS_MAX + LISTENERS_SLACK).contains(&left), "{left}");
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    // Nobody is said to ask so many, so it may be a flood over all of them, told beside.
    let opened = run.opened(Kind::SynFlood);
    assert!(opened.iter().all(|incident| matches!(incident.target, Target::Network(_))), "{opened:?}");
    // The web server was not among the forgotten: what is usual there is still known.
    run.web(SECOND, under_flood(2_000));
    let opened = run.opened(Kind::SynFlood);
    let at_web = opened.iter().find(|incident| incident.target == Target::Listener(WEB));
    assert_eq!(at_web.map(|incident| incident.peak.baseline), Some(Some(200.0)));
}

/// Between nothing and a flood, with every outcome; now and then some seconds are missing.
fn any_tick() -> impl Strategy<Value = (u64, Tick)> {
    let gap_ticks = prop_oneof![9 => Just(0_u64), 1 => 1..200_u64];
    let asked = prop_oneof![0..30_u64, 0..3_000_u64];
    (gap_ticks, asked, 0..=100_u64, 0..=100_u64, 0..400_u64).prop_map(
        |(gap_ticks, asked, completed, refused, handshake_ms)| {
            let completed = asked * completed / 100;
            let refused = (asked - completed) * refused / 100;
            (gap_ticks, Tick { asked, answered: asked - refused, completed, refused, handshake_ms })
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(100) })]

    #[test]
    fn every_incident_opens_once_and_comes_back_within_a_minute_of_its_end_or_never(
        spells in prop::collection::vec((any_tick(), 1..40_u32), 1..12),
    ) {
        let mut run = Run::new();
        for ((gap_ticks, tick), ticks) in spells {
            run.now_ns += gap_ticks * TICK_NS;
            run.web(ticks, tick);
        }
        run.engine.finish(&mut run.changes);
        prop_assert_eq!(run.engine.open_incidents().count(), 0);
        let mut lives: BTreeMap<&str, Vec<&Incident>> = BTreeMap::new();
        for change in &run.changes {
            if let Change::Incident(incident) = change {
                lives.entry(&incident.id).or_default().push(incident);
            }
        }
        for (id, life) in lives {
            let states: Vec<State> = life.iter().map(|incident| incident.state).collect();
            let (first, last) = (states[0], states[states.len() - 1]);
            prop_assert!(states.len() >= 2 && first == State::Opened && last == State::Closed, "{id}: {states:?}");
            let between = &states[1..states.len() - 1];
            prop_assert!(between.iter().all(|state| *state != State::Opened), "{id}: {states:?}");
            for pair in life.windows(2).filter(|pair| pair[0].state == State::Closed) {
                prop_assert_eq!(pair[1].state, State::Updated);
                prop_assert!(pair[1].updated_ns - pair[0].updated_ns <= REOPEN_NS, "{}: too late", id);
            }
            prop_assert!(life.windows(2).all(|pair| pair[0].updated_ns <= pair[1].updated_ns), "{id}: time runs back");
        }
    }
}
