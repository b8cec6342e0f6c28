//! Thresholds: every number a finding can quote, its default, its source, and the TOML file that changes it.
//!
//! One table (`table.rs`) has them all: the struct, the defaults, the ranges, what `tidegauge config explain` says
//! and what `tidegauge config default` writes come from it. Unknown keys are errors, so that a misspelt threshold is not
//! silently the default. Values are checked once, here; everything behind a [`Config`] may rely on them.

mod table;
#[cfg(test)]
mod tests;

use thiserror::Error;

pub use table::{Config, KEYS};

/// What is wrong with a configuration. Lines count from 1.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// Not TOML, or not our keys.
    #[error("line {line} ({text}): {reason}")]
    Parse {
        /// Where.
        line: usize,
        /// What stands there: it names the key.
        text: String,
        /// The parser's words.
        reason: String,
    },
    /// A value outside its range.
    #[error("line {line}: {key} = {value} is out of range: it must be {wanted}")]
    Range {
        /// Where.
        line: usize,
        /// Which key.
        key: &'static str,
        /// Its value.
        value: f64,
        /// The range in words.
        wanted: &'static str,
    },
}

/// What a value may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Range {
    /// Factors of rises.
    AboveOne,
    /// Rates.
    AboveZero,
    /// 0 excluded, 1 included.
    Share,
    /// Counts of seconds and samples: an incident must be able to open and to close.
    UpToAnHour,
}

/// One threshold.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Its name in the file.
    pub name: &'static str,
    /// What it may be.
    pub range: Range,
    /// What it means, and where its default comes from.
    pub text: &'static str,
    /// Its default, as TOML writes it.
    pub default: &'static str,
    /// Reads it.
    pub get: fn(&Config) -> f64,
}

impl Range {
    fn has(self, value: f64) -> bool {
        match self {
            Self::AboveOne => value.is_finite() && value > 1.0,
            Self::AboveZero => value.is_finite() && value > 0.0,
            Self::Share => value > 0.0 && value <= 1.0,
            Self::UpToAnHour => (1.0..=3_600.0).contains(&value),
        }
    }

    /// In words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::AboveOne => "above 1",
            Self::AboveZero => "above 0",
            Self::Share => "above 0 and at most 1",
            Self::UpToAnHour => "at least 1 and at most 3600",
        }
    }
}

impl Config {
    /// Reads and checks a TOML text.
    ///
    /// # Errors
    /// With the line and the reason.
    pub fn from_toml(text: &str) -> Result<Self, ConfigError> {
        let config: Self = toml::from_str(text).map_err(|error| parse_error(text, &error))?;
        for Key { name, range, get, .. } in KEYS {
            let value = get(&config);
            if !range.has(value) {
                let line = line_of_key(text, name);
                return Err(ConfigError::Range { line, key: name, value, wanted: range.words() });
            }
        }
        Ok(config)
    }

    /// A configuration file with every default and what it means.
    pub fn default_toml() -> String {
        let mut text = String::from(
            "# All thresholds of tidegauge with their defaults. Delete what you do not change.\n",
        );
        for key in KEYS {
            text.push_str(&format!("\n# {}\n{} = {}\n", key.text, key.name, key.default));
        }
        text
    }
}

/// Beginnings of keys that are no chance.
const SHARED_BYTES_MIN: usize = 4;
/// Keys that are named in place of one that is unknown.
const NEAR_MAX: usize = 3;

/// The parser's error on one line; its own form is a drawing.
fn parse_error(text: &str, error: &toml::de::Error) -> ConfigError {
    let at = error.span().map_or(0, |span| span.start);
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count();
    ConfigError::Parse {
        line: line + 1,
        text: text.lines().nth(line).unwrap_or_default().trim().to_owned(),
        reason: reason(&error.message().lines().collect::<Vec<_>>().join(" ")),
    }
}

/// The parser names every key there is where one is unknown; those that begin as it does are enough.
fn reason(message: &str) -> String {
    let Some((what, _)) = message.split_once(", expected one of ") else { return message.to_owned() };
    let unknown = what.split('`').nth(1).unwrap_or_default();
    let shared = |key: &Key| key.name.bytes().zip(unknown.bytes()).take_while(|(a, b)| a == b).count();
    let most = KEYS.iter().map(shared).max().filter(|most| *most >= SHARED_BYTES_MIN);
    let near = KEYS.iter().filter(|key| Some(shared(key)) == most).take(NEAR_MAX);
    let near: Vec<_> = near.map(|key| format!("`{}`", key.name)).collect();
    let near = if near.is_empty() { near.concat() } else { format!(", did you mean {}", near.join(" or ")) };
    format!("{what}{near}; `tidegauge config explain` lists all")
}

/// The line that sets `key`, which is there: defaults are in range.
fn line_of_key(text: &str, key: &str) -> usize {
    let sets =
        |line: &str| line.split_once('=').is_some_and(|(name, _)| name.trim().trim_matches('"') == key);
    text.lines().position(sets).map_or(1, |index| index + 1)
}
