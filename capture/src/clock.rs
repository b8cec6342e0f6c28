//! The clocks that stamp frames: the kernel program's, and that of packet rings.

use rustix::time::{ClockId, Timespec, clock_getres, clock_gettime};

/// Resolution of the coarse monotonic clock (`bpf_ktime_get_coarse_ns`), one jiffy, in microseconds.
pub fn coarse_clock_us() -> u32 {
    let resolution = clock_getres(ClockId::MonotonicCoarse);
    let microseconds = resolution.tv_sec.saturating_mul(1_000_000).saturating_add(resolution.tv_nsec / 1_000);
    u32::try_from(microseconds).unwrap_or(u32::MAX)
}

/// Now by that clock, nanoseconds since boot: the time that the kernel program's stamps are of.
pub fn coarse_now_ns() -> u64 {
    ns_of(clock_gettime(ClockId::MonotonicCoarse))
}

/// Now by the clock that stamps the frames of packet rings, nanoseconds since the epoch.
pub fn realtime_ns() -> u64 {
    ns_of(clock_gettime(ClockId::Realtime))
}

fn ns_of(time: Timespec) -> u64 {
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    seconds.saturating_mul(1_000_000_000).saturating_add(u64::try_from(time.tv_nsec).unwrap_or_default())
}
