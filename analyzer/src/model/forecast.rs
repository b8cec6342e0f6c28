//! Forecast: the chance that the next second is healthy, `P(t) = sigma(W1 [X(t-1), X(t-2)] + b1)`.
//!
//! `X` has for each feature how far it is from healthy (0) to anomalous (1); what is unknown is 0 and learns nothing. The
//! source gives the form and no weights. So each run begins with weights that say little more than "as it was" and learns
//! from each second (logistic regression by gradient descent, one step a second, weights bounded): the same packets give
//! the same forecasts. How good they were is told with them ([`Tally`]): the Brier score, beside that of saying that
//! the next second will be as this one. It can hardly beat that: faults begin without a sign in these features more often
//! than with one, and what it adds is calibration where health goes to and fro. It raises no incident.
//! The LSTM of the source is left out: it gives no weights for it either, and one that is trained on a run's own few
//! thousand seconds would only learn them by heart.

use serde::Serialize;

use super::features::{Feature, Features};
use super::health::{HEALTHY_FROM, Health};
use crate::config::Config;

/// Features in X, in this order.
const INPUTS: [Feature; 10] = [
    Feature::ConnRate,
    Feature::Transfer1mibMs,
    Feature::RwndBytes,
    Feature::LossRatio,
    Feature::IcmpRttMs,
    Feature::Http5xxRatio,
    Feature::ConnTimeoutRatio,
    Feature::ConnSuccess24h,
    Feature::LossSlope5m,
    Feature::VersionEntropy,
];
const COUNT: usize = 2 * INPUTS.len() + 1;
/// Beginning: 0.95 where all was healthy, 0.27 where one feature was anomalous in the last second, 0.05 in both.
const BIAS: f64 = 3.0;
const WEIGHT_LAST: f64 = -4.0;
const WEIGHT_BEFORE: f64 = -2.0;
/// Features without a scale from healthy to anomalous: no weight until something is learnt.
const WEIGHT_UNSCALED: f64 = 0.0;
/// Step per second, and the largest weight.
const RATE: f64 = 0.05;
const WEIGHT_MAX: f64 = 8.0;
/// Entropy that counts as 1, bits: half of the 32 classes that there are.
const ENTROPY_BITS: f64 = 4.0;

type Inputs = [f64; INPUTS.len()];

/// How good the forecasts of a run were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Tally {
    /// Seconds that were forecast and then seen.
    pub seconds: u64,
    /// Sum of the squares of what was wrong.
    #[serde(skip)]
    error: f64,
    /// The same of saying that it stays as it is.
    #[serde(skip)]
    error_of_persistence: f64,
}

impl Tally {
    /// Mean squared error of the chance (Brier 1950): 0 is perfect, 0.25 is a coin's; `None`: nothing was forecast.
    pub fn brier(&self) -> Option<f64> {
        mean(self.error, self.seconds)
    }

    /// That of persistence.
    pub fn brier_of_persistence(&self) -> Option<f64> {
        mean(self.error_of_persistence, self.seconds)
    }
}

fn mean(sum: f64, count: u64) -> Option<f64> {
    (count != 0).then(|| rounded(sum / count as f64))
}

/// Four digits: more are noise.
fn rounded(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}

/// Weights, and the last two seconds.
#[derive(Debug)]
pub(super) struct Forecast {
    weights: [f64; COUNT],
    /// The last second and the one before.
    seconds: [Option<Inputs>; 2],
    was_healthy: bool,
    /// What was said of the second that comes.
    said: Option<f64>,
    tally: Tally,
}

impl Default for Forecast {
    fn default() -> Self {
        let mut weights = [WEIGHT_UNSCALED; COUNT];
        let unscaled = [Feature::ConnSuccess24h, Feature::LossSlope5m, Feature::VersionEntropy];
        for (place, feature) in INPUTS.iter().enumerate().filter(|(_, feature)| !unscaled.contains(feature)) {
            debug_assert!(feature.layer().is_some());
            (weights[place], weights[INPUTS.len() + place]) = (WEIGHT_LAST, WEIGHT_BEFORE);
        }
        weights[COUNT - 1] = BIAS;
        Self { weights, seconds: [None; 2], was_healthy: true, said: None, tally: Tally::default() }
    }
}

impl Forecast {
    /// A second is over: learns from it, and says the chance that the next one is healthy.
    pub(super) fn end_second(
        &mut self,
        config: &Config,
        features: &Features,
        health: &Health,
    ) -> Option<f64> {
        let Some(score) = health.score else {
            self.skip();
            return None;
        };
        let healthy = score >= HEALTHY_FROM;
        self.learn(healthy);
        self.was_healthy = healthy;
        self.seconds = [Some(inputs(config, features)), self.seconds[0]];
        self.said = self.row().map(|row| sigma(dot(&self.weights, &row)));
        self.said.map(rounded)
    }

    /// What comes next does not follow from what was.
    pub(super) const fn skip(&mut self) {
        (self.seconds, self.said) = ([None; 2], None);
    }

    pub(super) const fn tally(&self) -> Tally {
        self.tally
    }

    fn learn(&mut self, healthy: bool) {
        let (Some(said), Some(row)) = (self.said, self.row()) else { return };
        let came = f64::from(healthy);
        self.tally.seconds += 1;
        self.tally.error += (said - came).powi(2);
        self.tally.error_of_persistence += f64::from(healthy != self.was_healthy);
        for (weight, input) in self.weights.iter_mut().zip(row) {
            *weight = (*weight + RATE * (came - said) * input).clamp(-WEIGHT_MAX, WEIGHT_MAX);
        }
    }

    /// Both seconds and the bias; `None` before two are known.
    fn row(&self) -> Option<[f64; COUNT]> {
        let [Some(last), Some(before)] = self.seconds else { return None };
        let mut row = [1.0; COUNT];
        row[..INPUTS.len()].copy_from_slice(&last);
        row[INPUTS.len()..2 * INPUTS.len()].copy_from_slice(&before);
        Some(row)
    }
}

fn inputs(config: &Config, features: &Features) -> Inputs {
    INPUTS.map(|feature| {
        let scaled = match feature {
            Feature::ConnSuccess24h => features.get(feature).map(|success| 1.0 - success),
            Feature::LossSlope5m => features.get(feature).map(|slope| slope / config.loss_share),
            Feature::VersionEntropy => features.get(feature).map(|bits| bits / ENTROPY_BITS),
            _ => features.badness(config, feature),
        };
        scaled.unwrap_or(0.0).clamp(-1.0, 1.0)
    })
}

fn dot(weights: &[f64; COUNT], row: &[f64; COUNT]) -> f64 {
    weights.iter().zip(row).map(|(weight, input)| weight * input).sum()
}

fn sigma(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}
