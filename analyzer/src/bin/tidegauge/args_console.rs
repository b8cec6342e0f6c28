//! What can be typed of all that shows a run, keeps it, or tells of it.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args as ClapArgs;

/// Where a report goes.
#[derive(Debug, Default, ClapArgs)]
pub(crate) struct ReportFileArgs {
    /// Write a report as a page of its own: what was wrong, charts, and the numbers behind them.
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// Write the report as Markdown, without the charts.
    #[arg(long, value_name = "FILE")]
    pub(crate) markdown: Option<PathBuf>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ReportArgs {
    /// JSON Lines that a run printed; `-` is standard input.
    #[arg(value_name = "RUN")]
    pub(crate) run: PathBuf,
    #[command(flatten)]
    pub(crate) files: ReportFileArgs,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    pub(crate) page: super::page::PageArgs,
    /// Tell the receivers in FILE (TOML) of incidents.
    #[arg(long, value_name = "FILE")]
    pub(crate) alerts: Option<PathBuf>,
    /// Write metrics for Prometheus to FILE, replaced once a second (for node_exporter's textfile collector: *.prom).
    #[arg(long, value_name = "FILE")]
    pub(crate) metrics_file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) otlp: super::otlp::OtlpArgs,
    #[command(flatten)]
    pub(crate) history: HistoryKeepArgs,
    /// The run: `live IFACE ...` or `read FILE ...`.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "RUN")]
    pub(crate) run: Vec<OsString>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct TestAlertArgs {
    /// The file of receivers (TOML), as for `serve`.
    #[arg(long, value_name = "FILE")]
    pub(crate) alerts: PathBuf,
    /// Only this one.
    #[arg(long, value_name = "NAME")]
    pub(crate) receiver: Option<String>,
}

/// Where history is kept, and how much of it.
#[derive(Debug, ClapArgs)]
pub(crate) struct HistoryKeepArgs {
    /// Keep what the run tells in DIR, for `tidegauge history`; one directory for each run.
    #[arg(long, value_name = "DIR")]
    pub(crate) history: Option<PathBuf>,
    /// Disk for all of it, MiB; the oldest goes first.
    #[arg(long, value_name = "MIB", default_value_t = 512, requires = "history", value_parser = clap::value_parser!(u32).range(32..))]
    pub(crate) history_mib: u32,
    /// Days that are kept.
    #[arg(long, value_name = "DAYS", default_value_t = 30, requires = "history", value_parser = clap::value_parser!(u32).range(1..=3_650))]
    pub(crate) history_days: u32,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct HistoryArgs {
    /// What was given to `serve --history`.
    #[arg(value_name = "DIR")]
    pub(crate) dir: PathBuf,
    /// From this time on: RFC 3339, or how long before now (30m, 2h, 7d).
    #[arg(long, value_name = "TIME")]
    pub(crate) from: Option<String>,
    /// Before this time.
    #[arg(long, value_name = "TIME")]
    pub(crate) to: Option<String>,
    /// Only incidents.
    #[arg(long)]
    pub(crate) incidents: bool,
    /// The lines as the run told them: for `report -`, `diff`, jq.
    #[arg(long)]
    pub(crate) json: bool,
}
