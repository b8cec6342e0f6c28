//! What is read above TCP, UDP, ICMP and ARP: hellos, requests, queries, echoes, and how long answers took.
//!
//! Limits and invariants:
//! - Everything is recognised by content; ports only decide between readings of the same bytes (DNS on port 53).
//! - All memory is allocated at creation, and touched when first used. What does not fit is counted, not kept.
//! - A direction that has nothing more to tell says so ([`Interest`]); until then, payload that was announced by a
//!   length (bodies, records) is passed over by sequence numbers, and none of its bytes is touched.
//! - Any bytes may come: cut, repeated, reordered, overlapping, with holes. Nothing panics, nothing grows.
//! - Time is an argument. Differences are taken of microseconds modulo 2^32: right up to half an hour.
//!
//! One [`Layers`] is one shard's. Called by the shard's loop for each segment with payload, each datagram, each ICMP
//! message; [`from_last_header`] finds the bytes of ICMP and ARP in a frame.

mod arp;
mod buffer;
mod certificate;
mod counter;
mod detail;
mod dns;
mod hello;
mod http;
mod icmp;
mod ja4;
mod login;
mod message;
mod names;
mod noted;
mod password;
mod quic;
mod recognise;
mod record;
mod slot;
mod stream;
mod sums;
mod tls;
mod turn;
mod version;
mod waits;

pub use self::arp::arp;
pub use self::counter::{Group, LayerCounter};
pub use self::icmp::{Quote, QuoteKind, QuotedProtocol, QuotedRoute, quoted, quoted_route};
pub use self::message::{Datagram, IcmpMessage, IcmpVersion, Interest, StreamPart, from_last_header};
use self::names::Names;
use self::quic::QuicFlows;
pub use self::record::{AlertRecord, AppRecord, HttpRecord, Protocol, TlsRecord};
use self::stream::Streams;
pub use self::sums::{LayerSums, METHODS};
pub use self::version::{TCP_CLASSES, Version, Versions};
use self::waits::Waits;
use crate::fact::Facts;

/// Queries that wait at a time: a resolver of 3,000 queries a second that are not answered within the timeout.
const DNS_WAITS: usize = 16_384;
/// Resolvers ask again after five seconds (glibc's and musl's default).
const DNS_TIMEOUT_NS: u64 = 5_000_000_000;
/// Echo requests that wait at a time: the sweep of a /18, or 1,600 a second that are not answered.
const ECHO_WAITS: usize = 16_384;
/// `ping` gives a reply up after ten seconds.
const ECHO_TIMEOUT_NS: u64 = 10_000_000_000;

/// One shard's memory for these protocols.
pub struct Layers {
    streams: Streams,
    queries: Waits,
    names: Names,
    echoes: Waits,
    quic: QuicFlows,
}

impl Layers {
    /// Memory for so many connection slots.
    pub fn new(connections: u32) -> Self {
        Self {
            streams: Streams::new(connections),
            queries: Waits::new(DNS_WAITS, DNS_TIMEOUT_NS),
            names: Names::new(),
            echoes: Waits::new(ECHO_WAITS, ECHO_TIMEOUT_NS),
            quic: QuicFlows::new(),
        }
    }

    /// Bytes that are allocated, touched or not: the same from creation on.
    pub fn allocated_bytes(&self) -> usize {
        let waits = self.queries.allocated_bytes() + self.echoes.allocated_bytes();
        let waits = waits + self.names.allocated_bytes();
        self.streams.allocated_bytes() + waits + self.quic.allocated_bytes()
    }

    /// A connection begins in this slot: whatever the slot remembered is forgotten. Next sequence numbers of initiator
    /// and responder where the handshake was seen.
    pub fn open(&mut self, slot: u32, next_sequence: [Option<u32>; 2]) {
        self.streams.open(slot, next_sequence);
    }

    /// Has fetched what is known of the stream in this slot.
    #[inline]
    pub fn prefetch(&self, slot: u32) {
        self.streams.prefetch(slot);
    }

    /// Payload of one TCP segment; what it says of messages is added to `facts`.
    #[inline]
    pub fn tcp(&mut self, part: &StreamPart<'_>, sums: &mut LayerSums, facts: &mut Facts) -> Interest {
        self.streams.tcp(part, &mut self.queries, sums, facts)
    }

    /// What is known of the connection in this slot, which ends: its memory is free again.
    pub fn close(&mut self, slot: u32, _now_ns: u64, sums: &mut LayerSums) -> Option<AppRecord> {
        self.streams.close(slot, sums)
    }

    /// What is known of the connection in this slot so far; `None` where that is nothing.
    pub fn app(&self, slot: u32) -> Option<AppRecord> {
        self.streams.app(slot)
    }

    /// What was recognised in this slot.
    pub(crate) fn protocol(&self, slot: u32) -> Option<Protocol> {
        self.streams.protocol(slot)
    }

    /// Whether a server's answer to a login was read in this slot.
    pub(crate) fn has_login_answer(&self, slot: u32) -> bool {
        self.streams.has_login_answer(slot)
    }

    /// Whether a request's head was begun in this slot, and is not complete.
    #[inline]
    pub(crate) fn waits_for_head(&self, slot: u32) -> bool {
        self.streams.waits_for_head(slot)
    }

    /// One UDP datagram.
    #[inline]
    pub fn udp(&mut self, datagram: &Datagram<'_>, sums: &mut LayerSums, facts: &mut Facts) {
        if datagram.source_port == dns::PORT || datagram.destination_port == dns::PORT {
            let before = noted::Messages::of(sums);
            let code = dns::datagram(datagram, &mut self.queries, sums);
            noted::Messages::of(sums).since(before, facts);
            if let Some(code @ (dns::NO_ERROR | dns::NO_SUCH_NAME)) = code {
                self.names.answered(datagram, code == dns::NO_SUCH_NAME, facts);
            }
        } else {
            quic::datagram(datagram, &mut self.quic, sums);
        }
    }

    /// One ICMP message.
    pub fn icmp(&mut self, message: &IcmpMessage<'_>, sums: &mut LayerSums) {
        icmp::count(message, &mut self.echoes, sums);
    }

    /// Every 100 ms of packet time: waits whose timeout is over. Bounded work.
    pub fn tick(&mut self, now_ns: u64, sums: &mut LayerSums) {
        sums.add(LayerCounter::DnsUnanswered, self.queries.tick(now_ns));
        sums.add(LayerCounter::IcmpEchoUnanswered, self.echoes.tick(now_ns));
    }

    /// At the end: what still waits and whose timeout is over counts as unanswered; the rest is not decided.
    pub fn finish(&mut self, now_ns: u64, sums: &mut LayerSums) {
        sums.add(LayerCounter::DnsUnanswered, self.queries.finish(now_ns));
        sums.add(LayerCounter::IcmpEchoUnanswered, self.echoes.finish(now_ns));
    }
}
