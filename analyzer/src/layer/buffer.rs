//! Reassembly buffers: a fixed number of them, for the few bytes of a stream that must wait for others.
//!
//! A buffer begins at the next byte of interest of its direction and has room for one TLS record or HTTP head. It is
//! held only while a message is incomplete or a hole is in front; a slow or hostile peer cannot keep it, since when
//! none is free the one held longest changes its owner, which is counted.

/// 255 buffers are numbered by one byte, with 0 for none. At a hello of two segments 10 ms apart they serve 25,000
/// new connections a second.
const BUFFERS: usize = 255;
/// One TLS record of 2^14 bytes with its header would need five more bytes; hellos and the heads that servers accept
/// (8 to 16 KiB) need fewer.
pub(super) const BUFFER_BYTES: usize = 16 * 1024;
/// Pieces of a stream with holes between them; more of them than these are not kept.
const PIECES: usize = 8;

/// Who holds a buffer: slot and direction.
pub(super) type Owner = (u32, usize);

/// What a buffer holds, without the bytes.
#[derive(Clone, Copy, Debug, Default)]
struct Held {
    owner: Option<Owner>,
    /// Number of the acquisition: the lowest is held longest.
    since: u64,
    /// Parts that are there, in order, apart from each other; the first `pieces` of them.
    filled: [(u16, u16); PIECES],
    pieces: u8,
}

/// All buffers of a shard.
pub(super) struct Buffers {
    held: Vec<Held>,
    bytes: Vec<u8>,
    free: Vec<u8>,
    acquired: u64,
}

impl Buffers {
    /// None of them is touched before it is used.
    pub(super) fn new() -> Self {
        Self {
            held: Vec::with_capacity(BUFFERS),
            bytes: Vec::with_capacity(BUFFERS * BUFFER_BYTES),
            free: Vec::with_capacity(BUFFERS),
            acquired: 0,
        }
    }

    pub(super) fn allocated_bytes(&self) -> usize {
        self.held.capacity() * size_of::<Held>() + self.bytes.capacity() + self.free.capacity()
    }

    /// An empty buffer for `owner`, and who lost it for that.
    pub(super) fn acquire(&mut self, owner: Owner) -> (u8, Option<Owner>) {
        let number = self.free.pop().or_else(|| self.grow()).unwrap_or_else(|| self.held_longest());
        self.acquired += 1;
        let since = self.acquired;
        let loser = self.held_mut(number).and_then(|held| {
            std::mem::replace(held, Held { owner: Some(owner), since, ..Held::default() }).owner
        });
        (number, loser)
    }

    fn grow(&mut self) -> Option<u8> {
        if self.held.len() == BUFFERS {
            return None;
        }
        self.held.push(Held::default());
        self.bytes.resize(self.held.len() * BUFFER_BYTES, 0);
        u8::try_from(self.held.len()).ok()
    }

    fn held_longest(&self) -> u8 {
        let longest = (1..=u8::MAX).zip(&self.held).min_by_key(|(_, held)| held.since);
        longest.map_or(0, |(number, _)| number)
    }

    /// Gives a buffer back.
    pub(super) fn release(&mut self, number: u8) {
        if let Some(held) = self.held_mut(number)
            && held.owner.take().is_some()
        {
            self.free.push(number);
        }
    }

    fn held_mut(&mut self, number: u8) -> Option<&mut Held> {
        self.held.get_mut(usize::from(number).checked_sub(1)?)
    }

    fn both_mut(&mut self, number: u8) -> Option<(&mut Held, &mut [u8])> {
        let index = usize::from(number).checked_sub(1)?;
        let bytes = self.bytes.get_mut(index * BUFFER_BYTES..(index + 1) * BUFFER_BYTES)?;
        Some((self.held.get_mut(index)?, bytes))
    }

    /// Puts bytes at an offset, as far as there is room. Whether they were kept.
    pub(super) fn put(&mut self, number: u8, at: usize, bytes: &[u8]) -> bool {
        let Some((held, room)) = self.both_mut(number) else { return false };
        let Some(room) = room.get_mut(at..) else { return false };
        let len = room.len().min(bytes.len());
        if len == 0 || !held.fill(at as u16, (at + len) as u16) {
            return false;
        }
        room[..len].copy_from_slice(&bytes[..len]);
        true
    }

    /// The bytes that are there without a hole from the beginning on.
    pub(super) fn contiguous(&self, number: u8) -> &[u8] {
        let bytes = usize::from(number).checked_sub(1).and_then(|index| {
            let end = self.held.get(index)?.contiguous();
            self.bytes.get(index * BUFFER_BYTES..index * BUFFER_BYTES + end)
        });
        bytes.unwrap_or_default()
    }

    /// Forgets the first bytes, of which there may be fewer. Whether anything is left.
    pub(super) fn consume(&mut self, number: u8, len: usize) -> bool {
        let Some((held, bytes)) = self.both_mut(number) else { return false };
        let end = held.end();
        if len < end {
            bytes.copy_within(len..end, 0);
        }
        held.shift(len);
        held.pieces != 0
    }

    /// Takes `len` bytes at `at` out of the middle; all before `at + len` must be there.
    pub(super) fn cut_out(&mut self, number: u8, at: usize, len: usize) {
        let Some((held, bytes)) = self.both_mut(number) else { return };
        let end = held.end();
        if at + len <= held.contiguous() {
            bytes.copy_within(at + len..end, at);
            held.shorten(len as u16);
        }
    }
}

impl Held {
    fn parts(&self) -> &[(u16, u16)] {
        self.filled.get(..usize::from(self.pieces)).unwrap_or_default()
    }

    fn contiguous(&self) -> usize {
        match self.parts().first() {
            Some((0, end)) => usize::from(*end),
            _ => 0,
        }
    }

    fn end(&self) -> usize {
        self.parts().last().map_or(0, |(_, end)| usize::from(*end))
    }

    fn replace(&mut self, parts: impl Iterator<Item = (u16, u16)>) {
        let mut pieces = 0;
        let mut filled = [(0, 0); PIECES];
        for (place, part) in filled.iter_mut().zip(parts) {
            *place = part;
            pieces += 1;
        }
        (self.filled, self.pieces) = (filled, pieces);
    }

    /// Adds a part, joined with those it touches; `false` where that were too many.
    fn fill(&mut self, start: u16, end: u16) -> bool {
        let mut joined = (start, end);
        let (mut before, mut others) = (0, [(0, 0); PIECES]);
        let mut count = 0;
        for part in self.parts() {
            if part.1 < start || part.0 > end {
                before += usize::from(part.1 < start);
                others[count] = *part;
                count += 1;
            } else {
                joined = (joined.0.min(part.0), joined.1.max(part.1));
            }
        }
        if count == PIECES {
            return false;
        }
        let (left, right) = others[..count].split_at(before);
        self.replace(left.iter().copied().chain([joined]).chain(right.iter().copied()));
        true
    }

    /// Forgets the first bytes.
    fn shift(&mut self, len: usize) {
        let len = u16::try_from(len).unwrap_or(u16::MAX);
        let parts = self.filled.into_iter().take(usize::from(self.pieces));
        let parts = parts.filter(|(_, end)| *end > len);
        self.replace(parts.map(|(start, end)| (start.saturating_sub(len), end - len)));
    }

    /// The first part is shorter, and what follows comes earlier.
    fn shorten(&mut self, len: u16) {
        let parts = self.filled.into_iter().take(usize::from(self.pieces));
        self.replace(parts.map(|(start, end)| (start.saturating_sub(len), end.saturating_sub(len))));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_in_any_order_become_one() {
        let mut buffers = Buffers::new();
        let (number, _) = buffers.acquire((0, 0));
        assert!(buffers.put(number, 4, b"ef"));
        assert!(buffers.put(number, 2, b"cd"));
        assert_eq!(buffers.contiguous(number), b"");
        assert!(buffers.put(number, 0, b"abc"));
        assert_eq!(buffers.contiguous(number), b"abcdef");
        buffers.cut_out(number, 1, 2);
        assert_eq!(buffers.contiguous(number), b"adef");
        assert!(buffers.put(number, 6, b"gh"));
        assert!(buffers.consume(number, 5));
        assert_eq!(buffers.contiguous(number), b"");
        assert!(buffers.put(number, 0, b"z"));
        assert_eq!(buffers.contiguous(number), b"zgh");
        assert!(!buffers.consume(number, 10));
    }

    #[test]
    fn too_many_holes_and_no_room_are_refused() {
        let mut buffers = Buffers::new();
        let (number, _) = buffers.acquire((0, 0));
        assert!((0..PIECES).all(|piece| buffers.put(number, piece * 2, b"x")));
        assert!(!buffers.put(number, PIECES * 2, b"x"));
        assert!(buffers.put(number, 1, b"x"), "this one joins two");
        assert!(!buffers.put(number, BUFFER_BYTES, b"x"));
        assert!(buffers.put(number, BUFFER_BYTES - 1, b"xy"), "the part that fits");
    }

    #[test]
    fn the_one_held_longest_changes_its_owner() {
        let mut buffers = Buffers::new();
        let numbers: Vec<u8> = (0..BUFFERS as u32).map(|slot| buffers.acquire((slot, 0)).0).collect();
        buffers.release(numbers[0]);
        assert_eq!(buffers.acquire((900, 1)), (numbers[0], None));
        assert_eq!(buffers.acquire((901, 0)), (numbers[1], Some((1, 0))));
    }
}
