//! `generate`: writes a seeded capture and its truth, or finds it written already; prints where it is and the truth.

use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;
use tidegauge_benches::generate::{Kind, Spec, ensure};
use tidegauge_benches::machine::data_directory;

/// Generate a capture from a seed, with its truth beside it.
#[derive(Parser)]
struct Args {
    /// What it contains.
    kind: Kind,
    /// Scale: packets (mix, flows1m), spoofed SYNs (synflood), data segments (elephants) or conversations (adversarial) [default: the full size].
    #[arg(long)]
    packets: Option<u64>,
    /// Equal seeds give equal bytes.
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// Where to keep it [default: bench-data in the target directory].
    #[arg(long)]
    data: Option<PathBuf>,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let directory = args.data.map_or_else(data_directory, Ok)?;
    let packets = args.packets.unwrap_or_else(|| args.kind.packets_default());
    let capture = ensure(&Spec { kind: args.kind, packets, seed: args.seed }, &directory)?;
    println!("{}", serde_json::to_string(&capture)?);
    Ok(())
}
