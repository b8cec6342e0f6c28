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
mod counter;
mod icmp;
mod message;
mod record;
mod sums;
mod version;
mod waits;

pub use self::arp::arp;
pub use self::counter::{Group, LayerCounter};
pub use self::icmp::{Quote, QuoteKind, QuotedProtocol, quoted};
pub use self::message::{Datagram, IcmpMessage, IcmpVersion, Interest, StreamPart, from_last_header};
pub use self::record::{AlertRecord, AppRecord, HttpRecord, Protocol, TlsRecord};
pub use self::sums::{LayerSums, METHODS};
pub use self::version::{TCP_CLASSES, Version, Versions};
use self::waits::Waits;

/// Echo requests that wait at a time: a sweep of a /18, or 1 s of a 16 kpps echo flood that is not answered.
const ECHO_WAITS: usize = 16_384;
/// `ping` gives a reply up after ten seconds.
const ECHO_TIMEOUT_NS: u64 = 10_000_000_000;

/// One shard's memory for these protocols.
pub struct Layers {
    echoes: Waits,
}

impl Layers {
    /// Memory for so many connection slots.
    pub fn new(_connections: u32) -> Self {
        Self { echoes: Waits::new(ECHO_WAITS, ECHO_TIMEOUT_NS) }
    }

    /// A connection begins in this slot: whatever the slot remembered is forgotten. Next sequence numbers of initiator
    /// and responder where the handshake was seen.
    pub fn open(&mut self, _slot: u32, _next_sequence: [Option<u32>; 2]) {}

    /// Payload of one TCP segment.
    #[inline]
    pub fn tcp(&mut self, _part: &StreamPart<'_>, _sums: &mut LayerSums) -> Interest {
        Interest::BothDone
    }

    /// What is known of the connection in this slot, which ends: its memory is free again.
    pub fn close(&mut self, _slot: u32, _now_ns: u64, _sums: &mut LayerSums) -> Option<AppRecord> {
        None
    }

    /// What is known of the connection in this slot so far; `None` where that is nothing.
    pub fn app(&self, _slot: u32) -> Option<AppRecord> {
        None
    }

    /// One UDP datagram.
    #[inline]
    pub fn udp(&mut self, _datagram: &Datagram<'_>, _sums: &mut LayerSums) {}

    /// One ICMP message.
    pub fn icmp(&mut self, message: &IcmpMessage<'_>, sums: &mut LayerSums) {
        icmp::count(message, &mut self.echoes, sums);
    }

    /// Every 100 ms of packet time: waits whose timeout is over. Bounded work.
    pub fn tick(&mut self, now_ns: u64, sums: &mut LayerSums) {
        sums.add(LayerCounter::IcmpEchoUnanswered, self.echoes.tick(now_ns));
    }

    /// At the end: what still waits and whose timeout is over counts as unanswered; the rest is not decided.
    pub fn finish(&mut self, now_ns: u64, sums: &mut LayerSums) {
        sums.add(LayerCounter::IcmpEchoUnanswered, self.echoes.finish(now_ns));
    }
}
