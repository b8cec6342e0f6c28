//! Gathers signs by cause, and ranks.

use super::{Cause, HostCounts, Ranked, Sign};
use crate::incident::Incident;

/// Causes told of an incident, also those that what was measured speaks against.
const TOLD_MAX: usize = 5;

/// Signs of one incident, so far.
pub(super) struct Signs<'a> {
    pub(super) incident: &'a Incident,
    pub(super) host: HostCounts,
    causes: Vec<Ranked>,
}

impl<'a> Signs<'a> {
    pub(super) const fn new(incident: &'a Incident, host: HostCounts) -> Self {
        Self { incident, host, causes: Vec::new() }
    }

    pub(super) fn fact(&self, name: &str) -> Option<f64> {
        self.incident.fact(name)
    }

    /// `measured` speaks for a cause.
    pub(super) fn says(&mut self, cause: Cause, weight: f64, what: &'static str, measured: f64) {
        self.of(cause).signs_for.push(Sign { what, measured, weight });
    }

    /// `measured` speaks against a cause.
    pub(super) fn denies(&mut self, cause: Cause, weight: f64, what: &'static str, measured: f64) {
        self.of(cause).signs_against.push(Sign { what, measured, weight });
    }

    /// `measured` speaks for a cause from `from` on, and against it up to `to`; between them it says nothing, and
    /// neither where it was not measured.
    pub(super) fn weigh(
        &mut self,
        cause: Cause,
        weight: f64,
        what: &'static str,
        measured: Option<f64>,
        (to, from): (f64, f64),
    ) {
        match measured {
            Some(measured) if measured >= from => self.says(cause, weight, what, measured),
            Some(measured) if measured <= to => self.denies(cause, weight, what, measured),
            _ => {}
        }
    }

    fn of(&mut self, cause: Cause) -> &mut Ranked {
        let known = self.causes.iter().position(|ranked| ranked.cause == cause);
        let place = known.unwrap_or_else(|| {
            self.causes.push(Ranked { cause, score: 0.0, signs_for: Vec::new(), signs_against: Vec::new() });
            self.causes.len() - 1
        });
        &mut self.causes[place]
    }

    /// The likeliest first; of equal ones that of the lowest layer.
    pub(super) fn into_ranked(mut self) -> Vec<Ranked> {
        let sum = |signs: &[Sign]| signs.iter().map(|sign| sign.weight).sum::<f64>();
        for ranked in &mut self.causes {
            let (pro, contra) = (sum(&ranked.signs_for), sum(&ranked.signs_against));
            ranked.score = (100.0 * pro / (pro + contra + 1.0)).round().abs() / 100.0;
            for signs in [&mut ranked.signs_for, &mut ranked.signs_against] {
                signs.sort_by(|one, other| other.weight.total_cmp(&one.weight));
            }
        }
        let order = |one: &Ranked, other: &Ranked| {
            let layers = one.cause.layer().cmp(&other.cause.layer());
            other.score.total_cmp(&one.score).then(layers).then(one.cause.cmp(&other.cause))
        };
        self.causes.sort_by(order);
        self.causes.truncate(TOLD_MAX);
        self.causes
    }
}
