//! `cargo xtask bench`: builds the benches and runs one of them, or all.

use std::process::Command;

use anyhow::{Result, bail};

use crate::setup::{self, Group};
use crate::{Verdict, shell};

const BENCHES: [&str; 9] = ["packet", "tick", "read", "detect", "live", "serve", CONFORMANCE, DETECTION, DAY];
/// Those that judge: they end with 1 where tidegauge falls short; the first needs what tests need.
const CONFORMANCE: &str = "conformance";
const DETECTION: &str = "detection";
const DAY: &str = "day";
const FELL_SHORT: i32 = 1;

/// Runs bench `which` with the rest of the command line.
pub(crate) fn run(which: &str, rest: &[&str]) -> Result<Verdict> {
    let benches = match BENCHES.iter().position(|bench| *bench == which) {
        Some(index) => &BENCHES[index..=index],
        None if which == "all" => &BENCHES[..],
        None => bail!("no such bench: {which}; there are {} and all", BENCHES.join(", ")),
    };
    let (peers, rest): (Vec<&str>, Vec<&str>) = rest.iter().partition(|word| **word == "--peers");
    let mut groups = vec![Group::Build, Group::Lab];
    if benches.contains(&CONFORMANCE) {
        groups.push(Group::Test);
    }
    if !peers.is_empty() {
        groups.push(Group::Peers);
    }
    if rest.contains(&"--benign") {
        groups.push(Group::Load);
    }
    let lacking = setup::ensure(&groups)?;
    for group in groups {
        if let Some(why) = lacking.why(group) {
            println!("bench: left out: {why}");
        }
    }
    shell::headline("build the benches, tidegauge and the test tools (release)");
    shell::run(&mut shell::cargo(["build", "--release", "--workspace", "--bins", "--exclude", "xtask"]))?;
    let mut verdict = Verdict::Fine;
    for bench in benches {
        shell::headline(&format!("bench {bench}"));
        let mut command = Command::new(shell::release_binary(&format!("bench-{bench}")));
        let status = shell::status(command.args(&rest).current_dir(shell::root()))?;
        match status.code() {
            Some(0) => {}
            Some(FELL_SHORT) if [CONFORMANCE, DETECTION, DAY].contains(bench) => verdict = Verdict::Wrong,
            _ => bail!("bench-{bench} ended with {status}"),
        }
    }
    Ok(verdict)
}
