//! The table of thresholds.

use serde::Deserialize;

use super::{Key, Range};

macro_rules! thresholds {
    ($($name:ident: $kind:ty = $default:literal, $range:ident, $text:literal;)*) => {
        /// All thresholds. Defaults are the feature model's (DESIGN: section 5) where it has them.
        #[derive(Clone, Debug, PartialEq, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct Config { $(#[doc = $text] pub $name: $kind,)* }

        impl Default for Config {
            fn default() -> Self {
                Self { $($name: $default,)* }
            }
        }

        /// All of them, in the order of the file.
        pub const KEYS: &[Key] = &[$(Key {
            name: stringify!($name),
            range: Range::$range,
            text: $text,
            default: stringify!($default),
            get: |config| config.$name as f64,
        },)*];
    };
}

thresholds! {
    conn_rate_limit_per_s: f64 = 500.0, AboveZero,
        "Healthy connection attempts per second and listener (model: 500 /s).";
    conn_rise_factor: f64 = 4.0, AboveOne,
        "A rise of this many times its baseline is a surge (model: a rise of 300 %, 4 x).";
    conn_rise_floor_per_s: f64 = 100.0, AboveZero,
        "Below this rate no rise is a surge: four connections after one are not an event.";
    flood_unresolved_share: f64 = 0.5, Share,
        "Share of matured attempts that stay without handshake, above which a high rate is a flood.";
    flood_unresolved_share_at_limit: f64 = 0.2, Share,
        "The same share where the unresolved attempts alone exceed conn_rate_limit_per_s.";
    low_window_share: f64 = 0.5, Share,
        "Share of windows below 10,000 bytes (model: < 10 K) in a second that counts as low.";
    low_window_samples_min: u64 = 20, UpToAnHour,
        "Windows of known scale in a second below which it is not judged.";
    low_window_seconds: u32 = 2, UpToAnHour,
        "Seconds in a row that open a low-window incident.";
    slow_transfer_share: f64 = 0.5, Share,
        "Share of MiB slower than 200 ms (model) that opens an incident.";
    slow_transfer_samples_min: u64 = 3, UpToAnHour,
        "MiB in ten seconds below which none is opened.";
    slow_transfer_loss_share: f64 = 0.01, Share,
        "Retransmitted or reordered share of payload segments that explains a slow transfer (model: 5 %, here 1 %: it is evidence beside the slowness, not a finding of its own).";
    close_after_s: u32 = 3, UpToAnHour,
        "Seconds without the condition before an incident closes.";
}
