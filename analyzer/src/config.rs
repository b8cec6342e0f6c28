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
    /// A MiB slower than this counts as slow (model: 200 ms); fixed in the packet logic, quoted here.
    #[serde(skip)]
    pub transfer_slow_ms: f64,
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
            transfer_slow_ms: 200.0,
            slow_transfer_share: 0.5,
            slow_transfer_samples_min: 3,
            slow_transfer_loss_share: 0.01,
            close_after_s: 3,
        }
    }
}

/// What is wrong with a configuration.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// Not TOML, or not our keys.
    #[error("{0}")]
    Parse(#[from] toml::de::Error),
    /// A value outside its range.
    #[error("{key} = {value} is out of range: it must be {wanted}")]
    Range {
        /// Which key.
        key: &'static str,
        /// Its value.
        value: f64,
        /// The range in words.
        wanted: &'static str,
    },
}

impl Config {
    /// Reads and checks a TOML text.
    ///
    /// # Errors
    /// With the line and the reason.
    pub fn from_toml(text: &str) -> Result<Self, ConfigError> {
        let config: Self = toml::from_str(text)?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), ConfigError> {
        let rates = [
            ("conn_rate_limit_per_s", self.conn_rate_limit_per_s),
            ("conn_rise_floor_per_s", self.conn_rise_floor_per_s),
        ];
        for (key, value) in rates {
            if !(value.is_finite() && value > 0.0) {
                return Err(ConfigError::Range { key, value, wanted: "above 0" });
            }
        }
        if !(self.conn_rise_factor.is_finite() && self.conn_rise_factor > 1.0) {
            return Err(ConfigError::Range {
                key: "conn_rise_factor",
                value: self.conn_rise_factor,
                wanted: "above 1",
            });
        }
        let shares = [
            ("flood_unresolved_share", self.flood_unresolved_share),
            ("flood_unresolved_share_at_limit", self.flood_unresolved_share_at_limit),
            ("low_window_share", self.low_window_share),
            ("slow_transfer_share", self.slow_transfer_share),
            ("slow_transfer_loss_share", self.slow_transfer_loss_share),
        ];
        for (key, value) in shares {
            if !(value > 0.0 && value <= 1.0) {
                return Err(ConfigError::Range { key, value, wanted: "above 0 and at most 1" });
            }
        }
        Ok(())
    }
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
        let impossible = Config::from_toml("low_window_share = 2.0").unwrap_err().to_string();
        assert!(impossible.contains("low_window_share = 2"), "{impossible}");
    }
}
