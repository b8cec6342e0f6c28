//! Random bytes and damaged files: reading ends, without a panic, and in all ways alike (`outcome` checks).

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::End;
use super::super::step::Endian;
use super::builder::{Builder, MICROSECONDS, MODIFIED, NANOSECONDS, small_pcap, small_pcapng};
use super::outcome;

fn endian() -> impl Strategy<Value = Endian> {
    prop_oneof![Just(Endian::Big), Just(Endian::Little)]
}

/// A valid file of either format.
fn valid() -> impl Strategy<Value = Vec<u8>> {
    (endian(), any::<bool>()).prop_map(|(endian, ng)| match ng {
        true => small_pcapng(endian).bytes,
        false => small_pcap(endian).bytes,
    })
}

/// What a frame in a generated pcap file is: seconds, fraction, wire length, bytes.
fn records() -> impl Strategy<Value = Vec<(u32, u32, u32, Vec<u8>)>> {
    // A zero second with an empty frame is a zero-filled tail, not a frame.
    vec((1..=u32::MAX, any::<u32>(), any::<u32>(), vec(any::<u8>(), 0..300)), 0..20)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes(bytes in vec(any::<u8>(), 0..400)) {
        let _ = outcome(&bytes);
    }

    #[test]
    fn random_bytes_behind_a_pcap_header(
        endian in endian(),
        magic in prop_oneof![Just(MICROSECONDS), Just(NANOSECONDS), Just(MODIFIED)],
        link in any::<u32>(),
        bytes in vec(prop_oneof![Just(0), Just(1), any::<u8>()], 0..400),
    ) {
        outcome(&Builder::new(endian).pcap_header(magic, link).raw(&bytes).bytes).unwrap();
    }

    #[test]
    fn random_bodies_in_whole_blocks(
        endian in endian(),
        blocks in vec((0..8_u32, vec(prop_oneof![Just(0), any::<u8>()], 0..60)), 0..8),
    ) {
        let file = Builder::new(endian).section(endian).interface(1, 0, &[]);
        let file = blocks.iter().fold(file, |file, (kind, body)| {
            file.block(*kind, |builder| builder.raw(&body[..body.len() / 4 * 4]))
        });
        outcome(&file.bytes).unwrap();
    }

    #[test]
    fn damaged_files(
        mut file in valid(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        keep in any::<prop::sample::Index>(),
    ) {
        for (at, value) in damage {
            let at = at.index(file.len());
            file[at] = value;
        }
        file.truncate(keep.index(file.len()) + 1);
        let _ = outcome(&file);
    }

    #[test]
    fn what_is_written_is_read(endian in endian(), records in records()) {
        let file = records.iter().fold(
            Builder::new(endian).pcap_header(NANOSECONDS, 1),
            |file, (seconds, fraction, wire_len, bytes)| file.record(*seconds, *fraction, *wire_len, bytes),
        );
        let (frames, end) = outcome(&file.bytes).unwrap();
        prop_assert_eq!(end, End::Whole);
        prop_assert_eq!(frames.len(), records.len());
        for (frame, (seconds, fraction, wire_len, bytes)) in frames.iter().zip(&records) {
            prop_assert_eq!(frame.ts_ns, u64::from(*seconds) * 1_000_000_000 + u64::from(*fraction));
            prop_assert_eq!(frame.wire_len, (*wire_len).max(bytes.len() as u32));
            prop_assert_eq!(&frame.bytes, bytes);
        }
    }
}
