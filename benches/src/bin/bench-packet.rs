//! `bench-packet`: nanoseconds per packet of XDP programs, by the kernel's own measure (`BPF_PROG_TEST_RUN`).
//!
//! In one run, in interleaved rounds: a program that does nothing, Debian's xdp-filter, and tidegauge, on one CPU and on
//! two at once; or, with `--features`, tidegauge without each of its features. Needs root.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Barrier;

use anyhow::{Context, Result, anyhow};
use clap::Parser;
use rustix::thread::{CpuSet, sched_setaffinity};
use serde_json::json;
use tidegauge_benches::machine::Machine;
use tidegauge_benches::packet::frame::{Kind, NETWORKS, frame};
use tidegauge_benches::packet::lane::{Lane, Load};
use tidegauge_benches::packet::{Book, Measure, test_run_ns, xdp_filter};
use tidegauge_benches::scratch::Scratch;
use tidegauge_benches::table::{Table, figure};
use tidegauge_benches::xdp::Pass;
use tidegauge_capture::xdp::object::{Object, Settings};
use tidegauge_ebpf::settings::feature;

/// Loads on one CPU.
const ALONE: [Load; 8] = [
    Load::Turns(1),
    Load::Turns(1 << 10),
    Load::Turns(1 << 17),
    Load::Turns(1 << 20),
    Load::Skewed,
    Load::New(Kind::Data),
    Load::New(Kind::Syn),
    Load::New(Kind::Datagram),
];
/// Loads on two CPUs at once.
const TOGETHER: [Load; 5] =
    [Load::Turns(1 << 10), Load::Turns(1 << 17), Load::Turns(1 << 20), Load::Skewed, Load::New(Kind::Syn)];
/// Loads on which features are told apart.
const TOLD: [Load; 4] =
    [Load::Turns(1 << 10), Load::Turns(1 << 17), Load::New(Kind::Syn), Load::New(Kind::Datagram)];
/// Hash seed of our tables.
const SEED: u64 = 42;
const PASS: &str = "XDP_PASS alone";

/// Nanoseconds per packet of XDP programs, by BPF_PROG_TEST_RUN.
#[derive(Parser)]
struct Args {
    /// Rounds; each takes networks of its own from the address space.
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u8).range(1..=20))]
    rounds: u8,
    /// Runs of a program in each round.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1..=16_000_000))]
    repeat: u32,
    /// What each feature costs, instead of the peers.
    #[arg(long)]
    features: bool,
    /// Print JSON instead of markdown.
    #[arg(long)]
    json: bool,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let machine = Machine::read();
    let mut absent = BTreeSet::new();
    let pass = Pass::load().context("load a program (this needs root)")?;
    let book = if args.features { features(&args, &pass)? } else { peers(&args, &pass, &mut absent)? };
    if args.json {
        println!("{}", json!({ "machine": machine, "series": book, "absent": absent }));
        return Ok(());
    }
    println!("{}\n", machine.line());
    println!(
        "{} rounds of {} runs each. TCP frames of 118 bytes, SYNs, UDP datagrams.\n",
        args.rounds, args.repeat
    );
    if args.features {
        print_features(&book)
    } else {
        print_peers(&book)
    }
    for absent in absent {
        println!("\n- not measured: {absent}");
    }
    Ok(())
}

/// We and the others, on one CPU; we on two.
fn peers(args: &Args, pass: &Pass, absent: &mut BTreeSet<String>) -> Result<Book> {
    let scratch = Scratch::new("packet").context("create a temporary directory")?;
    let mut book = Book::default();
    let mut object = Object::load(&Settings::with_seed(SEED))?;
    let program = object.ingress()?.fd()?.as_fd().try_clone_to_owned()?;
    let third = NETWORKS / 3;
    let mut alone = Lane::new(&ALONE, program.as_fd(), pass, 0..third)?;
    let mut pair = Vec::new();
    for cpu in 0..cpus().min(2) {
        pair.push(Lane::new(&TOGETHER, program.as_fd(), pass, third * (1 + cpu)..third * (2 + cpu))?);
    }
    if pair.len() < 2 {
        absent.insert("two CPUs at once: there is one".to_owned());
    }
    for _ in 0..args.rounds {
        let pass_ns = test_run_ns(pass.fd(), &frame(0, Kind::Data, 0), args.repeat)?;
        book.note(PASS, Measure { ns: pass_ns, floor_ns: 0.0 });
        for variant in xdp_filter::VARIANTS {
            match xdp_filter::run_ns(variant, scratch.path(), args.repeat) {
                Ok(ns) => book.note(&format!("xdp-filter {variant}"), Measure { ns, floor_ns: pass_ns }),
                Err(error) => _ = absent.insert(format!("xdp-filter: {error:#}")),
            }
        }
        for load in ALONE {
            book.note(&format!("tidegauge, {}", load.name()), alone.measure(load, args.repeat)?);
        }
        if let [first, second] = &mut pair[..] {
            for load in TOGETHER {
                let slower = at_once([first, second], load, args.repeat)?;
                book.note(&format!("tidegauge on two CPUs, {}", load.name()), slower);
            }
        }
    }
    Ok(book)
}

fn cpus() -> u8 {
    std::thread::available_parallelism().map_or(1, |cpus| u8::try_from(cpus.get()).unwrap_or(u8::MAX))
}

/// The same load on two CPUs at the same time: the slower one's figures.
fn at_once(lanes: [&mut Lane; 2], load: Load, repeat: u32) -> Result<Measure> {
    let start = Barrier::new(2);
    let measured = std::thread::scope(|scope| {
        let threads = [0, 1].into_iter().zip(lanes).map(|(cpu, lane)| {
            let start = &start;
            scope.spawn(move || {
                let mut own = CpuSet::new();
                own.set(cpu);
                let pinned = sched_setaffinity(None, &own);
                start.wait();
                pinned.context("pin a thread to its CPU")?;
                lane.measure(load, repeat)
            })
        });
        // Started, all of them, before the first is waited for.
        let threads: Vec<_> = threads.collect();
        let joined =
            threads.into_iter().map(|thread| thread.join().map_err(|_| anyhow!("a thread panicked"))?);
        joined.collect::<Result<Vec<_>>>()
    })?;
    let slower = measured.into_iter().max_by(|a, b| a.ns.total_cmp(&b.ns));
    slower.context("nothing was measured")
}

/// Our program with everything, without each feature, and with none.
fn features(args: &Args, pass: &Pass) -> Result<Book> {
    let mut variants = vec![("everything".to_owned(), feature::ALL)];
    for (bit, name) in feature::NAMES.iter().enumerate() {
        variants.push((format!("without {name}"), feature::ALL & !(1 << bit)));
    }
    variants.push(("headers only".to_owned(), 0));
    let mut objects = Vec::new();
    for (name, features) in variants {
        let mut object = Object::load(&Settings { features, ..Settings::with_seed(SEED) })?;
        let lane = Lane::new(&TOLD, program(&mut object)?, pass, 0..NETWORKS)?;
        objects.push((name, lane, object));
    }
    let mut book = Book::default();
    for _ in 0..args.rounds {
        for load in TOLD {
            for (name, lane, _) in &mut objects {
                book.note(&feature_row(name, load), lane.measure(load, args.repeat)?);
            }
        }
    }
    Ok(book)
}

fn program(object: &mut Object) -> Result<BorrowedFd<'_>> {
    Ok(object.ingress()?.fd()?.as_fd())
}

fn feature_row(variant: &str, load: Load) -> String {
    format!("{variant}, {}", load.name())
}

fn print_peers(book: &Book) {
    let mut table = Table::new(&["program", "median ns", "min ns", "above its floor"]);
    for series in &book.0 {
        let above = if series.name == PASS { None } else { series.median_above_floor_ns() };
        let least = series.ns.iter().copied().reduce(f64::min);
        table.row(vec![series.name.clone(), figure(series.median_ns()), figure(least), figure(above)]);
    }
    print!("{table}");
}

/// Above the floor for all that is on; for what is off, how much less.
fn print_features(book: &Book) {
    let names = TOLD.map(Load::name);
    let header = ["program"].into_iter().chain(names.iter().map(String::as_str));
    let mut table = Table::new(&header.collect::<Vec<_>>());
    let variants = book.0.iter().filter_map(|series| series.name.strip_suffix(&format!(", {}", names[0])));
    for variant in variants {
        let above = |variant, load| book.get(&feature_row(variant, load))?.median_above_floor_ns();
        let cells = TOLD.map(|load| {
            let ns = above(variant, load);
            if variant.starts_with("without") {
                ns.zip(above("everything", load))
                    .map_or_else(String::new, |(ns, all)| format!("{:+.0}", ns - all))
            } else {
                figure(ns)
            }
        });
        table.row([variant.to_owned()].into_iter().chain(cells).collect());
    }
    print!("{table}");
}
