//! Scenes: what happens, from when on, at whom; and their captures.

use std::fs::File;
use std::io::{self, BufWriter};
use std::path::Path;

use super::background;
use super::frames::Packet;
use crate::pcap::Writer;
use crate::rng::Rng;

/// Ordinary traffic before the trouble begins: baselines are usable after ten seconds.
pub const WARM_UP_US: u64 = 20_000_000;
/// And behind it.
const COOL_DOWN_US: u64 = 5_000_000;
/// First time stamp, 2023-11-14 22:13:20 UTC.
pub const EPOCH_US: u64 = 1_700_000_000_000_000;

/// One kind of trouble, at any strength.
pub struct Trouble {
    /// What has to be found.
    pub kind: &'static str,
    /// The stated threshold in words, for the table.
    pub threshold: &'static str,
    /// Its value.
    pub value: f64,
    /// Where it has to be found: what `target.addr` begins with, and the port where there is one.
    pub target: (&'static str, Option<u16>),
    /// Within what time it has to be found at twice the threshold, seconds.
    pub within_s: f64,
    /// How long it lasts, microseconds.
    pub lasts_us: u64,
    /// Its packets at this rate or size from this time on, in no order.
    pub packets: fn(&Trouble, strength: f64, rng: &mut Rng) -> Vec<Packet>,
}

impl Trouble {
    /// Times from its beginning to its end at so many events a second, evenly spread.
    pub fn times(&self, per_s: f64) -> impl Iterator<Item = u64> + use<> {
        let (from_us, lasts_us) = (WARM_UP_US, self.lasts_us);
        let gap_us = 1e6 / per_s.max(0.001);
        (0..)
            .map(move |number| (f64::from(number) * gap_us) as u64)
            .take_while(move |at_us| *at_us < lasts_us)
            .map(move |at_us| from_us + at_us)
    }
}

/// The packets of each of `troubles` at so many times its threshold, over ordinary traffic, in their order.
pub fn packets(troubles: &[(&Trouble, f64)], lasts_us: u64, seed: u64) -> Vec<Packet> {
    let mut rng = Rng::new(seed);
    let end_us = WARM_UP_US + lasts_us + COOL_DOWN_US;
    let mut packets = background::traffic(0, end_us, &mut rng);
    for (trouble, strength) in troubles {
        packets.extend((trouble.packets)(trouble, *strength, &mut rng));
    }
    packets.sort_by_key(|packet| packet.at_us);
    packets
}

/// Writes the scene of `trouble` at `strength` times its threshold; `None`: ordinary traffic alone.
///
/// # Errors
/// Where the file cannot be written.
pub fn write(path: &Path, trouble: Option<(&Trouble, f64)>, lasts_us: u64, seed: u64) -> io::Result<()> {
    let packets = packets(trouble.as_slice(), lasts_us, seed);
    let mut writer = Writer::new(BufWriter::new(File::create(path)?), 65_535)?;
    for packet in &packets {
        writer.frame(EPOCH_US + packet.at_us, packet.bytes.len() as u32, &packet.bytes)?;
    }
    writer.finish().map(|_| ())
}
