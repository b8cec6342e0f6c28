//! Arithmetic of TCP sequence numbers, modulo 2^32 (RFC 9293 section 3.4).

/// Whether sequence number `a` lies after `b`.
#[inline(always)]
pub const fn is_after(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) > 0
}

/// Whether `a` lies after `b`, or as far after it as before: half way round, which RFC 1982 leaves open.
#[inline(always)]
pub const fn may_be_after(a: u32, b: u32) -> bool {
    (b.wrapping_sub(a) as i32) < 0
}
