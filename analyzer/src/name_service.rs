//! What the engine remembers of a host that is asked for names: the last minute, in slots of [`SLOT_NS`].

use crate::fact::{Fact, FactCounts};
use crate::feature::Ring;

/// Five seconds: the time after which resolvers give a query up, so those of the newest slot may still be answered.
const SLOT_NS: u64 = 5_000_000_000;
/// A minute.
const SLOTS: usize = 12;

const KEPT: [Fact; 6] = [
    Fact::Query,
    Fact::QueryAnswered,
    Fact::QueryFailed,
    Fact::ServerFailed,
    Fact::NameMissed,
    Fact::NameFound,
];

/// One server's last minute.
#[derive(Clone, Debug)]
pub(crate) struct NameService {
    ring: Ring<{ KEPT.len() }, SLOTS>,
    slot: u64,
    /// Whether it ever answered, and did not fail.
    has_served: bool,
}

/// What it came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NameMinute {
    /// Queries.
    pub queries: u64,
    /// Of these, those that had time to be answered.
    pub matured: u64,
    /// Responses.
    pub answered: u64,
    /// Of these, with any code but 0.
    pub failed: u64,
    /// Of these, those by which the server says that it failed.
    pub server_failed: u64,
    /// Names that are missing under all endings tried, each once.
    pub missed: u64,
    /// Failures and queries of the last five to ten seconds: whether it goes on.
    pub recent: u64,
    /// It answered once, and did not fail.
    pub has_served: bool,
}

impl NameService {
    pub(crate) const fn new(now_ns: u64) -> Self {
        Self { ring: Ring::EMPTY, slot: now_ns / SLOT_NS, has_served: false }
    }

    /// Moves on to the slot of `now_ns`.
    pub(crate) fn catch_up(&mut self, now_ns: u64) {
        let slot = now_ns / SLOT_NS;
        (self.slot..slot).take(SLOTS).for_each(|_| self.ring.advance());
        self.slot = slot;
    }

    pub(crate) fn add(&mut self, facts: &FactCounts, now_ns: u64) {
        self.catch_up(now_ns);
        self.has_served |= facts.get(Fact::QueryAnswered) > facts.get(Fact::ServerFailed);
        self.ring.add(KEPT.map(|fact| facts.get(fact)));
    }

    pub(crate) fn minute(&self) -> NameMinute {
        let [queries, answered, failed, server_failed, missed, found] = self.ring.sum;
        let newest = |place: usize| self.ring.row(0)[place];
        let recent = |place: usize| newest(place) + self.ring.row(1)[place];
        NameMinute {
            queries,
            matured: queries.saturating_sub(newest(0)),
            answered,
            failed,
            server_failed,
            missed: missed.saturating_sub(found),
            recent: recent(2) + recent(0).saturating_sub(recent(1)),
            has_served: self.has_served,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fact::Facts;

    #[test]
    fn young_queries_have_not_matured_and_old_ones_are_forgotten() {
        let mut facts = FactCounts::default();
        let mut query = Facts::NONE;
        query.set(Fact::Query);
        facts.count(query);
        let mut names = NameService::new(0);
        names.add(&facts, 1);
        names.add(&facts, SLOT_NS);
        assert_eq!((names.minute().queries, names.minute().matured), (2, 1));
        names.catch_up(13 * SLOT_NS);
        assert_eq!(names.minute(), NameMinute::default());
    }
}
