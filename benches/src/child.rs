//! Child processes: what one cost by the kernel's account (wait4(2)), and one that ends with its owner.
//!
//! One of the crate's three files with `unsafe`: the standard library waits, but throws the accounting away, and
//! it kills, but cannot ask. The peak of memory includes that of the parent at the time of the fork (kernel
//! behaviour), so measuring programs stay small.
#![expect(unsafe_code, reason = "wait4 and kill are system calls without a safe wrapper here")]

use std::io;
use std::mem::MaybeUninit;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;

/// Cost of one run.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Usage {
    /// From start to end.
    pub wall_s: f64,
    /// CPU time in user space, all threads.
    pub user_s: f64,
    /// CPU time in the kernel on its behalf.
    pub system_s: f64,
    /// Most memory resident at a time; mapped file pages count.
    pub rss_max_bytes: u64,
}

impl Usage {
    /// User and system time together.
    pub fn cpu_s(&self) -> f64 {
        self.user_s + self.system_s
    }
}

/// Waits for `child`, started at `started`, to end.
pub fn wait(child: Child, started: Instant) -> io::Result<(ExitStatus, Usage)> {
    let pid = libc::pid_t::try_from(child.id()).map_err(io::Error::other)?;
    // The handles of the child are closed here and it is reaped below, by nobody else: `Child` does not on drop.
    drop(child);
    let mut status = 0;
    let mut usage = MaybeUninit::<libc::rusage>::uninit();
    loop {
        // SAFETY: both pointers are valid for writes of their types during the call.
        let reaped = unsafe { libc::wait4(pid, &raw mut status, 0, usage.as_mut_ptr()) };
        if reaped == pid {
            break;
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    // SAFETY: wait4 returned the pid, so it has filled in the structure.
    let usage = unsafe { usage.assume_init() };
    let cost = Usage {
        wall_s: started.elapsed().as_secs_f64(),
        user_s: seconds(usage.ru_utime),
        system_s: seconds(usage.ru_stime),
        rss_max_bytes: usage.ru_maxrss.unsigned_abs() * 1024,
    };
    Ok((ExitStatus::from_raw(status), cost))
}

/// How long a process may take to clean up after itself before it is killed.
const GRACE: Duration = Duration::from_secs(3);

/// A child that is asked to end on drop, and killed where it does not.
#[derive(Debug)]
pub struct Running(Child);

impl Running {
    /// Takes charge of `child`.
    pub fn new(child: Child) -> Self {
        Self(child)
    }

    /// True until it has ended.
    pub fn is_alive(&mut self) -> bool {
        matches!(self.0.try_wait(), Ok(None))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.is_alive()
            && let Ok(pid) = libc::pid_t::try_from(self.0.id())
        {
            // SAFETY: no memory is passed; the child is not reaped yet, so the pid cannot be another process.
            unsafe { libc::kill(pid, libc::SIGTERM) };
        }
        let deadline = Instant::now() + GRACE;
        while self.is_alive() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(20));
        }
        // Both fail only where it has ended already, which is what is wanted.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn seconds(time: libc::timeval) -> f64 {
    time.tv_sec as f64 + time.tv_usec as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_running_child_ends_with_its_owner() {
        let child = Command::new("sleep").arg("60").spawn().unwrap();
        let started = Instant::now();
        let mut running = Running::new(child);
        assert!(running.is_alive());
        drop(running);
        assert!(started.elapsed() < GRACE);
    }

    #[test]
    fn a_child_is_reaped_with_its_cost() {
        let started = Instant::now();
        let script = "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; exit 3";
        let child = Command::new("sh").args(["-c", script]).spawn().unwrap();
        let (status, usage) = wait(child, started).unwrap();
        assert_eq!(status.code(), Some(3));
        assert!(usage.cpu_s() > 0.0 && usage.wall_s >= usage.user_s * 0.5);
        assert!(usage.rss_max_bytes > 100_000);
    }
}
