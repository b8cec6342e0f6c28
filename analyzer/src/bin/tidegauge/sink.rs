//! Standard output: JSON Lines or text, flushed whenever something changed that somebody may be waiting for.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use anstream::AutoStream;
use tidegauge_analyzer::engine::{Change, Engine, LISTENERS_MAX};
use tidegauge_analyzer::incident::{Incident, Severity, State};
use tidegauge_analyzer::output::{Source, json, report, status_line};
use tidegauge_analyzer::quality::{Quality, SourceLosses};
use tidegauge_analyzer::summary::Summary;
use tidegauge_analyzer::window::Window;
use tidegauge_ebpf::counter::Counters;

use super::Outcome;
use super::args::CommonArgs;

/// Buffered bytes before a write.
const BUFFER_BYTES: usize = 64 * 1024;

/// Where results go.
pub(crate) struct Sink {
    format: Format,
    source: Source,
    window_ns: u64,
    /// Seconds of the window that is not over yet.
    pending: Window,
    /// What was handed out, and until when: what a reader of the output has.
    told: Told,
    fail_on: Option<Severity>,
    failed: bool,
}

/// Windows that were handed out, as a sum.
#[derive(Default)]
pub(crate) struct Told {
    /// All totals.
    pub(crate) totals: Counters,
    /// End of the last one.
    pub(crate) end_ns: u64,
}

impl Told {
    fn add(&mut self, window: &Window) {
        self.totals.merge(&window.totals);
        self.end_ns = self.end_ns.max(window.end_ns);
    }
}

enum Format {
    Json(io::BufWriter<io::Stdout>),
    Text { out: AutoStream<io::Stdout>, told_as_they_happen: Telling },
}

/// What a text sink says before the report.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Telling {
    /// Incidents as they open, change and close.
    Incidents,
    /// Nothing: the report has it all.
    Nothing,
    /// Incidents, and a status line that overwrites itself.
    Status,
}

impl Telling {
    /// What to say of a live run: a status line only to a person.
    pub(crate) fn live() -> Self {
        if io::stdout().is_terminal() { Self::Status } else { Self::Incidents }
    }
}

impl Sink {
    pub(crate) fn new(common: &CommonArgs, source: Source, telling: Telling) -> Self {
        let format = if common.json {
            Format::Json(io::BufWriter::with_capacity(BUFFER_BYTES, io::stdout()))
        } else {
            Format::Text { out: AutoStream::auto(io::stdout()), told_as_they_happen: telling }
        };
        Self {
            format,
            source,
            window_ns: window_ns(common.window),
            pending: Window::default(),
            told: Told::default(),
            fail_on: common.fail_on.map(Severity::from),
            failed: false,
        }
    }

    /// Says what is in force, before the first packet.
    pub(crate) fn start(&mut self, now_ns: u64) -> io::Result<()> {
        match &mut self.format {
            Format::Json(out) => write_line(out, &json::source(now_ns, &self.source)),
            Format::Text { out, .. } => {
                let egress = self.source.egress.as_deref().unwrap_or("none");
                let Source { kind, mode, why, name, .. } = &self.source;
                writeln!(out, "tidegauge on {name}: {kind} {mode} ({why}); egress: {egress}")?;
                report::setup_lines(&self.source.setup).iter().try_for_each(|line| writeln!(out, "  {line}"))
            }
        }?;
        self.flush()
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
        let mut quality = None;
        for change in changes.drain(..) {
            match change {
                Change::Incident(incident) => {
                    let quality = quality.get_or_insert_with(|| Quality::of(&engine.run().totals, losses));
                    self.incident(&incident, quality)?;
                }
                Change::Second(second) => self.second(&second, engine)?,
            }
        }
        Ok(())
    }

    fn incident(&mut self, incident: &Incident, quality: &Quality) -> io::Result<()> {
        self.failed |= self.fail_on.is_some_and(|severity| incident.worst_severity <= severity);
        match &mut self.format {
            Format::Json(out) => write_line(out, &json::incident(incident, &self.source, quality)),
            Format::Text { told_as_they_happen: Telling::Nothing, .. } => Ok(()),
            Format::Text { out, told_as_they_happen } => {
                if *told_as_they_happen == Telling::Status {
                    write!(out, "\r\x1b[K")?;
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
    pub(crate) fn gap(&mut self, gap: &Window) -> io::Result<()> {
        self.told.add(gap);
        let Format::Json(out) = &mut self.format else { return Ok(()) };
        let lasted_s = (gap.end_ns.saturating_sub(gap.start_ns)).max(1) as f64 / 1e9;
        write_line(out, &json::window(gap, lasted_s, &self.source))
    }

    /// What was handed out since the start of the run.
    pub(crate) const fn told(&self) -> &Told {
        &self.told
    }

    fn second(&mut self, second: &Window, engine: &Engine) -> io::Result<()> {
        if let Format::Text { out, told_as_they_happen } = &mut self.format {
            self.told.add(second);
            if *told_as_they_happen == Telling::Status {
                let line = status_line(second, engine.open_incidents().count(), &self.source);
                write!(out, "\r\x1b[K{line}")?;
            }
            return Ok(());
        }
        // A window ends with the clock's multiple of its length.
        if self.pending.end_ns != 0
            && second.start_ns / self.window_ns != self.pending.start_ns / self.window_ns
        {
            self.window()?;
        }
        self.pending.merge(second.clone());
        self.pending.trim(LISTENERS_MAX);
        if self.pending.end_ns.is_multiple_of(self.window_ns) {
            self.window()?;
        }
        Ok(())
    }

    fn window(&mut self) -> io::Result<()> {
        let window = std::mem::take(&mut self.pending);
        let Format::Json(out) = &mut self.format else { return Ok(()) };
        if window.end_ns == 0 {
            return Ok(());
        }
        self.told.add(&window);
        write_line(out, &json::window(&window, self.window_ns as f64 / 1e9, &self.source))
    }

    /// The end: what is pending, the summary or the report, and the run's outcome.
    pub(crate) fn finish(&mut self, summary: &Summary, engine: &Engine, now_ns: u64) -> io::Result<Outcome> {
        self.window()?;
        match &mut self.format {
            Format::Json(out) => write_line(out, &json::summary(summary, now_ns, &self.source))?,
            Format::Text { out, told_as_they_happen } => {
                if *told_as_they_happen == Telling::Status {
                    write!(out, "\r\x1b[K")?;
                }
                write!(out, "{}", report::report(summary, &engine.run().incidents, &self.source))?;
            }
        }
        self.flush()?;
        Ok(if self.failed { Outcome::Failed } else { Outcome::Done })
    }

    /// Hands over what is buffered: after each live tick, since somebody may be waiting for it.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        match &mut self.format {
            Format::Json(out) => out.flush(),
            Format::Text { out, .. } => out.flush(),
        }
    }
}

fn window_ns(window: Duration) -> u64 {
    u64::try_from(window.as_nanos()).unwrap_or(u64::MAX)
}

fn write_line(out: &mut impl Write, value: &serde_json::Value) -> io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    out.write_all(b"\n")
}
