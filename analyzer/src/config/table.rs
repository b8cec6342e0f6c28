//! The table of thresholds.

use serde::Deserialize;

use super::{Key, Range};

macro_rules! thresholds {
    ($($name:ident: $kind:ty = $default:literal, $range:ident, $text:literal;)*) => {
        /// All thresholds. Defaults are the feature model's (DESIGN: section 5) where it has them.
        #[derive(Clone, Debug, PartialEq, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct Config { $(#[doc = $text] pub $name: $kind,)* }

        impl Default for Config {
            fn default() -> Self {
                Self { $($name: $default,)* }
            }
        }

        /// All of them, in the order of the file.
        pub const KEYS: &[Key] = &[$(Key {
            name: stringify!($name),
            range: Range::$range,
            text: $text,
            default: stringify!($default),
            get: |config| config.$name as f64,
        },)*];
    };
}

thresholds! {
    conn_rate_limit_per_s: f64 = 500.0, AboveZero,
        "Healthy connection attempts per second and listener (model: 500 /s).";
    conn_rise_factor: f64 = 4.0, AboveOne,
        "A rise of this many times its baseline is a surge (model: a rise of 300 %, 4 x).";
    conn_rise_floor_per_s: f64 = 100.0, AboveZero,
        "Below this rate no rise is a surge: four connections after one are not an event.";
    flood_unresolved_share: f64 = 0.5, Share,
        "Share of matured attempts that stay without handshake, above which a high rate is a flood.";
    flood_unresolved_share_at_limit: f64 = 0.2, Share,
        "The same share where the unresolved attempts alone exceed conn_rate_limit_per_s.";
    syn_flood_low_per_s: f64 = 30.0, AboveZero,
        "SYNs per second that are a flood where they are plainly made up: without options, or each from another address at a listener that never served, and none completed (a backlog of 128 whose entries wait for 63 s is full at 2 /s).";
    low_window_share: f64 = 0.5, Share,
        "Share of windows below 10,000 bytes (model: < 10 K) in a second that counts as low.";
    low_window_samples_min: u64 = 20, UpToAnHour,
        "Windows of known scale in a second below which it is not judged.";
    low_window_seconds: u32 = 2, UpToAnHour,
        "Seconds in a row that open a low-window incident.";
    slow_transfer_share: f64 = 0.5, Share,
        "Share of MiB slower than 200 ms (model) that opens an incident.";
    slow_transfer_samples_min: u64 = 3, UpToAnHour,
        "MiB in ten seconds below which none is opened.";
    slow_transfer_loss_share: f64 = 0.01, Share,
        "Retransmitted or reordered share of payload segments that explains a slow transfer (model: 5 %, here 1 %: it is evidence beside the slowness, not a finding of its own).";
    loss_share: f64 = 0.05, Share,
        "Share of payload segments sent again or overtaken that is loss (model: > 5 %).";
    loss_s: u32 = 60, UpToAnHour,
        "Seconds for which it must last, up to 290 (model: 60 s).";
    loss_segments_min: u64 = 200, UpToAnHour,
        "Payload segments in that time below which no loss is told: 5 % of them are ten.";
    loss_severe_share: f64 = 0.2, Share,
        "The same share where ten seconds are enough: four times the model's, at which TCP comes to a halt.";
    zero_window_s: f64 = 3.0, AboveZero,
        "Seconds from a receiver's first zero window to its last that open an incident: ordinary receivers catch up within milliseconds.";
    high_rtt_ms: f64 = 100.0, AboveZero,
        "Mean round trip over ten seconds that is long (model: > 100 ms), if it also rose.";
    high_rtt_samples_min: u64 = 20, UpToAnHour,
        "Round trips in ten seconds below which no rise is told.";
    high_rtt_rise_factor: f64 = 3.0, AboveOne,
        "Rise of a listener's mean round trip over its own baseline that no change of clients explains.";
    high_rtt_far_ms: f64 = 800.0, AboveZero,
        "Mean round trip that is long without a rise: a satellite takes 600 ms, no cable more than 400.";
    high_rtt_peers_min: u32 = 3, UpToAnHour,
        "Slow peers from which on a rise is not one far-away client that has come.";
    tls_failure_share: f64 = 0.2, Share,
        "Share of ClientHellos answered by a fatal alert, over a minute: scanners alone cause a few per cent.";
    tls_failures_min: u64 = 10, UpToAnHour,
        "Failed TLS handshakes in that minute below which none is told.";
    http_5xx_share: f64 = 0.01, Share,
        "Share of responses with status 5xx over a minute (model: > 1 %).";
    http_5xx_min: u64 = 5, UpToAnHour,
        "Such responses in that minute below which none is told: one or two are somebody's bad request.";
    http_responses_min: u64 = 20, UpToAnHour,
        "Responses in that minute below which the share is not looked at.";
    routing_loop_packets: u64 = 20, UpToAnHour,
        "Packets to one destination in ten seconds whose hops run out at the same routers: a traceroute causes three at each.";
    mtu_blackhole_repeats: u32 = 3, UpToAnHour,
        "Times that a full-size segment is sent again in vain: a segment is lost by chance three times in a row in one of 1,000 cases at 10 % loss.";
    mtu_blackhole_connections: u32 = 3, UpToAnHour,
        "Such connections that are needed where neither an ICMP error nor a sign of life tells more.";
    // Hosts that ask others, and misuse of listeners.
    scan_ports: u64 = 60, AboveZero,
        "Ports that one host asks in a minute, most of them in vain, that are a scan (Zeek: 15 in five minutes; nmap's fast scan: 100; here fewer than that, and more than any client needs).";
    scan_unanswered_share: f64 = 0.7, Share,
        "Share of the places asked that do not answer, above which somebody searches (Jung et al. 2004: a scanner's fail four times in five, others' one in five).";
    sweep_hosts: u64 = 60, AboveZero,
        "Hosts that one host asks in a minute, most of them in vain, that are a sweep (Zeek: 25 in five minutes; here a quarter of a /24).";
    sweep_scattered_factor: f64 = 4.0, AboveOne,
        "So many times sweep_hosts where they are in no network of their own: peer-to-peer nodes ask for a hundred dead ones a minute.";
    arp_sweep_hosts: u64 = 60, AboveZero,
        "Addresses that one host asks for within ten seconds that are a sweep (a quarter of a /24; a gateway asks for all of it too, over a minute or more).";
    arp_spoof_unasked: u64 = 10, AboveZero,
        "ARP replies for one address in a minute that nobody asked for (a failover announces itself up to five times; arpspoof says it every two seconds).";
    arp_spoof_moves: u64 = 2, AboveZero,
        "Times in a minute that an address goes to other hardware, there and back: then half of arp_spoof_unasked is enough (a failover or a new lease moves it once).";
    brute_force_logins: u64 = 30, AboveZero,
        "Brief logins of one host at one listener in a minute that are guessing (fail2ban: 5 failures in ten minutes; whether a login failed is not seen, so that scripts have room).";
    brute_force_slow_logins: u64 = 20, AboveZero,
        "The same in five minutes: four a minute, for as long, is more than scripts need (Zeek: 30 failures in half an hour).";
    brute_force_form_share: f64 = 0.2, Share,
        "Share of a listener's requests that must be forms with another password than the one before, brute_force_logins of them in a minute: people ask for ten pages for each password.";
    brute_force_spread_logins: u64 = 300, AboveZero,
        "The same of all hosts together, where it is also conn_rise_factor times what is usual: 5 a second.";
    connection_flood_per_s: f64 = 100.0, AboveZero,
        "Completed connections per second that stay open and silent (Apache's 150 to 400 workers are gone in four seconds).";
    connection_flood_silent_share: f64 = 0.5, Share,
        "Share of the completed connections that must be silent: browsers open one in a few in advance.";
    http_flood_requests_per_s: f64 = 500.0, AboveZero,
        "Requests per second below which there is no flood (as conn_rate_limit_per_s: a page that a server makes takes milliseconds).";
    http_flood_rise_factor: f64 = 5.0, AboveOne,
        "Times the usual requests per second that are a flood (a crowd triples them; the model's 4 x is a surge).";
    http_flood_source_per_s: u64 = 8, AboveZero,
        "Connections per second of one source that are no browser's (at most 6 to a host).";
    http_flood_source_share: f64 = 0.1, Share,
        "Share of the connections that such sources, of the sixteen busiest, must have: a crowd's busiest have a hundredth.";
    slow_http_heads: u64 = 50, AboveZero,
        "Request heads that wait at a time (a third of Apache's 150 workers).";
    slow_http_wait_s: f64 = 3.0, AboveZero,
        "Mean time for which they wait (ordinary heads come in one segment, or two in one round trip; three seconds is more than a loss costs).";
    handshake_failure_share: f64 = 0.005, Share,
        "Share of attempts refused or timed out in five minutes (model: conn_timeout_ratio > 0.5 %).";
    handshake_failures: u64 = 50, AboveZero,
        "Such attempts below which the share is not judged: 0.5 % of 10,000, and one client that tries again every six seconds.";
    handshake_failures_unserved: u64 = 300, AboveZero,
        "The same where no connection was ever seen: one a second, since whoever is on the Internet is asked at closed ports.";
    close_after_s: u32 = 3, UpToAnHour,
        "Seconds without the condition before an incident closes.";
    // Floods at a host.
    unasked_answers_per_s: f64 = 200.0, AboveZero,
        "SYN-ACKs per second and host that nobody asked for (twice what the beginning of a capture may hold at 1,000 connections per second and 100 ms of round trip).";
    stray_flood_per_s: f64 = 1000.0, AboveZero,
        "Segments of no connection per second and host, ACKs, RSTs and FINs each (as Junos screens have it for UDP and ICMP: 1,000 /s per destination).";
    udp_flood_per_s: f64 = 5000.0, AboveZero,
        "Unanswered datagrams per second and host, above what is usual (five times Junos's screen of 1,000 /s: QUIC, calls and games reach that).";
    udp_empty_per_s: f64 = 1000.0, AboveZero,
        "The same of datagrams without payload (Junos's screen itself: nothing ordinary sends a thousand of them).";
    udp_answered_share: f64 = 0.05, Share,
        "Datagrams sent per datagram received from which on they count as answered (a QUIC receiver acknowledges about every tenth).";
    amplification_per_s: f64 = 50.0, AboveZero,
        "Unasked datagrams per second and host from one reflector port (a host that asks at all asks such services a few times a minute).";
    icmp_flood_per_s: f64 = 1000.0, AboveZero,
        "Unanswered ICMP messages per second and host (Junos's screen; Linux itself sends at most 1,000 errors a second, net.ipv4.icmp_msgs_per_sec).";
    fragment_flood_per_s: f64 = 500.0, AboveZero,
        "Fragments per second and host that cannot become packets (some 150 /s fill Linux's 4 MiB of net.ipv4.ipfrag_high_thresh within their 30 s).";
    protocol_flood_per_s: f64 = 1000.0, AboveZero,
        "Packets per second and host of IP protocols other than TCP, UDP and ICMP, nearly each from another address (as stray_flood_per_s; a hub of tunnels has some hundred peers).";
    land_per_s: f64 = 10.0, AboveZero,
        "SYNs per second from their own destination (a program that happens to connect to itself sends one).";
    one_sided_factor: f64 = 10.0, AboveOne,
        "So many times more is asked of a flood where only one direction is seen: what looks unanswered may be.";
    carpet_hosts_min: u64 = 16, UpToAnHour,
        "Hosts of one network (/24, /48) among which a flood must be divided to be one of the network (a site's busy servers are fewer).";
    // The host we run on, live.
    tcp_connections_share: f64 = 0.8, Share,
        "Connections against what the host may have, of what is fullest: tracked ones, open files, orphans, TCP's memory, tcp_connections_max (model: > 80 %).";
    tcp_connections_max: u64 = 1_000_000_000, AboveZero,
        "TCP sockets that this host is meant to have at most; the default is as good as none: what the host itself allows is measured.";
    capacity_s: u32 = 2, UpToAnHour,
        "Looks, a second apart, that must all find a queue or table full: a burst fills one for milliseconds.";
    listen_overflows_per_s: f64 = 1.0, AboveZero,
        "Complete connections per second that an accept queue had no room for: each costs its client a second or more.";
    softnet_drops_per_s: f64 = 100.0, AboveZero,
        "Frames per second dropped in CPU backlogs, below which nothing is told.";
    softnet_drop_share: f64 = 0.01, Share,
        "The same as a share of all frames there: TCP's throughput halves at about 1 % (Mathis et al. 1997).";
    mem_fragmentation_share: f64 = 0.15, Share,
        "Share of free memory in pieces of less than 8 pages that counts as fragmented (model: > 15 % for 30 s; windows tell the share and for how long, and no incident comes of it alone).";
    // DNS servers, by the last minute.
    dns_failure_min: u64 = 10, UpToAnHour,
        "Failures of a DNS server (SERVFAIL, no answer) in a minute below which it is not judged.";
    dns_failure_share: f64 = 0.2, Share,
        "Share of a minute's queries that a DNS server fails or leaves unanswered (healthy ones: a few per cent).";
    dns_missing_min: u64 = 50, UpToAnHour,
        "Names that do not exist in a minute, search lists counted once, below which they are not judged.";
    dns_missing_share: f64 = 0.4, Share,
        "The same as a share of the answers (resolvers usually have 10 % to 30 %).";
}
