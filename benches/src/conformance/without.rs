//! A capture without some of its packets, so that tshark can be asked what it would have said had these not been there.
//!
//! Classic pcap of either byte order only; what is not is converted by editcap, which comes with tshark, or refused, and
//! then nobody is asked. Memory: one packet.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::pcap::{FILE_HEADER_BYTES, RECORD_BYTES_MAX, RECORD_HEADER_BYTES};

/// First bytes of a little-endian file, by microseconds and by nanoseconds; a big-endian one has them the other way round.
const MAGICS: [[u8; 4]; 2] = [[0xd4, 0xc3, 0xb2, 0xa1], [0x4d, 0x3c, 0xb2, 0xa1]];

/// Whether the file is one that [`write()`] reads.
pub fn is_readable(capture: &Path) -> bool {
    let mut magic = [0; 4];
    let read = File::open(capture).and_then(|mut file| file.read_exact(&mut magic));
    read.is_ok() && order(magic).is_some()
}

/// Has editcap write `capture` to `converted` as classic pcap; whether it did.
pub fn convert(capture: &Path, converted: &Path) -> bool {
    let mut editcap = Command::new("editcap");
    editcap.args(["-F", "nsecpcap"]).arg(capture).arg(converted);
    let done =
        editcap.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success());
    done && is_readable(converted)
}

/// Copies `capture` to `copy` without the packets of these numbers, counted from 1; returns the numbers of those kept.
pub fn write(capture: &Path, packets: &BTreeSet<u64>, copy: &Path) -> Result<Vec<u64>> {
    let input = File::open(capture).with_context(|| format!("open {}", capture.display()))?;
    let output = File::create(copy).with_context(|| format!("create {}", copy.display()))?;
    let mut output = BufWriter::new(output);
    let kept = filter(BufReader::new(input), packets, &mut output)?;
    output.flush().context("write a capture")?;
    Ok(kept)
}

/// How numbers are read.
type Order = fn([u8; 4]) -> u32;

fn order(magic: [u8; 4]) -> Option<Order> {
    let mut reversed = magic;
    reversed.reverse();
    match () {
        () if MAGICS.contains(&magic) => Some(u32::from_le_bytes),
        () if MAGICS.contains(&reversed) => Some(u32::from_be_bytes),
        () => None,
    }
}

fn filter(mut input: impl Read, packets: &BTreeSet<u64>, output: &mut impl Write) -> Result<Vec<u64>> {
    let mut header = [0; FILE_HEADER_BYTES];
    input.read_exact(&mut header).context("read the file header")?;
    let magic = [header[0], header[1], header[2], header[3]];
    let Some(order) = order(magic) else { bail!("not a classic pcap") };
    output.write_all(&header)?;
    let mut kept = Vec::new();
    let mut bytes = Vec::new();
    for number in 1.. {
        let mut header = [0; RECORD_HEADER_BYTES];
        match input.read_exact(&mut header) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
            Err(error) => return Err(error).context("read a record"),
        }
        let length = order([header[8], header[9], header[10], header[11]]) as usize;
        if length > RECORD_BYTES_MAX {
            bail!("a record is longer than any frame");
        }
        bytes.resize(length, 0);
        match input.read_exact(&mut bytes) {
            Ok(()) => {}
            // A capture that was cut ends here, as it does for everybody else.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
            Err(error) => return Err(error).context("read a packet"),
        }
        if !packets.contains(&number) {
            output.write_all(&header)?;
            output.write_all(&bytes)?;
            kept.push(number);
        }
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pcap::Writer;

    fn capture(frames: &[u8]) -> Vec<u8> {
        let mut writer = Writer::new(Vec::new(), 128).unwrap();
        for (at_us, frame) in (0..).zip(frames) {
            writer.frame(at_us, 60, &[*frame; 60]).unwrap();
        }
        writer.finish().unwrap()
    }

    #[test]
    fn what_is_left_is_a_capture_of_the_others() {
        let mut left = Vec::new();
        let kept = filter(&capture(&[1, 2, 3, 4])[..], &BTreeSet::from([2, 4]), &mut left).unwrap();
        assert_eq!(kept, [1, 3]);
        let frames = left[FILE_HEADER_BYTES..].chunks(RECORD_HEADER_BYTES + 60).map(|record| record[20]);
        assert_eq!(frames.collect::<Vec<_>>(), [1, 3]);
    }

    #[test]
    fn cut_captures_end_and_other_formats_are_refused() {
        let whole = capture(&[1, 2]);
        let kept = filter(&whole[..whole.len() - 1], &BTreeSet::new(), &mut Vec::new()).unwrap();
        assert_eq!(kept, [1]);
        assert!(filter(&[0x0a; 64][..], &BTreeSet::new(), &mut Vec::new()).is_err());
        let mut absurd = whole;
        absurd[FILE_HEADER_BYTES + 8..FILE_HEADER_BYTES + 12].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(filter(&absurd[..], &BTreeSet::new(), &mut Vec::new()).is_err());
    }
}
