//! `tidegauge config`: is a file right, what are the defaults, what does a threshold mean.

use std::io::{self, Write};
use std::path::Path;

use anyhow::bail;
use tidegauge_analyzer::config::{Config, KEYS};

use super::Outcome;
use super::args::{ConfigCommand, thresholds};

/// Says it.
pub(crate) fn run(command: &ConfigCommand) -> anyhow::Result<Outcome> {
    match command {
        ConfigCommand::Check { file } => check(file)?,
        ConfigCommand::Default => write!(io::stdout().lock(), "{}", Config::default_toml())?,
        ConfigCommand::Explain { key } => explain(key.as_deref())?,
    }
    Ok(Outcome::Done)
}

fn check(file: &Path) -> anyhow::Result<()> {
    let config = thresholds(Some(file))?;
    let defaults = Config::default();
    let mut out = io::stdout().lock();
    let changed: Vec<_> = KEYS.iter().filter(|key| (key.get)(&config) != (key.get)(&defaults)).collect();
    writeln!(out, "{}: right, {} of {} thresholds changed", file.display(), changed.len(), KEYS.len())?;
    for key in changed {
        writeln!(out, "  {} = {} (default {})", key.name, (key.get)(&config), key.default)?;
    }
    Ok(())
}

fn explain(name: Option<&str>) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    let Some(name) = name else {
        return Ok(KEYS.iter().try_for_each(|key| writeln!(out, "{} = {}", key.name, key.default))?);
    };
    let Some(key) = KEYS.iter().find(|key| key.name == name) else {
        let near = KEYS.iter().map(|key| key.name).filter(|known| known.contains(name));
        let near: Vec<_> = near.collect();
        let hint =
            if near.is_empty() { "`tidegauge config explain` lists all".to_owned() } else { near.join(", ") };
        bail!("{name} is no threshold: {hint}");
    };
    writeln!(out, "{}: {}\ndefault {}, {}", key.name, key.text, key.default, key.range.words())?;
    Ok(())
}
