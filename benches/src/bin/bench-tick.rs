//! `bench-tick`: what one tick's reading of the kernel's tables costs, with as many sections as a large machine has CPUs.
//!
//! Frames go through our program by `BPF_PROG_TEST_RUN` on one CPU; its section is then copied to the others, as if each
//! CPU had seen the same. What is timed is what the live loop does once a tick: all sections read, windows merged. Needs
//! root.

use std::hint::black_box;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Parser;
use serde::Serialize;
use serde_json::json;
use tidegauge_analyzer::collect::{Collector, Effort, View};
use tidegauge_analyzer::feature::TICK_NS;
use tidegauge_analyzer::window::Window;
use tidegauge_benches::machine::Machine;
use tidegauge_benches::measure::median;
use tidegauge_benches::packet::test_run_ns;
use tidegauge_benches::table::{Table, figure};
use tidegauge_benches::wire::{
    Addresses, Direction, FrameBuilder, Marks, Options, Path, Payload, Segment, flag,
};
use tidegauge_capture::xdp::object::{Object, Settings};

/// Listeners that frames go to.
const LISTENERS: [u16; 4] = [0, 1, 16, 256];
/// Frames to each listener between two readings, and of one UDP target beside them.
const FRAMES: u32 = 200;
const SEED: u64 = 42;

/// What one tick's reading of the kernel's tables costs.
#[derive(Parser)]
struct Args {
    /// Sections: CPUs of the machine that is measured for.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=512))]
    cpus: u32,
    /// Ticks measured.
    #[arg(long, default_value_t = 12)]
    ticks: u32,
    /// Print JSON instead of markdown.
    #[arg(long)]
    json: bool,
}

/// Ticks with so many listeners.
#[derive(Serialize)]
struct Series {
    listeners: u16,
    us: Vec<f64>,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let machine = Machine::read();
    let settings = Settings { sections: Some(args.cpus), ..Settings::with_seed(SEED) };
    let mut series = Vec::new();
    for listeners in LISTENERS {
        let mut object = Object::load(&settings).context("load the program (this needs root)")?;
        let mut collectors: Vec<_> = (0..args.cpus).map(|_| Collector::default()).collect();
        series.push(measure(&args, listeners, &mut object, &mut collectors)?);
    }
    if args.json {
        println!("{}", json!({ "machine": machine, "series": series }));
        return Ok(());
    }
    println!("{}\n", machine.line());
    println!("{} sections, {} ticks each; microseconds a tick.\n", args.cpus, args.ticks);
    let mut table = Table::new(&["listeners with traffic on each CPU", "median", "max"]);
    for Series { listeners, us } in &series {
        let most = us.iter().copied().reduce(f64::max);
        table.row(vec![listeners.to_string(), figure(median(us.clone())), figure(most)]);
    }
    print!("{table}");
    Ok(())
}

fn measure(args: &Args, listeners: u16, object: &mut Object, collectors: &mut [Collector]) -> Result<Series> {
    // The first reading finds everything new, and is nobody's tick.
    traffic(args, listeners, object)?;
    read(object, collectors, 1, true);
    let mut us = Vec::new();
    for tick in 0..u64::from(args.ticks) {
        traffic(args, listeners, object)?;
        us.push(read(object, collectors, 2 + tick, false));
    }
    Ok(Series { listeners, us })
}

/// The live loop's reading; microseconds.
fn read(object: &Object, collectors: &mut [Collector], tick: u64, everything: bool) -> f64 {
    let (start_ns, end_ns) = (tick * TICK_NS, (tick + 1) * TICK_NS);
    let started = Instant::now();
    let mut window = Window { start_ns, end_ns, ..Window::default() };
    let (cpus, mut effort) =
        (collectors.len(), if everything { Effort::EVERYTHING } else { Effort::tick(collectors.len()) });
    for step in 0..cpus {
        let cpu = (tick as usize + step) % cpus;
        collectors[cpu].collect_into(&mut window, View::Kernel(object.maps(), cpu as u32), &mut effort);
    }
    black_box(&window);
    started.elapsed().as_secs_f64() * 1e6
}

/// The same frames to every CPU: SYNs to each listener, and datagrams to one target.
fn traffic(args: &Args, listeners: u16, object: &mut Object) -> Result<()> {
    for listener in 0..listeners {
        run(object, &syn(listener), FRAMES)?;
    }
    if listeners != 0 {
        run(object, &datagram(), FRAMES)?;
    }
    for cpu in 1..args.cpus {
        object.copy_section(cpu).context("copy a section")?;
    }
    Ok(())
}

fn run(object: &mut Object, frame: &[u8], repeat: u32) -> Result<()> {
    let program = object.ingress()?.fd()?.as_fd();
    test_run_ns(program, frame, repeat).map(|_| ())
}

fn path(listener: u16) -> Path {
    Path {
        addresses: Addresses::V4(Ipv4Addr::new(198, 51, 100, 7), Ipv4Addr::new(192, 0, 2, 1)),
        ports: (40_000, 1_000 + listener),
        vlan: None,
        ttl: 64,
    }
}

fn syn(listener: u16) -> Vec<u8> {
    let segment = Segment {
        at_us: 0,
        direction: Direction::Forward,
        flags: flag::SYN,
        seq: 0,
        ack: 0,
        rwnd: 64_240,
        payload_bytes: 0,
        options: Options::Mss,
        marks: Marks::default(),
    };
    FrameBuilder::new(1514).tcp(&path(listener), &segment).1.to_vec()
}

fn datagram() -> Vec<u8> {
    FrameBuilder::new(1514).udp(&path(0), Direction::Forward, &Payload::Filler(40)).1.to_vec()
}
