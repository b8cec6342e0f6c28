//! What the engine remembers of one host that asks many: the newest count, open incidents.

use crate::detect::{ActorEvidence, actor_findings};
use crate::open_incidents::{Changing, Judging, OpenIncidents};
use crate::window::{ActorKey, ActorWindow};

/// Silence after which a count no longer says what happens.
const SILENT_AFTER_NS: u64 = 10_000_000_000;
/// What is "lately": between this and twice this.
const LATELY_NS: u64 = 5_000_000_000;

/// One actor's memory.
#[derive(Debug, Default)]
pub(crate) struct ActorState {
    counts: ActorWindow,
    /// Hosts that had been asked at two times, the older first: what came since that one came lately.
    marks: [(u64, u64); 2],
    pub(crate) seen_ns: u64,
    pub(crate) incidents: OpenIncidents,
}

impl ActorState {
    /// What it asked since the last count.
    pub(crate) fn asked_more(&self, counts: &ActorWindow) -> u64 {
        let before = if counts.began_ns == self.counts.began_ns { self.counts.counts.asked } else { 0 };
        counts.counts.asked.saturating_sub(before).into()
    }

    /// Takes the newest count.
    pub(crate) fn add(&mut self, counts: &ActorWindow, end_ns: u64) {
        self.mark(counts.began_ns, end_ns);
        self.counts = counts.clone();
        self.seen_ns = end_ns;
    }

    /// Notes how many hosts there were, before those are added that were asked up to `now_ns`.
    fn mark(&mut self, began_ns: u64, now_ns: u64) {
        if began_ns != self.counts.began_ns {
            self.marks = [(now_ns, 0); 2];
        } else if now_ns.saturating_sub(self.marks[1].0) >= LATELY_NS {
            self.marks = [self.marks[1], (now_ns, self.counts.hosts)];
            if now_ns.saturating_sub(self.marks[0].0) > 2 * LATELY_NS {
                self.marks[0] = self.marks[1];
            }
        }
    }

    /// Whether a look at it may find anything.
    pub(crate) fn is_live(&self, now_ns: u64) -> bool {
        self.incidents.may_go_on(now_ns) || now_ns.saturating_sub(self.seen_ns) < SILENT_AFTER_NS
    }

    /// Judges the actor at a tick's end. A count that did not change says nothing new; what it said stands for a while,
    /// since who searches slowly, or in bursts, goes on.
    pub(crate) fn judge(&mut self, judging: &Judging<'_>, actor: ActorKey, changing: &mut Changing<'_>) {
        let stands = !self.incidents.is_empty() && judging.now_ns.saturating_sub(self.seen_ns) < LATELY_NS;
        if self.seen_ns == judging.now_ns || stands {
            let found = actor_findings(&ActorEvidence {
                config: judging.config,
                actor,
                counts: &self.counts,
                hosts_lately: self.counts.hosts.saturating_sub(self.marks[0].1),
                now_ns: judging.now_ns,
            });
            for (target, finding) in found {
                self.incidents.take(finding, target, judging, changing);
            }
        }
        self.incidents.close_over(judging, changing);
    }
}
