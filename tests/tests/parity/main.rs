//! Parity: the packet logic compiled for the kernel and the same logic in userspace agree, frame by frame.
//!
//! Every capture at hand, and 100,000 mutated and truncated frames drawn from them, go through the committed BPF
//! object by `BPF_PROG_TEST_RUN` and through [`Shard::observe_as_kernel`](tidegauge_analyzer::track::Shard) on the
//! same clock. Totals are compared after each frame, so a difference names its frame and counter; all tables are
//! compared after each capture or batch. Tables are small, so that full buckets and evictions happen.
//! Needs the right to load BPF programs; says so and passes otherwise.

mod bulk;
mod corpus;
mod mutate;
mod twin;

use corpus::Frames;
use mutate::Mutator;
use tidegauge_tests::random::Random;
use tidegauge_tests::skip::skip;
use twin::{Direction, Twin};

const MUTATED_FRAMES: u64 = 100_000;
/// Mutated frames between two comparisons of all tables.
const BATCH_FRAMES: u64 = 5_000;
/// So many frames of each capture, from the first on, also go through the TC program.
const EGRESS_FRAMES: usize = 1_000;

#[test]
fn every_capture_gives_equal_tables() {
    let Some(mut twin) = Twin::new_or_skip("every_capture_gives_equal_tables") else { return };
    for path in captures_or_skip("every_capture_gives_equal_tables") {
        let name = path.display();
        let frames = Frames::read(&path);
        for (index, frame) in frames.iter().enumerate() {
            twin.feed(frame.ts_ns, frame.bytes, Direction::Ingress)
                .unwrap_or_else(|difference| panic!("{name}, frame {}: {difference}", index + 1));
        }
        twin.compare().unwrap_or_else(|difference| panic!("after {name}: {difference}"));
    }
    println!("{}", twin.summary());
}

#[test]
fn mutated_and_truncated_frames_give_equal_tables() {
    let Some(mut twin) = Twin::new_or_skip("mutated_and_truncated_frames_give_equal_tables") else { return };
    let captures = captures_or_skip("mutated_and_truncated_frames_give_equal_tables");
    let mut random = Random::new(1);
    let seeds = corpus::sample(&captures, &mut random);
    if seeds.is_empty() {
        return;
    }
    let mut mutator = Mutator::new(random);
    while twin.fed() < MUTATED_FRAMES {
        let (ts_ns, frame) = mutator.next(&seeds);
        let number = twin.fed();
        twin.feed(ts_ns, frame, Direction::Ingress)
            .unwrap_or_else(|difference| panic!("mutated frame {number}: {difference}: {frame:02x?}"));
        if number % BATCH_FRAMES == 0 {
            twin.compare().unwrap_or_else(|difference| panic!("up to mutated frame {number}: {difference}"));
        }
    }
    twin.compare().unwrap_or_else(|difference| panic!("after all mutated frames: {difference}"));
    println!("{}", twin.summary());
}

#[test]
fn a_bulk_transfer_is_timed_alike() {
    for (segment_ns, slow) in [(100_000, 0), (1_000_000, 3)] {
        let Some(mut twin) = Twin::new_or_skip("a_bulk_transfer_is_timed_alike") else { return };
        for (ts_ns, frame) in bulk::frames(segment_ns) {
            twin.feed(ts_ns, &frame, Direction::Ingress).unwrap_or_else(|difference| panic!("{difference}"));
        }
        twin.compare().unwrap_or_else(|difference| panic!("{difference}"));
        assert_eq!(twin.timed(), (3, slow));
    }
}

#[test]
fn what_the_host_sends_is_counted_alike_super_frames_included() {
    let test = "what_the_host_sends_is_counted_alike_super_frames_included";
    let Some(mut twin) = Twin::new_or_skip(test) else { return };
    for path in captures_or_skip(test) {
        let name = path.display();
        for (index, frame) in Frames::read(&path).iter().enumerate().take(EGRESS_FRAMES) {
            // Now and then what TSO makes of several segments; 0 is what the kernel says of a single one.
            let gso_segs = if index % 7 == 0 { index as u32 % 45 } else { 0 };
            twin.feed(frame.ts_ns, frame.bytes, Direction::Egress { gso_segs })
                .unwrap_or_else(|difference| panic!("{name}, frame {}: {difference}", index + 1));
        }
        twin.compare().unwrap_or_else(|difference| panic!("after {name}: {difference}"));
    }
    println!("{}", twin.summary());
}

/// The captures at hand; says which directories are missing.
fn captures_or_skip(test: &str) -> Vec<std::path::PathBuf> {
    let (captures, missing) = corpus::captures();
    for directory in missing {
        skip(test, &format!("without the captures of {}, which is not there", directory.display()));
    }
    captures
}
