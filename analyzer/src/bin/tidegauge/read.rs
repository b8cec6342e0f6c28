//! `tidegauge read`: capture files through the packet logic, in the order of their first packets.

use std::ops::ControlFlow;
use std::path::Path;

use anyhow::{Context, bail};
use tidegauge_analyzer::cost::Cost;
use tidegauge_analyzer::engine::Engine;
use tidegauge_analyzer::output::{Setup, Source};
use tidegauge_analyzer::quality::SourceLosses;
use tidegauge_analyzer::replay::Replay;
use tidegauge_analyzer::summary::{Span, Summary};
use tidegauge_analyzer::track::Shard;
use tidegauge_capture::file::{End, FileReader, Input, Mapping};
use tidegauge_capture::filter::Filter;

use super::args::ReadArgs;
use super::exports::Exports;
use super::sink::{Sink, Telling};
use super::{Outcome, confine};

/// Fixed, so that the same capture gives the same output everywhere.
const FILE_SEED: u64 = 0x7469_6465_6761_7567;

/// Time stamps of most files are in microseconds.
const RESOLUTION_US: u32 = 1;

/// A file that is open, and when it begins.
struct OpenFile {
    name: String,
    reader: FileReader,
    first_ts_ns: Option<u64>,
}

/// Reads all files.
pub(crate) fn run(args: &ReadArgs) -> anyhow::Result<Outcome> {
    let config = args.common.thresholds()?;
    let mut filter = args.common.filter.as_deref().map(Filter::new).transpose()?;
    let mut files = open_all(args)?;
    let exports = Exports::open(&args.exports)?;
    let source = Source {
        setup: Setup {
            confined: Some(confine::read(&args.common, args.exports.parquet.as_deref())),
            ..Setup::default()
        },
        ..describe(args)
    };
    let mut sink = Sink::new(&args.common, source, Telling::Nothing).with_exports(exports);
    let mut replay = Replay::new(Shard::for_files(FILE_SEED), Engine::new(config, true));
    let mut losses = SourceLosses::default();
    for file in &mut files {
        read_file(file, &mut replay, filter.as_mut(), &mut sink, &mut losses)?;
    }
    if replay.worker().first_last_ns().is_none() && !losses.cut.is_empty() {
        bail!("no packet could be read: {}", losses.cut.join("; "));
    }
    tell_cuts(&losses);
    losses.unread_links.clone_from(replay.worker().shard().unread_links());
    let mut changes = Vec::new();
    replay.finish(&mut changes);
    sink.tell(&mut changes, replay.engine(), &losses)?;
    let span = Span {
        first_last_ns: replay.worker().first_last_ns(),
        waiting_attempts: replay.worker().waiting_attempts(),
        resolution_us: RESOLUTION_US,
        late_frames: replay.worker().late(),
    };
    let mut summary = Summary::of(replay.engine().run(), &losses, &span);
    summary.cost = Some(Cost { occupancy: Some(replay.worker().occupancy()), ..Cost::default() });
    let last_ns = replay.worker().first_last_ns().map_or(0, |(_, last)| last);
    Ok(sink.finish(&summary, replay.engine(), &losses, last_ns)?)
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
        let mut reader = FileReader::open(&input, mapping)?;
        let first_ts_ns = reader.next_ts_ns()?;
        files.push(OpenFile { name: input.to_string(), reader, first_ts_ns });
    }
    files.sort_by_key(|file| file.first_ts_ns);
    Ok(files)
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

/// Reads one file to its last whole record.
fn read_file(
    file: &mut OpenFile,
    replay: &mut Replay,
    mut filter: Option<&mut Filter>,
    sink: &mut Sink,
    losses: &mut SourceLosses,
) -> anyhow::Result<()> {
    let mut changes = Vec::new();
    let mut failure = None;
    let end = file.reader.for_each(|frame| {
        if let Some(filter) = filter.as_deref_mut() {
            match filter.matches(&frame) {
                Ok(true) => {}
                Ok(false) => return ControlFlow::Continue(()),
                Err(error) => {
                    failure = Some(anyhow::Error::from(error));
                    return ControlFlow::Break(());
                }
            }
        }
        replay.frame(&frame, &mut changes);
        if !changes.is_empty()
            && let Err(error) = sink.tell(&mut changes, replay.engine(), losses)
        {
            failure = Some(error.into());
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    });
    if let Some(failure) = failure {
        return Err(failure);
    }
    match end.with_context(|| file.name.clone()) {
        Ok(End::Whole | End::Stopped) => {}
        Ok(end @ (End::Broken { .. } | End::Cut { .. })) => losses.cut.push(format!("{}: {end}", file.name)),
        // What was read before stands: the error is told, and the report says what is missing.
        Err(error) => losses.cut.push(format!("{error:#}")),
    }
    Ok(())
}

fn tell_cuts(losses: &SourceLosses) {
    for cut in &losses.cut {
        // Nobody may be reading standard error; the report has it too.
        let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("tidegauge: {cut}\n"));
    }
}
