//! `mtu_blackhole`: full-size segments that do not get through, while small ones do.
//!
//! Fault: a link with a smaller MTU (a tunnel, PPPoE) behind a filter that drops ICMP, or a sender that ignores it: path
//! MTU discovery fails.
//! Measured: connections whose handshake was seen and on which nothing of full size was ever acknowledged, but the same
//! full-size segment (1,200 bytes and more) is sent again and again. Where its other end is heard since, or an ICMP
//! error said that it is too big, one is enough; else three at a listener, and a tenth of its new ones.
//! Ordinary traffic does not trigger it: on lossy paths some full-size segments arrive; an end that has gone leaves one
//! connection behind, in the middle of a transfer and not at its first full segment.
//! Thresholds: see the table.
//! What would fool it: clients that vanish together right after their requests; a path that swallows all packets one
//! way from a moment on, at new connections only.

use super::Evidence;
use super::asking::nft_family;
use crate::history::Remembered;
use crate::incident::{Finding, Kind, Severity};
use crate::path::Stuck;

const MINUTE_S: u64 = 60;
/// Of the connections completed in a minute, the share that must be stuck where nothing else tells.
const STUCK_SHARE: f64 = 0.1;

/// Judges the connections in trouble.
pub(super) fn detect(evidence: &Evidence<'_>) -> Option<Finding> {
    let config = evidence.config;
    let stuck = &evidence.trouble?.stuck;
    let connections = stuck.connections(config.mtu_blackhole_repeats);
    let receiver = stuck.receiver?;
    if connections == 0 {
        return None;
    }
    let completed = evidence.history.sum(Remembered::Completed, MINUTE_S);
    let many = connections >= config.mtu_blackhole_connections
        && f64::from(connections) >= STUCK_SHARE * completed as f64;
    if !many && stuck.alive == 0 && stuck.ignored == 0 {
        return None;
    }
    let severity = if many { Severity::P2 } else { Severity::P3 };
    let port = evidence.listener.port;
    let small_bytes = 1_400_u32.min(stuck.payload_bytes);
    Some(Finding {
        rule: format!(
            "first full-size segments sent again >= {} times in vain, on >= {} connections or with a sign that small ones pass",
            config.mtu_blackhole_repeats, config.mtu_blackhole_connections
        ),
        measured: stuck.repeats.into(),
        unit: "times sent again",
        limit: config.mtu_blackhole_repeats.into(),
        facts: vec![
            ("connections_stuck", connections.into()),
            ("connections_whose_end_is_heard", stuck.alive.into()),
            ("connections_with_too_big_ignored", stuck.ignored.into()),
            ("payload_bytes", stuck.payload_bytes.into()),
            ("mtu_told", stuck.mtu.into()),
            ("completed_in_a_minute", completed as f64),
        ],
        window_s: MINUTE_S as f64,
        cause: causes(evidence, stuck, connections),
        next: vec![
            format!(
                "tracepath -n {receiver}; ping -M do -c 3 -s {small_bytes} {receiver}; ping -c 3 -s 100 {receiver}"
            ),
            format!(
                "ip route get {receiver}; ip -s link | grep -E 'mtu|dropped'; nstat -az IpFragFails TcpExtTCPMTUPSuccess TcpExtTCPMTUPFail"
            ),
            format!(
                "tcpdump -ni any '(icmp[0] = 3 and icmp[1] = 4) or icmp6[0] = 2 or (host {receiver} and tcp port {port} and greater {small_bytes})'"
            ),
            format!(
                "nft add rule inet filter forward {} daddr {receiver} tcp flags syn tcp option maxseg size set rt mtu; sysctl -w net.ipv4.tcp_mtu_probing=1",
                nft_family(receiver)
            ),
        ],
        ..Finding::bare(Kind::MtuBlackhole, severity)
    })
}

fn causes(evidence: &Evidence<'_>, stuck: &Stuck, connections: u32) -> Vec<String> {
    let Stuck { repeats, payload_bytes, alive, ignored, mtu, .. } = stuck;
    let receiver = stuck.receiver.map_or(String::new(), |receiver| receiver.to_string());
    let others = if stuck.is_several { " and others" } else { "" };
    let mut causes = Vec::new();
    if *ignored != 0 {
        causes.push(format!(
            "the sender ignores path MTU discovery: {ignored} connections got ICMP errors that say what passes is {mtu} bytes, and segments of {payload_bytes} bytes go on"
        ));
    }
    let heard = if *alive != 0 {
        format!("{alive} of these ends were heard since")
    } else {
        "handshakes and small segments got through before".to_owned()
    };
    causes.push(format!(
        "a link to {receiver}{others} with a smaller MTU that drops without ICMP: segments of {payload_bytes} bytes sent again up to {repeats} times on {connections} connections of {}, nothing of that size acknowledged; {heard}",
        evidence.socket()
    ));
    causes.push("or a filter on the way that drops ICMP type 3 code 4 (ICMPv6 type 2): the error is sent and does not arrive".to_owned());
    causes
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use tidegauge_ebpf::listener::ListenerCounter;

    use super::super::testing::Listener;
    use super::*;
    use crate::path::Trouble;

    fn stuck(connections: u32, repeats: usize) -> Listener {
        let mut stuck = Stuck {
            repeats: repeats as u32,
            payload_bytes: 1_448,
            receiver: Some(IpAddr::from([198, 51, 100, 9])),
            ..Stuck::default()
        };
        stuck.by_repeats[repeats - 1] = connections;
        let mut listener = Listener::default();
        listener.trouble = Some(Trouble { stuck, ..Trouble::default() });
        listener
    }

    #[test]
    fn several_connections_that_go_nowhere_are_one() {
        let found = detect(&stuck(6, 6).evidence()).unwrap();
        assert_eq!((found.severity, found.measured), (Severity::P2, 6.0));
        assert!(found.next[0].contains("198.51.100.9"), "{:?}", found.next);
    }

    #[test]
    fn one_that_lives_or_was_told_is_enough() {
        let mut listener = stuck(1, 4);
        assert_eq!(detect(&listener.evidence()), None, "its other end may have gone");
        if let Some(trouble) = &mut listener.trouble {
            trouble.stuck.ignored = 1;
            trouble.stuck.mtu = 1_400;
        }
        let found = detect(&listener.evidence()).unwrap();
        assert!(found.cause[0].contains("1400 bytes"), "{:?}", found.cause);
    }

    #[test]
    fn loss_by_chance_is_not() {
        assert_eq!(detect(&stuck(6, 2).evidence()), None);
        let mut busy = stuck(4, 3);
        busy.count(ListenerCounter::Completed, 5_000);
        busy.add();
        assert_eq!(detect(&busy.evidence()), None, "four of thousands");
    }
}
