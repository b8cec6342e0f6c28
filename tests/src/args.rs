//! The command line of `traffic`, and what its words mean.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use tidegauge_tests::netns::CLIENT_IFACE;
use tidegauge_tests::server::Mode;

/// Labs, servers, clients and floods for testing tidegauge.
#[derive(Debug, Parser)]
#[command(name = "traffic", version)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) task: Task,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Task {
    /// Short connections at a rate: connect, ask, read the answer, close
    Connect(ConnectArgs),
    /// Read what a `serve bulk` sends
    Download {
        /// Server to read from
        #[arg(long)]
        target: SocketAddr,
        /// Downloads at the same time
        #[arg(long, default_value_t = 1)]
        connections: usize,
    },
    /// Send SYNs that nobody completes; only inside a lab
    Flood(FloodArgs),
    /// Connections that stay, are asked now and then, and come back when the server went away
    Hold(HoldArgs),
    /// Make two joined network namespaces, or remove them
    Lab {
        /// Make or remove
        action: LabAction,
        /// Process they belong to; when it is gone, the next lab sweeps them [default: the calling process]
        #[arg(long)]
        owner: Option<u32>,
    },
    /// Serve until killed
    Serve(ServeArgs),
    /// Send bytes to a `serve sink`
    Upload {
        /// Server to send to
        #[arg(long)]
        target: SocketAddr,
        /// Bytes per connection
        #[arg(long)]
        bytes: u64,
        /// Uploads at the same time
        #[arg(long, default_value_t = 1)]
        connections: usize,
    },
}

/// Up or down.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum LabAction {
    /// Remove all labs of the owner, and what runs in them
    Down,
    /// Make one and print its names
    Up,
}

/// Flags of `flood`.
#[derive(Debug, ClapArgs)]
pub(crate) struct FloodArgs {
    /// Address and port that are flooded; an IPv6 target gets sources out of one /64
    #[arg(long)]
    pub(crate) target: SocketAddr,
    /// Ports to draw from instead of the target's, e.g. 80,443,8000-8100
    #[arg(long = "dst-ports")]
    pub(crate) dest_ports: Option<Ports>,
    /// Interface the flood leaves by
    #[arg(long, default_value = CLIENT_IFACE)]
    pub(crate) iface: String,
    /// SYNs per second; 0 is as many as possible
    #[arg(long)]
    pub(crate) rate: u64,
    /// How long, e.g. 500ms, 6s, 2m
    #[arg(long, value_parser = duration)]
    pub(crate) duration: Duration,
    /// Send from this many addresses instead of a random one each time
    #[arg(long, value_name = "N")]
    pub(crate) fixed_source: Option<usize>,
    /// Address the frames to another host, as on a mirror port: the interface sees them, the server's stack does
    /// not answer them, and rates beyond what it can answer become possible
    #[arg(long)]
    pub(crate) mirror: bool,
    /// Equal seeds send equal frames
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
}

/// Flags of `connect`.
#[derive(Debug, ClapArgs)]
pub(crate) struct ConnectArgs {
    /// Server to connect to
    #[arg(long)]
    pub(crate) target: SocketAddr,
    /// Own address, may be repeated; they take turns [default: the kernel's choice]
    #[arg(long = "source")]
    pub(crate) sources: Vec<IpAddr>,
    /// Connections per second; 0 is as many as possible
    #[arg(long)]
    pub(crate) rate: u64,
    /// How long, e.g. 500ms, 6s, 2m
    #[arg(long, value_parser = duration)]
    pub(crate) duration: Duration,
    /// Connections at the same time
    #[arg(long, default_value_t = 64)]
    pub(crate) workers: usize,
}

/// Flags of `hold`.
#[derive(Debug, ClapArgs)]
pub(crate) struct HoldArgs {
    /// A `serve http` to connect to
    #[arg(long)]
    pub(crate) target: SocketAddr,
    /// Own address, may be repeated; they take turns [default: the kernel's choice]
    #[arg(long = "source")]
    pub(crate) sources: Vec<IpAddr>,
    /// Connections at the same time
    #[arg(long)]
    pub(crate) connections: u64,
    /// Connections opened per second at first
    #[arg(long)]
    pub(crate) rate: u64,
    /// How long in all, e.g. 6s, 2m
    #[arg(long, value_parser = duration)]
    pub(crate) duration: Duration,
}

/// Flags of `serve`.
#[derive(Debug, ClapArgs)]
pub(crate) struct ServeArgs {
    /// Address to listen on, may be repeated
    #[arg(long, required = true)]
    pub(crate) listen: Vec<SocketAddr>,
    /// Threads for each address
    #[arg(long, default_value_t = 64)]
    pub(crate) workers: usize,
    /// What a connection gets
    #[command(subcommand)]
    pub(crate) mode: ServeMode,
}

/// What a connection gets.
#[derive(Clone, Copy, Debug, Subcommand)]
pub(crate) enum ServeMode {
    /// A large answer
    Bulk {
        /// Bytes of the answer
        bytes: u64,
    },
    /// A small answer, then the server closes
    EchoClose {
        /// Bytes of the answer
        #[arg(long, default_value_t = 512)]
        bytes: usize,
    },
    /// HTTP/1.1: GET /BYTES gets so many
    Http,
    /// Nothing: everything is read
    Sink {
        /// Read slowly from a small buffer: small and zero windows
        #[arg(long)]
        slow: bool,
    },
}

impl From<ServeMode> for Mode {
    fn from(mode: ServeMode) -> Self {
        match mode {
            ServeMode::Bulk { bytes } => Self::Bulk { bytes },
            ServeMode::EchoClose { bytes } => Self::EchoClose { answer_bytes: bytes },
            ServeMode::Http => Self::Http,
            ServeMode::Sink { slow: false } => Self::Sink,
            ServeMode::Sink { slow: true } => Self::SlowSink,
        }
    }
}

/// A list of ports and ranges of ports, never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ports(pub(crate) Vec<u16>);

impl FromStr for Ports {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut ports = Vec::new();
        for part in text.split(',') {
            let (from, to) = part.split_once('-').unwrap_or((part, part));
            let wrong = |_| format!("{part:?} is neither a port nor a range of ports");
            let (from, to): (u16, u16) = (from.parse().map_err(wrong)?, to.parse().map_err(wrong)?);
            if from > to {
                return Err(format!("the range {part} runs backwards"));
            }
            ports.extend(from..=to);
        }
        Ok(Self(ports))
    }
}

/// `10s`, `500ms`, `2m`.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 =
        digits.parse().map_err(|_| format!("{text:?} is no duration: write 500ms, 6s or 2m"))?;
    match &text[digits.len()..] {
        "ms" => Ok(Duration::from_millis(number)),
        "s" => Ok(Duration::from_secs(number)),
        "m" => number.checked_mul(60).map(Duration::from_secs).ok_or_else(|| format!("{text} is too long")),
        _ => Err(format!("{text:?} needs a unit: ms, s or m")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_lists_and_ranges() {
        assert_eq!("80,443,8000-8002".parse(), Ok(Ports(vec![80, 443, 8000, 8001, 8002])));
        for wrong in ["", "80,", "9-8", "70000", "a-b"] {
            assert!(wrong.parse::<Ports>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn durations_need_a_unit() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        for wrong in ["", "5", "s", "1h", "-1s"] {
            assert!(duration(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Args::command().debug_assert();
    }
}
