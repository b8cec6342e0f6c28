//! Sampling against the truth: the same captures with all flows, and with a share of them.
//!
//! The shared captures may not be copied into the project: where they are not beside the checkout, this is said.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use tidegauge_analyzer::follow::{MEMORY_MIB_MIN, Sizes};
use tidegauge_analyzer::sample::{BOUNDED, Pressure};
use tidegauge_analyzer::window::Window;
use tidegauge_analyzer::worker::{Passed, Worker};
use tidegauge_capture::file::{FileReader, Input, Mapping};
use tidegauge_ebpf::counter::Counter;
use tidegauge_ebpf::settings::Settings;
use tidegauge_tests::skip::skip;

const ONE_IN: u32 = 4;
const SEEDS: u64 = 4;
/// Header facts: of every frame that was read.
const EXACT: [Counter; 11] = [
    Counter::Packets,
    Counter::Bytes,
    Counter::Ipv4,
    Counter::Ipv6,
    Counter::Udp,
    Counter::Segments,
    Counter::Syn,
    Counter::SynAck,
    Counter::Fin,
    Counter::Rst,
    Counter::PayloadBytes,
];
/// What a flow of which only a part is seen looks like.
const HALF_SEEN: [Counter; 2] = [Counter::AnsweredUnasked, Counter::CompletedOneSided];

/// All windows of a worker that follows one in `one_in` flows of a capture.
fn counted(capture: &Path, seed: u64, one_in: u32) -> Window {
    const LOSING: Pressure = Pressure { lost_frames: 1, behind_ns: 0 };
    let mut worker = Worker::new(Settings::with_seed(seed), Sizes::of_worker(MEMORY_MIB_MIN, 1));
    let mut passed = Vec::new();
    while worker.one_in() < one_in {
        worker.relieve(LOSING, &mut passed);
    }
    let mut reader = FileReader::open(&Input::Path(capture.to_owned()), Mapping::Mapped).unwrap();
    // Some captures are cut on purpose: what can be read counts.
    let _ = reader.for_each(|frame| {
        worker.frame(&frame, &mut passed);
        ControlFlow::Continue(())
    });
    worker.finish(&mut passed);
    let mut sum = Window::default();
    for step in passed {
        if let Passed::Window(window) = step {
            sum.merge(*window);
        }
    }
    sum
}

fn captures() -> Vec<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/replay");
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/captures");
    if !shared.is_dir() {
        skip(
            "sampled_flows_are_whole_and_their_estimates_true",
            "the shared captures are not here: own ones only",
        );
    }
    let files = |dir: &Path| std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let is_capture = |path: &PathBuf| path.extension().is_some_and(|kind| kind == "pcap" || kind == "pcapng");
    files(&own).chain(files(&shared)).filter(is_capture).collect()
}

#[test]
fn sampled_flows_are_whole_and_their_estimates_true() {
    let mut compared = 0;
    for capture in captures() {
        for seed in 0..SEEDS {
            let truth = counted(&capture, seed, 1);
            let sample = counted(&capture, seed, ONE_IN);
            let (truth, sampling) = (&truth.totals, sample.sampling);
            let sample = &sample.totals;
            let place = capture.display();
            for counter in EXACT {
                assert_eq!(sample.get(counter), truth.get(counter), "{place}: {}", counter.name());
            }
            for counter in HALF_SEEN {
                let seen = sample.get(counter) / u64::from(ONE_IN);
                assert!(seen <= truth.get(counter), "{place}: {}", counter.name());
            }
            let Some(sampling) = sampling else { continue };
            for (counter, error) in sampling.errors_95() {
                assert!(BOUNDED.contains(&counter));
                // Few events have errors that a normal distribution does not describe.
                if truth.get(counter) < 500 {
                    continue;
                }
                compared += 1;
                let (estimate, truth) = (sample.get(counter) as f64, truth.get(counter) as f64);
                // 1.96 standard errors times two.
                assert!((estimate - truth).abs() <= 2.0 * error, "{place}: {estimate} +- {error}, {truth}");
            }
        }
    }
    assert!(compared > 0, "some capture has enough handshakes");
}
