//! What tshark says of each TCP segment of a capture, and the header facts by which a difference is explained.
//!
//! One run in two passes per capture, names off, all preferences that matter set, so that the answer depends on the
//! version alone. A frame counts as TCP where its list of protocols has tcp before any ICMP: headers quoted in ICMP
//! errors are not segments. Memory: the facts of one capture at a time.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::judgement::{Judgement, Judgements};

/// As for the project's ground truth: analysis on, checksums not judged, fragments put together.
const PREFERENCES: [&str; 6] = [
    "tcp.desegment_tcp_streams:TRUE",
    "tcp.analyze_sequence_numbers:TRUE",
    "tcp.relative_sequence_numbers:TRUE",
    "tcp.check_checksum:FALSE",
    "ip.defragment:TRUE",
    "ip.check_checksum:FALSE",
];
const FIELDS: [&str; 24] = [
    "frame.number",
    "frame.time_epoch",
    "frame.protocols",
    "ip.src",
    "ipv6.src",
    "ip.dst",
    "ipv6.dst",
    "ip.id",
    "ip.flags.mf",
    "ip.frag_offset",
    "ipv6.fraghdr.offset",
    "tcp.stream",
    "tcp.srcport",
    "tcp.dstport",
    "tcp.seq_raw",
    "tcp.ack_raw",
    "tcp.len",
    "tcp.flags",
    "tcp.window_size_value",
    "tcp.options.wscale.shift",
    "tcp.options.mptcp.subtype",
    "tcp.checksum",
    "tcp.analysis.duplicate_ack_num",
    "tcp.analysis.initial_rtt",
];
const SYN: u16 = 0x02;
const ACK: u16 = 0x10;

/// A TCP segment as tshark sees it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Segment {
    /// Number of its frame, from 1.
    pub packet: u64,
    /// Time, nanoseconds since 1970.
    pub at_ns: i64,
    /// tshark's layers, `eth:ethertype:ip:tcp`.
    pub protocols: String,
    /// The innermost addresses, then ports: who sends.
    pub source: (String, u16),
    /// Who receives.
    pub destination: (String, u16),
    /// The IPv4 identification of the innermost header, where there is one.
    pub ip_id: Option<u16>,
    /// Part of a datagram in fragments: tshark judges the frame that completes it.
    pub is_fragment: bool,
    /// tshark's number of the connection.
    pub stream: u32,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement number.
    pub ack: u32,
    /// Payload.
    pub payload_bytes: u32,
    /// All twelve bits.
    pub flags: u16,
    /// Window field as sent.
    pub rwnd: u16,
    /// Window shift that a SYN or SYN-ACK offers.
    pub window_shift: Option<u8>,
    /// Carries an option of Multipath TCP (RFC 8684).
    pub is_multipath: bool,
    /// Checksum field.
    pub checksum: u16,
    /// tshark's number of the duplicate ACK.
    pub duplicate_ack_number: Option<u32>,
    /// From SYN to ACK, where the handshake was seen, nanoseconds.
    pub initial_rtt_ns: Option<i64>,
    /// What tshark says of it.
    pub judgements: Judgements,
}

impl Segment {
    /// Whether the other one is the very same packet, by all that headers tell.
    pub fn is_copy_of(&self, other: &Self) -> bool {
        let key = |of: &Self| {
            (of.ip_id, of.seq, of.ack, of.payload_bytes, of.flags, of.rwnd, of.checksum, of.stream)
        };
        key(self) == key(other) && self.source == other.source
    }

    /// Time, whole microseconds since 1970.
    pub const fn at_us(&self) -> i64 {
        self.at_ns.div_euclid(1_000)
    }
}

/// All TCP segments of a capture.
pub fn segments(capture: &Path) -> Result<Vec<Segment>> {
    let mut tshark = command(capture);
    let mut child = tshark.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().context("start tshark")?;
    let stdout = child.stdout.take().context("tshark's output")?;
    let mut segments = Vec::new();
    for line in BufReader::new(stdout).split(b'\n') {
        let line = line.context("read from tshark")?;
        segments.extend(segment(&String::from_utf8_lossy(&line)));
    }
    // A file that ends in the middle of a packet makes it end with 2, after all that was before.
    let status = child.wait().context("wait for tshark")?;
    ensure!(matches!(status.code(), Some(0 | 2)), "tshark ended with {status} on {}", capture.display());
    Ok(segments)
}

fn command(capture: &Path) -> Command {
    let mut tshark = Command::new("tshark");
    tshark.args(["-2", "-n", "-r"]).arg(capture).args(["-T", "fields", "-E", "separator=/t"]);
    tshark.args(["-E", "occurrence=a", "-E", "aggregator=,"]);
    for preference in PREFERENCES {
        tshark.args(["-o", preference]);
    }
    let analysis = Judgement::ALL.into_iter().filter_map(Judgement::tshark_field);
    for field in FIELDS.into_iter().chain(analysis) {
        tshark.args(["-e", field]);
    }
    tshark
}

/// One line of tshark's; `None` where the frame is no TCP segment.
fn segment(line: &str) -> Option<Segment> {
    let columns: Vec<&str> = line.split('\t').collect();
    let fields = Fields(&columns);
    let protocols = fields.all("frame.protocols");
    let mut layers = protocols.split(':').take_while(|layer| !matches!(*layer, "icmp" | "icmpv6"));
    if !layers.any(|layer| layer == "tcp") || fields.first("tcp.stream").is_empty() {
        return None;
    }
    let mut judgements: Judgements = fields.judgements().collect();
    let flags = fields.number("tcp.flags")? as u16;
    if flags & SYN != 0 && judgements.has(Judgement::Retransmission) {
        let is_answer = flags & ACK != 0;
        judgements.add(if is_answer {
            Judgement::SynAckRetransmission
        } else {
            Judgement::SynRetransmission
        });
    }
    let address = |names: [&str; 2]| {
        let innermost = if protocols_end_in_v6(protocols) { names[1] } else { names[0] };
        fields.last(innermost).to_owned()
    };
    let is_set = |name: &str| fields.all(name).split(',').any(|value| !matches!(value, "" | "0" | "False"));
    Some(Segment {
        packet: fields.number("frame.number")?,
        at_ns: nanoseconds(fields.first("frame.time_epoch"))?,
        protocols: protocols.to_owned(),
        source: (address(["ip.src", "ipv6.src"]), fields.number("tcp.srcport")? as u16),
        destination: (address(["ip.dst", "ipv6.dst"]), fields.number("tcp.dstport")? as u16),
        ip_id: number(fields.last("ip.id")).map(|id| id as u16),
        is_fragment: is_set("ip.flags.mf")
            || is_set("ip.frag_offset")
            || !fields.all("ipv6.fraghdr.offset").is_empty(),
        stream: fields.number("tcp.stream")? as u32,
        seq: fields.number("tcp.seq_raw")? as u32,
        ack: fields.number("tcp.ack_raw").unwrap_or_default() as u32,
        payload_bytes: fields.number("tcp.len")? as u32,
        flags,
        rwnd: fields.number("tcp.window_size_value").unwrap_or_default() as u16,
        window_shift: fields.number("tcp.options.wscale.shift").map(|shift| shift as u8),
        is_multipath: !fields.all("tcp.options.mptcp.subtype").is_empty(),
        checksum: fields.number("tcp.checksum").unwrap_or_default() as u16,
        duplicate_ack_number: fields.number("tcp.analysis.duplicate_ack_num").map(|number| number as u32),
        initial_rtt_ns: nanoseconds(fields.first("tcp.analysis.initial_rtt")),
        judgements,
    })
}

/// Whether the TCP header is directly in IPv6.
fn protocols_end_in_v6(protocols: &str) -> bool {
    let before_tcp = protocols.split(":tcp").next().unwrap_or_default();
    let network = before_tcp.rsplit(':').find(|layer| matches!(*layer, "ip" | "ipv6"));
    network == Some("ipv6")
}

/// The columns of one line, by the names of their fields.
struct Fields<'a>(&'a [&'a str]);

impl<'a> Fields<'a> {
    fn all(&self, name: &str) -> &'a str {
        let index = FIELDS.iter().position(|field| *field == name);
        index.and_then(|index| self.0.get(index)).copied().unwrap_or_default()
    }

    fn first(&self, name: &str) -> &'a str {
        self.all(name).split(',').next().unwrap_or_default()
    }

    fn last(&self, name: &str) -> &'a str {
        self.all(name).rsplit(',').next().unwrap_or_default()
    }

    fn number(&self, name: &str) -> Option<u64> {
        number(self.first(name))
    }

    fn judgements(&self) -> impl Iterator<Item = Judgement> {
        let with_field = Judgement::ALL.into_iter().filter(|judgement| judgement.tshark_field().is_some());
        let columns = self.0.iter().skip(FIELDS.len());
        with_field.zip(columns).filter(|(_, column)| !column.is_empty()).map(|(judgement, _)| judgement)
    }
}

/// Decimal, or hexadecimal with its prefix.
fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

/// `1409713333.192548000`.
fn nanoseconds(text: &str) -> Option<i64> {
    let (seconds, fraction) = text.split_once('.')?;
    let seconds: i64 = seconds.parse().ok()?;
    let nanoseconds: i64 = format!("{fraction:0<9}").get(..9)?.parse().ok()?;
    seconds.checked_mul(1_000_000_000)?.checked_add(nanoseconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As tshark 4.0.17 prints it: facts, then an empty column for each judgement that is not so.
    fn line(facts: &str, judged: &[Judgement]) -> String {
        let with_field = Judgement::ALL.into_iter().filter(|judgement| judgement.tshark_field().is_some());
        let columns = with_field.map(|judgement| if judged.contains(&judgement) { "1" } else { "" });
        [facts].into_iter().chain(columns).collect::<Vec<_>>().join("\t")
    }

    const TCP: &str = "1000\t1700000001.718829000\teth:ethertype:ip:tcp:data\t10.20.0.81\t\t198.51.100.38\t\t0x02b7\t0\t0\t\t88\t20019\t5001\t926529511\t4294965847\t300\t0x0018\t15511\t\t\t0xf96c\t\t0.000100000";

    #[test]
    fn a_segment_is_read_with_its_judgements() {
        let read = segment(&line(TCP, &[Judgement::Retransmission, Judgement::WindowFull])).unwrap();
        assert_eq!((read.packet, read.at_ns), (1_000, 1_700_000_001_718_829_000));
        assert_eq!(read.source, ("10.20.0.81".into(), 20_019));
        assert_eq!(read.destination, ("198.51.100.38".into(), 5_001));
        assert_eq!((read.ip_id, read.is_fragment, read.stream), (Some(0x02b7), false, 88));
        assert_eq!((read.seq, read.ack, read.payload_bytes), (926_529_511, 4_294_965_847, 300));
        assert_eq!((read.flags, read.rwnd, read.checksum), (0x18, 15_511, 0xf96c));
        assert_eq!(read.initial_rtt_ns, Some(100_000));
        assert_eq!(
            read.judgements.iter().collect::<Vec<_>>(),
            [Judgement::Retransmission, Judgement::WindowFull]
        );
    }

    #[test]
    fn a_syn_sent_again_has_a_name_of_its_own() {
        let syn = TCP.replace("0x0018", "0x0002");
        let read = segment(&line(&syn, &[Judgement::Retransmission])).unwrap();
        assert!(read.judgements.has(Judgement::SynRetransmission));
        assert!(!segment(&line(&syn, &[])).unwrap().judgements.has(Judgement::SynRetransmission));
        let read = segment(&line(&syn.replace("0x0002", "0x0012"), &[Judgement::Retransmission])).unwrap();
        assert!(read.judgements.has(Judgement::SynAckRetransmission));
        assert!(!read.judgements.has(Judgement::SynRetransmission));
    }

    #[test]
    fn quoted_headers_are_no_segments_and_tunnels_are_looked_into() {
        let quoted = TCP.replace("ip:tcp:data", "ip:icmp:ip:tcp");
        assert_eq!(segment(&line(&quoted, &[])), None);
        assert_eq!(segment(&line(&TCP.replace("ip:tcp:data", "ip:udp:dns"), &[])), None);
        let tunnel = TCP
            .replace("ip:tcp:data", "ip:gre:ip:tcp")
            .replace("10.20.0.81", "192.0.2.1,10.20.0.81")
            .replace("0x02b7", "0x0001,0x0002");
        let read = segment(&line(&tunnel, &[])).unwrap();
        assert_eq!((read.source.0.as_str(), read.ip_id), ("10.20.0.81", Some(2)));
        assert!(protocols_end_in_v6("eth:ip:gre:ipv6:tcp:tls"));
        assert!(!protocols_end_in_v6("eth:ethertype:ipv6:ip:tcp"));
    }

    #[test]
    fn copies_are_the_same_in_all_that_headers_tell() {
        let first = segment(&line(TCP, &[])).unwrap();
        let later = Segment { packet: 1_001, at_ns: first.at_ns + 5, ..first.clone() };
        assert!(later.is_copy_of(&first));
        assert!(!Segment { ip_id: Some(1), ..later.clone() }.is_copy_of(&first));
        assert!(!Segment { checksum: 0, ..later }.is_copy_of(&first));
    }

    #[test]
    fn times_are_exact() {
        assert_eq!(nanoseconds("0.000000001"), Some(1));
        assert_eq!(nanoseconds("12.5"), Some(12_500_000_000));
        assert_eq!(nanoseconds(""), None);
    }
}
