//! ICMP (RFC 792) and ICMPv6 (RFC 4443): echo round trips, errors, and what errors quote.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};
use tidegauge_ebpf::frame::{Frame, Header};

use super::counter::LayerCounter::*;
use super::message::{IcmpMessage, IcmpVersion};
use super::sums::LayerSums;
use super::waits::{Asked, Waits};

/// Header of every ICMP error, behind which the quoted packet begins.
const HEADER_BYTES: usize = 8;

/// What an ICMP error says of the packet it quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QuoteKind {
    /// It could not be delivered; the code says why.
    Unreachable {
        /// As the ICMP version at hand numbers it.
        code: u8,
    },
    /// Its hops, or the time for its fragments, ran out.
    TtlExceeded {
        /// 0: hops, 1: fragments.
        code: u8,
    },
    /// It was too big for a link; 0 where an old router does not say for which size.
    TooBig {
        /// Bytes that would have passed.
        mtu: u32,
    },
    /// It should take another way.
    Redirect,
    /// One of its header fields is wrong.
    ParameterProblem,
    /// It came too fast (RFC 6633: no longer used).
    SourceQuench,
}

/// Transport of a quoted packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum QuotedProtocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// The packet an ICMP error quotes, in the direction in which it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quote {
    /// Its transport.
    pub protocol: QuotedProtocol,
    /// Who sent it.
    pub source: IpAddr,
    /// To whom.
    pub destination: IpAddr,
    /// Sender's port.
    pub source_port: u16,
    /// Receiver's port.
    pub destination_port: u16,
    /// TCP sequence number.
    pub sequence: Option<u32>,
    /// What is said of it.
    pub kind: QuoteKind,
}

/// What a message is.
enum Kind {
    EchoRequest,
    EchoReply,
    Error(QuoteKind),
    Other,
}

fn kind_of(version: IcmpVersion, header: [u8; HEADER_BYTES]) -> Kind {
    let [kind, code, ..] = header;
    let word = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
    match (version, kind) {
        (IcmpVersion::V4, 8) | (IcmpVersion::V6, 128) => Kind::EchoRequest,
        (IcmpVersion::V4, 0) | (IcmpVersion::V6, 129) => Kind::EchoReply,
        // RFC 1191: the MTU is in the lower half.
        (IcmpVersion::V4, 3) if code == 4 => Kind::Error(QuoteKind::TooBig { mtu: word & 0xffff }),
        (IcmpVersion::V4, 3) | (IcmpVersion::V6, 1) => Kind::Error(QuoteKind::Unreachable { code }),
        (IcmpVersion::V4, 11) | (IcmpVersion::V6, 3) => Kind::Error(QuoteKind::TtlExceeded { code }),
        (IcmpVersion::V6, 2) => Kind::Error(QuoteKind::TooBig { mtu: word }),
        (IcmpVersion::V4, 5) => Kind::Error(QuoteKind::Redirect),
        (IcmpVersion::V4, 12) | (IcmpVersion::V6, 4) => Kind::Error(QuoteKind::ParameterProblem),
        (IcmpVersion::V4, 4) => Kind::Error(QuoteKind::SourceQuench),
        _ => Kind::Other,
    }
}

/// Counts a message; echoes wait in `waits`.
pub(super) fn count(message: &IcmpMessage<'_>, waits: &mut Waits, sums: &mut LayerSums) {
    let Some(header) = message.bytes.first_chunk::<HEADER_BYTES>() else { return sums.count(IcmpMalformed) };
    match kind_of(message.version, *header) {
        Kind::EchoRequest => {
            sums.count(IcmpEchoRequests);
            let key = Waits::key(message.source, message.destination, echo_of(header));
            match waits.ask(key, message.ts_ns) {
                Asked::Waits | Asked::Repeated => {}
                Asked::Evicted => sums.count(IcmpWaitsEvicted),
                Asked::Expired => sums.count(IcmpEchoUnanswered),
            }
        }
        Kind::EchoReply => {
            sums.count(IcmpEchoReplies);
            let key = Waits::key(message.destination, message.source, echo_of(header));
            match waits.answer(key, message.ts_ns) {
                Some(waited_us) => sums.icmp_rtt_us.record(waited_us),
                None => sums.count(IcmpEchoUnasked),
            }
        }
        Kind::Error(kind) => count_error(message.version, kind, sums),
        Kind::Other => sums.count(IcmpOther),
    }
}

/// Identifier and sequence number.
fn echo_of(header: &[u8; HEADER_BYTES]) -> u64 {
    u64::from(header.u32(4))
}

fn count_error(version: IcmpVersion, kind: QuoteKind, sums: &mut LayerSums) {
    match kind {
        QuoteKind::Unreachable { .. } => sums.count(IcmpUnreachable),
        QuoteKind::TtlExceeded { .. } => sums.count(IcmpTtlExceeded),
        QuoteKind::TooBig { .. } => {
            sums.count(IcmpTooBig);
            if version == IcmpVersion::V4 {
                sums.count(IcmpUnreachable);
            }
        }
        QuoteKind::Redirect => sums.count(IcmpRedirects),
        QuoteKind::ParameterProblem | QuoteKind::SourceQuench => sums.count(IcmpOther),
    }
}

/// The five-tuple quoted by an ICMP error, if it quotes TCP or UDP with ports; bytes from the ICMP header on.
pub fn quoted(version: IcmpVersion, bytes: &[u8]) -> Option<Quote> {
    let (header, packet) = bytes.split_first_chunk::<HEADER_BYTES>()?;
    let Kind::Error(kind) = kind_of(version, *header) else { return None };
    let (source, destination, number, transport) = match version {
        IcmpVersion::V4 => quoted_v4(packet)?,
        IcmpVersion::V6 => quoted_v6(packet)?,
    };
    let protocol = match number {
        6 => QuotedProtocol::Tcp,
        17 => QuotedProtocol::Udp,
        _ => return None,
    };
    let ports = transport.header::<4>(0)?;
    let sequence = if protocol == QuotedProtocol::Tcp { Frame::u32(transport, 4) } else { None };
    Some(Quote {
        protocol,
        source,
        destination,
        source_port: ports.u16(0),
        destination_port: ports.u16(2),
        sequence,
        kind,
    })
}

/// From where to where the packet went that an ICMP error quotes, whatever its transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuotedRoute {
    /// What is said of it.
    pub kind: QuoteKind,
    /// Who sent it.
    pub source: IpAddr,
    /// To whom.
    pub destination: IpAddr,
    /// IP protocol number.
    pub protocol: u8,
    /// Of TCP and UDP.
    pub destination_port: Option<u16>,
}

/// The route of the packet quoted by an ICMP error; bytes from the ICMP header on.
pub fn quoted_route(version: IcmpVersion, bytes: &[u8]) -> Option<QuotedRoute> {
    let (header, packet) = bytes.split_first_chunk::<HEADER_BYTES>()?;
    let Kind::Error(kind) = kind_of(version, *header) else { return None };
    let (source, destination, protocol, transport) = match version {
        IcmpVersion::V4 => quoted_v4(packet)?,
        IcmpVersion::V6 => quoted_v6(packet)?,
    };
    let destination_port = if matches!(protocol, 6 | 17) { Frame::u16(transport, 2) } else { None };
    Some(QuotedRoute { kind, source, destination, protocol, destination_port })
}

type Quoted<'a> = (IpAddr, IpAddr, u8, &'a [u8]);

fn quoted_v4(packet: &[u8]) -> Option<Quoted<'_>> {
    let header = packet.header::<20>(0)?;
    let header_bytes = usize::from(header.u8(0) & 0x0f) * 4;
    let is_first = header.u16(6) & 0x1fff == 0;
    if header.u8(0) >> 4 != 4 || header_bytes < 20 || !is_first {
        return None;
    }
    let address = |at| IpAddr::V4(Ipv4Addr::from_bits(header.u32(at)));
    Some((address(12), address(16), header.u8(9), packet.get(header_bytes..)?))
}

/// Extension headers passed at most, as in the packet logic.
const EXTENSIONS_MAX: usize = 8;

fn quoted_v6(packet: &[u8]) -> Option<Quoted<'_>> {
    let (header, mut rest) = packet.split_first_chunk::<40>()?;
    if header[0] >> 4 != 6 {
        return None;
    }
    let address = |at: usize| {
        let bytes: Option<&[u8; 16]> = header.get(at..).and_then(<[u8]>::first_chunk);
        bytes.map(|bytes| IpAddr::V6(Ipv6Addr::from(*bytes)))
    };
    let mut number = header[6];
    for _ in 0..EXTENSIONS_MAX {
        let bytes = match number {
            // Hop-by-hop options, routing, destination options.
            0 | 43 | 60 => usize::from(*rest.get(1)?) * 8 + 8,
            // A fragment that is not the first has no transport header.
            44 if Frame::u16(rest, 2)? >> 3 == 0 => 8,
            44 => return None,
            _ => return Some((address(8)?, address(24)?, number, rest)),
        };
        number = *rest.first()?;
        rest = rest.get(bytes..)?;
    }
    None
}
