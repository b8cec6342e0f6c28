//! `zero_window`: a receiver that does not read.
//!
//! Fault: an application that hangs, is paused or is slower than what it is sent; its kernel's buffer is full.
//! Measured: on single connections, the time from the first zero window to the last one without an opening between:
//! what is answered to the sender's probes. A sender that is slow, or that has nothing to send, probes nothing.
//! Ordinary traffic does not trigger it: busy receivers close their windows for milliseconds.
//! Thresholds: three seconds; in both captured cases at hand (a printer, a bulk receiver) the real ones last for 20.
//! What would fool it: a player that the user has paused looks the same, and is a P3.

use super::Evidence;
use crate::incident::{Finding, Kind, Severity};

const SECOND_NS: f64 = 1e9;

/// Judges the connections in trouble.
pub(super) fn detect(evidence: &Evidence<'_>) -> Option<Finding> {
    let closed = &evidence.trouble?.closed;
    let seconds = closed.known_ns as f64 / SECOND_NS;
    let limit = evidence.config.zero_window_s;
    if closed.by_clients + closed.by_listener == 0 || seconds < limit {
        return None;
    }
    let (Some(receiver), Some(sender)) = (closed.receiver, closed.sender) else { return None };
    let own = receiver == evidence.listener.address;
    let severity = if own { Severity::P2 } else { Severity::P3 };
    let (socket, port) = (evidence.socket(), evidence.listener.port);
    let who = if own { format!("the listener {socket}") } else { format!("client {receiver} of {socket}") };
    let connections = if own { closed.by_listener } else { closed.by_clients };
    Some(Finding {
        rule: format!("a receiver's window stays closed for >= {limit} s while its sender probes it"),
        measured: seconds,
        unit: "s",
        limit,
        facts: vec![
            ("connections_closed_by_clients", closed.by_clients.into()),
            ("connections_closed_by_listener", closed.by_listener.into()),
            ("zero_windows", closed.zero_windows.into()),
        ],
        window_s: seconds,
        cause: vec![
            format!(
                "{who} does not read: window 0 for {seconds:.1} s, said {} times, on {connections} connections; its application hangs, is paused or too slow",
                closed.zero_windows
            ),
            format!("not the sender: {sender} has data and probes for room"),
        ],
        next: vec![
            format!("on {receiver}: ss -tnpmi '( sport = :{port} or dport = :{port} )' | grep -B1 -E 'Recv-Q|rcv_space'"),
            format!("on {receiver}: ss -tnp '( sport = :{port} or dport = :{port} )' | awk '$2 > 0'"),
            "nstat -az TcpExtTCPToZeroWindowAdv TcpExtTCPFromZeroWindowAdv TcpExtTCPWantZeroWindowAdv TcpExtTCPRcvQDrop".to_owned(),
            format!("tcpdump -ni any 'host {receiver} and tcp port {port} and tcp[14:2] = 0 and tcp[13] & 7 = 0'"),
        ],
        ..Finding::bare(Kind::ZeroWindow, severity)
    })
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::super::testing::Listener;
    use super::*;
    use crate::path::{Closed, Trouble};

    fn closed(seconds: f64, by_listener: u32) -> Listener {
        let mut listener = Listener::default();
        let (own, peer) = (Some(listener.key.address), Some(IpAddr::from([203, 0, 113, 7])));
        let (receiver, sender) = if by_listener == 0 { (peer, own) } else { (own, peer) };
        let closed = Closed {
            by_clients: 1 - by_listener,
            by_listener,
            known_ns: (seconds * SECOND_NS) as u64,
            zero_windows: 5,
            receiver,
            sender,
        };
        listener.trouble = Some(Trouble { closed, ..Trouble::default() });
        listener
    }

    #[test]
    fn who_does_not_read_is_named() {
        let client = detect(&closed(6.0, 0).evidence()).unwrap();
        assert_eq!((client.severity, client.measured), (Severity::P3, 6.0));
        assert!(client.cause[0].starts_with("client 203.0.113.7 of"), "{:?}", client.cause);
        let listener = detect(&closed(6.0, 1).evidence()).unwrap();
        assert_eq!(listener.severity, Severity::P2);
        assert!(listener.cause[0].starts_with("the listener"), "{:?}", listener.cause);
    }

    #[test]
    fn a_receiver_that_catches_up_is_ordinary() {
        assert_eq!(detect(&closed(1.5, 0).evidence()), None);
        assert_eq!(detect(&Listener::default().evidence()), None);
    }
}
