//! `cargo xtask setup`: sees what is missing and installs it, saying what.
//!
//! As root it installs; otherwise packages are one command for the reader to run, and what needs no rights is asked
//! about (in CI it is done without asking). The package index is refreshed once, and only when something is missing.
//! Only compiling is vital: everything else that cannot be had becomes a reason for skipping what needs it.

mod needs;
mod packages;

use std::fmt;
use std::io::{IsTerminal, Write};
use std::process::Command;

use anyhow::{Context, Result, bail};

pub(crate) use needs::{BPF_LINKER_VERSION, Group, LLVM_PREFIX, bpf_linker_version, sysroot};
use needs::{NEEDS, Need, Origin};

use crate::{Verdict, shell};

/// One thing that could not be had.
#[derive(Debug)]
struct Lack {
    group: Group,
    name: &'static str,
    why: String,
}

/// What could not be had, and why.
#[derive(Debug, Default)]
pub(crate) struct Lacking(Vec<Lack>);

impl Lacking {
    /// Why `group` is not complete; `None` when it is.
    pub(crate) fn why(&self, group: Group) -> Option<String> {
        let reasons: Vec<String> =
            self.0.iter().filter(|lack| lack.group == group).map(ToString::to_string).collect();
        (!reasons.is_empty()).then(|| reasons.join("; "))
    }

    /// Why the package or component `name` is not there; `None` when it is.
    pub(crate) fn why_without(&self, name: &str) -> Option<String> {
        self.0.iter().find(|lack| lack.name == name).map(ToString::to_string)
    }
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.why)
    }
}

/// The command: installs the groups named, by default all that the other commands need.
pub(crate) fn run(names: &[&str]) -> Result<Verdict> {
    let groups = match names {
        [] => vec![Group::Build, Group::Lab, Group::Test, Group::Ebpf],
        names => names
            .iter()
            .map(|name| Group::from_name(name).with_context(|| format!("no such group: {name}")))
            .collect::<Result<_>>()?,
    };
    let lacking = ensure(&groups)?;
    for lack in &lacking.0 {
        println!("not to be had, what needs it will be skipped ({:?}): {lack}", lack.group);
    }
    println!(
        "setup: {}",
        if lacking.0.is_empty() { "everything is there" } else { "done, with the exceptions above" }
    );
    Ok(Verdict::Fine)
}

/// Installs what the groups miss. Returns what could not be had.
///
/// An error only when tidegauge could not be compiled.
pub(crate) fn ensure(groups: &[Group]) -> Result<Lacking> {
    let missing = || NEEDS.iter().filter(|need| groups.contains(&need.group) && !need.is_met());
    let wanted: Vec<&Need> = missing().collect();
    if wanted.is_empty() {
        return Ok(Lacking::default());
    }
    shell::headline(&format!("setup: missing {}", list(&wanted)));
    let packages = distinct(wanted.iter().filter_map(|need| match need.origin {
        Origin::Package(package) => Some(package),
        Origin::BpfLinker | Origin::RustComponent(_) => None,
    }));
    let mut refused = if packages.is_empty() { Vec::new() } else { packages::install(&packages)? };
    let components = distinct(wanted.iter().filter_map(|need| match need.origin {
        Origin::RustComponent(component) => Some(component),
        Origin::BpfLinker | Origin::Package(_) => None,
    }));
    for component in components {
        refused.extend(add_component(component)?.map(|why| (component, why)));
    }
    install_bpf_linker(&wanted, &mut refused)?;

    let lack = |need: &Need| Lack { group: need.group, name: name(need), why: reason(name(need), &refused) };
    let lacking = Lacking(missing().map(lack).collect());
    match lacking.why(Group::Build) {
        Some(why) => bail!("cannot compile tidegauge: {why}"),
        None => Ok(lacking),
    }
}

/// Why it is still missing.
fn reason(name: &str, refused: &[(&str, String)]) -> String {
    match refused.iter().find(|(refused, _)| *refused == name) {
        Some((_, why)) => why.clone(),
        None => "still missing after its installation".into(),
    }
}

fn add_component(component: &str) -> Result<Option<String>> {
    if shell::find_program("rustup").is_none() {
        return Ok(Some("no rustup here to add it".into()));
    }
    let mut command = Command::new("rustup");
    command.args(["component", "add", component]);
    try_with_consent(&mut command, &format!("rustup component add {component}"))
}

/// Comes last and only on top of a complete rest: it links against LLVM and builds for a minute or more.
fn install_bpf_linker(wanted: &[&Need], refused: &mut Vec<(&str, String)>) -> Result<()> {
    if !wanted.iter().any(|need| need.origin == Origin::BpfLinker) {
        return Ok(());
    }
    let below = NEEDS.iter().filter(|need| need.group == Group::Ebpf && need.origin != Origin::BpfLinker);
    let absent: Vec<&Need> = below.filter(|need| !need.is_met()).collect();
    if !absent.is_empty() {
        refused.push(("bpf-linker", format!("cannot be built without {}", list(&absent))));
        return Ok(());
    }
    let mut command =
        shell::cargo(["install", "bpf-linker", "--version", BPF_LINKER_VERSION, "--locked", "--force"]);
    command.args(["--no-default-features", "--features", "llvm-22"]).env("LLVM_PREFIX", LLVM_PREFIX);
    let said = format!("cargo install bpf-linker {BPF_LINKER_VERSION} (one to three minutes)");
    refused.extend(try_with_consent(&mut command, &said)?.map(|why| ("bpf-linker", why)));
    Ok(())
}

/// Runs an installation that needs no rights; returns why not.
fn try_with_consent(command: &mut Command, said: &str) -> Result<Option<String>> {
    if !consents(said)? {
        return Ok(Some(format!("not agreed to: {said}")));
    }
    println!("setup: {said}");
    let status = shell::status(command)?;
    Ok((!status.success()).then(|| format!("{said} ended with {status}")))
}

/// Root and CI have agreed already; a person is asked; nobody is there to ask where stdin is no terminal.
fn consents(said: &str) -> Result<bool> {
    if shell::is_root() || shell::is_ci() {
        return Ok(true);
    }
    if !std::io::stdin().is_terminal() {
        return Ok(false);
    }
    print!("setup: {said}? [Y/n] ");
    std::io::stdout().flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "" | "y" | "yes"))
}

fn name(need: &Need) -> &'static str {
    match need.origin {
        Origin::BpfLinker => "bpf-linker",
        Origin::Package(name) | Origin::RustComponent(name) => name,
    }
}

fn list(needs: &[&Need]) -> String {
    distinct(needs.iter().map(|need| name(need))).join(", ")
}

fn distinct(names: impl Iterator<Item = &'static str>) -> Vec<&'static str> {
    let mut distinct = Vec::new();
    for name in names {
        if !distinct.contains(&name) {
            distinct.push(name);
        }
    }
    distinct
}
