//! How fine the kernel program's clock is.

use rustix::time::{ClockId, clock_getres, clock_gettime};

/// Resolution of the coarse monotonic clock (`bpf_ktime_get_coarse_ns`), one jiffy, in microseconds.
pub fn coarse_clock_us() -> u32 {
    let resolution = clock_getres(ClockId::MonotonicCoarse);
    let microseconds = resolution.tv_sec.saturating_mul(1_000_000).saturating_add(resolution.tv_nsec / 1_000);
    u32::try_from(microseconds).unwrap_or(u32::MAX)
}

/// Now by that clock, nanoseconds since boot: the time that the kernel program's stamps are of.
pub fn coarse_now_ns() -> u64 {
    let now = clock_gettime(ClockId::MonotonicCoarse);
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    seconds.saturating_mul(1_000_000_000).saturating_add(u64::try_from(now.tv_nsec).unwrap_or_default())
}
