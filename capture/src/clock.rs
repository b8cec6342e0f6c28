//! How fine the kernel program's clock is.

use rustix::time::{ClockId, clock_getres};

/// Resolution of the coarse monotonic clock (`bpf_ktime_get_coarse_ns`), one jiffy, in microseconds.
pub fn coarse_clock_us() -> u32 {
    let resolution = clock_getres(ClockId::MonotonicCoarse);
    let microseconds = resolution.tv_sec.saturating_mul(1_000_000).saturating_add(resolution.tv_nsec / 1_000);
    u32::try_from(microseconds).unwrap_or(u32::MAX)
}
