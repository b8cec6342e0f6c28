//! Which row a key has, for tables that must keep the busy keys in a flood over random ones: four keys in a bucket, all
//! in one or two cache lines.
//!
//! A new key takes a free row; otherwise it takes one from the smallest credit of its bucket and the row of that at zero
//! (Misra and Gries 1982, per bucket), so what comes often stays.

use tidegauge_capture::memory::prefetch_lines;

const WAYS: usize = 4;

#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
struct Bucket {
    ids: [u64; WAYS],
    credits: [u16; WAYS],
    /// What the owner of the row last noted here, 0 where it did not; so that it need not look at the row.
    notes: [[u32; 2]; WAYS],
}

/// Where a key's row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Here, and it is its own.
    Known(usize),
    /// Here, and it has to begin.
    New(usize),
    /// Nowhere: all are busier.
    Refused,
}

/// Keys by place.
pub(super) struct Index {
    buckets: Box<[Bucket]>,
    refused: u64,
}

impl Index {
    /// For so many rows, a power of two.
    pub(super) fn new(rows: usize) -> Self {
        debug_assert!(rows.is_power_of_two() && rows >= WAYS);
        Self { buckets: vec![Bucket::default(); rows / WAYS].into_boxed_slice(), refused: 0 }
    }

    fn bucket(&self, id: u64) -> usize {
        (id >> 32) as usize & (self.buckets.len() - 1)
    }

    /// Has the line of `id` fetched.
    #[inline]
    pub(super) fn prefetch(&self, id: u64) {
        prefetch_lines(&self.buckets[self.bucket(id)]);
    }

    /// The row of `id`, which is not 0, if it has one.
    #[inline]
    pub(super) fn find(&self, id: u64) -> Option<usize> {
        let at = self.bucket(id);
        self.buckets[at].ids.iter().position(|known| *known == id).map(|way| at * WAYS + way)
    }

    /// The row of `id`, which is not 0; a row may be taken that is free, that `is_over`, or that has no credit left and
    /// holds nothing (`is_empty`). Credit grows by one each time.
    #[inline]
    pub(super) fn place(
        &mut self,
        id: u64,
        is_over: impl Fn(usize) -> bool,
        is_empty: impl Fn(usize) -> bool,
    ) -> Place {
        let at = self.bucket(id);
        let first = at * WAYS;
        let Bucket { ids, credits, notes } = &mut self.buckets[at];
        if let Some(way) = ids.iter().position(|known| *known == id) {
            credits[way] = credits[way].saturating_add(1);
            return Place::Known(first + way);
        }
        let free =
            (0..WAYS).find(|way| ids[*way] == 0).or_else(|| (0..WAYS).find(|way| is_over(first + way)));
        let way = free.or_else(|| {
            let way = (0..WAYS).min_by_key(|way| credits[*way])?;
            credits[way] = credits[way].saturating_sub(1);
            (credits[way] == 0 && is_empty(first + way)).then_some(way)
        });
        let Some(way) = way else {
            self.refused += 1;
            return Place::Refused;
        };
        (ids[way], credits[way], notes[way]) = (id, 1, [0; 2]);
        Place::New(first + way)
    }

    fn note(&self, id: u64, number: usize) -> Option<u32> {
        let bucket = &self.buckets[self.bucket(id)];
        let way = bucket.ids.iter().position(|known| *known == id)?;
        Some(bucket.notes[way][number]).filter(|note| *note != 0)
    }

    fn set_note(&mut self, id: u64, number: usize, note: u32) {
        let at = self.bucket(id);
        let Bucket { ids, notes, .. } = &mut self.buckets[at];
        if let Some(way) = ids.iter().position(|known| *known == id) {
            notes[way][number] = note;
        }
    }

    /// What was last asked for by `id`.
    #[inline]
    pub(super) fn last(&self, id: u64) -> Option<u32> {
        self.note(id, 0)
    }

    /// Notes what is asked for, which is not 0.
    pub(super) fn set_last(&mut self, id: u64, note: u32) {
        self.set_note(id, 0, note);
    }

    /// What was last answered to `id`.
    #[inline]
    pub(super) fn last_answer(&self, id: u64) -> Option<u32> {
        self.note(id, 1)
    }

    /// Notes what is answered, which is not 0.
    pub(super) fn set_last_answer(&mut self, id: u64, note: u32) {
        self.set_note(id, 1, note);
    }

    /// Times that a key found no row, since it was last asked.
    pub(super) const fn take_refused(&mut self) -> u64 {
        std::mem::replace(&mut self.refused, 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_key_keeps_its_row_among_random_ones() {
        let mut index = Index::new(4);
        let busy = 7 << 32;
        let mut refused = 0;
        for number in 1..=1_000_u64 {
            assert_ne!(index.place(busy, |_| false, |_| true), Place::Refused);
            let random = index.place((number << 40) | number, |_| false, |_| true);
            refused += u64::from(random == Place::Refused);
        }
        assert!(index.find(busy).is_some());
        assert_eq!(index.take_refused(), refused);
    }
}
