//! Addresses in a frame: hardware, ARP, IP, IP in IP and GRE, and headers that ICMP errors quote.
//!
//! Only what is understood is kept. A frame ends behind the last header that was read here, since payload may tell
//! addresses (DNS, HTTP, SIP, neighbour discovery), and so do headers of protocols that this walk does not know. Options
//! of IP and TCP are blanked but for those that cannot carry an address. Checksums of IP, TCP, UDP and ICMP are adjusted
//! by what changed (RFC 1624): one that was right is right afterwards, one that was wrong stays wrong.

use tidegauge_ebpf::link::LinkType;

use super::Anonymiser;

/// Headers in one another at most, as in the packet logic.
const LAYERS_MAX: usize = 8;
/// EtherTypes.
const IPV4: u16 = 0x0800;
const ARP: u16 = 0x0806;
const IPV6: u16 = 0x86dd;
const VLAN_TAGS: [u16; 3] = [0x8100, 0x88a8, 0x9100];
/// Bytes of IPv4 and IPv6 headers without options, and where their addresses are.
const IPV4_BYTES: usize = 20;
const IPV6_BYTES: usize = 40;
const IPV4_ADDRESSES: [usize; 2] = [12, 16];
const IPV6_ADDRESSES: [usize; 2] = [8, 24];
const IPV4_CHECKSUM_AT: usize = 10;
/// TCP options that carry no address: end, no operation, MSS, window scale, SACK (permitted), timestamps.
const TCP_OPTIONS: [u8; 6] = [2, 3, 4, 5, 8, 1];
const NO_OPERATION: u8 = 1;
/// Bytes of an ARP packet of IPv4 over Ethernet.
const ARP_BYTES: usize = 28;

impl Anonymiser {
    /// Rewrites a frame in place; returns how many of its bytes may be kept.
    pub fn frame(&self, bytes: &mut [u8], link: LinkType) -> usize {
        let (mut start, mut kind) = match link {
            LinkType::Ethernet => {
                for address in bytes.chunks_exact_mut(6).take(2) {
                    self.hardware_at(address);
                }
                (14, word(bytes, 12))
            }
            LinkType::LinuxSll => {
                if let Some(address) = bytes.get_mut(6..14) {
                    self.hardware_at(address);
                }
                (16, word(bytes, 14))
            }
            LinkType::LinuxSll2 => {
                if let Some(address) = bytes.get_mut(12..20) {
                    self.hardware_at(address);
                }
                (20, word(bytes, 0))
            }
            LinkType::Loopback => (4, version_at(bytes, 4)),
            LinkType::Ip => (0, version_at(bytes, 0)),
            // Their headers are not rewritten, so nothing of them is kept.
            LinkType::CiscoHdlc
            | LinkType::Fddi
            | LinkType::FrameRelay
            | LinkType::Ieee80211
            | LinkType::NetfilterLog
            | LinkType::Ppp
            | LinkType::Radiotap
            | LinkType::Slip => return 0,
        };
        while let Some(tag) = kind
            && VLAN_TAGS.contains(&tag)
        {
            (start, kind) = (start + 4, word(bytes, start + 2));
        }
        let start = start.min(bytes.len());
        start + self.packet(&mut bytes[start..], kind.unwrap_or(0), LAYERS_MAX)
    }

    /// The first six bytes of a hardware address.
    fn hardware_at(&self, bytes: &mut [u8]) {
        if let Some(address) = bytes.first_chunk_mut::<6>() {
            *address = self.hardware(*address);
        }
    }

    /// Rewrites what an EtherType names; returns how much of it is kept. So do all below.
    fn packet(&self, bytes: &mut [u8], kind: u16, layers: usize) -> usize {
        match kind {
            _ if layers == 0 => 0,
            ARP => self.arp(bytes),
            IPV4 => self.ipv4_packet(bytes, layers - 1),
            IPV6 => self.ipv6_packet(bytes, layers - 1),
            _ => 0,
        }
    }

    fn arp(&self, bytes: &mut [u8]) -> usize {
        // IPv4 over Ethernet; nothing else is spoken.
        if bytes.len() < ARP_BYTES || bytes[..6] != [0, 1, 8, 0, 6, 4] {
            return 0;
        }
        for at in [8, 18] {
            self.hardware_at(&mut bytes[at..]);
        }
        for at in [14, 24] {
            self.address_at(&mut bytes[at..at + 4]);
        }
        ARP_BYTES
    }

    /// An address of four or sixteen bytes.
    fn address_at(&self, bytes: &mut [u8]) {
        if let Ok(address) = <[u8; 4]>::try_from(&*bytes) {
            bytes.copy_from_slice(&self.ipv4(u32::from_be_bytes(address)).to_be_bytes());
        } else if let Ok(address) = <[u8; 16]>::try_from(&*bytes) {
            bytes.copy_from_slice(&self.bits(u128::from_be_bytes(address), 128).to_be_bytes());
        }
    }

    fn ipv4_packet(&self, bytes: &mut [u8], layers: usize) -> usize {
        if bytes.len() < IPV4_BYTES || bytes[0] >> 4 != 4 {
            return 0;
        }
        let header_bytes = usize::from(bytes[0] & 0x0f) * 4;
        if !(IPV4_BYTES..=bytes.len()).contains(&header_bytes) {
            return 0;
        }
        let before = sum(&bytes[..header_bytes]);
        let addresses_before = sum(&bytes[12..IPV4_BYTES]);
        for at in IPV4_ADDRESSES {
            self.address_at(&mut bytes[at..at + 4]);
        }
        // Record route and source routes are lists of addresses.
        bytes[IPV4_BYTES..header_bytes].fill(NO_OPERATION);
        let after = sum(&bytes[..header_bytes]);
        adjust(&mut bytes[IPV4_CHECKSUM_AT..], before, after);
        let addresses = (addresses_before, sum(&bytes[12..IPV4_BYTES]));
        let (is_later, protocol) = (word(bytes, 6).is_some_and(|word| word & 0x1fff != 0), bytes[9]);
        if is_later {
            return header_bytes;
        }
        header_bytes + self.transport(&mut bytes[header_bytes..], protocol, addresses, layers)
    }

    fn ipv6_packet(&self, bytes: &mut [u8], layers: usize) -> usize {
        if bytes.len() < IPV6_BYTES || bytes[0] >> 4 != 6 {
            return 0;
        }
        let before = sum(&bytes[8..IPV6_BYTES]);
        for at in IPV6_ADDRESSES {
            self.address_at(&mut bytes[at..at + 16]);
        }
        let addresses = (before, sum(&bytes[8..IPV6_BYTES]));
        let (mut start, mut protocol) = (IPV6_BYTES, bytes[6]);
        for _ in 0..LAYERS_MAX {
            let Some(&[following, length]) = bytes.get(start..).and_then(<[u8]>::first_chunk) else {
                return start;
            };
            let header_bytes = match protocol {
                // Hop-by-hop and destination options: what they tell is replaced by padding.
                0 | 60 => usize::from(length) * 8 + 8,
                44 => 8,
                // A routing header is a list of addresses.
                43 => return start,
                _ => break,
            };
            let Some(header) = bytes.get_mut(start..start + header_bytes) else { return start };
            if protocol == 44 {
                let is_later = word(header, 2).is_some_and(|word| word & 0xfff8 != 0);
                if is_later {
                    return start + header_bytes;
                }
            } else {
                header[2..].fill(0);
            }
            (start, protocol) = (start + header_bytes, following);
        }
        start + self.transport(&mut bytes[start..], protocol, addresses, layers)
    }

    /// Rewrites the payload of an IP packet; `addresses` are the sums of its addresses before and after.
    fn transport(&self, bytes: &mut [u8], protocol: u8, addresses: (u32, u32), layers: usize) -> usize {
        match protocol {
            1 | 58 => self.icmp(bytes, protocol, addresses, layers),
            4 => self.packet(bytes, IPV4, layers),
            41 => self.packet(bytes, IPV6, layers),
            6 => tcp(bytes, addresses),
            17 => {
                let kept = bytes.len().min(8);
                // Zero means that there is none.
                if word(bytes, 6).is_some_and(|checksum| checksum != 0) {
                    adjust(&mut bytes[6..], addresses.0, addresses.1);
                    if word(bytes, 6) == Some(0) {
                        bytes[6..8].fill(0xff);
                    }
                }
                kept
            }
            47 => self.gre(bytes, layers),
            _ => 0,
        }
    }

    /// GRE without a checksum (RFC 2890), around IP.
    fn gre(&self, bytes: &mut [u8], layers: usize) -> usize {
        let (Some(flags), Some(kind)) = (word(bytes, 0), word(bytes, 2)) else { return 0 };
        let header_bytes = 4 + [0x2000, 0x1000].iter().filter(|flag| flags & **flag != 0).count() * 4;
        if flags & 0xc007 != 0 || header_bytes > bytes.len() {
            return 0;
        }
        header_bytes + self.packet(&mut bytes[header_bytes..], kind, layers)
    }

    /// ICMP: its header, and of errors what they quote.
    fn icmp(&self, bytes: &mut [u8], protocol: u8, addresses: (u32, u32), layers: usize) -> usize {
        let is_v4 = protocol == 1;
        if bytes.len() < 8 {
            return 0;
        }
        let before = sum(&bytes[4..]);
        let kept = match (is_v4, bytes[0]) {
            (true, 3 | 4 | 11 | 12) => 8 + self.packet(&mut bytes[8..], IPV4, layers),
            // A redirect names a router.
            (true, 5) => {
                self.address_at(&mut bytes[4..8]);
                8 + self.packet(&mut bytes[8..], IPV4, layers)
            }
            (false, 1..=4) => 8 + self.packet(&mut bytes[8..], IPV6, layers),
            _ => 8,
        };
        let after = sum(&bytes[4..]);
        adjust(&mut bytes[2..], before, after);
        if !is_v4 {
            adjust(&mut bytes[2..], addresses.0, addresses.1);
        }
        kept
    }
}

/// TCP's header; options that could carry an address become nothing.
fn tcp(bytes: &mut [u8], addresses: (u32, u32)) -> usize {
    let header_bytes = bytes.get(12).map_or(0, |offset| usize::from(offset >> 4) * 4);
    let there = header_bytes.min(bytes.len());
    // An ICMP error quotes eight bytes of it.
    if there < 20 {
        adjust(bytes.get_mut(16..).unwrap_or_default(), addresses.0, addresses.1);
        return if header_bytes == 0 { bytes.len().min(12) } else { there };
    }
    let before = sum(&bytes[..there]);
    blank_options(&mut bytes[20..there]);
    let after = sum(&bytes[..there]);
    adjust(&mut bytes[16..], before, after);
    adjust(&mut bytes[16..], addresses.0, addresses.1);
    there
}

fn blank_options(mut options: &mut [u8]) {
    while let Some(&kind) = options.first() {
        let length = match kind {
            0 => return options.fill(0),
            NO_OPERATION => 1,
            // One that is not whole is blanked.
            _ => {
                options.get(1).map_or(options.len(), |length| usize::from(*length).max(2)).min(options.len())
            }
        };
        let (option, rest) = options.split_at_mut(length);
        if !TCP_OPTIONS.contains(&kind) {
            option.fill(NO_OPERATION);
        }
        options = rest;
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..).and_then(<[u8]>::first_chunk).map(|word| u16::from_be_bytes(*word))
}

/// The EtherType of IP by its version.
fn version_at(bytes: &[u8], at: usize) -> Option<u16> {
    match bytes.get(at)? >> 4 {
        4 => Some(IPV4),
        6 => Some(IPV6),
        _ => None,
    }
}

/// The bytes' sum as 16-bit words in one's complement.
fn sum(bytes: &[u8]) -> u32 {
    let words =
        bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |low| u32::from(*low)));
    folded(words.fold(0, u32::wrapping_add))
}

fn folded(mut sum: u32) -> u32 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum
}

/// Corrects a checksum for what it covers having changed its sum (RFC 1624, equation 3).
fn adjust(checksum: &mut [u8], before: u32, after: u32) {
    let Some(old) = word(checksum, 0) else { return };
    if before == after {
        return;
    }
    let sum = folded(u32::from(!old) + (0xffff - before) + after);
    checksum[..2].copy_from_slice(&(!(sum as u16)).to_be_bytes());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::SAMPLE_KEY;
    use super::*;

    const SOURCE: [u8; 16] = *b"\x20\x01\x0d\xb8secretsecret";
    const DESTINATION: [u8; 16] = *b"\x20\x01\x0d\xb8hiddenhidden";

    /// An IPv6 header before so many bytes of a protocol.
    fn ipv6(protocol: u8, payload: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x60, 0, 0, 0, 0, payload.len() as u8, protocol, 64];
        packet.extend(SOURCE);
        packet.extend(DESTINATION);
        packet.extend(payload);
        packet
    }

    /// Sum of a payload of IPv6 with its pseudo-header; 0xffff: its checksum is right.
    fn covered(packet: &[u8], protocol: u8) -> u32 {
        let payload = &packet[IPV6_BYTES..];
        folded(sum(&packet[8..IPV6_BYTES]) + sum(payload) + payload.len() as u32 + u32::from(protocol))
    }

    fn set_checksum(packet: &mut [u8], at: usize, protocol: u8) {
        let sum = covered(packet, protocol);
        packet[IPV6_BYTES + at..IPV6_BYTES + at + 2].copy_from_slice(&(!(sum as u16)).to_be_bytes());
        assert_eq!(covered(packet, protocol), 0xffff);
    }

    fn has(bytes: &[u8], secret: &[u8]) -> bool {
        bytes.windows(secret.len()).any(|window| window == secret)
    }

    #[test]
    fn an_error_and_what_it_quotes_keep_right_checksums() {
        let mut quote = ipv6(17, &[0x30, 0x39, 0, 53, 0, 8, 0, 0]);
        set_checksum(&mut quote, 6, 17);
        let mut error = ipv6(58, &[&[3, 0, 0, 0, 0, 0, 0, 0][..], &quote].concat());
        set_checksum(&mut error, 2, 58);
        let kept = Anonymiser::new(&SAMPLE_KEY).frame(&mut error, LinkType::Ip);
        assert_eq!(kept, error.len());
        assert!(!has(&error, &SOURCE[4..]) && !has(&error, &DESTINATION[4..]));
        assert_eq!(covered(&error, 58), 0xffff);
        assert_eq!(covered(&error[IPV6_BYTES + 8..], 17), 0xffff);
        // The same address has one image.
        assert_eq!(error[8..IPV6_BYTES], error[IPV6_BYTES + 16..IPV6_BYTES * 2 + 8]);
    }

    #[test]
    fn options_that_may_tell_addresses_are_blanked_and_payload_goes() {
        // MSS, and MPTCP's ADD_ADDR (RFC 8684).
        let options = [2, 4, 5, 0xb4, 30, 8, 0x30, 1, 192, 0, 2, 99];
        let mut segment = vec![0; 20];
        segment[12] = 8 << 4;
        segment.extend(options);
        segment.extend(b"GET / Host: 192.0.2.99");
        let mut packet = ipv6(6, &segment);
        set_checksum(&mut packet, 16, 6);
        let mut tagged = vec![2; 12];
        tagged.extend([0x81, 0, 0, 7, 0x86, 0xdd]);
        tagged.extend(&packet);
        let kept = Anonymiser::new(&SAMPLE_KEY).frame(&mut tagged, LinkType::Ethernet);
        assert_eq!(kept, 18 + IPV6_BYTES + 32);
        assert_eq!(tagged[18 + IPV6_BYTES + 20..kept], [2, 4, 5, 0xb4, 1, 1, 1, 1, 1, 1, 1, 1]);
        assert_eq!(covered(&tagged[18..], 6), 0xffff);
        assert!(tagged[..3] == [2; 3] && tagged[3..6] != [2; 3]);
    }

    #[test]
    fn arp_tells_no_address() {
        let mut request = vec![0xff; 6];
        request.extend([2, 0, 0, 0xaa, 0xbb, 0xcc, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0xaa, 0xbb, 0xcc]);
        request.extend([192, 0, 2, 1, 0, 0, 0, 0, 0, 0, 192, 0, 2, 99]);
        request.extend([0; 18]);
        let kept = Anonymiser::new(&SAMPLE_KEY).frame(&mut request, LinkType::Ethernet);
        assert_eq!(kept, 14 + ARP_BYTES);
        assert!(!has(&request, &[192, 0, 2]) && !has(&request, &[0xaa, 0xbb, 0xcc]));
        // Broadcast stays; the sender's hardware address has one image.
        assert_eq!((&request[..6], &request[6..12]), (&[0xff; 6][..], &request[22..28].to_vec()[..]));
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken(bytes in prop::collection::vec(any::<u8>(), 0..160), place in 0_usize..5, kind in 0_usize..4) {
            let links =
                [LinkType::Ethernet, LinkType::Ip, LinkType::Loopback, LinkType::LinuxSll, LinkType::LinuxSll2];
            let starts: [&[u8]; 4] = [&[], &[0x45, 0, 0, 60], &[0x60, 0, 0, 0, 0, 60, 43], &[0x46, 0, 0, 60, 0, 0, 0, 0, 9, 1]];
            let mut frame = [starts[kind], &bytes].concat();
            let kept = Anonymiser::new(&SAMPLE_KEY).frame(&mut frame, links[place]);
            prop_assert!(kept <= frame.len());
        }
    }
}
