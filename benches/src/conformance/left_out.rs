//! Packets without which tshark is asked once more, because it may be those that it and tidegauge see differently: packets
//! captured twice, what a SYN-ACK with another number took back, and RSTs behind which a connection goes on.
//!
//! What each set is, headers say alone. Called by the rules in `reason.rs`, and for the capture that tshark is then given.

use std::collections::{BTreeMap, BTreeSet};

use super::judgement::Judgement;
use super::ours::Said;
use super::tshark::Segment;

/// Copies of a packet further apart are not the same packet seen twice.
pub(super) const COPY_WITHIN_NS: i64 = 2_000_000;
/// Within this time, and with an IPv4 identification of its own, they certainly are.
const CERTAINLY_WITHIN_NS: i64 = 100_000;
/// Packets before in which the original of a copy is looked for.
const COPY_WITHIN_PACKETS: usize = 4_000;

const RST: u16 = 0x04;
const SYN: u16 = 0x02;
const SYN_OR_FIN: u16 = 0x03;
/// SYN and ACK.
const ANSWER: u16 = 0x12;

/// Those that tidegauge calls captured twice and that are, by their headers, those that an end sent before a SYN-ACK with
/// another number, and RSTs that ended nothing.
pub fn left_out(segments: &[Segment], said: &Said) -> BTreeSet<u64> {
    let mut packets = superseded(segments).packets;
    packets.extend(resets(segments).packets);
    packets.extend(copies(segments).possible.into_iter().filter(|packet| is_twice(said, *packet)));
    packets
}

/// Of SYN-ACKs with different numbers from one end, those that came to nothing: a later one where the other end had
/// acknowledged the first, else all that its end had sent before a later one, as long as that was no payload.
#[derive(Default)]
pub(super) struct Superseded {
    packets: BTreeSet<u64>,
    pub(super) streams: BTreeSet<u32>,
    /// First SYN-ACKs of ends that send another one.
    pub(super) first_answers: BTreeSet<u64>,
}

/// What an end sent before it sent payload.
#[derive(Default)]
struct Beginning {
    packets: Vec<u64>,
    next_seq: u32,
    answer: Option<(u64, u32)>,
    over: bool,
}

pub(super) fn superseded(segments: &[Segment]) -> Superseded {
    let mut found = Superseded::default();
    let mut beginnings: BTreeMap<(u32, &(String, u16)), Beginning> = BTreeMap::new();
    let mut acknowledged: BTreeMap<(u32, &(String, u16)), u32> = BTreeMap::new();
    for segment in segments {
        if segment.flags & (SYN | RST) == 0 {
            acknowledged.insert((segment.stream, &segment.destination), segment.ack);
        }
        let own = beginnings.entry((segment.stream, &segment.source)).or_default();
        if own.over {
            continue;
        }
        let is_answer = segment.flags & ANSWER == ANSWER;
        let same_again = own.answer.is_some_and(|(_, seq)| seq == segment.seq);
        let follows = segment.seq.wrapping_add(1) == own.next_seq;
        let taken = acknowledged.get(&(segment.stream, &segment.source));
        let first_taken = own.answer.is_some_and(|(_, seq)| taken == Some(&seq.wrapping_add(1)));
        if is_answer && !same_again && first_taken {
            found.packets.insert(segment.packet);
            found.streams.insert(segment.stream);
            continue;
        }
        if is_answer && !own.packets.is_empty() && !same_again && !follows {
            found.packets.extend(own.packets.drain(..));
            found.streams.insert(segment.stream);
            found.first_answers.extend(own.answer.map(|(packet, _)| packet));
        }
        if is_answer {
            own.answer = Some((segment.packet, segment.seq));
        }
        own.over = !is_answer && segment.payload_bytes != 0;
        own.packets.push(segment.packet);
        let flags = u32::from(segment.flags & SYN_OR_FIN != 0);
        own.next_seq = segment.seq.wrapping_add(segment.payload_bytes).wrapping_add(flags);
    }
    found
}

pub(super) fn is_twice(said: &Said, packet: u64) -> bool {
    said.judged.get(&packet).is_some_and(|judged| judged.judgements.has(Judgement::CapturedTwice))
}

/// RSTs behind which their connection goes on.
#[derive(Default)]
pub(super) struct Resets {
    packets: BTreeSet<u64>,
    pub(super) streams: BTreeSet<u32>,
}

pub(super) fn resets(segments: &[Segment]) -> Resets {
    let mut found = Resets::default();
    let mut so_far: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
    for segment in segments {
        if segment.flags & RST != 0 {
            so_far.entry(segment.stream).or_default().push(segment.packet);
        } else if segment.flags & SYN == 0
            && let Some(packets) = so_far.remove(&segment.stream)
        {
            found.packets.extend(packets);
            found.streams.insert(segment.stream);
        }
    }
    found
}

/// Packets whose headers are those of one shortly before.
pub(super) struct Copies {
    /// It may also be a packet with the same content that was sent once more.
    pub(super) possible: BTreeSet<u64>,
    pub(super) certain: BTreeSet<u64>,
}

pub(super) fn copies(segments: &[Segment]) -> Copies {
    let mut copies = Copies { possible: BTreeSet::new(), certain: BTreeSet::new() };
    let numbering = numbering(segments);
    let mut recent: BTreeMap<(u32, u32), Vec<usize>> = BTreeMap::new();
    for (index, segment) in segments.iter().enumerate() {
        let seen = recent.entry((segment.stream, segment.seq)).or_default();
        seen.retain(|earlier| index - earlier <= COPY_WITHIN_PACKETS);
        let originals = seen.iter().map(|earlier| &segments[*earlier]);
        let age_ns = originals
            .filter(|earlier| segment.is_copy_of(earlier))
            .map(|earlier| segment.at_ns - earlier.at_ns);
        if let Some(age_ns) = age_ns.min().filter(|age_ns| *age_ns <= COPY_WITHIN_NS) {
            copies.possible.insert(segment.packet);
            let is_numbered = segment.ip_id.is_some_and(|id| id != 0) && numbering.contains(&segment.source);
            if age_ns <= CERTAINLY_WITHIN_NS && is_numbered {
                copies.certain.insert(segment.packet);
            }
        }
        seen.push(index);
    }
    copies
}

/// Ends whose packets have more than one IPv4 identification: some write the same number into all.
fn numbering(segments: &[Segment]) -> BTreeSet<&(String, u16)> {
    let mut first = BTreeMap::new();
    let differing = segments.iter().filter_map(|segment| {
        let differs = *first.entry(&segment.source).or_insert(segment.ip_id) != segment.ip_id;
        differs.then_some(&segment.source)
    });
    differing.collect()
}
