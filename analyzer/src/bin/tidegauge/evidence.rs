//! From options to a recorder of evidence, before rights are given up.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use anyhow::{Context, bail};
use tidegauge_analyzer::evidence::anonymise::{Anonymiser, KEY_BYTES};
use tidegauge_analyzer::evidence::{Limits, Recorder};

use super::args::EvidenceArgs;

/// The recorder, if one is asked for.
pub(crate) fn open(args: &EvidenceArgs) -> anyhow::Result<Option<Recorder>> {
    let Some(dir) = &args.evidence else { return Ok(None) };
    let anonymiser = match &args.evidence_key {
        Some(path) => Some(Anonymiser::new(&key_of(path)?)),
        None if args.evidence_anonymise => Some(Anonymiser::new(&random_key()?)),
        None => None,
    };
    let limits = Limits {
        snap_bytes: args.evidence_snap,
        ring_bytes: (args.evidence_ring_mib as usize) << 20,
        packets: args.evidence_packets as usize,
        files: args.evidence_files as usize,
        disk_bytes: u64::from(args.evidence_disk_mib) << 20,
    };
    let application = format!("tidegauge {}", env!("CARGO_PKG_VERSION"));
    Ok(Some(Recorder::open(dir, limits, anonymiser, application)?))
}

/// A key from a file: 32 bytes, or 64 hexadecimal digits.
fn key_of(path: &Path) -> anyhow::Result<[u8; KEY_BYTES]> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    if let Ok(key) = bytes.as_slice().try_into() {
        return Ok(key);
    }
    let text = std::str::from_utf8(&bytes).map(str::trim).unwrap_or_default();
    let mut key = [0; KEY_BYTES];
    if text.len() != KEY_BYTES * 2 || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        bail!("{} is not a key: it takes {KEY_BYTES} bytes, or as many in hexadecimal", path.display());
    }
    for (byte, place) in key.iter_mut().zip(0..) {
        *byte = u8::from_str_radix(&text[place * 2..place * 2 + 2], 16)?;
    }
    Ok(key)
}

/// A key that nobody knows and that is forgotten with the run.
fn random_key() -> anyhow::Result<[u8; KEY_BYTES]> {
    let mut key = [0; KEY_BYTES];
    let mut random = File::open("/dev/urandom").context("cannot open /dev/urandom")?;
    random.read_exact(&mut key).context("cannot read /dev/urandom")?;
    Ok(key)
}
