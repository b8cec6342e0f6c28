//! `icmp_flood`: more ICMP than anybody needs.
//!
//! Attack: echo requests from many, or errors that the host has to look up and cannot answer (BlackNurse: port
//! unreachable, a few ten thousand a second take a firewall's CPU).
//! Measured: ICMP messages per second, those that the host sent meanwhile, and of whole packets how many are errors.
//! Ordinary traffic does not trigger it: `ping -f` from one host is answered, and without answers sends 100 a second.
//! Who probes many ports by UDP gets errors, for which it sent datagrams. Where what the host sends is not seen, only
//! errors, messages without data, or ten times the limit from all over the world, count: `ping` sends its time, tools that
//! only count packets send nothing.
//! Thresholds: `icmp_flood_per_s`, `one_sided_factor`. From the configuration.
//! What would fool it: a flood of echo requests from few that the host answers one by one; a scan by SYNs that is
//! told thousands of times a second that there is nothing.

use super::host::{Flood, TTL_CLASSES_MANY, one_sided, severity, shown, usual};
use super::{HostCount, HostEvidence};
use crate::incident::{Finding, Kind, Target};

/// Sent messages per message that came, from which on they are answered.
const ANSWERED_SHARE: f64 = 0.5;
/// Share of errors from which on it is a flood of errors.
const ERRORS_SHARE: f64 = 0.5;
/// Times what is usual from which on it is a rise.
const RISE: f64 = 4.0;

/// Judges the last second.
pub(super) fn detect(evidence: &HostEvidence<'_>) -> Option<(Target, Finding)> {
    let config = evidence.config;
    let messages = evidence.per_s(HostCount::Icmp);
    if messages < config.icmp_flood_per_s || evidence.address.is_multicast() {
        return None;
    }
    // Only now: what is usual is looked for among all seconds that are kept.
    if usual(evidence.icmp).is_some_and(|usual| messages < usual.median * RISE) {
        return None;
    }
    let errors = evidence.per_s(HostCount::IcmpError);
    let of_errors = errors >= messages * ERRORS_SHARE;
    // Errors are the answer to any datagram.
    let datagrams = if of_errors { evidence.per_s(HostCount::SentUdp) } else { 0.0 };
    let sent = evidence.per_s(HostCount::SentIcmp) + datagrams;
    let answered = sent >= messages * ANSWERED_SHARE;
    let sees_answers = evidence.sees_answers(messages, sent);
    let much_from_everywhere = evidence.ttl_classes >= TTL_CLASSES_MANY
        && messages >= config.icmp_flood_per_s * config.one_sided_factor;
    let is_empty = evidence.is_empty(HostCount::Icmp, HostCount::IcmpBytes);
    let unanswered = !answered && (sees_answers || of_errors || is_empty);
    (unanswered || much_from_everywhere).then(|| finding(evidence, of_errors, sent, sees_answers))
}

fn finding(evidence: &HostEvidence<'_>, of_errors: bool, sent: f64, sees_answers: bool) -> (Target, Finding) {
    let limit = evidence.config.icmp_flood_per_s;
    let messages = evidence.per_s(HostCount::Icmp);
    let what = if of_errors { "errors (as BlackNurse)" } else { "messages" };
    let cause = format!(
        "ICMP flood at {}: {messages} {what}/s {}, {sent} sent",
        evidence.at_whom(),
        evidence.by_whom()
    );
    let or_backscatter = of_errors
        .then(|| "or others are flooded or scanned in its name: errors quote what they are about".to_owned());
    let (word, protocol) = if evidence.address.is_ipv4() { ("icmp", "icmp") } else { ("icmp6", "ipv6-icmp") };
    let which = match (of_errors, evidence.address.is_ipv4()) {
        (true, true) => "icmp type destination-unreachable".to_owned(),
        (true, false) => "icmpv6 type destination-unreachable".to_owned(),
        (false, _) => format!("meta l4proto {protocol}"),
    };
    evidence.finding(Flood {
        kind: Kind::IcmpFlood,
        severity: severity(messages, limit),
        rule: format!("ICMP messages/s >= {limit} and sent per message < {ANSWERED_SHARE}"),
        measured: messages,
        unit: "messages/s",
        limit,
        baseline: shown(evidence.icmp),
        facts: vec![
            ("icmp_per_s", messages),
            ("icmp_errors_per_s", evidence.per_s(HostCount::IcmpError)),
            ("icmp_bytes_per_s", evidence.per_s(HostCount::IcmpBytes)),
            ("sent_per_s", sent),
        ],
        spoofed_estimate: evidence.spoofed(messages),
        ttl_classes: evidence.ttl_classes,
        target: evidence.target(None, "icmp"),
        cause: [Some(cause), or_backscatter, one_sided(sees_answers)].into_iter().flatten().collect(),
        next: vec![
            format!("tcpdump -nnvc 20 '{} and {word}'", evidence.tcpdump_place()),
            "nstat -az IcmpInMsgs IcmpInDestUnreachs IcmpInEchos IcmpOutEchoReps".to_owned(),
            "sysctl net.ipv4.icmp_ratelimit net.ipv4.icmp_msgs_per_sec net.ipv4.icmp_echo_ignore_all"
                .to_owned(),
            format!(
                "nft add rule inet filter input {} {which} limit rate over {limit}/second drop",
                evidence.nft_place()
            ),
        ],
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing_host::Host;
    use super::*;

    #[test]
    fn messages_that_nobody_asked_for_are_found() {
        assert_eq!(Host::new().with(HostCount::Icmp, 2_000).kinds(), [Kind::IcmpFlood]);
        let errors = Host::new().with(HostCount::Icmp, 2_000).with(HostCount::IcmpError, 2_000);
        assert_eq!(errors.one_sided().kinds(), [Kind::IcmpFlood]);
        let mut many = Host::new().with(HostCount::Icmp, 20_000).with(HostCount::SentIcmp, 20_000);
        many.ttl_classes = 12;
        assert_eq!(many.kinds(), [Kind::IcmpFlood]);
    }

    #[test]
    fn messages_without_data_are_no_ping() {
        let unseen = |bytes: u64| {
            let host = Host::new().with(HostCount::Icmp, 2_400).with(HostCount::IcmpBytes, 2_400 * bytes);
            host.one_sided().kinds()
        };
        assert_eq!(unseen(42), [Kind::IcmpFlood]);
        assert_eq!(unseen(98), []);
    }

    #[test]
    fn ping_f_is_silent_from_both_ends_and_from_one() {
        let ping = || Host::new().with(HostCount::Icmp, 30_000).with(HostCount::IcmpBytes, 30_000 * 98);
        assert_eq!(ping().with(HostCount::SentIcmp, 30_000).kinds(), []);
        assert_eq!(ping().one_sided().kinds(), []);
    }

    #[test]
    fn errors_to_who_probes_are_silent() {
        let probing = Host::new().with(HostCount::Icmp, 3_000).with(HostCount::IcmpError, 3_000);
        assert_eq!(probing.with(HostCount::SentUdp, 10_000).kinds(), []);
    }
}
