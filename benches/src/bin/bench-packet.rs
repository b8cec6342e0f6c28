//! `bench-packet`: nanoseconds per packet of XDP programs, by the kernel's own measure (`BPF_PROG_TEST_RUN`).
//!
//! In one run, in interleaved rounds: a program that does nothing, Debian's xdp-filter, and tidegauge. Needs root.
//! Preemption does not count in the kernel's figure, so it is steady on a busy machine; memory contention does.
//! xdp-filter is loaded in a mount namespace of its own, so that what it pins is gone with it.

use std::collections::BTreeSet;
use std::fs;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use serde::Serialize;
use serde_json::{Value, json};
use tidegauge_benches::bpf;
use tidegauge_benches::machine::{Machine, find_program};
use tidegauge_benches::measure::median;
use tidegauge_benches::scratch::Scratch;
use tidegauge_benches::table::{Table, figure};
use tidegauge_benches::wire::{self, Addresses, Direction, FrameBuilder, Options, Segment, flag};
use tidegauge_benches::xdp::{PAYLOAD_BYTES, Pass, Spread, XDP_PASS};
use tidegauge_capture::xdp::object::{Object, Settings};

const XDP_FILTER_OBJECTS: &str = "/usr/lib/x86_64-linux-gnu/bpf";
/// Configurations of xdp-filter: TCP ports only, IP addresses only, everything.
const XDP_FILTER_VARIANTS: [&str; 3] = ["alw_tcp", "alw_ip", "alw_all"];
/// Flows visited in turn.
const FLOWS: [u32; 4] = [1, 1 << 10, 1 << 17, 1 << 20];
/// So many that no packet of a round meets a flow of another.
const FLOWS_ENDLESS: u32 = 1 << 24;
/// Hash seed of our tables.
const SEED: u64 = 42;

/// Nanoseconds per packet of XDP programs, by BPF_PROG_TEST_RUN.
#[derive(Parser)]
struct Args {
    /// Rounds; each takes networks of its own from the address space.
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u8).range(1..=50))]
    rounds: u8,
    /// Runs of a program in each round.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1..=16_000_000))]
    repeat: u32,
    /// Print JSON instead of markdown.
    #[arg(long)]
    json: bool,
}

/// One program in one round.
#[derive(Serialize)]
struct Row {
    name: String,
    /// Kernel's mean of one run.
    ns: f64,
    /// What a program that does nothing costs in its place.
    floor_ns: f64,
}

/// One program in all rounds.
#[derive(Default, Serialize)]
struct Series {
    name: String,
    ns: Vec<f64>,
    above_floor_ns: Vec<f64>,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let machine = Machine::read();
    let mut series = Vec::new();
    let mut absent = BTreeSet::new();
    let scratch = Scratch::new("packet").context("create a temporary directory")?;
    let pass = Pass::load().context("load a program (this needs root)")?;
    let mut tidegauge = match Tidegauge::load(&pass) {
        Ok(tidegauge) => Some(tidegauge),
        Err(error) => {
            absent.insert(format!("tidegauge: {error:#}"));
            None
        }
    };
    for round in 0..args.rounds {
        let pass_ns = test_run_ns(pass.fd(), &frame(0, Kind::Data, 0), args.repeat)?;
        add(&mut series, Row { name: "XDP_PASS alone".to_owned(), ns: pass_ns, floor_ns: pass_ns });
        match xdp_filter_rows(scratch.path(), args.repeat, pass_ns) {
            Ok(rows) => rows.into_iter().for_each(|row| add(&mut series, row)),
            Err(error) => {
                absent.insert(format!("xdp-filter: {error:#}"));
            }
        }
        if let Some(tidegauge) = &mut tidegauge {
            let rows = tidegauge.rows(round, args.repeat, pass_ns)?;
            rows.into_iter().for_each(|row| add(&mut series, row));
        }
    }
    if args.json {
        println!("{}", json!({ "machine": machine, "series": series, "absent": absent }));
    } else {
        print_markdown(&machine, &args, &series, &absent);
    }
    Ok(())
}

fn add(series: &mut Vec<Series>, row: Row) {
    let index = series.iter().position(|known| known.name == row.name).unwrap_or_else(|| {
        series.push(Series { name: row.name, ..Series::default() });
        series.len() - 1
    });
    series[index].ns.push(row.ns);
    series[index].above_floor_ns.push(row.ns - row.floor_ns);
}

/// One run of the kernel's measurement, which must end in the frame's passing.
fn test_run_ns(program: BorrowedFd<'_>, frame: &[u8], repeat: u32) -> Result<f64> {
    let run = bpf::test_run(program, frame, repeat).context("BPF_PROG_TEST_RUN")?;
    ensure!(run.verdict == XDP_PASS, "a program that should pass frames returned {}", run.verdict);
    Ok(f64::from(run.ns))
}

/// The same flows before our program and before the empty one.
struct Varied {
    flows: u32,
    ours: Spread,
    floor: Spread,
    /// Laps that our program has seen: where the sequence number goes on.
    laps: u32,
}

impl Varied {
    fn load(flows: u32, object: &mut Object, pass: &Pass) -> Result<Self> {
        let ours = Spread::load(flows, object.ingress()?.fd()?.as_fd())?;
        Ok(Self { flows, ours, floor: Spread::load(flows, pass.fd())?, laps: 0 })
    }

    /// Runs whole laps, at least `repeat` packets.
    fn known_flows(&mut self, repeat: u32) -> Result<Row> {
        let laps = repeat.div_ceil(self.flows);
        let frame = frame(0, Kind::Data, self.laps);
        self.laps += laps;
        let ns = test_run_ns(self.ours.fd(), &frame, laps * self.flows)?;
        let floor_ns = test_run_ns(self.floor.fd(), &frame, laps * self.flows)?;
        Ok(Row { name: format!("tidegauge, {} flows in turn", self.flows), ns, floor_ns })
    }

    /// Runs packets from `network`, each of a flow of its own.
    fn new_flows(&self, network: u8, kind: Kind, repeat: u32) -> Result<Row> {
        ensure!(repeat <= self.flows, "at most {} runs per round", self.flows);
        let frame = frame(network, kind, 0);
        let ns = test_run_ns(self.ours.fd(), &frame, repeat)?;
        let floor_ns = test_run_ns(self.floor.fd(), &frame, repeat)?;
        Ok(Row { name: format!("tidegauge, every {} a new flow", kind.name()), ns, floor_ns })
    }
}

/// Our program, and the programs that vary the flow before it.
struct Tidegauge {
    object: Object,
    known: Vec<Varied>,
    endless: Varied,
}

impl Tidegauge {
    fn load(pass: &Pass) -> Result<Self> {
        let mut object = Object::load(&Settings::with_seed(SEED))?;
        let mut known = Vec::new();
        for flows in FLOWS {
            let mut varied = Varied::load(flows, &mut object, pass)?;
            // A lap without a clock, so that the rounds measure flows that are known.
            varied.known_flows(flows)?;
            known.push(varied);
        }
        let endless = Varied::load(FLOWS_ENDLESS, &mut object, pass)?;
        Ok(Self { object, known, endless })
    }

    fn rows(&mut self, round: u8, repeat: u32, pass_ns: f64) -> Result<Vec<Row>> {
        let again = test_run_ns(self.object.ingress()?.fd()?.as_fd(), &frame(0, Kind::Data, 0), repeat)?;
        let name = "tidegauge, one segment again and again".to_owned();
        let mut rows = vec![Row { name, ns: again, floor_ns: pass_ns }];
        for varied in &mut self.known {
            rows.push(varied.known_flows(repeat)?);
        }
        // A network of sources per round and kind, so that what one left in the tables is not found by another.
        for kind in [Kind::Data, Kind::Syn] {
            rows.push(self.endless.new_flows(1 + 2 * round + kind as u8, kind, repeat)?);
        }
        Ok(rows)
    }
}

/// What a frame carries.
#[derive(Clone, Copy)]
enum Kind {
    Data,
    Syn,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Data => "segment",
            Self::Syn => "SYN",
        }
    }
}

/// A TCP frame from the network 11.0.0.0/8 or one after it: 118 bytes of an established flow after `laps` segments,
/// which is what published figures use, or a SYN.
fn frame(network: u8, kind: Kind, laps: u32) -> Vec<u8> {
    let path = wire::Path {
        addresses: Addresses::V4(Ipv4Addr::new(11 + network, 0, 0, 1), Ipv4Addr::new(192, 0, 2, 1)),
        ports: (40_000, 443),
        vlan: None,
        ttl: 64,
    };
    let (flags, payload_bytes, options) = match kind {
        Kind::Data => (flag::ACK | flag::PSH, PAYLOAD_BYTES, Options::Timestamps { value: 1, echo: 1 }),
        Kind::Syn => (flag::SYN, 0, Options::Mss),
    };
    let direction = Direction::Forward;
    let seq = laps.wrapping_mul(u32::from(PAYLOAD_BYTES));
    let segment = Segment { at_us: 0, direction, flags, seq, ack: 2_000, rwnd: 502, payload_bytes, options };
    FrameBuilder::new(1514).tcp(&path, &segment).1.to_vec()
}

fn xdp_filter_rows(directory: &Path, repeat: u32, floor_ns: f64) -> Result<Vec<Row>> {
    ensure!(find_program("bpftool").is_some(), "bpftool is not installed");
    let frame_path = directory.join("frame");
    fs::write(&frame_path, frame(0, Kind::Data, 0)).context("write the frame")?;
    let mut rows = Vec::with_capacity(XDP_FILTER_VARIANTS.len());
    for variant in XDP_FILTER_VARIANTS {
        let object = format!("{XDP_FILTER_OBJECTS}/xdpfilt_{variant}.o");
        ensure!(Path::new(&object).is_file(), "no {object} (package xdp-tools)");
        let ns = bpftool_ns(&object, &frame_path, repeat).with_context(|| object.clone())?;
        rows.push(Row { name: format!("xdp-filter {variant}"), ns, floor_ns });
    }
    Ok(rows)
}

/// Loads `object` and runs it, in a mount namespace with a BPF file system of its own.
fn bpftool_ns(object: &str, frame_path: &Path, repeat: u32) -> Result<f64> {
    let script = "mount -t bpf bpf /sys/fs/bpf && bpftool prog load \"$1\" /sys/fs/bpf/measured type xdp \
                  && bpftool --json prog run pinned /sys/fs/bpf/measured data_in \"$2\" repeat \"$3\"";
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c", script, "sh", object])
        .arg(frame_path)
        .arg(repeat.to_string())
        .output()
        .context("run unshare")?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let result: Value = serde_json::from_slice(&output.stdout).context("read what bpftool printed")?;
    result["duration"].as_f64().with_context(|| format!("bpftool printed {result}"))
}

fn print_markdown(machine: &Machine, args: &Args, series: &[Series], absent: &BTreeSet<String>) {
    println!("{}\n", machine.line());
    println!("{} rounds of {} runs each, one TCP frame of 118 bytes, or a SYN.\n", args.rounds, args.repeat);
    let mut table = Table::new(&["program", "median ns", "min ns", "above its floor"]);
    for Series { name, ns, above_floor_ns } in series {
        table.row(vec![
            name.clone(),
            figure(median(ns.clone())),
            figure(ns.iter().copied().reduce(f64::min)),
            figure(median(above_floor_ns.clone())),
        ]);
    }
    print!("{table}");
    for absent in absent {
        println!("\n- not measured: {absent}");
    }
}
