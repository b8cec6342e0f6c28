//! A scene: small tables, a clock, and conversations whose two sides keep their own numbers.

use tidegauge_ebpf::attempt::AttemptBucket;
use tidegauge_ebpf::counter::{Counter, Counters};
use tidegauge_ebpf::flow::end_hash;
use tidegauge_ebpf::judge::FlowBucket;
use tidegauge_ebpf::link::LinkType;
use tidegauge_ebpf::listener::{ListenerBucket, ListenerCounter, ListenerRow};
use tidegauge_ebpf::observe::{Arrival, Tables, flush, observe};
use tidegauge_ebpf::packet::{ipv4_mapped, tcp_flag};
use tidegauge_ebpf::section::Section;
use tidegauge_ebpf::settings::Settings;
use tidegauge_ebpf::source::{SourceBucket, SourceCount};
use tidegauge_ebpf::stamp::{Moment, Stamp};
use tidegauge_ebpf::target::{TargetBucket, TargetRow};

use crate::frame::{Ipv4, Tcp, ethernet};

pub(crate) const ACK: u8 = tcp_flag::ACK;
pub(crate) const FIN: u8 = tcp_flag::FIN;
pub(crate) const PSH: u8 = tcp_flag::PSH;
pub(crate) const RST: u8 = tcp_flag::RST;
pub(crate) const SYN: u8 = tcp_flag::SYN;

const SEED: u64 = 7;
const ATTEMPT_BUCKETS: usize = 64;
const FLOW_BUCKETS: usize = 16;

struct HeapTables {
    section: Section,
    attempts: Vec<AttemptBucket>,
    flows: Vec<FlowBucket>,
    listeners: Vec<ListenerBucket>,
    sources: Vec<SourceBucket>,
    prefixes: Vec<SourceBucket>,
    targets: Vec<TargetBucket>,
}

fn bucket<T>(table: &mut [T], hash: u64) -> Option<&mut T> {
    let index = hash as u32 as usize % table.len();
    table.get_mut(index)
}

impl Tables for HeapTables {
    const DEPTH: u32 = 7;

    fn section(&mut self) -> Option<&mut Section> {
        Some(&mut self.section)
    }

    fn prefixes(&mut self, pair: u64) -> Option<&mut SourceBucket> {
        bucket(&mut self.prefixes, pair)
    }

    fn targets(&mut self, hash: u64) -> Option<&mut TargetBucket> {
        bucket(&mut self.targets, hash)
    }

    fn precise(&mut self, arrived: Stamp, _reserve: u32) -> Moment {
        Moment { stamp: arrived, precise: true }
    }

    fn attempts(&mut self, hash: u64) -> Option<&mut AttemptBucket> {
        bucket(&mut self.attempts, hash)
    }

    fn flows(&mut self, hash: u64) -> Option<&mut FlowBucket> {
        bucket(&mut self.flows, hash)
    }

    fn listeners(&mut self, id: u64) -> Option<&mut ListenerBucket> {
        bucket(&mut self.listeners, id)
    }

    fn sources(&mut self, pair: u64) -> Option<&mut SourceBucket> {
        bucket(&mut self.sources, pair)
    }
}

/// Tables and a clock.
pub(crate) struct Scene {
    tables: HeapTables,
    now_ns: u64,
    /// The packet logic's constants.
    pub(crate) settings: Settings,
    /// Packets that may stay unjudged.
    pub(crate) lag: u32,
}

impl Scene {
    pub(crate) fn new() -> Self {
        let tables = HeapTables {
            section: Section::default(),
            attempts: vec![AttemptBucket::default(); ATTEMPT_BUCKETS],
            flows: vec![FlowBucket::default(); FLOW_BUCKETS],
            listeners: vec![ListenerBucket::default(); 16],
            sources: vec![SourceBucket::default(); 16],
            prefixes: vec![SourceBucket::default(); 16],
            targets: vec![TargetBucket::default(); 16],
        };
        Self { tables, now_ns: 1_000_000_000, settings: Settings::with_seed(SEED), lag: 0 }
    }

    pub(crate) fn wait_ms(&mut self, milliseconds: u64) {
        self.now_ns += milliseconds * 1_000_000;
    }

    /// A frame passes.
    pub(crate) fn hear(&mut self, frame: &[u8]) {
        self.hear_cut(frame, frame.len());
    }

    /// A frame passes, and only its first bytes are captured.
    pub(crate) fn hear_cut(&mut self, frame: &[u8], captured: usize) {
        let arrival = Arrival {
            now: Stamp::from_ns(self.now_ns),
            link: LinkType::Ethernet,
            captured_len: captured as u32,
            wire_len: frame.len() as u32,
            segments: 1,
        };
        observe(&frame[..captured], arrival, &mut self.tables, self.settings, self.lag);
    }

    /// Judges what still waits.
    pub(crate) fn flush(&mut self) {
        flush(&[][..], &mut self.tables, self.settings);
    }

    pub(crate) fn targets(&self) -> impl Iterator<Item = &TargetRow> {
        let rows = self.tables.targets.iter().flat_map(|bucket| bucket.ids.iter().zip(&bucket.rows));
        rows.filter(|(id, _)| **id != 0).map(|(_, row)| row)
    }

    pub(crate) fn prefixes(&self) -> impl Iterator<Item = &SourceCount> {
        self.tables.prefixes.iter().flat_map(|bucket| &bucket.ways).filter(|count| count.fingerprint != 0)
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.tables.section.counters
    }

    pub(crate) fn get(&self, counter: Counter) -> u64 {
        self.tables.section.counters.get(counter)
    }

    /// All that was judged and is not zero, by name. Left out is what every conversation has: a slot and windows.
    pub(crate) fn judged(&self) -> Vec<(&'static str, u64)> {
        let usual = [Counter::FlowsAdmitted, Counter::RwndSamples, Counter::RwndScaleUnknown];
        let judgements = Counter::ALL.iter().skip(Counter::Attempted as usize);
        let counted = judgements.filter(|counter| !usual.contains(counter));
        counted.map(|counter| (counter.name(), self.get(*counter))).filter(|(_, count)| *count != 0).collect()
    }

    /// The row of a listener.
    pub(crate) fn row(&mut self, end: End) -> &ListenerRow {
        let id = end_hash(ipv4_mapped(u32::from_be_bytes(end.address)), end.port, SEED);
        let bucket = self.tables.listeners(id).expect("every id has a bucket");
        let way = bucket.find(id).expect("the listener has a row");
        &bucket.rows[way]
    }

    pub(crate) fn of(&mut self, end: End, counter: ListenerCounter) -> u64 {
        self.row(end).get(counter)
    }

    /// Attempts that wait for their end.
    pub(crate) fn waiting(&self) -> u64 {
        let now = Stamp::from_ns(self.now_ns);
        let attempts = self.tables.attempts.iter().flat_map(|bucket| &bucket.ways);
        attempts.filter(|attempt| attempt.waiting(now)).count() as u64
    }

    /// Flows in the table.
    pub(crate) fn flows(&self) -> usize {
        self.tables.flows.iter().flat_map(|bucket| &bucket.ways).filter(|flow| flow.fingerprint != 0).count()
    }
}

/// One end of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) address: [u8; 4],
    pub(crate) port: u16,
}

pub(crate) const CLIENT: End = End { address: [10, 0, 0, 1], port: 40_000 };
pub(crate) const SERVER: End = End { address: [10, 0, 0, 2], port: 80 };

/// What one end will send next.
#[derive(Clone, Debug)]
pub(crate) struct Speaker {
    pub(crate) end: End,
    pub(crate) next: u32,
    pub(crate) window: u16,
    /// Offered on SYN.
    pub(crate) shift: Option<u8>,
    /// Value and echo of the timestamps option outside of SYN segments; none if 0.
    pub(crate) timestamps: (u32, u32),
}

/// A TCP conversation; each call makes the next frame of one side.
#[derive(Clone, Debug)]
pub(crate) struct Talk {
    pub(crate) client: Speaker,
    pub(crate) server: Speaker,
}

impl Talk {
    pub(crate) fn between(client: End, server: End) -> Self {
        let speaker = |end, next| Speaker { end, next, window: 64_000, shift: Some(7), timestamps: (0, 0) };
        Self { client: speaker(client, 1_000), server: speaker(server, 900_000) }
    }

    pub(crate) fn new() -> Self {
        Self::between(CLIENT, SERVER)
    }

    /// The client's next segment.
    pub(crate) fn client(&mut self, flags: u8, payload_bytes: usize) -> Vec<u8> {
        speak(&mut self.client, &self.server, flags, payload_bytes)
    }

    /// The server's next segment.
    pub(crate) fn server(&mut self, flags: u8, payload_bytes: usize) -> Vec<u8> {
        speak(&mut self.server, &self.client, flags, payload_bytes)
    }

    /// SYN, SYN-ACK, ACK, a millisecond apart.
    pub(crate) fn shake_hands(&mut self, scene: &mut Scene) {
        scene.hear(&self.client(SYN, 0));
        scene.wait_ms(1);
        scene.hear(&self.server(SYN | ACK, 0));
        scene.wait_ms(1);
        scene.hear(&self.client(ACK, 0));
    }

    /// FIN both ways, and the last ACK.
    pub(crate) fn close(&mut self, scene: &mut Scene) {
        scene.hear(&self.client(FIN | ACK, 0));
        scene.hear(&self.server(FIN | ACK, 0));
        scene.hear(&self.client(ACK, 0));
    }
}

fn speak(speaker: &mut Speaker, listener: &Speaker, flags: u8, payload_bytes: usize) -> Vec<u8> {
    let options = match speaker.shift {
        Some(shift) if flags & SYN != 0 => vec![2, 4, 5, 0xb4, 1, 3, 3, shift],
        _ if flags & SYN != 0 => vec![2, 4, 5, 0xb4],
        _ if speaker.timestamps.0 != 0 => timestamps(speaker.timestamps),
        _ => Vec::new(),
    };
    let tcp = Tcp {
        source_port: speaker.end.port,
        destination_port: listener.end.port,
        sequence: speaker.next,
        acknowledgment: if flags & ACK == 0 { 0 } else { listener.next },
        flags,
        window: speaker.window,
        options,
    };
    speaker.next = speaker.next.wrapping_add(payload_bytes as u32 + u32::from(flags & (SYN | FIN) != 0));
    let ip = Ipv4::between(speaker.end.address, listener.end.address);
    ethernet(&[], 0x0800, &ip.packet(6, &tcp.bytes(&vec![0; payload_bytes])))
}

/// NOP, NOP, timestamps, as all systems send them.
fn timestamps((value, echo): (u32, u32)) -> Vec<u8> {
    let mut options = vec![1, 1, 8, 10];
    options.extend(value.to_be_bytes());
    options.extend(echo.to_be_bytes());
    options
}
