//! `tidegauge doctor`: what this host and an interface can do, why it matters, what mends it.

use std::io::{self, Write};
use std::process::ExitCode;

use anstream::AutoStream;
use anstyle::{AnsiColor, Style};
use serde_json::{Value, json};
use tidegauge_capture::doctor::{Check, Findings, State, Usable, examine};
use tidegauge_capture::interface::Interface;

use super::args::DoctorArgs;

/// Columns of the state, of the name, and before the reasons.
const STATE_WIDTH: usize = 8;
const NAME_WIDTH: usize = 20;
const INDENT: usize = 2 + STATE_WIDTH + NAME_WIDTH;

/// Looks and tells. Exit codes: 0 usable, 1 usable with limits, 2 not usable.
pub(crate) fn run(args: &DoctorArgs) -> anyhow::Result<ExitCode> {
    let interface = args.interface.as_deref().map(Interface::open).transpose()?;
    let findings = examine(interface.as_ref(), args.attach);
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
    })
}

/// The verdict first, then scope by scope in the order of looking; what is well takes one line.
fn as_text(findings: &Findings) -> String {
    let style = match findings.usable() {
        Usable::Yes => colour(State::Ok),
        Usable::WithLimits => colour(State::Limits),
        Usable::No => colour(State::Missing),
    };
    let mut text = format!("{style}{}{style:#}\n", verdict(findings));
    let mut scope = "";
    for check in &findings.checks {
        if check.scope != scope {
            scope = &check.scope;
            text.push_str(&format!("\n{scope}\n"));
        }
        text.push_str(&block(check));
    }
    text
}

fn block(check: &Check) -> String {
    let style = colour(check.state);
    let state = format!("{style}{:STATE_WIDTH$}{style:#}", check.state.name());
    let mut text = format!("  {state}{:NAME_WIDTH$}{}\n", check.name, check.found);
    if check.state != State::Ok {
        text.push_str(&format!("{:INDENT$}{}\n", "", check.why));
    }
    if let Some(mend) = &check.mend {
        text.push_str(&format!("{:INDENT$}-> {mend}\n", ""));
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
