//! The model's table: each feature with its layer, and where it is healthy and where anomalous.

use serde_json::{Map, Value, json};
use tidegauge_ebpf::limits::{RWND_LOW_BYTES, TRANSFER_SLOW_MS};
use tidegauge_ebpf::listener::ListenerCounter;

use crate::cause::Layer;
use crate::config::Config;
use crate::fact::Fact;
use crate::feature::ratio;
use crate::window::ListenerWindow;

macro_rules! features {
    ($($(#[doc = $doc:literal])* $variant:ident = $text:literal,)*) => {
        /// A feature. Names end in their unit, ratios are 0 to 1.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Feature { $($(#[doc = $doc])* $variant,)* }

        impl Feature {
            /// All of them, in the order of the output.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The contract's name.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }
    };
}

features! {
    /// Attempts per second.
    ConnRate = "conn_rate",
    /// The same, usually: the median of the last two minutes.
    ConnRateUsual = "conn_rate_usual",
    /// Mean time for a MiB, milliseconds, of those of the last ten seconds.
    Transfer1mibMs = "transfer_1mib_ms",
    /// Median of the receive windows of the last second, bytes.
    RwndBytes = "rwnd_bytes",
    /// Payload segments sent again or overtaken, of all, over five seconds.
    LossRatio = "loss_ratio",
    /// Mean time from echo request to reply, over ten seconds.
    IcmpRttMs = "icmp_rtt_ms",
    /// Responses with status 5xx, over a minute.
    Http5xxRatio = "http_5xx_ratio",
    /// Attempts that timed out, over five minutes, without those too young to tell.
    ConnTimeoutRatio = "conn_timeout_ratio",
    /// Frames that the source lost, of those offered, in the last second.
    FramesLostRatio = "frames_lost_ratio",
    /// Open connections as a share of capacity.
    TcpConnections = "tcp_connections",
    /// Share of free memory in small pieces.
    MemFragmentation = "mem_fragmentation",
    /// Share of the attempts of the last 24 hours (or of the run, if shorter) that completed.
    ConnSuccess24h = "conn_success_24h",
    /// Loss ratio of the last minute less that of the minute five minutes before.
    LossSlope5m = "loss_slope_5m",
    /// Shannon entropy of protocol versions in the last second, bits.
    VersionEntropy = "version_entropy",
}

const COUNT: usize = Feature::ALL.len();

/// Samples below which a ratio or a median is unknown: one of them would be more than any limit.
pub const SAMPLES_MIN: u64 = 20;
/// Seconds after which an attempt has timed out: shorter intervals cannot tell.
const TIMEOUT_S: f64 = 3.0;
/// Of what is lost at the source, the share that makes a second blind (as [`crate::quality::BLIND_SHARE`]).
const FRAMES_LOST_ANOMALOUS: f64 = crate::quality::BLIND_SHARE;
/// The model's shares of capacity and of memory in pieces.
const CONNECTIONS_ANOMALOUS: f64 = 0.8;
const FRAGMENTATION_ANOMALOUS: f64 = 0.15;

impl Feature {
    /// The layer whose health it tells; `None`: of inputs of the forecast alone.
    pub const fn layer(self) -> Option<Layer> {
        Some(match self {
            Self::FramesLostRatio => Layer::Link,
            Self::LossRatio | Self::IcmpRttMs => Layer::Network,
            Self::ConnRate | Self::Transfer1mibMs | Self::RwndBytes | Self::ConnTimeoutRatio => {
                Layer::Transport
            }
            Self::Http5xxRatio => Layer::Application,
            Self::TcpConnections | Self::MemFragmentation => Layer::Resource,
            Self::ConnRateUsual | Self::ConnSuccess24h | Self::LossSlope5m | Self::VersionEntropy => {
                return None;
            }
        })
    }

    /// Where it is healthy and where anomalous, by the model's table and the configuration. Where the table has no healthy
    /// value, it is the best there is: none lost, no time, nothing used.
    fn span(self, config: &Config) -> Option<(f64, f64)> {
        Some(match self {
            Self::Transfer1mibMs => (15.0, f64::from(TRANSFER_SLOW_MS)),
            Self::RwndBytes => (58_000.0, f64::from(RWND_LOW_BYTES)),
            Self::LossRatio => (0.0, config.loss_share),
            Self::IcmpRttMs => (0.0, config.high_rtt_ms),
            Self::Http5xxRatio => (0.0, config.http_5xx_share),
            Self::ConnTimeoutRatio => (0.0, config.handshake_failure_share),
            Self::FramesLostRatio => (0.0, FRAMES_LOST_ANOMALOUS),
            Self::TcpConnections => (0.0, CONNECTIONS_ANOMALOUS),
            Self::MemFragmentation => (0.0, FRAGMENTATION_ANOMALOUS),
            Self::ConnRate
            | Self::ConnRateUsual
            | Self::ConnSuccess24h
            | Self::LossSlope5m
            | Self::VersionEntropy => return None,
        })
    }
}

/// Values of all features; `None`: unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Features([Option<f64>; COUNT]);

impl Features {
    /// Sets one; what is no number is unknown.
    pub const fn set(&mut self, feature: Feature, value: Option<f64>) {
        self.0[feature as usize] = match value {
            Some(value) if value.is_finite() => Some(value),
            _ => None,
        };
    }

    /// One's value.
    pub const fn get(&self, feature: Feature) -> Option<f64> {
        self.0[feature as usize]
    }

    /// How far one is from healthy (0) to anomalous (1), linearly; `None`: unknown, or no such scale.
    pub fn badness(&self, config: &Config, feature: Feature) -> Option<f64> {
        let value = self.get(feature)?;
        if feature == Feature::ConnRate {
            return Some(self.rise(config, value));
        }
        let (healthy, anomalous) = feature.span(config)?;
        Some(((value - healthy) / (anomalous - healthy)).clamp(0.0, 1.0))
    }

    /// Attempts are anomalous by their rise over what is usual; below a floor never, and without a usual rate by the
    /// limit for one.
    fn rise(&self, config: &Config, rate: f64) -> f64 {
        if rate <= config.conn_rise_floor_per_s {
            return 0.0;
        }
        let usual = self.get(Feature::ConnRateUsual).filter(|usual| *usual > 0.0);
        let usual = usual.unwrap_or(config.conn_rate_limit_per_s);
        ((rate / usual - 1.0) / (config.conn_rise_factor - 1.0)).clamp(0.0, 1.0)
    }

    /// The features of one listener, or of a host's listeners together, over an interval; what is told by whole packets
    /// alone only where the source has them.
    pub fn of_listener(listener: &ListenerWindow, window_s: f64, whole_packets: bool) -> Self {
        let count = |counter| listener.get(counter);
        let mut features = Self::default();
        features.set(Feature::ConnRate, Some(count(ListenerCounter::Attempted) as f64 / window_s));
        let transfer_us = ratio(count(ListenerCounter::TransfersUs), count(ListenerCounter::Transfers));
        features.set(Feature::Transfer1mibMs, transfer_us.map(|us| us / 1_000.0));
        features.set(Feature::RwndBytes, median_window(listener));
        let again = count(ListenerCounter::RetransmitOrReordered);
        features.set(Feature::LossRatio, ratio_of_many(again, count(ListenerCounter::PayloadSegments)));
        let resolved = [
            ListenerCounter::Completed,
            ListenerCounter::CompletedOneSided,
            ListenerCounter::Refused,
            ListenerCounter::Aborted,
        ];
        let resolved: u64 = resolved.map(count).iter().sum();
        if window_s > TIMEOUT_S && resolved != 0 {
            // What is under way at the interval's end is one second's at most of what came in it.
            let asked = count(ListenerCounter::Attempted);
            let young = (asked as f64 / window_s) as u64;
            let lost = asked.saturating_sub(resolved).saturating_sub(young);
            features.set(Feature::ConnTimeoutRatio, ratio_of_many(lost, asked));
        }
        if whole_packets {
            let errors = listener.fact(Fact::ServerError);
            features.set(Feature::Http5xxRatio, ratio_of_many(errors, listener.fact(Fact::Response)));
        }
        features
    }

    /// The object `features` of a listener or host: what there is of it.
    pub fn json_of_place(&self) -> Value {
        const OF_PLACE: [Feature; 6] = [
            Feature::ConnRate,
            Feature::Transfer1mibMs,
            Feature::RwndBytes,
            Feature::LossRatio,
            Feature::Http5xxRatio,
            Feature::ConnTimeoutRatio,
        ];
        let fields = OF_PLACE.iter().map(|feature| (feature.name().to_owned(), json!(self.get(*feature))));
        Value::Object(fields.collect::<Map<_, _>>())
    }

    /// The object `features`.
    pub fn json(&self) -> Value {
        let fields =
            Feature::ALL.iter().map(|feature| (feature.name().to_owned(), json!(self.get(*feature))));
        Value::Object(fields.collect::<Map<_, _>>())
    }
}

/// `part / whole`; `None` where the whole is too little to tell.
pub fn ratio_of_many(part: u64, whole: u64) -> Option<f64> {
    ratio(part, whole).filter(|_| whole >= SAMPLES_MIN)
}

/// The median of the windows of known scale, by the largest value of its octave: in doubt a window is large.
fn median_window(listener: &ListenerWindow) -> Option<f64> {
    let all: u64 = listener.rwnd_octaves.iter().sum();
    if all < SAMPLES_MIN {
        return None;
    }
    let mut rest = all.div_ceil(2);
    let place = listener.rwnd_octaves.iter().position(|count| {
        let reached = rest != 0 && *count >= rest;
        rest = rest.saturating_sub(*count);
        reached
    })?;
    Some(((1_u64 << (place + 1)) - 1) as f64)
}
