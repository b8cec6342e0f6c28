//! What detectors of floods at a host share: how a finding is built, who sends, and whether what looks unanswered is.

use super::{HostCount, HostEvidence};
use crate::baseline::{Baseline, SECONDS_MIN, SECONDS_MIN_SERVED};
use crate::incident::{Finding, HostTarget, Kind, NetworkTarget, Severity, Target};

/// Share of what comes to a network from which on it is that of its busiest host, or small network.
const ONE_PART_SHARE: f64 = 0.5;
/// Share of what came that a host must have sent for it to be plain that what it sends is seen: counts of what is sent
/// hold a part of everybody else's ([`crate::account::sent`]).
const SENDS_SHARE: f64 = 0.01;
/// The same of a network, whose hosts have as many such parts.
const NETWORK_SENDS_SHARE: f64 = 0.05;
/// Times its limit from which on a flood is about to take the service down.
const DOWN_FACTOR: f64 = 10.0;
/// Lead from which on nearly all datagrams have the port.
pub(super) const LEADS: f64 = 0.6;
/// Lead below which ports are as good as random.
pub(super) const LEADS_NOT: f64 = 0.2;
/// TTL classes from which on senders are all over the world.
pub(super) const TTL_CLASSES_MANY: u32 = 8;
/// Bytes on the wire up to which a datagram or message carries nothing: headers, and what pads a frame.
const EMPTY_BYTES: f64 = 60.0;
/// Packets in a row from which on one in eight has its sender noted ([`crate::account::hosts`]).
const NOTED_ALL: f64 = 500.0;
const NOTED_ONE_IN: f64 = 8.0;

/// What differs between floods.
pub(super) struct Flood {
    pub(super) kind: Kind,
    pub(super) severity: Severity,
    pub(super) rule: String,
    pub(super) measured: f64,
    pub(super) unit: &'static str,
    pub(super) limit: f64,
    pub(super) baseline: Option<f64>,
    pub(super) facts: Vec<(&'static str, f64)>,
    pub(super) spoofed_estimate: Option<f64>,
    pub(super) ttl_classes: u32,
    pub(super) target: Target,
    pub(super) cause: Vec<String>,
    pub(super) next: Vec<String>,
}

impl HostEvidence<'_> {
    /// Whether a host, or a network of many.
    pub(super) fn is_worth_a_look(&self) -> bool {
        self.network.is_none_or(|network| {
            network.parts.are_many(self.config) && network.busiest_share < ONE_PART_SHARE
        })
    }

    pub(super) fn per_s(&self, count: HostCount) -> f64 {
        self.last_second(count) as f64
    }

    /// Whether it would be seen if the host sent answers: handshakes are seen from both sides, or it sends something.
    pub(super) fn sees_answers(&self, received: f64, sent: f64) -> bool {
        let share = if self.network.is_some() { NETWORK_SENDS_SHARE } else { SENDS_SHARE };
        self.answers_visible || (sent > 0.0 && sent >= received * share)
    }

    /// Whether most of so many packets of so many bytes carry nothing: no stream, and no `ping`, which sends its time.
    pub(super) fn is_empty(&self, packets: HostCount, bytes: HostCount) -> bool {
        self.address.is_ipv4() && self.per_s(bytes) <= self.per_s(packets) * EMPTY_BYTES
    }

    /// A limit, higher where answers would not be seen.
    pub(super) fn limit(&self, limit: f64, sees_answers: bool) -> f64 {
        if sees_answers { limit } else { limit * self.config.one_sided_factor }
    }

    /// Distinct sources; `None` where none was noted.
    pub(super) fn distinct(&self) -> Option<u64> {
        Some(self.sources.distinct.estimate()).filter(|distinct| *distinct != 0)
    }

    /// Share of so many packets a second that probably come from forged addresses, if they are not answered: as many
    /// sources as packets whose sender was noted.
    pub(super) fn spoofed(&self, packets_per_s: f64) -> Option<f64> {
        // A second has up to ten rows of which the first packets are noted all.
        let all = NOTED_ALL * 10.0;
        let noted =
            if packets_per_s <= all { packets_per_s } else { all + (packets_per_s - all) / NOTED_ONE_IN };
        let share = (self.distinct()? as f64 / noted.max(1.0)).min(1.0);
        Some((share * 100.0).round() / 100.0)
    }

    /// Sources in words.
    pub(super) fn by_whom(&self) -> String {
        match self.distinct() {
            Some(1) => "from one source".to_owned(),
            Some(distinct) => format!("from about {distinct} sources"),
            None if self.ttl_classes >= TTL_CLASSES_MANY => {
                format!("from many sources ({} classes of TTLs)", self.ttl_classes)
            }
            None => format!("from places with {} classes of TTLs", self.ttl_classes),
        }
    }

    /// Host, or hosts of the network, in words.
    pub(super) fn at_whom(&self) -> String {
        match self.network {
            Some(network) => {
                let (share, (count, parts)) = (network.busiest_share * 100.0, network.parts.counted());
                format!("{} ({count} {parts}, the busiest has {share:.0} %)", self.place())
            }
            None => self.place(),
        }
    }

    /// Host or network as `nft` and `tcpdump` write it.
    pub(super) fn place(&self) -> String {
        match self.network {
            Some(network) => format!("{}/{}", self.address, network.prefix_bits),
            None => self.address.to_string(),
        }
    }

    /// The same with its word for `tcpdump`.
    pub(super) fn tcpdump_place(&self) -> String {
        format!("{} {}", if self.network.is_some() { "dst net" } else { "dst host" }, self.place())
    }

    /// What `tcpdump` matches segments by that come to it with these flags: it has a word for those of IPv4 alone.
    pub(super) fn tcpdump_flags(&self, flags: u8) -> String {
        let at = if self.address.is_ipv4() { "tcp[13]" } else { "ip6[53]" };
        format!("tcpdump -nnc 20 '{} and tcp and {at} & {flags} == {flags}'", self.tcpdump_place())
    }

    /// A rule of nft that matches what comes to it.
    pub(super) fn nft_place(&self) -> String {
        format!("{} daddr {}", if self.address.is_ipv4() { "ip" } else { "ip6" }, self.place())
    }

    pub(super) fn target(&self, port: Option<u16>, protocol: &'static str) -> Target {
        let address = self.address;
        match self.network {
            Some(network) => {
                Target::Network(NetworkTarget { address, prefix_bits: network.prefix_bits, port, protocol })
            }
            None => Target::Host(HostTarget { address, port, protocol }),
        }
    }

    /// The port that nearly all datagrams go to.
    pub(super) fn leading_destination(&self) -> Option<u16> {
        (self.destination_port.lead >= LEADS).then(|| self.destination_port.port())
    }

    /// The finding of a flood.
    pub(super) fn finding(&self, flood: Flood) -> (Target, Finding) {
        let finding = Finding {
            kind: flood.kind,
            severity: flood.severity,
            rule: flood.rule,
            measured: flood.measured,
            unit: flood.unit,
            limit: flood.limit,
            baseline: flood.baseline,
            facts: flood.facts,
            window_s: 1.0,
            distinct_sources: self.distinct(),
            spoofed_estimate: flood.spoofed_estimate,
            top_sources: self.sources.top.clone(),
            top_prefixes: self.sources.prefixes.clone(),
            ttl_classes: Some(flood.ttl_classes),
            cause: flood.cause,
            next: flood.next,
        };
        (flood.target, finding)
    }
}

/// P1 at many times the limit, P2 below: what a host drops at the limit it can spare.
pub(super) fn severity(measured: f64, limit: f64) -> Severity {
    if measured >= limit * DOWN_FACTOR { Severity::P1 } else { Severity::P2 }
}

/// What is usual, once that means something.
pub(super) fn usual(baseline: &Baseline) -> Option<crate::baseline::Usual> {
    baseline.usual(SECONDS_MIN)
}

/// The same, to be shown.
pub(super) fn shown(baseline: &Baseline) -> Option<f64> {
    baseline.usual(SECONDS_MIN_SERVED).map(|usual| usual.median)
}

/// What is said where answers would not be seen.
pub(super) fn one_sided(sees_answers: bool) -> Option<String> {
    (!sees_answers).then(|| {
        "what the host sends is not seen from here: more was asked of this than where it is".to_owned()
    })
}
