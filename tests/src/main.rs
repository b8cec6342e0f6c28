//! `traffic`: labs, servers, clients and floods on a command line, for tests, the demo and the benches.
//!
//! Stdout carries JSON lines only, each flushed, because the callers are programs. Exit code 2 when it could not run.

mod args;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Parser;
use serde_json::{Value, json};
use signal_hook::consts::{SIGINT, SIGTERM};
use tidegauge_tests::client::{self, Counts, Load, Transfer};
use tidegauge_tests::flood::{self, Delivery, Flood, Sources};
use tidegauge_tests::hold::{Hold, hold};
use tidegauge_tests::netns::{
    CLIENT_IFACE, CLIENT_V4, CLIENT_V6, Lab, SERVER_IFACE, SERVER_V4, SERVER_V6, Side,
};
use tidegauge_tests::server;

use crate::args::{Args, ConnectArgs, FloodArgs, HoldArgs, LabAction, ServeArgs, Task};

fn main() -> ExitCode {
    let done = match Args::parse().task {
        Task::Connect(args) => connect(args),
        Task::Download { target, connections } => moved(|| client::download(target, connections)),
        Task::Flood(args) => send_flood(args),
        Task::Hold(args) => hold_open(args),
        Task::Lab { action, owner } => lab(action, owner),
        Task::Serve(args) => serve(&args),
        Task::Upload { target, bytes, connections } => moved(|| client::upload(target, bytes, connections)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("traffic: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn print(line: &Value) -> Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}

fn send_flood(args: FloodArgs) -> Result<()> {
    let dest_ports = match args.dest_ports {
        Some(ports) => ports.0,
        None => vec![args.target.port()],
    };
    let flood = Flood {
        iface: args.iface,
        target: args.target.ip(),
        delivery: if args.mirror { Delivery::Mirror } else { Delivery::Host },
        dest_ports,
        sources: args.fixed_source.map_or(Sources::Spoofed, Sources::Fixed),
        rate_pps: args.rate,
        duration: args.duration,
        seed: args.seed,
    };
    let mut first = Ok(());
    let mut first_packet_ns = 0;
    let report = flood::run(&flood, |at_ns| {
        first_packet_ns = at_ns;
        first = print(&json!({ "first_packet_ns": at_ns }));
    })?;
    first?;
    let seconds = report.elapsed.as_secs_f64();
    print(&json!({
        "asked_pps": flood.rate_pps,
        "achieved_pps": (report.sent.accepted as f64 / seconds).round(),
        "sent": report.sent.accepted,
        "refused_by_device": report.sent.refused,
        "seconds": seconds,
        "first_packet_ns": first_packet_ns,
    }))
}

fn serve(args: &ServeArgs) -> Result<()> {
    let mut told = Ok(());
    server::serve(&args.listen, args.mode.into(), args.workers, |bound: &[SocketAddr]| {
        let bound: Vec<String> = bound.iter().map(SocketAddr::to_string).collect();
        told = print(&json!({ "listening": bound }));
    })?;
    told
}

fn connect(args: ConnectArgs) -> Result<()> {
    let load = Load {
        target: args.target,
        sources: args.sources,
        rate_per_s: args.rate,
        duration: args.duration,
        workers: args.workers,
    };
    let started = Instant::now();
    // Counts are worth most when the load was cut short: a request to end is obeyed, not died of.
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    let counts = client::connect(&load, &stop)?;
    let elapsed = started.elapsed();
    let mut line = counts_json(&counts, elapsed);
    line["asked_per_s"] = json!(load.rate_per_s);
    line["completed_per_s"] = json!(per_second(counts.completed, elapsed));
    print(&line)
}

fn hold_open(args: HoldArgs) -> Result<()> {
    let HoldArgs { target, sources, connections, rate, duration } = args;
    let held = hold(&Hold { target, sources, connections, rate_per_s: rate, duration })?;
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    print(&json!({
        "opened": count(&held.opened),
        "failed": count(&held.failed),
        "broken": count(&held.broken),
        "answered": count(&held.answered),
    }))
}

fn moved(work: impl FnOnce() -> Result<Transfer>) -> Result<()> {
    let started = Instant::now();
    let transfer = work()?;
    let elapsed = started.elapsed();
    let mut line = counts_json(&transfer.counts, elapsed);
    line["bytes"] = json!(transfer.bytes);
    line["bytes_per_s"] = json!(per_second(transfer.bytes, elapsed));
    print(&line)
}

fn counts_json(counts: &Counts, elapsed: Duration) -> Value {
    json!({
        "attempted": counts.attempted,
        "completed": counts.completed,
        "refused": counts.refused,
        "timed_out": counts.timed_out,
        "failed": counts.failed,
        "seconds": elapsed.as_secs_f64(),
    })
}

fn per_second(count: u64, elapsed: Duration) -> f64 {
    (count as f64 / elapsed.as_secs_f64().max(f64::EPSILON)).round()
}

fn lab(action: LabAction, owner: Option<u32>) -> Result<()> {
    // By default the lab belongs to the shell that asked for it, not to this short-lived process.
    let owner = owner.unwrap_or_else(std::os::unix::process::parent_id);
    match action {
        LabAction::Down => Lab::remove_all_of(owner),
        LabAction::Up => {
            let lab = Lab::owned_by(owner)?;
            let line = json!({
                "owner": owner,
                "client": { "namespace": lab.namespace(Side::Client), "iface": CLIENT_IFACE, "v4": CLIENT_V4, "v6": CLIENT_V6 },
                "server": { "namespace": lab.namespace(Side::Server), "iface": SERVER_IFACE, "v4": SERVER_V4, "v6": SERVER_V6 },
                "ipv6": lab.has_ipv6(),
            });
            lab.leave_up();
            print(&line)
        }
    }
}
