//! seccomp: a list of the system calls that a running loop makes. Any other fails with EPERM, which its caller reports;
//! nothing is killed for it.
//!
//! The list is made for the whole class of calls that reading counters, rings, `/proc`, sysfs and netlink once a second
//! needs, with threads that come and go, and not for one build of one libc. What it rules out is the rest: executing,
//! new executable memory, tracing, mounting, opening for writing (also where Landlock is not to be had), connecting,
//! sockets other than netlink and local ones, and all of `bpf(2)` that makes or attaches something.

use std::collections::BTreeMap;

use super::Needs;

use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

/// Memory, threads, time, signals, the end.
const RUNTIME: &[i64] = &[
    libc::SYS_brk,
    libc::SYS_clock_getres,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_clone,
    libc::SYS_clone3,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_futex,
    libc::SYS_getcpu,
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_getrandom,
    libc::SYS_getrusage,
    libc::SYS_gettid,
    libc::SYS_gettimeofday,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_madvise,
    libc::SYS_membarrier,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_nanosleep,
    libc::SYS_restart_syscall,
    libc::SYS_rseq,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigtimedwait,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_getparam,
    libc::SYS_sched_getscheduler,
    libc::SYS_sched_setaffinity,
    libc::SYS_sched_yield,
    libc::SYS_set_robust_list,
    libc::SYS_set_tid_address,
    libc::SYS_sigaltstack,
    libc::SYS_sysinfo,
    libc::SYS_tgkill,
    libc::SYS_times,
    libc::SYS_uname,
];
/// Descriptors that are open, and files that Landlock lets through.
const DESCRIPTORS: &[i64] = &[
    libc::SYS_close,
    libc::SYS_close_range,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_eventfd2,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_fcntl,
    libc::SYS_fdatasync,
    libc::SYS_flock,
    libc::SYS_fstat,
    libc::SYS_fstatfs,
    libc::SYS_fsync,
    libc::SYS_getcwd,
    libc::SYS_getdents64,
    libc::SYS_lseek,
    libc::SYS_newfstatat,
    libc::SYS_pipe2,
    libc::SYS_ppoll,
    libc::SYS_pread64,
    libc::SYS_preadv,
    libc::SYS_preadv2,
    libc::SYS_pselect6,
    libc::SYS_read,
    libc::SYS_readahead,
    libc::SYS_readlinkat,
    libc::SYS_readv,
    libc::SYS_statx,
    libc::SYS_timerfd_create,
    libc::SYS_timerfd_gettime,
    libc::SYS_timerfd_settime,
    libc::SYS_write,
    libc::SYS_writev,
];
/// The calls of older C libraries and of other ones than glibc.
#[cfg(target_arch = "x86_64")]
const LEGACY: &[i64] = &[
    libc::SYS_access,
    libc::SYS_arch_prctl,
    libc::SYS_dup2,
    libc::SYS_epoll_wait,
    libc::SYS_getdents,
    libc::SYS_lstat,
    libc::SYS_pipe,
    libc::SYS_poll,
    libc::SYS_readlink,
    libc::SYS_select,
    libc::SYS_stat,
    libc::SYS_time,
];
#[cfg(not(target_arch = "x86_64"))]
const LEGACY: &[i64] = &[];
/// Sockets: the packet ring and AF_XDP ones that are open, netlink ones that are opened to ask. No `connect`, no
/// `accept`.
const SOCKETS: &[i64] = &[
    libc::SYS_bind,
    libc::SYS_getsockname,
    libc::SYS_getsockopt,
    libc::SYS_recvfrom,
    libc::SYS_recvmmsg,
    libc::SYS_recvmsg,
    libc::SYS_sendmsg,
    libc::SYS_sendto,
    libc::SYS_setsockopt,
    libc::SYS_shutdown,
];
/// Giving a file another name, where [`super::Needs::rename_in`] asks for it; Landlock says in which directory.
#[cfg(target_arch = "x86_64")]
const RENAMES: &[i64] = &[libc::SYS_rename, libc::SYS_renameat, libc::SYS_renameat2];
#[cfg(target_arch = "aarch64")]
const RENAMES: &[i64] = &[libc::SYS_renameat, libc::SYS_renameat2];
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const RENAMES: &[i64] = &[libc::SYS_renameat2];
/// Removing a file and shortening one that is open, where [`super::Needs::remove_in`] asks for it.
#[cfg(target_arch = "x86_64")]
const REMOVALS: &[i64] = &[libc::SYS_ftruncate, libc::SYS_unlink, libc::SYS_unlinkat];
#[cfg(not(target_arch = "x86_64"))]
const REMOVALS: &[i64] = &[libc::SYS_ftruncate, libc::SYS_unlinkat];
/// Families of sockets that may still be opened: to ask the kernel, and as a handle for interface requests.
const FAMILIES: [libc::c_int; 2] = [libc::AF_NETLINK, libc::AF_UNIX];
/// Terminal and interface requests that only look; and SIOCETHTOOL, whose setting ones need `CAP_NET_ADMIN`.
const REQUESTS: [u64; 11] = [
    0x5401, // TCGETS
    0x5413, // TIOCGWINSZ
    0x541b, // FIONREAD
    0x5421, // FIONBIO
    0x5451, // FIOCLEX
    0x8910, // SIOCGIFNAME
    0x8913, // SIOCGIFFLAGS
    0x8921, // SIOCGIFMTU
    0x8927, // SIOCGIFHWADDR
    0x8933, // SIOCGIFINDEX
    0x8946, // SIOCETHTOOL
];
/// `bpf(2)` on descriptors that are open: maps' elements one by one and in batches, and what the kernel knows of them.
const BPF_COMMANDS: [u64; 8] = [
    1,  // BPF_MAP_LOOKUP_ELEM
    2,  // BPF_MAP_UPDATE_ELEM
    3,  // BPF_MAP_DELETE_ELEM
    4,  // BPF_MAP_GET_NEXT_KEY
    15, // BPF_OBJ_GET_INFO_BY_FD
    24, // BPF_MAP_LOOKUP_BATCH
    26, // BPF_MAP_UPDATE_BATCH
    27, // BPF_MAP_DELETE_BATCH
];
/// `prctl(2)` that names threads and memory areas.
const PRCTL: [u64; 3] = [libc::PR_SET_NAME as u64, libc::PR_GET_NAME as u64, libc::PR_SET_VMA as u64];
/// The calls that open a file, and which argument has the flags.
#[cfg(target_arch = "x86_64")]
const OPENS: &[(i64, u8)] = &[(libc::SYS_open, 1), (libc::SYS_openat, 2)];
#[cfg(not(target_arch = "x86_64"))]
const OPENS: &[(i64, u8)] = &[(libc::SYS_openat, 2)];
/// Flags with which an open file could be changed.
const OPEN_CHANGES: u64 = (libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC | libc::O_APPEND) as u64;

/// Restricts all threads; what came of it, in words.
pub(super) fn restrict(needs: Needs<'_>) -> String {
    let Ok(arch) = TargetArch::try_from(std::env::consts::ARCH) else {
        return format!("none (not known for {})", std::env::consts::ARCH);
    };
    let removes = needs.remove_in.is_some();
    let renames = removes || !needs.rename_in.is_empty();
    let program = match filter(needs.host, renames, removes, arch) {
        Ok(program) => program,
        Err(error) => return format!("none ({error})"),
    };
    match seccompiler::apply_filter_all_threads(&program) {
        Ok(()) => "on".to_owned(),
        Err(error) => format!("none ({error})"),
    }
}

fn filter(host: bool, renames: bool, removes: bool, arch: TargetArch) -> Result<BpfProgram, BackendError> {
    let always = [RUNTIME, DESCRIPTORS, LEGACY].concat();
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        always.into_iter().map(|call| (call, Vec::new())).collect();
    rules.insert(libc::SYS_ioctl, any_of(1, &REQUESTS)?);
    rules.insert(libc::SYS_prctl, any_of(0, &PRCTL)?);
    for (call, argument) in OPENS {
        rules.insert(*call, vec![without(*argument, OPEN_CHANGES)?]);
    }
    for call in [libc::SYS_mmap, libc::SYS_mprotect] {
        rules.insert(call, vec![without(2, libc::PROT_EXEC as u64)?]);
    }
    // Limits are asked for, not set.
    rules.insert(libc::SYS_prlimit64, vec![null(2)?]);
    if host {
        rules.extend(SOCKETS.iter().map(|call| (*call, Vec::new())));
        rules.insert(libc::SYS_socket, any_of(0, &FAMILIES.map(|family| family as u64))?);
        rules.insert(libc::SYS_bpf, any_of(0, &BPF_COMMANDS)?);
    }
    if renames {
        rules.extend(RENAMES.iter().map(|call| (*call, Vec::new())));
    }
    if removes {
        rules.extend(REMOVALS.iter().map(|call| (*call, Vec::new())));
    }
    let refused = SeccompAction::Errno(libc::EPERM as u32);
    SeccompFilter::new(rules, refused, SeccompAction::Allow, arch)?.try_into()
}

/// The call is allowed where its argument, a number of 32 bits, is one of these.
fn any_of(argument: u8, values: &[u64]) -> Result<Vec<SeccompRule>, BackendError> {
    let rule = |value: &u64| {
        let equal = SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, *value)?;
        SeccompRule::new(vec![equal])
    };
    values.iter().map(rule).collect()
}

/// The call is allowed where none of these bits is set in its flags.
fn without(argument: u8, bits: u64) -> Result<SeccompRule, BackendError> {
    let none = SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(bits), 0)?;
    SeccompRule::new(vec![none])
}

/// The call is allowed where its argument is no pointer.
fn null(argument: u8) -> Result<SeccompRule, BackendError> {
    let equal = SeccompCondition::new(argument, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, 0)?;
    SeccompRule::new(vec![equal])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filters_compile_and_fit() {
        let arch = TargetArch::try_from(std::env::consts::ARCH).expect("tests run where the filter is known");
        for (host, renames) in [(false, false), (false, true), (true, true)] {
            let program = filter(host, renames, host, arch).expect("the rules are consistent");
            // BPF_MAXINSNS of classic BPF.
            assert!(program.len() < 4_096, "{}", program.len());
        }
    }
}
