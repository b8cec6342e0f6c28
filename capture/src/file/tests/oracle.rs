//! Every shared capture, read by this module in all its ways and by pcap-parser: the same frames.

use std::fs;
use std::path::{Path, PathBuf};

use pcap_parser::{
    Block, LegacyPcapSlice, PcapBlockOwned, PcapNGSlice, parse_pcap_frame, parse_pcap_frame_be,
    parse_pcap_frame_modified,
};

use super::super::{End, FileReader, Input, Mapping};
use super::batch::read_batches;
use super::{Seen, outcome, read};

/// The captures shared between the project's test runs, or `None` where they are not installed.
pub(super) fn captures() -> Option<Vec<PathBuf>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/captures");
    let Ok(entries) = fs::read_dir(&directory) else {
        println!("skipped: {} not present", directory.display());
        return None;
    };
    let captures = entries.map(|entry| entry.unwrap().path()).filter(|path| {
        path.extension().is_some_and(|extension| extension == "pcap" || extension == "pcapng")
    });
    Some(captures.collect())
}

fn oracle(file: &[u8]) -> Vec<Seen> {
    match LegacyPcapSlice::from_slice(file) {
        Ok(legacy) => oracle_pcap(&legacy, &file[24..]),
        Err(_) => oracle_pcapng(file),
    }
}

/// The slice iterator of pcap-parser reads little-endian records only, so its record parsers are called here.
fn oracle_pcap(legacy: &LegacyPcapSlice<'_>, mut rest: &[u8]) -> Vec<Seen> {
    let header = &legacy.header;
    let parse = match (header.is_bigendian(), header.is_modified_format()) {
        (true, _) => parse_pcap_frame_be,
        (false, true) => parse_pcap_frame_modified,
        (false, false) => parse_pcap_frame,
    };
    let ns_per_fraction = if [0xa1b2_3c4d, 0x4d3c_b2a1].contains(&header.magic_number) { 1 } else { 1_000 };
    let mut frames = Vec::new();
    while let Ok((behind, block)) = parse(rest) {
        rest = behind;
        frames.push(Seen {
            ts_ns: u64::from(block.ts_sec) * 1_000_000_000 + u64::from(block.ts_usec) * ns_per_fraction,
            dlt: header.network.0 as u16,
            wire_len: block.origlen.max(block.caplen),
            bytes: block.data[..block.caplen as usize].to_vec(),
        });
    }
    frames
}

fn oracle_pcapng(file: &[u8]) -> Vec<Seen> {
    // (link type, offset in seconds, ticks per second)
    let mut interfaces: Vec<(u16, i64, u64)> = Vec::new();
    let mut frames = Vec::new();
    for block in PcapNGSlice::from_slice(file).unwrap() {
        match block.unwrap() {
            PcapBlockOwned::NG(Block::SectionHeader(_)) => interfaces.clear(),
            PcapBlockOwned::NG(Block::InterfaceDescription(interface)) => {
                let ticks_per_s = interface.ts_resolution().unwrap();
                interfaces.push((interface.linktype.0 as u16, interface.ts_offset(), ticks_per_s));
            }
            PcapBlockOwned::NG(Block::EnhancedPacket(packet)) => {
                let (dlt, offset_s, ticks_per_s) = interfaces[packet.if_id as usize];
                let (seconds, fraction) = packet.decode_ts(offset_s as u64, ticks_per_s);
                let fraction_ns = u64::from(fraction) * 1_000_000_000 / ticks_per_s;
                frames.push(Seen {
                    ts_ns: u64::from(seconds) * 1_000_000_000 + fraction_ns,
                    dlt,
                    wire_len: packet.origlen.max(packet.caplen),
                    bytes: packet.data[..packet.caplen as usize].to_vec(),
                });
            }
            _ => {}
        }
    }
    frames
}

#[test]
fn shared_captures_read_as_the_oracle_reads_them() {
    let Some(captures) = captures() else { return };
    assert!(!captures.is_empty());
    for path in captures {
        let file = fs::read(&path).unwrap();
        let expected = oracle(&file);
        let (frames, end) = outcome(&file).unwrap();
        let name = path.file_name().unwrap();
        assert_eq!(end, End::Whole, "{name:?}");
        assert!(frames == expected, "{name:?}: {} frames, the oracle has {}", frames.len(), expected.len());
        for mapping in [Mapping::Mapped, Mapping::Streamed] {
            let opened = read(FileReader::open(&Input::Path(path.clone()), mapping)).unwrap();
            assert!(opened.0 == frames && opened.1 == end, "{name:?} {mapping:?}");
            for frames_max in [1, 7, 1_024] {
                let reader = FileReader::open(&Input::Path(path.clone()), mapping);
                let batches = read_batches(reader, frames_max).unwrap();
                assert!(
                    batches.0 == frames && batches.1 == end,
                    "{name:?} {mapping:?}, batches of {frames_max}"
                );
            }
        }
    }
}
