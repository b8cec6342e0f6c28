//! What a partition watches of a few connections and paths in trouble ([`crate::path`]): windows that stay closed,
//! full-size segments that never arrive, ICMP errors about packets on their way, packets that come by again.
//!
//! Limits: [`WATCHED_MAX`] of each; the longest quiet one gives way. Segments without a mark cost nothing here: closed
//! windows and segments in flight are looked at again as a tick ends, in the connection itself.

use std::net::IpAddr;

use tidegauge_ebpf::flow::Side;
use tidegauge_ebpf::packet::{Network, Packet};
use tidegauge_ebpf::sequence::is_after;
use tidegauge_ebpf::tcp::connection::{Connection, clock_us, elapsed_us, flag};
use tidegauge_ebpf::tcp::mark;

use super::facts::FULL_SIZE_BYTES;
use super::table::{Table, index_of};
use crate::digest::Digest;
use crate::layer::{QuoteKind, QuotedRoute};
use crate::path::{Closed, PathWindow, REPEATS_MAX, Stuck, Trouble};
use crate::window::{ListenerKey, ip_addr};

/// Connections of each kind, and destinations in a tick.
const WATCHED_MAX: usize = 64;
/// What has not been heard of for so long is watched no more: most senders probe a closed window once a minute.
const QUIET_NS: u64 = 65_000_000_000;
/// Time between the first zero window and the last from which on the window is told to stay closed: ordinary receivers
/// catch up within milliseconds.
const CLOSED_NS: u64 = 1_000_000_000;
/// Marks that are looked at here.
pub(super) const WATCHED: u32 = mark::ZERO_WINDOW | mark::RETRANSMISSION;
/// Hops left from which on a packet may be one that goes round: a loop brings each packet down to none, and next to no
/// other has so few.
pub(super) const TTL_LOW: u8 = 12;
/// Times that such a packet comes by, each time with fewer hops, that make it one.
const PASSES: u8 = 4;
/// Packets with few hops left that are remembered, and for how long.
const PASSING: usize = 16;
const PASSING_NS: u64 = 2_000_000_000;
/// Destination ports of UDP traceroutes: 33434 and one more for each probe.
const TRACEROUTE_PORTS: std::ops::Range<u16> = 33_434..33_690;

/// One end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct End {
    place: u32,
    fingerprint: u32,
    side: usize,
}

/// Who is who on a connection.
#[derive(Clone, Copy, Debug)]
struct Roles {
    listener: ListenerKey,
    own: IpAddr,
    peer: IpAddr,
    is_listener: bool,
}

/// An end that advertised 0.
#[derive(Debug)]
struct ClosedWindow {
    end: End,
    roles: Roles,
    first_ns: u64,
    last_ns: u64,
    zero_windows: u32,
    /// What it has acknowledged.
    acknowledgment: u32,
}

/// A segment that an end sends again.
#[derive(Debug)]
struct StuckSegment {
    end: End,
    roles: Roles,
    sequence: u32,
    first_ns: u64,
    last_ns: u64,
    repeats: u32,
    payload_bytes: u32,
    /// What an ICMP error said would pass; `None`: none came.
    mtu: Option<u32>,
}

/// A packet with few hops left.
#[derive(Clone, Copy, Debug, Default)]
struct Passing {
    print: u64,
    last_ns: u64,
    ttl: u8,
    times: u8,
}

/// What is told at the end of a tick.
#[derive(Clone, Debug, Default)]
pub struct Watched {
    /// By listener.
    pub troubles: Vec<(ListenerKey, Trouble)>,
    /// By destination.
    pub paths: Vec<(IpAddr, PathWindow)>,
}

/// All that is watched.
#[derive(Debug, Default)]
pub(super) struct Watch {
    closed: Vec<ClosedWindow>,
    stuck: Vec<StuckSegment>,
    passing: [Passing; PASSING],
    paths: Vec<(IpAddr, PathWindow)>,
    /// Listeners whose trouble was told and may be over.
    told: Vec<ListenerKey>,
    /// Times that one gave way or found no place.
    given_up: u64,
}

impl Watch {
    /// Times since this was last asked that one gave way or found no place.
    pub(super) const fn take_given_up(&mut self) -> u64 {
        std::mem::replace(&mut self.given_up, 0)
    }

    /// A segment with one of [`WATCHED`]; whether its sender's window was open before.
    #[cold]
    pub(super) fn segment(
        &mut self,
        (place, connection): (u32, &Connection),
        sender: Side,
        digest: &Digest,
        marks: u32,
        was_open: bool,
    ) {
        let end = End { place, fingerprint: connection.fingerprint, side: index_of(sender) };
        if marks & mark::ZERO_WINDOW != 0 {
            self.zero_window(end, connection, digest, was_open);
        }
        if marks & mark::RETRANSMISSION != 0 && digest.packet.segment.payload_bytes >= FULL_SIZE_BYTES {
            self.again(end, connection, digest);
        }
    }

    /// It stays closed as long as its acknowledgments, without payload of their own, repeat the same number: that is how
    /// probes are answered. What is acknowledged beside was read.
    fn zero_window(&mut self, end: End, connection: &Connection, digest: &Digest, was_open: bool) {
        let (segment, at_ns) = (&digest.packet.segment, digest.ts_ns);
        let known = self.closed.iter_mut().find(|closed| closed.end == end);
        match known {
            // One byte: some receivers take the probe's.
            Some(closed) if !was_open && segment.acknowledgment.wrapping_sub(closed.acknowledgment) <= 1 => {
                closed.acknowledgment = segment.acknowledgment;
                if segment.payload_bytes == 0 {
                    closed.last_ns = at_ns;
                    closed.zero_windows = closed.zero_windows.saturating_add(1);
                }
            }
            Some(closed) => closed.begin(segment.acknowledgment, at_ns),
            None => {
                self.given_up += make_room(&mut self.closed, |closed| closed.last_ns);
                let roles = Roles::of(connection, end.side);
                let mut closed =
                    ClosedWindow { end, roles, acknowledgment: 0, first_ns: 0, last_ns: 0, zero_windows: 0 };
                closed.begin(segment.acknowledgment, at_ns);
                self.closed.push(closed);
            }
        }
    }

    fn again(&mut self, end: End, connection: &Connection, digest: &Digest) {
        let segment = &digest.packet.segment;
        let (sequence, at_ns) = (segment.sequence, digest.ts_ns);
        let known = self.stuck.iter_mut().find(|stuck| stuck.end == end);
        if let Some(stuck) = known {
            if stuck.sequence == sequence {
                (stuck.last_ns, stuck.repeats) = (at_ns, stuck.repeats.saturating_add(1));
            } else if is_after(stuck.sequence, sequence) || is_acknowledged(connection, stuck) {
                // The first that is missing counts: later ones are sent again beside it, to probe.
                (stuck.sequence, stuck.first_ns, stuck.last_ns) = (sequence, at_ns, at_ns);
                stuck.repeats = 1;
            }
            return;
        }
        self.given_up += make_room(&mut self.stuck, |stuck| stuck.last_ns);
        self.stuck.push(StuckSegment {
            end,
            roles: Roles::of(connection, end.side),
            sequence,
            first_ns: at_ns,
            last_ns: at_ns,
            repeats: 1,
            payload_bytes: segment.payload_bytes,
            mtu: None,
        });
    }

    /// An ICMP error; `place` is that of the connection that it quotes.
    #[cold]
    pub(super) fn error(&mut self, route: &QuotedRoute, packet: &Packet, place: Option<u32>) {
        match route.kind {
            QuoteKind::TtlExceeded { code: 0 } => {
                let is_probe = match route.protocol {
                    1 | 58 => true,
                    17 => route.destination_port.is_some_and(|port| TRACEROUTE_PORTS.contains(&port)),
                    _ => false,
                };
                self.path(
                    route.destination,
                    &PathWindow {
                        ttl_exceeded: 1,
                        probes: u32::from(is_probe),
                        routers: vec![(ip_addr(packet.source), 1)],
                        passed_again: 0,
                        sender: Some(route.source),
                    },
                );
            }
            QuoteKind::TooBig { mtu } => {
                let known = self.stuck.iter_mut().find(|stuck| Some(stuck.end.place) == place);
                if let Some(stuck) = known {
                    stuck.mtu = Some(mtu);
                }
            }
            _ => {}
        }
    }

    /// A packet with [`TTL_LOW`] hops left or fewer.
    #[cold]
    pub(super) fn few_hops(&mut self, digest: &Digest, bytes: &[u8]) {
        let print = print_of(digest, bytes);
        let passing = &mut self.passing[print as usize % PASSING];
        let ttl = digest.packet.ttl;
        let is_recent = digest.ts_ns.saturating_sub(passing.last_ns) < PASSING_NS;
        if passing.print != print || !is_recent || ttl > passing.ttl {
            *passing = Passing { print, last_ns: digest.ts_ns, ttl, times: 1 };
            return;
        }
        passing.times = passing.times.saturating_add(u8::from(ttl < passing.ttl));
        (passing.ttl, passing.last_ns) = (ttl, digest.ts_ns);
        if passing.times == PASSES {
            // Once for each packet.
            passing.times += 1;
            let sender = Some(ip_addr(digest.packet.source));
            let note = PathWindow { passed_again: 1, sender, ..PathWindow::default() };
            self.path(ip_addr(digest.packet.destination), &note);
        }
    }

    fn path(&mut self, destination: IpAddr, note: &PathWindow) {
        if let Some((_, known)) = self.paths.iter_mut().find(|(known, _)| *known == destination) {
            known.merge(note);
        } else if self.paths.len() < WATCHED_MAX {
            self.paths.push((destination, note.clone()));
        } else {
            self.given_up += 1;
        }
    }

    /// What there is to tell at `now_ns`; `None`: nothing.
    pub(super) fn tell(&mut self, table: &Table, now_ns: u64) -> Option<Box<Watched>> {
        if self.closed.is_empty() && self.stuck.is_empty() && self.paths.is_empty() && self.told.is_empty() {
            return None;
        }
        let mut watched = Watched { paths: std::mem::take(&mut self.paths), ..Watched::default() };
        self.closed.retain(|closed| closed.goes_on(table, now_ns));
        self.stuck.retain(|stuck| stuck.goes_on(table, now_ns));
        let closed = self.closed.iter().filter(|closed| closed.last_ns - closed.first_ns >= CLOSED_NS);
        let troubles = closed.map(ClosedWindow::trouble);
        let stuck = self.stuck.iter().filter(|stuck| stuck.repeats > 1).map(|stuck| stuck.trouble(table));
        watched.troubles.extend(troubles.chain(stuck));
        // What was told before and has nothing more to tell is over.
        let over = std::mem::take(&mut self.told).into_iter();
        self.told.extend(watched.troubles.iter().map(|(listener, _)| *listener));
        self.told.sort_unstable();
        self.told.dedup();
        let told = &self.told;
        watched.troubles.extend(
            over.filter(|listener| !told.contains(listener)).map(|listener| (listener, Trouble::default())),
        );
        Some(Box::new(watched))
    }
}

/// Has the longest quiet one give way where all places are taken; how many gave way.
fn make_room<T>(watched: &mut Vec<T>, last_ns: impl Fn(&T) -> u64) -> u64 {
    if watched.len() < WATCHED_MAX {
        return 0;
    }
    let quietest = watched.iter().enumerate().min_by_key(|(_, one)| last_ns(one)).map(|(place, _)| place);
    if let Some(place) = quietest {
        watched.swap_remove(place);
    }
    1
}

fn is_acknowledged(connection: &Connection, stuck: &StuckSegment) -> bool {
    is_after(connection.directions[1 - stuck.end.side].last_acknowledgment, stuck.sequence)
}

/// What tells a packet from others wherever it comes by: nothing that a router changes.
fn print_of(digest: &Digest, bytes: &[u8]) -> u64 {
    const PRIME: u64 = 0x0100_0000_01b3;
    let network = digest.network_bytes(bytes);
    let identification =
        if digest.packet.network == Network::Ipv4 { network.get(4..6) } else { network.get(1..4) };
    let transport = digest.transport_bytes(bytes);
    let transport = &transport[..transport.len().min(16)];
    let all = identification.unwrap_or_default().iter().chain(transport);
    all.fold(digest.hash | 1, |print, byte| (print ^ u64::from(*byte)).wrapping_mul(PRIME))
}

impl End {
    /// The connection, if it is still there and open.
    fn connection(self, table: &Table) -> Option<&Connection> {
        let connection = table.connection(self.place);
        let is_same = connection.fingerprint == self.fingerprint && connection.flags & flag::CLOSED == 0;
        is_same.then_some(connection)
    }
}

impl Roles {
    fn of(connection: &Connection, own: usize) -> Self {
        let responder = if connection.flags & flag::HANDSHAKE != 0 {
            1 - index_of(connection.initiator())
        } else {
            usize::from(connection.ports[0] >= connection.ports[1])
        };
        let address = |side: usize| ip_addr(connection.addresses[side]);
        let listener = ListenerKey { address: address(responder), port: connection.ports[responder] };
        Self { listener, own: address(own), peer: address(1 - own), is_listener: own == responder }
    }
}

impl ClosedWindow {
    const fn begin(&mut self, acknowledgment: u32, at_ns: u64) {
        (self.first_ns, self.last_ns) = (at_ns, at_ns);
        (self.acknowledgment, self.zero_windows) = (acknowledgment, 1);
    }

    fn goes_on(&self, table: &Table, now_ns: u64) -> bool {
        let is_zero = |connection: &Connection| connection.directions[self.end.side].window == 0;
        now_ns.saturating_sub(self.last_ns) < QUIET_NS && self.end.connection(table).is_some_and(is_zero)
    }

    fn trouble(&self) -> (ListenerKey, Trouble) {
        let closed = Closed {
            by_clients: u32::from(!self.roles.is_listener),
            by_listener: u32::from(self.roles.is_listener),
            known_ns: self.last_ns - self.first_ns,
            zero_windows: self.zero_windows,
            receiver: Some(self.roles.own),
            sender: Some(self.roles.peer),
        };
        (self.roles.listener, Trouble { closed, ..Trouble::default() })
    }
}

impl StuckSegment {
    /// Whether it is still not acknowledged, and nothing of its size ever was: what gets through now and then is lost
    /// by chance.
    fn goes_on(&self, table: &Table, now_ns: u64) -> bool {
        let Some(connection) = self.end.connection(table) else { return false };
        let Some((_, story)) = table.story(self.end.place) else { return false };
        let own = &connection.directions[self.end.side];
        let peer = &connection.directions[1 - self.end.side];
        let outstanding = own.next_sequence.wrapping_sub(peer.last_acknowledgment);
        let resent = story.details[self.end.side].resent_bytes;
        let fresh = own.payload_bytes.saturating_sub(u64::from(resent));
        let acknowledged = fresh.saturating_sub(u64::from(outstanding));
        connection.flags & flag::HANDSHAKE != 0
            && acknowledged < u64::from(FULL_SIZE_BYTES)
            && !is_acknowledged(connection, self)
            && now_ns.saturating_sub(self.last_ns) < QUIET_NS
    }

    fn trouble(&self, table: &Table) -> (ListenerKey, Trouble) {
        let heard_us = table.connection(self.end.place).directions[1 - self.end.side].last_us;
        let since_us = elapsed_us(heard_us, clock_us(self.first_ns));
        let mut stuck = Stuck {
            repeats: self.repeats,
            // Half of the clock's round: what was heard before is not mistaken for what is heard in an hour.
            alive: u32::from(since_us != 0 && since_us < 1 << 31),
            ignored: u32::from(self.mtu.is_some()),
            mtu: self.mtu.unwrap_or_default(),
            payload_bytes: self.payload_bytes,
            receiver: Some(self.roles.peer),
            ..Stuck::default()
        };
        stuck.by_repeats[(self.repeats as usize).clamp(1, REPEATS_MAX) - 1] = 1;
        (self.roles.listener, Trouble { stuck, ..Trouble::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How long a window is known to be closed, seconds, by what its owner says: when, acknowledging what, with how much
    /// payload, and whether it was open before.
    fn closed_s(said: &[(u64, u32, u32, bool)]) -> u64 {
        let (mut watch, connection) = (Watch::default(), Connection::default());
        for (second, acknowledgment, payload_bytes, was_open) in said {
            let mut digest = Digest { ts_ns: second * 1_000_000_000, ..Digest::EMPTY };
            digest.packet.segment.acknowledgment = *acknowledgment;
            digest.packet.segment.payload_bytes = *payload_bytes;
            watch.segment((7, &connection), Side::Low, &digest, mark::ZERO_WINDOW, *was_open);
        }
        watch.closed.iter().map(|closed| (closed.last_ns - closed.first_ns) / 1_000_000_000).sum()
    }

    #[test]
    fn a_window_is_closed_while_probes_are_answered_and_nothing_is_read() {
        assert_eq!(closed_s(&[(1, 100, 0, true), (3, 100, 0, false), (7, 101, 0, false)]), 6);
        assert_eq!(closed_s(&[(1, 100, 0, true), (3, 100, 0, true)]), 0, "it opened between");
        assert_eq!(closed_s(&[(1, 100, 0, true), (3, 1_560, 0, false)]), 0, "it has read");
        assert_eq!(closed_s(&[(1, 100, 0, true), (9, 100, 500, false)]), 0, "it sends, nobody probes");
    }

    /// What is told of packets that come by with these hops left.
    fn passes(ttls: &[u8]) -> u32 {
        let mut watch = Watch::default();
        for (index, ttl) in ttls.iter().enumerate() {
            let mut digest = Digest { ts_ns: index as u64 * 1_000_000, ..Digest::EMPTY };
            digest.packet.ttl = *ttl;
            watch.few_hops(&digest, &[]);
        }
        watch.paths.iter().map(|(_, path)| path.passed_again).sum()
    }

    #[test]
    fn a_packet_that_comes_by_with_fewer_hops_each_time_goes_round_once() {
        assert_eq!(passes(&[12, 10, 8, 6, 4, 2]), 1);
        assert_eq!(passes(&[11, 9, 7]), 0);
        assert_eq!(passes(&[4, 4, 4, 4, 4, 4]), 0, "copies, and what is sent with few hops");
        assert_eq!(passes(&[1, 2, 3, 4, 5, 6]), 0, "a traceroute");
    }

    #[test]
    fn destinations_are_bounded() {
        let mut watch = Watch::default();
        let note = PathWindow { ttl_exceeded: 1, ..PathWindow::default() };
        (0..200).for_each(|host| watch.path(IpAddr::from([192, 0, 2, host]), &note));
        assert_eq!(watch.paths.len(), WATCHED_MAX);
        assert_eq!(watch.take_given_up(), 200 - WATCHED_MAX as u64);
    }
}
