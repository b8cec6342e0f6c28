//! Which incident is another one's consequence: one upstream loss is one cause, not forty slow listeners.
//!
//! An incident that opens while another one is open that explains it (same host and a lower layer, a host that it asks, the
//! same way at the same time) is its consequence (`because_of`): told, but not raised in severity. One that opens after
//! what it explains takes that over, up to [`BEFORE_NS`] back. A consequence has one cause, and is nobody's cause itself.
//! Looked for only when something opens: for [`OPENED_MAX`] of those that open at once, in the order of their opening, and
//! among them and the [`LOOKED_AT_MAX`] oldest. So a tick in which thousands open takes no longer than one with hundreds.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::{Because, Cause, HostCounts, rank};
use crate::graph::Graph;
use crate::incident::{Incident, Kind, Target};
use crate::prefix::network_of;
use crate::window::ListenerKey;

/// How long before its cause a consequence may be told: detectors look back over up to a minute, each its own time.
const BEFORE_NS: u64 = 60_000_000_000;
/// Open incidents that are looked at for each that opens.
const LOOKED_AT_MAX: usize = 256;
/// Incidents that open in a tick whose causes and consequences are looked for.
pub(crate) const OPENED_MAX: usize = 256;

/// What groups need of an incident.
#[derive(Clone, Debug)]
struct Known {
    id: String,
    kind: Kind,
    target: Target,
    opened_ns: u64,
    because_of: Option<Because>,
    /// Whether others are its consequences.
    has_consequences: bool,
    /// The likeliest cause.
    cause: Option<Cause>,
}

impl Known {
    fn of(incident: &Incident) -> Self {
        let host = HostCounts::of(incident.host.as_deref());
        // Of other kinds nobody asks.
        let ranked = if incident.peak.kind == Kind::Loss { rank(incident, host) } else { Vec::new() };
        Self {
            id: incident.id.clone(),
            kind: incident.peak.kind,
            target: incident.target,
            opened_ns: incident.opened_ns,
            because_of: incident.because_of.clone(),
            has_consequences: false,
            cause: ranked.first().map(|ranked| ranked.cause),
        }
    }
}

impl Known {
    /// What is sent again to a listener that takes nothing is no loss, and explains nothing.
    fn is_not_taken(&self) -> bool {
        self.kind == Kind::Loss && self.cause == Some(Cause::AcceptQueueFull)
    }
}

/// For those of `opened` (ids): which incidents are consequences, by id, and of what. `open` are all that are open.
pub(crate) fn relate<'a>(
    opened: &[String],
    open: impl Iterator<Item = &'a Incident>,
    graph: &Graph,
) -> Vec<(String, Because)> {
    let mut known = looked_at(opened, open);
    let places: BTreeMap<String, usize> =
        known.iter().enumerate().map(|(place, incident)| (incident.id.clone(), place)).collect();
    let mut found = Vec::new();
    for id in opened {
        let Some(new) = places.get(id).copied() else { continue };
        if known[new].because_of.is_none()
            && !known[new].has_consequences
            && let Some(because) = cause_of(&known, new, graph)
        {
            found.push((id.clone(), because.clone()));
            if let Some(cause) = places.get(&because.id) {
                known[*cause].has_consequences = true;
            }
            known[new].because_of = Some(because);
            continue;
        }
        for Place(place) in consequences_of(&known, new, graph) {
            let why = why(&known[place], &known[new], graph).unwrap_or_default();
            let because = Because { id: id.clone(), why };
            found.push((known[place].id.clone(), because.clone()));
            known[place].because_of = Some(because);
            known[new].has_consequences = true;
        }
    }
    found
}

/// Those that can be causes, the oldest, and those that have just opened; in the order of their opening.
fn looked_at<'a>(opened: &[String], open: impl Iterator<Item = &'a Incident>) -> Vec<Known> {
    let opened: BTreeSet<&str> = opened.iter().map(String::as_str).collect();
    let mut open: Vec<&Incident> = open.collect();
    open.sort_by_key(|incident| (incident.opened_ns, &incident.id));
    let causes: BTreeSet<&str> =
        open.iter().filter_map(|incident| incident.because_of.as_ref()).map(|because| &*because.id).collect();
    let (mut place, mut new) = (0, 0);
    let mut known = Vec::new();
    for incident in open {
        let is_new = opened.contains(incident.id.as_str());
        place += 1;
        new += usize::from(is_new);
        if place <= LOOKED_AT_MAX || (is_new && new <= OPENED_MAX) {
            known.push(Known {
                has_consequences: causes.contains(incident.id.as_str()),
                ..Known::of(incident)
            });
        }
    }
    known
}

/// The oldest that explains number `new`; where that is a consequence itself, its cause.
fn cause_of(known: &[Known], new: usize, graph: &Graph) -> Option<Because> {
    let own = &known[new];
    let mut causes = known.iter().enumerate().filter(|(place, _)| *place != new);
    causes.find_map(|(_, other)| {
        let why = why(own, other, graph)?;
        match &other.because_of {
            Some(because) if because.id == own.id => None,
            Some(because) => Some(Because { id: because.id.clone(), why: because.why.clone() }),
            None => Some(Because { id: other.id.clone(), why }),
        }
    })
}

/// A place among the known ones.
struct Place(usize);

/// Those told shortly before that number `new` explains.
fn consequences_of(known: &[Known], new: usize, graph: &Graph) -> Vec<Place> {
    let own = &known[new];
    let free = |other: &Known| other.because_of.is_none() && !other.has_consequences;
    let lately = |other: &Known| own.opened_ns.saturating_sub(other.opened_ns) <= BEFORE_NS;
    let places = known.iter().enumerate().filter(|(place, other)| {
        *place != new && free(other) && lately(other) && below(other, own, graph).is_some()
    });
    places.map(|(place, _)| Place(place)).collect()
}

/// Why `own` may be a consequence of `other`; `None`: it is not.
fn why(own: &Known, other: &Known, graph: &Graph) -> Option<String> {
    below(own, other, graph).or_else(|| same_way(own, other, graph))
}

/// What lies below, or is asked by it.
fn below(own: &Known, other: &Known, graph: &Graph) -> Option<String> {
    if other.kind == Kind::CaptureBlind {
        let may_be_unseen = [Kind::Loss, Kind::HandshakeFailure, Kind::DnsFailure, Kind::TlsFailure];
        return may_be_unseen
            .contains(&own.kind)
            .then(|| "the capture is blind: what looks lost or unanswered may only be unseen".to_owned());
    }
    let (host, other_host) = (own.target.host()?, other.target.host()?);
    if host == other_host && other.kind == Kind::HandshakeFailure && own.is_not_taken() {
        return Some(format!("{} at the same host: its accept queue is full", other.kind.name()));
    }
    if other.is_not_taken() {
        return None;
    }
    if host == other_host && own.kind == Kind::PortScan && other.kind == Kind::PortScan {
        let at_once = own.opened_ns.abs_diff(other.opened_ns) <= BEFORE_NS;
        return at_once
            .then(|| "others scan the same host at the same time: one scan of many, or decoys".to_owned());
    }
    if host == other_host {
        return explains(other.kind, own.kind).then(|| format!("{} at the same host", other.kind.name()));
    }
    let depends = other.kind == Kind::DnsFailure || is_down(other.kind);
    let suffers = [Kind::HttpErrors, Kind::HandshakeFailure, Kind::SlowTransfer, Kind::HighRtt];
    (depends && suffers.contains(&own.kind) && graph.asks(host, other_host))
        .then(|| format!("{host} asks {other_host}, where {} is open", other.kind.name()))
}

/// The same trouble on the same way: listeners of one network, or whose clients are in one network.
fn same_way(own: &Known, other: &Known, graph: &Graph) -> Option<String> {
    const OF_WAYS: [Kind; 5] =
        [Kind::Loss, Kind::HighRtt, Kind::SlowTransfer, Kind::HandshakeFailure, Kind::MtuBlackhole];
    let at_once = own.opened_ns.abs_diff(other.opened_ns) <= BEFORE_NS;
    let both = OF_WAYS.contains(&own.kind) && OF_WAYS.contains(&other.kind);
    if !at_once
        || !both
        || own.is_not_taken()
        || other.is_not_taken()
        || !(own.kind == other.kind || explains(other.kind, own.kind))
    {
        return None;
    }
    let (host, other_host) = (own.target.host()?, other.target.host()?);
    let bits = |network: IpAddr| if network.is_ipv4() { 24 } else { 48 };
    let network = network_of(host);
    if network == network_of(other_host) {
        return Some(format!("the same way at the same time: both are in {network}/{}", bits(network)));
    }
    let clients = |target: &Target| match target {
        Target::Listener(key) => graph.clients_of(ListenerKey { address: key.address, port: key.port }),
        _ => None,
    };
    let network = clients(&own.target)?;
    (clients(&other.target) == Some(network)).then(|| {
        format!("the same way at the same time: most clients of both are in {network}/{}", bits(network))
    })
}

/// What follows from what at one host. Attacks, scans and surges follow from nothing (but from others' scans); alerts and
/// status codes are said by those that work well enough to say them.
fn explains(cause: Kind, consequence: Kind) -> bool {
    use Kind::{DnsFailure, HandshakeFailure, HighRtt, HttpErrors, Loss, LowWindow, SlowTransfer};
    match cause {
        Kind::RoutingLoop | Kind::MtuBlackhole => {
            matches!(consequence, Loss | HighRtt | SlowTransfer | HandshakeFailure | DnsFailure)
        }
        Loss => matches!(consequence, HighRtt | SlowTransfer | HandshakeFailure | DnsFailure),
        HighRtt => consequence == SlowTransfer,
        Kind::ZeroWindow => matches!(consequence, SlowTransfer | LowWindow),
        _ if is_flood(cause) => {
            matches!(consequence, Loss | HighRtt | SlowTransfer | HandshakeFailure | HttpErrors | DnsFailure)
        }
        _ => false,
    }
}

const fn is_flood(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::SynFlood
            | Kind::SynAckReflection
            | Kind::AckFlood
            | Kind::RstFlood
            | Kind::FinFlood
            | Kind::UdpFlood
            | Kind::UdpAmplification
            | Kind::IcmpFlood
            | Kind::FragmentFlood
            | Kind::ProtocolFlood
            | Kind::ConnectionFlood
            | Kind::HttpFlood
            | Kind::SlowHttp
    )
}

/// Kinds that take a host's service away from those who ask it.
const fn is_down(kind: Kind) -> bool {
    is_flood(kind)
        || matches!(
            kind,
            Kind::HandshakeFailure | Kind::Loss | Kind::ZeroWindow | Kind::RoutingLoop | Kind::MtuBlackhole
        )
}
