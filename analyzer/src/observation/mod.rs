//! Observations: what was seen, is a fault or the trace of an attack, and is below what opens an incident, or outside of
//! it. No alarm: nobody is called for them, and no exit code tells of them. They are for whoever looks at a capture with
//! one thing wrong, whom "no incident" does not help.
//!
//! Derived at the end of a run from sums that are kept anyway or cost nothing beside what is: of listeners
//! (`listener`), hosts, paths and askers (`ledger`), and of connections as they end ([`crate::impairment`]). An incident of
//! the same kind at the same place says it all, and no observation is told beside it.
//! Counts are exact as far as the tables had room; times are those of the packets' whole seconds.
//!
//! Limits: [`OBSERVATIONS_MAX`] are told, a quarter of them of a kind, the heaviest; others, and what the ledger had no
//! room for, are counted.

pub(crate) mod draft;
mod group;
pub(crate) mod ledger;
pub(crate) mod listener;
mod words;

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Serialize;
use serde_json::{Value, json};

use crate::config::Config;
use crate::incident::{Incident, Kind, Target};
use crate::prefix::common_bits;
use crate::time::timestamp;
use crate::window::address_of;
use draft::Draft;

/// Observations told of a run, and of them of one kind: what is everywhere leaves room for others.
pub const OBSERVATIONS_MAX: usize = 64;
const OF_A_KIND_MAX: usize = OBSERVATIONS_MAX / 4;

macro_rules! observed {
    ($($(#[doc = $doc:literal])* $variant:ident = $text:literal, $gravity:literal, [$($kind:ident),*];)*) => {
        /// What was seen. Names are those of incidents where one fits.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Observed { $($(#[doc = $doc])* $variant,)* }

        impl Observed {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The contract's name.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// How grave each is, 1 to 8: what fails before what is slow, and that before what may be nothing.
            const fn gravity(self) -> u64 {
                match self { $(Self::$variant => $gravity,)* }
            }

            /// Incidents that tell it.
            const fn incidents(self) -> &'static [Kind] {
                match self { $(Self::$variant => &[$(Kind::$kind),*],)* }
            }
        }
    };
}

observed! {
    /// TLS handshakes that a fatal alert ended.
    TlsFailure = "tls_failure", 8, [TlsFailure];
    /// Responses 5xx.
    HttpErrors = "http_errors", 8, [HttpErrors];
    /// Attempts answered with RST.
    ConnectionRefused = "connection_refused", 7, [HandshakeFailure, SynFlood, PortScan, HostSweep];
    /// Attempts without an answer.
    Unanswered = "unanswered", 7, [HandshakeFailure, SynFlood, PortScan, HostSweep];
    /// Attempts answered, and never completed.
    HandshakeFailure = "handshake_failure", 7, [HandshakeFailure, SynFlood, PortScan, HostSweep];
    /// SYNs sent again before they were answered.
    SynRetransmission = "syn_retransmission", 6, [HandshakeFailure, SynFlood, PortScan, HostSweep];
    /// Queries that fail, or that nobody answers.
    DnsFailure = "dns_failure", 6, [DnsFailure, PortScan, HostSweep];
    /// Segments sent again.
    Loss = "loss", 6, [Loss, MtuBlackhole];
    /// Receivers that closed their window.
    ZeroWindow = "zero_window", 6, [ZeroWindow];
    /// Round trips of handshakes.
    HighRtt = "high_rtt", 6, [HighRtt];
    /// Answers that took long, beyond the round trip.
    SlowAnswer = "slow_answer", 6, [SlowHttp];
    /// Packets that go round.
    RoutingLoop = "routing_loop", 8, [RoutingLoop];
    /// Ports asked in vain.
    PortScan = "port_scan", 5, [PortScan, UdpFlood, SynFlood];
    /// Hosts asked in vain.
    HostSweep = "host_sweep", 5, [HostSweep, PortScan];
    /// SYN-ACKs that nobody asked for.
    SynAckReflection = "syn_ack_reflection", 5, [SynAckReflection];
    /// Brief logins.
    BruteForce = "brute_force", 5, [BruteForce];
    /// Requests that the server gave up waiting for.
    SlowHttp = "slow_http", 5, [SlowHttp];
    /// Destinations that ICMP says are not reached.
    Unreachable = "unreachable", 4, [IcmpFlood];
    /// Segments that were overtaken.
    OutOfOrder = "out_of_order", 3, [Loss];
    /// Receivers' windows filled to the end.
    WindowFull = "window_full", 3, [ZeroWindow];
    /// ACKs that say the same again.
    DuplicateAck = "duplicate_ack", 2, [Loss];
    /// Packets whose hops ran out.
    TtlExceeded = "ttl_exceeded", 2, [RoutingLoop];
    /// IP fragments.
    IpFragments = "ip_fragments", 1, [FragmentFlood];
    /// First questions that came long after their connection was open.
    LateRequest = "late_request", 1, [];
}

/// One of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation {
    /// What was seen.
    pub kind: Observed,
    /// Where: who is asked, or what something comes to.
    pub target: Target,
    /// How often.
    pub count: u64,
    /// Of how many; `None` where there is no whole.
    pub of: Option<u64>,
    /// What is counted.
    pub unit: &'static str,
    /// The worst of it in milliseconds, of kinds that are times.
    pub worst_ms: Option<f64>,
    /// The second in which it was first seen, nanoseconds.
    pub first_ns: u64,
    /// The end of the second in which it was last seen.
    pub last_ns: u64,
    /// The other end of most of it; `None`: not known.
    pub peer: Option<IpAddr>,
    /// In a sentence.
    pub what: String,
    /// What would have opened an incident.
    pub incident_needs: String,
    /// A display filter of Wireshark that shows its packets.
    pub filter: String,
    /// A command to run next.
    pub next: String,
}

/// Those of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observations {
    /// The heaviest first.
    pub told: Vec<Observation>,
    /// Others for which there was no room.
    pub left_out: u64,
}

impl Observation {
    /// As the summary has it.
    fn json(&self) -> Value {
        let (addr, port, proto) = match self.target.parts() {
            Some((addr, port, proto)) => (Some(addr), port, Some(proto)),
            None => (None, None, None),
        };
        json!({
            "kind": self.kind,
            "target": { "addr": addr, "port": port, "proto": proto },
            "count": self.count,
            "of": self.of,
            "unit": self.unit,
            "worst_ms": self.worst_ms,
            "first_ts": timestamp(self.first_ns),
            "last_ts": timestamp(self.last_ns),
            "peer": self.peer,
            "what": self.what,
            "incident_needs": self.incident_needs,
            "filter": self.filter,
            "next": self.next,
        })
    }
}

impl Serialize for Observation {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.json().serialize(serializer)
    }
}

impl Observations {
    /// Of all that was seen, beside these incidents; `left_out`: what found no room before.
    pub(crate) fn of(
        mut drafts: Vec<Draft<'_>>,
        incidents: &[Incident],
        config: &Config,
        left_out: u64,
    ) -> Self {
        drafts.retain(|draft| !incidents.iter().any(|incident| tells(incident, draft)));
        let mut drafts = group::group(drafts);
        drafts.sort_by_cached_key(|draft| (std::cmp::Reverse(draft.weight()), draft.kind, draft.target));
        let (all, mut of_kind) = (drafts.len(), BTreeMap::<Observed, usize>::new());
        drafts.retain(|draft| {
            let count = of_kind.entry(draft.kind).or_default();
            *count += 1;
            *count <= OF_A_KIND_MAX
        });
        drafts.truncate(OBSERVATIONS_MAX);
        let left_out = left_out + (all - drafts.len()) as u64;
        let told = drafts.iter().map(|draft| words::observation(draft, config)).collect();
        Self { told, left_out }
    }
}

/// Whether an incident says what was drafted: of its kind, and there.
fn tells(incident: &Incident, draft: &Draft<'_>) -> bool {
    draft.kind.incidents().contains(&incident.peak.kind) && covers(&incident.target, &draft.target)
}

/// Whether what is at `small` is at `large` too.
fn covers(large: &Target, small: &Target) -> bool {
    let (Some((address, bits, port, _)), Some((own, own_bits, own_port, _))) = (large.place(), small.place())
    else {
        return large == small;
    };
    let all_bits = if address.is_ipv4() { 32 } else { 128 };
    // Where one of both is a network: whether the smaller one is in the larger.
    let bits = bits.unwrap_or(all_bits).min(own_bits.unwrap_or(all_bits));
    let same_port = port.is_none() || own_port.is_none() || port == own_port;
    same_port && has_prefix(address, own, bits)
}

/// Whether two addresses have their first `bits` in common.
fn has_prefix(one: IpAddr, other: IpAddr, bits: u8) -> bool {
    // An IPv4 address is the end of an IPv6 one.
    let before = if one.is_ipv4() { 96 } else { 0 };
    one.is_ipv4() == other.is_ipv4() && common_bits(address_of(one), address_of(other)) >= before + bits
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::incident::{Finding, HostTarget, NetworkTarget, Severity};
    use crate::quality::Interval;
    use crate::window::ListenerKey;

    fn listener(address: &str, port: u16) -> Target {
        Target::Listener(ListenerKey { address: address.parse().unwrap(), port })
    }

    fn incident(kind: Kind, target: Target) -> Incident {
        Incident::open(1, target, Finding::bare(kind, Severity::P3), 1, Interval::default())
    }

    #[test]
    fn an_incident_of_the_kind_and_place_tells_it() {
        let draft = |kind| Draft::new(kind, listener("192.0.2.7", 443), 3);
        let host =
            Target::Host(HostTarget { address: "192.0.2.7".parse().unwrap(), port: None, protocol: "tcp" });
        let network = |prefix_bits| {
            let address = "192.0.2.0".parse().unwrap();
            Target::Network(NetworkTarget { address, prefix_bits, port: None, protocol: "tcp" })
        };
        for (incident, kind, told) in [
            (incident(Kind::Loss, listener("192.0.2.7", 443)), Observed::Loss, true),
            (incident(Kind::Loss, listener("192.0.2.7", 443)), Observed::TlsFailure, false),
            (incident(Kind::Loss, listener("192.0.2.7", 80)), Observed::Loss, false),
            (incident(Kind::PortScan, host), Observed::ConnectionRefused, true),
            (incident(Kind::HostSweep, network(24)), Observed::Unanswered, true),
            (incident(Kind::HostSweep, network(30)), Observed::Unanswered, false),
            (incident(Kind::HostSweep, network(0)), Observed::Unanswered, true),
        ] {
            assert_eq!(tells(&incident, &draft(kind)), told, "{incident:?} {kind:?}");
        }
    }

    #[test]
    fn names_are_those_of_the_output() {
        for kind in Observed::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
        }
    }

    #[test]
    fn those_for_which_there_is_no_room_are_counted() {
        let drafts = (0..100).map(|port| Draft::new(Observed::Loss, listener("192.0.2.7", port), 3));
        let told = Observations::of(drafts.collect(), &[], &Config::default(), 2);
        assert_eq!((told.told.len(), told.left_out), (OF_A_KIND_MAX, 100 - OF_A_KIND_MAX as u64 + 2));
    }
}
