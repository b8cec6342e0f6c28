//! `routing_loop`: packets that go round between routers until their hops run out.
//!
//! Fault: two routers that each take the other for the way to a destination.
//! Measured: ICMP errors that hops ran out, by the destination of the packet they quote, over ten seconds, and who sends
//! them; and packets with few hops left that come by here again and again with fewer each time.
//! Ordinary traffic does not trigger it: a traceroute has its errors from every router on the way, three from each, and
//! its packets start with few hops; what is quoted and seen here shows that. In a loop one or two routers send nearly
//! all of them, about packets that set out with many hops.
//! Thresholds: see the table; nine tenths from two routers leave room for a traceroute on top.
//! What would fool it: a sender with a very small TTL whose packets do not come by here.

use std::net::IpAddr;

use super::PathEvidence;
use crate::incident::{Finding, HostTarget, Kind, Severity, Target};

/// Share of the errors that comes from two routers.
const TWO_ROUTERS_SHARE: f64 = 0.9;
/// Share of probes above which the errors are a traceroute's, where its packets are not seen here.
const PROBES_SHARE: f64 = 0.5;
/// Packets seen going round from which on no error is needed.
const PASSED_AGAIN_MIN: u64 = 3;
/// Classes of TTLs of 32 and more: what sets out with 64 has that many left nearly everywhere.
const MANY_HOPS: u64 = !0 << 8;

/// Judges the last ten seconds.
pub(super) fn detect(evidence: &PathEvidence<'_>) -> Option<(Target, Finding)> {
    let by_errors = is_by_errors(evidence);
    if !by_errors && evidence.passed_again < PASSED_AGAIN_MIN {
        return None;
    }
    let (destination, limit) = (evidence.destination, evidence.config.routing_loop_packets);
    let limit = if by_errors { limit } else { PASSED_AGAIN_MIN };
    let measured = if by_errors { evidence.ttl_exceeded } else { evidence.passed_again };
    let filter = if destination.is_ipv4() { "icmp[0] = 11" } else { "icmp6[0] = 3" };
    let finding = Finding {
        rule: if by_errors {
            format!("hops of >= {limit} packets to one destination run out at the same two routers in 10 s")
        } else {
            format!("{limit} packets come by four times or more with fewer hops each time in 10 s")
        },
        measured: measured as f64,
        unit: "packets in 10 s",
        limit: limit as f64,
        facts: vec![
            ("ttl_exceeded", evidence.ttl_exceeded as f64),
            ("share_of_two_routers", two_routers_share(evidence)),
            ("like_a_traceroute", evidence.probes as f64),
            ("packets_seen_going_round", evidence.passed_again as f64),
        ],
        window_s: 10.0,
        cause: causes(evidence),
        next: vec![
            format!("traceroute -n -m 30 {destination}; mtr -rnc 10 {destination}"),
            format!("ip route get {destination}; ip route show match {destination}"),
            format!("tcpdump -nvi any '{filter} or host {destination}'"),
            format!(
                "ip route add blackhole {destination}   # on the router where it is not routed, to stop the loop"
            ),
        ],
        ..Finding::bare(Kind::RoutingLoop, Severity::P2)
    };
    let target = Target::Host(HostTarget { address: destination, port: None, protocol: "ip" });
    Some((target, finding))
}

fn two_routers_share(evidence: &PathEvidence<'_>) -> f64 {
    let two: u64 = evidence.routers.iter().take(2).map(|(_, said)| *said).sum();
    if evidence.ttl_exceeded == 0 { 0.0 } else { two as f64 / evidence.ttl_exceeded as f64 }
}

fn is_by_errors(evidence: &PathEvidence<'_>) -> bool {
    if evidence.ttl_exceeded < evidence.config.routing_loop_packets
        || two_routers_share(evidence) < TWO_ROUTERS_SHARE
    {
        return false;
    }
    match evidence.ttl_classes {
        0 => (evidence.probes as f64) < PROBES_SHARE * evidence.ttl_exceeded as f64,
        classes => classes & MANY_HOPS != 0,
    }
}

fn causes(evidence: &PathEvidence<'_>) -> Vec<String> {
    let destination = evidence.destination;
    let named: Vec<String> = evidence
        .routers
        .iter()
        .filter(|(_, said)| *said != 0)
        .take(2)
        .map(|(router, _)| router.to_string())
        .collect();
    let sender =
        evidence.sender.map_or(String::new(), |sender: IpAddr| format!(", {sender} among the senders"));
    let mut causes = Vec::new();
    if evidence.passed_again != 0 {
        causes.push(format!(
            "the loop goes through this capture: {} packets to {destination} came by again with fewer hops{sender}",
            evidence.passed_again
        ));
    }
    if !named.is_empty() {
        causes.push(format!(
            "routers send packets to {destination} back to each other: hops ran out for {} at {}{sender}",
            evidence.ttl_exceeded,
            named.join(" and ")
        ));
    }
    causes.push(format!(
        "a default route that points back: {destination} is in a network that no interface has, and no blackhole route catches it"
    ));
    causes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    const ROUTERS: [[u8; 4]; 3] = [[172, 16, 0, 1], [172, 16, 0, 2], [172, 16, 0, 3]];

    /// Errors by router, traceroute's among them, and classes of TTLs.
    fn check(said: &[u64], probes: u64, ttl_classes: u64, passed_again: u64) -> Option<Finding> {
        let routers: Vec<(IpAddr, u64)> =
            ROUTERS.iter().zip(said).map(|(router, said)| (IpAddr::from(*router), *said)).collect();
        let found = detect(&PathEvidence {
            config: &Config::default(),
            destination: IpAddr::from([198, 51, 100, 9]),
            ttl_exceeded: said.iter().sum(),
            probes,
            routers: &routers,
            passed_again,
            sender: None,
            ttl_classes,
        });
        found.map(|(_, finding)| finding)
    }

    #[test]
    fn two_routers_that_expire_ordinary_packets_are_a_loop() {
        let found = check(&[20, 20], 0, 1 << 15, 0).unwrap();
        assert!(found.cause[0].contains("172.16.0.1 and 172.16.0.2"), "{:?}", found.cause);
        assert!(check(&[40], 0, 0, 0).is_some(), "packets seen elsewhere only");
        assert!(check(&[40], 40, 1 << 15, 0).is_some(), "pings into a loop");
    }

    #[test]
    fn traceroutes_are_not() {
        assert_eq!(check(&[14, 14, 14], 42, 0, 0), None);
        assert_eq!(check(&[20, 20], 40, 0b111, 0), None, "a short way, asked again and again");
        assert_eq!(check(&[20, 20], 40, 0, 0), None);
        assert_eq!(check(&[3, 3], 0, 1 << 15, 0), None);
    }

    #[test]
    fn packets_that_come_by_again_need_no_error() {
        assert!(check(&[], 0, 0, 6).is_some());
        assert_eq!(check(&[], 0, 0, 1), None);
    }
}
