//! Memory on huge pages, for tables that are looked up at random: on small pages each look would wait for the address
//! before it waits for the memory. Where the system grants none, all works as well, only slower.

use std::ops::{Index, IndexMut};

use tidegauge_capture::memory::advise_huge_pages;

/// A huge page of x86-64 and of AArch64 with small pages of 4 KiB.
const PAGE_BYTES: usize = 2 << 20;

/// Room for so many items, none of them there yet: memory is taken from the system as items come.
pub(super) fn pool<T>(capacity: usize) -> Vec<T> {
    let mut pool = Vec::with_capacity(capacity);
    advise_huge_pages(pool.spare_capacity_mut());
    pool
}

/// So many items, from the beginning of a huge page on.
pub(super) struct Table<T> {
    /// The first ones only fill the page before.
    items: Vec<T>,
    start: usize,
}

impl<T: Clone + Default> Table<T> {
    /// Items as they are by default.
    pub(super) fn new(len: usize) -> Self {
        // What is smaller than a page gains nothing, and each worker of a live source has many such tables.
        let is_small = len.saturating_mul(size_of::<T>()) < PAGE_BYTES;
        let filler = if is_small { 0 } else { PAGE_BYTES.div_ceil(size_of::<T>()) };
        let mut items = pool::<T>(len + filler);
        // In items; there is none where their size does not divide a page's.
        let start = items.as_ptr().align_offset(PAGE_BYTES);
        let start = if start <= filler { start } else { 0 };
        items.resize(start + len, T::default());
        Self { items, start }
    }

    /// All items.
    pub(super) fn items(&self) -> &[T] {
        &self.items[self.start..]
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.items.len() - self.start
    }
}

impl<T> Index<usize> for Table<T> {
    type Output = T;

    #[inline]
    fn index(&self, index: usize) -> &T {
        &self.items[self.start + index]
    }
}

impl<T> IndexMut<usize> for Table<T> {
    #[inline]
    fn index_mut(&mut self, index: usize) -> &mut T {
        &mut self.items[self.start + index]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_there_and_whole() {
        for len in [1, 100, 70_000] {
            let mut table = Table::<[u64; 8]>::new(len);
            table[len - 1][7] = 1;
            assert_eq!((table.len(), table.items().len(), table.items()[len - 1][7]), (len, len, 1));
            let odd = Table::<[u64; 5]>::new(len);
            assert_eq!(odd.items().len(), len);
        }
    }
}
