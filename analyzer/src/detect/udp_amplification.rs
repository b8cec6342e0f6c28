//! `udp_amplification`: large answers of public services that the host never asked.
//!
//! Attack: small queries with the victim's address as their source go to open resolvers, time servers and the like;
//! their answers, many times as large, come here.
//! Measured: datagrams per second of which most are from one port of such services ([`crate::ports`]), those that the
//! host sent to that port meanwhile, and bytes per datagram.
//! Ordinary traffic does not trigger it: whoever asks is answered about as often. A resolver gets answers of a few
//! hundred bytes, a clock of 90. What goes to a multicast group (mDNS, SSDP) was asked by nobody and meant for all. An
//! IPsec tunnel or a game is one port at both ends from few places. Where what the host
//! sends is not seen, nothing shows whether it asked: then many times the rate is asked for, from places all over the
//! world (a poller's devices are near each other), or DNS answers so large that no resolver asks for them: since 2020
//! resolvers ask for at most 1,232 bytes (dnsflagday.net), so answers in fragments are rare.
//! QUIC, DTLS, OpenVPN and STUN are asked by many at any time, and a download is answered by few acknowledgements: of
//! these hardly any may be asked for, from all over the world, and what the host sends must be seen.
//! Thresholds: `amplification_per_s`, and twice `one_sided_factor` of it where answers are not seen; sizes by service.
//! From the configuration.
//! What would fool it: a victim that itself asks that service as often as the attack comes; reflectors of ports that
//! nobody has heard of (a UDP flood then).

use super::host::{Flood, LEADS, LEADS_NOT, TTL_CLASSES_MANY, one_sided, shown};
use super::{HostCount, HostEvidence};
use crate::incident::{Finding, Kind, Severity, Target};
use crate::ports::{Reflector, reflector_of};

/// Datagrams that the host sent to the port per datagram that came, from which on it asked for them.
const ASKED_SHARE: f64 = 0.2;
/// The same of services that are in common use: QUIC acknowledges every tenth datagram or more often.
const COMMON_ASKED_SHARE: f64 = 0.02;
/// Sources up to which one port at both ends is a tunnel or a stream.
const STREAM_SOURCES_MAX: u64 = 8;
/// Sources that count as many where their TTLs do not tell.
const SOURCES_MANY: u64 = 100;
/// Times `amplification_per_s` asked for where answers are not seen, beside `one_sided_factor`.
const ONE_SIDED_MORE: f64 = 2.0;
/// How much larger than usual answers are then.
const ONE_SIDED_LARGER: f64 = 2.0;
/// Bytes of a DNS answer, all its fragments together, that resolvers do not ask for.
const NEVER_ASKED_BYTES: f64 = 2_000.0;
/// Bits per second from which on a link or a host notices, and from which on it is in danger.
const NOTICED_BITS_PER_S: f64 = 10e6;
const DANGEROUS_BITS_PER_S: f64 = 1e9;

/// Judges the last second.
pub(super) fn detect(evidence: &HostEvidence<'_>) -> Option<(Target, Finding)> {
    let config = evidence.config;
    let datagrams = evidence.per_s(HostCount::Udp);
    let source = evidence.source_port;
    let is_large = datagrams >= config.amplification_per_s && source.lead >= LEADS_NOT;
    if !is_large || evidence.address.is_multicast() {
        return None;
    }
    let reflector = reflector_of(source.port())?;
    // Of datagrams in fragments the later ones are counted apart.
    let bytes = evidence.per_s(HostCount::UdpBytes);
    let asked = evidence.per_s(HostCount::Asked);
    let sees_answers = evidence.sees_answers(datagrams, evidence.per_s(HostCount::SentUdp));
    let large_bytes = reflector.large_bytes as f64 * if sees_answers { 1.0 } else { ONE_SIDED_LARGER };
    let per_answer = (bytes + later_bytes(evidence)) / datagrams;
    let asked_share = if reflector.is_common { COMMON_ASKED_SHARE } else { ASKED_SHARE };
    if per_answer < large_bytes || asked >= datagrams * asked_share || is_stream(evidence) {
        return None;
    }
    if reflector.is_common && !(sees_answers && is_from_everywhere(evidence)) {
        return None;
    }
    let mut limit = config.amplification_per_s;
    let never_asked = reflector.large_bytes > 0 && per_answer >= NEVER_ASKED_BYTES;
    if !sees_answers && !never_asked {
        limit *= config.one_sided_factor * ONE_SIDED_MORE;
        if !is_from_everywhere(evidence) {
            return None;
        }
    }
    (datagrams >= limit).then(|| finding(evidence, reflector, limit, sees_answers))
}

/// One port at both ends, of few.
fn is_stream(evidence: &HostEvidence<'_>) -> bool {
    let few = match evidence.distinct() {
        Some(distinct) => distinct <= STREAM_SOURCES_MAX,
        None => evidence.ttl_classes <= 2,
    };
    few && evidence.source_port.lead >= LEADS && evidence.destination_port.lead >= LEADS
}

/// Bytes of later fragments: what is left of large answers.
fn later_bytes(evidence: &HostEvidence<'_>) -> f64 {
    let later = evidence.per_s(HostCount::Fragments) - evidence.per_s(HostCount::FirstFragments);
    let others = evidence.per_s(HostCount::Other);
    // Among packets of no transport; the rest of these is of other protocols.
    let share = if others > 0.0 { (later / others).clamp(0.0, 1.0) } else { 0.0 };
    evidence.per_s(HostCount::OtherBytes) * share
}

fn is_from_everywhere(evidence: &HostEvidence<'_>) -> bool {
    evidence.ttl_classes >= TTL_CLASSES_MANY
        && evidence.distinct().is_none_or(|distinct| distinct >= SOURCES_MANY)
}

fn finding(
    evidence: &HostEvidence<'_>,
    reflector: &Reflector,
    limit: f64,
    sees_answers: bool,
) -> (Target, Finding) {
    let Reflector { port, name, .. } = *reflector;
    let datagrams = evidence.per_s(HostCount::Udp);
    let bytes = evidence.per_s(HostCount::UdpBytes);
    let asked = evidence.per_s(HostCount::Asked);
    let fragments = evidence.per_s(HostCount::Fragments);
    let bits = (bytes + later_bytes(evidence)) * 8.0;
    let cause = format!(
        "{name} amplification: {datagrams} datagrams/s from port {port}, {:.0} bytes each, {:.1} Mbit/s, {} to {}, which asked {asked} times",
        bytes / datagrams,
        bits / 1e6,
        evidence.by_whom(),
        evidence.at_whom()
    );
    let in_fragments = (fragments > 0.0)
        .then(|| format!("answers so large that they come in fragments: {fragments} fragments/s"));
    evidence.finding(Flood {
        kind: Kind::UdpAmplification,
        severity: severity(bits, datagrams, evidence.config.udp_flood_per_s),
        rule: format!(
            "datagrams/s from port {port} >= {limit}, of >= {} bytes, asked per datagram < {}",
            reflector.large_bytes,
            if reflector.is_common { COMMON_ASKED_SHARE } else { ASKED_SHARE }
        ),
        measured: datagrams,
        unit: "datagrams/s",
        limit,
        baseline: shown(evidence.udp),
        facts: vec![
            ("udp_per_s", datagrams),
            ("udp_bytes_per_s", bytes),
            ("asked_per_s", asked),
            ("reflector_port", f64::from(port)),
            ("source_port_lead", evidence.source_port.lead),
            ("fragments_per_s", fragments),
        ],
        // The reflectors are real; forged is what they answer.
        spoofed_estimate: Some(0.0),
        ttl_classes: evidence.ttl_classes,
        target: evidence.target(evidence.leading_destination(), "udp"),
        cause: [Some(cause), in_fragments, one_sided(sees_answers)].into_iter().flatten().collect(),
        next: next_commands(evidence, port),
    })
}

fn next_commands(evidence: &HostEvidence<'_>, port: u16) -> Vec<String> {
    vec![
        format!("tcpdump -nnc 20 '{} and udp src port {port}'", evidence.tcpdump_place()),
        "nstat -az UdpInDatagrams UdpNoPorts UdpInErrors IpReasmFails".to_owned(),
        format!("ss -Huan 'dport = :{port}'"),
        format!(
            "nft add rule inet filter input {} udp sport {port} ct state invalid,new drop",
            evidence.nft_place()
        ),
    ]
}

/// By what it takes of the link.
fn severity(bits_per_s: f64, datagrams_per_s: f64, flood_per_s: f64) -> Severity {
    if bits_per_s >= DANGEROUS_BITS_PER_S || datagrams_per_s >= flood_per_s * 10.0 {
        Severity::P1
    } else if bits_per_s >= NOTICED_BITS_PER_S || datagrams_per_s >= flood_per_s {
        Severity::P2
    } else {
        Severity::P3
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing_host::Host;
    use super::*;

    fn answers(port: u16, datagrams: u64, bytes: u64) -> Host {
        let host = Host::new().with(HostCount::Udp, datagrams).with(HostCount::UdpBytes, datagrams * bytes);
        host.ports(Some(port), None)
    }

    #[test]
    fn answers_that_nobody_asked_for_are_found() {
        assert_eq!(answers(123, 100, 482).kinds(), [Kind::UdpAmplification]);
        assert_eq!(answers(53, 100, 1_400).kinds(), [Kind::UdpAmplification]);
        let mut unseen = answers(161, 10_000, 240).one_sided();
        unseen.ttl_classes = 12;
        assert_eq!(unseen.kinds(), [Kind::UdpAmplification]);
        let signed = answers(53, 100, 1_400).with(HostCount::Fragments, 350).one_sided();
        let signed = signed.with(HostCount::FirstFragments, 100).with(HostCount::Other, 250);
        assert_eq!(signed.with(HostCount::OtherBytes, 250 * 1_400).kinds(), [Kind::UdpAmplification]);
    }

    #[test]
    fn a_resolver_a_clock_and_a_poller_are_silent() {
        assert_eq!(answers(53, 3_000, 1_200).with(HostCount::Asked, 3_000).kinds(), []);
        assert_eq!(answers(53, 3_000, 220).one_sided().kinds(), []);
        assert_eq!(answers(123, 100, 90).kinds(), []);
        assert_eq!(answers(161, 3_000, 400).one_sided().kinds(), []);
    }

    #[test]
    fn answers_of_what_everybody_uses_must_be_of_many_and_not_asked_for() {
        let of_many = |asked, classes| {
            let mut host = answers(443, 1_000, 1_200).with(HostCount::Asked, asked);
            host.ttl_classes = classes;
            host
        };
        assert_eq!(of_many(0, 12).kinds(), [Kind::UdpAmplification]);
        // A gateway's downloads, one server's, and a view that does not show what is sent.
        assert_eq!(of_many(50, 12).kinds(), []);
        assert_eq!(of_many(0, 3).kinds(), []);
        assert_eq!(of_many(0, 12).one_sided().kinds(), []);
    }

    #[test]
    fn a_tunnel_is_silent() {
        let tunnel = answers(4_500, 80_000, 1_400).ports(Some(4_500), Some(4_500));
        assert_eq!(tunnel.kinds(), []);
    }
}
