//! What the engine remembers of one host that asks many: the newest count, open incidents.

use crate::detect::{ActorEvidence, actor_findings};
use crate::open_incidents::{Changing, Judging, OpenIncidents};
use crate::window::{ActorKey, ActorWindow};

/// Silence after which a count no longer says what happens.
const SILENT_AFTER_NS: u64 = 10_000_000_000;

/// One actor's memory.
#[derive(Debug, Default)]
pub(crate) struct ActorState {
    counts: ActorWindow,
    pub(crate) seen_ns: u64,
    pub(crate) incidents: OpenIncidents,
}

impl ActorState {
    /// Takes the newest count.
    pub(crate) fn add(&mut self, counts: &ActorWindow, end_ns: u64) {
        self.counts = counts.clone();
        self.seen_ns = end_ns;
    }

    /// Whether a look at it may find anything.
    pub(crate) fn is_live(&self, now_ns: u64) -> bool {
        !self.incidents.is_empty() || now_ns.saturating_sub(self.seen_ns) < SILENT_AFTER_NS
    }

    /// Judges the actor at a tick's end. A count that did not change says nothing new.
    pub(crate) fn judge(&mut self, judging: &Judging<'_>, actor: ActorKey, changing: &mut Changing<'_>) {
        if self.seen_ns == judging.now_ns {
            let found = actor_findings(&ActorEvidence {
                config: judging.config,
                actor,
                counts: &self.counts,
                now_ns: judging.now_ns,
            });
            for (target, finding) in found {
                self.incidents.take(finding, target, judging, changing);
            }
        }
        self.incidents.close_over(judging, changing);
    }
}
