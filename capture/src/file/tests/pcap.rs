//! Classic pcap: layouts, cuts, lengths that cannot be.

use super::super::limits::FRAME_BYTES_MAX;
use super::super::step::Endian;
use super::super::{BrokenReason, CutReason, End};
use super::builder::{Builder, MICROSECONDS, MODIFIED, NANOSECONDS, small_pcap};
use super::{check_every_cut, frame, outcome};

const BOTH: [Endian; 2] = [Endian::Big, Endian::Little];

#[test]
fn both_byte_orders_give_the_same_frames() {
    for endian in BOTH {
        let (frames, end) = outcome(&small_pcap(endian).bytes).unwrap();
        let expected = [
            frame(1_000_002_000, 1, 60, b"first"),
            frame(1_000_003_000, 1, 0, b""),
            frame(2_000_000_000, 1, 5, b"third"),
        ];
        assert_eq!((frames.as_slice(), end), (expected.as_slice(), End::Whole));
    }
}

#[test]
fn nanosecond_files_and_the_modified_layout() {
    for endian in BOTH {
        let nanoseconds = Builder::new(endian).pcap_header(NANOSECONDS, 101).record(3, 4, 9, b"nine.....");
        assert_eq!(outcome(&nanoseconds.bytes).unwrap().0, [frame(3_000_000_004, 101, 9, b"nine.....")]);
        let modified = Builder::new(endian)
            .pcap_header(MODIFIED, 1)
            .modified_record(3, 4, b"one")
            .modified_record(5, 6, b"two");
        let expected = [frame(3_000_004_000, 1, 3, b"one"), frame(5_000_006_000, 1, 3, b"two")];
        assert_eq!(outcome(&modified.bytes).unwrap(), (expected.to_vec(), End::Whole));
        check_every_cut(&modified.bytes, 24);
    }
}

#[test]
fn check_sequence_bits_are_not_part_of_the_link_type() {
    let file = Builder::new(Endian::Little).pcap_header(MICROSECONDS, 0x4400_0001).record(1, 0, 1, b"x");
    assert_eq!(outcome(&file.bytes).unwrap().0, [frame(1_000_000_000, 1, 1, b"x")]);
}

#[test]
fn the_wire_length_is_at_least_the_captured_length() {
    let file = Builder::new(Endian::Little).pcap_header(MICROSECONDS, 1).record(1, 0, 2, b"four");
    assert_eq!(outcome(&file.bytes).unwrap().0[0].wire_len, 4);
}

#[test]
fn largest_times_fit() {
    let file = Builder::new(Endian::Big).pcap_header(MICROSECONDS, 1).record(u32::MAX, u32::MAX, 1, b"x");
    assert_eq!(outcome(&file.bytes).unwrap().0[0].ts_ns, 4_294_967_295_000_000_000 + 4_294_967_295_000);
}

#[test]
fn cut_behind_every_byte() {
    for endian in BOTH {
        check_every_cut(&small_pcap(endian).bytes, 24);
    }
}

#[test]
fn a_cut_says_what_is_missing() {
    let file = small_pcap(Endian::Little).bytes;
    let end = |len: usize| outcome(&file[..len]).unwrap().1;
    assert_eq!(end(24 + 10), End::Cut { offset: 24, reason: CutReason::RecordHeader(10, 16) });
    assert_eq!(end(24 + 18), End::Cut { offset: 24, reason: CutReason::Record(18, 21) });
    assert_eq!(end(24 + 18).to_string(), "cut at byte 24: record of 21 bytes, 18 there");
    assert_eq!(end(24 + 21), End::Whole);
}

#[test]
fn an_absurd_length_ends_reading_behind_the_frames_before_it() {
    for captured_len in [FRAME_BYTES_MAX + 1, u32::MAX] {
        let small = small_pcap(Endian::Little);
        let offset = small.bytes.len() as u64;
        let file = small.u32(1).u32(1).u32(captured_len).u32(captured_len).raw(&[0; 100]);
        let (frames, end) = outcome(&file.bytes).unwrap();
        let reason = BrokenReason::FrameTooLong(captured_len);
        assert_eq!((frames.len(), end), (3, End::Broken { offset, reason }));
    }
}

#[test]
fn the_longest_frame_is_read_whole() {
    let longest = vec![7; FRAME_BYTES_MAX as usize];
    let file = small_pcap(Endian::Big).record(9, 9, FRAME_BYTES_MAX, &longest).record(9, 9, 1, b"x");
    let (frames, end) = outcome(&file.bytes).unwrap();
    assert_eq!((frames.len(), end), (5, End::Whole));
    assert_eq!(frames[3].bytes, longest);
}

#[test]
fn a_zero_filled_tail_is_not_a_thousand_empty_frames() {
    let small = small_pcap(Endian::Little);
    let offset = small.bytes.len() as u64;
    let (frames, end) = outcome(&small.raw(&[0; 16_000]).bytes).unwrap();
    assert_eq!((frames.len(), end), (3, End::Broken { offset, reason: BrokenReason::ZeroFilled }));
}

#[test]
fn old_versions_have_their_lengths_the_other_way_round() {
    let old = |minor: u16| {
        let header =
            Builder::new(Endian::Big).u32(MICROSECONDS).u16(2).u16(minor).u32(0).u32(0).u32(65_535).u32(1);
        // Length on the wire, then what was captured.
        header.u32(1).u32(2).u32(60).u32(5).raw(b"first")
    };
    let as_now = |minor| old(minor).u32(1).u32(3).u32(6).u32(70).raw(b"second");
    let seen = |file: Builder| outcome(&file.bytes).map(|(frames, _)| frames);
    let first = frame(1_000_002_000, 1, 60, b"first");
    for minor in 0..3 {
        assert_eq!(seen(old(minor)).unwrap(), std::slice::from_ref(&first));
    }
    assert_eq!(seen(as_now(3)).unwrap(), [first, frame(1_000_003_000, 1, 70, b"second")]);
}
