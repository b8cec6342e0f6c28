//! What this host and an interface can do for us, found by trying and asking, not by version numbers. Each finding says
//! why it matters and what mends it. Used by `tidegauge doctor`.

mod glance;
mod host;
mod interface;
mod libpcap;
mod programs;
mod trial;

use crate::interface::Interface;

pub use glance::Glance;

/// How well something serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// As it should be.
    Ok,
    /// It could not be found out.
    Unknown,
    /// It works, with limits.
    Limits,
    /// What it is needed for does not work.
    Missing,
}

impl State {
    /// As in the output.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Unknown => "unknown",
            Self::Limits => "limits",
            Self::Missing => "missing",
        }
    }
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// `host` or the interface.
    pub scope: String,
    /// What was looked at.
    pub name: &'static str,
    /// How well it serves.
    pub state: State,
    /// What was found.
    pub found: String,
    /// Why it matters.
    pub why: &'static str,
    /// The command that mends it, where something is to be mended.
    pub mend: Option<String>,
}

/// All findings, and what they come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Findings {
    /// In the order in which they were looked for.
    pub checks: Vec<Check>,
    /// Whether the default source (XDP) works here.
    pub xdp: bool,
    /// Whether packet rings work here.
    pub ring: bool,
    /// The interfaces there are, where none was named.
    pub interfaces: Vec<Glance>,
    /// How many more there are.
    pub interfaces_more: usize,
}

/// What it comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usable {
    /// With everything.
    Yes,
    /// Something is missing or limited.
    WithLimits,
    /// Neither XDP nor a packet ring works.
    No,
}

impl Findings {
    /// The sum of it.
    pub fn usable(&self) -> Usable {
        let all_well = self.checks.iter().all(|check| matches!(check.state, State::Ok | State::Unknown));
        match (self.xdp || self.ring, all_well) {
            (false, _) => Usable::No,
            (true, true) => Usable::Yes,
            (true, false) => Usable::WithLimits,
        }
    }
}

/// Looks at the host, and at `interface` if there is one; without one, the interfaces are listed. With `attach` the
/// program is attached to it for a moment (without it: to a pair of interfaces in a network namespace of its own, where
/// that may be made), and detached; `announce` is called right before the interface is touched.
pub fn examine(interface: Option<&Interface>, attach: bool, announce: impl FnOnce(&Interface)) -> Findings {
    let mut checks = Vec::new();
    let (xdp, ring) = host::examine(&mut checks);
    if attach && interface.is_none() {
        checks.push(trial::on_a_pair(xdp));
    }
    let (mut interfaces, mut interfaces_more) = (Vec::new(), 0);
    match interface {
        Some(interface) => {
            interface::examine(interface, &mut checks);
            if attach {
                checks.push(trial::on(interface, xdp, announce));
            }
        }
        None => (interfaces, interfaces_more) = glance::interfaces(),
    }
    Findings { checks, xdp, ring, interfaces, interfaces_more }
}

/// The beginning of a finding about the host.
fn host_check(name: &'static str, why: &'static str) -> Check {
    Check { scope: "host".to_owned(), name, state: State::Ok, found: String::new(), why, mend: None }
}

impl Check {
    fn ok(self, found: impl Into<String>) -> Self {
        Self { found: found.into(), ..self }
    }

    fn unknown(self, found: impl Into<String>) -> Self {
        Self { state: State::Unknown, found: found.into(), ..self }
    }

    /// Unknown for want of something that can be given.
    fn unasked(self, found: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { mend: Some(mend.into()), ..self.unknown(found) }
    }

    fn limits(self, found: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { state: State::Limits, found: found.into(), mend: Some(mend.into()), ..self }
    }

    fn missing(self, found: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { state: State::Missing, found: found.into(), mend: Some(mend.into()), ..self }
    }
}
