//! The programs that read captures beside tidegauge, with the arguments that make each do its usual job.
//!
//! Every one is a Debian package; what is not installed is left out and named. They do different work, from
//! counting (tcpdump, capinfos) through flow records (argus) to full dissection (tshark): the comparison is of what
//! a user waits for and pays in memory, not of equal functions.

use std::path::Path;

use crate::machine::{find_program, first_line};
use crate::measure::Subject;

/// A program that reads captures.
pub struct Peer {
    /// Program, and name in tables.
    pub program: &'static str,
    arguments: &'static [&'static str],
    /// Time or memory per packet make it unfit for captures of many millions.
    pub slow: bool,
    version_arguments: &'static [&'static str],
}

/// Stands for the capture in `Peer::arguments`.
const FILE: &str = "{}";

/// All of them, the closest to our work first.
pub const PEERS: [Peer; 5] = [
    Peer { program: "tcptrace", arguments: &["-n", FILE], slow: false, version_arguments: &["-v"] },
    Peer {
        program: "argus",
        arguments: &["-r", FILE, "-w", "/dev/null"],
        slow: false,
        version_arguments: &["-h"],
    },
    Peer {
        program: "tshark",
        arguments: &["-n", "-r", FILE, "-q", "-z", "conv,tcp"],
        slow: true,
        version_arguments: &["--version"],
    },
    Peer {
        program: "tcpdump",
        arguments: &["-n", "-r", FILE, "--count"],
        slow: false,
        version_arguments: &["--version"],
    },
    Peer {
        program: "capinfos",
        arguments: &["-c", "-s", "-d", "-u", FILE],
        slow: false,
        version_arguments: &["--version"],
    },
];

impl Peer {
    /// How to run it on `capture`; `None` where it is not installed.
    pub fn subject(&self, capture: &Path) -> Option<Subject> {
        let program = find_program(self.program)?;
        let argument = |argument: &&str| match *argument {
            FILE => capture.display().to_string(),
            other => other.to_owned(),
        };
        let argv = std::iter::once(program.display().to_string())
            .chain(self.arguments.iter().map(argument))
            .collect();
        Some(Subject { name: self.program.to_owned(), argv })
    }

    /// The line in which it names its version; `None` where it is not installed.
    pub fn version(&self) -> Option<String> {
        let program = find_program(self.program)?;
        let line = first_line(program.to_str()?, self.version_arguments)?;
        Some(line.trim_end_matches('.').to_owned())
    }
}
