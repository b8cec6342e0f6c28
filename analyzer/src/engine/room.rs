//! What the engine forgets for want of room: listeners, sources and targets of the run; counted.

use super::{Engine, LISTENERS_MAX, SOURCES_MAX};
use crate::window::{TARGETS_MAX, TargetWindow, Window, trim_targets};

impl Engine {
    /// Forgets the listeners that are too many, in one pass: unproven ones first, then those silent longest, then
    /// those asked least. One with an open incident stays: there are as many as there are floods at a time.
    pub(super) fn make_room(&mut self) {
        let all = self.listeners.len() + self.asleep.len();
        let surplus = all.saturating_sub(LISTENERS_MAX);
        if surplus == 0 {
            return;
        }
        let idle = self.asleep.iter().chain(&self.listeners).filter(|(_, state)| state.incidents.is_empty());
        let mut ranked: Vec<_> =
            idle.map(|(key, state)| (state.proven, state.seen_ns, state.asked_last_second(), *key)).collect();
        if surplus < ranked.len() {
            ranked.select_nth_unstable(surplus);
            ranked.truncate(surplus);
        }
        for (.., key) in &ranked {
            self.asleep.remove(key).or_else(|| self.listeners.remove(key));
        }
        self.run.listeners_forgotten += ranked.len() as u64;
    }

    pub(super) fn note_sources(&mut self, window: &Window) {
        for listener in window.listeners.values() {
            self.run.distinct_sources.merge(&listener.distinct);
            for (address, attempts) in &listener.sources {
                let most = self.run.top_sources.entry(*address).or_default();
                *most = (*most).max(*attempts);
            }
        }
        let surplus = self.run.top_sources.len().saturating_sub(SOURCES_MAX);
        if surplus == 0 {
            return;
        }
        let mut ranks: Vec<_> =
            self.run.top_sources.iter().map(|(address, most)| (*most, *address)).collect();
        ranks.select_nth_unstable(surplus - 1);
        for (_, address) in &ranks[..surplus] {
            self.run.top_sources.remove(address);
        }
        self.run.sources_forgotten += surplus as u64;
    }

    pub(super) fn note_targets(&mut self, window: &Window) {
        self.run.targets.merge_ref(&window.targets, TargetWindow::merge);
        // Half as many again before the quiet ones go: finding them looks at all.
        if self.run.targets.len() > TARGETS_MAX + TARGETS_MAX / 2 {
            self.run.targets_forgotten += trim_targets(&mut self.run.targets, TARGETS_MAX);
        }
    }
}
