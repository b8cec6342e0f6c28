//! `tidegauge doctor`: what this host and an interface can do, why it matters, what mends it.

use std::io::{self, Write};
use std::process::ExitCode;

use anstream::AutoStream;
use anstyle::{AnsiColor, Style};
use serde_json::{Value, json};
use tidegauge_capture::doctor::{Check, Findings, Glance, State, Usable, examine};
use tidegauge_capture::interface::Interface;

use super::args::DoctorArgs;

/// Columns of the state, of the name, and before the reasons.
const STATE_WIDTH: usize = 8;
const NAME_WIDTH: usize = 20;
const INDENT: usize = 2 + STATE_WIDTH + NAME_WIDTH;
/// Columns of a line, commands apart: they must be copied whole.
const LINE_WIDTH: usize = 100;
/// Names of what is worst in the first line.
const WORST_MAX: usize = 5;

/// Looks and tells. Exit codes: 0 usable, 1 usable with limits, 2 not usable.
pub(crate) fn run(args: &DoctorArgs) -> anyhow::Result<ExitCode> {
    let interface = args.interface.as_deref().map(Interface::open).transpose()?;
    let findings = examine(interface.as_ref(), args.attach, |interface| announce(args, interface));
    if args.json {
        writeln!(io::stdout(), "{}", as_json(&findings))?;
    } else {
        AutoStream::auto(io::stdout()).write_all(as_text(&findings).as_bytes())?;
    }
    Ok(match findings.usable() {
        Usable::Yes => ExitCode::SUCCESS,
        Usable::WithLimits => ExitCode::from(1),
        Usable::No => ExitCode::from(2),
    })
}

/// For whoever reads along and has a hand on Ctrl-C.
fn announce(args: &DoctorArgs, interface: &Interface) {
    if !args.json {
        eprintln!(
            "tidegauge: attaching to {} for a moment; some drivers restart their queues for it, and lose frames",
            interface.name
        );
    }
}

fn verdict(findings: &Findings) -> &'static str {
    match (findings.usable(), findings.xdp) {
        (Usable::Yes, _) => "usable",
        (Usable::WithLimits, true) => "usable, with limits",
        (Usable::WithLimits, false) => "usable with packet rings only (--source ring)",
        (Usable::No, _) => "not usable: neither XDP nor a packet ring works here",
    }
}

fn as_json(findings: &Findings) -> Value {
    let check = |check: &Check| {
        json!({
            "scope": check.scope,
            "name": check.name,
            "state": check.state.name(),
            "found": check.found,
            "why": check.why,
            "mend": check.mend,
        })
    };
    json!({
        "event": "doctor",
        "usable": match findings.usable() {
            Usable::Yes => "yes",
            Usable::WithLimits => "with_limits",
            Usable::No => "no",
        },
        "verdict": verdict(findings),
        "xdp": findings.xdp,
        "ring": findings.ring,
        "checks": findings.checks.iter().map(check).collect::<Vec<_>>(),
        "interfaces": findings.interfaces.iter().map(glance_as_json).collect::<Vec<_>>(),
        "interfaces_more": findings.interfaces_more,
    })
}

fn glance_as_json(glance: &Glance) -> Value {
    let xdp =
        |xdp: tidegauge_capture::nic::netlink::AttachedXdp| json!({"id": xdp.program_id, "mode": xdp.mode});
    json!({
        "name": glance.name,
        "driver": glance.driver,
        "up": glance.link.map(|link| link.is_up),
        "mtu_bytes": glance.link.map(|link| link.mtu_bytes),
        "xdp": glance.link.and_then(|link| link.xdp).map(xdp),
    })
}

/// What is worst, the worst first: ` (bpf program, MTU)`.
fn worst(findings: &Findings) -> String {
    let mut wrong: Vec<_> = findings.checks.iter().filter(|check| check.state >= State::Limits).collect();
    wrong.sort_by_key(|check| std::cmp::Reverse(check.state));
    let names: Vec<_> = wrong.iter().map(|check| check.name).take(WORST_MAX).collect();
    match wrong.len().saturating_sub(names.len()) {
        _ if names.is_empty() => String::new(),
        0 => format!(" ({})", names.join(", ")),
        more => format!(" ({} and {more} more)", names.join(", ")),
    }
}

/// The verdict first, then scope by scope in the order of looking; what is well takes one line.
fn as_text(findings: &Findings) -> String {
    let style = match findings.usable() {
        Usable::Yes => colour(State::Ok),
        Usable::WithLimits => colour(State::Limits),
        Usable::No => colour(State::Missing),
    };
    let mut text = format!("{style}{}{style:#}{}\n", verdict(findings), worst(findings));
    let mut scope = "";
    for check in &findings.checks {
        if check.scope != scope {
            scope = &check.scope;
            text.push_str(&format!("\n{scope}\n"));
        }
        text.push_str(&block(check));
    }
    if !findings.interfaces.is_empty() {
        text.push_str("\ninterfaces (tidegauge doctor NAME says more)\n");
        findings.interfaces.iter().for_each(|glance| text.push_str(&line(glance)));
    }
    if findings.interfaces_more != 0 {
        text.push_str(&format!("  and {} more\n", findings.interfaces_more));
    }
    text
}

fn line(glance: &Glance) -> String {
    let driver = glance.driver.as_deref().unwrap_or("driver unknown");
    let link = glance.link.map_or_else(
        || "unknown".to_owned(),
        |link| {
            let state = if link.is_up { "up" } else { "down" };
            let xdp = link
                .xdp
                .map_or_else(String::new, |xdp| format!(", XDP id {} ({})", xdp.program_id, xdp.mode));
            format!("{state}, MTU {}{xdp}", link.mtu_bytes)
        },
    );
    format!("  {:NAME_WIDTH$}{driver}, {link}\n", glance.name)
}

fn block(check: &Check) -> String {
    let style = colour(check.state);
    let state = format!("{style}{:STATE_WIDTH$}{style:#}", check.state.name());
    let mut text = format!("  {state}{:NAME_WIDTH$}{}\n", check.name, wrapped(&check.found));
    if check.state != State::Ok {
        text.push_str(&format!("{:INDENT$}{}\n", "", wrapped(check.why)));
    }
    if let Some(mend) = &check.mend {
        text.push_str(&format!("{:INDENT$}-> {mend}\n", ""));
    }
    text
}

/// Words in lines of what is left beside the indent.
fn wrapped(words: &str) -> String {
    let mut text = String::new();
    let mut column = INDENT;
    for word in words.split_whitespace() {
        let width = word.chars().count();
        if column != INDENT && column + 1 + width > LINE_WIDTH {
            text.push_str(&format!("\n{:INDENT$}", ""));
            column = INDENT;
        }
        if column != INDENT {
            text.push(' ');
            column += 1;
        }
        text.push_str(word);
        column += width;
    }
    text
}

const fn colour(state: State) -> Style {
    match state {
        State::Ok => AnsiColor::Green.on_default(),
        State::Unknown => AnsiColor::Cyan.on_default(),
        State::Limits => AnsiColor::Yellow.on_default(),
        State::Missing => AnsiColor::Red.on_default(),
    }
}
