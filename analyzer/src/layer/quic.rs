//! QUIC by what no encryption hides: the version-independent bytes of long headers (RFC 8999), packet types of
//! versions 1 and 2 (RFC 9000 section 17, RFC 9369 section 3.2), Version Negotiation and Retry.
//!
//! Google's versions before the standard are recognised by their version's text.
//!
//! A short header says nothing of itself: it counts as QUIC in a flow of which a long header was seen. Those flows are
//! remembered in a small table of hashes, the oldest of a set forgotten first.

use super::counter::LayerCounter::*;
use super::message::Datagram;
use super::sums::LayerSums;
use super::version::Version;
use super::waits::mix_address;

/// QUIC flows of the last moments: 16,384 of them in 128 KiB.
const SETS: usize = 2_048;
const WAYS: usize = 8;

/// HTTP/3.
const PORT: u16 = 443;
const LONG: u8 = 0x80;
const FIXED: u8 = 0x40;
/// RFC 9000 section 17.2: connection IDs of version 1 and 2, and of all drafts from 22 on.
const ID_BYTES_MAX: u8 = 20;
/// Coalesced packets read of one datagram: Initial, 0-RTT, Handshake and 1-RTT are four.
const PACKETS_MAX: usize = 8;
/// RFC 9000 section 14.1: a client's first datagram is at least so long; kept low because servers' may be shorter.
const LONG_BYTES_MIN: usize = 7;

/// Flows in which QUIC was seen; newest first in each set.
pub(super) struct QuicFlows {
    sets: Box<[[u64; WAYS]]>,
}

impl QuicFlows {
    pub(super) fn new() -> Self {
        Self { sets: vec![[0; WAYS]; SETS].into_boxed_slice() }
    }

    pub(super) fn allocated_bytes(&self) -> usize {
        size_of_val(&*self.sets)
    }

    /// The same for both directions, never 0.
    fn key(datagram: &Datagram<'_>) -> u64 {
        let ends = [
            mix_address(datagram.source, u64::from(datagram.source_port)),
            mix_address(datagram.destination, u64::from(datagram.destination_port)),
        ];
        ends[0].wrapping_add(ends[1]) | 1
    }

    fn set(&mut self, key: u64) -> Option<&mut [u64; WAYS]> {
        self.sets.get_mut((key >> 32) as usize % SETS)
    }

    fn knows(&mut self, key: u64) -> bool {
        self.set(key).is_some_and(|set| set.contains(&key))
    }

    /// Remembers a flow.
    fn learn(&mut self, key: u64, sums: &mut LayerSums) {
        let Some(set) = self.set(key) else { return };
        let place = set.iter().position(|known| *known == key).unwrap_or(WAYS - 1);
        let forgotten = std::mem::replace(&mut set[place], key);
        if forgotten != key && forgotten != 0 {
            sums.count(QuicFlowsEvicted);
        }
        set[..=place].rotate_right(1);
    }
}

/// What a long header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct LongHeader {
    kind: Kind,
    version: u32,
    /// Bytes of the packet, `None` where it reaches to the datagram's end.
    packet_bytes: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Initial,
    ZeroRtt,
    Handshake,
    Retry,
    VersionNegotiation,
    /// A version whose types are not known.
    Unknown,
}

/// Counts a datagram if it is QUIC.
#[inline]
pub(super) fn datagram(datagram: &Datagram<'_>, flows: &mut QuicFlows, sums: &mut LayerSums) {
    let Some(first) = datagram.bytes.first() else { return };
    let on_port = datagram.source_port == PORT || datagram.destination_port == PORT;
    if first & LONG != 0 {
        long(datagram, flows, sums);
    } else if on_port && google_version(datagram.bytes) {
        let key = QuicFlows::key(datagram);
        if !flows.knows(key) {
            sums.versions.add(Version::QuicGoogle);
        }
        flows.learn(key, sums);
        count_one(sums);
    } else if (on_port || first & FIXED != 0) && flows.knows(QuicFlows::key(datagram)) {
        count_one(sums);
    }
}

fn count_one(sums: &mut LayerSums) {
    sums.count(QuicDatagrams);
    sums.count(QuicPackets);
}

/// The header of Google's versions up to Q043: flags (a version, a connection ID of eight bytes), the ID, the version.
fn google_version(bytes: &[u8]) -> bool {
    let flags = bytes.first().is_some_and(|flags| flags & 0x09 == 0x09);
    flags && matches!(bytes.get(9..13), Some([b'Q', b'0', b'0'..=b'9', b'0'..=b'9']))
}

fn long(datagram: &Datagram<'_>, flows: &mut QuicFlows, sums: &mut LayerSums) {
    let Some(first) = long_header(datagram.bytes) else { return };
    // An unknown version, and Version Negotiation, are believed on the port of HTTP/3 only.
    let known = Version::of_quic(first.version) != Version::QuicOther;
    let on_port = datagram.source_port == PORT || datagram.destination_port == PORT;
    if !known && !on_port {
        return;
    }
    let key = QuicFlows::key(datagram);
    let in_flow = flows.knows(key);
    flows.learn(key, sums);
    sums.count(QuicDatagrams);
    if !in_flow && first.kind != Kind::VersionNegotiation {
        sums.versions.add(Version::of_quic(first.version));
    }
    count_packets(datagram.bytes, sums);
}

fn count_packets(bytes: &[u8], sums: &mut LayerSums) {
    let mut rest = bytes;
    for _ in 0..PACKETS_MAX {
        let Some(first) = rest.first() else { return };
        // What pads a datagram is no packet.
        if first & FIXED == 0 && rest.len() != bytes.len() {
            return;
        }
        sums.count(QuicPackets);
        let Some(header) = long_header(rest) else { return };
        match header.kind {
            Kind::Initial => sums.count(QuicInitials),
            Kind::ZeroRtt => sums.count(QuicZeroRtt),
            Kind::Retry => sums.count(QuicRetries),
            Kind::VersionNegotiation => sums.count(QuicVersionNegotiations),
            Kind::Handshake | Kind::Unknown => {}
        }
        let behind = header.packet_bytes.and_then(|len| rest.get(len..));
        rest = behind.unwrap_or_default();
    }
}

/// The long header at the beginning of `bytes`, if it is one.
fn long_header(bytes: &[u8]) -> Option<LongHeader> {
    let [first, a, b, c, d, destination_bytes, behind @ ..] = bytes else { return None };
    if first & LONG == 0 || bytes.len() < LONG_BYTES_MIN {
        return None;
    }
    let version = u32::from_be_bytes([*a, *b, *c, *d]);
    let family = Version::of_quic(version);
    if family == Version::QuicGoogle {
        // Its header up to Q043 has other bits and lengths; the version's text is mark enough.
        return Some(LongHeader { kind: Kind::Unknown, version, packet_bytes: None });
    }
    let limit = if version == 0 { u8::MAX } else { ID_BYTES_MAX };
    if *destination_bytes > limit || (version != 0 && first & FIXED == 0) {
        return None;
    }
    let behind = behind.get(usize::from(*destination_bytes)..)?;
    let (source_bytes, behind) = behind.split_first()?;
    if *source_bytes > limit {
        return None;
    }
    let behind = behind.get(usize::from(*source_bytes)..)?;
    let kind = kind_of(*first, version, family);
    let packet_bytes = packet_bytes(kind, bytes.len() - behind.len(), behind);
    Some(LongHeader { kind, version, packet_bytes })
}

fn kind_of(first: u8, version: u32, family: Version) -> Kind {
    let kinds = match (version, family) {
        (0, _) => return Kind::VersionNegotiation,
        (_, Version::QuicV1 | Version::QuicDraft) => {
            [Kind::Initial, Kind::ZeroRtt, Kind::Handshake, Kind::Retry]
        }
        (_, Version::QuicV2) => [Kind::Retry, Kind::Initial, Kind::ZeroRtt, Kind::Handshake],
        _ => return Kind::Unknown,
    };
    kinds[usize::from(first >> 4 & 3)]
}

/// Length of a packet that says it: its token (of an Initial) and the Length field (RFC 9000 section 17.2.2).
fn packet_bytes(kind: Kind, header_bytes: usize, behind: &[u8]) -> Option<usize> {
    let mut at = 0;
    match kind {
        Kind::Initial => {
            let (token_bytes, field_bytes) = variable_length(behind)?;
            at = field_bytes + usize::try_from(token_bytes).ok()?.min(behind.len());
        }
        Kind::ZeroRtt | Kind::Handshake => {}
        Kind::Retry | Kind::VersionNegotiation | Kind::Unknown => return None,
    }
    let (payload_bytes, field_bytes) = variable_length(behind.get(at..)?)?;
    let payload_bytes = usize::try_from(payload_bytes).ok()?.min(usize::from(u16::MAX));
    Some(header_bytes + at + field_bytes + payload_bytes)
}

/// RFC 9000 section 16: value and bytes of an integer.
fn variable_length(bytes: &[u8]) -> Option<(u64, usize)> {
    let first = bytes.first()?;
    let len = 1 << (first >> 6);
    let rest = bytes.get(1..len)?;
    let value = rest.iter().fold(u64::from(first & 0x3f), |value, byte| value << 8 | u64::from(*byte));
    Some((value, len))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(datagrams: &[&[u8]], ports: (u16, u16)) -> LayerSums {
        let (mut flows, mut sums) = (QuicFlows::new(), LayerSums::default());
        for bytes in datagrams {
            let (source_port, destination_port) = ports;
            let part = Datagram {
                source: [1; 4],
                destination: [2; 4],
                source_port,
                destination_port,
                bytes,
                ts_ns: 0,
            };
            datagram(&part, &mut flows, &mut sums);
        }
        sums
    }

    fn counts(sums: &LayerSums) -> [u64; 5] {
        [QuicDatagrams, QuicPackets, QuicInitials, QuicRetries, QuicVersionNegotiations]
            .map(|counter| sums.get(counter))
    }

    /// An Initial with an empty token and two bytes of payload, then a Handshake packet of three.
    const COALESCED: &[u8] = b"\xc0\0\0\0\x01\x02ab\x01c\x00\x02xx\xe0\0\0\0\x01\x02ab\x01c\x03yyy\x41short";

    #[test]
    fn coalesced_packets_and_short_headers_of_their_flow() {
        let sums = seen(&[b"\x41early", COALESCED, b"\x41short"], (9, 9));
        assert_eq!(counts(&sums), [2, 4, 1, 0, 0]);
        assert_eq!(sums.versions.get(Version::QuicV1), 1);
    }

    #[test]
    fn version_2_numbers_its_types_differently() {
        let mut retry = b"\xc0\x6b\x33\x43\xcf\x00\x00token".to_vec();
        let sums = seen(&[&retry], (1, 443));
        assert_eq!(counts(&sums), [1, 1, 0, 1, 0]);
        retry[0] = 0xd0;
        assert_eq!(counts(&seen(&[&retry], (1, 443)))[2], 1);
    }

    #[test]
    fn version_negotiation_needs_the_port() {
        let negotiation = b"\x8a\0\0\0\0\x00\x00\0\0\0\x01";
        assert_eq!(counts(&seen(&[negotiation], (7, 443))), [1, 1, 0, 0, 1]);
        assert_eq!(counts(&seen(&[negotiation], (7, 9))), [0; 5]);
    }
}
