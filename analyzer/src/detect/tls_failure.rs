//! `tls_failure`: TLS handshakes that fail.
//!
//! Fault: an expired or unknown certificate, versions or ciphers that no longer overlap, a wrong name.
//! Measured: handshakes that a fatal alert in the clear ended, by either end, of all ClientHellos at the listener over a
//! minute (TLS 1.3 encrypts what comes after the ServerHello: such alerts are not seen).
//! Ordinary traffic does not trigger it: single failures are scanners and old clients; ten in a minute and a fifth of
//! all hellos are asked for.
//! Thresholds: a convention; see the table.
//! What would fool it: a test of a server's ciphers by one client, which is a P3 until it is half of all hellos.

use super::Evidence;
use crate::fact::Fact;
use crate::feature::ratio;
use crate::history::Remembered;
use crate::incident::{Finding, Kind, Severity};

const MINUTE_S: u64 = 60;
/// Share of failed hellos at which a service is as good as down for its users.
const DOWN_SHARE: f64 = 0.9;
const DEGRADED_SHARE: f64 = 0.5;

/// Judges the last minute.
pub(super) fn detect(evidence: &Evidence<'_>) -> Option<Finding> {
    let (config, recent) = (evidence.config, evidence.history.recent(Fact::HelloFailed));
    if recent == 0 {
        return None;
    }
    let minute = |remembered| evidence.history.sum(remembered, MINUTE_S);
    let failed = minute(Remembered::HelloFailed);
    if failed < config.tls_failures_min {
        return None;
    }
    // A hello that was not captured failed too.
    let hellos = minute(Remembered::Hello).max(failed);
    let share = ratio(failed, hellos)?;
    if share <= config.tls_failure_share {
        return None;
    }
    let severity = match share {
        _ if share >= DOWN_SHARE => Severity::P1,
        _ if share >= DEGRADED_SHARE => Severity::P2,
        _ => Severity::P3,
    };
    let (version, certificate) =
        (evidence.history.recent(Fact::VersionRefused), evidence.history.recent(Fact::CertificateRefused));
    let (socket, port) = (evidence.socket(), evidence.listener.port);
    Some(Finding {
        rule: format!(
            "share of ClientHellos that a fatal alert ends > {} over {MINUTE_S} s, and >= {} of them",
            config.tls_failure_share, config.tls_failures_min
        ),
        measured: share,
        unit: "share of ClientHellos",
        limit: config.tls_failure_share,
        facts: vec![
            ("client_hellos", hellos as f64),
            ("failed", failed as f64),
            ("failed_over_version", version as f64),
            ("failed_over_certificate", certificate as f64),
        ],
        window_s: MINUTE_S as f64,
        cause: causes(&socket, recent, version, certificate),
        next: vec![
            format!("openssl s_client -connect {socket} -brief </dev/null"),
            format!(
                "openssl s_client -connect {socket} -tls1_2 </dev/null 2>&1 | grep -E 'alert|Protocol|Verify'"
            ),
            format!(
                "echo | openssl s_client -connect {socket} 2>/dev/null | openssl x509 -noout -dates -subject -issuer -ext subjectAltName"
            ),
            format!(
                "tcpdump -ni any -X 'host {} and tcp port {port} and tcp[(tcp[12] >> 4) * 4] = 21'",
                evidence.listener.address
            ),
        ],
        ..Finding::bare(Kind::TlsFailure, severity)
    })
}

/// Causes by the alerts' descriptions, the one with most alerts first.
fn causes(socket: &str, failed: u64, version: u64, certificate: u64) -> Vec<String> {
    let other = failed.saturating_sub(version + certificate);
    let mut causes = [
        (
            version,
            format!(
                "version mismatch: {version} of {failed} alerts are protocol_version or inappropriate_fallback; {socket} and its clients share no TLS version"
            ),
        ),
        (
            certificate,
            format!(
                "certificate: {certificate} of {failed} alerts name one (expired, unknown issuer, bad, missing)"
            ),
        ),
        (
            other,
            format!(
                "no cipher, name or extension in common: {other} of {failed} alerts are handshake_failure or others"
            ),
        ),
    ];
    causes.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
    causes.into_iter().filter(|(count, _)| *count != 0).map(|(_, cause)| cause).collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::Listener;
    use super::*;

    fn hellos(hellos: u32, failed: u32, version: u32) -> Listener {
        let mut listener = Listener::default();
        listener.facts(Fact::Hello, hellos);
        listener.facts(Fact::HelloFailed, failed);
        listener.facts(Fact::VersionRefused, version);
        listener.pass(5);
        listener
    }

    #[test]
    fn versions_that_do_not_overlap_are_named() {
        let found = detect(&hellos(100, 40, 39).evidence()).unwrap();
        assert_eq!((found.severity, found.measured), (Severity::P3, 0.4));
        assert!(found.cause[0].starts_with("version mismatch: 39 of 40"), "{:?}", found.cause);
        assert_eq!(found.cause.len(), 2);
        assert_eq!(detect(&hellos(100, 100, 0).evidence()).unwrap().severity, Severity::P1);
    }

    #[test]
    fn a_scanner_and_a_single_failure_are_ordinary() {
        assert_eq!(detect(&hellos(1_000, 30, 30).evidence()), None);
        assert_eq!(detect(&hellos(1, 1, 1).evidence()), None);
    }
}
