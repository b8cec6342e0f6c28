//! The file of receivers and routes (TOML): `serve --alerts FILE`.
//!
//! Unknown keys are errors, and so is what cannot be: each with its line. Everything behind [`Settings`] may rely on it.

mod receivers;
mod values;

use std::path::PathBuf;

use serde::Deserialize;
use thiserror::Error;
use toml::Spanned;

pub use receivers::{
    AlertmanagerSettings, EveSettings, ExecSettings, Facility, How, JournaldSettings, Limit,
    ReceiverSettings, SyslogSettings, Transport, WebhookSettings,
};
pub use values::{Clock, Day, FullPath, HostPort, Name, Target, Whole, Zone};

pub(crate) use values::names;

use super::message::Severity;
pub use crate::http::HttpUrl;

/// Receivers of one file: each has threads and disk of its own.
const RECEIVERS_MAX: usize = 16;
/// Routes of one file: each incident is compared with all.
const ROUTES_MAX: usize = 64;

/// What is wrong with the file. Lines count from 1.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("line {line} ({text}): {reason}")]
pub struct SettingsError {
    /// Where.
    pub line: usize,
    /// What stands there.
    pub text: String,
    /// Why it cannot be.
    pub reason: String,
}

/// Who is told what, and how.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where what waits is kept; without, it is lost with the process.
    pub spool_dir: Option<PathBuf>,
    /// Bytes that may wait for one receiver.
    pub spool_bytes_max: u64,
    /// How long something may wait, seconds.
    pub spool_age_max_s: u64,
    /// Pauses before a receiver that failed is tried again.
    pub retry: Retry,
    /// Whether incidents that are the consequence of others are told as well.
    pub consequences: bool,
    /// Who is told.
    pub receivers: Vec<ReceiverSettings>,
    /// Of what; where there is none, everybody of everything.
    pub routes: Vec<Route>,
}

/// Pauses between attempts: twice as long each time, half of each by chance.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Retry {
    /// After the first failure.
    pub first_ms: Whole<1, 60_000>,
    /// However often it failed.
    pub longest_ms: Whole<1, 600_000>,
}

impl Default for Retry {
    fn default() -> Self {
        Self { first_ms: Whole::of(200), longest_ms: Whole::of(30_000) }
    }
}

/// Which incidents go to whom.
#[derive(Clone, Debug)]
pub struct Route {
    /// Places in [`Settings::receivers`].
    pub receivers: Vec<usize>,
    /// All where empty.
    pub severities: Vec<Severity>,
    /// Kinds of incidents; all where empty.
    pub kinds: Vec<String>,
    /// What they are about; all where empty.
    pub targets: Vec<Target>,
    /// When it is not used.
    pub quiet: Option<Quiet>,
}

/// Hours in which nobody is to be woken.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quiet {
    /// Their begin, local time.
    pub from: Clock,
    /// Their end; before `from`, it is the next day's.
    pub to: Clock,
    /// Whose local time.
    pub zone: Zone,
    /// Days on which they begin; all where empty.
    #[serde(default)]
    pub days: Vec<Day>,
    /// What is told all the same.
    #[serde(default = "worst_only")]
    pub except: Vec<Severity>,
}

fn worst_only() -> Vec<Severity> {
    vec![Severity::P1]
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    spool_dir: Option<FullPath>,
    #[serde(default = "spool_mib")]
    spool_mib_max: Whole<1, 65_536>,
    #[serde(default = "spool_age")]
    spool_age_max_s: Whole<1, 31_536_000>,
    #[serde(default)]
    retry: Retry,
    #[serde(default)]
    consequences: bool,
    #[serde(default)]
    alertmanager: Vec<AlertmanagerSettings>,
    #[serde(default)]
    eve: Vec<EveSettings>,
    #[serde(default)]
    exec: Vec<ExecSettings>,
    #[serde(default)]
    journald: Vec<JournaldSettings>,
    #[serde(default)]
    syslog: Vec<SyslogSettings>,
    #[serde(default)]
    webhook: Vec<WebhookSettings>,
    #[serde(default)]
    route: Vec<Spanned<FileRoute>>,
}

fn spool_mib() -> Whole<1, 65_536> {
    Whole::of(64)
}

fn spool_age() -> Whole<1, 31_536_000> {
    Whole::of(86_400)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileRoute {
    receivers: Vec<Spanned<String>>,
    #[serde(default)]
    severities: Vec<Severity>,
    #[serde(default)]
    kinds: Vec<Spanned<String>>,
    #[serde(default)]
    targets: Vec<Target>,
    quiet: Option<Spanned<Quiet>>,
}

impl Settings {
    /// Reads and checks a TOML text.
    ///
    /// # Errors
    /// With the line and the reason.
    pub fn from_toml(text: &str) -> Result<Self, SettingsError> {
        let file: File = toml::from_str(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            wrong(text, at, error.message().lines().collect::<Vec<_>>().join(" "))
        })?;
        let mut receivers = receivers::all(text, file.webhook, file.syslog)?;
        receivers.extend(file.alertmanager.into_iter().map(Into::into));
        receivers.extend(file.eve.into_iter().map(Into::into));
        receivers.extend(file.exec.into_iter().map(Into::into));
        receivers.extend(file.journald.into_iter().map(Into::into));
        receivers.sort_by_key(|receiver| receiver.at);
        check_names(text, &receivers)?;
        if file.route.len() > ROUTES_MAX {
            let at = file.route[ROUTES_MAX].span().start;
            return Err(wrong(text, at, format!("more than {ROUTES_MAX} routes")));
        }
        let routes = file
            .route
            .into_iter()
            .map(|route| checked(text, route.into_inner(), &receivers))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            spool_dir: file.spool_dir.map(|dir| dir.0),
            spool_bytes_max: file.spool_mib_max.get() * 1024 * 1024,
            spool_age_max_s: file.spool_age_max_s.get(),
            retry: file.retry,
            consequences: file.consequences,
            receivers,
            routes,
        })
    }
}

fn check_names(text: &str, receivers: &[ReceiverSettings]) -> Result<(), SettingsError> {
    if receivers.is_empty() {
        let reason = "nobody to tell: it needs [[webhook]], [[syslog]], [[eve]], [[journald]], [[alertmanager]] or [[exec]]";
        return Err(wrong(text, 0, reason.into()));
    }
    for (index, receiver) in receivers.iter().enumerate() {
        if receivers[..index].iter().any(|other| other.name == receiver.name) {
            let reason = format!("two receivers are called {}: a name is one receiver's", receiver.name);
            return Err(wrong(text, receiver.at, reason));
        }
        if index == RECEIVERS_MAX {
            return Err(wrong(text, receiver.at, format!("more than {RECEIVERS_MAX} receivers")));
        }
    }
    Ok(())
}

fn checked(text: &str, route: FileRoute, receivers: &[ReceiverSettings]) -> Result<Route, SettingsError> {
    let place = |name: &Spanned<String>| {
        receivers.iter().position(|receiver| receiver.name == *name.get_ref()).ok_or_else(|| {
            wrong(text, name.span().start, format!("no receiver is called {}", name.get_ref()))
        })
    };
    let kind = |kind: &Spanned<String>| {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if !kind.get_ref().is_empty() && kind.get_ref().chars().all(plain) {
            return Ok(kind.get_ref().clone());
        }
        Err(wrong(
            text,
            kind.span().start,
            "kinds are written as incidents have them: syn_flood, loss".into(),
        ))
    };
    if let Some(quiet) = route.quiet.as_ref().filter(|quiet| quiet.get_ref().from == quiet.get_ref().to) {
        let reason = "hours that begin when they end; a whole day is from 00:00 to 24:00";
        return Err(wrong(text, quiet.span().start, reason.into()));
    }
    Ok(Route {
        receivers: route.receivers.iter().map(place).collect::<Result<_, _>>()?,
        severities: route.severities,
        kinds: route.kinds.iter().map(kind).collect::<Result<_, _>>()?,
        targets: route.targets,
        quiet: route.quiet.map(Spanned::into_inner),
    })
}

/// What is wrong at a byte of the text.
fn wrong(text: &str, at: usize, reason: String) -> SettingsError {
    let line = text.get(..at).unwrap_or(text).matches('\n').count();
    let words = text.lines().nth(line).unwrap_or_default().trim().to_owned();
    SettingsError { line: line + 1, text: words, reason }
}

#[cfg(test)]
mod tests;
