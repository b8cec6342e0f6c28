//! What is exported, whoever reads it and in which form: families of series, borrowed from what is kept.

use std::borrow::Cow;
use std::time::{SystemTime, UNIX_EPOCH};

use super::State;
use super::table::NS_PER_S;
use crate::histogram::Histogram;

/// When something began to count: the time at which it is made, by the clock of this host.
#[derive(Clone, Copy, Debug)]
pub(super) struct Since(SystemTime);

impl Default for Since {
    fn default() -> Self {
        Self(SystemTime::now())
    }
}

impl Since {
    /// Nanoseconds since 1970.
    pub(super) fn ns(self) -> u128 {
        self.0.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos()
    }
}

/// What a family's numbers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
    /// Always 1: what it says is in its labels.
    Info,
}

/// One number, or what stands for it.
#[derive(Debug)]
pub(super) enum Number<'a> {
    /// Of a counter, or of a gauge of whole things.
    Count(u64),
    Level(f64),
    /// With what its bounds and sum are divided by.
    Histogram(&'a Histogram, f64),
    Info,
}

/// A series of a family, now.
#[derive(Debug)]
pub(super) struct Series<'a> {
    pub(super) labels: Vec<(&'static str, Cow<'a, str>)>,
    pub(super) number: Number<'a>,
    /// When it began to count, if that was not when the run began.
    pub(super) since: Option<Since>,
}

/// All series of one name.
#[derive(Debug)]
pub(super) struct Family<'a> {
    /// Without the program's name before it and the kind's suffix behind it.
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) kind: Kind,
    pub(super) series: Vec<Series<'a>>,
}

/// All families of a moment, in the order in which they are written.
#[derive(Debug, Default)]
pub(super) struct Families<'a>(pub(super) Vec<Family<'a>>);

impl<'a> Families<'a> {
    /// All that is known.
    pub(super) fn of(state: &'a State) -> Self {
        let mut families = Self::default();
        families.all(state);
        families
    }

    /// A family; of no series there is none.
    pub(super) fn add(
        &mut self,
        name: &'static str,
        help: &'static str,
        kind: Kind,
        series: impl IntoIterator<Item = Series<'a>>,
    ) {
        let series: Vec<_> = series.into_iter().collect();
        if !series.is_empty() {
            self.0.push(Family { name, help, kind, series });
        }
    }

    pub(super) fn counter(&mut self, name: &'static str, help: &'static str, sum: Option<u64>) {
        self.add(name, help, Kind::Counter, sum.map(|sum| Series::of([], Number::Count(sum))));
    }

    /// A counter with a label.
    pub(super) fn counters(
        &mut self,
        name: &'static str,
        help: &'static str,
        label: &'static str,
        parts: impl IntoIterator<Item = (impl Into<Cow<'a, str>>, u64)>,
    ) {
        let parts = parts.into_iter();
        let series = parts.map(|(value, sum)| Series::of([(label, value.into())], Number::Count(sum)));
        self.add(name, help, Kind::Counter, series);
    }

    pub(super) fn gauge(&mut self, name: &'static str, help: &'static str, level: Option<f64>) {
        self.add(name, help, Kind::Gauge, level.map(|level| Series::of([], Number::Level(level))));
    }

    /// A gauge with a label.
    pub(super) fn gauges(
        &mut self,
        name: &'static str,
        help: &'static str,
        label: &'static str,
        parts: impl IntoIterator<Item = (impl Into<Cow<'a, str>>, f64)>,
    ) {
        let parts = parts.into_iter();
        let series = parts.map(|(value, level)| Series::of([(label, value.into())], Number::Level(level)));
        self.add(name, help, Kind::Gauge, series);
    }
}

impl<'a> Series<'a> {
    /// One that began with the run.
    pub(super) fn of<const LABELS: usize>(
        labels: [(&'static str, Cow<'a, str>); LABELS],
        number: Number<'a>,
    ) -> Self {
        Self { labels: labels.to_vec(), number, since: None }
    }
}

/// Upper bounds, divided into base units: whole nanoseconds, so that no bound is one that nobody would write.
pub(super) fn bounds(histogram: &Histogram, divisor: f64) -> impl Iterator<Item = f64> {
    histogram.le.iter().map(move |le| (le * NS_PER_S / divisor).round() / NS_PER_S)
}
