//! `cargo xtask bench`: builds the benches and runs one of them, or all.

use std::process::Command;

use anyhow::{Result, bail};

use crate::setup::{self, Group};
use crate::{Verdict, shell};

const BENCHES: [&str; 5] = ["packet", "tick", "read", "detect", "live"];

/// Runs bench `which` with the rest of the command line.
pub(crate) fn run(which: &str, rest: &[&str]) -> Result<Verdict> {
    let benches = match BENCHES.iter().position(|bench| *bench == which) {
        Some(index) => &BENCHES[index..=index],
        None if which == "all" => &BENCHES[..],
        None => bail!("no such bench: {which}; there are {} and all", BENCHES.join(", ")),
    };
    let (peers, rest): (Vec<&str>, Vec<&str>) = rest.iter().partition(|word| **word == "--peers");
    let groups: &[Group] = if peers.is_empty() {
        &[Group::Build, Group::Lab]
    } else {
        &[Group::Build, Group::Lab, Group::Peers]
    };
    let lacking = setup::ensure(groups)?;
    for group in groups {
        if let Some(why) = lacking.why(*group) {
            println!("bench: left out: {why}");
        }
    }
    shell::headline("build the benches, tidegauge and the test tools (release)");
    shell::run(&mut shell::cargo(["build", "--release", "--workspace", "--bins", "--exclude", "xtask"]))?;
    for bench in benches {
        shell::headline(&format!("bench {bench}"));
        shell::run(Command::new(shell::release_binary(&format!("bench-{bench}"))).args(&rest))?;
    }
    Ok(Verdict::Fine)
}
