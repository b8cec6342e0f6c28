//! Giving up rights once everything is open: capabilities, files (Landlock), system calls (seccomp).
//!
//! What runs after [`confine`] reads counters, frames and a few text files, and writes to what is open already. A fault
//! in a parser is then a fault in a process that can open nothing for writing, connect to nothing, start nothing and
//! hold no right over the host. Each layer is applied where the kernel has it, and [`Confined`] says which are in force;
//! none is a reason not to run. Works on the calling thread and on threads it starts later; seccomp also on those that
//! are there already, Landlock too from Linux 7.0 on. Called by the command line between opening and the first packet.

pub mod capability;
mod files;
mod syscalls;

use std::fs;
use std::path::Path;

pub use capability::Right;

/// What the running loop still needs beyond reading what is open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs<'a> {
    /// A right that the end of the run needs, and why.
    pub keep: Option<(Right, &'static str)>,
    /// Whether the host is still looked at (`/proc`, `/sys/class/net`, netlink); files are read without.
    pub host: bool,
    /// The directories of files that are open, and get their names when they are whole: within each, files can still be
    /// renamed.
    pub rename_in: &'a [&'a Path],
    /// A directory in which files can be renamed and removed, and open ones shortened: that of evidence.
    pub remove_in: Option<&'a Path>,
    /// A directory whose files are still read: that of the configuration.
    pub read_in: Option<&'a Path>,
}

/// What is in force, each in words for the reader of a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confined {
    /// `dropped`, or what is kept and why.
    pub capabilities: String,
    /// `abi N`, or `none (why)`.
    pub landlock: String,
    /// `on`, or `none (why)`.
    pub seccomp: String,
}

impl Confined {
    /// Asked not to.
    pub fn refused() -> Self {
        let none = || "none (--no-confine)".to_owned();
        Self { capabilities: "kept (--no-confine)".to_owned(), landlock: none(), seccomp: none() }
    }
}

/// The version of Landlock that this kernel enforces, if any.
pub fn landlock_abi() -> Option<i32> {
    files::abi()
}

/// Whether this kernel has seccomp filters.
pub fn seccomp_is_there() -> bool {
    fs::exists("/proc/sys/kernel/seccomp/actions_avail").unwrap_or(false)
}

/// Gives up what is not needed any more, for good.
pub fn confine(needs: Needs<'_>) -> Confined {
    // In this order: each step takes a way to undo, or to look at, the ones before.
    let capabilities = drop_capabilities(needs);
    let landlock = files::restrict(needs);
    let seccomp = syscalls::restrict(needs);
    Confined { capabilities, landlock, seccomp }
}

fn drop_capabilities(needs: Needs<'_>) -> String {
    let keep = needs.keep.map(|(right, _)| right);
    if let Err(why) = capability::drop_all(keep) {
        return format!("kept ({why})");
    }
    let others = threads_with_rights(keep);
    let kept = needs.keep.map(|(right, why)| format!("dropped but {} ({why})", right.name()));
    let words = kept.unwrap_or_else(|| "dropped".to_owned());
    match others {
        0 => words,
        // Capabilities belong to threads, and nobody can take another thread's away.
        others => format!("{words}; {others} threads that ran before keep theirs"),
    }
}

/// Threads of this process whose permitted capabilities are more than the one that is kept, by their own account.
fn threads_with_rights(keep: Option<Right>) -> usize {
    let kept = keep.map_or(0, Right::bits);
    let Ok(tasks) = fs::read_dir("/proc/self/task") else { return 0 };
    let permitted = |task: fs::DirEntry| {
        let status = fs::read_to_string(task.path().join("status")).ok()?;
        let field = status.lines().find_map(|line| line.strip_prefix("CapPrm:"))?;
        u64::from_str_radix(field.trim(), 16).ok()
    };
    tasks.flatten().filter_map(permitted).filter(|permitted| permitted & !kept != 0).count()
}
