//! `cargo xtask page`: the page that `tidegauge serve` embeds, rebuilt or checked; and the packages of its browser test.
//!
//! What is built is committed, so that `cargo build` needs neither node nor a network. Sources and pinned packages decide
//! about every byte.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{Verdict, shell};

/// Sources and their packages, below the root.
const SOURCES: &str = "console/page";
/// The browser test and its packages.
const BROWSER_TEST: &str = "tests/page";

/// What comparing the committed page with its sources showed.
#[derive(Debug)]
pub(crate) enum Comparison {
    /// Files that are not what the sources build.
    Different(Vec<String>),
    /// It is what they build.
    Same,
}

/// Rebuilds the committed page.
pub(crate) fn rebuild() -> Result<Verdict> {
    if let Some(why) = lacking() {
        bail!("cannot build the page: {why}");
    }
    build(&committed())?;
    println!("wrote {}", committed().display());
    Ok(Verdict::Fine)
}

/// The check as a command of its own.
pub(crate) fn check_alone() -> Result<Verdict> {
    if let Some(why) = lacking() {
        println!("SKIPPED: the page was not checked: {why}");
        return Ok(Verdict::Fine);
    }
    match check()? {
        Comparison::Same => println!("the committed page is what its sources build"),
        Comparison::Different(files) => {
            println!(
                "not what the sources build: {}; run `cargo xtask page` and commit it",
                files.join(", ")
            );
            return Ok(Verdict::Wrong);
        }
    }
    Ok(Verdict::Fine)
}

/// Why neither can be done, where that is so.
pub(crate) fn lacking() -> Option<String> {
    let missing = ["node", "npm"].into_iter().find(|program| shell::find_program(program).is_none())?;
    Some(format!("{missing} is not here (packages nodejs and npm)"))
}

/// Builds aside and compares.
pub(crate) fn check() -> Result<Comparison> {
    let aside = shell::target_dir().join("page");
    if aside.exists() {
        fs::remove_dir_all(&aside).with_context(|| format!("remove {}", aside.display()))?;
    }
    build(&aside)?;
    let mut names = names(&aside)?;
    names.extend(self::names(&committed())?);
    names.sort();
    names.dedup();
    let read = |directory: &Path, name: &str| fs::read(directory.join(name)).ok();
    names.retain(|name| read(&aside, name) != read(&committed(), name));
    Ok(if names.is_empty() { Comparison::Same } else { Comparison::Different(names) })
}

/// The packages of the browser test; the browser is the distribution's.
pub(crate) fn browser_test_packages() -> Result<()> {
    packages(&shell::root().join(BROWSER_TEST))
}

fn build(out: &Path) -> Result<()> {
    let sources = shell::root().join(SOURCES);
    packages(&sources)?;
    shell::run(Command::new("node").arg("build.mjs").arg(out).current_dir(sources))
}

/// What the lock file names, and no script of it is run.
fn packages(directory: &Path) -> Result<()> {
    let mut npm = Command::new("npm");
    npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel", "error"]);
    shell::run(npm.env("PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD", "1").current_dir(directory))
}

fn names(directory: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(directory).with_context(|| format!("list {}", directory.display()))?;
    Ok(entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect())
}

fn committed() -> PathBuf {
    shell::root().join(SOURCES).join("dist")
}
