//! What the detectors have in common that judge who asks others: how much of it is in vain, and what a finding says.

use std::net::IpAddr;

use super::ActorEvidence;
use crate::feature::ratio;
use crate::incident::{Finding, Kind, Severity};
use crate::window::ActorProtocol;

/// Distinct places up to which their estimate is good enough to be divided by.
const PLACES_COUNTED_MAX: u64 = 2_000;
/// Times that a place is asked on average above which nobody searches: scanners ask once, and again once or twice where
/// nothing comes; who wants something of the same places asks on.
const ASKED_AGAIN_MAX: u64 = 4;
/// Least time over which a rate is told, seconds.
const RATE_OVER_MIN_S: f64 = 0.1;

impl ActorEvidence<'_> {
    /// Seconds since the count began.
    pub(super) fn seconds(&self) -> f64 {
        (self.now_ns.saturating_sub(self.counts.began_ns) as f64 / 1e9).max(RATE_OVER_MIN_S)
    }

    /// What was asked per second.
    pub(super) fn asked_per_s(&self) -> f64 {
        f64::from(self.counts.counts.asked) / self.seconds()
    }

    /// Share of what was asked that was not answered.
    pub(super) fn unanswered_share(&self) -> f64 {
        let counts = &self.counts.counts;
        ratio(counts.asked.saturating_sub(counts.answered).into(), counts.asked.into()).unwrap_or(0.0)
    }

    /// Whether most of it is in vain, and not the same again and again.
    pub(super) fn searches(&self) -> bool {
        self.asks_in_vain(self.unanswered_share())
    }

    /// The same of hosts: one that answers a SYN is there, also where it is sent a RST then (a balancer's checks). Those that
    /// answered are not counted again, and those that did not are, so that it is also asked how many places they are.
    pub(super) fn searches_hosts(&self) -> bool {
        let counts = &self.counts.counts;
        let answered = u64::from(counts.answered) + u64::from(counts.accepted);
        let in_vain = |of: u64| ratio(of.saturating_sub(answered), of).unwrap_or(0.0);
        let of_places =
            if self.counts.places <= PLACES_COUNTED_MAX { in_vain(self.counts.places) } else { 1.0 };
        self.asks_in_vain(in_vain(counts.asked.into()).min(of_places))
    }

    fn asks_in_vain(&self, unanswered_share: f64) -> bool {
        let places = self.counts.places;
        let again = places <= PLACES_COUNTED_MAX
            && u64::from(self.counts.counts.asked) > ASKED_AGAIN_MAX * places.max(1);
        !again && unanswered_share >= self.config.scan_unanswered_share
    }

    /// The protocol as targets and `nft` have it.
    pub(super) const fn protocol(&self) -> &'static str {
        match self.actor.protocol {
            ActorProtocol::Tcp => "tcp",
            ActorProtocol::Udp => "udp",
            ActorProtocol::Arp => "arp",
            ActorProtocol::Icmp => "icmp",
        }
    }

    /// The address as a number, for a filter on an ARP packet's bytes.
    pub(super) fn address_as_number(&self) -> String {
        match self.actor.address {
            IpAddr::V4(address) => format!("{:#010x}", address.to_bits()),
            IpAddr::V6(_) => "0".to_owned(),
        }
    }

    /// A finding with what is known of who asks, and what it asked.
    pub(super) fn finding(&self, kind: Kind, rule: String, (measured, unit): (u64, &'static str)) -> Finding {
        let (asked, counts) = (&self.counts.counts, self.counts);
        Finding {
            kind,
            severity: Severity::P3,
            rule,
            measured: measured as f64,
            unit,
            limit: 0.0,
            baseline: None,
            facts: vec![
                ("asked", asked.asked.into()),
                ("answered", asked.answered.into()),
                ("refused", asked.refused.into()),
                ("unanswered_share", self.unanswered_share()),
                ("hosts", counts.hosts as f64),
                ("ports", counts.ports as f64),
            ],
            window_s: self.seconds(),
            distinct_sources: Some(1),
            spoofed_estimate: None,
            top_sources: vec![(self.actor.address, self.asked_per_s().round() as u32)],
            top_prefixes: Vec::new(),
            ttl_classes: None,
            cause: Vec::new(),
            next: Vec::new(),
        }
    }

    /// Who asks, for `tcpdump`, and the rule that would stop it.
    pub(super) fn next_commands(&self) -> [String; 2] {
        let (who, family) = (self.actor.address, nft_family(self.actor.address));
        let protocol = match self.actor.protocol {
            ActorProtocol::Icmp if !who.is_ipv4() => "icmp6",
            _ => self.protocol(),
        };
        [
            format!("tcpdump -ni any -c 50 'src host {who} and {protocol}'"),
            format!("nft add rule inet filter input {family} saddr {who} drop"),
        ]
    }
}

/// The address family as `nft` writes it.
pub(super) const fn nft_family(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "ip" } else { "ip6" }
}

/// Whether an address is of a network of one's own (RFC 1918, RFC 4193) or of this link.
pub(super) const fn is_of_ours(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_private() || address.is_link_local() || address.is_loopback(),
        IpAddr::V6(address) => {
            address.is_unique_local() || address.is_unicast_link_local() || address.is_loopback()
        }
    }
}
