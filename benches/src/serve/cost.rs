//! What a process has cost so far, by the kernel's account in `/proc`.

use std::fs;

use anyhow::{Context, Result};

/// Ticks of a second in `/proc/PID/stat` (`USER_HZ`, 100 on every architecture that Linux's x86 and ARM ABIs have).
const TICKS_PER_S: f64 = 100.0;
/// Fields of `/proc/PID/stat` behind the name: user and system time, and the process itself in `/proc/PID/stat` of another.
const USER_TIME: usize = 11;
const SYSTEM_TIME: usize = 12;

/// A process that runs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Process(u32);

impl Process {
    pub(super) const fn of(pid: u32) -> Self {
        Self(pid)
    }

    /// Its first child.
    pub(super) fn child(self) -> Option<Self> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.0)).ok()?;
        let children =
            tasks.flatten().map(|task| fs::read_to_string(task.path().join("children")).unwrap_or_default());
        children.into_iter().find_map(|pids| pids.split_whitespace().next()?.parse().ok()).map(Self)
    }

    /// User and system time of all its threads, those that ended included.
    pub(super) fn cpu_s(self) -> Result<f64> {
        let path = format!("/proc/{}/stat", self.0);
        let stat = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
        // The name, in brackets, may have anything in it.
        let (_, fields) = stat.rsplit_once(')').with_context(|| format!("{path} has no name"))?;
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let ticks = |place: usize| -> Result<f64> {
            Ok(fields.get(place).with_context(|| format!("{path} is short"))?.parse()?)
        };
        Ok((ticks(USER_TIME)? + ticks(SYSTEM_TIME)?) / TICKS_PER_S)
    }

    /// Most memory so far.
    pub(super) fn rss_max_bytes(self) -> Result<u64> {
        let path = format!("/proc/{}/status", self.0);
        let status = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = peak.and_then(|peak| peak.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
        Ok(kib.with_context(|| format!("{path} has no VmHWM"))? * 1_024)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn this_process_costs_what_it_works() {
        let own = Process::of(std::process::id());
        let (before, since) = (own.cpu_s().unwrap(), Instant::now());
        while since.elapsed().as_millis() < 300 {}
        let worked = own.cpu_s().unwrap() - before;
        assert!(worked > 0.02, "{worked}");
        assert!(own.rss_max_bytes().unwrap() > 100_000);
    }
}
