//! Three things about memory that safe Rust has no word for: a cache hint, a mapped file, huge pages.
//!
//! One of the crate's three files with `unsafe`. Nothing here parses or decides.
#![expect(unsafe_code, reason = "a cache hint is an intrinsic, and a mapped file can change under us")]

use std::fs::File;
use std::io;
use std::marker::PhantomData;

use bytemuck::Pod;
use memmap2::{Advice, Mmap, MmapMut};

/// Asks the CPU to fetch the cache line of `place` before it is needed.
#[inline]
pub fn prefetch<T>(place: &T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch reads nothing architecturally and cannot fault; the address is that of a live reference.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(place).cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = place;
}

/// Maps `file` for reading front to back.
pub fn map_file(file: &File) -> io::Result<Mmap> {
    // SAFETY: the captures are written once, renamed into place and then only read, by this crate alone; a file
    // that somebody cuts meanwhile ends the benchmark with SIGBUS, which is the honest result.
    let map = unsafe { Mmap::map(file)? };
    map.advise(Advice::Sequential)?;
    Ok(map)
}

/// A zeroed array in memory of its own, on huge pages where the kernel grants them: one TLB miss per access less.
pub struct HugeArray<T> {
    map: MmapMut,
    item: PhantomData<T>,
}

impl<T: Pod> HugeArray<T> {
    /// `count` zeroed items; pages are taken from the system as they are touched.
    pub fn zeroed(count: usize) -> io::Result<Self> {
        let map = MmapMut::map_anon(count * size_of::<T>())?;
        // Refused where transparent huge pages are configured away; small pages work too.
        let _ = map.advise(Advice::HugePage);
        Ok(Self { map, item: PhantomData })
    }

    /// The items.
    #[inline]
    pub fn items(&self) -> &[T] {
        bytemuck::cast_slice(&self.map)
    }

    /// The items, to be changed.
    #[inline]
    pub fn items_mut(&mut self) -> &mut [T] {
        bytemuck::cast_slice_mut(&mut self.map)
    }
}
