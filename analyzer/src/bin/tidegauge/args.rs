//! What can be typed. Everything behind this file has checked values.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use tidegauge_analyzer::config::Config;
use tidegauge_analyzer::follow::{MEMORY_MIB_DEFAULT, MEMORY_MIB_MIN};
use tidegauge_analyzer::incident::Severity;
use tidegauge_analyzer::pipeline::WORKERS_MAX;
use tidegauge_ebpf::settings::{INWARD, OUTWARD};

pub(crate) use super::args_console::{
    HistoryArgs, HistoryKeepArgs, ReportArgs, ReportFileArgs, ServeArgs, TestAlertArgs,
};
use super::screen::{ReplayArgs, ShowArgs};

/// Counts packets on the NIC fast path, in packet rings and in capture files, and names what is wrong.
#[derive(Debug, Parser)]
#[command(
    name = "tidegauge",
    version,
    about,
    after_help = "Exit codes: 0 done; 1 done, and --fail-on was met; 2 could not run."
)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Watch a network interface (needs root, or CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON).
    Live(LiveArgs),
    /// Read capture files (pcap, pcapng; `-` is standard input).
    Read(ReadArgs),
    /// Compare two runs: what changed, by how much, and whether that is outside the noise. Exit codes: 0 done, 1 done and
    /// --fail-on was met, 2 could not run.
    Diff(DiffArgs),
    /// Say what a configuration would have said of captures: which rules fire, when, how often; with --against, what
    /// another one says otherwise. Exit codes: 0 done, 1 done and --fail-on was met, 2 could not run.
    Backtest(BacktestArgs),
    /// Read captures that are taken to be benign, and suggest thresholds of which backtest tells nothing there, each with
    /// its reason. Exit codes: 0 done, 1 done and something is told that no threshold silences, 2 could not run.
    Learn(LearnArgs),
    /// Check a configuration file, print the defaults, or explain a threshold.
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Say what this host, and an interface, can do for tidegauge, and what mends what is missing. Exit codes: 0 usable,
    /// 1 usable with limits, 2 not usable.
    Doctor(DoctorArgs),
    /// Tell what `serve --history` kept: incidents, and the time in a few rows.
    History(HistoryArgs),
    /// Make a report of a run that was saved (`read --json`, `live --json`): what was wrong, charts, and the numbers behind
    /// them. Exit codes: 0 done, 2 could not run.
    Report(ReportArgs),
    /// Start a run (`live IFACE ...` or `read FILE ...`, with their options) and serve what it tells. The exit code is the
    /// run's.
    Serve(ServeArgs),
    /// Tell receivers of alerts of nothing, to see whether they hear. Exit codes: 0 all were told, 1 some were not, 2 could
    /// not run.
    TestAlert(TestAlertArgs),
    /// Write manual pages and shell completions.
    #[command(hide = true)]
    Generate(super::generate::GenerateArgs),
    /// Remove what `live --pin` keeps on an interface, and what a killed run left there.
    Unpin(UnpinArgs),
}

/// Options of every command.
#[derive(Debug, ClapArgs)]
pub(crate) struct CommonArgs {
    /// JSON Lines on standard output, and nothing else there.
    #[arg(long)]
    pub(crate) json: bool,
    /// Thresholds from a TOML file.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Begin with what an earlier run has learnt of what is usual, if FILE is there; leave there what this one knows.
    #[arg(long, value_name = "FILE")]
    pub(crate) baselines: Option<PathBuf>,
    /// Only packets that match this expression (pcap-filter(7)); not with XDP.
    #[arg(long, value_name = "BPF")]
    pub(crate) filter: Option<String>,
    /// Length of a `window` line, whole seconds: 1s, 10s, 1m.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = whole_seconds)]
    pub(crate) window: Duration,
    /// With --json: every ten seconds, and at the end, what talks to what, the busiest of it (`graph` lines).
    #[arg(long, requires = "json")]
    pub(crate) graph_lines: bool,
    /// Exit with 1 if an incident of this severity or worse opened.
    #[arg(long, value_name = "SEVERITY")]
    pub(crate) fail_on: Option<SeverityArg>,
    /// Keep capabilities and do without Landlock and seccomp (to debug).
    #[arg(long)]
    pub(crate) no_confine: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum SeverityArg {
    P1,
    P2,
    P3,
}

impl From<SeverityArg> for Severity {
    fn from(severity: SeverityArg) -> Self {
        match severity {
            SeverityArg::P1 => Self::P1,
            SeverityArg::P2 => Self::P2,
            SeverityArg::P3 => Self::P3,
        }
    }
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ReadArgs {
    /// Capture files, read in the order of their first packets.
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Read files through a buffer instead of mapping them (for files that may shrink meanwhile).
    #[arg(long)]
    pub(crate) no_mmap: bool,
    /// Threads [default: one per CPU, 8 at most]; the result is the same for any number.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=8))]
    workers: Option<u32>,
    /// Memory for connections and all else, MiB; what does not fit is counted.
    #[arg(long, value_name = "MIB", default_value_t = MEMORY_MIB_DEFAULT, value_parser = clap::value_parser!(u32).range(i64::from(MEMORY_MIB_MIN)..=65_536))]
    pub(crate) memory_mib: u32,
    /// A `judgement` line for each TCP segment that was judged to be something.
    #[arg(long, requires = "json")]
    pub(crate) judgements: bool,
    #[command(flatten)]
    pub(crate) exports: ExportArgs,
    #[command(flatten)]
    pub(crate) evidence: EvidenceArgs,
    #[command(flatten)]
    pub(crate) show: ReplayArgs,
    #[command(flatten)]
    pub(crate) common: CommonArgs,
}

/// What is told or written beside windows and incidents.
#[derive(Debug, Default, ClapArgs)]
pub(crate) struct ExportArgs {
    /// A `flow` line for each TCP connection.
    #[arg(long, requires = "json")]
    pub(crate) flows: bool,
    /// Write windows, listeners, flows and incidents as Parquet tables into DIR; those of an earlier run are replaced.
    #[arg(long, value_name = "DIR")]
    pub(crate) parquet: Option<PathBuf>,
    /// Write latencies as an HDR histogram log: one line for each window and method.
    #[arg(long, value_name = "FILE")]
    pub(crate) hlog: Option<PathBuf>,
    /// Write what talks to what, with the incidents at it: as DOT where FILE ends in `.dot`, else as JSON.
    #[arg(long, value_name = "FILE")]
    pub(crate) graph: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) report: ReportFileArgs,
}

/// The packets behind incidents.
#[derive(Debug, ClapArgs)]
pub(crate) struct EvidenceArgs {
    /// Keep the packets that concern an incident, from before it opened on, in a pcapng file for each, in DIR.
    #[arg(long, value_name = "DIR")]
    pub(crate) evidence: Option<PathBuf>,
    /// Bytes that are kept of a frame.
    #[arg(long, value_name = "BYTES", default_value_t = 128, requires = "evidence", value_parser = clap::value_parser!(u32).range(64..=65_535))]
    pub(crate) evidence_snap: u32,
    /// Memory for frames from before an incident, MiB.
    #[arg(long, value_name = "MIB", default_value_t = 16, requires = "evidence", value_parser = clap::value_parser!(u32).range(1..=1_024))]
    pub(crate) evidence_ring_mib: u32,
    /// Packets that are kept of an incident; half of them may be from before it.
    #[arg(long, value_name = "N", default_value_t = 20_000, requires = "evidence", value_parser = clap::value_parser!(u32).range(2..=1_000_000))]
    pub(crate) evidence_packets: u32,
    /// Files of a run; then those that closed first are replaced.
    #[arg(long, value_name = "N", default_value_t = 64, requires = "evidence", value_parser = clap::value_parser!(u16).range(1..=512))]
    pub(crate) evidence_files: u16,
    /// Disk for all evidence in DIR, MiB; a file has a quarter of it at most.
    #[arg(long, value_name = "MIB", default_value_t = 256, requires = "evidence", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) evidence_disk_mib: u32,
    /// Replace addresses in evidence, prefix-preserving (Crypto-PAn), by a key that is forgotten with the run.
    #[arg(long, requires = "evidence")]
    pub(crate) evidence_anonymise: bool,
    /// The same with the key in FILE (32 bytes, or 64 hexadecimal digits): runs agree on addresses.
    #[arg(long, value_name = "FILE", requires = "evidence")]
    pub(crate) evidence_key: Option<PathBuf>,
}

impl ReadArgs {
    /// Threads.
    pub(crate) fn workers(&self) -> usize {
        let cpus = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        self.workers.map_or_else(cpus, |workers| workers as usize).min(WORKERS_MAX)
    }
}

#[derive(Debug, ClapArgs)]
pub(crate) struct DiffArgs {
    /// Before: a capture, or what `--json` printed (with `--flows`, connections are compared too). FILE@FROM..TO is an
    /// interval of it, in seconds from its start or RFC 3339 times; either may be left out.
    #[arg(value_name = "A")]
    pub(crate) a: String,
    /// After.
    #[arg(value_name = "B")]
    pub(crate) b: String,
    /// One JSON object instead of a table.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) report: ReportFileArgs,
    /// Listeners compared one by one: those with most bytes on either side.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u16).range(0..=128))]
    pub(crate) listeners: u16,
    /// Exit with 1 if anything became worse, or (`changed`) is different at all.
    #[arg(long, value_name = "VERDICT")]
    pub(crate) fail_on: Option<DiffFailOn>,
    /// Length of the windows of captures, whole seconds: their spread is the noise.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = whole_seconds)]
    pub(crate) window: Duration,
    /// Thresholds from a TOML file, for captures.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Only packets that match this expression (pcap-filter(7)), of captures.
    #[arg(long, value_name = "BPF")]
    pub(crate) filter: Option<String>,
    /// Keep capabilities and do without Landlock and seccomp (to debug).
    #[arg(long)]
    pub(crate) no_confine: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct BacktestArgs {
    /// Captures, each a trial of its own.
    #[arg(required = true, value_name = "CAPTURE")]
    pub(crate) captures: Vec<PathBuf>,
    /// Thresholds from a TOML file [default: the defaults].
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// What an earlier run has learnt of what is usual (`read --baselines FILE`).
    #[arg(long, value_name = "FILE")]
    pub(crate) baselines: Option<PathBuf>,
    /// Other thresholds to compare with.
    #[arg(long, value_name = "FILE")]
    pub(crate) against: Option<PathBuf>,
    /// One JSON object instead of a table.
    #[arg(long)]
    pub(crate) json: bool,
    /// Exit with 1 if an incident of this severity or worse opened with --config; or (`changed`) --against says otherwise.
    #[arg(long, value_name = "WHAT")]
    pub(crate) fail_on: Option<BacktestFailOn>,
    /// Only packets that match this expression (pcap-filter(7)).
    #[arg(long, value_name = "BPF")]
    pub(crate) filter: Option<String>,
    /// Keep capabilities and do without Landlock and seccomp (to debug).
    #[arg(long)]
    pub(crate) no_confine: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct LearnArgs {
    /// Captures of ordinary traffic.
    #[arg(required = true, value_name = "CAPTURE")]
    pub(crate) captures: Vec<PathBuf>,
    /// Where thresholds are written (TOML); not over a file that is there.
    #[arg(long, value_name = "FILE")]
    pub(crate) config_out: PathBuf,
    /// What is usual, for `--baselines` of later runs; goes on with what is there.
    #[arg(long, value_name = "FILE")]
    pub(crate) baselines: Option<PathBuf>,
    /// Keep capabilities and do without Landlock and seccomp (to debug).
    #[arg(long)]
    pub(crate) no_confine: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum BacktestFailOn {
    Changed,
    P1,
    P2,
    P3,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Is this file right, and what does it change? Exit code 2 where it is not, with the line and the reason.
    Check {
        /// A TOML file.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// A file with every threshold, its default and what it means.
    Default,
    /// What a threshold means, where its default comes from, and what it may be.
    Explain {
        /// Its name; without one, all names and defaults.
        #[arg(value_name = "KEY")]
        key: Option<String>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DiffFailOn {
    Changed,
    Worse,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct LiveArgs {
    /// Network interface.
    #[arg(value_name = "IFACE")]
    pub(crate) interface: String,
    /// Where packets are counted: `auto` takes XDP (native, else generic), else the packet ring.
    #[arg(long, value_enum, default_value_t = SourceArg::Auto)]
    pub(crate) source: SourceArg,
    /// Which frames are counted: those that come in, those that go out, or both.
    #[arg(long, value_enum, value_name = "WAY", default_value_t = DirectionArg::Both)]
    pub(crate) direction: DirectionArg,
    /// Stop after this time: 500ms, 10s, 5m.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) duration: Option<Duration>,
    /// The interface is a mirror port (AF_XDP source): nobody here needs its frames. Refused where it has an address.
    #[arg(long)]
    pub(crate) mirror: bool,
    /// This host gets no frame of the interface meanwhile (AF_XDP source): agreed.
    #[arg(long)]
    pub(crate) yes: bool,
    /// Memory of the packet rings, or of the AF_XDP queues, MiB.
    #[arg(long, value_name = "MIB", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) ring_mib: u32,
    /// How long a frame may wait in a block of the ring that is not full, ms (ring source only): longer costs less and
    /// tells later.
    #[arg(long, value_name = "MS", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) block_ms: u32,
    /// Threads that take frames (ring source; AF_XDP has one for each RX queue) [default: one per CPU, 4 at most].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=64))]
    workers: Option<u32>,
    /// Memory for connections and all else that is followed (ring and AF_XDP sources), MiB; each worker beyond four adds
    /// some 15. What does not fit is counted.
    #[arg(long, value_name = "MIB", default_value_t = MEMORY_MIB_DEFAULT, value_parser = clap::value_parser!(u32).range(i64::from(MEMORY_MIB_MIN)..=65_536))]
    pub(crate) memory_mib: u32,
    /// Keep programs and tables when the run ends, in DIR on a BPF filesystem [/sys/fs/bpf/tidegauge/IFACE]; the next
    /// run with --pin goes on counting there.
    #[arg(long, value_name = "DIR", num_args = 0..=1, require_equals = true)]
    #[expect(clippy::option_option, reason = "not given, given, given with a value")]
    pub(crate) pin: Option<Option<PathBuf>>,
    /// When the kernel measures what our programs cost (XDP source; it needs CAP_SYS_ADMIN, and measures every BPF
    /// program of the host): always; for a tick now and then, once where rights are given up; or never.
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = CostArg::Sampled)]
    pub(crate) cost: CostArg,
    #[command(flatten)]
    pub(crate) evidence: EvidenceArgs,
    #[command(flatten)]
    pub(crate) report: ReportFileArgs,
    #[command(flatten)]
    pub(crate) show: ShowArgs,
    #[command(flatten)]
    pub(crate) common: CommonArgs,
}

/// Packet sockets take some 3 million frames a second in all, which this many threads judge at ease.
const RING_WORKERS_MAX: usize = 4;

impl LiveArgs {
    /// Workers of a ring.
    pub(crate) fn workers(&self) -> u32 {
        self.workers.unwrap_or_else(|| {
            let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
            cpus.min(RING_WORKERS_MAX) as u32
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DirectionArg {
    Both,
    In,
    Out,
}

impl DirectionArg {
    /// What is not seen for that reason.
    pub(crate) fn unseen(self) -> Option<String> {
        let frames = match self {
            Self::Both => return None,
            Self::In => "outgoing",
            Self::Out => "incoming",
        };
        Some(format!("{frames} frames: not asked for"))
    }

    /// As the programs and the ring know it.
    pub(crate) const fn bits(self) -> u32 {
        match self {
            Self::Both => INWARD | OUTWARD,
            Self::In => INWARD,
            Self::Out => OUTWARD,
        }
    }
}

#[derive(Debug, ClapArgs)]
pub(crate) struct DoctorArgs {
    /// Network interface; without one, the host, and a line for each interface.
    #[arg(value_name = "IFACE")]
    pub(crate) interface: Option<String>,
    /// Attach the XDP program to the interface for a moment, to see whether the driver takes it; some drivers restart
    /// their queues for it, and lose frames. Without an interface, to a veth pair in a network namespace of its own.
    #[arg(long = "try")]
    pub(crate) attach: bool,
    /// One JSON object instead of text.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct UnpinArgs {
    /// Network interface, which may be gone.
    #[arg(value_name = "IFACE")]
    pub(crate) interface: String,
    /// What was given to --pin [default: /sys/fs/bpf/tidegauge/IFACE].
    #[arg(value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum CostArg {
    Off,
    On,
    Sampled,
}

impl CostArg {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::On => "on",
            Self::Sampled => "sampled",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SourceArg {
    /// Every frame past the host's stack, which gets none (mirror ports).
    AfXdp,
    Auto,
    Ring,
    Xdp,
}

impl CommonArgs {
    /// The thresholds: the file's, or the defaults.
    pub(crate) fn thresholds(&self) -> anyhow::Result<Config> {
        thresholds(self.config.as_deref())
    }
}

/// The thresholds of this file, or the defaults.
pub(crate) fn thresholds(path: Option<&Path>) -> anyhow::Result<Config> {
    let Some(path) = path else { return Ok(Config::default()) };
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    Config::from_toml(&text).with_context(|| format!("{} is not a configuration", path.display()))
}

/// A time like `500ms`, `10s`, `5m`, `1h`.
fn duration(text: &str) -> Result<Duration, String> {
    let unit_at = text.find(|letter: char| letter.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let number: u64 = number.parse().map_err(|_| format!("{text} is not a time like 500ms, 10s or 5m"))?;
    let milliseconds = match unit {
        "ms" => 1,
        "s" | "" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(format!("{unit} is not a unit of time: ms, s, m, h")),
    };
    number.checked_mul(milliseconds).map(Duration::from_millis).ok_or_else(|| format!("{text} is too long"))
}

pub(crate) fn whole_seconds(text: &str) -> Result<Duration, String> {
    let duration = duration(text)?;
    if duration.subsec_nanos() != 0 || duration.is_zero() {
        return Err(format!("{text} is not a whole number of seconds"));
    }
    Ok(duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        assert!(
            duration("ten").is_err() && duration("1y").is_err() && duration("99999999999999999h").is_err()
        );
        assert!(whole_seconds("500ms").is_err() && whole_seconds("0s").is_err());
    }

    #[test]
    fn the_definition_is_consistent() {
        use clap::CommandFactory;
        Args::command().debug_assert();
    }
}
