//! The built program for tests in other packages: where it is, how it ran, what it said.
//!
//! Cargo names a package's binaries only to the package's own tests. Here the binary is the one beside the test
//! executable; it is built first where it is missing or older than a source file it was made of.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::time::SystemTime;

use serde_json::Value;

/// The `tidegauge` binary, fresh.
pub(crate) fn tidegauge() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let test = std::env::current_exe().unwrap();
        let profile = test.ancestors().nth(2).expect("tests are in target/<profile>/deps");
        let binary = profile.join("tidegauge");
        if !is_fresh(&binary) {
            build(profile);
        }
        binary
    })
}

/// Whether the binary is there and younger than all files that Cargo lists beside it.
fn is_fresh(binary: &Path) -> bool {
    let modified = |path: &Path| -> Option<SystemTime> { path.metadata().ok()?.modified().ok() };
    let Some(built) = modified(binary) else { return false };
    let Ok(sources) = std::fs::read_to_string(binary.with_extension("d")) else { return false };
    let (_, sources) = sources.split_once(": ").unwrap_or_default();
    sources.split_whitespace().all(|source| modified(Path::new(source)).is_some_and(|at| at <= built))
}

fn build(profile: &Path) {
    let name = profile.file_name().and_then(|name| name.to_str()).expect("profiles have plain names");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--package", "tidegauge-analyzer", "--bin", "tidegauge", "--profile"]);
    cargo.arg(if name == "debug" { "dev" } else { name });
    cargo.arg("--target-dir").arg(profile.parent().expect("profiles are in the target directory"));
    let built = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).status().unwrap();
    assert!(built.success(), "tidegauge does not build");
}

/// How a process ended and what it said.
#[derive(Debug)]
pub(crate) struct Ran {
    /// `None` when a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).expect("output is UTF-8"),
            stderr: String::from_utf8(output.stderr).expect("messages are UTF-8"),
        }
    }
}

/// Runs a command to its end.
pub(crate) fn run(command: &mut Command) -> Ran {
    command.output().unwrap().into()
}

/// Parses JSON Lines, and checks the contract that every consumer relies on: each line is an object with `ts` and
/// `event`, and exactly one `summary` is the last of them.
pub(crate) fn events(stdout: &str) -> Vec<Value> {
    let parse = |line: &str| -> Value {
        let event: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(event["ts"].is_string() && event["event"].is_string(), "{line}");
        event
    };
    let events: Vec<Value> = stdout.lines().map(parse).collect();
    let summaries: Vec<usize> = (0..events.len()).filter(|at| events[*at]["event"] == "summary").collect();
    assert_eq!(summaries, [events.len().saturating_sub(1)], "one summary, and it is last");
    events
}

/// The incidents among events that are of a kind, in any state.
pub(crate) fn incidents<'a>(events: &'a [Value], kind: &str) -> Vec<&'a Value> {
    events.iter().filter(|event| event["event"] == "incident" && event["kind"] == kind).collect()
}
