//! The SACK option of a segment (RFC 2018), and whether its first block is a D-SACK (RFC 2883).

use crate::frame::Frame;
use crate::sequence::is_after;

const OPTION_END: u8 = 0;
const OPTION_NOP: u8 = 1;
const OPTION_SACK: u8 = 5;

/// As many bytes as there can be of options (RFC 9293 section 3.1): a router that takes one out leaves NOPs in its place.
const OPTIONS_BYTES_MAX: u32 = 40;

/// The first two blocks of a SACK option, as sequence numbers of the data that it acknowledges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sack {
    /// Blocks, 0 where there is no option.
    pub blocks: u8,
    /// Start and end of the first block.
    pub first: (u32, u32),
    /// Start and end of the second block; meaningful where there are two.
    pub second: (u32, u32),
}

impl Sack {
    /// The SACK option between the offsets `start` and `end` of the options.
    #[inline]
    pub fn read<F: Frame>(frame: F, start: u32, end: u32) -> Self {
        let mut offset = start;
        for _ in 0..OPTIONS_BYTES_MAX {
            if offset >= end {
                break;
            }
            let Some(kind) = frame.u8(offset) else { break };
            if kind == OPTION_NOP {
                offset += 1;
                continue;
            }
            let Some(length) = frame.u8(offset + 1) else { break };
            if kind == OPTION_END || length < 2 {
                break;
            }
            if kind == OPTION_SACK {
                return Self::blocks(frame, offset + 2, length);
            }
            offset += u32::from(length);
        }
        Self::default()
    }

    #[inline]
    fn blocks<F: Frame>(frame: F, offset: u32, length: u8) -> Self {
        let block = |index: u32| {
            let at = offset + 8 * index;
            Some((frame.u32(at)?, frame.u32(at + 4)?))
        };
        let blocks = (length - 2) / 8;
        match (blocks, block(0)) {
            (0, _) | (_, None) => Self::default(),
            (_, Some(first)) => Self { blocks, first, second: block(1).unwrap_or_default() },
        }
    }

    /// Whether the first block reports a duplicate: all of it lies below the acknowledgment, or within the second block
    /// (RFC 2883 section 4).
    #[inline]
    pub fn is_duplicate(&self, acknowledgment: u32) -> bool {
        if self.blocks == 0 {
            return false;
        }
        let within =
            |(start, end): (u32, u32)| !is_after(start, self.first.0) && !is_after(self.first.1, end);
        !is_after(self.first.1, acknowledgment) || (self.blocks > 1 && within(self.second))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(bytes: &[u8]) -> Sack {
        Sack::read(bytes, 0, bytes.len() as u32)
    }

    #[test]
    fn blocks_are_found_behind_other_options() {
        let mut bytes = [0; 32].to_vec();
        bytes[..14].copy_from_slice(&[1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2, 1, 1]);
        bytes[14..32].copy_from_slice(&[5, 18, 0, 0, 0, 10, 0, 0, 0, 20, 0, 0, 0, 5, 0, 0, 0, 30]);
        let sack = options(&bytes);
        assert_eq!((sack.blocks, sack.first, sack.second), (2, (10, 20), (5, 30)));
        assert!(sack.is_duplicate(5), "within the second block");
        assert!(Sack { blocks: 1, ..sack }.is_duplicate(20), "below the acknowledgment");
        assert!(!Sack { blocks: 1, ..sack }.is_duplicate(19), "the acknowledgment lies within it");
        let mut erased = [1; 24];
        erased[14..].copy_from_slice(&bytes[14..24]);
        erased[15] = 10;
        assert_eq!(options(&erased).blocks, 1, "options that a router took out are NOPs");
        for cut in 0..32 {
            options(&bytes[..cut]);
        }
        assert_eq!(options(&[5, 2, 5, 1, 5, 0]), Sack::default());
    }
}
