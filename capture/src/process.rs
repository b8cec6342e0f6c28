//! What this process uses: CPU time of all its threads, and resident memory.
//!
//! Opened once and read without opening anything again, so that it works in a process that gave its rights away.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use rustix::thread::{CpuSet, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};

/// `/proc/self/status` is some 1.5 KiB; what is asked for stands in its first half.
const STATUS_BYTES: usize = 4_096;

/// The calling process.
pub struct Process {
    status: File,
}

/// Resident memory in bytes; `None` where the kernel does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resident {
    /// Now (`VmRSS`). Mapped BPF arrays and packet rings are part of it.
    pub now_bytes: Option<u64>,
    /// At most so far (`VmHWM`).
    pub peak_bytes: Option<u64>,
}

/// Keeps the calling thread on one CPU.
///
/// # Errors
/// Where it may not run there.
pub fn pin_to_cpu(cpu: usize) -> io::Result<()> {
    let mut only = CpuSet::new();
    only.set(cpu);
    Ok(sched_setaffinity(None, &only)?)
}

impl Process {
    /// Opens the process's own status.
    ///
    /// # Errors
    /// Where there is no `/proc`.
    pub fn open() -> io::Result<Self> {
        Ok(Self { status: File::open("/proc/self/status")? })
    }

    /// Resident memory; all unknown where it cannot be read.
    pub fn resident(&self) -> Resident {
        let mut bytes = [0; STATUS_BYTES];
        let len = self.status.read_at(&mut bytes, 0).unwrap_or_default();
        let text = std::str::from_utf8(&bytes[..len]).unwrap_or_default();
        Resident { now_bytes: kibibytes(text, "VmRSS:"), peak_bytes: kibibytes(text, "VmHWM:") }
    }
}

/// CPU time of all threads of this process, user and system, in nanoseconds.
pub fn cpu_ns() -> u64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    seconds.saturating_mul(1_000_000_000).saturating_add(u64::try_from(time.tv_nsec).unwrap_or_default())
}

/// A `Name:   1234 kB` line in bytes.
fn kibibytes(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()?.checked_mul(1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_found_by_their_whole_name() {
        let status = "Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\nThreads:\t1\n";
        assert_eq!(kibibytes(status, "VmRSS:"), Some(1 << 20));
        assert_eq!(kibibytes(status, "Threads:"), None);
        assert_eq!(kibibytes(status, "VmSwap:"), None);
    }

    #[test]
    fn this_process_has_memory_and_takes_time() {
        let before = cpu_ns();
        let resident = Process::open().unwrap().resident();
        assert!(resident.now_bytes.is_some_and(|bytes| bytes > 100_000), "{resident:?}");
        assert!(resident.peak_bytes >= resident.now_bytes);
        assert!(cpu_ns() > before);
    }
}
