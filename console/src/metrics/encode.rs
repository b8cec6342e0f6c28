//! From what is kept to what Prometheus reads, by the official crate.

use std::fmt;
use std::sync::atomic::Ordering;

use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use super::State;
use super::listeners::{COUNTED, Place};
use super::table::LEVELS;
use crate::line::Line;

/// Verdicts on how well a window was seen.
const VERDICTS: [&str; 3] = ["blind", "complete", "degraded"];

/// Listeners' counters with a name of their own: name, help, and where in [`COUNTED`].
const LISTENER_SUMS: [(&str, &str, usize); 2] = [
    ("listener_packets", "Frames to and from a listener; other is everything without series of its own", 0),
    ("listener_bytes", "Bytes to and from a listener; other is everything without series of its own", 1),
];

/// Where in [`COUNTED`] a listener's handshakes begin.
const HANDSHAKES_FROM: usize = 2;

/// One scrape.
pub(super) struct Writer<'a>(pub(super) DescriptorEncoder<'a>);

impl Writer<'_> {
    pub(super) fn all(&mut self, state: &State) -> fmt::Result {
        self.about(state)?;
        for (count, parts) in state.sums.counts() {
            match count.label {
                None => self.counter(count.name, count.help, parts.first().map(|(_, sum)| *sum))?,
                Some(label) => self.counters(count.name, count.help, label, &parts)?,
            }
        }
        for (map, sums) in state.sums.maps() {
            let parts: Vec<_> = sums.iter().map(|(name, sum)| (name.as_str(), *sum)).collect();
            self.counters(map.name, map.help, map.label, &parts)?;
        }
        self.histograms(&state.histograms)?;
        if let Some(window) = &state.window {
            self.window(window)?;
        }
        self.incidents(state)?;
        self.listeners(state)?;
        state.alerts.as_ref().map_or(Ok(()), |alerts| self.alerts(alerts))
    }

    /// The program, the run, and what was lost between the two.
    fn about(&mut self, state: &State) -> fmt::Result {
        let version = [("version", env!("CARGO_PKG_VERSION"))];
        self.family("build", "This program", MetricType::Info)?.encode_info(&version)?;
        let source = state.source.as_ref().or(state.window.as_ref());
        if let Some(source) = source.map(|line| &line.json["source"]) {
            let text = |name: &str| source[name].as_str().unwrap_or_default();
            let labels = ["kind", "mode"].map(|name| (name, text(name)));
            self.family("source", "Where frames are counted", MetricType::Info)?.encode_info(&labels)?;
        }
        self.gauge("run_up", "Whether the run goes on", Some(f64::from(u8::from(!state.is_over))))?;
        let (lost, strange) = (&state.losses.not_taken, &state.feed_losses.not_understood);
        let of = |count: &std::sync::atomic::AtomicU64| Some(count.load(Ordering::Relaxed));
        self.counter("lines_lost", "Lines of the run that came too fast to be counted here", of(lost))?;
        self.counter(
            "lines_not_understood",
            "Lines of the run that are none of the contract's",
            of(strange),
        )?;
        self.counter("windows", "Windows that the counters are sums of", Some(state.sums.windows))
    }

    /// The newest window.
    fn window(&mut self, window: &Line) -> fmt::Result {
        let end_s = window.ts_ns as f64 / 1e9;
        self.gauge("window_end_timestamp_seconds", "End of the newest window, packet time", Some(end_s))?;
        for level in LEVELS {
            let value = |path: &str| window.number(path).map(|number| number / level.divisor);
            match level.label {
                None => {
                    self.gauge(level.name, level.help, level.parts.first().and_then(|(_, path)| value(path)))?
                }
                Some(label) => {
                    let parts: Vec<_> =
                        level.parts.iter().filter_map(|(name, path)| Some((*name, value(path)?))).collect();
                    self.gauges(level.name, level.help, label, &parts)?;
                }
            }
        }
        let verdict = window.json["quality"]["verdict"].as_str().unwrap_or_default();
        let is = VERDICTS.map(|name| (name, f64::from(u8::from(name == verdict))));
        self.gauges("quality", "How well the newest window was seen: 1 at its verdict", "verdict", &is)?;
        self.round_trips(window)
    }

    /// Round trips by method.
    fn round_trips(&mut self, window: &Line) -> fmt::Result {
        let Some(methods) = window.json["rtt_ms"]["by_method"].as_object() else { return Ok(()) };
        let help = "Round trips by method: quantiles of the newest window (they cannot be averaged)";
        let mut family = self.family("rtt_by_method_seconds", help, MetricType::Gauge)?;
        for method in methods.keys() {
            for stat in ["p50", "p99"] {
                let Some(ms) = window.number(&format!("rtt_ms.by_method.{method}.{stat}")) else { continue };
                let labels = [("method", method.as_str()), ("stat", stat)];
                family.encode_family(&labels)?.encode_gauge(&(ms / 1e3))?;
            }
        }
        Ok(())
    }

    fn incidents(&mut self, state: &State) -> fmt::Result {
        let incidents = &state.incidents;
        let opened: Vec<_> =
            incidents.opened_by.iter().map(|(kind, count)| (kind.as_str(), *count)).collect();
        let help = "How often an incident opened; what comes back within a minute opens again";
        self.counters("incidents_opened", help, "kind", &opened)?;
        let help = "Changes of incidents that there was no room for";
        self.counter("incidents_not_kept", help, Some(incidents.not_kept))?;
        let mut family = self.family("incidents_open", "Incidents that are open", MetricType::Gauge)?;
        for ((kind, severity), count) in &incidents.open_by {
            let labels = [("kind", kind.as_str()), ("severity", severity.as_str())];
            family.encode_family(&labels)?.encode_gauge(count)?;
        }
        Ok(())
    }

    fn listeners(&mut self, state: &State) -> fmt::Result {
        let listeners = &state.listeners;
        let places = || listeners.places.iter().map(|place| (place.name.as_str(), &place.counts));
        let all = || places().chain([("other", &listeners.other)]);
        for (name, help, at) in LISTENER_SUMS {
            let parts: Vec<_> = all().map(|(name, counts)| (name, counts[at])).collect();
            self.counters(name, help, "listener", &parts)?;
        }
        let help =
            "TCP handshakes with a listener that came so far; other is everything without series of its own";
        let mut family = self.family("listener_handshakes", help, MetricType::Counter)?;
        for (listener, counts) in all() {
            for ((outcome, ..), sum) in COUNTED.iter().zip(counts).skip(HANDSHAKES_FROM) {
                let labels = [("listener", listener), ("outcome", *outcome)];
                counter(&mut family.encode_family(&labels)?, *sum)?;
            }
        }
        let level = |of: fn(&Place) -> Option<f64>| -> Vec<_> {
            let places = listeners.places.iter();
            places.filter_map(|place| Some((place.name.as_str(), of(place)?))).collect()
        };
        let half_open = level(|place| place.half_open);
        let help = "Handshakes of the newest window that were answered and not completed";
        self.gauges("listener_half_open", help, "listener", &half_open)?;
        let rtt = level(|place| place.rtt_listener_ms.map(|ms| ms / 1e3));
        self.gauges(
            "listener_rtt_seconds",
            "Round trip to a listener, mean of the newest window",
            "listener",
            &rtt,
        )?;
        let rtt = level(|place| place.rtt_peer_ms.map(|ms| ms / 1e3));
        let help = "Round trip to a listener's peers, mean of the newest window";
        self.gauges("listener_peer_rtt_seconds", help, "listener", &rtt)?;
        let help = "How often a busier listener took another's series";
        self.counter("listeners_replaced", help, Some(listeners.replaced))
    }

    pub(super) fn family(
        &mut self,
        name: &'static str,
        help: &str,
        kind: MetricType,
    ) -> Result<MetricEncoder<'_>, fmt::Error> {
        self.0.encode_descriptor(name, help, None, kind)
    }

    pub(super) fn counter(&mut self, name: &'static str, help: &str, sum: Option<u64>) -> fmt::Result {
        let Some(sum) = sum else { return Ok(()) };
        counter(&mut self.family(name, help, MetricType::Counter)?, sum)
    }

    pub(super) fn counters(
        &mut self,
        name: &'static str,
        help: &str,
        label: &str,
        parts: &[(&str, u64)],
    ) -> fmt::Result {
        if parts.is_empty() {
            return Ok(());
        }
        let mut family = self.family(name, help, MetricType::Counter)?;
        for (value, sum) in parts {
            counter(&mut family.encode_family(&[(label, *value)])?, *sum)?;
        }
        Ok(())
    }

    fn gauge(&mut self, name: &'static str, help: &str, value: Option<f64>) -> fmt::Result {
        let Some(value) = value else { return Ok(()) };
        self.family(name, help, MetricType::Gauge)?.encode_gauge(&value)
    }

    pub(super) fn gauges(
        &mut self,
        name: &'static str,
        help: &str,
        label: &str,
        parts: &[(&str, f64)],
    ) -> fmt::Result {
        if parts.is_empty() {
            return Ok(());
        }
        let mut family = self.family(name, help, MetricType::Gauge)?;
        for (value, number) in parts {
            family.encode_family(&[(label, *value)])?.encode_gauge(number)?;
        }
        Ok(())
    }
}

pub(super) fn counter(series: &mut MetricEncoder<'_>, sum: u64) -> fmt::Result {
    series.encode_counter::<NoLabelSet, _, u64>(&sum, None)
}
