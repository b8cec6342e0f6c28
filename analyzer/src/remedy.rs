//! What would hold an attack off, as text with the incident's values: nftables, BGP flowspec and XDP. Never applied.
//!
//! A list of blocked sources stops who has an address. Forged sources have none: there a list would shut out whoever
//! they pretend to be, and what helps is to ask the sender back (SYN proxy), to drop what belongs to no connection, or to
//! let through no more than the service bears. Which it is follows from the incident's estimate of forged sources; where
//! that is unknown, nobody is named. Kinds that are no attack have no remedy here: theirs is in `next`.
//!
//! nftables text is a table of its own for `nft -f -`, gone with `nft delete table inet tidegauge`; it hooks in before
//! connections are tracked where state would be the victim. Flowspec (RFC 8955) is a route as ExaBGP takes it on its
//! API: for the router in front, where the host's link itself is full. XDP is `xdp-filter` of xdp-tools.

use std::fmt::Write as _;
use std::net::IpAddr;

use serde::Serialize;

use crate::incident::{Finding, Incident, Kind};

/// Share of forged sources from which on naming them is useless.
const FORGED: f64 = 0.5;
/// Sources that are blocked by name at most, and the share of what was measured that makes one worth it.
const BLOCKED_MAX: usize = 8;
const BLOCKED_SHARE: f64 = 0.05;
/// Bytes of a SYN with its options, for rates that routers count in bytes.
const SYN_BYTES: f64 = 60.0;
/// The same of a datagram, a message or a fragment on average.
const PACKET_BYTES: f64 = 500.0;
/// Connections that one source may hold or begin, where one alone is no attacker yet.
const CONNECTIONS_OF_ONE: u32 = 50;
/// New connections of one source in a second, or logins in a minute.
const NEW_OF_ONE_PER_S: u32 = 20;
const LOGINS_OF_ONE_PER_MINUTE: u32 = 6;

/// Ready texts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mitigation {
    /// What it does, and why so.
    pub why: String,
    /// For `nft -f -`.
    pub nftables: String,
    /// For ExaBGP; `None` where nothing upstream of the host could tell these packets from others.
    pub flowspec: Option<String>,
    /// Commands of xdp-tools, on the interface that is watched; `None` where none is, or no source is named.
    pub xdp: Option<String>,
}

/// What to run next: what the detector says, and a look at the packets where they are kept.
pub fn next(incident: &Incident) -> Vec<String> {
    let look = incident.evidence.as_ref().map(|kept| {
        let path = kept.path.display();
        format!(
            "tshark -r '{path}' -q -z conv,ip -z conv,ipv6; tshark -r '{path}' -Y frame.comment -V | head -40"
        )
    });
    incident.peak.next.iter().cloned().chain(look).collect()
}

/// Who and what is matched.
struct Scene<'a> {
    finding: &'a Finding,
    address: IpAddr,
    prefix_bits: u8,
    port: Option<u16>,
    protocol: &'static str,
    /// Those worth naming; none where they are forged or nobody leads.
    blocked: Vec<IpAddr>,
}

/// What would hold off the attack that an incident is; `None` where it is no attack, or nothing would. `interface` is
/// the one that is watched, if any is.
pub fn mitigation(incident: &Incident, interface: Option<&str>) -> Option<Mitigation> {
    let scene = Scene::of(incident)?;
    let rules = scene.rules()?;
    let flowspec = scene.flowspec(&rules);
    let xdp = interface.filter(|_| !scene.blocked.is_empty()).map(|name| {
        let lines = scene.blocked.iter().map(|source| format!("\nxdp-filter ip {source} --mode src"));
        format!("xdp-filter load {name} --policy allow{}", lines.collect::<String>())
    });
    Some(Mitigation { nftables: rules.table(), why: rules.why, flowspec, xdp })
}

/// Rules of a kind.
struct Rules {
    why: String,
    /// A set that rules add to.
    set: Option<String>,
    chains: Vec<Chain>,
    /// What a router can match beside destination, protocol and port; `None`: not enough.
    route: Option<String>,
    /// Bytes per second that a router lets through; `None`: it discards.
    bytes_per_s: Option<f64>,
}

/// Rules in one place.
struct Chain {
    name: &'static str,
    hook: &'static str,
    lines: Vec<String>,
}

impl Rules {
    fn new(why: impl Into<String>, hook: &'static str, lines: Vec<String>) -> Self {
        let chains = vec![Chain { name: "hold_off", hook, lines }];
        Self { why: why.into(), set: None, chains, route: Some(String::new()), bytes_per_s: None }
    }

    fn with_route(mut self, route: Option<&str>, bytes_per_s: Option<f64>) -> Self {
        (self.route, self.bytes_per_s) = (route.map(str::to_owned), bytes_per_s);
        self
    }

    /// A table of `nft`.
    fn table(&self) -> String {
        let mut text = String::from("table inet tidegauge {\n");
        // Writing to a string cannot fail.
        if let Some(set) = &self.set {
            let _ = writeln!(text, "    set sources {{ {set}; }}");
        }
        for Chain { name, hook, lines } in &self.chains {
            let _ = writeln!(text, "    chain {name} {{");
            let _ = writeln!(text, "        type filter hook {hook}; policy accept;");
            lines.iter().for_each(|line| {
                let _ = writeln!(text, "        {line}");
            });
            text.push_str("    }\n");
        }
        text.push_str("}\n");
        text
    }
}

/// Before and behind connection tracking, and before fragments are put together.
const RAW: &str = "prerouting priority raw";
const TRACKED: &str = "input priority filter";
const FRAGMENTS: &str = "prerouting priority -450";

impl<'a> Scene<'a> {
    fn of(incident: &'a Incident) -> Option<Self> {
        let (address, prefix_bits, port, protocol) = incident.target.place()?;
        let prefix_bits = prefix_bits.unwrap_or(if address.is_ipv4() { 32 } else { 128 });
        let finding = &incident.peak;
        let mut scene = Self { finding, address, prefix_bits, port, protocol, blocked: Vec::new() };
        scene.blocked = scene.sources_worth_blocking();
        Some(scene)
    }

    /// Sources that are real and have their share.
    fn sources_worth_blocking(&self) -> Vec<IpAddr> {
        let finding = self.finding;
        let is_one = finding.distinct_sources == Some(1);
        // Handshakes that were completed, and what one host alone does, is not forged.
        let is_real = is_one
            || matches!(
                finding.kind,
                Kind::ConnectionFlood | Kind::HttpFlood | Kind::SlowHttp | Kind::BruteForce
            )
            || finding.spoofed_estimate.is_some_and(|share| share < FORGED);
        if !is_real || matches!(finding.kind, Kind::UdpAmplification | Kind::SynAckReflection | Kind::Land) {
            return Vec::new();
        }
        let least = if is_one { 0.0 } else { finding.measured * BLOCKED_SHARE };
        let worth = finding.top_sources.iter().filter(|(source, rate)| {
            f64::from(*rate) >= least && source.is_ipv4() == self.address.is_ipv4() && *source != self.address
        });
        worth.map(|(source, _)| *source).take(BLOCKED_MAX).collect()
    }

    /// What helps, by kind.
    fn rules(&self) -> Option<Rules> {
        let limit = self.finding.limit.max(1.0).round();
        let (family, to) = (self.family(), self.to());
        let packets = |bytes: f64| Some(limit * bytes);
        Some(match self.finding.kind {
            Kind::PortScan | Kind::HostSweep | Kind::BruteForce if !self.blocked.is_empty() => self.block(),
            Kind::SynFlood | Kind::UdpFlood | Kind::IcmpFlood | Kind::FragmentFlood | Kind::AckFlood
                if !self.blocked.is_empty() =>
            {
                self.block()
            }
            Kind::SynFlood => self.syn_proxy()?,
            Kind::SynAckReflection => Rules::new(
                "drops SYN-ACKs that answer no SYN of this host; upstream a rate is all there is, since its own connections are answered so too",
                TRACKED,
                vec![format!("{to} tcp flags & (syn | ack) == (syn | ack) ct state invalid,new drop")],
            )
            .with_route(Some("tcp-flags [ syn+ack ]; "), packets(SYN_BYTES)),
            Kind::AckFlood => self.stray("ack", "ack", limit),
            Kind::RstFlood => self.stray("rst", "rst", limit),
            Kind::FinFlood => self.stray("fin", "fin", limit),
            Kind::UdpFlood => Rules::new(
                "lets through no more than the rule allows: sources are forged or too many to name, and who is let through is chance",
                RAW,
                vec![format!("{to}{} limit rate over {limit}/second drop", self.udp())],
            )
            .with_route(Some(""), packets(PACKET_BYTES)),
            Kind::UdpAmplification => self.amplification()?,
            Kind::IcmpFlood => Rules::new(
                "lets through no more than the rule allows; neighbour discovery and path MTU messages of IPv6 are not touched",
                RAW,
                vec![format!("{to} {} limit rate over {limit}/second drop", self.icmp())],
            )
            .with_route(Some(""), packets(PACKET_BYTES)),
            Kind::FragmentFlood => Rules::new(
                "lets through no more fragments than the rule allows, before they are put together",
                FRAGMENTS,
                vec![format!("{to} {} limit rate over {limit}/second drop", self.fragments())],
            )
            .with_route(Some("fragment [ is-fragment first-fragment last-fragment ]; "), packets(PACKET_BYTES)),
            Kind::ProtocolFlood => Rules::new(
                "lets through no more than the rule allows of what is neither TCP, UDP nor ICMP: tunnels too, so name their peers before it",
                RAW,
                vec![format!("{to} meta l4proto != {{ tcp, udp, icmp, icmpv6 }} limit rate over {limit}/second drop")],
            ),
            Kind::ConnectionFlood | Kind::HttpFlood | Kind::SlowHttp | Kind::BruteForce => self.per_source()?,
            Kind::Land => Rules::new(
                "drops what claims to come from the address it goes to",
                RAW,
                vec![format!("iif != lo {family} saddr {address} {to} drop", address = self.place())],
            )
            .with_route(Some(&format!("source {}; ", self.prefix())), None),
            // No attack, or nothing that is routed.
            _ => return None,
        })
    }

    /// Names those who do it.
    fn block(&self) -> Rules {
        let sources: Vec<_> = self.blocked.iter().map(ToString::to_string).collect();
        let scans = matches!(self.finding.kind, Kind::PortScan | Kind::HostSweep);
        // Who scans is shut out altogether; who floods, from what it floods.
        let what = if scans { String::new() } else { format!(" {}", self.what()) };
        let why = format!(
            "drops what {} send{}: real addresses",
            sources.join(", "),
            if sources.len() == 1 { "s" } else { "" }
        );
        let line = format!("{} saddr {{ {} }}{what} drop", self.family(), sources.join(", "));
        Rules::new(why, RAW, vec![line])
    }

    /// Destination, protocol and port as `nft` has them.
    fn what(&self) -> String {
        let to = self.to();
        match (self.protocol, self.port) {
            ("tcp" | "udp", Some(port)) => format!("{to} {} dport {port}", self.protocol),
            ("tcp" | "udp", None) => format!("{to} meta l4proto {}", self.protocol),
            ("icmp", _) => format!("{to} {}", self.icmp()),
            _ => to,
        }
    }

    /// Asks every sender back before the listener hears of it.
    fn syn_proxy(&self) -> Option<Rules> {
        let (to, port) = (self.to(), self.port?);
        let mut rules = Rules::new(
            "asks senders back with SYN cookies before the listener hears of them (forged addresses never answer); needs net.ipv4.tcp_syncookies=1 and net.netfilter.nf_conntrack_tcp_loose=0, and mss and wscale of the server",
            TRACKED,
            vec![
                format!(
                    "{to} tcp dport {port} ct state invalid,untracked synproxy mss 1460 wscale 7 timestamp sack-perm"
                ),
                format!("{to} tcp dport {port} ct state invalid drop"),
            ],
        );
        // SYNs must not become connections first.
        let untracked = format!("{to} tcp dport {port} tcp flags & (fin | syn | rst | ack) == syn notrack");
        rules.chains.insert(0, Chain { name: "untracked", hook: RAW, lines: vec![untracked] });
        Some(rules.with_route(Some("tcp-flags [ syn ]; "), Some(self.finding.limit.max(1.0) * SYN_BYTES)))
    }

    /// Segments of no connection.
    fn stray(&self, nft: &str, flowspec: &str, limit: f64) -> Rules {
        Rules::new(
            "drops segments that belong to no connection; needs net.netfilter.nf_conntrack_tcp_loose=0; upstream a rate is all there is",
            TRACKED,
            vec![format!("{} tcp flags & {nft} == {nft} ct state invalid,new drop", self.to())],
        )
        .with_route(Some(&format!("tcp-flags [ {flowspec} ]; ")), Some(limit * SYN_BYTES))
    }

    /// Answers that nobody asked for, from the port of a public service.
    fn amplification(&self) -> Option<Rules> {
        let port = self.fact("reflector_port")? as u16;
        let rules = Rules::new(
            format!(
                "drops datagrams from port {port} that answer nothing of this host's; reflectors are real and too many to name"
            ),
            TRACKED,
            vec![format!("{} udp sport {port} ct state invalid,new drop", self.to())],
        );
        let rate = self.finding.limit.max(1.0) * PACKET_BYTES;
        Some(rules.with_route(Some(&format!("source-port ={port}; ")), Some(rate)))
    }

    /// No source may have more than its part.
    fn per_source(&self) -> Option<Rules> {
        let port = self.port?;
        let (family, to) = (self.family(), self.to());
        let limit = match self.finding.kind {
            Kind::HttpFlood => format!("limit rate over {NEW_OF_ONE_PER_S}/second"),
            Kind::BruteForce => format!("limit rate over {LOGINS_OF_ONE_PER_MINUTE}/minute"),
            _ => format!("ct count over {CONNECTIONS_OF_ONE}"),
        };
        let mut lines = Vec::new();
        if !self.blocked.is_empty() {
            let sources: Vec<_> = self.blocked.iter().map(ToString::to_string).collect();
            lines.push(format!("{family} saddr {{ {} }} {to} tcp dport {port} drop", sources.join(", ")));
        }
        lines.push(format!(
            "{to} tcp dport {port} ct state new add @sources {{ {family} saddr {limit} }} drop"
        ));
        let mut rules = Rules::new(
            format!(
                "drops new connections of a source beyond its part ({limit}): those behind it completed handshakes, so addresses are real"
            ),
            TRACKED,
            lines,
        );
        let kind = if self.address.is_ipv4() { "ipv4_addr" } else { "ipv6_addr" };
        rules.set = Some(format!("type {kind}; size 65535; flags dynamic"));
        Some(rules.with_route(None, None))
    }

    fn flowspec(&self, rules: &Rules) -> Option<String> {
        let then = rules.bytes_per_s.map_or("discard".to_owned(), |rate| format!("rate-limit {rate:.0}"));
        let protocol = match self.protocol {
            "icmp" if !self.address.is_ipv4() => "protocol ipv6-icmp; ".to_owned(),
            "tcp" | "udp" | "icmp" => format!("protocol {}; ", self.protocol),
            _ => String::new(),
        };
        let port = match (self.protocol, self.port) {
            ("tcp" | "udp", Some(port)) => format!("destination-port ={port}; "),
            _ => String::new(),
        };
        let route = |more: &str| {
            format!(
                "announce flow route {{ match {{ destination {}; {protocol}{port}{more}}} then {{ {then}; }} }}",
                self.prefix()
            )
        };
        if !self.blocked.is_empty() {
            let host_bits = if self.address.is_ipv4() { 32 } else { 128 };
            let lines: Vec<_> =
                self.blocked.iter().map(|source| route(&format!("source {source}/{host_bits}; "))).collect();
            return Some(lines.join("\n"));
        }
        rules.route.as_deref().map(route)
    }

    const fn family(&self) -> &'static str {
        if self.address.is_ipv4() { "ip" } else { "ip6" }
    }

    /// Address, or network with its length.
    fn place(&self) -> String {
        let is_host = self.prefix_bits == if self.address.is_ipv4() { 32 } else { 128 };
        if is_host { self.address.to_string() } else { self.prefix() }
    }

    fn prefix(&self) -> String {
        format!("{}/{}", self.address, self.prefix_bits)
    }

    fn to(&self) -> String {
        format!("{} daddr {}", self.family(), self.place())
    }

    fn udp(&self) -> String {
        self.port.map_or_else(|| " meta l4proto udp".to_owned(), |port| format!(" udp dport {port}"))
    }

    const fn icmp(&self) -> &'static str {
        if self.address.is_ipv4() {
            "meta l4proto icmp"
        } else {
            "icmpv6 type { destination-unreachable, time-exceeded, parameter-problem, echo-request, echo-reply }"
        }
    }

    const fn fragments(&self) -> &'static str {
        if self.address.is_ipv4() { "ip frag-off & 0x3fff != 0" } else { "exthdr frag exists" }
    }

    fn fact(&self, name: &str) -> Option<f64> {
        self.finding.facts.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }
}
