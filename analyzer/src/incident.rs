//! Incidents: findings of one cause at one target over time, opened, updated, closed.
//!
//! An incident opens at the first tick its detector fires, is updated when its severity changes or its measured
//! value has grown by a quarter (at most once a second), and closes after the condition has been gone for the
//! configured time. A detector that fires again before that continues the same incident; within a minute after, it is
//! opened again under its name ([`Incident::reopen`]).

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use serde::Serialize;

use crate::cause::{Because, Ranked};
use crate::closing::Tally;
use crate::evidence::Kept;
use crate::local_host::HostInterval;
use crate::quality::Interval;
use crate::window::ListenerKey;

macro_rules! kinds {
    ($($(#[doc = $doc:literal])* $variant:ident = $text:literal,)*) => {
        /// What is wrong. Names are the output contract's (DESIGN: section 6).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Kind { $($(#[doc = $doc])* $variant,)* }

        impl Kind {
            /// All kinds, the worst first.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The contract's name.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }
    };
}

kinds! {
    /// Much asked and little completed.
    SynFlood = "syn_flood",
    /// Answers to SYNs that the host never sent.
    SynAckReflection = "syn_ack_reflection",
    /// Segments of connections that do not exist.
    AckFlood = "ack_flood",
    /// RSTs of connections that do not exist.
    RstFlood = "rst_flood",
    /// FINs of connections that do not exist.
    FinFlood = "fin_flood",
    /// Datagrams that nobody waits for.
    UdpFlood = "udp_flood",
    /// Large answers of public services that the host never asked.
    UdpAmplification = "udp_amplification",
    /// More ICMP than anybody needs.
    IcmpFlood = "icmp_flood",
    /// Fragments that never become packets.
    FragmentFlood = "fragment_flood",
    /// Packets of other IP protocols, from forged addresses.
    ProtocolFlood = "protocol_flood",
    /// Connections that are completed and not used.
    ConnectionFlood = "connection_flood",
    /// More requests than usual, from many.
    HttpFlood = "http_flood",
    /// Requests that never end.
    SlowHttp = "slow_http",
    /// SYNs from their own destination.
    Land = "land",
    /// One password after the other.
    BruteForce = "brute_force",
    /// One host asked at many ports.
    PortScan = "port_scan",
    /// Many hosts asked at one port, or by `ping`.
    HostSweep = "host_sweep",
    /// Another host says that an address is its own.
    ArpSpoof = "arp_spoof",
    /// Many addresses asked for.
    ArpSweep = "arp_sweep",
    /// About ourselves: too little of the traffic was seen to go by.
    CaptureBlind = "capture_blind",
    /// A table, queue or link nearly full.
    Capacity = "capacity",
    /// Many more connections than usual, and they complete.
    ConnSurge = "conn_surge",
    /// Attempts that fail, without a flood.
    HandshakeFailure = "handshake_failure",
    /// Packets that go round until their time is over.
    RoutingLoop = "routing_loop",
    /// Full-size segments that do not get through.
    MtuBlackhole = "mtu_blackhole",
    /// Payload that has to be sent again.
    Loss = "loss",
    /// A receiver that does not read.
    ZeroWindow = "zero_window",
    /// Receivers that leave little room.
    LowWindow = "low_window",
    /// Round trips that take too long.
    HighRtt = "high_rtt",
    /// MiB that take too long, with a reason in the traffic.
    SlowTransfer = "slow_transfer",
    /// TLS handshakes that fail.
    TlsFailure = "tls_failure",
    /// Responses with status 5xx.
    HttpErrors = "http_errors",
    /// Queries that are not answered, or with a failure.
    DnsFailure = "dns_failure",
}

/// How bad: P1 is the worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Severity {
    /// Service down or about to be: answer within 15 minutes.
    P1,
    /// Degraded: 30 minutes.
    P2,
    /// Deviation: 2 hours.
    P3,
}

/// Where an incident is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Over; the numbers are its peak.
    Closed,
    /// First seen.
    Opened,
    /// Worse, better, or different.
    Updated,
}

/// Who or what an incident is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// Our own capture.
    Capture,
    /// The host we run on.
    Machine,
    /// Who is asked.
    Listener(ListenerKey),
    /// A host, and where it matters the port and protocol.
    Host(HostTarget),
    /// A network.
    Network(NetworkTarget),
}

/// A host that something comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostTarget {
    /// Its address.
    pub address: IpAddr,
    /// The port, where most of it goes to one.
    pub port: Option<u16>,
    /// `tcp`, `udp`, `icmp`, `arp` or `ip`.
    pub protocol: &'static str,
}

/// A network that something comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NetworkTarget {
    /// Its first address.
    pub address: IpAddr,
    /// Bits of an address that name the network.
    pub prefix_bits: u8,
    /// The port, where most of it goes to one.
    pub port: Option<u16>,
    /// As in [`HostTarget`].
    pub protocol: &'static str,
}

impl Target {
    /// The host that it is about; `None` for networks and the capture itself.
    pub const fn host(&self) -> Option<IpAddr> {
        match self {
            Self::Listener(key) => Some(key.address),
            Self::Host(host) => Some(host.address),
            Self::Capture | Self::Machine | Self::Network(_) => None,
        }
    }

    /// Address, prefix length where it is a network, port and protocol; nothing for the capture and the host themselves.
    pub const fn place(&self) -> Option<(IpAddr, Option<u8>, Option<u16>, &'static str)> {
        match *self {
            Self::Capture | Self::Machine => None,
            Self::Listener(key) => Some((key.address, None, Some(key.port), "tcp")),
            Self::Host(host) => Some((host.address, None, host.port, host.protocol)),
            Self::Network(network) => {
                Some((network.address, Some(network.prefix_bits), network.port, network.protocol))
            }
        }
    }

    /// Address, port and protocol as the output has them; nothing for the capture and the host themselves.
    pub fn parts(&self) -> Option<(String, Option<u16>, &'static str)> {
        let (address, prefix_bits, port, protocol) = self.place()?;
        let address = match prefix_bits {
            Some(prefix_bits) => format!("{address}/{prefix_bits}"),
            None => address.to_string(),
        };
        Some((address, port, protocol))
    }
}

impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Capture => formatter.write_str("this capture"),
            Self::Machine => formatter.write_str("this host"),
            Self::Listener(key) => write!(formatter, "{}/tcp", SocketAddr::new(key.address, key.port)),
            Self::Host(HostTarget { address, port: Some(port), protocol }) => {
                write!(formatter, "{}/{protocol}", SocketAddr::new(*address, *port))
            }
            Self::Host(HostTarget { address, port: None, protocol }) => {
                write!(formatter, "{address}/{protocol}")
            }
            Self::Network(NetworkTarget { address, prefix_bits, port, protocol }) => {
                write!(formatter, "{address}/{prefix_bits}")?;
                port.map_or(Ok(()), |port| write!(formatter, " port {port}"))?;
                write!(formatter, " {protocol}")
            }
        }
    }
}

/// One judgement at one tick: what a detector says of a listener.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// What is wrong.
    pub kind: Kind,
    /// How bad.
    pub severity: Severity,
    /// The rule, in words with its numbers.
    pub rule: String,
    /// The rule's main quantity.
    pub measured: f64,
    /// Its unit.
    pub unit: &'static str,
    /// What it was compared with.
    pub limit: f64,
    /// What is usual, `None` where that is not known yet.
    pub baseline: Option<f64>,
    /// Further numbers behind the judgement, by name.
    pub facts: Vec<(&'static str, f64)>,
    /// Interval the measured value is over, seconds.
    pub window_s: f64,
    /// Distinct sources, about; `None` where sources are not the point.
    pub distinct_sources: Option<u64>,
    /// Share of the attempts whose source is probably forged, 0 to 1; `None` where it cannot be told.
    pub spoofed_estimate: Option<f64>,
    /// Busiest sources, attempts per second at least.
    pub top_sources: Vec<(IpAddr, u32)>,
    /// Busiest source networks (/24 of IPv4, /48 of IPv6), attempts per second at least.
    pub top_prefixes: Vec<(IpAddr, u32)>,
    /// Classes of four TTLs among the attempts; `None` where sources are not the point.
    pub ttl_classes: Option<u32>,
    /// Likely causes, the likeliest first, each with its evidence.
    pub cause: Vec<String>,
    /// Commands to run next.
    pub next: Vec<String>,
}

/// One incident.
#[derive(Clone, Debug, PartialEq)]
pub struct Incident {
    /// Unique within a run, the same in each run over the same packets.
    pub id: String,
    /// Who is hit.
    pub target: Target,
    /// Its state after the last event.
    pub state: State,
    /// Packet time of the opening tick's end, nanoseconds.
    pub opened_ns: u64,
    /// Packet time of the last event.
    pub updated_ns: u64,
    /// Packet time of the closing, once closed.
    pub closed_ns: Option<u64>,
    /// The finding as it was at its worst.
    pub peak: Finding,
    /// The severity at its worst.
    pub worst_severity: Severity,
    /// How well it was seen: the second before it opened, and its life.
    pub seen: Interval,
    /// How often the condition came back within [`REOPEN_NS`] of its end, and once: 1 for what came and went.
    pub pulses: u32,
    /// Facts of the newest finding that was at least half as bad as the worst, and its time: what causes are told by,
    /// since some of it shows only after a while.
    pub latest: (Vec<(&'static str, f64)>, u64),
    /// Likely causes, ranked; filled in when the incident is told.
    pub causes: Vec<Ranked>,
    /// The incident whose consequence this one is: id, and why so.
    pub because_of: Option<Because>,
    /// Incidents that are this one's consequences, so far.
    pub consequences: u32,
    /// What the host counted since it opened; `None`: a capture file, or not told yet.
    pub host: Option<Box<HostInterval>>,
    /// The packets that are kept of it, where any are; whoever tells of it knows.
    pub evidence: Option<Box<Kept>>,
    /// What it comes to; told at its end.
    pub tally: Tally,
    /// Last tick at which the condition held.
    last_true_ns: u64,
    /// Measured value when it was last told.
    told: f64,
}

/// What comes back within a minute of its end is the same attack in pulses, or the same fault: one incident.
pub const REOPEN_NS: u64 = 60_000_000_000;

/// Growth of the measured value that is worth an update.
const UPDATE_GROWTH: f64 = 1.25;
/// Of the worst measured value, what a finding must have for its facts to tell causes.
const HALF_AS_BAD: f64 = 0.5;
/// Least time between two updates.
const UPDATE_INTERVAL_NS: u64 = 1_000_000_000;

impl Finding {
    /// A finding that says nothing yet but what it is; sources are not its point.
    pub const fn bare(kind: Kind, severity: Severity) -> Self {
        Self {
            kind,
            severity,
            rule: String::new(),
            measured: 0.0,
            unit: "",
            limit: 0.0,
            baseline: None,
            facts: Vec::new(),
            window_s: 1.0,
            distinct_sources: None,
            spoofed_estimate: None,
            top_sources: Vec::new(),
            top_prefixes: Vec::new(),
            ttl_classes: None,
            cause: Vec::new(),
            next: Vec::new(),
        }
    }

    /// The finding of a tick in which too little was seen, for `why`: it says so, and is no worse than what was known
    /// before (`known`), or than P2 where it is new. What looks unanswered may only be unseen.
    pub fn made_blind(mut self, why: &str, known: Option<Severity>) -> Self {
        self.severity = self.severity.max(known.unwrap_or(Severity::P2));
        self.cause.push(format!("capture is blind, so the severity is not raised: {why}"));
        self
    }
}

impl Incident {
    /// Opens an incident.
    pub fn open(number: u64, target: Target, finding: Finding, now_ns: u64, seen: Interval) -> Self {
        let mut tally = Tally::default();
        tally.add(&finding, finding.window_s);
        Self {
            seen,
            tally,
            id: format!("{}-{number:04}", finding.kind.name()),
            target,
            state: State::Opened,
            opened_ns: now_ns,
            updated_ns: now_ns,
            closed_ns: None,
            worst_severity: finding.severity,
            told: finding.measured,
            latest: (finding.facts.clone(), now_ns),
            causes: Vec::new(),
            because_of: None,
            consequences: 0,
            peak: finding,
            pulses: 1,
            host: None,
            evidence: None,
            last_true_ns: now_ns,
        }
    }

    /// The condition is back after the incident was closed: it goes on, and waits longer before it is closed again.
    pub fn reopen(&mut self, finding: Finding, now_ns: u64) {
        self.pulses = self.pulses.saturating_add(1);
        self.tally.add(&finding, finding.window_s);
        (self.closed_ns, self.state) = (None, State::Updated);
        (self.updated_ns, self.last_true_ns) = (now_ns, now_ns);
        let severity = self.bounded(finding.severity);
        self.note_facts(&finding, now_ns);
        if finding.measured >= self.peak.measured {
            self.peak = finding;
        }
        self.peak.severity = severity;
        self.told = self.peak.measured;
        self.worst_severity = self.worst_severity.min(severity);
    }

    /// Whether it closed so short a time ago that what comes now is the same.
    pub fn may_reopen(&self, now_ns: u64) -> bool {
        self.closed_ns.is_some_and(|closed_ns| now_ns.saturating_sub(closed_ns) <= REOPEN_NS)
    }

    /// The condition still holds; whether that is worth an update.
    pub fn hold(&mut self, finding: Finding, now_ns: u64) -> bool {
        self.tally.add(&finding, now_ns.saturating_sub(self.last_true_ns) as f64 / 1e9);
        self.last_true_ns = now_ns;
        self.note_facts(&finding, now_ns);
        let severity = self.bounded(finding.severity);
        let severity_changed = severity != self.peak.severity;
        let grown = finding.measured > self.told * UPDATE_GROWTH;
        let due = now_ns.saturating_sub(self.updated_ns) >= UPDATE_INTERVAL_NS;
        if finding.measured >= self.peak.measured {
            self.peak = finding;
        }
        self.peak.severity = severity;
        self.worst_severity = self.worst_severity.min(self.peak.severity);
        if !due || !(severity_changed || grown) {
            return false;
        }
        self.told = self.peak.measured;
        self.updated_ns = now_ns;
        self.state = State::Updated;
        true
    }

    /// A consequence of another incident is not raised: the other one is what somebody has to get up for.
    fn bounded(&self, severity: Severity) -> Severity {
        if self.because_of.is_some() { severity.max(self.worst_severity) } else { severity }
    }

    fn note_facts(&mut self, finding: &Finding, now_ns: u64) {
        if finding.measured >= HALF_AS_BAD * self.peak.measured {
            self.latest.0.clone_from(&finding.facts);
            self.latest.1 = now_ns;
        }
    }

    /// A fact of [`Self::latest`]; `None`: unknown.
    pub fn fact(&self, name: &str) -> Option<f64> {
        self.latest.0.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }

    /// Whether the condition has been gone for `close_after_s`; one that comes in pulses is given [`REOPEN_NS`].
    pub const fn is_over(&self, now_ns: u64, close_after_s: u32) -> bool {
        let patience_ns = if self.pulses > 1 { REOPEN_NS } else { close_after_s as u64 * 1_000_000_000 };
        now_ns.saturating_sub(self.last_true_ns) >= patience_ns
    }

    /// Closes it.
    pub const fn close(&mut self, now_ns: u64) {
        self.state = State::Closed;
        self.updated_ns = now_ns;
        self.closed_ns = Some(now_ns);
        self.peak.severity = self.worst_severity;
    }

    /// How long the condition held, in nanoseconds.
    pub const fn lasted_ns(&self) -> u64 {
        self.last_true_ns.saturating_sub(self.opened_ns)
    }
}
