//! SYN frames as real hosts send them: three stacks' options, checksums valid, IPv4 and IPv6.
//!
//! A [`SynTemplate`] holds everything that is equal in all frames of a flood, including the checksums' constant part;
//! [`SynTemplate::write`] only patches what varies, so that a core can write several million frames per second.
//! Contract: a written frame is `len` bytes, 60 to [`FRAME_BYTES_MAX`], and both of its checksums verify.

use std::net::IpAddr;

/// Longest frame written: Ethernet, IPv6, TCP with 20 bytes of options is 94.
pub const FRAME_BYTES_MAX: usize = 96;
/// Ethernet frames are padded to this (without the check sequence).
const FRAME_BYTES_MIN: usize = 60;
const ETHERNET_BYTES: usize = 14;
const TCP_BYTES: usize = 20;
const PROTOCOL_TCP: u8 = 6;
const HOPS: u8 = 12;

/// Hardware address.
pub type Mac = [u8; 6];

/// Whose SYN it looks like. A flood mixes them, as botnets do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stack {
    /// Only an MSS: small stacks and many flood tools.
    Bare,
    /// MSS, SACK permitted, timestamps, window scale 7.
    Linux,
    /// MSS, window scale 8, SACK permitted.
    Windows,
}

impl Stack {
    /// All of them, to draw from.
    pub const ALL: [Self; 3] = [Self::Bare, Self::Linux, Self::Windows];

    const fn options(self) -> &'static [u8] {
        match self {
            Self::Bare => &[2, 4, 5, 0xb4],
            Self::Linux => &[2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 0, 0, 0, 0, 0, 1, 3, 3, 7],
            Self::Windows => &[2, 4, 5, 0xb4, 1, 3, 3, 8, 1, 1, 4, 2],
        }
    }

    /// Where the timestamp's value stands within the options. Even, so that its words add up in place.
    const fn timestamp_at(self) -> Option<usize> {
        match self {
            Self::Linux => Some(8),
            Self::Bare | Self::Windows => None,
        }
    }

    const fn window(self) -> u16 {
        match self {
            Self::Bare => 1_024,
            Self::Linux => 64_240,
            Self::Windows => 65_535,
        }
    }

    /// Hop limit as it arrives: the stack's start value less a path's length.
    const fn ttl(self) -> u8 {
        match self {
            Self::Bare => 255 - HOPS,
            Self::Linux => 64 - HOPS,
            Self::Windows => 128 - HOPS,
        }
    }
}

/// What differs from one SYN to the next.
#[derive(Clone, Copy, Debug)]
pub struct Syn {
    /// Source address, of the same family as the template's target.
    pub source: IpAddr,
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub dest_port: u16,
    /// Initial sequence number.
    pub seq: u32,
    /// IPv4 identification; unused in IPv6.
    pub ip_id: u16,
    /// Timestamp value, where the stack sends one.
    pub ts_value: u32,
}

/// The constant part of a flood's frames towards one target.
#[derive(Clone, Debug)]
pub struct SynTemplate {
    bytes: [u8; FRAME_BYTES_MAX],
    len: usize,
    /// Offset of the TCP header: 34 or 54.
    tcp_at: usize,
    /// Offset of the timestamp value, where there is one.
    ts_at: Option<usize>,
    /// Sum of the constant words of the IPv4 header; 0 in IPv6.
    ip_sum: u32,
    /// Sum of the constant words of the TCP header and of the pseudo header.
    tcp_sum: u32,
}

impl SynTemplate {
    /// A template of `stack`'s SYN from `source_mac` to `target` at `target_mac`.
    pub fn new(stack: Stack, source_mac: Mac, target_mac: Mac, target: IpAddr) -> Self {
        let ip_bytes = if target.is_ipv4() { 20 } else { 40 };
        let tcp_at = ETHERNET_BYTES + ip_bytes;
        let tcp_bytes = TCP_BYTES + stack.options().len();
        let mut bytes = [0; FRAME_BYTES_MAX];
        bytes[..6].copy_from_slice(&target_mac);
        bytes[6..12].copy_from_slice(&source_mac);
        write_ip(&mut bytes[12..tcp_at], stack, target, tcp_bytes);
        write_tcp(&mut bytes[tcp_at..tcp_at + tcp_bytes], stack);
        let ip_sum = if target.is_ipv4() { sum_words(&bytes[ETHERNET_BYTES..tcp_at]) } else { 0 };
        let tcp_sum = sum_words(&bytes[tcp_at..tcp_at + tcp_bytes])
            + sum_address(target)
            + u32::from(PROTOCOL_TCP)
            + u32::try_from(tcp_bytes).unwrap_or_default();
        Self {
            bytes,
            len: (tcp_at + tcp_bytes).max(FRAME_BYTES_MIN),
            tcp_at,
            ts_at: stack.timestamp_at().map(|at| tcp_at + TCP_BYTES + at),
            ip_sum,
            tcp_sum,
        }
    }

    /// Writes `syn`'s frame to the start of `out` and returns its length.
    pub fn write(&self, syn: &Syn, out: &mut [u8; FRAME_BYTES_MAX]) -> usize {
        *out = self.bytes;
        let source_sum = sum_address(syn.source);
        match syn.source {
            IpAddr::V4(source) => {
                out[18..20].copy_from_slice(&syn.ip_id.to_be_bytes());
                out[26..30].copy_from_slice(&source.octets());
                let ip_sum = fold(self.ip_sum + source_sum + u32::from(syn.ip_id));
                out[24..26].copy_from_slice(&ip_sum.to_be_bytes());
            }
            IpAddr::V6(source) => out[22..38].copy_from_slice(&source.octets()),
        }
        let tcp = self.tcp_at;
        out[tcp..tcp + 2].copy_from_slice(&syn.source_port.to_be_bytes());
        out[tcp + 2..tcp + 4].copy_from_slice(&syn.dest_port.to_be_bytes());
        out[tcp + 4..tcp + 8].copy_from_slice(&syn.seq.to_be_bytes());
        let mut sum = self.tcp_sum + source_sum + u32::from(syn.source_port) + u32::from(syn.dest_port);
        sum += sum_u32(syn.seq);
        if let Some(at) = self.ts_at {
            out[at..at + 4].copy_from_slice(&syn.ts_value.to_be_bytes());
            sum += sum_u32(syn.ts_value);
        }
        out[tcp + 16..tcp + 18].copy_from_slice(&fold(sum).to_be_bytes());
        self.len
    }
}

/// Writes the ethertype and the IP header; what varies stays zero.
fn write_ip(out: &mut [u8], stack: Stack, target: IpAddr, tcp_bytes: usize) {
    let (ethertype, ip) = out.split_at_mut(2);
    let tcp_bytes = u16::try_from(tcp_bytes).unwrap_or_default();
    match target {
        IpAddr::V4(target) => {
            ethertype.copy_from_slice(&[0x08, 0x00]);
            ip[0] = 0x45;
            ip[2..4].copy_from_slice(&(20 + tcp_bytes).to_be_bytes());
            ip[6] = 0x40; // don't fragment
            ip[8] = stack.ttl();
            ip[9] = PROTOCOL_TCP;
            ip[16..20].copy_from_slice(&target.octets());
        }
        IpAddr::V6(target) => {
            ethertype.copy_from_slice(&[0x86, 0xdd]);
            ip[0] = 0x60;
            ip[4..6].copy_from_slice(&tcp_bytes.to_be_bytes());
            ip[6] = PROTOCOL_TCP;
            ip[7] = stack.ttl();
            ip[24..40].copy_from_slice(&target.octets());
        }
    }
}

/// Writes the TCP header and options; what varies stays zero.
fn write_tcp(out: &mut [u8], stack: Stack) {
    let words = u8::try_from(out.len() / 4).unwrap_or_default();
    out[12] = words << 4;
    out[13] = 0x02; // SYN
    out[14..16].copy_from_slice(&stack.window().to_be_bytes());
    out[TCP_BYTES..].copy_from_slice(stack.options());
}

fn sum_u32(value: u32) -> u32 {
    (value >> 16) + (value & 0xffff)
}

fn sum_words(bytes: &[u8]) -> u32 {
    bytes.chunks_exact(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]]))).sum()
}

fn sum_address(address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(address) => sum_u32(address.to_bits()),
        IpAddr::V6(address) => sum_words(&address.octets()),
    }
}

/// The Internet checksum of a sum of words. Two folds are enough: no sum here exceeds 80 words.
fn fold(sum: u32) -> u16 {
    let sum = sum_u32(sum_u32(sum));
    !u16::try_from(sum).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SYN: Syn = Syn {
        source: IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 254)),
        source_port: 65_535,
        dest_port: 443,
        seq: 0xffff_fffe,
        ip_id: 0xbeef,
        ts_value: 0x8000_0001,
    };

    /// RFC 1071 written down the slow way: a valid header with its checksum sums up to all ones.
    fn verifies(parts: &[&[u8]]) -> bool {
        let mut sum: u32 = 0;
        for part in parts {
            for pair in part.chunks(2) {
                sum += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
            }
        }
        while sum > 0xffff {
            sum = (sum >> 16) + (sum & 0xffff);
        }
        sum == 0xffff
    }

    #[test]
    fn ipv4_checksums_verify_for_every_stack() {
        let target: IpAddr = "10.77.0.2".parse().unwrap();
        for stack in Stack::ALL {
            let mut out = [0; FRAME_BYTES_MAX];
            let len = SynTemplate::new(stack, [2; 6], [4; 6], target).write(&SYN, &mut out);
            let total = usize::from(u16::from_be_bytes([out[16], out[17]]));
            assert_eq!(len, (14 + total).max(60));
            let tcp = &out[34..14 + total];
            let length = u16::try_from(tcp.len()).unwrap().to_be_bytes();
            assert!(verifies(&[&out[14..34]]), "{stack:?}: IPv4 header");
            assert!(verifies(&[&out[26..34], &[0, 6], &length, tcp]), "{stack:?}: TCP");
            assert_eq!(usize::from(tcp[12] >> 4) * 4, tcp.len());
            assert_eq!((&tcp[..4], tcp[13]), (&[0xff, 0xff, 0x01, 0xbb][..], 0x02));
        }
    }

    #[test]
    fn ipv6_checksums_verify_for_every_stack() {
        let syn = Syn { source: "2001:db8:77::dead:beef".parse().unwrap(), ..SYN };
        for stack in Stack::ALL {
            let mut out = [0; FRAME_BYTES_MAX];
            let len =
                SynTemplate::new(stack, [2; 6], [4; 6], "fd77::2".parse().unwrap()).write(&syn, &mut out);
            let tcp = &out[54..len];
            assert_eq!(usize::from(u16::from_be_bytes([out[18], out[19]])), tcp.len());
            assert!(verifies(&[&out[22..54], &[0, 0, out[18], out[19], 0, 0, 0, 6], tcp]), "{stack:?}");
        }
    }

    #[test]
    fn frames_are_as_long_as_real_ones() {
        let lens =
            Stack::ALL.map(|stack| SynTemplate::new(stack, [2; 6], [4; 6], "10.0.0.1".parse().unwrap()).len);
        assert_eq!(lens, [60, 74, 66]);
    }
}
