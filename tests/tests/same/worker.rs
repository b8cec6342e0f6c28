//! A worker of a live source and the threads that read a file say the same of the same frames, window by window.

use std::convert::Infallible;
use std::ops::ControlFlow;
use std::path::Path;

use tidegauge_analyzer::account::Accounts;
use tidegauge_analyzer::batch::{Batch, FRAMES_MAX};
use tidegauge_analyzer::follow::{MEMORY_MIB_DEFAULT, Sizes};
use tidegauge_analyzer::pipeline::{self, Books, Fill, Told};
use tidegauge_analyzer::window::Window;
use tidegauge_analyzer::worker::{Passed, Worker};
use tidegauge_capture::file::{FileReader, Input, Mapping};
use tidegauge_ebpf::settings::Settings;

use crate::captures;

/// A window, or a jump of packet time.
type Step = Result<Box<Window>, u64>;

struct File(FileReader);

impl Fill for File {
    type Error = Infallible;

    fn fill(&mut self, batch: &mut Batch) -> Result<bool, Infallible> {
        // Some captures are cut on purpose: what can be read counts.
        while let Ok(None) = self.0.next_batch(&mut batch.frames, FRAMES_MAX) {
            if !batch.is_empty() {
                return Ok(true);
            }
        }
        Ok(!batch.is_empty())
    }
}

fn open(capture: &Path) -> FileReader {
    FileReader::open(&Input::Path(capture.to_owned()), Mapping::Mapped).unwrap()
}

fn of_file(capture: &Path, settings: Settings, sizes: Sizes) -> Vec<Step> {
    let mut steps = Vec::new();
    let tell = |told: Told<'_>| {
        match told {
            Told::Window(window) => steps.push(Ok(window)),
            Told::JumpBack(start_ns) => steps.push(Err(start_ns)),
            Told::Flow(_) | Told::Judgement(..) | Told::Frames(..) => {}
        }
        Ok(())
    };
    let mut books = Books::new(Accounts::new(settings), false);
    let outcome = pipeline::run(&mut File(open(capture)), 2, sizes, settings, &mut books, tell);
    assert!(outcome.error.is_none());
    steps
}

/// Frames come one by one, and now and then the worker is asked how far it is.
fn of_worker(capture: &Path, settings: Settings, sizes: Sizes) -> Vec<Step> {
    let mut worker = Worker::new(settings, sizes);
    let (mut passed, mut frames) = (Vec::new(), 0_u64);
    open(capture)
        .for_each(|frame| {
            worker.frame(&frame, &mut passed);
            frames += 1;
            if frames.is_multiple_of(777) {
                worker.catch_up(&mut passed);
            }
            ControlFlow::Continue(())
        })
        .unwrap();
    worker.finish(&mut passed);
    let step = |step| match step {
        Passed::Window(window) => Ok(window),
        Passed::JumpBack(start_ns) => Err(start_ns),
    };
    passed.into_iter().map(step).collect()
}

#[test]
fn a_live_worker_says_what_is_read_of_a_file() {
    let settings = Settings::with_seed(3);
    assert_eq!(Sizes::of_worker(MEMORY_MIB_DEFAULT, 1), Sizes::of_memory(MEMORY_MIB_DEFAULT, false));
    let sizes = Sizes::of_memory(MEMORY_MIB_DEFAULT, false);
    for capture in captures("a_live_worker_says_what_is_read_of_a_file") {
        let (file, live) = (of_file(&capture, settings, sizes), of_worker(&capture, settings, sizes));
        assert!(!file.is_empty());
        assert_eq!(file.len(), live.len(), "{}", capture.display());
        for (file, live) in file.iter().zip(&live) {
            assert!(file == live, "{}: {file:?}\n{live:?}", capture.display());
        }
    }
}
