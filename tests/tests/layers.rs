//! What is read above TCP, UDP, ICMP and ARP equals what tshark counted, on the shared captures: hellos, alerts, requests,
//! responses by class, DNS by code, echoes with their round trips, errors, QUIC. Every difference is listed with its
//! reason, and has to be there.
//!
//! The driver here is the smallest that can call [`Layers`]: a map from five-tuples to slots. The shared captures may
//! not be copied into the project: where they are not beside the checkout, this is said.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use tidegauge_analyzer::fact::Facts;
use tidegauge_analyzer::layer::LayerCounter::{self, *};
use tidegauge_analyzer::layer::{
    AppRecord, Datagram, IcmpMessage, IcmpVersion, LayerSums, Layers, StreamPart, arp, from_last_header,
    quoted,
};
use tidegauge_capture::file::{FileReader, Input, Mapping};
use tidegauge_capture::frame::CapturedFrame;
use tidegauge_ebpf::packet::{Fragment, Network, Packet, Transport};
use tidegauge_ebpf::parse::parse;
use tidegauge_tests::skip::skip;

const CONNECTIONS: u32 = 100_000;
const TICK_NS: u64 = 100_000_000;

type End = ([u32; 4], u16);

/// One connection of the driver.
struct Connection {
    slot: u32,
    initiator: End,
    syn: Option<u32>,
}

/// The smallest caller of [`Layers`].
struct Driver {
    layers: Layers,
    sums: LayerSums,
    connections: HashMap<(End, End), Connection>,
    records: Vec<AppRecord>,
    quotes: usize,
    next_tick_ns: u64,
    last_ns: u64,
}

impl Driver {
    fn new() -> Self {
        Self {
            layers: Layers::new(CONNECTIONS),
            sums: LayerSums::default(),
            connections: HashMap::new(),
            records: Vec::new(),
            quotes: 0,
            next_tick_ns: 0,
            last_ns: 0,
        }
    }

    fn frame(&mut self, frame: &CapturedFrame<'_>) {
        let Some(link) = frame.link else { return };
        if frame.ts_ns >= self.next_tick_ns {
            self.layers.tick(frame.ts_ns, &mut self.sums);
            self.next_tick_ns = frame.ts_ns + TICK_NS;
        }
        self.last_ns = self.last_ns.max(frame.ts_ns);
        let mut packet = Packet::EMPTY;
        parse(frame.bytes, link, frame.wire_len, true, &mut packet);
        if packet.network == Network::Arp {
            arp(from_last_header(frame.bytes, link, frame.wire_len, true), &mut self.sums);
        }
        match packet.transport {
            Transport::Tcp => self.segment(frame, &packet),
            Transport::Udp => {
                if let Some(datagram) = Datagram::of(frame.bytes, &packet, frame.ts_ns) {
                    self.layers.udp(&datagram, &mut self.sums, &mut Facts::default());
                }
            }
            Transport::Icmp if packet.fragment != Fragment::Later => {
                let bytes = from_last_header(frame.bytes, link, frame.wire_len, true);
                let version = if packet.network == Network::Ipv4 { IcmpVersion::V4 } else { IcmpVersion::V6 };
                let (source, destination) = (packet.source, packet.destination);
                let message = IcmpMessage { version, source, destination, bytes, ts_ns: frame.ts_ns };
                self.layers.icmp(&message, &mut self.sums);
                self.quotes += usize::from(quoted(version, bytes).is_some());
            }
            _ => {}
        }
    }

    fn segment(&mut self, frame: &CapturedFrame<'_>, packet: &Packet) {
        let segment = &packet.segment;
        let ends = [(packet.source, packet.source_port), (packet.destination, packet.destination_port)];
        let [sender, receiver] = ends;
        let key = (sender.min(receiver), sender.max(receiver));
        let is_new_syn = |known: &Connection| segment.is_syn() && known.syn != Some(segment.sequence);
        if self.connections.get(&key).is_none_or(is_new_syn) {
            let slot = self.connections.get(&key).map(|known| known.slot);
            let slot = slot.unwrap_or(self.connections.len() as u32);
            self.records.extend(self.layers.close(slot, frame.ts_ns, &mut self.sums));
            // Of a connection whose beginning was not seen, the higher port is the initiator's.
            let guess = if sender.1 >= receiver.1 { sender } else { receiver };
            let initiator = if segment.is_syn() { sender } else { guess };
            let initiator = if segment.is_syn_ack() { receiver } else { initiator };
            let syn = segment.is_syn().then_some(segment.sequence);
            self.layers.open(slot, [syn.map(|syn| syn.wrapping_add(1)), None]);
            self.connections.insert(key, Connection { slot, initiator, syn });
        }
        let known = &self.connections[&key];
        if segment.is_syn_ack() && known.syn.is_some_and(|syn| syn.wrapping_add(1) == segment.acknowledgment)
        {
            let next = [segment.acknowledgment, segment.sequence.wrapping_add(1)];
            if self.layers.app(known.slot).is_none() {
                self.layers.open(known.slot, next.map(Some));
            }
        }
        if segment.payload_bytes == 0 {
            return;
        }
        let captured = frame.bytes.get(usize::from(packet.payload_offset)..).unwrap_or_default();
        let bytes = &captured[..captured.len().min(segment.payload_bytes as usize)];
        let from_initiator = known.initiator == sender;
        let part = StreamPart {
            slot: known.slot,
            from_initiator,
            sequence: segment.sequence,
            payload_bytes: segment.payload_bytes,
            bytes,
            ts_ns: frame.ts_ns,
            responder_port: if from_initiator { receiver.1 } else { sender.1 },
            ends: 0,
        };
        self.layers.tcp(&part, &mut self.sums, &mut Facts::default());
    }

    fn finish(&mut self) {
        for slot in 0..self.connections.len() as u32 {
            self.records.extend(self.layers.close(slot, self.last_ns, &mut self.sums));
        }
        self.layers.finish(self.last_ns, &mut self.sums);
    }
}

fn read(capture: &Path) -> Driver {
    let mut reader = FileReader::open(&Input::Path(capture.to_owned()), Mapping::Streamed).unwrap();
    let mut driver = Driver::new();
    reader
        .for_each(|frame| {
            driver.frame(&frame);
            ControlFlow::Continue(())
        })
        .unwrap();
    driver.finish();
    driver
}

/// Beside the checkout, or beside the directory that it is a worktree in.
fn shared_captures_or_skip(test: &str) -> Option<(PathBuf, String)> {
    let above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let found = above.map(|directory| directory.join("shared/captures")).find_map(|directory| {
        let manifest = std::fs::read_to_string(directory.join("MANIFEST.tsv")).ok()?;
        Some((directory, manifest))
    });
    if found.is_none() {
        skip(test, "without the shared captures beside the checkout");
    }
    found
}

/// Columns of the manifest, and what they are here.
const COMPARED: [(&str, LayerCounter); 16] = [
    ("tls_client_hello", TlsClientHellos),
    ("tls_server_hello", TlsServerHellos),
    ("tls_alert_recs", TlsAlerts),
    ("http_req", HttpRequests),
    ("http_resp", HttpResponses),
    ("http_4xx", HttpStatus4xx),
    ("http_5xx", HttpStatus5xx),
    ("dns_q", DnsQueries),
    ("dns_r", DnsResponses),
    ("dns_nx", DnsNxdomain),
    ("dns_servfail", DnsServfail),
    ("icmp_echo_req", IcmpEchoRequests),
    ("icmp_echo_rep", IcmpEchoReplies),
    ("icmp_unreach", IcmpUnreachable),
    ("icmp_ttl_exc", IcmpTtlExceeded),
    ("quic_pkts", QuicDatagrams),
];

/// Differences by file and column: what we count, and why tshark (by the manifest's rules) counts otherwise.
const DIFFERENCES: [(&str, &str, u64, &str); 20] = [
    ("browse_2013.pcap", "http_resp", 338, BODIES),
    ("browse_quic_vm.pcap", "http_req", 0, SSDP),
    ("browse_quic_vm.pcap", "tls_client_hello", 17, IN_QUIC),
    ("browse_quic_vm.pcap", "tls_server_hello", 17, IN_QUIC),
    ("campus_low.pcapng", "http_req", 0, SSDP),
    ("campus_low.pcapng", "tls_alert_recs", 6, OVERTAKEN),
    ("campus_low.pcapng", "tls_client_hello", 16, IN_QUIC),
    ("campus_low.pcapng", "tls_server_hello", 15, IN_QUIC),
    ("http_5xx_mix.pcap", "http_req", 133, SSDP),
    ("http_5xx_mix.pcap", "http_resp", 125, BODIES),
    ("loss_reorder_zerowin_http.pcap", "http_resp", 3, BODIES),
    ("ppa_ipv6_fragments.pcapng", "icmp_rtt_n", 5, ICMPV6),
    ("ppa_latency1.pcapng", "http_resp", 1, BODIES),
    ("ppa_latency2.pcapng", "http_resp", 1, BODIES),
    ("ppa_latency3.pcapng", "http_resp", 1, BODIES),
    ("ppa_latency4.pcapng", "http_resp", 1, BODIES),
    ("slowloris_plus_background.pcap", "tls_client_hello", 2, IN_QUIC),
    ("slowloris_plus_background.pcap", "tls_server_hello", 2, IN_QUIC),
    ("udp_amp_dns_rrsig_frag_mixed.pcap", "dns_r", 547, FRAGMENTS),
    ("udp_amp_dns_rrsig_frag_mixed.pcap", "tls_client_hello", 12, ON_8080),
];

/// A response is counted when its head is there; tshark counts it when its body is, and these captures miss or end within
/// bodies. (With `http.desegment_body:FALSE` it counts as we do, where nothing is missing before.)
const BODIES: &str = "bodies that are not there whole";
/// Its dissector is HTTP's: M-SEARCH and NOTIFY over UDP are requests there. Over TCP it counts as many as we do. (In
/// `udp_amp_dns_rrsig_frag_mixed` one of these stands for a request with a FIN, in which it sees a retransmission.)
const SSDP: &str = "SSDP";
/// It decrypts Initial packets, whose keys follow from what is visible; we read no hello there.
const IN_QUIC: &str = "hellos in QUIC";
/// A close_notify that the FIN overtook is a retransmission to it, of which it reads no content.
const OVERTAKEN: &str = "an alert behind its FIN";
/// It has round trips of ICMPv6 in another field than the one that was counted.
const ICMPV6: &str = "ICMPv6";
/// It counts datagrams that it could reassemble; of these captures' first fragments 145 have no end. Each is one response.
const FRAGMENTS: &str = "fragmented responses without their end";
/// On port 8080 it expects HTTP, and then shows nine ClientHellos as plain TCP.
const ON_8080: &str = "TLS on a port of HTTP";

#[test]
fn shared_captures_give_tsharks_counts() {
    let Some((directory, manifest)) = shared_captures_or_skip("shared_captures_give_tsharks_counts") else {
        return;
    };
    let mut lines = manifest.lines();
    let names: Vec<&str> = lines.next().unwrap().split('\t').collect();
    let mut wrong = Vec::new();
    for line in lines {
        let row: BTreeMap<&str, &str> = names.iter().copied().zip(line.split('\t')).collect();
        let file = row["file"];
        let sums = read(&directory.join(file)).sums;
        let found = COMPARED.iter().map(|(name, counter)| (*name, sums.get(*counter)));
        for (name, found) in found.chain([("icmp_rtt_n", sums.icmp_rtt_us.count())]) {
            let tshark = row[name].parse::<u64>().unwrap_or(0);
            let explained = DIFFERENCES.iter().find(|known| (known.0, known.1) == (file, name));
            let wanted = explained.map_or(tshark, |known| known.2);
            if found != wanted || explained.is_some() == (found == tshark) {
                wrong.push(format!("{file} {name}: found {found}, tshark {tshark}, {explained:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Medians of times, ms. tshark's are of the middle one, or the mean of the middle two; ours are lower bounds of buckets
/// of 6.25 %.
#[test]
fn shared_captures_give_tsharks_medians() {
    let Some((directory, manifest)) = shared_captures_or_skip("shared_captures_give_tsharks_medians") else {
        return;
    };
    let mut lines = manifest.lines();
    let names: Vec<&str> = lines.next().unwrap().split('\t').collect();
    let (mut wrong, mut compared) = (Vec::new(), 0);
    for line in lines {
        let row: BTreeMap<&str, &str> = names.iter().copied().zip(line.split('\t')).collect();
        let sums = read(&directory.join(row["file"])).sums;
        for (name, histogram) in
            [("dns_time_med_ms", &sums.dns_latency_us), ("icmp_rtt_med_ms", &sums.icmp_rtt_us)]
        {
            let Ok(wanted) = row[name].parse::<f64>() else { continue };
            let middle = [0.5, 0.5 + 1.0 / histogram.count().max(1) as f64];
            let [low_ms, high_ms] =
                middle.map(|q| f64::from(histogram.quantile(q.min(1.0)).unwrap_or(0)) / 1_000.0);
            compared += 1;
            if wanted < low_ms || wanted > high_ms * 1.0625 + 0.001 {
                wrong.push(format!("{} {name}: found {low_ms} to {high_ms}, tshark {wanted}", row["file"]));
            }
        }
    }
    assert!(wrong.is_empty() && compared >= 18, "{compared} compared\n{}", wrong.join("\n"));
}
