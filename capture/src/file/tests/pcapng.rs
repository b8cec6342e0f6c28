//! pcapng: sections, interfaces, blocks with and without frames, broken blocks.

use super::super::limits::{BLOCK_BYTES_MAX, FRAME_BYTES_MAX, INTERFACES_MAX};
use super::super::step::Endian;
use super::super::{BrokenReason, CutReason, End};
use super::builder::{Builder, small_pcapng};
use super::{check_every_cut, frame, outcome};

const BOTH: [Endian; 2] = [Endian::Big, Endian::Little];

fn one_section() -> Builder {
    Builder::new(Endian::Little).section(Endian::Little).interface(1, 0, &[])
}

/// A file whose last block is broken: everything before it is kept.
#[track_caller]
fn check_broken(before: Builder, frames_before: usize, broken: Builder, expected: BrokenReason) {
    let offset = before.bytes.len() as u64;
    let (frames, end) = outcome(&before.raw(&broken.bytes).bytes).unwrap();
    assert_eq!((frames.len(), end), (frames_before, End::Broken { offset, reason: expected }));
}

fn little() -> Builder {
    Builder::new(Endian::Little)
}

#[test]
fn sections_of_both_byte_orders_and_every_packet_block() {
    for endian in BOTH {
        let (frames, end) = outcome(&small_pcapng(endian).bytes).unwrap();
        let expected = [
            frame(1_000, 1, 60, b"first"),
            frame(2_000, 101, 4, b"two."),
            frame(2_000, 113, 5, b"third"),
            frame(7_000, 113, 6, b"fourth"),
        ];
        assert_eq!((frames.as_slice(), end), (expected.as_slice(), End::Whole));
    }
}

#[test]
fn cut_behind_every_byte() {
    for endian in BOTH {
        check_every_cut(&small_pcapng(endian).bytes, 28);
    }
}

#[test]
fn a_cut_says_what_is_missing() {
    let file = one_section().enhanced(0, 1, 5, b"first").bytes;
    let cut = |len: usize| outcome(&file[..len]).unwrap().1;
    assert_eq!(cut(48 + 11), End::Cut { offset: 48, reason: CutReason::RecordHeader(11, 12) });
    assert_eq!(cut(48 + 30), End::Cut { offset: 48, reason: CutReason::Record(30, 40) });
}

#[test]
fn every_interface_has_its_own_clock() {
    let nanoseconds: &[(u16, &[u8])] = &[(9, &[9])];
    let binary: &[(u16, &[u8])] = &[(9, &[0x80 | 10]), (0, b"")];
    let shifted: &[(u16, &[u8])] = &[(1, b"odd length"), (14, &[0, 0, 0, 0, 0, 0, 0, 5])];
    let behind_the_end: &[(u16, &[u8])] = &[(0, b""), (9, &[0])];
    let file = Builder::new(Endian::Big)
        .section(Endian::Big)
        .interface(1, 0, nanoseconds)
        .interface(1, 0, binary)
        .interface(1, 0, shifted)
        .interface(1, 0, behind_the_end)
        .enhanced(0, 1 << 40, 1, b"a")
        .enhanced(1, 1_536, 1, b"b")
        .enhanced(2, 3, 1, b"c")
        .enhanced(3, 3, 1, b"d");
    let times_ns: Vec<u64> = outcome(&file.bytes).unwrap().0.iter().map(|frame| frame.ts_ns).collect();
    assert_eq!(times_ns, [1 << 40, 1_500_000_000, 5_000_003_000, 3_000]);
}

#[test]
fn options_of_the_wrong_length_are_ignored_and_cut_ones_are_broken() {
    let wrong: &[(u16, &[u8])] = &[(9, &[9, 9]), (14, &[1])];
    let file = Builder::new(Endian::Little).section(Endian::Little).interface(1, 0, wrong);
    assert_eq!(outcome(&file.enhanced(0, 3, 1, b"x").bytes).unwrap().0[0].ts_ns, 3_000);
    let cut = little().block(1, |body| body.u16(1).u16(0).u32(0).u16(9).u16(5).raw(&[0; 4]));
    check_broken(one_section(), 0, cut, BrokenReason::Option(9));
}

#[test]
fn simple_packets_are_cut_at_the_snap_length() {
    let file = little().section(Endian::Little).interface(1, 4, &[]).simple(1_500, b"four").simple(3, b"abc");
    let expected = [frame(0, 1, 1_500, b"four"), frame(0, 1, 3, b"abc")];
    assert_eq!(outcome(&file.bytes).unwrap().0, expected);
}

#[test]
fn comments_and_unknown_blocks_are_skipped() {
    let file = one_section()
        .block(0x0bad, |body| body.raw(&[1; 400]))
        .block(6, |body| {
            let head = body.u32(0).u32(0).u32(9).u32(4).u32(4);
            head.raw(b"data").u16(1).u16(7).raw(b"comment\0").u32(0)
        })
        .block(0x8000_0000, |body| body);
    assert_eq!(outcome(&file.bytes).unwrap(), (vec![frame(9_000, 1, 4, b"data")], End::Whole));
}

#[test]
fn the_longest_block_is_skipped_and_a_longer_one_is_broken() {
    let body_len = BLOCK_BYTES_MAX as usize - 12;
    let longest = one_section().block(10, |body| body.raw(&vec![1; body_len])).enhanced(0, 1, 1, b"x");
    assert_eq!(super::read(super::whole(&longest.bytes, 1)).unwrap().0.len(), 1);
    assert_eq!(super::read(super::trickled(&longest.bytes, 65_536)).unwrap().0.len(), 1);
    let len = BLOCK_BYTES_MAX + 4;
    check_broken(one_section(), 0, little().u32(10).u32(len).u32(0), BrokenReason::BlockTooLong(len));
}

#[test]
fn broken_blocks_end_reading() {
    let good = || one_section().enhanced(0, 1, 5, b"first");
    check_broken(good(), 1, little().u32(6).u32(8).u32(0), BrokenReason::BlockLength(8));
    check_broken(good(), 1, little().u32(6).u32(30).raw(&[0; 30]), BrokenReason::BlockLength(30));
    check_broken(good(), 1, little().u32(6).u32(12).u32(12), BrokenReason::BlockLength(12));
    check_broken(good(), 1, little().u32(9).u32(12).u32(16), BrokenReason::BlockTrailer(12, 16));
    check_broken(good(), 1, little().enhanced(1, 1, 1, b"x"), BrokenReason::Interface(1));
    check_broken(little().section(Endian::Little), 0, little().simple(1, b"x"), BrokenReason::Interface(0));
    check_broken(good(), 1, little().raw(&[0; 64]), BrokenReason::BlockLength(0));
    check_broken(good(), 1, little().simple(9, b"four"), BrokenReason::FrameLength(9));
    let too_long = FRAME_BYTES_MAX + 1;
    check_broken(good(), 1, little().simple(too_long, b"x"), BrokenReason::FrameTooLong(too_long));
    let no_mark = little().u32(0x0a0d_0d0a).u32(28).raw(&[0; 20]).u32(28);
    check_broken(good(), 1, no_mark, BrokenReason::ByteOrder);
    let future = little().block(0x0a0d_0d0a, |body| body.u32(0x1a2b_3c4d).u16(2).u16(1).raw(&[0xff; 8]));
    check_broken(good(), 1, future, BrokenReason::SectionVersion(2, 1));
}

#[test]
fn interfaces_are_bounded_and_end_with_their_section() {
    let full = (0..INTERFACES_MAX)
        .fold(little().section(Endian::Little), |file, _| file.interface(1, 0, &[]))
        .enhanced(INTERFACES_MAX as u32 - 1, 1, 1, b"x");
    let (mut bytes, offset) = (full.bytes.clone(), full.bytes.len() as u64);
    bytes.extend(little().interface(1, 0, &[]).bytes);
    let (frames, end) = super::read(super::whole(&bytes, 1 << 20)).unwrap();
    assert_eq!((frames.len(), end), (1, End::Broken { offset, reason: BrokenReason::Interfaces }));
    let next_section = one_section().section(Endian::Little);
    check_broken(next_section, 0, little().enhanced(0, 1, 1, b"x"), BrokenReason::Interface(0));
}
