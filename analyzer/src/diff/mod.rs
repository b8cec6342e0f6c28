//! Two runs side by side: what changed, by how much, and whether that is outside the noise (`tidegauge diff A B`).
//!
//! Noise is the spread within each run, from second to second or from connection to connection. How far two runs of the
//! same thing lie apart because it was another day, it does not know: compare a run with its own repetition to see.
//!
//! | quantity | shown | test | why this one |
//! |---|---|---|---|
//! | rates | mean over whole seconds, idle ones among them | Mann-Whitney over seconds | rates are bursty: ranks need no distribution. B. Mann, D. Whitney, 1947; normal approximation with ties |
//! | quantiles of seconds, times of connections | median | the same | the same |
//! | shares (losses, refusals) | all parts of all wholes | interval of the difference of two Wilson intervals | right for small shares and for none at all. R. Newcombe, Statistics in Medicine 17, 1998, method 10 |
//! | incidents | how many opened | square roots of counts | M. Huffman, Applied Statistics 33, 1984 |
//!
//! What follows upon each other is alike, so that a hundred seconds are less than a hundred samples. Rank tests are
//! widened by `(1 + r) / (1 - r)`, `r` being the correlation of ranks with the next one (an autoregressive process of
//! first order: M. Bartlett, 1946); shares have their trials divided by the design effect over blocks of consecutive
//! seconds (L. Kish, Survey Sampling, 1965).
//!
//! Many rows are tested at once, hence the strict level ([`statistics::Z`]), and a least effect: a difference that is
//! certain and does not matter is `same`, and one that would matter much and is not certain is `unknown`. A share's effect is relative to the rarer outcome: from 99.9 to 99.8 % is twice
//! as many failures.  An incident is a judgement with a noise filter of
//! its own: one of a kind that the other run has none of is a difference, if both were watched for about as long.
//!
//! Pure functions of two [`RunSummary`]s; called by the command line.

mod metric;
mod run;
mod series;
pub mod statistics;
mod table;

use std::collections::BTreeSet;

use serde::Serialize;

use metric::{BUCKET_EFFECT_MIN, EFFECT_MIN, FLOW, Good, LISTENER, Measure, WINDOW};
use series::Series;
use statistics::{
    SAMPLES_MIN, TRIALS_MIN, Z, event_test, median, rank_test, share_difference, shares, spread,
};

pub use run::{Bound, Interval, LISTENERS_MAX, RunSummary};
pub use series::SAMPLES_MAX;
pub use table::{json, table};

/// How many times longer the other run may have been watched for "none" to be comparable with "some".
const WATCHED_RATIO: f64 = 2.0;

/// Above this effect, what is not outside the noise is not `same` either: there is too little to tell.
const UNSURE_EFFECT: f64 = 0.25;

/// What is said of a row. Ordered as rows are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// B is worse, outside the noise.
    Worse,
    /// B is better, outside the noise.
    Better,
    /// B is different, and neither way is better.
    Changed,
    /// Too few samples to tell.
    Unknown,
    /// Not outside the noise, or too small to matter.
    Same,
}

impl Verdict {
    /// All, worst first.
    pub const ALL: [Self; 5] = [Self::Worse, Self::Better, Self::Changed, Self::Unknown, Self::Same];

    /// The contract's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Worse => "worse",
            Self::Better => "better",
            Self::Changed => "changed",
            Self::Unknown => "unknown",
            Self::Same => "same",
        }
    }
}

/// One side of a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Side {
    /// What is compared; `null` where there is nothing.
    pub value: Option<f64>,
    /// How far samples lie apart: like a standard deviation, but from medians.
    pub spread: Option<f64>,
    /// Samples: seconds or connections.
    pub samples: u64,
}

/// What a verdict rests on.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Evidence {
    /// A rank test: distance from "no difference" in standard deviations, and the chance that a sample of B is larger.
    Ranks {
        /// Standard deviations.
        z: f64,
        /// 0.5 where there is no difference.
        superiority: f64,
    },
    /// Where the difference of the two shares lies, at 99.9 %.
    Difference {
        /// Least.
        low: f64,
        /// Largest.
        high: f64,
    },
    /// A test of two counts, in standard deviations.
    Counts {
        /// Standard deviations.
        z: f64,
    },
    /// Nothing to test.
    None,
}

/// One quantity, of all traffic or of a listener.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// What is compared, with its unit last.
    pub what: String,
    /// `address:port` of the listener; `null`: all traffic.
    pub listener: Option<String>,
    /// What is said of it.
    pub verdict: Verdict,
    /// How A was.
    pub a: Side,
    /// How B is.
    pub b: Side,
    /// `b / a - 1`; `null` where there is nothing to relate to.
    pub relative: Option<f64>,
    /// How large the difference is, as it was compared with the least effect: relative to A, of shares to the rarer
    /// outcome. `null` where that is not finite.
    pub effect: Option<f64>,
    /// What the verdict rests on.
    pub evidence: Evidence,
}

/// Two runs compared.
#[derive(Clone, Debug, PartialEq)]
pub struct Diff {
    /// Worst first; listeners after the whole.
    pub rows: Vec<Row>,
}

impl Diff {
    /// Rows of which this is said.
    pub fn count(&self, verdict: Verdict) -> usize {
        self.rows.iter().filter(|row| row.verdict == verdict).count()
    }
}

/// Why two runs cannot be compared.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Error {
    /// Nothing to compare.
    #[error("{0}: no window lines, so there is nothing to compare")]
    Empty(String),
    /// Spreads of seconds and of minutes are not alike.
    #[error("windows of {a_s} s and of {b_s} s cannot be compared: read both with the same --window")]
    Windows {
        /// Of A.
        a_s: f64,
        /// Of B.
        b_s: f64,
    },
}

/// Compares two runs, and the listeners with most bytes on either side.
pub fn compare(a: &RunSummary, b: &RunSummary, listeners: usize) -> Result<Diff, Error> {
    for run in [a, b] {
        if run.windows == 0 {
            return Err(Error::Empty(run.name.clone()));
        }
    }
    let (a_s, b_s) = (a.window_s.unwrap_or_default(), b.window_s.unwrap_or_default());
    if a_s != b_s {
        return Err(Error::Windows { a_s, b_s });
    }
    let mut rows = Vec::new();
    for metric in WINDOW {
        let effect_min = effect_min(metric.measure);
        rows.extend(row(
            metric.name,
            None,
            metric.good,
            effect_min,
            a.series.get(metric.name),
            b.series.get(metric.name),
        ));
    }
    for metric in FLOW {
        rows.extend(row(
            metric.name,
            None,
            metric.good,
            EFFECT_MIN,
            a.series.get(metric.name),
            b.series.get(metric.name),
        ));
    }
    incident_rows(a, b, &mut rows);
    busiest(a, b, listeners).iter().for_each(|name| listener_rows(name, a, b, &mut rows));
    rows.sort_by(|one, other| order(one).partial_cmp(&order(other)).unwrap_or(std::cmp::Ordering::Equal));
    Ok(Diff { rows })
}

/// Worst first, then the largest effect; one that is not finite is the largest. Listeners' rows after the whole's.
fn order(row: &Row) -> (Verdict, bool, f64) {
    (row.verdict, row.listener.is_some(), -row.effect.map_or(f64::MAX, f64::abs))
}

const fn effect_min(measure: Measure) -> f64 {
    match measure {
        Measure::Rate(_) | Measure::Share(..) => EFFECT_MIN,
        Measure::Value(_) => BUCKET_EFFECT_MIN,
    }
}

/// The listeners with the largest share of either run's bytes.
fn busiest(a: &RunSummary, b: &RunSummary, most: usize) -> Vec<String> {
    let share = |run: &RunSummary, name: &str| {
        run.listeners.get(name).map_or(0.0, |listener| listener.bytes / run.bytes.max(1) as f64)
    };
    let names: BTreeSet<&String> = a.listeners.keys().chain(b.listeners.keys()).collect();
    let mut ranked: Vec<_> =
        names.into_iter().map(|name| (share(a, name).max(share(b, name)), name)).collect();
    ranked.sort_by(|one, other| other.0.total_cmp(&one.0).then(one.1.cmp(other.1)));
    ranked.into_iter().take(most).map(|(_, name)| name.clone()).collect()
}

fn listener_rows(name: &str, a: &RunSummary, b: &RunSummary, rows: &mut Vec<Row>) {
    let (in_a, in_b) = (a.listeners.get(name), b.listeners.get(name));
    if in_a.is_none() || in_b.is_none() {
        let side = |run: &RunSummary| {
            let bytes = run.listeners.get(name).map(|listener| listener.bytes / run.length_s().max(1.0));
            Side { value: Some(bytes.unwrap_or_default()), spread: None, samples: run.windows }
        };
        let what = if in_a.is_none() { "new_listener_bytes_per_s" } else { "gone_listener_bytes_per_s" };
        let evidence = Evidence::None;
        rows.push(Row {
            listener: Some(name.to_owned()),
            ..plain(what, Verdict::Changed, side(a), side(b), evidence)
        });
        return;
    }
    for metric in LISTENER {
        let of =
            |run: Option<&'_ run::ListenerSeries>| run.and_then(|run| run.series.get(metric.name).cloned());
        let (a, b) = (of(in_a), of(in_b));
        // Means of a second are no quantiles: they have no buckets.
        rows.extend(row(metric.name, Some(name), metric.good, EFFECT_MIN, a.as_ref(), b.as_ref()));
    }
}

fn incident_rows(a: &RunSummary, b: &RunSummary, rows: &mut Vec<Row>) {
    let kinds: BTreeSet<&String> = a.incidents.keys().chain(b.incidents.keys()).collect();
    for kind in kinds {
        let opened = |run: &RunSummary| run.incidents.get(kind).map_or(0, |incidents| incidents.opened);
        let (in_a, in_b) = (opened(a), opened(b));
        let (a_s, b_s) = (a.length_s().max(1.0), b.length_s().max(1.0));
        let z = event_test(in_a, a_s, in_b, b_s);
        // "None" says something only of about as long a time.
        let comparable = if in_a == 0 { b_s <= a_s * WATCHED_RATIO } else { a_s <= b_s * WATCHED_RATIO };
        let verdict = match (in_a, in_b) {
            (0, _) | (_, 0) if comparable => judged(Good::Less, if in_a == 0 { 1.0 } else { -1.0 }),
            _ if z.abs() > Z => judged(Good::Less, z),
            (0, _) | (_, 0) => Verdict::Changed,
            _ => Verdict::Same,
        };
        let side = |opened: u64, samples| Side { value: Some(opened as f64), spread: None, samples };
        let evidence = Evidence::Counts { z };
        let what = format!("incidents_{kind}");
        rows.push(plain(&what, verdict, side(in_a, a.windows), side(in_b, b.windows), evidence));
    }
}

/// A row of two values that are compared as they are.
fn plain(what: &str, verdict: Verdict, a: Side, b: Side, evidence: Evidence) -> Row {
    let relative = relative(a.value, b.value);
    Row { what: what.to_owned(), listener: None, verdict, a, b, relative, effect: relative, evidence }
}

fn relative(a: Option<f64>, b: Option<f64>) -> Option<f64> {
    a.zip(b).map(|(a, b)| b / a - 1.0).filter(|relative| relative.is_finite())
}

/// A difference in this direction.
fn judged(good: Good, difference: f64) -> Verdict {
    match good {
        Good::Neither => Verdict::Changed,
        Good::Less if difference < 0.0 => Verdict::Better,
        Good::More if difference > 0.0 => Verdict::Better,
        Good::Less | Good::More => Verdict::Worse,
    }
}

/// One quantity of both sides; `None` where neither has it.
fn row(
    what: &str,
    listener: Option<&str>,
    good: Good,
    effect_min: f64,
    a: Option<&Series>,
    b: Option<&Series>,
) -> Option<Row> {
    let a = a.filter(|series| series.samples() != 0);
    let b = b.filter(|series| series.samples() != 0);
    let row = match (a, b) {
        (None, None) => return None,
        (Some(Series::Shares(a)), Some(Series::Shares(b))) => {
            share_row(what, good, effect_min, a.kept(), b.kept())
        }
        (Some(a), Some(b)) => rank_row(what, good, effect_min, a, b),
        _ => {
            let side = |series: Option<&Series>| series.map_or_else(Side::default, side_of);
            Some(plain(what, Verdict::Unknown, side(a), side(b), Evidence::None))
        }
    }?;
    // Nothing happened on either side: no news.
    let nothing = row.a.value == Some(0.0) && row.b.value == Some(0.0);
    (!nothing).then(|| Row { listener: listener.map(str::to_owned), ..row })
}

fn side_of(series: &Series) -> Side {
    let samples = series.samples();
    match series {
        Series::Rate { per_s, sum } => {
            Side { value: Some(sum / samples.max(1) as f64), spread: spread(per_s.kept()), samples }
        }
        Series::Values(values) => {
            Side { value: median(values.kept()), spread: spread(values.kept()), samples }
        }
        Series::Shares(shares) => {
            let (part, whole) = shares.kept().iter().fold((0.0, 0.0), |sum, at| (sum.0 + at.0, sum.1 + at.1));
            Side { value: (whole > 0.0).then(|| (part / whole).min(1.0)), spread: None, samples }
        }
    }
}

fn rank_row(what: &str, good: Good, effect_min: f64, a: &Series, b: &Series) -> Option<Row> {
    let (side_a, side_b) = (side_of(a), side_of(b));
    let kept = |series: &Series| match series {
        Series::Rate { per_s: values, .. } | Series::Values(values) => Some(values.kept().to_vec()),
        Series::Shares(_) => None,
    };
    let (values_a, values_b) = (kept(a)?, kept(b)?);
    let mut row = plain(what, Verdict::Unknown, side_a, side_b, Evidence::None);
    if values_a.len().min(values_b.len()) < SAMPLES_MIN {
        return Some(row);
    }
    let ranks = rank_test(&values_a, &values_b);
    row.evidence = Evidence::Ranks { z: ranks.z, superiority: ranks.superiority };
    let difference = side_b.value? - side_a.value?;
    let matters = row.effect.is_none_or(|effect| effect.abs() >= effect_min) && difference != 0.0;
    row.verdict = if ranks.z.abs() <= Z || !matters {
        within_noise(&row)
    } else if (ranks.z > 0.0) == (difference > 0.0) {
        judged(good, difference)
    } else {
        // Most seconds went one way and the mean the other: not the same, and neither better nor worse.
        Verdict::Changed
    };
    Some(row)
}

fn share_row(what: &str, good: Good, effect_min: f64, a: &[(f64, f64)], b: &[(f64, f64)]) -> Option<Row> {
    let (share_a, share_b) = shares(a, b)?;
    let side =
        |share: f64, samples: usize| Side { value: Some(share), spread: None, samples: samples as u64 };
    let mut row = plain(
        what,
        Verdict::Unknown,
        side(share_a.share, a.len()),
        side(share_b.share, b.len()),
        Evidence::None,
    );
    let difference = share_b.share - share_a.share;
    let rarer = share_a.share.min(1.0 - share_a.share);
    row.effect = Some(difference / rarer).filter(|effect| effect.is_finite());
    if a.len().min(b.len()) < SAMPLES_MIN || share_a.trials.min(share_b.trials) < TRIALS_MIN {
        return Some(row);
    }
    let (low, high) = share_difference(share_a, share_b);
    row.evidence = Evidence::Difference { low, high };
    let matters = row.effect.is_none_or(|effect| effect.abs() >= effect_min);
    let outside = low > 0.0 || high < 0.0;
    row.verdict = if outside && matters { judged(good, difference) } else { within_noise(&row) };
    Some(row)
}

fn within_noise(row: &Row) -> Verdict {
    let is_small =
        row.a.value == row.b.value || row.effect.is_some_and(|effect| effect.abs() < UNSURE_EFFECT);
    if is_small { Verdict::Same } else { Verdict::Unknown }
}

#[cfg(test)]
mod random;
#[cfg(test)]
mod tests;
