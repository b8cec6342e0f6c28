//! What the engine remembers of one listener between ticks: sums, baselines, sources, open incidents.

use tidegauge_ebpf::listener::ListenerCounter;

use crate::baseline::{Baseline, SECONDS_MIN, SECONDS_MIN_SERVED};
use crate::config::Config;
use crate::detect::{Evidence, findings, is_low_window_second};
use crate::feature::{HandshakeTime, Handshakes, Sliding, Sources};
use crate::incident::{Finding, Incident, Kind, State, Target};
use crate::sight::Sight;
use crate::window::{ListenerKey, ListenerWindow};

/// Silence after which all sums are zero: ten whole seconds and the one that was cut into.
const SILENT_AFTER_NS: u64 = 11_000_000_000;

/// What all listeners are judged by at a tick's end.
pub(crate) struct Judging<'a> {
    pub(crate) config: &'a Config,
    /// Whether the source shows both directions' handshake segments.
    pub(crate) answers_visible: bool,
    /// End of the tick, nanoseconds of packet time.
    pub(crate) now_ns: u64,
    pub(crate) sight: &'a Sight,
    /// Why the tick was seen too badly to go by, if it was.
    pub(crate) blindness: Option<&'a str>,
}

/// One listener's memory.
#[derive(Debug, Default)]
pub(crate) struct ListenerState {
    sliding: Sliding,
    asked: Baseline,
    completed: Baseline,
    handshake_time: HandshakeTime,
    sources: Sources,
    low_window_seconds: u32,
    /// Whole seconds since the sums went to zero; learnt when traffic returns.
    silent_seconds: u64,
    /// Number of the engine's tick that `sliding` has come to.
    tick: u64,
    /// Packet time of the last window with traffic, nanoseconds.
    pub(crate) seen_ns: u64,
    /// Open ones, at most one of a kind.
    pub(crate) incidents: Vec<Incident>,
    /// Whether this listener ever completed a handshake: such a one is kept before others.
    pub(crate) proven: bool,
}

impl ListenerState {
    /// Moves on to tick number `tick`: listeners that nobody looks at are not moved at each.
    pub(crate) fn catch_up(&mut self, tick: u64) {
        let passed = tick - self.tick;
        if passed != 0 {
            self.sliding.advance(passed);
            self.tick = tick;
        }
    }

    /// A second ends, and tick number `tick` begins, at `now_ns`: learns from it.
    pub(crate) fn end_second(&mut self, config: &Config, tick: u64, now_ns: u64) {
        if self.is_silent(now_ns) {
            self.silent_seconds += 1;
            self.tick = tick;
            return;
        }
        self.low_window_seconds = match is_low_window_second(config, &self.sliding) {
            Some(true) => self.low_window_seconds + 1,
            Some(false) | None => 0,
        };
        if self.incidents.is_empty() {
            self.asked.learn(self.sliding.this_second(ListenerCounter::Attempted));
            let one_sided = self.sliding.this_second(ListenerCounter::CompletedOneSided);
            self.completed.learn(self.sliding.this_second(ListenerCounter::Completed) + one_sided);
        }
        self.catch_up(tick);
        self.sliding.advance_second();
    }

    /// Whether all sums are zero and nothing is open: then a tick costs nothing.
    fn is_silent(&self, now_ns: u64) -> bool {
        self.incidents.is_empty() && now_ns.saturating_sub(self.seen_ns) > SILENT_AFTER_NS
    }

    /// Skips time in which nothing was captured at all, up to tick number `tick`.
    pub(crate) fn skip(&mut self, seconds: u64, tick: u64) {
        self.tick = tick;
        self.sliding = Sliding::default();
        self.low_window_seconds = 0;
        self.silent_seconds += seconds;
    }

    fn learn_silence(&mut self) {
        let seconds = std::mem::take(&mut self.silent_seconds);
        self.asked.learn_silence(seconds);
        self.completed.learn_silence(seconds);
    }

    /// Attempts in the last second.
    pub(crate) fn asked_last_second(&self) -> u64 {
        self.sliding.last_second(ListenerCounter::Attempted)
    }

    /// Whether a detector could find anything: most listeners at most ticks are quiet.
    pub(crate) fn is_worth_judging(&self, config: &Config) -> bool {
        let syn = self.sliding.last_second(ListenerCounter::Attempted)
            + self.sliding.last_second(ListenerCounter::SynRetransmission);
        syn as f64 >= config.conn_rise_floor_per_s.min(config.conn_rate_limit_per_s)
            || self.low_window_seconds >= config.low_window_seconds
            || self.sliding.ten_seconds(ListenerCounter::TransfersSlow) != 0
    }

    /// Adds the window of tick number `tick`.
    pub(crate) fn add(&mut self, window: &ListenerWindow, tick: u64, end_ns: u64) {
        self.catch_up(tick);
        if self.silent_seconds != 0 {
            self.sliding = Sliding::default();
            self.learn_silence();
        }
        self.seen_ns = end_ns;
        self.sliding.add(window);
        self.handshake_time.learn(window);
        self.proven |= window.get(ListenerCounter::Completed) != 0;
        self.sources.distinct = window.distinct;
        self.sources.ttl_classes = window.ttl_classes;
        if !window.sources.is_empty() {
            self.sources.top.clone_from(&window.sources);
            self.sources.prefixes.clone_from(&window.prefixes);
        }
    }

    /// Judges the listener at a tick's end: incidents that opened, changed or closed are appended to `changed`.
    pub(crate) fn judge(
        &mut self,
        judging: &Judging<'_>,
        listener: ListenerKey,
        numbers: &mut u64,
        changed: &mut Vec<Incident>,
    ) {
        let Judging { config, answers_visible, now_ns, .. } = *judging;
        if self.is_silent(now_ns) {
            return;
        }
        if self.is_worth_judging(config) {
            let found = findings(&Evidence {
                config,
                listener,
                sliding: &self.sliding,
                handshakes: Handshakes::of(&self.sliding, self.handshake_time.grace_ticks()),
                usual_asked: self.asked.usual(SECONDS_MIN_SERVED),
                is_rise_known: self.asked.usual(SECONDS_MIN).is_some(),
                usual_completed: self.completed.usual(SECONDS_MIN_SERVED),
                sources: &self.sources,
                low_window_seconds: self.low_window_seconds,
                answers_visible,
            });
            for finding in found {
                self.take(finding, judging, listener, numbers, changed);
            }
        }
        self.incidents.retain_mut(|incident| {
            let over = incident.is_over(now_ns, config.close_after_s);
            if over {
                incident.close(now_ns);
                changed.push(incident.clone());
            }
            !over
        });
    }

    /// Opens an incident or goes on with one.
    fn take(
        &mut self,
        mut finding: Finding,
        judging: &Judging<'_>,
        listener: ListenerKey,
        numbers: &mut u64,
        changed: &mut Vec<Incident>,
    ) {
        let now_ns = judging.now_ns;
        let known = self.incidents.iter_mut().find(|incident| incident.peak.kind == finding.kind);
        if let Some(why) = judging.blindness {
            finding = finding.made_blind(why, known.as_ref().map(|known| known.peak.severity));
        }
        if let Some(known) = known {
            if known.hold(finding, now_ns) {
                changed.push(known.clone());
            }
            return;
        }
        // A surge next to an open flood is the flood's own completed part.
        if finding.kind == Kind::ConnSurge && self.has_open(Kind::SynFlood) {
            return;
        }
        if finding.kind == Kind::SynFlood {
            self.supersede(Kind::ConnSurge, now_ns, changed);
        }
        *numbers += 1;
        let seen = judging.sight.last().clone();
        let incident = Incident::open(*numbers, Target::Listener(listener), finding, now_ns, seen);
        changed.push(incident.clone());
        self.incidents.push(incident);
    }

    fn has_open(&self, kind: Kind) -> bool {
        self.incidents.iter().any(|incident| incident.peak.kind == kind)
    }

    /// Closes an incident that turned out to be another kind.
    fn supersede(&mut self, kind: Kind, now_ns: u64, changed: &mut Vec<Incident>) {
        self.incidents.retain_mut(|incident| {
            let superseded = incident.peak.kind == kind;
            if superseded {
                incident.close(now_ns);
                changed.push(incident.clone());
            }
            !superseded
        });
    }

    /// Closes everything at the end of the run.
    pub(crate) fn close_all(&mut self, now_ns: u64, changed: &mut Vec<Incident>) {
        for mut incident in self.incidents.drain(..) {
            if incident.state != State::Closed {
                incident.close(now_ns);
                changed.push(incident);
            }
        }
    }
}
