//! Thresholds for one's own traffic: from captures that are taken to be benign, each with the reason for it.
//!
//! Two ways. What the captures never come near is lowered: [`MARGIN_QUIET`] times the busiest second, never below a floor,
//! and only where [`SECONDS_MIN`] seconds were seen. What is told of them although they are benign is raised until it is
//! not: [`MARGIN_TOLD`] times what was measured, or twice as much as before where the rule measures something else. The
//! caller replays with what is suggested and asks again, [`ROUNDS_MAX`] times at most; what no threshold silences is named.
//! Pure: trials in, text out.

use std::collections::BTreeMap;

use tidegauge_ebpf::histogram::Histogram;
use tidegauge_ebpf::listener::ListenerCounter;
use tidegauge_ebpf::target::TargetCounter;

use crate::backtest::Trial;
use crate::config::{Config, ConfigError, KEYS, Key, Range};
use crate::incident::{Finding, Kind};
use crate::window::Window;

/// Replays, at most: each raises what was told by a quarter or doubles it.
pub const ROUNDS_MAX: usize = 8;
/// Times what was measured of something that was told: tomorrow may be a quarter busier.
pub const MARGIN_TOLD: f64 = 1.25;
/// Times the busiest second of what was not: the model calls four times the usual a surge.
pub const MARGIN_QUIET: f64 = 4.0;
/// Seconds with traffic below which nothing is lowered: ten minutes.
pub const SECONDS_MIN: u64 = 600;
/// What a value of [`Range::UpToAnHour`] is at most.
const HOUR: f64 = 3_600.0;

/// The busiest listener's or target's value of each second with traffic.
#[derive(Clone, Debug, Default)]
pub struct Rates {
    asked: Rate,
    udp: Rate,
    icmp: Rate,
}

/// Values of one quantity.
#[derive(Clone, Debug, Default)]
struct Rate {
    values: Histogram,
    max: u64,
}

impl Rate {
    fn note(&mut self, value: u64) {
        self.values.record(u32::try_from(value).unwrap_or(u32::MAX));
        self.max = self.max.max(value);
    }

    fn merge(&mut self, other: &Self) {
        self.values.merge(&other.values);
        self.max = self.max.max(other.max);
    }
}

impl Rates {
    /// Takes a whole second.
    pub fn note(&mut self, window: &Window) {
        let asked = window.listeners.values().map(|listener| listener.get(ListenerCounter::Attempted));
        self.asked.note(asked.max().unwrap_or_default());
        for (rate, counter) in
            [(&mut self.udp, TargetCounter::UdpPackets), (&mut self.icmp, TargetCounter::IcmpPackets)]
        {
            rate.note(window.targets.values().map(|target| target.get(counter)).max().unwrap_or_default());
        }
    }

    fn merge(&mut self, other: &Self) {
        self.asked.merge(&other.asked);
        self.udp.merge(&other.udp);
        self.icmp.merge(&other.icmp);
    }
}

/// Thresholds that silence a kind when they are raised.
const fn keys_of(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::SynFlood | Kind::ConnSurge => {
            &["conn_rate_limit_per_s", "conn_rise_floor_per_s", "syn_flood_low_per_s"]
        }
        Kind::SynAckReflection => &["unasked_answers_per_s"],
        Kind::AckFlood | Kind::RstFlood | Kind::FinFlood => &["stray_flood_per_s"],
        Kind::UdpFlood => &["udp_flood_per_s"],
        Kind::UdpAmplification => &["amplification_per_s"],
        Kind::IcmpFlood => &["icmp_flood_per_s"],
        Kind::FragmentFlood => &["fragment_flood_per_s"],
        Kind::ProtocolFlood => &["protocol_flood_per_s"],
        Kind::ConnectionFlood => &["connection_flood_per_s"],
        Kind::HttpFlood => &["http_flood_requests_per_s"],
        Kind::SlowHttp => &["slow_http_heads"],
        Kind::Land => &["land_per_s"],
        Kind::BruteForce => &["brute_force_logins", "brute_force_slow_logins", "brute_force_spread_logins"],
        Kind::PortScan => &["scan_ports"],
        Kind::HostSweep => &["sweep_hosts"],
        Kind::ArpSweep => &["arp_sweep_hosts"],
        Kind::ArpSpoof => &["arp_spoof_moves", "arp_spoof_unasked"],
        Kind::HandshakeFailure => &["handshake_failures", "handshake_failures_unserved"],
        Kind::RoutingLoop => &["routing_loop_packets"],
        Kind::MtuBlackhole => &["mtu_blackhole_connections", "mtu_blackhole_repeats"],
        Kind::Loss => &["loss_share", "loss_severe_share", "loss_segments_min"],
        Kind::ZeroWindow => &["zero_window_s"],
        Kind::LowWindow => &["low_window_seconds", "low_window_samples_min"],
        Kind::HighRtt => &["high_rtt_ms", "high_rtt_far_ms"],
        Kind::SlowTransfer => &["slow_transfer_samples_min"],
        Kind::TlsFailure => &["tls_failures_min"],
        Kind::HttpErrors => &["http_5xx_min"],
        Kind::DnsFailure => &["dns_failure_min", "dns_missing_min"],
        // About ourselves, and of the host we run on: no capture has more to say of them.
        Kind::CaptureBlind | Kind::Capacity => &[],
    }
}

/// What is suggested so far.
#[derive(Clone, Debug, Default)]
pub struct Suggestions {
    /// Value and reason by key.
    values: BTreeMap<&'static str, (f64, String)>,
    /// What no threshold silences, a line each.
    unsilenced: Vec<String>,
}

fn key(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

impl Suggestions {
    /// From trials with the defaults: what can be lower.
    pub fn of(trials: &[Trial]) -> Self {
        let mut rates = Rates::default();
        trials.iter().for_each(|trial| rates.merge(&trial.rates));
        let mut suggestions = Self::default();
        // Floors: what no rise below is a surge, Junos's screen of datagrams, a tenth of its screen of ICMP.
        suggestions.lower("conn_rate_limit_per_s", &rates.asked, 100.0, "attempts/s at the busiest listener");
        suggestions.lower("udp_flood_per_s", &rates.udp, 1_000.0, "datagrams/s to the busiest host");
        suggestions.lower("icmp_flood_per_s", &rates.icmp, 100.0, "ICMP messages/s to the busiest host");
        suggestions
    }

    fn lower(&mut self, name: &'static str, rate: &Rate, floor: f64, what: &str) {
        let seconds = rate.values.count();
        let Some(key) = key(name).filter(|_| seconds >= SECONDS_MIN) else { return };
        let value = (rate.max as f64 * MARGIN_QUIET).max(floor).ceil();
        if value >= (key.get)(&Config::default()) {
            return;
        }
        let quantile = |q| rate.values.quantile(q).unwrap_or_default();
        let reason = format!(
            "{what}: p50 {}, p99 {}, max {} in {seconds} s; {MARGIN_QUIET} x the maximum, not below {floor}",
            quantile(0.5),
            quantile(0.99),
            rate.max
        );
        self.values.insert(name, (value, reason));
    }

    /// From trials with what is suggested so far: raises what was told. Whether anything was, and is to be tried again.
    pub fn raise(&mut self, trials: &[Trial], config: &Config) -> bool {
        self.unsilenced.clear();
        let mut worst = BTreeMap::<&'static str, (f64, String)>::new();
        for (trial, incident) in
            trials.iter().flat_map(|trial| trial.incidents.iter().map(move |incident| (trial, incident)))
        {
            let finding = &incident.peak;
            let mut silenced = false;
            for key in keys_of(finding.kind).iter().filter_map(|name| key(name)) {
                let Some((value, how)) = raised(key, config, finding) else { continue };
                silenced = true;
                let reason = format!(
                    "{} at {} was told of {}: {:.6} {} against {:.6} ({}); {how}",
                    finding.kind.name(),
                    incident.target,
                    trial.capture,
                    finding.measured,
                    finding.unit,
                    finding.limit,
                    finding.rule
                );
                let entry = worst.entry(key.name).or_default();
                if value > entry.0 {
                    *entry = (value, reason);
                }
            }
            if !silenced {
                self.unsilenced.push(format!(
                    "{} at {} of {}",
                    finding.kind.name(),
                    incident.target,
                    trial.capture
                ));
            }
        }
        let any = !worst.is_empty();
        self.values.extend(worst);
        any
    }

    /// Rounds are over and something is still told.
    pub fn give_up(&mut self) {
        let still =
            format!("all that is told of these captures within {ROUNDS_MAX} rounds: are they benign?");
        self.unsilenced.push(still);
    }

    /// What no threshold silences.
    pub fn unsilenced(&self) -> &[String] {
        &self.unsilenced
    }

    /// How many thresholds are suggested.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether the defaults are right.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// As a configuration.
    ///
    /// # Errors
    /// Where a value is out of range, which is a mistake here.
    pub fn config(&self) -> Result<Config, ConfigError> {
        Config::from_toml(&self.toml(""))
    }

    /// As a file: `about` is its first lines, comments.
    pub fn toml(&self, about: &str) -> String {
        let mut text = about.to_owned();
        for told in &self.unsilenced {
            text.push_str(&format!("# No threshold silences {}.\n", one_line(told)));
        }
        for (name, (value, reason)) in &self.values {
            let Some(key) = key(name) else { continue };
            let value = written(key, *value);
            text.push_str(&format!("\n# {}\n{name} = {value} # default {}\n", one_line(reason), key.default));
        }
        text
    }
}

/// A value that silences a finding, or comes nearer to it, and how it was found; `None` where there is none.
fn raised(key: &Key, config: &Config, finding: &Finding) -> Option<(f64, String)> {
    let now = (key.get)(config);
    let most = match key.range {
        Range::Share => 1.0,
        Range::UpToAnHour => HOUR,
        Range::AboveOne | Range::AboveZero => f64::MAX,
    };
    // A rule that compares with this threshold, or measures what it bounds, says by how much it is passed.
    let is_rate = key.name.ends_with("per_s") && finding.unit.ends_with("/s");
    let measured = (finding.limit == now || is_rate) && finding.measured >= now;
    let (wanted, how) = if measured {
        (finding.measured * MARGIN_TOLD, format!("{MARGIN_TOLD} x what was measured"))
    } else {
        (now * 2.0, format!("twice the {now} with which it was told"))
    };
    let value = if key.default.contains('.') { round(wanted) } else { wanted.ceil() }.min(most);
    (value > now).then_some((value, how))
}

/// To four digits, upwards: a threshold is no measurement.
fn round(value: f64) -> f64 {
    let step = 10_f64.powf(value.log10().floor() - 3.0);
    let rounded = (value / step).ceil() * step;
    // Decimal fractions as they are written.
    format!("{rounded:.9}").parse().unwrap_or(rounded)
}

/// As TOML writes it: numbers that are whole by their kind have no point.
fn written(key: &Key, value: f64) -> String {
    if key.default.contains('.') { format!("{value:?}") } else { format!("{value:.0}") }
}

/// Names of files may be anything.
fn one_line(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { '?' } else { letter }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::incident::{Incident, Severity, Target};
    use crate::quality::Interval;

    fn told(kind: Kind, measured: f64, limit: f64) -> Trial {
        let finding = Finding { measured, limit, unit: "x/s", ..Finding::bare(kind, Severity::P3) };
        let incident = Incident::open(1, Target::Capture, finding, 1, Interval::default());
        Trial { capture: "a\nb.pcap".to_owned(), incidents: vec![incident], ..Trial::default() }
    }

    #[test]
    fn what_is_told_is_raised_until_it_is_not_and_the_file_is_right() {
        let mut suggestions = Suggestions::default();
        let trials = [told(Kind::ConnSurge, 3_210.0, 500.0), told(Kind::Loss, 0.9, 0.05)];
        assert!(suggestions.raise(&trials, &Config::default()));
        let config = suggestions.config().expect("in range");
        assert_eq!((config.conn_rate_limit_per_s, config.conn_rise_floor_per_s), (4_013.0, 4_013.0));
        assert_eq!((config.loss_share, config.loss_severe_share), (1.0, 0.4));
        let text = suggestions.toml("# About.\n");
        assert!(text.contains("3210") && text.contains("a?b.pcap") && !text.contains("a\nb"), "{text}");
        assert!(!suggestions.raise(&[], &config));
    }

    #[test]
    fn what_no_threshold_silences_is_named() {
        let mut suggestions = Suggestions::default();
        assert!(!suggestions.raise(&[told(Kind::CaptureBlind, 5.0, 3.0)], &Config::default()));
        assert_eq!(suggestions.unsilenced().len(), 1);
        assert!(suggestions.toml("").contains("# No threshold silences capture_blind"));
    }

    #[test]
    fn quiet_traffic_lowers_limits_once_enough_was_seen() {
        let mut trial = Trial::default();
        (0..SECONDS_MIN - 1).for_each(|_| trial.rates.asked.note(30));
        assert!(Suggestions::of(std::slice::from_ref(&trial)).is_empty());
        trial.rates.asked.note(60);
        let suggestions = Suggestions::of(&[trial]);
        assert_eq!(suggestions.config().expect("in range").conn_rate_limit_per_s, 240.0);
        assert!(suggestions.toml("").contains("max 60 in 600 s"), "{}", suggestions.toml(""));
    }
}
