//! Two hints about memory that safe Rust has no word for: fetch this soon, and put that on huge pages.
//!
//! Hints only: nothing here reads or changes a value, and what the machine cannot follow it ignores. Called by
//! whoever looks up tables that are larger than the CPU's caches.
#![expect(
    unsafe_code,
    reason = "a prefetch is an intrinsic, and advice about memory is a call with an address"
)]

use rustix::mm::Advice;

/// What a prefetch fetches, on every CPU that is built for here.
pub const CACHE_LINE_BYTES: usize = 64;

/// A multiple of every page size that Linux has: asking for the real one takes rights that may be given up by now.
const PAGE_BYTES: usize = 64 << 10;

/// Asks the CPU for the cache line in which `place` begins, ahead of its use. Does nothing on CPUs other than
/// x86-64 and AArch64.
#[inline(always)]
pub fn prefetch<T>(place: &T) {
    prefetch_line(std::ptr::from_ref(place).cast());
}

/// Asks the CPU for every cache line of `place`, for structures of a few lines: more would push each other out.
#[inline(always)]
pub fn prefetch_lines<T>(place: &T) {
    let first = std::ptr::from_ref(place).cast::<u8>();
    for offset in (0..size_of::<T>()).step_by(CACHE_LINE_BYTES) {
        prefetch_line(first.wrapping_add(offset));
    }
    // Where `place` does not begin with a line, its last bytes are in one more.
    if align_of::<T>() < CACHE_LINE_BYTES && size_of::<T>() > 1 {
        prefetch_line(first.wrapping_add(size_of::<T>() - 1));
    }
}

#[inline(always)]
fn prefetch_line(address: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: SSE, which the instruction belongs to, is part of every x86-64; it changes no value and raises no
    // fault, whatever the address.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(address.cast());
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: the instruction changes no register, flag or value and raises no fault, whatever the address.
    unsafe {
        std::arch::asm!(
            "prfm pldl1keep, [{address}]",
            address = in(reg) address,
            options(nostack, preserves_flags, readonly)
        );
    }
    #[cfg(not(any(target_arch = "aarch64", target_arch = "x86_64")))]
    let _ = address;
}

/// Advises the kernel to put `items` on huge pages, which saves most of the TLB misses of a table that is looked
/// up at random. For tables of several MiB, before anything is written to them: a page that has its memory keeps
/// it until the kernel gets round to moving it. Kernels without huge pages refuse, which changes nothing.
pub fn advise_huge_pages<T>(items: &[T]) {
    let start = items.as_ptr().cast::<u8>();
    let skipped = start.align_offset(PAGE_BYTES);
    let Some(inside) = size_of_val(items).checked_sub(skipped) else { return };
    let len = inside / PAGE_BYTES * PAGE_BYTES;
    if len > 0 {
        // SAFETY: this advice never changes what memory holds, who may access it or where it is, so it is harmless
        // for any range; this one is whole pages, all of which belong to the slice.
        let _ = unsafe {
            rustix::mm::madvise(start.wrapping_add(skipped).cast_mut().cast(), len, Advice::LinuxHugepage)
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_change_nothing() {
        let table: Box<[u64]> = (0..1 << 20).collect();
        advise_huge_pages(&table);
        prefetch(&table[7]);
        prefetch_lines(&[table[0], table[1]]);
        prefetch_lines(table.first_chunk::<40>().unwrap());
        assert!(table.iter().copied().eq(0..1 << 20));
    }

    #[test]
    fn things_too_small_for_a_page_or_a_line_are_fine() {
        advise_huge_pages::<u64>(&[]);
        advise_huge_pages(&[(); 9]);
        advise_huge_pages(&[1_u8]);
        advise_huge_pages(&vec![1_u8; 5_000]);
        prefetch(&());
        prefetch_lines(&());
        prefetch_lines(&1_u8);
    }

    #[test]
    fn the_kernel_takes_the_advice() {
        let table = vec![0_u8; 8 << 20];
        advise_huge_pages(&table);
        let at = table.as_ptr().addr() + (table.len() / 2);
        let Some(flags) = flags_of_the_mapping_at(at) else { return };
        if std::fs::exists("/sys/kernel/mm/transparent_hugepage").unwrap() {
            assert!(flags.split_whitespace().any(|flag| flag == "hg"), "{flags}");
        }
    }

    /// The flags line of the mapping that holds an address, where the kernel tells.
    fn flags_of_the_mapping_at(address: usize) -> Option<String> {
        let maps = std::fs::read_to_string("/proc/self/smaps").ok()?;
        let mut is_inside = false;
        for line in maps.lines() {
            let range = line.split(' ').next().and_then(|range| range.split_once('-'));
            let bounds =
                range.map(|(from, to)| (usize::from_str_radix(from, 16), usize::from_str_radix(to, 16)));
            if let Some((Ok(from), Ok(to))) = bounds {
                is_inside = (from..to).contains(&address);
            } else if let Some(flags) = line.strip_prefix("VmFlags:")
                && is_inside
            {
                return Some(flags.to_owned());
            }
        }
        None
    }
}
