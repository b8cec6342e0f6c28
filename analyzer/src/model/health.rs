//! Health: 100 where a feature is healthy, 0 where it is anomalous, linear between. A layer is as healthy as its worst
//! feature, the whole as its worst layer. Unknown is not healthy, and not ill: it is left out, and shown as `null`.

use serde_json::{Map, Value, json};

use super::features::{Feature, Features};
use crate::cause::Layer;
use crate::config::Config;

/// Score from which on a second counts as healthy: nearer to healthy than to anomalous.
pub const HEALTHY_FROM: f64 = 50.0;

/// One second's health.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Health {
    /// The whole, 0 to 100; `None`: nothing is known.
    pub score: Option<f64>,
    /// The feature that made it, where it is not 100.
    pub feature: Option<Feature>,
    /// By layer, the lowest first.
    pub layers: [Option<f64>; Layer::ALL.len()],
}

impl Health {
    /// Of these features.
    pub fn of(config: &Config, features: &Features) -> Self {
        let mut health = Self::default();
        for feature in Feature::ALL {
            let (Some(layer), Some(badness)) = (feature.layer(), features.badness(config, *feature)) else {
                continue;
            };
            // Tenths: more is not known of any of them.
            let score = (1_000.0 * (1.0 - badness)).round() / 10.0;
            let own = &mut health.layers[layer as usize];
            *own = Some(own.map_or(score, |known| known.min(score)));
            if health.score.is_none_or(|known| score < known) {
                health.score = Some(score);
                health.feature = Some(*feature).filter(|_| score < 100.0);
            }
        }
        health
    }

    /// The object `health` of a listener or host: the worst of what its features tell.
    pub fn json_of_place(&self) -> Value {
        json!({
            "score": self.score,
            "layer": self.feature.and_then(Feature::layer),
            "feature": self.feature.map(Feature::name),
        })
    }

    /// The object `health`.
    pub fn json(&self) -> Value {
        let layers =
            Layer::ALL.iter().map(|layer| (layer.name().to_owned(), json!(self.layers[*layer as usize])));
        json!({
            "score": self.score,
            "layer": self.feature.and_then(Feature::layer),
            "feature": self.feature.map(Feature::name),
            "layers": layers.collect::<Map<_, _>>(),
        })
    }
}
