//! `arp_spoof`: somebody says that another host's address is their own.
//!
//! Attack: ARP replies that nobody asked for, to a host and to its gateway, say again and again that the other one is at
//! the attacker's hardware address; what both send then goes through the attacker, or nowhere.
//! Measured: per claimed address and minute, ARP packets with which it goes to other hardware than in the one before, and
//! replies for it that nobody asked for within two seconds before.
//! Ordinary traffic does not trigger it: an address moves once when a service fails over, a lease is given anew or a
//! network card is changed, and is announced a few times then; replies answer. Virtual routers have hardware addresses of
//! their own.
//! Thresholds: ten unasked replies a minute (`arp_spoof_unasked`), or half as many where the address goes to other hardware
//! and back (`arp_spoof_moves`). Moves alone are none: a wireless repeater puts its own address into some packets.
//! What would fool it: one forged reply every six seconds or fewer, where the true owner is silent. Links bonded so that
//! each peer is told another card (balance-alb), two hosts with one address by mistake and a capture of replies alone look
//! like it (the finding says so). IPv6 has no ARP, and its neighbour discovery is not looked at.

use super::ActorEvidence;
use crate::incident::{Finding, HostTarget, Kind, Severity, Target};
use crate::window::ActorProtocol;

/// Part of the limit that is enough where the true owner speaks too.
const OWNER_SPEAKS_PART: u64 = 2;

/// Judges what was claimed since the count began.
pub(super) fn detect(evidence: &ActorEvidence<'_>) -> Option<(Target, Finding)> {
    let (config, counts) = (evidence.config, &evidence.counts.counts);
    if evidence.actor.protocol != ActorProtocol::Arp {
        return None;
    }
    let (moved, unasked) = (u64::from(counts.moved), u64::from(counts.unasked));
    let limit = if moved >= config.arp_spoof_moves {
        config.arp_spoof_unasked.div_ceil(OWNER_SPEAKS_PART)
    } else {
        config.arp_spoof_unasked
    };
    if unasked < limit {
        return None;
    }
    let rule = format!(
        "ARP replies for one address that nobody asked for in {:.0} s >= {limit}",
        evidence.seconds()
    );
    let address = evidence.actor.address;
    let mut finding = evidence.finding(Kind::ArpSpoof, rule, (unasked, "replies"));
    finding.limit = limit as f64;
    // Who it is that claims it has the same address: there is no source to name.
    (finding.distinct_sources, finding.top_sources) = (None, Vec::new());
    finding.facts = vec![("unasked_replies", unasked as f64), ("moves", moved as f64)];
    // Where it also moves, its owner is there, and traffic of others goes astray.
    finding.severity = if moved != 0 { Severity::P2 } else { Severity::P3 };
    finding.cause = vec![
        format!(
            "somebody claims {address}: {unasked} ARP replies that nobody asked for, {moved} moves to other hardware in {:.0} s",
            evidence.seconds()
        ),
        "or two hosts have it by mistake, a bond of links tells each peer another card (balance-alb), or the questions are not captured"
            .to_owned(),
    ];
    finding.next = vec![
        format!("ip neigh show {address}"),
        format!("tcpdump -nei any -c 50 'arp and arp[14:4] = {}'", evidence.address_as_number()),
        format!("arping -c 3 -I \"$(ip -o route get {address} | grep -oP 'dev \\K\\S+')\" {address}"),
        format!("ip neigh replace {address} lladdr TRUE_HARDWARE_ADDRESS nud permanent dev INTERFACE"),
    ];
    Some((Target::Host(HostTarget { address, port: None, protocol: "arp" }), finding))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::testing_asked::Asked;

    fn claimed(unasked: u32, moved: u32) -> Option<(Target, Finding)> {
        let mut asked = Asked::new(ActorProtocol::Arp);
        (asked.counts.counts.unasked, asked.counts.counts.moved) = (unasked, moved);
        asked.judge(detect)
    }

    #[test]
    fn replies_that_nobody_asked_for_are_a_claim() {
        let (target, finding) = claimed(30, 2).unwrap();
        assert_eq!(target.parts(), Some(("203.0.113.66".to_owned(), None, "arp")));
        assert_eq!(
            (finding.severity, finding.measured, finding.limit),
            (Severity::P2, 30.0, 5.0),
            "the owner speaks too"
        );
        assert!(finding.next[1].contains("0xcb007142"), "{:?}", finding.next);
        assert_eq!(claimed(30, 0).unwrap().1.severity, Severity::P3);
    }

    #[test]
    fn fewer_are_enough_where_the_owner_speaks_too_and_moves_alone_are_none() {
        assert!(claimed(6, 4).is_some());
        assert_eq!(claimed(6, 1), None);
        assert_eq!(claimed(0, 8), None);
    }

    #[test]
    fn a_failover_and_its_announcements_are_none() {
        assert_eq!(claimed(5, 1), None);
    }
}
