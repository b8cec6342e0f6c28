//! Classic pcap, microseconds, little endian, Ethernet: the writer for generated captures, and the record walk.
//!
//! Only what `generate` writes is read back here; the product's reader handles every other variant. A record whose
//! length exceeds [`RECORD_BYTES_MAX`] ends the walk with an error; a record that is cut ends it silently, because
//! the caller may be feeding blocks and completes it with the next one.

use std::io::{self, Read, Write};

/// Length of the file header.
pub const FILE_HEADER_BYTES: usize = 24;
/// Length of a record header.
pub const RECORD_HEADER_BYTES: usize = 16;
/// Longest record accepted: the largest frame Linux hands out, with room for its headers.
pub const RECORD_BYTES_MAX: usize = 256 * 1024;

const MAGIC_US: u32 = 0xa1b2_c3d4;
const LINKTYPE_ETHERNET: u32 = 1;

/// Writes a capture to `out`, which should be buffered.
pub struct Writer<W> {
    out: W,
}

impl<W: Write> Writer<W> {
    /// Writes the file header.
    pub fn new(mut out: W, snap_bytes: u32) -> io::Result<Self> {
        let mut header = [0; FILE_HEADER_BYTES];
        header[..4].copy_from_slice(&MAGIC_US.to_le_bytes());
        header[4..6].copy_from_slice(&2_u16.to_le_bytes());
        header[6..8].copy_from_slice(&4_u16.to_le_bytes());
        header[16..20].copy_from_slice(&snap_bytes.to_le_bytes());
        header[20..24].copy_from_slice(&LINKTYPE_ETHERNET.to_le_bytes());
        out.write_all(&header)?;
        Ok(Self { out })
    }

    /// Appends one frame: `bytes` as captured, `wire_bytes` long on the wire.
    pub fn frame(&mut self, at_us: u64, wire_bytes: u32, bytes: &[u8]) -> io::Result<()> {
        let mut header = [0; RECORD_HEADER_BYTES];
        header[..4].copy_from_slice(&((at_us / 1_000_000) as u32).to_le_bytes());
        header[4..8].copy_from_slice(&((at_us % 1_000_000) as u32).to_le_bytes());
        header[8..12].copy_from_slice(&(bytes.len() as u32).to_le_bytes());
        header[12..16].copy_from_slice(&wire_bytes.to_le_bytes());
        self.out.write_all(&header)?;
        self.out.write_all(bytes)
    }

    /// Flushes and returns what was written to.
    pub fn finish(mut self) -> io::Result<W> {
        self.out.flush()?;
        Ok(self.out)
    }
}

/// Takes the file header off the front of `input`, and refuses any other format.
pub fn read_file_header(input: &mut impl Read) -> io::Result<()> {
    let mut header = [0; FILE_HEADER_BYTES];
    input.read_exact(&mut header)?;
    if word(&header, 0) != MAGIC_US || word(&header, 20) != LINKTYPE_ETHERNET {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "not a little-endian microsecond Ethernet pcap",
        ));
    }
    Ok(())
}

/// One record of a block.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// Whole seconds of the time stamp.
    pub at_s: u32,
    /// Microseconds within the second.
    pub at_us: u32,
    /// Length on the wire.
    pub wire_bytes: u32,
    /// The captured bytes.
    pub bytes: &'a [u8],
}

/// The whole records at the front of a block of bytes.
pub struct Records<'a> {
    block: &'a [u8],
    consumed_bytes: usize,
}

impl<'a> Records<'a> {
    /// Starts at a record header.
    pub fn new(block: &'a [u8]) -> Self {
        Self { block, consumed_bytes: 0 }
    }

    /// Bytes of the whole records handed out so far; the rest belongs to the next block.
    pub fn consumed_bytes(&self) -> usize {
        self.consumed_bytes
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Record<'a>;

    #[inline]
    fn next(&mut self) -> Option<Record<'a>> {
        let rest = &self.block[self.consumed_bytes..];
        let (header, body) = rest.split_first_chunk::<RECORD_HEADER_BYTES>()?;
        let bytes = body.get(..word(header, 8) as usize)?;
        self.consumed_bytes += RECORD_HEADER_BYTES + bytes.len();
        Some(Record { at_s: word(header, 0), at_us: word(header, 4), wire_bytes: word(header, 12), bytes })
    }
}

/// Calls `visit` with every block of `input` (after its file header) that starts at a record; `visit` returns the
/// bytes it consumed. A buffer that stays in the second-level cache beats larger ones.
pub fn for_each_block(
    mut input: impl Read,
    block_bytes: usize,
    mut visit: impl FnMut(&[u8]) -> usize,
) -> io::Result<()> {
    read_file_header(&mut input)?;
    let mut buffer = vec![0; block_bytes.max(RECORD_BYTES_MAX)];
    let mut filled_bytes = 0;
    loop {
        let read_bytes = input.read(&mut buffer[filled_bytes..])?;
        filled_bytes += read_bytes;
        let consumed_bytes = visit(&buffer[..filled_bytes]);
        buffer.copy_within(consumed_bytes..filled_bytes, 0);
        filled_bytes -= consumed_bytes;
        if read_bytes == 0 {
            return Ok(());
        }
        if filled_bytes == buffer.len() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a record is longer than any frame"));
        }
    }
}

fn word(bytes: &[u8], offset: usize) -> u32 {
    u32::from_le_bytes([bytes[offset], bytes[offset + 1], bytes[offset + 2], bytes[offset + 3]])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two_frames() -> Vec<u8> {
        let mut writer = Writer::new(Vec::new(), 128).unwrap();
        writer.frame(1_000_002, 1514, &[7; 128]).unwrap();
        writer.frame(1_000_003, 60, &[8; 60]).unwrap();
        writer.finish().unwrap()
    }

    #[test]
    fn what_is_written_is_read_back() {
        let file = two_frames();
        let mut seen = Vec::new();
        for_each_block(&file[..], 1, |block| {
            let mut records = Records::new(block);
            seen.extend(records.by_ref().map(|r| (r.at_s, r.at_us, r.wire_bytes, r.bytes.to_vec())));
            records.consumed_bytes()
        })
        .unwrap();
        assert_eq!(seen, [(1, 2, 1514, vec![7; 128]), (1, 3, 60, vec![8; 60])]);
    }

    #[test]
    fn a_cut_record_is_left_to_the_next_block() {
        let file = two_frames();
        let mut records = Records::new(&file[FILE_HEADER_BYTES..file.len() - 1]);
        assert_eq!(records.by_ref().count(), 1);
        assert_eq!(records.consumed_bytes(), RECORD_HEADER_BYTES + 128);
    }

    #[test]
    fn other_formats_and_absurd_lengths_are_refused() {
        assert!(read_file_header(&mut &[0xff; 24][..]).is_err());
        let mut file = two_frames();
        file[FILE_HEADER_BYTES + 8..FILE_HEADER_BYTES + 12].copy_from_slice(&u32::MAX.to_le_bytes());
        file.resize(2 * RECORD_BYTES_MAX, 0);
        assert!(for_each_block(&file[..], 1, |block| Records::new(block).count()).is_err());
    }
}
