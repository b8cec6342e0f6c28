//! What the engine remembers of one destination that packets do not reach: the last ten seconds, open incidents.

use std::net::IpAddr;

use crate::detect::{PathEvidence, path_findings};
use crate::feature::Ring;
use crate::open_incidents::{Changing, Judging, OpenIncidents};
use crate::path::{PathWindow, ROUTERS_MAX};

/// Whole seconds that are summed.
const SECONDS: usize = 10;
/// Silence after which a destination is forgotten: its sums are zero.
const SILENT_AFTER_NS: u64 = 12_000_000_000;
/// Places in the sums; routers' come behind them.
const TTL_EXCEEDED: usize = 0;
const PROBES: usize = 1;
const PASSED_AGAIN: usize = 2;
const ROUTERS: usize = 3;
const COUNTS: usize = ROUTERS + ROUTERS_MAX;

/// One destination's memory.
#[derive(Debug)]
pub(crate) struct PathState {
    seconds: Ring<COUNTS, SECONDS>,
    /// Who has a place in the sums.
    routers: [Option<IpAddr>; ROUTERS_MAX],
    sender: Option<IpAddr>,
    /// TTL classes of packets to it, and when they were seen.
    ttl_classes: u64,
    ttl_seen_ns: u64,
    pub(crate) seen_ns: u64,
    pub(crate) incidents: OpenIncidents,
}

impl Default for PathState {
    fn default() -> Self {
        Self {
            seconds: Ring::EMPTY,
            routers: [None; ROUTERS_MAX],
            sender: None,
            ttl_classes: 0,
            ttl_seen_ns: 0,
            seen_ns: 0,
            incidents: OpenIncidents::default(),
        }
    }
}

impl PathState {
    /// Adds what a window says of it.
    pub(crate) fn add(&mut self, path: &PathWindow, end_ns: u64) {
        let mut counts = [0; COUNTS];
        counts[TTL_EXCEEDED] = path.ttl_exceeded.into();
        counts[PROBES] = path.probes.into();
        counts[PASSED_AGAIN] = path.passed_again.into();
        for (router, said) in &path.routers {
            if let Some(place) = self.place_of(*router) {
                counts[ROUTERS + place] += u64::from(*said);
            }
        }
        self.seconds.add(counts);
        self.sender = path.sender.or(self.sender);
        self.seen_ns = end_ns;
    }

    /// A router's place in the sums; one that has said nothing lately gives its own up.
    fn place_of(&mut self, router: IpAddr) -> Option<usize> {
        let known = self.routers.iter().position(|known| *known == Some(router));
        let is_quiet = |place: &usize| self.seconds.sum[ROUTERS + place] == 0;
        let place = known.or_else(|| (0..ROUTERS_MAX).find(is_quiet))?;
        self.routers[place] = Some(router);
        Some(place)
    }

    /// Packets to it with these TTL classes were seen.
    pub(crate) const fn note_ttl(&mut self, ttl_classes: u64, end_ns: u64) {
        if end_ns.saturating_sub(self.ttl_seen_ns) > SILENT_AFTER_NS {
            self.ttl_classes = 0;
        }
        self.ttl_classes |= ttl_classes;
        self.ttl_seen_ns = end_ns;
    }

    /// A second is over.
    pub(crate) fn end_second(&mut self) {
        self.seconds.advance();
    }

    /// Whether it is still of interest.
    pub(crate) fn is_live(&self, now_ns: u64) -> bool {
        !self.incidents.is_empty() || now_ns.saturating_sub(self.seen_ns) < SILENT_AFTER_NS
    }

    /// Judges the destination at a tick's end.
    pub(crate) fn judge(&mut self, judging: &Judging<'_>, destination: IpAddr, changing: &mut Changing<'_>) {
        let sums = &self.seconds.sum;
        if sums[TTL_EXCEEDED] != 0 || sums[PASSED_AGAIN] != 0 {
            let places = self.routers.iter().zip(&sums[ROUTERS..]);
            let mut routers: Vec<(IpAddr, u64)> =
                places.filter_map(|(router, said)| Some(((*router)?, *said))).collect();
            routers.sort_unstable_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
            let found = path_findings(&PathEvidence {
                config: judging.config,
                destination,
                ttl_exceeded: sums[TTL_EXCEEDED],
                probes: sums[PROBES],
                routers: &routers,
                passed_again: sums[PASSED_AGAIN],
                sender: self.sender,
                ttl_classes: self.ttl_classes,
            });
            if let Some((target, finding)) = found {
                self.incidents.take(finding, target, judging, changing);
            }
        }
        self.incidents.close_over(judging, changing);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_router_that_has_fallen_silent_gives_its_place_up() {
        let mut path = PathState::default();
        let note = |router: u8| PathWindow {
            ttl_exceeded: 1,
            routers: vec![(IpAddr::from([172, 16, 0, router]), 1)],
            ..PathWindow::default()
        };
        (1..=5).for_each(|router| path.add(&note(router), 1));
        assert_eq!(path.place_of(IpAddr::from([172, 16, 0, 5])), None, "all four places are taken");
        assert_eq!(path.seconds.sum[TTL_EXCEEDED], 5);
        (0..SECONDS).for_each(|_| path.end_second());
        assert_eq!(path.place_of(IpAddr::from([172, 16, 0, 5])), Some(0));
        assert_eq!(path.seconds.sum, [0; COUNTS]);
    }
}
