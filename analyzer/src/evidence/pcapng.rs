//! Blocks of a pcapng file, as bytes: section, interfaces, packets with comments.
//!
//! Shape: little-endian blocks of draft-ietf-opsawg-pcapng, one section a file; interfaces count nanoseconds. Times are
//! nanoseconds since the epoch. Nothing here can fail: where bytes go is the caller's. Three blocks are less than what a
//! crate for them would bring, none of which is kept up that writes comments.

const SECTION: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const ENHANCED_PACKET: u32 = 6;
const BYTE_ORDER_MAGIC: u32 = 0x1a2b_3c4d;
/// Options: any block's comment, a section's program, an interface's resolution.
const OPTION_COMMENT: u16 = 1;
const OPTION_USER_APPLICATION: u16 = 4;
const OPTION_RESOLUTION: u16 = 9;
/// Powers of ten: nanoseconds.
const NANOSECONDS: u8 = 9;
/// Longest comment; options have 16 bits for their length.
const COMMENT_BYTES_MAX: usize = 4_096;

/// Most bytes that a packet's block has beside the packet and its comment.
pub const PACKET_OVERHEAD_BYTES: u64 = 64;

/// A packet to be written.
pub struct PacketBlock<'a> {
    /// Number of its interface in the section.
    pub interface: u32,
    /// Nanoseconds since the epoch.
    pub ts_ns: u64,
    /// Length on the wire.
    pub wire_len: u32,
    /// What is kept of it.
    pub bytes: &'a [u8],
    /// What is said of it.
    pub comment: Option<&'a str>,
}

/// Begins a file; `comment` is of the whole section.
pub fn section(out: &mut Vec<u8>, application: &str, comment: &str) {
    block(out, SECTION, |out| {
        out.extend(BYTE_ORDER_MAGIC.to_le_bytes());
        out.extend(1_u16.to_le_bytes());
        out.extend(0_u16.to_le_bytes());
        // Length of the section: not known.
        out.extend(u64::MAX.to_le_bytes());
        option(out, OPTION_COMMENT, comment.as_bytes());
        option(out, OPTION_USER_APPLICATION, application.as_bytes());
        option(out, 0, &[]);
    });
}

/// Describes the next interface; `dlt` is its link type as libpcap or a file numbers it.
pub fn interface(out: &mut Vec<u8>, dlt: u16, snap_bytes: u32) {
    // Raw IP has one number in files and others in the systems' headers (pcap-linktype(7)).
    let link_type = if matches!(dlt, 12 | 14) { 101 } else { dlt };
    block(out, INTERFACE, |out| {
        out.extend(link_type.to_le_bytes());
        out.extend(0_u16.to_le_bytes());
        out.extend(snap_bytes.to_le_bytes());
        option(out, OPTION_RESOLUTION, &[NANOSECONDS]);
        option(out, 0, &[]);
    });
}

/// Adds a packet.
pub fn packet(out: &mut Vec<u8>, packet: &PacketBlock<'_>) {
    block(out, ENHANCED_PACKET, |out| {
        out.extend(packet.interface.to_le_bytes());
        out.extend(((packet.ts_ns >> 32) as u32).to_le_bytes());
        out.extend((packet.ts_ns as u32).to_le_bytes());
        out.extend((packet.bytes.len() as u32).to_le_bytes());
        out.extend(packet.wire_len.to_le_bytes());
        padded(out, packet.bytes);
        if let Some(comment) = packet.comment {
            option(out, OPTION_COMMENT, comment.as_bytes());
            option(out, 0, &[]);
        }
    });
}

/// A block of this type with its length before and after the body.
fn block(out: &mut Vec<u8>, kind: u32, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend(kind.to_le_bytes());
    out.extend([0; 4]);
    body(out);
    let bytes = (out.len() - start + 4) as u32;
    out[start + 4..start + 8].copy_from_slice(&bytes.to_le_bytes());
    out.extend(bytes.to_le_bytes());
}

fn option(out: &mut Vec<u8>, code: u16, value: &[u8]) {
    let value = &value[..value.len().min(COMMENT_BYTES_MAX)];
    out.extend(code.to_le_bytes());
    out.extend((value.len() as u16).to_le_bytes());
    padded(out, value);
}

/// Bytes up to the next multiple of four.
fn padded(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(bytes);
    out.extend(std::iter::repeat_n(0, bytes.len().wrapping_neg() % 4));
}

#[cfg(test)]
mod tests {
    use tidegauge_capture::file::{End, FileReader, Input};

    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        let mut out = Vec::new();
        section(&mut out, "test", "of the section");
        interface(&mut out, 1, 128);
        interface(&mut out, 12, 128);
        let blocks =
            [(0, 1_700_000_000_123_456_789, 1_500, &[1_u8, 2, 3][..], None), (1, 7, 4, &[4; 4], Some("äh"))];
        for (interface, ts_ns, wire_len, bytes, comment) in blocks {
            packet(&mut out, &PacketBlock { interface, ts_ns, wire_len, bytes, comment });
        }
        assert_eq!(out.len() % 4, 0);
        let mut reader = FileReader::from_bytes(Input::Stdin, out).expect("it is a capture");
        let mut read = Vec::new();
        let end = reader.for_each(|frame| {
            read.push((frame.dlt, frame.ts_ns, frame.wire_len, frame.bytes.to_vec()));
            std::ops::ControlFlow::Continue(())
        });
        assert!(matches!(end, Ok(End::Whole)));
        assert_eq!(read[0], (1, 1_700_000_000_123_456_789, 1_500, vec![1, 2, 3]));
        assert_eq!(read[1], (101, 7, 4, vec![4; 4]));
    }
}
