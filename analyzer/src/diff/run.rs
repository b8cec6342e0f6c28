//! One side of a diff: what is kept of the JSON lines of a run, or of an interval of it.
//!
//! Reads `window`, `flow` and `incident` lines, whether they come from a saved run or from a replay; all other lines say
//! nothing here. What a line does not have is unknown, and what is no such line is counted. Bounded by
//! [`super::series::SAMPLES_MAX`] and [`LISTENERS_MAX`], however long the run.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::metric::{FLOW, FlowMeasure, LISTENER, Measure, Metric, WINDOW};
use super::series::Series;
use crate::flow_record::FlowRecord;
use crate::output::json::WINDOW_LISTENERS;
use crate::time::parse_timestamp;

/// Listeners kept; when there are more, the half with fewest bytes goes, and is counted.
pub const LISTENERS_MAX: usize = 128;
/// Kinds of incidents kept: all that there are, and room for those of later versions.
const KINDS_MAX: usize = 64;
/// Incidents of a kind told apart by their ids; more are counted as they come.
const INCIDENTS_MAX: usize = 4_096;

const SECOND_NS: u64 = 1_000_000_000;

/// One end of an interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bound {
    /// Seconds from the first whole second of the run.
    Seconds(f64),
    /// Nanoseconds since the epoch.
    Time(u64),
}

/// The part of a run that is looked at, `from..to`; `None` is its beginning or end.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Interval {
    /// First second.
    pub from: Option<Bound>,
    /// First one behind it.
    pub to: Option<Bound>,
}

impl Interval {
    fn has(&self, ns: u64, origin_ns: u64) -> bool {
        let at = |bound: Bound| match bound {
            Bound::Time(ns) => ns,
            // Saturating: beyond the end of time is after everything.
            Bound::Seconds(seconds) => origin_ns.saturating_add((seconds * SECOND_NS as f64) as u64),
        };
        self.from.is_none_or(|from| ns >= at(from)) && self.to.is_none_or(|to| ns < at(to))
    }
}

/// Series by name.
pub(super) type AllSeries = BTreeMap<&'static str, Series>;

/// One listener of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct ListenerSeries {
    /// All its bytes, as far as windows told of it.
    pub(super) bytes: f64,
    /// By [`LISTENER`].
    pub(super) series: AllSeries,
}

/// Incidents of one kind.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Incidents {
    /// How many opened.
    pub(super) opened: u64,
    ids: BTreeSet<String>,
}

/// A run, as far as a diff needs it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunSummary {
    /// What it is called.
    pub name: String,
    interval: Interval,
    /// The whole second of the run's first line, nanoseconds; seconds of an interval count from it.
    origin_ns: Option<u64>,
    /// Beginning and end of the windows that were looked at.
    pub span_ns: Option<(u64, u64)>,
    /// Length of its windows, seconds.
    pub window_s: Option<f64>,
    /// Windows looked at.
    pub windows: u64,
    /// Of these, those not seen completely, by the word of their quality.
    pub degraded_windows: u64,
    /// Windows of another length than the others: not looked at.
    pub windows_skipped: u64,
    /// Packets in them.
    pub packets: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// Connections looked at.
    pub flows: u64,
    /// Lines that should be one of these, and are not.
    pub unreadable: u64,
    /// By [`WINDOW`] and [`FLOW`].
    pub(super) series: AllSeries,
    /// By `address:port`.
    pub(super) listeners: BTreeMap<String, ListenerSeries>,
    /// Listeners that no longer fit.
    pub listeners_forgotten: u64,
    /// By kind.
    pub(super) incidents: BTreeMap<String, Incidents>,
    /// The newest window: whether it is the last one, and cut, is seen when the next one comes.
    pending: Option<Box<Value>>,
    /// Whole windows so far, idle ones among them.
    whole_windows: u64,
    /// Place of the last window on the clock, in windows.
    last_place: Option<u64>,
    /// A window was taken: the next one is not the first.
    begun: bool,
}

impl RunSummary {
    /// A run of which nothing was read yet.
    pub fn new(name: String, interval: Interval) -> Self {
        Self { name, interval, ..Self::default() }
    }

    /// Whether a line is of the part of the run that is looked at: a window or an incident that begins in it; what is told of
    /// the whole run where that is looked at.
    pub fn looks_at(&self, line: &Value) -> bool {
        match begin_ns(line) {
            Some(ns) => self.interval.has(ns, self.origin_ns.unwrap_or(ns / SECOND_NS * SECOND_NS)),
            None => self.interval == Interval::default(),
        }
    }

    /// Takes a line.
    pub fn take(&mut self, line: Value) {
        if let Some(ns) = begin_ns(&line) {
            self.origin_ns.get_or_insert(ns / SECOND_NS * SECOND_NS);
        }
        match line.get("event").and_then(Value::as_str) {
            Some("window") => {
                if let Some(before) = self.pending.replace(Box::new(line)) {
                    let next_s = self.pending.as_ref().and_then(|next| number(next, "/window_s"));
                    self.window_s = self.window_s.or(next_s);
                    self.window(&before, !self.begun);
                    self.begun = true;
                }
            }
            Some("flow") => self.flow(&line),
            Some("incident") => self.incident(&line),
            Some(_) => {}
            None => self.unreadable += 1,
        }
    }

    /// Something that is no line of a run.
    pub const fn note_unreadable(&mut self) {
        self.unreadable += 1;
    }

    /// The end of the run.
    pub fn finish(&mut self) {
        if let Some(last) = self.pending.take() {
            self.window_s = self.window_s.or_else(|| number(&last, "/window_s"));
            // The last second ends with the last packet: no rate, as in the first one.
            self.window(&last, true);
        }
    }

    /// Seconds between beginning and end.
    pub fn length_s(&self) -> f64 {
        self.span_ns.map_or(0.0, |(start, end)| end.saturating_sub(start) as f64 / SECOND_NS as f64)
    }

    fn is_looked_at(&mut self, ns: u64) -> bool {
        let origin_ns = *self.origin_ns.get_or_insert(ns / SECOND_NS * SECOND_NS);
        self.interval.has(ns, origin_ns)
    }

    fn window(&mut self, line: &Value, is_cut: bool) {
        let (Some(start_ns), Some(end_ns), Some(window_s)) = (
            time(line, "start_ts"),
            time(line, "ts"),
            number(line, "/window_s").filter(|length| *length > 0.0),
        ) else {
            self.unreadable += 1;
            return;
        };
        if !self.is_looked_at(start_ns) {
            return;
        }
        if self.window_s != Some(window_s) {
            self.windows_skipped += 1;
            return;
        }
        self.windows += 1;
        let (start, end) = self.span_ns.unwrap_or((start_ns, end_ns));
        self.span_ns = Some((start.min(start_ns), end.max(end_ns)));
        let count = |name: &str| line.get(name).and_then(Value::as_u64).unwrap_or_default();
        self.packets = self.packets.saturating_add(count("packets"));
        self.bytes = self.bytes.saturating_add(count("bytes"));
        let seen = line.pointer("/quality/verdict").and_then(Value::as_str);
        self.degraded_windows += u64::from(seen.is_some_and(|verdict| verdict != "complete"));

        let idle = self.idle_before(start_ns, window_s);
        let times = Times { idle, whole: !is_cut, before: self.whole_windows, window_s };
        WINDOW.iter().for_each(|metric| take(&mut self.series, metric, line, &times));
        self.listeners(line, &times);
        self.whole_windows = self.whole_windows.saturating_add(idle).saturating_add(times.whole.into());
    }

    /// Windows without a packet between the last one and this one: files do not tell them.
    fn idle_before(&mut self, start_ns: u64, window_s: f64) -> u64 {
        let place = (start_ns as f64 / (window_s * SECOND_NS as f64)) as u64;
        let last = self.last_place.replace(place);
        last.map_or(0, |last| place.saturating_sub(last).saturating_sub(1))
    }

    fn listeners(&mut self, line: &Value, times: &Times) {
        let none = Vec::new();
        let named = line.get("listeners").and_then(Value::as_array).unwrap_or(&none);
        let mut seen = BTreeSet::new();
        for listener in named.iter().take(WINDOW_LISTENERS) {
            let Some(name) = listener_name(listener) else {
                self.unreadable += 1;
                continue;
            };
            let known = self.listeners.entry(name.clone()).or_default();
            known.bytes += number(listener, "/bytes").unwrap_or_default();
            LISTENER.iter().for_each(|metric| take(&mut known.series, metric, listener, times));
            seen.insert(name);
        }
        // A window that names fewer than it may names all that had traffic.
        let silent = times.idle + u64::from(times.whole && named.len() < WINDOW_LISTENERS);
        if silent != 0 {
            for (_, known) in self.listeners.iter_mut().filter(|(name, _)| !seen.contains(*name)) {
                known.series.values_mut().for_each(|series| series.add_rate(0.0, silent));
            }
        }
        self.trim_listeners();
    }

    fn trim_listeners(&mut self) {
        if self.listeners.len() <= LISTENERS_MAX {
            return;
        }
        let mut bytes: Vec<_> = self.listeners.values().map(|listener| listener.bytes).collect();
        let (_, middle, _) = bytes.select_nth_unstable_by(LISTENERS_MAX / 2, f64::total_cmp);
        let (least, before) = (*middle, self.listeners.len());
        self.listeners.retain(|_, listener| listener.bytes > least);
        self.listeners_forgotten += (before - self.listeners.len()) as u64;
    }

    fn flow(&mut self, line: &Value) {
        let Ok(flow) = FlowRecord::from_json(line) else {
            self.unreadable += 1;
            return;
        };
        if !self.is_looked_at(flow.first_ns) {
            return;
        }
        self.flows += 1;
        for metric in FLOW {
            match metric.measure {
                FlowMeasure::Value(get) => {
                    if let Some(value) = get(&flow).filter(|value| value.is_finite()) {
                        values(&mut self.series, metric.name).add_value(value);
                    }
                }
                FlowMeasure::Share(get) => {
                    if let Some(is) = get(&flow) {
                        shares(&mut self.series, metric.name).add_share(f64::from(u8::from(is)), 1.0);
                    }
                }
            }
        }
    }

    fn incident(&mut self, line: &Value) {
        let word = |name: &str| line.get(name).and_then(Value::as_str);
        let (Some(kind), Some(id), Some(opened_ns)) = (word("kind"), word("id"), time(line, "opened_ts"))
        else {
            self.unreadable += 1;
            return;
        };
        let has_room = self.incidents.len() < KINDS_MAX || self.incidents.contains_key(kind);
        if !self.is_looked_at(opened_ns) || !has_room {
            return;
        }
        let known = self.incidents.entry(kind.to_owned()).or_default();
        let is_new = if known.ids.len() < INCIDENTS_MAX {
            known.ids.insert(id.to_owned())
        } else {
            word("state") == Some("opened")
        };
        known.opened += u64::from(is_new);
    }
}

/// What a window is among the others.
struct Times {
    /// Windows without a packet before it.
    idle: u64,
    /// It is neither the first nor the last of the run, which may be cut.
    whole: bool,
    /// Whole windows before these.
    before: u64,
    window_s: f64,
}

fn take(all: &mut AllSeries, metric: &Metric, line: &Value, times: &Times) {
    match metric.measure {
        Measure::Rate(pointer) => {
            if let Some(count) = number(line, pointer) {
                let series = all.entry(metric.name).or_insert_with(|| Series::rate(times.before));
                series.add_rate(0.0, times.idle);
                series.add_rate(count / times.window_s, times.whole.into());
            }
        }
        Measure::Value(pointer) => {
            if let Some(value) = number(line, pointer) {
                values(all, metric.name).add_value(value);
            }
        }
        Measure::Share(part, whole) => {
            if let (Some(part), Some(whole)) =
                (number(line, part), number(line, whole).filter(|whole| *whole > 0.0))
            {
                shares(all, metric.name).add_share(part, whole);
            }
        }
    }
}

fn values<'a>(all: &'a mut AllSeries, name: &'static str) -> &'a mut Series {
    all.entry(name).or_insert_with(|| Series::Values(Default::default()))
}

fn shares<'a>(all: &'a mut AllSeries, name: &'static str) -> &'a mut Series {
    all.entry(name).or_insert_with(|| Series::Shares(Default::default()))
}

/// A number that is at least 0: all that are compared are.
fn number(line: &Value, pointer: &str) -> Option<f64> {
    line.pointer(pointer)?.as_f64().filter(|number| number.is_finite() && *number >= 0.0)
}

/// When a window or an incident begins.
fn begin_ns(line: &Value) -> Option<u64> {
    match line.get("event")?.as_str()? {
        "window" => time(line, "start_ts"),
        "incident" => time(line, "opened_ts"),
        _ => None,
    }
}

fn time(line: &Value, name: &str) -> Option<u64> {
    parse_timestamp(line.get(name)?.as_str()?)
}

/// `address:port` of a listener's object.
fn listener_name(listener: &Value) -> Option<String> {
    let target = listener.get("target")?;
    let address: std::net::IpAddr = target.get("addr")?.as_str()?.parse().ok()?;
    let port = u16::try_from(target.get("port")?.as_u64()?).ok()?;
    Some(std::net::SocketAddr::new(address, port).to_string())
}
