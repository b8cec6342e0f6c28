//! Standard output: JSON Lines or text, flushed whenever something changed that somebody may be waiting for; and what
//! is exported beside it.

use std::io::{self, IsTerminal, Write};
use std::ops::Range;
use std::time::Duration;

use anstream::AutoStream;
use serde_json::Value;
use tidegauge_analyzer::backtest::Trial;
use tidegauge_analyzer::batch::Batch;
use tidegauge_analyzer::config::Config;
use tidegauge_analyzer::cost::Cost;
use tidegauge_analyzer::digest::Digest;
use tidegauge_analyzer::engine::{Change, Engine, LISTENERS_MAX, Second};
use tidegauge_analyzer::evidence::ring::Chunk;
use tidegauge_analyzer::flow_record::FlowRecord;
use tidegauge_analyzer::follow::Verdict;
use tidegauge_analyzer::incident::{Incident, Severity, State};
use tidegauge_analyzer::model::Outlook;
use tidegauge_analyzer::output::{Setup, Source, json, report, status_line};
use tidegauge_analyzer::quality::{Interval, Quality, SourceLosses};
use tidegauge_analyzer::summary::Summary;
use tidegauge_analyzer::window::Window;

use super::Outcome;
use super::args::CommonArgs;
use super::compared::Compared;
use super::costs::Costs;
use super::exports::Exports;
use super::graph_lines::GraphLines;
use super::read::RESOLUTION_US;
use super::thresholds::Thresholds;
use super::told::Told;

/// Buffered bytes before a write.
const BUFFER_BYTES: usize = 64 * 1024;

/// Nobody looks at the windows of trials.
const WINDOW_OF_TRIALS: Duration = Duration::from_secs(1);

/// Columns of a status line where the terminal does not say.
const STATUS_COLUMNS: usize = 80;

/// Where results go.
pub(crate) struct Sink {
    format: Format,
    exports: Exports,
    source: Source,
    window_ns: u64,
    /// Seconds of the window that is not over yet.
    pending: Window,
    /// What was handed out, and until when: what a reader of the output has.
    told: Told,
    /// How well they were seen.
    pending_seen: Interval,
    /// Newest features and worst health in it.
    pending_outlook: Outlook,
    costs: Costs,
    graph_lines: GraphLines,
    fail_on: Option<Severity>,
    failed: bool,
}

enum Format {
    Json(Lines),
    Text {
        out: AutoStream<io::Stdout>,
        told_as_they_happen: Telling,
    },
    /// Nothing is printed: incidents are kept.
    Incidents(Box<Trial>),
}

/// Where JSON lines go.
enum Lines {
    Printed(io::BufWriter<io::Stdout>),
    /// To be compared with another run.
    Collected(Box<Compared>),
}

impl Lines {
    fn put(&mut self, line: Value) -> io::Result<()> {
        match self {
            Self::Printed(out) => {
                serde_json::to_writer(&mut *out, &line)?;
                out.write_all(b"\n")
            }
            Self::Collected(side) => {
                side.take(line);
                Ok(())
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Printed(out) => out.flush(),
            Self::Collected(_) => Ok(()),
        }
    }
}

/// What a text sink says before the report.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Telling {
    /// Incidents as they open, change and close.
    Incidents,
    /// Nothing: the report has it all.
    Nothing,
    /// Incidents, and on standard error a status line that overwrites itself.
    Status,
}

impl Telling {
    /// What to say of a live run: a status line only to a person.
    pub(crate) fn live() -> Self {
        if io::stderr().is_terminal() { Self::Status } else { Self::Incidents }
    }
}

impl Sink {
    pub(crate) fn new(common: &CommonArgs, source: Source, telling: Telling) -> Self {
        let format = if common.json {
            Format::Json(Lines::Printed(io::BufWriter::with_capacity(BUFFER_BYTES, io::stdout())))
        } else {
            Format::Text { out: AutoStream::auto(io::stdout()), told_as_they_happen: telling }
        };
        let fail_on = common.fail_on.map(Severity::from);
        Self {
            fail_on,
            graph_lines: GraphLines::of(common),
            ..Self::with_format(format, common.window, source)
        }
    }

    /// A sink that keeps what a comparison needs; see [`Self::into_side`].
    pub(crate) fn collecting(side: Compared, window: Duration, source: Source) -> Self {
        let format = Format::Json(Lines::Collected(Box::new(side)));
        Self { exports: Exports::flow_lines_only(), ..Self::with_format(format, window, source) }
    }

    fn with_format(format: Format, window: Duration, source: Source) -> Self {
        Self {
            format,
            exports: Exports::default(),
            source,
            window_ns: window_ns(window),
            pending: Window::default(),
            told: Told::default(),
            pending_seen: Interval::default(),
            pending_outlook: Outlook::default(),
            costs: Costs::default(),
            graph_lines: GraphLines::default(),
            fail_on: None,
            failed: false,
        }
    }

    /// A sink that keeps the incidents of a capture; see [`Self::into_trial`].
    pub(crate) fn of_incidents(capture: String) -> Self {
        let source = Source {
            kind: "file",
            mode: "mapped",
            why: "capture file".to_owned(),
            egress: None,
            name: capture.clone(),
            resolution_us: RESOLUTION_US,
            setup: Setup::default(),
        };
        let trial = Trial { capture, ..Trial::default() };
        Self::with_format(Format::Incidents(Box::new(trial)), WINDOW_OF_TRIALS, source)
    }

    /// What was kept.
    pub(crate) fn into_trial(self) -> Option<Trial> {
        match self.format {
            Format::Incidents(trial) => Some(*trial),
            Format::Json(_) | Format::Text { .. } => None,
        }
    }

    /// What was collected.
    pub(crate) fn into_side(self) -> Option<Compared> {
        match self.format {
            Format::Json(Lines::Collected(side)) => Some(*side),
            Format::Json(Lines::Printed(_)) | Format::Incidents(_) | Format::Text { .. } => None,
        }
    }

    /// Writes files as well.
    pub(crate) fn with_exports(mut self, exports: Exports) -> Self {
        self.exports = exports;
        self
    }

    /// Says what is in force, before the first packet.
    pub(crate) fn start(&mut self, now_ns: u64) -> io::Result<()> {
        match &mut self.format {
            Format::Json(out) => out.put(json::source(now_ns, &self.source)),
            Format::Text { out, .. } => {
                let egress = self.source.egress.as_deref().unwrap_or("none");
                let Source { kind, mode, why, name, .. } = &self.source;
                writeln!(out, "tidegauge on {name}: {kind} {mode} ({why}); egress: {egress}")?;
                report::setup_lines(&self.source.setup).iter().try_for_each(|line| writeln!(out, "  {line}"))
            }
            Format::Incidents(_) => Ok(()),
        }?;
        self.flush()
    }

    /// Where a SIGHUP asked for it: new thresholds, or why the old ones stay; said, and in force from here on.
    pub(crate) fn reload(
        &mut self,
        thresholds: &Thresholds,
        engine: &mut Engine,
        now_ns: u64,
    ) -> io::Result<()> {
        let why = match thresholds.reloaded() {
            None => return Ok(()),
            Some(Ok(config)) => {
                engine.set_config(config);
                None
            }
            Some(Err(why)) => Some(why),
        };
        match &mut self.format {
            Format::Json(out) => out.put(json::reload(now_ns, why.as_deref(), &self.source)),
            Format::Incidents(_) => Ok(()),
            Format::Text { out, .. } => match why {
                Some(why) => writeln!(out, "thresholds stay as they are: {why}"),
                None => writeln!(out, "thresholds read again"),
            },
        }
    }

    /// Takes what the last second cost, if a second is over.
    pub(crate) fn note_cost(&mut self, cost: Option<Cost>) {
        cost.into_iter().for_each(|cost| self.costs.note(cost));
    }

    /// The summary with the cost of the run.
    pub(crate) fn with_cost(&self, summary: Summary) -> Summary {
        Summary { cost: self.costs.run.clone(), ..summary }
    }

    /// Says what changed; `losses` are those up to now.
    pub(crate) fn tell(
        &mut self,
        changes: &mut Vec<Change>,
        engine: &Engine,
        losses: &SourceLosses,
    ) -> io::Result<()> {
        if changes.is_empty() {
            return Ok(());
        }
        for change in changes.drain(..) {
            match change {
                Change::Incident(mut incident) => {
                    if let Some(recorder) = &mut self.exports.evidence {
                        incident.evidence = recorder.incident(&incident).map(Box::new);
                    }
                    self.incident(&incident, &Quality::of(&incident.seen, losses))?;
                }
                Change::Second(second) => self.second(*second, engine, losses)?,
            }
        }
        Ok(())
    }

    fn incident(&mut self, incident: &Incident, quality: &Quality) -> io::Result<()> {
        self.exports.incident(incident, quality)?;
        self.failed |= self.fail_on.is_some_and(|severity| incident.worst_severity <= severity);
        if self.exports.wants_lines() {
            self.exports.line(&json::incident(incident, &self.source, quality));
        }
        match &mut self.format {
            Format::Json(out) => out.put(json::incident(incident, &self.source, quality)),
            // The engine keeps those that closed, and all do.
            Format::Incidents(_) | Format::Text { told_as_they_happen: Telling::Nothing, .. } => Ok(()),
            Format::Text { out, told_as_they_happen } => {
                if *told_as_they_happen == Telling::Status {
                    write_status("")?;
                }
                if incident.state == State::Closed {
                    writeln!(out, "{}", report::incident_line(incident))
                } else {
                    write!(out, "{}", report::incident_block(incident))
                }
            }
        }
    }

    /// What was counted between two runs, as a window of its own: a rate over it is a rate over all of it.
    pub(crate) fn gap(&mut self, gap: &Window, config: &Config, losses: &SourceLosses) -> io::Result<()> {
        self.told.add(gap);
        let lasted_ns = gap.end_ns.saturating_sub(gap.start_ns).max(1);
        let lasted_s = lasted_ns as f64 / 1e9;
        let quality = Quality::of(&Interval::of(&gap.totals, lasted_ns), losses);
        self.exports.window(gap, lasted_s, self.source.resolution_us, &quality)?;
        let line = json::window(gap, lasted_s, &self.source, &quality, None, config);
        self.exports.line(&line);
        let Format::Json(out) = &mut self.format else { return Ok(()) };
        out.put(line)
    }

    /// A connection that is over, or is told as it is.
    pub(crate) fn flow(&mut self, flow: &FlowRecord) -> io::Result<()> {
        self.exports.flow(flow)?;
        match &mut self.format {
            Format::Json(out) if self.exports.flow_lines() => out.put(json::flow(flow)),
            Format::Json(_) | Format::Incidents(_) | Format::Text { .. } => Ok(()),
        }
    }

    /// A segment that was judged to be something, number `packet` of the run.
    pub(crate) fn judgement(&mut self, packet: u64, digest: &Digest, verdict: &Verdict) -> io::Result<()> {
        match &mut self.format {
            Format::Json(out) => out.put(json::judgement(packet, digest, verdict)),
            Format::Incidents(_) | Format::Text { .. } => Ok(()),
        }
    }

    /// Whether anybody wants to be told of connections.
    pub(crate) const fn wants_flows(&self) -> bool {
        self.exports.flow_lines() || self.exports.wants_flows()
    }

    /// Whether frames are kept as evidence.
    pub(crate) const fn wants_frames(&self) -> bool {
        self.exports.evidence.is_some()
    }

    /// Keeps frames of a batch as evidence.
    pub(crate) fn frames(&mut self, batch: &Batch, range: Range<usize>) {
        if let Some(recorder) = &mut self.exports.evidence {
            range.for_each(|index| recorder.frame(&batch.frame(index)));
        }
    }

    /// Takes frames that a worker kept for evidence, and how many it could not.
    pub(crate) fn kept_frames(&mut self, kept: Option<(Chunk, u64)>) {
        if let (Some(recorder), Some((chunk, not_kept))) = (&mut self.exports.evidence, kept) {
            recorder.chunk(chunk, not_kept);
        }
    }

    /// What was handed out since the start of the run.
    pub(crate) const fn told(&self) -> &Told {
        &self.told
    }

    fn second(&mut self, second: Second, engine: &Engine, losses: &SourceLosses) -> io::Result<()> {
        if let Format::Incidents(trial) = &mut self.format {
            trial.rates.note(&second.window);
            return Ok(());
        }
        let Second { window, seen, outlook } = second;
        if let Format::Text { told_as_they_happen, .. } = &mut self.format {
            self.told.add(&window);
            if *told_as_they_happen == Telling::Status {
                let cost = self.costs.second.clone().map(|cost| self.costs.complete(cost));
                let quality = Quality::of(&seen, losses);
                let open = engine.open_incidents().count();
                write_status(&status_line(&window, open, &quality, cost.as_ref(), columns()))?;
            }
            if !self.exports.wants_windows() {
                return Ok(());
            }
        }
        // A window ends with the clock's multiple of its length.
        if self.pending.end_ns != 0
            && window.start_ns / self.window_ns != self.pending.start_ns / self.window_ns
        {
            self.window(engine, losses)?;
        }
        self.pending.merge(window);
        self.pending.trim(LISTENERS_MAX);
        self.pending_seen.merge(&seen);
        self.pending_outlook.merge(&outlook);
        let end_ns = self.pending.end_ns;
        if end_ns.is_multiple_of(self.window_ns) {
            self.window(engine, losses)?;
            self.graph(engine, end_ns)?;
        }
        Ok(())
    }

    fn window(&mut self, engine: &Engine, losses: &SourceLosses) -> io::Result<()> {
        let window = std::mem::take(&mut self.pending);
        let seen = std::mem::take(&mut self.pending_seen);
        let outlook = std::mem::take(&mut self.pending_outlook);
        if window.end_ns == 0 {
            return Ok(());
        }
        let quality = Quality::of(&seen, losses);
        let window_s = self.window_ns as f64 / 1e9;
        self.exports.window(&window, window_s, self.source.resolution_us, &quality)?;
        let is_printed = matches!(self.format, Format::Json(_));
        if !is_printed && !self.exports.wants_lines() {
            return Ok(());
        }
        if is_printed {
            self.told.add(&window);
        }
        let cost = self.costs.window.take().map(|cost| self.costs.complete(cost));
        let mut line =
            json::window(&window, window_s, &self.source, &quality, cost.as_ref(), engine.config());
        json::add_outlook(&mut line, &outlook);
        self.exports.line(&line);
        match &mut self.format {
            Format::Json(out) => out.put(line),
            Format::Incidents(_) | Format::Text { .. } => Ok(()),
        }
    }

    /// What talks to what, if it is time.
    fn graph(&mut self, engine: &Engine, now_ns: u64) -> io::Result<()> {
        match &mut self.format {
            Format::Json(out) if self.graph_lines.are_due(now_ns) => {
                out.put(json::graph(now_ns, engine.graph()))
            }
            _ => Ok(()),
        }
    }

    /// The end: what is pending, the summary or the report, and the run's outcome.
    pub(crate) fn finish(
        &mut self,
        summary: &Summary,
        engine: &Engine,
        losses: &SourceLosses,
        first_last_ns: Option<(u64, u64)>,
    ) -> io::Result<Outcome> {
        let now_ns = first_last_ns.map_or(0, |(_, last_ns)| last_ns);
        self.window(engine, losses)?;
        self.graph_lines.end();
        self.graph(engine, now_ns)?;
        if let Some(recorder) = &mut self.exports.evidence {
            recorder.finish();
        }
        let evidence = self.exports.evidence_totals();
        if self.exports.wants_lines() {
            self.exports.line(&json::summary(summary, evidence.as_ref(), now_ns, &self.source));
        }
        match &mut self.format {
            Format::Json(out) => out.put(json::summary(summary, evidence.as_ref(), now_ns, &self.source))?,
            Format::Text { out, told_as_they_happen } => {
                if *told_as_they_happen == Telling::Status {
                    write_status("")?;
                }
                let incidents = self.exports.with_evidence(&engine.run().incidents);
                write!(out, "{}", report::report(summary, &incidents, evidence.as_ref(), &self.source))?;
            }
            Format::Incidents(trial) => {
                trial.first_last_ns = first_last_ns;
                trial.incidents.clone_from(&engine.run().incidents);
                trial.dropped = engine.run().incidents_dropped;
            }
        }
        self.flush()?;
        self.exports.finish(engine.graph())?;
        Ok(if self.failed { Outcome::Failed } else { Outcome::Done })
    }

    /// Hands over what is buffered: after each live tick, since somebody may be waiting for it.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        match &mut self.format {
            Format::Json(out) => out.flush(),
            Format::Text { out, .. } => out.flush(),
            Format::Incidents(_) => Ok(()),
        }
    }
}

/// Puts a status line in the place of the one before; none where the line is empty.
fn write_status(line: &str) -> io::Result<()> {
    let mut stderr = io::stderr().lock();
    write!(stderr, "\r\x1b[K{line}")?;
    stderr.flush()
}

/// Columns of the terminal. A line that fills the last one would wrap on some.
fn columns() -> usize {
    let size = terminal_size::terminal_size_of(io::stderr());
    let columns = size.map(|(width, _)| usize::from(width.0)).filter(|columns| *columns != 0);
    columns.unwrap_or(STATUS_COLUMNS) - 1
}

fn window_ns(window: Duration) -> u64 {
    u64::try_from(window.as_nanos()).unwrap_or(u64::MAX)
}
