//! What the kernel program judges with little state beside the full judgement: the same code as in the kernel, run over
//! whole captures in userspace (that both give the same answers is the parity test's business).

use std::ops::ControlFlow;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tidegauge_analyzer::track::Shard;
use tidegauge_capture::file::{FileReader, Input, Mapping};
use tidegauge_ebpf::counter::{Counter, Counters};
use tidegauge_ebpf::settings::Settings;

use super::support::{events, run, tidegauge};

/// Buckets enough for every capture at hand.
const ATTEMPT_BUCKETS: u32 = 1 << 15;
const FLOW_BUCKETS: u32 = 1 << 17;

/// Totals by the kernel program's judgement.
fn kernels(capture: &Path) -> Counters {
    let mut shard = Shard::with_buckets(Settings::with_seed(1), ATTEMPT_BUCKETS, FLOW_BUCKETS);
    let mut reader = FileReader::open(&Input::Path(capture.to_owned()), Mapping::Mapped).unwrap();
    let end = reader.for_each(|frame| {
        shard.observe(&frame);
        ControlFlow::Continue(())
    });
    end.unwrap();
    shard.flush();
    *shard.counters()
}

fn summary(capture: &Path) -> Value {
    let ran = run(Command::new(tidegauge()).args(["read", "--json"]).arg(capture));
    events(&ran.stdout).pop().unwrap()
}

#[test]
fn the_kernels_judgement_agrees_with_the_full_one() {
    for capture in super::captures("the_kernels_judgement_agrees_with_the_full_one") {
        let (kernels, full) = (kernels(&capture), summary(&capture));
        let count = |pointer: &str| full.pointer(pointer).and_then(Value::as_u64).unwrap();
        for (pointer, counter) in [
            ("/packets", Counter::Packets),
            ("/bytes", Counter::Bytes),
            ("/tcp/segments", Counter::Segments),
            ("/tcp/payload_bytes", Counter::PayloadBytes),
            ("/handshake/attempted", Counter::Attempted),
            ("/handshake/answered", Counter::Answered),
            ("/handshake/completed", Counter::Completed),
            ("/handshake/completed_one_sided", Counter::CompletedOneSided),
            ("/handshake/refused", Counter::Refused),
            ("/handshake/aborted", Counter::Aborted),
        ] {
            assert_eq!(count(pointer), kernels.get(counter), "{pointer} of {}", capture.display());
        }
        let copies = count("/tcp/captured_twice");
        let (less, more) = (count("/tcp/syn_retransmission"), kernels.get(Counter::SynRetransmission));
        assert!(less <= more && more <= less + copies, "{less}, {more} of {}", capture.display());
        // Copies are sent again to who remembers too little to know them; it knows no SYN-ACK sent again, and what a SYN
        // carried counts as new to it.
        let (less, more) =
            (kernels.get(Counter::RetransmitOrReordered), count("/tcp/retransmit_or_reordered"));
        let slack = copies + more / 50 + 2;
        assert!(less.abs_diff(more) <= slack, "{less} and {more} of {}", capture.display());
    }
}
