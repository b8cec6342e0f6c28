//! What the counters should say of a sequence of segments, found from the box's record alone: by sets of bytes that were
//! on the way before, which is not how the packet logic does it.

use std::collections::BTreeMap;

use tidegauge_tests::middlebox::{Act, Passages, Segment};

const FIN: u8 = 0x01;
const SYN: u8 = 0x02;

/// Of segments with payload or FIN, in the order of their arrival.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Expected {
    /// Begin below the highest byte before: sent again, or overtaken.
    pub(crate) below: u64,
    /// Begin above it: something is missing before.
    pub(crate) above: u64,
    /// Their bytes were all on this way before.
    pub(crate) copies: u64,
    /// All of them.
    pub(crate) segments: u64,
}

/// Sequence numbers by connection, unwrapped from the SYN's.
#[derive(Default)]
struct Stream {
    first: u32,
    /// Offsets of the first bytes of segments that passed, with their ends.
    passed: BTreeMap<u32, u32>,
    /// The end of the highest of them.
    highest: Option<u32>,
}

/// Counts.
pub(crate) fn expected(segments: impl Iterator<Item = Segment>) -> Expected {
    let mut expected = Expected::default();
    let mut streams = BTreeMap::<(u16, u16), Stream>::new();
    for segment in segments {
        let stream = streams.entry(ports(&segment)).or_default();
        let highest = stream.highest();
        let Some((start, _, is_copy)) = stream.pass(&segment) else { continue };
        expected.segments += 1;
        expected.below += u64::from(start < highest);
        expected.above += u64::from(start > highest);
        expected.copies += u64::from(is_copy);
    }
    expected
}

/// What became of the segments that the sender sent again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Again {
    /// Arrived.
    pub(crate) arrived: u64,
    /// Did not arrive.
    pub(crate) dropped: u64,
    /// Of those that arrived, those before which nothing behind them had arrived: to the receiver they are new.
    pub(crate) new_to_receiver: u64,
}

/// Follows each segment that was sent again by what the box did to it.
pub(crate) fn sent_again(passages: &Passages) -> Again {
    let mut again = Again::default();
    let mut sent = BTreeMap::<(u16, u16), Stream>::new();
    let mut known = Vec::new();
    for passage in &passages.entered {
        let segment = passage.segment;
        let told = segment.and_then(|segment| sent.entry(ports(&segment)).or_default().pass(&segment));
        let is_copy = told.is_some_and(|(_, _, is_copy)| is_copy);
        again.dropped += u64::from(is_copy && passage.act == Act::Dropped);
        known.push(told);
    }
    let mut highest = BTreeMap::<(u16, u16), u32>::new();
    for index in &passages.left {
        let (Some((start, end, is_copy)), Some(segment)) = (known[*index], passages.entered[*index].segment)
        else {
            continue;
        };
        let highest = highest.entry(ports(&segment)).or_insert(1);
        again.arrived += u64::from(is_copy);
        again.new_to_receiver += u64::from(is_copy && start >= *highest);
        *highest = (*highest).max(end);
    }
    again
}

const fn ports(segment: &Segment) -> (u16, u16) {
    (segment.source_port, segment.destination_port)
}

impl Stream {
    /// Start and end of what the segment carries, and whether all of it passed before; `None` where it carries nothing.
    fn pass(&mut self, segment: &Segment) -> Option<(u32, u32, bool)> {
        if segment.flags & SYN != 0 {
            *self = Self { first: segment.sequence, ..Self::default() };
            return None;
        }
        let bytes = segment.payload_bytes + u32::from(segment.flags & FIN != 0);
        if bytes == 0 {
            return None;
        }
        let start = segment.sequence.wrapping_sub(self.first);
        let end = start + bytes;
        let is_copy = start < self.highest() && self.contains(start, end);
        let known = self.passed.entry(start).or_insert(end);
        *known = (*known).max(end);
        self.highest = Some(self.highest().max(end));
        Some((start, end, is_copy))
    }

    /// The end of the highest segment. The handshake's number is the first one; it is not payload.
    fn highest(&self) -> u32 {
        self.highest.unwrap_or(1)
    }

    /// Whether all bytes from `start` to `end` passed before.
    fn contains(&self, start: u32, end: u32) -> bool {
        let mut reached = start;
        for (from, to) in &self.passed {
            if *from <= reached && *to > reached {
                reached = *to;
            }
        }
        reached >= end
    }
}
