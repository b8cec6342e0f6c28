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
    // Hosts that ask others, and misuse of listeners.
    scan_ports: u64 = 60, AboveZero,
        "Ports that one host asks in a minute, most of them in vain, that are a scan (Zeek: 15 in five minutes; nmap's fast scan: 100; here fewer than that, and more than any client needs).";
    scan_unanswered_share: f64 = 0.7, Share,
        "Share of the places asked that do not answer, above which somebody searches (Jung et al. 2004: a scanner's fail four times in five, others' one in five).";
    sweep_hosts: u64 = 60, AboveZero,
        "Hosts that one host asks in a minute, most of them in vain, that are a sweep (Zeek: 25 in five minutes; here a quarter of a /24).";
    sweep_scattered_factor: f64 = 4.0, AboveOne,
        "So many times sweep_hosts where they are in no network of their own: peer-to-peer nodes ask for a hundred dead ones a minute.";
    arp_sweep_hosts: u64 = 60, AboveZero,
        "Addresses that one host asks for within ten seconds that are a sweep (a quarter of a /24; a gateway asks for all of it too, over a minute or more).";
    brute_force_logins: u64 = 30, AboveZero,
        "Brief logins of one host at one listener in a minute that are guessing (fail2ban: 5 failures in ten minutes; whether a login failed is not seen, so that scripts have room).";
    brute_force_spread_logins: u64 = 300, AboveZero,
        "The same of all hosts together, where it is also conn_rise_factor times what is usual: 5 a second.";
    connection_flood_per_s: f64 = 100.0, AboveZero,
        "Completed connections per second that stay open and silent (Apache's 150 to 400 workers are gone in four seconds).";
    connection_flood_silent_share: f64 = 0.5, Share,
        "Share of the completed connections that must be silent: browsers open one in a few in advance.";
    http_flood_requests_per_s: f64 = 500.0, AboveZero,
        "Requests per second below which there is no flood (as conn_rate_limit_per_s: a page that a server makes takes milliseconds).";
    http_flood_rise_factor: f64 = 5.0, AboveOne,
        "Times the usual requests per second that are a flood (a crowd triples them; the model's 4 x is a surge).";
    http_flood_source_per_s: u64 = 8, AboveZero,
        "Connections per second of one source that are no browser's (at most 6 to a host).";
    http_flood_source_share: f64 = 0.1, Share,
        "Share of the connections that such sources, of the sixteen busiest, must have: a crowd's busiest have a hundredth.";
    slow_http_heads: u64 = 50, AboveZero,
        "Request heads that wait at a time (a third of Apache's 150 workers).";
    slow_http_wait_s: f64 = 3.0, AboveZero,
        "Mean time for which they wait (ordinary heads come in one segment, or two in one round trip; three seconds is more than a loss costs).";
    handshake_failure_share: f64 = 0.005, Share,
        "Share of attempts refused or timed out in five minutes (model: conn_timeout_ratio > 0.5 %).";
    handshake_failures: u64 = 50, AboveZero,
        "Such attempts below which the share is not judged: 0.5 % of 10,000, and one client that tries again every six seconds.";
    handshake_failures_unserved: u64 = 300, AboveZero,
        "The same where no connection was ever seen: one a second, since whoever is on the Internet is asked at closed ports.";
    close_after_s: u32 = 3, UpToAnHour,
        "Seconds without the condition before an incident closes.";
}
