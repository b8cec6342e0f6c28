//! `bench-detect`: how long after the first packet of a spoofed SYN flood tidegauge and FastNetMon say so, live.
//!
//! Needs root: it makes two network namespaces and runs everything inside them. Prints markdown, or JSON.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::Parser;
use serde_json::json;
use tidegauge_benches::detect::lab::Lab;
use tidegauge_benches::detect::{BACKGROUND_PER_S, Plan, Series, Tool, run};
use tidegauge_benches::machine::{Machine, find_program, sibling, sibling_path};
use tidegauge_benches::measure::median;
use tidegauge_benches::table::{Table, figure};

/// Time from the first packet of a SYN flood to the alarm, beside FastNetMon.
#[derive(Parser)]
struct Args {
    /// The program to measure [default: tidegauge beside this one].
    #[arg(long)]
    tidegauge: Option<PathBuf>,
    /// The tool that makes the lab and its traffic [default: traffic beside this one].
    #[arg(long)]
    traffic: Option<PathBuf>,
    /// SYNs per second, may be repeated; 0 is as many as the sender can [default: 20000 50000 330000 0].
    #[arg(long = "rate")]
    rates: Vec<u64>,
    /// Runs of tidegauge at each rate.
    #[arg(long, default_value_t = 10)]
    runs: usize,
    /// Runs of FastNetMon at each rate; 0 leaves it out.
    #[arg(long, default_value_t = 5)]
    peer_runs: usize,
    /// Length of each flood in seconds; FastNetMon averages over 5.
    #[arg(long, default_value_t = 6)]
    flood_seconds: u64,
    /// Ordinary traffic before each flood, in seconds.
    #[arg(long, default_value_t = 5)]
    warm_up_seconds: u64,
    /// Print JSON instead of markdown.
    #[arg(long)]
    json: bool,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let machine = Machine::read();
    let mut absent = Vec::new();
    let tools = tools(&args, &mut absent)?;
    ensure!(!tools.is_empty(), "nothing to measure: {}", absent.join("; "));
    let plan = Plan {
        rates: if args.rates.is_empty() { vec![20_000, 50_000, 330_000, 0] } else { args.rates },
        tools,
        flood: Duration::from_secs(args.flood_seconds),
        warm_up: Duration::from_secs(args.warm_up_seconds),
    };
    let traffic = args.traffic.map_or_else(|| sibling("traffic", "tidegauge-tests"), Ok)?;
    let lab = Lab::up(&traffic)?;
    let series = run(&plan, &lab)?;
    if args.json {
        println!("{}", json!({ "machine": machine, "series": series, "absent": absent }));
        return Ok(());
    }
    println!("{}\n", machine.line());
    println!(
        "Floods of {} s after {} s of {BACKGROUND_PER_S} connections/s, which go on meanwhile.\n",
        plan.flood.as_secs(),
        plan.warm_up.as_secs()
    );
    print!("{}", table(&series));
    for absent in absent {
        println!("\n- not measured: {absent}");
    }
    Ok(())
}

/// The tools that are there with their runs; those that are not are added to `absent`.
fn tools(args: &Args, absent: &mut Vec<String>) -> Result<Vec<(Tool, usize)>> {
    let mut tools = Vec::new();
    let tidegauge = args.tidegauge.clone().map_or_else(|| sibling_path("tidegauge"), Ok)?;
    if tidegauge.is_file() {
        tools.push((Tool::Tidegauge(tidegauge), args.runs));
    } else {
        absent.push("tidegauge (not built)".to_owned());
    }
    match find_program("fastnetmon") {
        Some(program) => tools.push((Tool::FastNetMon(program), args.peer_runs)),
        None => absent.push("FastNetMon (not installed)".to_owned()),
    }
    tools.retain(|(_, runs)| *runs > 0);
    Ok(tools)
}

fn table(series: &[Series]) -> Table {
    let header = [
        "SYN/s asked, tool",
        "SYN/s sent",
        "alarms",
        "median ms",
        "min ms",
        "max ms",
        "false alarms",
        "rate named",
    ];
    let mut table = Table::new(&header);
    for series in series {
        let latencies = series.latencies_ms();
        let rate = match series.rate_pps {
            0 => "maximum".to_owned(),
            rate => rate.to_string(),
        };
        let false_alarms: usize = series.runs.iter().map(|run| run.false_alarms).sum();
        table.row(vec![
            format!("{rate}, {}", series.tool),
            figure(series.achieved_pps()),
            format!("{}/{}", latencies.len(), series.runs.len()),
            figure(median(latencies.clone())),
            figure(latencies.iter().copied().reduce(f64::min)),
            figure(latencies.iter().copied().reduce(f64::max)),
            false_alarms.to_string(),
            figure(median(series.runs.iter().filter_map(|run| run.reported_pps).collect())),
        ]);
    }
    table
}
