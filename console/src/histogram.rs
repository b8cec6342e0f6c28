//! Histograms of a line (`histograms`): round trips by method, receive windows; and sums of them over several windows.
//!
//! Of fixed size, whatever lines say: `METHODS_MAX` methods of `BOUNDS_MAX` bounds. Those with other bounds than the sum
//! has are not added: another version's, which no run has in its midst.

use std::collections::{BTreeMap, VecDeque};

use serde_json::{Map, Value, json};

use crate::line::Line;

/// Methods that are told apart; a line has seven.
const METHODS_MAX: usize = 16;
/// Bounds of a histogram.
const BOUNDS_MAX: usize = 64;
/// Which round trips the quantiles of `rtt_ms` are of.
const FIRST_METHOD: &str = "handshake_listener";

/// How many values were at most each bound and above the one before.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histogram {
    /// Upper bounds, rising, in the line's unit.
    pub le: Vec<f64>,
    /// One for each bound, and one for what is above the last.
    pub counts: Vec<u64>,
    /// Of all values, in the line's unit.
    pub sum: f64,
}

impl Histogram {
    fn of(le: &Value, object: &Value) -> Option<Self> {
        let le: Vec<f64> = le.as_array()?.iter().filter_map(Value::as_f64).collect();
        let counts: Vec<u64> = object["counts"].as_array()?.iter().filter_map(Value::as_u64).collect();
        let is_whole = counts.len() == le.len() + 1 && le.len() <= BOUNDS_MAX && le.is_sorted();
        is_whole.then(|| Self { le, counts, sum: object["sum"].as_f64().unwrap_or_default() })
    }

    /// Values.
    pub fn count(&self) -> u64 {
        self.counts.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    fn add(&mut self, other: &Self) {
        if self.counts.is_empty() {
            *self = other.clone();
        } else if self.le == other.le {
            self.counts
                .iter_mut()
                .zip(&other.counts)
                .for_each(|(own, more)| *own = own.saturating_add(*more));
            self.sum += other.sum;
        }
    }
}

/// All of a line, or of several.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histograms {
    /// Round trips by method, milliseconds.
    pub rtt_ms: BTreeMap<String, Histogram>,
    /// Receive windows of known scale, bytes; without counts where there was none.
    pub rwnd_bytes: Histogram,
}

impl Histograms {
    /// Those of a `window` or `summary` line.
    pub fn of(line: &Line) -> Self {
        let (rtt_ms, rwnd_bytes) =
            (&line.json["histograms"]["rtt_ms"], &line.json["histograms"]["rwnd_bytes"]);
        let methods = rtt_ms["by_method"].as_object().into_iter().flatten().take(METHODS_MAX);
        Self {
            rtt_ms: methods
                .filter_map(|(name, object)| Some((name.clone(), Histogram::of(&rtt_ms["le"], object)?)))
                .collect(),
            rwnd_bytes: Histogram::of(&rwnd_bytes["le"], rwnd_bytes).unwrap_or_default(),
        }
    }

    /// Adds another window's.
    pub fn add(&mut self, other: &Self) {
        for (name, histogram) in &other.rtt_ms {
            if let Some(own) = self.rtt_ms.get_mut(name) {
                own.add(histogram);
            } else if self.rtt_ms.len() < METHODS_MAX {
                self.rtt_ms.insert(name.clone(), histogram.clone());
            }
        }
        self.rwnd_bytes.add(&other.rwnd_bytes);
    }

    /// Round trips to show where there is room for those of one method: of handshakes with listeners, as quantiles are; where
    /// there were none, those that were measured most often.
    pub fn rtt(&self) -> Option<(&str, &Histogram)> {
        let first = self.rtt_ms.get_key_value(FIRST_METHOD);
        let most = || self.rtt_ms.iter().max_by_key(|(_, histogram)| histogram.count());
        first.or_else(most).map(|(name, histogram)| (name.as_str(), histogram))
    }

    /// As lines have them.
    pub fn json(&self) -> Value {
        let le = self.rtt_ms.values().next().map(|histogram| &histogram.le);
        let of_bounds = self.rtt_ms.iter().filter(|(_, histogram)| Some(&histogram.le) == le);
        let by_method: Map<String, Value> = of_bounds
            .map(|(name, Histogram { counts, sum, .. })| {
                (name.clone(), json!({ "counts": counts, "sum": sum }))
            })
            .collect();
        let Histogram { le: below, counts, sum } = &self.rwnd_bytes;
        json!({
            "rtt_ms": le.map(|le| json!({ "le": le, "by_method": by_method })),
            "rwnd_bytes": (!counts.is_empty()).then(|| json!({ "le": below, "counts": counts, "sum": sum })),
        })
    }
}

/// Windows that count as lately, and in which time.
const RECENT_MAX: usize = 60;
const RECENT_NS: i64 = 60_000_000_000;

/// The last minute's windows.
#[derive(Clone, Debug, Default)]
pub struct Recent {
    /// End and length of each, oldest first.
    windows: VecDeque<(i64, f64, Histograms)>,
}

impl Recent {
    /// Takes a window.
    pub fn take(&mut self, line: &Line) {
        if self.windows.len() == RECENT_MAX {
            self.windows.pop_front();
        }
        let window_s = line.number("window_s").unwrap_or(1.0);
        self.windows.push_back((line.ts_ns, window_s, Histograms::of(line)));
        let is_old = |(ts_ns, ..): &(i64, f64, Histograms)| line.ts_ns.saturating_sub(*ts_ns) >= RECENT_NS;
        while self.windows.front().is_some_and(is_old) {
            self.windows.pop_front();
        }
    }

    /// The sum of them.
    pub fn sum(&self) -> Histograms {
        let mut sum = Histograms::default();
        self.windows.iter().for_each(|(.., histograms)| sum.add(histograms));
        sum
    }

    /// The sum, and what it is of, for the page.
    pub fn json(&self) -> Value {
        let mut told = self.sum().json();
        told["length_s"] = json!(self.length_s());
        told
    }

    /// How long they are together, seconds.
    pub fn length_s(&self) -> f64 {
        self.windows.iter().map(|(_, window_s, _)| window_s).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(second: u32, low: u64) -> Line {
        let text = format!(
            r#"{{"ts":"1970-01-01T00:{:02}:{:02}Z","event":"window","window_s":1.0,"histograms":{{
                "rtt_ms":{{"le":[1.0,2.0],"by_method":{{"ack_peer":{{"counts":[{low},0,3],"sum":9.5}}}}}},
                "rwnd_bytes":{{"le":[10239],"counts":[{low},1],"sum":7.0}}}}}}"#,
            second / 60,
            second % 60
        );
        Line::parse(&text).unwrap()
    }

    #[test]
    fn windows_add_up() {
        let mut sum = Histograms::default();
        sum.add(&Histograms::of(&window(1, 2)));
        sum.add(&Histograms::of(&window(2, 5)));
        let (method, rtt) = sum.rtt().unwrap();
        assert_eq!((method, &rtt.counts[..], rtt.count(), rtt.sum), ("ack_peer", &[7, 0, 6][..], 13, 19.0));
        assert_eq!((&sum.rwnd_bytes.counts[..], sum.rwnd_bytes.sum), (&[7, 2][..], 14.0));
        assert_eq!(sum.json()["rtt_ms"]["by_method"]["ack_peer"]["counts"], json!([7, 0, 6]));
        let line = Line { json: json!({ "histograms": sum.json() }), ..window(1, 2) };
        assert_eq!(Histograms::of(&line), sum, "lines have them in the same form");
    }

    #[test]
    fn what_is_not_whole_or_has_other_bounds_is_not_added() {
        let mut sum = Histograms::of(&window(1, 2));
        let before = sum.clone();
        let text = window(2, 1).text;
        for (part, other) in [("[1.0,2.0]", "[1.0,3.0]"), ("[1,0,3]", "[1,3]"), (r#"[1.0,2.0]"#, "null")] {
            let line = Line::parse(&text.replace(part, other).replace("[10239]", "[10240]")).unwrap();
            sum.add(&Histograms::of(&line));
            assert_eq!(sum, before, "{other}");
        }
        let nothing = r#"{"ts":"1970-01-01T00:00:01Z","event":"window","histograms":null}"#;
        assert_eq!(Histograms::of(&Line::parse(nothing).unwrap()), Histograms::default());
    }

    #[test]
    fn lately_is_a_minute() {
        let mut recent = Recent::default();
        (1..=100).for_each(|second| recent.take(&window(second, 1)));
        assert_eq!((recent.length_s(), recent.sum().rwnd_bytes.count()), (60.0, 120));
        recent.take(&window(1_000, 1));
        assert_eq!((recent.length_s(), recent.sum().rwnd_bytes.count()), (1.0, 2));
    }
}
