//! Frames that have just passed, cut to what is kept of them: the time before a trigger.
//!
//! Memory is bounded by bytes; the oldest go in pieces of 256 KiB. A worker of a live run fills chunks of its
//! own and hands them over; whoever reads files fills the ring itself.

use std::collections::VecDeque;

use tidegauge_capture::frame::CapturedFrame;
use tidegauge_ebpf::link::LinkType;

/// Bytes of a chunk from which on the next one begins: a pre-trigger ring of 16 MiB has 64.
const CHUNK_BYTES: usize = 256 * 1024;

/// What is known of a kept frame beside its bytes.
#[derive(Clone, Copy, Debug)]
struct Meta {
    ts_ns: u64,
    wire_len: u32,
    start: u32,
    len: u32,
    dlt: u16,
    link: Option<LinkType>,
}

/// Some frames, in the order in which they came.
#[derive(Debug, Default)]
pub struct Chunk {
    metas: Vec<Meta>,
    bytes: Vec<u8>,
}

impl Chunk {
    /// Keeps the first `snap_bytes` of a frame.
    #[inline]
    pub fn push(&mut self, frame: &CapturedFrame<'_>, snap_bytes: usize) {
        let kept = &frame.bytes[..frame.bytes.len().min(snap_bytes)];
        let CapturedFrame { ts_ns, dlt, link, wire_len, .. } = *frame;
        let (start, len) = (self.bytes.len() as u32, kept.len() as u32);
        self.bytes.extend_from_slice(kept);
        self.metas.push(Meta { ts_ns, wire_len, start, len, dlt, link });
    }

    /// The frames.
    pub fn frames(&self) -> impl DoubleEndedIterator<Item = CapturedFrame<'_>> {
        self.metas.iter().map(|meta| {
            let Meta { ts_ns, wire_len, dlt, link, start, len } = *meta;
            let bytes = &self.bytes[start as usize..(start + len) as usize];
            CapturedFrame { ts_ns, dlt, link, wire_len, bytes }
        })
    }

    /// Memory that its frames take.
    pub fn size(&self) -> usize {
        self.bytes.len() + self.metas.len() * size_of::<Meta>()
    }

    /// Whether there is no frame.
    pub fn is_empty(&self) -> bool {
        self.metas.is_empty()
    }

    fn clear(&mut self) {
        self.metas.clear();
        self.bytes.clear();
    }
}

/// What a worker keeps of its frames between two reports.
#[derive(Debug)]
pub struct Keeper {
    chunk: Chunk,
    snap_bytes: usize,
    size_max: usize,
    not_kept: u64,
}

impl Keeper {
    /// One that keeps so many bytes of each frame, and of all together about `size_max`.
    pub fn new(snap_bytes: usize, size_max: usize) -> Self {
        Self { chunk: Chunk::default(), snap_bytes, size_max, not_kept: 0 }
    }

    /// A frame passes.
    #[inline]
    pub fn push(&mut self, frame: &CapturedFrame<'_>) {
        if self.chunk.size() < self.size_max {
            self.chunk.push(frame, self.snap_bytes);
        } else {
            self.not_kept += 1;
        }
    }

    /// What was kept since the last time, and how many frames were not.
    pub fn take(&mut self) -> (Chunk, u64) {
        (std::mem::take(&mut self.chunk), std::mem::take(&mut self.not_kept))
    }
}

/// The last frames, up to so many bytes.
#[derive(Debug)]
pub struct Ring {
    chunks: VecDeque<Chunk>,
    /// Bytes of all chunks.
    size: usize,
    size_max: usize,
}

impl Ring {
    /// A ring of at most `size_max` bytes, and one chunk more.
    pub const fn new(size_max: usize) -> Self {
        Self { chunks: VecDeque::new(), size: 0, size_max }
    }

    /// Adds a frame.
    #[inline]
    pub fn push(&mut self, frame: &CapturedFrame<'_>, snap_bytes: usize) {
        if self.chunks.back().is_none_or(|chunk| chunk.size() >= CHUNK_BYTES) {
            self.begin_chunk();
        }
        if let Some(chunk) = self.chunks.back_mut() {
            let before = chunk.size();
            chunk.push(frame, snap_bytes);
            self.size += chunk.size() - before;
        }
    }

    /// Adds what a worker kept.
    pub fn take(&mut self, chunk: Chunk) {
        self.size += chunk.size();
        self.chunks.push_back(chunk);
        while self.drop_oldest().is_some() {}
    }

    #[cold]
    fn begin_chunk(&mut self) {
        let mut chunk = self.drop_oldest().unwrap_or_default();
        chunk.clear();
        self.chunks.push_back(chunk);
    }

    /// The oldest chunk, where there are too many.
    fn drop_oldest(&mut self) -> Option<Chunk> {
        if self.size <= self.size_max {
            return None;
        }
        let chunk = self.chunks.pop_front()?;
        self.size -= chunk.size();
        Some(chunk)
    }

    /// All frames, the newest first.
    pub fn newest_first(&self) -> impl Iterator<Item = CapturedFrame<'_>> {
        self.chunks.iter().rev().flat_map(|chunk| chunk.frames().rev())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_go_and_memory_is_bounded() {
        let mut ring = Ring::new(CHUNK_BYTES * 2);
        let bytes = [7_u8; 200];
        let frame = |ts_ns| CapturedFrame {
            ts_ns,
            dlt: 1,
            link: LinkType::from_dlt(1),
            wire_len: 200,
            bytes: &bytes,
        };
        for ts_ns in 0..50_000 {
            ring.push(&frame(ts_ns), 100);
            assert!(ring.size <= CHUNK_BYTES * 3 + 200, "{}", ring.size);
        }
        let kept: Vec<_> = ring.newest_first().collect();
        assert_eq!((kept[0].ts_ns, kept[0].bytes.len(), kept[0].wire_len), (49_999, 100, 200));
        assert!(kept.len() > 2_000 && kept.iter().rev().is_sorted_by_key(|frame| frame.ts_ns));
        // A worker's chunk may be larger than all.
        let mut chunk = Chunk::default();
        (0..50_000).for_each(|ts_ns| chunk.push(&frame(ts_ns), 100));
        ring.take(chunk);
        assert!(ring.size <= CHUNK_BYTES * 2, "{}", ring.size);
    }
}
