//! `bench-serve`: what the page and metrics cost beside a run that sees 100,000 listeners, with and without 200 open pages.
//!
//! Needs root: it makes two network namespaces and runs everything inside them. Prints markdown, or JSON.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use clap::Parser;
use serde_json::json;
use tidegauge_benches::machine::{Machine, sibling};
use tidegauge_benches::serve::{Audience, run, table};

/// The cost of serving a run, by who looks.
#[derive(Parser)]
struct Args {
    /// The program to measure [default: tidegauge beside this one].
    #[arg(long)]
    tidegauge: Option<PathBuf>,
    /// How the run counts.
    #[arg(long, default_value = "ring")]
    source: String,
    /// How long each audience looks.
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// Open pages of the last audience.
    #[arg(long, default_value_t = 200)]
    pages: usize,
    /// Print JSON instead of markdown.
    #[arg(long)]
    json: bool,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let machine = Machine::read();
    let tidegauge = args.tidegauge.map_or_else(|| sibling("tidegauge", "tidegauge-analyzer"), Ok)?;
    let audiences = [
        Audience { pages: 0, is_scraped: false },
        Audience { pages: 0, is_scraped: true },
        Audience { pages: args.pages, is_scraped: true },
    ];
    let series = run(&tidegauge, &args.source, &audiences, Duration::from_secs(args.seconds))?;
    if args.json {
        println!("{}", json!({ "machine": machine, "source": args.source, "series": series }));
        return Ok(());
    }
    println!("{}\n", machine.line());
    println!(
        "`serve live --source {}`, {} s each: handshakes with {} listeners in turn, {:.0} frames per second; {} frames lost.\n",
        args.source, args.seconds, series.listeners, series.frames_per_s, series.frames_lost
    );
    print!("{}", table(&series));
    Ok(())
}
