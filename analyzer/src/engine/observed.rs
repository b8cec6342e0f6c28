//! What was seen and is no incident: gathered at the end of a run out of what is remembered.

use super::Engine;
use crate::observation::Observations;
use crate::observation::listener::Seeing;

impl Engine {
    /// Observations of all that was pushed, beside the incidents that closed.
    pub fn observations(&self) -> Observations {
        let seeing = Seeing {
            whole_packets: self.run.truth.is_some(),
            answers_visible: self.answers_visible,
            last_ns: self.ledger.last_ns,
        };
        let (mut drafts, mut most_unasked, mut unasked) = (Vec::new(), None, 0);
        for (key, state) in self.listeners.iter().chain(&self.asleep) {
            drafts.extend(state.sums.drafts(*key, &seeing, |impairment| self.ledger.worst(*key, impairment)));
            unasked += state.sums.unasked();
            most_unasked = most_unasked.max(Some((state.sums.unasked(), *key)));
        }
        let by = most_unasked.filter(|(most, _)| *most != 0).map(|(_, key)| (key, unasked));
        drafts.extend(self.ledger.drafts(&self.run.targets, by, &self.config));
        Observations::of(drafts, &self.run.incidents, &self.config, self.ledger.left_out())
    }
}
