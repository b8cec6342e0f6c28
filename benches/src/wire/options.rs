//! TCP options as bytes: the combinations that Linux sends, and any mixture for what others send.

/// Longest that options can be: the header's length field counts fifteen words.
pub(super) const OPTIONS_BYTES_MAX: usize = 40;
/// Blocks of a SACK option beside timestamps.
pub const SACK_BLOCKS_MAX: usize = 3;

const NOP: u8 = 1;

/// TCP options.
#[derive(Clone, Copy, Debug)]
pub enum Options {
    /// None.
    Empty,
    /// MSS alone: the smallest SYN tools send.
    Mss,
    /// MSS, SACK permitted, timestamps, window scale 7.
    Syn {
        /// The sender's clock.
        value: u32,
        /// The peer's clock as last heard.
        echo: u32,
    },
    /// Timestamps.
    Timestamps {
        /// The sender's clock.
        value: u32,
        /// The peer's clock as last heard.
        echo: u32,
    },
    /// Timestamps and one SACK block.
    Sack {
        /// The sender's clock.
        value: u32,
        /// The peer's clock as last heard.
        echo: u32,
        /// First sequence number of the block.
        left: u32,
        /// The one after its last.
        right: u32,
    },
    /// Whatever is in it.
    Mixed(Mixture),
}

/// Options one by one; the default is none of them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mixture {
    /// Largest payload of a segment.
    pub mss: Option<u16>,
    /// SACK permitted.
    pub sack_permitted: bool,
    /// Shift of the window field.
    pub scale: Option<u8>,
    /// The sender's clock, and the peer's as last heard.
    pub timestamps: Option<(u32, u32)>,
    /// SACK blocks: first sequence number, the one after the last. A block at or below the acknowledgement number, or
    /// within the next block, is a D-SACK (RFC 2883).
    pub sack: [Option<(u32, u32)>; SACK_BLOCKS_MAX],
}

/// Writes `options`, padded to words, and returns their length.
pub(super) fn write(options: Options, out: &mut [u8; OPTIONS_BYTES_MAX]) -> usize {
    match options {
        Options::Empty => 0,
        Options::Mss => {
            out[..4].copy_from_slice(&[2, 4, 0x05, 0xb4]);
            4
        }
        Options::Syn { value, echo } => {
            out[..8].copy_from_slice(&[2, 4, 0x05, 0xb4, 4, 2, 8, 10]);
            out[8..12].copy_from_slice(&value.to_be_bytes());
            out[12..16].copy_from_slice(&echo.to_be_bytes());
            out[16..20].copy_from_slice(&[NOP, 3, 3, 7]);
            20
        }
        Options::Timestamps { value, echo } => {
            out[..4].copy_from_slice(&[NOP, NOP, 8, 10]);
            out[4..8].copy_from_slice(&value.to_be_bytes());
            out[8..12].copy_from_slice(&echo.to_be_bytes());
            12
        }
        Options::Sack { value, echo, left, right } => {
            write(Options::Timestamps { value, echo }, out);
            out[12..16].copy_from_slice(&[NOP, NOP, 5, 10]);
            out[16..20].copy_from_slice(&left.to_be_bytes());
            out[20..24].copy_from_slice(&right.to_be_bytes());
            24
        }
        Options::Mixed(mixture) => write_mixture(&mixture, out),
    }
}

/// Every option that is there, each padded to words, so that they never need more room than there is: a SYN's come to
/// 24 bytes, another segment's to 12 and 4 + 8 for each block.
fn write_mixture(mixture: &Mixture, out: &mut [u8; OPTIONS_BYTES_MAX]) -> usize {
    let mut written = 0;
    let mut put = |bytes: &[u8]| {
        if let Some(room) = out.get_mut(written..written + bytes.len()) {
            room.copy_from_slice(bytes);
            written += bytes.len();
        }
    };
    if let Some(mss) = mixture.mss {
        put(&[2, 4]);
        put(&mss.to_be_bytes());
    }
    if mixture.sack_permitted {
        put(&[NOP, NOP, 4, 2]);
    }
    if let Some(scale) = mixture.scale {
        put(&[NOP, 3, 3, scale]);
    }
    if let Some((value, echo)) = mixture.timestamps {
        put(&[NOP, NOP, 8, 10]);
        put(&value.to_be_bytes());
        put(&echo.to_be_bytes());
    }
    let blocks = mixture.sack.iter().flatten();
    let count = blocks.clone().count();
    if count > 0 {
        put(&[NOP, NOP, 5, 2 + 8 * count as u8]);
    }
    for (left, right) in blocks {
        put(&left.to_be_bytes());
        put(&right.to_be_bytes());
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mixtures_are_whole_words_and_fit() {
        let syn = Mixture {
            mss: Some(1460),
            sack_permitted: true,
            scale: Some(14),
            timestamps: Some((1, 0)),
            sack: [None; SACK_BLOCKS_MAX],
        };
        let acks =
            Mixture { timestamps: Some((1, 2)), sack: [Some((3, 4)); SACK_BLOCKS_MAX], ..Mixture::default() };
        for (mixture, bytes) in [(Mixture::default(), 0), (syn, 24), (acks, OPTIONS_BYTES_MAX)] {
            assert_eq!(write(Options::Mixed(mixture), &mut [0; OPTIONS_BYTES_MAX]), bytes);
        }
        let mut out = [0; OPTIONS_BYTES_MAX];
        write(
            Options::Mixed(Mixture { sack: [Some((0x0102_0304, 5)), None, None], ..Mixture::default() }),
            &mut out,
        );
        assert_eq!(out[..12], [1, 1, 5, 10, 1, 2, 3, 4, 0, 0, 0, 5]);
    }
}
