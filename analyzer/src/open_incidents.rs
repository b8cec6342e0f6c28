//! The open incidents of one key, at most one of a kind.

use crate::config::Config;
use crate::incident::{Finding, Incident, Kind, State, Target};
use crate::sight::Sight;

/// What all keys are judged by at a tick's end.
pub(crate) struct Judging<'a> {
    pub(crate) config: &'a Config,
    /// Whether the source shows both directions' handshake segments.
    pub(crate) answers_visible: bool,
    /// Whether the source shows whole packets: without, what only they tell is unknown.
    pub(crate) whole_packets: bool,
    /// End of the tick, nanoseconds of packet time.
    pub(crate) now_ns: u64,
    pub(crate) sight: &'a Sight,
    /// Why the tick was seen too badly to go by, if it was.
    pub(crate) blindness: Option<&'a str>,
}

/// What a tick changes: incidents that opened, changed or closed, and the number of the last one.
pub(crate) struct Changing<'a> {
    pub(crate) numbers: &'a mut u64,
    pub(crate) changed: &'a mut Vec<Incident>,
}

/// Incidents remembered for [`crate::incident::REOPEN_NS`] after they closed, of each key.
const RESTING_MAX: usize = 4;

/// Open incidents, and those that closed a short time ago.
#[derive(Debug, Default)]
pub(crate) struct OpenIncidents {
    open: Vec<Incident>,
    resting: Vec<Incident>,
}

impl OpenIncidents {
    pub(crate) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Whether one is open, or may be opened again under its name.
    pub(crate) fn may_go_on(&self, now_ns: u64) -> bool {
        !self.open.is_empty() || self.resting.iter().any(|incident| incident.may_reopen(now_ns))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Incident> {
        self.open.iter()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Incident> {
        self.open.iter_mut()
    }

    pub(crate) fn has(&self, kind: Kind) -> bool {
        self.open.iter().any(|incident| incident.peak.kind == kind)
    }

    /// Opens an incident or goes on with one.
    pub(crate) fn take(
        &mut self,
        mut finding: Finding,
        target: Target,
        judging: &Judging<'_>,
        changing: &mut Changing<'_>,
    ) {
        let now_ns = judging.now_ns;
        let known = self.open.iter_mut().find(|incident| incident.peak.kind == finding.kind);
        if let Some(why) = judging.blindness {
            finding = finding.made_blind(why, known.as_ref().map(|known| known.peak.severity));
        }
        if let Some(known) = known {
            if known.hold(finding, now_ns) {
                changing.changed.push(known.clone());
            }
            return;
        }
        let back = self.resting.iter().position(|incident| incident.peak.kind == finding.kind);
        if let Some(mut incident) = back.map(|place| self.resting.remove(place))
            && incident.may_reopen(now_ns)
        {
            incident.reopen(finding, now_ns);
            changing.changed.push(incident.clone());
            self.open.push(incident);
            return;
        }
        *changing.numbers += 1;
        let seen = judging.sight.last().clone();
        let incident = Incident::open(*changing.numbers, target, finding, now_ns, seen);
        changing.changed.push(incident.clone());
        self.open.push(incident);
    }

    /// Closes those whose condition has been gone for long enough.
    pub(crate) fn close_over(&mut self, judging: &Judging<'_>, changing: &mut Changing<'_>) {
        let Judging { now_ns, config, .. } = *judging;
        self.close_where(now_ns, changing.changed, |incident| incident.is_over(now_ns, config.close_after_s));
    }

    /// Closes one that turned out to be another kind.
    pub(crate) fn supersede(&mut self, kind: Kind, now_ns: u64, changed: &mut Vec<Incident>) {
        self.close_where(now_ns, changed, |incident| incident.peak.kind == kind);
    }

    /// Closes everything at the end of the run.
    pub(crate) fn close_all(&mut self, now_ns: u64, changed: &mut Vec<Incident>) {
        self.close_where(now_ns, changed, |incident| incident.state != State::Closed);
    }

    fn close_where(&mut self, now_ns: u64, changed: &mut Vec<Incident>, is_over: impl Fn(&Incident) -> bool) {
        let resting = &mut self.resting;
        self.open.retain_mut(|incident| {
            let over = is_over(incident);
            if over {
                incident.close(now_ns);
                changed.push(incident.clone());
                resting.truncate(RESTING_MAX - 1);
                resting.insert(0, incident.clone());
            }
            !over
        });
    }
}
