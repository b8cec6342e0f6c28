//! Observations in words: one plain sentence, what an incident would have needed, a filter that shows the packets, and
//! a command to run next.

use std::net::{IpAddr, SocketAddr};

use super::draft::Draft;
use super::{Observation, Observed};
use crate::config::Config;
use crate::impairment::Worst;

/// An observation of a draft.
pub(super) fn observation(draft: &Draft<'_>, config: &Config) -> Observation {
    let (first_ns, last_ns) = draft.span.ns();
    let place = Place::of(draft);
    let is_time = matches!(draft.kind, Observed::HighRtt | Observed::SlowAnswer | Observed::LateRequest);
    Observation {
        kind: draft.kind,
        target: draft.target,
        count: draft.count,
        of: draft.of,
        unit: unit(draft.kind),
        worst_ms: draft.worst.filter(|_| is_time).map(|worst| worst.most as f64 / 1_000.0),
        first_ns,
        last_ns,
        peer: draft.peer,
        what: what(draft),
        incident_needs: incident_needs(draft.kind, config),
        filter: filter(draft, &place),
        next: next(draft, &place),
    }
}

/// What is counted.
const fn unit(kind: Observed) -> &'static str {
    match kind {
        Observed::TlsFailure => "ClientHellos",
        Observed::HttpErrors | Observed::SlowHttp => "responses",
        Observed::ConnectionRefused | Observed::Unanswered | Observed::HandshakeFailure => "attempts",
        Observed::SynRetransmission => "SYNs",
        Observed::DnsFailure => "answers",
        Observed::Loss | Observed::OutOfOrder | Observed::WindowFull => "segments with payload",
        Observed::ZeroWindow | Observed::DuplicateAck => "segments",
        Observed::HighRtt | Observed::SlowAnswer | Observed::LateRequest | Observed::BruteForce => {
            "connections"
        }
        Observed::PortScan => "ports",
        Observed::HostSweep => "hosts",
        Observed::SynAckReflection => "SYN-ACKs",
        Observed::Unreachable | Observed::TtlExceeded => "ICMP errors",
        Observed::IpFragments => "packets",
        Observed::RoutingLoop => "packets",
    }
}

/// Addresses of a draft as commands and filters take them.
struct Place {
    host: String,
    /// With the port, as commands take both.
    socket: String,
    /// 0 where it is several.
    port: u16,
    peer: String,
    is_v4: bool,
}

impl Place {
    fn of(draft: &Draft<'_>) -> Self {
        let (address, bits, port, _) =
            draft.target.place().unwrap_or((IpAddr::from([0, 0, 0, 0]), None, None, "ip"));
        let host = bits.map_or_else(|| address.to_string(), |bits| format!("{address}/{bits}"));
        let port = port.unwrap_or_default();
        let peer = draft.peer.map_or_else(|| "PEER".to_owned(), |peer| peer.to_string());
        let socket = SocketAddr::new(address, port).to_string();
        Self { host, socket, port, peer, is_v4: address.is_ipv4() }
    }

    /// A filter on the target as `field` of the address family.
    fn is(&self, end: &str) -> String {
        format!("{}.{end} == {}", if self.is_v4 { "ip" } else { "ipv6" }, self.host)
    }
}

fn percent(share: f64) -> String {
    format!("{} %", (share * 1_000.0).round() / 10.0)
}

/// "5 of 6".
fn counted(draft: &Draft<'_>) -> String {
    match draft.of {
        Some(of) => format!("{} of {of}", draft.count),
        None => draft.count.to_string(),
    }
}

fn seconds(worst: Option<&Worst>) -> String {
    worst.map_or_else(String::new, |worst| format!("{:.3} s", worst.most as f64 / 1e6))
}

/// "; most by the listener to 192.0.2.7 (5)".
fn most(draft: &Draft<'_>) -> String {
    let Some(worst) = draft.worst else { return String::new() };
    let Some(client) = worst.client else { return String::new() };
    let whose = if worst.by_listener { "by the listener to" } else { "by its client" };
    let connections = if worst.connections == 1 {
        String::new()
    } else {
        format!(", on {} connections", worst.connections)
    };
    format!(": most {whose} {client} ({} on one connection){connections}", worst.most)
}

/// "; asked by 192.0.2.7".
fn asked_by(draft: &Draft<'_>) -> String {
    draft.peer.map_or_else(String::new, |peer| format!("; asked by {peer}"))
}

/// Of attempts: at how many ports, how often SYNs were sent again, and by whom.
fn attempts(draft: &Draft<'_>) -> String {
    let ports = if draft.places > 1 { format!(" at {} ports", draft.places) } else { String::new() };
    let again = match draft.beside {
        0 => String::new(),
        again => format!(", SYNs sent again {}", times(again)),
    };
    format!("{ports}{again}{}", asked_by(draft))
}

fn times(count: u64) -> String {
    if count == 1 { "once".to_owned() } else { format!("{count} times") }
}

/// The sentence.
fn what(draft: &Draft<'_>) -> String {
    let counted = counted(draft);
    let worst = draft.worst;
    match draft.kind {
        Observed::TlsFailure => {
            let alert = worst.and_then(|worst| worst.what.as_deref());
            let by = match worst {
                Some(Worst { by_listener: true, client: Some(client), .. }) => {
                    format!(" of the server, to {client}")
                }
                Some(Worst { client: Some(client), .. }) => format!(" of the client {client}"),
                _ => String::new(),
            };
            let alert = alert.map_or_else(String::new, |alert| format!(": {alert}{by}"));
            format!("{counted} TLS handshakes ended by a fatal alert{alert}")
        }
        Observed::HttpErrors => {
            let status = worst.and_then(|worst| worst.what.as_deref());
            let status = status.map_or_else(String::new, |status| format!(", the last {status}"));
            format!("{counted} HTTP responses with status 5xx{status}{}", to_client(worst))
        }
        Observed::ConnectionRefused => {
            format!("{counted} connection attempts answered with RST{}", attempts(draft))
        }
        Observed::Unanswered => {
            format!("{counted} connection attempts without any answer{}", attempts(draft))
        }
        Observed::HandshakeFailure => {
            format!("{counted} attempts answered, and no ACK of the answer seen{}", attempts(draft))
        }
        Observed::SynRetransmission => {
            format!("{counted} SYNs were sent again before they were answered{}", attempts(draft))
        }
        Observed::DnsFailure if draft.of.is_none() => {
            format!("{counted} queries, and no answer to any{}", asked_by(draft))
        }
        Observed::DnsFailure => {
            let missed = draft.count.saturating_sub(draft.beside);
            format!(
                "{counted} answers are failures: {} SERVFAIL, {missed} no such name or others{}",
                draft.beside,
                asked_by(draft)
            )
        }
        Observed::Loss => format!("{counted} segments with payload or FIN were sent again{}", most(draft)),
        Observed::OutOfOrder => format!("{counted} segments with payload were overtaken{}", most(draft)),
        Observed::DuplicateAck => format!("{counted} segments repeat an ACK{}", most(draft)),
        Observed::ZeroWindow => {
            format!("receivers closed their window {}{}", times(draft.count), most(draft))
        }
        Observed::WindowFull => {
            format!("{counted} segments with payload filled the receiver's window{}", most(draft))
        }
        _ => what_else(draft, &counted),
    }
}

fn to_client(worst: Option<&Worst>) -> String {
    let client = worst.and_then(|worst| worst.client);
    client.map_or_else(String::new, |client| format!(", most to {client}"))
}

/// The sentence of what is a time, or no listener's.
fn what_else(draft: &Draft<'_>, counted: &str) -> String {
    let (count, seconds) = (draft.count, seconds(draft.worst));
    match draft.kind {
        Observed::HighRtt => {
            let to_listener = draft.worst.is_some_and(|worst| worst.by_listener);
            let whom = if to_listener { "the listener and back" } else { "the client and back" };
            let client = draft.peer.map_or_else(String::new, |peer| format!(" (client {peer})"));
            format!("{counted} handshakes took 0.8 s or more to {whom}, the longest {seconds}{client}")
        }
        Observed::SlowAnswer => {
            let client = draft.peer.map_or_else(String::new, |peer| format!(", to {peer}"));
            format!(
                "on {counted} connections an answer took 1 s or more beyond the round trip, the longest {seconds}{client}: the server, unless the question itself came slowly"
            )
        }
        Observed::LateRequest => {
            let client = draft.peer.map_or_else(String::new, |peer| format!(", by {peer}"));
            format!(
                "on {counted} connections the client asked 1 s or more after they were open, the longest {seconds}{client}: the client, not network or server"
            )
        }
        Observed::PortScan => format!("about {count} ports asked, most in vain{}", asked_by(draft)),
        Observed::HostSweep => format!("about {count} hosts asked, most in vain{}", asked_by(draft)),
        Observed::SynAckReflection => {
            let by = draft.peer.map_or_else(String::new, |peer| format!(", most by {peer}"));
            format!(
                "{count} SYN-ACKs that nobody asked for, to {} hosts{by}: somebody forges these addresses, to hit the sender or them",
                draft.beside
            )
        }
        Observed::BruteForce => {
            format!("{counted} connections were logins that ended with little said{}", asked_by(draft))
        }
        Observed::SlowHttp => format!("the server gave up waiting for a request {} (408)", times(count)),
        Observed::Unreachable => {
            format!("it was told {} by ICMP that a destination cannot be reached", times(count))
        }
        Observed::TtlExceeded => {
            let from = draft.peer.map_or_else(String::new, |peer| format!(", sent by {peer}"));
            let routers = if draft.beside == 1 { "a router" } else { &format!("{} routers", draft.beside) };
            if draft.places > 1 {
                let count = times(count);
                return format!("its packets to {} destinations ran out of hops {count}", draft.places);
            }
            format!("packets to it ran out of hops {}, at {routers}{from}", times(count))
        }
        Observed::RoutingLoop => {
            let from = draft.peer.map_or_else(String::new, |peer| format!(", sent by {peer}"));
            format!("{count} packets to it came by again and again with fewer hops{from}")
        }
        Observed::IpFragments => format!("{counted} packets to it were fragments"),
        _ => counted.to_owned(),
    }
}

/// What would have opened an incident.
fn incident_needs(kind: Observed, config: &Config) -> String {
    match kind {
        Observed::TlsFailure => format!(
            "> {} of a minute's ClientHellos, at least {}",
            percent(config.tls_failure_share),
            config.tls_failures_min
        ),
        Observed::HttpErrors => format!(
            "> {} of a minute's responses, at least {}, of at least {}",
            percent(config.http_5xx_share),
            config.http_5xx_min,
            config.http_responses_min
        ),
        Observed::ConnectionRefused
        | Observed::Unanswered
        | Observed::HandshakeFailure
        | Observed::SynRetransmission => format!(
            "> {} of five minutes' attempts fail, at least {} ({} where none ever succeeded)",
            percent(config.handshake_failure_share),
            config.handshake_failures,
            config.handshake_failures_unserved
        ),
        Observed::DnsFailure => format!(
            ">= {} of a minute's queries SERVFAIL or unanswered, at least {}; or >= {} no such name, at least {}",
            percent(config.dns_failure_share),
            config.dns_failure_min,
            percent(config.dns_missing_share),
            config.dns_missing_min
        ),
        Observed::Loss | Observed::OutOfOrder | Observed::DuplicateAck => format!(
            "> {} of segments with payload sent again for {} s, of at least {}",
            percent(config.loss_share),
            config.loss_s,
            config.loss_segments_min
        ),
        Observed::ZeroWindow | Observed::WindowFull => {
            format!("a window closed for >= {} s while its sender probes", config.zero_window_s)
        }
        Observed::HighRtt => format!(
            "mean of ten seconds > {} ms and {} x what is usual, or > {} ms, of at least {} round trips",
            config.high_rtt_ms,
            config.high_rtt_rise_factor,
            config.high_rtt_far_ms,
            config.high_rtt_samples_min
        ),
        _ => incident_needs_else(kind, config),
    }
}

/// The same of what has no rule of its own, or is no performance of a listener's.
fn incident_needs_else(kind: Observed, config: &Config) -> String {
    match kind {
        Observed::SlowAnswer | Observed::LateRequest => {
            "no rule: how long an application may take is its own".to_owned()
        }
        Observed::PortScan => {
            format!(">= {} ports in a minute (half where none answers)", config.scan_ports)
        }
        Observed::HostSweep => format!(">= {} hosts in a minute", config.sweep_hosts),
        Observed::SynAckReflection => format!(">= {}/s to one host", config.unasked_answers_per_s),
        Observed::BruteForce => format!(
            ">= {} of one host in a minute, or {} in five",
            config.brute_force_logins, config.brute_force_slow_logins
        ),
        Observed::SlowHttp => format!(
            ">= {} heads that wait at a time, {} s on average",
            config.slow_http_heads, config.slow_http_wait_s
        ),
        Observed::Unreachable => {
            format!("no rule but for ICMP as a flood: >= {}/s", config.icmp_flood_per_s)
        }
        Observed::TtlExceeded | Observed::RoutingLoop => {
            format!(">= {} in ten seconds at the same routers", config.routing_loop_packets)
        }
        _ => format!(">= {}/s that cannot become packets", config.fragment_flood_per_s),
    }
}

/// The display filter.
fn filter(draft: &Draft<'_>, place: &Place) -> String {
    let at = match place.port {
        0 => place.is("addr"),
        port => format!("{} && tcp.port == {port}", place.is("addr")),
    };
    let (host, to) = (place.is("addr"), place.is("dst"));
    match draft.kind {
        Observed::TlsFailure => format!("{at} && tls.alert_message.level == 2"),
        Observed::HttpErrors => format!("{at} && http.response.code >= 500"),
        Observed::SlowHttp => format!("{at} && http.response.code == 408"),
        Observed::ConnectionRefused => {
            let port =
                if place.port == 0 { String::new() } else { format!(" && tcp.srcport == {}", place.port) };
            format!("{}{port} && tcp.flags.reset == 1", place.is("src"))
        }
        Observed::Unanswered => format!("{at} && tcp.flags.syn == 1"),
        Observed::HandshakeFailure => format!("{at} && tcp.flags.syn == 1 && tcp.flags.ack == 1"),
        Observed::SynRetransmission => {
            format!("{at} && tcp.flags.syn == 1 && tcp.flags.ack == 0 && tcp.analysis.retransmission")
        }
        Observed::DnsFailure if draft.of.is_none() => format!("{host} && dns"),
        Observed::DnsFailure => format!("{} && dns.flags.rcode != 0", place.is("src")),
        Observed::Loss => format!("{at} && tcp.analysis.retransmission && tcp.flags.syn == 0"),
        Observed::OutOfOrder => format!("{at} && tcp.analysis.out_of_order"),
        Observed::DuplicateAck => format!("{at} && tcp.analysis.duplicate_ack"),
        Observed::ZeroWindow => format!("{at} && tcp.analysis.zero_window"),
        Observed::WindowFull => format!("{at} && tcp.analysis.window_full"),
        Observed::HighRtt => format!("{at} && tcp.analysis.initial_rtt >= 0.8"),
        Observed::SlowAnswer | Observed::LateRequest => {
            format!("{at} && tcp.time_delta >= 1 && tcp.len > 0")
        }
        Observed::BruteForce => format!("{at} && tcp.flags.fin == 1"),
        Observed::PortScan | Observed::HostSweep => match draft.peer {
            Some(IpAddr::V6(peer)) => format!("ipv6.src == {peer} && {to}"),
            _ => format!("ip.src == {} && {to}", place.peer),
        },
        Observed::SynAckReflection => format!("{to} && tcp.flags == 0x012"),
        // The header in front: the error quotes another.
        Observed::Unreachable if place.is_v4 => format!("{} && icmp.type == 3", place.is("dst#1")),
        Observed::Unreachable => format!("{} && icmpv6.type == 1", place.is("dst#1")),
        Observed::TtlExceeded if place.is_v4 => format!("{to} && icmp.type == 11"),
        Observed::TtlExceeded => format!("{to} && icmpv6.type == 3"),
        Observed::RoutingLoop => to,
        Observed::IpFragments if place.is_v4 => format!("{to} && (ip.flags.mf == 1 || ip.frag_offset > 0)"),
        Observed::IpFragments => format!("{to} && ipv6.fraghdr"),
    }
}

/// The command.
fn next(draft: &Draft<'_>, place: &Place) -> String {
    let Place { host, socket, port, peer, .. } = place;
    let by_listener = draft.worst.is_some_and(|worst| worst.by_listener);
    let connection = format!("'( sport = :{port} or dport = :{port} )'");
    match draft.kind {
        Observed::TlsFailure => {
            let name = draft.worst.and_then(|worst| worst.name.as_deref());
            let name = name.map_or_else(String::new, |name| format!(" -servername {}", quoted(name)));
            format!("openssl s_client -connect {socket}{name} -brief </dev/null")
        }
        Observed::HttpErrors => format!("curl -sv -o /dev/null http://{socket}/"),
        Observed::SlowHttp | Observed::SlowAnswer => {
            format!("curl -s -o /dev/null -w '%{{time_connect}} %{{time_starttransfer}}\\n' http://{socket}/")
        }
        Observed::ConnectionRefused | Observed::Unanswered | Observed::SynRetransmission
            if draft.places > 1 =>
        {
            format!("on {host}: ss -Hltnp")
        }
        Observed::TtlExceeded | Observed::RoutingLoop if draft.places > 1 => {
            format!("tcpdump -ni any -c 50 'dst host {host} and ( icmp or icmp6 )'")
        }
        Observed::ConnectionRefused => format!("on {host}: ss -Hltnp 'sport = :{port}'"),
        Observed::Unanswered | Observed::SynRetransmission => format!("nc -zvw 3 {host} {port}"),
        Observed::HandshakeFailure => format!("on {host}: ss -Htn state syn-recv"),
        Observed::DnsFailure => format!("dig +tries=1 @{host} . NS"),
        Observed::Loss | Observed::OutOfOrder | Observed::DuplicateAck => {
            format!("on {host}: ss -Htin {connection}; nstat -az TcpRetransSegs TcpExtTCPLostRetransmit")
        }
        Observed::ZeroWindow => {
            let reader = if by_listener || draft.peer.is_none() { host } else { peer };
            format!("on {reader}, which does not read: ss -Htnpmi {connection}")
        }
        Observed::WindowFull => {
            let reader = if by_listener { peer } else { host };
            format!(
                "on {reader}, whose window is too small: ss -Htnpmi {connection}; sysctl net.ipv4.tcp_rmem"
            )
        }
        Observed::HighRtt => format!("mtr -rnc 10 {}", if by_listener { host } else { peer }),
        Observed::LateRequest => format!("on {peer}: ss -Htnpi 'dport = :{port}'"),
        Observed::PortScan | Observed::HostSweep => format!("tcpdump -ni any -c 50 'src host {peer}'"),
        Observed::SynAckReflection => format!("tcpdump -ni any -c 50 'src host {peer} and tcp[13] = 18'"),
        Observed::BruteForce => format!("on {host}: lastb -a | head"),
        Observed::Unreachable | Observed::TtlExceeded | Observed::RoutingLoop | Observed::IpFragments => {
            format!("tracepath -n {host}")
        }
    }
}

/// A server name as the shell may have it: it is somebody else's.
fn quoted(name: &str) -> String {
    name.chars().filter(|letter| letter.is_ascii_alphanumeric() || ".-_".contains(*letter)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::incident::Target;
    use crate::window::ListenerKey;

    fn told(kind: Observed, worst: Option<&Worst>) -> Observation {
        let key = ListenerKey { address: [192, 0, 2, 7].into(), port: 443 };
        let draft = Draft { of: Some(4), ..Draft::new(kind, Target::Listener(key), 1) };
        observation(&draft.with_worst(worst), &Config::default())
    }

    #[test]
    fn every_kind_has_all_its_words() {
        for kind in Observed::ALL {
            let told = told(*kind, None);
            for words in [told.what, told.incident_needs, told.filter, told.next] {
                assert!(words.len() > 3, "{}: {words}", kind.name());
            }
        }
    }

    #[test]
    fn an_alert_is_told_with_who_sent_it_and_how_to_ask_again() {
        let worst = Worst {
            what: Some("protocol_version".into()),
            name: Some("example.org'; rm".into()),
            ..Worst::one(1, [203, 0, 113, 1].into(), true)
        };
        let told = told(Observed::TlsFailure, Some(&worst));
        assert_eq!(
            told.what,
            "1 of 4 TLS handshakes ended by a fatal alert: protocol_version of the server, to 203.0.113.1"
        );
        assert_eq!(
            told.next,
            "openssl s_client -connect 192.0.2.7:443 -servername example.orgrm -brief </dev/null"
        );
        assert_eq!(told.filter, "ip.addr == 192.0.2.7 && tcp.port == 443 && tls.alert_message.level == 2");
    }

    #[test]
    fn a_time_is_told_in_milliseconds() {
        let worst = Worst::one(1_035_000, [203, 0, 113, 1].into(), true);
        assert_eq!(told(Observed::SlowAnswer, Some(&worst)).worst_ms, Some(1_035.0));
        assert_eq!(told(Observed::Loss, Some(&worst)).worst_ms, None);
    }
}
