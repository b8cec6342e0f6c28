//! DNS messages (RFC 1035 section 4.1.1): the header, over UDP on port 53, and over TCP behind a length.
//!
//! Questions and answers are matched by both ends and the message's number; names are not read.

use tidegauge_ebpf::packet::Address;

use super::counter::LayerCounter::*;
use super::message::Datagram;
use super::recognise::Recognised;
use super::record::Protocol;
use super::slot::Phase;
use super::sums::LayerSums;
use super::turn::{Bytes, Step, Turn};
use super::waits::{Asked, Waits};

/// Port of DNS over UDP and TCP; multicast DNS and LLMNR have others and are not DNS here.
pub(super) const PORT: u16 = 53;
const HEADER_BYTES: usize = 12;
/// Length in front of each message over TCP (RFC 1035 section 4.2.2).
const LENGTH_BYTES: usize = 2;
/// Query, status, notify, update, stateful operations; 1 is obsolete, 3 and those above 6 were never given out.
const OPCODE_MAX: u16 = 6;

/// Bits of the second word.
const RESPONSE: u16 = 0x8000;
const OPCODE: u16 = 0x7800;
const CODE: u16 = 0x000f;
const SERVER_FAILED: u16 = 2;
pub(super) const NO_ERROR: u16 = 0;
pub(super) const NO_SUCH_NAME: u16 = 3;

/// Number and second word of a header.
fn header(bytes: &[u8]) -> Option<(u16, u16)> {
    let [id_high, id_low, high, low, ..] = *bytes.first_chunk::<HEADER_BYTES>()?;
    let word = u16::from_be_bytes([high, low]);
    ((word & OPCODE) >> 11 <= OPCODE_MAX).then_some((u16::from_be_bytes([id_high, id_low]), word))
}

/// A datagram on port 53; of a response its code.
pub(super) fn datagram(datagram: &Datagram<'_>, waits: &mut Waits, sums: &mut LayerSums) -> Option<u16> {
    let Some((id, word)) = header(datagram.bytes) else {
        sums.count(DnsMalformed);
        return None;
    };
    let (asker, asked, port) = if word & RESPONSE == 0 {
        (datagram.source, datagram.destination, datagram.source_port)
    } else {
        (datagram.destination, datagram.source, datagram.destination_port)
    };
    let key = Waits::key(asker, asked, u64::from(port) << 16 | u64::from(id));
    count(word, key, datagram.ts_ns, waits, sums);
    (word & RESPONSE != 0).then_some(word & CODE)
}

fn count(word: u16, key: u64, now_ns: u64, waits: &mut Waits, sums: &mut LayerSums) {
    if word & RESPONSE == 0 {
        sums.count(DnsQueries);
        match waits.ask(key, now_ns) {
            Asked::Waits => {}
            Asked::Repeated => sums.count(DnsRepeated),
            Asked::Evicted => sums.count(DnsWaitsEvicted),
            Asked::Expired => sums.count(DnsUnanswered),
        }
        return;
    }
    sums.count(DnsResponses);
    match word & CODE {
        0 => {}
        code => {
            sums.count(DnsFailures);
            sums.count(match code {
                SERVER_FAILED => DnsServfail,
                NO_SUCH_NAME => DnsNxdomain,
                _ => DnsOther,
            });
        }
    }
    match waits.answer(key, now_ns) {
        Some(waited_us) => sums.dns_latency_us.record(waited_us),
        None => sums.count(DnsUnasked),
    }
}

/// Whether a stream begins as DNS over TCP does.
pub(super) fn recognise_over_tcp(bytes: &[u8]) -> Recognised {
    if bytes.len() < LENGTH_BYTES + HEADER_BYTES {
        return Recognised::Short;
    }
    match over_tcp(bytes) {
        Some(_) => Recognised::As(Protocol::Dns),
        None => Recognised::Nothing,
    }
}

fn over_tcp(bytes: &[u8]) -> Option<(u32, u16, u16)> {
    let (length, message) = bytes.split_first_chunk::<LENGTH_BYTES>()?;
    let length = u32::from(u16::from_be_bytes(*length));
    let (id, word) = header(message)?;
    (length >= HEADER_BYTES as u32).then_some((length, id, word))
}

/// One message over TCP; the slot stands for both ends, whose addresses are not at hand.
pub(super) fn message(turn: &mut Turn<'_>, bytes: Bytes<'_>) -> Step {
    if bytes.all.len() < LENGTH_BYTES + HEADER_BYTES {
        return Step::Wait;
    }
    let Some((length, id, word)) = over_tcp(bytes.all) else {
        turn.sums.count(DnsMalformed);
        return Step::Over;
    };
    turn.slot.phase[turn.from] = Phase::Dns;
    let key = Waits::key(slot_address(turn.slot_number), [0; 4], u64::from(id));
    count(word, key, turn.ts_ns, turn.dns, turn.sums);
    Step::Took(LENGTH_BYTES as u32 + length)
}

/// No address that a packet has: a multicast source.
const fn slot_address(slot: u32) -> Address {
    [u32::MAX, 0, 0, slot]
}
