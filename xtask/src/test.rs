//! `cargo xtask test`: everything that must hold, in one command; what CI runs.
//!
//! All steps run even when one fails, except after a failed build; the summary at the end says what ran, what was
//! skipped and why, and what failed. Output of the steps is shown as it comes.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::setup::{self, Group};
use crate::{Verdict, ebpf, fuzz, page, shell, tidy};

/// Set for the tests: the file in which a test that had to be skipped says so.
const SKIPS_VARIABLE: &str = "TIDEGAUGE_SKIPS";
const FUZZ_SECONDS_CI: u32 = 30;
const FUZZ_SECONDS: u32 = 10;

/// How a step ended.
enum Outcome {
    Failed(String),
    Passed,
    Skipped(String),
}

/// The steps that ran so far.
#[derive(Default)]
struct Steps(Vec<(&'static str, Outcome, Duration)>);

impl Steps {
    fn run(&mut self, name: &'static str, work: impl FnOnce() -> Result<Outcome>) {
        shell::headline(name);
        let started = Instant::now();
        let outcome = work().unwrap_or_else(|error| Outcome::Failed(format!("{error:#}")));
        match &outcome {
            Outcome::Failed(why) => println!("-- FAILED: {name}: {why}"),
            Outcome::Passed => {}
            Outcome::Skipped(why) => println!("-- SKIPPED: {name}: {why}"),
        }
        self.0.push((name, outcome, started.elapsed()));
    }

    /// Runs a step unless there is a reason not to.
    fn run_unless(&mut self, lacking: Option<String>, name: &'static str, work: impl FnOnce() -> Result<()>) {
        self.run(name, || match lacking {
            Some(why) => Ok(Outcome::Skipped(why)),
            None => work().map(|()| Outcome::Passed),
        });
    }

    fn last_failed(&self) -> bool {
        matches!(self.0.last(), Some((_, Outcome::Failed(_), _)))
    }

    fn summary(&self, skipped_tests: &str) -> Verdict {
        shell::headline("summary");
        for (name, outcome, took) in &self.0 {
            let (word, why) = match outcome {
                Outcome::Failed(why) => ("FAILED", why.as_str()),
                Outcome::Passed => ("passed", ""),
                Outcome::Skipped(why) => ("SKIPPED", why.as_str()),
            };
            println!(
                "{word:8} {:6.1} s  {name}{}{why}",
                took.as_secs_f64(),
                if why.is_empty() { "" } else { ": " }
            );
        }
        if skipped_tests.is_empty() {
            println!("no test was skipped");
        } else {
            println!("skipped tests:\n{}", skipped_tests.trim_end());
        }
        let failed = self.0.iter().any(|(_, outcome, _)| matches!(outcome, Outcome::Failed(_)));
        if failed { Verdict::Wrong } else { Verdict::Fine }
    }
}

/// Runs everything.
pub(crate) fn run() -> Result<Verdict> {
    let lacking = setup::ensure(&[Group::Build, Group::Lab, Group::Test, Group::Ebpf])?;
    let skips = Skips::begin()?;
    let mut steps = Steps::default();
    if let Some(why) = lacking.why(Group::Lab) {
        println!("tests that need it will be skipped: {why}");
    }
    steps.run_unless(lacking.why_without("rustfmt"), "format (cargo fmt --check)", || {
        shell::run(&mut shell::cargo(["fmt", "--all", "--check"]))
    });
    steps.run_unless(lacking.why_without("clippy"), "lints (cargo clippy)", || {
        shell::run(&mut shell::cargo(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))
    });
    let no_bpf_clippy = lacking.why_without("clippy").or_else(|| lacking.why(Group::Ebpf));
    steps.run_unless(no_bpf_clippy, "lints of the BPF program", ebpf::clippy);
    steps.run_unless(None, "documentation (cargo doc)", || {
        shell::run(shell::cargo(["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-Dwarnings"))
    });
    steps.run("style (cargo xtask tidy)", || match tidy::run()? {
        Verdict::Fine => Ok(Outcome::Passed),
        Verdict::Wrong => Ok(Outcome::Failed("see the list above".into())),
    });
    steps.run("BPF object (cargo xtask ebpf --check)", || check_object(lacking.why(Group::Ebpf)));
    steps.run("page (cargo xtask page --check)", check_page);
    steps.run_unless(page::lacking(), "packages of the page's browser test", page::browser_test_packages);
    steps.run_unless(None, "build (release)", || {
        shell::run(&mut shell::cargo(["build", "--release", "--bin", "tidegauge", "--bin", "traffic"]))
    });
    if steps.last_failed() {
        println!("without a build nothing else can be tested");
        return Ok(steps.summary(&skips.read()));
    }
    steps.run_unless(None, "tests (cargo test)", || {
        shell::run(shell::cargo(["test", "--workspace", "--no-fail-fast"]).env(SKIPS_VARIABLE, &skips.0))
    });
    steps.run_unless(lacking.why_without("g++"), "fuzz targets: build", fuzz::build);
    if matches!(steps.0.last(), Some((_, Outcome::Passed, _))) {
        steps.run("fuzz targets: run", run_fuzz_targets);
    }
    Ok(steps.summary(&skips.read()))
}

fn check_object(lacking: Option<String>) -> Result<Outcome> {
    Ok(match ebpf::check(lacking)? {
        ebpf::Comparison::Different(said) => Outcome::Failed(said),
        ebpf::Comparison::Same(said) => {
            println!("{said}");
            Outcome::Passed
        }
        ebpf::Comparison::Skipped(why) => Outcome::Skipped(why),
    })
}

fn check_page() -> Result<Outcome> {
    if let Some(why) = page::lacking() {
        return Ok(Outcome::Skipped(why));
    }
    Ok(match page::check()? {
        page::Comparison::Different(files) => {
            Outcome::Failed(format!("run `cargo xtask page`: {}", files.join(", ")))
        }
        page::Comparison::Same => Outcome::Passed,
    })
}

fn run_fuzz_targets() -> Result<Outcome> {
    let seconds = if shell::is_ci() { FUZZ_SECONDS_CI } else { FUZZ_SECONDS };
    let failed = fuzz::run(&fuzz::targets()?, seconds)?;
    if failed.is_empty() { Ok(Outcome::Passed) } else { Ok(Outcome::Failed(failed.join(", "))) }
}

/// The file in which tests note that they were skipped.
struct Skips(PathBuf);

impl Skips {
    fn begin() -> Result<Self> {
        let file = shell::target_dir().join("skipped-tests.txt");
        fs::create_dir_all(shell::target_dir())
            .and_then(|()| fs::write(&file, ""))
            .with_context(|| format!("write {}", file.display()))?;
        Ok(Self(file))
    }

    fn read(&self) -> String {
        fs::read_to_string(&self.0).unwrap_or_default()
    }
}
