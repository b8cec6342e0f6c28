//! Tests that need rights or tools this machine may not have: they say so in one line and pass.
//!
//! The line goes to stdout, and to the file that `TIDEGAUGE_SKIPS` names, because the test harness hides the output
//! of passing tests and `cargo xtask test` owes its reader the list.

use std::fs::OpenOptions;
use std::io::Write;

use nix::unistd::Uid;

use crate::netns::Lab;

/// File to which skipped tests append their line.
pub const SKIPS_VARIABLE: &str = "TIDEGAUGE_SKIPS";

/// Says that `test` was skipped and why.
pub fn skip(test: &str, why: &str) {
    let line = format!("skipped: {test}: {why}\n");
    print!("{line}");
    let Some(path) = std::env::var_os(SKIPS_VARIABLE) else { return };
    let written = OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)
        .and_then(|mut f| f.write_all(line.as_bytes()));
    if let Err(error) = written {
        eprintln!("could not note the skipped test: {error}");
    }
}

/// Whether this process has root's rights.
pub fn is_root() -> bool {
    Uid::effective().is_root()
}

/// Whether this process has root's rights; says so when `test` has to be skipped for want of them.
pub fn root_or_skip(test: &str) -> bool {
    let root = is_root();
    if !root {
        skip(test, "needs root");
    }
    root
}

/// A lab for `test`, or `None` after having said why not: no root, or a container that may not make namespaces.
///
/// # Panics
/// Where a lab should be possible and is not: that is a failure of the test, not a reason to skip it.
pub fn lab_or_skip(test: &str) -> Option<Lab> {
    if !root_or_skip(test) {
        return None;
    }
    match Lab::new() {
        Ok(lab) => Some(lab),
        Err(error) if format!("{error:#}").contains("not permitted") => {
            skip(test, &format!("{error:#}"));
            None
        }
        Err(error) => panic!("{error:#}"),
    }
}
