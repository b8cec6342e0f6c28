//! `tidegauge read`: capture files through the packet logic, in the order of their first packets.

use std::fs::{self, Metadata};
use std::path::Path;

use anyhow::bail;
use tidegauge_analyzer::account::Accounts;
use tidegauge_analyzer::config::Config;
use tidegauge_analyzer::cost::Cost;
use tidegauge_analyzer::engine::Engine;
use tidegauge_analyzer::follow::Sizes;
use tidegauge_analyzer::learnt::Learnt;
use tidegauge_analyzer::occupancy::{Occupancy, waiting};
use tidegauge_analyzer::output::{Setup, Source};
use tidegauge_analyzer::pipeline::{self, Books, Told};
use tidegauge_analyzer::quality::SourceLosses;
use tidegauge_analyzer::summary::{Span, Summary};
use tidegauge_capture::file::{FileReader, Input, Mapping};
use tidegauge_capture::filter::Filter;
use tidegauge_ebpf::settings::Settings;
use tidegauge_ebpf::stamp::Stamp;

use super::args::ReadArgs;
use super::baselines::Baselines;
use super::exports::Exports;
use super::files::{Files, OpenFile};
use super::sink::{Sink, Telling};
use super::{Outcome, confine, evidence};

/// Fixed, so that the same capture gives the same output everywhere.
const FILE_SEED: u64 = 0x7469_6465_6761_7567;

/// Time stamps of most files are in microseconds.
pub(crate) const RESOLUTION_US: u32 = 1;

/// How files are read.
pub(crate) struct Reading {
    pub(crate) config: Config,
    pub(crate) baselines: Option<Baselines>,
    /// What is known from the start, where none are written.
    pub(crate) learnt: Option<Learnt>,
    pub(crate) filter: Option<Filter>,
    pub(crate) workers: usize,
    pub(crate) memory_mib: u32,
    /// Whether judgements of single packets are told.
    pub(crate) judgements: bool,
    /// Whether lines are printed while files are read.
    pub(crate) lines: bool,
}

/// Reads all files.
pub(crate) fn run(args: &ReadArgs) -> anyhow::Result<Outcome> {
    let reading = Reading {
        config: args.common.thresholds()?,
        baselines: args.common.baselines.as_deref().map(Baselines::open).transpose()?,
        learnt: None,
        filter: args.common.filter.as_deref().map(Filter::new).transpose()?,
        workers: args.workers(),
        memory_mib: args.memory_mib,
        judgements: args.judgements,
        lines: args.common.json,
    };
    let files = open_all(args)?;
    let mut exports = Exports::open(&args.exports)?;
    exports.evidence = evidence::open(&args.evidence)?;
    let of_baselines = reading.baselines.as_ref().and_then(Baselines::directory);
    let naming: Vec<&Path> = args.exports.parquet.as_deref().into_iter().chain(of_baselines).collect();
    let removing = args.evidence.evidence.as_deref();
    let source = Source {
        setup: Setup { confined: Some(confine::read(&args.common, &naming, removing)), ..Setup::default() },
        ..describe(args)
    };
    let mut sink = Sink::new(&args.common, source, Telling::Nothing).with_exports(exports);
    replay(files, reading, &mut sink)
}

/// Reads these files one after the other.
pub(crate) fn replay(files: Vec<OpenFile>, reading: Reading, sink: &mut Sink) -> anyhow::Result<Outcome> {
    let mut baselines = reading.baselines;
    let mut engine = engine(reading.config, baselines.as_mut(), reading.learnt);
    let settings = Settings::with_seed(FILE_SEED);
    let sizes = Sizes::of_memory(reading.memory_mib, sink.wants_flows());
    let mut files = Files::new(files, reading.filter, reading.lines);
    let mut changes = Vec::new();
    let nothing_lost = SourceLosses::default();
    let wants_frames = sink.wants_frames();
    let tell = |told: Told<'_>| -> anyhow::Result<()> {
        match told {
            Told::Window(window) => engine.push(*window, &mut changes),
            Told::JumpBack(start_ns) => engine.jump_back(start_ns, &mut changes),
            Told::Flow(flow) => return Ok(sink.flow(&flow)?),
            Told::Frames(batch, range) => {
                sink.frames(batch, range);
                return Ok(());
            }
            Told::Judgement(packet, digest, verdict) => return Ok(sink.judgement(packet, digest, verdict)?),
        }
        Ok(sink.tell(&mut changes, &engine, &nothing_lost)?)
    };
    let mut books = Books::new(Accounts::new(settings), reading.judgements).with_frames(wants_frames);
    let outcome = pipeline::run(&mut files, reading.workers, sizes, settings, &mut books, tell);
    if let Some(error) = outcome.error {
        return Err(error);
    }
    let accounts = books.accounts();
    let first_last_ns = outcome.ticks.first_last_ns();
    let losses = SourceLosses {
        cut: files.into_cuts(),
        unread_links: outcome.ticks.unread_links().clone(),
        ..SourceLosses::default()
    };
    if first_last_ns.is_none() && !losses.cut.is_empty() {
        bail!("no packet could be read: {}", losses.cut.join("; "));
    }
    tell_cuts(&losses);
    if first_last_ns.is_some() {
        engine.settle(&mut changes);
    }
    if let Some(baselines) = baselines {
        baselines.save(&mut engine)?;
    }
    engine.finish(&mut changes);
    sink.tell(&mut changes, &engine, &losses)?;
    let last_ns = first_last_ns.map_or(0, |(_, last_ns)| last_ns);
    let last = Stamp::from_ns(last_ns);
    let buckets = outcome.followers.iter().flat_map(|follower| follower.attempts()).copied();
    let span = Span {
        first_last_ns,
        waiting_attempts: waiting(buckets, last),
        resolution_us: RESOLUTION_US,
        late_frames: outcome.ticks.late(),
    };
    let mut summary = Summary::of(engine.run(), &losses, &span)
        .with_observations(engine.observations())
        .with_round_trips(accounts.round_trips());
    let occupancy = Occupancy::of_followers(&outcome.followers, accounts.listeners_used(), last);
    summary.cost = Some(Cost { occupancy: Some(occupancy), ..Cost::default() });
    Ok(sink.finish(&summary, &engine, &losses, first_last_ns)?)
}

/// An engine with what is known from the start.
fn engine(config: Config, baselines: Option<&mut Baselines>, learnt: Option<Learnt>) -> Engine {
    let mut engine = Engine::new(config, true);
    if let Some(baselines) = baselines {
        engine = baselines.begin(engine);
    }
    match learnt {
        Some(learnt) => engine.with_learnt(learnt),
        None => engine,
    }
}

/// Opens every file before reading any: a wrong name is said at once.
fn open_all(args: &ReadArgs) -> anyhow::Result<Vec<OpenFile>> {
    if args.files.iter().filter(|path| path.as_path() == Path::new("-")).count() > 1 {
        bail!("standard input (-) can be read once only");
    }
    let mapping = if args.no_mmap { Mapping::Streamed } else { Mapping::Mapped };
    let mut files = Vec::new();
    for path in &args.files {
        let input = if path.as_path() == Path::new("-") { Input::Stdin } else { Input::Path(path.clone()) };
        files.push(open(&input, mapping)?);
    }
    files.sort_by_key(|file| file.first_ts_ns);
    Ok(files)
}

/// Opens one file, to its first packet.
pub(crate) fn open(input: &Input, mapping: Mapping) -> anyhow::Result<OpenFile> {
    let mut reader = FileReader::open(input, mapping)?;
    let first_ts_ns = reader.next_ts_ns()?;
    let bytes = match input {
        Input::Path(path) => fs::metadata(path).ok().filter(Metadata::is_file).map(|file| file.len()),
        Input::Stdin => None,
    };
    Ok(OpenFile { name: input.to_string(), reader, first_ts_ns, bytes })
}

fn describe(args: &ReadArgs) -> Source {
    let names: Vec<_> = args.files.iter().map(|path| path.display().to_string()).collect();
    let (mode, why) = if args.no_mmap {
        ("streamed", "asked for with --no-mmap")
    } else if names.iter().all(|name| name == "-") {
        ("streamed", "standard input")
    } else {
        ("mapped", "capture file")
    };
    Source {
        kind: "file",
        mode,
        why: why.to_owned(),
        egress: None,
        name: names.join(" "),
        resolution_us: RESOLUTION_US,
        setup: Setup::default(),
    }
}

fn tell_cuts(losses: &SourceLosses) {
    for cut in &losses.cut {
        // Nobody may be reading standard error; the report has it too.
        let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("tidegauge: {cut}\n"));
    }
}
