//! Memory on huge pages, for tables that are looked up at random: on small pages each look would wait for the address
//! before it waits for the memory. Where the system grants none, all works as well, only slower.

use std::ops::{Index, IndexMut};

use tidegauge_capture::memory::advise_huge_pages;

/// A huge page of x86-64 and of AArch64 with small pages of 4 KiB.
const PAGE_BYTES: usize = 2 << 20;

/// Tables of so many bytes and more are given whole pages.
const WORTH_A_PAGE_BYTES: usize = PAGE_BYTES / 2;

/// Room for so many items, none of them there yet: memory is taken from the system as items come.
pub(crate) fn pool<T>(capacity: usize) -> Vec<T> {
    let mut pool = Vec::with_capacity(capacity);
    advise_huge_pages(pool.spare_capacity_mut());
    pool
}

/// So many items, from the beginning of a huge page on.
pub(crate) struct Table<T> {
    /// The first ones only fill the page before.
    items: Vec<T>,
    start: usize,
}

impl<T: Clone + Default> Table<T> {
    /// Items as they are by default.
    pub(crate) fn new(len: usize) -> Self {
        Self::of(len, T::default())
    }
}

impl<T: Clone> Table<T> {
    /// So many of an item.
    pub(crate) fn of(len: usize, item: T) -> Self {
        // What is much smaller than a page is soon known by its small ones, and would fill a huge one for nothing.
        let bytes = len.saturating_mul(size_of::<T>());
        let filler = if bytes < WORTH_A_PAGE_BYTES { 0 } else { PAGE_BYTES.div_ceil(size_of::<T>()) };
        // The last page is taken whole: only what lies inside of what we have can be one.
        let behind = if filler == 0 {
            0
        } else {
            (bytes.next_multiple_of(PAGE_BYTES) - bytes).div_ceil(size_of::<T>())
        };
        let mut items = pool::<T>(len + filler + behind);
        // In items; there is none where their size does not divide a page's.
        let start = items.as_ptr().align_offset(PAGE_BYTES);
        let start = if start <= filler { start } else { 0 };
        items.resize(start + len, item);
        Self { items, start }
    }

    /// All items.
    pub(crate) fn items(&self) -> &[T] {
        &self.items[self.start..]
    }

    /// An item, if there is such a one.
    #[inline]
    pub(crate) fn get(&self, index: usize) -> Option<&T> {
        self.items.get(self.start + index)
    }

    /// The same, to change.
    #[inline]
    pub(crate) fn get_mut(&mut self, index: usize) -> Option<&mut T> {
        self.items.get_mut(self.start + index)
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
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
