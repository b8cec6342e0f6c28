//! Files that a run writes beside standard output: Parquet tables, a histogram log, and evidence. Opened before rights are given
//! up; after that they are only written to, and the tables get their names when the run ends.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::mem;
use std::path::Path;

use anyhow::Context;
use serde_json::Value;
use tidegauge_analyzer::evidence::{Recorder, Totals};
use tidegauge_analyzer::flow_record::FlowRecord;
use tidegauge_analyzer::graph::Graph;
use tidegauge_analyzer::hlog::{HlogWriter, latencies};
use tidegauge_analyzer::incident::Incident;
use tidegauge_analyzer::parquet::ParquetSink;
use tidegauge_analyzer::quality::Quality;
use tidegauge_analyzer::window::Window;

use super::args::{ExportArgs, LiveArgs};
use super::evidence;
use super::reports::ReportFiles;

/// What was asked for; nothing by default.
#[derive(Default)]
pub(crate) struct Exports {
    flow_lines: bool,
    tables: Option<ParquetSink>,
    log: Option<HlogWriter<BufWriter<File>>>,
    graph: Option<GraphFile>,
    report: Option<ReportFiles>,
    /// The packets behind incidents.
    pub(crate) evidence: Option<Recorder>,
}

/// Where the graph goes, and what connections say of it.
struct GraphFile {
    file: File,
    is_dot: bool,
    graph: Graph,
}

impl GraphFile {
    fn open(path: &Path) -> anyhow::Result<Self> {
        let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self { file, is_dot: path.extension().is_some_and(|end| end == "dot"), graph: Graph::default() })
    }

    /// With what windows and incidents say.
    fn write(mut self, of_windows: &Graph) -> io::Result<()> {
        self.graph.merge(of_windows);
        let mut out = BufWriter::new(self.file);
        if self.is_dot {
            out.write_all(self.graph.dot().as_bytes())?;
        } else {
            serde_json::to_writer_pretty(&mut out, &self.graph.json())?;
            out.write_all(b"\n")?;
        }
        out.flush()
    }
}

impl Exports {
    /// No file, but connections as lines.
    pub(crate) fn flow_lines_only() -> Self {
        Self { flow_lines: true, ..Self::default() }
    }

    /// Makes the files.
    pub(crate) fn open(args: &ExportArgs) -> anyhow::Result<Self> {
        let tables = args.parquet.as_deref().map(ParquetSink::new).transpose()?;
        let mut log = None;
        if let Some(path) = &args.hlog {
            let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
            log = Some(HlogWriter::new(BufWriter::new(file))?);
        }
        let graph = args.graph.as_deref().map(GraphFile::open).transpose()?;
        let report = ReportFiles::open(&args.report)?;
        Ok(Self { flow_lines: args.flows, tables, log, graph, report, evidence: None })
    }

    /// Those of a live run.
    pub(crate) fn of_live(args: &LiveArgs) -> anyhow::Result<Self> {
        let (report, evidence) = (ReportFiles::open(&args.report)?, evidence::open(&args.evidence)?);
        Ok(Self { report, evidence, ..Self::default() })
    }

    /// Whether connections are lines of standard output.
    pub(crate) const fn flow_lines(&self) -> bool {
        self.flow_lines
    }

    /// Whether what is written is made of connections.
    pub(crate) const fn wants_flows(&self) -> bool {
        self.tables.is_some() || self.graph.is_some()
    }

    /// Whether windows are needed at all.
    pub(crate) const fn wants_windows(&self) -> bool {
        self.tables.is_some() || self.log.is_some() || self.report.is_some()
    }

    /// Whether lines of the output contract are made into something.
    pub(crate) const fn wants_lines(&self) -> bool {
        self.report.is_some()
    }

    /// A line of the output contract.
    pub(crate) fn line(&mut self, line: &Value) {
        if let Some(report) = &mut self.report {
            report.take(line);
        }
    }

    /// A window that is over.
    pub(crate) fn window(
        &mut self,
        window: &Window,
        window_s: f64,
        resolution_us: u32,
        quality: &Quality,
    ) -> io::Result<()> {
        if let Some(tables) = &mut self.tables {
            tables.window(window, window_s, resolution_us, quality).map_err(io::Error::other)?;
        }
        if let Some(log) = &mut self.log {
            for (tag, values) in latencies(window) {
                log.interval(window.start_ns, window.end_ns, tag, values)?;
            }
        }
        Ok(())
    }

    /// A connection.
    pub(crate) fn flow(&mut self, flow: &FlowRecord) -> io::Result<()> {
        if let Some(graph) = &mut self.graph {
            graph.graph.add_flow(flow);
        }
        self.tables.as_mut().map_or(Ok(()), |tables| tables.flow(flow)).map_err(io::Error::other)
    }

    /// A change of an incident.
    pub(crate) fn incident(&mut self, incident: &Incident, quality: &Quality) -> io::Result<()> {
        let written = self.tables.as_mut().map_or(Ok(()), |tables| tables.incident(incident, quality));
        written.map_err(io::Error::other)
    }

    /// Incidents, each with what is kept of it.
    pub(crate) fn with_evidence(&self, incidents: &[Incident]) -> Vec<Incident> {
        let mut incidents = incidents.to_vec();
        for incident in &mut incidents {
            let kept = self.evidence.as_ref().and_then(|recorder| recorder.kept(&incident.id));
            incident.evidence = kept.map(Box::new);
        }
        incidents
    }

    /// What came of all evidence.
    pub(crate) fn evidence_totals(&self) -> Option<Totals> {
        self.evidence.as_ref().map(Recorder::totals)
    }

    /// The end: tables get their names; `graph` is what windows and incidents say.
    pub(crate) fn finish(&mut self, graph: &Graph) -> io::Result<()> {
        self.graph.take().map_or(Ok(()), |file| file.write(graph))?;
        self.report.take().map_or(Ok(()), ReportFiles::write)?;
        if let Some(mut log) = self.log.take() {
            log.flush()?;
        }
        mem::take(&mut self.tables).map_or(Ok(()), ParquetSink::finish).map_err(io::Error::other)
    }
}
