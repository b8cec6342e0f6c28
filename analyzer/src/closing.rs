//! What an incident comes to, told when it closes: peak, mean, volume, duration, and the share that was served meanwhile.
//!
//! Detectors measure over sliding windows, tick by tick or once a second; a rate times the time since it was measured
//! last is what came in that time. So a volume is right to what a window holds at its ends. What a kind does not measure
//! is `null`.

use serde::Serialize;

use crate::incident::{Finding, Incident, State};

/// A rate stands for a second at most: the longest sliding window of those that are rates.
const RATE_OVER_MAX_S: f64 = 1.0;

/// Sums over the ticks at which the condition held.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tally {
    measured: f64,
    times: u32,
    volume: f64,
    bytes: Option<f64>,
    asked: Option<f64>,
    completed: Option<f64>,
}

impl Tally {
    /// Adds a finding, `after_s` after the one before.
    pub fn add(&mut self, finding: &Finding, after_s: f64) {
        let over_s = after_s.min(RATE_OVER_MAX_S);
        self.measured += finding.measured;
        self.times = self.times.saturating_add(1);
        self.volume += finding.measured * over_s;
        let sums = [(&mut self.asked, "asked_per_s"), (&mut self.completed, "completed_per_s")];
        for (sum, name) in sums {
            add(sum, finding.facts.iter().find(|(known, _)| *known == name), over_s);
        }
        add(&mut self.bytes, finding.facts.iter().find(|(known, _)| known.ends_with("_bytes_per_s")), over_s);
    }
}

fn add(sum: &mut Option<f64>, fact: Option<&(&'static str, f64)>, over_s: f64) {
    if let Some((_, per_s)) = fact {
        *sum = Some(sum.unwrap_or(0.0) + per_s * over_s);
    }
}

/// What an incident that closed came to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Closing {
    /// Most that was measured, in the incident's unit.
    pub peak: f64,
    /// Mean while the condition held.
    pub mean: f64,
    /// How much came.
    pub volume: Volume,
    /// How long the condition held.
    pub duration_s: f64,
    /// Completed of asked, 0 to 1; `None` where handshakes are not the point.
    pub share_served: Option<f64>,
}

/// How much came while the condition held.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Volume {
    /// Of `unit`; `None` where no rate is measured.
    pub count: Option<u64>,
    /// `syn`, `datagrams`, ...
    pub unit: Option<&'static str>,
    /// Bytes.
    pub bytes: Option<u64>,
}

/// What it came to; `None` as long as it is open.
pub fn closing(incident: &Incident) -> Option<Closing> {
    if incident.state != State::Closed {
        return None;
    }
    let (finding, tally) = (&incident.peak, &incident.tally);
    let whole = |sum: f64| sum.round() as u64;
    let by_rate = finding.unit.strip_suffix("/s").map(|unit| (whole(tally.volume), unit));
    // Who asks is counted from when it began.
    let asked = finding.facts.iter().find(|(name, _)| *name == "asked");
    let counted = by_rate.or_else(|| asked.map(|(_, count)| (whole(*count), "asked")));
    let share_served = match (tally.asked, tally.completed) {
        (Some(asked), Some(completed)) if asked > 0.0 => Some((completed / asked).min(1.0)),
        _ => None,
    };
    Some(Closing {
        peak: finding.measured,
        mean: tally.measured / f64::from(tally.times.max(1)),
        volume: Volume {
            count: counted.map(|(count, _)| count),
            unit: counted.map(|(_, unit)| unit),
            bytes: tally.bytes.map(whole),
        },
        duration_s: incident.lasted_ns() as f64 / 1e9,
        share_served,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::incident::{Kind, Severity, Target};
    use crate::quality::Interval;

    const TICK_NS: u64 = 100_000_000;

    fn finding(measured: f64) -> Finding {
        Finding {
            measured,
            unit: "syn/s",
            facts: vec![("asked_per_s", measured), ("completed_per_s", measured / 4.0)],
            ..Finding::bare(Kind::SynFlood, Severity::P2)
        }
    }

    #[test]
    fn a_rate_that_lasts_is_a_volume() {
        let mut incident = Incident::open(1, Target::Capture, finding(1_000.0), TICK_NS, Interval::default());
        for tick in 2..=21 {
            incident.hold(finding(3_000.0), tick * TICK_NS);
        }
        assert_eq!(closing(&incident), None);
        incident.close(22 * TICK_NS);
        let told = closing(&incident).expect("it is closed");
        // A second of 1,000 and two of 3,000.
        assert_eq!(
            (told.volume.count, told.volume.unit, told.volume.bytes),
            (Some(7_000), Some("syn"), None)
        );
        assert_eq!((told.peak, told.duration_s, told.share_served), (3_000.0, 2.0, Some(0.25)));
        assert!((told.mean - 61_000.0 / 21.0).abs() < 1e-9);
    }

    #[test]
    fn what_is_no_rate_has_no_volume() {
        let bare = Finding { measured: 5.0, unit: "ms", ..Finding::bare(Kind::HighRtt, Severity::P3) };
        let mut incident = Incident::open(1, Target::Capture, bare, TICK_NS, Interval::default());
        incident.close(TICK_NS);
        let told = closing(&incident).expect("it is closed");
        assert_eq!((told.volume.count, told.volume.bytes, told.share_served), (None, None, None));
    }
}
