//! What is read of a frame before anybody looks anything up: its headers, its flow's key, and where it belongs.
//!
//! The first of three steps that a captured frame takes ([`crate::pipeline`]); it has no state, so any thread can do
//! it for any frame. What it needs of the bytes is in the first two cache lines of most frames.

use tidegauge_capture::frame::CapturedFrame;
use tidegauge_ebpf::counter::{Counter, Counters};
use tidegauge_ebpf::flow::FlowKey;
use tidegauge_ebpf::frame::Frame;
use tidegauge_ebpf::link::LinkType;
use tidegauge_ebpf::observe::Arrival;
use tidegauge_ebpf::observe::totals::{count_headers, count_ordinary, merged_segments, wire_bytes};
use tidegauge_ebpf::packet::{Fragment, Network, Packet, Segment, Transport, ipv4_mapped, tcp_flag};
use tidegauge_ebpf::parse::parse;
use tidegauge_ebpf::parse::quick::{Marks, quick};
use tidegauge_ebpf::settings::Settings;
use tidegauge_ebpf::stamp::Stamp;
use tidegauge_ebpf::tcp::options::Sack;

use crate::layer::{IcmpVersion, QuotedProtocol, quoted};

/// Partitions that the flows of a capture are divided into by their hash. A constant, whatever the number of workers:
/// what a partition holds and gives up must not depend on the machine. It is also the most workers that can follow
/// flows at a time.
pub const PARTITIONS: usize = 8;
/// [`Digest::partition`] of what is not followed.
pub const NOT_FOLLOWED: u8 = PARTITIONS as u8;

/// TCP options behind which SACK can only come: more than the timestamps alone.
const HEADER_WITH_TIMESTAMPS_BYTES: u16 = 32;
const HEADER_BYTES: u16 = 20;
/// Offsets of IPv4's identification and TCP's checksum in their headers.
const IDENTIFICATION_AT: u32 = 4;
const CHECKSUM_AT: u32 = 16;

/// One frame's headers.
#[derive(Clone, Copy, Debug)]
pub struct Digest {
    /// What `parse` says.
    pub packet: Packet,
    /// Both ends, of TCP and UDP; meaningful with these only.
    pub key: FlowKey,
    /// Its hash, equal for both directions.
    pub hash: u64,
    /// Packet time, nanoseconds.
    pub ts_ns: u64,
    /// Bytes on the wire.
    pub wire_bytes: u64,
    /// Segments it stands for.
    pub segments: u32,
    /// What tells the packet from a copy of it, see [`tidegauge_ebpf::tcp::Seen`].
    pub print: u32,
    /// Selective acknowledgments.
    pub sack: Sack,
    /// Who follows it: a partition, or [`NOT_FOLLOWED`].
    pub partition: u8,
    /// Whether its link type is read.
    pub read: bool,
}

impl Digest {
    /// Nothing yet.
    pub const EMPTY: Self = Self {
        packet: Packet::EMPTY,
        key: FlowKey { source: 0, destination: 0 },
        hash: 0,
        ts_ns: 0,
        wire_bytes: 0,
        segments: 1,
        print: 0,
        sack: Sack { blocks: 0, first: (0, 0), second: (0, 0) },
        partition: NOT_FOLLOWED,
        read: true,
    };

    /// Reads a frame, and counts its header facts.
    #[inline(always)]
    pub fn read(&mut self, frame: &CapturedFrame<'_>, settings: &Settings, counters: &mut Counters) {
        let CapturedFrame { ts_ns, link, wire_len, bytes, .. } = *frame;
        self.ts_ns = ts_ns;
        // Only a frame longer than the link allows can be several that were merged.
        let whole_bytes_max = if settings.frame_bytes_max == 0 { u32::MAX } else { settings.frame_bytes_max };
        if let Some(known) = link
            && wire_len <= whole_bytes_max
            && let Some(marks) = quick(bytes, known, wire_len, &mut self.packet)
        {
            self.read_ordinary(bytes, wire_len, marks, settings.seed, counters);
        } else {
            self.read_any(bytes, link, wire_len, settings, counters);
        }
    }

    /// The rest of [`Self::read`] where [`quick`] read the headers, of a frame that stands for itself alone.
    #[inline(always)]
    fn read_ordinary(
        &mut self,
        bytes: &[u8],
        wire_len: u32,
        marks: Marks,
        seed: u64,
        counters: &mut Counters,
    ) {
        self.segments = 1;
        self.read = true;
        self.wire_bytes = u64::from(wire_len);
        count_ordinary(counters, &self.packet, bytes.len(), wire_len);
        self.belongs_to(if self.packet.network == Network::Ipv4 {
            FlowKey::of_ipv4(&self.packet, seed)
        } else {
            FlowKey::of(&self.packet, seed)
        });
        if self.packet.transport == Transport::Tcp {
            self.print = print_of(marks, &self.packet.segment);
            self.read_sack(bytes);
        } else {
            self.joins_its_hosts(seed);
        }
    }

    /// The rest of [`Self::read`] for frames of any shape, out of the way of ordinary ones.
    #[inline(never)]
    fn read_any(
        &mut self,
        bytes: &[u8],
        link: Option<LinkType>,
        wire_len: u32,
        settings: &Settings,
        counters: &mut Counters,
    ) {
        self.partition = NOT_FOLLOWED;
        self.segments = 1;
        self.read = link.is_some();
        let Some(link) = link else {
            counters.add(Counter::Packets, 1);
            counters.add(Counter::Bytes, u64::from(wire_len));
            counters.add(Counter::UnsupportedLink, 1);
            self.packet.clear();
            self.wire_bytes = u64::from(wire_len);
            return;
        };
        parse(bytes, link, wire_len, true, &mut self.packet);
        if settings.frame_bytes_max != 0 {
            self.segments = merged_segments(&self.packet, wire_len, settings.frame_bytes_max);
        }
        let arrival = Arrival {
            now: self.now(),
            link,
            captured_len: u32::try_from(bytes.len()).unwrap_or(u32::MAX),
            wire_len,
            segments: self.segments,
        };
        self.wire_bytes = wire_bytes(&self.packet, &arrival);
        count_headers(bytes, counters, &self.packet, &arrival, self.wire_bytes);
        match self.packet.transport {
            Transport::Tcp => {
                self.belongs_to(FlowKey::of(&self.packet, settings.seed));
                self.print = print(bytes, &self.packet);
                self.read_sack(bytes);
            }
            Transport::Udp => {
                self.belongs_to(FlowKey::of(&self.packet, settings.seed));
                self.joins_its_hosts(settings.seed);
            }
            Transport::Icmp => self.read_icmp(bytes, settings.seed),
            // All of them in one place: there are few, and each stands for itself.
            Transport::None if self.packet.network == Network::Arp => {
                self.partition = 0;
                self.read_arp(bytes);
            }
            Transport::None | Transport::Other => {}
        }
    }

    /// The packet's time as a stamp.
    #[inline]
    pub const fn now(&self) -> Stamp {
        Stamp::from_ns(self.ts_ns)
    }

    /// Bytes from the transport header on.
    #[inline]
    pub fn transport_bytes<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        bytes.get(usize::from(self.packet.transport_offset)..).unwrap_or_default()
    }

    /// Bytes from the network header on.
    #[inline]
    pub fn network_bytes<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        bytes.get(usize::from(self.packet.network_offset)..).unwrap_or_default()
    }

    /// Captured payload of a TCP segment, without what pads the frame.
    #[inline]
    pub fn payload<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        let rest = bytes.get(usize::from(self.packet.payload_offset)..).unwrap_or_default();
        &rest[..rest.len().min(self.packet.segment.payload_bytes as usize)]
    }

    /// Which ICMP it is.
    pub const fn icmp_version(&self) -> IcmpVersion {
        match self.packet.network {
            Network::Ipv6 => IcmpVersion::V6,
            _ => IcmpVersion::V4,
        }
    }

    /// An error goes to the flow that it quotes, anything else to its pair of addresses.
    fn read_icmp(&mut self, bytes: &[u8], seed: u64) {
        if self.packet.fragment == Fragment::Later {
            return;
        }
        let quote = quoted(self.icmp_version(), self.transport_bytes(bytes));
        if let Some(quote) = quote.filter(|quote| quote.protocol == QuotedProtocol::Tcp) {
            let quoted = Packet {
                source: crate::window::address_of(quote.source),
                destination: crate::window::address_of(quote.destination),
                source_port: quote.source_port,
                destination_port: quote.destination_port,
                ..Packet::EMPTY
            };
            self.belongs_to(FlowKey::of(&quoted, seed));
        } else {
            let ends = Packet { source_port: 0, destination_port: 0, ..self.packet };
            self.belongs_to(FlowKey::of(&ends, seed));
        }
    }

    /// Who asks for whom: the protocol addresses of ARP over Ethernet for IPv4 (RFC 826); none where it is another.
    fn read_arp(&mut self, bytes: &[u8]) {
        let at = u32::from(self.packet.network_offset);
        let address = |offset| Frame::u32(bytes, at + offset).map_or([0; 4], ipv4_mapped);
        if Frame::u16(bytes, at + 2) == Some(0x0800) && Frame::u16(bytes, at + 4) == Some(0x0604) {
            (self.packet.source, self.packet.destination) = (address(14), address(24));
        }
    }

    #[inline(always)]
    fn read_sack(&mut self, bytes: &[u8]) {
        let packet = &self.packet;
        let header_bytes = packet.payload_offset.wrapping_sub(packet.transport_offset);
        let without = if packet.segment.timestamp != 0 { HEADER_WITH_TIMESTAMPS_BYTES } else { HEADER_BYTES };
        self.sack = Sack::default();
        if header_bytes > without && !self.packet.segment.has(tcp_flag::SYN) {
            self.sack = sack(bytes, &self.packet);
        }
    }

    /// A resolver takes another port for each query: what it asks of one server is followed in one place, so that one
    /// query can be told from the next try of the same.
    #[inline]
    fn joins_its_hosts(&mut self, seed: u64) {
        if self.packet.source_port == DNS_PORT || self.packet.destination_port == DNS_PORT {
            let ends = Packet { source_port: 0, destination_port: 0, ..self.packet };
            self.partition = partition(FlowKey::of(&ends, seed).hash());
        }
    }

    /// Whether it is the first fragment of a DNS message over UDP.
    pub fn begins_dns(&self) -> bool {
        let Packet { fragment, transport, source_port, destination_port, .. } = self.packet;
        let is_dns = source_port == DNS_PORT || destination_port == DNS_PORT;
        fragment == Fragment::First && transport == Transport::Udp && is_dns
    }

    #[inline(always)]
    fn belongs_to(&mut self, key: FlowKey) {
        self.key = key;
        self.hash = key.hash();
        self.partition = partition(self.hash);
    }
}

/// DNS over UDP.
const DNS_PORT: u16 = 53;

/// Who follows flows of this hash. The lowest bits choose buckets, the upper half is the fingerprint, of which three
/// bits are lost within a partition.
#[inline]
pub const fn partition(hash: u64) -> u8 {
    (hash >> 61) as u8 & (PARTITIONS as u8 - 1)
}

const _: () = assert!(PARTITIONS == 8);

/// [`print_of`] a packet of any shape, 0 where its marks were not captured.
#[inline]
fn print(bytes: &[u8], packet: &Packet) -> u32 {
    let identification = match packet.network {
        Network::Ipv4 => Frame::u16(bytes, u32::from(packet.network_offset) + IDENTIFICATION_AT),
        _ => Some(0),
    };
    let checksum = Frame::u16(bytes, u32::from(packet.transport_offset) + CHECKSUM_AT);
    let (Some(identification), Some(checksum)) = (identification, checksum) else { return 0 };
    print_of(Marks { identification, checksum }, &packet.segment)
}

/// What tells this packet from others, 0 where nothing does: identification and checksum, and the numbers. A host that
/// identifies no packet (always 0) or has no identification (IPv6) may send the same pure ACK twice in a row.
#[inline(always)]
fn print_of(marks: Marks, segment: &Segment) -> u32 {
    let Marks { identification, checksum } = marks;
    let certain = segment.payload_bytes != 0 || segment.flags & (tcp_flag::FIN | tcp_flag::SYN) != 0;
    if identification == 0 && !certain {
        return 0;
    }
    // Multiplied, since all of these change by little from one packet to the next: what is added to one of them must not
    // undo what is added to another.
    let numbers = u64::from(segment.sequence) << 32 | u64::from(segment.acknowledgment);
    let marks = u64::from(identification) << 48 | u64::from(checksum) << 32;
    let word = marks | u64::from(segment.payload_bytes & 0x00ff_ffff) << 8 | u64::from(segment.flags);
    let mixed = (word.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ numbers).wrapping_mul(0xff51_afd7_ed55_8ccd);
    (mixed >> 32) as u32 | 1
}

/// Selective acknowledgments among the options, apart: few segments have other options than timestamps.
#[inline(never)]
fn sack(bytes: &[u8], packet: &Packet) -> Sack {
    let options = u32::from(packet.transport_offset) + u32::from(HEADER_BYTES);
    Sack::read(bytes, options, u32::from(packet.payload_offset))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ETHERNET: [u8; 12] = [2; 12];
    /// To 20 bytes: version 4, a length, an identification, TCP, addresses.
    const IPV4: [u8; 20] = [0x45, 0, 0, 80, 7, 7, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
    /// Ports, numbers, ten words of header, ACK, window, checksum; timestamps; SACK.
    const TCP: [u8; 44] = [
        0, 80, 0x90, 1, 0, 0, 0, 9, 0, 0, 0, 5, 0xb0, 0x10, 1, 0, 3, 3, 0, 0, 1, 1, 8, 10, 0, 0, 0, 1, 0, 0,
        0, 2, 1, 1, 5, 10, 0, 0, 0, 10, 0, 0, 0, 20,
    ];

    fn frame(tagged: bool, version_6: bool) -> Vec<u8> {
        let mut bytes = ETHERNET.to_vec();
        if tagged {
            bytes.extend([0x81, 0, 0, 5]);
        }
        if version_6 {
            bytes.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 60, 6, 64]);
            bytes.extend([3; 32]);
        } else {
            bytes.extend([8, 0]);
            bytes.extend(IPV4);
        }
        bytes.extend(TCP);
        bytes.extend([0; 16]);
        bytes
    }

    #[test]
    fn packets_that_follow_each_other_are_no_copies() {
        // Where the host leaves the checksum to the card it is the same for all.
        let print = |identification, acknowledgment, payload_bytes| {
            let segment = Segment { acknowledgment, payload_bytes, flags: 0x10, ..Packet::EMPTY.segment };
            print_of(Marks { identification, checksum: 0xae6a }, &segment)
        };
        let first = print(7, 1_484_362_065, 0);
        for more in 1..100_000 {
            assert_ne!(print(8, 1_484_362_065 + more, 0), first, "{more}");
            assert_ne!(print(7, 1_484_362_065 + more, more), first, "{more}");
        }
        assert_eq!(print(7, 1_484_362_065, 0), first);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_short_way_gives_the_digest_of_the_long_one(
            kinds in any::<[bool; 2]>(),
            changes in proptest::collection::vec((12_usize..100, prop_oneof![any::<u8>(), Just(0), Just(17)]), 0..4),
            captured_len in 40_usize..140,
            wire_more in 0_u32..3_000,
            frame_bytes_max in prop::sample::select(vec![0_u32, 80, 1_514]),
        ) {
            let mut bytes = frame(kinds[0], kinds[1]);
            for (at, value) in changes {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = value;
                }
            }
            bytes.truncate(captured_len);
            let wire_len = bytes.len() as u32 + wire_more;
            let link = Some(LinkType::Ethernet);
            let settings = Settings { frame_bytes_max, ..Settings::with_seed(7) };
            let (mut short, mut long) = (Digest::EMPTY, Digest { ts_ns: 5, ..Digest::EMPTY });
            let (mut short_counters, mut long_counters) = (Counters::default(), Counters::default());
            let captured = CapturedFrame { ts_ns: 5, dlt: 1, link, wire_len, bytes: &bytes };
            short.read(&captured, &settings, &mut short_counters);
            long.read_any(&bytes, link, wire_len, &settings, &mut long_counters);
            prop_assert_eq!(format!("{short:?}"), format!("{long:?}"));
            prop_assert_eq!(short_counters, long_counters);
        }
    }
}
