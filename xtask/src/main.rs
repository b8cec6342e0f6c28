//! `cargo xtask <command>`: what a developer does with this repository. This file only dispatches.
//!
//! Depends on none of tidegauge's packages, and on few others, so that it builds in seconds on a fresh machine.
//! Exit codes: 0 done, 1 something was judged and found wrong, 2 could not run.

mod bench;
mod demo;
mod ebpf;
mod fuzz;
mod package;
mod page;
mod setup;
mod shell;
mod test;
mod tidy;

use std::process::ExitCode;

use anyhow::{Result, bail};

const USAGE: &str = "\
cargo xtask <command>

  setup [build|lab|test|ebpf|peers ...]   install what is missing (default: all but peers)
  demo [--keep]                           real traffic, a flood, the incident; replays a capture without root
  demo --record                           record tests/data/demo.pcap anew (root)
  test                                    everything: format, lints, docs, object, tests, fuzz targets
  ebpf [--check]                          rebuild the committed BPF object, or check that it is what its source builds
  page [--check]                          rebuild the committed page, or check that it is what its sources build
  fuzz SECONDS                            build the fuzz targets and run each for so long
  bench <packet|tick|read|detect|live|conformance|detection|all> [--peers] [ARGS...]
                                          measure; --peers installs and runs the programs we compare with;
                                          conformance: as right as tshark, tcptrace and the kernel? fails if not
  package [BINARY DIR]                    a Debian package of the release binary; or of BINARY, in DIR
  tidy                                    the style guide as a test
";

/// How a command that ran to its end came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// As it should be.
    Fine,
    /// Judged and found wrong; the reasons are printed.
    Wrong,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match run(&words) {
        Ok(Verdict::Fine) => ExitCode::SUCCESS,
        Ok(Verdict::Wrong) => ExitCode::from(1),
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(words: &[&str]) -> Result<Verdict> {
    match words {
        ["bench", which, rest @ ..] => bench::run(which, rest),
        ["demo"] => demo::run(demo::Leave::Nothing),
        ["demo", "--keep"] => demo::run(demo::Leave::Lab),
        ["demo", "--record"] => demo::record(),
        ["ebpf"] => ebpf::rebuild(),
        ["ebpf", "--check"] => ebpf::check_alone(),
        ["fuzz", seconds] => fuzz::run_alone(seconds),
        ["package"] => package::run(),
        ["package", binary, directory] => package::of(binary, directory),
        ["page"] => page::rebuild(),
        ["page", "--check"] => page::check_alone(),
        ["setup", groups @ ..] => setup::run(groups),
        ["test"] => test::run(),
        ["tidy"] => tidy::run(),
        [] | ["help" | "--help" | "-h"] => {
            print!("{USAGE}");
            Ok(Verdict::Fine)
        }
        other => bail!("no such command: {}\n\n{USAGE}", other.join(" ")),
    }
}
