//! What is read above TCP, UDP, ICMP and ARP: no panic, no growth, and sums that agree with each other, whatever comes.
//!
//! Streams are built from messages that mean something (hellos, certificates, alerts, requests, responses, DNS), which the
//! input picks, mutates, cuts into segments and delivers: in any order, again, overlapping, with holes, cut by a snap
//! length, across the wrap of sequence numbers. What comes whole, only not in order, is the same protocol as in order;
//! and where nothing was mutated, the same counts.

use tidegauge_analyzer::fact::Facts;
use tidegauge_analyzer::layer::LayerCounter::{self, *};
use tidegauge_analyzer::layer::{
    AppRecord, Datagram, Group, IcmpMessage, IcmpVersion, LayerSums, Layers, Protocol, StreamPart, arp,
    quoted,
};

/// Few, so that details run out and slots are opened again.
const CONNECTIONS: u32 = 4;
/// Segments of a stream that is delivered whole: a buffer keeps eight pieces.
const SEGMENTS_MAX: usize = 8;
/// A stream that is delivered whole fits into a reassembly buffer.
const STREAM_BYTES_MAX: usize = 16 * 1024;

/// Reads the input byte by byte; zeros behind its end.
struct Choices<'a>(&'a [u8]);

impl Choices<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::from(u16::from_be_bytes([self.byte(), self.byte()])) % bound.max(1)
    }
}

fn part16(contents: &[u8]) -> Vec<u8> {
    [&(contents.len() as u16).to_be_bytes()[..], contents].concat()
}

fn record(kind: u8, contents: &[u8]) -> Vec<u8> {
    [&[kind, 3, 3][..], &part16(contents)].concat()
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind][..], &(body.len() as u32).to_be_bytes()[1..], body].concat()
}

fn client_hello(padding: usize) -> Vec<u8> {
    let name = part16(b"\x00\x00\x0bexample.org");
    let padding = part16(&vec![0; padding]);
    let extensions = [&[0, 0][..], &part16(&name), &[0, 21], &padding, &[0, 43, 0, 3, 2, 3, 4]].concat();
    let body = [&[3, 3][..], &[9; 32], &[0, 0, 2, 0x13, 1, 1, 0], &part16(&extensions)].concat();
    message(1, &body)
}

fn server_hello(is_13: bool) -> Vec<u8> {
    let extensions: &[u8] = if is_13 { &[0, 43, 0, 2, 3, 4] } else { &[] };
    message(2, &[&[3, 3][..], &[8; 32], &[0, 0x13, 1, 0], &part16(extensions)].concat())
}

fn certificate() -> Vec<u8> {
    let validity = b"\x30\x1e\x17\x0d200101000000Z\x17\x0d210101000000Z";
    let parts =
        [&b"\x02\x01\x01\x30\x02\x05\x00\x30\x00"[..], validity, &[0x30, 0x82, 1, 0], &[9; 256]].concat();
    let leaf = [&[0x30, 0x82][..], &part16(&[&[0x30, 0x82][..], &part16(&parts)].concat())].concat();
    let length = |bytes: &[u8]| (bytes.len() as u32).to_be_bytes()[1..].to_vec();
    let list = [length(&leaf), leaf].concat();
    message(11, &[length(&list), list].concat())
}

/// One of the messages, as bytes of a stream.
fn template(choices: &mut Choices<'_>) -> Vec<u8> {
    match choices.byte() % 32 {
        0 => record(22, &client_hello(0)),
        1 => record(22, &client_hello(1_500)),
        2 => client_hello(300).chunks(101).flat_map(|part| record(22, part)).collect(),
        3 => record(22, &server_hello(true)),
        4 => record(22, &[server_hello(false), certificate()].concat()),
        5 => [record(22, &server_hello(false)), record(22, &certificate())].concat(),
        6 => [record(20, &[1]), record(22, &[0xaa; 40])].concat(),
        7 => record(23, &vec![0x17; usize::from(choices.byte()) * 4 + 1]),
        8 => record(21, &[2, choices.byte()]),
        9 => record(21, &[0x55; 26]),
        10 => b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
        11 => b"HEAD /h HTTP/1.0\r\n\r\n".to_vec(),
        12 => b"POST /p HTTP/1.1\r\nContent-Length: 11\r\n\r\nGET / HTTP/".to_vec(),
        13 => b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nA: b\r\n\r\n".to_vec(),
        14 => b"HTTP/1.1 503 No\r\nContent-Length: 2\r\n\r\nxx".to_vec(),
        15 => b"CONNECT a:443 HTTP/1.1\r\n\r\n".to_vec(),
        16 => b"HTTP/1.1 200 OK\r\n\r\n".to_vec(),
        17 => part16(&[0, choices.byte(), 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]),
        18 => part16(&[0, choices.byte(), 0x81, choices.byte() & 0x8f, 0, 1, 0, 0, 0, 0, 0, 0]),
        19 => b"220 mail ESMTP\r\n".to_vec(),
        20 => b"535 5.7.8 failed\r\n".to_vec(),
        21 => b"* OK IMAP4rev1\r\n".to_vec(),
        22 => b"a NO [AUTHENTICATIONFAILED] failed\r\n".to_vec(),
        23 => b"+OK ready\r\n-ERR invalid password\r\n".to_vec(),
        24 => b"*2\r\n$4\r\nAUTH\r\n$1\r\na\r\n".to_vec(),
        25 => b"-WRONGPASS invalid\r\n".to_vec(),
        26 => b"\x4a\x00\x00\x00\x0a8.0.1\x00".to_vec(),
        27 => b"\x48\0\0\x02\xff\x15\x04#28000".to_vec(),
        28 => b"\x30\x0c\x02\x01\x01\x60\x07\x02\x01\x03\x04\0\x80\0".to_vec(),
        29 => b"\x30\x0c\x02\x01\x01\x61\x07\x0a\x01\x31\x04\0\x04\0".to_vec(),
        30 => [&b"\0\0\0\x4c\xfeSMB\x40\0\0\0\x6d\0\0\xc0\x01\0"[..], &[0; 60]].concat(),
        _ => (0..choices.below(40)).map(|_| choices.byte()).collect(),
    }
}

/// A stream of some messages, and whether it is as they were.
fn stream(choices: &mut Choices<'_>) -> (Vec<u8>, bool) {
    let mut bytes: Vec<u8> = Vec::new();
    for _ in 0..choices.byte() % 8 {
        bytes.extend(template(choices));
    }
    bytes.truncate(STREAM_BYTES_MAX);
    let mutations = choices.byte() % 8;
    for _ in 0..mutations {
        let at = choices.below(bytes.len());
        let value = choices.byte();
        if let Some(byte) = bytes.get_mut(at) {
            *byte ^= value;
        }
    }
    (bytes, mutations == 0)
}

/// Streams of two directions, delivered anyhow.
pub fn check_stream(input: &[u8]) {
    let mut choices = Choices(input);
    let port = [443, 80, 53, 9_000][usize::from(choices.byte() % 4)];
    let streams = [stream(&mut choices), stream(&mut choices)];
    check_order(&streams[0], port, &mut choices);
    check_anyhow(&streams.map(|(bytes, _)| bytes), port, &mut choices);
}

/// The segments of a stream: places to cut at, in order.
fn segments<'a>(bytes: &'a [u8], choices: &mut Choices<'_>) -> Vec<(usize, &'a [u8])> {
    let mut cuts: Vec<usize> = (0..choices.below(SEGMENTS_MAX)).map(|_| choices.below(bytes.len())).collect();
    cuts.extend([0, bytes.len()]);
    cuts.sort_unstable();
    cuts.dedup();
    cuts.windows(2).map(|pair| (pair[0], &bytes[pair[0]..pair[1]])).collect()
}

/// One direction, whole: in order and in another one.
fn check_order((bytes, unchanged): &(Vec<u8>, bool), port: u16, choices: &mut Choices<'_>) {
    let start = [0, u32::MAX - 100][usize::from(choices.byte() & 1)];
    let mut segments = segments(bytes, choices);
    let in_order = deliver(&segments, start, port);
    let keys: Vec<u8> = segments.iter().map(|_| choices.byte()).collect();
    let mut keyed: Vec<_> = keys.into_iter().zip(segments).collect();
    keyed.sort_by_key(|(key, _)| *key);
    segments = keyed.into_iter().map(|(_, segment)| segment).collect();
    let in_any = deliver(&segments, start, port);
    assert_eq!(protocol(&in_order.0), protocol(&in_any.0));
    if *unchanged && is_followed(bytes) {
        for counter in LayerCounter::ALL.iter().filter(|counter| counter.group() != Group::Streams) {
            assert_eq!(in_order.1.get(*counter), in_any.1.get(*counter), "{}", counter.name());
        }
    }
}

/// Whether one protocol's messages follow each other from the first byte on, so that reading never loses its place.
fn is_followed(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    while let [kind @ 20..=23, 3, 3, high, low, ..] = *rest {
        let len = 5 + usize::from(u16::from_be_bytes([high, low]));
        let Some(behind) = rest.get(len..) else { return false };
        if kind == 23 && behind.is_empty() {
            return true;
        }
        rest = behind;
    }
    rest.is_empty()
}

fn protocol(app: &Option<AppRecord>) -> Option<Protocol> {
    app.as_ref().and_then(|app| app.protocol)
}

fn deliver(segments: &[(usize, &[u8])], start: u32, port: u16) -> (Option<AppRecord>, LayerSums) {
    let (mut layers, mut sums) = (Layers::new(CONNECTIONS), LayerSums::default());
    layers.open(0, [Some(start); 2]);
    for (at, bytes) in segments {
        let part = StreamPart {
            slot: 0,
            from_initiator: true,
            sequence: start.wrapping_add(*at as u32),
            payload_bytes: bytes.len() as u32,
            bytes,
            ts_ns: 0,
            responder_port: port,
            ends: 0,
        };
        layers.tcp(&part, &mut sums, &mut Facts::default());
    }
    (layers.close(0, 0, &mut sums), sums)
}

/// Both directions in overlapping, repeated, cut, lost pieces, on slots that are opened and closed in between.
fn check_anyhow(streams: &[Vec<u8>; 2], port: u16, choices: &mut Choices<'_>) {
    let (mut layers, mut sums) = (Layers::new(CONNECTIONS), LayerSums::default());
    let allocated_bytes = layers.allocated_bytes();
    let start = u32::MAX - 700;
    let mut ts_ns = 0;
    layers.open(0, [Some(start); 2]);
    while !choices.0.is_empty() {
        let (action, slot) = (choices.byte(), u32::from(choices.byte() % 8));
        ts_ns += u64::from(action) * 1_000_000;
        match action {
            0..8 => layers.open(slot, [Some(start), None]),
            8..16 => layers.open(slot, [None; 2]),
            16..24 => drop(layers.close(slot, ts_ns, &mut sums)),
            24..28 => layers.tick(ts_ns, &mut sums),
            _ => {
                let from = usize::from(action & 1);
                let at = choices.below(streams[from].len());
                let len = choices.below(streams[from].len() - at.min(streams[from].len()) + 1);
                let bytes = streams[from].get(at..at + len).unwrap_or_default();
                let captured =
                    if action & 2 == 0 { bytes.len() } else { bytes.len().min(choices.below(200)) };
                // Now and then far away.
                let far = if action & 0xf0 == 0xf0 { choices.below(0x1_0000) as u32 * 3_001 } else { 0 };
                let part = StreamPart {
                    slot: if action & 4 == 0 { 0 } else { slot },
                    from_initiator: from == 0,
                    sequence: start.wrapping_add(at as u32).wrapping_add(far),
                    payload_bytes: bytes.len() as u32,
                    bytes: &bytes[..captured],
                    ts_ns,
                    responder_port: port,
                    ends: 0,
                };
                layers.tcp(&part, &mut sums, &mut Facts::default());
            }
        }
    }
    for slot in 0..CONNECTIONS {
        layers.close(slot, ts_ns, &mut sums);
    }
    layers.finish(ts_ns, &mut sums);
    assert_eq!(layers.allocated_bytes(), allocated_bytes);
    check_sums(&sums);
}

/// Messages that the input is cut into: a byte of kind, one of length, one of time.
pub fn check_datagram(mut input: &[u8]) {
    let (mut layers, mut sums) = (Layers::new(CONNECTIONS), LayerSums::default());
    let allocated_bytes = layers.allocated_bytes();
    let mut ts_ns = 0_u64;
    while let Some((&[kind, len, step], rest)) = input.split_first_chunk::<3>() {
        let (bytes, rest) = rest.split_at(rest.len().min(usize::from(len)));
        input = rest;
        ts_ns += u64::from(step) * if step > 250 { 1_000_000_000 } else { 1_000 };
        let (source, destination) = if kind & 0x80 == 0 { ([1; 4], [2; 4]) } else { ([2; 4], [1; 4]) };
        let ports = [(1_000, 53), (53, 1_000), (1_000, 443), (443, 1_000), (7, 9)];
        let version = if kind & 0x40 == 0 { IcmpVersion::V4 } else { IcmpVersion::V6 };
        match kind & 0x0f {
            place @ 0..8 => {
                let (source_port, destination_port) = ports[usize::from(place) % ports.len()];
                let datagram = Datagram { source, destination, source_port, destination_port, bytes, ts_ns };
                layers.udp(&datagram, &mut sums, &mut Facts::default());
            }
            8..13 => {
                layers.icmp(&IcmpMessage { version, source, destination, bytes, ts_ns }, &mut sums);
                quoted(version, bytes);
            }
            13 => arp(bytes, &mut sums),
            _ => layers.tick(ts_ns, &mut sums),
        }
    }
    layers.finish(ts_ns, &mut sums);
    assert_eq!(layers.allocated_bytes(), allocated_bytes);
    check_sums(&sums);
}

/// What holds for any input.
fn check_sums(sums: &LayerSums) {
    let get = |counter| sums.get(counter);
    let all = |counters: &[LayerCounter]| counters.iter().map(|counter| get(*counter)).sum::<u64>();
    assert_eq!(all(&[DnsNxdomain, DnsServfail, DnsOther]), get(DnsFailures));
    assert!(get(DnsFailures) <= get(DnsResponses));
    assert_eq!(sums.dns_latency_us.count() + get(DnsUnasked), get(DnsResponses));
    let ends = all(&[DnsRepeated, DnsUnanswered, DnsWaitsEvicted]) + sums.dns_latency_us.count();
    assert!(ends <= get(DnsQueries));
    assert_eq!(sums.icmp_rtt_us.count() + get(IcmpEchoUnasked), get(IcmpEchoReplies));
    assert!(get(IcmpEchoUnanswered) + sums.icmp_rtt_us.count() <= get(IcmpEchoRequests));
    assert_eq!(all(&[TlsAlertsFatal, TlsAlertsWarning, TlsAlertsEncrypted]), get(TlsAlerts));
    assert!(get(TlsHandshakeFailures) <= get(TlsAlertsFatal));
    assert!(get(TlsCertificatesExpired) <= get(TlsCertificates));
    let classes = [HttpStatus1xx, HttpStatus2xx, HttpStatus3xx, HttpStatus4xx, HttpStatus5xx];
    assert!(all(&classes) <= get(HttpResponses));
    assert_eq!(sums.methods.iter().sum::<u64>(), get(HttpRequests));
    assert!(get(QuicDatagrams) <= get(QuicPackets));
    assert!(get(ArpGratuitous) + get(ArpProbes) <= get(ArpRequests) + get(ArpReplies));
    let mut twice = sums.clone();
    twice.merge(sums);
    assert_eq!(twice.get(HttpRequests), 2 * get(HttpRequests));
    assert!(sums.json().contains_key("tls"));
}
