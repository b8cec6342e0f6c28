//! The detectors: each a pure function from a listener's features to a finding or nothing, one file per kind.

// Who asks others, and misuse of listeners.
mod arp_spoof;
mod arp_sweep;
mod asking;
mod brute_force;
mod connection_flood;
mod handshake_failure;
mod host_sweep;
mod http_flood;
mod port_scan;
mod regulars;
mod search_wide;
mod slow_http;
#[cfg(test)]
mod testing_asked;

mod conn_surge;
mod low_window;
mod slow_transfer;
mod syn_flood;
mod syn_flood_wide;
// Slow performance kinds.
mod high_rtt;
mod http_errors;
mod loss;
mod mtu_blackhole;
mod routing_loop;
#[cfg(test)]
mod testing;
mod tls_failure;
mod zero_window;
// Floods at a host.
mod dns_failure;
mod fragment_flood;
mod host;
mod icmp_flood;
mod land;
mod protocol_flood;
mod stray_flood;
mod syn_ack_reflection;
#[cfg(test)]
mod testing_host;
mod udp_amplification;
mod udp_flood;
// The host we run on.
mod capacity;

use std::net::IpAddr;

use tidegauge_ebpf::listener::ListenerCounter;

use crate::baseline::{Baseline, SECONDS_MIN, SECONDS_MIN_SERVED, Usual};
use crate::config::Config;
use crate::feature::{Handshakes, Sliding, Sources};
use crate::history::History;
pub use crate::host_state::{HOST_COUNTS, HostCount, Leading};
use crate::incident::{Finding, Target};
pub use crate::name_service::NameMinute;
use crate::path::Trouble;
use crate::prefix::SMALL_NETWORKS_MIN;
use crate::round_trip_time::RoundTripTime;
use crate::window::{ActorKey, ActorWindow, ListenerKey};
pub(crate) use capacity::{CapacityEvidence, capacity_findings};
pub use regulars::Regulars;
pub(crate) use syn_flood_wide::{WideEvidence, wide_findings};

/// All a detector may look at.
pub struct Evidence<'a> {
    /// Thresholds.
    pub config: &'a Config,
    /// Whose features these are.
    pub listener: ListenerKey,
    /// Counters of the last second and of the last ten.
    pub sliding: &'a Sliding,
    /// Handshake truth of the last second.
    pub handshakes: Handshakes,
    /// Attempts per second.
    pub asked: &'a Baseline,
    /// Completed handshakes per second.
    pub completed: &'a Baseline,
    /// Requests per second.
    pub requests: &'a Baseline,
    /// Who asks.
    pub sources: &'a Sources,
    /// Whole seconds in a row, up to the last one, whose windows were low.
    pub low_window_seconds: u32,
    /// Whether answers can be seen from here.
    pub answers_visible: bool,
    /// Whether the source shows whole packets: without, facts of packets are unknown.
    pub whole_packets: bool,
    /// Up to five minutes.
    pub history: &'a History,
    /// Connections that are open, and those with an incomplete request head.
    pub open: u32,
    /// See `open`; without those that always waited.
    pub heads: u32,
    /// Brief logins and refused credentials per second.
    pub logins: &'a Baseline,
    /// Attempts by source in the last whole sketch period (1.07 s), at least; the busiest first.
    pub busiest: &'a [(IpAddr, u32)],
    /// Sources that were busy before.
    pub regulars: &'a Regulars,
    /// Requests by source, as of attempts, and sources that made many before.
    pub requesters: &'a [(IpAddr, u32)],
    /// See `requesters`.
    pub regular_requesters: &'a Regulars,
    /// Whether a handshake was ever completed.
    pub served: bool,
    // Slow performance kinds.
    /// Round trips, and what is usual of them.
    pub round_trip_time: &'a RoundTripTime,
    /// Connections in trouble, where there are any.
    pub trouble: Option<&'a Trouble>,
}

/// All that a detector may look at of a destination that packets do not reach.
pub struct PathEvidence<'a> {
    /// Thresholds.
    pub config: &'a Config,
    /// The destination.
    pub destination: IpAddr,
    /// Packets to it in the last ten seconds whose hops ran out.
    pub ttl_exceeded: u64,
    /// Of these, those like a traceroute's.
    pub probes: u64,
    /// Routers that said so, the most first.
    pub routers: &'a [(IpAddr, u64)],
    /// Packets in the last ten seconds that came by again and again with fewer hops.
    pub passed_again: u64,
    /// One of those who send to it.
    pub sender: Option<IpAddr>,
    /// TTL classes of packets to it that were seen here lately; 0: none were.
    pub ttl_classes: u64,
}

/// All that a detector may look at of a host.
pub struct HostEvidence<'a> {
    /// Thresholds.
    pub config: &'a Config,
    /// Whose counts these are.
    pub address: IpAddr,
    /// The sliding second, by [`HostCount`].
    pub counts: &'a [u64; HOST_COUNTS],
    /// Datagrams per second.
    pub udp: &'a Baseline,
    /// ICMP messages per second.
    pub icmp: &'a Baseline,
    /// Segments of no connection per second.
    pub stray: &'a Baseline,
    /// Datagrams that it sent per second, at most.
    pub sent: &'a Baseline,
    /// Who sends.
    pub sources: &'a Sources,
    /// Classes of four TTLs among what is not TCP, in the last one to two seconds.
    pub ttl_classes: u32,
    /// Port that most datagrams come from, if one leads.
    pub source_port: Leading,
    /// Port that most datagrams go to, if one leads.
    pub destination_port: Leading,
    /// Where it is a network: which.
    pub network: Option<NetworkEvidence>,
    /// The last minute of a host that is asked for names, once a second.
    pub names: Option<NameMinute>,
    /// Whether answers can be seen from here.
    pub answers_visible: bool,
}

/// What is known of a network whose hosts' counts are summed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NetworkEvidence {
    /// Bits of an address that name it.
    pub prefix_bits: u8,
    /// What of it something came to.
    pub parts: Parts,
    /// Share of the busiest of them.
    pub busiest_share: f64,
}

/// What something is spread over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parts {
    /// Hosts of a small one.
    Hosts(u64),
    /// Or, of a host, its ports.
    Ports(u64),
    /// Small networks of a large one, and all their hosts.
    Networks {
        /// Small networks.
        networks: u64,
        /// Their hosts.
        hosts: u64,
    },
}

impl Default for Parts {
    fn default() -> Self {
        Self::Hosts(0)
    }
}

impl Parts {
    /// Whether they are enough for what comes to them to be the network's.
    const fn are_many(self, config: &Config) -> bool {
        match self {
            Self::Hosts(parts) | Self::Ports(parts) => parts >= config.carpet_hosts_min,
            Self::Networks { networks, hosts } => {
                networks >= SMALL_NETWORKS_MIN && hosts >= config.carpet_hosts_min
            }
        }
    }

    /// So many are needed.
    const fn least(self, config: &Config) -> u64 {
        match self {
            Self::Hosts(_) | Self::Ports(_) => config.carpet_hosts_min,
            Self::Networks { .. } => SMALL_NETWORKS_MIN,
        }
    }

    /// How many, and of what.
    const fn counted(self) -> (u64, &'static str) {
        match self {
            Self::Hosts(hosts) => (hosts, "hosts"),
            Self::Ports(ports) => (ports, "ports"),
            Self::Networks { networks, .. } => (networks, "networks"),
        }
    }
}

/// All that a detector may look at of a host that asks others.
pub struct ActorEvidence<'a> {
    /// Thresholds.
    pub config: &'a Config,
    /// Who asks.
    pub actor: ActorKey,
    /// What it asked.
    pub counts: &'a ActorWindow,
    /// Distinct hosts in the last five to ten seconds, about.
    pub hosts_lately: u64,
    /// End of the tick, nanoseconds.
    pub now_ns: u64,
}

impl HostEvidence<'_> {
    /// A count over the sliding second.
    pub const fn last_second(&self, count: HostCount) -> u64 {
        self.counts[count as usize]
    }
}

/// Findings at a host, or at a network of which no host has most.
pub fn host_findings(evidence: &HostEvidence<'_>) -> Vec<(Target, Finding)> {
    if !evidence.is_worth_a_look() {
        return Vec::new();
    }
    let fragments = || fragment_flood::detect(evidence);
    let datagrams =
        udp_amplification::detect(evidence).or_else(fragments).or_else(|| udp_flood::detect(evidence));
    let segments = syn_ack_reflection::detect(evidence).or_else(|| stray_flood::detect(evidence));
    let found = [
        datagrams,
        segments,
        icmp_flood::detect(evidence),
        land::detect(evidence),
        protocol_flood::detect(evidence),
        dns_failure::detect(evidence),
    ];
    found.into_iter().flatten().collect()
}

/// Findings of a host that asks others.
pub fn actor_findings(evidence: &ActorEvidence<'_>) -> Vec<(Target, Finding)> {
    let scan = port_scan::detect(evidence).or_else(|| host_sweep::detect(evidence));
    let found =
        [scan, arp_sweep::detect(evidence), arp_spoof::detect(evidence), brute_force::detect(evidence)];
    found.into_iter().flatten().collect()
}

/// Findings at a listener that are judged over longer, once a second.
pub fn slow_findings(evidence: &Evidence<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    // Slow performance kinds.
    let slow = [
        loss::detect(evidence),
        high_rtt::detect(evidence),
        tls_failure::detect(evidence),
        http_errors::detect(evidence),
    ];
    found.extend(slow.into_iter().flatten());
    // What is asked of it.
    found.extend(connection_flood::detect(evidence));
    found.extend(http_flood::detect(evidence));
    found.extend(slow_http::detect(evidence));
    found.extend(handshake_failure::detect(evidence));
    found.extend(brute_force::detect_spread(evidence).or_else(|| brute_force::detect_forms(evidence)));
    found
}

/// Findings about a destination.
pub fn path_findings(evidence: &PathEvidence<'_>) -> Option<(Target, Finding)> {
    routing_loop::detect(evidence)
}

/// All findings at a listener. A flood is not reported as a surge too.
pub fn findings(evidence: &Evidence<'_>) -> Vec<Finding> {
    let connections = syn_flood::detect(evidence).or_else(|| conn_surge::detect(evidence));
    [
        connections,
        low_window::detect(evidence),
        slow_transfer::detect(evidence),
        // Slow performance kinds.
        zero_window::detect(evidence),
        mtu_blackhole::detect(evidence),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Whether this second's windows are low; `None` where too few of known scale were seen.
pub fn is_low_window_second(config: &Config, sliding: &Sliding) -> Option<bool> {
    let second = |counter| sliding.this_second(counter);
    low_window::shares(config, second).map(|(peer, own)| peer.max(own) >= config.low_window_share)
}

impl Evidence<'_> {
    /// Usual attempts per second, from a few seconds on.
    fn usual_asked(&self) -> Option<Usual> {
        self.asked.usual(SECONDS_MIN_SERVED)
    }

    /// Usual completed handshakes per second.
    fn usual_completed(&self) -> Option<Usual> {
        self.completed.usual(SECONDS_MIN_SERVED)
    }

    /// The rate above which attempts are worth a look, and whether it comes from the baseline.
    fn rate_limit(&self) -> (f64, bool) {
        let limit = self.config.conn_rate_limit_per_s;
        match self.usual_asked() {
            Some(usual) if self.asked.usual(SECONDS_MIN).is_some() => {
                let rise = (usual.median * self.config.conn_rise_factor)
                    .max(usual.median + 5.0 * usual.deviation)
                    .max(self.config.conn_rise_floor_per_s);
                if rise < limit { (rise, true) } else { (limit, false) }
            }
            _ => (limit, false),
        }
    }

    /// Share of the last second's attempts that are probably forged: as many distinct sources as attempts, and none
    /// completes, since forged addresses do not come back.
    fn spoofed_estimate(&self) -> Option<f64> {
        let asked = self.handshakes.asked;
        if asked == 0 || self.sources.distinct.estimate() == 0 {
            return None;
        }
        // The sketch spans up to two seconds: repeats within it lower the share, never raise it above one.
        let dispersion = (self.sources.distinct.estimate() as f64 / asked as f64).min(1.0);
        let unresolved = self.handshakes.unresolved_share().unwrap_or(0.0);
        Some((dispersion * unresolved * 100.0).round() / 100.0)
    }

    /// The target as `ss` and `nft` write it.
    fn socket(&self) -> String {
        std::net::SocketAddr::new(self.listener.address, self.listener.port).to_string()
    }

    fn last_second(&self, counter: ListenerCounter) -> u64 {
        self.sliding.last_second(counter)
    }
}
