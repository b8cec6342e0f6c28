//! Reading a capture file: no panic, an end, and the same result from memory, from a stream, and in batches of either.
//!
//! The input is placed inside the format: behind a valid file header, and, for half of the pcapng inputs, cut into
//! blocks whose lengths are right, since random bytes hardly ever carry the same length twice.

use std::io::{self, Read};
use std::ops::ControlFlow;

use tidegauge_capture::file::{End, FileError, FileReader, FrameBatch, Input};

/// Magic numbers of pcap as bytes of the file: three layouts in two byte orders.
const PCAP_MAGICS: [u32; 6] = [0xa1b2_c3d4, 0xd4c3_b2a1, 0xa1b2_3c4d, 0x4d3c_b2a1, 0xa1b2_cd34, 0x34cd_b2a1];
const PCAP_HEADER_BYTES: usize = 24;

/// Shortest length of a record in either format, which bounds the number of frames in a file.
const RECORD_BYTES_MIN: usize = 12;

/// Checks a pcap file whose header is chosen by the first byte of `input`; the rest are its records.
pub fn check_pcap(input: &[u8]) {
    let Some((&choice, records)) = input.split_first() else { return };
    let magic = PCAP_MAGICS[usize::from(choice) % PCAP_MAGICS.len()].to_be_bytes();
    let version = if magic[0] == 0xa1 { [0, 2, 0, 4] } else { [2, 0, 4, 0] };
    let mut file = Vec::with_capacity(PCAP_HEADER_BYTES + records.len());
    file.extend(magic);
    file.extend(version);
    file.resize(PCAP_HEADER_BYTES, 1);
    file.extend(records);
    check(&file, usize::from(choice));
}

/// Checks a pcapng file: the first byte of `input` chooses byte order and framing, the rest are its blocks.
pub fn check_pcapng(input: &[u8]) {
    let Some((&choice, blocks)) = input.split_first() else { return };
    let order = if choice & 1 == 0 { ByteOrder::Big } else { ByteOrder::Little };
    let mut file = Vec::new();
    let section = [[0x1a, 0x2b, 0x3c, 0x4d], [0, 1, 0, 0], [0xff; 4], [0xff; 4]];
    let section = match order {
        ByteOrder::Big => section,
        ByteOrder::Little => [[0x4d, 0x3c, 0x2b, 0x1a], [1, 0, 0, 0], [0xff; 4], [0xff; 4]],
    };
    order.append_block(&mut file, 0x0a0d_0d0a, section.as_flattened());
    if choice & 2 == 0 {
        file.extend(blocks);
    } else {
        append_framed(&mut file, order, blocks);
    }
    check(&file, usize::from(choice >> 2));
}

/// Cuts `input` into blocks: a byte of kind, a byte of length in words, the body.
fn append_framed(file: &mut Vec<u8>, order: ByteOrder, mut input: &[u8]) {
    while let Some((&[kind, words], rest)) = input.split_first_chunk() {
        let (body, rest) = rest.split_at(rest.len().min(usize::from(words) * 4) / 4 * 4);
        order.append_block(file, u32::from(kind % 12), body);
        input = rest;
    }
}

#[derive(Clone, Copy)]
enum ByteOrder {
    Big,
    Little,
}

impl ByteOrder {
    fn bytes(self, value: u32) -> [u8; 4] {
        match self {
            Self::Big => value.to_be_bytes(),
            Self::Little => value.to_le_bytes(),
        }
    }

    fn append_block(self, file: &mut Vec<u8>, kind: u32, body: &[u8]) {
        let len = self.bytes(body.len() as u32 + 12);
        file.extend(self.bytes(kind));
        file.extend(len);
        file.extend(body);
        file.extend(len);
    }
}

/// What is compared of a frame: time, link type, length on the wire, bytes.
type Seen = (u64, u16, u32, Vec<u8>);

/// A stream that gives at most `step` bytes per read.
struct Trickle {
    bytes: io::Cursor<Vec<u8>>,
    step: usize,
}

impl Read for Trickle {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = buffer.len().min(self.step);
        self.bytes.read(&mut buffer[..len])
    }
}

fn check(file: &[u8], step: usize) {
    let slice = read(FileReader::from_bytes(Input::Stdin, file.to_vec()));
    let bytes = io::Cursor::new(file.to_vec());
    // A step of zero would be an end of file.
    let streamed = read(FileReader::from_stream(Input::Stdin, Trickle { bytes, step: step + 1 }));
    assert_eq!(slice, streamed);
    let bytes = io::Cursor::new(file.to_vec());
    let reader = FileReader::from_stream(Input::Stdin, Trickle { bytes, step: step + 1 });
    assert_eq!(slice, in_batches(reader, step + 1));
    assert_eq!(slice, in_batches(FileReader::from_bytes(Input::Stdin, file.to_vec()), step + 1));
    let Ok((frames, _)) = slice else { return };
    assert!(frames.len() * RECORD_BYTES_MIN <= file.len());
    for (_, _, wire_len, bytes) in frames {
        assert!(bytes.len() <= wire_len as usize);
    }
}

/// All frames and the end, or the message.
fn read(reader: Result<FileReader, FileError>) -> Result<(Vec<Seen>, End), String> {
    let mut reader = reader.map_err(|error| error.to_string())?;
    let first_ts_ns = reader.next_ts_ns().map_err(|error| error.to_string())?;
    let mut frames: Vec<Seen> = Vec::new();
    let end = reader
        .for_each(|frame| {
            frames.push((frame.ts_ns, frame.dlt, frame.wire_len, frame.bytes.to_vec()));
            ControlFlow::Continue(())
        })
        .map_err(|error| error.to_string())?;
    assert_eq!(first_ts_ns, frames.first().map(|frame| frame.0));
    Ok((frames, end))
}

/// The same by batches of at most so many frames, of which the one before stays in use.
fn in_batches(reader: Result<FileReader, FileError>, frames_max: usize) -> Result<(Vec<Seen>, End), String> {
    let mut reader = reader.map_err(|error| error.to_string())?;
    let mut batches = [FrameBatch::new(), FrameBatch::new()];
    let mut frames: Vec<Seen> = Vec::new();
    loop {
        let [batch, _] = &mut batches;
        let end = reader.next_batch(batch, frames_max).map_err(|error| error.to_string())?;
        let count = batch.frames().len();
        assert!(count <= frames_max);
        let view = batch.view();
        frames.extend(
            view.frames(0..count).map(|frame| (frame.ts_ns, frame.dlt, frame.wire_len, frame.bytes.to_vec())),
        );
        if let Some(end) = end {
            return Ok((frames, end));
        }
        batches.swap(0, 1);
    }
}
