//! Batches: the same frames and the same end as `for_each` gives, while earlier batches are still in use.
//!
//! `outcome` calls `check_batches` for each file of every test, so damaged, cut and random files are among them.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;

use super::super::limits::{FRAME_BYTES_MAX, STREAM_READ_BYTES, WINDOW_BYTES};
use super::super::step::Endian;
use super::super::{End, FileError, FileReader, FrameBatch, Input, Mapping};
use super::builder::{Builder, MICROSECONDS, small_pcap, small_pcapng};
use super::{Outcome, Seen, outcome, read, seen, trickled, whole};

/// Batches that are kept while others are filled: what a batch holds must not change meanwhile.
const IN_USE: usize = 3;

/// Reads a file in batches of `frames_max`. Each batch is looked at only when `IN_USE` others were filled after it.
pub(super) fn read_batches(reader: Result<FileReader, FileError>, frames_max: usize) -> Outcome {
    let mut reader = reader.map_err(|error| error.to_string())?;
    let mut frames = Vec::new();
    let mut batches: VecDeque<FrameBatch> = (0..=IN_USE).map(|_| FrameBatch::new()).collect();
    let mut take =
        |batch: &FrameBatch| frames.extend((0..batch.frames().len()).map(|at| seen(batch.frame(at))));
    let end = loop {
        let mut batch = batches.pop_front().unwrap();
        take(&batch);
        let end = reader.next_batch(&mut batch, frames_max).unwrap();
        assert!(batch.frames().len() <= frames_max);
        assert!(end.is_some() || !batch.is_empty(), "a batch before the end has frames");
        batches.push_back(batch);
        if let Some(end) = end {
            break end;
        }
    };
    batches.iter().for_each(take);
    let mut batch = FrameBatch::new();
    assert_eq!(reader.next_batch(&mut batch, frames_max).unwrap(), Some(end), "the end stays");
    assert!(batch.is_empty(), "a frame behind the end");
    Ok((frames, end))
}

/// Reads `bytes` in batches of several sizes, from memory and from streams.
pub(super) fn check_batches(bytes: &[u8], expected: &Outcome) {
    for frames_max in [1, 7, 1_024] {
        let check = |reader, way: &str| {
            let got = read_batches(reader, frames_max);
            assert!(got == *expected, "{way}, batches of {frames_max}: {}", difference(&got, expected));
        };
        check(whole(bytes, WINDOW_BYTES), "whole");
        check(whole(bytes, 1), "windows as small as a record");
        check(trickled(bytes, usize::MAX), "streamed");
        check(FileReader::from_stream(Input::Stdin, Erratic::new(bytes)), "streamed by random steps");
    }
}

/// Where two results differ, in a line.
fn difference(got: &Outcome, expected: &Outcome) -> String {
    match (got, expected) {
        (Ok((frames, end)), Ok((expected, expected_end))) => {
            let alike = frames.iter().zip(expected).take_while(|(frame, expected)| frame == expected).count();
            format!(
                "{} frames and {end}, instead of {} and {expected_end}; the first {alike} agree",
                frames.len(),
                expected.len()
            )
        }
        (got, expected) => format!("{:?} instead of {:?}", got.as_ref().err(), expected.as_ref().err()),
    }
}

/// A stream of short and long reads, the same for the same bytes.
struct Erratic {
    bytes: io::Cursor<Vec<u8>>,
    state: u32,
}

impl Erratic {
    fn new(bytes: &[u8]) -> Self {
        Self { bytes: io::Cursor::new(bytes.to_vec()), state: bytes.len() as u32 }
    }
}

impl Read for Erratic {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.state = self.state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let high = (self.state >> 16) as usize;
        // One read in four is of a few bytes, the others are of up to 64 KiB as those of a pipe.
        let step = if high.is_multiple_of(4) { high % 40 + 1 } else { high + 1 };
        let len = buffer.len().min(step);
        self.bytes.read(&mut buffer[..len])
    }
}

/// A file of `count` frames of `len` bytes; each frame is filled with its number.
fn numbered(count: u32, len: usize) -> Vec<u8> {
    let file = (0..count).fold(Builder::new(Endian::Little).pcap_header(MICROSECONDS, 1), |file, number| {
        file.record(number + 1, 0, len as u32, &vec![number as u8; len])
    });
    file.bytes
}

#[test]
fn batches_may_be_shared_between_threads() {
    fn assert_shared<T: Send + Sync>() {}
    assert_shared::<FrameBatch>();
}

#[test]
fn files_of_many_buffers_and_windows_are_alike_in_all_ways() {
    for len in [60, 1_514, 60_000, FRAME_BYTES_MAX as usize] {
        let count = (5 * STREAM_READ_BYTES / len + 3) as u32;
        let file = numbered(count, len);
        let (frames, end) = outcome(&file).unwrap();
        assert_eq!((frames.len(), end), (count as usize, End::Whole));
    }
}

#[test]
fn batches_do_not_keep_buffers_that_grew() {
    let frame = [0x77; 1_000];
    let mut file = Builder::new(Endian::Little).section(Endian::Little).interface(1, 0, &[]);
    for ticks in 0..6 {
        // A frame and a comment of a mebibyte behind it, as 16 options.
        let comments = [1, 0, 0xfc, 0xff].into_iter().chain([b'x'; 0xfffc]).collect::<Vec<u8>>().repeat(16);
        file = file.enhanced(0, ticks, 1_000, &frame).block(6, |body| {
            let head = body.u32(0).u32(0).u32(ticks as u32).u32(1_000).u32(1_000);
            head.raw(&frame).raw(&comments)
        });
    }
    let (all, end) = outcome(&file.bytes).unwrap();
    assert_eq!((all.len(), end), (12, End::Whole));
    let mut reader = trickled(&file.bytes, usize::MAX).unwrap();
    let mut batches = Vec::new();
    loop {
        let mut batch = FrameBatch::new();
        let end = reader.next_batch(&mut batch, 1_024).unwrap();
        assert!(batch.held.bytes().len() <= STREAM_READ_BYTES);
        batches.push(batch);
        if end.is_some() {
            break;
        }
    }
    let frames = batches.iter().flat_map(|batch| (0..batch.frames().len()).map(|at| seen(batch.frame(at))));
    assert!(frames.eq(all));
}

#[test]
fn buffers_are_used_again_and_pages_are_let_go() {
    let file = numbered(20_000, 1_000);
    let mut reader = trickled(&file, usize::MAX).unwrap();
    let mut batches = [FrameBatch::new(), FrameBatch::new(), FrameBatch::new()];
    let mut buffers = std::collections::BTreeSet::new();
    'reading: loop {
        for batch in &mut batches {
            batch.clear();
            assert!(batch.is_empty());
            if reader.next_batch(batch, 100).unwrap().is_some() {
                break 'reading;
            }
            buffers.insert(batch.held.bytes().as_ptr().addr());
        }
    }
    assert!(buffers.len() <= batches.len() + 2, "{} buffers", buffers.len());
    let mut reader = whole(&file, WINDOW_BYTES).unwrap();
    reader.next_batch(&mut batches[0], 100).unwrap();
    assert!(!batches[0].held.bytes().is_empty());
    batches[0].clear();
    assert!(batches[0].held.bytes().is_empty());
}

#[test]
fn a_batch_of_one_after_peeking() {
    let file = small_pcapng(Endian::Big).bytes;
    let (all, _) = outcome(&file).unwrap();
    for reader in [whole(&file, 1), whole(&file, WINDOW_BYTES), trickled(&file, 1)] {
        let mut reader = reader.unwrap();
        let mut batch = FrameBatch::new();
        for expected in &all {
            assert_eq!(reader.next_ts_ns().unwrap(), Some(expected.ts_ns));
            assert_eq!(reader.next_batch(&mut batch, 1).unwrap(), None);
            assert_eq!(reader.next_ts_ns().unwrap().is_none(), expected == all.last().unwrap());
            assert_eq!(batch.frames().len(), 1);
            assert_eq!(seen(batch.frame(0)), *expected);
        }
    }
}

#[test]
fn a_batch_goes_from_one_reader_to_another() {
    let file = small_pcap(Endian::Little).bytes;
    let mut batch = FrameBatch::new();
    for reader in
        [whole(&file, 1), trickled(&file, 9), whole(&file, WINDOW_BYTES), trickled(&file, usize::MAX)]
    {
        let mut reader = reader.unwrap();
        assert_eq!(reader.next_batch(&mut batch, 1).unwrap(), None);
        assert_eq!(batch.bytes(&batch.frames()[0]), b"first");
    }
    let foreign = super::super::FrameMeta { offset: u64::MAX, ..batch.frames()[0] };
    assert!(batch.bytes(&foreign).is_empty());
    let foreign = super::super::FrameMeta { captured_len: u32::MAX, ..batch.frames()[0] };
    assert!(batch.bytes(&foreign).is_empty());
}

#[test]
fn a_slow_stream_is_not_waited_for_while_there_are_frames() {
    let file = small_pcap(Endian::Little).bytes;
    let (all, _) = outcome(&file).unwrap();
    // Up to the middle of the third record; the stream fails when it is asked for more.
    struct Stalls(io::Cursor<Vec<u8>>);
    impl Read for Stalls {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            match self.0.read(buffer)? {
                0 => Err(io::ErrorKind::WouldBlock.into()),
                len => Ok(len),
            }
        }
    }
    let stream = Stalls(io::Cursor::new(file[..file.len() - 3].to_vec()));
    let mut reader = FileReader::from_stream(Input::Stdin, stream).unwrap();
    let mut batch = FrameBatch::new();
    assert_eq!(reader.next_batch(&mut batch, 100).unwrap(), None);
    let frames: Vec<Seen> = (0..batch.frames().len()).map(|at| seen(batch.frame(at))).collect();
    assert_eq!(frames, all[..2]);
    assert!(matches!(reader.next_batch(&mut batch, 100), Err(FileError::Read(..))));
    assert!(batch.is_empty());
}

#[test]
fn other_threads_read_batches_while_the_next_ones_are_filled() {
    let file = numbered(20_000, 1_000);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("numbered");
    std::fs::write(&path, &file).unwrap();
    for mapping in [Mapping::Mapped, Mapping::Streamed] {
        let mut reader = FileReader::open(&Input::Path(path.clone()), mapping).unwrap();
        let (full, to_fill) = (Arc::new(AtomicUsize::new(0)), mpsc::channel::<FrameBatch>());
        let (work, jobs) = mpsc::sync_channel::<FrameBatch>(IN_USE);
        for _ in 0..=IN_USE {
            to_fill.0.send(FrameBatch::new()).unwrap();
        }
        let worker = thread::spawn({
            let full = Arc::clone(&full);
            move || {
                for batch in jobs {
                    for frame in batch.frames() {
                        let number = (frame.ts_ns / 1_000_000_000 - 1) as u8;
                        assert!(batch.bytes(frame).iter().all(|byte| *byte == number));
                    }
                    full.fetch_add(batch.frames().len(), Ordering::Relaxed);
                    let _ = to_fill.0.send(batch);
                }
            }
        });
        let end = loop {
            let mut batch = to_fill.1.recv().unwrap();
            let end = reader.next_batch(&mut batch, 100).unwrap();
            work.send(batch).unwrap();
            if let Some(end) = end {
                break end;
            }
        };
        drop(work);
        worker.join().unwrap();
        assert_eq!((end, full.load(Ordering::Relaxed)), (End::Whole, 20_000), "{mapping:?}");
    }
}

#[test]
fn an_opened_file_is_alike_in_batches_mapped_and_streamed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("numbered");
    std::fs::write(&path, numbered(30_000, 700)).unwrap();
    assert!(std::fs::metadata(&path).unwrap().len() > 2 * WINDOW_BYTES as u64);
    let expected = read(FileReader::open(&Input::Path(path.clone()), Mapping::Mapped));
    for mapping in [Mapping::Mapped, Mapping::Streamed] {
        for frames_max in [1, 7, 1_024] {
            let got = read_batches(FileReader::open(&Input::Path(path.clone()), mapping), frames_max);
            assert!(got == expected, "{mapping:?}, {frames_max}: {}", difference(&got, &expected));
        }
    }
}
