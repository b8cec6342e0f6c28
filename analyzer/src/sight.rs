//! What the engine knows of its own capture: the running second's losses, and the `capture_blind` incident.
//!
//! A source tells its losses since the start; here they become those of a second. After [`BLIND_OPEN_NS`] of blind
//! seconds in a row an incident about ourselves opens; it closes after [`BLIND_CLOSE_S`] seconds that are not blind.

use std::collections::BTreeMap;

use tidegauge_ebpf::counter::Counter;

use crate::incident::{Finding, Incident, Kind, Severity, Target};
use crate::quality::{BLIND_SHARE, Interval, Lag, Reason, SourceLosses, Verdict, reasons};
use crate::window::Window;

/// Blind time in a row that opens an incident, nanoseconds: three seconds.
pub(crate) const BLIND_OPEN_NS: u64 = 3_000_000_000;
/// Seconds without blindness that close it.
pub(crate) const BLIND_CLOSE_S: u32 = 5;
/// Frames offered in a second below which it is not called blind for what was not read of them: a frame a second of a
/// protocol that nobody here reads says nothing of the rest.
const FRAMES_MIN: u64 = 10;
/// Frames offered in the running second below which it is not judged before its end.
const RUNNING_FRAMES_MIN: u64 = 1_000;

/// The engine's view of its capture.
#[derive(Debug, Default)]
pub(crate) struct Sight {
    /// What the source had lost when it was last told.
    told: BTreeMap<&'static str, u64>,
    /// When the ticks that come next are handled, once a live source told.
    handled_ns: Option<u64>,
    /// Lag of the tick that comes next beside its own lateness. It may be in the next second.
    next_lag: Lag,
    /// The running second, of which nothing was told yet.
    second: Interval,
    /// The last whole second.
    last: Interval,
    /// Blind time in a row up to the last second, nanoseconds.
    blind_ns: u64,
    /// The open incident about ourselves.
    pub(crate) incident: Option<Incident>,
}

impl Sight {
    /// The source's losses up to now, when ticks are handled from now on, and what else makes the next one late.
    pub(crate) fn note(&mut self, losses: &SourceLosses, now_ns: u64, lag: Lag) {
        for (place, lost) in &losses.dropped {
            let before = self.told.insert(place, *lost).unwrap_or_default();
            self.second.drop_frames(place, lost.saturating_sub(before));
        }
        self.handled_ns = Some(now_ns);
        self.next_lag.merge(lag);
    }

    /// Adds a tick's counts; returns its lag, where there is a clock.
    pub(crate) fn count(&mut self, window: &Window) -> Option<Lag> {
        self.second.count(&window.totals);
        self.second.note_sampling(window.sampling.as_ref());
        self.second.length_ns += window.end_ns.saturating_sub(window.start_ns);
        let late_ns = self.handled_ns?.saturating_sub(window.end_ns);
        let beside = std::mem::take(&mut self.next_lag);
        let merged_ticks = beside.merged_ticks;
        let lag = Lag { merged_ticks, ..Lag::of_tick(late_ns.max(beside.worst_ns)) };
        self.second.note_lag(lag);
        Some(lag)
    }

    /// The last whole second: where what opens now began.
    pub(crate) const fn last(&self) -> &Interval {
        &self.last
    }

    /// The running second.
    pub(crate) const fn running(&self) -> &Interval {
        &self.second
    }

    /// Why findings of this tick are made half blind, in words; `None` where they are not.
    pub(crate) fn blindness(&self) -> Option<String> {
        let running =
            (self.second.offered() >= RUNNING_FRAMES_MIN).then(|| blindness(&self.second)).flatten();
        running.or_else(|| blindness(&self.last))
    }

    /// The running second is over: returned, and judged.
    pub(crate) fn end_second(
        &mut self,
        now_ns: u64,
        numbers: &mut u64,
        changed: &mut Vec<Incident>,
    ) -> Interval {
        self.last = std::mem::take(&mut self.second);
        if let Some(incident) = &mut self.incident {
            incident.seen.merge(&self.last);
        }
        let Some(why) = blindness(&self.last) else {
            self.blind_ns = 0;
            return self.last.clone();
        };
        self.blind_ns += self.last.length_ns;
        let finding = finding(self.blind_ns, &self.last, why);
        if let Some(incident) = &mut self.incident {
            if incident.hold(finding, now_ns) {
                changed.push(incident.clone());
            }
        } else if self.blind_ns >= BLIND_OPEN_NS {
            *numbers += 1;
            let incident = Incident::open(*numbers, Target::Capture, finding, now_ns, self.last.clone());
            changed.push(incident.clone());
            self.incident = Some(incident);
        }
        self.last.clone()
    }

    /// Closes the incident once the capture has seen well for long enough.
    pub(crate) fn judge(&mut self, now_ns: u64, changed: &mut Vec<Incident>) {
        if self.incident.as_ref().is_some_and(|incident| incident.is_over(now_ns, BLIND_CLOSE_S)) {
            self.close(now_ns, changed);
        }
    }

    /// Closes the incident, if one is open.
    pub(crate) fn close(&mut self, now_ns: u64, changed: &mut Vec<Incident>) {
        changed.extend(self.incident.take().map(|mut incident| {
            incident.close(now_ns);
            incident
        }));
    }
}

/// The reasons that make an interval blind, in words.
fn blindness(interval: &Interval) -> Option<String> {
    if interval.offered() < FRAMES_MIN && interval.lag.is_none() {
        return None;
    }
    let reasons = reasons(interval, &SourceLosses::default());
    let blind: Vec<_> =
        reasons.iter().filter(|reason| reason.verdict() == Verdict::Blind).map(Reason::to_string).collect();
    (!blind.is_empty()).then(|| blind.join(", "))
}

fn finding(blind_ns: u64, interval: &Interval, why: String) -> Finding {
    let limit_s = BLIND_OPEN_NS as f64 / 1e9;
    let blind_s = blind_ns as f64 / 1e9;
    let mut facts = vec![
        ("lost_frames", interval.dropped.values().sum::<u64>() as f64),
        ("captured_frames", interval.get(Counter::Packets) as f64),
    ];
    facts.extend(interval.lag.map(|lag| ("lag_ms_max", lag.worst_ns as f64 / 1e6)));
    Finding {
        kind: Kind::CaptureBlind,
        severity: Severity::P2,
        rule: format!(
            "more than {:.0} % of frames lost or unread, or counters not read in time, for {limit_s:.0} s",
            BLIND_SHARE * 100.0
        ),
        measured: blind_s,
        unit: "s blind",
        limit: limit_s,
        baseline: None,
        facts,
        window_s: blind_s,
        distinct_sources: None,
        spoofed_estimate: None,
        top_sources: Vec::new(),
        top_prefixes: Vec::new(),
        ttl_classes: None,
        cause: vec![format!("{why}: other findings are made on what is left, and not upgraded")],
        next: vec![
            "cat /proc/pressure/cpu; ps -eLo pcpu,psr,comm --sort=-pcpu | head".to_owned(),
            "ip -s -s link; awk '{print $2, $3}' /proc/net/softnet_stat".to_owned(),
            "for nic in /sys/class/net/*/device; do nic=${nic%/device}; ethtool -S ${nic##*/}; ethtool -g ${nic##*/}; done | grep -iE 'drop|miss|fifo|RX:'".to_owned(),
        ],
    }
}
