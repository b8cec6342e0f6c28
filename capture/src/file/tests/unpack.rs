//! Compressed captures: the same frames as unpacked, in every way they can be read; cut and damaged ones.

use std::fs;
use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::super::error::{BrokenReason, CutReason};
use super::super::step::Endian;
use super::super::{End, FileReader, Input, Mapping};
use super::builder::{small_pcap, small_pcapng};
use super::{outcome, read};

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A capture of many frames that do not shrink to nothing.
fn long_pcap() -> Vec<u8> {
    let frame =
        |second: u32| (0..600).map(|at: u32| (at.wrapping_mul(second | 1) >> 3) as u8).collect::<Vec<_>>();
    let records = |file: super::builder::Builder, second| file.record(second, 1, 600, &frame(second));
    (0..400).fold(small_pcap(Endian::Little), records).bytes
}

#[test]
fn a_packed_capture_is_read_as_if_it_were_not() {
    for file in [small_pcap(Endian::Big).bytes, small_pcapng(Endian::Little).bytes] {
        assert_eq!(outcome(&packed(&file)), outcome(&file));
        let (first, second) = file.split_at(file.len() / 2);
        let parts = [packed(first), packed(second)].concat();
        assert_eq!(outcome(&parts), outcome(&file), "parts one after the other");
    }
}

#[test]
fn progress_is_told_in_bytes_of_the_file() {
    let (file, directory) = (long_pcap(), tempfile::tempdir().unwrap());
    let path = directory.path().join("long.pcap.gz");
    fs::write(&path, packed(&file)).unwrap();
    for mapping in [Mapping::Mapped, Mapping::Streamed] {
        let mut reader = FileReader::open(&Input::Path(path.clone()), mapping).unwrap();
        reader.for_each(|_| std::ops::ControlFlow::Continue(())).unwrap();
        assert_eq!(reader.offset(), fs::metadata(&path).unwrap().len());
        let all = read(FileReader::open(&Input::Path(path.clone()), mapping)).unwrap();
        assert_eq!((all.0.len(), all.1), (403, End::Whole));
    }
}

#[test]
fn what_was_packed_before_a_cut_is_read_and_the_cut_is_told() {
    let packed = packed(&long_pcap());
    for share in [1, 3, 7] {
        let (frames, end) =
            read(FileReader::from_bytes(Input::Stdin, packed[..packed.len() * share / 8].to_vec())).unwrap();
        assert!(frames.len() > 30 * share, "{} frames of {share} eighths", frames.len());
        assert!(matches!(end, End::Cut { reason: CutReason::Packing, .. }), "{end}");
    }
    // All is there but the checksum.
    let (frames, end) = outcome(&packed[..packed.len() - 3]).unwrap();
    assert_eq!(frames.len(), 403);
    assert!(matches!(end, End::Cut { reason: CutReason::Packing, .. }), "{end}");
}

#[test]
fn damage_is_told_and_what_was_before_it_is_read() {
    let file = small_pcap(Endian::Little).bytes;
    let mut other_sum = packed(&file);
    let at = other_sum.len() - 6;
    other_sum[at] ^= 1;
    let garbage = [packed(&file), b"something else".to_vec()].concat();
    for damaged in [other_sum, garbage] {
        let (frames, end) = outcome(&damaged).unwrap();
        assert_eq!(frames.len(), 3);
        assert!(matches!(end, End::Broken { reason: BrokenReason::Packing, .. }), "{end}");
    }
}

#[test]
fn what_is_packed_has_to_be_a_capture() {
    assert!(outcome(&packed(b"a letter")).unwrap_err().contains("begins with 61 20 6c 65"));
    assert!(outcome(&packed(b"")).unwrap_err().contains("is empty"));
    assert!(outcome(&packed(&packed(b"twice"))).unwrap_err().contains("zcat FILE | tidegauge read -"));
    let cut = &packed(&small_pcap(Endian::Little).bytes)[..11];
    assert!(outcome(cut).unwrap_err().contains("gzip data cut, nothing to read in it"));
    let damaged = b"\x1f\x8b\x08\0\0\0\0\0\0\0\xff\xff\xff\xff";
    assert!(outcome(damaged).unwrap_err().contains("not a readable capture file: gzip data damaged"));
}
