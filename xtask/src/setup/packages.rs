//! Packages of Debian and Ubuntu, through apt.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::shell;

/// Another installation may be running: wait for it.
const LOCK_WAIT: &str = "DPkg::Lock::Timeout=300";
/// Services that some of the compared programs start by themselves. We only run the programs while we measure.
const SERVICES: [&str; 3] = ["argus-server", "fastnetmon", "softflowd"];

/// A package, and why it cannot be had.
type Refused = (&'static str, String);

/// Installs the packages; returns those that could not be, each with the reason.
pub(super) fn install(packages: &[&'static str]) -> Result<Vec<Refused>> {
    if shell::find_program("apt-get").is_none() {
        return Ok(refuse(packages, "no apt-get here: install it by hand"));
    }
    if !shell::is_root() {
        let (available, mut refused) = split_by_candidate(packages)?;
        let command = format!(
            "sudo sh -c 'apt-get update && apt-get install -y --no-install-recommends {}'",
            available.join(" ")
        );
        println!("setup: to install what is missing, run:\n\n    {command}\n");
        refused.extend(refuse(&available, "needs root: run the command above"));
        return Ok(refused);
    }
    println!("setup: apt-get update");
    if !shell::status(apt_get().arg("update"))?.success() {
        println!("setup: apt-get update failed; going on with the index as it is");
    }
    let (available, mut refused) = split_by_candidate(packages)?;
    if !available.is_empty() {
        println!("setup: apt-get install {}", available.join(" "));
        let status =
            shell::status(apt_get().args(["install", "-y", "--no-install-recommends"]).args(&available))?;
        if !status.success() {
            refused.extend(refuse(&available, &format!("apt-get install ended with {status}")));
        }
        stop_services(&available);
    }
    Ok(refused)
}

fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    command.args(["-q", "-o", LOCK_WAIT]).env("DEBIAN_FRONTEND", "noninteractive");
    command
}

fn refuse(packages: &[&'static str], why: &str) -> Vec<Refused> {
    packages.iter().map(|package| (*package, why.to_owned())).collect()
}

/// Those that this release has, and those that it has not. Without any package index all are taken to exist.
fn split_by_candidate(packages: &[&'static str]) -> Result<(Vec<&'static str>, Vec<Refused>)> {
    let policy = shell::output(Command::new("apt-cache").arg("policy").args(packages).env("LC_ALL", "C"))?;
    let with_candidate = candidates(&policy);
    if with_candidate.is_empty() && !shell::is_root() {
        return Ok((packages.to_vec(), Vec::new()));
    }
    let (available, absent): (Vec<_>, Vec<_>) =
        packages.iter().partition(|package| with_candidate.contains(package));
    Ok((available, refuse(&absent, "this release of the distribution has no such package")))
}

/// Names in the output of `apt-cache policy` that have something to install.
fn candidates(policy: &str) -> Vec<&str> {
    let mut name = "";
    let mut found = Vec::new();
    for line in policy.lines() {
        if let Some(candidate) = line.trim_start().strip_prefix("Candidate:") {
            if candidate.trim() != "(none)" {
                found.push(name);
            }
        } else if let Some(heading) = line.strip_suffix(':').filter(|heading| !heading.starts_with(' ')) {
            name = heading;
        }
    }
    found
}

/// Best effort, and only for what was just installed: nobody asked for a daemon that listens on the network.
fn stop_services(installed: &[&str]) {
    if !Path::new("/run/systemd/system").exists() {
        return;
    }
    for service in SERVICES.iter().filter(|service| installed.contains(service)) {
        println!("setup: systemctl disable --now {service}");
        if !Command::new("systemctl").args(["disable", "--now", service]).status().is_ok_and(|s| s.success())
        {
            println!("setup: could not stop {service}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_packages_with_a_candidate_can_be_installed() {
        let policy = "tshark:\n  Installed: (none)\n  Candidate: 4.0.17\n  Version table:\n     4.0.17 500\n\
                      llvm-22-dev:\n  Installed: (none)\n  Candidate: (none)\n  Version table:\n";
        assert_eq!(candidates(policy), ["tshark"]);
    }
}
