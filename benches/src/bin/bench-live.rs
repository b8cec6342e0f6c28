//! `bench-live`: a SYN flood at the highest rate that this machine makes, and who loses what of it at which cost.
//!
//! Needs root: it makes two network namespaces and runs everything inside them. Prints markdown, or JSON.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use clap::Parser;
use serde::Serialize;
use serde_json::json;
use tidegauge_benches::detect::lab::Lab;
use tidegauge_benches::live::tool::Tool;
use tidegauge_benches::live::{Run, generator, run};
use tidegauge_benches::machine::{Machine, find_program, sibling};
use tidegauge_benches::measure::median;
use tidegauge_benches::table::{Table, figure};

/// Our sources.
const SOURCES: [&str; 3] = ["xdp", "af-xdp", "ring"];

/// A SYN flood at the highest rate, watched by tidegauge, tcpdump and FastNetMon in turn.
#[derive(Parser)]
struct Args {
    /// The program to measure [default: tidegauge beside this one].
    #[arg(long)]
    tidegauge: Option<PathBuf>,
    /// The tool that makes the lab [default: traffic beside this one].
    #[arg(long)]
    traffic: Option<PathBuf>,
    /// Rounds; in each every program has its turn.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Length of each flood.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Only tidegauge.
    #[arg(long)]
    no_peers: bool,
    /// Print JSON instead of markdown.
    #[arg(long)]
    json: bool,
    /// Send by this interface instead, in the namespace we are in: for this program itself.
    #[arg(long, hide = true, value_name = "IFACE")]
    send: Option<String>,
}

/// One program in all rounds.
#[derive(Serialize)]
struct Series {
    name: String,
    runs: Vec<Run>,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let duration = Duration::from_secs(args.seconds);
    if let Some(interface) = &args.send {
        return generator::send(interface, duration);
    }
    let machine = Machine::read();
    let mut absent = Vec::new();
    let tidegauge = args.tidegauge.clone().map_or_else(|| sibling("tidegauge", "tidegauge-analyzer"), Ok)?;
    let traffic = args.traffic.clone().map_or_else(|| sibling("traffic", "tidegauge-tests"), Ok)?;
    let tools = tools(&args, &tidegauge, &mut absent);
    let mut series: Vec<_> =
        tools.iter().map(|tool| Series { name: tool.name(), runs: Vec::new() }).collect();
    let lab = Lab::up(&traffic)?;
    lab.take_redirected()?;
    for _ in 0..args.rounds {
        for (tool, series) in tools.iter().zip(&mut series) {
            series.runs.push(run(&lab, tool, duration)?);
        }
    }
    if args.json {
        println!("{}", json!({ "machine": machine, "series": series, "absent": absent }));
        return Ok(());
    }
    println!("{}\n", machine.line());
    println!(
        "{} rounds of {} s: SYNs of 64 bytes from 2^24 sources, by the kernel's frame generator on CPU 0.\n",
        args.rounds, args.seconds
    );
    print!("{}", table(&series));
    for absent in absent {
        println!("\n- not measured: {absent}");
    }
    Ok(())
}

fn tools(args: &Args, tidegauge: &Path, absent: &mut Vec<String>) -> Vec<Tool> {
    let mut tools = vec![Tool::Nobody];
    tools.extend(SOURCES.map(|source| Tool::Tidegauge(tidegauge.to_owned(), source)));
    if args.no_peers {
        return tools;
    }
    for (name, tool) in [("tcpdump", Tool::Tcpdump as fn(PathBuf) -> Tool), ("fastnetmon", Tool::FastNetMon)]
    {
        match find_program(name) {
            Some(program) => tools.push(tool(program)),
            None => absent.push(format!("{name} (not installed)")),
        }
    }
    tools
}

fn table(series: &[Series]) -> Table {
    let header =
        ["program", "Mpps sent", "Mpps arrived", "not counted", "it says lost", "its CPUs", "RSS MiB"];
    let mut table = Table::new(&header);
    for Series { name, runs } in series {
        let middle = |value: &dyn Fn(&Run) -> Option<f64>| {
            let values: Option<Vec<_>> = runs.iter().map(value).collect();
            values.and_then(median)
        };
        let share = |part: Option<u64>, run: &Run| Some(part? as f64 * 100.0 / run.arrived as f64);
        let percent =
            |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |share| format!("{share:.2} %"));
        table.row(vec![
            name.clone(),
            figure(middle(&|run| Some(run.sent as f64 / run.sending_s / 1e6))),
            figure(middle(&|run| Some(run.arrived_mpps()))),
            percent(middle(&|run| share(run.lost(), run))),
            percent(middle(&|run| share(run.watched.says_lost, run))),
            figure(middle(&|run| Some(run.cpus()))),
            figure(middle(&|run| Some(run.watched.rss_max_bytes as f64 / f64::from(1 << 20)))),
        ]);
    }
    table
}
