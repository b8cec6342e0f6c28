//! What a partition says of a packet beside its verdict: facts ([`crate::fact`]) out of connections and of what is read
//! above them.

use tidegauge_ebpf::flow::Side;
use tidegauge_ebpf::packet::{Segment, tcp_flag};
use tidegauge_ebpf::tcp::connection::{Connection, flag, state};
use tidegauge_ebpf::tcp::mark;

use super::Verdict;
use super::table::index_of;
use crate::digest::Digest;
use crate::fact::{Fact, Facts};
use crate::layer::{Layers, Protocol};

/// Payload from which on a segment fills what an Ethernet frame carries, tunnels allowed for.
pub(super) const FULL_SIZE_BYTES: u32 = 1_200;
/// Payload that each end of a connection may have sent for it to be a failed login: an SSH key exchange and a few
/// refused passwords are half of it.
const BRIEF_BYTES_MAX: u64 = 12_000;
/// Payload of an MQTT broker that says whether it takes a client, and nothing else (3.1.1 section 3.2).
const CONNACK_BYTES: u64 = 4;

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
    let [own, other] = [sender, sender.other()].map(|side| &connection.directions[index_of(side)]);
    let is_first_word = own.packets <= 1 && other.packets == 1 && other.payload_bytes == 0;
    let is_probe = !known && connection.flags & flag::PROVEN == 0 && is_first_word;
    facts.set_if(is_probe && digest.packet.segment.has(tcp_flag::RST), Fact::ProbeReset);
    if connection.flags & flag::PROVEN == 0 || judged.marks & mark::RESET_OUT_OF_STATE != 0 {
        stray(&digest.packet.segment, facts);
    }
}

/// A connection has ended with a segment of `sender`.
pub(super) fn of_end(connection: &Connection, sender: Side, layers: &Layers, facts: &mut Facts) {
    let known = connection.flags & flag::HANDSHAKE != 0;
    facts.set_if(known, Fact::Closed);
    let Some(slot) = connection.story.checked_sub(1) else { return };
    facts.set_if(layers.waits_for_head(slot), Fact::HeadDone);
    if !known {
        return;
    }
    let [low, high] = connection.directions.map(|direction| direction.payload_bytes);
    let is_brief = low != 0 && high != 0 && low.max(high) <= BRIEF_BYTES_MAX;
    let is_login = match layers.protocol(slot) {
        Some(Protocol::Mqtt) => is_refused(connection, sender),
        // What was refused in so many words is counted already, what was taken is none.
        protocol => protocol.is_some_and(asks_for_password) && !layers.has_login_answer(slot),
    };
    facts.set_if(is_login && is_brief, Fact::BriefLogin);
}

/// Whether an MQTT broker said no: it ends the connection then (3.1.1 section 3.2.2.3), with nothing said but that.
fn is_refused(connection: &Connection, sender: Side) -> bool {
    let initiator = connection.initiator();
    let listener = &connection.directions[1 - index_of(initiator)];
    // Of the two that end it the other one was first, unless it did not say so at all.
    let ended = |side: Side| connection.directions[index_of(side)].state & (state::FIN | state::RST) != 0;
    let listener_first =
        if sender == initiator { listener.state & state::FIN != 0 } else { !ended(initiator) };
    listener_first && listener.payload_bytes <= CONNACK_BYTES
}

/// Protocols by which people log in, so that a brief connection is a login that failed more often than not. With
/// databases, file shares and mail it is the ordinary case: applications, relays and webmail connect for every query or
/// message, hundreds a second; there what the server answers counts, as HTTP's 401 does.
const fn asks_for_password(protocol: Protocol) -> bool {
    use Protocol::{Ftp, Rdp, Ssh, Telnet, Vnc};
    matches!(protocol, Ssh | Ftp | Rdp | Telnet | Vnc)
}
