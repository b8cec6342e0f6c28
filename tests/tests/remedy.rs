//! What is proposed against attacks: `nft` takes every text, forged sources are never named, and what is no attack has no
//! remedy.
//!
//! `nft -c` asks the kernel of a network namespace of its own; without root or `nft` that part is skipped, and said so.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::io::Write;
use std::net::IpAddr;
use std::process::{Command, Stdio};

use tidegauge_analyzer::incident::{Finding, HostTarget, Incident, Kind, NetworkTarget, Severity, Target};
use tidegauge_analyzer::quality::Interval;
use tidegauge_analyzer::remedy::mitigation;
use tidegauge_analyzer::window::ListenerKey;
use tidegauge_tests::skip;

const ATTACKS: [Kind; 17] = [
    Kind::SynFlood,
    Kind::SynAckReflection,
    Kind::AckFlood,
    Kind::RstFlood,
    Kind::FinFlood,
    Kind::UdpFlood,
    Kind::UdpAmplification,
    Kind::IcmpFlood,
    Kind::FragmentFlood,
    Kind::ProtocolFlood,
    Kind::ConnectionFlood,
    Kind::HttpFlood,
    Kind::SlowHttp,
    Kind::Land,
    Kind::BruteForce,
    Kind::PortScan,
    Kind::HostSweep,
];

fn protocol(kind: Kind) -> &'static str {
    match kind {
        Kind::UdpFlood | Kind::UdpAmplification => "udp",
        Kind::IcmpFlood => "icmp",
        Kind::FragmentFlood | Kind::ProtocolFlood => "ip",
        _ => "tcp",
    }
}

fn targets(kind: Kind, address: IpAddr) -> Vec<Target> {
    let protocol = protocol(kind);
    let network = |prefix_bits, port| Target::Network(NetworkTarget { address, prefix_bits, port, protocol });
    let bits = if address.is_ipv4() { 24 } else { 48 };
    match kind {
        Kind::SynFlood | Kind::ConnectionFlood | Kind::HttpFlood | Kind::SlowHttp | Kind::BruteForce => {
            vec![Target::Listener(ListenerKey { address, port: 443 })]
        }
        Kind::UdpFlood => [None, Some(53)]
            .into_iter()
            .flat_map(|port| [Target::Host(HostTarget { address, port, protocol }), network(bits, port)])
            .collect(),
        _ => vec![Target::Host(HostTarget { address, port: None, protocol }), network(bits, None)],
    }
}

fn incident(kind: Kind, target: Target, spoofed: Option<f64>, source: IpAddr) -> Incident {
    let finding = Finding {
        measured: 10_000.5,
        limit: 500.5,
        distinct_sources: Some(2),
        spoofed_estimate: spoofed,
        top_sources: vec![(source, 9_000), (source, 1)],
        facts: vec![("reflector_port", 161.0)],
        ..Finding::bare(kind, Severity::P2)
    };
    Incident::open(1, target, finding, 0, Interval::default())
}

/// Whether `nft` takes a text in a namespace of its own; `None`: it cannot be asked.
fn is_taken(text: &str) -> Option<Result<(), String>> {
    let mut child = Command::new("unshare")
        .args(["--net", "nft", "-c", "-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .ok()?;
    child.stdin.take().unwrap().write_all(text.as_bytes()).ok();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Some(if output.status.success() { Ok(()) } else { Err(said) })
}

#[test]
fn every_attack_has_a_remedy_that_nft_takes() {
    let test = "every_attack_has_a_remedy_that_nft_takes";
    let has_nft = Command::new("nft").arg("--version").output().is_ok_and(|output| output.status.success());
    if !has_nft {
        skip::skip(test, "needs nft to check the texts");
    }
    let asks = has_nft && skip::root_or_skip(test);
    for (address, source) in [("192.0.2.0", "198.51.100.7"), ("2001:db8::", "2001:db8:1::7")] {
        let (address, source): (IpAddr, IpAddr) = (address.parse().unwrap(), source.parse().unwrap());
        for kind in ATTACKS {
            for target in targets(kind, address) {
                for spoofed in [None, Some(0.0), Some(0.98)] {
                    let incident = incident(kind, target, spoofed, source);
                    let scan_by_many =
                        matches!(kind, Kind::PortScan | Kind::HostSweep) && spoofed != Some(0.0);
                    let Some(found) = mitigation(&incident, Some("eth0")) else {
                        assert!(scan_by_many, "{kind:?} {spoofed:?}");
                        continue;
                    };
                    let text = &found.nftables;
                    assert!(
                        text.contains(&address.to_string()) || text.contains(&source.to_string()),
                        "{text}"
                    );
                    assert!(
                        found.flowspec.iter().all(|route| route.contains(&address.to_string())),
                        "{found:?}"
                    );
                    if asks && let Some(Err(why)) = is_taken(text) {
                        panic!("{kind:?} at {target} ({spoofed:?}):\n{text}\n{why}");
                    }
                }
            }
        }
    }
}

#[test]
fn forged_sources_are_not_named_and_real_ones_are() {
    let (address, source): (IpAddr, IpAddr) = ("192.0.2.1".parse().unwrap(), "198.51.100.7".parse().unwrap());
    let listener = Target::Listener(ListenerKey { address, port: 443 });
    let names = |kind, target, spoofed| {
        let found = mitigation(&incident(kind, target, spoofed, source), Some("eth0")).unwrap();
        let named = [Some(found.nftables.clone()), found.flowspec.clone(), found.xdp.clone()];
        let named = named.map(|text| text.is_some_and(|text| text.contains("198.51.100.7")));
        assert!(named.iter().all(|one| *one == named[0]), "{found:?}");
        (named[0], found)
    };
    let host = |protocol| Target::Host(HostTarget { address, port: None, protocol });
    for (kind, target) in
        [(Kind::SynFlood, listener), (Kind::UdpFlood, host("udp")), (Kind::IcmpFlood, host("icmp"))]
    {
        assert!(names(kind, target, Some(0.1)).0, "{kind:?}");
        assert!(!names(kind, target, Some(0.98)).0 && !names(kind, target, None).0, "{kind:?}");
    }
    let (_, found) = names(Kind::SynFlood, listener, Some(0.98));
    assert!(found.nftables.contains("synproxy") && found.why.contains("tcp_syncookies"), "{found:?}");
    assert!(found.flowspec.unwrap().contains("rate-limit 30030"));
    // Reflectors answer whoever asks: shutting out resolvers is no help.
    assert!(!names(Kind::UdpAmplification, host("udp"), Some(0.0)).0);
}

#[test]
fn what_is_no_attack_has_none() {
    let address: IpAddr = "192.0.2.1".parse().unwrap();
    for kind in [Kind::ConnSurge, Kind::Loss, Kind::LowWindow, Kind::DnsFailure, Kind::HandshakeFailure] {
        let target = Target::Listener(ListenerKey { address, port: 80 });
        assert_eq!(mitigation(&incident(kind, target, Some(0.0), address), None), None);
    }
    assert_eq!(mitigation(&incident(Kind::CaptureBlind, Target::Capture, None, address), None), None);
}
