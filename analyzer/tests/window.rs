//! Properties of windows: they merge in any order and grouping, and frames give the same totals however they are cut
//! into ticks. Shards, ticks, files and hosts rely on it.

use std::net::{IpAddr, Ipv4Addr};
use std::ops::ControlFlow;
use std::path::Path;

use proptest::prelude::*;
use tidegauge_analyzer::collect::{Collector, View};
use tidegauge_analyzer::distinct::Distinct;
use tidegauge_analyzer::track::Shard;
use tidegauge_analyzer::window::{ListenerKey, ListenerWindow, TargetBeside, TargetWindow, Window};
use tidegauge_capture::file::{FileReader, Input, Mapping};
use tidegauge_ebpf::counter::{Counter, Counters};
use tidegauge_ebpf::flow::pair_hash;
use tidegauge_ebpf::listener::{ListenerCounter, ListenerRow};
use tidegauge_ebpf::packet::ipv4_mapped;
use tidegauge_ebpf::settings::Settings;
use tidegauge_ebpf::stamp::Stamp;
use tidegauge_ebpf::target::Majority;

/// Sources few enough that windows share some.
const SOURCES: u32 = 40;

fn address(number: u32) -> IpAddr {
    Ipv4Addr::from(0x0a00_0000 + number).into()
}

fn counters() -> impl Strategy<Value = Counters> {
    (prop::collection::vec(any::<u64>(), Counter::COUNT), prop::collection::vec(any::<u32>(), 0..20))
        .prop_map(|(values, samples)| {
            let mut counters = Counters::default();
            Counter::ALL.iter().zip(values).for_each(|(counter, value)| counters.add(*counter, value));
            for sample in samples {
                counters.rwnd_bytes.record(sample);
                counters.handshake_us.record(sample / 2);
                counters.transfer_us.record(sample / 3);
            }
            counters
        })
}

fn distinct_of(sources: &[u32]) -> Distinct {
    let mut row = ListenerRow::default();
    for source in sources {
        row.askers.record(pair_hash(ipv4_mapped(*source), 1, 7), 64, Stamp(0));
    }
    Distinct::of(&row.askers)
}

prop_compose! {
    fn listener()(
        known: bool,
        values in prop::collection::vec(any::<u64>(), ListenerCounter::COUNT),
        octaves in prop::collection::vec(any::<u64>(), 32),
        sources in prop::collection::btree_map(0..SOURCES, any::<u32>(), 0..16),
    ) -> ListenerWindow {
        let mut listener = ListenerWindow { known, ..ListenerWindow::default() };
        listener.counters.iter_mut().zip(values).for_each(|(own, value)| *own = value);
        listener.rwnd_octaves.iter_mut().zip(octaves).for_each(|(own, value)| *own = value);
        listener.distinct = distinct_of(&sources.keys().copied().collect::<Vec<_>>());
        listener.sources = sources.into_iter().map(|(source, count)| (address(source), count)).collect();
        tidegauge_analyzer::window::sort_sources(&mut listener.sources);
        listener.prefixes.clone_from(&listener.sources);
        listener.ttl_classes = listener.counters[0];
        listener
    }
}

prop_compose! {
    fn target()(
        counters: [u64; 8],
        ttl_classes: u64,
        ports in any::<[(u16, u16); 2]>(),
        beside in any::<Option<[u64; 4]>>(),
    ) -> TargetWindow {
        let [source_port, destination_port] = ports.map(|(port, lead)| Majority { port, lead });
        let beside = beside.map(|[sent_udp, sent_icmp, asked, first_fragments]| {
            TargetBeside { sent_udp, sent_icmp, asked, first_fragments }
        });
        TargetWindow { counters, ttl_classes, source_port, destination_port, beside }
    }
}

prop_compose! {
    fn window()(
        start_ns in 0..u64::MAX / 2,
        length_ns in 1..u64::MAX / 2,
        totals in counters(),
        listeners in prop::collection::btree_map(0..6_u16, listener(), 0..4),
        targets in prop::collection::btree_map(0..6_u32, target(), 0..4),
        level in 0..4_u32,
    ) -> Window {
        let key = |port| ListenerKey { address: address(0), port };
        let listeners = listeners.into_iter().map(|(port, listener)| (key(port), listener)).collect();
        let targets = targets.into_iter().map(|(number, target)| (address(number), target)).collect();
        let mut window = Window { start_ns, end_ns: start_ns + length_ns, totals: Box::new(totals), listeners, targets, sampling: None, truth: None, ..Window::default() };
        if level != 0 {
            window.scale(1 << level);
        }
        window
    }
}

fn merged(mut a: Window, b: Window) -> Window {
    a.merge(b);
    a
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(100) })]

    #[test]
    fn the_order_of_a_merge_does_not_matter(a in window(), b in window()) {
        prop_assert_eq!(merged(a.clone(), b.clone()), merged(b, a));
    }

    #[test]
    fn the_grouping_of_merges_does_not_matter(a in window(), b in window(), c in window()) {
        let left = merged(merged(a.clone(), b.clone()), c.clone());
        prop_assert_eq!(left, merged(a, merged(b, c)));
    }

    #[test]
    fn an_empty_window_changes_nothing(a in window()) {
        prop_assert_eq!(merged(a.clone(), Window::default()), a.clone());
        prop_assert_eq!(merged(Window::default(), a.clone()), a);
    }

}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(20) })]

    #[test]
    fn frames_give_the_same_sums_however_they_are_cut_into_ticks(cuts in prop::collection::btree_set(0..2_500_usize, 0..40)) {
        let whole = counted(&[]);
        let pieces = counted(&cuts.into_iter().collect::<Vec<_>>());
        prop_assert_eq!(&pieces.totals, &whole.totals);
        prop_assert_eq!(sums(&pieces), sums(&whole));
    }
}

/// The recorded flood, read out after each of these frames and at its end.
fn counted(cuts: &[usize]) -> Window {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/replay/flood.pcap");
    let mut reader = FileReader::open(&Input::Path(path), Mapping::Mapped).expect("recorded");
    let mut shard = Shard::with_buckets(Settings::with_seed(1), 1 << 12, 1 << 12);
    let mut collector = Collector::default();
    let (mut sum, mut number) = (Window::default(), 0);
    let end = reader.for_each(|frame| {
        if cuts.contains(&number) {
            sum.merge(collector.collect(View::Heap(&shard), 1, 2));
        }
        number += 1;
        shard.observe(&frame);
        ControlFlow::Continue(())
    });
    end.expect("whole");
    sum.merge(collector.collect(View::Heap(&shard), 1, 2));
    sum
}

/// What adds up; the sources of a listener are those of its last seconds.
fn sums(window: &Window) -> Vec<(ListenerKey, [u64; ListenerCounter::COUNT], bool)> {
    window.listeners.iter().map(|(key, listener)| (*key, listener.counters, listener.known)).collect()
}
