//! `arp_sweep`: somebody asks for the hardware addresses of a whole network.
//!
//! Attack: how hosts of one's own link are found, before ports are scanned; by an intruder or by a worm.
//! Measured: per asking host and minute, distinct addresses asked for, how many of them within the last five to ten
//! seconds, and the share that was not answered.
//! Ordinary traffic does not trigger it: hosts ask for their gateway and a few others; a gateway asks for all its hosts,
//! but over minutes, and where both directions are seen it is answered.
//! Thresholds: 60 addresses within ten seconds (`arp_sweep_hosts`).
//! What would fool it: a sweep slower than six addresses a second; a gateway that passes somebody's sweep from outside on
//! looks like the one who sweeps (the finding says so).

use super::{ActorEvidence, port_scan};
use crate::incident::{Finding, Kind, Target};
use crate::window::ActorProtocol;

/// Share of the addresses asked for that must not answer: in a full network half of them do.
const UNANSWERED_SHARE: f64 = 0.5;

/// Judges what was asked since the count began.
pub(super) fn detect(evidence: &ActorEvidence<'_>) -> Option<(Target, Finding)> {
    let (config, counts) = (evidence.config, evidence.counts);
    if evidence.actor.protocol != ActorProtocol::Arp
        || evidence.hosts_lately < config.arp_sweep_hosts
        || evidence.unanswered_share() < UNANSWERED_SHARE
    {
        return None;
    }
    let rule = format!(
        "addresses asked for by one host in ten seconds >= {}, {:.0} s after the first",
        config.arp_sweep_hosts,
        evidence.seconds()
    );
    let mut finding = evidence.finding(Kind::ArpSweep, rule, (counts.hosts, "addresses"));
    finding.limit = config.arp_sweep_hosts as f64;
    finding.facts.push(("hosts_lately", evidence.hosts_lately as f64));
    let who = evidence.actor.address;
    finding.cause = vec![
        format!(
            "{who} searches the network for hosts: about {} addresses in {:.0} s, {} told",
            counts.hosts,
            evidence.seconds(),
            counts.counts.answered
        ),
        format!("if {who} is a gateway: it passes on a sweep that comes from outside"),
    ];
    finding.next = vec![
        format!("ip neigh show {who}"),
        format!("tcpdump -nei any -c 50 'arp and arp[14:4] = {}'", evidence.address_as_number()),
        "ip -s neigh show nud failed | wc -l".to_owned(),
        format!(
            "nft add rule arp filter input arp saddr ip {who} arp operation request limit rate over 10/second drop"
        ),
    ];
    Some((port_scan::network(evidence, None), finding))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::testing_asked::{Asked, host};

    fn sweep() -> Asked {
        let mut asked = Asked::new(ActorProtocol::Arp);
        let counts = &mut asked.counts;
        (counts.ports, counts.hosts, counts.places) = (1, 120, 120);
        (counts.counts.asked, counts.counts.answered) = (120, 20);
        counts.network = Some((host(0), 24));
        asked.hosts_lately = 120;
        asked
    }

    #[test]
    fn a_network_asked_for_within_seconds_is_a_sweep() {
        let (target, finding) = sweep().judge(detect).unwrap();
        assert_eq!(target.parts(), Some(("192.0.2.0/24".to_owned(), None, "arp")));
        assert_eq!((finding.kind, finding.next.len()), (Kind::ArpSweep, 4));
        assert!(finding.next[1].contains("0xcb007142"), "{:?}", finding.next);
    }

    #[test]
    fn a_gateway_asks_for_its_hosts_over_minutes_or_is_answered() {
        let mut slow = sweep();
        slow.hosts_lately = 45;
        assert_eq!(slow.judge(detect), None);
        let mut answered = sweep();
        answered.counts.counts.answered = 100;
        assert_eq!(answered.judge(detect), None);
    }
}
