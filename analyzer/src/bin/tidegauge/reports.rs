//! Reports of a run: files opened before rights are given up and written when the run ends; and `tidegauge report`, which
//! makes them of lines that a run printed.

use std::fs::File;
use std::io::{self, BufReader, Write as _};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use serde_json::Value;
use tidegauge_console::feed::Feed;
use tidegauge_console::line::Line;
use tidegauge_console::report::{Comparison, Report, ReportError};

use super::Outcome;
use super::args::{ReportArgs, ReportFileArgs};

/// Lines that wait for the report, which takes them as fast as they are read.
const LINES_MAX: usize = 1_024;

/// A report that is gathered, and where it goes.
pub(crate) struct ReportFiles {
    report: Report,
    html: Option<File>,
    markdown: Option<File>,
}

impl ReportFiles {
    /// Makes the files; `None` where none is asked for.
    pub(crate) fn open(args: &ReportFileArgs) -> anyhow::Result<Option<Self>> {
        let create =
            |path: &Path| File::create(path).with_context(|| format!("cannot write {}", path.display()));
        let html = args.html.as_deref().map(create).transpose()?;
        let markdown = args.markdown.as_deref().map(create).transpose()?;
        let is_wanted = html.is_some() || markdown.is_some();
        Ok(is_wanted.then(|| Self { report: Report::default(), html, markdown }))
    }

    /// Takes a line of the output contract.
    pub(crate) fn take(&mut self, line: &Value) {
        // Ours are lines of the contract.
        if let Ok(line) = Line::of(line.clone(), String::new()) {
            self.report.take(&Arc::new(line));
        }
    }

    /// The end of the run.
    pub(crate) fn write(self) -> io::Result<()> {
        let Self { report, html, markdown } = self;
        write(html, || report.html())?;
        write(markdown, || report.markdown())
    }
}

/// Where a report of two runs goes.
pub(crate) struct ComparisonFiles {
    html: Option<File>,
    markdown: Option<File>,
}

impl ComparisonFiles {
    /// Makes the files; `None` where none is asked for.
    pub(crate) fn open(args: &ReportFileArgs) -> anyhow::Result<Option<Self>> {
        let files = ReportFiles::open(args)?;
        Ok(files.map(|ReportFiles { html, markdown, .. }| Self { html, markdown }))
    }

    /// Writes it.
    pub(crate) fn write(self, comparison: &Comparison<'_>) -> anyhow::Result<()> {
        write(self.html, || comparison.html())?;
        write(self.markdown, || comparison.markdown())?;
        Ok(())
    }
}

fn write(file: Option<File>, text: impl FnOnce() -> Result<String, ReportError>) -> io::Result<()> {
    let Some(mut file) = file else { return Ok(()) };
    file.write_all(text().map_err(io::Error::other)?.as_bytes())
}

/// Makes a report of lines that a run printed.
pub(crate) fn run(args: &ReportArgs) -> anyhow::Result<Outcome> {
    let Some(mut files) = ReportFiles::open(&args.files)? else {
        bail!("say where the report goes: --html FILE, --markdown FILE, or both");
    };
    let mut feed = Feed::default();
    let losses = feed.losses();
    let (lines, _) = feed.subscribe_waiting(LINES_MAX);
    let reading = if args.run.as_path() == Path::new("-") {
        std::thread::spawn(move || feed.run(&mut BufReader::new(io::stdin())))
    } else {
        let name = args.run.display();
        let file = File::open(&args.run).with_context(|| format!("cannot read {name}"))?;
        std::thread::spawn(move || feed.run(&mut BufReader::new(file)))
    };
    lines.iter().for_each(|line| files.report.take(&line));
    if let Ok(read) = reading.join() {
        read.with_context(|| format!("cannot read {}", args.run.display()))?;
    }
    let not_understood = losses.not_understood.load(std::sync::atomic::Ordering::Relaxed);
    if files.report.is_empty() {
        bail!(
            "{} has no line of a run ({not_understood} were none): save one with `tidegauge read --json` or `live --json`",
            args.run.display()
        );
    }
    if not_understood != 0 {
        // Nobody may be reading standard error.
        let _ = io::stderr()
            .write_fmt(format_args!("tidegauge: {not_understood} lines were no lines of a run\n"));
    }
    files.write()?;
    Ok(Outcome::Done)
}
