//! `cargo xtask tidy`: the style guide as a test. Prints every offence with its place.
//!
//! It reads lines, not syntax: simple rules that a reader can predict, over the files that git knows or would add.
//! What clippy checks (length of functions, `unwrap` as such, SAFETY comments) is left to clippy.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result};

use crate::{Verdict, shell};

/// Lines before a file's unit tests.
const FILE_LINES_MAX: usize = 500;
/// Packages whose library code must not panic on `unwrap`, not even with an `expect` attribute for clippy.
const NO_UNWRAP: [&str; 3] = ["analyzer/src/", "capture/src/", "ebpf/src/"];
/// Files that may say `unsafe`, each with the reason why nothing safe does the job.
const UNSAFE_ALLOWED: &[(&str, &str)] = &[
    ("benches/src/bpf.rs", "bpf(2) for programs too small for a loader"),
    ("benches/src/child.rs", "wait4 for what a child cost"),
    ("benches/src/memory.rs", "cache hints, mapped files, huge pages"),
    ("capture/src/af_xdp/memory.rs", "frames and rings in memory that the kernel writes"),
    ("capture/src/doctor/libpcap.rs", "libpcap's version is a C string that its bindings leave out"),
    ("capture/src/fanout.rs", "PACKET_FANOUT has no safe wrapper"),
    ("capture/src/file/map.rs", "mapping a file that another process may write to"),
    ("capture/src/memory.rs", "prefetches and huge pages are hints with an address"),
    ("capture/src/nic/ethtool.rs", "SIOCETHTOOL takes a pointer within a structure"),
    ("capture/src/xdp/maps.rs", "volatile reads of memory that the kernel writes"),
    ("capture/src/xdp/pin/book.rs", "volatile access to memory that earlier and later processes share"),
    ("ebpf/src/program/main.rs", "entry points get raw contexts from the kernel"),
    ("ebpf/src/program/maps.rs", "maps are raw pointers in the kernel"),
    ("ebpf/src/program/wire.rs", "packets are raw pointers in the kernel"),
    ("ebpf/src/redirect/main.rs", "the entry point gets a raw context from the kernel"),
    ("tests/src/packet_socket.rs", "AF_PACKET and sendmmsg have no safe wrapper"),
];
/// Directories of one machine. In two halves, because this file is checked as well.
const MACHINE_PATHS: [&str; 3] = [concat!("/tm", "p/"), concat!("/roo", "t/"), concat!("/hom", "e/")];
/// What is not finished.
const UNFINISHED: [&str; 3] = [concat!("todo", "!("), concat!("unimplemented", "!("), concat!("FIX", "ME")];
/// Kinds of files that are written by hand.
const TEXT: [&str; 7] = ["md", "rs", "service", "sh", "toml", "yaml", "yml"];

/// One offence: where and what.
#[derive(Debug, PartialEq, Eq)]
struct Offence {
    file: String,
    /// From 1; 0 for the file as a whole.
    line: usize,
    what: String,
}

/// Checks all files.
pub(crate) fn run() -> Result<Verdict> {
    let mut offences = Vec::new();
    let files = files()?;
    for file in &files {
        let path = shell::root().join(file);
        let text = fs::read_to_string(&path).with_context(|| format!("read {file}"))?;
        check(file, &text, &mut offences);
    }
    for (file, reason) in UNSAFE_ALLOWED {
        if !files.iter().any(|known| known == file) {
            offences.push(Offence {
                file: (*file).into(),
                line: 0,
                what: format!("is gone, but still allowed unsafe: {reason}"),
            });
        }
    }
    for offence in &offences {
        println!("{}:{}: {}", offence.file, offence.line, offence.what);
    }
    println!("tidy: {} files, {} offences", files.len(), offences.len());
    Ok(if offences.is_empty() { Verdict::Fine } else { Verdict::Wrong })
}

/// Files written by hand that git tracks, or would track with the next `git add`.
fn files() -> Result<Vec<String>> {
    let mut git = Command::new("git");
    git.args(["ls-files", "--cached", "--others", "--exclude-standard"]).current_dir(shell::root());
    let listed = shell::output(&mut git)?;
    let is_text = |file: &&str| file.rsplit_once('.').is_some_and(|(_, extension)| TEXT.contains(&extension));
    // A tracked file that was deleted in the work tree is still listed.
    let exists = |file: &&str| shell::root().join(file).is_file();
    Ok(listed.lines().filter(is_text).filter(exists).map(str::to_owned).collect())
}

fn check(file: &str, text: &str, offences: &mut Vec<Offence>) {
    let mut offend = |line: usize, what: String| offences.push(Offence { file: file.into(), line, what });
    for (number, line) in (1..).zip(text.lines()) {
        if let Some(path) = MACHINE_PATHS.iter().find(|path| line.contains(*path)) {
            offend(number, format!("names a directory of one machine: {path}"));
        }
        if let Some(word) = UNFINISHED.iter().find(|word| line.contains(*word)) {
            offend(number, format!("is not finished: {word}"));
        }
    }
    if file.ends_with(".rs") {
        check_rust(file, text, offend);
    } else if file.ends_with("Cargo.toml") {
        check_manifest(text, offend);
    }
}

fn check_rust(file: &str, text: &str, mut offend: impl FnMut(usize, String)) {
    if !text.starts_with("//!") {
        offend(1, "does not open with `//!` saying what it owns".into());
    }
    let lines = before_tests(text);
    if lines.len() > FILE_LINES_MAX {
        offend(0, format!("has {} lines before its tests, more than {FILE_LINES_MAX}", lines.len()));
    }
    let is_library = NO_UNWRAP.iter().any(|directory| file.starts_with(directory)) && !is_test_file(file);
    let may_be_unsafe = UNSAFE_ALLOWED.iter().any(|(allowed, _)| *allowed == file);
    for (number, line) in (1..).zip(&lines) {
        let code = line.split("//").next().unwrap_or_default();
        if is_library && code.contains(".unwrap()") {
            offend(number, "unwraps outside tests".into());
        }
        if !may_be_unsafe && is_unsafe(code) {
            offend(
                number,
                "says `unsafe` outside the files that may (list and reasons: xtask/src/tidy.rs)".into(),
            );
        }
    }
}

/// The lines before the module of unit tests, or all where there is none.
fn before_tests(text: &str) -> Vec<&str> {
    let lines: Vec<&str> = text.lines().collect();
    let opens_tests =
        |pair: &[&str]| pair[0] == "#[cfg(test)]" && pair[1].starts_with("mod ") && pair[1].ends_with('{');
    let count = lines.windows(2).position(opens_tests).unwrap_or(lines.len());
    lines[..count].to_vec()
}

/// A file of a unit test's module.
fn is_test_file(file: &str) -> bool {
    file.contains("/tests/") || file.ends_with("/tests.rs")
}

/// `unsafe` as the keyword that opens a block, a function or an implementation; attributes are markers, not code.
fn is_unsafe(code: &str) -> bool {
    code.split("unsafe ")
        .skip(1)
        .any(|rest| ["{", "extern", "fn", "impl"].iter().any(|opened| rest.starts_with(opened)))
}

/// Every dependency says why it is there: behind it, or on the line above. Our own packages need no reason.
fn check_manifest(text: &str, mut offend: impl FnMut(usize, String)) {
    let mut in_dependencies = false;
    let mut above = "";
    for (number, line) in (1..).zip(text.lines()) {
        if line.starts_with('[') {
            in_dependencies = line.trim_end_matches(']').ends_with("dependencies");
        } else if in_dependencies
            && is_foreign_dependency(line)
            && !line.contains('#')
            && !above.starts_with('#')
        {
            offend(number, "is a dependency without a comment saying why".into());
        }
        above = line;
    }
}

fn is_foreign_dependency(line: &str) -> bool {
    let is_entry = line.starts_with(|c: char| c.is_ascii_alphanumeric()) && line.contains('=');
    is_entry && !line.starts_with("tidegauge-") && !line.contains(".workspace = true")
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOWHERE: [usize; 0] = [];

    /// The lines at which `text` offends as `file`.
    fn offends(file: &str, text: &str) -> Vec<usize> {
        let mut offences = Vec::new();
        check(file, text, &mut offences);
        offences.iter().map(|offence| offence.line).collect()
    }

    #[test]
    fn a_rust_file_opens_with_its_purpose_and_is_not_too_long() {
        assert_eq!(offends("xtask/src/a.rs", "//! Owns a.\n"), NOWHERE);
        assert_eq!(offends("xtask/src/a.rs", "use std::fs;\n"), [1]);
        let long = format!("//! Long.\n{}", "\n".repeat(FILE_LINES_MAX));
        assert_eq!(offends("a.rs", &long), [0]);
        assert_eq!(
            offends("a.rs", &format!("//! Tests.\n#[cfg(test)]\nmod tests {{\n{}", "\n".repeat(900))),
            NOWHERE
        );
    }

    #[test]
    fn unwraps_are_for_tests_and_for_tools() {
        let text = "//! A.\n#[cfg(test)]\nmod tests;\nb.unwrap();\n// c.unwrap()\n#[cfg(test)]\nmod more {\nd.unwrap();\n";
        assert_eq!(offends("capture/src/a.rs", text), [4]);
        assert_eq!(offends("capture/src/a/tests/b.rs", text), NOWHERE);
        assert_eq!(offends("tests/src/a.rs", text), NOWHERE);
    }

    #[test]
    fn unsafe_is_for_the_files_on_the_list() {
        let text = "//! A.\n#![deny(unsafe_code)]\nunsafe { b() }\n";
        assert_eq!(offends("capture/src/a.rs", text), [3]);
        assert_eq!(offends(UNSAFE_ALLOWED[0].0, text), NOWHERE);
    }

    #[test]
    fn nothing_unfinished_and_no_path_of_one_machine() {
        let text = format!("# A\n{}x\n{})\n{}\n", MACHINE_PATHS[0], UNFINISHED[0], UNFINISHED[2]);
        assert_eq!(offends("README.md", &text), [2, 3, 4]);
    }

    #[test]
    fn dependencies_say_why() {
        let text = "[package]\nname = \"a\"\n[dependencies]\nb = \"1\"\nc = \"1\" # why\n# why\nd = \"1\"\ntidegauge-e = { path = \"e\" }\n";
        assert_eq!(offends("a/Cargo.toml", text), [4]);
    }
}
