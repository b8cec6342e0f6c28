//! From what is kept to families of series.

use std::sync::atomic::Ordering;

use super::State;
use super::family::{Families, Kind, Number, Series};
use super::listeners::{COUNTED, Listeners, Place};
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

impl<'a> Families<'a> {
    pub(super) fn all(&mut self, state: &'a State) {
        self.about(state);
        for (count, parts) in state.sums.counts() {
            match count.label {
                None => self.counter(count.name, count.help, parts.first().map(|(_, sum)| *sum)),
                Some(label) => self.counters(count.name, count.help, label, parts),
            }
        }
        for (map, sums) in state.sums.maps() {
            let parts = sums.iter().map(|(name, sum)| (name.as_str(), *sum));
            self.counters(map.name, map.help, map.label, parts);
        }
        self.histograms(&state.histograms);
        if let Some(window) = &state.window {
            self.window(window);
        }
        self.incidents(state);
        self.listeners(&state.listeners);
        if let Some(alerts) = &state.alerts {
            self.alerts(alerts);
        }
        if let Some(otlp) = &state.otlp {
            self.otlp(otlp);
        }
    }

    /// The program, the run, and what was lost between the two.
    fn about(&mut self, state: &'a State) {
        let info = |labels| [Series { labels, number: Number::Info, since: None }];
        let version = vec![("version", env!("CARGO_PKG_VERSION").into())];
        self.add("build", "This program", Kind::Info, info(version));
        let source = state.source.as_ref().or(state.window.as_ref());
        if let Some(source) = source.map(|line| &line.json["source"]) {
            let text = |name: &str| source[name].as_str().unwrap_or_default().into();
            let labels = ["kind", "mode"].map(|name| (name, text(name)));
            self.add("source", "Where frames are counted", Kind::Info, info(labels.to_vec()));
        }
        self.gauge("run_up", "Whether the run goes on", Some(f64::from(u8::from(!state.is_over))));
        let (lost, strange) = (&state.losses.not_taken, &state.feed_losses.not_understood);
        let of = |count: &std::sync::atomic::AtomicU64| Some(count.load(Ordering::Relaxed));
        self.counter("lines_lost", "Lines of the run that came too fast to be counted here", of(lost));
        self.counter("lines_not_understood", "Lines of the run that are none of the contract's", of(strange));
        self.counter("windows", "Windows that the counters are sums of", Some(state.sums.windows));
    }

    /// The newest window.
    fn window(&mut self, window: &'a Line) {
        let end_s = window.ts_ns as f64 / 1e9;
        self.gauge("window_end_timestamp_seconds", "End of the newest window, packet time", Some(end_s));
        for level in LEVELS {
            let value = |path: &str| window.number(path).map(|number| number / level.divisor);
            match level.label {
                None => {
                    self.gauge(level.name, level.help, level.parts.first().and_then(|(_, path)| value(path)));
                }
                Some(label) => {
                    let parts = level.parts.iter();
                    let parts = parts.filter_map(|(name, path)| Some((*name, value(path)?)));
                    self.gauges(level.name, level.help, label, parts);
                }
            }
        }
        let verdict = window.json["quality"]["verdict"].as_str().unwrap_or_default();
        let is = VERDICTS.map(|name| (name, f64::from(u8::from(name == verdict))));
        self.gauges("quality", "How well the newest window was seen: 1 at its verdict", "verdict", is);
        self.round_trips(window);
    }

    /// Round trips by method.
    fn round_trips(&mut self, window: &'a Line) {
        let methods = window.json["rtt_ms"]["by_method"].as_object();
        let methods = methods.into_iter().flat_map(serde_json::Map::keys);
        let stats = methods.flat_map(|method| ["p50", "p99"].map(|stat| (method.as_str(), stat)));
        let series = stats.filter_map(|(method, stat)| {
            let ms = window.number(&format!("rtt_ms.by_method.{method}.{stat}"))?;
            let labels = [("method", method.into()), ("stat", stat.into())];
            Some(Series::of(labels, Number::Level(ms / 1e3)))
        });
        let help = "Round trips by method: quantiles of the newest window (they cannot be averaged)";
        self.add("rtt_by_method_seconds", help, Kind::Gauge, series);
    }

    fn incidents(&mut self, state: &'a State) {
        let incidents = &state.incidents;
        let help = "How often an incident opened; what comes back within a minute opens again";
        let opened = incidents.opened_by.iter().map(|(kind, count)| (kind.as_str(), *count));
        self.counters("incidents_opened", help, "kind", opened);
        let help = "Changes of incidents that there was no room for";
        self.counter("incidents_not_kept", help, Some(incidents.not_kept));
        let open = incidents.open_by.iter().map(|((kind, severity), count)| {
            let labels = [("kind", kind.into()), ("severity", severity.into())];
            Series::of(labels, Number::Count(*count))
        });
        self.add("incidents_open", "Incidents that are open", Kind::Gauge, open);
    }

    fn listeners(&mut self, listeners: &'a Listeners) {
        let places = || {
            let places = listeners.places.iter();
            places.map(|place| (place.name.as_str(), &place.counts, Some(place.since)))
        };
        let all = || places().chain([("other", &listeners.other, None)]);
        for (name, help, at) in LISTENER_SUMS {
            let series = all().map(|(listener, counts, since)| {
                let labels = [("listener", listener.into())];
                Series { since, ..Series::of(labels, Number::Count(counts[at])) }
            });
            self.add(name, help, Kind::Counter, series);
        }
        let series = all().flat_map(|(listener, counts, since)| {
            let outcomes = COUNTED.iter().zip(counts).skip(HANDSHAKES_FROM);
            outcomes.map(move |((outcome, ..), sum)| {
                let labels = [("listener", listener.into()), ("outcome", (*outcome).into())];
                Series { since, ..Series::of(labels, Number::Count(*sum)) }
            })
        });
        let help =
            "TCP handshakes with a listener that came so far; other is everything without series of its own";
        self.add("listener_handshakes", help, Kind::Counter, series);
        let level = |of: fn(&Place) -> Option<f64>| {
            let places = listeners.places.iter();
            places.filter_map(move |place| Some((place.name.as_str(), of(place)?)))
        };
        let help = "Handshakes of the newest window that were answered and not completed";
        self.gauges("listener_half_open", help, "listener", level(|place| place.half_open));
        let help = "Round trip to a listener, mean of the newest window";
        let rtt = level(|place| place.rtt_listener_ms.map(|ms| ms / 1e3));
        self.gauges("listener_rtt_seconds", help, "listener", rtt);
        let help = "Round trip to a listener's peers, mean of the newest window";
        let rtt = level(|place| place.rtt_peer_ms.map(|ms| ms / 1e3));
        self.gauges("listener_peer_rtt_seconds", help, "listener", rtt);
        let help = "How often a busier listener took another's series";
        self.counter("listeners_replaced", help, Some(listeners.replaced));
    }
}
