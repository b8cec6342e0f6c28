//! Generated captures: what can be asked for, the cache of files, and the truth written beside each.
//!
//! Everything is streamed: memory holds the conversations that are open, never the capture. The same spec gives
//! the same bytes on every machine (`REVISION` counts the deliberate exceptions). Files are written under
//! another name and renamed when whole, so that an interrupted run leaves nothing that looks finished.

mod adversarial;
mod day;
mod flows1m;
mod mix;
mod population;
mod script;
mod sink;
mod synflood;
mod timeline;

use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::rng::Rng;
use sink::Sink;

/// Raise it whenever the bytes of any kind change: it is part of the file name, so old files are not used again.
const REVISION: u32 = 1;
/// First time stamp of every capture, 2023-11-14 22:13:20 UTC.
const EPOCH_US: u64 = 1_700_000_000_000_000;
const SNAP_HEADERS_BYTES: usize = 128;
const SNAP_WHOLE_BYTES: usize = 65_535;

/// What a capture contains.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Conversations with every trouble that TCP analysis has a word for.
    Adversarial,
    /// A day at 100,000 listeners, without attack or fault.
    Day,
    /// Twenty long transfers with whole frames, and their ACKs.
    Elephants,
    /// Short TCP connections, all of them open at the same time.
    #[serde(rename = "flows1m")]
    #[value(name = "flows1m")]
    Flows1M,
    /// Many interleaved TCP and UDP conversations, headers only.
    Mix,
    /// One listener flooded by spoofed SYNs at 500,000/s, with ordinary conversations among them.
    Synflood,
}

impl Kind {
    /// Packets of the full-size capture.
    pub fn packets_default(self) -> u64 {
        match self {
            Self::Adversarial => 5_000,
            Self::Day => 20_000_000,
            Self::Elephants => 2_000_000,
            Self::Flows1M => 9_600_000,
            Self::Mix => 5_000_000,
            Self::Synflood => 10_000_000,
        }
    }

    /// The name used in files and tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Adversarial => "adversarial",
            Self::Day => "day",
            Self::Elephants => "elephants",
            Self::Flows1M => "flows1m",
            Self::Mix => "mix",
            Self::Synflood => "synflood",
        }
    }
}

/// One capture to generate.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    /// What it contains.
    pub kind: Kind,
    /// Scale: about so many packets (`mix`, `flows1m`, `day`), exactly so many spoofed SYNs (`synflood`), so many data segments
    /// (`elephants`) or conversations (`adversarial`). The truth says what was written.
    pub packets: u64,
    /// Seed of everything random.
    pub seed: u64,
}

/// Facts about a written capture, counted where they are made, not by parsing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Truth {
    /// Frames in the file.
    pub packets: u64,
    /// Sum of their lengths on the wire.
    pub wire_bytes: u64,
    /// From the first to the last.
    pub duration_us: u64,
    /// Frames with IPv6.
    pub ipv6_packets: u64,
    /// Frames with an 802.1Q tag.
    pub vlan_packets: u64,
    /// Frames with TCP.
    pub tcp_segments: u64,
    /// Frames with UDP.
    pub udp_datagrams: u64,
    /// SYN without ACK, retransmitted and spoofed ones included.
    pub syn: u64,
    /// SYN with ACK.
    pub syn_ack: u64,
    /// Segments with FIN.
    pub fin: u64,
    /// Segments with RST.
    pub rst: u64,
    /// TCP conversations, refused ones included, spoofed SYNs not.
    pub tcp_flows: u64,
    /// UDP conversations.
    pub udp_flows: u64,
    /// SYNs that nobody will complete.
    pub spoofed_syn: u64,
    /// SYNs sent again.
    pub syn_retransmissions: u64,
    /// Conversations whose SYN was answered by RST.
    pub refused: u64,
    /// Conversations whose SYN-ACK was acknowledged.
    pub handshakes_completed: u64,
    /// Payload segments sent again, also where the first copy was lost before the capture point.
    pub retransmissions: u64,
    /// Payload segments that never reached the capture point; each is retransmitted later.
    pub upstream_holes: u64,
    /// Payload segments captured after one that was sent later.
    pub reordered: u64,
    /// Pure ACKs that repeat the acknowledgement number before them.
    pub duplicate_acks: u64,
    /// Second copies of the very same packet. Of the troubles of `adversarial` this is the only one counted: the others
    /// are a matter of judgement.
    #[serde(default)]
    pub captured_twice: u64,
}

/// A capture on disk.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Capture {
    /// Where it is.
    pub path: PathBuf,
    /// Length of the file.
    pub file_bytes: u64,
    /// What is in it.
    pub truth: Truth,
}

/// Returns the capture of `spec` from `directory`, generating it where it is not there yet.
pub fn ensure(spec: &Spec, directory: &Path) -> Result<Capture> {
    let name = format!("{}-{}-s{}-r{REVISION}.pcap", spec.kind.name(), spec.packets, spec.seed);
    let path = directory.join(name);
    let truth_path = path.with_extension("json");
    if !(path.exists() && truth_path.exists()) {
        fs::create_dir_all(directory).with_context(|| format!("create {}", directory.display()))?;
        let truth = write(spec, &path)?;
        let text = serde_json::to_string_pretty(&truth)?;
        fs::write(&truth_path, text).with_context(|| format!("write {}", truth_path.display()))?;
    }
    let text = fs::read_to_string(&truth_path).with_context(|| format!("read {}", truth_path.display()))?;
    let truth = serde_json::from_str(&text).with_context(|| format!("parse {}", truth_path.display()))?;
    let file_bytes = fs::metadata(&path).with_context(|| format!("stat {}", path.display()))?.len();
    Ok(Capture { path, file_bytes, truth })
}

fn write(spec: &Spec, path: &Path) -> Result<Truth> {
    let partial_path = path.with_extension("partial");
    let file = File::create(&partial_path).with_context(|| format!("create {}", partial_path.display()))?;
    let snap_bytes = match spec.kind {
        Kind::Elephants => SNAP_WHOLE_BYTES,
        Kind::Adversarial | Kind::Day | Kind::Flows1M | Kind::Mix | Kind::Synflood => SNAP_HEADERS_BYTES,
    };
    let mut sink = Sink::new(BufWriter::with_capacity(1 << 20, file), snap_bytes)?;
    let mut rng = Rng::new(spec.seed);
    match spec.kind {
        Kind::Adversarial => adversarial::adversarial(spec.packets, &mut rng, &mut sink)?,
        Kind::Day => day::day(spec.packets, &mut rng, &mut sink)?,
        Kind::Elephants => mix::elephants(spec.packets, &mut rng, &mut sink)?,
        Kind::Flows1M => flows1m::flows1m(spec.packets, &mut rng, &mut sink)?,
        Kind::Mix => mix::mix(spec.packets, &mut rng, &mut sink)?,
        Kind::Synflood => synflood::synflood(spec.packets, &mut rng, &mut sink)?,
    }
    let truth = sink.finish()?;
    fs::rename(&partial_path, path).with_context(|| format!("rename to {}", path.display()))?;
    Ok(truth)
}

#[cfg(test)]
mod tests;
