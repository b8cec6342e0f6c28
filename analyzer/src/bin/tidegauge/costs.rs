//! What was measured of our own cost, live: of seconds, windows and the run.

use tidegauge_analyzer::cost::{BpfSample, Cost};

/// What was measured of our own cost, live.
#[derive(Default)]
pub(crate) struct Costs {
    /// Of the last second.
    pub(crate) second: Option<Cost>,
    /// Of the window that is not over yet.
    pub(crate) window: Option<Cost>,
    /// Of the run.
    pub(crate) run: Option<Cost>,
    /// The last measurement of our programs: windows without one show it, with its age.
    sample: Option<BpfSample>,
}

impl Costs {
    /// Adds what a second cost.
    pub(crate) fn note(&mut self, cost: Cost) {
        self.sample = cost.bpf.as_ref().and_then(|bpf| bpf.sample).or(self.sample);
        for sum in [&mut self.window, &mut self.run] {
            match sum {
                Some(sum) => sum.merge(&cost),
                None => *sum = Some(cost.clone()),
            }
        }
        self.second = Some(cost);
    }

    /// With the last measurement of our programs, if it has none of its own.
    pub(crate) fn complete(&self, mut cost: Cost) -> Cost {
        if let Some(bpf) = &mut cost.bpf {
            bpf.sample = bpf.sample.or(self.sample);
        }
        cost
    }
}
