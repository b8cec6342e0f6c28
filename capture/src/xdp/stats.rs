//! What our programs cost in the kernel: run time and runs, and the memory of their maps.
//!
//! The kernel measures while somebody holds [`Measuring`]. That is for all programs of the host and costs each run two
//! readings of a clock, so nobody should hold it all the time unasked. It ends with its file descriptor: after a crash
//! too. `/proc/sys/kernel/bpf_stats_enabled` is another switch for the same and is left alone.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use aya::maps::Map;
use aya::programs::Program;
use aya::sys::{Stats, enable_stats};

use super::XdpSource;
use super::attach::Egress;
use super::error::one_line;
use super::object::EGRESS;

/// While it lives, the kernel measures every BPF program of the host.
#[derive(Debug)]
pub struct Measuring {
    _switch: OwnedFd,
}

/// Has the kernel measure.
///
/// # Errors
/// Why not, in words: it needs CAP_SYS_ADMIN and Linux 5.8.
pub fn measure() -> Result<Measuring, String> {
    enable_stats(Stats::RunTime).map(|switch| Measuring { _switch: switch }).map_err(|error| {
        format!(
            "the kernel does not measure BPF programs for us (CAP_SYS_ADMIN is needed): {}",
            one_line(&error)
        )
    })
}

/// How often a program ran while the kernel measured, and for how long. Both only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RunTime {
    /// Frames it ran on.
    pub runs: u64,
    /// Nanoseconds, all CPUs together.
    pub run_ns: u64,
}

impl XdpSource {
    /// The XDP program's; `None` where the kernel does not say.
    pub fn ingress_run_time(&self) -> Option<RunTime> {
        run_time(self.object.ebpf().program(self.object.ingress_name())?)
    }

    /// The TCX program's; `None` where there is none.
    pub fn egress_run_time(&self) -> Option<RunTime> {
        if self.egress != Egress::Tcx {
            return None;
        }
        run_time(self.object.ebpf().program(EGRESS)?)
    }

    /// Memory of all maps in bytes, as the kernel accounts it (`memlock` in fdinfo); `None` where it does not say.
    /// It is fixed when maps are created.
    pub fn map_memory_bytes(&self) -> Option<u64> {
        self.object.ebpf().maps().map(|(_, map)| memory_of(map)).sum()
    }
}

fn run_time(program: &Program) -> Option<RunTime> {
    let info = program.info().ok()?;
    let run_ns = u64::try_from(info.run_time().as_nanos()).unwrap_or(u64::MAX);
    Some(RunTime { runs: info.run_count(), run_ns })
}

fn memory_of(map: &Map) -> Option<u64> {
    // The kinds that the object has or may get; the test that sums up all maps of the process proves it.
    let (Map::Array(data) | Map::HashMap(data) | Map::PerCpuArray(data) | Map::RingBuf(data)) = map else {
        return None;
    };
    let fd = data.fd().as_fd().as_raw_fd();
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).ok()?;
    info.lines().find_map(|line| line.strip_prefix("memlock:"))?.trim().parse().ok()
}
