//! Arithmetic of TCP sequence numbers, modulo 2^32 (RFC 9293 section 3.4).

/// Whether sequence number `a` lies after `b`.
#[inline(always)]
pub const fn is_after(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) > 0
}
