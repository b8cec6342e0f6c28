//! `http_flood`: more requests than a listener can be meant to answer, from clients that are none.
//!
//! Attack: complete requests, as fast as they go, mostly for pages that cost the server much.
//! Measured: requests per second over five to ten seconds against what is usual, or half as many again over three to five; and among the sixteen busiest
//! sources those that open more connections a second than a browser does and were not busy here before, with their share
//! of all connections. Or, over connections that are kept: what is more than usual of requests for each connection that is
//! more than usual, requests per open connection, and which of the sixteen that make most requests made many before.
//! Ordinary traffic does not trigger it: a flash crowd is many clients with few connections each, so that the busiest have
//! a small share; proxies, gateways and load balancers that are busy all day are known by then; a crawler
//! that is fast for the site is below the floor. A crowd that keeps its connections opens one for every few requests; pages
//! that ask again and again do so every few seconds.
//! Thresholds: 500 requests/s and five times the usual; sources with 8 connections a second or more that have a tenth of
//! all (`http_flood_*`). Where nothing is known of before: twice the floor, half of the connections theirs, and the
//! server behind with its answers. Of kept connections ten requests for each that is new and one a second for each that is
//! open, half of them by sources that are new.
//! What would fool it: HTTP/2 and TLS (nothing of them is read), a
//! thousand sources that are each as slow as a person; a load test looks like an attack (the finding says so).

use std::net::IpAddr;

use super::Evidence;
use super::asking::nft_family;
use crate::baseline::{SECONDS_MIN, Usual};
use crate::feature::ratio;
use crate::history::{Remembered, SLOT_S};
use crate::incident::{Finding, Kind, Severity};

/// Where nothing is known of before: times the floor, share of the busy sources, and shares of responses between which
/// the server is behind. Below the lower one it is the view that lacks them.
const UNKNOWN_FACTOR: f64 = 2.0;
const UNKNOWN_SOURCE_SHARE: f64 = 0.5;
const BEHIND_SHARE: [f64; 2] = [0.1, 0.5];
/// Seconds of a slot from which on it is judged alone, and times the limits that it then takes: so that a flood that began
/// with it does not wait for the next one, and a short burst is none.
const UNDER_WAY_S: u64 = 3;
const UNDER_WAY_FACTOR: f64 = 1.5;
/// Share of failures and of requests without response from which on clients are turned away.
const DEGRADED_SHARE: f64 = 0.05;

/// Requests beyond the usual for each connection beyond the usual, and requests a second for each that is open: of kept
/// connections. Browsers open six for a page of thirty parts.
const KEPT_REQUESTS: f64 = 10.0;
const KEPT_PER_S: f64 = 1.0;
/// Share of the requests that must then be of sources that are new.
const KEPT_NEW_SHARE: f64 = 0.5;

/// Sources that are too busy, and what they are that.
struct Busy {
    sources: Vec<(IpAddr, u32)>,
    share: f64,
    does: String,
}

/// What came in some slots.
struct Slots {
    span_s: f64,
    requests_per_s: f64,
    completed_per_s: f64,
    /// Responses to the requests.
    answered_share: f64,
    failed_share: f64,
}

impl Slots {
    /// By `sum` over `span_s`; `None` where nobody asked.
    fn of(sum: impl Fn(Remembered) -> u64, span_s: u64) -> Option<Self> {
        let (requests, responses, span_s) =
            (sum(Remembered::Request), sum(Remembered::Response), span_s as f64);
        Some(Self {
            span_s,
            requests_per_s: requests as f64 / span_s,
            completed_per_s: sum(Remembered::Completed) as f64 / span_s,
            answered_share: ratio(responses, requests)?,
            failed_share: ratio(sum(Remembered::ServerError), responses).unwrap_or(0.0),
        })
    }
}

/// Judges the last whole slot and the one that is not over; and that one alone once it is half over, where there is more.
pub(super) fn detect(evidence: &Evidence<'_>) -> Option<Finding> {
    let history = evidence.history;
    let both = Slots::of(|remembered| history.sum(remembered, SLOT_S), history.span_s(SLOT_S));
    both.and_then(|slots| judge(evidence, &slots, 1.0)).or_else(|| {
        let is_long_enough = history.under_way_s() >= UNDER_WAY_S;
        let slots = Slots::of(|remembered| history.under_way(remembered), history.under_way_s());
        judge(evidence, &slots.filter(|_| is_long_enough)?, UNDER_WAY_FACTOR)
    })
}

/// Judges what came; the limits are `factor` times as high.
fn judge(evidence: &Evidence<'_>, slots: &Slots, factor: f64) -> Option<Finding> {
    let config = evidence.config;
    let floor = config.http_flood_requests_per_s * factor;
    if slots.requests_per_s < floor {
        return None;
    }
    let usual = evidence.requests.usual(SECONDS_MIN);
    let (limit, share_min) = match usual {
        Some(usual) => (usual.median * config.http_flood_rise_factor, config.http_flood_source_share),
        None => {
            let [view_lacks, behind] = BEHIND_SHARE;
            let is_behind = slots.answered_share >= view_lacks && slots.answered_share < behind;
            is_behind.then_some((UNKNOWN_FACTOR * config.http_flood_requests_per_s, UNKNOWN_SOURCE_SHARE))?
        }
    };
    let limit = (limit * factor).max(floor);
    if slots.requests_per_s < limit {
        return None;
    }
    let busy = opening(evidence, share_min).or_else(|| asking_on(evidence, slots, usual?))?;
    Some(finding(evidence, slots, limit, &busy))
}

/// Sources that no browser is and that were not busy before, by the connections that they open in a second.
fn opening(evidence: &Evidence<'_>, share_min: f64) -> Option<Busy> {
    let least = evidence.config.http_flood_source_per_s;
    let busy = evidence.busiest.iter().take_while(|(_, attempts)| u64::from(*attempts) >= least);
    let sources: Vec<_> = busy.filter(|(source, _)| !evidence.regulars.has(*source)).copied().collect();
    let attempts = sources.iter().map(|(_, attempts)| u64::from(*attempts)).sum();
    let share = ratio(attempts, evidence.handshakes.asked.max(attempts))?;
    let does = format!("open {least} connections/s or more each");
    (share >= share_min).then_some(Busy { sources, share, does })
}

/// Sources that are new and make most requests, where these come over connections that are kept.
fn asking_on(evidence: &Evidence<'_>, last: &Slots, usual: Usual) -> Option<Busy> {
    let usual_completed = evidence.usual_completed().map_or(0.0, |usual| usual.median);
    let more_connections = (last.completed_per_s - usual_completed).max(1.0);
    let more_requests = last.requests_per_s - usual.median;
    let are_kept = more_requests >= more_connections * KEPT_REQUESTS
        && evidence.open != 0
        && more_requests >= f64::from(evidence.open) * KEPT_PER_S;
    let is_new = |source: IpAddr| !evidence.regular_requesters.has(source);
    let count = |list: &[(IpAddr, u32)]| list.iter().map(|(_, requests)| u64::from(*requests)).sum::<u64>();
    let sources: Vec<_> = evidence.requesters.iter().filter(|(source, _)| is_new(*source)).copied().collect();
    let share = ratio(count(&sources), count(evidence.requesters))?;
    let does = "keep their connections and ask on".to_owned();
    (are_kept && share >= KEPT_NEW_SHARE).then_some(Busy { sources, share, does })
}

fn finding(evidence: &Evidence<'_>, last: &Slots, limit: f64, busy: &Busy) -> Finding {
    let config = evidence.config;
    let (port, address) = (evidence.listener.port, evidence.listener.address);
    let usual = evidence.requests.usual(SECONDS_MIN).map(|usual| usual.median);
    let requests_per_s = last.requests_per_s;
    Finding {
        kind: Kind::HttpFlood,
        severity: severity(last),
        rule: format!(
            "requests/s >= {limit:.0} and sources that are new here and {} have {:.2} of those of the busiest",
            busy.does, busy.share
        ),
        measured: requests_per_s,
        unit: "requests/s",
        limit,
        baseline: usual,
        facts: vec![
            ("responses_per_request", last.answered_share),
            ("status_5xx_share", last.failed_share),
            ("busy_sources", busy.sources.len() as f64),
            ("busy_sources_share", busy.share),
            ("open", evidence.open.into()),
        ],
        window_s: last.span_s,
        distinct_sources: Some(evidence.sources.distinct.estimate()),
        spoofed_estimate: Some(0.0),
        top_sources: busy.sources.clone(),
        top_prefixes: evidence.sources.prefixes.clone(),
        ttl_classes: Some(evidence.sources.ttl_classes.count_ones()),
        cause: vec![
            format!(
                "HTTP flood: {requests_per_s:.0} requests/s where {} is usual; of the busiest sources {} are new here and {}, {:.0} % of all",
                usual.map_or("nothing known".to_owned(), |usual| format!("{usual:.0}")),
                busy.sources.len(),
                busy.does,
                busy.share * 100.0
            ),
            "or a load test, or a proxy that was moved here".to_owned(),
        ],
        next: vec![
            format!("ss -Htn 'sport = :{port}' | awk '{{print $4}}' | sort | uniq -c | sort -rn | head"),
            format!(
                "tcpdump -nA -c 200 -i any 'tcp dst port {port} and dst host {address}' | grep -aE '^(GET|POST|HEAD) ' | sort | uniq -c | sort -rn | head"
            ),
            format!("ss -Hltn 'sport = :{port}'"),
            format!(
                "nft add rule inet filter input {family} daddr {address} tcp dport {port} ct state new meter http_flood {{ {family} saddr limit rate over {}/second }} drop",
                config.http_flood_source_per_s,
                family = nft_family(address)
            ),
        ],
    }
}

/// P1 where half of what is asked is not served, P2 where some is not.
fn severity(last: &Slots) -> Severity {
    // A view that has no responses does not say that there are none.
    let seen = last.answered_share >= BEHIND_SHARE[0];
    let unserved = last.failed_share.max(if seen { 1.0 - last.answered_share } else { 0.0 });
    match unserved {
        unserved if unserved >= 1.0 - BEHIND_SHARE[1] => Severity::P1,
        unserved if unserved >= DEGRADED_SHARE => Severity::P2,
        _ => Severity::P3,
    }
}

#[cfg(test)]
mod tests {
    use tidegauge_ebpf::listener::ListenerCounter;

    use super::*;
    use crate::detect::testing_asked::{Heard, facts, host};
    use crate::fact::Fact;

    fn heard(usual: u64, requests: u64, responses: u64, busiest: impl IntoIterator<Item = u32>) -> Heard {
        let mut heard = Heard::default();
        (0..60).for_each(|_| heard.requests.learn(usual));
        heard.seconds(10, |window| {
            (0..requests).for_each(|_| window.facts.count(facts(&[Fact::Request])));
            (0..responses).for_each(|_| window.facts.count(facts(&[Fact::Response])));
        });
        heard.busiest = (1..).zip(busiest).map(|(number, attempts)| (host(number), attempts)).collect();
        heard.handshakes.asked = requests;
        heard
    }

    #[test]
    fn a_rise_by_sources_that_are_no_browsers_is_a_flood() {
        let finding = heard(100, 1_100, 1_100, [10; 16]).judge(detect).unwrap();
        assert_eq!((finding.kind, finding.severity), (Kind::HttpFlood, Severity::P3));
        assert_eq!((finding.measured, finding.limit, finding.next.len()), (1_100.0, 500.0, 4));
        assert_eq!(heard(100, 1_100, 400, [10; 16]).judge(detect).unwrap().severity, Severity::P1);
    }

    #[test]
    fn a_flash_crowd_is_many_who_ask_little() {
        assert_eq!(heard(100, 3_000, 3_000, [6; 16]).judge(detect), None);
        // A gateway or two among them.
        assert_eq!(heard(100, 3_000, 3_000, [30, 20, 6, 6]).judge(detect), None);
    }

    #[test]
    fn proxies_that_are_busy_all_day_are_known() {
        let mut heard = heard(200, 2_000, 2_000, [900, 800]);
        heard.regulars.learn(&[(host(1), 90), (host(2), 80)], 8);
        assert_eq!(heard.judge(detect), None);
    }

    #[test]
    fn a_steady_load_is_usual_and_a_short_one_below_the_floor() {
        assert_eq!(heard(1_500, 2_000, 2_000, [900, 800]).judge(detect), None);
        assert_eq!(heard(0, 131, 131, [131]).judge(detect), None);
    }

    #[test]
    fn a_slot_that_is_half_over_is_enough_where_there_is_more() {
        let begun = |requests: usize, seconds: usize| {
            let mut heard = heard(100, 100, 100, [10; 16]);
            heard.seconds(seconds, |window| {
                (0..requests).for_each(|_| window.facts.count(facts(&[Fact::Request, Fact::Response])));
            });
            heard.handshakes.asked = requests as u64;
            heard.judge(detect)
        };
        // Three seconds of a second more are not yet known to be whole: 3 of 4.
        let finding = begun(1_001, 3).unwrap();
        assert_eq!((finding.measured.round(), finding.limit, finding.window_s), (751.0, 750.0, 4.0));
        assert_eq!((begun(990, 3), begun(700, 2)), (None, None));
    }

    /// 100 requests/s are usual, and 80 connections for them; then so many of each, with so many connections open.
    fn kept(requests: u64, completed: u64, open: u32) -> Heard {
        let mut heard = heard(100, requests, requests, []);
        (0..60).for_each(|_| heard.completed.learn(80));
        heard.seconds(10, |window| {
            window.counters[ListenerCounter::Completed as usize] = completed;
            (0..requests).for_each(|_| window.facts.count(facts(&[Fact::Request, Fact::Response])));
        });
        heard.open = open;
        heard.requesters = (1..=16).map(|number| (host(number), 40)).collect();
        heard
    }

    #[test]
    fn requests_over_connections_that_are_kept_are_a_flood_of_who_is_new() {
        let finding = kept(1_700, 80, 300).judge(detect).unwrap();
        assert_eq!((finding.measured, finding.top_sources.len()), (1_700.0, 16));
        // A crowd opens more of them, and pages that ask again and again keep many.
        assert_eq!(kept(1_700, 400, 1_500).judge(detect), None);
        assert_eq!(kept(1_700, 80, 5_000).judge(detect), None);
        // A cache that was here before, and begins cold.
        let mut known = kept(1_700, 80, 300);
        known.regular_requesters.learn(&known.requesters[..10], 8);
        assert_eq!(known.judge(detect), None);
    }

    #[test]
    fn where_nothing_is_known_of_before_the_server_must_be_behind() {
        for (responses, found) in [(2_000, false), (600, true), (0, false)] {
            let mut heard = heard(0, 2_000, responses, [1_900]);
            heard.requests = crate::baseline::Baseline::default();
            assert_eq!(heard.judge(detect).is_some(), found, "{responses} responses");
        }
    }
}
