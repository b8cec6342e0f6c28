//! What speaks for which cause, by the kind of the incident. Limits stand beside the sign that they are of.

use super::Cause;
use super::signs::Signs;
use crate::incident::Kind;

/// A flood this old has had its first SYN-ACKs sent again by a listener that keeps state (RFC 6298: after a second).
const AGAIN_AFTER_NS: u64 = 2_000_000_000;
/// Of so many seconds SYN-ACKs sent again are counted at least ([`crate::history::History::recent`]).
const COUNTED_S: f64 = 30.0;

/// Gathers the signs.
pub(super) fn judge(signs: &mut Signs<'_>) {
    match signs.incident.peak.kind {
        Kind::Loss => loss(signs),
        Kind::CaptureBlind => capture_drops(signs),
        Kind::ZeroWindow => zero_window(signs),
        Kind::LowWindow => low_window(signs),
        Kind::SlowTransfer => slow_transfer(signs),
        Kind::HighRtt => high_rtt(signs),
        Kind::RoutingLoop => routing_loop(signs),
        Kind::MtuBlackhole => mtu_blackhole(signs),
        Kind::TlsFailure => tls_failure(signs),
        Kind::DnsFailure => dns_failure(signs),
        Kind::HttpErrors => server_fails(signs),
        Kind::HandshakeFailure => handshake_failure(signs),
        Kind::SynFlood => syn_flood(signs),
        _ => {}
    }
}

/// `part / whole` of two facts; `None` where one is unknown, or the whole is zero.
fn share(signs: &Signs<'_>, part: &str, whole: &str) -> Option<f64> {
    Some(signs.fact(part)? / signs.fact(whole).filter(|whole| *whole > 0.0)?)
}

/// Where was it lost: a hole in what comes by says before here, none says behind; an ACK of what never came by says that
/// it was not lost at all.
fn loss(signs: &mut Signs<'_>) {
    let holes = signs.fact("holes_per_sent_again");
    let what = "holes before what is sent again, for each segment sent again";
    signs.weigh(Cause::LossBeforeCapture, 3.0, what, holes, (0.05, 0.2));
    if let Some(holes) = holes {
        match holes {
            _ if holes <= 0.05 => signs.says(Cause::LossBehindCapture, 3.0, what, holes),
            _ if holes >= 0.2 => signs.denies(Cause::LossBehindCapture, 3.0, what, holes),
            _ => {}
        }
    }
    let unseen = signs.fact("acked_unseen_per_sent_again");
    let what = "ACKs of segments that never came by here, for each segment sent again";
    signs.weigh(Cause::CaptureDrops, 3.0, what, unseen, (0.02, 0.2));
    if let Some(unseen) = unseen.filter(|unseen| *unseen >= 0.2) {
        signs.denies(Cause::LossBeforeCapture, 2.0, what, unseen);
    }
    not_taken(signs);
    capture_drops(signs);
    let share = signs.incident.peak.measured;
    if (0.4..0.55).contains(&share) {
        signs.says(Cause::FramesTwice, 1.0, "share of segments that are copies: nearly half", share);
    }
}

/// A listener that takes no more connections loses nothing: what its clients send again has arrived, and found no place.
/// Loss by chance hits the ends of handshakes as seldom as anything else.
fn not_taken(signs: &mut Signs<'_>) {
    let late = signs.fact("answered_again_after_the_ack_per_sent_again");
    let by_clients = signs.fact("share_by_listener").is_some_and(|by_listener| by_listener <= 0.2);
    let what = "SYN-ACKs sent again although the ACK had come, for each segment sent again";
    if let Some(late) = late.filter(|late| *late >= 0.1 && by_clients) {
        signs.says(Cause::AcceptQueueFull, 3.0, what, late);
        signs.denies(Cause::LossBehindCapture, 2.0, what, late);
        overflows(signs);
    }
}

/// What the host itself says of accept queues, where it is asked.
fn overflows(signs: &mut Signs<'_>) {
    if let Some(overflows) = signs.host.listen_overflows {
        let what = "connections dropped by a full accept queue (TcpExtListenOverflows)";
        signs.weigh(Cause::AcceptQueueFull, 3.0, what, Some(overflows as f64), (0.0, 1.0));
    }
}

/// What the capture itself lost. Nobody counts that of files: their writers have.
fn capture_drops(signs: &mut Signs<'_>) {
    let dropped = &signs.incident.seen.dropped;
    let nic = dropped.get("nic").copied().unwrap_or(0);
    let elsewhere = dropped.values().sum::<u64>() - nic;
    if nic != 0 {
        let what = "frames that the NIC dropped meanwhile: this host has not got them either";
        signs.says(Cause::NicDrops, 3.0, what, nic as f64);
    }
    if elsewhere != 0 {
        let what = "frames that the capture's ring or queue dropped meanwhile";
        signs.says(Cause::CaptureDrops, 3.0, what, elsewhere as f64);
    }
}

fn zero_window(signs: &mut Signs<'_>) {
    let closed_s = signs.incident.peak.measured;
    let zero_windows = signs.fact("zero_windows").unwrap_or(0.0);
    signs.says(Cause::ReceiverNotReading, 3.0, "seconds for which the window stayed at zero", closed_s);
    signs.says(
        Cause::ReceiverNotReading,
        2.0,
        "zero windows said in answer to the sender's probes",
        zero_windows,
    );
    let what = "zero windows answered: whoever probes has data to send";
    signs.denies(Cause::SlowSender, 3.0, what, zero_windows);
}

fn low_window(signs: &mut Signs<'_>) {
    let share = signs.incident.peak.measured;
    signs.says(Cause::ReceiverNotReading, 2.0, "share of windows below the limit", share);
}

fn slow_transfer(signs: &mut Signs<'_>) {
    let low = signs.fact("low_window_share");
    signs.weigh(Cause::ReceiverNotReading, 3.0, "share of low windows in ten seconds", low, (0.01, 0.05));
    let again = signs.fact("retransmit_or_reordered_share");
    let what = "share of segments sent again or overtaken in ten seconds";
    signs.weigh(Cause::SlowPath, 3.0, what, again, (0.01, 0.05));
    let timed = signs.fact("mib_timed").unwrap_or(0.0);
    let what = "MiB timed, only while the application did not pause";
    signs.denies(Cause::SlowSender, 3.0, what, timed);
}

/// Handshakes and timestamps are answered by kernels: a slow half is a way or a host, never an application.
fn high_rtt(signs: &mut Signs<'_>) {
    let (listener, clients) = (signs.fact("to_listener_ms"), signs.fact("to_clients_ms"));
    let known = |ms: Option<f64>| ms.filter(|ms| *ms >= 0.0);
    let limit = signs.incident.peak.limit;
    let slow = |ms: Option<f64>| known(ms).filter(|ms| *ms > limit);
    if let Some(ms) = slow(clients) {
        signs.says(Cause::SlowPath, 3.0, "ms from here to the clients and back", ms);
    }
    if let Some(ms) = slow(listener) {
        signs.says(Cause::SlowPath, 2.0, "ms from here to the listener and back", ms);
        signs.says(Cause::HostSlow, 2.0, "ms from here to the listener and back", ms);
    } else if let Some(ms) = known(listener) {
        signs.denies(Cause::HostSlow, 3.0, "ms from here to the listener and back", ms);
    }
    if let Some(peers) = signs.fact("slow_peers").filter(|peers| *peers >= 2.0) {
        signs.says(Cause::SlowPath, 1.0, "peers that are slow", peers);
    }
}

fn routing_loop(signs: &mut Signs<'_>) {
    let routers = signs.fact("share_of_two_routers").filter(|share| *share > 0.0);
    let what = "share of the errors that two routers send";
    signs.weigh(Cause::RoutingLoop, 3.0, what, routers, (0.5, 0.9));
    if let Some(round) = signs.fact("packets_seen_going_round").filter(|round| *round > 0.0) {
        signs.says(Cause::RoutingLoop, 3.0, "packets that came by again with fewer hops", round);
    }
    if let Some(probes) = share(signs, "like_a_traceroute", "ttl_exceeded").filter(|share| *share > 0.2) {
        signs.denies(Cause::RoutingLoop, 2.0, "share of the errors that quote a probe", probes);
    }
    let expired = signs.fact("ttl_exceeded").unwrap_or(0.0);
    signs.says(Cause::MissingRoute, 1.0, "packets to one destination whose hops ran out", expired);
}

fn mtu_blackhole(signs: &mut Signs<'_>) {
    let stuck = signs.fact("connections_stuck").unwrap_or(0.0);
    let heard = signs.fact("connections_whose_end_is_heard");
    let ignored = signs.fact("connections_with_too_big_ignored");
    let repeats = signs.incident.peak.measured;
    for cause in [Cause::MtuErrorFiltered, Cause::MtuErrorIgnored] {
        signs.says(cause, 1.0, "connections on which nothing of full size arrives", stuck);
        signs.says(cause, 1.0, "times that a full-size segment was sent again", repeats);
        if let Some(heard) = heard.filter(|heard| *heard > 0.0) {
            signs.says(cause, 2.0, "of these connections, those whose other end was heard since", heard);
        }
    }
    let what = "connections that got an ICMP error of what passes";
    match ignored {
        Some(ignored) if ignored > 0.0 => {
            signs.says(Cause::MtuErrorIgnored, 3.0, what, ignored);
            signs.denies(Cause::MtuErrorFiltered, 3.0, what, ignored);
        }
        Some(ignored) => {
            signs.says(Cause::MtuErrorFiltered, 2.0, what, ignored);
            signs.denies(Cause::MtuErrorIgnored, 3.0, what, ignored);
        }
        None => {}
    }
    signs.says(Cause::LossBehindCapture, 1.0, "times that a segment was sent again", repeats);
    if let Some(completed) = signs.fact("completed_in_a_minute").filter(|completed| *completed > 0.0) {
        let what = "handshakes completed in a minute: small segments pass";
        signs.denies(Cause::LossBehindCapture, 2.0, what, completed);
    }
}

fn tls_failure(signs: &mut Signs<'_>) {
    let by = |signs: &Signs<'_>, name| share(signs, name, "failed");
    let (version, certificate) = (by(signs, "failed_over_version"), by(signs, "failed_over_certificate"));
    let other = version.zip(certificate).map(|(version, certificate)| (1.0 - version - certificate).max(0.0));
    for (cause, what, share) in [
        (Cause::TlsVersions, "share of alerts: protocol_version or inappropriate_fallback", version),
        (Cause::TlsCertificate, "share of alerts that name a certificate", certificate),
        (Cause::TlsParameters, "share of alerts: handshake_failure and others", other),
    ] {
        signs.weigh(cause, 3.0, what, share, (0.2, 0.5));
    }
    if let Some(other) = other.filter(|other| *other >= 0.5) {
        let what = "share of alerts: handshake_failure, as old servers also refuse a version";
        signs.says(Cause::TlsVersions, 1.0, what, other);
    }
}

fn dns_failure(signs: &mut Signs<'_>) {
    let unanswered = share(signs, "unanswered_per_min", "queries_per_min");
    let what = "share of a minute's queries without an answer";
    signs.weigh(Cause::DnsSilent, 3.0, what, unanswered, (0.05, 0.2));
    let failed = share(signs, "servfail_per_min", "queries_per_min");
    signs.weigh(Cause::DnsUpstream, 3.0, "share of SERVFAIL", failed, (0.05, 0.2));
    let missed = share(signs, "names_missing_per_min", "queries_per_min");
    signs.weigh(Cause::DnsWrongNames, 3.0, "share of names that do not exist", missed, (0.1, 0.3));
    if let Some(answered) = share(signs, "answered_per_min", "queries_per_min").filter(|share| *share > 0.2) {
        signs.denies(Cause::DnsSilent, 1.0, "share of queries with an answer", answered);
    }
}

fn server_fails(signs: &mut Signs<'_>) {
    let share = signs.incident.peak.measured;
    signs.says(Cause::ServerFails, 2.0, "share of responses with status 5xx", share);
}

/// An accept queue that is full shows in packets: the listener answers again though the ACK has come, since it had no
/// place for the connection (Linux without `tcp_abort_on_overflow`), and new SYNs get no answer.
fn handshake_failure(signs: &mut Signs<'_>) {
    let asked = signs.fact("attempts").unwrap_or(0.0).max(1.0);
    let completed = signs.fact("completed").unwrap_or(0.0);
    let refused = share(signs, "refused", "failed");
    let timed_out = share(signs, "timed_out", "failed");
    let late = signs.fact("of_these_after_the_ack");
    let what = "SYN-ACKs sent again in the last minute although the ACK had come";
    signs.weigh(Cause::AcceptQueueFull, 3.0, what, late, (0.0, 3.0));
    if let Some(timed_out) = timed_out.filter(|share| *share >= 0.5 && completed > 0.0) {
        let what = "share of the failures that got no answer, while others complete";
        signs.says(Cause::AcceptQueueFull, 1.0, what, timed_out);
    }
    overflows(signs);
    signs.weigh(Cause::Refused, 3.0, "share of the failures that are RSTs", refused, (0.1, 0.5));
    if let Some(refused) = refused.filter(|refused| *refused >= 0.5) {
        let what = "share of the failures that are RSTs";
        signs.denies(Cause::AcceptQueueFull, 2.0, what, refused);
        signs.denies(Cause::HostSilent, 3.0, what, refused);
    }
    if let Some(timed_out) = timed_out.filter(|share| *share >= 0.5) {
        signs.says(Cause::HostSilent, 2.0, "share of the failures that got no answer", timed_out);
    }
    let served = completed / asked;
    signs.weigh(Cause::HostSilent, 1.0, "share of attempts not completed", Some(1.0 - served), (0.9, 0.99));
    let answered = signs.fact("answered").unwrap_or(0.0);
    let open = (answered - completed).max(0.0) / answered.max(1.0);
    signs.weigh(Cause::AnswersLost, 2.0, "share of answers that nobody acknowledged", Some(open), (0.1, 0.5));
    if let Some(late) = late.filter(|late| *late >= 3.0) {
        signs.denies(Cause::HostSilent, 2.0, what, late);
    }
}

/// A listener with state sends each unanswered SYN-ACK again after a second; one that answers with cookies has nothing
/// to send again, and goes on answering.
fn syn_flood(signs: &mut Signs<'_>) {
    let forged = signs.incident.peak.spoofed_estimate;
    signs.weigh(Cause::ForgedSyns, 3.0, "share of SYNs that are probably forged", forged, (0.2, 0.5));
    let sources = signs.incident.peak.distinct_sources.map(|sources| sources as f64);
    if let Some(sources) = sources.filter(|sources| *sources <= 20.0) {
        signs.says(Cause::FewFlooders, 2.0, "distinct sources", sources);
    }
    let answered = share(signs, "answered_per_s", "asked_per_s").map(|share| share.min(1.0));
    let what = "share of SYNs that the listener answers";
    signs.weigh(Cause::SynCookies, 2.0, what, answered, (0.5, 0.9));
    if let Some(answered) = answered.filter(|answered| *answered <= 0.5) {
        signs.says(Cause::SynQueueFull, 3.0, what, answered);
    }
    again_or_not(signs);
    if let Some(served) = share(signs, "completed_per_s", "usual_completed_per_s") {
        let what = "completed handshakes, as a share of what is usual: others are served";
        signs.weigh(Cause::SynCookies, 1.0, what, Some(served), (0.5, 0.8));
        if served >= 0.8 {
            signs.denies(Cause::SynQueueFull, 2.0, what, served);
        }
    }
    if let Some(sent) = signs.host.syn_cookies_sent {
        let what = "SYN cookies sent (TcpExtSyncookiesSent)";
        signs.weigh(Cause::SynCookies, 3.0, what, Some(sent as f64), (0.0, 1.0));
    }
}

/// SYN-ACKs sent again, for each that would have been due a second time.
fn again_or_not(signs: &mut Signs<'_>) {
    let age_ns = signs.incident.latest.1.saturating_sub(signs.incident.opened_ns);
    let open = signs.fact("answered_per_s").zip(signs.fact("completed_per_s")).map(|(all, done)| all - done);
    let (Some(again), Some(open)) = (signs.fact("answered_again_lately"), open) else { return };
    if age_ns < AGAIN_AFTER_NS || open < 1.0 {
        return;
    }
    // Those of the last second are not due.
    let due = open * (age_ns as f64 / 1e9 - 1.0).min(COUNTED_S);
    let ratio = again / due;
    let what = "SYN-ACKs sent again, for each left open over a second: cookies keep nothing to send again";
    match ratio {
        _ if ratio < 0.5 => signs.says(Cause::SynCookies, 3.0, what, ratio),
        _ if ratio >= 0.8 => signs.denies(Cause::SynCookies, 3.0, what, ratio),
        _ => {}
    }
}
