//! What a partition says of a packet beside its verdict: facts ([`crate::fact`]) out of connections and of what is read
//! above them.

use tidegauge_ebpf::flow::Side;
use tidegauge_ebpf::packet::{Segment, tcp_flag};
use tidegauge_ebpf::tcp::connection::{Connection, flag};
use tidegauge_ebpf::tcp::mark;

use super::Verdict;
use crate::digest::Digest;
use crate::fact::{Fact, Facts};
use crate::layer::{Layers, Protocol};

/// Payload from which on a segment fills what an Ethernet frame carries, tunnels allowed for.
pub(super) const FULL_SIZE_BYTES: u32 = 1_200;
/// Payload that each end of a connection may have sent for it to be a failed login: an SSH key exchange and a few
/// refused passwords are half of it.
const BRIEF_BYTES_MAX: u64 = 12_000;

/// A segment of no connection, or of one that nothing is known of.
pub(super) fn stray(segment: &Segment, facts: &mut Facts) {
    facts.set(Fact::Stray);
    facts.set_if(segment.has(tcp_flag::RST), Fact::StrayRst);
    facts.set_if(segment.has(tcp_flag::FIN), Fact::StrayFin);
}

/// A segment that opens nothing and belongs to nothing open: late where its connection is over, else of no connection.
pub(super) fn of_nothing(unknown: bool, segment: &Segment, facts: &mut Facts) {
    if unknown {
        stray(segment, facts);
        facts.set_if(!segment.has(tcp_flag::RST), Fact::StrayNew);
    }
}

/// What a segment of a connection says, once that is judged; `first_payload`: it is its sender's first.
#[cold]
pub(super) fn of_segment(
    connection: &Connection,
    sender: Side,
    digest: &Digest,
    verdict: &mut Verdict,
    first_payload: bool,
) {
    let Verdict { judged, facts, .. } = verdict;
    let bytes = digest.packet.segment.payload_bytes;
    let known = connection.flags & flag::HANDSHAKE != 0;
    facts.set_if(first_payload && known && connection.initiator() == sender, Fact::Spoke);
    facts.set_if(judged.marks & mark::RETRANSMISSION != 0 && bytes >= FULL_SIZE_BYTES, Fact::FullSizeAgain);
    if connection.flags & flag::PROVEN == 0 || judged.marks & mark::RESET_OUT_OF_STATE != 0 {
        stray(&digest.packet.segment, facts);
    }
}

/// A connection has ended.
pub(super) fn of_end(connection: &Connection, layers: &Layers, facts: &mut Facts) {
    let known = connection.flags & flag::HANDSHAKE != 0;
    facts.set_if(known, Fact::Closed);
    let Some(slot) = connection.story.checked_sub(1) else { return };
    facts.set_if(layers.waits_for_head(slot), Fact::HeadDone);
    if !known {
        return;
    }
    let asks_for_password = layers.protocol(slot).is_some_and(asks_for_password);
    let [low, high] = connection.directions.map(|direction| direction.payload_bytes);
    let is_brief = low != 0 && high != 0 && low.max(high) <= BRIEF_BYTES_MAX;
    facts.set_if(asks_for_password && is_brief, Fact::BriefLogin);
}

/// Protocols by which people log in, so that a brief connection is a login that failed more often than not. With
/// databases, file shares and mail it is the ordinary case: applications, relays and webmail connect for every query or
/// message, hundreds a second. HTTP's failures show as 401, which is another matter.
const fn asks_for_password(protocol: Protocol) -> bool {
    use Protocol::{Ftp, Rdp, Ssh, Vnc};
    matches!(protocol, Ssh | Ftp | Rdp | Vnc)
}
