//! `limit`: the limit reader as a program, so that it is measured the way the others are; prints its sums as JSON.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Parser;
use serde_json::json;
use tidegauge_benches::limit::{self, Input, Level};

/// Read a capture doing as little as possible: the yardstick for everything that reads captures.
#[derive(Parser)]
struct Args {
    /// How much to do per packet.
    level: Level,
    /// A capture written by `generate`.
    file: PathBuf,
    /// How to read it.
    #[arg(long, value_enum, default_value_t = Input::Read)]
    input: Input,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let started = Instant::now();
    let counts = limit::run(&args.file, args.level, args.input)
        .with_context(|| format!("read {}", args.file.display()))?;
    let seconds = started.elapsed().as_secs_f64();
    let ns_per_packet = seconds * 1e9 / counts.packets.max(1) as f64;
    println!("{}", json!({ "counts": counts, "seconds": seconds, "ns_per_packet": ns_per_packet }));
    Ok(())
}
