//! Tests of the file readers through their public functions. `outcome` reads a file in every way there is and
//! fails unless all agree, so each test that uses it is also a test of streaming.

mod batch;
mod builder;
mod headers;
mod open;
mod oracle;
mod pcap;
mod pcapng;
mod random;
mod unpack;

use std::io::{self, Read};
use std::ops::ControlFlow;

use super::limits::WINDOW_BYTES;
use super::source::{Contents, Source, Whole};
use super::step::Endian;
use super::*;

/// A frame that outlives the reader's buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    ts_ns: u64,
    dlt: u16,
    wire_len: u32,
    bytes: Vec<u8>,
}

/// All frames and the end, or the message.
type Outcome = Result<(Vec<Seen>, End), String>;

/// A stream that gives `step` bytes per read and is interrupted before each.
struct Trickle {
    bytes: Vec<u8>,
    at: usize,
    step: usize,
    interrupted: bool,
}

impl Trickle {
    fn new(bytes: &[u8], step: usize) -> Self {
        Self { bytes: bytes.to_vec(), at: 0, step, interrupted: false }
    }
}

impl Read for Trickle {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.interrupted = !self.interrupted;
        if self.interrupted {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let rest = &self.bytes[self.at..];
        let len = rest.len().min(self.step).min(buffer.len());
        buffer[..len].copy_from_slice(&rest[..len]);
        self.at += len;
        Ok(len)
    }
}

fn read(reader: Result<FileReader, FileError>) -> Outcome {
    let mut reader = reader.map_err(|error| error.to_string())?;
    let next_ts_ns = reader.next_ts_ns().unwrap();
    let mut frames = Vec::new();
    let end = reader.for_each(|frame| {
        frames.push(seen(frame));
        ControlFlow::Continue(())
    });
    let end = end.unwrap();
    assert_eq!(next_ts_ns, frames.first().map(|frame| frame.ts_ns), "peeking sees the first frame");
    assert_eq!(reader.next_ts_ns().unwrap(), None, "nothing follows the end");
    let again = reader.for_each(|_| panic!("a frame behind the end")).unwrap();
    assert_eq!(again, end, "the end stays");
    Ok((frames, end))
}

fn seen(frame: CapturedFrame<'_>) -> Seen {
    Seen { ts_ns: frame.ts_ns, dlt: frame.dlt, wire_len: frame.wire_len, bytes: frame.bytes.to_vec() }
}

fn whole(bytes: &[u8], window_bytes: usize) -> Result<FileReader, FileError> {
    let contents = Contents::Memory(bytes.to_vec());
    FileReader::new(Input::Stdin, Source::Whole(Whole::new(contents, window_bytes)))
}

fn trickled(bytes: &[u8], step: usize) -> Result<FileReader, FileError> {
    FileReader::from_stream(Input::Stdin, Trickle::new(bytes, step))
}

/// Reads `bytes` from memory through one and through many windows, from streams of three speeds, and in batches.
fn outcome(bytes: &[u8]) -> Outcome {
    let outcome = read(whole(bytes, WINDOW_BYTES));
    assert_eq!(read(whole(bytes, 1)), outcome, "windows as small as a record");
    for step in [1, 7, usize::MAX] {
        assert_eq!(read(trickled(bytes, step)), outcome, "streamed by {step}");
    }
    batch::check_batches(bytes, &outcome);
    outcome
}

fn frame(ts_ns: u64, dlt: u16, wire_len: u32, bytes: &[u8]) -> Seen {
    Seen { ts_ns, dlt, wire_len, bytes: bytes.to_vec() }
}

/// Cuts a file behind every byte: what is read is a prefix, and the end says whether a record is missing.
fn check_every_cut(file: &[u8], header_bytes: usize) {
    let (all, end) = outcome(file).unwrap();
    assert_eq!(end, End::Whole);
    for len in 0..file.len() {
        match outcome(&file[..len]) {
            Err(message) => assert!(len < header_bytes, "{len} bytes: {message}"),
            Ok((frames, end)) => {
                assert!(len >= header_bytes);
                assert!(all.starts_with(&frames), "{len} bytes");
                match end {
                    End::Whole => {}
                    End::Cut { offset, .. } => assert!(offset < len as u64),
                    other => panic!("{len} bytes: {other}"),
                }
            }
        }
    }
}

#[test]
fn readers_may_move_between_threads() {
    fn assert_send<T: Send>() {}
    assert_send::<FileReader>();
}

#[test]
fn a_stopped_reader_goes_on_behind_the_last_frame() {
    let file = builder::small_pcapng(Endian::Little).bytes;
    let (all, _) = outcome(&file).unwrap();
    for reader in [whole(&file, 1), whole(&file, WINDOW_BYTES), trickled(&file, 1)] {
        let mut reader = reader.unwrap();
        for expected in &all {
            assert_eq!(reader.next_ts_ns().unwrap(), Some(expected.ts_ns));
            let mut got = Vec::new();
            let end = reader.for_each(|frame| {
                got.push(seen(frame));
                ControlFlow::Break(())
            });
            assert_eq!(end.unwrap(), End::Stopped);
            assert_eq!(got, std::slice::from_ref(expected));
        }
        assert_eq!(reader.for_each(|_| ControlFlow::Break(())).unwrap(), End::Whole);
    }
}

#[test]
fn a_stream_that_fails_says_where() {
    struct Fails;
    impl Read for Fails {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("bad sector"))
        }
    }
    let file = builder::small_pcap(Endian::Little).bytes;
    let stream = io::Cursor::new(file.clone()).chain(Fails);
    let mut reader = FileReader::from_stream(Input::Path("x.pcap".into()), stream).unwrap();
    let mut count = 0;
    let error = reader.for_each(|_| {
        count += 1;
        ControlFlow::Continue(())
    });
    let message = error.unwrap_err().to_string();
    assert_eq!((count, message), (3, format!("x.pcap: reading failed at byte {}: bad sector", file.len())));
}
