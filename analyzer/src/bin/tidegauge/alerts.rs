//! `serve --alerts FILE` and `tidegauge test-alert`: alerts between the command line and the console.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use jiff::Timestamp;
use tidegauge_console::alert::settings::Settings;
use tidegauge_console::alert::{Alerts, Health, Message, run_name, test as tell};
use tidegauge_console::fault::Say;
use tidegauge_console::feed::Feed;

use super::args::TestAlertArgs;

/// How long the end waits for receivers; what is not told then waits on disk.
const END_WAIT: Duration = Duration::from_secs(5);

/// Alerts at work, and the file that they are of.
pub(crate) struct Told {
    path: PathBuf,
    /// Where what could not be told waits for the next run; of a run it is always the same.
    spool_dir: Option<PathBuf>,
    alerts: Alerts,
}

/// Starts them, if there is a file of receivers.
pub(crate) fn start(path: Option<&Path>, feed: &mut Feed) -> anyhow::Result<Option<Told>> {
    let Some(path) = path else { return Ok(None) };
    let settings = settings(path)?;
    let say: Say = Arc::new(|text: &str| say(text));
    let alerts = Alerts::start(&settings, &run_name(Timestamp::now()), feed, &say)
        .with_context(|| format!("cannot start the alerts of {}", path.display()))?;
    Ok(Some(Told { path: path.to_owned(), spool_dir: settings.spool_dir, alerts }))
}

impl Told {
    pub(crate) fn health(&self) -> Health {
        self.alerts.health()
    }

    /// Reads the file again; where it is wrong, all stays as it was. Either is said.
    pub(crate) fn reload(&mut self) {
        let path = self.path.display().to_string();
        let reloaded = settings(&self.path).and_then(|settings| {
            let of = || format!("cannot go on by {path}");
            self.alerts.reload(&settings).with_context(of)?;
            Ok(settings.receivers.len())
        });
        match reloaded {
            Ok(1) => say(&format!("{path} was read again: 1 receiver")),
            Ok(count) => say(&format!("{path} was read again: {count} receivers")),
            Err(error) => say(&format!("{error:#}; who is told stays as it was")),
        }
    }

    /// The run is about to be asked to end.
    pub(crate) fn ending(&self) {
        self.alerts.ending();
    }
}

/// After the run's end.
pub(crate) fn finish(told: Option<Told>) {
    let Some(Told { alerts, spool_dir, .. }) = told else { return };
    let health = alerts.health();
    let waiting = alerts.finish(END_WAIT);
    for lost in health.losses() {
        say(&format!("not told: {lost}"));
    }
    if waiting > 0 {
        let then = match spool_dir {
            Some(dir) => format!("they wait in {} for the next run", dir.display()),
            None => "they are lost (a spool_dir would keep them for the next run)".to_owned(),
        };
        say(&format!("{waiting} messages could not be told; {then}"));
    }
}

/// Tells each receiver of nothing.
pub(crate) fn test(args: &TestAlertArgs) -> anyhow::Result<ExitCode> {
    let settings = settings(&args.alerts)?;
    let is_meant = |name: &str| args.receiver.as_deref().is_none_or(|meant| meant == name);
    let receivers: Vec<_> = settings.receivers.iter().filter(|receiver| is_meant(&receiver.name)).collect();
    if let (true, Some(name)) = (receivers.is_empty(), &args.receiver) {
        let names: Vec<_> = settings.receivers.iter().map(|receiver| receiver.name.as_str()).collect();
        bail!("no receiver is called {name} in {}: there are {}", args.alerts.display(), names.join(", "));
    }
    let now = Timestamp::now();
    let message = Message::test(&run_name(now), i64::try_from(now.as_nanosecond()).unwrap_or(0));
    let mut all_told = true;
    for receiver in receivers {
        let started = Instant::now();
        let told = tell(receiver, &message);
        let (name, how) = (&receiver.name, receiver.how.name());
        let said = match told {
            Ok(()) if receiver.how.is_answered() => {
                format!("{name} ({how}): told in {} ms", started.elapsed().as_millis())
            }
            Ok(()) => format!("{name} ({how}): sent; UDP does not tell whether it arrived"),
            Err(why) => {
                all_told = false;
                format!("{name} ({how}): not told: {why}")
            }
        };
        writeln!(anstream::stdout(), "{said}")?;
    }
    Ok(if all_told { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn settings(path: &Path) -> anyhow::Result<Settings> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    Settings::from_toml(&text).with_context(|| format!("{} is not a file of receivers", path.display()))
}

fn say(text: &str) {
    // Standard error may be gone; there is nobody left to tell.
    let _ = writeln!(std::io::stderr(), "tidegauge: alerts: {text}");
}
