//! Thresholds: every number a finding can quote, its default, and the TOML file that changes it.
//!
//! Unknown keys are errors, so that a misspelt threshold is not silently the default. Values are checked once, here;
//! everything behind a [`Config`] may rely on them.

use serde::Deserialize;
use thiserror::Error;

/// All thresholds. Defaults are the feature model's (DESIGN: section 5) where it has them.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Healthy connection attempts per second and listener (model: 500 /s).
    pub conn_rate_limit_per_s: f64,
    /// A rate of this many times its baseline is a surge (model: a rise of 300 %, 4 x).
    pub conn_rise_factor: f64,
    /// Below this rate no rise is a surge: four connections after one are not an event.
    pub conn_rise_floor_per_s: f64,
    /// Share of matured attempts that stay without handshake, above which a high rate is a flood.
    pub flood_unresolved_share: f64,
    /// The same share where the unresolved attempts alone exceed `conn_rate_limit_per_s`.
    pub flood_unresolved_share_at_limit: f64,
    /// Share of windows below 10,000 bytes (model: < 10 K) in a second that counts as low.
    pub low_window_share: f64,
    /// Windows of known scale in a second below which it is not judged.
    pub low_window_samples_min: u64,
    /// Seconds in a row that open a low-window incident.
    pub low_window_seconds: u32,
    /// Share of slow MiB that opens an incident.
    pub slow_transfer_share: f64,
    /// MiB in ten seconds below which none is opened.
    pub slow_transfer_samples_min: u64,
    /// Retransmitted or reordered share of payload segments that explains a slow transfer (model: 5 %, here 1 %:
    /// it is evidence beside the slowness, not a finding of its own).
    pub slow_transfer_loss_share: f64,
    /// Seconds without the condition before an incident closes.
    pub close_after_s: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            conn_rate_limit_per_s: 500.0,
            conn_rise_factor: 4.0,
            conn_rise_floor_per_s: 100.0,
            flood_unresolved_share: 0.5,
            flood_unresolved_share_at_limit: 0.2,
            low_window_share: 0.5,
            low_window_samples_min: 20,
            low_window_seconds: 2,
            slow_transfer_share: 0.5,
            slow_transfer_samples_min: 3,
            slow_transfer_loss_share: 0.01,
            close_after_s: 3,
        }
    }
}

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
#[derive(Clone, Copy)]
enum Range {
    AboveOne,
    AboveZero,
    Share,
    /// Counts of seconds and samples: an incident must be able to open and to close.
    UpToAnHour,
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

    const fn words(self) -> &'static str {
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
        for (key, value, range) in config.ranges() {
            if !range.has(value) {
                let line = line_of_key(text, key);
                return Err(ConfigError::Range { line, key, value, wanted: range.words() });
            }
        }
        Ok(config)
    }

    const fn ranges(&self) -> [(&'static str, f64, Range); 10] {
        [
            ("conn_rate_limit_per_s", self.conn_rate_limit_per_s, Range::AboveZero),
            ("conn_rise_factor", self.conn_rise_factor, Range::AboveOne),
            ("conn_rise_floor_per_s", self.conn_rise_floor_per_s, Range::AboveZero),
            ("flood_unresolved_share", self.flood_unresolved_share, Range::Share),
            ("flood_unresolved_share_at_limit", self.flood_unresolved_share_at_limit, Range::Share),
            ("low_window_share", self.low_window_share, Range::Share),
            ("low_window_seconds", self.low_window_seconds as f64, Range::UpToAnHour),
            ("slow_transfer_share", self.slow_transfer_share, Range::Share),
            ("slow_transfer_loss_share", self.slow_transfer_loss_share, Range::Share),
            ("close_after_s", self.close_after_s as f64, Range::UpToAnHour),
        ]
    }
}

/// The parser's error on one line; its own form is a drawing.
fn parse_error(text: &str, error: &toml::de::Error) -> ConfigError {
    let at = error.span().map_or(0, |span| span.start);
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count();
    ConfigError::Parse {
        line: line + 1,
        text: text.lines().nth(line).unwrap_or_default().trim().to_owned(),
        reason: error.message().lines().collect::<Vec<_>>().join(" "),
    }
}

/// The line that sets `key`, which is there: defaults are in range.
fn line_of_key(text: &str, key: &str) -> usize {
    let sets =
        |line: &str| line.split_once('=').is_some_and(|(name, _)| name.trim().trim_matches('"') == key);
    text.lines().position(sets).map_or(1, |index| index + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_file_is_the_default() {
        assert_eq!(Config::from_toml("").unwrap().conn_rate_limit_per_s, 500.0);
    }

    #[test]
    fn a_misspelt_key_and_an_impossible_value_are_named() {
        let misspelt = Config::from_toml("conn_rate_limit = 5").unwrap_err().to_string();
        assert!(misspelt.contains("conn_rate_limit"), "{misspelt}");
        let impossible = Config::from_toml("# ours\nlow_window_share = 2.0").unwrap_err().to_string();
        assert!(impossible.contains("line 2: low_window_share = 2"), "{impossible}");
        let wrong_type = Config::from_toml("close_after_s = \"soon\"").unwrap_err().to_string();
        assert!(wrong_type.contains("close_after_s") && wrong_type.lines().count() == 1, "{wrong_type}");
    }
}
