//! What the engine remembers of one listener between ticks: sums, baselines, sources, open incidents.

use std::net::IpAddr;

use tidegauge_ebpf::listener::ListenerCounter;

use crate::baseline::{Baseline, SECONDS_MIN};
use crate::config::Config;
use crate::detect::{Evidence, Regulars, findings, is_low_window_second, slow_findings};
use crate::fact::Fact;
use crate::feature::{HandshakeTime, Handshakes, Sliding, Sources};
use crate::history::History;
use crate::incident::{Finding, HostTarget, Kind, Target};
use crate::learnt::LearntListener;
use crate::observation::listener::ListenerSums;
use crate::open_incidents::{Changing, Judging, OpenIncidents};
use crate::path::Trouble;
use crate::round_trip_time::RoundTripTime;
use crate::season::Season;
use crate::window::{ListenerKey, ListenerWindow};

/// Silence after which all sums are zero: ten whole seconds and the one that was cut into.
const SILENT_AFTER_NS: u64 = 11_000_000_000;

/// What a flood of attempts over many listeners shows as at each of them.
const OF_WIDE_FLOODS: [Kind; 3] = [Kind::SynFlood, Kind::ConnSurge, Kind::HandshakeFailure];
/// Floods of connections, each of which is a surge too.
const FLOODS: [Kind; 3] = [Kind::SynFlood, Kind::ConnectionFlood, Kind::HttpFlood];
/// How long after something a listener is judged over longer once a second.
const NOTEWORTHY_NS: u64 = 5_000_000_000;
/// What such things are, beside attempts that do not complete.
const NOTEWORTHY: [Fact; 4] = [Fact::SentAgain, Fact::ZeroWindow, Fact::ServerError, Fact::HelloFailed];
/// How long connections are taken to be in trouble of which nothing more is told: what is closed is probed once a minute.
const TROUBLE_NS: u64 = 65_000_000_000;
/// The same, of what is asked of listeners.
const NOTEWORTHY_ASKED: [Fact; 3] = [Fact::BriefLogin, Fact::PasswordSent, Fact::RequestTimeout];
/// Completed handshakes in a window from which on it is too: a tenth of the least rate that can be a flood.
const COMPLETED_NOTEWORTHY: u64 = 10;
/// Seconds after which a new least number of waiting heads is looked for.
const HEADS_FLOOR_S: u32 = 150;
/// Requests in a window from which on a listener is judged too: a tenth of the least rate that can be a flood.
const REQUESTS_NOTEWORTHY: u64 = 10;

/// Times the usual requests up to which a second is an ordinary one.
const REQUESTS_ORDINARY: f64 = 2.0;

/// One listener's memory.
#[derive(Debug, Default)]
pub(crate) struct ListenerState {
    sliding: Sliding,
    asked: Baseline,
    /// Attempts by hour of the week.
    season: Season,
    completed: Baseline,
    handshake_time: HandshakeTime,
    sources: Sources,
    low_window_seconds: u32,
    history: History,
    requests: Baseline,
    /// Connections open, and those with an incomplete request head, when it was last told.
    open: u32,
    heads: u32,
    /// A second has ended: what is judged over longer is due.
    second_ended: bool,
    requests_this_second: u64,
    /// Round trips, and what is usual of them.
    round_trip_time: RoundTripTime,
    /// Connections in trouble, and when that was last told, nanoseconds.
    trouble: Option<(Trouble, u64)>,
    /// When something last happened that is judged over longer, nanoseconds.
    noteworthy_ns: u64,
    /// Whole seconds since the sums went to zero; learnt when traffic returns.
    silent_seconds: u64,
    misuse: Misuse,
    /// Number of the engine's tick that `sliding` has come to.
    tick: u64,
    /// Number of the engine's second that all else has come to.
    second: u64,
    /// Packet time of the last window with traffic, nanoseconds.
    pub(crate) seen_ns: u64,
    pub(crate) incidents: OpenIncidents,
    /// Sums since the run began, for observations.
    pub(crate) sums: ListenerSums,
    /// Whether this listener ever completed a handshake: such a one is kept before others.
    pub(crate) proven: bool,
}

/// What is remembered for those who judge what is asked of a listener.
#[derive(Debug, Default)]
struct Misuse {
    /// Brief logins per second.
    logins: Baseline,
    logins_this_second: u64,
    /// Fewest heads that waited in the period before and in this one, and seconds of this one. Connections that went
    /// away without a word are never seen to end: those have been waiting all the time.
    heads_floor: [u32; 2],
    heads_seconds: u32,
    /// Attempts by source in the last whole sketch period.
    busiest: Vec<(IpAddr, u32)>,
    /// Those that were busy while nothing was wrong.
    regulars: Regulars,
    /// The same of requests.
    requests: Busy,
    regular_requesters: Regulars,
}

/// Counts by source: running sums of the current sketch period, and of the last whole one.
#[derive(Debug, Default)]
struct Busy {
    now: Vec<(IpAddr, u32)>,
    last: Vec<(IpAddr, u32)>,
}

impl Busy {
    fn note(&mut self, sources: &[(IpAddr, u32)]) {
        let most = |sources: &[(IpAddr, u32)]| sources.first().map_or(0, |(_, count)| *count);
        if most(sources) < most(&self.now) {
            std::mem::swap(&mut self.last, &mut self.now);
        }
        self.now.clear();
        self.now.extend_from_slice(sources);
    }
}

impl Misuse {
    /// Learns from a second in which nothing was wrong.
    fn learn(&mut self, config: &Config, heads: u32, requests: u64, usual_requests: f64) {
        self.logins.learn(std::mem::take(&mut self.logins_this_second));
        let [before, now] = &mut self.heads_floor;
        *now = (*now).min(heads);
        self.heads_seconds += 1;
        if self.heads_seconds == HEADS_FLOOR_S {
            self.heads_seconds = 0;
            (*before, *now) = (*now, heads);
        }
        if requests != 0 && (requests as f64) < config.http_flood_requests_per_s {
            self.regulars.learn(&self.busiest, config.http_flood_source_per_s);
        }
        if (requests as f64) < (usual_requests * REQUESTS_ORDINARY).max(config.http_flood_requests_per_s) {
            self.regular_requesters.learn(&self.requests.last, config.http_flood_source_per_s);
        }
    }

    fn heads_floor(&self) -> u32 {
        let [before, now] = self.heads_floor;
        before.min(now)
    }

    /// Takes attempts by source, a running sum of the current period; `last` is the sum before.
    fn note_sources(&mut self, last: &[(IpAddr, u32)], sources: &[(IpAddr, u32)]) {
        let most = |sources: &[(IpAddr, u32)]| sources.first().map_or(0, |(_, attempts)| *attempts);
        if most(sources) < most(last) {
            self.busiest = last.to_vec();
        }
    }
}

impl ListenerState {
    /// What is known of a listener before its first packet.
    pub(crate) fn of_learnt(learnt: LearntListener) -> Self {
        Self {
            asked: learnt.asked.into(),
            season: learnt.season.into(),
            completed: learnt.completed.into(),
            requests: learnt.requests.into(),
            proven: true,
            ..Self::default()
        }
    }

    /// What it has learnt; `None`: nothing that is of use.
    pub(crate) fn learnt(&mut self, key: ListenerKey, second: u64) -> Option<LearntListener> {
        self.sleep_until(second);
        self.learn_silence();
        self.completed.usual(SECONDS_MIN).filter(|_| self.proven)?;
        Some(LearntListener {
            addr: key.address,
            port: key.port,
            asked: (&self.asked).into(),
            completed: (&self.completed).into(),
            requests: (&self.requests).into(),
            season: (&self.season).into(),
        })
    }

    /// Moves on to tick number `tick`: listeners that nobody looks at are not moved at each.
    pub(crate) fn catch_up(&mut self, tick: u64) {
        let passed = tick - self.tick;
        if passed != 0 {
            self.sliding.advance(passed);
            self.tick = tick;
        }
    }

    /// Second number `second` ends, and tick number `tick` begins, at `now_ns`: learns from it.
    pub(crate) fn end_second(&mut self, config: &Config, second: u64, tick: u64, now_ns: u64) {
        self.second = second;
        self.low_window_seconds = match is_low_window_second(config, &self.sliding) {
            Some(true) => self.low_window_seconds + 1,
            Some(false) | None => 0,
        };
        self.round_trip_time.end_second(config, &self.sliding, self.incidents.is_empty());
        let asked = self.sliding.this_second(ListenerCounter::Attempted);
        self.season.note(now_ns, self.incidents.is_empty().then_some(asked));
        self.asked.expect(self.season.expected(now_ns));
        if self.incidents.is_empty() {
            self.asked.learn(asked);
            let one_sided = self.sliding.this_second(ListenerCounter::CompletedOneSided);
            self.completed.learn(self.sliding.this_second(ListenerCounter::Completed) + one_sided);
            let requests = std::mem::take(&mut self.requests_this_second);
            let usual = self.requests.usual(SECONDS_MIN).map_or(0.0, |usual| usual.median);
            self.requests.learn(requests);
            self.misuse.learn(config, self.heads, requests, usual);
        }
        self.history.add_heads(self.heads_waiting());
        self.requests_this_second = 0;
        self.misuse.logins_this_second = 0;
        self.history.end_second();
        self.second_ended = true;
        self.catch_up(tick);
        self.sliding.advance_second();
    }

    /// Catches up with the seconds that were not told to it, up to number `second`: all were silent.
    fn sleep_until(&mut self, second: u64) {
        let missed = second.saturating_sub(self.second);
        if missed != 0 {
            self.second = second;
            self.silent_seconds += missed;
            self.history.skip(missed);
        }
    }

    /// Traffic returns in tick number `tick`, after second number `second` ended; or begins.
    pub(crate) fn wake(&mut self, second: u64, tick: u64) {
        if self.seen_ns != 0 || self.proven {
            self.sleep_until(second);
        }
        (self.second, self.tick) = (second, tick);
    }

    /// Whether all sums are zero and nothing is open: then no end of a second needs to be told to it.
    pub(crate) fn is_silent(&self, now_ns: u64) -> bool {
        self.incidents.is_empty() && now_ns.saturating_sub(self.seen_ns) > SILENT_AFTER_NS
    }

    /// Skips time in which nothing was captured at all, up to tick number `tick`.
    pub(crate) fn skip(&mut self, seconds: u64, second: u64, tick: u64) {
        self.sleep_until(second);
        self.tick = tick;
        self.sliding = Sliding::default();
        self.low_window_seconds = 0;
        self.round_trip_time.skip();
        self.trouble = None;
        self.history.skip(seconds);
        self.silent_seconds += seconds;
    }

    /// Heads that wait, without those that always did.
    fn heads_waiting(&self) -> u32 {
        self.heads.saturating_sub(self.misuse.heads_floor())
    }

    fn learn_silence(&mut self) {
        let seconds = std::mem::take(&mut self.silent_seconds);
        self.requests.learn_silence(seconds);
        self.misuse.logins.learn_silence(seconds);
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
        let least = config.conn_rise_floor_per_s.min(config.syn_flood_low_per_s);
        syn as f64 >= least.min(config.conn_rate_limit_per_s)
            || self.low_window_seconds >= config.low_window_seconds
            || self.sliding.ten_seconds(ListenerCounter::TransfersSlow) != 0
            || self.trouble.is_some()
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
        self.sums.add(window, end_ns);
        self.history.add(window);
        self.requests_this_second += window.fact(Fact::Request);
        let failed = window.get(ListenerCounter::Attempted) > window.get(ListenerCounter::Completed);
        self.round_trip_time.note_slow_peers(window.slow_peers);
        let busy = window.fact(Fact::Request) >= REQUESTS_NOTEWORTHY
            || window.get(ListenerCounter::Completed) >= COMPLETED_NOTEWORTHY
            || NOTEWORTHY_ASKED.iter().any(|fact| window.fact(*fact) != 0);
        self.misuse.logins_this_second += window.fact(Fact::BriefLogin);
        if failed || busy || NOTEWORTHY.iter().any(|fact| window.fact(*fact) != 0) {
            self.noteworthy_ns = end_ns;
        }
        (self.open, self.heads) = (window.open, window.heads);
        self.handshake_time.learn(window);
        self.proven |= window.get(ListenerCounter::Completed) != 0;
        self.sources.distinct = window.distinct;
        self.sources.ttl_classes = window.ttl_classes;
        if !window.requesters.is_empty() {
            self.misuse.requests.note(&window.requesters);
        }
        if !window.sources.is_empty() {
            self.misuse.note_sources(&self.sources.top, &window.sources);
            self.sources.top.clone_from(&window.sources);
            self.sources.prefixes.clone_from(&window.prefixes);
        }
    }

    /// Takes what is told of its connections in trouble.
    pub(crate) fn note_trouble(&mut self, trouble: &Trouble, end_ns: u64) {
        self.trouble = (!trouble.is_over()).then_some((*trouble, end_ns));
    }

    /// Whether something happened in the last minutes that is judged over longer than a few seconds.
    pub(crate) fn is_worth_a_long_look(&self, now_ns: u64) -> bool {
        // Those that give up do so in bursts, a minute of which is one attack.
        self.heads_waiting() != 0
            || self.incidents.has(Kind::SlowHttp)
            || self.round_trip_time.is_long()
            || (self.noteworthy_ns != 0 && now_ns.saturating_sub(self.noteworthy_ns) < NOTEWORTHY_NS)
    }

    /// Judges the listener at a tick's end; `covered`: a flood is open that it is part of.
    pub(crate) fn judge(
        &mut self,
        judging: &Judging<'_>,
        (listener, covered): (ListenerKey, bool),
        changing: &mut Changing<'_>,
    ) {
        let Judging { config, answers_visible, whole_packets, now_ns, .. } = *judging;
        self.trouble = self.trouble.filter(|(_, told_ns)| now_ns.saturating_sub(*told_ns) < TROUBLE_NS);
        if self.is_silent(now_ns) {
            return;
        }
        let second_ended = std::mem::take(&mut self.second_ended);
        let (quick, slow) =
            (self.is_worth_judging(config), second_ended && self.is_worth_a_long_look(now_ns));
        if covered {
            self.history.forget_attempts();
        }
        if quick || slow {
            let evidence = Evidence {
                config,
                listener,
                sliding: &self.sliding,
                handshakes: Handshakes::of(&self.sliding, self.handshake_time.grace_ticks()),
                asked: &self.asked,
                completed: &self.completed,
                requests: &self.requests,
                sources: &self.sources,
                low_window_seconds: self.low_window_seconds,
                answers_visible,
                whole_packets,
                history: &self.history,
                open: self.open,
                round_trip_time: &self.round_trip_time,
                trouble: self.trouble.as_ref().map(|(trouble, _)| trouble),
                heads: self.heads_waiting(),
                logins: &self.misuse.logins,
                busiest: &self.misuse.busiest,
                regulars: &self.misuse.regulars,
                requesters: &self.misuse.requests.last,
                regular_requesters: &self.misuse.regular_requesters,
                served: self.proven,
            };
            let mut found = if quick { findings(&evidence) } else { Vec::new() };
            if slow {
                found.extend(slow_findings(&evidence));
            }
            // What is part of a flood over many listeners is told of that.
            found.retain(|finding| !(covered && OF_WIDE_FLOODS.contains(&finding.kind)));
            for finding in found {
                self.take(finding, judging, listener, changing);
            }
        }
        self.incidents.close_over(judging, changing);
    }

    /// Opens an incident or goes on with one.
    fn take(
        &mut self,
        finding: Finding,
        judging: &Judging<'_>,
        listener: ListenerKey,
        changing: &mut Changing<'_>,
    ) {
        // A surge next to an open flood is the flood's own completed part; attempts fail there because of it.
        let in_flood = |flood| self.incidents.has(flood);
        match finding.kind {
            Kind::ConnSurge if FLOODS.iter().any(|flood| in_flood(*flood)) => return,
            Kind::HandshakeFailure if in_flood(Kind::SynFlood) => return,
            _ => {}
        }
        if FLOODS.contains(&finding.kind) {
            self.incidents.supersede(Kind::ConnSurge, judging.now_ns, changing.changed);
        }
        // What is sent again into a black hole is not lost beside.
        if finding.kind == Kind::Loss && self.incidents.has(Kind::MtuBlackhole) {
            return;
        }
        if finding.kind == Kind::MtuBlackhole {
            self.incidents.supersede(Kind::Loss, judging.now_ns, changing.changed);
        }
        if finding.kind == Kind::SynFlood {
            self.incidents.supersede(Kind::HandshakeFailure, judging.now_ns, changing.changed);
            self.history.forget_attempts();
        }
        let target = self.target(&finding, listener);
        self.incidents.take(finding, target, judging, changing);
    }

    /// Whom a finding is about: of a path that swallows packets, the one destination behind it, where it is one.
    fn target(&self, finding: &Finding, listener: ListenerKey) -> Target {
        let stuck = self.trouble.as_ref().map(|(trouble, _)| &trouble.stuck);
        match stuck.and_then(|stuck| stuck.receiver.filter(|_| !stuck.is_several)) {
            Some(address) if finding.kind == Kind::MtuBlackhole && address != listener.address => {
                Target::Host(HostTarget { address, port: None, protocol: "tcp" })
            }
            _ => Target::Listener(listener),
        }
    }
}
