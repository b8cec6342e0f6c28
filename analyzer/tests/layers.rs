//! Streams as they come off the wire: in pieces, out of order, twice, with holes and across the wrap of sequence numbers;
//! what is read of TLS, HTTP and DNS over TCP must not depend on it. Datagrams, echoes and quotes beside them.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use tidegauge_analyzer::fact::{Fact, Facts};
use tidegauge_analyzer::layer::LayerCounter::{self, *};
use tidegauge_analyzer::layer::{
    AppRecord, Datagram, IcmpMessage, IcmpVersion, Interest, LayerSums, Layers, Protocol, QuoteKind,
    StreamPart, Version, quoted,
};

const MS: u64 = 1_000_000;

/// One connection whose handshake was seen; both directions begin just below the wrap.
struct Stream {
    layers: Layers,
    sums: LayerSums,
    sent: [u32; 2],
    now_ns: u64,
    port: u16,
    /// What the last segment said.
    facts: Facts,
}

const START: u32 = u32::MAX - 40;

impl Stream {
    fn new(port: u16) -> Self {
        let mut layers = Layers::new(4);
        layers.open(1, [Some(START); 2]);
        let (sums, facts) = (LayerSums::default(), Facts::NONE);
        Self { layers, sums, sent: [0; 2], now_ns: 1_000 * MS, port, facts }
    }

    /// A segment at an offset of its direction's stream, a millisecond after the one before.
    fn at(&mut self, from: usize, offset: u32, bytes: &[u8], payload_bytes: u32) -> Interest {
        self.now_ns += MS;
        let part = StreamPart {
            slot: 1,
            from_initiator: from == 0,
            sequence: START.wrapping_add(offset),
            payload_bytes,
            bytes,
            ts_ns: self.now_ns,
            responder_port: self.port,
            ends: 0,
        };
        self.facts = Facts::NONE;
        self.layers.tcp(&part, &mut self.sums, &mut self.facts)
    }

    /// The next bytes of a direction, as one segment.
    fn send(&mut self, from: usize, bytes: &[u8]) -> Interest {
        let offset = self.sent[from];
        self.sent[from] += bytes.len() as u32;
        self.at(from, offset, bytes, bytes.len() as u32)
    }

    fn client(&mut self, bytes: &[u8]) -> Interest {
        self.send(0, bytes)
    }

    fn server(&mut self, bytes: &[u8]) -> Interest {
        self.send(1, bytes)
    }

    fn get(&self, counter: LayerCounter) -> u64 {
        self.sums.get(counter)
    }

    fn close(mut self) -> (AppRecord, LayerSums) {
        let record = self.layers.close(1, self.now_ns, &mut self.sums).unwrap();
        assert_eq!(self.layers.app(1), None);
        (record, self.sums)
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

fn extension(kind: u16, contents: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &part16(contents)].concat()
}

/// A ClientHello for `example.org`, `padding` bytes longer than it had to be.
fn client_hello(padding: usize) -> Vec<u8> {
    let extensions = [
        extension(0, &part16(b"\x00\x00\x0bexample.org")),
        extension(16, &part16(b"\x02h2")),
        extension(21, &vec![0; padding]),
        extension(43, &[2, 3, 4]),
    ];
    let body = [&[3, 3][..], &[9; 32], &[0], &part16(&[0x13, 1]), &[1, 0], &part16(&extensions.concat())];
    message(1, &body.concat())
}

fn server_hello(version: u16) -> Vec<u8> {
    let extensions =
        if version == 0x0304 { extension(43, &[3, 4]) } else { extension(16, &part16(b"\x02h2")) };
    message(2, &[&[3, 3][..], &[8; 32], &[0], &[0x13, 1], &[0], &part16(&extensions)].concat())
}

fn certificate() -> Vec<u8> {
    let der = |tag: u8, contents: &[u8]| [&[tag, 0x82][..], &part16(contents)].concat();
    let validity = [der(0x17, b"200101000000Z"), der(0x17, b"210101000000Z")].concat();
    let parts =
        [der(2, &[1]), der(0x30, &[5, 0]), der(0x30, &[7; 300]), der(0x30, &validity), der(0x30, &[9; 700])];
    let leaf = der(0x30, &der(0x30, &parts.concat()));
    let length = |bytes: &[u8]| (bytes.len() as u32).to_be_bytes()[1..].to_vec();
    let list = [length(&leaf), leaf].concat();
    message(11, &[length(&list), list].concat())
}

#[test]
fn tls_1_3_is_over_with_its_first_encrypted_records() {
    let mut stream = Stream::new(8443);
    assert_eq!(stream.client(&record(22, &client_hello(0))), Interest::More);
    assert_eq!(stream.server(&record(22, &server_hello(0x0304))), Interest::More);
    assert_eq!(stream.server(&record(23, &[1; 900])), Interest::Done);
    assert_eq!(stream.client(&record(20, &[1])), Interest::More);
    assert_eq!(stream.client(&record(23, &[1; 60])), Interest::BothDone);
    let (app, sums) = stream.close();
    let tls = app.tls.unwrap();
    assert_eq!((app.protocol, app.ttfb_us, tls.hello_us), (Some(Protocol::Tls), Some(1_000), Some(1_000)));
    assert_eq!((tls.version.as_deref(), tls.sni.as_deref()), (Some("TLS 1.3"), Some("example.org")));
    assert_eq!((tls.alpn_offered.as_deref(), tls.cipher), (Some("h2"), Some(0x1301)));
    assert!(tls.ja4.unwrap().starts_with("t13d0104h2_"));
    assert_eq!((sums.versions.get(Version::Tls13), sums.tls_hello_us.count()), (1, 1));
}

#[test]
fn a_hello_may_come_in_any_pieces_records_and_order() {
    let hello = client_hello(1_700);
    let in_one_record = record(22, &hello);
    let records: Vec<u8> = hello.chunks(600).flat_map(|part| record(22, part)).collect();
    for stream_bytes in [&in_one_record, &records] {
        for segment in [1, 7, 536, 1_400] {
            for reversed in [false, true] {
                let pieces: Vec<_> = stream_bytes.chunks(segment).enumerate().collect();
                if reversed && pieces.len() > 8 {
                    continue;
                }
                let mut stream = Stream::new(443);
                let order: Vec<_> =
                    if reversed { pieces.iter().rev().collect() } else { pieces.iter().collect() };
                for (number, bytes) in order {
                    stream.at(0, (number * segment) as u32, bytes, bytes.len() as u32);
                }
                let (app, sums) = stream.close();
                let counts = [TlsClientHellos, TlsMalformed, StreamGaps].map(|counter| sums.get(counter));
                assert_eq!(counts, [1, 0, 0], "segments of {segment}, reversed: {reversed}");
                assert_eq!(app.tls.unwrap().sni.as_deref(), Some("example.org"));
            }
        }
    }
}

#[test]
fn tls_1_2_shows_its_certificate_times_and_alerts_to_the_end() {
    let mut stream = Stream::new(443);
    stream.client(&record(22, &client_hello(0)));
    let flight = [server_hello(0x0303), certificate(), message(14, &[])].concat();
    let flight = record(22, &flight);
    stream.server(&flight[..700]);
    stream.server(&flight[700..]);
    stream.client(&[record(22, &message(16, &[7; 32])), record(20, &[1]), record(22, &[0x81; 40])].concat());
    stream.server(&[record(20, &[1]), record(22, &[0x82; 40])].concat());
    stream.client(&record(23, &[1; 100]));
    stream.now_ns += 7 * MS;
    stream.server(&record(23, &[1; 2_000]));
    assert_eq!(stream.server(&record(21, &[5; 26])), Interest::More);
    let (app, sums) = stream.close();
    let tls = app.tls.unwrap();
    assert_eq!((tls.version.as_deref(), tls.alpn.as_deref()), (Some("TLS 1.2"), Some("h2")));
    assert_eq!((tls.ttfb_us, tls.certificate_not_after_s), (Some(8_000), Some(1_609_459_200)));
    let counts =
        [TlsClientHellos, TlsServerHellos, TlsAlerts, TlsAlertsEncrypted, TlsCertificates, TlsMalformed];
    assert_eq!(counts.map(|counter| sums.get(counter)), [1, 1, 1, 1, 1, 0]);
    assert_eq!(sums.certificate_expires_soonest_s, Some(1_609_459_200));
}

#[test]
fn a_fatal_alert_in_the_clear_is_a_failed_handshake() {
    let mut stream = Stream::new(443);
    stream.client(&record(22, &client_hello(0)));
    stream.server(&record(21, &[2, 40]));
    let (app, sums) = stream.close();
    let alert = app.tls.unwrap().alert.unwrap();
    assert_eq!(
        (alert.fatal, alert.from_initiator, alert.description.as_str()),
        (true, false, "handshake_failure")
    );
    assert_eq!((sums.get(TlsHandshakeFailures), sums.get(TlsHellosUnanswered)), (1, 0));
    assert_eq!(sums.json()["tls"]["alert_descriptions"]["handshake_failure"], 1);
}

#[test]
fn a_client_is_known_by_its_first_hello() {
    let ja4_of = |hellos: &[Vec<u8>]| {
        let mut stream = Stream::new(443);
        for hello in hellos {
            stream.client(&record(22, hello));
        }
        stream.close().0.tls.unwrap().ja4
    };
    let first = client_hello(0);
    let mut second = first.clone();
    let cipher = second.windows(2).position(|pair| pair == [0x13, 1]).unwrap();
    second[cipher] = 0xc0;
    assert_ne!(ja4_of(std::slice::from_ref(&second)), ja4_of(std::slice::from_ref(&first)));
    assert_eq!(ja4_of(&[first.clone(), second]), ja4_of(&[first]), "as after a HelloRetryRequest");
}

#[test]
fn a_hello_without_an_answer_is_counted_at_the_end() {
    let mut stream = Stream::new(443);
    stream.client(&record(22, &client_hello(0)));
    assert_eq!(stream.close().1.get(TlsHellosUnanswered), 1);
}

#[test]
fn bodies_are_passed_over_by_their_length() {
    let mut stream = Stream::new(80);
    stream.client(b"POST /a HTTP/1.1\r\nContent-Length: 5000\r\n\r\n");
    // None of these bytes is looked at: they would be requests.
    for _ in 0..5 {
        assert_eq!(stream.client(&b"GET / HTTP/1.1\r\n\r\n..".repeat(50)), Interest::More);
    }
    stream.server(b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.server(b"HTTP/1.1 200 OK\r\ncontent-length:3\r\n\r\nabc");
    stream.client(b"HEAD /b HTTP/1.1\r\n\r\n");
    stream.server(b"HTTP/1.1 503 Busy\r\nContent-Length: 99999\r\n\r\n");
    stream.client(b"GET /c HTTP/1.0\r\n\r\n");
    stream.server(b"HTTP/1.1 404 No\r\nTransfer-Encoding: gzip, chunked\r\n\r\n5;x=y\r\nHTTP/\r\n");
    stream.server(b"0\r\nTrailer: 1\r\n\r\nHTTP/1.1 304 Same\r\nContent-Length: 7\r\n\r\n");
    assert_eq!(stream.server(b"HTTP/1.1 200 OK\r\n\r\nuntil close"), Interest::Done);
    let (app, sums) = stream.close();
    let http = app.http.unwrap();
    assert_eq!((http.requests, http.responses, http.last_status), (3, 6, Some(200)));
    assert_eq!((http.status_4xx, http.status_5xx), (1, 1));
    assert_eq!(http.latency_min_us, Some(1_000));
    let counts = [HttpRequests, HttpResponses, HttpStatus5xx, HttpUnanswered, HttpMalformed];
    assert_eq!(counts.map(|counter| sums.get(counter)), [3, 6, 1, 0, 0]);
    assert_eq!(sums.http_latency_us.count(), 3);
    assert_eq!((sums.versions.get(Version::Http10), sums.versions.get(Version::Http11)), (1, 8));
}

#[test]
fn a_proxy_tunnel_begins_anew() {
    let mut stream = Stream::new(3128);
    stream.client(b"CONNECT example.org:443 HTTP/1.1\r\n\r\n");
    stream.server(b"HTTP/1.1 200 Connection established\r\n\r\n");
    stream.client(&record(22, &client_hello(0)));
    stream.server(&record(22, &server_hello(0x0303)));
    let (app, sums) = stream.close();
    assert_eq!((app.protocol, app.tls.unwrap().hello_us), (Some(Protocol::Tls), Some(1_000)));
    assert_eq!((sums.get(HttpRequests), sums.get(TlsServerHellos)), (1, 1));
}

#[test]
fn who_asks_for_a_tunnel_does_not_answer_itself() {
    let mut stream = Stream::new(80);
    stream.client(b"CONNECT a:443 HTTP/1.1\r\n\r\nHTTP/1.1 200 OK\r\n\r\n");
    let (app, sums) = stream.close();
    assert_eq!((app.protocol, sums.get(HttpRequests)), (Some(Protocol::Http), 1));
}

#[test]
fn a_hole_that_is_not_filled_is_given_up() {
    let mut stream = Stream::new(80);
    let request = b"GET / HTTP/1.1\r\n\r\n";
    stream.client(request);
    stream.sent[0] += 1_000;
    for _ in 0..9 {
        stream.client(request);
    }
    assert_eq!((stream.get(StreamGaps), stream.get(HttpRequests)), (1, 2));
    stream.client(request);
    assert_eq!(stream.get(HttpRequests), 3);
}

#[test]
fn segments_that_come_again_or_overlap_count_once() {
    let mut stream = Stream::new(80);
    let requests = b"GET /1 HTTP/1.1\r\n\r\nGET /2 HTTP/1.1\r\n\r\nGET /3 HTTP/1.1\r\n\r\n";
    for start in (0..requests.len()).step_by(9) {
        let piece = &requests[start..(start + 25).min(requests.len())];
        for _ in 0..2 {
            stream.at(0, start as u32, piece, piece.len() as u32);
        }
    }
    assert_eq!((stream.get(HttpRequests), stream.get(StreamGaps)), (3, 0));
}

#[test]
fn a_snap_length_within_a_body_does_no_harm() {
    let mut stream = Stream::new(80);
    let response = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n";
    let whole = response.len() as u32 + 1_000;
    stream.at(1, 0, response, whole);
    stream.at(1, whole, response, whole);
    assert_eq!((stream.get(HttpResponses), stream.get(StreamCut)), (2, 0));
    stream.at(1, 2 * whole, &response[..20], whole);
    stream.at(1, 3 * whole, response, whole);
    assert_eq!((stream.get(HttpResponses), stream.get(StreamCut)), (3, 1));
}

#[test]
fn what_is_not_known_is_refused_after_its_first_segment() {
    let mut stream = Stream::new(9_000);
    assert_eq!(stream.client(&[0xee; 1_000]), Interest::Done);
    assert_eq!(stream.server(&[0xee; 1_000]), Interest::BothDone);
    let (app, _) = stream.close();
    assert_eq!((app.protocol, app.ttfb_us), (None, Some(1_000)));
}

#[test]
fn protocols_are_recognised_by_their_first_bytes() {
    let known: [(&[u8], Protocol); 17] = [
        (b"SSH-2.0-x\r\n", Protocol::Ssh),
        (b"220 mail ESMTP\r\n", Protocol::Smtp),
        (b"220 (vsFTPd 3.0)\r\n", Protocol::Ftp),
        (b"* OK IMAP4rev1\r\n", Protocol::Imap),
        (b"+OK ready\r\n", Protocol::Pop3),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Protocol::Http2),
        (b"OPTIONS * RTSP/1.0\r\n", Protocol::Rtsp),
        (b"REGISTER sip:a SIP/2.0\r\n", Protocol::Sip),
        (b"\x00\x00\x00\x50\xfeSMB@", Protocol::Smb),
        (b"\x03\x00\x00\x13\x0e\xe0\x00\x00\x00", Protocol::Rdp),
        (b"\x10\x0c\x00\x04MQTT\x04", Protocol::Mqtt),
        (b"\x4a\x00\x00\x00\x0a8.0.1\x00", Protocol::MySql),
        (b"*2\r\n$4\r\nAUTH\r\n$1\r\na\r\n", Protocol::Redis),
        (b"AUTH a\r\n", Protocol::Redis),
        (b"AUTH TLS\r\n", Protocol::Ftp),
        (b"\x30\x84\0\0\0\x10\x02\x01\x07\x60\x84\0\0\0\x07", Protocol::Ldap),
        (b"\x12\x01\0\x2f\0\0\x01\0\0\0\x1a\0\x06", Protocol::SqlServer),
    ];
    for (bytes, protocol) in known {
        let mut stream = Stream::new(1);
        for byte in bytes.chunks(3) {
            stream.client(byte);
        }
        assert_eq!(stream.close().0.protocol, Some(protocol), "{}", bytes.escape_ascii());
    }
}

#[test]
fn refused_logins_count_where_each_is_another_one() {
    let mut stream = Stream::new(25);
    stream.server(b"220 mail ESMTP\r\n");
    for (guess, refused) in [("AGEAYQ==", 1), ("AGEAYg==", 2), ("AGEAYg==", 2), ("AGEAYw==", 3)] {
        stream.client(b"AUTH PLAIN ");
        // Something is lost before the answer.
        stream.sent[1] += 7;
        stream.client(guess.as_bytes());
        stream.server(b"535 5.7.8 Error: authentication failed\r\n");
        assert_eq!(stream.get(LoginsRefused), refused, "{guess}");
    }
    // The same segment again.
    let last = stream.sent[1] - 40;
    stream.at(1, last, &[b'5'; 40], 40);
    assert_eq!(stream.get(LoginsRefused), 3);
    assert_eq!(stream.close().0.protocol, Some(Protocol::Smtp));
}

#[test]
fn a_body_in_small_pieces_waits_until_more_comes_or_it_is_answered() {
    let piece = |stream: &mut Stream, bytes: &[u8]| {
        let offset = stream.sent[0];
        stream.sent[0] += bytes.len() as u32;
        stream.at(0, offset, bytes, bytes.len() as u32);
        stream.facts
    };
    let head = b"POST / HTTP/1.1\r\nContent-Length: 4000\r\n\r\n";
    let mut stream = Stream::new(80);
    assert!(!piece(&mut stream, head).has(Fact::HeadOpened));
    assert!(piece(&mut stream, b"a").has(Fact::HeadOpened));
    assert_eq!(piece(&mut stream, b"a"), Facts::NONE);
    assert!(piece(&mut stream, &[b'a'; 1_400]).has(Fact::HeadDone));
    assert!(piece(&mut stream, b"a").has(Fact::HeadOpened));
    stream.server(b"HTTP/1.1 408 No\r\nContent-Length: 0\r\n\r\n");
    assert!(stream.facts.has(Fact::HeadDone));
    // What is left of a body is as small as it is.
    let mut stream = Stream::new(80);
    piece(&mut stream, head);
    for bytes in [2_000, 1_900, 100] {
        assert_eq!(piece(&mut stream, &vec![b'a'; bytes]), Facts::NONE, "{bytes}");
    }
}

#[test]
fn logins_are_read_at_the_beginning_only() {
    let mut stream = Stream::new(21);
    stream.server(b"220 FTP\r\n");
    let told = (0_u32..100).position(|number| {
        stream.client(format!("PASS {number}\r\n").as_bytes());
        stream.server(b"530 Login incorrect.\r\n") == Interest::BothDone
    });
    // Of the server's 64 segments the first is the greeting.
    assert_eq!((told, stream.get(LoginsRefused), stream.get(LoginsUnread)), (Some(63), 63, 2));
}

fn dns(id: u8, flags: [u8; 2]) -> Vec<u8> {
    [&[0, id][..], &flags, &[0, 1, 0, 0, 0, 0, 0, 0]].concat()
}

const QUERY: [u8; 2] = [1, 0];
const NO_SUCH_NAME: [u8; 2] = [0x81, 0x83];

#[test]
fn dns_over_tcp_and_udp_is_matched_by_number() {
    let mut stream = Stream::new(53);
    stream.client(&[part16(&dns(1, QUERY)), part16(&dns(2, QUERY))].concat());
    stream.server(&part16(&dns(2, NO_SUCH_NAME)));
    let question = dns(1, QUERY);
    let query = |source_port, ts_ns| Datagram {
        source: [1; 4],
        destination: [2; 4],
        source_port,
        destination_port: 53,
        bytes: &question,
        ts_ns,
    };
    let Stream { mut layers, mut sums, .. } = stream;
    layers.udp(&query(1_000, 0), &mut sums, &mut Facts::default());
    layers.udp(&query(1_000, MS), &mut sums, &mut Facts::default());
    layers.udp(&query(1_001, 0), &mut sums, &mut Facts::default());
    let answer = dns(1, [0x81, 0x82]);
    let answer = Datagram {
        source: [2; 4],
        destination: [1; 4],
        source_port: 53,
        destination_port: 1_000,
        bytes: &answer,
        ts_ns: 9 * MS,
    };
    layers.udp(&answer, &mut sums, &mut Facts::default());
    layers.udp(&answer, &mut sums, &mut Facts::default());
    layers.finish(20_000 * MS, &mut sums);
    let counts = [DnsQueries, DnsResponses, DnsNxdomain, DnsServfail, DnsRepeated, DnsUnasked, DnsUnanswered];
    assert_eq!(counts.map(|counter| sums.get(counter)), [5, 3, 1, 2, 1, 1, 2]);
    assert_eq!((sums.dns_latency_us.count(), sums.dns_latency_us.quantile(1.0)), (2, Some(8_704)));
}

#[test]
fn echoes_are_timed_and_errors_quote() {
    let (mut layers, mut sums) = (Layers::new(1), LayerSums::default());
    let ends = ([1; 4], [2; 4]);
    let mut show = |version, (source, destination), bytes: &[u8], ts_ns| {
        layers.icmp(&IcmpMessage { version, source, destination, bytes, ts_ns }, &mut sums);
    };
    show(IcmpVersion::V4, ends, &[8, 0, 0, 0, 0, 7, 0, 1], 0);
    show(IcmpVersion::V4, (ends.1, ends.0), &[0, 0, 0, 0, 0, 7, 0, 1], 5 * MS);
    show(IcmpVersion::V6, (ends.1, ends.0), &[129, 0, 0, 0, 0, 7, 0, 2], 5 * MS);
    let ip = [0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2];
    let transport = [0x12, 0x34, 0, 80, 0, 0, 0, 9];
    let too_big = [&[3, 4, 0, 0, 0, 0, 5, 0xdc][..], &ip, &transport].concat();
    show(IcmpVersion::V4, ends, &too_big, 0);
    let counts = [IcmpEchoRequests, IcmpEchoReplies, IcmpEchoUnasked, IcmpUnreachable, IcmpTooBig];
    assert_eq!(counts.map(|counter| sums.get(counter)), [1, 2, 1, 1, 1]);
    assert_eq!(sums.icmp_rtt_us.quantile(1.0), Some(4_864));
    let quote = quoted(IcmpVersion::V4, &too_big).unwrap();
    assert_eq!((quote.source_port, quote.destination_port, quote.sequence), (0x1234, 80, Some(9)));
    assert_eq!(
        (quote.source.to_string().as_str(), quote.kind),
        ("192.0.2.1", QuoteKind::TooBig { mtu: 1_500 })
    );
    assert!((0..32).all(|len| quoted(IcmpVersion::V4, &too_big[..len]).is_none()));
}

#[test]
fn sums_merge_in_any_order() {
    let mut http = Stream::new(80);
    http.client(b"GET / HTTP/1.1\r\n\r\n");
    http.server(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n");
    let mut tls = Stream::new(443);
    tls.client(&record(22, &client_hello(0)));
    tls.server(&record(22, &[server_hello(0x0303), certificate()].concat()));
    let (a, b, empty) = (http.close().1, tls.close().1, LayerSums::default());
    let merged = |parts: &[&LayerSums]| {
        let mut all = LayerSums::default();
        parts.iter().for_each(|part| all.merge(part));
        all
    };
    assert!(empty.is_empty() && !a.is_empty());
    assert_eq!(merged(&[&a, &b, &empty]), merged(&[&b, &empty, &a]));
    assert_eq!(merged(&[&merged(&[&a, &b]), &a]), merged(&[&a, &merged(&[&b, &a])]));
    let json = merged(&[&a, &b]).json();
    assert_eq!((&json["http"]["status_5xx"], &json["tls"]["hellos"]), (&1.into(), &2.into()));
    assert_eq!(json["version_entropy"], 0.918_295_834_054_489_6);
}
